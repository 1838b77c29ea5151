package customhttp

import (
	"testing"
	"time"
)

func TestPull_ReadsTimesAsDatabasesWriteThem(t *testing.T) {
	at := time.Date(2026, 11, 27, 10, 0, 0, 123e6, time.UTC)
	q := &pull{format: "sql", start: "now"}
	for text, want := range map[string]time.Time{
		"2026-11-27 10:00:00.123Z": at, "2026-11-27 10:00:00.123": at, "2026-11-27 12:00:00.123+02:00": at, "2026-11-27 10:00:00": at.Truncate(time.Second),
	} {
		if n, ok := q.order(text); !ok || n != want.UnixNano() {
			t.Errorf("%s is %d, %v, want %d", text, n, ok, want.UnixNano())
		}
	}
	for _, text := range []string{"", "2026-11-27T10:00:00Z", "2026-11-27", "10:00:00"} {
		if _, ok := q.order(text); ok {
			t.Errorf("%q is taken for a time", text)
		}
	}
	if got := q.begins(at); got != "2026-11-27 10:00:00.123" {
		t.Errorf("it begins at %q", got)
	}
	q.lookback = time.Minute
	for text, want := range map[string]string{"2026-11-27 10:00:00.123Z": "2026-11-27 09:59:00.123Z", "2026-11-27 10:00:00.123": "2026-11-27 09:59:00.123"} {
		if got := q.asked(text); got != want {
			t.Errorf("after %s it asks for %s, want %s", text, got, want)
		}
	}
	for format, want := range map[string]string{"unix": "1795773540", "unix_ms": "1795773600063"} {
		q := &pull{format: format, lookback: time.Minute}
		since := map[string]string{"unix": "1795773600.75", "unix_ms": "1795773660063.5"}[format]
		if got := q.asked(since); got != want {
			t.Errorf("%s: after %s it asks for %s, want %s", format, since, got, want)
		}
	}
}
