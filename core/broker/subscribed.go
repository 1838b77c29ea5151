package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// vendorGone is the Vendor of the error of an endpoint that wants no more, ever:
// the HTTP status.
const vendorGone = "410"

// subscriptionsEvery is how often it is looked at what waits for subscriptions.
const subscriptionsEvery = 10 * time.Second

// subscriptionRetry are the waits before further attempts: about eleven hours.
func subscriptionRetry() []time.Duration {
	return []time.Duration{
		5 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour,
	}
}

func newSubscriptionLane(s *subscribed) *lane {
	linger := 20 * time.Millisecond
	if s.Batch > 1 {
		linger = 500 * time.Millisecond
	}
	l := newCRMLane(s.t, Lane{
		Name: s.ID, Connector: "subscription", Sink: s, MaxBatch: s.Batch, MaxInFlight: 8, Linger: linger, Retry: subscriptionRetry(),
	})
	l.name, l.queue = subscriptionQueue(s.ID), s.queue()
	return l
}

// Deliver implements [core.Sink]: the endpoint is told, and the subscription ended
// when the endpoint says that it wants no more.
func (s *subscribed) Deliver(ctx context.Context, batch []core.Delivery) []core.Result {
	results := s.sink.Deliver(ctx, batch)
	for _, r := range results {
		switch {
		case r.Err == nil:
			s.refused.Store(0)
		case r.Err.Vendor == vendorGone:
			s.t.halt(context.WithoutCancel(ctx), s, SubscriptionEnded, "the endpoint answered 410 Gone")
		case r.Err.Code == core.CodeInvalid && s.refused.Add(1) == refusedAll:
			s.t.halt(context.WithoutCancel(ctx), s, SubscriptionSuspended, fmt.Sprintf("the endpoint refused %d events in a row: %s", refusedAll, r.Err.Message))
		}
	}
	return results
}

// halt takes a subscription out of work, if it still is as it was.
func (t *tenant) halt(ctx context.Context, s *subscribed, state, why string) {
	t.subscriptions.lock()
	defer t.subscriptions.unlock()
	if slices.Contains(t.subscriptions.live(), s) {
		t.haltLocked(ctx, s.ID, state, why)
	}
}

func (t *tenant) haltLocked(ctx context.Context, id, state, why string) {
	n := *t.subscriptions.all[id]
	n.State, n.Why, n.Since = state, why, time.Now().UTC()
	if err := t.keepSubscription(ctx, &n); err != nil {
		t.b.log.Error("a subscription is not stopped yet", "tenant", t.ID, "subscription", id, "error", err)
		return
	}
	t.b.log.Error("a subscription gets no more events: see `wabridge subscription list`", "tenant", t.ID, "subscription", id, "state", state, "why", why)
}

