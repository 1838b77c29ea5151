package broker

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// settle ends each delivery of a batch in exactly one way.
func (l *lane) settle(ctx context.Context, ds []store.Delivery, results []core.Result, verdicts []verdict, left map[string]*core.Error, began time.Time) {
	// Acks are waited for: the next event of a conversation is not delivered
	// before this one's ack is durable. So what a crash repeats is at most the
	// last event of each conversation, and a status never goes back, not even
	// for a moment.
	var s store.Settlement
	now := time.Now()
	took := float64(now.Sub(began).Microseconds()) / 1000
	done := 0
	for i, d := range ds {
		r := results[i]
		e := eventOf(d)
		step := l.step(d, e, now.UTC())
		step.Ref, step.Error, step.Took = r.Ref, r.Err, took
		if why := left[d.ID]; why != nil {
			step.Notes = append(step.Notes, "without the properties of the mapping, which the CRM refuses: "+why.Error())
		}
		v := verdicts[i]
		if r.Err != nil && r.Err.Vendor == vendorCrashed && len(ds) > 1 {
			// Not known whose fault it was, all the less when so many have made the
			// lane count as down.
			counts := l.suspect(d, now)
			switch {
			case v == verdictUnknown && !counts:
				v = verdictLooks
			case v == verdictCounts && !counts:
				v = verdictWaits
			case v == verdictWaits && counts:
				v = verdictCounts
			}
		}
		switch v {
		case verdictDone:
			done++
			s.Ack = append(s.Ack, d)
			l.acquit(d.ID)
			l.b.m.latency.WithLabelValues(l.t.ID, l.name).Observe(now.Sub(e.Accepted).Seconds())
			l.tookOver(&s, e, now)
			l.remember(&s, e, r)
			l.partedMeanwhile(ctx, &s, e)
		case verdictWaits:
			l.sawError(d.ID, r.Err)
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: l.dueAfter(r.Err, now), Mark: l.cleared()})
			continue // nothing happened: not a step of the event's story
		case verdictAlone:
			l.sawError(d.ID, r.Err)
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: alone(d, now.Add(r.Err.RetryAfter)), Mark: l.cleared()})
			continue
		case verdictCounts:
			l.sawError(d.ID, r.Err)
			if due, ok := l.again(d.Attempt, now); ok {
				step.Step = "retry"
				l.retried.Add(1)
				s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due, Counts: true, Mark: l.cleared()})
				break
			}
			l.giveUp(&s, d, r.Err, false, &step)
		case verdictUnknown, verdictLooks: // at a sink where repeating is not harmless
			l.sawError(d.ID, r.Err)
			if l.unsure(&s, d, now, v == verdictUnknown) {
				if v == verdictLooks {
					continue
				}
				step.Step = "retry"
				l.retried.Add(1)
				break
			}
			l.giveUp(&s, d, r.Err, true, &step)
		default:
			l.sawError(d.ID, r.Err)
			l.giveUp(&s, d, r.Err, false, &step)
		}
		s.Record = append(s.Record, record(&step, e))
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		return // the leases bring them back
	}
	l.keepBudgets(ctx)
	l.delivered.Add(uint64(done))
	l.b.totals.written.Add(uint64(done))
	l.b.m.delivered.WithLabelValues(l.t.ID, l.name).Add(float64(done))
	l.b.failpoint("deliver-after-settle")
}

// cleared is the mark of a delivery that is to be tried again.
func (l *lane) cleared() []byte {
	if l.safe {
		return nil // there was none
	}
	return []byte{}
}

// vendorCrashed marks the results of a call during which the plugin died.
const vendorCrashed = "crashed"

// again returns when the next attempt is due, if there is to be one. The waits
// of the schedule are upper bounds: up to a tenth less spreads a burst.
func (l *lane) again(attempt int, now time.Time) (time.Time, bool) {
	if attempt < 1 || attempt > len(l.retry) {
		return time.Time{}, false
	}
	wait := l.retry[attempt-1]
	if tenth := int64(wait) / 10; tenth > 0 {
		wait -= time.Duration(rand.Int64N(tenth)) //nolint:gosec // spreads retries, guards nothing
	}
	return now.Add(wait), true
}

// dueAfter is when a delivery that waits without counting is due: when the lane
// is expected back, or when the error says so for the one conversation.
func (l *lane) dueAfter(err *core.Error, now time.Time) time.Time {
	if !holdsLane(err) && err.RetryAfter > 0 {
		return now.Add(err.RetryAfter)
	}
	if err.Code == core.CodeRateLimited && !holdsLane(err) {
		return now.Add(6 * time.Second) // the pair rate: one message in six seconds
	}
	return l.gate.retryAt(now)
}

// giveUp makes a delivery a dead letter: kept whole, with its reason, until a
// person settles it.
func (l *lane) giveUp(s *store.Settlement, d store.Delivery, err *core.Error, held bool, step *Step) {
	step.Step = "dead"
	if held {
		step.Step = "held"
	}
	s.Term = append(s.Term, store.Term{
		Delivery: d, Reason: mustJSON(reason{Error: *err, Held: held}), Deadline: time.Now().Add(l.t.DeadAfter),
	})
	l.mergeEnds(s, eventOf(d))
	l.dead.Add(1)
	l.b.totals.dead.Add(1)
	l.b.m.dead.WithLabelValues(l.t.ID, l.name, string(err.Code)).Inc()
	l.acquit(d.ID)
	l.b.log.Error("given up: see `wabridge dead`", "tenant", l.t.ID, "lane", l.name, "event", d.ID,
		"attempts", d.Attempt, "code", err.Code, "error", err.Error(), "held", held)
}

// reason is what is stored with a dead letter.
type reason struct {
	Error core.Error `json:"error"`
	Held  bool       `json:"held,omitempty"`
}

func reasonOf(data []byte) reason {
	var r reason
	if err := json.Unmarshal(data, &r); err != nil {
		r.Error = core.Error{Code: core.CodeInternal, Message: "the reason could not be read"}
	}
	return r
}

func (l *lane) sawError(event string, err *core.Error) {
	if err == nil {
		return
	}
	e := *err
	e.Err = nil
	l.mu.Lock()
	l.lastError = &LaneError{Time: time.Now().UTC(), Event: event, Error: e}
	l.mu.Unlock()
	l.b.m.errors.WithLabelValues(l.t.ID, l.name, string(err.Code)).Inc()
	if l.health != nil {
		l.health.saw(context.Background(), err)
	}
}
