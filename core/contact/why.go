package contact

import (
	"errors"
	"regexp"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// exponent is what a spreadsheet makes of a long number in a cell of numbers.
var exponent = regexp.MustCompile(`^\+?[0-9]+([.,][0-9]+)?[eE]\+?[0-9]{1,2}$`)

// WhyNot says in words what is wrong with a phone number as somebody wrote it, or
// "" when such a number can exist. Region is as for [ParsePhone].
func WhyNot(raw, region string) string {
	s := strings.TrimSpace(raw)
	if exponent.MatchString(s) {
		return "this is what a spreadsheet makes of a long number, and its last digits are lost: format the column as text, fill in the numbers again, save again"
	}
	p, err := ParsePhone(raw, region)
	if err == nil && p.Valid() {
		return ""
	}
	region = strings.ToUpper(strings.TrimSpace(region))
	number := p.number
	if number == "" {
		number = s
	}
	n, parseErr := phonenumbers.Parse(number, region)
	switch {
	case err != nil && readable(s) != nil:
		return asText(err)
	case region == "" && !strings.HasPrefix(s, "+"):
		return asText(err) + ": set region in tenant.toml to the country of such numbers"
	case parseErr != nil:
		return because(parseErr, err)
	}
	switch phonenumbers.IsPossibleNumberWithReason(n) {
	case phonenumbers.INVALID_COUNTRY_CODE:
		return "no country has this code"
	case phonenumbers.TOO_SHORT:
		return "too short"
	case phonenumbers.TOO_LONG:
		return "too long"
	case phonenumbers.INVALID_LENGTH, phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		return "no number of this country has so many digits"
	}
	if cc := phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode())); len(cc) == 2 && cc != "ZZ" {
		return "there is no such number in " + cc
	}
	return "there is no such number"
}

func because(parse, err error) string {
	switch {
	case errors.Is(parse, phonenumbers.ErrInvalidCountryCode):
		return "no country has this code"
	case errors.Is(parse, phonenumbers.ErrTooShortNSN), errors.Is(parse, phonenumbers.ErrTooShortAfterIDD):
		return "too short"
	case errors.Is(parse, phonenumbers.ErrNumTooLong):
		return "too long"
	}
	return asText(err)
}

// asText is an error without the operation in front.
func asText(err error) string {
	if err == nil {
		return "not a phone number"
	}
	return strings.TrimPrefix(err.Error(), "phone: ")
}
