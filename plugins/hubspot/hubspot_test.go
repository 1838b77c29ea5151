package hubspot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/plugins/hubspot"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// bench is an account at a sim with the connector before it.
type bench struct {
	t         testing.TB
	sim       *hubspotsim.Sim
	connector *hubspot.Connector
	account   core.Account
	served    *memnet.Served
	// refs are what the connector said that messages are called, as the bridge keeps it;
	// nil keeps none.
	refs map[string]string
	// known are what the connector said that contacts' records are called, hinted what HubSpot
	// told of, as the bridge keeps them.
	known, hinted map[string]string
	nameless      map[string]bool
}

const token = "pat-na1-very-secret"

// start serves a sim, or a handler in its place. Settings are JSON.
func start(t testing.TB, o hubspotsim.Options, settings string, instead http.Handler) *bench {
	t.Helper()
	b := &bench{t: t, sim: hubspotsim.New(o), known: map[string]string{}, hinted: map[string]string{}, nameless: map[string]bool{}}
	if instead == nil {
		instead = b.sim
	}
	if settings == "" {
		settings = "{}"
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(settings), &m); err != nil {
		t.Fatal(err)
	}
	if m["base_url"] == nil {
		m["base_url"] = "http://127.0.0.1"
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b.served = memnet.Serve(t, instead)
	b.connector = &hubspot.Connector{DialContext: b.served.DialContext}
	b.account = core.Account{Tenant: "acme", Lane: "crm", Settings: raw, Secrets: map[string]core.Secret{"token": token}}
	t.Cleanup(b.connector.CloseIdleConnections)
	return b
}

func (b *bench) check() error { return b.connector.Check(b.t.Context(), b.account) }

func (b *bench) mustCheck() *bench {
	b.t.Helper()
	if err := b.check(); err != nil {
		b.t.Fatalf("Check: %v", err)
	}
	b.clear()
	return b
}

func (b *bench) clear() { b.served.Forget() }

// calls returns the requests made since the last clear, bodies left out.
func (b *bench) calls() []string { return b.served.Lines() }

// deliver delivers events and returns their results by event id.
func (b *bench) deliver(events ...*core.Event) map[string]core.Result {
	b.t.Helper()
	batch := make([]core.Delivery, len(events))
	for i, e := range events {
		batch[i] = core.Delivery{Event: e, Attempt: 1, MessageRef: b.refs[messageOf(e)]}
		if e.MessageRef != "" {
			batch[i].MessageRef = e.MessageRef
		}
		if c := e.Contact; c != nil {
			if b.nameless[c.ID] && c.Name != "" {
				b.hinted[c.ID] = b.known[c.ID]
				delete(b.known, c.ID)
			}
			if batch[i].ContactRef = b.known[c.ID]; batch[i].ContactRef == "" {
				batch[i].ToldRef = b.hinted[c.ID]
			}
		}
	}
	results := b.connector.Deliver(b.t.Context(), b.account, batch)
	if len(results) != len(events) {
		b.t.Fatalf("%d results for %d events", len(results), len(events))
	}
	byID := map[string]core.Result{}
	unwritten := map[string]bool{}
	for _, e := range events {
		unwritten[e.ID] = e.Kind == core.KindUnknown || e.Kind == core.KindMessageStatus && b.refs != nil ||
			e.Kind == core.KindMessageStatus && bytes.Contains(b.account.Settings, []byte(`"log_messages":"none"`))
	}
	for _, r := range results {
		if r.Err == nil && r.Ref == "" && !unwritten[r.ID] {
			b.t.Errorf("%s is done without the id of a record", r.ID)
		}
		if r.Err != nil && strings.Contains(r.Err.Error()+r.Err.Hint, token) {
			b.t.Errorf("the token is in an error: %v", r.Err)
		}
		byID[r.ID] = r
	}
	for _, e := range events {
		if r := byID[e.ID]; b.refs != nil && r.Err == nil && r.MessageRef != "" {
			b.refs[messageOf(e)] = r.MessageRef
		}
		if r := byID[e.ID]; r.Err == nil && r.ContactRef != "" {
			b.known[e.Contact.ID], b.nameless[e.Contact.ID] = r.ContactRef, e.Contact.Name == ""
		}
	}
	return byID
}

// messageOf is the message that an event is about.
func messageOf(e *core.Event) string {
	if e.Status != nil {
		return e.Status.MessageID
	}
	if e.Message != nil {
		return e.Message.ID
	}
	return ""
}

// wantCodes compares the codes of results with want: event id to code, "" for done.
func wantCodes(t testing.TB, got map[string]core.Result, want map[string]core.Code) {
	t.Helper()
	for id, code := range want {
		r, ok := got[id]
		switch {
		case !ok:
			t.Errorf("no result for %s", id)
		case code == "" && r.Err != nil:
			t.Errorf("%s: %v, want done", id, r.Err)
		case code != "" && (r.Err == nil || r.Err.Code != code):
			t.Errorf("%s: %v, want code %s", id, r.Err, code)
		}
	}
}

func person(n int) *core.Contact {
	return &core.Contact{ID: fmt.Sprintf("c%03d", n), Name: fmt.Sprintf("Person %d", n), Phone: fmt.Sprintf("+3460000%04d", n)}
}

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// received is a message from person n.
func received(n int) *core.Event {
	id := fmt.Sprintf("wamid.IN%03d", n)
	return &core.Event{ID: id, Kind: core.KindMessageReceived, Tenant: "acme", Number: "100", Time: noon, Source: "whatsapp",
		Conversation: core.ConversationID("100", person(n).ID), Contact: person(n),
		Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: fmt.Sprintf("hello %d", n)}}
}

