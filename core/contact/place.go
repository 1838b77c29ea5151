package contact

import (
	_ "embed"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"

	"github.com/wabridge/wabridge/core"
)

// zonesOfCountries has a line for each country: its code, and its time zones.
// It is made of the time zone database's zone.tab, which is in the public domain.
//
//go:embed zones.txt
var zonesOfCountries string

var countries = sync.OnceValue(func() map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(zonesOfCountries) {
		if f := strings.Fields(line); len(f) > 1 {
			out[f[0]] = f[1:]
		}
	}
	return out
})

// Country returns the country of an address (ISO 3166, two letters), "" when it
// does not say: of a phone number by its prefix, of a business-scoped user id by
// how it begins.
func Country(a core.Address) string {
	switch a.Kind {
	case core.AddressBSUID:
		cc, _, ok := strings.Cut(a.Value, ".")
		if _, known := countries()[cc]; ok && known {
			return cc
		}
	case core.AddressPhone:
		if n, err := phonenumbers.Parse(canonical(a.Value), ""); err == nil {
			if cc := phonenumbers.GetRegionCodeForNumber(n); len(cc) == 2 && cc != "ZZ" {
				return cc
			}
			// Not a valid number, but its country is plain.
			if cc := phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode())); len(cc) == 2 && cc != "ZZ" {
				return cc
			}
		}
	}
	return ""
}

// TimeZones returns the time zones that the person at an address may be in, nil
// when nothing is known. A phone number's are those of its prefix; where that is
// a whole country with several, and for a business-scoped user id, all of the
// country's.
func TimeZones(a core.Address) []string {
	if a.Kind == core.AddressPhone {
		if n, err := phonenumbers.Parse(canonical(a.Value), ""); err == nil && phonenumbers.IsValidNumber(n) {
			zones, err := phonenumbers.GetTimezonesForNumber(n)
			if err == nil && len(zones) > 0 && zones[0] != "Etc/Unknown" {
				return zones
			}
		}
	}
	return countries()[Country(a)]
}

// IsRegion reports whether s is a country whose phone numbers can be read (ISO
// 3166, two capital letters).
func IsRegion(s string) bool { return phonenumbers.GetCountryCodeForRegion(s) != 0 }
