package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

func unknown(core.Delivery) core.Result {
	return core.Result{Err: &core.Error{Code: core.CodeUnknownOutcome, Op: "send", Message: "the answer was lost"}}
}

func TestSend_UnknownOutcomeIsSettledByTheStatus(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.wa.do = unknown
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		if h := b.Snapshot().Lanes[0].Held; h != 1 {
			t.Errorf("held = %d, want 1", h)
		}
		b.accept(statusOf("wamid.1#1", "wamid.out.9", core.StatusDelivered))
		settled(2 * time.Second)
		b.wantKinds(b.wa.kinds(), "message.send wamid.1#1")
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.sent wamid.1#1#1", "message.status wamid.out.9/delivered")
		settled(time.Hour)
		if len(b.dead()) != 0 || b.depth() != 0 {
			t.Errorf("%d dead, %d left", len(b.dead()), b.depth())
		}
	})
}

func TestSend_UnknownOutcomeWithoutAStatusIsForAPersonAndIsNotRepeated(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.wa.do = unknown
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(2*time.Minute - time.Second)
		if len(b.dead()) != 0 {
			t.Error("given up before the time is up")
		}
		settled(2 * time.Second)
		dead := b.dead()
		if len(dead) != 1 || !dead[0].Held || dead[0].Attempts != 1 {
			t.Fatalf("dead letters: %+v", dead)
		}
		settled(24 * time.Hour)
		if n := len(b.wa.taken()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		// Days later the status comes after all: the case closes itself.
		b.accept(statusOf("wamid.1#1", "wamid.out.9", core.StatusRead))
		settled(time.Second)
		if len(b.dead()) != 0 {
			t.Error("the late status did not close the case")
		}
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.sent wamid.1#1#1", "message.status wamid.out.9/read")
	})
}

func TestSend_AnUnknownOutcomeHoldsBackItsConversationOnly(t *testing.T) {
	run(t, func(b *bridge) {
		b.wa.do = func(d core.Delivery) core.Result {
			if d.Event.Message.Text == "lost" {
				return unknown(d)
			}
			return core.Result{Ref: "wamid.out." + d.Event.Message.Text}
		}
		b.start()
		ask := func(key, phone, text string) {
			_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: key, Message: core.Message{
				Type: core.TypeText, Text: text, To: core.Address{Kind: core.AddressPhone, Value: phone}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		ask("1", "+14155550100", "lost")
		settled(time.Second)
		ask("2", "+14155550100", "later")
		ask("3", "+14155550101", "other")
		settled(time.Minute)
		texts := func() string {
			var out []string
			for _, tr := range b.wa.taken() {
				out = append(out, tr.event.Message.Text)
			}
			return strings.Join(out, " ")
		}
		if got := texts(); got != "lost other" {
			t.Errorf("sent %q", got)
		}
		settled(2 * time.Minute)
		if got := texts(); got != "lost other later" {
			t.Errorf("sent %q after a person was asked", got)
		}
	})
}

func TestSend_IsNotRepeatedByTheNextProcess(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		hang := make(chan struct{})
		b.wa.do = func(core.Delivery) core.Result { <-hang; return core.Result{Ref: "wamid.out.1"} }
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		// The process dies during the call: what the answer would have been is
		// never written down.
		copied := b.crashed()
		close(hang)
		b.stop()

		next := newBridge(t)
		next.dir, next.scripts = copied, b.scripts
		next.start()
		defer next.stop()
		settled(time.Minute)
		if n := len(next.wa.taken()); n != 0 {
			t.Errorf("sent again %d times", n)
		}
		next.accept(statusOf("wamid.1#1", "wamid.out.1", core.StatusSent))
		settled(2 * time.Second)
		next.wantKinds(next.crm.kinds(), "message.sent wamid.1#1#1", "message.status wamid.out.1/sent")
	})
}

