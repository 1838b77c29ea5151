package contact

import (
	"github.com/nyaruka/phonenumbers"

	"github.com/wabridge/wabridge/core"
)

// Significant returns the digits of a phone number without the country's code, and without
// what is dialled before them in the country; "" for what is no number.
func Significant(a core.Address) string {
	if a.Kind != core.AddressPhone {
		return ""
	}
	n, err := phonenumbers.Parse(a.Value, "")
	if err != nil {
		return ""
	}
	return phonenumbers.GetNationalSignificantNumber(n)
}

// National returns a phone number as it is written in its country, "" for what is
// no number.
func National(a core.Address) string {
	if a.Kind != core.AddressPhone {
		return ""
	}
	n, err := phonenumbers.Parse(canonical(a.Value), "")
	if err != nil {
		return ""
	}
	return phonenumbers.Format(n, phonenumbers.NATIONAL)
}
