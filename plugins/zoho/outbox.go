package zoho

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// A message that Zoho asks for is a record of settings.send_module, or a request
// that a workflow or a function makes to the bridge.

// request is what is to be sent. It is also the body of a workflow's request.
type request struct {
	// ID is the request's own: twice the same is once.
	ID       string `json:"id"`
	To       string `json:"to"`
	Text     string `json:"text"`
	Template string `json:"template"`
	Language string `json:"language"`
	Params   params `json:"params"`
	Number   string `json:"number"`
	Author   string `json:"author"` // "human" or "bot"
	By       string `json:"by"`
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
	m := &core.Message{Type: core.TypeText, Text: q.Text, To: core.Address{Kind: core.AddressPhone, Value: q.To}}
	if a, err := core.ParseAddress(q.To); err == nil && a.Kind == core.AddressBSUID {
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
	e := core.Event{ID: id, Kind: core.KindMessageSend, Time: at, Number: q.Number, Message: m}
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
		return records[id] == nil || !records[id].when("Created_Time").After(began)
	})
	people, err := x.addressed(ctx, records, fresh)
	if err != nil {
		return nil, err
	}
	var events []core.Event
	for _, id := range fresh {
		r := records[id]
		by, _ := r["Created_By"].(map[string]any)
		q := request{To: cmp.Or(r.text(x.SendTo), people[r.text(x.SendContact)]), Text: r.text(x.SendText), Author: x.SendAuthor, By: plain(by["name"])}
		if x.SendTemplate != "" {
			q.Template, q.Language, q.Params = r.text(x.SendTemplate), r.text(x.SendLanguage), lines(r.text(x.SendParams))
		}
		if e, ok := q.event(eventID("send", id, x.SendModule), r.when("Created_Time")); ok {
			events = append(events, e)
		}
	}
	return events, nil
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
		q = request{ID: form.Get("id"), To: form.Get("to"), Text: form.Get("text"), Template: form.Get("template"), Language: form.Get("language"),
			Params: lines(form.Get("params")), Number: form.Get("number"), Author: form.Get("author"), By: form.Get("by")}
	} else if err := json.Unmarshal(body, &q); err != nil {
		return bad("neither JSON nor a form")
	}
	switch {
	case q.ID == "" || len(q.ID) > 200:
		return bad("want an id, the same when the same is asked for again")
	case q.Template != "" && q.Language == "":
		return bad("a template wants a language")
	}
	e, ok := q.event(eventID("workflow", q.ID), time.Time{})
	if !ok {
		return bad("want to, and one of text and template")
	}
	return core.WebhookAnswer{Events: []core.Event{e}}, nil
}
