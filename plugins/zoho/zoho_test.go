package zoho_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/plugins/zoho"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// bench is an account at a sim with the connector before it.
type bench struct {
	t         testing.TB
	sim       *zohosim.Sim
	connector *zoho.Connector
	account   core.Account
	served    *memnet.Served
}

var secrets = map[string]core.Secret{"client_id": "1000.CLIENT", "client_secret": "very-secret", "refresh_token": "1000.refresh"}

// start serves a sim, or a handler in its place, and signs in. Settings are JSON.
func start(t testing.TB, o zohosim.Options, settings string, instead http.Handler) *bench {
	t.Helper()
	b := &bench{t: t, sim: zohosim.New(o)}
	if instead == nil {
		instead = b.sim
	}
	m := map[string]any{"api_url": "http://127.0.0.1", "accounts_url": "http://127.0.0.1"}
	if settings != "" {
		if err := json.Unmarshal([]byte(settings), &m); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b.served = memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/oauth/") {
			b.sim.ServeHTTP(w, r)
			return
		}
		instead.ServeHTTP(w, r)
	}))
	b.connector = &zoho.Connector{DialContext: b.served.DialContext}
	b.account = core.Account{Tenant: "acme", Lane: "crm", Settings: raw, Secrets: secrets}
	t.Cleanup(b.connector.CloseIdleConnections)
	token, err := b.connector.Authorize(t.Context(), b.account)
	if err != nil {
		t.Fatalf("Authorize: %v", err)
	}
	b.account.Token = &token
	b.clear()
	return b
}

func (b *bench) check() error { return b.connector.Check(b.t.Context(), b.account) }

func (b *bench) mustCheck() *bench {
	b.t.Helper()
	if err := b.check(); err != nil {
		b.t.Fatalf("Check: %v %s", err, core.AsError(err).Hint)
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
		batch[i] = core.Delivery{Event: e, Attempt: 1}
	}
	results := b.connector.Deliver(b.t.Context(), b.account, batch)
	if len(results) != len(events) {
		b.t.Fatalf("%d results for %d events", len(results), len(events))
	}
	byID := map[string]core.Result{}
	for _, r := range results {
		if r.Err != nil {
			for _, secret := range []core.Secret{secrets["client_secret"], b.account.Token.Secrets["access"]} {
				if secret == "" {
					continue
				}
				if strings.Contains(r.Err.Error()+r.Err.Hint, secret.Reveal()) {
					b.t.Errorf("a secret is in an error: %v", r.Err)
				}
			}
		}
		byID[r.ID] = r
	}
	return byID
}

// done delivers events and wants all of them done.
func (b *bench) done(events ...*core.Event) {
	b.t.Helper()
	for id, r := range b.deliver(events...) {
		if r.Err != nil {
			b.t.Errorf("%s: %v (%s), want done", id, r.Err, r.Err.Hint)
		}
	}
}

// records returns the live records of a module by the value of a field; none may be
// there twice.
func (b *bench) records(module, key string) map[string]zohosim.Record {
	b.t.Helper()
	byKey := map[string]zohosim.Record{}
	for _, r := range b.sim.Records(module) {
		if r.Deleted {
			continue
		}
		k := r.Values[key]
		if _, twice := byKey[k]; twice && k != "" {
			b.t.Errorf("two records in %s with %s = %s", module, key, k)
		}
		byKey[k] = r
	}
	return byKey
}

