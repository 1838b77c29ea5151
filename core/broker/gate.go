package broker

import (
	"context"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
)

// gate says whether a lane may deliver now, how much at once, and if not, why
// and until when. It learns from the outcomes of calls.
//
// One event's trouble must not stop the lane, and a lane's trouble must not
// burn the attempts of its events. So: the lane counts as down when calls have
// failed for several different events in a row with no success between, or when
// the sink says that it is the lane's trouble, or when it is found to be away before
// an event is given up (see blame). While it is down, attempts do
// not count and one call at a time goes out, ever more slowly the longer it lasts:
// a batch, since a single event could be the one that no call survives.
type gate struct {
	mu      sync.Mutex
	state   LaneState
	why     string
	until   time.Time
	since   time.Time
	changed chan struct{} // closed and replaced when anything changes

	limit    float64 // calls at once
	start    int     // as many may always be, when all goes well
	max      int
	strained func() bool // the machine is, and fewer calls at once would do as much; nil when nobody knows
	climb    *climb      // looks for how many are best; nil where that is not wanted
	inflight int
	probing  bool

	failed map[string]bool // events that failed since the last success
	doneAt time.Time       // when that was
	downAt time.Time
	waits  int // rate-limit waits in a row
}

// downAfter is how many different events must fail in a row before the lane
// counts as down.
const downAfter = 5

func newGate(start, most int) *gate {
	return &gate{
		state: LaneStarting, since: time.Now(), changed: make(chan struct{}),
		limit: float64(min(start, most)), start: start, max: most, failed: map[string]bool{},
	}
}

func (g *gate) set(state LaneState, why string, until time.Time) {
	if g.state != state {
		g.since = time.Now()
	}
	g.state, g.why, g.until = state, why, until
	close(g.changed)
	g.changed = make(chan struct{})
}

// enter waits until up to n calls may start, takes that many places, and
// returns how many. While the lane is down it lets one probe through at a time.
func (g *gate) enter(ctx context.Context, n int) (int, error) {
	for {
		g.mu.Lock()
		now := time.Now()
		paused := g.state != LaneRunning && (g.state == LaneStarting || now.Before(g.until))
		switch {
		case paused:
		case g.state == LaneWaiting:
			g.set(LaneRunning, "", time.Time{})
			g.mu.Unlock()
			continue
		case g.state == LaneDown || g.state == LaneSignIn:
			if !g.probing && g.inflight == 0 {
				g.probing = true
				g.inflight++
				g.mu.Unlock()
				return 1, nil
			}
		case g.inflight < int(g.limit):
			k := min(n, int(g.limit)-g.inflight)
			g.inflight += k
			g.mu.Unlock()
			return k, nil
		}
		changed, until := g.changed, g.until
		g.mu.Unlock()
		var wake <-chan time.Time
		if paused && !until.IsZero() {
			t := time.NewTimer(until.Sub(now))
			defer t.Stop()
			wake = t.C
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-changed:
		case <-wake:
		}
	}
}

// shut reports whether the gate was closed since somebody came in.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == LaneStarting || g.state != LaneRunning && time.Now().Before(g.until)
}

// tryEnter takes up to n places if calls may start now; else it takes none.
func (g *gate) tryEnter(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.state != LaneRunning && (g.state == LaneStarting || time.Now().Before(g.until)):
		return 0
	case g.state == LaneDown || g.state == LaneSignIn:
		if g.probing || g.inflight > 0 {
			return 0
		}
		g.probing = true
		g.inflight++
		return 1
	case g.state == LaneWaiting:
		g.set(LaneRunning, "", time.Time{})
	}
	k := max(0, min(n, int(g.limit)-g.inflight))
	g.inflight += k
	return k
}

// leave gives back places that were not used for a call, or whose outcome was
// reported.
func (g *gate) leave(n int) {
	g.mu.Lock()
	g.inflight -= n
	g.probing = false
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
}

// again takes a place for one more call of somebody who had one.
func (g *gate) again() {
	g.mu.Lock()
	g.inflight++
	g.mu.Unlock()
}

