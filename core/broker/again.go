package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Where the tenant wants it (Policy.RetryUnknown), a send of which nobody knows whether it
// was made is made once more. A status that was accepted before the second call begins
// stops it, whether or not it is decided by then: what statuses say of sends under way is
// overheard when they come, and asked for by the lane in the last moment. One that has left
// its lane, or waits in one that may not send, is taken out of its queue when the status is
// decided. What comes while the call is under way comes too late: if both were sent, that
// is counted.

// overheard is what statuses that are not decided yet say of sends that are under way: the
// messages that they became. It is lost with the process: the statuses are not.
type overheard struct {
	mu    sync.Mutex
	wamid map[[16]byte]string

	settling sync.Mutex // held while a send is settled because of its status
}

// maxOverheard bounds it; each is there from when its status came until it is decided.
const maxOverheard = 10_000

func (o *overheard) of(hash [16]byte) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wamid[hash]
}

func (o *overheard) forget(hash [16]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.wamid, hash)
}

// overhear takes note that a send became a message, if it may be made once more.
func (t *tenant) overhear(hash [16]byte, in *intent, wamid string) {
	if len(t.Policy.RetryUnknown) == 0 || in.State != intentStarted && in.State != intentAgain {
		return
	}
	o := &t.overheard
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wamid == nil || len(o.wamid) >= maxOverheard {
		o.wamid = map[[16]byte]string{}
	}
	o.wamid[hash] = wamid
}

// overhearWaiting overhears the statuses that came before the bridge stopped.
func (t *tenant) overhearWaiting(ctx context.Context) error {
	if len(t.Policy.RetryUnknown) == 0 {
		return nil
	}
	const page = 1000
	for after, seen := uint64(0), 0; seen < maxScan; {
		ds, err := t.b.o.Store.Peek(ctx, t.queue, after, page)
		if err != nil || len(ds) == 0 {
			return err
		}
		events := make([]placing, len(ds))
		for i, d := range ds {
			events[i] = placing{t, eventOf(d)}
		}
		err = t.b.eachIntent(ctx, events, func(p placing, hash [16]byte, in *intent) { t.overhear(hash, in, p.e.Status.MessageID) })
		if err != nil {
			return err
		}
		seen, after = seen+len(ds), ds[len(ds)-1].Seq
	}
	return nil
}

// wasSent reports whether a status says that a send was made, and settles it then. why is
// how the attempt at hand failed, nil when there was none.
func (l *lane) wasSent(ctx context.Context, d store.Delivery, why *core.Error) bool {
	wamid := l.t.overheard.of(whatsapp.IntentHash(d.ID))
	if wamid == "" {
		return false
	}
	l.t.overheard.settling.Lock()
	defer l.t.overheard.settling.Unlock()
	l.settleHold(ctx, d, time.Now().UTC(), wamid, why)
	return true
}

// onceMore reports whether a send of which nobody knows whether it was made is made
// once more: where the tenant wants that of its class, and it was not done before.
func (l *lane) onceMore(ctx context.Context, e *core.Event) bool {
	if !slices.Contains(l.t.Policy.RetryUnknown, e.Class) {
		return false
	}
	values, err := l.b.o.Store.Get(ctx, intentKey(l.t.ID, whatsapp.IntentHash(e.ID)))
	if err != nil {
		return false
	}
	in, _ := decode[intent](values[0])
	return in.State != intentAgain
}

// callOff takes a send that was to be made once more out of its queue, since its status
// says that it was made. It reports false when somebody has it in hand just now, who then
// settles it: the status looks again. in becomes what is known of it then.
func (t *tenant) callOff(ctx context.Context, u *turn, in *intent) bool {
	t.overheard.settling.Lock()
	defer t.overheard.settling.Unlock()
	// In the order in which it may move on.
	queues := []store.QueueID{queueOf(t.ID, queueTimers), t.queue, queueOf(t.ID, numberQueue(in.Number))}
	for _, n := range t.Numbers {
		if n.ID != in.Number { // a fallback may have taken it over
			queues = append(queues, queueOf(t.ID, numberQueue(n.ID)))
		}
	}
	for _, q := range queues {
		d, _, err := t.find(ctx, q, "", in.ID)
		if err != nil {
			return false
		}
		if d == nil {
			continue
		}
		send := eventOf(*d)
		done := *in
		done.State, done.MessageID, done.At = intentSent, u.e.Status.MessageID, u.step.Time
		step := Step{
			Time: u.step.Time, Event: in.ID, Kind: send.Kind, Tenant: t.ID, Conversation: in.Conversation, Step: "settled", Lane: numberQueue(in.Number),
			Attempt: in.Attempt, Ref: done.MessageID, Notes: []string{"the status says that it was sent: it is not sent once more"},
		}
		s := store.Settlement{Drop: []store.Delivery{*d}, Record: []store.Record{record(&step, send)}}
		t.sent(&s, send, &done)
		if _, err := t.b.o.Store.Settle(ctx, s); err != nil {
			return false
		}
		switch q {
		case t.queue:
			t.depth.Add(-1)
		case queueOf(t.ID, queueTimers):
			t.waiting.Add(-1)
		}
		*in = done
		return true
	}
	// It ended, since the turn began or otherwise (somebody took it away).
	values, err := t.b.o.Store.Get(ctx, intentKey(t.ID, u.sent.hash))
	if err != nil {
		return false
	}
	if now, ok := decode[intent](values[0]); ok {
		*in = *now
	}
	return true
}
