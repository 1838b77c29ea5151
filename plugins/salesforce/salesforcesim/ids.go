package salesforcesim

import (
	"regexp"
	"strings"
)

// idShape is what ids look like: 15 characters, or 18, of which the last three say which
// of the others are capital letters. See
// https://developer.salesforce.com/docs/platform/object-reference/guide/field-types.html.
var idShape = regexp.MustCompile(`^[a-zA-Z0-9]{15}([a-zA-Z0-9]{3})?$`)

// fullID returns an id of 15 or 18 characters with 18; false when it is none.
func fullID(id string) (string, bool) {
	if !idShape.MatchString(id) {
		return "", false
	}
	const suffixes = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
	full := []byte(id[:15])
	for from := 0; from < 15; from += 5 {
		capitals := 0
		for i := range 5 {
			if c := id[from+i]; c >= 'A' && c <= 'Z' {
				capitals |= 1 << i
			}
		}
		full = append(full, suffixes[capitals])
	}
	return string(full), len(id) == 15 || strings.EqualFold(id, string(full))
}

// get returns the record of an id, however it is written; nil where there is none.
func (t *table) get(id string) *record {
	full, _ := fullID(id)
	return t.byID[full]
}
