package broker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

const secondNumber = "106540352242923"

// twoNumbers gives the tenant a second number, in another account.
func (b *bridge) twoNumbers() *sink {
	other := &sink{do: func(d core.Delivery) core.Result { return core.Result{Ref: "wamid.other." + d.Event.ID} }}
	was := b.change
	b.change = func(o *Options) {
		if was != nil {
			was(o)
		}
		n := &o.Tenants[0].Numbers
		(*n)[0].Account, (*n)[0].Display = "220011223344", "+34 910 000 001"
		*n = append(*n, Number{ID: secondNumber, Sink: other, Rate: 1000, Account: "330011223344", Display: "+34 910 000 002"})
	}
	return other
}

func onNumber(number string) func(*SendRequest) { return func(r *SendRequest) { r.Number = number } }

// account has WhatsApp tell of the first account.
func (b *bridge) account(id string, c core.AccountChange, at ...time.Time) {
	b.Helper()
	if c.Account == "" {
		c.Account = "220011223344"
	}
	e := core.Event{ID: id, Kind: core.KindAccountChanged, Tenant: "acme", Time: time.Now(), Source: "whatsapp", AccountChange: &c}
	if len(at) > 0 {
		e.Time = at[0]
	}
	b.accept(e)
	settled(time.Second)
}

var (
	banned     = core.AccountChange{Field: "account_update", Event: "DISABLED_UPDATE", Text: "WhatsApp has disabled the account", Alarm: "critical", About: "account", Stops: &[]core.Stop{{What: core.StopAll}}}
	reinstated = core.AccountChange{Field: "account_update", Event: "DISABLED_UPDATE", Text: "WhatsApp has reinstated the account", About: "account", Over: true, Stops: &[]core.Stop{}}
)

func (b *bridge) laneOf(number string) LaneStatus {
	for _, l := range b.Snapshot().Lanes {
		if l.Lane == "wa/"+number {
			return l
		}
	}
	return LaneStatus{}
}

func TestAlarm_ABannedAccountsNumbersPauseAndOthersGoOn(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		other := b.twoNumbers()
		b.start()
		b.account("wh-1", banned)
		b.order("k1", ana, "template info", onNumber(number))
		b.order("k2", ana, "template info", onNumber(secondNumber))
		settled(48 * time.Hour)
		if n := len(other.taken()); n != 1 {
			t.Errorf("the other account's number sent %d messages, want 1", n)
		}
		b.wantSaid()
		l := b.laneOf(number)
		if l.State != LaneStopped || l.Why != "WhatsApp has disabled the account" || !l.Until.IsZero() || l.Depth != 1 {
			t.Errorf("the lane is %+v", l)
		}
		if s := b.laneOf(secondNumber).State; s != LaneRunning {
			t.Errorf("the other lane is %s", s)
		}
		alarms := b.Alarms("")
		if len(alarms) != 1 || alarms[0].ID != "account@220011223344" || alarms[0].Level != "critical" || !slices.Equal(alarms[0].Numbers, []string{number}) {
			t.Errorf("alarms: %+v", alarms)
		}
		if got := b.Snapshot().Alarms; len(got) != 1 {
			t.Errorf("the snapshot has %d alarms", len(got))
		}
		b.wantNotes("wh-1", "nothing is sent until WhatsApp lifts it, or a person settles the alarm")
		b.stop()
		b.start() // it is remembered
		settled(time.Hour)
		b.wantSaid()
		b.account("wh-2", reinstated)
		b.wantSaid("info")
		if b.laneOf(number).State != LaneRunning || len(b.Alarms("acme")) != 0 || len(b.dead()) != 0 {
			t.Errorf("after it: %+v, %+v", b.laneOf(number), b.Alarms("acme"))
		}
		// What is told late of before does not ban it again.
		b.account("wh-3", banned, time.Now().Add(-time.Hour))
		if len(b.Alarms("")) != 0 {
			t.Error("old news raised the alarm again")
		}
	})
}

