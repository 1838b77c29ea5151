package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// maxWarnings is how many warnings of a plugin are shown.
const maxWarnings = 5

// warnings is a handler of a plugin's log that keeps what it warns of, with the hint.
type warnings struct {
	mu   sync.Mutex
	list []finding
}

// Enabled implements [slog.Handler].
func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	f := finding{OK: true}
	var said []string
	var note func(a slog.Attr) bool
	note = func(a slog.Attr) bool {
		switch {
		case a.Value.Kind() == slog.KindGroup: // what a plugin in a process of its own adds
			for _, inner := range a.Value.Group() {
				note(inner)
			}
		case a.Key == "hint":
			f.Hint = a.Value.String()
		default:
			said = append(said, fmt.Sprintf("%s: %v", a.Key, a.Value))
		}
		return true
	}
	r.Attrs(note)
	f.Detail = "WARNING: " + r.Message
	if len(said) > 0 {
		f.Detail += " (" + strings.Join(said, ", ") + ")"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) < maxWarnings {
		w.list = append(w.list, f)
	}
	return nil
}

// WithAttrs implements [slog.Handler]: which plugin it is the reader knows.
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler].
func (w *warnings) WithGroup(string) slog.Handler { return w }

// all is what was warned of so far.
func (w *warnings) all() []finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list
}