// whenFree calls f when nothing is in flight but the caller's own, or ctx ends.
func (g *gate) whenFree(ctx context.Context, own int, f func()) {
	defer f()
	for {
		g.mu.Lock()
		busy, changed := g.inflight > own, g.changed
		g.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// busy reports whether calls are in flight, the caller's own not counted.
func (g *gate) busy(own int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inflight > own
}

// verdict is what a result means for its delivery.
type verdict int

const (
	verdictDone    verdict = iota
	verdictCounts          // failed; the attempt counts
	verdictWaits           // failed; the attempt does not count
	verdictGivenUp         // failed for good
	verdictUnknown         // outcome unknown, and repeating is not harmless
	verdictLooks           // that, and the attempt does not count: the connector looks first
	verdictAlone           // failed in a lane where nothing else moves; the attempt does not count
)

// learn takes the outcome of one call and returns what each result means.
func (g *gate) learn(results []core.Result, safe bool) []verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]verdict, len(results))
	done, lane := 0, (*core.Error)(nil)
	for i := range results {
		out[i] = verdictOf(results[i].Err, safe)
		if err := results[i].Err; err == nil || out[i] == verdictGivenUp {
			done++ // the sink answered for this event
		} else if holdsLane(err) && lane == nil {
			lane = err
		}
	}
	now := time.Now()
	switch {
	case lane != nil:
		g.pause(lane, now)
	case done > 0:
		g.failed, g.doneAt = map[string]bool{}, now
		g.waits = 0
		if g.state == LaneDown || g.state == LaneSignIn {
			g.set(LaneRunning, "", time.Time{})
		}
		g.climbs(now, len(results))
		start := float64(g.start)
		switch strained := g.strained != nil && g.strained(); {
		case strained && g.limit > start: // fuller batches do as much with less
			g.limit = max(start, g.limit-1)
		case g.limit < float64(g.roof()) && (g.limit < start || !strained):
			g.limit++
		}
	default:
		var last *core.Error
		died := false // of one of several: no more is known of them
		for i := range results {
			if out[i] == verdictCounts || out[i] == verdictUnknown {
				last = results[i].Err
				died = died || last.Vendor == vendorCrashed && len(results) > 1
				if !died && len(g.failed) < downAfter {
					g.failed[results[i].ID] = true
				}
			}
		}
		if last != nil && (died || len(g.failed) >= downAfter || g.state == LaneDown || g.state == LaneSignIn) {
			g.pause(&core.Error{Code: core.CodeUnavailable, Message: last.Message, Vendor: last.Vendor, Hint: last.Hint}, now)
		}
	}
	if g.state == LaneDown || g.state == LaneWaiting || g.state == LaneSignIn {
		for i, r := range results {
			// What alone has killed the plugin, as nothing else since the last success, did that by itself.
			if out[i] == verdictCounts && (r.Err.Vendor != vendorCrashed || len(results) > 1 || len(g.failed) > 1) {
				out[i] = verdictWaits
			}
		}
	}
	return out
}

// climbs takes note of a call that was well. While the limit is on its way up there is
// nothing to measure.
func (g *gate) climbs(now time.Time, rows int) {
	if g.climb == nil || g.state != LaneRunning {
		return
	}
	if int(g.limit) < g.climb.roof {
		g.climb.reset()
		return
	}
	if g.climb.took(now, g.inflight, rows) {
		g.limit = min(g.limit, float64(g.climb.roof))
	}
}

// roof is how many calls may be at once when all goes well.
func (g *gate) roof() int {
	if g.climb == nil {
		return g.max
	}
	return min(g.max, g.climb.roof)
}

// holdsLane reports whether an error is the lane's, not an event's.
func holdsLane(err *core.Error) bool {
	s := err.Holds()
	return s == core.ScopeLane || s == core.ScopeAccount
}

