package zoho_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// oddBench is a bench whose sim another answers for, where on is told so.
type oddBench struct {
	*bench
	match  string // in "METHOD path" of the requests, while it is not empty
	answer http.HandlerFunc
}

func startOdd(t *testing.T, settings string) *oddBench {
	t.Helper()
	o := &oddBench{}
	o.bench = start(t, zohosim.Options{}, settings, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.match != "" && strings.Contains(r.Method+" "+r.URL.Path, o.match) {
			o.answer(w, r)
			return
		}
		o.sim.ServeHTTP(w, r)
	}))
	o.mustCheck()
	return o
}

func said(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// What is no answer of Zoho's says nothing of an event, and nothing of what there is.
func TestDeliver_TakesNoOddAnswerForAnAnswer(t *testing.T) {
	refusal := func(code string) string {
		return `{"code":"` + code + `","details":{},"message":"something","status":"error"}`
	}
	tagged := received(1)
	tagged.Kind, tagged.Message, tagged.Contact.Tags = core.KindContactChanged, nil, []string{"vip"}
	erased := &core.Event{ID: "erase1", Kind: core.KindContactErased, Contact: person(1)}
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		code   core.Code
	}{
		"a refusal with 200":            {said(200, refusal("INTERNAL_ERROR")), core.CodeUnavailable},
		"a token that is over with 200": {said(200, refusal("INVALID_TOKEN")), core.CodeUnauthenticated},
		"a token that is over with 400": {said(400, refusal("INVALID_TOKEN")), core.CodeUnauthenticated},
		"an object with nothing":        {said(200, `{}`), core.CodeUnknownOutcome},
		"null":                          {said(200, `null`), core.CodeUnknownOutcome},
		"no body":                       {said(200, ``), core.CodeUnknownOutcome},
		"a page":                        {said(200, `<html>`), core.CodeUnknownOutcome},
		"half an answer":                {said(200, `{"data":[{"code":"SUC`), core.CodeUnknownOutcome},
		"a page with 400":               {said(400, `<html>`), core.CodeUnavailable},
		"a page with 404":               {said(404, `<html>`), core.CodeUnavailable},
	} {
		for match, e := range map[string]*core.Event{
			"/coql": received(1), "POST /crm/v8/Contacts/upsert": received(1), "POST /crm/v8/WhatsApp_Messages": received(1),
			"/settings/fields": received(1), "/add_tags": tagged, "POST /crm/v8/Tasks": escalated(1, core.KindEscalation), "DELETE ": erased,
		} {
			t.Run(what+" at "+match, func(t *testing.T) {
				b := startOdd(t, "")
				if e == erased {
					b.done(received(1))
				}
				if match == "/settings/fields" {
					b.account.Lane = "other" // of which no fields were read
				}
				b.match, b.answer = match, c.answer
				wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: c.code})
				b.match = ""
				b.done(e)
				if n := len(b.contacts()); n > 1 || e == erased && n > 0 {
					t.Errorf("%d contacts", n)
				}
			})
		}
	}
}

// Else an older status would be written over a newer one, and a note made twice.
func TestDeliver_TakesARefusalInAnyFormForNoAnswer(t *testing.T) {
	for _, settings := range []string{"", `{"mode":"notes"}`} {
		b := startOdd(t, settings)
		b.done(sent(1))
		b.done(status(1, core.StatusRead))
		for _, b.answer = range []http.HandlerFunc{
			said(200, `{"code":"INTERNAL_ERROR","details":{},"message":"x","status":"error"}`),
			said(400, `{"data":[{"code":"INTERNAL_ERROR","details":{},"message":"x","status":"error"}]}`),
		} {
			for _, b.match = range []string{"/coql", "/Notes"} {
				b.deliver(status(1, core.StatusDelivered), sent(1))
			}
		}
		if notes := b.sim.Records("Notes"); settings != "" && (len(notes) != 1 || !strings.Contains(notes[0].Values["Note_Title"], "read")) {
			t.Errorf("got %+v", notes)
		}
		if m := b.messages()["wamid.OUT001"]; settings == "" && m.Values["Status"] != "read" {
			t.Errorf("got %v", m.Values)
		}
	}
}

