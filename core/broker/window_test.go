package broker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

var outside = Policy{OutsideWindow: &OutsideWindow{Name: "info", Language: "en", Params: []string{"{name}", "{text}"}}}

// filled is what the templates that went out were given.
func (b *bridge) filled() []string {
	var out []string
	for _, tr := range b.wa.taken() {
		if t := tr.event.Message.Template; t != nil {
			out = append(out, t.Name+" "+string(t.Components))
		}
	}
	return out
}

func TestWindow_ClosedSendsTheDeclaredTemplateInstead(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(outside)
		b.start()
		b.write("wamid.1", ana, "hello")
		settled(24*time.Hour - 3*time.Second)
		b.order("k1", ana, "one tick before")
		settled(3 * time.Second)
		b.wantSaid("one tick before")
		id := b.order("k2", ana, "it is\nready")
		own := b.order("k3", ana, "it is ready", func(r *SendRequest) {
			r.Message.Fallback = &core.Template{Name: "otp", Language: "en", Params: []byte(`["its own"]`)}
		})
		settled(time.Second)
		b.wantSaid("one tick before", "info", "otp")
		b.wantNotes(id, "the 24-hour window is closed: the template info (en) goes instead")
		b.wantNotes(own, "the template otp (en) goes instead")
		name := received("wamid.1", ana, "").Contact.Name
		want := []string{
			`info [{"type":"body","parameters":[{"type":"text","text":"` + or(name, "-") + `"},{"type":"text","text":"it is ready"}]}]`,
			`otp [{"type":"body","parameters":[{"type":"text","text":"its own"}]}]`,
		}
		if got := b.filled(); !slices.Equal(got, want) {
			t.Errorf("went out %q\nwant %q", got, want)
		}
		// In the window, neither is needed.
		b.write("wamid.2", ana, "hello again")
		b.order("k4", ana, "free", func(r *SendRequest) { r.Message.Fallback = &core.Template{Name: "otp", Language: "en"} })
		settled(time.Second)
		b.wantSaid("one tick before", "info", "otp", "free")
	})
}

func TestWindow_ClosedWhileItWaitedIsSeenWhenItIsSent(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(outside)
		begun := time.Now()
		b.wa.do = func(d core.Delivery) core.Result {
			if time.Since(begun) < 24*time.Hour+time.Minute {
				return core.Result{Err: &core.Error{Code: core.CodeRateLimited, Message: "later", RetryAfter: time.Hour}}
			}
			return core.Result{Ref: "wamid.out." + string(d.Event.Message.Type)}
		}
		b.start()
		b.write("wamid.1", ana, "hello")
		id := b.order("k1", ana, "an answer")
		settled(26 * time.Hour)
		got := b.wa.taken()
		if last := got[len(got)-1].event.Message; last.Type != core.TypeTemplate || !strings.Contains(string(last.Template.Components), "an answer") {
			t.Errorf("a day later a %s went out: %+v", last.Type, last)
		}
		b.wantNotes(id, "the template info (en) goes instead")
		if n := len(b.dead()); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestWindow_WhatsAppKnowsThatItIsClosed(t *testing.T) {
	for _, declared := range []bool{true, false} {
		run(t, func(b *bridge) {
			if declared {
				b.withPolicy(outside)
			}
			b.wa.do = func(d core.Delivery) core.Result {
				if d.Event.Message.Type == core.TypeText {
					return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Vendor: codeWindowClosed, Message: "re-engagement"}}
				}
				return core.Result{Ref: "wamid.out"}
			}
			b.start()
			id := b.order("k1", berto, "nobody has seen him write")
			settled(time.Minute)
			if want := map[bool]int{true: 2, false: 1}[declared]; len(b.wa.taken()) != want {
				t.Errorf("declared %v: %d attempts, want %d", declared, len(b.wa.taken()), want)
			}
			if want := map[bool]int{true: 0, false: 1}[declared]; len(b.dead()) != want {
				t.Errorf("declared %v: %d dead letters, want %d", declared, len(b.dead()), want)
			}
			if declared {
				b.wantNotes(id, "goes instead")
			}
		})
	}
}

func TestSend_UnknownOutcomeIsRepeatedOnceWhereThatIsWanted(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{RetryUnknown: []core.Class{core.ClassTransaction}})
		b.wa.do = unknown
		b.start()
		id := b.order("k1", ana, "your parcel is here")
		b.order("k2", berto, "a person's", func(r *SendRequest) { r.Author = core.AuthorHuman })
		settled(2*time.Minute - time.Second)
		if n := len(b.wa.taken()); n != 2 {
			t.Fatalf("%d attempts before the time is up", n)
		}
		settled(24 * time.Hour)
		n := map[string]int{}
		for _, tr := range b.wa.taken() {
			n[tr.event.Message.Text]++
		}
		if n["your parcel is here"] != 2 || n["a person's"] != 1 {
			t.Errorf("attempts: %v", n)
		}
		b.wantNotes(id, "sent once more (retry_unknown)")
		if dead := b.dead(); len(dead) != 2 || !dead[0].Held || !dead[1].Held {
			t.Errorf("dead letters: %+v", dead)
		}
		// Both were sent: that is counted.
		b.accept(statusOf(id, "wamid.out.1", core.StatusSent))
		settled(time.Second)
		b.accept(statusOf(id, "wamid.out.2", core.StatusDelivered))
		settled(time.Second)
		if got := b.Snapshot().Totals.DoubleSend; got != 1 {
			t.Errorf("%d counted as sent twice, want 1", got)
		}
	})
}
