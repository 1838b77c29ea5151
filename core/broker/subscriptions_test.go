package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// endpoints are what subscriptions call, by URL.
type endpoints struct {
	mu   sync.Mutex
	by   map[string]*endpoint
	made []SubscriberOptions // in the order in which they were put to work
}

type endpoint struct {
	sink
	SubscriberOptions
}

func (e *endpoint) Test(context.Context, string) (int, error) { return 204, nil }
func (e *endpoint) Close()                                    {}

func (x *endpoints) at(url string) *endpoint {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.by == nil {
		x.by = map[string]*endpoint{}
	}
	if x.by[url] == nil {
		x.by[url] = &endpoint{}
	}
	return x.by[url]
}

func (x *endpoints) make(o SubscriberOptions) (Subscriber, error) {
	if !strings.HasPrefix(o.URL, "https://") {
		return nil, core.Errorf(core.CodeInvalid, "subscription", "url: want https")
	}
	e := x.at(o.URL)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.made = append(x.made, o)
	return e, nil
}

// seals is a Sealer that hides nothing, but opens only what belongs.
type seals struct{}

func (seals) Seal(plain, belong []byte) ([]byte, error) { return slices.Concat(belong, plain), nil }

func (seals) Open(sealed, belong []byte) ([]byte, error) {
	if plain, ok := bytes.CutPrefix(sealed, belong); ok {
		return plain, nil
	}
	return nil, errors.New("another's")
}

const otherNumber = "206540352242922"

// subscribing is a bridge of two tenants that calls endpoints.
func subscribing(b *bridge) *endpoints {
	x := &endpoints{}
	b.noSync = true
	b.change = func(o *Options) {
		o.Sealer, o.Subscriber = seals{}, x.make
		o.Tenants = append(o.Tenants, Tenant{ID: "other", Numbers: []Number{{ID: otherNumber, Sink: b.wa, Rate: 1000}}})
	}
	return x
}

func (b *bridge) subscribe(r SubscriptionRequest) NewSubscription {
	b.Helper()
	if r.Tenant == "" {
		r.Tenant = "acme"
	}
	s, err := b.Subscribe(b.Context(), r)
	if err != nil {
		b.Fatalf("Subscribe: %v", err)
	}
	return s
}

func from(number, id string) core.Event {
	e := received(id, "+14155550100", "hi")
	e.Number = number
	return e
}

func TestSubscription_GetsItsTenantsEventsAndNoOthers(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		x := subscribing(b)
		b.start()
		b.accept(received("before", "+14155550100", "hi"))
		settled(time.Second)
		all := b.subscribe(SubscriptionRequest{URL: "https://all.example"})
		b.subscribe(SubscriptionRequest{URL: "https://changes.example", Kinds: []core.Kind{core.KindContactChanged}})
		b.subscribe(SubscriptionRequest{URL: "https://images.example", Filter: SubscriptionFilter{Types: []core.MessageType{core.TypeImage}}})
		if !strings.HasPrefix(all.Secret, "whsec_") || len(all.Secret) < 40 {
			t.Errorf("the secret is %q", all.Secret)
		}
		b.accept(received("ours", "+14155550100", "hi"), from(otherNumber, "theirs"))
		settled(time.Second)
		b.wantKinds(x.at("https://all.example").kinds(), "message.received ours")
		b.wantKinds(x.at("https://changes.example").kinds())
		b.wantKinds(x.at("https://images.example").kinds())

		// Another address at once, and it is there after a restart.
		url := "https://new.example"
		if _, err := b.ChangeSubscription(t.Context(), "acme", all.ID, SubscriptionChange{URL: &url}); err != nil {
			t.Fatal(err)
		}
		b.accept(received("changed", "+14155550100", "hi"))
		settled(time.Second)
		b.stop()
		b.start()
		b.accept(received("restarted", "+14155550100", "hi"))
		settled(time.Second)
		b.wantKinds(x.at("https://new.example").kinds(), "message.received changed", "message.received restarted")
		b.wantKinds(x.at("https://all.example").kinds(), "message.received ours")

		if err := b.Unsubscribe(t.Context(), "other", all.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another tenant may remove it: %v", err)
		}
		if err := b.Unsubscribe(t.Context(), "acme", all.ID); err != nil {
			t.Fatal(err)
		}
		b.accept(received("removed", "+14155550100", "hi"))
		settled(time.Second)
		if got := len(x.at("https://new.example").taken()); got != 2 || b.depth() != 0 {
			t.Errorf("told of %d events, %d wait", got, b.depth())
		}
	})
}

