package rate

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// As Meta writes it: a title above, a header over two lines, its own word for dollars.
const cards = `"Rates (USD), effective October 1, 2026"
Market,Currency,Marketing,Utility,Authentication,"Authentication-
International",Service
India,$US,0.0118,0.0014,0.0014,0.0280,0.0014
North America,$US,0.0250,0.0034,n/a,n/a,0.0034
Poland,$US,"1,234.5",0.01,0.01,,
Rest of Central & Eastern Europe,$US,0.0860,0.0212,0.0212,n/a,n/a
Rest of Latin America,$US,0.0740,0.0113,0.0113,n/a,0.0113
Other,$US,0.0604,0.0077,0.0077,n/a,0.0077
`

func day(s string) time.Time {
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return at
}

func book(t *testing.T, change func(*Card)) *Book {
	t.Helper()
	c, err := ReadCard(strings.NewReader(cards))
	if err != nil {
		t.Fatal(err)
	}
	c.From = day("2026-10-01")
	if change != nil {
		change(c)
	}
	old, err := ReadCard(strings.NewReader("Market,Currency,Marketing\nOther,USD,0.05\n"))
	if err != nil {
		t.Fatal(err)
	}
	old.From, old.FreeUtility = day("2026-07-01"), true
	return NewBook(old, c)
}

