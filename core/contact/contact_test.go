package contact

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

func TestParsePhone_ReadsWhatPeopleWrite(t *testing.T) {
	for _, c := range []struct {
		raw, region string
		want        string // E.164
		line        Line
		country     string
	}{
		{"0912-345-678", "TW", "+886912345678", LineMobile, "TW"},
		{"00886 912 345 678", "", "+886912345678", LineMobile, "TW"},
		{"(02) 2345-6789", "TW", "+886223456789", LineLandline, "TW"},
		{"886912345678", "TW", "+886912345678", LineMobile, "TW"},
		{"+886 912 345 678", "", "+886912345678", LineMobile, "TW"},
		{"tel:+886-912-345-678", "BR", "+886912345678", LineMobile, "TW"},
		{"whatsapp:+14155238886", "", "+14155238886", LineEither, "US"},
		{"００８８６９１２３４５６７８", "DE", "+886912345678", LineMobile, "TW"}, // full-width digits
		{"34600111222", "TW", "+34600111222", LineMobile, "ES"},     // as WhatsApp exports it
		{" 07400 123456 ", "gb", "+447400123456", LineMobile, "GB"},
		{"0175 1234567", "DE", "+491751234567", LineMobile, "DE"},
		{"+1 800 356 9377", "", "+18003569377", LineOther, "US"},
		{"+886123", "", "+886123", LineUnknown, "TW"},
		// National variants.
		{"(11) 98765-4321", "BR", "+5511987654321", LineMobile, "BR"},
		{"(11) 8765-4321", "BR", "+5511987654321", LineMobile, "BR"},
		{"+55 31 9688-3193", "", "+5531996883193", LineMobile, "BR"},
		{"(11) 3333-4444", "BR", "+551133334444", LineLandline, "BR"},
		{"011 15 5874-9895", "AR", "+5491158749895", LineMobile, "AR"},
		{"+54 11 15 5874 9895", "", "+5491158749895", LineMobile, "AR"},
		{"0387 15 412 3456", "AR", "+5493874123456", LineMobile, "AR"},
		{"+54 9 11 5874 9895", "", "+5491158749895", LineMobile, "AR"},
		{"+54 11 5874 9895", "", "+541158749895", LineEither, "AR"},
		{"55 1234 5678", "MX", "+525512345678", LineEither, "MX"},
		{"044 55 1234 5678", "MX", "+525512345678", LineEither, "MX"},
		{"+52 1 55 1234 5678", "", "+525512345678", LineEither, "MX"},
		{"97 12 34 56", "BJ", "+2290197123456", LineMobile, "BJ"},
	} {
		p, err := ParsePhone(c.raw, c.region)
		if err != nil {
			t.Errorf("%q in %q: %v", c.raw, c.region, err)
			continue
		}
		if got := p.Address().Value; got != c.want || p.Line() != c.line || Country(p.Address()) != c.country || p.Raw() != c.raw {
			t.Errorf("%q in %q: %s, %s, %s; want %s, %s, %s", c.raw, c.region, got, p.Line(), Country(p.Address()), c.want, c.line, c.country)
		}
		if p.Valid() && p.Region() != c.country {
			t.Errorf("%q in %q: region %q, want %q", c.raw, c.region, p.Region(), c.country)
		}
		if p.Key() != KeyOf(p.Address()) {
			t.Errorf("%q: the key %v is not that of its address", c.raw, p.Key())
		}
	}
}

func TestParsePhone_RefusesWhatIsNoPhoneNumber(t *testing.T) {
	for raw, want := range map[string]string{
		"":                            "empty",
		"US.13491208655302741918":     "business-scoped user id",
		"us.13491208655302741918":     "business-scoped user id",
		"bsuid:US.886912345678":       "letters",
		"TW.886912345678":             "business-scoped user id",
		"8.86912E+11":                 "spreadsheet",
		"0912345678 ext. 5":           "letters",
		"1-800-FLOWERS":               "letters",
		"0912345678; 0987654321":      "more than one",
		"+":                           "not a phone number",
		"12":                          "not a phone number",
		"+9999999999999999":           "not a phone number",
		"0912\x00345678":              "cannot be read",
		strings.Repeat("0912 ", 1000): "longer than",
	} {
		p, err := ParsePhone(raw, "TW")
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v; want an error with %q", raw, p, err, want)
		}
	}
	_, err := ParsePhone("0912345678", "")
	if e := core.AsError(err); e == nil || !strings.Contains(e.Hint, "region") {
		t.Errorf("without a region: %v, want a hint to the setting", err)
	}
}

func phone(s string) core.Address { return core.Address{Kind: core.AddressPhone, Value: s} }

// Each line of the corpus is one number in all its ways. Sources: see plans.
var corpus = [][]string{
	{"+5511987654321", "+551187654321"},
	{"+5531996883193", "+553196883193"},
	{"+551133334444"}, // a landline has no ninth digit
	{"+5521911112222"},
	{"+5491158749895", "+541158749895", "+54111558749895"},
	{"+5493874123456", "+543874123456", "+54387154123456"},
	{"+5493873412345", "+543873412345", "+54387315412345"},
	{"+525512345678", "+5215512345678", "+520445512345678", "+520455512345678"},
	{"+2290197123456", "+22997123456"},
	{"+886912345678"},
	{"+14155550100"},
	{"+15215551234"}, // 521 that is no Mexico
	{"+390669812345"},
}

