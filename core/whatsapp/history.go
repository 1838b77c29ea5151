package whatsapp

import (
	"encoding/json"

	"github.com/wabridge/wabridge/core"
)

// SourceHistory is the [core.Event.Source] of messages of before the number was
// connected: they are for the record, and for nobody to answer.
const SourceHistory = "history"

// history reads what was written before the number was connected, from the phone app.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/history
func (o *origin) history(fields map[string]json.RawMessage) ([]Update, bool) {
	chunks, ok := elements(fields[fieldHistory])
	if !ok {
		return nil, false
	}
	var display metadata
	_ = json.Unmarshal(fields["metadata"], &display)
	var updates []Update
	for _, raw := range chunks {
		var chunk struct {
			Threads []struct {
				ID       flexID            `json:"id"`
				UserID   string            `json:"user_id"`
				Messages []json.RawMessage `json:"messages"`
			} `json:"threads"`
		}
		if json.Unmarshal(raw, &chunk) != nil {
			return nil, false
		}
		o.contacts = nil
		for _, t := range chunk.Threads {
			with := o.contact(string(t.ID), t.UserID, "")
			for _, raw := range t.Messages {
				e, ok := o.before(raw, with, phone(display.Display))
				if !ok {
					return nil, false // nothing of it is lost: it is passed on whole
				}
				source := e.Source
				u := o.update(e)
				u.Event.Source = source
				updates = append(updates, u)
			}
		}
	}
	return updates, len(updates) > 0
}

// before reads one message of a thread with a person.
func (o *origin) before(raw []byte, with *core.Contact, ours string) (core.Event, bool) {
	var m struct {
		message
		To flexID `json:"to"`
	}
	_ = json.Unmarshal(raw, &m) // as far as it can be read
	if !usableID(m.ID) || with == nil {
		return core.Event{}, false
	}
	c := *with
	e := core.Event{ID: m.ID, Kind: core.KindMessageReceived, Time: m.Timestamp.Time, Source: SourceHistory, Contact: &c, Message: m.content()}
	if phone(string(m.From)) == ours || m.To != "" {
		e.Kind, e.Author = core.KindMessageSent, core.AuthorHuman
		e.Message.Direction, e.Message.To = core.Outbound, reachedAt(&c)
	}
	return e, true
}
