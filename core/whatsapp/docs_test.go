package whatsapp

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocs_SayWhatBecomesOfEachSample holds the tables of docs/whatsapp.md to the
// parser: each sample is in them, with the kinds of events that come of it and no
// others.
func TestDocs_SayWhatBecomesOfEachSample(t *testing.T) {
	text, err := os.ReadFile("../../docs/whatsapp.md")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string][]string{} // by sample
	for file, a := range goldenBodies(t) {
		updates, err := Parse(a.Files[0].Data)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		made[name] = []string{}
		for _, u := range updates {
			if k := string(u.Event.Kind); !slices.Contains(made[name], k) {
				made[name] = append(made[name], k)
			}
		}
	}
	code := regexp.MustCompile("`([^`]+)`")
	names := func(cell string) (out []string) {
		for _, m := range code.FindAllStringSubmatch(cell, -1) {
			out = append(out, m[1])
		}
		return out
	}
	said := map[string][]string{}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || strings.Contains(line, "---") || strings.TrimSpace(cells[4]) == "samples" {
			continue
		}
		rows++
		kinds, samples := names(cells[2]), names(cells[4])
		if len(samples) == 0 {
			t.Errorf("no sample shows it: %s", line)
		}
		for _, sample := range samples {
			if made[sample] == nil {
				t.Errorf("there is no sample %s", sample)
			}
			if len(kinds) > 0 && !slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(made[sample], k) }) {
				t.Errorf("of %s comes %q, not %q", sample, made[sample], kinds)
			}
			said[sample] = append(said[sample], kinds...)
		}
	}
	for sample, kinds := range made {
		if said[sample] == nil && len(kinds) > 0 {
			t.Errorf("the tables do not have %s, of which comes %q", sample, kinds)
		}
		for _, k := range kinds {
			if !slices.Contains(said[sample], k) {
				t.Errorf("the tables do not say that %s comes of %s", k, sample)
			}
		}
	}
	if rows < 40 {
		t.Errorf("found %d rows: does the pattern still match?", rows)
	}
}
