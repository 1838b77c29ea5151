package broker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// refuses has WhatsApp refuse what is sent with the template info, while it is told to.
func (b *bridge) refuses(code string) (on *atomic.Bool, tries *atomic.Int64) {
	on, tries = new(atomic.Bool), new(atomic.Int64)
	on.Store(true)
	ok := b.wa.do
	b.wa.do = func(d core.Delivery) core.Result {
		if m := d.Event.Message; m.Template != nil && m.Template.Name == "info" && on.Load() {
			tries.Add(1)
			return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Message: "no", Vendor: code, Scope: core.ScopeEvent}}
		}
		return ok(d)
	}
	return on, tries
}

// One refused message is enough: the template's others wait, also those that were in the
// number's queue already, and it is shown so. They go when WhatsApp says that they may.
func TestTemplateRefused_HoldsWhatElseIsSentWithIt(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.withPolicy(Policy{})
		change := b.change
		b.change = func(o *Options) { change(o); o.Tenants[0].Numbers[0].Rate = 0.2 }
		on, tries := b.refuses("132015")
		answer := b.wa.do
		b.wa.do = func(d core.Delivery) core.Result { <-time.After(3 * time.Second); return answer(d) }
		b.start()
		first := b.order("k0", ana, "template info")
		settled(10 * time.Millisecond) // it is on its way
		var last string
		for i := range 5 { // in the number's queue when the first is refused
			last = b.order(fmt.Sprint("k", i+1), fmt.Sprintf("+3460011122%d", i), "template info")
		}
		settled(4 * time.Second)
		later := b.order("k8", ana, "template info")
		b.order("k9", berto, "template otp")
		settled(40 * time.Second)
		b.wantSaid("info", "otp")
		b.wantNotes(first, "WhatsApp does not send with the template info (en) now: its messages are put off, until ")
		b.wantNotes(later, "WhatsApp dropped a message with the template info (en): put off until ")
		b.wantNotes(last, "WhatsApp dropped a message with the template info (en): until ")
		if all, err := b.Template(context.Background(), "acme", "info", "en"); err != nil || all[0].Sends != "held" || all[0].Waiting != 7 {
			t.Errorf("%+v, %v", all, err)
		}
		for _, id := range []string{first, later, last} {
			if r, err := b.Limits(context.Background(), "acme", id); err != nil || r.Event == nil || r.Event.Limit != LimitTemplate {
				t.Errorf("%s waits for %+v, %v", id, r.Event, err)
			}
		}
		b.stop()
		b.start() // the bridge remembers
		b.order("k10", berto, "template info")
		settled(time.Second)
		on.Store(false)
		b.template("wh-1", core.TemplateChange{Name: "info", Status: "APPROVED"})
		if n := tries.Load(); n != 1 {
			t.Errorf("%d were tried while they were held", n)
		}
		settled(50 * time.Second)
		b.wantSaid("info", "otp", "info", "info", "info", "info", "info", "info", "info", "info")
		if n := len(b.dead()); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

// Where nobody says that the template is good again, one message or so finds out.
func TestTemplateRefused_IsTriedLessAndLessOften(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.withPolicy(Policy{})
		on, tries := b.refuses("132015")
		b.start()
		b.order("k0", ana, "template info")
		settled(5 * time.Hour)
		if n := tries.Load(); n < 8 || n > 12 { // after 1, 2, 4, … 64 minutes, and every hour
			t.Errorf("%d attempts in five hours", n)
		}
		on.Store(false)
		settled(time.Hour + time.Minute)
		if n := len(b.said()); n != int(tries.Load())+1 {
			t.Errorf("it was not sent: %d attempts, %d refused", n, tries.Load())
		}
		// What was good for long is not held for long.
		settled(3 * time.Hour)
		on.Store(true)
		before := tries.Load()
		b.order("k1", ana, "template info")
		settled(time.Minute + time.Second)
		if n := tries.Load() - before; n != 2 {
			t.Errorf("%d attempts in a minute, want two", n)
		}
	})
}

func TestTemplateRefused_IsTakenForDisabled(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.withPolicy(Policy{})
		_, tries := b.refuses("132016")
		b.start()
		first := b.order("k1", ana, "template info")
		settled(time.Second)
		b.wantNotes(first, "WhatsApp has disabled the template info (en)")
		_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "k2", Message: core.Message{
			Type: core.TypeTemplate, To: to(ana), Template: &core.Template{Name: "info", Language: "en"}}})
		if core.CodeOf(err) != core.CodeUndeliverable || !strings.Contains(fmt.Sprint(err), "disabled") {
			t.Errorf("the caller is told %v", err)
		}
		if n := tries.Load(); n != 1 {
			t.Errorf("%d attempts", n)
		}
		b.template("wh-1", core.TemplateChange{Name: "info", Status: "APPROVED"})
		if all, err := b.Template(context.Background(), "acme", "info", "en"); err != nil || all[0].Sends != "yes" || all[0].History[0].From != "answer" {
			t.Errorf("%+v, %v", all, err)
		}
	})
}
