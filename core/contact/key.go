package contact

import (
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/wabridge/wabridge/core"
)

// Key is what identities are compared by: two addresses with the same key are
// one person's. All ways in which WhatsApp, CRMs and people write one phone
// number have the same key; a business-scoped user id is compared as a whole,
// and there is no way to make a key of its digits. The zero Key is none.
type Key struct{ text string }

// The kinds of keys, as they begin.
const (
	prefixPhone  = string(core.AddressPhone) + ":"
	prefixBSUID  = string(core.AddressBSUID) + ":"
	prefixParent = "parent:"
)

// KeyOf returns the key of an address, the zero Key for the zero Address.
func KeyOf(a core.Address) Key {
	switch {
	case a.Value == "":
		return Key{}
	case a.Kind == core.AddressPhone:
		return Key{prefixPhone + canonical(a.Value)}
	case a.Kind == core.AddressBSUID:
		return Key{prefixBSUID + a.Value}
	}
	return Key{}
}

// ParentKey returns the key of the user id that a group of portfolios shares.
// It is a hint for matching, and no address.
func ParentKey(parent string) Key {
	if parent == "" {
		return Key{}
	}
	return Key{prefixParent + parent}
}

// String returns the text form. It identifies a person: mask it in logs.
func (k Key) String() string { return k.text }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.text == "" }

// IsPhone reports whether the key is a phone number's.
func (k Key) IsPhone() bool { return strings.HasPrefix(k.text, prefixPhone) }

// IsBSUID reports whether the key is a business-scoped user id's.
func (k Key) IsBSUID() bool { return strings.HasPrefix(k.text, prefixBSUID) }

// IsParent reports whether the key is a parent user id's.
func (k Key) IsParent() bool { return strings.HasPrefix(k.text, prefixParent) }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It takes what MarshalText
// wrote, and refuses what is of no kind of key.
func (k *Key) UnmarshalText(b []byte) error {
	got := Key{string(b)}
	if !got.IsZero() && !got.IsPhone() && !got.IsBSUID() && !got.IsParent() {
		return core.Errorf(core.CodeInvalid, "key", "want phone:…, bsuid:… or parent:…")
	}
	*k = got
	return nil
}

// A plan is a country's numbering plan in which one line has several numbers:
// national digits without the country code, each tried in order until one is
// taken.
type plan struct {
	code string
	// canonical returns the digits by which the line is compared.
	canonical func(national string) string
	// others returns the other ways to write it, given the canonical one.
	others func(national string) []string
}

// plans are the countries with such numbers. Each says where its rule is from.
var plans = []plan{
	// Brazil gave mobile numbers a ninth digit, 9, in front (Anatel, 2012 to
	// 2016); WhatsApp keeps the eight digits for accounts that are older than
	// that, outside of area codes 11–19, 21, 22, 24, 27 and 28 (support.gupshup.io
	// 4407840924953; chatwoot/chatwoot#14264). Eight digits that begin with 2 to 5
	// are a landline, which never had a ninth.
	{"55", func(n string) string {
		if len(n) == 10 && n[2] >= '6' {
			return n[:2] + "9" + n[2:]
		}
		return n
	}, func(n string) []string {
		if len(n) == 11 && n[2] == '9' && n[3] >= '6' {
			return []string{n[:2] + n[3:]}
		}
		return nil
	}},
	// Argentina calls mobiles from abroad with a 9 after the country code, and
	// at home with 15 after the area code; the ten digits left are one line's
	// (chatwoot/chatwoot#13932 and #14264; libphonenumber's metadata of AR).
	{"54", func(n string) string {
		if len(n) == 12 && n[0] != '9' {
			n = national("+54" + n)
		}
		if len(n) == 10 && n[0] != '9' {
			return "9" + n
		}
		return n
	}, func(n string) []string {
		if len(n) == 11 && n[0] == '9' {
			return []string{n[1:]}
		}
		return nil
	}},
	// Mexico did away with the 1 that mobiles had after the country code, and
	// with 044 and 045 at home (IFT, August 2019). WhatsApp keeps the 1 for
	// older accounts (chatwoot/chatwoot#14174).
	{"52", func(n string) string {
		for _, old := range []string{"1", "044", "045"} {
			if len(n) == 10+len(old) && strings.HasPrefix(n, old) {
				return n[len(old):]
			}
		}
		return n
	}, func(n string) []string {
		if len(n) == 10 {
			return []string{"1" + n}
		}
		return nil
	}},
	// Benin put 01 in front of all its numbers (30 November 2024;
	// mobi/telephone_number#138, libphonenumber's metadata of BJ).
	{"229", func(n string) string {
		if len(n) == 8 {
			return "01" + n
		}
		return n
	}, func(n string) []string {
		if len(n) == 10 && strings.HasPrefix(n, "01") {
			return []string{n[2:]}
		}
		return nil
	}},
}

// planOf returns the plan that a number belongs to, and its national digits.
func planOf(e164 string) (plan, string, bool) {
	for _, p := range plans {
		if n, ok := strings.CutPrefix(e164, "+"+p.code); ok {
			return p, n, true
		}
	}
	return plan{}, "", false
}

// canonical returns the number by which the others of its match set are found.
func canonical(e164 string) string {
	if p, n, ok := planOf(e164); ok {
		return "+" + p.code + p.canonical(n)
	}
	return e164
}

// national returns the digits after the country code as libphonenumber
// understands them, or what was given when it does not.
func national(e164 string) string {
	n, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return strings.TrimPrefix(e164, "+54")
	}
	return phonenumbers.GetNationalSignificantNumber(n)
}

// MatchSet returns every way in which the number of a phone's address may be
// written by WhatsApp, the canonical one first. All of them have one key. Of
// another address, itself.
func MatchSet(a core.Address) []core.Address {
	if a.Kind != core.AddressPhone {
		return []core.Address{a}
	}
	c := canonical(a.Value)
	out := []core.Address{{Kind: core.AddressPhone, Value: c}}
	if p, n, ok := planOf(c); ok {
		for _, other := range p.others(n) {
			out = append(out, core.Address{Kind: core.AddressPhone, Value: "+" + p.code + other})
		}
	}
	if !slices.Contains(out, a) {
		out = append(out, a)
	}
	return out
}