func verdictOf(err *core.Error, safe bool) verdict {
	if err == nil {
		return verdictDone
	}
	switch err.Code {
	case core.CodeInvalid, core.CodeUndeliverable:
		return verdictGivenUp
	case core.CodeRateLimited, core.CodeUnauthenticated, core.CodeForbidden:
		return verdictWaits
	case core.CodeUnknownOutcome:
		if !safe {
			return verdictUnknown
		}
	}
	return verdictCounts
}

// pause closes the gate for a reason that is the lane's own.
func (g *gate) pause(err *core.Error, now time.Time) {
	g.limit = max(1, g.limit/2)
	why := err.Error()
	if err.Hint != "" {
		why += "; " + err.Hint
	}
	switch err.Code {
	case core.CodeRateLimited:
		wait := err.RetryAfter
		if wait <= 0 {
			if g.state == LaneWaiting && now.Before(g.until) {
				return // of those that were in flight with the one that said so
			}
			wait = min(time.Second<<min(g.waits, 8), 5*time.Minute)
		}
		g.waits++
		if u := now.Add(wait); g.state != LaneWaiting || u.After(g.until) {
			g.set(LaneWaiting, why, u)
		}
	case core.CodeUnauthenticated, core.CodeForbidden:
		wait := 30 * time.Second
		if g.state == LaneSignIn {
			wait = min(2*now.Sub(g.since)+wait, 5*time.Minute)
		}
		g.set(LaneSignIn, why, now.Add(wait))
	default:
		if g.state != LaneDown {
			g.downAt = now
		}
		// A short outage is noticed to be over within a fraction of a second, a
		// long one is not hammered: a tenth of its age, 0.2 to 30 s.
		wait := min(max(now.Sub(g.downAt)/10, 200*time.Millisecond), 30*time.Second)
		if err.RetryAfter > 0 {
			wait = min(err.RetryAfter, time.Hour)
		}
		g.set(LaneDown, why, now.Add(wait))
	}
}

// oneAtATime lets no two calls run at once.
func (g *gate) oneAtATime() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.max, g.climb = 1, 1, nil
}

// hold keeps a running lane from beginning calls until a time. What is in flight goes
// on, and nothing is learned from it.
func (g *gate) hold(why string, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == LaneRunning || g.state == LaneWaiting && until.After(g.until) {
		g.set(LaneWaiting, why, until)
	}
}

// open starts the lane. One that was paused meanwhile, with others of its account, stays so
// for as long.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != LaneWaiting || !time.Now().Before(g.until) {
		g.set(LaneRunning, "", time.Time{})
	}
}

// starting says what the lane still waits for.
func (g *gate) starting(why string) {
	g.mu.Lock()
	g.set(LaneStarting, why, time.Time{})
	g.mu.Unlock()
}

// trouble says how the lane is, how many different events have failed since something was
// delivered (as far as that matters), and when that was.
func (g *gate) trouble() (state LaneState, failed int, doneAt time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state, len(g.failed), g.doneAt
}

// there opens a gate that was closed because the sink was away.
func (g *gate) there() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == LaneDown || g.state == LaneSignIn {
		g.set(LaneRunning, "", time.Time{})
	}
}

// refuse takes the outcome of a probe that failed.
func (g *gate) refuse(err *core.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pause(err, time.Now())
}

// paused reports whether the lane is out of work until a probe succeeds.
func (g *gate) paused() (LaneState, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state, g.state == LaneDown || g.state == LaneSignIn
}

// looked is what a gate is at one moment; changed is closed when it is no longer so.
type looked struct {
	state   LaneState
	why     string
	since   time.Time
	changed <-chan struct{}
}

func (g *gate) look() looked {
	g.mu.Lock()
	defer g.mu.Unlock()
	return looked{state: g.state, why: g.why, since: g.since, changed: g.changed}
}

// retryAt is when a delivery whose attempt did not count is due again.
func (g *gate) retryAt(now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until.After(now) {
		return g.until
	}
	return now
}

func (g *gate) status(s *LaneStatus) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.State, s.Why, s.Since = g.state, g.why, g.since
	if g.state != LaneRunning {
		s.Until = g.until
	}
	s.Limit = int(g.limit)
}
