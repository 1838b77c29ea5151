package salesforce_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden holds the request bodies still: each testdata/*.txtar has the settings
// and the events of a batch, then what Salesforce is sent and what becomes of the
// events. With "-- before --" events, those are delivered first, unseen.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { golden(t, file) }) // there, no event is late
		})
	}
}

func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]byte{}
	for _, f := range archive.Files {
		sections[f.Name] = f.Data
	}
	b := start(t, salesforcesim.Options{}, string(sections["settings"]))
	if before := sections["before"]; before != nil {
		b.mustDeliver(readEvents(t, before)...)
		b.clear()
	}
	var results bytes.Buffer
	events := readEvents(t, sections["events"])
	byID := b.deliver(events...)
	for _, e := range events {
		r := byID[e.ID]
		fmt.Fprintf(&results, "%s %s", e.ID, r.Ref)
		if r.Err != nil {
			fmt.Fprintf(&results, "%s %v", r.Err.Code, r.Err)
		}
		results.WriteByte('\n')
	}
	got := map[string]string{"requests": b.pretty(), "results": results.String()}
	if *update {
		kept := archive.Files[:0]
		for _, f := range archive.Files {
			if f.Name != "requests" && f.Name != "results" {
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
		if diff := cmp.Diff(string(sections[name]), got[name]); diff != "" {
			t.Errorf("%s (-want +got; -update rewrites):\n%s", name, diff)
		}
	}
}

func readEvents(t *testing.T, data []byte) []*core.Event {
	t.Helper()
	var events []*core.Event
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&events); err != nil {
		t.Fatalf("events: %v", err)
	}
	return events
}

// pretty prints requests, a record or query a line.
func (b *bench) pretty() string {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	for _, r := range b.requests {
		fmt.Fprintln(&text, r.line)
		for name, value := range map[string]string{"Authorization": "Bearer " + access, "Sforce-Call-Options": "client=wabridge"} {
			if got := r.header.Get(name); got != value {
				b.t.Errorf("%s: %s is %q", r.line, name, got)
			}
		}
		if len(r.body) == 0 {
			continue
		}
		var body struct {
			AllOrNone bool                           `json:"allOrNone"`
			Records   []json.RawMessage              `json:"records"`
			Composite []struct{ Method, URL string } `json:"compositeRequest"`
		}
		if err := json.Unmarshal(r.body, &body); err != nil || body.AllOrNone {
			b.t.Fatalf("%s: %v\n%s", r.line, err, r.body)
		}
		for _, record := range body.Records {
			var out bytes.Buffer
			if err := json.Indent(&out, record, "  ", "  "); err != nil {
				b.t.Fatal(err)
			}
			fmt.Fprintf(&text, "  %s\n", out.String())
		}
		for _, sub := range body.Composite {
			decoded, err := url.QueryUnescape(sub.URL)
			if err != nil {
				b.t.Fatal(err)
			}
			fmt.Fprintf(&text, "  %s %s\n", sub.Method, decoded)
		}
	}
	return text.String()
}
