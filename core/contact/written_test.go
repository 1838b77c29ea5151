package contact_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

func phone(number string) core.Address {
	return core.Address{Kind: core.AddressPhone, Value: number}
}

var nobody = core.Address{Kind: core.AddressBSUID, Value: "US.13491208655302741918"}

func TestEndings_AreHowNumbersEnd(t *testing.T) {
	for number, want := range map[string][]string{
		"+34600123456":  {"600123456", "600 12 34 56"},
		"+12025550123":  {"2025550123", "202-555-0123", "(202) 555-0123"},
		"+33612345678":  {"612345678", "6 12 34 56 78"},
		"+551187654321": {"11987654321", "11 98765-4321", "(11) 98765-4321", "1187654321"},
	} {
		if diff := cmp.Diff(want, contact.Endings(phone(number))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", number, diff)
		}
	}
	if got := contact.Endings(nobody); got != nil {
		t.Errorf("got %q for somebody without a number", got)
	}
}

// written are numbers as they stand in people's lists.
var written = map[string][]string{
	"+34600100000": {"600100000", "600 100 000", "600 10 00 00", "600-100000", "(600) 10 00 00", "600.10.00.00", "+34 600 100 000", "0034600100000",
		"+34600100000", "34600100000", "\u202a+34 600 100 000\u202c", "+34\u00a0600\u00a0100\u00a0000"},
	"+5511987654321": {"+55 11 98765-4321", "+55 11 8765-4321", "(11) 98765-4321", "11 8765 4321", "011 98765-4321", "551187654321"},
	"+5491123456789": {"+54 9 11 2345-6789", "011 15-2345-6789", "(011) 15 2345 6789", "+54 11 2345 6789", "11 2345-6789", "5491123456789"},
	"+525512345678":  {"+52 55 1234 5678", "+52 1 55 1234 5678", "(55) 1234-5678", "55 12 34 56 78", "5215512345678"},
	"+12025550123":   {"(202) 555-0123", "202.555.0123", "1-202-555-0123", "+1 202 555 0123", "2025550123", "001 202 555 0123"},
	"+491711234567":  {"0171 1234567", "0171/1234567", "+49 171 123 45 67", "+49 (0) 171 1234567", "0049 171 1234567", "(0171) 12 34 567"},
	"+919876543210":  {"098765 43210", "+91-98765-43210", "98765 43210", "9876543210", "919876543210", "0091 9876 543 210"},
}

func TestDigitsAndReadings_FindANumberHoweverItIsWritten(t *testing.T) {
	for number, forms := range written {
		digits, country := contact.Digits(phone(number)), contact.Country(phone(number))
		for _, form := range forms {
			rest := form
			for _, d := range digits {
				_, after, found := strings.Cut(rest, string(d))
				if !found {
					t.Errorf("%s does not have the digits %s in their order", form, digits)
				}
				rest = after
			}
			if keys := contact.Readings(form, []string{"FR", country}); !slices.Contains(keys, contact.KeyOf(phone(number))) {
				t.Errorf("%q is read as %v, want %s", form, keys, number)
			}
		}
	}
	for number, want := range map[string]string{"+5491123456789": "1123456789", "+551187654321": "1187654321", "+22901901234": "01901234", "+29020000": "29020000"} {
		if got := contact.Digits(phone(number)); got != want {
			t.Errorf("%s has the digits %q, want %q", number, got, want)
		}
	}
	if got := contact.Digits(nobody); got != "" {
		t.Errorf("got %q for somebody without a number", got)
	}
	for _, text := range []string{"", "ask her mother", "600 100 000 ext. 4", "ES.600100000", strings.Repeat("6", 100)} {
		if keys := contact.Readings(text, []string{"ES"}); len(keys) > 0 {
			t.Errorf("%q is read as %v", text, keys)
		}
	}
}

func TestCountries_AreEachToldOnce(t *testing.T) {
	all := []core.Address{contact.Number("+34600100200"), nobody, contact.Number("+34600100201"), contact.Number("600"), contact.Number("ES.1"), contact.Number("")}
	if diff := cmp.Diff([]string{"ES", "US"}, contact.Countries(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