func TestCheck_BearsFieldsThatAreNone(t *testing.T) {
	b := startOdd(t, "")
	b.match, b.answer = "/settings/fields", said(200, `{"fields":[null]}`)
	if err := b.check(); err == nil || core.AsError(err).Code != core.CodeUnavailable {
		t.Errorf("got %v, want unavailable: nothing was told", err)
	}
}

func TestDeliver_TakesARowWithoutAWordForNoAnswer(t *testing.T) {
	b := startOdd(t, "")
	for _, row := range []string{"null", "{}"} {
		b.match, b.answer = "Contacts/upsert", said(200, `{"data":[`+row+`]}`)
		wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnknownOutcome})
	}
}

func TestDeliver_TriesAgainWhenARecordWasDeletedMeanwhile(t *testing.T) {
	for settings, match := range map[string]string{
		`{}`: "WhatsApp_Messages/upsert", `{"mode":"notes"}`: "POST /crm/v8/Notes", `{"escalations":"tasks"}`: "POST /crm/v8/Tasks",
		`{"adopt":true}`: "PUT /crm/v8/Contacts", `{"native_tags":true}`: "/add_tags",
	} {
		t.Run(match, func(t *testing.T) {
			b := startOdd(t, settings)
			e := received(1)
			switch match {
			case "POST /crm/v8/Tasks":
				e = escalated(1, core.KindEscalation)
			case "PUT /crm/v8/Contacts":
				b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", "Phone": person(1).Phone})
			case "/add_tags":
				e.Contact.Tags = []string{"vip"}
			}
			b.match, b.answer = match, func(w http.ResponseWriter, r *http.Request) {
				for _, c := range b.contacts() {
					if err := b.sim.Delete(zohosim.Person, "Contacts", c.ID); err != nil {
						t.Error(err)
					}
				}
				b.sim.ServeHTTP(w, r)
			}
			wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: core.CodeUnavailable})
			b.match = ""
			b.done(e)
			if c := b.contacts()["c001"]; c.ID == "" {
				t.Errorf("got %v", b.contacts())
			}
		})
	}
}

func TestDeliver_SaysWhichTagsZohoRefuses(t *testing.T) {
	tagged := func(n int) *core.Event {
		e := received(n)
		e.Contact.Tags = []string{"vip"}
		return e
	}
	b := startOdd(t, "")
	for what, c := range map[string]struct {
		answer string
		code   [2]core.Code
	}{
		"one record":       {`{"data":[{"code":"SUCCESS","status":"success","details":{}},{"code":"LIMIT_EXCEEDED","status":"error","message":"too many tags","details":{}}]}`, [2]core.Code{"", core.CodeInvalid}},
		"the tag itself":   {`{"tags":[{"code":"INVALID_DATA","status":"error","message":"Invalid data","details":{"maximum_length":25}}]}`, [2]core.Code{core.CodeInvalid, core.CodeInvalid}},
		"nobody knows who": {`{"data":[{"code":"RECORD_LOCKED","status":"error","message":"x","details":{}}]}`, [2]core.Code{core.CodeInvalid, core.CodeInvalid}},
		"a service behind": {`{"data":[{"code":"DEPENDENT_SERVICE_ERROR","status":"error"},{"code":"SUCCESS","status":"success"}]}`, [2]core.Code{core.CodeUnavailable, ""}},
	} {
		b.match, b.answer = "/add_tags", said(400, c.answer)
		got := b.deliver(tagged(1), tagged(2))
		wantCodes(t, got, map[string]core.Code{received(1).ID: c.code[0], received(2).ID: c.code[1]})
		for _, r := range got {
			if r.Err != nil && r.Err.Code == core.CodeInvalid && !strings.Contains(r.Err.Hint, "native_tags") {
				t.Errorf("%s: the hint is %q", what, r.Err.Hint)
			}
		}
		b.match = ""
		for _, n := range []int{1, 2} { // the next attempt does not find them done
			if got := b.contacts()[person(n).ID].Values["WA_Tags"]; (c.code[n-1] == "") != (got == "vip") {
				t.Errorf("%s: person %d has the tags %q", what, n, got)
			}
			none := received(n)
			none.Kind, none.Message, none.Contact.Tags = core.KindContactChanged, nil, nil
			b.done(none)
		}
	}
	// What is not there is taken away.
	b.done(tagged(1))
	b.match, b.answer = "/remove_tags", said(400, `{"data":[{"code":"INVALID_DATA","status":"error","message":"invalid tag","details":{}}]}`)
	none := received(1)
	none.Kind, none.Message = core.KindContactChanged, nil
	b.done(none)
	if got := b.contacts()["c001"].Values["WA_Tags"]; got != "" {
		t.Errorf("the tags are %q", got)
	}
}

