// Package limit paces calls: so many per second, with a burst. It is the
// generic cell rate algorithm (ITU-T I.371), which needs one time per limiter
// and no goroutine.
//
// A limiter that is waited for keeps its rate although timers fire late: what
// is up to [Slack] late counts as punctual, so the next one is not late too.
// In any span of time w the limiter therefore lets through at most
//
//	burst + rate × (w + Slack)
//
// and, while there is always something waiting, not less than rate × w. One made by
// [NewExact] lets through no more than rate in any second, and no less for it.
package limit

import (
	"context"
	"math"
	"sync"
	"time"
)

// Slack is how late a caller may come for its turn without losing any rate.
const Slack = 5 * time.Millisecond

// Limiter lets through rate per second, and burst at once after a rest. Its
// methods may be called concurrently. Use [New]; a nil Limiter limits nothing.
type Limiter struct {
	// turn is held by the one caller of Wait whose turn it is, so that they
	// are served in order, and one that gives up has taken nothing.
	turn chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed when the rate changes
	rate    float64       // per second; 0 is no limit
	burst   int
	full    time.Time // when the whole burst is free again: GCRA's TAT
	exact   bool
	last    []time.Time // of an exact one, when the last ones went: a ring as long as the rate
	next    int         // the oldest of them
}

// NewExact returns a limiter of rate per second that lets through no more than that, rounded
// down, in any second, however late its callers come.
func NewExact(rate float64, burst int) *Limiter {
	l := New(rate, burst)
	l.exact, l.last = true, make([]time.Time, ringOf(l.rate))
	return l
}

// ringOf is how many an exact limiter remembers: one of less than one per second has its period.
func ringOf(rate float64) int { return int(min(rate, 1e6)) }

// New returns a limiter of rate per second. A rate that is not a positive
// number, or infinite, is no limit; a burst below 1 is 1.
func New(rate float64, burst int) *Limiter {
	l := &Limiter{turn: make(chan struct{}, 1), changed: make(chan struct{}), burst: max(burst, 1)}
	l.rate = clean(rate)
	return l
}

func clean(rate float64) float64 {
	if !(rate > 0) || math.IsInf(rate, 1) {
		return 0
	}
	return rate
}

// cost is the time that n take up, rounded up so that the rate is never
// exceeded.
func cost(n int, rate float64) time.Duration {
	ns := math.Ceil(float64(n) / rate * 1e9)
	if ns > maxCost {
		return maxCost
	}
	return time.Duration(ns)
}

// maxCost keeps sums of times from overflowing: some 73 years.
const maxCost = math.MaxInt64 / 4

// due returns how long n must wait at now and what full becomes when they are
// let through then. Callers hold mu.
func (l *Limiter) due(now time.Time, n int) (wait time.Duration, full time.Time) {
	if l.rate == 0 || n <= 0 {
		return 0, l.full
	}
	full = l.full
	if full.Before(now.Add(-Slack)) {
		full = now
	}
	full = full.Add(cost(n, l.rate))
	wait = max(0, full.Sub(now)-cost(l.burst, l.rate))
	if k := min(n, len(l.last)); k > 0 { // the last of n goes a second after the one that went so many before
		if before := l.last[(l.next+k-1)%len(l.last)]; !before.IsZero() {
			wait = max(wait, before.Add(time.Second).Sub(now))
		}
	}
	return wait, full
}

// went takes note that n go at a time. Callers hold mu.
func (l *Limiter) went(at time.Time, n int) {
	for range min(n, len(l.last)) {
		l.last[l.next] = at
		l.next = (l.next + 1) % len(l.last)
	}
}

// Reserve takes n and returns how long the caller must wait before it uses
// them, counted from now. They cannot be given back, and go before those in
// [Limiter.Wait]. More than the burst wait until the last of them may go.
func (l *Limiter) Reserve(now time.Time, n int) (wait time.Duration) {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, l.full = l.due(now, n)
	l.went(now.Add(wait), n)
	return wait
}

// Wait returns when n may go, or with ctx's error when it ends first; then
// nothing was taken, unless n is more than the burst: that is taken a burst at
// a time. Callers are served in the order in which they came.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil || l == nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	for n > 0 {
		l.mu.Lock()
		part := min(n, l.burst)
		l.mu.Unlock()
		if err := l.waitTurn(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

func (l *Limiter) waitTurn(ctx context.Context, n int) error {
	for {
		wait, changed := l.take(time.Now(), n)
		if wait == 0 {
			return nil
		}
		if err := sleep(ctx, wait, changed, nil); err != nil {
			return err
		}
	}
}

// sleep waits so long, or until the rate changes or the caller wants to look again.
func sleep(ctx context.Context, wait time.Duration, changed, again <-chan struct{}) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-again:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Ready returns when n may go within a time from then, or with ctx's error when it ends
// first; n is asked for once more whenever something comes from again. More than the burst
// are never ready while nothing is taken. It takes nothing: who
// alone takes from a limiter can choose what goes when something may, and prepare it while
// what was chosen before goes.
func (l *Limiter) Ready(ctx context.Context, within time.Duration, n func() int, again <-chan struct{}) error {
	if err := ctx.Err(); err != nil || l == nil {
		return err
	}
	for {
		many := n()
		l.mu.Lock()
		wait, _ := l.due(time.Now(), many)
		changed := l.changed
		l.mu.Unlock()
		if wait <= within {
			return nil
		}
		if err := sleep(ctx, wait-within, changed, again); err != nil {
			return err
		}
	}
}

// take takes n if they may go now, and otherwise says how long they must wait, unless the
// rate changes.
func (l *Limiter) take(now time.Time, n int) (wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, full := l.due(now, n)
	if wait == 0 {
		l.full = full
		l.went(now, n)
	}
	return wait, l.changed
}

// Next returns when one more may go: now, or the time to show a person who asks
// why nothing does. Callers already in [Limiter.Wait] go first.
func (l *Limiter) Next(now time.Time) time.Time {
	if l == nil {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, _ := l.due(now, 1)
	return now.Add(wait)
}

// Rate returns the rate per second; 0 is no limit.
func (l *Limiter) Rate() float64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

// SetRate changes rate and burst, also for those who wait. What was used of the
// burst stays used, counted in calls and not in time.
func (l *Limiter) SetRate(now time.Time, rate float64, burst int) {
	rate = clean(rate)
	l.mu.Lock()
	l.burst = max(burst, 1)
	if ahead := l.full.Sub(now); ahead > 0 && l.rate > 0 && rate > 0 {
		l.full = now.Add(time.Duration(min(float64(ahead)*(l.rate/rate), maxCost)))
	} else if ahead > 0 {
		l.full = now // without a limit nothing is used
	}
	l.rate = rate
	if l.exact {
		l.remember(ringOf(rate))
	}
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
}

// remember changes how many of the last ones are remembered. Callers hold mu.
func (l *Limiter) remember(n int) {
	ring := make([]time.Time, n)
	old := len(l.last)
	for i := range min(n, old) { // the latest of them, at the end
		ring[n-1-i] = l.last[(l.next+old-1-i)%old]
	}
	l.last, l.next = ring, 0
}
