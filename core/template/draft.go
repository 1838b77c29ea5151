package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Draft is a template as people write it: what their settings say of one, with
// examples. See [Draft.Definition].
type Draft struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	// Category is "marketing", "utility" or "authentication".
	Category string      `json:"category"`
	Header   DraftHeader `json:"header,omitzero"`
	Body     string      `json:"body,omitempty"`
	Footer   string      `json:"footer,omitempty"`
	// Examples are values of the body's variables.
	Examples Examples      `json:"examples,omitzero"`
	Buttons  []DraftButton `json:"buttons,omitempty"`
	// TTL is for how many seconds WhatsApp tries to deliver.
	TTL int `json:"ttl,omitempty"`
	// Components, in the Cloud API's words, say what the above cannot: they replace
	// header, body, footer and buttons.
	Components []Component `json:"components,omitempty"`
	// Params and Topics are there because settings have them: what the body says is
	// what counts.
	Params any      `json:"params,omitempty"`
	Topics []string `json:"topics,omitempty"`
}

// DraftHeader is a header: a text alone, or an object.
type DraftHeader struct {
	Format  string `json:"format,omitempty"` // "text" when it has one
	Text    string `json:"text,omitempty"`
	Example string `json:"example,omitempty"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (h *DraftHeader) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte(`"`)) {
		return json.Unmarshal(b, &h.Text)
	}
	type plain DraftHeader
	return strictly("header", b, (*plain)(h))
}

// DraftButton is a button: the label of a quick reply, or an object.
type DraftButton struct {
	Type    string `json:"type,omitempty"` // "quick_reply" when it has none
	Text    string `json:"text,omitempty"`
	URL     string `json:"url,omitempty"`
	Phone   string `json:"phone,omitempty"`
	Example string `json:"example,omitempty"` // of the address, with what it ends with; or the code
	FlowID  string `json:"flow_id,omitempty"`
	Screen  string `json:"screen,omitempty"`
	OTPType string `json:"otp_type,omitempty"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *DraftButton) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte(`"`)) {
		return json.Unmarshal(b, &d.Text)
	}
	type plain DraftButton
	return strictly("buttons", b, (*plain)(d))
}

// Examples are values of variables: in their order, or by their names.
type Examples struct {
	InOrder []string
	Named   map[string]string
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *Examples) UnmarshalJSON(b []byte) error {
	err := json.Unmarshal(b, &e.InOrder)
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		err = json.Unmarshal(b, &e.Named)
	}
	if err != nil {
		return fmt.Errorf("examples: want a list of texts, or texts by the names of the variables")
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (e Examples) MarshalJSON() ([]byte, error) {
	if e.Named != nil {
		return json.Marshal(e.Named)
	}
	return json.Marshal(e.InOrder)
}

// strictly decodes an object and finds fault with names that it does not know.
func strictly(what string, b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %s", what, plainly(err))
	}
	return nil
}

// ParseDraft reads a draft from JSON; names that it does not know are mistakes.
func ParseDraft(raw []byte) (Draft, error) {
	var d Draft
	err := strictly("the template", raw, &d)
	return d, err
}

// Definition is the draft in Meta's form. It is not checked: see [Lint].
func (d *Draft) Definition() Definition {
	out := Definition{Name: d.Name, Language: d.Language, Category: strings.ToLower(d.Category), TTL: d.TTL}
	out.Components = slices.Clone(d.Components)
	if len(out.Components) == 0 {
		out.Components = d.components()
	}
	// A variable that is no number is a name.
	for _, c := range out.Components {
		for _, n := range Variables(c.Text) {
			if strings.Trim(n, "0123456789") != "" {
				out.Format = Named
			}
		}
	}
	if len(d.Components) == 0 {
		d.exemplify(&out)
	}
	return out
}

func (d *Draft) components() []Component {
	var out []Component
	if h := d.Header; h != (DraftHeader{}) {
		format := strings.ToUpper(h.Format)
		if format == "" {
			format = Text
		}
		out = append(out, Component{Type: Header, Format: format, Text: h.Text})
	}
	if d.Body != "" || strings.EqualFold(d.Category, "authentication") {
		out = append(out, Component{Type: Body, Text: d.Body})
	}
	if d.Footer != "" {
		out = append(out, Component{Type: Footer, Text: d.Footer})
	}
	if len(d.Buttons) > 0 {
		c := Component{Type: Buttons}
		for _, b := range d.Buttons {
			c.Buttons = append(c.Buttons, b.button())
		}
		out = append(out, c)
	}
	return out
}

func (d *DraftButton) button() Button {
	kind := strings.ToUpper(d.Type)
	switch {
	case kind != "":
	case d.URL != "":
		kind = URL
	case d.Phone != "":
		kind = PhoneNumber
	default:
		kind = QuickReply
	}
	out := Button{Type: kind, Text: d.Text, URL: d.URL, Phone: d.Phone, FlowID: d.FlowID, Screen: d.Screen, OTPType: d.OTPType}
	if d.FlowID != "" && d.Screen != "" {
		out.FlowAction = "navigate"
	}
	if d.Example != "" {
		out.Example = Texts{d.Example}
	}
	return out
}

// exemplify puts the examples where Meta wants them.
func (d *Draft) exemplify(out *Definition) {
	if h := out.Component(Header); h != nil && d.Header.Example != "" {
		names := Variables(h.Text)
		switch {
		case h.Format != Text:
			h.Example = &Example{HeaderHandle: []string{d.Header.Example}}
		case out.Named() && len(names) == 1:
			h.Example = &Example{HeaderNamed: []NamedExample{{Name: names[0], Value: d.Header.Example}}}
		default:
			h.Example = &Example{HeaderText: []string{d.Header.Example}}
		}
	}
	b := out.Component(Body)
	if b == nil {
		return
	}
	names := Variables(b.Text)
	switch {
	case out.Named():
		var all []NamedExample
		for i, n := range names {
			switch v, ok := d.Examples.Named[n]; {
			case ok:
				all = append(all, NamedExample{Name: n, Value: v})
			case i < len(d.Examples.InOrder):
				all = append(all, NamedExample{Name: n, Value: d.Examples.InOrder[i]})
			}
		}
		if len(all) > 0 {
			b.Example = &Example{BodyNamed: all}
		}
	case len(d.Examples.InOrder) > 0:
		b.Example = &Example{BodyText: [][]string{d.Examples.InOrder}}
	}
}
