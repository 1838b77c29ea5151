package core

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TemplateHeader is what a template's header holds: one of its fields.
type TemplateHeader struct {
	// Text is the value of its variable: a text, or an object with one name.
	Text     json.RawMessage  `json:"text,omitempty"`
	Image    *TemplateFile    `json:"image,omitempty"`
	Video    *TemplateFile    `json:"video,omitempty"`
	Document *TemplateFile    `json:"document,omitempty"`
	Location *Location        `json:"location,omitempty"`
	Product  *TemplateProduct `json:"product,omitempty"`
}

// TemplateFile is a file: its id at WhatsApp, an address that WhatsApp fetches, or the hash
// of a file that was put to the bridge.
type TemplateFile struct {
	ID       string `json:"id,omitempty"`
	Link     string `json:"link,omitempty"`
	Hash     string `json:"hash,omitempty"`
	Filename string `json:"filename,omitempty"`
}

// TemplateProduct is one of a catalog.
type TemplateProduct struct {
	ID      string `json:"product_retailer_id"`
	Catalog string `json:"catalog_id"`
}

// TemplateButton says what one button does: its index, which counts all of the
// template's buttons from 0, and one of the others.
type TemplateButton struct {
	Index int `json:"index"`
	// Payload comes back when a quick reply is pressed.
	Payload *string `json:"payload,omitempty"`
	// URL is what follows in an address, or an authentication's code; Code is to be
	// copied.
	URL  *string `json:"url,omitempty"`
	Code *string `json:"code,omitempty"`
	// Flow is a flow's token, FlowData what the flow begins with.
	Flow     *string         `json:"flow,omitempty"`
	FlowData json.RawMessage `json:"flow_data,omitempty"`
	// Catalog is the product whose picture a catalog's button shows.
	Catalog *string `json:"catalog,omitempty"`
}

// TemplateCard is what one card of a carousel holds.
type TemplateCard struct {
	Params  json.RawMessage  `json:"params,omitempty"`
	Header  *TemplateHeader  `json:"header,omitempty"`
	Buttons []TemplateButton `json:"buttons,omitempty"`
}

// Bounds of what is given in short, so that nothing is made of it without an end.
const (
	maxTemplateParams  = 100
	maxTemplateButtons = 10
	maxTemplateCards   = 10
)

// UnmarshalJSON implements json.Unmarshaler. It makes Components of what is said in
// short, see [Template.Expand].
func (t *Template) UnmarshalJSON(b []byte) error {
	type plain Template
	var in plain
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("template: %w", err)
	}
	*t = Template(in)
	if string(t.Components) == "null" {
		t.Components = nil
	}
	return t.Expand()
}

// Expand makes Components of Params, Header, Buttons, Cards and OfferEnds, which
// are then empty. The error says which of them cannot be.
func (t *Template) Expand() error {
	made, err := t.short()
	switch {
	case err != nil:
		return fmt.Errorf("template %.60q: %w", t.Name, err)
	case made != nil && len(t.Components) > 0:
		return fmt.Errorf("template %.60q: components, or params, header, buttons, cards and offer_ends, not both", t.Name)
	}
	t.Params, t.Header, t.Buttons, t.Cards, t.OfferEnds = nil, nil, nil, nil, time.Time{}
	if made != nil {
		t.Components, err = json.Marshal(made)
	}
	return err
}

// TemplateComponents is what a template message holds, as WhatsApp takes it: with the file
// that it is sent with (Media) as its header, and the ids of those that it names by their hash.
func (m *Message) TemplateComponents() json.RawMessage {
	components := m.Template.sent()
	if m.Media == nil || m.Template == nil {
		return components
	}
	file := &TemplateFile{ID: cmp.Or(m.Media.ID, m.Media.Hash)} // the hash until it is at WhatsApp
	p := templateParameter{Type: "document"}
	switch kind, _, _ := strings.Cut(m.Media.MIMEType, "/"); kind {
	case "image":
		p.Type, p.Image = kind, file
	case "video":
		p.Type, p.Video = kind, file
	default:
		p.Document, file.Filename = file, m.Media.Filename
	}
	header, err := json.Marshal(templateComponent{Type: "header", Parameters: []templateParameter{p}})
	var others []json.RawMessage
	if err != nil || len(components) > 0 && json.Unmarshal(components, &others) != nil {
		return components
	}
	all, err := json.Marshal(slices.Insert(others, 0, json.RawMessage(header)))
	if err != nil {
		return components
	}
	return all
}

