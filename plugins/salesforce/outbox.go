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

// event makes an event of a request; none when it asks for nothing.
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
	if q.to == "" || strings.TrimSpace(m.Text) == "" && m.Template == nil {
		return core.Event{}, false
	}
	e := core.Event{ID: id, Kind: core.KindMessageSend, Time: at, Message: m}
	if x.SendAuthor == core.AuthorHuman {
		e.Author, e.By = core.AuthorHuman, crm.Clip(q.by, 100)
	}
	return e, true
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
		changed, err := f.stamp("SystemModstamp")
		if err != nil {
			return nil, err
		}
		if f.is("IsDeleted") || !made.After(since.Began) || changed.Sub(made) > outboxLife {
			continue
		}
		fresh = append(fresh, asking{eventID("send", f.text("Id"), x.SendObject), made, f})
	}
	return x.requests(ctx, fresh)
}

// asking is a record or an event that asks for a message.
type asking struct {
	id     string // of the bridge's event
	at     time.Time
	fields found
}

// requests makes events of what asks for messages.
func (x *session) requests(ctx context.Context, fresh []asking) ([]core.Event, *core.Error) {
	var contacts []string
	for _, a := range fresh {
		if to := a.fields.text(x.SendContact); a.fields.text(x.SendTo) == "" && recordID.MatchString(to) && !slices.Contains(contacts, to) {
			contacts = append(contacts, to)
		}
	}
	people := map[string]string{}
	if len(contacts) > 0 {
		for i := range contacts {
			contacts[i] = quoted(contacts[i])
		}
		records, err := x.query(ctx, "read contacts", "SELECT "+fieldNames(append([]string{"Id"}, x.identity()...))+" FROM "+x.ContactObject+
			" WHERE Id IN (", contacts, ", ", ")")
		if err != nil {
			return nil, err
		}
		for _, f := range records {
			who, _ := x.who(f)
			people[f.text("Id")] = cmp.Or(who.Phone, who.BSUID)
		}
	}
	var events []core.Event
	for _, a := range fresh {
		f := a.fields
		q := &request{to: cmp.Or(f.text(x.SendTo), people[f.text(x.SendContact)]), text: f.text(x.SendText), by: f.text("CreatedById")}
		if x.SendTemplate != "" {
			q.template, q.language, q.params = f.text(x.SendTemplate), f.text(x.SendLanguage), lines(f.text(x.SendParams))
		}
		if e, ok := x.event(q, a.id, a.at); ok {
			events = append(events, e)
		}
	}
	return events, nil
}