func TestSubscription_WithADeadEndpointStopsNobodyAndIsSuspended(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		x := subscribing(b)
		b.start()
		dead := b.subscribe(SubscriptionRequest{URL: "https://dead.example"})
		b.subscribe(SubscriptionRequest{URL: "https://alive.example"})
		x.at("https://dead.example").do = func(core.Delivery) core.Result {
			return core.Result{Err: &core.Error{Code: core.CodeForbidden, Message: "404"}}
		}
		for i := range 20 {
			b.accept(received(fmt.Sprintf("m%d", i), fmt.Sprintf("+141555501%02d", i), "hi"))
		}
		settled(5 * time.Second)
		if got, crm := len(x.at("https://alive.example").taken()), len(b.crm.taken()); got != 20 || crm != 20 {
			t.Errorf("the other endpoint has %d events, the CRM %d", got, crm)
		}
		state := func() Subscription {
			s, err := b.Subscription("acme", dead.ID)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if tries := len(x.at("https://dead.example").taken()); tries > 10 {
			t.Errorf("it was tried %d times in five seconds", tries)
		}
		if s := state(); s.State != SubscriptionActive || !strings.Contains(s.Why, "it waits: ") || !strings.Contains(s.Why, "404") {
			t.Errorf("it does not say that it waits: %+v", s)
		}
		for _, s := range b.Subscriptions("acme") {
			if waits := s.Why != ""; waits != (s.ID == dead.ID) {
				t.Errorf("in the list: %+v", s)
			}
		}
		b.off(suspendAfter - time.Minute)
		if s := state(); s.State != SubscriptionActive || b.depth() != 20 {
			t.Fatalf("a minute too early it is %s, and %d wait", s.State, b.depth())
		}
		settled(2 * time.Minute)
		if s := state(); s.State != SubscriptionSuspended || s.Why == "" || b.depth() != 0 {
			t.Fatalf("after three days: %+v, %d wait", s, b.depth())
		}
		if n := b.tenants["acme"].subscriptions.halted.Load(); n != 1 {
			t.Errorf("%d are counted as suspended", n)
		}
		if story, err := b.Why(t.Context(), "acme", "m3"); err != nil || story.Steps[len(story.Steps)-1].Step != "dropped" {
			t.Errorf("its story does not end with that: %v %+v", err, story.Steps)
		}

		x.at("https://dead.example").do = nil
		active := SubscriptionActive
		if _, err := b.ChangeSubscription(t.Context(), "", dead.ID, SubscriptionChange{State: &active}); err != nil {
			t.Fatal(err)
		}
		n := len(x.at("https://dead.example").taken())
		b.accept(received("again", "+14155550100", "hi"))
		settled(time.Second)
		b.wantKinds(x.at("https://dead.example").kinds()[n:], "message.received again")
	})
}

func TestSubscription_IsSuspendedWhenItRefusesEverything(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		x := subscribing(b)
		b.start()
		s := b.subscribe(SubscriptionRequest{URL: "https://picky.example"})
		taken := refusedAll - 1 // so many are refused before one is taken
		x.at("https://picky.example").do = func(core.Delivery) core.Result {
			if taken--; taken == -1 {
				return core.Result{}
			}
			return core.Result{Err: &core.Error{Code: core.CodeInvalid, Message: "the endpoint answered 400"}}
		}
		tell := func(from, to int) string {
			for i := from; i < to; i++ {
				b.accept(received(fmt.Sprintf("m%d", i), "+14155550100", "hi"))
			}
			settled(subscriptionsEvery + time.Second)
			s, err := b.Subscription("acme", s.ID)
			if err != nil {
				t.Fatal(err)
			}
			return s.State
		}
		if state := tell(0, 2*refusedAll-1); state != SubscriptionActive {
			t.Errorf("one too early it is %s", state)
		}
		if state := tell(2*refusedAll-1, 3*refusedAll); state != SubscriptionSuspended || len(b.dead()) != 2*refusedAll-1 || b.depth() != 0 {
			t.Errorf("it is %s, with %d dead letters, and %d wait", state, len(b.dead()), b.depth())
		}
	})
}

