package roster

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

// Bounds of one person.
const (
	maxName   = 200  // characters
	maxValue  = 1000 // bytes of a field
	maxFields = 50
	maxTags   = 50
	maxTag    = 60 // bytes
	maxPhones = 10
)

const badUserID = "the user id is none: want <CC>.<id>"

// DisabledTag marks people whose number cannot get messages, as far as anybody can
// tell.
const DisabledTag = "disabled-number"

// Phone is a number of a person: as it was written, and in E.164.
type Phone struct {
	Raw    string `json:"raw,omitempty"`
	Number string `json:"number"`
}

// Consent is what a list says of a person's consent to marketing.
type Consent struct {
	State    string    `json:"state"` // "granted" or "withdrawn"
	Source   string    `json:"source,omitempty"`
	Evidence string    `json:"evidence,omitempty"`
	At       time.Time `json:"at,omitzero"`
}

// Person is who a row is about.
type Person struct {
	Line    int               `json:"line"`
	Name    string            `json:"name,omitempty"`
	Phones  []Phone           `json:"phones,omitempty"`
	BSUID   string            `json:"bsuid,omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"`
	Consent *Consent          `json:"consent,omitempty"`
	// Warnings say what of the row was not taken, and why.
	Warnings []string `json:"-"`
}

// Keys are what the person is known by.
func (p *Person) Keys() []contact.Key {
	var out []contact.Key
	if p.BSUID != "" {
		out = append(out, contact.KeyOf(core.Address{Kind: core.AddressBSUID, Value: p.BSUID}))
	}
	for _, n := range p.Phones {
		if k := contact.KeyOf(core.Address{Kind: core.AddressPhone, Value: n.Number}); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// Options are what a list does not say itself.
type Options struct {
	// Region is the country of numbers without their country's code.
	Region string
	// Source and Evidence are those of consent where the row has none.
	Source, Evidence string
	Now              time.Time
}

// Read says who a row is about, or why that cannot be told.
func (c Columns) Read(row Row, o Options) (Person, string) {
	p := Person{Line: row.Line}
	if row.Bad != "" {
		return p, row.Bad
	}
	if len(row.Cells) > len(c) && !blank(row.Cells[len(c):]) {
		return p, fmt.Sprintf("has %d cells, the header %d: a quote or a separator may be missing", len(row.Cells), len(c))
	}
	var first, last, bad string
	var state Consent
	warn := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	var numbers []string
	for i, cell := range row.Cells[:min(len(row.Cells), len(c))] {
		cell = strings.TrimSpace(unguard(strings.TrimSpace(cell)))
		if cell == "" {
			continue
		}
		if len(cell) > maxValue {
			cell = strings.ToValidUTF8(cell[:maxValue], "")
			warn("a cell has more than %d bytes: what is beyond was cut off", maxValue)
		}
		switch f := c[i]; f {
		case fieldName:
			p.Name = cell
		case fieldFirst:
			first = cell
		case fieldLast:
			last = cell
		case fieldPhone:
			numbers = append(numbers, cell)
		case fieldBSUID:
			if (core.Address{Kind: core.AddressBSUID, Value: cell}).Validate() != nil {
				bad = badUserID
				continue
			}
			p.BSUID = cell
		case fieldEmail:
			if a, err := mail.ParseAddress(cell); err != nil || a.Address != cell {
				warn("the e-mail address is none, and is not taken")
				continue
			}
			p.set("email", strings.ToLower(cell))
		case fieldLanguage:
			p.set("language", strings.ToLower(cell))
		case fieldTags:
			p.tags(cell, warn)
		case fieldConsent:
			if state.State = stateOf(cell); state.State == "" {
				return p, fmt.Sprintf("consent is yes, no or nothing, not %.20q", cell)
			}
		case fieldEvidence:
			state.Evidence = cell
		case fieldSource:
			state.Source = cell
		case fieldAt:
			at, ok := timeOf(cell)
			if !ok || at.After(o.Now) {
				return p, "consent_at is no time in the past: want 2026-03-02 or 2026-03-02T10:00:00Z"
			}
			state.At = at
		case "", fieldOut:
		default:
			p.set(strings.TrimPrefix(f, fieldPrefix), cell)
		}
	}
	if bad2 := p.phones(numbers, o.Region, warn); bad == "" {
		bad = bad2
	}
	if p.Name == "" {
		p.Name = strings.TrimSpace(first + " " + last)
	}
	if utf8.RuneCountInString(p.Name) > maxName {
		p.Name = string([]rune(p.Name)[:maxName])
		warn("the name has more than %d characters: what is beyond was cut off", maxName)
	}
	switch {
	case len(p.Keys()) == 0 && bad != "":
		return p, bad
	case len(p.Keys()) == 0:
		return p, "has neither a phone number nor a user id"
	case bad != "":
		warn("%s: not taken", bad)
	}
	p.consents(state, o, warn)
	return p, ""
}

// Of says who somebody is by what another system has of them: a phone number as people
// write it, and a user id. Where neither is any good it says why; bad is "" and the person
// has no keys when there is neither.
func Of(line int, name, phone, bsuid, region string) (p Person, bad string) {
	warn := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	p.Line, p.Name = line, strings.TrimSpace(name)
	if utf8.RuneCountInString(p.Name) > maxName {
		p.Name = string([]rune(p.Name)[:maxName])
	}
	if bsuid != "" {
		if (core.Address{Kind: core.AddressBSUID, Value: bsuid}).Validate() != nil {
			bad = badUserID
		} else {
			p.BSUID = bsuid
		}
	}
	if phone = strings.TrimSpace(phone); phone != "" && len(phone) <= maxValue {
		if why := p.phones([]string{phone}, region, warn); bad == "" {
			bad = why
		}
	}
	if len(p.Keys()) > 0 {
		bad = ""
	}
	return p, bad
}

// phones reads the numbers of a row; cells may have several, with | or / between.
func (p *Person) phones(cells []string, region string, warn func(string, ...any)) (bad string) {
	for _, cell := range cells {
		for one := range strings.FieldsFuncSeq(cell, func(r rune) bool { return r == '|' || r == '/' || r == '\n' }) {
			n, err := contact.ParsePhone(one, region)
			if err != nil || !n.Valid() {
				if bad != "" {
					warn("the phone number %s: %s: not taken", masked(one), contact.WhyNot(one, region))
					continue
				}
				bad = fmt.Sprintf("the phone number %s: %s", masked(one), contact.WhyNot(one, region))
				continue
			}
			if len(p.Phones) == maxPhones {
				warn("has more than %d phone numbers: the others are not taken", maxPhones)
				return bad
			}
			if n.Line() == contact.LineLandline {
				warn("the phone number %s is a landline's: tagged %s", masked(one), DisabledTag)
				p.tag(DisabledTag)
			}
			entry := Phone{Number: n.Address().Value}
			if strings.TrimSpace(one) != entry.Number {
				entry.Raw = strings.TrimSpace(one)
			}
			p.Phones = append(p.Phones, entry)
		}
	}
	return bad
}

// masked shows enough of a number to find it in the list, and no more.
func masked(raw string) string {
	r := []rune(strings.TrimSpace(raw))
	if len(r) < 5 {
		return fmt.Sprintf("%q", string(r))
	}
	return fmt.Sprintf("%q", "…"+string(r[len(r)-3:]))
}

func (p *Person) set(name, value string) {
	if p.Fields == nil {
		p.Fields = map[string]string{}
	}
	if len(p.Fields) >= maxFields {
		return // a list has at most maxCells columns, and says so when there are many
	}
	p.Fields[name] = value
}

func (p *Person) tag(tag string) {
	if !slices.Contains(p.Tags, tag) {
		p.Tags = append(p.Tags, tag)
	}
}

func (p *Person) tags(cell string, warn func(string, ...any)) {
	between := ",;"
	if strings.Contains(cell, "|") {
		between = "|" // then the others may be part of one
	}
	for t := range strings.FieldsFuncSeq(cell, func(r rune) bool { return strings.ContainsRune(between, r) }) {
		t = strings.TrimSpace(t)
		switch {
		case t == "":
		case len(t) > maxTag || len(p.Tags) >= maxTags:
			warn("a tag is too long, or one of too many: not taken")
		default:
			p.tag(t)
		}
	}
}

// consents takes what the row says of consent. Marketing is not taken without
// what shows it: who cannot say where a word is from does not have it.
func (p *Person) consents(c Consent, o Options, warn func(string, ...any)) {
	if c.State == "" {
		return
	}
	if c.Source == "" {
		c.Source = o.Source
	}
	if c.Evidence == "" {
		c.Evidence = o.Evidence
	}
	if c.State == "granted" && (c.Source == "" || c.Evidence == "") {
		warn("the consent is not taken: it needs consent_source and consent_evidence")
		return
	}
	p.Consent = &c
}

var (
	yes = []string{"yes", "y", "true", "1", "granted", "optin", "subscribed", "si", "sí", "oui", "sim", "是", "x"}
	no  = []string{"no", "n", "false", "0", "withdrawn", "optout", "unsubscribed", "stop", "non", "não", "nao", "否"}
)

func stateOf(cell string) string {
	switch w := plain(cell); {
	case slices.Contains(yes, w):
		return "granted"
	case slices.Contains(no, w):
		return "withdrawn"
	}
	return ""
}

func timeOf(cell string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, cell); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}
