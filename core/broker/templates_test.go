package broker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// template has WhatsApp tell of a template.
func (b *bridge) template(id string, c core.TemplateChange) {
	b.Helper()
	c.Language = "en"
	b.accept(core.Event{ID: id, Kind: core.KindTemplateChanged, Tenant: "acme", Time: time.Now(), TemplateChange: &c})
	settled(time.Second)
}

func TestTemplate_PausedHoldsItsSendsUntilItIsEnabled(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		b.template("wh-1", core.TemplateChange{Name: "info", Status: "PAUSED"})
		held := b.order("k1", ana, "template info")
		b.order("k2", ana, "template otp")
		settled(time.Second)
		b.wantSaid("otp")
		b.wantNotes(held, "WhatsApp has paused the template info (en): put off until ")
		b.stop()
		settled(time.Hour)
		b.start() // the bridge remembers, the message too
		settled(2 * time.Hour)
		b.template("wh-2", core.TemplateChange{Name: "info", Category: "utility"}) // says nothing of the status
		settled(time.Hour)
		b.wantSaid("otp")
		b.template("wh-3", core.TemplateChange{Name: "info", Status: "APPROVED"})
		settled(time.Hour + time.Minute) // a quarter of the time that it waited
		b.wantSaid("otp", "info")
		if n := strings.Count(b.trace(held), "put off"); n < 5 || n > 15 {
			t.Errorf("looked at %d times in five hours", n)
		}
	})
}

func TestTemplate_PausedForADayEndsItsSendsInWords(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = func(*core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Message: &core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: "info", Language: "en"}}}}}
		}
		b.start()
		b.template("wh-1", core.TemplateChange{Name: "info", Status: "PAUSED"})
		asked := b.order("k1", ana, "template info")
		b.write("wamid.1", berto, "hola") // the script answers with the same
		failed := func() (n int) {
			for _, tr := range b.crm.taken() {
				if st := tr.event.Status; st != nil && st.Value == core.StatusFailed && strings.Contains(st.Errors[0].Title, "paused the template info") {
					n++
				}
			}
			return n
		}
		settled(24*time.Hour - 5*time.Second)
		if n := failed(); n != 0 {
			t.Errorf("%d failed before their time", n)
		}
		settled(5 * time.Second)
		b.wantSaid()
		b.wantNotes(asked, "refused: WhatsApp has paused the template info (en), and had not enabled it again after 24h0m0s")
		b.wantNotes("wamid.1#1", "refused: WhatsApp has paused the template")
		if n := failed(); n != 2 || b.tenants["acme"].waiting.Load() != 0 {
			t.Errorf("the CRM was told of %d, %d wait", n, b.tenants["acme"].waiting.Load())
		}
	})
}

func TestTemplate_EndedIsRefusedToTheCallerAndInTheTrace(t *testing.T) {
	for _, status := range []string{"REJECTED", "DISABLED", "DELETED"} {
		run(t, func(b *bridge) {
			b.withPolicy(Policy{})
			b.start()
			b.template("wh-1", core.TemplateChange{Name: "info", Status: "PAUSED"})
			held := b.order("k1", ana, "template info")
			settled(time.Second)
			b.template("wh-2", core.TemplateChange{Name: "info", Status: status})
			words := "WhatsApp has the template info (en) as " + strings.ToLower(status)
			_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "k2", Message: core.Message{
				Type: core.TypeTemplate, To: to(ana), Template: &core.Template{Name: "info", Language: "en"}}})
			if core.CodeOf(err) != core.CodeUndeliverable || !strings.Contains(fmt.Sprint(err), words) {
				t.Errorf("the caller is told %v", err)
			}
			settled(time.Hour)
			b.wantSaid()
			b.wantNotes(held, "refused: "+words)
			b.template("wh-3", core.TemplateChange{Name: "info", Status: "APPROVED"})
			b.order("k3", ana, "template info")
			settled(time.Second)
			b.wantSaid("info")
		})
	}
}

// What was accepted before its template was disabled, and waits in a lane that is
// down, is not sent.
func TestTemplate_EndedWhileItsSendsWaited(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		ok := b.wa.do
		down := true
		b.wa.do = func(d core.Delivery) core.Result {
			if down {
				return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "down", Scope: core.ScopeLane}}
			}
			return ok(d)
		}
		b.start()
		id := b.order("k1", ana, "template info")
		settled(time.Minute)
		b.template("wh-1", core.TemplateChange{Name: "info", Status: "DISABLED"})
		b.stop()
		down = false
		tries := len(b.wa.taken())
		b.start()
		settled(time.Minute)
		if n := len(b.wa.taken()); n != tries {
			t.Errorf("%d tries after it was disabled", n-tries)
		}
		b.wantNotes(id, "refused while it waited to be sent: WhatsApp has the template info (en) as disabled")
	})
}

