package contact

import (
	"github.com/nyaruka/phonenumbers"

	"github.com/wabridge/wabridge/core"
)

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
