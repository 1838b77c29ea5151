package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// who is somebody as a webhook names them.
type who struct{ phone, bsuid, parent string }

// wrote is the webhook of a text message, as Meta sends it.
func (w who) wrote(id string, at time.Time, text string) []byte {
	m := map[string]any{"id": id, "timestamp": fmt.Sprint(at.Unix()), "type": "text", "text": map[string]any{"body": text}}
	c := map[string]any{"profile": map[string]any{"name": "Ana", "username": "ana"}}
	set := func(in map[string]any, k, v string) {
		if v != "" {
			in[k] = v
		}
	}
	set(m, "from", w.phone)
	set(m, "from_user_id", w.bsuid)
	set(m, "from_parent_user_id", w.parent)
	set(c, "wa_id", w.phone)
	set(c, "user_id", w.bsuid)
	set(c, "parent_user_id", w.parent)
	return envelope(map[string]any{"messages": []any{m}, "contacts": []any{c}})
}

// changed is the webhook of a system message.
func changed(id string, at time.Time, from, system map[string]any) []byte {
	m := map[string]any{"id": id, "timestamp": fmt.Sprint(at.Unix()), "type": "system", "system": system}
	maps.Copy(m, from)
	return envelope(map[string]any{"messages": []any{m}})
}

func envelope(value map[string]any) []byte {
	value["messaging_product"] = "whatsapp"
	value["metadata"] = map[string]any{"display_phone_number": "15550100", "phone_number_id": number}
	return mustJSON(map[string]any{"object": "whatsapp_business_account", "entry": []any{map[string]any{
		"id": "1", "changes": []any{map[string]any{"field": "messages", "value": value}}}}})
}

// webhooks takes webhooks as the bridge would, one after the other.
func (b *bridge) webhooks(bodies ...[]byte) {
	b.Helper()
	for _, body := range bodies {
		updates, err := whatsapp.Parse(body)
		if err != nil {
			b.Fatal(err)
		}
		for _, u := range updates {
			b.accept(u.Event)
		}
		settled(time.Second)
	}
}

// people are the contacts that stand for themselves.
func (b *bridge) people() []*person {
	b.Helper()
	entries, err := b.store.Range(context.Background(), "acme", bucketPeople, "", 10_000)
	if err != nil {
		b.Fatal(err)
	}
	var out []*person
	for _, e := range entries {
		if p := personOf(e.Value); !strings.Contains(e.Key, "/") && p.MergedInto == "" {
			out = append(out, p)
		}
	}
	return out
}

// keysOf are the keys of each person, in order.
func keysOf(people []*person) []string {
	var out []string
	for _, p := range people {
		var keys []string
		for _, i := range p.Identities {
			keys = append(keys, i.Key.String())
		}
		out = append(out, strings.Join(keys, " "))
	}
	slices.Sort(out)
	return out
}

