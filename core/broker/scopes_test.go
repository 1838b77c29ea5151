package broker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Each of WhatsApp's limits pauses what it names and nothing else, and what waits for
// it has made no attempt. One number refuses its first send; what else is sent then goes at
// once, or waits as long.
func TestScopes_EachLimitPausesWhatItNames(t *testing.T) {
	const second, other = "106540352242923", "106540352242924"
	type waits struct{ same, person, number, account time.Duration }
	for code, want := range map[int]waits{
		130429: {same: time.Second, person: time.Second, number: 0, account: 0},
		131056: {same: 6 * time.Second, person: 0, number: 0, account: 0},
		131048: {same: time.Hour, person: time.Hour, number: 0, account: 0},
		80007:  {same: 5 * time.Minute, person: 5 * time.Minute, number: 5 * time.Minute, account: 0},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			run(t, func(b *bridge) {
				b.noSync = true
				numbers := map[string]*sink{number: b.wa, second: {}, other: {}}
				b.change = func(o *Options) {
					n := &o.Tenants[0].Numbers
					(*n)[0].Account, (*n)[0].Rate = "account-1", 80
					*n = append(*n, Number{ID: second, Sink: numbers[second], Account: "account-1"}, Number{ID: other, Sink: numbers[other], Account: "account-2"})
				}
				var refused atomic.Bool
				b.wa.do = func(core.Delivery) core.Result {
					if refused.CompareAndSwap(false, true) {
						return core.Result{Err: whatsapp.ErrorFor(400, whatsapp.GraphError{Code: code, Message: "no"})}
					}
					return core.Result{Ref: fmt.Sprint("wamid.", time.Now().UnixNano())}
				}
				b.start()
				from := func(id string) func(*SendRequest) { return func(r *SendRequest) { r.Number = id } }
				first := b.order("first", ana, "one", from(number))
				settled(100 * time.Millisecond)
				began := time.Now()
				sent := map[string]string{
					b.order("same", ana, "two", from(number)): "same", b.order("person", berto, "one", from(number)): "person",
					b.order("number", ana, "one", from(second)): "number", b.order("account", ana, "one", from(other)): "account",
				}
				settled(2 * time.Hour)
				went := map[string]time.Duration{}
				for _, s := range numbers {
					for _, try := range s.taken() {
						if try.n != 1 {
							t.Errorf("%s was attempt %d", try.event.ID, try.n)
						}
						if of := sent[try.event.ID]; of != "" {
							went[of] = try.at.Sub(began)
						}
					}
				}
				for of, least := range map[string]time.Duration{"same": want.same, "person": want.person, "number": want.number, "account": want.account} {
					if got, ok := went[of]; !ok || got < least-200*time.Millisecond || got > least+least/5+500*time.Millisecond {
						t.Errorf("%s: went %v after %v, want %v", of, ok, got, least)
					}
				}
				if n := len(b.dead()); n > 0 {
					t.Errorf("%d dead letters", n)
				}
				story, err := b.Why(context.Background(), "", first)
				if err != nil || !strings.Contains(fmt.Sprint(story), "waits") || !strings.Contains(fmt.Sprint(story), fmt.Sprint(code)) {
					t.Errorf("why: %v, %+v", err, story)
				}
			})
		})
	}
}

