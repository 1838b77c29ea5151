package zoho

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// A message that Zoho asks for is a record of settings.send_module, or a request
// that a workflow or a function makes to the bridge.

// outboxLife is how old a record may be that still is sent: less than the time for which
// the bridge knows what it was told, or what is changed later would be sent once more.
const outboxLife = 7 * 24 * time.Hour

// request is what is to be sent. It is also the body of a workflow's request.
type request struct {
	// ID is the request's own: twice the same is once.
	ID       word   `json:"id"`
	To       word   `json:"to"`
	Text     string `json:"text"`
	Template string `json:"template"`
	Language string `json:"language"`
	Params   params `json:"params"`
	Number   word   `json:"number"`
	Author   string `json:"author"` // "human" or "bot"
	By       string `json:"by"`
}

// word is a text, which may stand without quotes where it is a number: so merge fields
// make it in a workflow's JSON.
type word string

// UnmarshalJSON implements [json.Unmarshaler].
func (w *word) UnmarshalJSON(data []byte) error {
	if recordID.Match(data) {
		*w = word(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(w))
}

// params are a template's texts: a list, or a text with one in each line.
type params []string

// UnmarshalJSON implements [json.Unmarshaler].
func (p *params) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*p = lines(text)
		return nil
	}
	return json.Unmarshal(data, (*[]string)(p))
}

func lines(text string) params {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// event makes an event of a request; none when it asks for nothing.
func (q *request) event(id string, at time.Time) (core.Event, bool) {
	m := &core.Message{Type: core.TypeText, Text: q.Text, To: core.Address{Kind: core.AddressPhone, Value: string(q.To)}}
	if a, err := core.ParseAddress(string(q.To)); err == nil && a.Kind == core.AddressBSUID {
		m.To = a
	}
	if q.Template != "" {
		m.Type, m.Text, m.Template = core.TypeTemplate, "", &core.Template{Name: q.Template, Language: q.Language}
		if len(q.Params) > 0 {
			list := make([]map[string]string, len(q.Params))
			for i, text := range q.Params {
				list[i] = map[string]string{"type": "text", "text": strings.TrimSpace(text)}
			}
			data, err := json.Marshal([]any{map[string]any{"type": "body", "parameters": list}})
			if err != nil {
				return core.Event{}, false
			}
			m.Template.Components = data
		}
	}
	if q.To == "" || strings.TrimSpace(m.Text) == "" && m.Template == nil {
		return core.Event{}, false
	}
	e := core.Event{ID: id, Kind: core.KindMessageSend, Time: at, Number: string(q.Number), Message: m}
	if q.Author == core.AuthorHuman {
		e.Author, e.By = core.AuthorHuman, crm.Clip(q.By, 100)
	}
	return e, true
}

// asked reads records of settings.send_module. What was there before anything was
// asked is not sent, whatever is done to it; what has no text yet is, once it has.
func (x *session) asked(ctx context.Context, ids []string, began time.Time) ([]core.Event, *core.Error) {
	names := []string{"Created_Time", "Created_By"}
	for _, name := range []string{x.SendTo, x.SendContact, x.SendText, x.SendTemplate, x.SendLanguage, x.SendParams} {
		if name != "" {
			names = append(names, name)
		}
	}
	records, err := x.read(ctx, "read messages to send", x.SendModule, ids, names)
	if err != nil {
		return nil, err
	}
	fresh := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		made := records[id].when("Created_Time")
		return records[id] == nil || !made.After(began) || time.Since(made) > outboxLife
	})
	people, err := x.addressed(ctx, records, fresh)
	if err != nil {
		return nil, err
	}
	var events []core.Event
	for _, id := range fresh {
		r := records[id]
		by, _ := r["Created_By"].(map[string]any)
		q := request{To: word(cmp.Or(r.text(x.SendTo), people[r.text(x.SendContact)])), Text: r.text(x.SendText), Author: x.SendAuthor, By: plain(by["name"])}
		if x.SendTemplate != "" {
			q.Template, q.Language, q.Params = r.text(x.SendTemplate), r.text(x.SendLanguage), lines(r.text(x.SendParams))
		}
		if e, ok := q.event(eventID("send", id, x.SendModule), r.when("Created_Time")); ok {
			if x.SendStatus != "" {
				e.MessageRef = id
			}
			events = append(events, e)
		}
	}
	return events, nil
}