func (b *bridge) wantPeople(want ...string) {
	b.Helper()
	if got := keysOf(b.people()); !slices.Equal(got, want) {
		b.Errorf("the people are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.checkAliases()
}

// checkAliases sees to it that every key is one contact's, and is found there.
func (b *bridge) checkAliases() {
	b.Helper()
	owner := map[contact.Key]string{}
	for _, p := range b.people() {
		for _, i := range p.Identities {
			if other := owner[i.Key]; other != "" {
				b.Errorf("%s is %s's and %s's", i.Key, other, p.ID)
			}
			owner[i.Key] = p.ID
		}
	}
	for k, id := range owner {
		v, err := b.store.Get(context.Background(), aliasKey("acme", k.String()))
		if err != nil || string(v[0]) != id {
			b.Errorf("%s is %s's, but leads to %q, %v", k, id, v[0], err)
		}
	}
}

var day = time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)

func hour(n int) time.Time { return day.Add(time.Duration(n) * time.Hour) }

func TestIdentity_OnePersonWhateverTheyAreCalled(t *testing.T) {
	for name, c := range map[string]struct {
		webhooks [][]byte
		want     []string
	}{
		"phone, then user id": {
			[][]byte{who{phone: "886912345678"}.wrote("1", hour(1), "a"), who{"886912345678", "TW.1", ""}.wrote("2", hour(2), "b"),
				who{bsuid: "TW.1"}.wrote("3", hour(3), "c")},
			[]string{"bsuid:TW.1 phone:+886912345678"}},
		"user id, then phone": {
			[][]byte{who{bsuid: "TW.1"}.wrote("1", hour(1), "a"), who{"886912345678", "TW.1", ""}.wrote("2", hour(2), "b"),
				who{phone: "886912345678"}.wrote("3", hour(3), "c")},
			[]string{"bsuid:TW.1 phone:+886912345678"}},
		"both known apart, then together": {
			[][]byte{who{phone: "886912345678"}.wrote("1", hour(1), "a"), who{bsuid: "TW.1"}.wrote("2", hour(2), "b"),
				who{"886912345678", "TW.1", ""}.wrote("3", hour(3), "c")},
			[]string{"bsuid:TW.1 phone:+886912345678"}},
		"Brazil's ninth digit": {
			[][]byte{who{phone: "553196883193"}.wrote("1", hour(1), "a"), who{phone: "5531996883193"}.wrote("2", hour(2), "b")},
			[]string{"phone:+5531996883193"}},
		"Brazil's landlines": {
			[][]byte{who{phone: "551133334444"}.wrote("1", hour(1), "a"), who{phone: "5511933334444"}.wrote("2", hour(2), "b")},
			[]string{"phone:+551133334444", "phone:+5511933334444"}},
		"Argentina's 9": {
			[][]byte{who{phone: "5491158749895"}.wrote("1", hour(1), "a"), who{phone: "541158749895"}.wrote("2", hour(2), "b"),
				who{phone: "54111558749895"}.wrote("3", hour(3), "c")},
			[]string{"phone:+5491158749895"}},
		"Mexico's 1": {
			[][]byte{who{phone: "5215512345678"}.wrote("1", hour(1), "a"), who{phone: "525512345678"}.wrote("2", hour(2), "b")},
			[]string{"phone:+525512345678"}},
		"Benin's 01": {
			[][]byte{who{phone: "22997123456"}.wrote("1", hour(1), "a"), who{phone: "2290197123456"}.wrote("2", hour(2), "b")},
			[]string{"phone:+2290197123456"}},
		"a parent user id": {
			[][]byte{who{bsuid: "US.1", parent: "US.ENT.9"}.wrote("1", hour(1), "a"), who{bsuid: "US.2", parent: "US.ENT.9"}.wrote("2", hour(2), "b"),
				who{"14155550100", "US.2", ""}.wrote("3", hour(3), "c")},
			[]string{"bsuid:US.1 bsuid:US.2 parent:US.ENT.9 phone:+14155550100"}},
		"a number that changed": {
			[][]byte{who{phone: "34600111222"}.wrote("1", hour(1), "a"),
				changed("2", hour(2), map[string]any{"from": "34600111222"}, map[string]any{"type": "user_changed_number", "wa_id": "34600999888"}),
				who{phone: "34600999888"}.wrote("3", hour(3), "c")},
			[]string{"phone:+34600111222 phone:+34600999888"}},
		"a number that changed, told late": {
			[][]byte{who{"34600111222", "ES.1", ""}.wrote("1", hour(1), "a"), who{"34600999888", "ES.2", ""}.wrote("3", hour(3), "c"),
				changed("2", hour(2), map[string]any{"from": "34600111222"},
					map[string]any{"type": "user_changed_number", "wa_id": "34600999888", "user_id": "ES.2", "previous_user_id": "ES.1"})},
			[]string{"bsuid:ES.1 bsuid:ES.2 phone:+34600111222 phone:+34600999888"}},
		"a user id that changed": {
			[][]byte{who{"34600111222", "ES.1", ""}.wrote("1", hour(1), "a"),
				changed("2", hour(2), nil, map[string]any{"type": "user_changed_user_id", "user_id": "ES.2", "previous_user_id": "ES.1"}),
				who{bsuid: "ES.2"}.wrote("3", hour(3), "c")},
			[]string{"bsuid:ES.1 bsuid:ES.2 phone:+34600111222"}},
		"a new phone, with the same account": {
			[][]byte{who{"34600111222", "ES.1", ""}.wrote("1", hour(1), "a"),
				changed("2", hour(2), map[string]any{"from": "34600111222"}, map[string]any{"type": "customer_identity_changed", "wa_id": "34600111222"}),
				who{"34600111222", "ES.1", ""}.wrote("3", hour(3), "c")},
			[]string{"bsuid:ES.1 phone:+34600111222"}},
		"a number given to somebody else": {
			[][]byte{who{"34600111222", "ES.1", ""}.wrote("1", hour(1), "a"), who{"34600111222", "ES.2", ""}.wrote("2", hour(2), "b"),
				who{phone: "34600111222"}.wrote("3", hour(3), "c"), who{bsuid: "ES.1"}.wrote("4", hour(4), "d")},
			[]string{"bsuid:ES.1", "bsuid:ES.2 phone:+34600111222"}},
		"a username that moves": {
			[][]byte{who{bsuid: "US.1"}.wrote("1", hour(1), "a"), who{bsuid: "US.2"}.wrote("2", hour(2), "b")}, // both call themselves ana
			[]string{"bsuid:US.1", "bsuid:US.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.start()
				b.webhooks(c.webhooks...)
				b.wantPeople(c.want...)
				if n := b.depth(); n != 0 {
					b.Errorf("%d events wait", n)
				}
				if len(c.want) == 1 && len(b.crm.taken()) > 0 {
					last := b.crm.taken()[len(b.crm.taken())-1].event
					if last.Contact.ID != b.people()[0].ID {
						b.Errorf("the CRM heard last of %s, and the person is %s", last.Contact.ID, b.people()[0].ID)
					}
				}
			})
		})
	}
}