// The Cloud API's words.
type (
	templateComponent struct {
		Type       string              `json:"type"`
		SubType    string              `json:"sub_type,omitempty"`
		Index      string              `json:"index,omitempty"`
		Parameters []templateParameter `json:"parameters,omitempty"`
		Cards      []templateCardParts `json:"cards,omitempty"`
	}
	templateCardParts struct {
		Index      int                 `json:"card_index"`
		Components []templateComponent `json:"components"`
	}
	templateParameter struct {
		Type     string           `json:"type"`
		Name     string           `json:"parameter_name,omitempty"`
		Text     *string          `json:"text,omitempty"`
		Image    *TemplateFile    `json:"image,omitempty"`
		Video    *TemplateFile    `json:"video,omitempty"`
		Document *TemplateFile    `json:"document,omitempty"`
		Location *templatePlace   `json:"location,omitempty"`
		Product  *TemplateProduct `json:"product,omitempty"`
		Payload  *string          `json:"payload,omitempty"`
		Coupon   *string          `json:"coupon_code,omitempty"`
		Action   map[string]any   `json:"action,omitempty"`
		Offer    *templateOffer   `json:"limited_time_offer,omitempty"`
	}
	templatePlace struct {
		Latitude  string `json:"latitude"`
		Longitude string `json:"longitude"`
		Name      string `json:"name,omitempty"`
		Address   string `json:"address,omitempty"`
	}
	templateOffer struct {
		Ends int64 `json:"expiration_time_ms"`
	}
)

// short returns what is said in short in the Cloud API's words, nil when there is
// nothing.
func (t *Template) short() ([]templateComponent, error) {
	out, err := templateParts(t.Header, t.Params, t.Buttons)
	if err != nil {
		return nil, err
	}
	if !t.OfferEnds.IsZero() {
		out = append(out, templateComponent{Type: "limited_time_offer", Parameters: []templateParameter{
			{Type: "limited_time_offer", Offer: &templateOffer{t.OfferEnds.UnixMilli()}},
		}})
	}
	if len(t.Cards) == 0 {
		return out, nil
	}
	if len(t.Cards) > maxTemplateCards {
		return nil, fmt.Errorf("it has %d cards, more than %d", len(t.Cards), maxTemplateCards)
	}
	all := templateComponent{Type: "carousel"}
	for i, c := range t.Cards {
		parts, err := templateParts(c.Header, c.Params, c.Buttons)
		if err != nil {
			return nil, fmt.Errorf("cards[%d]: %w", i, err)
		}
		all.Cards = append(all.Cards, templateCardParts{Index: i, Components: parts})
	}
	return append(out, all), nil
}

