package template

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// The limits of a message made with a template, in characters.
const (
	maxHeader     = 60
	maxBody       = 1024  // when there is more than a body
	maxBodyAlone  = 32768 // when there is not
	maxURL        = 2000
	maxCouponCode = 20
	maxCode       = 15
	hintParams    = "see what the template asks for with `wabridge template show`"
)

// given is the component of a message that fills a component of the template.
type given struct {
	Type       string      `json:"type"`
	SubType    string      `json:"sub_type"`
	Index      looseInt    `json:"index"`
	Parameters []parameter `json:"parameters"`
	Cards      []givenCard `json:"cards"`
}

type givenCard struct {
	Index      looseInt `json:"card_index"`
	Components []given  `json:"components"`
}

// looseInt is a number, or a text of one: Meta's own pages have both.
type looseInt int

func (n *looseInt) UnmarshalJSON(b []byte) error {
	v, err := strconv.Atoi(strings.Trim(string(b), `"`))
	if err != nil {
		return fmt.Errorf("%s is no whole number", b)
	}
	*n = looseInt(v)
	return nil
}

type parameter struct {
	Type     string          `json:"type"`
	Name     string          `json:"parameter_name"`
	Text     *string         `json:"text"`
	Currency *fallback       `json:"currency"`
	DateTime *fallback       `json:"date_time"`
	Image    *file           `json:"image"`
	Video    *file           `json:"video"`
	Document *file           `json:"document"`
	Location json.RawMessage `json:"location"`
	Payload  *string         `json:"payload"`
	Coupon   string          `json:"coupon_code"`
}

type fallback struct {
	Value string `json:"fallback_value"`
}

type file struct {
	ID   string `json:"id"`
	Link string `json:"link"`
}

// shown is what of a parameter stands in the message.
func (p *parameter) shown() string {
	switch {
	case p.Text != nil:
		return *p.Text
	case p.Currency != nil:
		return p.Currency.Value
	case p.DateTime != nil:
		return p.DateTime.Value
	}
	return ""
}

// Check says why WhatsApp would refuse a message whose template has this
// definition: components is the Cloud API's array, nil for a template that asks for
// nothing. What it does not know it leaves to WhatsApp. The error has
// core.CodeInvalid and names the first thing that is wrong.
func (d *Definition) Check(components json.RawMessage) error {
	var all []given
	if len(components) > 0 {
		if err := json.Unmarshal(components, &all); err != nil {
			return d.wrong("its components are not the Cloud API's array of component objects: %v", plainly(err))
		}
	}
	most := maxBodyAlone
	if len(d.Components) > 1 {
		most = maxBody
	}
	if why := checkParts(d.Components, all, d.Named(), most); why != "" {
		return d.wrong("%s", why)
	}
	return nil
}

func (d *Definition) wrong(format string, args ...any) error {
	e := core.Errorf(core.CodeInvalid, "template "+d.Name+" ("+d.Language+")", format, args...)
	e.Source, e.Hint = core.SourceBridge, hintParams
	return e
}

// plainly takes the decoder's own words off an error.
func plainly(err error) string { return strings.TrimPrefix(err.Error(), "json: ") }

// checkParts says what is wrong with the components of a message, or of a card, whose body
// may have so many characters at most.
func checkParts(defined []Component, all []given, named bool, most int) string {
	by := map[string]*given{}
	pressed := map[int]*given{}
	for i := range all {
		g := &all[i]
		switch kind := strings.ToUpper(g.Type); kind {
		case "":
			return fmt.Sprintf("components[%d] has no type", i)
		case "BUTTON":
			if pressed[int(g.Index)] != nil {
				return fmt.Sprintf("button %d has two components", g.Index)
			}
			pressed[int(g.Index)] = g
		default:
			if by[kind] != nil {
				return fmt.Sprintf("it has two components of the type %s", strings.ToLower(kind))
			}
			by[kind] = g
		}
	}
	for kind := range by {
		switch kind {
		case Header, Body, Carousel:
			if find(defined, kind) == nil {
				return fmt.Sprintf("it has a component of the type %s, and the template has none", strings.ToLower(kind))
			}
		case Footer:
			return "a footer takes no parameters"
		}
	}
	if why := checkHeader(find(defined, Header), by[Header], named); why != "" {
		return why
	}
	if why := checkBody(find(defined, Body), by[Body], named, most); why != "" {
		return why
	}
	if why := checkPressed(find(defined, Buttons), pressed); why != "" {
		return why
	}
	return checkCards(find(defined, Carousel), by[Carousel], named)
}

