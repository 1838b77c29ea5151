package customhttp_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// adopting are settings that write contacts to the records which a search finds.
func adopting(find ...any) table {
	return table{
		"idempotency": "upsert", "find": find,
		"response": table{"id": "id", "error_code": "error.code", "error_message": "error.message"},
		"operations": table{
			"message.received": table{"method": "PUT", "path": "/contacts/{{if .contact_ref}}id:{{.contact_ref}}{{else}}{{.contact.id}}{{end}}",
				"body": `{"external_id": {{.contact.id}}, "name": {{.contact.name}}, "phone": {{.contact.phone}}, "bsuid": {{.contact.bsuid}}}`},
			"message.status": table{"path": "/notes", "body": `{"ref": {{.id}}, "text": "sent"}`},
		},
	}
}

func searching(query table, more ...any) table {
	s := table{"path": "/contacts", "query": query, "rows": "data", "ref": "id", "phone": "phone"}
	for i := 0; i < len(more); i += 2 {
		s[more[i].(string)] = more[i+1]
	}
	return s
}

// asked counts the searches.
func (b *bench) asked() int { return b.sim.Stats().Requests["GET /v1/contacts"] }

var writtenAs = []string{"+4915112345%03d", "004915112345%03d", "01511 2345%03d", "+49 (0)1511 / 2345 - %03d", "4915112345%03d", "15112345%03d"}

func TestFind_AdoptsWhoIsThereHoweverTheNumberIsWritten(t *testing.T) {
	b := start(t, customhttpsim.Options{}, adopting(searching(table{"phone_like": "{{.form}}"}, "forms", []string{"like"})), nil)
	for i := range 100 {
		b.sim.AddContact(fmt.Sprintf(writtenAs[i%len(writtenAs)], i), "")
	}
	results := b.deliver(many(100)...)
	wantCodes(t, results, nil)
	records := b.sim.Records("contact")
	if len(records) != 100 {
		t.Errorf("%d contacts, want 100: somebody is doubled", len(records))
	}
	for i, r := range records {
		if want := fmt.Sprintf("c%03d", i); r.ExternalID != want || results[received(i).ID].ContactRef != r.ID {
			t.Errorf("%s was adopted by %q, and %q is said", want, r.ExternalID, results[received(i).ID].ContactRef)
		}
	}
	if b.asked() != 100 {
		t.Errorf("%d searches for 100 people", b.asked())
	}
}

func TestFind_AsksByTheFormsThatTheAPIMayHave(t *testing.T) {
	for name, c := range map[string]struct {
		query   table
		forms   []string
		written string
		asked   int
	}{
		"as it is sent to":    {table{"phone": "{{.form}}"}, nil, "+4915112345001", 1},
		"digits":              {table{"phone": "{{.form}}"}, nil, "4915112345001", 2},
		"as in the country":   {table{"phone": "{{.form}}"}, nil, "01511 2345001", 3},
		"named, in an order":  {table{"phone": "{{.form}}"}, []string{"national_digits", "e164"}, "015112345001", 1},
		"all at once":         {table{"phone": `{{.all_forms | join ","}}`}, nil, "01511 2345001", 1},
		"in none of the ways": {table{"phone": "{{.form}}"}, nil, "1511/2345001", 3},
	} {
		q := searching(c.query)
		if c.forms != nil {
			q["forms"] = c.forms
		}
		b := start(t, customhttpsim.Options{}, adopting(q), nil)
		id := b.sim.AddContact(c.written, "")
		got := b.deliver(received(1))[received(1).ID]
		if name == "in none of the ways" {
			id = ""
		}
		if got.Err != nil || got.ContactRef != id || b.asked() != c.asked {
			t.Errorf("%s: %v, record %q after %d searches", name, got.Err, got.ContactRef, b.asked())
		}
	}
}