// layRequest has a status be written to the record that asked for the message, too.
func (s *settings) layRequest(p *plan, st *step) {
	if st.asked == "" {
		return
	}
	r, e := p.requests.of(st.asked), st.event
	r.id, st.request = st.asked, r
	if before, _ := r.get(s.SendStatus).(string); before != "" && !core.StatusValue(before).Advances(e.Status.Value) {
		return
	}
	r.set(s.SendStatus, string(e.Status.Value))
	if len(e.Status.Errors) > 0 {
		r.set(s.SendError, crm.StatusErrors(e.Status.Errors))
	}
}

// writeRequests writes what became of messages to the records that asked for them, where
// these are there and know no newer status.
func (x *session) writeRequests(ctx context.Context, p *plan) {
	list := pick(p.requests.list, func(r *row) bool { return wanted(p, r) })
	if len(list) == 0 {
		return
	}
	fs, err := x.fieldsOf(ctx, x.SendModule, x.SendStatus)
	for _, n := range []named{{"send_status_field", x.SendStatus}, {"send_error_field", x.SendError}} {
		if err == nil {
			err = fs.lacking(n)
		}
	}
	var have map[string]found
	if err == nil {
		have, err = x.byKey(ctx, fs, "id", keys(list), x.SendStatus)
	}
	if err != nil {
		for _, r := range list {
			r.err = err
		}
		list = nil
	}
	values := map[*row][]value{}
	list = pick(list, func(r *row) bool {
		status, _ := r.get(x.SendStatus).(string)
		r.have = have[r.key]
		if r.have == nil || !core.StatusValue(r.have.text(x.SendStatus)).Advances(core.StatusValue(status)) {
			return false
		}
		values[r] = valuesFor(fs, r, true)
		return true
	})
	x.write(ctx, writing{op: "message status", method: http.MethodPut, path: x.SendModule}, list, values)
	for _, st := range p.steps {
		if st.err == nil && st.request != nil {
			st.err = st.request.err
		}
	}
}

// addressed returns the numbers, or BSUIDs, of the contacts to which records point
// instead of naming a number.
func (x *session) addressed(ctx context.Context, records map[string]found, of []string) (map[string]string, *core.Error) {
	var contacts []string
	for _, id := range of {
		if to := records[id].text(x.SendContact); records[id].text(x.SendTo) == "" && recordID.MatchString(to) && !slices.Contains(contacts, to) {
			contacts = append(contacts, to)
		}
	}
	people := map[string]string{}
	if len(contacts) == 0 {
		return people, nil
	}
	found, err := x.read(ctx, "read contacts", x.ContactModule, contacts, x.identity())
	for id, f := range found {
		people[id] = cmp.Or(x.phone(f), f.text(x.BSUIDField))
	}
	return people, err
}

// workflow reads the request of a workflow or a function, as JSON or a form.
func workflow(contentType string, body []byte) (core.WebhookAnswer, error) {
	bad := func(format string, args ...any) (core.WebhookAnswer, error) {
		return core.WebhookAnswer{}, core.Errorf(core.CodeInvalid, "webhook", format, args...)
	}
	var q request
	if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return bad("not a form")
		}
		q = request{ID: word(form.Get("id")), To: word(form.Get("to")), Text: form.Get("text"), Template: form.Get("template"), Language: form.Get("language"),
			Params: lines(form.Get("params")), Number: word(form.Get("number")), Author: form.Get("author"), By: form.Get("by")}
	} else if err := json.Unmarshal(body, &q); err != nil {
		return bad("neither JSON nor a form")
	}
	switch {
	case q.ID == "" || len(q.ID) > 200:
		return bad("want an id, the same when the same is asked for again")
	case q.Template != "" && q.Language == "":
		return bad("a template wants a language")
	}
	e, ok := q.event(eventID("workflow", string(q.ID)), time.Time{})
	if !ok {
		return bad("want to, and one of text and template")
	}
	return core.WebhookAnswer{Events: []core.Event{e}}, nil
}
