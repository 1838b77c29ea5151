package template

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of a definition, in characters.
const (
	maxName      = 512
	maxFooter    = 60
	maxLabel     = 25
	maxPhone     = 20
	maxButtons   = 10
	maxURLs      = 2
	maxPhones    = 1
	maxCopyCodes = 1
)

// Problem is one thing for which WhatsApp does not take a definition.
type Problem struct {
	// Text says what is wrong, Hint what to write instead.
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
	// Perhaps: Meta has told nobody where exactly it draws the line.
	Perhaps bool `json:"perhaps,omitempty"`
}

var (
	namePattern     = regexp.MustCompile(`^[a-z0-9_]+$`)
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}(_[A-Za-z]{2,4})?$`)
	namedPattern    = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	touching        = regexp.MustCompile(`\}\}\s*\{\{`)
	broken          = regexp.MustCompile(`\{\{|\}\}`)
)

// linter gathers problems.
type linter struct {
	d   *Definition
	out []Problem
}

func (l *linter) add(hint, format string, args ...any) {
	l.out = append(l.out, Problem{Text: fmt.Sprintf(format, args...), Hint: hint})
}

// Lint says for what WhatsApp would refuse to make a template of the definition;
// nothing is no promise, since people at Meta review it.
func Lint(d *Definition) []Problem {
	l := &linter{d: d}
	if !namePattern.MatchString(d.Name) || len(d.Name) > maxName {
		l.add("such as order_shipped", "the name %.60q is not 1 to %d of a-z, 0-9 and _", d.Name, maxName)
	}
	if !languagePattern.MatchString(d.Language) {
		l.add("such as en_US or es", "the language %.20q is no code of a language", d.Language)
	}
	if !slices.Contains([]string{"marketing", "utility", "authentication"}, d.Category) {
		l.add("marketing, utility or authentication", "the category %.20q is none", d.Category)
	}
	for _, kind := range []string{Header, Body, Footer, Buttons, Carousel} {
		n := 0
		for _, c := range d.Components {
			if strings.EqualFold(c.Type, kind) {
				n++
			}
		}
		if n > 1 {
			l.add("", "it has %d components of the type %s, and may have one", n, kind)
		}
	}
	if d.Component(Body) == nil {
		l.add("write a body", "it has no body")
	}
	l.components("", d.Components)
	return l.out
}

// components looks at the components of a template, or of a card.
func (l *linter) components(where string, components []Component) {
	for i := range components {
		c := &components[i]
		switch strings.ToUpper(c.Type) {
		case Header:
			l.header(where, c)
		case Body:
			l.body(where, c)
		case Footer:
			if l.d.Category == "authentication" {
				continue // Meta writes it
			}
			l.length(where+"the footer", c.Text, maxFooter)
			if broken.MatchString(c.Text) {
				l.add("write it into the body", "%sthe footer has a variable, and may have none", where)
			}
		case Buttons:
			l.buttons(where, c.Buttons)
		case Carousel:
			l.cards(c.Cards)
		}
	}
}

func (l *linter) length(what, text string, most int) {
	switch n := utf8.RuneCountInString(text); {
	case strings.TrimSpace(text) == "":
		l.add("leave it out, or write something", "%s is empty", what)
	case n > most:
		l.add("", "%s has %d characters, more than %d", what, n, most)
	}
}

func (l *linter) header(where string, c *Component) {
	what := where + "the header"
	switch format := strings.ToUpper(c.Format); format {
	case Text:
		l.length(what, c.Text, maxHeader)
		if strings.ContainsAny(c.Text, "\n\r*") {
			l.add("plain text on one line", "%s has a line break or an asterisk", what)
		}
		names := l.variables(what, c.Text)
		if len(names) > 1 {
			l.add("", "%s has %d variables, and may have one", what, len(names))
		}
		var have int
		if e := c.Example; e != nil {
			have = max(len(e.HeaderText), len(e.HeaderNamed))
		}
		l.examples(what, names, have)
	case Image, Video, Document:
		if c.Example == nil || len(c.Example.HeaderHandle) == 0 {
			l.add("upload a sample by the Resumable Upload API, and give its handle as the header's example", "%s is %s without a sample", what, strings.ToLower(format))
		}
	case Location, product:
	default:
		l.add("text, image, video, document, location or product", "%s has the format %.20q", what, c.Format)
	}
}

func (l *linter) body(where string, c *Component) {
	what := where + "the body"
	if l.d.Category == "authentication" {
		if c.Text != "" {
			l.add("leave the text out: Meta writes it", "%s has a text, and the text of an authentication template is Meta's", what)
		}
		return
	}
	l.length(what, c.Text, maxBody)
	names := l.variables(what, c.Text)
	text := strings.TrimSpace(c.Text)
	if strings.HasPrefix(text, "{{") || strings.HasSuffix(text, "}}") {
		l.add("write a word, or at least a full stop, before and after it", "%s begins or ends with a variable", what)
	}
	if touching.MatchString(text) {
		l.add("write something between them", "%s has two variables that touch", what)
	}
	// Meta says that there may not be too many, and not how many those are; three
	// words for the first and two for each other are what others have found.
	words := len(strings.FieldsFunc(variable.ReplaceAllString(text, " "), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }))
	if len(names) > 0 && words < 2*len(names)+1 && !hasHan(text) {
		l.out = append(l.out, Problem{Perhaps: true, Text: fmt.Sprintf("%s has %d words for %s: perhaps too few for Meta", what, words, count(len(names), "variable")),
			Hint: "write more around the variables, or use fewer"})
	}
	var have int
	if e := c.Example; e != nil {
		have = len(e.BodyNamed)
		if len(e.BodyText) > 0 {
			have = max(have, len(e.BodyText[0]))
		}
	}
	l.examples(what, names, have)
}

// hasHan reports whether a text is in a script that does not part words.
func hasHan(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer)
	})
}

func (l *linter) examples(what string, names []string, have int) {
	if len(names) != have {
		l.add("give an example for each variable: Meta's reviewers read them", "%s has %s and %s", what, count(len(names), "variable"), count(have, "example"))
	}
}

// variables looks at the variables of a text, and returns their names.
func (l *linter) variables(what, text string) []string {
	names := Variables(text)
	if broken.MatchString(variable.ReplaceAllString(text, "")) {
		l.add("write {{1}} or {{name}}", "%s has braces that are no variable", what)
	}
	for i, n := range names {
		if l.d.Named() {
			if !namedPattern.MatchString(n) {
				l.add("a name is of a-z, 0-9 and _, and begins with a letter; all have names, or none", "%s has the variable {{%.40s}}", what, n)
			}
		} else if !slices.Contains(names, strconv.Itoa(i+1)) {
			l.add("count them {{1}}, {{2}} and so on, or give each a name", "%s has %s, and {{%d}} is not among them", what, count(len(names), "variable"), i+1)
			break
		}
	}
	return names
}

func (l *linter) buttons(where string, buttons []Button) {
	if n := len(buttons); n == 0 || n > maxButtons {
		l.add("", "%sit has %d buttons, and may have 1 to %d", where, n, maxButtons)
	}
	kinds, last := map[string]int{}, -1
	for i := range buttons {
		b := &buttons[i]
		kind := strings.ToUpper(b.Type)
		kinds[kind]++
		if kind == QuickReply {
			if last >= 0 && last != i-1 {
				l.add("put the quick replies side by side", "%sother buttons are between its quick replies", where)
			}
			last = i
		}
		l.button(fmt.Sprintf("%sbutton %d", where, i), kind, b)
	}
	for _, m := range []struct {
		kind string
		most int
	}{{URL, maxURLs}, {PhoneNumber, maxPhones}, {CopyCode, maxCopyCodes}} {
		if kinds[m.kind] > m.most {
			l.add("", "%sit has %d buttons of the type %s, and may have %d", where, kinds[m.kind], strings.ToLower(m.kind), m.most)
		}
	}
}

func (l *linter) button(what, kind string, b *Button) {
	if kind != CopyCode && kind != OTP { // their labels are Meta's
		l.length("the label of "+what, b.Text, maxLabel)
	}
	if broken.MatchString(b.Text) {
		l.add("", "the label of %s has a variable, and may have none", what)
	}
	switch kind {
	case URL:
		names := Variables(b.URL)
		u, err := url.Parse(variable.ReplaceAllString(b.URL, "x"))
		switch {
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
			l.add("such as https://example.com/orders/{{1}}", "%s has no address of the web", what)
		case utf8.RuneCountInString(b.URL) > maxURL:
			l.add("", "the address of %s has more than %d characters", what, maxURL)
		case len(names) > 1 || len(names) == 1 && !strings.HasSuffix(b.URL, "}}"):
			l.add("such as https://example.com/orders/{{1}}", "the address of %s may have one variable, at its end", what)
		}
		l.examples("the address of "+what, names, len(b.Example))
	case PhoneNumber:
		if b.Phone == "" || utf8.RuneCountInString(b.Phone) > maxPhone {
			l.add("such as +34600111222", "%s has no phone number of at most %d characters", what, maxPhone)
		}
	case CopyCode:
		if len(b.Example) != 1 || utf8.RuneCountInString(b.Example[0]) > maxCouponCode {
			l.add("give the code that customers copy as its example", "%s has no example of at most %d characters", what, maxCouponCode)
		}
	}
}
