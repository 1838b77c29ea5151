package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// wantProof sees to it that what is in the ledger about a contact adds up to where
// they stand, and returns why they are not written to.
func (b *bridge) wantProof(id string) string {
	b.Helper()
	p, err := b.ProveConsent(context.Background(), "acme", id)
	if err != nil || !p.Whole || len(p.Entries) == 0 {
		b.Fatalf("the ledger of %s: %+v, %v", id, p, err)
	}
	var sum consent.Summary
	for _, e := range p.Entries {
		if !e.Genuine {
			b.Errorf("not as recorded: %+v", e)
		}
		sum.Apply(e.Entry)
	}
	stops := sum.Suppresses(consent.Outgoing{Marketing: true})
	if why := or(stops, sum.Refuses(consent.Marketing)); why != p.Status.Why {
		b.Errorf("%s: the ledger says %q, the contact %q", id, why, p.Status.Why)
	}
	return stops
}

func TestUnmerge_WhatForbidsHoldsForBoth(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		ctx := context.Background()
		grant := func(who, state string) {
			b.Helper()
			r := ConsentRequest{Tenant: "acme", Contact: who, Key: fmt.Sprint(time.Now()), Consent: core.Consent{Level: "marketing", State: state, Evidence: "form"}}
			if _, err := b.ChangeConsent(ctx, r); err != nil {
				b.Fatal(err)
			}
			settled(time.Second)
		}
		may := func(who string) string {
			b.Helper()
			s, err := b.Consent(ctx, "acme", who)
			if err != nil {
				b.Fatal(err)
			}
			return string(s.Levels[consent.Marketing].State) + " " + fmt.Sprint(s.MayMarket)
		}
		b.webhooks(chen.wrote("1", time.Now(), "a"), ruiz.wrote("2", time.Now(), "b"))
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		grant("TW.1", "granted")
		b.merge(a, o)
		grant("ES.1", "withdrawn")
		b.unmerge(o)
		if may(a) != "withdrawn false" || may(o) != "withdrawn false" {
			b.Errorf("after it was taken back meanwhile: %s and %s", may(a), may(o))
		}
		grant("TW.1", "granted")
		b.merge(o, a)
		grant("TW.1", "withdrawn")
		grant("TW.1", "granted")
		if may(o) != "granted true" {
			b.Errorf("together: %s", may(o))
		}
		b.unmerge(a)
		if may(a) != "granted true" || may(o) != "withdrawn false" {
			b.Errorf("after it was granted meanwhile: %s and %s", may(a), may(o))
		}
		b.wantProof(a)
		b.wantProof(o)
		// And so it is with what keeps all messages from being sent.
		b.merge(a, o)
		b.webhooks(chen.wrote("3", time.Now(), "STOP"))
		b.unmerge(o)
		if b.wantProof(a) == "" || b.wantProof(o) == "" {
			b.Error("one of them is written to after STOP")
		}
		b.merge(a, o)
		b.webhooks(chen.wrote("4", time.Now(), "START"))
		b.unmerge(o)
		if b.wantProof(a) == "" || b.wantProof(o) == "" {
			b.Error("START of nobody knows whom counts")
		}
		settled(2 * time.Second) // WhatsApp's times are in seconds
		b.webhooks(chen.wrote("5", time.Now(), "START"))
		if b.wantProof(a) != "" || b.wantProof(o) == "" {
			b.Error("START of one of them counts for the other, or not for them")
		}
	})
}

func TestMerge_TellsTheCRMWhereBothStand(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(chen.wrote("1", time.Now(), "a"), ruiz.wrote("2", time.Now(), "STOP"))
		settled(time.Second)
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		told := func() (last map[string]string) {
			settled(time.Second)
			last = map[string]string{}
			for _, e := range b.ofKind(b.crm, core.KindConsentChanged) {
				last[e.Contact.ID] = fmt.Sprintf("%s %v in %s", e.Consent.Marketing, e.Consent.Suppressed, e.Conversation)
			}
			return last
		}
		of := func(id string) string { return core.ConversationID(number, id) }
		if now := told(); now[a] != "" || now[o] != "withdrawn [stop] in "+of(o) {
			t.Fatalf("before they are merged the CRM knows %v", now)
		}
		b.merge(a, o)
		if now := told(); now[a] != "withdrawn [stop] in "+of(a) {
			t.Errorf("merged they are to the CRM %v", now)
		}
		b.unmerge(o)
		if now := told(); now[a] != " [] in "+of(a) || now[o] != "withdrawn [stop] in "+of(o) {
			t.Errorf("apart they are to the CRM %v", now)
		}
	})
}

// A CRM has the messages of both with the contact that stayed: the statuses go there,
// too, behind what was on its way before.
func TestMerge_HasStatusesFollowTheirMessages(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = busy
		b.start()
		b.webhooks(chen.wrote("1", time.Now(), "a"), ruiz.wrote("2", time.Now(), "reply"))
		settled(time.Second)
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		sent := b.ofKind(b.crm, core.KindMessageSent)
		sends := b.wa.taken()
		if len(sent) != 1 || len(sends) != 1 || sent[0].Contact.ID != o {
			t.Fatalf("sent: %+v", sent)
		}
		b.merge(a, o)
		b.accept(core.Event{ID: "s1", Kind: core.KindMessageStatus, Number: number, Time: time.Now(), Source: "whatsapp",
			Contact: &core.Contact{Phone: "+34600111222", BSUID: "ES.1"},
			Status:  &core.Status{MessageID: sent[0].Message.ID, Value: core.StatusRead, Opaque: whatsapp.Opaque(testKey, sends[0].event.ID, 1)}})
		settled(time.Second)
		statuses := b.ofKind(b.crm, core.KindMessageStatus)
		if len(statuses) != 1 || statuses[0].Contact.ID != a || statuses[0].Conversation != core.ConversationID(number, a) || statuses[0].Status.Intent != sends[0].event.ID {
			t.Errorf("the status is told as %+v, and %s is %s now", statuses, o, a)
		}
	})
}
