package plugin

import (
	"math/rand/v2"
	"time"
)

// budget decides how long to wait before a process that died is started again,
// and when to stop trying for a good while.
type budget struct {
	crashes int           // so many
	window  time.Duration // within this time are one too many
	pause   time.Duration // then this long a pause, and one trial

	recent []time.Time
	trial  bool // since a quarantine it has not yet run for a window
}

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// failed counts a crash, or a failed start, of a process that was ready for ran.
// With hopeless, trying again soon cannot help.
func (b *budget) failed(now time.Time, ran time.Duration, hopeless bool) (wait time.Duration, quarantined bool) {
	if ran >= b.window {
		b.reset()
	}
	for len(b.recent) > 0 && now.Sub(b.recent[0]) >= b.window {
		b.recent = b.recent[1:]
	}
	b.recent = append(b.recent, now)
	if hopeless || b.trial || len(b.recent) >= b.crashes {
		b.reset()
		b.trial = true
		return b.pause, true
	}
	wait = min(firstBackoff<<min(len(b.recent)-1, 20), maxBackoff)
	return wait/2 + rand.N(wait/2), false //nolint:gosec // spreads restarts, guards nothing
}

// reset forgets all: a person says that it is mended.
func (b *budget) reset() { b.recent, b.trial = nil, false }
