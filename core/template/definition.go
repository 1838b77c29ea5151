// Package template knows what WhatsApp's message templates are made of, as
// arithmetic: what a definition asks for, whether a message fits it, and whether
// WhatsApp would take a new one. It asks nobody and stores nothing.
//
// Meta's rules are those of its pages on template components:
// https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates/components
package template

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// The types of components, in Meta's words.
const (
	Header   = "HEADER"
	Body     = "BODY"
	Footer   = "FOOTER"
	Buttons  = "BUTTONS"
	Carousel = "CAROUSEL"
)

// The formats of a header, in Meta's words.
const (
	Text     = "TEXT"
	Image    = "IMAGE"
	Video    = "VIDEO"
	Document = "DOCUMENT"
	Location = "LOCATION"
)

// The types of buttons that have rules of their own, in Meta's words.
const (
	QuickReply  = "QUICK_REPLY"
	URL         = "URL"
	PhoneNumber = "PHONE_NUMBER"
	CopyCode    = "COPY_CODE"
	Flow        = "FLOW"
	Catalog     = "CATALOG"
	OTP         = "OTP"
)

// Named is the Definition.Format of templates whose variables have names; any other
// counts them.
const Named = "NAMED"

// Definition is one template in one language. But for the category, its words are
// Meta's. It must not be changed by more than one goroutine.
type Definition struct {
	// ID is Meta's own; "" of one that is not made yet.
	ID       string `json:"id,omitempty"`
	Name     string `json:"name"`
	Language string `json:"language"`
	// Category is "marketing", "utility" or "authentication".
	Category string `json:"category"`
	// Format is "NAMED" or "POSITIONAL"; "" is the latter.
	Format     string      `json:"parameter_format,omitempty"`
	Components []Component `json:"components"`
	// TTL is for how many seconds WhatsApp tries to deliver its messages: 0 is as long
	// as it does by itself.
	TTL int `json:"message_send_ttl_seconds,omitempty"`
}

// Component is a part of a template.
type Component struct {
	Type    string   `json:"type"`
	Format  string   `json:"format,omitempty"` // of a header
	Text    string   `json:"text,omitempty"`
	Example *Example `json:"example,omitempty"`
	Buttons []Button `json:"buttons,omitempty"`
	Cards   []Card   `json:"cards,omitempty"`
	// SecurityRecommendation and ExpirationMinutes are of authentication templates,
	// whose texts are Meta's own.
	SecurityRecommendation bool `json:"add_security_recommendation,omitempty"`
	ExpirationMinutes      int  `json:"code_expiration_minutes,omitempty"`
}

// Card is one of a carousel's.
type Card struct {
	Components []Component `json:"components"`
}

// Example has a value for each variable, which Meta's reviewers see.
type Example struct {
	HeaderText   []string       `json:"header_text,omitempty"`
	HeaderNamed  []NamedExample `json:"header_text_named_params,omitempty"`
	HeaderHandle []string       `json:"header_handle,omitempty"`
	BodyText     [][]string     `json:"body_text,omitempty"`
	BodyNamed    []NamedExample `json:"body_text_named_params,omitempty"`
}

// NamedExample is the value of a variable that has a name.
type NamedExample struct {
	Name  string `json:"param_name"`
	Value string `json:"example"`
}

// Button is one of a template's.
type Button struct {
	Type    string `json:"type"`
	Text    string `json:"text,omitempty"`
	URL     string `json:"url,omitempty"`
	Phone   string `json:"phone_number,omitempty"`
	Example Texts  `json:"example,omitempty"`
	// FlowID, FlowAction and Screen are of a flow's button, OTPType is of an
	// authentication template's.
	FlowID     string `json:"flow_id,omitempty"`
	FlowAction string `json:"flow_action,omitempty"`
	Screen     string `json:"navigate_screen,omitempty"`
	OTPType    string `json:"otp_type,omitempty"`
}

