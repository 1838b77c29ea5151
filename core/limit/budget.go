package limit

import (
	"math"
	"sync"
	"time"
)

// Budget paces what is paid for afterwards: how much a piece of work costs is known
// when it is done. It begins no work that it cannot be expected to pay for, and what
// cost more than was expected is paid off before the next begins.
//
// As long as no piece of work costs more than was expected of it, no span of time as
// long as the window has more than calls in it; every piece of work begun at once can
// exceed it by what it cost beyond. Its methods may be called concurrently.
//
// What comes in is what a window's calls are beyond the most that could be spent at once
// within the last window: after a rest there is a burst, and then so much less until that
// is a window ago; who works steadily has nearly all of the calls, evenly.
type Budget struct {
	mu       sync.Mutex
	calls    float64
	per      time.Duration
	room     float64 // what can be spent at once after a rest
	level    float64 // what can be spent now; below 0 it is owed
	reserved float64 // by work that is not done
	expected float64 // of the next piece of work
	at       time.Time
	// peaks are the levels of the last window that none since was above, the oldest and
	// highest first, in steps: a hundred at most.
	peaks []peak
}

type peak struct {
	at    time.Time
	level float64
}

// steps is how finely levels are told apart.
const steps = 100

// parts of a call is what is reserved in. Being a power of two, they add up exactly: a
// remnant, however small, that nobody gives back would hold up for good where the room is
// one call.
const parts = 1024

// long is from when on a window is one that work may use in bursts, such as a day's,
// in which the nights are quiet.
const long = time.Hour

// NewBudget returns a full budget of so many calls in a window.
func NewBudget(now time.Time, calls int, per time.Duration) *Budget {
	burst := 0.1 // the more at once, the less until that is a window ago
	if per >= long {
		burst = 0.5
	}
	room := max(1, math.Floor(burst*float64(calls)))
	return &Budget{calls: float64(calls), per: per, room: room, level: room, expected: 1, at: now, peaks: []peak{{now, room}}}
}

// rate is what comes in per second.
func (b *Budget) rate() float64 {
	return max(b.calls-b.peaks[0].level, 1) / b.per.Seconds()
}

func (b *Budget) refill(now time.Time) {
	passed := now.Sub(b.at)
	if passed <= 0 {
		return
	}
	b.level, b.at = min(b.room, b.level+passed.Seconds()*b.rate()), now
	b.note()
}

// note takes note of the level, and forgets what is a window ago.
func (b *Budget) note() {
	step := b.calls / steps
	level := math.Ceil(max(0, b.level)/step) * step
	n := len(b.peaks)
	for n > 0 && b.peaks[n-1].level <= level {
		n--
	}
	b.peaks = append(b.peaks[:n], peak{b.at, level})
	for b.at.Sub(b.peaks[0].at) > b.per {
		b.peaks = b.peaks[1:]
	}
}

// Begin begins a piece of work if the budget can be expected to pay for it, and
// returns what it reserved for it; else how long to wait before asking again.
func (b *Budget) Begin(now time.Time) (reserved float64, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	reserved = math.Ceil(b.expected*parts) / parts
	missing := reserved - (b.level - b.reserved)
	if missing <= 0 {
		b.reserved += reserved
		return reserved, 0
	}
	return 0, max(time.Duration(math.Ceil(missing/b.rate()*1e9)), time.Millisecond)
}

// Cancel ends a piece of work that was not begun after all.
func (b *Budget) Cancel(reserved float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved = max(0, b.reserved-reserved)
}

// End pays for a piece of work for which was reserved so much.
func (b *Budget) End(now time.Time, reserved float64, spent int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	b.reserved = max(0, b.reserved-reserved)
	b.level -= float64(spent)
	// Dearer work is expected at once, cheaper work by and by. What cost more than can
	// ever be spent at once, as the first work of an account may, is paid off, and not
	// expected again: waiting for so much would hold up all that comes after it.
	if s := float64(spent); s > b.room {
		return
	} else if s > b.expected {
		b.expected = s
	} else {
		b.expected = 0.9*b.expected + 0.1*s // down to nothing: who never spends of this budget does not wait for it
	}
}

// Correct takes over that no more than left can be spent, as somebody says who knows
// of others who spend.
func (b *Budget) Correct(now time.Time, left int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	b.level = min(b.level, float64(left))
}

// Level returns what can be spent now, and when it was reckoned, to be kept.
func (b *Budget) Level(now time.Time) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	return b.level
}

// Restore takes up what was kept at a time.
func (b *Budget) Restore(at time.Time, level float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.level, b.at = min(level, b.room), at
	b.peaks = []peak{{at, b.room}} // what was before is not kept: there may have been a burst
}
