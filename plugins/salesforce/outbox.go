package salesforce

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// A message that Salesforce asks for is a record of settings.send_object, or an event
// of settings.send_event, with the same fields.

// outboxLife is how old a record may be that still is sent: less than the time for
// which the bridge knows what it was told.
const outboxLife = 7 * 24 * time.Hour

// request is what is to be sent.
type request struct {
	to, text, template, language string
	params                       []string
	by                           string
}

func lines(text string) []string {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// event makes an event of a request; false when it does not say whom and what.
func (x *session) event(q *request, id string, at time.Time) (core.Event, bool) {
	m := &core.Message{Type: core.TypeText, Text: q.text, To: core.Address{Kind: core.AddressPhone, Value: q.to}}
	if a, err := core.ParseAddress(q.to); err == nil && a.Kind == core.AddressBSUID {
		m.To = a
	}
	if q.template != "" {
		m.Type, m.Text, m.Template = core.TypeTemplate, "", &core.Template{Name: q.template, Language: q.language}
		if len(q.params) > 0 {
			list := make([]map[string]string, len(q.params))
			for i, text := range q.params {
				list[i] = map[string]string{"type": "text", "text": strings.TrimSpace(text)}
			}
			data, err := json.Marshal([]any{map[string]any{"type": "body", "parameters": list}})
			if err != nil {
				return core.Event{}, false
			}
			m.Template.Components = data
		}
	}
	e := core.Event{ID: id, Kind: core.KindMessageSend, Time: at, Message: m}
	if x.SendAuthor == core.AuthorHuman {
		e.Author, e.By = core.AuthorHuman, crm.Clip(q.by, 100)
	}
	return e, q.to != "" && (strings.TrimSpace(m.Text) != "" || m.Template != nil)
}

func (x *session) outboxNames(context.Context) ([]string, *core.Error) {
	return []string{x.SendTo, x.SendContact, x.SendText, x.SendTemplate, x.SendLanguage, x.SendParams}, nil
}

// asked tells of messages to send. What was there before anything was asked is not
// sent, whatever is done to it; what has no text yet is, once it has.
func (x *session) asked(ctx context.Context, since *place, list []found) ([]core.Event, *core.Error) {
	var fresh []asking
	for _, f := range list {
		made, err := f.stamp("CreatedDate")
		if err != nil {
			return nil, err
		}
		if f.is("IsDeleted") || !made.After(since.Began) || time.Since(made) > outboxLife {
			continue
		}
		fresh = append(fresh, asking{id: eventID("send", f.text("Id"), x.SendObject), at: made, fields: f})
	}
	return x.requests(ctx, fresh)
}

// asking is a record or an event that asks for a message.
type asking struct {
	id     string // of the bridge's event
	at     time.Time
	fields found
	// once says that it comes but once: what it lacks it will not have later. So it is told
	// all the same, and the bridge refuses it and says so in its story.
	once bool
}

// requests makes events of what asks for messages.
func (x *session) requests(ctx context.Context, fresh []asking) ([]core.Event, *core.Error) {
	var contacts []string
	for _, a := range fresh {
		if to := a.fields.text(x.SendContact); a.fields.text(x.SendTo) == "" && recordID.MatchString(to) && !slices.Contains(contacts, to) {
			contacts = append(contacts, to)
		}
	}
	people, err := x.numbersOf(ctx, contacts)
	if err != nil {
		return nil, err
	}
	var events []core.Event
	for _, a := range fresh {
		f := a.fields
		q := &request{to: cmp.Or(f.text(x.SendTo), people[recordOf(f.text(x.SendContact))]), text: f.text(x.SendText), by: f.text("CreatedById")}
		if x.SendTemplate != "" {
			q.template, q.language, q.params = f.text(x.SendTemplate), f.text(x.SendLanguage), lines(f.text(x.SendParams))
		}
		if e, ok := x.event(q, a.id, a.at); ok || a.once {
			events = append(events, e)
		}
	}
	return events, nil
}

// numbersOf returns where contacts are reached, by the first 15 characters of their ids:
// these may be written with 15 characters or with 18. Who is not there has none.
func (x *session) numbersOf(ctx context.Context, ids []string) (map[string]string, *core.Error) {
	people := map[string]string{}
	var failed *core.Error
	calls := 2 * len(ids) // enough where none is an id
	crm.Isolate(ids, &calls, func(some []string) ([]string, *core.Error) {
		parts := make([]string, len(some))
		for i, id := range some {
			parts[i] = quoted(id)
		}
		records, err := x.query(ctx, "read contacts", "SELECT "+fieldNames(append([]string{"Id"}, x.identity()...))+" FROM "+x.ContactObject+
			" WHERE Id IN (", parts, ", ", ")")
		if err != nil {
			if err.Vendor == "INVALID_QUERY_FILTER_OPERATOR" { // one of them is no id
				err.Code = core.CodeInvalid
			}
			return some, err
		}
		for _, f := range records {
			who, _ := x.who(f)
			people[recordOf(f.text("Id"))] = cmp.Or(who.Phone, who.BSUID)
		}
		return nil, nil
	}, func(_ string, err *core.Error) {
		if err.Code != core.CodeInvalid {
			failed = err
		}
	})
	return people, failed
}

// recordOf is the part of an id that says which record it is.
func recordOf(id string) string { return id[:min(len(id), 15)] }