// MarshalJSON implements [json.Marshaler]. Meta's pages have the example of a code that is
// copied as a text, and that of an address in a list.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/marketing-templates/coupon-templates
func (b Button) MarshalJSON() ([]byte, error) {
	type plain Button
	if !strings.EqualFold(b.Type, CopyCode) || len(b.Example) != 1 {
		return json.Marshal(plain(b))
	}
	code := struct {
		plain
		Example string `json:"example"`
	}{plain(b), b.Example[0]}
	return json.Marshal(code)
}

// Texts are one text or several: Meta has an example in both forms.
type Texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Texts) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		*t = Texts{""}
		return json.Unmarshal(b, &(*t)[0])
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// Component returns the first component of a type, nil when there is none.
func (d *Definition) Component(kind string) *Component { return find(d.Components, kind) }

func find(components []Component, kind string) *Component {
	i := slices.IndexFunc(components, func(c Component) bool { return strings.EqualFold(c.Type, kind) })
	if i < 0 {
		return nil
	}
	return &components[i]
}

// HeaderFormat returns the format of the template's header, "" when it has none.
func (d *Definition) HeaderFormat() string {
	if h := d.Component(Header); h != nil {
		return strings.ToUpper(h.Format)
	}
	return ""
}

// Named reports whether the template's variables have names.
func (d *Definition) Named() bool { return strings.EqualFold(d.Format, Named) }

// Variables returns the variables of the template's body, as they come first: their
// names, or "1", "2", …. A message has a value for each.
func (d *Definition) Variables() []string {
	if b := d.Component(Body); b != nil {
		return Variables(b.Text)
	}
	return nil
}

// variable is one as texts have it.
var variable = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)

// Variables returns the names of the variables in a text, each once, as they come.
func Variables(text string) []string {
	var out []string
	for _, m := range variable.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

// Fill puts values in the places of a text's variables; those that have none stay.
func Fill(text string, values map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(s string) string {
		if v, ok := values[variable.FindStringSubmatch(s)[1]]; ok {
			return v
		}
		return s
	})
}

// Same reports whether two definitions say the same to whoever reads the message:
// what only one side writes down (examples, ids, a category that Meta has changed)
// does not count.
func Same(a, b *Definition) bool {
	return a.Name == b.Name && a.Language == b.Language && bytes.Equal(essence(a.Components), essence(b.Components))
}

// essence is what of components is compared, in a form that can be.
func essence(components []Component) []byte {
	var strip func(components []Component) []Component
	strip = func(components []Component) []Component {
		out := slices.Clone(components)
		for i := range out {
			c := &out[i]
			c.Type, c.Format, c.Example = strings.ToUpper(c.Type), strings.ToUpper(c.Format), nil
			c.Buttons = slices.Clone(c.Buttons)
			for j := range c.Buttons {
				c.Buttons[j].Type, c.Buttons[j].Example = strings.ToUpper(c.Buttons[j].Type), nil
				// Meta writes a number as it likes.
				c.Buttons[j].Phone = strings.TrimPrefix(c.Buttons[j].Phone, "+")
			}
			c.Cards = slices.Clone(c.Cards)
			for j := range c.Cards {
				c.Cards[j].Components = strip(c.Cards[j].Components)
			}
		}
		slices.SortStableFunc(out, func(a, b Component) int { return strings.Compare(a.Type, b.Type) })
		return out
	}
	raw, err := json.Marshal(strip(components))
	if err != nil {
		panic("template: " + err.Error()) // texts and numbers always can be written
	}
	return raw
}

// Told is a template as WhatsApp tells of it.
type Told struct {
	Definition
	// Status is WhatsApp's own word, such as APPROVED, PENDING, REJECTED or PAUSED;
	// Quality is GREEN, YELLOW, RED or UNKNOWN.
	Status  string `json:"status,omitempty"`
	Quality string `json:"quality,omitempty"`
	// Reason is why it was rejected.
	Reason string `json:"reason,omitempty"`
}