// What WhatsApp wrote is what it is sent, whatever the number is compared by.
func TestIdentity_WritesToWhatsAppsOwnSpelling(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.start()
		b.webhooks(who{phone: "5215512345678"}.wrote("1", time.Now(), "hi"))
		if to := b.wa.taken()[0].event.Message.To.Value; to != "+5215512345678" {
			b.Errorf("written to %s", to)
		}
		_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "k", Message: core.Message{
			Type: core.TypeText, Text: "again", To: core.Address{Kind: core.AddressPhone, Value: "+525512345678"}}})
		if err != nil {
			b.Fatal(err)
		}
		settled(time.Second)
		b.wantPeople("phone:+525512345678")
		if p := b.people()[0]; p.Phone != "+5215512345678" {
			b.Errorf("the contact's phone became %s", p.Phone)
		}
	})
}

func TestIdentity_KeepsSourceAndTimes(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(who{"34600111222", "ES.1", ""}.wrote("1", hour(1), "a"), who{"34600111222", "", ""}.wrote("2", hour(30), "b"),
			who{bsuid: "ES.1"}.wrote("0", hour(0), "late"))
		p := b.people()[0]
		phone, id := p.Identities[1], p.Identities[0]
		if phone.Source != "whatsapp" || !phone.First.Equal(hour(1)) || !phone.Last.Equal(hour(30)) || !id.First.Equal(hour(0)) || !id.Last.Equal(hour(1)) {
			b.Errorf("the identities are %+v", p.Identities)
		}
	})
}

// Two contacts have conversations under way when it turns out that they are one.
func TestMerge_JoinsConversationsUnderWay(t *testing.T) {
	run(t, func(b *bridge) {
		const other = "106540352242923"
		b.scripts = func(e *core.Event) script.Decision {
			dec := script.Decision{Version: "v1", Actions: []script.Action{{Type: script.ActionTag, Tag: e.Message.Text}}}
			if e.Message.Text == "help" {
				dec.Actions = append(dec.Actions, script.Action{Type: script.ActionEscalate, Reason: "asked"})
			}
			return dec
		}
		b.change = func(o *Options) {
			o.Tenants[0].Numbers = append(o.Tenants[0].Numbers, Number{ID: other, Sink: b.wa, Rate: 1000})
		}
		b.start()
		now := time.Now()
		elsewhere := received("elsewhere", "+886912345678", "vip")
		elsewhere.Number = other
		b.accept(elsewhere)
		b.webhooks(who{phone: "886912345678"}.wrote("1", now, "first"), who{bsuid: "TW.1"}.wrote("2", now.Add(time.Minute), "help"))
		if len(b.people()) != 2 {
			b.Fatalf("the people are %q", keysOf(b.people()))
		}
		older := b.people()[0]
		if older.has(contact.ParentKey("x")) != nil || older.BSUID != "" {
			older = b.people()[1]
		}
		b.webhooks(who{"886912345678", "TW.1", ""}.wrote("3", now.Add(2*time.Minute), "both"))
		b.wantPeople("bsuid:TW.1 phone:+886912345678")
		p := b.people()[0]
		if p.ID != older.ID || !slices.Equal(p.Tags, []string{"both", "first", "help", "vip"}) {
			b.Errorf("the survivor is %s with the tags %q, want %s", p.ID, p.Tags, older.ID)
		}
		talks, err := b.tenants["acme"].conversationsOf(context.Background(), p.ID)
		if err != nil || len(talks) != 2 {
			b.Fatalf("conversations %v, %v", talks, err)
		}
		if c := talks[number]; c.In != 3 || !c.human(time.Now()) || !c.LastIn.Equal(now.Add(2*time.Minute).Truncate(time.Second)) {
			b.Errorf("the conversation is %+v", c)
		}
		story, err := b.Why(context.Background(), "acme", "3")
		if err != nil || !slices.ContainsFunc(story.Steps, func(s Step) bool { return s.Step == "merged" }) {
			b.Errorf("why does not tell of the merge: %+v, %v", story.Steps, err)
		}
	})
}

