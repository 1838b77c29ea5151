package hubspot_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// again delivers an event as a later attempt.
func (b *bench) again(e *core.Event) core.Result {
	b.t.Helper()
	return b.connector.Deliver(b.t.Context(), b.account, []core.Delivery{{Event: e, Attempt: 2, ContactRef: b.known[e.Contact.ID]}})[0]
}

// replayed is an event that came an hour ago.
func replayed(e *core.Event) *core.Event {
	e.Accepted = time.Now().Add(-time.Hour)
	return e
}

func TestStatuses_NeverGoBackHoweverLateTheyCome(t *testing.T) {
	for _, version := range []string{"2026-09", "v3"} {
		b := start(t, hubspotsim.Options{}, `{"api_version":"`+version+`"}`, nil).mustCheck()
		b.deliver(sent(1), sent(2), sent(3))
		b.deliver(status(1, core.StatusRead), status(2, core.StatusSent), status(3, core.StatusDelivered))
		b.clear()
		failed := replayed(status(3, core.StatusFailed))
		failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
		late := []*core.Event{replayed(status(1, core.StatusSent)), replayed(status(2, core.StatusDelivered)), failed}
		for id, r := range b.deliver(late...) {
			if r.Err != nil || r.Ref == "" {
				t.Errorf("%s: %+v", id, r)
			}
		}
		if n := len(b.calls()); n != 2 {
			t.Errorf("%d calls, want 2: %q", n, b.calls())
		}
		if r := b.again(status(1, core.StatusDelivered)); r.Err != nil {
			t.Error(r.Err)
		}
		messages := b.messages()
		for id, want := range map[string]string{"wamid.OUT001": "read", "wamid.OUT002": "delivered", "wamid.OUT003": "delivered"} {
			if got := messages[id].Properties; got["wa_status"] != want || got["wa_status_error"] != "" {
				t.Errorf("%s: %s is %q (%s), want %q", version, id, got["wa_status"], got["wa_status_error"], want)
			}
		}
	}
}

// A status of a message that HubSpot does not know makes it; the attempt that made it may
// have got no further.
func TestStatuses_TheMessageThatOneMadeIsOnTheTimelineInTheEnd(t *testing.T) {
	for name, f := range map[string]hubspotsim.Fault{
		"the answer is lost":      {Kind: hubspotsim.FaultLost, Match: "communications/batch/upsert"},
		"no contact is written":   {Kind: hubspotsim.FaultStatus, Status: 503, Match: "contacts/batch/upsert"},
		"nothing is associated":   {Kind: hubspotsim.FaultStatus, Status: 503, Match: "associate"},
		"an answer without a row": {Kind: hubspotsim.FaultMute, Match: "associate"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
			b.sim.Inject(f)
			e := status(5, core.StatusDelivered)
			if r := b.deliver(e)[e.ID]; r.Err == nil {
				t.Fatal("it is done")
			}
			b.sim.Heal()
			if r := b.again(e); r.Err != nil {
				t.Fatal(r.Err)
			}
			m, c := b.messages()["wamid.OUT005"], b.contacts()["c005"]
			if m.Properties["wa_status"] != "delivered" || !slices.Equal(m.Associated["contacts"], []string{c.ID}) {
				t.Errorf("it is %+v, want a delivered message of the contact %q", m, c.ID)
			}
		})
	}
}

// HubSpot may answer of a message that it is associated with nothing.
func TestStatuses_AMessageIsNobodysAlsoWhereHubSpotSaysSo(t *testing.T) {
	sim := hubspotsim.New(hubspotsim.Options{})
	b := start(t, hubspotsim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "communications/contacts/batch/read") {
			fmt.Fprintf(w, `{"status":"COMPLETE","results":[{"from":{"id":%q},"to":[]}]}`, sim.Records("communications")[0].ID)
			return
		}
		sim.ServeHTTP(w, r)
	})).mustCheck()
	sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, Match: "associate"})
	e := status(5, core.StatusDelivered)
	wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: core.CodeUnavailable})
	sim.Heal()
	if r := b.again(e); r.Err != nil || len(sim.Records("communications")[0].Associated["contacts"]) != 1 {
		t.Errorf("%v, and it is %+v", r.Err, sim.Records("communications"))
	}
}