func TestSubscription_EndsWhenItsEndpointIsGone(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		x := subscribing(b)
		b.start()
		s := b.subscribe(SubscriptionRequest{URL: "https://gone.example"})
		x.at("https://gone.example").do = func(core.Delivery) core.Result {
			return core.Result{Err: &core.Error{Code: core.CodeForbidden, Message: "gone", Vendor: "410"}}
		}
		b.accept(received("m1", "+14155550100", "hi"), received("m2", "+14155550101", "hi"))
		settled(subscriptionsEvery + time.Second)
		tried := len(x.at("https://gone.example").taken())
		b.accept(received("m3", "+14155550100", "hi"))
		settled(subscriptionsEvery + time.Second)
		got, err := b.Subscription("acme", s.ID)
		if err != nil || got.State != SubscriptionEnded || b.depth() != 0 || len(x.at("https://gone.example").taken()) != tried {
			t.Errorf("%+v, %v: %d wait", got, err, b.depth())
		}
		b.off(endedFor)
		settled(time.Second)
		if all := b.Subscriptions(""); len(all) != 0 {
			t.Errorf("it is there after %v: %+v", endedFor, all)
		}
	})
}

func TestSubscription_IsSignedByBothSecretsWhileTheyChange(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		x := subscribing(b)
		b.start()
		s := b.subscribe(SubscriptionRequest{URL: "https://a.example"})
		n, err := b.RotateSubscription(t.Context(), "acme", s.ID, 0)
		if err != nil || n.Secret == s.Secret {
			t.Fatalf("%+v, %v", n, err)
		}
		at := time.Now().Add(24 * time.Hour)
		last := func() SubscriberOptions { return x.made[len(x.made)-1] }
		if o := last(); o.Secret.Reveal() != n.Secret || o.Old.Reveal() != s.Secret || !o.OldUntil.Equal(at) {
			t.Errorf("signs with %v until %v", []string{o.Secret.Reveal(), o.Old.Reveal()}, o.OldUntil)
		}
		b.stop()
		b.start()
		if o := last(); o.Secret.Reveal() != n.Secret || o.Old.Reveal() != s.Secret || !o.OldUntil.Equal(at) {
			t.Errorf("after a restart it signs with %v until %v", []string{o.Secret.Reveal(), o.Old.Reveal()}, o.OldUntil)
		}
		last2, err := b.RotateSubscription(t.Context(), "acme", s.ID, -1)
		if o := last(); err != nil || o.Secret.Reveal() != last2.Secret || o.Old != "" {
			t.Errorf("without an overlap it signs with the old one, too: %v", err)
		}
	})
}

func TestSubscription_MayBeAMailbox(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		subscribing(b)
		b.start()
		s := b.subscribe(SubscriptionRequest{Kinds: []core.Kind{core.KindMessageReceived}})
		if s.Secret != "" {
			t.Error("a mailbox has a secret")
		}
		look := func(after string, limit int, want ...string) string {
			t.Helper()
			page, err := b.Mailbox(t.Context(), "acme", s.ID, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range page.Events {
				got = append(got, eventOf(store.Delivery{Data: e}).ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("after %q there is %q, want %q", after, got, want)
			}
			return page.Next
		}
		look("", 10)
		b.accept(received("m1", "+14155550100", "a"), received("m2", "+14155550101", "b"), received("m3", "+14155550102", "c"))
		settled(time.Second)
		events := look("", 2, "m1", "m2")
		look("", 2, "m1", "m2") // not had until what comes after is asked for
		last := look(events, 10, "m3")
		look(last, 10)
		// A restart of an empty mailbox forgets where it was. Nothing is skipped.
		b.stop()
		b.start()
		b.accept(received("m4", "+14155550100", "d"))
		settled(time.Second)
		look(last, 10, "m4")
		if story, err := b.Why(t.Context(), "acme", "m1"); err != nil || story.Steps[len(story.Steps)-1].Step != "delivered" {
			t.Errorf("the story of what was taken out: %v %+v", err, story.Steps)
		}
		b.off(suspendAfter)
		settled(time.Minute)
		if b.depth() != 0 {
			t.Error("nobody looks, and it is still there")
		}
	})
}

func TestSubscription_RemovedLeavesNothingBehindButDeadLetters(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		x := subscribing(b)
		b.start()
		s := b.subscribe(SubscriptionRequest{URL: "https://a.example"})
		x.at("https://a.example").do = func(d core.Delivery) core.Result {
			if d.Event.ID == "bad" {
				return core.Result{Err: &core.Error{Code: core.CodeInvalid, Message: "422"}}
			}
			return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "503"}}
		}
		b.accept(received("bad", "+14155550100", "hi"), received("m1", "+14155550101", "hi"), received("m2", "+14155550101", "hi"))
		settled(time.Second)
		if len(b.dead()) != 1 || b.depth() != 2 {
			t.Fatalf("%d dead, %d wait", len(b.dead()), b.depth())
		}
		if err := b.Unsubscribe(t.Context(), "", s.ID); err != nil {
			t.Fatal(err)
		}
		settled(subscriptionsEvery)
		if b.depth() != 0 || len(b.Subscriptions("acme")) != 0 {
			t.Errorf("%d wait for nobody", b.depth())
		}
		letter := b.dead()[0].ID
		if err := b.Replay(t.Context(), letter); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("replayed for nobody: %v", err)
		}
		if err := b.Resolve(t.Context(), "removed", letter); err != nil {
			t.Error(err)
		}
	})
}

