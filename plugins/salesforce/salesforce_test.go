package salesforce_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

const (
	clientID = "3MVG9.consumer.key"
	username = "bridge@acme.example"
	access   = "00Dxx!AQ.very-secret-access"
)

var privateKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return keys
})

func privateKey(testing.TB) *rsa.PrivateKey { return privateKeys()[0] }
func otherKey(testing.TB) *rsa.PrivateKey   { return privateKeys()[1] }

func privatePEM(t testing.TB, key *rsa.PrivateKey) core.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return core.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// bench is an account at a sim with the connector before it, signed in.
type bench struct {
	t         testing.TB
	sim       *salesforcesim.Sim
	connector *salesforce.Connector
	account   core.Account
	served    *memnet.Served
	// known are what the connector said that contacts' records are called, as the bridge
	// keeps it.
	known map[string]string
}

// start serves a sim. Settings are JSON.
func start(t testing.TB, o salesforcesim.Options, settings string) *bench {
	t.Helper()
	o.Tokens = append(o.Tokens, access)
	b := &bench{t: t, sim: salesforcesim.New(o), known: map[string]string{}}
	m := map[string]any{"login_url": "http://127.0.0.1", "instance_host": "127.0.0.1", "client_id": clientID, "username": username}
	if settings != "" {
		if err := json.Unmarshal([]byte(settings), &m); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b.served = memnet.Serve(t, b.sim)
	b.connector = &salesforce.Connector{DialContext: b.served.DialContext}
	b.account = core.Account{Tenant: "acme", Lane: "crm", Settings: raw, Token: &core.Token{
		Secrets: map[string]core.Secret{"access": access}, Values: map[string]string{"instance_url": "http://127.0.0.1"}}}
	t.Cleanup(b.connector.CloseIdleConnections)
	return b
}

func (b *bench) clear() { b.served.Forget() }

// calls returns the requests made since the last clear, without the version.
func (b *bench) calls() []string {
	lines := b.served.Lines()
	for i := range lines {
		lines[i] = strings.Replace(lines[i], "/services/data/v66.0", "", 1)
	}
	return lines
}

// deliver delivers events and returns their results by event id.
func (b *bench) deliver(events ...*core.Event) map[string]core.Result {
	b.t.Helper()
	batch := make([]core.Delivery, len(events))
	for i, e := range events {
		batch[i] = core.Delivery{Event: e, Attempt: 1}
		if e.Contact != nil {
			batch[i].ContactRef = b.known[e.Contact.ID]
		}
	}
	results := b.connector.Deliver(b.t.Context(), b.account, batch)
	if len(results) != len(events) {
		b.t.Fatalf("%d results for %d events", len(results), len(events))
	}
	byID := map[string]core.Result{}
	for _, r := range results {
		if r.Err != nil && strings.Contains(r.Err.Error()+r.Err.Hint, access) {
			b.t.Errorf("the token is in an error: %v", r.Err)
		}
		byID[r.ID] = r
	}
	for _, e := range events {
		if r := byID[e.ID]; r.Err == nil && r.ContactRef != "" {
			b.known[e.Contact.ID] = r.ContactRef
		}
	}
	return byID
}

// mustDeliver wants all events done.
func (b *bench) mustDeliver(events ...*core.Event) {
	b.t.Helper()
	for id, r := range b.deliver(events...) {
		if r.Err != nil {
			b.t.Fatalf("%s: %v (%s)", id, r.Err, r.Err.Hint)
		}
	}
}

// record returns the one record of an object whose field has a value.
func (b *bench) record(object, field, value string) map[string]any {
	b.t.Helper()
	var found map[string]any
	for _, r := range b.sim.Records(object) {
		if r.Fields[field] == value {
			if found != nil {
				b.t.Fatalf("two records of %s have %s %s", object, field, value)
			}
			found = r.Fields
		}
	}
	if found == nil {
		b.t.Fatalf("no record of %s has %s %s", object, field, value)
	}
	return found
}

// want compares fields of a record.
func want(t testing.TB, record map[string]any, fields map[string]any) {
	t.Helper()
	for name, v := range fields {
		if record[name] != v {
			t.Errorf("%s is %v, want %v", name, record[name], v)
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
	return &core.Event{ID: id, Kind: core.KindMessageReceived, Tenant: "acme", Number: "100", Time: noon, Accepted: time.Now(), Source: "whatsapp",
		Conversation: core.ConversationID("100", person(n).ID), Contact: person(n),
		Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: fmt.Sprintf("hello %d", n)}}
}

func status(n int, value core.StatusValue) *core.Event {
	e := received(n)
	e.ID, e.Kind, e.Message = e.ID+":"+string(value), core.KindMessageStatus, nil
	e.Status = &core.Status{MessageID: fmt.Sprintf("wamid.IN%03d", n), Value: value}
	return e
}

func many(n int) []*core.Event {
	var events []*core.Event
	for i := range n {
		events = append(events, received(i))
	}
	return events
}

func TestDeliver_CostsTwoCallsForKnownPeopleAndFourForNewOnes(t *testing.T) {
	for _, mode := range []string{"object", "task"} {
		b := start(t, salesforcesim.Options{}, `{"mode":"`+mode+`"}`)
		events := many(200)
		b.mustDeliver(events...)
		if n := len(b.calls()); n != 4 {
			t.Errorf("%s: %d calls for new people, want 4: %q", mode, n, b.calls())
		}
		b.clear()
		for _, e := range events {
			e.ID, e.Message.ID = e.ID+"b", e.Message.ID+"b"
		}
		b.mustDeliver(events...)
		if n := len(b.calls()); n != 2 {
			t.Errorf("%s: %d calls for known people, want 2: %q", mode, n, b.calls())
		}
		object := map[string]string{"object": "WhatsApp_Message__c", "task": "Task"}[mode]
		if contacts, messages := len(b.sim.Records("Contact")), len(b.sim.Records(object)); contacts != 200 || messages != 400 {
			t.Errorf("%s: %d contacts and %d messages, want 200 and 400", mode, contacts, messages)
		}
	}
}

func TestDeliver_AdoptsTheRecordThatHasThePhoneNumberOnce(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	for i, written := range []string{"600 00 00 01", "+34 600 000 002", "(0034) 600000003", "+34600000004"} {
		field := []string{"Phone", "MobilePhone"}[i%2]
		b.sim.Create("Contact", map[string]any{"LastName": fmt.Sprintf("Known %d", i+1), field: written})
	}
	b.sim.Create("Contact", map[string]any{"LastName": "Doubled", "Phone": "+34600000004"})
	b.sim.Create("Contact", map[string]any{"LastName": "Another's", "Phone": "+34600000005", "WA_Contact_Id__c": "c999"})
	b.sim.Create("Contact", map[string]any{"LastName": "Elsewhere", "Phone": "+44 600000006"})
	b.sim.Create("Contact", map[string]any{"LastName": "Shared", "Phone": "600000007", "MobilePhone": "600000008"})
	b.mustDeliver(received(1), received(2), received(3), received(4), received(5), received(6), received(7), received(8))
	for n, name := range map[int]string{1: "Known 1", 2: "Known 2", 4: "Known 4", 5: "Person 5", 6: "Person 6", 7: "Person 7", 8: "Shared"} {
		want(t, b.record("Contact", "WA_Contact_Id__c", fmt.Sprintf("c%03d", n)), map[string]any{"LastName": name})
	}
	b.clear()
	again := received(1)
	again.Contact.Name = "Renamed"
	b.mustDeliver(again)
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": "Known 1"})
	for _, line := range b.calls() {
		if strings.HasPrefix(line, "POST /composite") {
			t.Errorf("a known person was searched for: %q", b.calls())
		}
	}
}

func TestDeliver_WritesTheFurthestStatus(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.mustDeliver(received(1))
	b.clear()
	b.mustDeliver(status(1, core.StatusDelivered), status(1, core.StatusSent))
	if n := len(b.calls()); n != 1 {
		t.Errorf("%d calls for two statuses of a message, want 1: %q", n, b.calls())
	}
	read := func() any { return b.record("WhatsApp_Message__c", "WA_Id__c", "wamid.IN001")["Status__c"] }
	if read() != "delivered" {
		t.Errorf("got %v, want delivered", read())
	}
	b.mustDeliver(status(1, core.StatusRead))
	late := status(1, core.StatusSent)
	late.Accepted = time.Now().Add(-time.Hour)
	b.mustDeliver(late)
	b.mustDeliver(received(1)) // a replay
	if read() != "read" {
		t.Errorf("a late status made it %v, want read", read())
	}
}

// A message that is delivered late, as when a person replays it, brings back nothing that
// was edited or taken back since.
func TestDeliver_KeepsWhatBecameOfAMessage(t *testing.T) {
	for _, mode := range []string{"object", "task"} {
		b := start(t, salesforcesim.Options{}, `{"mode":"`+mode+`"}`)
		object, field := "WhatsApp_Message__c", "Body__c"
		if mode == "task" {
			object, field = "Task", "Description"
		}
		late := func(n int) *core.Event {
			e := received(n)
			e.Accepted = time.Now().Add(-time.Hour)
			return e
		}
		edited, revoked := received(1), received(2)
		edited.ID, edited.Kind, edited.Message.Text = "edit", core.KindMessageEdited, "hello again"
		revoked.ID, revoked.Kind, revoked.Message.Type, revoked.Message.Text = "revoke", core.KindMessageRevoked, core.TypeRevoke, ""
		b.mustDeliver(received(1))
		b.mustDeliver(edited, revoked, status(3, core.StatusSent)) // of the second nothing was written before, of the third but a status
		sent, changed := late(5), received(5)
		sent.Kind = core.KindMessageSent
		changed.ID, changed.Kind, changed.Message.Direction, changed.Message.Text = "changed", core.KindMessageEdited, core.Outbound, "bye again"
		b.mustDeliver(changed)
		b.mustDeliver(late(1), late(2), late(3), late(4), sent)
		for n, text := range []string{1: "hello again", 2: "[taken back by who wrote it]", 3: "hello 3", 4: "hello 4", 5: "bye again"} {
			if n > 0 {
				want(t, b.record(object, "WA_Id__c", fmt.Sprintf("wamid.IN%03d", n)), map[string]any{field: text})
			}
		}
		if mode == "object" {
			want(t, b.record(object, "WA_Id__c", "wamid.IN002"), map[string]any{"Type__c": "revoke", "Time__c": "2026-11-02T12:00:00.000Z"})
		}
	}
}

// A message whose first attempt was written, though nobody learned of it, comes again with
// what became of it since: that counts.
func TestDeliver_WritesWhatBecameOfAMessageThatComesWithIt(t *testing.T) {
	for mode, field := range map[string]string{"object": "Body__c", "task": "Description"} {
		b := start(t, salesforcesim.Options{}, `{"mode":"`+mode+`"}`)
		object := map[string]string{"object": "WhatsApp_Message__c", "task": "Task"}[mode]
		b.mustDeliver(received(1), received(2))
		late := func(n int) *core.Event {
			e := received(n)
			e.Accepted = time.Now().Add(-time.Hour)
			return e
		}
		edited, revoked := late(1), late(2)
		edited.ID, edited.Kind, edited.Message.Text = "edit", core.KindMessageEdited, "hello again"
		revoked.ID, revoked.Kind, revoked.Message.Type, revoked.Message.Text = "revoke", core.KindMessageRevoked, core.TypeRevoke, ""
		b.mustDeliver(late(1), edited, late(2), revoked)
		want(t, b.record(object, "WA_Id__c", "wamid.IN001"), map[string]any{field: "hello again"})
		want(t, b.record(object, "WA_Id__c", "wamid.IN002"), map[string]any{field: "[taken back by who wrote it]"})

		replayed := late(1) // by a person, before anything else of it
		replayed.ID = "replayed"
		edited.Message.Text = "hello once more"
		b.mustDeliver(edited, replayed)
		want(t, b.record(object, "WA_Id__c", "wamid.IN001"), map[string]any{field: "hello once more"})
	}
}

func TestDeliver_KeepsAStatusOfAMessageThatIsNotThereYet(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	failed := status(7, core.StatusFailed)
	failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
	b.mustDeliver(failed)
	m := b.record("WhatsApp_Message__c", "WA_Id__c", "wamid.IN007")
	want(t, m, map[string]any{"Status__c": "failed", "Error__c": "131026: Message undeliverable"})
	contact := b.record("Contact", "WA_Contact_Id__c", "c007")
	want(t, m, map[string]any{"Contact__c": contact["Id"]})
	b.mustDeliver(received(7))
	want(t, b.record("WhatsApp_Message__c", "WA_Id__c", "wamid.IN007"), map[string]any{"Status__c": "failed", "Body__c": "hello 7"})
}

func escalated(n int, kind core.Kind, x core.Escalation) *core.Event {
	e := received(n)
	e.ID, e.Kind, e.Message, e.Escalation = fmt.Sprintf("%s#%s", e.ID, kind), kind, nil, &x
	return e
}

func TestDeliver_OpensMovesAndClosesEscalations(t *testing.T) {
	due := noon.Add(4 * time.Hour)
	for mode, fields := range map[string][2]map[string]any{
		"case": {
			{"Priority": "High", "OwnerId": "00G000000000001AAA", "Subject": "WhatsApp: complaint"},
			{"Priority": "Medium", "OwnerId": "005000000000007AAA", "Status": "Closed"},
		},
		"task": {
			{"Priority": "High", "OwnerId": "00G000000000001AAA", "ActivityDate": "2026-11-02"},
			{"Priority": "Normal", "OwnerId": "005000000000007AAA", "Status": "Completed"},
		},
	} {
		b := start(t, salesforcesim.Options{}, `{"escalations":"`+mode+`","owners":{"support":"00G000000000001AAA","ann":"005000000000007AAA"}}`)
		object := map[string]string{"case": "Case", "task": "Task"}[mode]
		b.mustDeliver(escalated(1, core.KindEscalation, core.Escalation{ID: "e1", Reason: "complaint", Team: "support", Priority: "high", Deadline: due}))
		r := b.record(object, "WA_Escalation_Id__c", "e1")
		want(t, r, fields[0])
		link := map[string]string{"case": "ContactId", "task": "WhoId"}[mode]
		want(t, r, map[string]any{link: b.record("Contact", "WA_Contact_Id__c", "c001")["Id"], "Status": nil})
		b.mustDeliver(escalated(1, core.KindEscalationMoved, core.Escalation{ID: "e1", Reason: "complaint", Team: "support", Priority: "normal", Assignee: &core.Assignee{ID: "ann"}}))
		b.mustDeliver(escalated(1, core.KindEscalationClosed, core.Escalation{ID: "e1", Reason: "complaint", Team: "support", Priority: "normal", Outcome: "closed", By: "ann"}))
		want(t, b.record(object, "WA_Escalation_Id__c", "e1"), fields[1])
	}
}

func TestDeliver_WritesTagsConsentAndFields(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"consent_field":"WA_Consent__c","suppressed_field":"WA_Suppressed__c","contact_fields":{"city":"Department"}}`)
	b.sim.AddField("Contact", salesforcesim.Text("WA_Consent__c", 255))
	b.sim.AddField("Contact", salesforcesim.Text("WA_Suppressed__c", 255))
	changed := received(1)
	changed.Kind, changed.Message = core.KindContactChanged, nil
	changed.Contact.Tags, changed.Contact.Fields = []string{"gold", "vip"}, map[string]string{"city": "Lyon"}
	consent := received(2)
	consent.Kind, consent.Message, consent.Consent = core.KindConsentChanged, nil, &core.Consent{Marketing: "withdrawn", Suppressed: []string{"stop"}}
	b.mustDeliver(changed, consent)
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"WA_Tags__c": "gold;vip", "Department": "Lyon"})
	want(t, b.record("Contact", "WA_Contact_Id__c", "c002"), map[string]any{"WA_Consent__c": "withdrawn", "WA_Suppressed__c": "stop"})
	changed.Contact.Tags = nil
	b.mustDeliver(changed)
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"WA_Tags__c": nil})
}

func TestDeliver_ChecksWhatScriptsReturn(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.sim.AddField("Contact", salesforcesim.Typed("Score__c", "double"))
	b.sim.AddField("Contact", salesforcesim.Text("Tier__c", 10))
	good := received(1)
	good.Fields = map[string]any{"Score__c": "12.5", "tier__c": "gold", "HasOptedOutOfEmail": "true", "LastName": "Mapped", "Birthdate": "1990-05-06", "WA_Contact_Id__c": "c666"}
	bad := map[string]*core.Event{}
	for i, c := range []struct{ name, value string }{
		{"Tear__c", "gold"}, {"Score__c", "many"}, {"Tier__c", strings.Repeat("g", 11)}, {"HasOptedOutOfEmail", "perhaps"}, {"Birthdate", "tomorrow"}, {"CreatedDate", "2026-01-01"}, {"OwnerId", "me"},
	} {
		e := received(10 + i)
		e.Fields = map[string]any{c.name: c.value}
		bad[c.name] = e
	}
	events := []*core.Event{good, received(2)}
	for _, e := range bad {
		events = append(events, e)
	}
	got := b.deliver(events...)
	for name, e := range bad {
		if err := got[e.ID].Err; err == nil || err.Code != core.CodeInvalid || !strings.Contains(err.Message, name) || err.Holds() != core.ScopeEvent {
			t.Errorf("%s: got %+v, want invalid, naming the field", name, err)
		}
	}
	for _, e := range events[:2] {
		if err := got[e.ID].Err; err != nil {
			t.Errorf("%s: %v, want done", e.ID, err)
		}
	}
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"Score__c": 12.5, "Tier__c": "gold", "HasOptedOutOfEmail": true, "LastName": "Mapped", "Birthdate": "1990-05-06"})
	good.Fields = map[string]any{"LastName": "Mapped again"}
	b.mustDeliver(good)
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": "Mapped again"})
}

func TestDeliver_NamesARecordOnceInACollection(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	again := received(1)
	again.ID, again.Message.ID = "wamid.second", "wamid.second"
	b.mustDeliver(received(1), again, status(1, core.StatusSent))
	if n := len(b.sim.Records("Contact")); n != 1 {
		t.Errorf("%d contacts, want 1", n)
	}
}

// Whoever writes messages of the same people locks their records in the same order.
func TestDeliver_WritesMessagesInTheOrderOfTheirContacts(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	events := many(20)
	b.mustDeliver(events...)
	for _, e := range events {
		e.ID, e.Message.ID = e.ID+"b", e.Message.ID+"b"
	}
	slices.Reverse(events)
	b.mustDeliver(events...)
	var contacts []string
	for _, r := range b.sim.Records("WhatsApp_Message__c")[20:] {
		contacts = append(contacts, fmt.Sprint(r.Fields["Contact__c"]))
	}
	if !slices.IsSorted(contacts) {
		t.Errorf("they were written in the order %q", contacts)
	}
}

func TestDeliver_TakesHostileTextsAsTexts(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.sim.Create("Contact", map[string]any{"LastName": "Victim", "Phone": "+34699999999"})
	injection := `x' OR LastName LIKE '%`
	for i, evil := range []string{injection, `\' OR Id != null OR LastName = \'`, "%", "_", "a\nb", `"); DROP`} {
		e := received(i)
		e.Contact.Name, e.Contact.Phone, e.Contact.Username, e.Message.Text = evil, evil, evil, evil
		late := status(i, core.StatusRead)
		late.Accepted, late.Status.MessageID, late.Contact = time.Now().Add(-time.Hour), "wamid."+evil, e.Contact
		b.mustDeliver(e, late)
	}
	want(t, b.record("Contact", "Phone", "+34699999999"), map[string]any{"LastName": "Victim", "WA_Contact_Id__c": nil})
	want(t, b.record("WhatsApp_Message__c", "WA_Id__c", "wamid."+injection), map[string]any{"Status__c": "read"})
}