// sent is a message to person n.
func sent(n int) *core.Event {
	e := received(n)
	e.ID, e.Kind = fmt.Sprintf("wamid.IN%03d#1#sent", n), core.KindMessageSent
	e.Message = &core.Message{ID: fmt.Sprintf("wamid.OUT%03d", n), Direction: core.Outbound, Type: core.TypeText, Text: "hello back"}
	return e
}

// status is a step of the message that sent(n) is about.
func status(n int, value core.StatusValue) *core.Event {
	e := received(n)
	e.Kind, e.Message, e.Time = core.KindMessageStatus, nil, noon.Add(time.Minute)
	e.Status = &core.Status{MessageID: fmt.Sprintf("wamid.OUT%03d", n), Value: value}
	e.ID = e.Status.MessageID + ":" + string(value)
	return e
}

// records returns the live records of an object by the value of a property.
func (b *bench) records(object, key string) map[string]hubspotsim.Record {
	b.t.Helper()
	byKey := map[string]hubspotsim.Record{}
	for _, r := range b.sim.Records(object) {
		k := r.Properties[key]
		if _, twice := byKey[k]; twice && k != "" {
			b.t.Errorf("two %s with %s = %s", object, key, k)
		}
		byKey[k] = r
	}
	return byKey
}

func (b *bench) contacts() map[string]hubspotsim.Record {
	b.t.Helper()
	return b.records("contacts", "wabridge_contact_id")
}

func (b *bench) messages() map[string]hubspotsim.Record {
	b.t.Helper()
	return b.records("communications", "wa_message_id")
}

func TestDeliver_WritesEachMessageOnceHoweverOftenItComes(t *testing.T) {
	for _, version := range []string{"2026-09", "2026-03", "v3"} {
		t.Run(version, func(t *testing.T) {
			b := start(t, hubspotsim.Options{Tokens: []string{token}}, `{"api_version":"`+version+`"}`, nil).mustCheck()
			events := []*core.Event{received(1), received(2), sent(3), received(4)}
			for range 3 {
				for id, r := range b.deliver(events...) {
					if r.Err != nil {
						t.Errorf("%s: %v", id, r.Err)
					}
				}
			}
			if n := len(b.calls()); n != 11 { // the first looks for the people
				t.Errorf("%d calls for 3 batches, want 11: %q", n, b.calls())
			}
			contacts, messages := b.contacts(), b.messages()
			if len(contacts) != 4 || len(messages) != 4 {
				t.Fatalf("%d contacts and %d messages, want 4 and 4", len(contacts), len(messages))
			}
			for _, e := range events {
				m, c := messages[e.Message.ID], contacts[e.Contact.ID]
				if m.Writes != 3 || !slices.Equal(m.Associated["contacts"], []string{c.ID}) {
					t.Errorf("%s: written %d times, associated with %v, want 3 and contact %s", e.ID, m.Writes, m.Associated, c.ID)
				}
			}
		})
	}
}

func TestDeliver_ReadsEventsThatComeAsData(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	data, err := json.Marshal(received(7))
	if err != nil {
		t.Fatal(err)
	}
	results := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Data: data}, {Data: []byte(`{"id":"odd","kind":[]}`)}})
	if results[0].ID != "wamid.IN007" || results[0].Err != nil {
		t.Errorf("got %+v, want wamid.IN007 done", results[0])
	}
	if results[1].ID != "odd" || results[1].Err == nil || results[1].Err.Code != core.CodeInvalid {
		t.Errorf("got %+v, want odd invalid", results[1])
	}
}