func templateParts(header *TemplateHeader, params json.RawMessage, buttons []TemplateButton) ([]templateComponent, error) {
	var out []templateComponent
	if header != nil {
		p, err := header.parameter()
		if err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
		out = append(out, templateComponent{Type: "header", Parameters: []templateParameter{p}})
	}
	body, err := templateTexts(params)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		out = append(out, templateComponent{Type: "body", Parameters: body})
	}
	if len(buttons) > maxTemplateButtons {
		return nil, fmt.Errorf("it has %d buttons, more than %d", len(buttons), maxTemplateButtons)
	}
	for i, b := range buttons {
		c, err := b.component()
		if err != nil {
			return nil, fmt.Errorf("buttons[%d]: %w", i, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// templateTexts reads texts in a list, or by their names.
func templateTexts(raw json.RawMessage) ([]templateParameter, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var list []string
	var named map[string]string
	var out []templateParameter
	switch {
	case json.Unmarshal(raw, &list) == nil:
		for i := range list {
			out = append(out, templateParameter{Type: "text", Text: &list[i]})
		}
	case json.Unmarshal(raw, &named) == nil:
		for _, name := range slices.Sorted(maps.Keys(named)) {
			text := named[name]
			out = append(out, templateParameter{Type: "text", Name: name, Text: &text})
		}
	default:
		return nil, fmt.Errorf("its params are texts, in a list or by name")
	}
	if len(out) > maxTemplateParams {
		return nil, fmt.Errorf("it has %d params, more than %d", len(out), maxTemplateParams)
	}
	for _, p := range out {
		if why := unfitParam(*p.Text); why != "" {
			return nil, fmt.Errorf("the param %.40q %s", *p.Text, why)
		}
	}
	return out, nil
}

// unfitParam says what of a value Meta refuses: a variable holds no line breaks, tabs
// or more than four spaces in a row, and is not empty.
func unfitParam(s string) string {
	switch {
	case strings.TrimSpace(s) == "":
		return "is empty"
	case strings.ContainsAny(s, "\n\r\t"):
		return "has line breaks or tabs, which WhatsApp refuses"
	case strings.Contains(s, "     "):
		return "has more than four spaces in a row, which WhatsApp refuses"
	}
	return ""
}

// FitParam makes a text fit to be the value of a template's variable, which holds no
// line breaks, tabs or more than four spaces in a row.
func FitParam(s string) string { return strings.Join(strings.Fields(s), " ") }

func (h *TemplateHeader) parameter() (templateParameter, error) {
	var all []templateParameter
	texts := h.Text
	if len(texts) > 0 && texts[0] == '"' {
		texts = slices.Concat([]byte("["), texts, []byte("]"))
	}
	text, err := templateTexts(texts)
	if err != nil {
		return templateParameter{}, err
	}
	all = append(all, text...)
	for kind, f := range map[string]*TemplateFile{"image": h.Image, "video": h.Video, "document": h.Document} {
		if f == nil {
			continue
		}
		n := 0
		for _, by := range []string{f.ID, f.Link, f.Hash} {
			n += min(1, len(by))
		}
		if n != 1 {
			return templateParameter{}, fmt.Errorf("the %s must have one of an id or a link, or the hash of a file that was put here", kind)
		}
		p := templateParameter{Type: kind}
		switch kind {
		case "image":
			p.Image = f
		case "video":
			p.Video = f
		default:
			p.Document = f
		}
		all = append(all, p)
	}
	if l := h.Location; l != nil {
		degrees := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
		all = append(all, templateParameter{Type: "location",
			Location: &templatePlace{degrees(l.Latitude), degrees(l.Longitude), l.Name, l.Address}})
	}
	if h.Product != nil {
		all = append(all, templateParameter{Type: "product", Product: h.Product})
	}
	if len(all) != 1 {
		return templateParameter{}, fmt.Errorf("wants one of text, image, video, document, location and product, not %d", len(all))
	}
	return all[0], nil
}

func (b *TemplateButton) component() (templateComponent, error) {
	c := templateComponent{Type: "button", Index: strconv.Itoa(b.Index)}
	n := 0
	add := func(kind string, p templateParameter) {
		n++
		c.SubType, c.Parameters = kind, []templateParameter{p}
	}
	if b.Payload != nil {
		add("quick_reply", templateParameter{Type: "payload", Payload: b.Payload})
	}
	if b.URL != nil {
		add("url", templateParameter{Type: "text", Text: b.URL})
	}
	if b.Code != nil {
		add("copy_code", templateParameter{Type: "coupon_code", Coupon: b.Code})
	}
	if b.Flow != nil {
		action := map[string]any{"flow_token": *b.Flow}
		if len(b.FlowData) > 0 {
			action["flow_action_data"] = b.FlowData
		}
		add("flow", templateParameter{Type: "action", Action: action})
	}
	if b.Catalog != nil {
		add("catalog", templateParameter{Type: "action", Action: map[string]any{"thumbnail_product_retailer_id": *b.Catalog}})
	}
	switch {
	case n != 1:
		return c, fmt.Errorf("wants one of payload, url, code, flow and catalog, not %d", n)
	case b.Index < 0 || b.Index >= maxTemplateButtons:
		return c, fmt.Errorf("its index is 0 to %d, not %d", maxTemplateButtons-1, b.Index)
	}
	return c, nil
}
