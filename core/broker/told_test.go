package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// refs are what a connector was told of a contact's record: what a result said, or the CRM.
type refs struct{ Said, Told string }

// notes has a sink keep them, and answer as say says.
func (s *sink) notes(say func(core.Delivery) string) *[]refs {
	var got []refs
	s.do = func(d core.Delivery) core.Result {
		got = append(got, refs{d.ContactRef, d.ToldRef})
		if d.ContactRef != "" && d.Event.Kind != core.KindContactMerged {
			return core.Result{}
		}
		return core.Result{ContactRef: say(d)}
	}
	return &got
}

// Whoever was told of by the CRM has a record there: the connector hears which, whatever it was
// that the CRM told, until a result has said which it is. Nothing else replaces that.
func TestTold_TheConnectorHearsWhichRecordItIs(t *testing.T) {
	to := core.Address{Kind: core.AddressPhone, Value: anasPhone}
	for name, told := range map[string]core.Event{
		"a change":  atCRM("1", time.Time{}, map[string]any{"City": "Rome"}),
		"consent":   {ID: "1", Kind: core.KindConsentChanged, Contact: &core.Contact{Phone: anasPhone}, Consent: &core.Consent{Level: "marketing", State: "withdrawn"}},
		"a message": {ID: "1", Kind: core.KindMessageSend, Author: core.AuthorHuman, Message: &core.Message{Type: core.TypeText, Text: "Hi", To: to}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
				say := ""
				got := d.notes(func(core.Delivery) string { return say })
				b.start()
				settled(time.Second)
				write := func(id string, want ...refs) {
					t.Helper()
					*got = nil
					b.accept(received(id, anasPhone, "hi"))
					settled(time.Minute)
					if diff := cmp.Diff(want, *got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", id, diff)
					}
				}
				write("wamid.1", refs{})
				tell := func(id, ref string) {
					e := told
					e.ID, e.ContactRef = id, ref
					d.tells(e)
					settled(20 * time.Minute)
				}
				tell("1", "r-1")
				write("wamid.2", refs{Told: "r-1"})
				tell("2", "r-2") // it has two
				say = "r-2"
				write("wamid.3", refs{Told: "r-2"})
				write("wamid.4", refs{Said: "r-2"})
				tell("3", "r-1")
				write("wamid.5", refs{Said: "r-2"})
				tell("4", "")
				d.tells(goneAtCRM("g", "r-2"))
				settled(20 * time.Minute)
				write("wamid.6", refs{})
			})
		})
	}
}

// A record that was written while its contact had no name is looked at again when there is one.
func TestTold_TheRecordOfWhoHadNoName(t *testing.T) {
	run(t, func(b *bridge) {
		got := b.crm.notes(func(core.Delivery) string { return "r-1" })
		b.start()
		for i, name := range []string{"", "", "Ana", "Ana"} {
			e := received("wamid."+string(rune('1'+i)), anasPhone, "hi")
			e.Contact.Name = name
			b.accept(e)
			settled(time.Second)
		}
		if diff := cmp.Diff([]refs{{}, {Said: "r-1"}, {Told: "r-1"}, {Said: "r-1"}}, *got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The members of a segment have records, whether or not they were known.
func TestSegment_WhatIsSentIsWrittenToTheMembersRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twice := member(0)
		twice.ContactRef = "r100"
		b, _ := segmenting(t, member(0), member(1), twice)
		got := map[string]refs{}
		b.crm.do = func(d core.Delivery) core.Result {
			if d.Event.Kind == core.KindMessageSent {
				got[d.Event.Contact.Phone] = refs{d.ContactRef, d.ToldRef}
			}
			return core.Result{}
		}
		b.start()
		b.write("wamid.in.1", phoneOf(1), "hello")
		b.newSpring()
		b.planIt("spring")
		b.set("spring", CampaignStart)
		settled(time.Second)
		if diff := cmp.Diff(map[string]refs{phoneOf(0): {Told: "r0"}, phoneOf(1): {Told: "r1"}}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		b.stop()
	})
}

// To connectors that look first a record that was told of is no reason not to wait.
func TestTold_OfWhoMayHaveARecordThatNoSearchSeesYet(t *testing.T) {
	run(t, func(b *bridge) {
		crm := &lateCRM{sees: 20 * time.Second, records: map[string][]time.Time{}, fail: func(int) *core.Error { return nil }}
		b.change = func(o *Options) { o.Tenants[0].Lanes = []Lane{{Name: "crm", Connector: "late", Sink: crm}} }
		b.start()
		settled(time.Second)
		l := b.tenants["acme"].crmLane("crm")
		told := atCRM("1", time.Now(), nil)
		told.ContactRef = "r-1"
		if err := l.tell(b.Context(), []core.Event{told}, store.Settlement{}); err != nil {
			t.Fatal(err)
		}
		settled(time.Second)
		b.accept(received("wamid.1", anasPhone, "hi"), received("wamid.2", anasPhone, "hi"))
		settled(time.Minute)
		crm.wantOnce(t, 1, 2)
	})
}

// What somebody else asks to be sent is told with all that is known of the person.
func TestSent_SaysWhoGotIt(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.accept(received("wamid.1", anasPhone, "hi"))
		settled(time.Second)
		b.accept(core.Event{ID: "s", Kind: core.KindMessageSend, Tenant: "acme", Number: number, Source: "api", Contact: &core.Contact{Phone: anasPhone},
			Message: &core.Message{Type: core.TypeText, Text: "Hi", To: core.Address{Kind: core.AddressPhone, Value: anasPhone}}})
		settled(time.Second)
		tries := b.crm.taken()
		if e := tries[len(tries)-1].event; e.Kind != core.KindMessageSent || e.Contact.Name != "Ana" {
			t.Errorf("the CRM was told of %s to %+v", e.Kind, e.Contact)
		}
	})
}

// So is the one that a merge leaves: it may be that of whoever had no name.
func TestTold_TheRecordThatAMergeLeft(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("City"), false)
		got := d.notes(func(core.Delivery) string { return "r-1" })
		inner := b.change
		b.change = func(o *Options) {
			inner(o)
			o.Tenants[0].Lanes[0].Sink = wanting{d, []core.Kind{core.KindMessageReceived, core.KindContactMerged}}
		}
		b.start()
		settled(time.Second)
		b.accept(received("wamid.1", anasPhone, "hi"), received("wamid.2", "+14155550199", "hi"))
		settled(time.Second)
		if _, err := b.MergeContacts(b.Context(), MergeRequest{Tenant: "acme", Contact: anasPhone, With: "+14155550199", By: "maria", Reason: "one person"}); err != nil {
			t.Fatal(err)
		}
		settled(time.Minute)
		*got = nil
		for _, id := range []string{"wamid.3", "wamid.4"} {
			b.accept(received(id, anasPhone, "hi"))
			settled(time.Second)
		}
		if diff := cmp.Diff([]refs{{Told: "r-1"}, {Said: "r-1"}}, *got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