func parametersOf(g *given) []parameter {
	if g == nil {
		return nil
	}
	return g.Parameters
}

func checkHeader(defined *Component, g *given, named bool) string {
	if defined == nil {
		return ""
	}
	have := parametersOf(g)
	format := strings.ToUpper(defined.Format)
	switch format {
	case Text, "":
		return checkText("header", defined.Text, have, named, maxHeader)
	case Image, Video, Document, Location:
	default:
		return "" // newer formats: Meta judges
	}
	kind := strings.ToLower(format)
	if len(have) != 1 {
		return fmt.Sprintf("its header wants one parameter of the type %s, and has %d", kind, len(have))
	}
	p := &have[0]
	if !strings.EqualFold(p.Type, kind) {
		return fmt.Sprintf("its header wants a parameter of the type %s, not %.40q", kind, p.Type)
	}
	if format == Location {
		var at struct {
			Latitude  json.RawMessage `json:"latitude"`
			Longitude json.RawMessage `json:"longitude"`
		}
		if json.Unmarshal(p.Location, &at) != nil || at.Latitude == nil || at.Longitude == nil {
			return "its header's location wants a latitude and a longitude"
		}
		return ""
	}
	f := map[string]*file{Image: p.Image, Video: p.Video, Document: p.Document}[format]
	if f == nil || (f.ID == "") == (f.Link == "") {
		return fmt.Sprintf("its header's %s wants an id or a link, not both", kind)
	}
	return ""
}

func checkBody(defined *Component, g *given, named bool, most int) string {
	if defined == nil || defined.Text == "" { // Meta's own text: Meta judges
		return ""
	}
	return checkText("body", defined.Text, parametersOf(g), named, most)
}

// spaced is what Meta does not take in a parameter: lines, tabs and wide gaps.
var spaced = regexp.MustCompile(`[\n\r\t]| {5,}`)

// checkText says what is wrong with the parameters of a text.
func checkText(what, text string, have []parameter, named bool, most int) string {
	want := Variables(text)
	if len(want) != len(have) {
		return fmt.Sprintf("its %s has %s, and the template wants %s", what, count(len(have), "parameter"), wanted(want, named))
	}
	values := map[string]string{}
	for i := range have {
		p := &have[i]
		name := strconv.Itoa(i + 1)
		if named {
			name = p.Name
			if !slices.Contains(want, name) {
				return fmt.Sprintf("its %s has a parameter that is named %.60q, and the template wants %s", what, name, wanted(want, named))
			}
			if _, twice := values[name]; twice {
				return fmt.Sprintf("its %s has the parameter %s twice", what, name)
			}
		} else if p.Name != "" {
			return fmt.Sprintf("its %s has a parameter that is named %.60q, and the template counts them", what, p.Name)
		}
		switch p.Type {
		case "text", "currency", "date_time":
		default:
			return fmt.Sprintf("parameter %s of its %s has the type %.40q: text, currency or date_time", name, what, p.Type)
		}
		v := p.shown()
		switch {
		case strings.TrimSpace(v) == "":
			return fmt.Sprintf("parameter %s of its %s is empty", name, what)
		case spaced.MatchString(v):
			return fmt.Sprintf("parameter %s of its %s has line breaks, tabs or more than four spaces in a row, which WhatsApp does not take", name, what)
		}
		values[name] = v
	}
	if n := utf8.RuneCountInString(Fill(text, values)); n > most && len(have) > 0 {
		return fmt.Sprintf("its %s would have %d characters, more than %d", what, n, most)
	}
	return ""
}