func TestDeliver_CutsTextsThatAreTooLong(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.sim.AddField("WhatsApp_Message__c", salesforcesim.Text("Body__c", 1000))
	long := received(1)
	long.Contact.Name, long.Message.Text = strings.Repeat("n", 500), strings.Repeat("é", 200_000)
	b.mustDeliver(long, received(2))
	body, _ := b.record("WhatsApp_Message__c", "WA_Id__c", "wamid.IN001")["Body__c"].(string)
	if n := len([]rune(body)); n != 1000 || !strings.HasSuffix(body, "é…") {
		t.Errorf("the text has %d characters, want 1000 with a mark at its end", n)
	}
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": strings.Repeat("n", 79) + "…"})
}

// Salesforce counts an emoji as two characters, and a line break of a long text as two.
func TestDeliver_CutsTextsAsSalesforceCountsThem(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"mode":"task","name_field":"LastName"}`)
	short := salesforcesim.Text("Subject", 30)
	b.sim.AddField("Task", short)
	area := salesforcesim.Typed("Description", "textarea")
	area.Length = 100
	b.sim.AddField("Task", area)
	e := received(1)
	e.Contact.Name, e.Contact.Username, e.Message.Text = strings.Repeat("👍", 100), strings.Repeat("👍", 200), strings.Repeat("👍\n", 40)
	b.mustDeliver(e, received(2))
	task := b.record("Task", "WA_Id__c", "wamid.IN001")
	want(t, task, map[string]any{"Subject": "WhatsApp from " + strings.Repeat("👍", 7) + "…"})
	if text, _ := task["Description"].(string); !strings.HasPrefix(text, strings.Repeat("👍\n", 20)) || !strings.HasSuffix(text, "…") {
		t.Errorf("the text is %q", text)
	}
	want(t, b.record("Contact", "WA_Contact_Id__c", "c001"), map[string]any{"LastName": strings.Repeat("👍", 39) + "…", "WA_Username__c": strings.Repeat("👍", 127) + "…"})
}

func TestDeliver_UsesNamespacesAndOtherNames(t *testing.T) {
	b := start(t, salesforcesim.Options{Namespace: "acme"}, `{"namespace":"acme","username_field":""}`)
	if err := b.connector.Check(t.Context(), b.account); err != nil {
		t.Fatal(err)
	}
	b.mustDeliver(received(1))
	b.record("acme__WhatsApp_Message__c", "acme__WA_Id__c", "wamid.IN001")
}

func TestDeliver_IsDoneAtOnceWithWhatMeansNothing(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	b.mustDeliver(&core.Event{ID: "u", Kind: core.KindUnknown, Tenant: "acme"}, &core.Event{ID: "h", Kind: "hologram.opened", Tenant: "acme"})
	if n := len(b.calls()); n != 0 {
		t.Errorf("%d calls, want none", n)
	}
}
