package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/roster"
	"github.com/wabridge/wabridge/core/script"
)

// callingThemself is a message of somebody with a name on WhatsApp.
func callingThemself(id, phone, name string) core.Event {
	e := received(id, phone, "hi")
	e.Source, e.Contact.Name = sourceWhatsApp, name
	return e
}

// What the business calls somebody, in whatever way it came to be known, is not replaced
// by what they call themselves, and is what CRMs get.
func TestName_OfTheBusinessCounts(t *testing.T) {
	const given, own, later = "Ana García", "🌸 xoxo", "🌸 xoxo 🌸"
	list := func(b *bridge) { b.imports(true, listed(given, phoneOf(0))) }
	campaignOf := func(b *bridge) {
		settled(time.Second) // the lane is up
		b.newCampaign(CampaignRequest{Name: "spring", Template: hello}, CampaignEntry{Person: roster.Person{Line: 1, Name: given, Phones: []roster.Phone{{Number: phoneOf(0)}}}})
		b.planIt("spring")
	}
	segment := func(b *bridge) {
		b.newSpring()
		b.planIt("spring")
		if rows := b.rows("spring"); len(rows) != 1 || rows[0].State != campaign.RowPlanned || fmt.Sprint(rows[0].Values) != "[Ana]" {
			b.Errorf("planned %+v", rows)
		}
	}
	member := core.Member{ContactRef: "r0", Contact: core.Contact{Name: given, Phone: phoneOf(0)}}
	segmented := func(t *testing.T) *bridge { b, _ := segmenting(t, member); return b }
	record := func(t *testing.T) *bridge {
		moved := member
		moved.Contact.Phone = phoneOf(7) // it is known by its record alone
		b, _ := segmenting(t, moved)
		b.crm.do = func(core.Delivery) core.Result { return core.Result{ContactRef: "r0"} }
		return b
	}
	mapped := func(t *testing.T) *bridge {
		b := newBridge(t)
		d := b.mapping(texts("first", "last"), false, core.MapRule{Field: "first_name", Property: "first"}, core.MapRule{Field: "last_name", Property: "last"})
		e := atCRM("v1", time.Now(), map[string]any{"first": "Ana", "last": "García"})
		e.Contact.Phone = phoneOf(0)
		d.tells(e)
		return b
	}
	polls := func(*bridge) { settled(3 * time.Minute) }
	told := func(t *testing.T) *bridge {
		b := newBridge(t)
		b.pulling(func(n int, _ string) (core.Polled, error) {
			e := core.Event{ID: "v1", Kind: core.KindContactChanged, Time: time.Now(),
				Contact: &core.Contact{Phone: phoneOf(0), Fields: map[string]string{"first_name": "Ana", "last_name": "García"}}}
			return polled(n, false, e)
		})
		return b
	}
	scripted := func(t *testing.T) *bridge {
		b := newBridge(t)
		b.scripts = func(e *core.Event) script.Decision {
			if e.ID != "wamid.asks" {
				return script.Decision{}
			}
			return script.Decision{Actions: []script.Action{sets("first_name", "Ana"), sets("last_name", "García")}}
		}
		return b
	}
	for _, way := range []struct {
		name   string
		bridge func(*testing.T) *bridge
		gives  func(*bridge)
		by     string
		knows  bool // only of somebody who is known already
	}{
		{"list", newBridge, list, "people.csv", false},
		{"campaign", func(t *testing.T) *bridge { return campaigning(t, Policy{}) }, campaignOf, "campaign spring", false},
		{"segment", segmented, segment, "campaign spring", false},
		{"segment, by the record", record, segment, "campaign spring", true},
		{"mapping", mapped, polls, "crm", false},
		{"CRM's fields", told, polls, "crm", false},
		{"script", scripted, func(b *bridge) { b.accept(callingThemself("wamid.asks", phoneOf(0), own)); settled(time.Second) }, "script", true},
	} {
		for _, wrote := range []bool{true, false} {
			if way.knows && !wrote {
				continue
			}
			t.Run(fmt.Sprintf("%s, wrote before %v", way.name, wrote), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := way.bridge(t)
					b.start()
					if wrote {
						b.accept(callingThemself("wamid.0", phoneOf(0), own))
						settled(2 * time.Second)
					}
					way.gives(b)
					b.accept(callingThemself("wamid.1", phoneOf(0), later))
					settled(time.Minute)
					st := statusOf("x", "wamid.elsewhere", core.StatusDelivered)
					st.Status.Opaque, st.Source, st.Contact = "", sourceWhatsApp, &core.Contact{Phone: phoneOf(0), Name: later}
					echo := core.Event{ID: "echo", Kind: core.KindMessageSent, Number: number, Source: "phone", Author: core.AuthorHuman, Time: time.Now(), Contact: st.Contact,
						Message: &core.Message{ID: "echo", Direction: core.Outbound, Type: core.TypeText, Text: "bye"}}
					b.accept(st, echo)
					settled(time.Minute)
					v, err := b.Contact(b.Context(), "acme", phoneOf(0))
					if err != nil || v.Name != given || v.Profile != later || v.NamedBy != way.by {
						t.Errorf("%q, by %q, calls themself %q, %v", v.Name, v.NamedBy, v.Profile, err)
					}
					got := map[core.Kind]int{}
					for _, d := range b.crm.taken() {
						e := d.event
						if e.ID == "wamid.1" || e.ID == st.ID || e.ID == "echo" {
							if got[e.Kind]++; e.Contact.Name != given {
								t.Errorf("the CRM got %s with %q", e.Kind, e.Contact.Name)
							}
						}
					}
					if got[core.KindMessageReceived] != 1 || got[core.KindMessageStatus] != 1 || got[core.KindMessageSent] != 1 {
						t.Errorf("the CRM got %v", got)
					}
					if found, err := b.FindContacts(b.Context(), ContactQuery{Tenant: "acme", Text: later}); err != nil || len(found.Contacts) != 1 {
						t.Errorf("by what they call themselves: %+v, %v", found, err)
					}
					b.stop()
				})
			})
		}
	}
}