func wanted(want []string, named bool) string {
	switch {
	case len(want) == 0:
		return "none"
	case named:
		return count(len(want), "parameter") + ": " + strings.Join(want, ", ")
	}
	return count(len(want), "parameter")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// subTypes are how the buttons of a template are called in a message, where it is
// not their own name in small letters.
var subTypes = map[string]string{OTP: "url"}

// checkPressed says what is wrong with the components of buttons.
func checkPressed(defined *Component, pressed map[int]*given) string {
	var buttons []Button
	if defined != nil {
		buttons = defined.Buttons
	}
	for i := range pressed {
		if i < 0 || i >= len(buttons) {
			return fmt.Sprintf("it has a component for button %d, and the template has %s, counted from 0", i, count(len(buttons), "button"))
		}
	}
	for i := range buttons {
		if why := checkButton(i, &buttons[i], pressed[i]); why != "" {
			return why
		}
	}
	return ""
}

func checkButton(i int, b *Button, g *given) string {
	kind := strings.ToUpper(b.Type)
	sub := subTypes[kind]
	if sub == "" {
		sub = strings.ToLower(kind)
	}
	if g != nil && !strings.EqualFold(g.SubType, sub) {
		return fmt.Sprintf("its button %d has the sub_type %.40q, and is a %s button", i, g.SubType, sub)
	}
	have := parametersOf(g)
	first := parameter{}
	if len(have) > 0 {
		first = have[0]
	}
	switch kind {
	case URL, OTP:
		open := kind == OTP || len(Variables(b.URL)) > 0
		switch {
		case !open && len(have) > 0:
			return fmt.Sprintf("its button %d has a parameter, and its address has no variable", i)
		case !open:
			return ""
		case len(have) != 1 || first.Type != "text" || first.shown() == "":
			return fmt.Sprintf("its button %d wants one parameter of the type text: what its address ends with", i)
		case kind == OTP && utf8.RuneCountInString(first.shown()) > maxCode:
			return fmt.Sprintf("the code of its button %d has more than %d characters", i, maxCode)
		case utf8.RuneCountInString(b.URL+first.shown()) > maxURL:
			return fmt.Sprintf("the address of its button %d would have more than %d characters", i, maxURL)
		}
	case CopyCode:
		if len(have) != 1 || first.Coupon == "" || utf8.RuneCountInString(first.Coupon) > maxCouponCode {
			return fmt.Sprintf("its button %d wants one parameter with a coupon_code of at most %d characters", i, maxCouponCode)
		}
	case QuickReply:
		if len(have) > 1 || len(have) == 1 && first.Payload == nil {
			return fmt.Sprintf("its button %d takes one parameter, with a payload", i)
		}
	case PhoneNumber:
		if len(have) > 0 {
			return fmt.Sprintf("its button %d calls a number, and takes no parameters", i)
		}
	}
	return "" // newer buttons: Meta judges
}

// Text is what a person reads of a message with this template: header, body and
// footer, each on a line of its own, with the values of components in their places.
func (d *Definition) Text(components json.RawMessage) string {
	var all []given
	if len(components) > 0 && json.Unmarshal(components, &all) != nil {
		return ""
	}
	var lines []string
	for _, c := range d.Components {
		kind := strings.ToUpper(c.Type)
		if c.Text == "" || kind != Header && kind != Body && kind != Footer {
			continue
		}
		values := map[string]string{}
		for _, g := range all {
			if !strings.EqualFold(g.Type, kind) {
				continue
			}
			for i := range g.Parameters {
				p := &g.Parameters[i]
				name := p.Name
				if name == "" {
					name = strconv.Itoa(i + 1)
				}
				values[name] = p.shown()
			}
		}
		lines = append(lines, Fill(c.Text, values))
	}
	return strings.Join(lines, "\n")
}
