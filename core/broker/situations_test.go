package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// field is a webhook of another field than messages.
func field(name string, at time.Time, value map[string]any) []byte {
	value["messaging_product"] = "whatsapp"
	value["metadata"] = map[string]any{"display_phone_number": "15550100", "phone_number_id": number}
	return mustJSON(map[string]any{"object": "whatsapp_business_account", "entry": []any{map[string]any{
		"id": "1", "time": at.Unix(), "changes": []any{map[string]any{"field": name, "value": value}}}}})
}

// named puts who it is into a webhook's object, under the names that it has there.
func (w who) named(o map[string]any, phone, bsuid string) map[string]any {
	if w.phone != "" {
		o[phone] = w.phone
	}
	if w.bsuid != "" {
		o[bsuid] = w.bsuid
	}
	return o
}

// lives are webhooks of everything that Meta tells of a person by the ids that it
// knows them by: n tells them apart.
func (w who) lives(n int, at time.Time) [][]byte {
	stamp := fmt.Sprint(at.Unix())
	id := func(what string) string { return fmt.Sprintf("wamid.%s%d", what, n) }
	message := func(what, typ string, object map[string]any) map[string]any {
		return w.named(map[string]any{"id": id(what), "timestamp": stamp, "type": typ, typ: object}, "from", "from_user_id")
	}
	return [][]byte{
		w.wrote(id("T"), at, "hello"),
		envelope(map[string]any{"messages": []any{message("E", "edit", map[string]any{"original_message_id": id("T"), "message": map[string]any{"type": "text", "text": map[string]any{"body": "hi"}}})}}),
		envelope(map[string]any{"messages": []any{message("R", "revoke", map[string]any{"original_message_id": id("T")})}}),
		envelope(map[string]any{"statuses": []any{w.named(map[string]any{"id": id("S"), "status": "delivered", "timestamp": stamp}, "recipient_id", "recipient_user_id")}}),
		field("smb_message_echoes", at, map[string]any{"message_echoes": []any{
			w.named(map[string]any{"from": "15550100", "id": id("P"), "timestamp": stamp, "type": "text", "text": map[string]any{"body": "yes?"}}, "to", "to_user_id")}}),
		field("standby", at, map[string]any{"standby": map[string]any{"messages": []any{message("B", "text", map[string]any{"body": "you?"})}}}),
		field("messaging_handovers", at, map[string]any{"type": "control_passed", "timestamp": stamp, "sender": w.named(map[string]any{}, "phone_number", "user_id")}),
		field("user_preferences", at, map[string]any{"user_preferences": []any{
			w.named(map[string]any{"category": "marketing_messages", "value": "stop", "timestamp": at.Unix()}, "wa_id", "user_id")}}),
		envelope(map[string]any{"messages": []any{func() map[string]any {
			m := message("G", "text", map[string]any{"body": "in a group"})
			m["group_id"] = "Z3JvdXA"
			return m
		}()}}),
	}
}

// TestSituations_OnePersonInAllThatIsTold has a person known by the phone number
// alone, by both, by the user id alone, by another user id, and by another number,
// and everything told of them by each: they stay one, with one conversation.
func TestSituations_OnePersonInAllThatIsTold(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		step := 0
		live := func(w who) {
			step++
			b.webhooks(w.lives(step, hour(step))...)
		}
		live(who{phone: "886912345678"})
		live(who{"886912345678", "TW.1", ""})
		live(who{bsuid: "TW.1"}) // with a username
		b.webhooks(changed("wamid.X1", hour(4), map[string]any{"from_user_id": "TW.2"}, map[string]any{
			"type": "user_changed_user_id", "user_id": "TW.2", "previous_user_id": "TW.1", "body": "another user id"}))
		step++
		live(who{bsuid: "TW.2"})
		b.webhooks(changed("wamid.X2", hour(6), map[string]any{"from": "886912345678"}, map[string]any{
			"type": "user_changed_number", "wa_id": "886987654321", "user_id": "TW.2", "body": "another number"}))
		step++
		live(who{phone: "886987654321"})
		live(who{"886987654321", "TW.2", ""})
		b.wantPeople("bsuid:TW.1 bsuid:TW.2 phone:+886912345678 phone:+886987654321")
		for _, p := range b.people() {
			convs, err := b.tenants["acme"].conversationsOf(context.Background(), p.ID)
			if err != nil || len(convs) != 1 {
				t.Errorf("%d conversations, %v", len(convs), err)
			}
			if p.Phone != "+886987654321" || p.BSUID != "TW.2" {
				t.Errorf("they are reached at %s and %s", p.Phone, p.BSUID)
			}
		}
		// Each message is under the one contact at the CRM; a group is its own.
		contacts, groups := map[string]bool{}, map[string]bool{}
		for _, tr := range b.crm.taken() {
			if e := tr.event; e.Group != "" {
				groups[e.Conversation] = true
			} else if e.Message != nil {
				contacts[e.Conversation] = true
			}
		}
		if len(contacts) != 1 || len(groups) != 1 || !groups[core.GroupConversationID(number, "Z3JvdXA")] {
			t.Errorf("conversations at the CRM: %v, groups: %v", contacts, groups)
		}
	})
}