func TestMatchSet_HoldsEveryWayToWriteANumber(t *testing.T) {
	owner := map[Key]string{}
	for _, line := range corpus {
		key := KeyOf(phone(line[0]))
		if other := owner[key]; other != "" {
			t.Errorf("%s and %s are one person", line[0], other)
		}
		owner[key] = line[0]
		if key.String() != "phone:"+line[0] {
			t.Errorf("%s: the key is %v", line[0], key)
		}
		for _, way := range line {
			if got := KeyOf(phone(way)); got != key {
				t.Errorf("%s has the key %v, want %v", way, got, key)
			}
			set := MatchSet(phone(way))
			if set[0] != phone(line[0]) || !slices.Contains(set, phone(way)) {
				t.Errorf("%s: the match set %v", way, set)
			}
			if len(line) > 1 && !slices.Contains(set, phone(line[1])) {
				t.Errorf("%s: the match set %v is without %s", way, set, line[1])
			}
		}
	}
}

func TestKeyOf_ComparesAUserIDAsAWhole(t *testing.T) {
	id := core.Address{Kind: core.AddressBSUID, Value: "BR.551187654321"}
	if k := KeyOf(id); k.String() != "bsuid:BR.551187654321" || k.IsPhone() || !k.IsBSUID() {
		t.Errorf("got %v", k)
	}
	if KeyOf(core.Address{}) != (Key{}) || !ParentKey("").IsZero() || !ParentKey("US.ENT.1").IsParent() {
		t.Error("what is nothing has a key")
	}
	if set := MatchSet(id); len(set) != 1 || set[0] != id {
		t.Errorf("a user id has the match set %v", set)
	}
}

func TestKey_SurvivesJSON(t *testing.T) {
	for _, k := range []Key{KeyOf(phone("+551187654321")), KeyOf(core.Address{Kind: core.AddressBSUID, Value: "odd form. of id"}), ParentKey("US.ENT.1"), {}} {
		data, err := json.Marshal(k)
		var back Key
		if err != nil || json.Unmarshal(data, &back) != nil || back != k {
			t.Errorf("%v became %v by %s: %v", k, back, data, err)
		}
	}
	if err := json.Unmarshal([]byte(`"551187654321"`), new(Key)); err == nil {
		t.Error("digits became a key")
	}
}

func TestTimeZones(t *testing.T) {
	for _, c := range []struct {
		address core.Address
		want    string
	}{
		{phone("+886912345678"), "Asia/Taipei"},
		{phone("+12024561414"), "America/New_York"},
		{phone("+5215512345678"), "America/Mexico_City"},
		{core.Address{Kind: core.AddressBSUID, Value: "TW.42"}, "Asia/Taipei"},
		{core.Address{Kind: core.AddressBSUID, Value: "XX.42"}, ""},
		{core.Address{}, ""},
	} {
		if got := strings.Join(TimeZones(c.address), " "); got != c.want {
			t.Errorf("%s: %q, want %q", core.MaskAddress(c.address.String()), got, c.want)
		}
	}
	if zones := TimeZones(core.Address{Kind: core.AddressBSUID, Value: "US.42"}); len(zones) < 6 || !slices.Contains(zones, "Pacific/Honolulu") {
		t.Errorf("somebody in the US is in %v", zones)
	}
	for cc, zones := range countries() {
		for _, z := range zones {
			if _, err := time.LoadLocation(z); err != nil {
				t.Errorf("%s: %v", cc, err)
			}
		}
	}
}

func TestPhone_IsMaskedWhenPrinted(t *testing.T) {
	p, err := ParsePhone("0912345678", "TW")
	if err != nil || strings.Contains(fmt.Sprintf("%v %s", p, p), "345") {
		t.Errorf("%v, %v", p, err)
	}
}

func FuzzParsePhone(f *testing.F) {
	for _, line := range corpus {
		for _, way := range line {
			f.Add(way, "TW")
		}
	}
	f.Add("US.13491208655302741918", "US")
	f.Add("0912-345-678", "TW")
	f.Add("044 55 1234 5678", "MX")
	f.Fuzz(func(t *testing.T, raw, region string) {
		if k := KeyOf(core.Address{Kind: core.AddressBSUID, Value: raw}); k.IsPhone() {
			t.Fatalf("a user id got the key %v", k)
		}
		p, err := ParsePhone(raw, region)
		if err != nil {
			return
		}
		a := p.Address()
		if err := a.Validate(); err != nil {
			t.Fatalf("%q became %v: %v", raw, a, err)
		}
		if strings.Contains(raw, ".") && strings.ContainsAny(raw, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Fatalf("%q became %v", raw, a)
		}
		key := KeyOf(a)
		if key != p.Key() {
			t.Fatalf("%q: the keys %v and %v", raw, key, p.Key())
		}
		set := MatchSet(a)
		if KeyOf(set[0]).String() != prefixPhone+set[0].Value {
			t.Fatalf("%v is not the canonical form of itself", set[0])
		}
		for _, other := range set {
			if KeyOf(other) != key || other.Validate() != nil {
				t.Fatalf("%v of the match set of %v has the key %v, want %v", other, a, KeyOf(other), key)
			}
		}
	})
}
