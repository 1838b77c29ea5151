package whatsapp

import (
	"encoding/json"
	"slices"

	"github.com/wabridge/wabridge/core"
)

// On one number our app and another, such as Meta Business Agent, may take turns: one
// has the conversation, and the other is told.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/standby
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messaging-handovers

// SourceStandby is the [core.Event.Source] of what another app sent.
const SourceStandby = "standby"

// standby reads what goes on in conversations that another app has.
func (o *origin) standby(fields map[string]json.RawMessage) ([]Update, bool) {
	var in map[string]json.RawMessage
	if json.Unmarshal(fields[fieldStandby], &in) != nil {
		return nil, false
	}
	updates := o.parseValue(nil, without(in, "message_echoes"))
	if _, ok := elements(in["message_echoes"]); !ok {
		return nil, false
	}
	sent, odd := o.each(in, "message_echoes", o.sentByOther)
	updates = append(updates, sent...)
	if len(updates) == 0 {
		return nil, false
	}
	if len(odd) > 0 {
		of := again(map[string][]json.RawMessage{"message_echoes": odd})
		updates = append(updates, o.left(fieldStandby, map[string]json.RawMessage{fieldStandby: of}, "", nil)...)
	}
	for i := range updates {
		updates[i].Event.Standby = true
	}
	return updates, true
}

func without(fields map[string]json.RawMessage, name string) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(fields))
	for k, v := range fields {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// sentByOther reads what another app sent: the body of its request.
func (o *origin) sentByOther(raw []byte) (core.Event, bool) {
	var echo struct {
		ID        string   `json:"id"`
		Timestamp flexTime `json:"timestamp"`
		Message   struct {
			message
			To        flexID `json:"to"`
			Recipient string `json:"recipient"`
			Context   *struct {
				ID string `json:"message_id"`
			} `json:"context"`
			Interactive json.RawMessage `json:"interactive"`
			Template    *struct {
				Name     string `json:"name"`
				Language struct {
					Code string `json:"code"`
				} `json:"language"`
				Components json.RawMessage `json:"components"`
			} `json:"template"`
		} `json:"message"`
	}
	_ = json.Unmarshal(raw, &echo) // as far as it can be read
	m := &echo.Message
	c := o.contact(string(m.To), m.Recipient, "")
	if !usableID(echo.ID) || c == nil {
		return core.Event{}, false
	}
	out := m.content()
	out.ID, out.Direction, out.To, out.Interactive = echo.ID, core.Outbound, reachedAt(c), given(m.Interactive)
	if m.Context != nil {
		out.Context = &core.MessageContext{ID: m.Context.ID}
	}
	if t := m.Template; t != nil {
		out.Template = &core.Template{Name: t.Name, Language: t.Language.Code, Components: given(t.Components)}
	}
	if len(out.Interactive) > 0 {
		var shown struct {
			Body struct {
				Text string `json:"text"`
			} `json:"body"`
		}
		_ = json.Unmarshal(out.Interactive, &shown)
		out.Text = shown.Body.Text
	}
	return core.Event{
		ID: echo.ID, Kind: core.KindMessageSent, Time: echo.Timestamp.Time, Source: SourceStandby, Contact: c, Message: out, Raw: slices.Clone(raw),
	}, true
}

// handover reads that another app gave us a conversation, or took it.
func (o *origin) handover(value []byte) ([]Update, bool) {
	type side struct {
		Phone   flexID `json:"phone_number"`
		WaID    flexID `json:"wa_id"`
		UserID  string `json:"user_id"`
		Number  flexID `json:"phone_number_id"`
		Display string `json:"display_phone_number"`
	}
	var v struct {
		Type      string   `json:"type"`
		Sender    side     `json:"sender"`
		Recipient side     `json:"recipient"`
		Timestamp flexTime `json:"timestamp"`
	}
	if json.Unmarshal(value, &v) != nil || v.Type != "control_passed" && v.Type != "control_taken" {
		return nil, false
	}
	if o.number == "" {
		o.number = string(v.Recipient.Number)
	}
	who := string(v.Sender.Phone)
	if who == "" {
		who = string(v.Sender.WaID)
	}
	c := o.contact(who, v.Sender.UserID, "")
	if c == nil || o.number == "" {
		return nil, false
	}
	at := v.Timestamp
	if at.IsZero() {
		_ = at.UnmarshalJSON(o.entry.Time)
	}
	// Who gets control is told that it was passed, who loses it that it was taken.
	return []Update{o.update(core.Event{
		ID: hashID(o.waba(), fieldHandovers, value, o.entry.Time), Kind: core.KindThreadMoved, Time: at.Time, Contact: c,
		Standby: v.Type == "control_taken", Raw: slices.Clone(value),
	})}, true
}
