package contact

import (
	"strings"
	"testing"
)

func TestWhyNot_SaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ raw, region, want string }{
		{"0912-345-678", "TW", ""}, {"+34600111222", "", ""}, {"'+34600111222", "TW", ""}, {"(11) 8765-4321", "BR", ""},
		{"8.8691E+11", "TW", "spreadsheet"}, {"8,8691E+11", "TW", "spreadsheet"}, {"886912E6", "", "spreadsheet"},
		{"+999123456789", "TW", "no country has this code"}, {"0912", "TW", "too short"}, {"+8869123456789012", "TW", "too"},
		{"0912345678", "", "region in tenant.toml"}, {"call me", "TW", "letters"}, {"", "TW", "empty"}, {"-", "TW", "not a phone number"},
		{"+886123456789", "TW", "no such number in TW"}, {"TW.886912345678", "TW", "business-scoped user id"},
	} {
		if got := WhyNot(c.raw, c.region); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%q in %q: %q, want %q", c.raw, c.region, got, c.want)
		}
	}
}
