package broker

import (
	"context"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

const (
	// askFor bounds how long a sink may take to say whether it is there.
	askFor = 20 * time.Second
	// maxSuspects bounds how many events are remembered of calls that failed as one.
	maxSuspects = 10_000
	// aloneFor is how long after it came an event that fails alone is tried, while
	// nothing else is delivered that would show that the sink takes events.
	aloneFor = 4 * time.Hour
)

// blame returns what the results of a call mean, given what the gate made of them, once
// it is known whose trouble they are: an event's own, which ends as a dead letter, or its
// sink's, which costs no attempts however long it lasts and however few events there are
// to tell. It is asked for an event's last attempt, and for each that failed while the
// lane is down, where nothing was delivered since the call began:
//
//   - If others have failed since something was delivered, it is the sink's. Where they
//     failed in one call though the sink is there, it may be of one of them: see suspect.
//   - If none has, the sink is asked. If it is there, it is the event's, provided that
//     something else was delivered since it came: a CRM may well be read and take nothing.
//     What the vendor refuses in a lane where nothing else moves is tried for [aloneFor].
//
// Where the sink cannot be asked, attempts count as the gate says. What says whose it is
// (by its scope or code, or because the plugin died of it) is not doubted.
func (l *lane) blame(ctx context.Context, ds []store.Delivery, results []core.Result, vs []verdict, began time.Time) []verdict {
	c, ok := l.sink.(Checker)
	state, failed, doneAt := l.gate.trouble()
	if !ok || doneAt.After(began) || state == LaneWaiting {
		return vs
	}
	var doubted []int
	for i, d := range ds {
		err := results[i].Err
		v := verdictOf(err, l.safe)
		if v == verdictDone || v == verdictGivenUp || holdsLane(err) {
			return vs
		}
		if err.Vendor == vendorCrashed || v != verdictCounts && (v != verdictUnknown || l.looks == 0) {
			continue
		}
		if _, more := l.again(d.Attempt, began); !more || state != LaneRunning {
			doubted = append(doubted, i)
		}
	}
	if len(doubted) == 0 {
		return vs
	}
	own := failed == 1
	if !own && state == LaneRunning {
		err := results[doubted[0]].Err
		l.gate.refuse(&core.Error{Code: core.CodeUnavailable, Message: err.Message, Vendor: err.Vendor, Hint: err.Hint})
	}
	there := (own || len(ds) > 1) && l.isThere(ctx, c)
	if there && own {
		l.gate.there()
	}
	for _, i := range doubted {
		err := results[i].Err
		v := verdictOf(err, l.safe)
		shown := err.Source == core.SourcePlugin || err.Code == core.CodeInternal ||
			doneAt.After(ds[i].Added) || began.Sub(ds[i].Added) > aloneFor
		switch {
		case there && own && shown:
			vs[i] = v
		case v == verdictUnknown:
			vs[i] = verdictLooks
		case there && own:
			vs[i] = verdictAlone
		default:
			vs[i] = verdictWaits
		}
		if there && !own {
			l.suspect(ds[i], began)
		}
	}
	return vs
}

// alone returns when a delivery is due that fails where nothing else moves: after a tenth
// of its age, up to a minute.
func alone(d store.Delivery, now time.Time) time.Time {
	return now.Add(min(max(now.Sub(d.Added)/10, time.Second), time.Minute))
}

// isThere asks the sink whether it is. Where it is not, the lane pauses. One that answers
// anything is: that it refuses what Check wants is for deliveries to find out.
func (l *lane) isThere(ctx context.Context, c Checker) bool {
	paid, ok := l.afford()
	if !ok {
		return false // the lane waits
	}
	cctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	cctx, meter := core.WithMeter(cctx)
	err := c.Check(cctx)
	l.budgets.end(time.Now(), paid, meter)
	if ctx.Err() != nil {
		return false // the bridge stops: nobody knows
	}
	away := core.AsError(err)
	if cctx.Err() != nil && err != nil {
		away = core.Errorf(core.CodeUnavailable, "check", "no answer within %v: %w", askFor, err)
	}
	switch {
	case away == nil:
		return true
	case away.Code == core.CodeUnavailable, away.Code == core.CodeUnknownOutcome, away.Code == core.CodeRateLimited:
		l.sawError("", away)
		l.gate.refuse(away)
		return false
	}
	return true
}

// suspect takes note that an event was in a call of several that failed as one, nobody
// knows because of which: the plugin died, or the CRM refused all of it. That may have
// been an accident, so they go together once more. When it happens again each goes alone,
// and only what does it then as well is blamed. It reports whether the attempt counts: the
// second does, as long as there is another.
func (l *lane) suspect(d store.Delivery, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.suspects) >= maxSuspects && l.suspects[d.ID] == 0 {
		clear(l.suspects)
	}
	l.suspects[d.ID]++
	_, more := l.again(d.Attempt, now)
	return l.suspects[d.ID] > 1 && more
}

// isAlone reports whether an event is to be delivered alone.
func (l *lane) isAlone(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.suspects[id] > 1
}

// acquit forgets what an event was suspected of: it has ended.
func (l *lane) acquit(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.suspects, id)
}
