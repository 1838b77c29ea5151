package whatsappsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strings"
	"unicode/utf8"
)

// contents checks what a message says against the limits of Meta's pages, and
// notes it for the ledger.
func (s *Sim) contents(b *sendBody, m *message) *graphError {
	objects := map[string]json.RawMessage{
		"text": b.Text, "image": b.Image, "audio": b.Audio, "video": b.Video, "document": b.Document, "sticker": b.Sticker,
		"location": b.Location, "contacts": b.Contacts, "reaction": b.Reaction, "interactive": b.Interactive, "template": b.Template,
	}
	object, known := objects[m.Type]
	// Graph reads a parameter that is a text as JSON: a maintained client sends contacts so.
	if quoted := ""; len(object) > 0 && object[0] == '"' && json.Unmarshal(object, &quoted) == nil && json.Valid([]byte(quoted)) {
		object = json.RawMessage(quoted)
	}
	if !known {
		return invalid("Param type must be one of {AUDIO, CONTACTS, DOCUMENT, IMAGE, INTERACTIVE, LOCATION, REACTION, STICKER, TEMPLATE, TEXT, VIDEO} - got %q.", m.Type)
	}
	for name, o := range objects {
		if name != m.Type && len(o) > 0 {
			return invalid("Unexpected key %q on a message of type %s", name, m.Type)
		}
	}
	if len(object) == 0 {
		return errorOf(131008, fmt.Sprintf("Parameter '%s' is mandatory for type '%s'", m.Type, m.Type))
	}
	m.object = object
	switch m.Type {
	case "text":
		return checkText(object, m)
	case "image", "audio", "video", "document", "sticker":
		return checkMedia(object, m)
	case "location":
		return checkLocation(object, m)
	case "contacts":
		return checkContacts(object, m)
	case "reaction":
		return checkReaction(object, m)
	case "interactive":
		return checkInteractive(object, m)
	}
	return s.checkTemplate(object, m)
}

// decode decodes an object of a message; fields that Meta does not know are refused.
func decode(name string, raw json.RawMessage, v any) *graphError {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return invalid("Param %s: %s", name, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func required(name, value string) *graphError {
	if value == "" {
		return invalid("The parameter %s is required.", name)
	}
	return nil
}

func atMost(name, value string, limit int) *graphError {
	if utf8.RuneCountInString(value) > limit {
		return invalid("Param %s must be at most %d characters long.", name, limit)
	}
	return nil
}

// first returns the first that is not nil.
func first(errs ...*graphError) *graphError {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func checkText(raw json.RawMessage, m *message) *graphError {
	var o struct {
		Body    string `json:"body"`
		Preview bool   `json:"preview_url"`
	}
	if err := decode("text", raw, &o); err != nil {
		return err
	}
	m.Text = o.Body
	return first(required("text['body']", o.Body), atMost("text['body']", o.Body, 4096))
}

func checkMedia(raw json.RawMessage, m *message) *graphError {
	var o struct {
		ID       string `json:"id"`
		Link     string `json:"link"`
		Caption  string `json:"caption"`
		Filename string `json:"filename"`
		Voice    bool   `json:"voice"`
		Provider string `json:"provider"`
	}
	if err := decode(m.Type, raw, &o); err != nil {
		return err
	}
	m.Text, m.file = o.Caption, o.ID
	switch {
	case (o.ID == "") == (o.Link == ""):
		return invalid("Param %s: either id or link is required, not both", m.Type)
	case o.Link != "" && !isWebAddress(o.Link):
		return wrongValue("%s link must be a valid http(s) URL", m.Type)
	case o.Caption != "" && (m.Type == "audio" || m.Type == "sticker"):
		return invalid("Unexpected key \"caption\" on param %q", m.Type)
	case o.Filename != "" && m.Type != "document":
		return invalid("Unexpected key \"filename\" on param %q", m.Type)
	case o.Voice && m.Type != "audio":
		return invalid("Unexpected key \"voice\" on param %q", m.Type)
	}
	return atMost(m.Type+"['caption']", o.Caption, 1024)
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// degrees are a number, or a string of one: the vendor's examples have both.
type degrees float64

// UnmarshalJSON implements [json.Unmarshaler].
func (d *degrees) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(bytes.Trim(b, `"`), (*float64)(d))
}

func checkLocation(raw json.RawMessage, m *message) *graphError {
	var o struct {
		Latitude  *degrees `json:"latitude"`
		Longitude *degrees `json:"longitude"`
		Name      string   `json:"name"`
		Address   string   `json:"address"`
	}
	if err := decode("location", raw, &o); err != nil {
		return err
	}
	m.Text = o.Name
	switch {
	case o.Latitude == nil || o.Longitude == nil:
		return invalid("The parameters location['latitude'] and location['longitude'] are required.")
	case math.Abs(float64(*o.Latitude)) > 90 || math.Abs(float64(*o.Longitude)) > 180:
		return wrongValue("location is not on earth")
	}
	return nil
}

func checkContacts(raw json.RawMessage, m *message) *graphError {
	var cards []struct {
		Name *struct {
			Formatted string `json:"formatted_name"`
		} `json:"name"`
	}
	if err := json.Unmarshal(raw, &cards); err != nil {
		return invalid("Param contacts must be an array.")
	}
	if len(cards) == 0 || len(cards) > 257 {
		return wrongValue("contacts must have 1 to 257 elements")
	}
	for i, c := range cards {
		if c.Name == nil || c.Name.Formatted == "" {
			return invalid("The parameter contacts[%d]['name']['formatted_name'] is required.", i)
		}
	}
	m.Text = cards[0].Name.Formatted
	return nil
}

func checkReaction(raw json.RawMessage, m *message) *graphError {
	var o struct {
		MessageID string  `json:"message_id"`
		Emoji     *string `json:"emoji"`
	}
	if err := decode("reaction", raw, &o); err != nil {
		return err
	}
	if o.Emoji == nil {
		return invalid("The parameter reaction['emoji'] is required.")
	}
	m.Text, m.Context = *o.Emoji, o.MessageID
	return required("reaction['message_id']", o.MessageID)
}