func TestAlarm_ARestrictionHoldsWhatItNamesUntilItsEnd(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.twoNumbers()
		b.start()
		b.write("wamid.1", ana, "hello")
		until := time.Now().Add(8 * time.Hour).Truncate(time.Second)
		b.account("wh-1", core.AccountChange{Text: "restricted", Alarm: "critical", About: "account", Stops: &[]core.Stop{{What: core.StopBegins, Until: until}}})
		held := b.order("k1", berto, "template info", onNumber(number)) // begins
		b.order("k2", ana, "within her window", onNumber(number))
		b.order("k3", ana, "template otp", onNumber(number))
		settled(time.Minute)
		b.wantSaid("within her window", "otp")
		b.wantNotes(held, "restricted (until "+until.UTC().Format(time.RFC3339)+")")
		settled(time.Until(until) - time.Millisecond)
		b.wantSaid("within her window", "otp")
		settled(time.Second)
		b.wantSaid("within her window", "otp", "info")
		if len(b.Alarms("")) != 0 || len(b.dead()) != 0 {
			t.Errorf("after its end: %+v", b.Alarms(""))
		}
	})
}

func TestAlarm_BothRestrictionsTogetherPauseTheLane(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.twoNumbers()
		b.start()
		soon, late := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(2*time.Hour).Truncate(time.Second)
		b.account("wh-1", core.AccountChange{Text: "restricted", Alarm: "critical", About: "account",
			Stops: &[]core.Stop{{What: core.StopBegins, Until: late}, {What: core.StopReplies, Until: soon}}})
		b.write("wamid.1", ana, "hello")
		b.order("k1", ana, "a reply", onNumber(number))
		settled(time.Second)
		if l := b.laneOf(number); l.State != LaneStopped || !l.Until.Equal(soon) {
			t.Errorf("the lane is %s until %s, want %s", l.State, l.Until, soon)
		}
		settled(time.Until(soon) - time.Millisecond)
		b.wantSaid()
		settled(time.Second)
		b.wantSaid("a reply")
	})
}

func TestAlarm_APersonSettlesIt(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.twoNumbers()
		b.start()
		b.account("wh-1", core.AccountChange{Field: "security", Text: "the PIN was changed", Display: "34910000002", Alarm: "critical", About: "security"})
		alarms := b.Alarms("acme")
		if len(alarms) != 1 || alarms[0].ID != "security@"+secondNumber || alarms[0].Hint == "" {
			t.Fatalf("alarms: %+v", alarms)
		}
		if s := b.laneOf(secondNumber).State; s != LaneRunning {
			t.Errorf("an alarm without stops pauses the lane: %s", s)
		}
		if err := b.SettleAlarm(context.Background(), "acme", alarms[0].ID, ""); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("without a name: %v", err)
		}
		if err := b.SettleAlarm(context.Background(), "acme", "security@nobody", "Ana"); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("one that is none: %v", err)
		}
		if err := b.SettleAlarm(context.Background(), "acme", alarms[0].ID, "Ana"); err != nil {
			t.Fatal(err)
		}
		if len(b.Alarms("")) != 0 {
			t.Error("it is there still")
		}
		b.wantNotes("wh-1", "was settled by Ana")
		// What is told after it is news.
		settled(time.Minute)
		b.account("wh-2", core.AccountChange{Field: "security", Text: "the PIN was changed", Display: "34910000002", Alarm: "critical", About: "security"})
		if len(b.Alarms("")) != 1 {
			t.Error("the next is not told")
		}
	})
}