// WhatsApp keeps marketing from somebody: they get none for a day, one more try, and all else
// as ever.
func TestScopes_MarketingIsWithheldFromAPersonForADay(t *testing.T) {
	for name, at := range map[string]string{"at once": "answer", "later": "status"} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.noSync = true
				b.withPolicy(Policy{Templates: testTemplates})
				refuse := whatsapp.ErrorFor(400, whatsapp.GraphError{Code: 131049, Message: "no"})
				var n atomic.Int64
				b.wa.do = func(d core.Delivery) core.Result {
					if at == "answer" && d.Event.Message.Type == core.TypeTemplate && d.Event.Message.To.Value == ana {
						return core.Result{Err: refuse}
					}
					return core.Result{Ref: fmt.Sprint("wamid.x", n.Add(1))}
				}
				b.start()
				for i, who := range []string{ana, berto} {
					b.write(fmt.Sprint("wamid.", i), who, "hi")
					b.change1(fmt.Sprint("c", i), who, core.Consent{Level: "marketing", State: "granted", Source: "api", Evidence: "ticked"})
				}
				first := b.order("promo1", ana, "template promo")
				settled(time.Second)
				if at == "status" {
					e := statusOf(first, "wamid.x1", core.StatusFailed)
					e.Status.Errors = []core.StatusError{{Code: 131049, Title: "not delivered"}}
					b.accept(e)
					settled(time.Second)
				}
				tried := func(to string, typ core.MessageType) (n int) {
					for _, try := range b.wa.taken() {
						if try.event.Message.To.Value == to && try.event.Message.Type == typ {
							n++
						}
					}
					return n
				}
				second := b.order("promo2", ana, "template promo")
				b.order("text", ana, "your order is here")
				b.order("promo3", berto, "template promo")
				settled(time.Minute)
				if tried(ana, core.TypeTemplate) != 1 || tried(ana, core.TypeText) != 1 || tried(berto, core.TypeTemplate) != 1 {
					t.Errorf("to ana %d templates and %d texts, to berto %d templates", tried(ana, core.TypeTemplate), tried(ana, core.TypeText), tried(berto, core.TypeTemplate))
				}
				story, err := b.Why(context.Background(), "", second)
				if err != nil || !strings.Contains(fmt.Sprint(story), "keeps marketing from this person") {
					t.Errorf("why: %v, %+v", err, story)
				}
				settled(23*time.Hour + 50*time.Minute)
				if got := tried(ana, core.TypeTemplate); got != 1 {
					t.Errorf("%d templates within the day", got)
				}
				settled(30 * time.Minute)
				if at == "status" {
					if got := tried(ana, core.TypeTemplate); got != 2 {
						t.Errorf("%d templates after the day, want the one that waited", got)
					}
					return
				}
				if dead := b.dead(); len(dead) != 1 || !strings.Contains(string(dead[0].Event), first) || dead[0].Reason.Code != core.CodeUndeliverable {
					t.Errorf("after its second try the first is no dead letter: %+v", dead)
				}
			})
		})
	}
}

// Tenants of one portfolio share its people a day.
func TestPace_TenantsShareAPortfolio(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		const theirs = "106540352242925"
		info := Policy{Templates: []Template{{Name: "info", Category: "utility"}}}
		wa := &sink{do: b.wa.do}
		b.change = func(o *Options) {
			o.Tenants[0].Policy, o.Tenants[0].Limits = info, Limits{PeoplePerDay: 4, Portfolio: "group"}
			o.Tenants = append(o.Tenants, Tenant{ID: "bolt", Numbers: []Number{{ID: theirs, Sink: wa}}, Policy: info, Limits: Limits{Portfolio: "group"}})
		}
		b.start()
		ask := func(tenant string, i int) {
			b.order(fmt.Sprint(tenant, i), fmt.Sprintf("+1415555%04d", i), "template info", func(r *SendRequest) { r.Tenant = tenant })
		}
		for i := range 8 {
			ask("acme", i)
		}
		settled(time.Hour)
		ask("bolt", 100)
		ask("bolt", 101)
		count := func(acme, bolt int) {
			t.Helper()
			if a, o := len(b.wa.taken()), len(wa.taken()); a != acme || o != bolt {
				t.Errorf("acme wrote to %d, bolt to %d; want %d and %d", a, o, acme, bolt)
			}
		}
		settled(time.Minute)
		count(4, 0)
		b.stop()
		b.start()
		settled(22 * time.Hour)
		count(4, 0)
		settled(2 * time.Hour)
		count(6, 2) // bolt came later, and gets its part of what is free again
		if b.tenants["acme"].pace.people.Most() != 4 {
			t.Error("the limit is not the portfolio's")
		}
	})
}

// What one person got is remembered over a restart.
func TestPace_APersonsAccountOutlivesTheProcess(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.start()
		b.write("wamid.1", ana, "hi")
		for i := range 45 {
			b.order(fmt.Sprint("k", i), ana, "hello", fromPersonAPI)
		}
		settled(time.Second)
		b.stop()
		b.start()
		for i := range 3 {
			b.order(fmt.Sprint("more", i), ana, "hello", fromPersonAPI)
		}
		settled(3 * time.Second)
		if each, _ := b.sentTo(); each[ana] != 45 {
			t.Errorf("%d at once, with a restart between them; WhatsApp takes 45", each[ana])
		}
		settled(30 * time.Second)
		if each, _ := b.sentTo(); each[ana] != 48 {
			t.Errorf("%d of 48 in the end", each[ana])
		}
	})
}
