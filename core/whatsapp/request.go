package whatsapp

import (
	"encoding/json"
	"strconv"

	"github.com/wabridge/wabridge/core"
)

// request is the body of POST /{phone_number_id}/messages.
type request struct {
	Product       string          `json:"messaging_product"`
	RecipientType string          `json:"recipient_type,omitempty"`
	To            string          `json:"to,omitempty"`
	Recipient     string          `json:"recipient,omitempty"`
	Type          string          `json:"type,omitempty"`
	Context       *replyTo        `json:"context,omitempty"`
	Text          *text           `json:"text,omitempty"`
	Image         *media          `json:"image,omitempty"`
	Audio         *media          `json:"audio,omitempty"`
	Video         *media          `json:"video,omitempty"`
	Document      *media          `json:"document,omitempty"`
	Sticker       *media          `json:"sticker,omitempty"`
	Location      *location       `json:"location,omitempty"`
	Contacts      json.RawMessage `json:"contacts,omitempty"`
	Reaction      *reaction       `json:"reaction,omitempty"`
	Interactive   json.RawMessage `json:"interactive,omitempty"`
	Template      *template       `json:"template,omitempty"`
	Opaque        string          `json:"biz_opaque_callback_data,omitempty"`
	// Status and MessageID mark a message as read.
	Status    string `json:"status,omitempty"`
	MessageID string `json:"message_id,omitempty"`
	// Typing shows with it that somebody is typing.
	Typing *typing `json:"typing_indicator,omitempty"`
}

type (
	typing struct {
		Type string `json:"type"`
	}
	replyTo struct {
		MessageID string `json:"message_id"`
	}
	text struct {
		Body       string `json:"body"`
		PreviewURL bool   `json:"preview_url"`
	}
	media struct {
		ID       string `json:"id,omitempty"`
		Link     string `json:"link,omitempty"`
		Caption  string `json:"caption,omitempty"`
		Filename string `json:"filename,omitempty"`
		Voice    bool   `json:"voice,omitempty"`
	}
	location struct {
		Latitude  string `json:"latitude"` // Meta's own requests have texts, its webhooks numbers
		Longitude string `json:"longitude"`
		Name      string `json:"name,omitempty"`
		Address   string `json:"address,omitempty"`
	}
	reaction struct {
		MessageID string `json:"message_id"`
		Emoji     string `json:"emoji"` // "" takes the reaction back
	}
	template struct {
		Name       string          `json:"name"`
		Language   language        `json:"language"`
		Components json.RawMessage `json:"components,omitempty"`
	}
	language struct {
		Code string `json:"code"`
	}
)

// newRequest writes a message that Validate found good in the Cloud API's words.
func newRequest(m *core.Message, opaque string) *request {
	if m.Type == core.TypeRead {
		r := &request{Product: "whatsapp", Status: "read", MessageID: m.Context.ID}
		if m.Typing {
			r.Typing = &typing{"text"}
		}
		return r
	}
	r := &request{Product: "whatsapp", RecipientType: "individual", Type: string(m.Type), Opaque: opaque}
	r.address(m.To)
	if m.Context != nil && m.Context.ID != "" && m.Type != core.TypeReaction {
		r.Context = &replyTo{m.Context.ID}
	}
	switch m.Type {
	case core.TypeText:
		r.Text = &text{m.Text, m.PreviewURL}
	case core.TypeImage:
		r.Image = newMedia(m)
	case core.TypeAudio:
		r.Audio = newMedia(m)
	case core.TypeVideo:
		r.Video = newMedia(m)
	case core.TypeDocument:
		r.Document = newMedia(m)
	case core.TypeSticker:
		r.Sticker = newMedia(m)
	case core.TypeLocation:
		l := m.Location
		r.Location = &location{degrees(l.Latitude), degrees(l.Longitude), l.Name, l.Address}
	case core.TypeContacts:
		r.Contacts = m.Contacts
	case core.TypeReaction:
		r.Reaction = &reaction{m.Reaction.MessageID, m.Reaction.Emoji}
	case core.TypeInteractive:
		r.Interactive = m.Interactive
	case core.TypeTemplate:
		t := m.Template
		r.Template = &template{t.Name, language{t.Language}, m.TemplateComponents()}
	}
	return r
}

// address says where the message goes: a phone number always with its +, or Meta
// puts the business's own country code before it; a business-scoped user id in a
// field of its own, or Meta takes its digits for a phone number.
func (r *request) address(to core.Address) {
	switch to.Kind {
	case core.AddressPhone:
		r.To = to.Value
	case core.AddressBSUID:
		r.Recipient = to.Value
	}
}

func degrees(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func newMedia(m *core.Message) *media {
	out := &media{ID: m.Media.ID, Link: m.Media.Link, Caption: m.Text}
	switch m.Type {
	case core.TypeDocument:
		out.Filename = m.Media.Filename
	case core.TypeAudio:
		out.Voice = m.Media.Voice
	}
	return out
}
