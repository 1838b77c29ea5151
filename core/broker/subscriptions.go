package broker

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// subscriptions are a tenant's. They change while the bridge runs: what is stored
// is in all, and those that are active have something that runs; see
// subscriptionsLoop.
type subscriptions struct {
	turn    chan struct{} // one change at a time; see lock
	all     map[string]*subscription
	running atomic.Pointer[[]*subscribed]
	changed chan struct{}
	halted  atomic.Int64 // how many are suspended
}

// subscribed is an active subscription. It is not changed: another replaces it.
type subscribed struct {
	Subscription
	t *tenant
	// lane and sink are nil for a mailbox.
	lane *lane
	sink Subscriber
	// refused counts the events in a row that the endpoint refused for good.
	refused atomic.Int64
}

// lock waits until nobody else changes the subscriptions. It is held while the
// store works.
func (x *subscriptions) lock()   { x.turn <- struct{}{} }
func (x *subscriptions) unlock() { <-x.turn }

func (x *subscriptions) live() []*subscribed {
	if p := x.running.Load(); p != nil {
		return *p
	}
	return nil
}

// find returns what is stored of a subscription.
func (x *subscriptions) find(id string) (*subscription, error) {
	if s := x.all[id]; s != nil {
		return s, nil
	}
	return nil, errNoSubscription(id)
}

// subscribersOf returns the active subscriptions that are about an event.
func (t *tenant) subscribersOf(e *core.Event) []*subscribed {
	var out []*subscribed
	for _, s := range t.subscriptions.live() {
		if s.wants(e) {
			out = append(out, s)
		}
	}
	return out
}

