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

type textPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// interactive is what is checked of interactive objects.
type interactive struct {
	Type   string    `json:"type"`
	Header *textPart `json:"header"`
	Body   *textPart `json:"body"`
	Footer *textPart `json:"footer"`
	Action *action   `json:"action"`
}

type action struct {
	Button  string `json:"button"`
	Name    string `json:"name"`
	Buttons []struct {
		Type  string `json:"type"`
		Reply struct {
			ID    string `json:"id"`
			Title string `json:"title"`
		} `json:"reply"`
	} `json:"buttons"`
	Sections []struct {
		Title string `json:"title"`
		Rows  []struct {
			ID          string `json:"id"`
			Title       string `json:"title"`
			Description string `json:"description"`
		} `json:"rows"`
	} `json:"sections"`
	Parameters struct {
		DisplayText string `json:"display_text"`
		URL         string `json:"url"`
	} `json:"parameters"`
}

func checkInteractive(raw json.RawMessage, m *message) *graphError {
	var i interactive
	if err := json.Unmarshal(raw, &i); err != nil {
		return invalid("Param interactive is not valid: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if i.Type == "" || i.Action == nil {
		return invalid("The parameters interactive['type'] and interactive['action'] are required.")
	}
	bodyLimit := 1024
	if i.Type == "list" {
		bodyLimit = 4096
	}
	if i.Body == nil || i.Body.Text == "" {
		if i.Type != "product" { // the one kind that may go without
			return invalid("The parameter interactive['body']['text'] is required.")
		}
	} else if err := atMost("interactive['body']['text']", i.Body.Text, bodyLimit); err != nil {
		return err
	} else {
		m.Text = i.Body.Text
	}
	if i.Footer != nil {
		if err := atMost("interactive['footer']['text']", i.Footer.Text, 60); err != nil {
			return err
		}
	}
	if i.Header != nil {
		if err := atMost("interactive['header']['text']", i.Header.Text, 60); err != nil {
			return err
		}
	}
	switch i.Type {
	case "button":
		return checkButtons(i.Action)
	case "list":
		return checkList(i.Action)
	case "cta_url":
		p := i.Action.Parameters
		return first(required("interactive['action']['parameters']['display_text']", p.DisplayText),
			required("interactive['action']['parameters']['url']", p.URL),
			atMost("interactive['action']['parameters']['display_text']", p.DisplayText, 20))
	case "location_request_message", "flow", "product", "product_list", "catalog_message", "carousel", "address_message",
		"call_permission_request", "contact_request", "order_details", "order_status", "voice_call":
		return nil
	}
	return wrongValue("interactive type %q is not supported", i.Type)
}

func checkButtons(a *action) *graphError {
	if n := len(a.Buttons); n < 1 || n > 3 {
		return wrongValue("Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: 3")
	}
	ids := map[string]bool{}
	for _, b := range a.Buttons {
		if b.Type != "reply" {
			return wrongValue("Button type must be reply")
		}
		if ids[b.Reply.ID] {
			return wrongValue("Duplicated button id %q", b.Reply.ID)
		}
		ids[b.Reply.ID] = true
		if err := first(required("button reply id", b.Reply.ID), required("button reply title", b.Reply.Title),
			atMost("button reply id", b.Reply.ID, 256), atMost("button reply title", b.Reply.Title, 20)); err != nil {
			return err
		}
	}
	return nil
}

func checkList(a *action) *graphError {
	if err := first(required("interactive['action']['button']", a.Button), atMost("interactive['action']['button']", a.Button, 20)); err != nil {
		return err
	}
	if n := len(a.Sections); n < 1 || n > 10 {
		return wrongValue("Invalid sections count. Min allowed: 1, Max allowed: 10")
	}
	rows, ids := 0, map[string]bool{}
	for _, section := range a.Sections {
		if section.Title == "" && len(a.Sections) > 1 {
			return invalid("The parameter section title is required when there is more than one section.")
		}
		if err := atMost("section title", section.Title, 24); err != nil {
			return err
		}
		for _, row := range section.Rows {
			rows++
			if ids[row.ID] {
				return wrongValue("Duplicated row id %q", row.ID)
			}
			ids[row.ID] = true
			if err := first(required("row id", row.ID), required("row title", row.Title), atMost("row id", row.ID, 200),
				atMost("row title", row.Title, 24), atMost("row description", row.Description, 72)); err != nil {
				return err
			}
		}
	}
	if rows < 1 || rows > 10 {
		return wrongValue("Total row count exceed max allowed count: 10")
	}
	return nil
}
