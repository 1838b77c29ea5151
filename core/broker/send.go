package broker

import (
	"context"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// sendFetch is how many sends are taken, and marked with one commit, at once.
const sendFetch = 64

// runSends runs a number's lane: each send is its own call, marked before it is
// made, and never made again while its outcome is unknown.
func (l *lane) runSends(ctx context.Context, calls *sync.WaitGroup) {
	for ctx.Err() == nil {
		if _, away := l.health.now(); away {
			l.sendElsewhere(ctx, calls)
			continue
		}
		here := l.health.stay(ctx)
		if !l.mayRun(here) {
			continue // as below
		}
		// No more is marked than can be sent at once: what is marked and not sent
		// when the process dies is a case for a person.
		n, err := l.gate.enter(here, l.together())
		if err != nil {
			continue // it goes elsewhere now, or the bridge stops
		}
		if state, paused := l.gate.paused(); paused && !l.probe(ctx, state) {
			l.gate.leave(n)
			continue
		}
		// What goes is chosen when something may go, so that the most urgent does.
		if l.ahead.ready(ctx, l.t.pace.plan) != nil || l.ahead.ready(ctx, l.limiter) != nil {
			l.gate.leave(n)
			return
		}
		ds, err := l.b.o.Store.Fetch(here, l.queue, n, l.sendLease())
		if err != nil {
			l.gate.leave(n)
			continue
		}
		if l.gate.shut() { // while nothing was there to send
			l.t.giveBack(ctx, ds)
			l.gate.leave(n)
			continue
		}
		l.sendBatch(ctx, ds, n, calls)
	}
}

// sendBatch marks what may go now, and has it sent once what was marked before has gone.
// The caller has n places in the gate, as many as there are deliveries at least.
func (l *lane) sendBatch(ctx context.Context, ds []store.Delivery, n int, calls *sync.WaitGroup) {
	began := time.Now()
	var s store.Settlement
	ready := l.mark(ctx, l.stillAllowed(ctx, l.paced(ctx, l.withUploads(ctx, l.heldByTemplate(ctx, l.unbarred(ctx, ds)), calls), &s)), s, calls)
	l.gate.leave(n - len(ready))
	if len(ready) == 0 {
		return
	}
	l.ahead.took(time.Since(began))
	before, gone := l.ahead.queue(len(ready))
	calls.Go(func() {
		defer close(gone)
		<-before
		l.sendInTurn(ctx, ready, calls)
	})
}

func (l *lane) sendLease() time.Duration { return laneLease + l.b.o.UnknownWait }

// marked is what is stored with a send before it is tried.
type marked struct {
	At time.Time `json:"at"`
}

// mark writes down that the sends are about to be tried, all in one commit with what
// paced has to say, and returns those that may be. One that was marked before, by a process that died
// or by itself, has an unknown outcome and waits for its status instead.
func (l *lane) mark(ctx context.Context, ds []store.Delivery, s store.Settlement, calls *sync.WaitGroup) []store.Delivery {
	now := time.Now().UTC()
	ready := ds[:0:0]
	for _, d := range ds {
		if len(d.Mark) > 0 {
			m, _ := decode[marked](d.Mark)
			l.hold(ctx, d, m.At, core.Errorf(core.CodeUnknownOutcome, "send", "the bridge stopped while this was being sent"), calls)
			continue
		}
		ready = append(ready, d)
		e := eventOf(d)
		if repeatable(e) {
			continue
		}
		s.Mark = append(s.Mark, store.Mark{Delivery: d, Mark: mustJSON(marked{At: now})})
		l.begin(d, e, now)
	}
	if len(s.Mark)+len(s.Nak)+len(s.Ack) == 0 {
		return ready
	}
	l.b.failpoint("send-before-mark")
	if _, err := l.b.settle(ctx, s); err != nil {
		for _, d := range ready {
			l.end(d)
		}
		for _, nak := range s.Nak {
			ready = append(ready, nak.Delivery)
		}
		l.t.giveBack(ctx, append(ready, s.Ack...))
		return nil
	}
	l.b.failpoint("send-after-mark")
	return ready
}

// begin remembers that a send was begun, so that a status that overtakes its
// answer finds it. The mark in the queue remembers it for the next process.
func (l *lane) begin(d store.Delivery, e *core.Event, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started[whatsapp.IntentHash(d.ID)] = &intent{
		ID: d.ID, Conversation: e.Conversation, Number: e.Number, State: intentStarted, Attempt: d.Attempt, At: at, Campaign: e.Campaign,
		lease: d.Lease,
	}
}

// end forgets a send that was settled: what came of it is in the store. Its next
// attempt may have begun by then.
func (l *lane) end(d store.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hash := whatsapp.IntentHash(d.ID)
	if in := l.started[hash]; in != nil && in.lease <= d.Lease {
		delete(l.started, hash)
	}
}

// begun returns what is known of a send that was begun and not settled.
func (l *lane) begun(hash [16]byte) *intent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started[hash]
}

