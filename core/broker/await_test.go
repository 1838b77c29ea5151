package broker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

func awaiting(v core.StatusValue) func(*SendRequest) {
	return func(r *SendRequest) { r.Message.Await = v }
}

// The second message of a conversation goes when the first was delivered, not before,
// whoever else is written to meanwhile, and over a restart.
func TestAwait_TheNextGoesWhenThisOneWasDelivered(t *testing.T) {
	for _, restart := range []bool{false, true} {
		run(t, func(b *bridge) {
			b.start()
			first := b.order("k1", ana, "the text", awaiting(core.StatusDelivered))
			next := b.order("k2", ana, "the picture")
			settled(time.Second)
			b.order("k3", berto, "to somebody else")
			settled(10 * time.Second)
			b.wantSaid("the text", "to somebody else")
			wamid := b.wamidOf(first)
			b.accept(statusOf(first, wamid, core.StatusSent))
			settled(10 * time.Second)
			b.wantSaid("the text", "to somebody else")
			b.wantNotes(next, first+" is to be delivered first, for 2m0s at most")
			if restart {
				b.stop()
				settled(time.Second)
				b.start()
				settled(10 * time.Second)
				b.wantSaid("the text", "to somebody else")
			}
			b.accept(statusOf(first, wamid, core.StatusRead)) // delivered may never come
			settled(6 * time.Second)
			b.wantSaid("the text", "to somebody else", "the picture")
			if n := len(b.dead()); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

func TestAwait_EndsWithAFailureOrItsTime(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		first := b.order("k1", ana, "fails", awaiting(core.StatusDelivered))
		b.order("k2", ana, "after a failure")
		b.order("k3", berto, "is never told of", awaiting(core.StatusSent))
		b.order("k4", berto, "after its time")
		settled(time.Second)
		b.wantSaid("fails", "is never told of")
		b.accept(statusOf(first, b.wamidOf(first), core.StatusFailed))
		settled(2 * time.Second)
		b.wantSaid("fails", "is never told of", "after a failure")
		settled(2*time.Minute - 4*time.Second)
		b.wantSaid("fails", "is never told of", "after a failure")
		settled(2 * time.Second)
		b.wantSaid("fails", "is never told of", "after a failure", "after its time")
	})
}

// wamidOf is WhatsApp's id of a message that was sent.
func (b *bridge) wamidOf(intent string) string {
	b.Helper()
	for _, tr := range b.crm.taken() {
		if tr.event.Kind == core.KindMessageSent && tr.event.Cause == intent {
			return tr.event.Message.ID
		}
	}
	b.Fatalf("%s was not sent", intent)
	return ""
}

func TestAwait_IsAskedOfTheTemplateThatGoesInstead(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(outside)
		b.start()
		b.write("wamid.1", ana, "hello")
		settled(25 * time.Hour)
		first := b.order("k1", ana, "the text", awaiting(core.StatusDelivered))
		b.order("k2", ana, "template otp")
		settled(10 * time.Second)
		b.wantSaid("info")
		b.accept(statusOf(first, b.wamidOf(first), core.StatusDelivered))
		settled(6 * time.Second)
		b.wantSaid("info", "otp")
	})
}

// When the two contacts turn out to be one person, whatever is said to them goes after what
// was said before, under the contact that stays: what waits already, and what comes later.
func TestAwait_OutlivesAMerge(t *testing.T) {
	for _, restart := range []bool{false, true} {
		run(t, func(b *bridge) {
			b.noSync = true
			b.start()
			b.write("wamid.1", ana, "hello")
			b.write("wamid.2", berto, "hello")
			stays := b.whoIs(berto)
			first := b.order("k1", ana, "the text", awaiting(core.StatusDelivered))
			settled(time.Second)
			own := b.order("k2", berto, "to the one who stays", awaiting(core.StatusDelivered))
			b.order("k3", ana, "the picture")
			settled(time.Second)
			b.merge(stays, b.whoIs(ana))
			b.order("k4", ana, "after the merge")
			settled(10 * time.Second)
			b.wantSaid("the text", "to the one who stays")
			if restart {
				b.stop()
				b.start()
				settled(10 * time.Second)
				b.wantSaid("the text", "to the one who stays")
			}
			b.accept(statusOf(own, b.wamidOf(own), core.StatusDelivered)) // there are two to wait for
			settled(10 * time.Second)
			b.wantSaid("the text", "to the one who stays")
			b.accept(statusOf(first, b.wamidOf(first), core.StatusDelivered))
			settled(10 * time.Second)
			if got := b.said()[2:]; len(got) != 2 || !slices.Contains(got, "the picture") || !slices.Contains(got, "after the merge") {
				t.Errorf("then was said %q", got)
			}
			for _, got := range b.crm.taken()[len(b.crm.taken())-2:] {
				if e := got.event; e.Kind != core.KindMessageSent || e.Contact.ID != stays {
					t.Errorf("the CRM is told of %s of %s, want one sent to %s", e.Kind, e.Contact.ID, stays)
				}
			}
			if n := len(b.dead()); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

// A message that was on its way when the contacts were merged is waited for by what comes
// after it.
func TestAwait_OfWhatWasOnItsWayDuringAMerge(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.start()
		b.write("wamid.1", ana, "hello")
		b.write("wamid.2", berto, "hello")
		answer := b.wa.do
		b.wa.do = func(d core.Delivery) core.Result { <-time.After(5 * time.Second); return answer(d) }
		first := b.order("k1", ana, "the text", awaiting(core.StatusDelivered))
		settled(time.Second)
		b.merge(b.whoIs(berto), b.whoIs(ana))
		settled(10 * time.Second)
		b.order("k2", ana, "the picture")
		settled(10 * time.Second)
		b.wantSaid("the text")
		b.accept(statusOf(first, b.wamidOf(first), core.StatusDelivered))
		settled(20 * time.Second)
		b.wantSaid("the text", "the picture")
	})
}

func TestAwait_ForgetsThoseOfWhomNothingWasTold(t *testing.T) {
	l, now := &lane{t: &tenant{}}, time.Now()
	for i := range 5 * sweepAwaits {
		at := now.Add(time.Duration(i) * time.Second)
		l.waitFor(&await{Intent: "e", Want: core.StatusSent, Since: at, Until: at.Add(time.Minute)}, at, fmt.Sprint("c", i))
	}
	if n := len(l.awaiting); n > sweepAwaits {
		t.Errorf("%d are remembered, of which 60 still count", n)
	}
}

func TestAwait_IsErasedWithThePerson(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.order("k1", ana, "the text", awaiting(core.StatusDelivered))
		b.order("k2", berto, "the other text", awaiting(core.StatusDelivered))
		settled(time.Second)
		awaits := func() (stored, known int) {
			entries, err := b.store.Range(context.Background(), "acme", bucketAwaits, "", 10)
			if err != nil {
				t.Fatal(err)
			}
			l := b.tenants["acme"].numbers[number]
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(entries), len(l.awaiting)
		}
		if stored, known := awaits(); stored != 2 || known != 2 {
			t.Errorf("%d are stored and %d known, want 2", stored, known)
		}
		b.erase(ana)
		if stored, known := awaits(); stored != 1 || known != 1 {
			t.Errorf("%d are stored and %d known after one was erased", stored, known)
		}
	})
}