func TestPrice_IsOfTheMarketTheCategoryAndTheDay(t *testing.T) {
	b := book(t, func(c *Card) {
		c.International = []string{"IN"}
		if err := c.ReadTiers(strings.NewReader("Market,Category,From,To,Rate\nIndia,Utility,1,1000,0.0014\nIndia,utility,1001,,0.0009\n")); err != nil {
			t.Fatal(err)
		}
	})
	on := day("2026-11-27")
	for _, c := range []struct {
		name string
		m    Message
		want string
	}{
		{"a row of its own", Message{Country: "PL", Category: Marketing, At: on}, "1234.50 USD in Poland"},
		{"a region's row", Message{Country: "CZ", Category: Marketing, At: on}, "0.086 USD in Rest of Central & Eastern Europe"},
		{"+1 809", Message{Country: "DO", Category: Marketing, At: on}, "0.074 USD in Rest of Latin America"},
		{"+1 876", Message{Country: "JM", Category: Marketing, At: on}, "0.074 USD in Rest of Latin America"},
		{"+1 242", Message{Country: "BS", Category: Marketing, At: on}, "0.025 USD in North America"},
		{"a region that the card lacks", Message{Country: "TW", Category: Marketing, At: on}, "0.0604 USD in Other"},
		{"a country that no map has", Message{Country: "FJ", Category: Utility, At: on}, "0.0077 USD in Other"},
		{"tiers are a range", Message{Country: "IN", Category: Utility, At: on}, "0.0009-0.0014 USD in India"},
		{"authentication from abroad", Message{Country: "IN", Category: Authentication, At: on}, "0.028 USD in India"},
		{"lite is marketing", Message{Country: "US", Category: MarketingLite, At: on}, "0.025 USD in North America"},
		{"n/a", Message{Country: "US", Category: Authentication, At: on}, "unknown: the rate card of 2026-10-01 has no price for authentication in North America"},
		{"utility in the window, which this card charges", Message{Country: "US", Category: Utility, At: on, Window: true}, "0.0034 USD in North America"},
		{"utility in the window, free before", Message{Country: "US", Category: Utility, At: day("2026-09-30"), Window: true}, "0.00 USD in Other"},
		{"came by an ad", Message{Country: "US", Category: Marketing, At: on, FreeEntry: true}, "0.00 USD in North America"},
		{"the day before", Message{Country: "US", Category: Marketing, At: day("2026-10-01").Add(-1)}, "0.05 USD in Other"},
		{"the day", Message{Country: "US", Category: Marketing, At: day("2026-10-01")}, "0.025 USD in North America"},
		{"before all cards", Message{Country: "US", Category: Marketing, At: day("2026-06-30")}, "unknown: no rate card holds on 2026-06-30: the first begins on 2026-07-01"},
		{"nobody knows where", Message{Category: Marketing, At: on}, "unknown: the country is unknown"},
		{"a category of tomorrow", Message{Country: "US", Category: "general_purpose_ai", At: on}, "unknown: the rate card of 2026-10-01 has no price for general_purpose_ai in North America"},
	} {
		if got := inWords(b.Price(c.m)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := inWords((*Book)(nil).Price(Message{Country: "US", Category: Marketing, At: on})); got != "unknown: no rate card is set: see [[rates]]" {
		t.Errorf("without cards: %s", got)
	}
}

func inWords(p Price) string {
	switch {
	case p.Unknown != "":
		return "unknown: " + p.Unknown
	case p.Low != p.High:
		return p.Low.String() + "-" + p.High.String() + " " + p.Currency + " in " + p.Market
	}
	return p.High.String() + " " + p.Currency + " in " + p.Market
}

func TestCharged_IsWhatThePricingObjectSays(t *testing.T) {
	b, on := book(t, nil), day("2026-11-27")
	for _, c := range []struct{ pricing, want string }{
		{`{"billable":true,"pricing_model":"PMP","type":"regular","category":"marketing"}`, "0.025 USD in North America"},
		{`{"billable":false,"pricing_model":"PMP","type":"regular","category":"marketing"}`, "0.025 USD in North America"}, // type counts
		{`{"pricing_model":"PMP","type":"regular","category":"marketing_lite"}`, "0.025 USD in North America"},
		{`{"billable":true,"type":"free_entry_point","category":"marketing"}`, "0.00 USD in North America"},
		{`{"billable":false,"type":"free_customer_service","category":"service"}`, "0.00 USD in North America"},
		{`{"billable":true,"type":"regular","category":"service"}`, "0.0034 USD in North America"},
		{`{"billable":false,"category":"utility"}`, "0.00 USD in North America"},
		{`{"type":"regular","category":"authentication_international"}`, "unknown: the rate card of 2026-10-01 has no price for authentication-international in North America"},
	} {
		charge, ok := ParseCharge([]byte(c.pricing))
		if got := inWords(b.Charged(charge, "US", on)); !ok || got != c.want {
			t.Errorf("%s: %s, want %s", c.pricing, got, c.want)
		}
	}
	for _, bad := range []string{``, `null`, `{}`, `[]`, `{"category":7}`} {
		if _, ok := ParseCharge([]byte(bad)); ok {
			t.Errorf("%q is a charge", bad)
		}
	}
}

func TestReadCard_SaysWhatIsWrongAndWhere(t *testing.T) {
	const head = "Market,Currency,Marketing\n"
	for file, want := range map[string]string{
		"":                                   "no line is the header",
		"Market,Currency\nOther,USD\n":       "no column is a category",
		head:                                 "there are no markets",
		head + "Other,USD,1e-3\n":            "line 2: marketing: rate: \"1e-3\" is no amount",
		head + "Other,USD,-1\n":              "is no amount",
		head + "Other,USD,0.0000001\n":       "at most 6 decimals",
		head + "Other,USD,\"1,2\"\n":         "is no amount",
		head + "Other,USD,1\nIndia,INR,2\n":  "line 3: the currency is another",
		head + "Other,dollars,1\n":           "the currency is none",
		head + "Other,USD,1\nother ,USD,2\n": "line 3: the market is there twice",
		"Market,Currency,Utility,utility\nOther,USD,1,2": "two columns are utility",
	} {
		if _, err := ReadCard(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
	c, err := ReadCard(strings.NewReader(cards))
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"Market,Category,From,To,Rate\nMars,utility,1,,0.1\n":        "line 2: no such market",
		"Market,Category,From,To,Rate\nIndia,gossip,1,,0.1\n":        "no such market or category",
		"Market,Category,From,To,Rate\nIndia,utility,0,,0.1\n":       "from is the number",
		"Market,Category,From,To,Rate\nIndia,utility,10,9,0.1\n":     "to is the number",
		"Market,Category,From,To,Rate\nIndia,utility,1,,a trifle\n":  "is no amount",
		"Market,Category,From,Rate\nIndia,utility,1,0.1\n":           "want the columns market, category, from, to, rate",
		"Market,Category,From,To,Rate\nIndia,utility,many,2,0.001\n": "from is the number",
	} {
		if err := c.ReadTiers(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
	for file, want := range map[string]string{
		"Country,Name,Market\nUSA,x,y\n":                                "line 2: want a country of two letters",
		"Country,Name,Market\nUS,x,y\nus,x,z\n":                         "twice",
		"Country,Name,Market\n":                                         "there are no countries",
		"Country,Market\nUS,North America\n":                            "want the columns country, name, market",
		strings.Repeat("x", maxFile+2):                                  "more than",
		"Country,Name,Market\n" + strings.Repeat("\"\",,\n", maxRows+1): "more than 5000 rows",
	} {
		if _, err := ReadMarkets(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", file, err, want)
		}
	}
}

func TestAmount_IsExactAndReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Amount(rapid.Int64Range(-1e15, 1e15).Draw(t, "millionths"))
		var back Amount
		text, err := a.MarshalText()
		if err == nil {
			err = back.UnmarshalText(text)
		}
		if err != nil || back != a {
			t.Fatalf("%d is %s is %d: %v", a, text, back, err)
		}
	})
	if got := Amount(100_000).Times(3); got.String() != "0.30" {
		t.Errorf("0.1 × 3 = %s", got)
	}
	const most = Amount(1<<63 - 1)
	if most.Times(2) != most || most.Plus(1) != most {
		t.Error("an amount ran over")
	}
}

func TestMarkets_ThoseThatShipAreCountries(t *testing.T) {
	m := DefaultMarkets()
	if len(m.markets) < 130 || m.markets["PR"] != "Rest of Latin America" || m.markets["TW"] != "Rest of Asia Pacific" {
		t.Errorf("%d countries, PR %q, TW %q", len(m.markets), m.markets["PR"], m.markets["TW"])
	}
}

func FuzzReadCard(f *testing.F) {
	f.Add(cards)
	f.Fuzz(func(t *testing.T, file string) {
		if c, err := ReadCard(strings.NewReader(file)); err == nil && (len(c.Currency) != 3 || len(c.Rates) == 0) {
			t.Errorf("%q, %d markets", c.Currency, len(c.Rates))
		}
	})
}