// subscriptionsLoop runs the lanes of the subscriptions that are active, and sees
// to what waits for those that are not, or for which too much waits.
func (t *tenant) subscriptionsLoop(ctx context.Context) {
	var lanes sync.WaitGroup
	defer lanes.Wait()
	running := map[*subscribed]context.CancelFunc{}
	changed := time.Now()
	for {
		live := t.subscriptions.live()
		for s, stop := range running {
			if !slices.Contains(live, s) {
				stop()
				delete(running, s)
			}
		}
		for _, s := range live {
			if s.lane == nil || running[s] != nil {
				continue
			}
			lctx, stop := context.WithCancel(ctx)
			running[s] = stop
			lanes.Go(func() {
				defer stop()
				s.lane.run(lctx)
				s.sink.Close()
			})
		}
		if err := t.tendSubscriptions(ctx); err != nil && ctx.Err() == nil {
			t.b.log.Error("subscriptions are not looked after for now", "tenant", t.ID, "error", err)
		}
		var again <-chan time.Time
		if t.subscriptions.any() || time.Since(changed) < 2*callDeadline { // what was decided meanwhile may come yet
			again = time.After(subscriptionsEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.subscriptions.changed:
			changed = time.Now()
		case <-again:
		}
	}
}

// any reports whether there are subscriptions, whatever their states.
func (x *subscriptions) any() bool {
	x.lock()
	defer x.unlock()
	return len(x.all) > 0
}

// tendSubscriptions drops what waits for subscriptions that are not active,
// suspends those for which too much waits, and forgets those that ended long ago.
// It looks at the queues, not at what it did before, so that nothing is left
// behind by a crash, or by an event that was decided while a subscription went.
func (t *tenant) tendSubscriptions(ctx context.Context) error {
	x := &t.subscriptions
	now := time.Now()
	x.lock()
	defer x.unlock()
	for _, s := range x.all {
		if s.State == SubscriptionEnded && now.Sub(s.Since) > endedFor {
			if err := t.removeSubscription(ctx, s); err != nil {
				return err
			}
		}
	}
	for _, q := range t.b.o.Store.Stats().Queues {
		id, ok := strings.CutPrefix(q.Queue.Name, subscriptionQueues)
		if !ok || q.Queue.Tenant != t.ID || q.Depth == 0 {
			continue
		}
		old := now.Sub(q.Oldest) > suspendAfter
		switch s := x.all[id]; {
		case s == nil || !s.active():
			why := "the subscription was removed"
			if s != nil {
				why = "the subscription is " + s.State
			}
			if err := t.discard(ctx, q.Queue, why, func(store.Delivery) bool { return true }); err != nil {
				return err
			}
		case q.Depth > suspendAt:
			t.haltLocked(ctx, id, SubscriptionSuspended, fmt.Sprintf("more than %d events waited: they were not taken as fast as they came", suspendAt))
		case s.mailbox() && old:
			err := t.discard(ctx, q.Queue, "nobody took it out of the mailbox", func(d store.Delivery) bool { return now.Sub(d.Added) > suspendAfter })
			if err != nil {
				return err
			}
		case old && t.outOfReach(id):
			t.haltLocked(ctx, id, SubscriptionSuspended, "the endpoint has taken nothing for three days")
		}
	}
	return nil
}

// outOfReach reports whether a subscription's endpoint takes nothing now.
func (t *tenant) outOfReach(id string) bool {
	for _, s := range t.subscriptions.live() {
		if s.ID == id && s.lane != nil {
			_, paused := s.lane.gate.paused()
			return paused
		}
	}
	return false
}

// discard takes events out of a subscription's queue, from its beginning up to the
// first that is to stay; their stories say why. What is being delivered just now
// stays, too.
func (t *tenant) discard(ctx context.Context, q store.QueueID, why string, goes func(store.Delivery) bool) error {
	const page = 500
	for after := uint64(0); ; {
		ds, err := t.b.o.Store.Peek(ctx, q, after, page)
		if err != nil {
			return err
		}
		n := 0
		for n < len(ds) && goes(ds[n]) {
			after = ds[n].Seq
			n++
		}
		if err := t.drop(ctx, ds[:n], "dropped", why); err != nil {
			return err
		}
		if n < page {
			return nil
		}
	}
}

func (t *tenant) drop(ctx context.Context, ds []store.Delivery, step, why string) error {
	if len(ds) == 0 {
		return nil
	}
	s := store.Settlement{Drop: ds}
	now := time.Now().UTC()
	for _, d := range ds {
		e := eventOf(d)
		s.Record = append(s.Record, record(&Step{
			Time: now, Event: d.ID, Kind: e.Kind, Tenant: t.ID, Conversation: e.Conversation, Step: step, Lane: d.Queue.Name, Notes: []string{why},
		}, e))
	}
	_, err := t.b.o.Store.Settle(ctx, s)
	if !errors.Is(err, store.ErrStale) {
		return err
	}
	if len(ds) == 1 {
		return nil // being delivered
	}
	half := len(ds) / 2
	return errors.Join(t.drop(ctx, ds[:half], step, why), t.drop(ctx, ds[half:], step, why))
}

// replayable says why a dead letter cannot go back to its queue.
func (b *Broker) replayable(q store.QueueID) error {
	id, ok := strings.CutPrefix(q.Name, subscriptionQueues)
	if !ok {
		return nil
	}
	s, err := b.Subscription(q.Tenant, id)
	if err == nil && s.active() {
		return nil
	}
	state := "gone"
	if err == nil {
		state = s.State
	}
	return core.Errorf(core.CodeUndeliverable, "replayed", "the subscription %s is %s: nobody would take it", id, state)
}

// eraser is somebody who is asked to erase people.
type eraser struct {
	name  string
	queue store.QueueID
}

// erasers are the CRMs, and the subscriptions that want to know of erasures.
func (t *tenant) erasers() []eraser {
	out := []eraser{}
	for _, l := range t.crm {
		out = append(out, eraser{l.name, l.queue})
	}
	for _, s := range t.subscribersOf(&core.Event{Kind: core.KindContactErased}) {
		out = append(out, eraser{s.queue().Name, s.queue()})
	}
	return out
}