func TestFind_AsksOnlyForWhomNoRecordIsKnown(t *testing.T) {
	b := start(t, customhttpsim.Options{}, adopting(searching(table{"phone": "{{.form}}"})), nil)
	id := b.sim.AddContact("+4915112345001", "")
	first, second, status := received(1), received(1), received(1)
	second.ID, status.ID, status.Kind = "wamid.IN001b", "st1", core.KindMessageStatus
	for _, r := range b.deliver(first, second) {
		if r.Err != nil || r.ContactRef != id {
			t.Errorf("got %+v", r)
		}
	}
	if b.asked() != 1 {
		t.Errorf("%d searches for one person in one batch", b.asked())
	}
	for _, d := range []core.Delivery{{ContactRef: id}, {ToldRef: id}, {Event: status}} {
		if d.Event == nil {
			d.Event = first
		}
		if r := b.connector.Deliver(t.Context(), b.account, []core.Delivery{d})[0]; r.Err != nil {
			t.Errorf("%+v: %v", d, r.Err)
		}
	}
	if b.asked() != 1 {
		t.Errorf("looked for, although the record is known, or not needed")
	}
}

func TestFind_TakesNobodyElse(t *testing.T) {
	b := start(t, customhttpsim.Options{}, adopting(
		searching(table{"limit": "{{.size}}"}, "path", `/contacts`, "headers", table{"X-Who": "{{.contact.phone}}"}, "bsuid", "bsuid")), nil)
	b.sim.AddContact("+4915112345009", "US.77") // of another number
	b.sim.AddContact("", "")
	b.sim.AddContact("ext. 001", "")
	e := received(1)
	if r := b.deliver(e)[e.ID]; r.Err != nil || r.ContactRef != "" || len(b.sim.Records("contact")) != 4 {
		t.Errorf("got %+v, %d contacts", r, len(b.sim.Records("contact")))
	}
	// By the user id it is theirs, whatever the number.
	e = received(2)
	e.Contact.Phone, e.Contact.BSUID = "", "US.77"
	if r := b.deliver(e)[e.ID]; r.Err != nil || r.ContactRef != "c_1" {
		t.Errorf("got %+v", r)
	}
}

func TestFind_TakesTheFirstOfSeveral(t *testing.T) {
	b := start(t, customhttpsim.Options{}, adopting(searching(table{"phone_like": "{{.form}}"}, "forms", []string{"like"},
		"when", table{"path": "external_id", "exists": false})), nil)
	b.sim.AddContact("+49 1511 2345009", "")
	first := b.sim.AddContact("+49 1511 2345001", "")
	b.sim.AddContact("+4915112345001", "")
	e := received(1)
	if r := b.deliver(e)[e.ID]; r.Err != nil || r.ContactRef != first {
		t.Errorf("got %+v, want %s", r, first)
	}
}

func TestFind_WritesNobodyWhoCannotBeLookedForNow(t *testing.T) {
	for name, c := range map[string]struct {
		fault customhttpsim.Fault
		want  core.Code
	}{
		"down":    {status(503, ""), core.CodeUnavailable},
		"broken":  {status(500, ""), core.CodeUnavailable},
		"lost":    {customhttpsim.Fault{Kind: customhttpsim.FaultDrop}, core.CodeUnavailable},
		"busy":    {status(429, ""), core.CodeRateLimited},
		"mistake": {status(400, "no such filter"), core.CodeForbidden},
		"garbage": {customhttpsim.Fault{Kind: customhttpsim.FaultGarbage}, core.CodeForbidden},
		"expired": {status(401, ""), core.CodeUnauthenticated},
	} {
		settings := adopting(searching(table{"phone": "{{.form}}"}))
		settings["idempotency"] = "none" // a question leaves nothing unknown
		b := start(t, customhttpsim.Options{}, settings, nil)
		b.sim.AddContact("+4915112345001", "")
		c.fault.Match = "/contacts"
		b.sim.Inject(c.fault)
		e := received(1)
		if got := b.one(e); codeOf(got) != c.want {
			t.Errorf("%s: got %v, want %s", name, got, c.want)
		}
		if n := b.sim.Stats().Requests["PUT /v1/contacts/{id}"]; n != 0 {
			t.Errorf("%s: written all the same", name)
		}
		b.sim.Heal()
		if r := b.deliver(e)[e.ID]; r.Err != nil || r.ContactRef != "c_1" || len(b.sim.Records("contact")) != 1 {
			t.Errorf("%s: afterwards %+v", name, r)
		}
	}
}

func TestFind_SaysThatASearchFindsEverybody(t *testing.T) {
	q := searching(table{"limit": "{{.size}}", "page": "{{.page}}"}, "paging", table{"type": "page", "size": 2}, "headers", table{"X-Who": "{{.contact.phone}}"})
	b := start(t, customhttpsim.Options{}, adopting(q), nil)
	for i := range 30 {
		b.sim.AddContact(fmt.Sprintf("+49151999990%02d", i), "")
	}
	if err := b.one(received(1)); codeOf(err) != core.CodeForbidden || !strings.Contains(err.Message, "finds everything") || b.asked() != 5 {
		t.Errorf("got %v after %d searches", err, b.asked())
	}
}

