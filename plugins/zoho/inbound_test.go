package zoho_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

const pulling = `{"pull_fields":{"city":"Mailing_City","about":"Description"},"pull_tags":true,"consent_from":"News"}`

// watching is an account from which things are taken, a second after it was made.
func watching(t testing.TB, o zohosim.Options, settings string) *bench {
	t.Helper()
	b := start(t, o, settings, nil)
	b.sim.AddField("Contacts", zohosim.Field{Name: "News", Type: "picklist", Length: 120, Custom: true})
	b.sim.AddModule("WhatsApp_Outbox")
	for _, name := range []string{"Phone", "Body", "Template", "Language", "Params"} {
		b.sim.AddField("WhatsApp_Outbox", zohosim.Field{Name: name, Type: "textarea", Length: 2000, Custom: true})
	}
	b.sim.AddField("WhatsApp_Outbox", zohosim.Field{Name: "Contact", Type: "lookup", Custom: true})
	return b
}

func (b *bench) edit(by zohosim.Editor, module, id string, values map[string]any) string {
	b.t.Helper()
	id, err := b.sim.Edit(by, module, id, values)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// round polls until there is no more.
func (b *bench) round(cursor json.RawMessage) ([]core.Event, json.RawMessage) {
	b.t.Helper()
	var all []core.Event
	for range 1000 {
		polled, err := b.connector.Poll(b.t.Context(), b.account, cursor)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(polled.Events) > core.MaxPolled {
			b.t.Errorf("%d events at once", len(polled.Events))
		}
		if all, cursor = append(all, polled.Events...), polled.Cursor; !polled.More {
			return all, cursor
		}
	}
	b.t.Fatal("it does not end")
	return nil, nil
}

// reader polls as the bridge does: what was told before counts for nothing.
type reader struct {
	*bench
	cursor json.RawMessage
	known  map[string]bool
}

func (b *bench) reader() *reader {
	r := &reader{bench: b, known: map[string]bool{}}
	if events := r.news(); len(events) != 0 {
		b.t.Errorf("before anything happened: %+v", events)
	}
	return r
}

// news is what a round tells, a minute later, without the IDs.
func (r *reader) news() []core.Event {
	r.t.Helper()
	time.Sleep(2 * time.Second)
	var events []core.Event
	var out []core.Event
	events, r.cursor = r.round(r.cursor)
	for _, e := range events {
		if !r.known[e.ID] {
			r.known[e.ID] = true
			if id, ok := e.Fields["id"]; ok && e.ContactRef != id {
				r.t.Errorf("the record is %q, want %q", e.ContactRef, id)
			} else if ok {
				e.ContactRef = ""
			}
			e.ID = ""
			out = append(out, e)
		}
	}
	time.Sleep(5 * time.Minute)
	return out
}

func (r *reader) wants(what string, want ...core.Event) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.news()); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func TestPoll_TellsWhatOthersDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, pulling)
		r := b.reader()
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": "+34 600 111 222", "Mailing_City": "Madrid"})
		b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "no number", "Mailing_City": "Madrid"})
		who := func(fields map[string]string) *core.Contact {
			return &core.Contact{Phone: "+34 600 111 222", Fields: fields}
		}
		r.wants("a contact was made", core.Event{Kind: core.KindContactChanged, Time: now(), Contact: who(map[string]string{"city": "Madrid", "about": ""}),
			Fields: map[string]any{"id": id, "Mailing_City": "Madrid", "Description": "", "News": ""}})

		// Only what was changed is told, with its time; what was changed together is one.
		b.edit(zohosim.Program, "Contacts", id, map[string]any{"Mailing_City": "Lyon"})
		city := core.Event{Kind: core.KindContactChanged, Time: now(), Contact: who(map[string]string{"city": "Lyon"}),
			Fields: map[string]any{"id": id, "Mailing_City": "Lyon"}}
		time.Sleep(time.Minute)
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"Description": "Likes\ntea", "Last_Name": "Ana B"})
		r.wants("two changes", city, core.Event{Kind: core.KindContactChanged, Time: now(), Contact: who(map[string]string{"about": "Likes\ntea"}),
			Fields: map[string]any{"id": id, "Description": "Likes\ntea"}})

		// What is none of the fields is no news.
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"Last_Name": "Ana C"})
		r.wants("another field")

		// A value that comes back is another change.
		for _, city := range []string{"Paris", "Lyon", "Paris"} {
			b.edit(zohosim.Person, "Contacts", id, map[string]any{"Mailing_City": city})
			r.wants(city, core.Event{Kind: core.KindContactChanged, Time: now(), Contact: who(map[string]string{"city": city}),
				Fields: map[string]any{"id": id, "Mailing_City": city}})
		}
	})
}

func TestPoll_LeavesOutWhatTheBridgeWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_fields":{"city":"Mailing_City"},"pull_tags":true,"contact_fields":{"city":"Mailing_City"}}`).mustCheck()
		r := b.reader()
		write := func(n int, city string, tags ...string) {
			e := received(n)
			e.Contact.Fields, e.Contact.Tags = map[string]string{"city": city}, tags
			e.Kind, e.Message = core.KindContactChanged, nil
			e.ID += city
			b.done(e)
		}
		write(1, "Madrid", "vip")
		r.wants("the bridge made a contact")
		write(1, "Lyon", "vip", "b2b")
		r.wants("the bridge changed it")
		id := b.contacts()[person(1).ID].ID
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"Last_Name": "Ana"})
		r.wants("somebody changed another field")

		// What somebody changed is told, although the bridge wrote last.
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"Mailing_City": "Paris"})
		at := now()
		time.Sleep(time.Minute)
		write(1, "Paris", "vip", "b2b", "new")
		changed := core.Event{Kind: core.KindContactChanged, Time: at, Contact: &core.Contact{Phone: person(1).Phone, Fields: map[string]string{"city": "Paris"}},
			Fields: map[string]any{"id": id, "Mailing_City": "Paris"}}
		changed.Contact.BSUID = person(1).BSUID
		r.wants("somebody's change, hidden behind the bridge's", changed)

		// And so is what the owner of the token does at the screen.
		b.edit(zohosim.AtScreen, "Contacts", id, map[string]any{"Mailing_City": "Rome"})
		changed.Time = now()
		changed.Contact.Fields, changed.Fields = map[string]string{"city": "Rome"}, map[string]any{"id": id, "Mailing_City": "Rome"}
		r.wants("our user at the screen", changed)
		id = b.edit(zohosim.AtScreen, "Contacts", "", map[string]any{"Last_Name": "Bo", "Phone": "+34600111333", "Mailing_City": "Rome"})
		r.wants("our user made one at the screen", core.Event{Kind: core.KindContactChanged, Time: now(), Contact: &core.Contact{Phone: "+34600111333",
			Fields: map[string]string{"city": "Rome"}}, Fields: map[string]any{"id": id, "Mailing_City": "Rome"}})
	})
}

func TestPoll_TellsTagsThatTheBridgeDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_tags":true}`).mustCheck()
		r := b.reader()
		long := strings.Repeat("x", 40)
		e := received(1)
		e.Contact.Tags = []string{"vip", long} // which Zoho cuts
		b.done(e)
		r.wants("the bridge's tags")
		id := b.contacts()[person(1).ID].ID
		for _, tag := range []string{"gold", "Vip"} {
			if err := b.sim.Tag(zohosim.Person, "Contacts", id, tag, true); err != nil {
				t.Fatal(err)
			}
		}
		r.wants("somebody's tag", core.Event{Kind: core.KindContactChanged, Time: now(),
			Contact: &core.Contact{Phone: person(1).Phone, BSUID: person(1).BSUID, Tags: []string{"gold"}}, Fields: map[string]any{"id": id}})
		for _, username := range []string{"ana", "ana.b"} { // after which it is modified by us
			e.Contact.Username = username
			e.ID += username
			b.done(e)
			r.news()
		}
		e.Contact.Username = "ana.c"
		e.ID += "c"
		b.done(e)
		r.wants("the bridge wrote something else")
	})
}