func (b *bench) contacts() map[string]zohosim.Record { return b.records("Contacts", "WA_Contact_ID") }
func (b *bench) messages() map[string]zohosim.Record {
	return b.records("WhatsApp_Messages", "WA_Message_ID")
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

func many(n int) []*core.Event {
	var events []*core.Event
	for i := range n {
		events = append(events, received(i))
	}
	return events
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

func escalated(n int, kind core.Kind) *core.Event {
	e := received(n)
	e.ID, e.Kind, e.Message = fmt.Sprintf("%s#%s", e.ID, kind), kind, nil
	e.Escalation = &core.Escalation{ID: fmt.Sprintf("E%d", n), Reason: "complaint", Team: "support", Priority: "high", Note: "wants her money back",
		Deadline: noon.Add(26 * time.Hour)}
	return e
}

func TestDeliver_WritesEachMessageOnceHoweverOftenItComes(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	for range 3 {
		b.done(received(1), received(2), sent(3))
	}
	contacts, messages := b.contacts(), b.messages()
	if len(contacts) != 3 || len(messages) != 3 {
		t.Fatalf("%d contacts and %d messages, want 3 and 3", len(contacts), len(messages))
	}
	m := messages["wamid.OUT003"]
	if m.Values["Contact"] != contacts["c003"].ID || m.Values["Direction"] != "out" || m.Values["Body"] != "hello back" || m.Values["Name"] != "→ hello back" {
		t.Errorf("got %v", m.Values)
	}
	if contacts["c001"].Writes != 1 {
		t.Errorf("an unchanged contact was written %d times, want once", contacts["c001"].Writes)
	}
}

// TestDeliver_CostsFewCalls says how many calls a full batch of 100 people costs, and
// how many credits.
func TestDeliver_CostsFewCalls(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	batch := func(what string, events []*core.Event, calls, credits int) {
		t.Helper()
		b.clear()
		before := b.sim.Stats().Credits
		b.done(events...)
		if n := len(b.calls()); n != calls {
			t.Errorf("%s: %d calls, want %d: %q", what, n, calls, b.calls())
		}
		if n := b.sim.Stats().Credits - before; n != credits {
			t.Errorf("%s: %d credits, want %d", what, n, credits)
		}
	}
	var statuses, again []*core.Event
	for i := range 100 {
		s, e := status(i, core.StatusRead), received(i)
		s.Status.MessageID, s.ID = e.Message.ID, e.Message.ID+":read"
		e.ID += "b"
		e.Message.ID = e.ID
		statuses, again = append(statuses, s), append(again, e)
	}
	// A query by key, nine for records made by hand, two upserts of 10 credits, and one
	// call for the fields of the messages' module, which were read by Check already.
	batch("100 new people", many(100), 12, 30)
	batch("100 known people", again, 2, 11)
	batch("100 statuses", statuses, 2, 11)
	batch("the same statuses again", statuses, 1, 1)
}

func TestDeliver_KeepsTheNewestStatus(t *testing.T) {
	for _, settings := range []string{"", `{"mode":"notes"}`} {
		b := start(t, zohosim.Options{}, settings, nil).mustCheck()
		b.done(sent(1))
		b.done(status(1, core.StatusDelivered), status(1, core.StatusRead), status(1, core.StatusSent))
		b.done(status(1, core.StatusDelivered)) // replayed by a person
		if settings != "" {
			notes := b.sim.Records("Notes")
			if len(notes) != 1 || notes[0].Values["Note_Title"] != "WhatsApp → read · wamid.OUT001" || notes[0].Values["Note_Content"] != "hello back" {
				t.Errorf("got %+v", notes)
			}
			continue
		}
		m := b.messages()["wamid.OUT001"]
		if len(m.History) != 1 || m.Values["Status"] != "read" || m.Values["Body"] != "hello back" || m.Values["Status_Time"] != "2026-11-02T12:01:00+00:00" {
			t.Errorf("got %v, written %v", m.Values, m.History)
		}
	}
}

func TestDeliver_SaysWhyInANote(t *testing.T) {
	b := start(t, zohosim.Options{}, `{"mode":"notes"}`, nil).mustCheck()
	b.done(sent(1))
	failed := status(1, core.StatusFailed)
	failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
	for range 2 {
		b.done(failed)
	}
	const want = "hello back\n131026: Message undeliverable"
	if notes := b.sim.Records("Notes"); len(notes) != 1 || notes[0].Values["Note_Content"] != want || notes[0].Values["Note_Title"] != "WhatsApp → failed · wamid.OUT001" {
		t.Errorf("got %+v, want %q", notes, want)
	}
	other := sent(2)
	failed = status(2, core.StatusFailed)
	failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
	b.done(other, failed)
	late := status(3, core.StatusFailed)
	late.Status.Errors = failed.Status.Errors
	b.done(late)
	for range 2 { // once more, as a person replays it
		b.done(sent(3))
	}
	notes := b.sim.Records("Notes")
	for _, n := range notes {
		if n.Values["Note_Content"] != want || !strings.HasPrefix(n.Values["Note_Title"], "WhatsApp → failed") {
			t.Errorf("got %q, %q, want %q", n.Values["Note_Title"], n.Values["Note_Content"], want)
		}
	}
	if len(notes) != 3 {
		t.Errorf("%d notes, want 3", len(notes))
	}
}

func TestDeliver_MakesAStubOfAMessageThatZohoDoesNotKnow(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	failed := status(5, core.StatusFailed)
	failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
	b.done(failed)
	m := b.messages()["wamid.OUT005"]
	if m.Values["Status"] != "failed" || m.Values["Status_Error"] != "131026: Message undeliverable" || m.Values["Contact"] != b.contacts()["c005"].ID {
		t.Fatalf("got %v", m.Values)
	}
	b.done(sent(5)) // late: it fills the stub in
	if m = b.messages()["wamid.OUT005"]; m.Values["Body"] != "hello back" || m.Values["Status"] != "failed" || m.Values["Name"] != "→ hello back" {
		t.Errorf("got %v", m.Values)
	}
}

func TestDeliver_WritesAContactOfSeveralEventsOnce(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	one, two := received(1), received(1)
	two.ID, two.Message.ID, two.Number, two.Contact.Username = "wamid.X", "wamid.X", "200", "ana"
	b.done(one, two)
	if c := b.contacts()["c001"]; c.Writes != 1 || c.Values["WA_Username"] != "ana" {
		t.Errorf("got %+v", c)
	}
	if n := len(b.messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestDeliver_AdoptsRecordsMadeByHand(t *testing.T) {
	b := start(t, zohosim.Options{SearchLag: time.Hour}, `{"region":"ES"}`, nil).mustCheck()
	hand := func(field, number string, more ...string) string {
		values := map[string]any{"Last_Name": "By Hand", field: number}
		for i := 0; i+1 < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		return b.sim.AddRecord("Contacts", values)
	}
	spaced, mobile := hand("Phone", "+34 600 12 34 56"), hand("Mobile", "600200300")
	brazil := hand("Phone", "+5511987654321")
	hand("Phone", "+33 600 20 03 00")                        // ends alike, and is another country's
	hand("Phone", "+34600999999", "WA_Contact_ID", "other1") // another contact of ours
	events := []*core.Event{received(1), received(2), received(3), received(4)}
	for i, number := range []string{"+34600123456", "+34600200300", "+551187654321", "+34600999999"} {
		events[i].Contact.Phone = number
	}
	b.done(events...)
	contacts := b.contacts()
	for key, id := range map[string]string{"c001": spaced, "c002": mobile, "c003": brazil} {
		if contacts[key].ID != id || contacts[key].Values["Last_Name"] != "By Hand" {
			t.Errorf("%s is %+v, want the record %s with the name it had", key, contacts[key], id)
		}
	}
	if len(contacts) != 6 { // the one in France has no key, c004 is new, other1 is another's
		t.Errorf("%d contacts, want 6", len(contacts))
	}
	b.clear()
	events[0].ID, events[0].Message.ID = "wamid.again", "wamid.again"
	b.done(events[0])
	if n := len(b.calls()); n != 2 {
		t.Errorf("an adopted contact costs %d calls, want 2: it is adopted once: %q", n, b.calls())
	}
}

func TestDeliver_ChecksWhatMapToCRMReturns(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	b.sim.AddField("Contacts", zohosim.Field{Name: "Visits", Type: "integer"})
	b.sim.AddField("Contacts", zohosim.Field{Name: "Birthday", Type: "date"})
	b.sim.AddField("Contacts", zohosim.Field{Name: "Likes", Type: "multiselectpicklist"})
	unknown, readOnly, good, bad, script := received(1), received(2), received(3), received(4), received(5)
	unknown.Fields = map[string]any{"Mailing_Ctiy": "Vigo"}
	readOnly.Fields = map[string]any{"Full_Name": "x"}
	good.Fields = map[string]any{"Visits": "7", "Birthday": "1990-05-01T00:00:00Z", "Likes": []any{"tea", "rain"}, "Mailing_City": "Vigo"}
	bad.Fields = map[string]any{"Visits": "many"}
	script.Fields = map[string]any{"WA_Contact_ID": "c999"}
	// Check read the fields before these were made.
	b.account.Lane = "other"
	got := b.deliver(unknown, readOnly, good, bad, script)
	wantCodes(t, got, map[string]core.Code{unknown.ID: core.CodeInvalid, readOnly.ID: core.CodeInvalid, good.ID: "", bad.ID: core.CodeInvalid, script.ID: ""})
	if e := got[unknown.ID].Err; e != nil && (!strings.Contains(e.Hint, "Mailing_Ctiy") || e.Holds() != core.ScopeEvent) {
		t.Errorf("got %+v, want a hint that names the field", e)
	}
	if e := got[bad.ID].Err; e != nil && (!strings.Contains(e.Message, "Visits") || !strings.Contains(e.Message, "integer")) {
		t.Errorf("got %v, want the field and its type", e)
	}
	c := b.contacts()
	if v := c["c003"].Values; v["Visits"] != "7" || v["Birthday"] != "1990-05-01" || v["Likes"] != "tea;rain" {
		t.Errorf("got %v", v)
	}
	if c["c005"].ID == "" {
		t.Error("a script said who a contact is")
	}
	b.done(good)
	if n := b.contacts()["c003"].Writes; n != 1 {
		t.Errorf("what is there already was written again: %d writes", n)
	}
}

func TestDeliver_WritesTagsAndConsent(t *testing.T) {
	b := start(t, zohosim.Options{}, `{"consent_field":"WA_Consent","suppressed_field":"WA_Suppressed","contact_fields":{"city":"Mailing_City"}}`, nil).mustCheck()
	change := received(1)
	change.Kind, change.Message, change.Contact.Tags = core.KindContactChanged, nil, []string{"order", "vip"}
	change.Contact.Fields = map[string]string{"city": "Vigo", "shoe": "42"}
	consent := received(1)
	consent.ID, consent.Kind, consent.Message = "consent1", core.KindConsentChanged, nil
	consent.Consent = &core.Consent{Marketing: "withdrawn", Suppressed: []string{"stop", "complaint"}}
	b.done(change)
	b.done(consent)
	c := b.contacts()["c001"]
	want := map[string]string{"WA_Tags": "order;vip", "Mailing_City": "Vigo", "WA_Consent": "withdrawn", "WA_Suppressed": "stop;complaint"}
	for name, v := range want {
		if c.Values[name] != v {
			t.Errorf("%s is %q, want %q", name, c.Values[name], v)
		}
	}
	if strings.Join(c.Tags, ",") != "order,vip" {
		t.Errorf("Zoho's tags are %q", c.Tags)
	}
	change.Contact.Tags = []string{"vip"}
	b.done(change)
	if c = b.contacts()["c001"]; strings.Join(c.Tags, ",") != "vip" || c.Values["WA_Tags"] != "vip" {
		t.Errorf("after a tag was taken away: %q and %q", c.Tags, c.Values["WA_Tags"])
	}
}

// What WA_Tags has no room for is not taken for a tag that was given.
func TestDeliver_WritesNoPartsOfTags(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	e := received(1)
	for i := range 12 {
		e.Contact.Tags = append(e.Contact.Tags, fmt.Sprintf("the tag that is number %02d", i))
	}
	b.done(e)
	c := b.contacts()["c001"]
	if want := strings.Join(e.Contact.Tags[:9], ";"); c.Values["WA_Tags"] != want || len(c.Tags) != 12 {
		t.Errorf("got %q and %q, want %q", c.Values["WA_Tags"], c.Tags, want)
	}
}

func TestDeliver_OpensMovesAndClosesEscalations(t *testing.T) {
	for module, settings := range map[string]string{
		"Tasks": `{"owners":{"support":"5500000000000000042"}}`,
		"Cases": `{"escalations":"cases","owners":{"support":"5500000000000000042"}}`,
	} {
		t.Run(module, func(t *testing.T) {
			b := start(t, zohosim.Options{}, settings, nil).mustCheck()
			opened, moved, closed := escalated(1, core.KindEscalation), escalated(1, core.KindEscalationMoved), escalated(1, core.KindEscalationClosed)
			moved.Escalation.Assignee = &core.Assignee{ID: "ana", CRMOwner: "5500000000000000077"}
			moved.Escalation.Priority = "low"
			closed.Escalation.Outcome = "closed"
			b.done(opened)
			b.done(opened)
			task := b.records(module, "WA_Escalation_ID")["E1"]
			due := map[string]string{"Tasks": "2026-11-03"}[module]
			if task.Values["Owner"] != "5500000000000000042" || task.Values["Priority"] != "High" || task.Values["Due_Date"] != due ||
				!strings.Contains(task.Values["Description"], "wants her money back") || !strings.Contains(task.Values["Subject"], "complaint") {
				t.Errorf("opened: %v", task.Values)
			}
			b.done(moved)
			if v := b.records(module, "WA_Escalation_ID")["E1"].Values; v["Owner"] != "5500000000000000077" || v["Priority"] != "Low" {
				t.Errorf("moved: %v", v)
			}
			b.done(closed)
			writes := b.records(module, "WA_Escalation_ID")["E1"].Writes
			b.done(opened) // an old one, replayed: it would give the task back to the team
			if n := b.records(module, "WA_Escalation_ID")["E1"].Writes; n != writes {
				t.Errorf("what is closed was written again")
			}
			tasks := b.records(module, "WA_Escalation_ID")
			if status := tasks["E1"].Values["Status"]; len(tasks) != 1 || status != map[string]string{"Tasks": "Completed", "Cases": "Closed"}[module] {
				t.Errorf("closed: %d records, status %q", len(tasks), status)
			}
		})
	}
}

func TestDeliver_NeverDoublesATaskWhoseAnswerWasLost(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultLost, Match: "POST /crm/v8/Tasks", Count: 1})
	e := escalated(1, core.KindEscalation)
	wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: core.CodeUnknownOutcome})
	b.done(e)
	if n := len(b.sim.Records("Tasks")); n != 1 {
		t.Errorf("%d tasks, want one", n)
	}
}

