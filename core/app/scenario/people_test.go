package scenario

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// variants are the national ones: the form that lists and CRMs have, and the one that
// WhatsApp has.
var variants = map[string][2]string{
	"a Brazilian ninth digit":  {"+5511987654321", "551187654321"},
	"an Argentinian 9":         {"+541123456789", "5491123456789"},
	"a Mexican 1":              {"+525512345678", "5215512345678"},
	"a Brazilian without":      {"+551188887777", "5511988887777"},
	"an Argentinian without 9": {"+5491188887777", "541188887777"},
}

// people are those of whom it is not plain who they are: each of them is to be one
// contact, with one record in the CRM.
func (w *world) people(tn *tenant) {
	b, ctx := w.broker, w.t.Context()
	n := 0
	also := ""
	write := func(from, bsuid, text string) {
		n++
		w.say(whatsappsim.Inbound{Number: tn.number, From: from, Also: also, BSUID: bsuid, Name: "Pat", Text: text, ID: fmt.Sprintf("wamid.scen.%s.p%d", tn.id, n)})
	}
	// known has the business know a number, before its owner has written.
	known := func(phone string) {
		_, err := b.ChangeConsent(ctx, broker.ConsentRequest{
			Tenant: tn.id, Contact: phone, Key: phone, Consent: core.Consent{Level: "marketing", State: "granted", Evidence: "a form", By: "scenario"},
		})
		if err != nil {
			w.t.Error(err)
		}
	}
	one := func(what string, addresses ...string) {
		w.t.Helper()
		first, err := b.Contact(ctx, tn.id, addresses[0])
		for _, a := range addresses[1:] {
			if c, err := b.Contact(ctx, tn.id, a); err != nil || c.ID != first.ID {
				w.t.Errorf("%s: %s: %s and %s are not one contact: %v", tn.id, what, addresses[0], a, err)
			}
		}
		if err != nil {
			w.t.Errorf("%s: %s: %v", tn.id, what, err)
		}
	}
	decided := func() { // what was written is decided, so that it is known who wrote
		w.await("messages are decided", 20e9, func() bool {
			for _, q := range b.Snapshot().Queues {
				if q.Tenant == tn.id && q.Queue == "decide" && q.Depth > 0 {
					return false
				}
			}
			return true
		})
	}

	for what, v := range variants {
		known(v[0])
		also = v[0]
		write(v[1], "", "Hello")
		write(v[1], "", "Order 1")
		decided()
		one(what, v[0], "+"+v[1])
	}

	also = ""

	// Somebody without a number, who tells it later; and one whose number the
	// business had already, so that two contacts are found to be one.
	write("", "ES.7001", "Hello")
	write("", "ES.7001", "Ask 1")
	decided()
	write("34600111001", "ES.7001", "Ask 2")
	known("+34600111002")
	write("", "ES.7002", "Order 2")
	decided()
	write("34600111002", "ES.7002", "Ask 3")
	decided()
	one("a number told later", "ES.7001", "+34600111001")
	one("a number known before", "ES.7002", "+34600111002")

	// A change of the number, and of the user id.
	write("34600111003", "ES.7003", "Order 3")
	decided()
	n++
	object, err := json.Marshal(map[string]string{"body": "Pat changed from A to B", "type": "user_changed_number", "wa_id": "34600111004", "user_id": "ES.7003"})
	if err != nil {
		w.t.Error(err)
	}
	w.say(whatsappsim.Inbound{Number: tn.number, From: "34600111003", BSUID: "ES.7003", Type: "system", Object: object, Text: "Pat changed from A to B", ID: fmt.Sprintf("wamid.scen.%s.p%d", tn.id, n)})
	decided()
	write("34600111004", "ES.7003", "Ask 4")
	decided()
	one("a changed number", "+34600111004", "ES.7003")

	// Two whom a person says are one; the one that goes wants no messages.
	write("34600111005", "ES.7005", "News yes")
	write("34600111006", "ES.7006", "STOP")
	decided()
	if _, err := b.MergeContacts(ctx, broker.MergeRequest{Tenant: tn.id, Contact: "+34600111005", With: "+34600111006", By: "scenario", Reason: "one person"}); err != nil {
		w.t.Error(err)
	}
	write("34600111005", "ES.7005", "Order 5")
	write("34600111006", "ES.7006", "Hello")
	decided()
	one("a merge", "+34600111005", "+34600111006")
	if c, err := b.Contact(ctx, tn.id, "+34600111005"); err != nil || len(c.Consent.Suppressed) == 0 || !strings.Contains(strings.Join(c.Tags, " "), "buyer") {
		w.t.Errorf("%s: merged they are %+v, %v", tn.id, c, err)
	}
}