func TestSend_AStatusThatOvertakesTheAnswerWaitsForIt(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		answer := make(chan struct{})
		b.wa.do = func(core.Delivery) core.Result { <-answer; return core.Result{Ref: "wamid.out.1"} }
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		b.accept(statusOf("wamid.1#1", "wamid.out.1", core.StatusDelivered))
		settled(time.Second)
		b.wantKinds(b.crm.kinds(), "message.received wamid.1")
		close(answer)
		settled(time.Second)
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.sent wamid.1#1#1", "message.status wamid.out.1/delivered")
	})
}

func TestSend_CountsWhenOneIntentBecameTwoMessages(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		b.accept(statusOf("wamid.1#1", "wamid.out.1", core.StatusSent))
		b.accept(statusOf("wamid.1#1", "wamid.somebody.else", core.StatusSent))
		settled(time.Second)
		if n := b.Snapshot().Totals.DoubleSend; n != 1 {
			t.Errorf("double sends = %d, want 1", n)
		}
	})
}

func TestSend_RefusedForGoodIsToldToTheCRM(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.wa.do = func(core.Delivery) core.Result {
			return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Message: "not on WhatsApp", Vendor: "131026"}}
		}
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Minute)
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.status wamid.1#1#1")
		st := b.crm.taken()[1].event
		if st.Status.Value != core.StatusFailed || st.Status.Intent != "wamid.1#1" {
			t.Errorf("status: %+v", st.Status)
		}
		if d := b.dead(); len(d) != 1 || d[0].Attempts != 1 || d[0].Reason.Vendor != "131026" {
			t.Errorf("dead letters: %+v", d)
		}
	})
}

func TestSend_PairRateHoldsBackOneConversation(t *testing.T) {
	run(t, func(b *bridge) {
		first := true
		b.wa.do = func(d core.Delivery) core.Result {
			if first {
				first = false
				return core.Result{Err: &core.Error{Code: core.CodeRateLimited, Message: "pair", Vendor: "131056",
					Scope: core.ScopeConversation, RetryAfter: 6 * time.Second}}
			}
			return core.Result{Ref: "wamid.out." + d.Event.ID}
		}
		b.scripts = reply("hello")
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		b.accept(received("wamid.2", "+14155550101", "hi"))
		settled(5*time.Second - time.Millisecond)
		b.wantKinds(b.wa.kinds(), "message.send wamid.1#1", "message.send wamid.2#1")
		settled(time.Second)
		tries := b.wa.taken()
		if len(tries) != 3 || tries[2].n != 1 {
			t.Errorf("%d attempts; the wait counted", len(tries))
		}
	})
}

func TestSend_IsIdempotentByItsKey(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		req := SendRequest{Tenant: "acme", Key: "order-17", Message: core.Message{Type: core.TypeText, Text: "hi",
			To: core.Address{Kind: core.AddressPhone, Value: "+14155550100"}}}
		one, err := b.Send(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		two, err := b.Send(context.Background(), req)
		if err != nil || two.ID != one.ID || one.Duplicate || !two.Duplicate {
			t.Errorf("%+v, then %+v, %v", one, two, err)
		}
		other := req
		other.Message.Text = "another"
		if got, err := b.Send(context.Background(), other); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("another message with that key: %+v, %v", got, err)
		}
		settled(time.Second)
		if n := len(b.wa.taken()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		settled(askedFor) // the id is remembered longer
		if two, err = b.Send(context.Background(), req); err != nil || !two.Duplicate {
			t.Errorf("a day later %+v, %v", two, err)
		}
	})
}

