package hubspot_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func erased(id, contact string) *core.Event {
	return &core.Event{ID: id, Kind: core.KindContactErased, Tenant: "acme", Time: noon, Source: "bridge", Contact: &core.Contact{ID: contact, Phone: "+34600000001"}}
}

func TestErase_TakesTheContactAndItsMessages(t *testing.T) {
	for setting, want := range map[string]struct{ erased, archived, messages bool }{
		`{}`: {true, true, true}, `{"erase":"archive"}`: {false, true, true}, `{"erase":"keep"}`: {false, false, false},
		`{"api_version":"v3"}`: {true, true, true},
	} {
		b := start(t, hubspotsim.Options{}, setting, nil).mustCheck()
		wantCodes(t, b.deliver(received(1), received(2)), map[string]core.Code{received(1).ID: "", received(2).ID: ""})
		b.clear()
		results := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("erasure-1#1", person(1).ID)}, {Event: received(3)}})
		for _, r := range results {
			if r.Err != nil {
				t.Errorf("%s: %s: %v", setting, r.ID, r.Err)
			}
		}
		contacts, messages := b.sim.Records("contacts"), b.sim.Records("communications")
		if c := contacts[0]; c.Erased != want.erased || c.Archived != want.archived || want.erased && len(c.Properties) > 0 {
			t.Errorf("%s: the contact is %+v", setting, c)
		}
		if m := messages[0]; m.Archived != want.messages {
			t.Errorf("%s: the message is %+v", setting, m)
		}
		if contacts[1].Archived || messages[1].Archived || len(contacts) != 3 {
			t.Errorf("%s: another person's are %+v, %+v", setting, contacts[1], messages[1])
		}
		// Once more, and somebody whom HubSpot never knew: it is as asked.
		results = b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("erasure-1#1", person(1).ID)}, {Event: erased("erasure-2#1", "c999")}})
		for _, r := range results {
			if r.Err != nil {
				t.Errorf("%s, again: %s: %v", setting, r.ID, r.Err)
			}
		}
	}
}

func TestErase_FailsWhenHubSpotDoes(t *testing.T) {
	b := start(t, hubspotsim.Options{}, `{}`, nil).mustCheck()
	b.deliver(received(1))
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, Match: "gdpr-delete"})
	wantCodes(t, b.deliver(erased("e#1", person(1).ID)), map[string]core.Code{"e#1": core.CodeUnavailable})
	b.sim.Heal()
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 404, Match: "gdpr-delete"}) // no such endpoint
	got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("e#1", person(1).ID)}})[0].Err
	if got == nil || got.Code != core.CodeUndeliverable || got.Holds() != core.ScopeEvent || !strings.Contains(got.Hint, "by hand") {
		t.Errorf("an endpoint that is not there: %+v", got)
	}
	b.sim.Heal()
	if got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("e#1", person(1).ID)}}); got[0].Err != nil || !b.sim.Records("contacts")[0].Erased {
		t.Errorf("at last: %v", got[0].Err)
	}
	if !slices.Contains(b.calls(), "POST /crm/objects/2026-09/contacts/gdpr-delete") {
		t.Errorf("the calls: %q", b.calls())
	}
}

func TestErase_TakesTheThreadsOnTheChannel(t *testing.T) {
	for _, version := range []string{"2026-09", "v3"} {
		b := talking(t, hubspotsim.Options{}, `,"api_version":"`+version+`"`).mustCheck()
		another := received(1)
		another.ID, another.Number, another.Conversation = "wamid.IN101", "200", "200:c001"
		another.Message.ID = another.ID
		b.deliver(received(1), received(2))
		b.deliver(another, sent(2))
		b.sim.Close(b.inbox()["wamid.IN101"].Thread)
		other := inboxChannel("") // of another app, with a thread of the same person
		other.ID = "901"
		b.sim.AddChannel(other)
		third := received(1)
		third.ID, third.Message.ID = "wamid.IN201", "wamid.IN201"
		talkingTo(t, b, `{"log_messages":"inbox","channel_id":"901","inbox_id":"71"}`).deliver(third)
		for range 2 {
			if r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("e#1", person(1).ID)}}); r[0].Err != nil {
				t.Errorf("%s: %v", version, r[0].Err)
			}
		}
		for id, m := range b.inbox() {
			if gone := strings.HasPrefix(id, "wamid.IN001") || id == "wamid.IN101"; m.Archived != gone {
				t.Errorf("%s: %s is %+v", version, id, m)
			}
		}
		if !b.sim.Records("contacts")[0].Erased {
			t.Errorf("%s: the contact is still there", version)
		}
	}
	// A token that may not is a person's affair; the contact is still known then.
	b := talking(t, hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead, hubspotsim.ScopeWrite, hubspotsim.ScopeSchemaRead, hubspotsim.ScopeSchemaWrite,
		hubspotsim.ScopeChannelRead, hubspotsim.ScopeChannelWrite, hubspotsim.ScopeInboxRead}}, "").mustCheck()
	b.deliver(received(1))
	got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("e#1", person(1).ID)}})[0].Err
	if got == nil || got.Code != core.CodeUndeliverable || !strings.Contains(got.Hint, hubspotsim.ScopeInboxWrite) || b.sim.Records("contacts")[0].Erased {
		t.Errorf("without the scope: %+v", got)
	}
}