func TestFind_ServesBatches(t *testing.T) {
	settings := adopting(searching(table{"phone": "{{.form}}"}, "path", "/nobody", "errors", []any{table{"status": []int{404}, "then": "ignore"}}),
		searching(table{"phone": "{{.form}}"}))
	settings["parallel"] = 4
	settings["operations"] = table{"message.received": table{"path": "/events/bulk", "body": `{"id": {{.id}}, "kind": {{.kind}}, "of": {{.contact_ref}}}`,
		"response": table{}, "batch": table{"max_items": 50, "wrap": "events"}}}
	b := start(t, customhttpsim.Options{Latency: time.Millisecond}, settings, nil)
	for i := range 20 {
		b.sim.AddContact(fmt.Sprintf("+4915112345%03d", i), "")
	}
	results := b.deliver(many(20)...)
	wantCodes(t, results, nil)
	for i, r := range b.sim.Records("event") {
		if want := fmt.Sprintf("c_%d", i+1); r.Fields["of"] != want || results[received(i).ID].ContactRef != want {
			t.Errorf("event %d is of %v, want %s", i, r.Fields["of"], want)
		}
	}
	if n := b.sim.Stats().InFlight; n > 4 {
		t.Errorf("%d requests at once, want 4 at most", n)
	}
}

func TestResponse_TellsTheContactsRecord(t *testing.T) {
	settings := adopting(searching(table{"phone": "{{.form}}"}))
	settings["response"] = table{"contact": "id"}
	b := start(t, customhttpsim.Options{}, settings, nil)
	e := received(1)
	if r := b.deliver(e)[e.ID]; r.Err != nil || r.ContactRef != "c_1" || r.Ref != "" {
		t.Errorf("got %+v", r)
	}
}

func TestRenderFind_ShowsTheSearches(t *testing.T) {
	settings := adopting(searching(table{"phone": "{{.form}}"}))
	settings["base_url"] = "https://crm.example.com"
	all, err := customhttp.RenderFind(toJSON(t, settings), received(1))
	var urls []string
	for _, r := range all {
		urls = append(urls, r.Method+" "+r.URL)
	}
	const at = "GET https://crm.example.com/contacts?phone="
	if want := []string{at + "%2B4915112345001", at + "4915112345001", at + "01511+2345001"}; err != nil || !slices.Equal(urls, want) {
		t.Errorf("got %q, %v", urls, err)
	}
	status := received(1)
	status.Kind = core.KindMessageStatus
	if all, err := customhttp.RenderFind(toJSON(t, settings), status); err != nil || len(all) != 0 {
		t.Errorf("for what needs no record: %v, %v", all, err)
	}
}

func TestFind_SettingsAreChecked(t *testing.T) {
	for want, q := range map[string]table{
		"find[0].ref: missing":              searching(table{"phone": "{{.form}}"}, "ref", ""),
		"find[0].phone: missing":            searching(table{"phone": "{{.form}}"}, "phone", ""),
		"does not say whom it looks for":    searching(table{"phone": "x"}),
		"did you mean digits?":              searching(table{"phone": "{{.form}}"}, "forms", []string{"digit"}),
		"says neither .form nor .all_forms": searching(table{"phone": "{{.contact.phone}}"}, "forms", []string{"digits"}),
		"want one of .form":                 searching(table{"phone": "{{.form}}", "q": `{{.all_forms | join ","}}`}),
		"unknown field .from":               searching(table{"phone": "{{.from}}"}),
		"does not say which page it wants":  searching(table{"phone": "{{.form}}"}, "paging", table{"type": "page"}),
	} {
		settings := adopting(q)
		settings["base_url"] = "https://crm.example.com"
		_, err := customhttp.RenderFind(toJSON(t, settings), received(1))
		var e *core.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	settings := good()
	settings["find"] = []any{searching(table{"phone": "{{.form}}"})}
	if err := check(toJSON(t, settings), nil); err == nil || !strings.Contains(err.Error(), "no operation says {{.contact_ref}}") {
		t.Errorf("got %v", err)
	}
}
