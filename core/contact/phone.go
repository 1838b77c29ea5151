package contact

import (
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"

	"github.com/wabridge/wabridge/core"
)

// Line is the kind of line that a phone number belongs to.
type Line string

// The kinds of lines.
const (
	LineMobile   Line = "mobile"
	LineLandline Line = "landline"
	// LineEither is a number that may be one or the other: the plan of its
	// country does not tell.
	LineEither  Line = "mobile or landline"
	LineOther   Line = "other"   // toll-free, premium, voicemail, …
	LineUnknown Line = "unknown" // no valid number
)

// Phone is a phone number that was understood. Use [ParsePhone].
type Phone struct {
	raw    string
	number string // E.164
	key    Key
	region string
	line   Line
}

// maxRaw bounds what is looked at.
const maxRaw = 64

// ParsePhone reads a phone number as people write it. Region is the country
// (ISO 3166, two letters) of numbers that are written without their country's
// code; it may be empty, and then only numbers that begin with + or 00 are
// understood. An address of another kind, such as a business-scoped user id, is
// refused, whatever digits it holds.
func ParsePhone(raw, region string) (Phone, error) {
	s := strings.TrimSpace(raw)
	for _, scheme := range []string{"whatsapp:", "tel:", "phone:"} {
		s = strings.TrimSpace(strings.TrimPrefix(s, scheme))
	}
	if err := readable(s); err != nil {
		return Phone{}, err
	}
	region = strings.ToUpper(strings.TrimSpace(region))
	if rest, ok := strings.CutPrefix(s, "00"); ok && region == "" {
		s = "+" + rest // what ITU-T E.123 has nearly everybody dial for +
	}
	if region == "" && !strings.HasPrefix(s, "+") {
		e := core.Errorf(core.CodeInvalid, "phone", "a number without its country's code")
		e.Hint = "set region in tenant.toml to the country of such numbers, such as \"TW\""
		return Phone{}, e
	}
	p := Phone{raw: raw, line: LineUnknown}
	n, err := phonenumbers.Parse(s, region)
	if err == nil {
		p = p.with(n)
	}
	if p.line == LineUnknown && !strings.HasPrefix(s, "+") {
		// Exports of WhatsApp write the country's code without a +.
		if n, err := phonenumbers.Parse("+"+s, ""); err == nil && phonenumbers.IsValidNumber(n) {
			p = p.with(n)
		}
	}
	if p.number == "" {
		return Phone{}, core.Errorf(core.CodeInvalid, "phone", "not a phone number")
	}
	if (core.Address{Kind: core.AddressPhone, Value: p.number}).Validate() != nil {
		return Phone{}, core.Errorf(core.CodeInvalid, "phone", "not a phone number: it has too many or too few digits")
	}
	return p, nil
}

// readable refuses what is no phone number, whoever might find digits in it.
func readable(s string) error {
	switch {
	case s == "":
		return core.Errorf(core.CodeInvalid, "phone", "empty")
	case len(s) > maxRaw:
		return core.Errorf(core.CodeInvalid, "phone", "longer than %d characters", maxRaw)
	}
	if len(s) > 3 && s[2] == '.' && unicode.IsLetter(rune(s[0])) && unicode.IsLetter(rune(s[1])) {
		return core.Errorf(core.CodeInvalid, "phone", "this is a business-scoped user id, not a phone number")
	}
	for _, r := range s {
		switch {
		case unicode.IsLetter(r):
			return core.Errorf(core.CodeInvalid, "phone", "there are letters in it: an extension, a word, or what a spreadsheet makes of long numbers")
		case r == unicode.ReplacementChar || unicode.IsControl(r):
			return core.Errorf(core.CodeInvalid, "phone", "there are characters in it that cannot be read")
		}
	}
	if strings.ContainsAny(s, ";,@#*") {
		return core.Errorf(core.CodeInvalid, "phone", "there is more than one number in it, or an extension")
	}
	return nil
}

// with adds what libphonenumber says of a number. An older way to write a
// number that is valid today counts as the number of today.
func (p Phone) with(n *phonenumbers.PhoneNumber) Phone {
	p.number = phonenumbers.Format(n, phonenumbers.E164)
	p.key = KeyOf(core.Address{Kind: core.AddressPhone, Value: p.number})
	p.region, p.line = phonenumbers.GetRegionCodeForNumber(n), lineOf(n)
	today := strings.TrimPrefix(p.key.text, prefixPhone)
	if today == p.number {
		return p
	}
	t, err := phonenumbers.Parse(today, "")
	if err != nil {
		return p
	}
	switch line := lineOf(t); {
	case p.line == LineUnknown && line != LineUnknown:
		p.number, p.region, p.line = today, phonenumbers.GetRegionCodeForNumber(t), line
	case p.line != line && line != LineUnknown:
		p.line = LineEither
	}
	return p
}

func lineOf(n *phonenumbers.PhoneNumber) Line {
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE:
		return LineMobile
	case phonenumbers.FIXED_LINE:
		return LineLandline
	case phonenumbers.FIXED_LINE_OR_MOBILE:
		return LineEither
	case phonenumbers.UNKNOWN:
		return LineUnknown
	}
	return LineOther
}

// Raw returns what was read.
func (p Phone) Raw() string { return p.raw }

// Key returns what the number is compared by.
func (p Phone) Key() Key { return p.key }

// Address returns where to send, in E.164.
func (p Phone) Address() core.Address {
	return core.Address{Kind: core.AddressPhone, Value: p.number}
}

// Region returns the number's country (ISO 3166, two letters), "" when unknown.
func (p Phone) Region() string {
	if p.region == "ZZ" {
		return ""
	}
	return p.region
}

// Line returns the kind of line.
func (p Phone) Line() Line { return p.line }

// Valid reports whether such a number can exist. One that cannot may still be
// what WhatsApp writes: numbering plans change.
func (p Phone) Valid() bool { return p.line != LineUnknown }

// String masks the number: it is for logs.
func (p Phone) String() string { return core.MaskAddress(p.number) }
