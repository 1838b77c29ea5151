package broker

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// What the CRMs are told of a message that was on its way while its person's number
// changed has the number that the person has by then.
func TestSent_HasTheNumberThatThePersonHasByThen(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, time.Second} { // WhatsApp's times are seconds
		run(t, func(b *bridge) {
			b.scripts = reply("hello")
			b.wa.do = func(core.Delivery) core.Result {
				<-time.After(10 * time.Second)
				return core.Result{Ref: "wamid.out.1"}
			}
			b.start()
			b.webhooks(who{"34600111222", "ES.2", ""}.wrote("1", time.Now(), "hi"))
			settled(after)
			b.webhooks(changed("2", time.Now(), map[string]any{"from": "34600111222", "from_user_id": "ES.2"}, map[string]any{"type": "user_changed_number", "wa_id": "34600999888", "user_id": "ES.2"}))
			settled(2 * time.Minute)
			sends := b.wa.taken()
			if len(sends) != 1 {
				t.Fatalf("%d sends", len(sends))
			}
			st := statusOf(sends[0].event.ID, "wamid.out.1", core.StatusDelivered)
			st.Contact.Phone = "+34600111222"
			b.accept(st)
			settled(time.Minute)
			since, last := false, core.Kind("")
			for _, d := range b.crm.taken() {
				since = since || d.event.Contact.Phone == "+34600999888"
				if since && d.event.Contact.Phone != "+34600999888" {
					t.Errorf("after the change, %s has %s", d.event.Kind, d.event.Contact.Phone)
				}
				last = d.event.Kind
			}
			if last != core.KindMessageStatus {
				t.Errorf("the last that the CRM got is %s", last)
			}
		})
	}
}

// Whoever turns out to be somebody else while a message is on its way to them got it all
// the same, and CRMs are told where, also by the properties of a mapping.
func TestSent_SaysWhereItWentOfWhoTurnedOutToBeAnother(t *testing.T) {
	for _, maps := range []bool{false, true} {
		run(t, func(b *bridge) {
			b.scripts = reply("hello")
			b.wa.do = func(core.Delivery) core.Result {
				<-time.After(10 * time.Second)
				return core.Result{Ref: "wamid.out.1"}
			}
			if maps {
				b.mapping(texts("tel"), false, core.MapRule{Field: "phone", Property: "tel"})
			}
			b.start()
			b.webhooks(who{bsuid: "TW.1"}.wrote("0", time.Now(), "hi")) // known first, and so the one that stays
			settled(time.Minute)
			before := len(b.crm.taken())
			b.webhooks(who{phone: "886912345678"}.wrote("1", time.Now(), "hi"))
			settled(time.Second)
			b.webhooks(who{"886912345678", "TW.1", ""}.wrote("2", time.Now(), "both"))
			settled(time.Minute)
			sent := 0
			for _, d := range b.crm.taken()[before:] {
				if d.event.Kind != core.KindMessageSent {
					continue
				}
				sent++
				if c := d.event.Contact; c.Phone != "+886912345678" || maps && d.event.Fields["tel"] != any("+886912345678") {
					t.Errorf("mapped %v: the CRM is told of %s that it went to %+v with %v", maps, d.event.ID, c, d.event.Fields)
				}
			}
			if sent == 0 {
				t.Error("the CRM was told of no message")
			}
		})
	}
}

// A number change that is stored after it was read whom a message went to, and before that is: the
// last that CRMs are told has the new number.
func TestSent_WhileANumberChangesIsToldOfWithIt(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		// The mapped property has the number, too.
		b.mapping(texts("tel"), false, core.MapRule{Field: "phone", Property: "tel"})
		before := b.change
		b.change = func(o *Options) {
			before(o)
			var once sync.Once
			o.Failpoint = func(name string) {
				if name == "send-before-outcome" {
					once.Do(func() {
						news, err := whatsapp.Parse(changed("2", time.Now(), map[string]any{"from": "34600111222", "from_user_id": "ES.2"},
							map[string]any{"type": "user_changed_number", "wa_id": "34600000888", "user_id": "ES.2"}))
						if err != nil || len(news) != 1 {
							t.Errorf("%d, %v", len(news), err)
							return
						}
						b.accept(news[0].Event)
						<-time.After(10 * time.Second)
					})
				}
			}
		}
		b.start()
		settled(time.Second)
		b.webhooks(who{"34600111222", "ES.2", ""}.wrote("1", time.Now(), "hi"))
		settled(time.Minute)
		got := b.crm.taken()
		sent := slices.IndexFunc(got, func(d try) bool { return d.event.Kind == core.KindMessageSent })
		last := got[len(got)-1].event
		if sent < 0 || last.Contact.Phone != "+34600000888" || last.Fields["tel"] != "+34600000888" {
			for _, d := range got {
				t.Errorf("%s %s: %s, %v", d.event.Kind, d.event.ID, d.event.Contact.Phone, d.event.Fields)
			}
		}
	})
}

// WhatsApp's times are seconds: a change in the second of the last message from the old number
// counts, one before it does not.
func TestTake_LeavesANumberThatIsChangedInTheSecondOfTheLastMessage(t *testing.T) {
	at := hour(1)
	for after, left := range map[time.Duration]bool{-time.Second: false, 0: true, time.Second: true} {
		for _, number := range []string{"+34600000888", "+34600999888"} {
			p := &person{}
			meet := func(e *core.Event) {
				e.Source = sourceWhatsApp
				c := claimOf(e)
				p.meet(e, c, c.keys)
			}
			meet(&core.Event{Kind: core.KindMessageReceived, Time: at, Contact: &core.Contact{Phone: "+34600111222", BSUID: "ES.2"}})
			meet(&core.Event{Kind: core.KindContactChanged, Time: at.Add(after), Contact: &core.Contact{Phone: "+34600111222", BSUID: "ES.2"}, Change: &core.IdentityChange{Phone: number}})
			has, want := p.Phone, "+34600111222"
			if left {
				want = number
			}
			if old := p.has(contact.KeyOf(core.Address{Kind: core.AddressPhone, Value: "+34600111222"})); has != want || old.Left.IsZero() == left {
				t.Errorf("changed %v later to %s: has %s, left the old number at %v", after, number, has, old.Left)
			}
		}
	}
}
