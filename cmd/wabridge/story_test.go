package main

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// What of a story differs from run to run, and what is put there instead.
var differs = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "LATER"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d [+-]\d\d:\d\d`), "DATE"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`), "TIME"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d`), "SECOND"},
	{regexp.MustCompile(` +\+[0-9.]+ (ms|s)`), " +AFTER"},
	{regexp.MustCompile(`in [0-9.]+ ms`), "in TOOK"},
	{regexp.MustCompile(`[0-9.]+(ms|µs|s) after the message`), "TOOK after the message"},
	{regexp.MustCompile(`script [0-9a-f]{12},`), "script VERSION,"},
	{regexp.MustCompile(`\bc[a-z2-7]{16}\b`), "CONTACT"},
	{regexp.MustCompile(`wamid\.[A-Za-z0-9+/_-]{12,}=*`), "wamid.OURS"},
}

// normal brings what wabridge why prints into a form that is the same each time:
// without times and ids, and with the steps of a lane together, as lanes do not
// wait for each other.
func normal(story string) string {
	for _, d := range differs {
		story = d.what.ReplaceAllString(story, d.with)
	}
	head, rest, _ := strings.Cut(story, "\n\n")
	type step struct{ lane, text string }
	lane := regexp.MustCompile(` by ([a-z]+/\S+)`)
	var steps []step
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "TIME") || strings.HasPrefix(strings.TrimSpace(line), "now") {
			s := step{text: line}
			if m := lane.FindStringSubmatch(line); m != nil {
				s.lane = m[1]
			}
			if !strings.HasPrefix(line, "TIME") {
				s.lane = "~" // what waits comes last
			}
			steps = append(steps, s)
		} else if n := len(steps); n > 0 {
			steps[n-1].text += line
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.lane, b.lane) })
	out := head + "\n\n"
	for _, s := range steps {
		out += s.text
	}
	return out
}

// cmdStory writes what wabridge why printed into a file, without what differs from
// run to run: story FILE.
func cmdStory(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: story FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(normal(ts.ReadFile("stdout"))), 0o600))
}

func TestNormal_KeepsTheWordsAndTheOrderOfALane(t *testing.T) {
	got := normal("wamid.A==\ntenant demo, 2026-11-27 +00:00\n\n" +
		"12:00:00.123            decided message.received in 0.3 ms\n    script 0123456789ab, s.ts:7\n" +
		"12:00:00.125      +2 ms  delivered #1 by wa/1 in 9.1 ms\n    became wamid.c2ltAAAcC2OHr3t6BwAAAAAAAAAB\n" +
		"12:00:00.124      +1 ms  delivered #2 by crm/x in 9 ms\n" +
		"12:00:01.125     +1.02 s  decided #1/sent\n         now            #3 waits until 2026-11-27T12:23:03Z: timer x\n")
	want := "wamid.A==\ntenant demo, DATE\n\nTIME            decided message.received in TOOK\n    script VERSION, s.ts:7\n" +
		"TIME +AFTER  decided #1/sent\nTIME +AFTER  delivered #2 by crm/x in TOOK\nTIME +AFTER  delivered #1 by wa/1 in TOOK\n    became wamid.OURS\n" +
		"         now            #3 waits until LATER: timer x\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