func TestPolicy_IsTheCores(t *testing.T) {
	refusals := func(b *bridge, id string) string {
		story, err := b.Why(context.Background(), "acme", id)
		if err != nil {
			b.Fatal(err)
		}
		var notes []string
		for _, s := range story.Steps {
			notes = append(notes, s.Notes...)
		}
		return strings.Join(notes, "; ")
	}
	t.Run("NoBotOverAPerson", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.scripts = func(e *core.Event) script.Decision {
				actions := []script.Action{{Type: script.ActionReply, Text: "bot"}}
				if e.Message.Text == "help" {
					actions = append([]script.Action{{Type: script.ActionEscalate, Reason: "asked"}}, actions...)
				}
				return script.Decision{Actions: actions}
			}
			b.start()
			for i, text := range []string{"hi", "help", "still there?"} {
				b.accept(received([]string{"wamid.1", "wamid.2", "wamid.3"}[i], "+14155550100", text))
				settled(time.Second)
			}
			b.wantKinds(b.wa.kinds(), "message.send wamid.1#1", "message.send wamid.2#1")
			if got := refusals(b, "wamid.3"); !strings.Contains(got, "a person has this conversation") {
				t.Errorf("why: %s", got)
			}
			settled(24 * time.Hour)
			b.accept(received("wamid.4", "+14155550100", "hi again"))
			settled(time.Second)
			if n := len(b.wa.taken()); n != 3 {
				t.Errorf("the bot spoke %d times: it should be back after a day", n)
			}
		})
	})
	t.Run("NoMoreRepliesThanTheCap", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.scripts = reply("ping")
			const second = "206540352242922"
			b.change = func(o *Options) {
				o.Tenants[0].Numbers = append(o.Tenants[0].Numbers, Number{ID: second, Sink: b.wa, Rate: 1000})
			}
			b.start()
			for i := range 30 {
				e := received("wamid."+string(rune('a'+i)), "+14155550100", string(rune('a'+i)))
				if i%2 == 1 {
					e.Number = second
				}
				b.accept(e)
				settled(time.Second)
			}
			if n := len(b.wa.taken()); n != 10 {
				t.Errorf("%d replies from both numbers, want the cap of 10", n)
			}
		})
	})
	t.Run("NoLoopsBetweenBots", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.scripts = reply("ping")
			b.start()
			for i := range 30 {
				b.accept(received("wamid."+string(rune('a'+i)), "+14155550100", fmt.Sprintf("Thank you, you are number %d in the queue", 30-i)))
				settled(time.Second)
			}
			if n := len(b.wa.taken()); n > 5 {
				t.Errorf("%d replies to a machine", n)
			}
			over := slices.IndexFunc(b.crm.taken(), func(tr try) bool { return tr.event.Kind == core.KindEscalation })
			if over < 0 || b.crm.taken()[over].event.Escalation.Topic != "loop" {
				t.Errorf("no hand-over of a loop: %v", b.crm.kinds())
			}
		})
	})
	t.Run("NoFreeTextAfterADay", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.start()
			b.accept(received("wamid.1", "+14155550100", "hi"))
			settled(24 * time.Hour)
			r, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "k", Message: core.Message{Type: core.TypeText, Text: "hi",
				To: core.Address{Kind: core.AddressPhone, Value: "+14155550100"}}})
			if err != nil {
				t.Fatal(err)
			}
			settled(time.Second)
			if n := len(b.wa.taken()); n != 0 {
				t.Errorf("sent %d outside the window", n)
			}
			if got := refusals(b, r.ID); !strings.Contains(got, "window") {
				t.Errorf("why: %s", got)
			}
			b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.status "+core.FollowID(r.ID, 1))
		})
	})
	t.Run("AFailedScriptHandsOver", func(t *testing.T) {
		run(t, func(b *bridge) {
			b.scripts = func(e *core.Event) script.Decision {
				if e.ID == "wamid.1" {
					return script.Decision{Err: core.Errorf(core.CodeInvalid, "script", "it throws"), Line: "script.js:3"}
				}
				return script.Decision{Actions: []script.Action{{Type: script.ActionTag, Tag: "fine"}}}
			}
			b.start()
			b.accept(received("wamid.1", "+14155550100", "hi"), received("wamid.2", "+14155550101", "hi"))
			settled(time.Second)
			got := strings.Join(b.crm.kinds(), ", ")
			for _, want := range []string{"message.received wamid.1", "escalation.opened wamid.1#1", "message.received wamid.2", "contact.changed wamid.2#1"} {
				if !strings.Contains(got, want) {
					t.Errorf("%s is missing in %s", want, got)
				}
			}
			for _, tr := range b.crm.taken() {
				if tr.event.Kind == core.KindEscalation && (tr.event.Escalation.Team != "front-desk" || !strings.Contains(tr.event.Escalation.Note, "throws")) {
					t.Errorf("escalation: %+v", tr.event.Escalation)
				}
			}
		})
	})
}