// restore finds the sends that an earlier process began.
func (l *lane) restore() error {
	const page = 1000
	for after := uint64(0); ; {
		ds, err := l.b.o.Store.Peek(context.Background(), l.queue, after, page)
		if err != nil || len(ds) == 0 {
			return err
		}
		for _, d := range ds {
			if len(d.Mark) > 0 {
				m, _ := decode[marked](d.Mark)
				l.begin(d, eventOf(d), m.At)
			}
		}
		after = ds[len(ds)-1].Seq
	}
}

func (l *lane) putIntent(in *intent) store.Put {
	return store.Put{
		Key:   intentKey(l.t.ID, whatsapp.IntentHash(in.ID)),
		Value: mustJSON(in), Expires: in.At.Add(l.b.o.IntentRetention),
	}
}

// repeatable reports whether sending twice is harmless: marking a message as
// read is.
func repeatable(e *core.Event) bool { return e.Message != nil && e.Message.Type == core.TypeRead }

// sendOne makes one attempt and settles it.
func (l *lane) sendOne(ctx context.Context, d store.Delivery, calls *sync.WaitGroup) {
	cctx, cancel := outlive(ctx)
	defer cancel()
	began := time.Now()
	ds := []store.Delivery{d}
	l.b.failpoint("send-before-call")
	if l.wasSent(cctx, d, nil) {
		l.gate.leave(1)
		return
	}
	results := l.attempt(cctx, ds)
	l.b.failpoint("send-after-call")
	r := results[0]
	v := l.gate.learn(results, repeatable(eventOf(d)))[0]
	l.gate.leave(1)
	l.b.pauseAccount(l, r.Err)
	l.b.m.calls.WithLabelValues(l.t.ID, l.name).Observe(time.Since(began).Seconds())
	if v != verdictDone && l.wasSent(cctx, d, r.Err) {
		return
	}
	l.settleSend(cctx, d, r, v, began, func() { l.hold(ctx, d, time.Now().UTC(), r.Err, calls) })
}

// settleSend settles an attempt to send; held is called when its outcome is unknown.
func (l *lane) settleSend(ctx context.Context, d store.Delivery, r core.Result, v verdict, began time.Time, held func()) {
	e := eventOf(d)
	if v != verdictDone {
		l.sawError(d.ID, r.Err)
	}
	now := time.Now().UTC()
	in := &intent{ID: d.ID, Conversation: e.Conversation, Number: e.Number, MessageID: r.Ref, Attempt: d.Attempt, At: now}
	step := l.step(d, e, now)
	step.Ref, step.Error = r.Ref, r.Err
	step.Took = float64(now.Sub(began).Microseconds()) / 1000
	var s store.Settlement
	var told *core.Event
	stopped := false
	l.t.rowMet(&s, e, r.Err)
	switch v {
	case verdictUnknown:
		held()
		return
	case verdictDone:
		told = l.done(ctx, &s, d, e, in, &step)
		l.t.unlocked(&s, e.Number, d.ID, false, now)
	case verdictWaits:
		// Not sent: the mark is taken back, so that nobody takes it for unknown.
		l.locked(&s, e, r.Err, now)
		due := l.dueAfter(r.Err, now)
		s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due, Mark: []byte{}})
		l.waits(&s, d, e, now, due.UTC(), l.limitOf(r.Err), r.Err.Error())
	case verdictCounts:
		if due, ok := l.again(d.Attempt, now); ok {
			step.Step = "retry"
			l.retried.Add(1)
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due, Counts: true, Mark: []byte{}})
			break
		}
		fallthrough
	default:
		if l.marketingRefused(ctx, &s, d, e, r.Err, now) {
			v = verdictWaits
			break
		}
		if l.fileRefused(ctx, &s, d, e, r.Err, now, &step) {
			break
		}
		if l.templateRefused(&s, d, e, r.Err, now, &step) {
			break
		}
		if r.Err != nil && r.Err.Vendor == codeWindowClosed && l.goesInstead(&s, d, e, now, &step) {
			break
		}
		l.giveUp(&s, d, r.Err, false, &step)
		in.State, in.Campaign = intentRefused, e.Campaign
		s.Put = append(s.Put, l.putIntent(in))
		l.t.failed(&s, e, r.Err)
		stopped = l.stopped(&s, e, r.Err, now)
	}
	if v != verdictWaits {
		s.Record = append(s.Record, record(&step, e))
	}
	l.b.failpoint("send-before-outcome")
	if _, err := l.b.settle(ctx, s); err != nil {
		return // marked: after the lease it is taken for unknown
	}
	l.end(d)
	if stopped {
		l.t.depth.Add(1)
	}
	l.b.failpoint("send-after-outcome")
	if v == verdictDone {
		l.t.tellReached(ctx, told)
		l.count(e, now)
	}
}

