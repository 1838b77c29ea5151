package hubspot_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
	for _, version := range []string{"2026-09", "2026-03", "v3"} {
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

// What others logged and opened about a person is theirs.
func TestErase_LeavesWhatOthersWrote(t *testing.T) {
	b := start(t, hubspotsim.Options{}, `{"escalations":"tickets","erase":"archive"}`, nil).mustCheck()
	b.allDone(t, escalated(1, core.KindEscalation, nil))
	b.allDone(t, received(1))
	person := b.contacts()["c001"].ID
	theirs := map[string]string{}
	for object, properties := range map[string]map[string]string{
		"tickets":        {"subject": "A warranty", "hs_pipeline_stage": "1"},
		"communications": {"hs_communication_channel_type": "SMS", "hs_communication_logged_from": "CRM", "hs_timestamp": "1793621100000"},
	} {
		id, err := b.sim.Edit(object, "", properties)
		if err != nil {
			t.Fatal(err)
		}
		theirs[object] = id
		r := httptest.NewRequest(http.MethodPost, "/crm/associations/2026-09/"+object+"/contacts/batch/associate/default",
			strings.NewReader(`{"inputs":[{"from":{"id":"`+id+`"},"to":{"id":"`+person+`"}}]}`))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if b.sim.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
	}
	if r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("e#1", "c001")}})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	for object, id := range theirs {
		all := b.sim.Records(object)
		if len(all) != 2 {
			t.Errorf("there are %d %s", len(all), object)
		}
		for _, r := range all {
			if r.Archived != (r.ID != id) {
				t.Errorf("of %s: %+v", object, r)
			}
		}
	}
}

// An answer that holds nothing is none: nobody is erased, merged or described by it.
func TestErase_TakesNoAnswerForDone(t *testing.T) {
	for _, version := range []string{"2026-09", "v3"} {
		for _, mode := range []string{`"escalations":"tickets"`, `"log_messages":"inbox","channel_id":"900","inbox_id":"71"`} {
			sim := hubspotsim.New(hubspotsim.Options{})
			sim.AddChannel(inboxChannel(""))
			var path string
			b := start(t, hubspotsim.Options{}, `{"api_version":"`+version+`",`+mode+`}`, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if path != "" && strings.Contains(r.URL.Path, path) {
					fmt.Fprint(w, "{}")
					return
				}
				sim.ServeHTTP(w, r)
			}))
			b.sim = sim
			b.account.Secrets["client_secret"] = appSecret
			b.mustCheck()
			wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": ""})
			paths := []string{"contacts/c001", "contacts/communications/batch/read", "communications/batch/read"}
			if strings.Contains(mode, "tickets") {
				paths = append(paths, "contacts/tickets/batch/read")
			} else {
				paths = append(paths[:2], "/threads")
			}
			for _, path = range paths {
				r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: erased("e#1", "c001")}})[0]
				if r.Err == nil || r.Err.Code != core.CodeUnavailable || sim.Records("contacts")[0].Erased {
					t.Errorf("%s: %s answers nothing: %+v", version, path, r.Err)
				}
			}
		}
	}
}