func TestDeliver_NeverDoublesANoteWhoseAnswerWasLost(t *testing.T) {
	b := start(t, zohosim.Options{}, `{"mode":"notes"}`, nil).mustCheck()
	b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultLost, Match: "POST /crm/v8/Notes", Count: 1})
	events := many(5)
	for id, r := range b.deliver(events...) {
		if r.Err == nil || r.Err.Code != core.CodeUnknownOutcome {
			t.Errorf("%s: %v, want an unknown outcome", id, r.Err)
		}
	}
	b.done(events...)
	if n := len(b.sim.Records("Notes")); n != 5 {
		t.Errorf("%d notes, want 5", n)
	}
	b.clear()
	var again []*core.Event
	for i := range 100 {
		e := received(i % 5)
		e.ID, e.Message.ID, e.Number = fmt.Sprintf("wamid.N%d", i), fmt.Sprintf("wamid.N%d", i), fmt.Sprint(i)
		again = append(again, e)
	}
	b.done(again...)
	if n := len(b.calls()); n != 3 {
		t.Errorf("100 messages as notes cost %d calls, want 3: %q", n, b.calls())
	}
}

func TestDeliver_TakesWhatPeopleWrite(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	huge, nameless, odd, flowers := received(1), received(2), received(3), received(4)
	huge.Message.Text = strings.Repeat("ñ🌸", 60_000)
	huge.Contact.Name = strings.Repeat("García ", 60)
	nameless.Contact = &core.Contact{ID: "c002", BSUID: "ES.13491208655302741918"}
	odd.Contact.Name = " \t\n\u0000"
	odd.Message.Text = "a\u0000\u001bb\n\xffc"
	flowers.Contact.Name = strings.Repeat("🌸", 60)
	b.done(huge, nameless, odd, flowers)
	contacts := b.contacts()
	for _, key := range []string{"c001", "c002", "c003", "c004"} {
		if name := contacts[key].Values["Last_Name"]; name == "" || len([]rune(name)) > 80 {
			t.Errorf("%s is named %q", key, name)
		}
	}
	if n := len(utf16.Encode([]rune(b.messages()["wamid.IN001"].Values["Body"]))); n < 31999 || n > 32000 {
		t.Errorf("the text has %d characters, want the 32000 that the field takes", n)
	}
	if !strings.HasSuffix(b.messages()["wamid.IN001"].Values["Body"], "🌸…") && !strings.HasSuffix(b.messages()["wamid.IN001"].Values["Body"], "ñ…") {
		t.Error("a text that was cut does not show it")
	}
	if text := b.messages()["wamid.IN003"].Values["Body"]; text != "ab\n\ufffdc" {
		t.Errorf("the text is %q", text)
	}
}