// Without a name of the business's, what people call themselves counts, and follows them. What
// CRMs have there for want of a name, or because the bridge wrote it, is none.
func TestName_OnWhatsAppCountsWithoutAnother(t *testing.T) {
	for _, has := range []string{"", "+34 600 100 000", "Ana", "ana"} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := segmenting(t, core.Member{ContactRef: "r0", Contact: core.Contact{Name: has, Phone: phoneOf(0)}})
			b.start()
			e := callingThemself("wamid.0", phoneOf(0), "Ana")
			e.Contact.Username = "ana"
			b.accept(e)
			settled(time.Second)
			b.newSpring()
			b.planIt("spring")
			b.accept(callingThemself("wamid.1", phoneOf(0), "Anna"))
			settled(time.Second)
			if p := b.people(); len(p) != 1 || p[0].Name != "Anna" || p[0].NamedBy != "" || p[0].Profile != "" {
				t.Errorf("with %q: %+v", has, p)
			}
			b.stop()
		})
	}
}

// What was on its way when the business gave a name is told of with it.
func TestName_OfWhatWasOnItsWay(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.wa.do = func(core.Delivery) core.Result {
			<-time.After(10 * time.Second)
			return core.Result{Ref: "wamid.out.1"}
		}
		b.start()
		b.accept(callingThemself("wamid.0", phoneOf(0), "xoxo"))
		settled(time.Second)
		b.imports(true, listed("Ana García", phoneOf(0)))
		settled(time.Minute)
		sent := b.crm.taken()[len(b.crm.taken())-1].event
		if sent.Kind != core.KindMessageSent || sent.Contact.Name != "Ana García" {
			t.Errorf("%s to %q", sent.Kind, sent.Contact.Name)
		}
	})
}

// A message that was asked for before takes no name back.
func TestName_IsNotThatOfAMessageAskedForBefore(t *testing.T) {
	p := &person{Contact: core.Contact{Name: "Anna"}}
	e := &core.Event{Kind: core.KindMessageSend, Contact: &core.Contact{Name: "Ana"}}
	if p.meet(e, claimOf(e), nil) || p.Name != "Anna" {
		t.Errorf("called %q", p.Name)
	}
}

func TestName_OfTwoWhoAreOne(t *testing.T) {
	named := func(name, by, profile string) *person {
		return &person{Contact: core.Contact{ID: name, Name: name}, NamedBy: by, Profile: profile}
	}
	for _, test := range []struct{ s, l, want *person }{
		{named("xoxo", "", ""), named("Ana García", "file", ""), named("Ana García", "file", "xoxo")},
		{named("xoxo", "", ""), named("Ana García", "file", "ana"), named("Ana García", "file", "ana")},
		{named("Ana García", "file", ""), named("xoxo", "", ""), named("Ana García", "file", "xoxo")},
		{named("Ana García", "file", "a"), named("Ana G.", "crm", "b"), named("Ana García", "file", "a")},
		{named("a", "", ""), named("b", "", ""), named("a", "", "")},
		{named("", "", ""), named("b", "", ""), named("b", "", "")},
	} {
		one := joinPeople(test.s, test.l)
		if one.Name != test.want.Name || one.NamedBy != test.want.NamedBy || one.Profile != test.want.Profile {
			t.Errorf("%q and %q are %q, by %q, %q", test.s.Name, test.l.Name, one.Name, one.NamedBy, one.Profile)
		}
		s, l := splitPeople(one, one, test.s, test.l)
		for was, is := range map[*person]*person{test.s: s, test.l: l} {
			if is.Name != was.Name || is.NamedBy != was.NamedBy || is.Profile != was.Profile {
				t.Errorf("taken apart, %q by %q is %q by %q, %q", was.Name, was.NamedBy, is.Name, is.NamedBy, is.Profile)
			}
		}
	}
}