func TestSubscription_TellsWhoAsksForItThatSomebodyWasErased(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		x := subscribing(b)
		b.start()
		b.subscribe(SubscriptionRequest{URL: "https://erasures.example", Kinds: []core.Kind{core.KindContactErased}})
		b.subscribe(SubscriptionRequest{URL: "https://all.example"})
		b.subscribe(SubscriptionRequest{}) // a mailbox that nobody looks into
		b.accept(received("m1", "+14155550100", "hi"))
		settled(time.Second)
		if b.depth() != 1 {
			t.Errorf("%d wait in the mailbox", b.depth())
		}
		if _, err := b.EraseContact(t.Context(), EraseRequest{Tenant: "acme", Contact: "+14155550100", Reason: "asked", By: "ana"}); err != nil {
			t.Fatal(err)
		}
		settled(time.Minute)
		if got := x.at("https://erasures.example").taken(); len(got) != 1 || got[0].event.Kind != core.KindContactErased || got[0].event.Contact.Phone != "+14155550100" {
			t.Errorf("told %+v", got)
		}
		b.wantKinds(x.at("https://all.example").kinds(), "message.received m1")
		if b.depth() != 0 {
			t.Errorf("what they wrote is still in a mailbox: %d", b.depth())
		}
	})
}

func TestSubscribe_TakesOnlyWhatMakesSense(t *testing.T) {
	run(t, func(b *bridge) {
		t := b.T
		subscribing(b)
		b.start()
		for _, tc := range []struct {
			name string
			r    SubscriptionRequest
			want string
		}{
			{"no tenant", SubscriptionRequest{Tenant: "none", URL: "https://a.example"}, "no tenant"},
			{"no https", SubscriptionRequest{URL: "http://a.example"}, "want https"},
			{"unknown kind", SubscriptionRequest{URL: "https://a.example", Kinds: []core.Kind{"message.eaten"}}, "message.eaten"},
			{"a kind of the bridge's own", SubscriptionRequest{URL: "https://a.example", Kinds: []core.Kind{core.KindTimer}}, "kinds"},
			{"kind twice", SubscriptionRequest{URL: "https://a.example", Kinds: []core.Kind{core.KindUnknown, core.KindUnknown}}, "twice"},
			{"another's number", SubscriptionRequest{URL: "https://a.example", Filter: SubscriptionFilter{Numbers: []string{otherNumber}}}, "numbers"},
			{"large batch", SubscriptionRequest{URL: "https://a.example", Batch: 101}, "batch"},
			{"two lines", SubscriptionRequest{URL: "https://a.example", Name: "a\nb"}, "name"},
		} {
			if tc.r.Tenant == "" {
				tc.r.Tenant = "acme"
			}
			if _, err := b.Subscribe(t.Context(), tc.r); core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
		first := b.subscribe(SubscriptionRequest{URL: "https://a.example", Key: "k"})
		again := b.subscribe(SubscriptionRequest{URL: "https://a.example", Key: "k"})
		if again.ID != first.ID || !again.Duplicate || again.Secret != "" || first.Duplicate {
			t.Errorf("the same key: %+v", again)
		}
		if _, err := b.Subscribe(t.Context(), SubscriptionRequest{Tenant: "acme", URL: "https://b.example", Key: "k"}); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("the same key for something else: %v", err)
		}
		for range maxSubscriptions - 1 {
			b.subscribe(SubscriptionRequest{URL: "https://a.example"})
		}
		if _, err := b.Subscribe(t.Context(), SubscriptionRequest{Tenant: "acme", URL: "https://a.example"}); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("one too many: %v", err)
		}
		ended := SubscriptionEnded
		if _, err := b.ChangeSubscription(t.Context(), "acme", first.ID, SubscriptionChange{State: &ended}); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("a person ends it: %v", err)
		}
		if test, err := b.TestSubscription(t.Context(), "acme", first.ID); err != nil || !test.Delivered || test.Status != 204 {
			t.Errorf("tested: %+v, %v", test, err)
		}
	})
}