func TestErase_DeletesNobodyElse(t *testing.T) {
	b := startOdd(t, "")
	b.done(received(2))
	other := b.contacts()["c002"].ID
	b.match, b.answer = "/coql", said(200, `{"data":[{"id":"`+other+`","WA_Contact_ID":"c002"}],"info":{"count":1,"more_records":false}}`)
	b.done(&core.Event{ID: "erase1", Kind: core.KindContactErased, Contact: person(1)})
	b.match = ""
	if len(b.contacts()) != 1 || len(b.messages()) != 1 {
		t.Errorf("%v and %v are left", b.contacts(), b.messages())
	}
}

// A record that has one's user id and another's number is the record of one of them.
func TestDeliver_GivesARecordToOneContactOnly(t *testing.T) {
	b := startOdd(t, "")
	id := b.sim.AddRecord("Contacts", map[string]any{"Last_Name": "By Hand", "Phone": person(2).Phone, "WA_BSUID": "ES.12345"})
	one, two := received(1), received(2)
	one.Contact.Phone, one.Contact.BSUID = "", "ES.12345"
	results := b.connector.Deliver(t.Context(), b.account, []core.Delivery{{Event: one, Attempt: 1, ToldRef: id}, {Event: two, Attempt: 1}})
	for _, r := range results {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	if c := b.contacts(); len(c) != 2 || c["c001"].ID != id || results[0].ContactRef == results[1].ContactRef {
		t.Errorf("got %v", c)
	}
}

func TestMembers_AreNotAllWhereZohoDoesNotSaySo(t *testing.T) {
	b := startOdd(t, "")
	view := b.sim.AddView("Contacts", zohosim.View{Name: "v"})
	b.match, b.answer = "GET /crm/v8/Contacts", said(200, `{"data":[{"id":"5500000000001000","Phone":"+34600000001"}]}`)
	if got, err := b.connector.Members(t.Context(), b.account, "view:"+view, nil); core.CodeOf(err) != core.CodeUnavailable || len(got.Members) > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What Zoho does not take of a question is no fault of the event for which it is asked.
func TestDeliver_BlamesNoEventForAQuestion(t *testing.T) {
	for match, c := range map[string]struct {
		settings string
		code     core.Code
	}{
		"/settings/fields": {"", core.CodeForbidden}, "/coql": {"", core.CodeForbidden}, "/Notes": {`{"mode":"notes"}`, core.CodeUnavailable},
	} {
		b := startOdd(t, c.settings)
		b.done(sent(1))
		if match == "/settings/fields" {
			b.account.Lane = "other" // of which no fields were read
		}
		b.match, b.answer = match, said(400, `{"code":"INVALID_DATA","details":{"resource_path_index":1},"message":"invalid data","status":"error"}`)
		e := status(1, core.StatusDelivered)
		wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: c.code})
		b.match = ""
		b.done(e)
	}
}