func TestTemplate_SendsThatWaitGoAtOnceWhenItMayBeSent(t *testing.T) {
	for _, state := range []string{"PAUSED", "PENDING", "IN_APPEAL", "LIMIT_EXCEEDED", "LOCKED"} {
		run(t, func(b *bridge) {
			b.withPolicy(Policy{})
			b.start()
			b.template("wh-1", core.TemplateChange{Name: "info", Status: state})
			b.order("k1", ana, "template info")
			settled(3 * time.Hour)
			b.wantSaid()
			b.template("wh-2", core.TemplateChange{Name: "info", Status: "APPROVED"})
			b.wantSaid("info")
			if n := b.tenants["acme"].waiting.Load(); n != 0 {
				t.Errorf("%s: %d wait still", state, n)
			}
		})
	}
}

// What waits is decided by the category that WhatsApp has now.
func TestTemplate_AnotherCategoryDecidesAnewAboutWhatWaits(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		b.template("wh-1", core.TemplateChange{Name: "info", Status: "PENDING", Category: "utility"})
		held := b.order("k1", ana, "template info")
		settled(time.Second)
		b.template("wh-2", core.TemplateChange{Name: "info", Category: "marketing"})
		b.wantNotes(held, "refused: the template info is marketing")
		b.template("wh-3", core.TemplateChange{Name: "info", Status: "APPROVED"})
		settled(25 * time.Hour)
		b.wantSaid()
	})
}

func TestTemplate_AnswerThatItIsPausedPutsTheSendOff(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		var refusals atomic.Int64
		ok := b.wa.do
		b.wa.do = func(d core.Delivery) core.Result {
			if refusals.Add(1) <= 3 {
				return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Message: "paused, or paced", Vendor: "132015/7", Scope: core.ScopeEvent}}
			}
			return ok(d)
		}
		b.start()
		id := b.order("k1", ana, "template info")
		settled(time.Minute - time.Second)
		if n := len(b.wa.taken()); n != 1 {
			t.Fatalf("%d attempts within a minute", n)
		}
		b.wantNotes(id, "WhatsApp does not send with the template now: put off until ")
		settled(time.Hour)
		if n := len(b.wa.taken()); n != 4 {
			t.Errorf("%d attempts, want three refused and one taken", n)
		}
		if dead := b.dead(); len(dead) != 0 {
			t.Errorf("dead: %+v", dead)
		}
	})
}

func TestTemplate_HistoryIsWhatWasToldAndBounded(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.template("wh-0", core.TemplateChange{Name: "info", Status: "PENDING", Category: "utility"})
		b.template("wh-1", core.TemplateChange{Name: "info", Status: "REJECTED", Reason: "SCAM: say who writes"})
		for i := range maxTemplateSteps {
			b.template(fmt.Sprintf("wh-2-%d", i), core.TemplateChange{Name: "info", Status: []string{"APPROVED", "PAUSED"}[i%2]})
			b.template(fmt.Sprintf("wh-3-%d", i), core.TemplateChange{Name: "info", Status: []string{"APPROVED", "PAUSED"}[i%2]}) // nothing new
			if i == 0 {
				b.stop()
				b.start()
				all, err := b.Template(context.Background(), "acme", "info", "en")
				if err != nil || len(all) != 1 || len(all[0].History) != 3 {
					t.Fatalf("%+v, %v", all, err)
				}
				if h := all[0].History; h[0].Status != "PENDING" || h[1].Reason != "SCAM: say who writes" || h[2].Status != "APPROVED" || h[2].Reason != "" || h[2].Category != "utility" {
					t.Errorf("history %+v", h)
				}
			}
		}
		all, _ := b.Template(context.Background(), "acme", "info", "")
		if h := all[0].History; len(h) != maxTemplateSteps || h[len(h)-1].Status != "PAUSED" || all[0].Sends != "held" {
			t.Errorf("%d steps, the last %+v, sends %s", len(h), h[len(h)-1], all[0].Sends)
		}
		if _, err := b.Template(context.Background(), "acme", "nobody", ""); !strings.Contains(fmt.Sprint(err), "no template") {
			t.Errorf("unknown: %v", err)
		}
	})
}
