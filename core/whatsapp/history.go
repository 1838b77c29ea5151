package whatsapp

import (
	"encoding/json"

	"github.com/wabridge/wabridge/core"
)

// SourceHistory is the [core.Event.Source] of messages of before the number was
// connected: they are for the record, and for nobody to answer.
const SourceHistory = "history"

// TypePlaceholder is the type of such a message that holds a file: what it is comes later, as
// [core.KindMessageEdited], if the message is at most two weeks old.
const TypePlaceholder core.MessageType = "media_placeholder"

// history reads what was written before the number was connected, from the phone app.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/history
func (o *origin) history(fields map[string]json.RawMessage) ([]Update, bool) {
	var display metadata
	_ = json.Unmarshal(fields["metadata"], &display)
	if _, ok := fields[fieldHistory]; !ok {
		return o.list(fieldHistory, fields, fieldMessages, func(raw []byte) (core.Event, bool) { return o.fileBefore(raw, phone(display.Display)) })
	}
	chunks, ok := elements(fields[fieldHistory])
	if !ok {
		return nil, false
	}
	var updates []Update
	var odd []json.RawMessage // chunks, of what is not understood
	for _, raw := range chunks {
		read, rest := o.chunk(raw, phone(display.Display))
		updates = append(updates, read...)
		if rest != nil {
			odd = append(odd, rest)
		}
	}
	if len(updates) == 0 {
		return nil, false
	}
	return append(updates, o.left(fieldHistory, fields, fieldHistory, odd)...), true
}

// chunk reads a part of a history, and returns what of it cannot be read, nil for nothing.
func (o *origin) chunk(raw json.RawMessage, ours string) (updates []Update, rest json.RawMessage) {
	type thread struct {
		ID       flexID            `json:"id,omitempty"`
		UserID   string            `json:"user_id,omitempty"`
		Messages []json.RawMessage `json:"messages"`
	}
	var in struct {
		Metadata json.RawMessage   `json:"metadata,omitempty"`
		Threads  []thread          `json:"threads,omitempty"`
		Errors   []json.RawMessage `json:"errors,omitempty"`
	}
	if json.Unmarshal(raw, &in) != nil {
		return nil, raw
	}
	o.contacts = nil
	var odd []thread
	for _, t := range in.Threads {
		with := o.contact(string(t.ID), t.UserID, "")
		var left []json.RawMessage
		for _, raw := range t.Messages {
			e, ok := o.before(raw, with, ours)
			if !ok {
				left = append(left, raw)
				continue
			}
			source := e.Source
			u := o.update(e)
			u.Event.Source = source
			updates = append(updates, u)
		}
		if len(left) > 0 {
			odd = append(odd, thread{t.ID, t.UserID, left})
		}
	}
	if len(odd) > 0 || len(in.Errors) > 0 {
		in.Threads = odd
		rest = again(in)
	}
	return updates, rest
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

// fileBefore reads what a message of before holds, which came as a TypePlaceholder: its file
// follows in a webhook of its own. So the message is another now.
func (o *origin) fileBefore(raw []byte, ours string) (core.Event, bool) {
	var m struct {
		message
		To flexID `json:"to"`
	}
	_ = json.Unmarshal(raw, &m) // as far as it can be read
	who := m.From
	if phone(string(m.From)) == ours {
		who = m.To
	}
	with := o.contact(string(who), m.FromUserID, m.FromParentUserID)
	if !usableID(m.ID) || with == nil || m.file() == nil || m.file().ID == "" {
		return core.Event{}, false
	}
	e, ok := o.before(raw, with, ours)
	e.ID, e.Kind, e.Author = m.ID+":file", core.KindMessageEdited, ""
	return e, ok
}