// Who has two numbers is shown with the one that they were last seen with, and not with the
// one that somebody asked for a message to.
func TestIdentity_NoSendChangesAnybodysNumber(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		now := time.Now()
		b.webhooks(who{"886912345678", "TW.1", ""}.wrote("1", now.Add(-30*24*time.Hour), "from the old number"),
			who{"886987654321", "TW.1", ""}.wrote("2", now, "from the new one"))
		b.wantPeople("bsuid:TW.1 phone:+886912345678 phone:+886987654321")
		settled(time.Hour)
		b.order("k1", "+886912345678", "outside the window", func(r *SendRequest) {
			r.Message.Type, r.Message.Text, r.Message.Template = core.TypeTemplate, "", &core.Template{Name: "nobody_has_it", Language: "en"}
		})
		settled(time.Minute)
		if p := b.people()[0]; p.Phone != "+886987654321" || len(b.said()) != 0 {
			t.Errorf("the person has %s, and got %q", p.Phone, b.said())
		}
		// Nor is one that goes out a word of theirs: they may never see it.
		b.order("k2", "+886912345678", "inside it")
		settled(time.Minute)
		if p := b.people()[0]; p.Phone != "+886987654321" || len(b.said()) != 1 {
			t.Errorf("the person has %s, and got %q", p.Phone, b.said())
		}
	})
}

// What was queued for a contact that went is decided as the survivor's.
func TestMerge_LeadsQueuedEventsToTheSurvivor(t *testing.T) {
	run(t, func(b *bridge) {
		hold := make(chan struct{})
		b.scripts = func(e *core.Event) script.Decision {
			if e.Message.Text == "slow" {
				<-hold
			}
			return script.Decision{Version: "v1", Actions: []script.Action{{Type: script.ActionTag, Tag: e.ID}}}
		}
		b.start()
		now := time.Now()
		b.webhooks(who{phone: "886912345678"}.wrote("1", now, "a"), who{bsuid: "TW.1"}.wrote("2", now.Add(time.Second), "b"))
		// One of each waits behind a slow one; then the webhook with both comes.
		accept := func(body []byte) {
			updates, _ := whatsapp.Parse(body)
			b.accept(updates[0].Event)
		}
		accept(who{bsuid: "TW.1"}.wrote("3", now.Add(2*time.Second), "slow"))
		settled(10 * time.Millisecond)
		accept(who{bsuid: "TW.1"}.wrote("4", now.Add(3*time.Second), "queued"))
		accept(who{"886912345678", "TW.1", ""}.wrote("5", now.Add(4*time.Second), "both"))
		accept(who{phone: "886912345678"}.wrote("6", now.Add(5*time.Second), "after"))
		settled(10 * time.Millisecond)
		close(hold)
		settled(time.Second + mergeLooks) // the merge may wait once for what is before it
		b.wantPeople("bsuid:TW.1 phone:+886912345678")
		if p := b.people()[0]; !slices.Equal(p.Tags, []string{"1", "2", "3", "4", "5", "6"}) {
			b.Errorf("the tags are %q", p.Tags)
		}
		if n := b.depth(); n != 0 {
			b.Errorf("%d events wait", n)
		}
	})
}

func TestRecord_IsFoundByTheContact(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.start()
		b.webhooks(who{phone: "886912345678"}.wrote("1", time.Now(), "hi"))
		recs, err := b.store.Find(context.Background(), "acme", b.people()[0].ID)
		if err != nil || len(recs) < 4 { // decided, sent, and both at the CRM
			b.Errorf("%d records of the contact, %v", len(recs), err)
		}
		for _, r := range recs {
			var s Step
			if json.Unmarshal(r.Data, &s) != nil || s.Event == "" {
				b.Errorf("a record is %s", r.Data)
			}
		}
	})
}

// A system message is WhatsApp's: it opens no window, and no script answers it.
func TestReceived_SystemMessagesAreNobodysWords(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.start()
		b.webhooks(changed("1", time.Now(), map[string]any{"from": "34600111222"}, map[string]any{"type": "user_changed_number", "wa_id": "34600999888"}))
		b.wantPeople("phone:+34600111222 phone:+34600999888")
		if len(b.wa.taken()) != 0 {
			b.Error("it was answered")
		}
		taken := b.crm.taken()
		if len(taken) != 1 || taken[0].event.Contact.Phone != "+34600999888" || taken[0].event.Change == nil {
			b.Errorf("the CRM got %+v", taken)
		}
		talks, err := b.tenants["acme"].conversationsOf(context.Background(), b.people()[0].ID)
		if c := talks[number]; err != nil || c != nil && !c.LastIn.IsZero() {
			b.Errorf("the conversation is %+v, %v", c, err)
		}
	})
}
