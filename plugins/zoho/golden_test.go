package zoho_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden holds the request bodies still: each testdata/*.txtar has the settings
// and the events of a batch, then what Zoho is sent and what becomes of the events.
// With "-- before --" events, those are delivered first, unseen.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sections := map[string]string{}
			for _, f := range archive.Files {
				sections[f.Name] = string(f.Data)
			}
			b := start(t, zohosim.Options{}, sections["settings"], nil)
			b.sim.AddField("Contacts", zohosim.Field{Name: "Tier", Type: "text", Length: 20})
			b.mustCheck()
			if before := sections["before"]; before != "" {
				b.done(readEvents(t, before)...)
				b.clear()
			}
			events := readEvents(t, sections["events"])
			byID := b.deliver(events...)
			var results strings.Builder
			for _, e := range events {
				fmt.Fprintf(&results, "%s %s", e.ID, byID[e.ID].Ref)
				if err := byID[e.ID].Err; err != nil {
					fmt.Fprintf(&results, "%s %v", err.Code, err)
				}
				results.WriteByte('\n')
			}
			got := map[string]string{"requests": pretty(t, b.requests), "results": results.String()}
			if *update {
				kept := archive.Files[:0]
				for _, f := range archive.Files {
					if _, made := got[f.Name]; !made {
						kept = append(kept, f)
					}
				}
				archive.Files = append(kept, txtar.File{Name: "requests", Data: []byte(got["requests"])},
					txtar.File{Name: "results", Data: []byte(got["results"])})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, name := range []string{"requests", "results"} {
				if diff := cmp.Diff(sections[name], got[name]); diff != "" {
					t.Errorf("%s (-want +got; -update rewrites):\n%s", name, diff)
				}
			}
		})
	}
}

func readEvents(t *testing.T, data string) []*core.Event {
	t.Helper()
	var events []*core.Event
	dec := json.NewDecoder(strings.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&events); err != nil {
		t.Fatalf("events: %v", err)
	}
	return events
}

// pretty prints requests.
func pretty(t *testing.T, requests []request) string {
	t.Helper()
	var b strings.Builder
	for _, r := range requests {
		fmt.Fprintln(&b, r.line)
		if len(r.body) == 0 {
			continue
		}
		if got := r.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", r.line, got)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, r.body, "  ", "  "); err != nil {
			t.Fatalf("%s: %v\n%s", r.line, err, r.body)
		}
		fmt.Fprintf(&b, "  %s\n", out.String())
	}
	return b.String()
}
