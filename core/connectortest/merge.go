package connectortest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// deliverMerged is for connectors that name the kind: a merge is done, or a person's,
// however often it comes, and loses nothing.
func deliverMerged(ctx context.Context, p *probe) {
	if !slices.Contains(p.Connector.Info().Kinds, core.KindContactMerged) {
		p.skip("the connector does not name contact.merged: a person is asked")
		return
	}
	events := p.events(2)
	for _, e := range events {
		p.mustDeliver(ctx, batch(e))
	}
	kept, gone := events[0], *events[1].Contact
	merged := follow(reread(batch(p.event()))[0].Event, core.KindContactMerged)
	merged.Contact, merged.Conversation, merged.Number = kept.Contact, kept.Conversation, kept.Number
	merged.Merge = &core.ContactMerge{Contact: gone, Since: events[1].Time, KeptSince: kept.Time}
	var first core.Code
	for try := range 2 {
		err := p.deliver(ctx, p.Account, batch(merged))[merged.ID].Err
		code := core.CodeOf(asError(err))
		switch {
		case code != "" && code != core.CodeUndeliverable:
			p.failf("a merge: want done or undeliverable, got %s: %v", code, err)
		case code != "" && err.Holds() != core.ScopeEvent:
			p.failf("a merge that is a person's holds up the %s: %v", err.Holds(), err)
		case try > 0 && code != first:
			p.failf("the same merge again: %q, then %q", first, code)
		}
		first = code
	}
	p.wantOnce(batch(events...))
	next := p.event()
	next.Contact, next.Conversation = kept.Contact, kept.Conversation
	p.mustDeliver(ctx, batch(next))
}

// MergeCase is two contacts that became one, and what is to become of their records:
// see core/crm's OnMerge.
type MergeCase struct {
	Name    string
	OnMerge string
	// KeptOurs and GoneOurs say that the bridge made the record of the contact that
	// stays, or of the one that went.
	KeptOurs, GoneOurs bool
	Code               core.Code
	// Stays is whose record stays: 1 of the contact that does, 2 of the one that went, 0
	// both.
	Stays int
}

// MergeCases are all that there can be.
func MergeCases() []MergeCase {
	return []MergeCase{
		{"both are ours", "ours", true, true, "", 1},
		{"the one that stays was there", "ours", false, true, "", 1},
		{"the one that went was there", "ours", true, false, "", 2},
		{"both were there", "ours", false, false, core.CodeUndeliverable, 0},
		{"both were there, and the owner says so", "merge", false, false, "", 1},
		{"the owner keeps both", "keep", true, true, "", 0},
	}
}

// MergeBench is a CRM that has the contacts c001, "Person 1", and c002, "Person 2", each
// with the message wamid.IN001 or wamid.IN002, which the connector just wrote.
type MergeBench struct {
	Deliver func(*core.Event) core.Result
	// Lose has the answer to what takes a record away get lost, once, and Heal ends that.
	Lose, Heal func()
	// People returns the names of the CRM's contacts by key, and the keys of the contacts
	// that each message is with.
	People func() (names, messages map[string]string)
}

// CheckMerge has a connector make one record of two, with an answer lost or not, and
// looks at what is left.
func CheckMerge(t TB, c MergeCase, lost bool, b MergeBench) {
	t.Helper()
	since := map[bool]time.Time{true: time.Now().Add(-30 * time.Second), false: time.Now().Add(time.Hour)} // of those that were there before
	e := &core.Event{ID: "merge-1#identity#1", Kind: core.KindContactMerged, Tenant: "acme", Time: time.Now().UTC(), Source: "bridge",
		Contact: &core.Contact{ID: "c001", Name: "Person 1"},
		Merge:   &core.ContactMerge{Contact: core.Contact{ID: "c002", Name: "Person 2"}, KeptSince: since[c.KeptOurs], Since: since[c.GoneOurs]}}
	if lost && c.Code == "" && c.OnMerge != "keep" {
		b.Lose()
		if r := b.Deliver(e); r.Err != nil && r.Err.Code != core.CodeUnknownOutcome && r.Err.Code != core.CodeUnavailable {
			t.Fatalf("the answer was lost: %v", r.Err)
		}
		b.Heal()
	}
	for range 2 { // twice is once
		r := b.Deliver(e)
		switch {
		case core.CodeOf(asError(r.Err)) != c.Code:
			t.Fatalf("got %v, want %q", r.Err, c.Code)
		case r.Err != nil && !strings.Contains(r.Err.Hint, "by hand"):
			t.Fatalf("it says %+v", r.Err)
		case c.Stays > 0 && (r.ContactRef == "" || r.ContactRef != r.Ref):
			t.Fatalf("the record is %+v", r)
		}
	}
	names, messages := b.People()
	want := map[string]string{"c001": "Person 1", "c002": "Person 2"}
	of := map[string]string{"wamid.IN001": "c001", "wamid.IN002": "c002"}
	if c.Stays > 0 {
		want = map[string]string{"c001": fmt.Sprint("Person ", c.Stays)}
		of["wamid.IN002"] = "c001"
	}
	if fmt.Sprint(names) != fmt.Sprint(want) || fmt.Sprint(messages) != fmt.Sprint(of) {
		t.Fatalf("there are %v with %v, want %v with %v", names, messages, want, of)
	}
}