func TestDeliver_EndsWhatMeansNothingToZohoAtOnce(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	b.done(&core.Event{ID: "u1", Kind: core.KindUnknown}, &core.Event{ID: "u2", Kind: "payment.refunded"},
		&core.Event{ID: "u3", Kind: core.KindConsentChanged, Consent: &core.Consent{}, Contact: person(1)})
	if len(b.calls()) != 0 {
		t.Errorf("Zoho was asked: %q", b.calls())
	}
}

func TestDeliver_ErasesAPerson(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	b.done(received(1), sent(1), received(2))
	b.done(escalated(1, core.KindEscalation))
	b.sim.AddRecord("Tasks", map[string]any{"Subject": "an agent's own", "Who_Id": map[string]any{"id": b.contacts()["c001"].ID}})
	erased := &core.Event{ID: "erase1", Kind: core.KindContactErased, Contact: &core.Contact{ID: "c001"}}
	b.done(erased)
	b.done(erased)
	if c, m := b.contacts(), b.messages(); len(c) != 1 || len(m) != 1 || c["c002"].ID == "" {
		t.Errorf("%d contacts and %d messages are left, want those of c002", len(c), len(m))
	}
	if tasks := b.records("Tasks", "Subject"); len(tasks) != 1 || tasks["an agent's own"].ID == "" {
		t.Errorf("tasks left: %v", tasks)
	}
}

// Whoever was known by a number first has it as their name until they tell another.
func TestDeliver_NamesARecordOnceTheNameIsKnown(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	first := sent(1)
	first.Contact.Name = ""
	b.done(first)
	is := func(want string) {
		t.Helper()
		if got := b.contacts()[person(1).ID].Values["Last_Name"]; got != want {
			t.Errorf("the record is named %q, want %q", got, want)
		}
	}
	is(person(1).Phone)
	b.done(received(1))
	is(person(1).Name)
	again := received(1)
	again.ID, again.Message.ID, again.Contact.Name = "wamid.IN900", "wamid.IN900", "Another"
	b.done(again)
	is(person(1).Name)
}
