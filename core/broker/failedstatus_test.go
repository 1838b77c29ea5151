package broker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// failedBecause has WhatsApp say that a message was not delivered.
func (b *bridge) failedBecause(send string, code int, at time.Time) {
	b.Helper()
	e := statusOf(send, b.wamidOf(send), core.StatusFailed)
	e.Time, e.Status.Errors = at, []core.StatusError{{Code: code, Title: "no"}}
	b.accept(e)
	settled(time.Second)
}

func TestFailed_ForAClosedWindowTheDeclaredTemplateGoesOnce(t *testing.T) {
	for _, restart := range []bool{false, true} {
		run(t, func(b *bridge) {
			b.noSync = true
			b.withPolicy(outside)
			b.start()
			id := b.order("k1", berto, "nobody has seen him write")
			settled(time.Minute)
			if restart {
				b.stop()
				b.start()
			}
			b.failedBecause(id, 131047, time.Now())
			b.accept(statusOf(id, "wamid.out.1", core.StatusFailed)) // told twice
			settled(time.Minute)
			b.wantSaid("nobody has seen him write", "info")
			b.wantNotes(id, "the 24-hour window is closed: the template info (en) goes instead")
			again := id + "#131047"
			if got := b.wamidOf(again); got == "" || b.Snapshot().Totals.DoubleSend != 0 {
				t.Errorf("%s became %q, %d double sends", again, got, b.Snapshot().Totals.DoubleSend)
			}
			// It is a template: nothing goes instead of it.
			b.failedBecause(again, 131047, time.Now())
			settled(time.Hour)
			b.wantSaid("nobody has seen him write", "info")
		})
	}
}

func TestFailed_NothingGoesInsteadOfWhatWasDeliveredOrForgotten(t *testing.T) {
	kept := func(b *bridge) (n int) {
		entries, err := b.store.Range(context.Background(), "acme", bucketIntents, "", 100)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Key, "w") {
				n++
			}
		}
		return n
	}
	run(t, func(b *bridge) {
		b.noSync = true
		b.withPolicy(outside)
		b.start()
		delivered := b.order("k1", ana, "a")
		erased := b.order("k2", berto, "b")
		b.order("k3", "+34600111223", "template info")
		settled(time.Second)
		if n := kept(b); n != 2 {
			t.Errorf("%d are kept, want 2", n)
		}
		b.accept(statusOf(delivered, b.wamidOf(delivered), core.StatusDelivered))
		settled(time.Second)
		if n := kept(b); n != 1 {
			t.Errorf("%d are kept after one was delivered", n)
		}
		b.failedBecause(delivered, 131047, time.Now())
		wamid := b.wamidOf(erased)
		b.erase(berto)
		if n := kept(b); n != 0 {
			t.Errorf("%d are kept after the other was erased", n)
		}
		e := statusOf(erased, wamid, core.StatusFailed)
		e.Status.Errors = []core.StatusError{{Code: 131047}}
		b.accept(e)
		settled(time.Minute)
		if got := b.said(); len(got) != 3 {
			t.Errorf("said %q", got)
		}
	})
}

func TestFailed_ForAPausedTemplateItsOthersWait(t *testing.T) {
	for _, told := range []string{"", "APPROVED"} {
		run(t, func(b *bridge) {
			b.noSync = true
			b.withPolicy(Policy{})
			b.start()
			first := b.order("k1", ana, "template info")
			settled(time.Second)
			b.failedBecause(first, 132015, time.Now().Add(-2*time.Hour)) // of this morning
			b.order("k2", berto, "template info")
			settled(time.Second)
			b.wantSaid("info", "info")
			second := b.order("k3", berto, "template info")
			settled(time.Second)
			b.failedBecause(second, 132015, time.Now())
			held := b.order("k4", ana, "template info")
			b.order("k5", ana, "template otp")
			settled(time.Minute)
			b.wantSaid("info", "info", "info", "otp")
			b.wantNotes(second, "WhatsApp does not send with the template info (en) now: its messages are put off")
			b.wantNotes(held, "WhatsApp dropped a message with the template info (en): put off until ")
			if all, err := b.Template(context.Background(), "acme", "info", "en"); err != nil || all[0].Sends != "held" {
				t.Errorf("%+v, %v", all, err)
			}
			b.stop()
			b.start()
			if told != "" {
				b.template("wh-1", core.TemplateChange{Name: "info", Status: told})
				b.wantSaid("info", "info", "info", "otp", "info")
				return
			}
			settled(50 * time.Minute)
			b.wantSaid("info", "info", "info", "otp")
			settled(30 * time.Minute)
			b.wantSaid("info", "info", "info", "otp", "info")
		})
	}
}

func TestFailed_ForADisabledTemplateItsOthersAreRefused(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.withPolicy(Policy{})
		b.start()
		first := b.order("k1", ana, "template info")
		settled(time.Second)
		b.failedBecause(first, 132016, time.Now())
		_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "k2", Message: core.Message{
			Type: core.TypeTemplate, To: to(ana), Template: &core.Template{Name: "info", Language: "en"}}})
		if core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("the caller is told %v", err)
		}
	})
}

func TestFailed_OfTheWholeNumberItPausesWhileThatIsNews(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.withPolicy(Policy{})
		b.start()
		first := b.order("k1", ana, "a")
		settled(time.Second)
		b.failedBecause(first, 131048, time.Now().Add(-time.Hour))
		second := b.order("k2", berto, "b")
		settled(time.Second)
		b.wantSaid("a", "b")
		b.failedBecause(second, 131048, time.Now().Add(-10*time.Minute))
		b.order("k3", ana, "c")
		settled(50*time.Minute - 2*time.Second)
		b.wantSaid("a", "b")
		b.wantNotes(second, "the number pauses: too many people blocked or reported the number")
		settled(time.Minute)
		b.wantSaid("a", "b", "c")
	})
}