// restoreSubscriptions reads the tenant's subscriptions. One that cannot be put to
// work is suspended until somebody changes it, or the next start.
func (t *tenant) restoreSubscriptions(ctx context.Context) error {
	x := &t.subscriptions
	x.all, x.turn, x.changed = map[string]*subscription{}, make(chan struct{}, 1), make(chan struct{}, 1)
	err := eachEntry(ctx, t.b.o.Store, t.ID, bucketSubscriptions, "", func(e store.Entry) bool {
		if s, ok := decode[subscription](e.Value); ok {
			x.all[s.ID] = s
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, s := range x.all {
		if err := t.employ(s); err != nil {
			s.State, s.Since, s.Why = SubscriptionSuspended, time.Now().UTC(), err.Error()
			t.b.log.Error("a subscription cannot go on", "tenant", t.ID, "subscription", s.ID, "error", err)
		}
	}
	x.count()
	return nil
}

// employ puts a subscription to work as it is now, and ends what worked for it
// before.
func (t *tenant) employ(s *subscription) error {
	x := &t.subscriptions
	next := make([]*subscribed, 0, len(x.all))
	for _, o := range x.live() {
		if o.ID != s.ID {
			next = append(next, o)
		}
	}
	if s.active() {
		n := &subscribed{Subscription: s.Subscription, t: t}
		if !s.mailbox() {
			var err error
			if n.sink, err = t.subscriber(s); err != nil {
				return err
			}
			n.lane = newSubscriptionLane(n)
		}
		next = append(next, n)
	}
	x.running.Store(&next)
	x.count()
	select {
	case x.changed <- struct{}{}:
	default:
	}
	return nil
}

// count takes note of how many are suspended.
func (x *subscriptions) count() {
	n := int64(0)
	for _, s := range x.all {
		if s.State == SubscriptionSuspended {
			n++
		}
	}
	x.halted.Store(n)
}

// keepSubscription stores a subscription and puts it to work.
func (t *tenant) keepSubscription(ctx context.Context, s *subscription) error {
	if s.active() && !s.mailbox() {
		probe, err := t.subscriber(s) // what is wrong with it is said before it is stored
		if err != nil {
			return err
		}
		probe.Close()
	}
	if _, err := t.b.settle(ctx, store.Settlement{Put: []store.Put{{Key: t.subscriptionKey(s.ID), Value: mustJSON(s)}}}); err != nil {
		return err
	}
	t.subscriptions.all[s.ID] = s
	return t.employ(s)
}

// subscriptionsOf returns the tenant of a subscription, with its subscriptions
// locked. The tenant "" looks in all.
func (b *Broker) subscriptionsOf(tenant, id string) (t *tenant, s *subscription, unlock func(), err error) {
	for _, t := range b.tenants {
		if tenant != "" && t.ID != tenant {
			continue
		}
		t.subscriptions.lock()
		if s, err := t.subscriptions.find(id); err == nil {
			return t, s, t.subscriptions.unlock, nil
		}
		t.subscriptions.unlock()
	}
	return nil, nil, nil, errNoSubscription(id)
}

// Subscribe makes a subscription. Its secret is in the answer, and nowhere else
// afterwards.
func (b *Broker) Subscribe(ctx context.Context, r SubscriptionRequest) (NewSubscription, error) {
	t := b.tenants[r.Tenant]
	if t == nil {
		return NewSubscription{}, noTenant("subscription", r.Tenant)
	}
	setDefault(&r.Batch, 1)
	now := time.Now().UTC()
	s := &subscription{Subscription: Subscription{
		ID: newSubscriptionID(), Tenant: t.ID, Name: r.Name, URL: r.URL, Kinds: r.Kinds, Filter: r.Filter, Batch: r.Batch,
		State: SubscriptionActive, Since: now, Created: now, By: r.By,
	}}
	if s.Kinds == nil {
		s.Kinds = []core.Kind{}
	}
	if err := t.check(&s.Subscription); err != nil {
		return NewSubscription{}, err
	}
	t.subscriptions.lock()
	defer t.subscriptions.unlock()
	if r.Key != "" {
		sum := sha256.Sum256([]byte(t.ID + "\x00" + r.Key))
		s.ID = "sub-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:12]
		if was := t.subscriptions.all[s.ID]; was != nil {
			if was.URL != s.URL {
				return NewSubscription{}, core.Errorf(core.CodeUndeliverable, "subscription", "another subscription was made with this Idempotency-Key")
			}
			return NewSubscription{Subscription: was.Subscription, Duplicate: true}, nil
		}
	}
	if len(t.subscriptions.all) >= maxSubscriptions {
		return NewSubscription{}, core.Errorf(core.CodeUndeliverable, "subscription", "there are %d, as many as a tenant may have: remove one", maxSubscriptions)
	}
	out := NewSubscription{}
	if !s.mailbox() {
		secret := newSecret()
		if err := t.seal(s, signing{Secret: secret.Reveal()}); err != nil {
			return NewSubscription{}, err
		}
		out.Secret = secret.Reveal()
	}
	if err := t.keepSubscription(ctx, s); err != nil {
		return NewSubscription{}, err
	}
	out.Subscription = s.Subscription
	return out, nil
}

// Subscriptions lists a tenant's ("" for all), the oldest first.
func (b *Broker) Subscriptions(tenant string) []Subscription {
	out := []Subscription{}
	for _, id := range slices.Sorted(maps.Keys(b.tenants)) {
		if t := b.tenants[id]; tenant == "" || id == tenant {
			t.subscriptions.lock()
			for _, s := range t.subscriptions.all {
				out = append(out, t.subscriptions.shown(s))
			}
			t.subscriptions.unlock()
		}
	}
	slices.SortStableFunc(out, func(a, b Subscription) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Subscription returns one.
func (b *Broker) Subscription(tenant, id string) (Subscription, error) {
	_, s, unlock, err := b.subscriptionsOf(tenant, id)
	if err != nil {
		return Subscription{}, err
	}
	defer unlock()
	return b.tenants[s.Tenant].subscriptions.shown(s), nil
}

// shown returns a subscription for people: of an active one, why what it is to be told waits.
func (x *subscriptions) shown(s *subscription) Subscription {
	out := s.Subscription
	for _, live := range x.live() {
		if live.ID != s.ID || live.lane == nil {
			continue
		}
		var lane LaneStatus
		if live.lane.gate.status(&lane); lane.State != LaneRunning {
			out.Why = "it waits" + withWhy(lane.Why)
		}
	}
	return out
}

// ChangeSubscription changes one. What waits for it goes on as it is now. Events
// that happen while it is not active are not kept for it.
func (b *Broker) ChangeSubscription(ctx context.Context, tenant, id string, c SubscriptionChange) (Subscription, error) {
	t, s, unlock, err := b.subscriptionsOf(tenant, id)
	if err != nil {
		return Subscription{}, err
	}
	defer unlock()
	n := *s
	set(&n.Name, c.Name)
	set(&n.URL, c.URL)
	set(&n.Kinds, c.Kinds)
	set(&n.Filter, c.Filter)
	set(&n.Batch, c.Batch)
	if n.Kinds == nil {
		n.Kinds = []core.Kind{}
	}
	if n.mailbox() != s.mailbox() {
		return Subscription{}, core.Errorf(core.CodeInvalid, "subscription", "url: a mailbox stays one, and what has an endpoint keeps having one: make another subscription")
	}
	if c.State != nil {
		if *c.State != SubscriptionActive && *c.State != SubscriptionPaused {
			return Subscription{}, core.Errorf(core.CodeInvalid, "subscription", "state: want %s or %s", SubscriptionActive, SubscriptionPaused)
		}
		if n.State != *c.State {
			n.State, n.Why, n.Since = *c.State, "", time.Now().UTC()
		}
	}
	if err := t.check(&n.Subscription); err != nil {
		return Subscription{}, err
	}
	if err := t.keepSubscription(ctx, &n); err != nil {
		return Subscription{}, err
	}
	return n.Subscription, nil
}

func set[T any](p, v *T) {
	if v != nil {
		*p = *v
	}
}

// Unsubscribe removes a subscription. What waits for it is dropped; its dead
// letters stay until a person resolves them.
func (b *Broker) Unsubscribe(ctx context.Context, tenant, id string) error {
	t, s, unlock, err := b.subscriptionsOf(tenant, id)
	if err != nil {
		return err
	}
	defer unlock()
	return t.removeSubscription(ctx, s)
}

func (t *tenant) removeSubscription(ctx context.Context, s *subscription) error {
	if _, err := t.b.settle(ctx, store.Settlement{Put: []store.Put{{Key: t.subscriptionKey(s.ID)}}}); err != nil {
		return err
	}
	delete(t.subscriptions.all, s.ID)
	gone := *s
	gone.State = SubscriptionEnded
	t.b.m.forget(t.ID, subscriptionQueue(s.ID))
	return t.employ(&gone)
}

// RotateSubscription gives a subscription another secret, which is in the answer.
// The old one signs, too, for the overlap: 24 hours unless given, at most a week,
// and not at all when it is negative.
func (b *Broker) RotateSubscription(ctx context.Context, tenant, id string, overlap time.Duration) (NewSubscription, error) {
	t, s, unlock, err := b.subscriptionsOf(tenant, id)
	if err != nil {
		return NewSubscription{}, err
	}
	defer unlock()
	setDefault(&overlap, defaultOverlap)
	switch {
	case s.mailbox():
		return NewSubscription{}, core.Errorf(core.CodeInvalid, "subscription", "a mailbox has no secret")
	case overlap > maxOverlap:
		return NewSubscription{}, core.Errorf(core.CodeInvalid, "subscription", "overlap: at most %v", maxOverlap)
	}
	n := *s
	keys := signing{Secret: newSecret().Reveal()}
	n.OldSecretUntil = time.Time{}
	if plain, err := b.o.Sealer.Open(s.Sealed, s.belong()); err == nil && overlap > 0 {
		if was, ok := decode[signing](plain); ok {
			keys.Old, n.OldSecretUntil = was.Secret, time.Now().Add(overlap).UTC()
		}
	}
	if err := t.seal(&n, keys); err != nil {
		return NewSubscription{}, err
	}
	if err := t.keepSubscription(ctx, &n); err != nil {
		return NewSubscription{}, err
	}
	return NewSubscription{Subscription: n.Subscription, Secret: keys.Secret}, nil
}

// TestSubscription makes a call that tells of nothing, whatever the state is.
func (b *Broker) TestSubscription(ctx context.Context, tenant, id string) (SubscriptionTest, error) {
	t, s, unlock, err := b.subscriptionsOf(tenant, id)
	if err != nil {
		return SubscriptionTest{}, err
	}
	if s.mailbox() {
		unlock()
		return SubscriptionTest{}, core.Errorf(core.CodeInvalid, "subscription", "a mailbox is not called: look into it")
	}
	sink, err := t.subscriber(s)
	unlock()
	if err != nil {
		return SubscriptionTest{}, err
	}
	defer sink.Close()
	began := time.Now()
	status, err := sink.Test(ctx, id)
	return SubscriptionTest{Delivered: err == nil, Status: status, Took: milliseconds(time.Since(began)), Error: core.AsError(err)}, nil
}

// MailboxPage is what is in a mailbox.
type MailboxPage struct {
	// Events are in the order in which they came; of a conversation, that is the
	// order in which they happened.
	Events []json.RawMessage `json:"events"`
	// Next is what to ask for next: what comes after. It is the last event's ID.
	Next string `json:"next,omitempty"`
}

// maxMailboxPage is how many events a page has at most.
const maxMailboxPage = 500

// Mailbox returns what is in a subscription's mailbox, the oldest first. What is
// up to the event named by after, the last of an earlier page, is taken out:
// whoever asks for what comes after it has it.
func (b *Broker) Mailbox(ctx context.Context, tenant, id, after string, limit int) (MailboxPage, error) {
	t, s, unlock, err := b.subscriptionsOf(tenant, id)
	if err != nil {
		return MailboxPage{}, err
	}
	defer unlock()
	if !s.mailbox() {
		return MailboxPage{}, core.Errorf(core.CodeInvalid, "subscription", "it has an endpoint, not a mailbox: make one without a url")
	}
	page := MailboxPage{Events: []json.RawMessage{}, Next: after}
	ds, err := b.o.Store.Peek(ctx, s.queue(), 0, maxMailboxPage)
	if err != nil {
		return page, err
	}
	had := 1 + slices.IndexFunc(ds, func(d store.Delivery) bool { return d.ID == after })
	if err := t.drop(ctx, ds[:had], "delivered", "taken out of the mailbox"); err != nil {
		return page, err
	}
	ds, err = b.o.Store.Peek(ctx, s.queue(), 0, min(max(limit, 1), maxMailboxPage))
	for _, d := range ds {
		page.Events, page.Next = append(page.Events, d.Data), d.ID
	}
	return page, err
}
