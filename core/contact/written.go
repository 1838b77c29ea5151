package contact

import (
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/wabridge/wabridge/core"
)

// Lists that people filled hold numbers in every form: what is below is for finding one in
// them. What is found may be somebody else's: [Readings] tells.

// fewDigits are too few to look for a number by.
const fewDigits = 7

// Digits returns the digits of a number that stand, in this order, in every way to write
// it: with the country's code or without, with or without what is dialled before it, or a
// digit that its plan added, however the digits are grouped. With anything allowed between
// them they find the number in all its forms. "" for an address without a number.
func Digits(a core.Address) string {
	shortest := ""
	for _, one := range MatchSet(a) {
		n := Significant(one)
		if n != "" && len(n) < fewDigits { // of a small country: it would be in too many
			n = strings.TrimPrefix(one.Value, "+")
		}
		if n != "" && (shortest == "" || len(n) < len(shortest)) {
			shortest = n
		}
	}
	return shortest
}

// Endings returns how a number ends where it is written in one of the usual ways: its
// national digits, and the groups in which they are usually written, with and without the
// country's code in front. Nothing for an address without a number.
func Endings(a core.Address) []string {
	var endings []string
	add := func(s string) {
		for i, have := range endings {
			switch {
			case strings.HasSuffix(s, have):
				return
			case strings.HasSuffix(have, s):
				endings[i] = s
				return
			}
		}
		endings = append(endings, s)
	}
	for _, one := range MatchSet(a) {
		if one.Kind != core.AddressPhone {
			continue
		}
		n, err := phonenumbers.Parse(one.Value, "")
		if err != nil {
			continue
		}
		add(phonenumbers.GetNationalSignificantNumber(n))
		_, groups, _ := strings.Cut(phonenumbers.Format(n, phonenumbers.INTERNATIONAL), " ")
		add(groups)
		add(phonenumbers.Format(n, phonenumbers.NATIONAL))
	}
	return endings
}

// Number returns the address that a contact's number is; the zero one for what is none.
func Number(phone string) core.Address {
	if a, err := core.ParseAddress(phone); err == nil && a.Kind == core.AddressPhone {
		return a
	}
	return core.Address{}
}

// Countries returns the countries of addresses, each once: a number that somebody wrote
// without a country's code is one of them, where these are looked for.
func Countries(addresses []core.Address) []string {
	var all []string
	for _, a := range addresses {
		if c := Country(a); c != "" && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// Readings returns the numbers that a text may be: with a country's code, or without as
// one of each of the countries. What is no number has none.
func Readings(text string, countries []string) []Key {
	// What is copied from WhatsApp comes between marks of the direction of writing.
	text = strings.Trim(text, "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u00a0 ")
	var keys []Key
	for _, country := range append([]string{""}, countries...) {
		if p, err := ParsePhone(text, country); err == nil && (len(keys) == 0 || keys[len(keys)-1] != p.Key()) {
			keys = append(keys, p.Key())
		}
	}
	return keys
}