func TestAlarm_ANumberThatCannotPayRaisesIt(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.twoNumbers()
		b.wa.do = payingAgain(b.wa.do)
		b.start()
		id := b.order("k1", ana, "template info", onNumber(number))
		settled(10 * time.Second)
		alarms := b.Alarms("acme")
		if len(alarms) != 1 || alarms[0].ID != "error/131042@"+number || !strings.Contains(alarms[0].Hint, "payment method") || alarms[0].Event != id {
			t.Fatalf("alarms: %+v", alarms)
		}
		settled(10 * time.Minute) // by then it can
		b.wantSaid("info", "info")
		if len(b.Alarms("")) != 1 {
			t.Error("that something was sent does not say that it is paid")
		}
		st := statusOf(id, "wamid.out.1", core.StatusSent)
		st.Status.Pricing = []byte(`{"billable":true,"category":"utility"}`)
		b.accept(st)
		settled(time.Second)
		if len(b.Alarms("")) != 0 {
			t.Errorf("what WhatsApp bills can be paid: %+v", b.Alarms(""))
		}
		// A status says it, too.
		st = statusOf(id, "wamid.out.1", core.StatusFailed)
		st.Status.Errors = []core.StatusError{{Code: 131042, Title: "Business eligibility payment issue"}}
		st.Status.MessageID, st.Status.Opaque, st.ID = "wamid.x", "", "wamid.x/failed"
		b.accept(st)
		settled(time.Second)
		if len(b.Alarms("")) != 1 {
			t.Error("a failed status raises no alarm")
		}
	})
}

// payingAgain refuses the first send for want of a payment method.
func payingAgain(ok func(core.Delivery) core.Result) func(core.Delivery) core.Result {
	refused := false
	return func(d core.Delivery) core.Result {
		if !refused {
			refused = true
			return core.Result{Err: &core.Error{Code: core.CodeForbidden, Message: "the account cannot pay", Vendor: "131042", Scope: core.ScopeLane}}
		}
		return ok(d)
	}
}

func TestAlarm_AreBounded(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		for n := range maxAlarms + 20 {
			b.accept(core.Event{ID: "wh-" + time.Duration(n).String(), Kind: core.KindAccountChanged, Tenant: "acme", Time: time.Now(), Source: "whatsapp",
				AccountChange: &core.AccountChange{Text: "a flow", Alarm: "warning", About: "flow/" + time.Duration(n).String()}})
		}
		settled(time.Minute)
		if n := len(b.Alarms("")); n != maxAlarms {
			t.Errorf("%d alarms, want %d", n, maxAlarms)
		}
		if _, err := b.Why(context.Background(), "acme", "wh-1ns"); err != nil {
			t.Error(err)
		}
	})
}

func TestAlarm_IsOverWhenWhatsAppIsAskedAndSaysSo(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.twoNumbers()
		b.start()
		b.account("wh-1", banned)
		b.order("k1", ana, "template info", onNumber(number))
		settled(troubledEvery - 2*time.Second)
		acme := b.tenants["acme"]
		acme.wellAgain(context.Background(), number, time.Now())
		settled(time.Second)
		b.wantSaid() // what was told a moment ago counts
		settled(time.Second)
		acme.wellAgain(context.Background(), secondNumber, time.Now())
		settled(time.Second)
		b.wantSaid() // of another account
		acme.wellAgain(context.Background(), number, time.Now())
		settled(time.Second)
		b.wantSaid("info")
		if len(b.Alarms("")) != 0 {
			t.Errorf("alarms: %+v", b.Alarms(""))
		}
	})
}

func TestAlarm_OfANumberThatNobodyKnowsStopsNothing(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		other := b.twoNumbers()
		b.start()
		c := banned
		c.Display = "34910000009"
		b.account("wh-1", c)
		b.order("k1", ana, "template info", onNumber(number))
		b.order("k2", ana, "template info", onNumber(secondNumber))
		settled(time.Second)
		b.wantSaid("info")
		if len(other.taken()) != 1 || len(b.Alarms("")) != 1 {
			t.Errorf("%d sent by the other, alarms %+v", len(other.taken()), b.Alarms(""))
		}
		b.wantNotes("wh-1", "nothing is stopped: none of the numbers is known")
	})
}