// An attempt that a limit ends does not count, and the next would not look whose the message is.
func TestStatuses_TheAttemptThatMadeAMessageCountsWhateverEndsIt(t *testing.T) {
	for _, path := range []string{"contacts/batch/upsert", "associate"} {
		b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
		b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: http.StatusTooManyRequests, Match: path})
		e := status(5, core.StatusDelivered)
		wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: core.CodeUnavailable})
		if r := b.again(e); r.Err == nil || r.Err.Code != core.CodeRateLimited {
			t.Errorf("%s: the second attempt ended with %v, want %s", path, r.Err, core.CodeRateLimited)
		}
		b.sim.Heal()
		if r := b.again(e); r.Err != nil || len(b.messages()["wamid.OUT005"].Associated["contacts"]) != 1 {
			t.Errorf("%s: %v, and it is %+v", path, r.Err, b.messages()["wamid.OUT005"])
		}
	}
}

func TestStatuses_LateOnesWaitUntilTheOthersCanBeSeen(t *testing.T) {
	for _, path := range []string{"communications/batch/read", "communications/contacts/batch/read"} {
		for _, f := range []hubspotsim.Fault{{Kind: hubspotsim.FaultStatus, Status: 503}, {Kind: hubspotsim.FaultGarbage}, {Kind: hubspotsim.FaultStatus, Status: http.StatusBadGateway}} {
			b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
			b.deliver(sent(2), status(1, core.StatusRead))
			f.Match = path
			b.sim.Inject(f)
			late, now := replayed(status(1, core.StatusSent)), status(2, core.StatusSent)
			wantCodes(t, b.deliver(late, now), map[string]core.Code{late.ID: core.CodeUnavailable, now.ID: ""})
			if got := b.messages()["wamid.OUT001"].Properties["wa_status"]; got != "read" {
				t.Errorf("%s: the status is %q, want read", path, got)
			}
		}
	}
}

func TestStatuses_LateOnesWriteIntoAnAccountThatIsEmpty(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil) // Check never ran
	e := replayed(status(5, core.StatusRead))
	wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
	if m := b.messages()["wamid.OUT005"]; m.Properties["wa_status"] != "read" || len(m.Associated["contacts"]) != 1 {
		t.Errorf("it is %+v", m)
	}
}

func TestMessages_LateOnesDoNotBringBackWhatWasChanged(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	edited, revoked, stub, fine, own := received(1), received(2), sent(3), received(4), sent(5)
	after := func(e *core.Event, kind core.Kind, change func(*core.Message)) *core.Event {
		then, m := *e, *e.Message
		change(&m)
		then.ID, then.Kind, then.Message = e.ID+"#then", kind, &m
		return &then
	}
	// What became of them is there, but they are not: they were given up.
	wantCodes(t, b.deliver(
		after(edited, core.KindMessageEdited, func(m *core.Message) { m.Text = "at seven" }),
		after(revoked, core.KindMessageRevoked, func(m *core.Message) { m.Type, m.Text = core.TypeRevoke, "" }),
		after(own, core.KindMessageEdited, func(m *core.Message) { m.Text, m.Direction = "at eight", core.Outbound }),
		status(3, core.StatusRead)), map[string]core.Code{edited.ID + "#then": "", revoked.ID + "#then": "", own.ID + "#then": "", status(3, core.StatusRead).ID: ""})
	b.clear()
	for id, r := range b.deliver(replayed(edited), replayed(revoked), replayed(stub), replayed(fine), replayed(own)) {
		if r.Err != nil || r.Ref == "" {
			t.Errorf("%s: %+v", id, r)
		}
	}
	messages := b.messages()
	for id, want := range map[string]string{"wamid.IN001": "← at seven", "wamid.IN002": "← [taken back by who wrote it]", "wamid.OUT003": "→ hello back", "wamid.IN004": "← hello 4", "wamid.OUT005": "→ at eight"} {
		m := messages[id]
		if got := m.Properties["hs_communication_body"]; got != want || len(m.Associated["contacts"]) != 1 || m.Properties["hs_timestamp"] != fmt.Sprint(noon.UnixMilli()) {
			t.Errorf("%s is %+v, want %q", id, m, want)
		}
	}
	if messages["wamid.OUT003"].Properties["wa_status"] != "read" {
		t.Errorf("the status fell back: %v", messages["wamid.OUT003"].Properties)
	}
}
