package rate

import (
	_ "embed"
	"io"
	"strings"
	"sync"

	"github.com/wabridge/wabridge/core"
)

// Other is the market of countries that have none of their own, nor a region's.
const Other = "Other"

// Markets says which market a country belongs to.
type Markets struct {
	names   map[string]string // country → its name in cards
	markets map[string]string // country → the market it belongs to
}

// marketsThatShip are the groups of countries as Meta's pricing page had them in 2026.
// Which country has a row of its own, cards say themselves.
//
//go:embed markets.csv
var marketsThatShip string

// DefaultMarkets are those that ship.
var DefaultMarkets = sync.OnceValue(func() *Markets {
	m, err := ReadMarkets(strings.NewReader(marketsThatShip))
	if err != nil {
		panic("rate: markets.csv: " + err.Error())
	}
	return m
})

// ReadMarkets reads a country map (CSV): a row for each country, under
//
//	Country,Name,Market
//
// Country is ISO 3166 (two letters), Name what a card may call it where it has a row of
// its own, Market the one that it belongs to otherwise.
func ReadMarkets(r io.Reader) (*Markets, error) {
	rows, head, err := read(r, "country", "name", "market")
	if err != nil {
		return nil, err
	}
	m := &Markets{names: map[string]string{}, markets: map[string]string{}}
	for _, row := range rows {
		country, market := strings.ToUpper(row.cell(head, "country")), row.cell(head, "market")
		if country == "" && market == "" {
			continue
		}
		if len(country) != 2 || market == "" {
			return nil, row.wrong("markets", "want a country of two letters, and its market")
		}
		if m.markets[country] != "" {
			return nil, row.wrong("markets", "the country is there twice")
		}
		m.names[country], m.markets[country] = row.cell(head, "name"), market
	}
	if len(m.markets) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "markets", "there are no countries in it")
	}
	return m, nil
}

// of is the market that a card has for a country: its own row before its group's,
// before "Other". Empty when the card has none of these.
func (m *Markets) of(c *Card, country string) string {
	for _, name := range []string{m.names[country], m.markets[country], Other} {
		if name != "" && c.Rates[key(name)] != nil {
			return name
		}
	}
	return ""
}
