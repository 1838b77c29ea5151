package broker

import (
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
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