func TestDeliver_EndsWhatMeansNothingToHubSpotAtOnce(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	for _, e := range []*core.Event{
		{ID: "u1", Kind: core.KindUnknown, Raw: json.RawMessage(`{}`)},
		{ID: "u2", Kind: "payment.refunded"},
		{ID: "u3", Kind: core.KindMessageSend, Message: &core.Message{}},
	} {
		got := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: e}})
		if len(got) != 1 || got[0].ID != e.ID || got[0].Err != nil {
			t.Errorf("%s: got %+v, want done", e.Kind, got)
		}
	}
	if len(b.calls()) != 0 {
		t.Errorf("HubSpot was asked: %q", b.calls())
	}
}

func TestDeliver_RefusesEventsThatLackWhatIsWritten(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	noContact, noMessage, noID := received(1), received(2), status(3, core.StatusRead)
	noContact.Contact = nil
	noMessage.Message = nil
	noID.Status.MessageID = ""
	got := b.deliver(noContact, noMessage, noID, received(4))
	wantCodes(t, got, map[string]core.Code{noContact.ID: core.CodeInvalid, noMessage.ID: core.CodeInvalid,
		noID.ID: core.CodeInvalid, received(4).ID: ""})
}

func TestDeliver_KeepsTheNewestStatusOfABatch(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	b.deliver(sent(1))
	b.deliver(status(1, core.StatusDelivered), status(1, core.StatusRead), status(1, core.StatusSent))
	m := b.messages()["wamid.OUT001"]
	if got := m.Properties["wa_status"]; got != "read" {
		t.Errorf("status %q, want read", got)
	}
	if len(m.History) != 1 {
		t.Errorf("the status was written %d times, want once: %v", len(m.History), m.History)
	}
	if got := m.Properties["hs_timestamp"]; got != fmt.Sprint(noon.UnixMilli()) {
		t.Errorf("the status moved the message to %s, want %d", got, noon.UnixMilli())
	}
}

func TestDeliver_WritesAStatusInOneCall(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	b.deliver(sent(1))
	b.clear()
	failed := status(1, core.StatusFailed)
	failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
	wantCodes(t, b.deliver(failed), map[string]core.Code{failed.ID: ""})
	if got := b.calls(); len(got) != 1 {
		t.Errorf("got calls %q, want one", got)
	}
	m := b.messages()["wamid.OUT001"]
	if m.Properties["wa_status"] != "failed" || m.Properties["wa_status_error"] != "131026: Message undeliverable" {
		t.Errorf("got %v", m.Properties)
	}
	if m.Properties["hs_communication_body"] != "→ hello back" {
		t.Errorf("the status changed the text to %q", m.Properties["hs_communication_body"])
	}
}

func TestDeliver_MakesAStubOfAMessageThatHubSpotDoesNotKnow(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	e := status(5, core.StatusDelivered)
	wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
	m, c := b.messages()["wamid.OUT005"], b.contacts()["c005"]
	if m.Properties["wa_status"] != "delivered" || !slices.Equal(m.Associated["contacts"], []string{c.ID}) {
		t.Fatalf("got %+v, want a delivered message of contact %q", m, c.ID)
	}
	// The message itself comes late, and takes its place without losing the status.
	b.deliver(sent(5))
	m = b.messages()["wamid.OUT005"]
	if m.Properties["hs_communication_body"] != "→ hello back" || m.Properties["wa_status"] != "delivered" ||
		m.Properties["hs_timestamp"] != fmt.Sprint(noon.UnixMilli()) {
		t.Errorf("got %v", m.Properties)
	}
}

func TestDeliver_FailsTheStatusWhoseStubFindsNoContact(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultRow, Match: "contacts/batch", Row: "c005", Category: "INTERNAL_ERROR"})
	lost, fine := status(5, core.StatusDelivered), status(6, core.StatusDelivered)
	got := b.deliver(lost, fine)
	wantCodes(t, got, map[string]core.Code{lost.ID: core.CodeUnavailable, fine.ID: ""})
	if op := got[lost.ID].Err.Op; op != "contact upsert" {
		t.Errorf("the error is one of %q, want contact upsert", op)
	}
}

func TestDeliver_WritesAMessageAndItsStatusAsOneRecord(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	for _, n := range []int{1, 2} {
		events := []*core.Event{sent(n), status(n, core.StatusSent)}
		if n == 2 { // in the other order
			events[0], events[1] = events[1], events[0]
		}
		wantCodes(t, b.deliver(events...), map[string]core.Code{events[0].ID: "", events[1].ID: ""})
		m := b.messages()[fmt.Sprintf("wamid.OUT%03d", n)]
		if m.Writes != 1 || m.Properties["wa_status"] != "sent" || m.Properties["hs_communication_body"] != "→ hello back" ||
			m.Properties["hs_timestamp"] != fmt.Sprint(noon.UnixMilli()) || len(m.Associated["contacts"]) != 1 {
			t.Errorf("batch %d made %+v", n, m)
		}
	}
}

