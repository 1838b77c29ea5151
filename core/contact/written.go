package contact

import (
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/wabridge/wabridge/core"
)

// Written returns how a number ends wherever people wrote it down: its national
// digits, and the groups in which they are usually written, with and without the
// country's code in front. It is for searching lists that were filled by hand; what
// is found must be compared by [Key]. There is nothing for an address without a
// phone number.
func Written(a core.Address) []string {
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
