package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
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