func (l *lane) step(d store.Delivery, e *core.Event, now time.Time) Step {
	return Step{
		Time: now, Event: d.ID, Kind: e.Kind, Tenant: l.t.ID, Conversation: e.Conversation,
		Step: "delivered", Lane: l.name, Attempt: d.Attempt,
	}
}

func (l *lane) done(ctx context.Context, s *store.Settlement, d store.Delivery, e *core.Event, in *intent, step *Step) (told *core.Event) {
	s.Ack = append(s.Ack, d)
	in.State = intentSent
	told = l.t.sent(s, e, in)
	l.awaits(ctx, s, e, in.At)
	step.Follows = append(step.Follows, core.FollowID(e.ID, 1))
	return told
}

func (l *lane) count(e *core.Event, now time.Time) {
	l.delivered.Add(1)
	l.b.totals.sent.Add(1)
	l.b.m.delivered.WithLabelValues(l.t.ID, l.name).Inc()
	l.b.m.latency.WithLabelValues(l.t.ID, l.name).Observe(now.Sub(e.Accepted).Seconds())
}

// hold keeps a send whose outcome is unknown until its status says that it was
// sent, or the time is up and a person must decide. Later sends of its
// conversation wait meanwhile, others do not; it takes no place among the calls
// in flight.
func (l *lane) hold(ctx context.Context, d store.Delivery, since time.Time, why *core.Error, calls *sync.WaitGroup) {
	hash := whatsapp.IntentHash(d.ID)
	news := make(chan string, 1)
	l.mu.Lock()
	l.held[hash] = news
	l.mu.Unlock()
	l.b.m.held.WithLabelValues(l.t.ID, l.name).Inc()
	calls.Go(func() {
		defer func() {
			l.mu.Lock()
			delete(l.held, hash)
			l.mu.Unlock()
		}()
		// After a restart the wait starts anew: the status may have been on its
		// way all the time that nobody listened.
		timer := time.NewTimer(l.b.o.UnknownWait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return // stays marked; the next process holds it again
		case wamid := <-news:
			l.settleHold(ctx, d, since, wamid, why)
		case <-timer.C:
			l.settleHold(ctx, d, since, "", why)
		}
	})
}

// learned hands the wamid of a send to whoever holds it, if anybody does.
func (l *lane) learned(hash [16]byte, wamid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if news := l.held[hash]; news != nil {
		select {
		case news <- wamid:
		default:
		}
	}
}

func (l *lane) settleHold(ctx context.Context, d store.Delivery, since time.Time, wamid string, why *core.Error) {
	ctx = context.WithoutCancel(ctx)
	e := eventOf(d)
	now := time.Now().UTC()
	in := &intent{ID: d.ID, Conversation: e.Conversation, Number: e.Number, MessageID: wamid, Attempt: d.Attempt, At: now}
	step := l.step(d, e, now)
	var s store.Settlement
	var told *core.Event
	if wamid != "" {
		step.Step, step.Ref = "settled", wamid
		step.Notes = []string{"the answer was lost, but the status says that it was sent"}
		told = l.done(ctx, &s, d, e, in, &step)
	} else if l.onceMore(ctx, e) {
		step.Step, step.Error = "retry", why
		step.Notes = []string{"no status came within " + l.b.o.UnknownWait.String() + ": sent once more (retry_unknown)"}
		in.State, in.At = intentAgain, since
		s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: now, Counts: true, Mark: []byte{}})
		s.Put = append(s.Put, l.putIntent(in))
	} else {
		step.Error = why
		step.Notes = []string{"no status came within " + l.b.o.UnknownWait.String() + ": a person decides"}
		l.giveUp(&s, d, why, true, &step)
		in.State, in.At = intentHeld, since
		in.Campaign = e.Campaign
		l.t.rowBecame(&s, e, rowNews{State: campaign.RowUnknown, Why: why.Message})
		s.Put = append(s.Put, l.putIntent(in))
	}
	s.Record = append(s.Record, record(&step, e))
	if _, err := l.b.settle(ctx, s); err != nil {
		return // still marked: after the lease it is held again
	}
	l.end(d)
	if wamid != "" {
		l.t.tellReached(ctx, told)
		l.count(e, now)
	}
}