func TestDeliver_TellsRowsOfOneEventIDApart(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	one, other := received(1), received(2)
	other.ID = one.ID
	for _, r := range b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: one}, {Event: other}}) {
		if r.Err != nil {
			t.Errorf("got %v", r.Err)
		}
	}
	if len(b.contacts()) != 2 || len(b.messages()) != 2 {
		t.Errorf("%d contacts and %d messages, want two of each", len(b.contacts()), len(b.messages()))
	}
}

func TestDeliver_KeepsNamesThatPeopleCorrected(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			b := start(t, hubspotsim.Options{}, fmt.Sprintf(`{"keep_names":%v,"name_property":"lastname"}`, keep), nil).mustCheck()
			e := received(1)
			wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
			if got := b.contacts()["c001"].Properties["lastname"]; got != "Person 1" {
				t.Fatalf("a new contact is named %q, want Person 1", got)
			}
			again := received(1)
			again.Contact.Name = "mari 🌸"
			b.clear()
			wantCodes(t, b.deliver(again), map[string]core.Code{again.ID: ""})
			want := map[bool]string{false: "mari 🌸", true: "Person 1"}[keep]
			if got := b.contacts()["c001"].Properties["lastname"]; got != want {
				t.Errorf("a known contact is named %q, want %q", got, want)
			}
			if n := len(b.calls()); n != 3 {
				t.Errorf("%d calls for a known contact, want 3", n)
			}
		})
	}
}

func TestDeliver_DoesNotLetAScriptSayWhoAContactIs(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	e := received(1)
	e.Fields = map[string]any{"wabridge_contact_id": "c999", "city": "Vigo"}
	wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
	if c := b.contacts()["c001"]; c.Properties["city"] != "Vigo" {
		t.Errorf("got %v", b.contacts())
	}
}

// Each request counts to its budget: of others the bridge keeps no account.
func TestBudgets_CountEachRequest(t *testing.T) {
	b := start(t, hubspotsim.Options{}, `{"pull_fields":{"city":"city"}}`, nil).mustCheck()
	for name, do := range map[string]func(context.Context) error{
		"api": func(ctx context.Context) error {
			r := b.connector.Deliver(ctx, b.account, []core.Delivery{{Event: received(1), Attempt: 1}})[0]
			if r.Err != nil {
				return r.Err
			}
			return nil
		},
		"search": func(ctx context.Context) error {
			_, err := b.connector.Poll(ctx, b.account, nil)
			return err
		},
	} {
		b.clear()
		ctx, meter := core.WithMeter(t.Context())
		if err := do(ctx); err != nil {
			t.Fatal(err)
		}
		spent, _ := meter.Spent()
		if n := len(b.calls()); n == 0 || spent[name] == 0 || spent["api"]+spent["search"] != n {
			t.Errorf("%s: %v were counted, %d requests made: %v", name, spent, n, b.calls())
		}
	}
}

// Others may use the account, too: HubSpot says what is left of the day.
func TestBudgets_KnowWhatIsLeftOfTheDay(t *testing.T) {
	b := start(t, hubspotsim.Options{Daily: 1000}, "", nil).mustCheck()
	for range 3 {
		b.deliver(received(1))
	}
	ctx, meter := core.WithMeter(t.Context())
	if r := b.connector.Deliver(ctx, b.account, []core.Delivery{{Event: received(2), Attempt: 1}})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	requests := 0
	for _, n := range b.sim.Stats().Requests {
		requests += n
	}
	if _, left := meter.Spent(); left["api"] != 1000-requests || len(left) != 1 {
		t.Errorf("left are %v after %d requests of 1000", left, requests)
	}
}

// Who has no name on WhatsApp needs one at HubSpot; it takes the place of none.
func TestDeliver_WhatStandsInForANameReplacesNone(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	nameless := received(1)
	nameless.Contact = &core.Contact{ID: "c001", Phone: person(1).Phone}
	other := received(2)
	other.Contact = &core.Contact{ID: "c002", Phone: person(2).Phone}
	b.deliver(received(1))
	b.deliver(nameless, other)
	b.deliver(received(2), other)
	for id, want := range map[string]string{"c001": "Person 1", "c002": "Person 2"} {
		if got := b.contacts()[id].Properties["firstname"]; got != want {
			t.Errorf("%s is called %q, want %q", id, got, want)
		}
	}
	first := received(3)
	first.Contact.Name = ""
	b.deliver(first)
	if got := b.contacts()["c003"].Properties["firstname"]; got != person(3).Phone {
		t.Errorf("who has no name is called %q", got)
	}
}
