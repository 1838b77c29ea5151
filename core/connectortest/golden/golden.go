// Package golden holds still what a connector asks its CRM for. Each file of
// testdata/*.txtar has the lane's settings and the events of a batch, then the
// requests that are made and what becomes of the events. With "-- before --" events,
// those are delivered first, unseen. -update rewrites the files.
package golden

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wabridge/wabridge/core"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Bench is a connector between a test and an imitation of its CRM.
type Bench struct {
	// Deliver delivers a batch, and returns the results by the events' IDs.
	Deliver func(events ...*core.Event) map[string]core.Result
	// Forget forgets the requests so far, Requests tells those since, for people.
	Forget   func()
	Requests func() string
}

// Run checks every file, of which there must be at least so many, each with a bench
// of its own, in virtual time.
func Run(t *testing.T, least int, start func(t *testing.T, settings string) Bench) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < least {
		t.Fatalf("found %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { check(t, file, start) }) // in the year 2000, where no event is late
		})
	}
}

func check(t *testing.T, file string, start func(t *testing.T, settings string) Bench) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, f := range archive.Files {
		sections[f.Name] = string(f.Data)
	}
	b := start(t, sections["settings"])
	if before := sections["before"]; before != "" {
		for id, r := range b.Deliver(read(t, before)...) {
			if r.Err != nil {
				t.Fatalf("before: %s: %v", id, r.Err)
			}
		}
		b.Forget()
	}
	events := read(t, sections["events"])
	byID := b.Deliver(events...)
	var results strings.Builder
	for _, e := range events {
		r := byID[e.ID]
		fmt.Fprintf(&results, "%s %s", e.ID, r.Ref)
		if r.Err != nil {
			fmt.Fprintf(&results, "%s %v", r.Err.Code, r.Err)
		}
		results.WriteByte('\n')
	}
	got := map[string]string{"requests": b.Requests(), "results": results.String()}
	if *update {
		write(t, file, archive, got)
		return
	}
	for _, name := range []string{"requests", "results"} {
		if diff := cmp.Diff(sections[name], got[name]); diff != "" {
			t.Errorf("%s (-want +got; -update rewrites):\n%s", name, diff)
		}
	}
}

func write(t *testing.T, file string, archive *txtar.Archive, got map[string]string) {
	t.Helper()
	kept := archive.Files[:0]
	for _, f := range archive.Files {
		if _, made := got[f.Name]; !made {
			kept = append(kept, f)
		}
	}
	archive.Files = append(kept, txtar.File{Name: "requests", Data: []byte(got["requests"])},
		txtar.File{Name: "results", Data: []byte(got["results"])})
	if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, data string) []*core.Event {
	t.Helper()
	var events []*core.Event
	dec := json.NewDecoder(strings.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&events); err != nil {
		t.Fatalf("events: %v", err)
	}
	return events
}