func TestPoll_TellsOfConsentWithItsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"consent_from":"News"}`).mustCheck()
		r := b.reader()
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "Ana", "Phone": "+34600111222"})
		r.wants("nothing was said")
		consent := func(state, said string) core.Event {
			return core.Event{Kind: core.KindConsentChanged, Time: now(), Contact: &core.Contact{Phone: "+34600111222"}, Consent: &core.Consent{
				Level: "marketing", State: state, By: "Olga Ops", Evidence: fmt.Sprintf("Zoho contact %s: News was set to %q (crm_ui)", id, said)}}
		}
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"News": "Yes"})
		r.wants("yes", consent("granted", "Yes"))
		// Whatever else is changed, what was said long ago is not said anew: a STOP on
		// WhatsApp may have come since.
		b.edit(zohosim.Program, "Contacts", id, map[string]any{"Mailing_City": "Lyon"})
		r.wants("something else")
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"News": "no"})
		r.wants("no", consent("withdrawn", "no"))
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"News": "Yes"})
		r.wants("yes again", consent("granted", "Yes"))
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"News": "perhaps"})
		r.wants("neither")
		b.edit(zohosim.Own, "Contacts", id, map[string]any{"News": "Yes"})
		r.wants("what the bridge wrote")
	})
}

// However many records are modified in one second, in pages and while they are read,
// none is passed over.
func TestPoll_PassesOverNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_fields":{"city":"Mailing_City"}}`)
		_, cursor := b.round(nil)
		time.Sleep(2 * time.Second)
		var all []string
		fill := func(n int) {
			for range n {
				all = append(all, b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Phone": fmt.Sprintf("+3460%07d", len(all)), "Mailing_City": "Madrid"}))
			}
		}
		fill(30)
		time.Sleep(time.Second)
		fill(450)
		time.Sleep(time.Second)
		fill(120)
		want, got := map[string]string{}, map[string]string{}
		for _, id := range all {
			want[id] = "Madrid"
		}
		for n := 0; ; n++ {
			polled, err := b.connector.Poll(t.Context(), b.account, cursor)
			if err != nil || n > 100 {
				t.Fatal(n, err)
			}
			cursor = polled.Cursor
			for _, e := range polled.Events {
				got[e.Fields["id"].(string)] = e.Contact.Fields["city"]
			}
			if n < 5 { // those that are read already, and those that are not
				time.Sleep(time.Second)
				for _, i := range []int{n, 200 + n, 599 - n} {
					b.edit(zohosim.Person, "Contacts", all[i], map[string]any{"Mailing_City": "Lyon"})
					want[all[i]] = "Lyon"
				}
				continue
			}
			if !polled.More {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		// A change in a second that was read already is found by looking back.
		b.edit(zohosim.Person, "Contacts", all[0], map[string]any{"Mailing_City": "Rome"})
		_, cursor = b.round(cursor)
		b.edit(zohosim.Person, "Contacts", all[1], map[string]any{"Mailing_City": "Rome"})
		events, cursor := b.round(cursor)
		if !slices.ContainsFunc(events, func(e core.Event) bool { return e.Fields["id"] == all[1] }) {
			t.Error("a second change within a second was not told")
		}
		// And then it is quiet.
		time.Sleep(time.Minute)
		_, cursor = b.round(cursor)
		before := b.sim.Stats().Credits
		if events, _ = b.round(cursor); len(events) > 0 || b.sim.Stats().Credits != before+3 {
			t.Errorf("nothing happened: %d events for %d credits", len(events), b.sim.Stats().Credits-before)
		}
	})
}

func TestPoll_ReadsLongTimelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_fields":{"city":"Mailing_City"}}`)
		r := b.reader()
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Phone": "+34600111222"})
		r.wants("made", core.Event{Kind: core.KindContactChanged, Time: now(), Contact: &core.Contact{Phone: "+34600111222", Fields: map[string]string{"city": ""}},
			Fields: map[string]any{"id": id, "Mailing_City": ""}})
		b.edit(zohosim.Person, "Contacts", id, map[string]any{"Mailing_City": "Lyon"})
		at := now()
		for i := range 300 {
			b.edit(zohosim.Own, "Contacts", id, map[string]any{"Last_Name": fmt.Sprint(i)})
		}
		r.wants("on the second page", core.Event{Kind: core.KindContactChanged, Time: at, Contact: &core.Contact{Phone: "+34600111222",
			Fields: map[string]string{"city": "Lyon"}}, Fields: map[string]any{"id": id, "Mailing_City": "Lyon"}})
	})
}

func TestPoll_WithoutHistoryDatesByTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{"pull_fields":{"city":"Mailing_City"},"history":false}`)
		r := b.reader()
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Phone": "+34600111222", "Mailing_City": "Lyon"})
		r.wants("made", core.Event{Kind: core.KindContactChanged, Time: now(), Contact: &core.Contact{Phone: "+34600111222", Fields: map[string]string{"city": "Lyon"}},
			Fields: map[string]any{"id": id, "Mailing_City": "Lyon"}})
		b.edit(zohosim.Own, "Contacts", id, map[string]any{"Mailing_City": "Paris"})
		r.wants("what the bridge wrote")
		if n := b.sim.Stats().Requests["GET /crm/v8/Contacts/{id}/__timeline"]; n > 0 {
			t.Errorf("%d timelines were read", n)
		}
	})
}

// What the lane's mapping reads is watched, too, and what is not there is left out.
func TestPoll_TellsWhatTheMappingReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, `{}`)
		b.account.Properties = []string{"Mailing_City", "No_Such"}
		r := b.reader()
		id := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Phone": "+34600111222", "Mailing_City": "Lyon"})
		r.wants("made", core.Event{Kind: core.KindContactChanged, Time: now(), Contact: &core.Contact{Phone: "+34600111222"},
			Fields: map[string]any{"id": id, "Mailing_City": "Lyon"}})
	})
}

const sending = `{"send_module":"WhatsApp_Outbox","send_template_field":"Template","send_language_field":"Language","send_params_field":"Params","send_contact_field":"Contact"}`

func TestPoll_SendsWhatIsInTheOutboxOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := watching(t, zohosim.Options{}, sending).mustCheck()
		old := b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": "old", "Phone": "+34600111222", "Body": "long ago"})
		time.Sleep(time.Minute)
		r := b.reader()
		b.edit(zohosim.Person, "WhatsApp_Outbox", old, map[string]any{"Body": "long ago, mended"})
		r.wants("what was there before")
		at := now()
		text := b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": "1", "Phone": "+34600111222", "Body": "Your parcel is here"})
		b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": "2", "Phone": "+34600111333", "Template": "ready", "Language": "es", "Params": "Ana\n A-1 "})
		empty := b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": "3", "Phone": "+34600111444"})
		send := func(to string, m core.Message, at time.Time) core.Event {
			m.To = core.Address{Kind: core.AddressPhone, Value: to}
			return core.Event{Kind: core.KindMessageSend, Time: at, Author: core.AuthorHuman, By: "Olga Ops", Message: &m}
		}
		r.wants("two messages", send("+34600111222", core.Message{Type: core.TypeText, Text: "Your parcel is here"}, at),
			send("+34600111333", core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: "ready", Language: "es",
				Components: json.RawMessage(`[{"parameters":[{"text":"Ana","type":"text"},{"text":"A-1","type":"text"}],"type":"body"}]`)}}, at))
		b.edit(zohosim.Person, "WhatsApp_Outbox", text, map[string]any{"Body": "mended"})
		r.wants("a message that was sent is changed")
		b.edit(zohosim.Person, "WhatsApp_Outbox", empty, map[string]any{"Body": "now"})
		r.wants("a text that came later", send("+34600111444", core.Message{Type: core.TypeText, Text: "now"}, at))

		mobile := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Mobile": "+34600111555"})
		bsuid := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "B", "WA_BSUID": "ES.13491208655302741918"})
		nobody := b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "C"})
		at = now()
		for i, to := range []string{mobile, bsuid, nobody} {
			b.edit(zohosim.Person, "WhatsApp_Outbox", "", map[string]any{"Name": fmt.Sprint(i), "Contact": map[string]any{"id": to}, "Body": "Hola"})
		}
		byID := send("", core.Message{Type: core.TypeText, Text: "Hola"}, at)
		byID.Message.To = core.Address{Kind: core.AddressBSUID, Value: "ES.13491208655302741918"}
		r.wants("to contacts", send("+34600111555", core.Message{Type: core.TypeText, Text: "Hola"}, at), byID)
	})
}

func TestPoll_TakesNothingUnlessAsked(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	before := b.sim.Stats().Requests
	b.account.WebhookURL = hookURL
	got, err := b.connector.Poll(t.Context(), b.account, nil)
	if err != nil || got.More || len(got.Events) > 0 || !maps.Equal(before, b.sim.Stats().Requests) {
		t.Errorf("got %+v, %v after %v", got, err, b.sim.Stats().Requests)
	}
}

func TestPoll_SaysWhatZohoSays(t *testing.T) {
	for name, c := range map[string]struct {
		options zohosim.Options
		code    core.Code
		hint    string
	}{
		"no scope to read users": {zohosim.Options{Scopes: []string{zohosim.ScopeCOQL, zohosim.ScopeContacts, zohosim.ScopeFields}}, core.CodeForbidden, "ZohoCRM.users.READ"},
		"credits used up":        {zohosim.Options{Credits: 1}, core.CodeRateLimited, "credits"},
		"credits for others":     {zohosim.Options{Credits: 50}, core.CodeRateLimited, "credits_reserve"},
	} {
		b := watching(t, c.options, pulling)
		cursor := json.RawMessage(`{"contacts":{"at":"2020-01-01T00:00:00Z","high":"2020-01-01T00:00:00Z","seen":"2020-01-01T00:00:00Z","began":"2020-01-01T00:00:00Z"}}`)
		var err error
		for range 30 {
			b.edit(zohosim.Person, "Contacts", "", map[string]any{"Last_Name": "A", "Phone": "+34600111222"})
			if _, err = b.connector.Poll(t.Context(), b.account, cursor); err != nil {
				break
			}
		}
		if e := core.AsError(err); err == nil || e.Code != c.code || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%s: %v, hint %q", name, err, e.Hint)
		}
	}
}
