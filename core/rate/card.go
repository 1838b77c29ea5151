// Package rate says what WhatsApp charges for a message: rate cards with the date
// from which they hold, the market of a recipient, and the price of a message of a
// category. It reads what it is given, and keeps nothing.
//
// Since July 2025 WhatsApp charges for each template message that is delivered, by the
// market of the recipient's country and the template's category. Prices change by
// announcement; which of them hold is the owner's to say, by files.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/pricing
package rate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/wabridge/wabridge/core"
)

// Category is what WhatsApp prices a message as.
type Category string

// The categories that rate cards have, in the words of status webhooks.
const (
	Marketing      Category = "marketing"
	MarketingLite  Category = "marketing_lite" // by the marketing messages API; as Marketing unless a card has its own
	Utility        Category = "utility"
	Authentication Category = "authentication"
	International  Category = "authentication-international"
	Service        Category = "service" // what is no template
)

// columns are the headers of a card, without case and signs.
var columns = map[string]Category{
	"marketing": Marketing, "marketinglite": MarketingLite, "utility": Utility, "authentication": Authentication,
	"authenticationinternational": International, "service": Service,
}

// Card is what messages cost from a date on.
type Card struct {
	// From is when it begins to hold: until a later one does.
	From     time.Time
	Currency string
	// Rates are by market and category. What is not in there has no price: "n/a".
	Rates map[string]map[Category]Amount
	// Tiers are what it costs from a volume on; may be empty.
	Tiers []Tier
	// FreeUtility says that utility templates are free while the person's service
	// window is open.
	FreeUtility bool
	// Markets say where a country belongs; nil is as it ships.
	Markets *Markets
	// International are the countries (ISO 3166) towards which the business pays the
	// rate for authentication from abroad.
	International []string
}

// Tier is a lower price from a monthly volume on: for the messages after From, up to To.
type Tier struct {
	Market   string
	Category Category
	From, To int // To is 0 for no end
	Rate     Amount
}

// Bounds of a file.
const (
	maxFile = 1 << 20 // bytes
	maxRows = 5000
)

// ReadCard reads a card as Meta publishes them (CSV): a row for each market, under
//
//	Market,Currency,Marketing,Utility,Authentication,Authentication-International,Service
//
// Columns may be missing and in any order, "n/a" is no price, and lines before the
// header are skipped. All rows have one currency.
func ReadCard(r io.Reader) (*Card, error) {
	rows, head, err := read(r, "market", "currency")
	if err != nil {
		return nil, err
	}
	c := &Card{Rates: map[string]map[Category]Amount{}}
	at := map[Category]int{}
	for i, h := range head {
		if category, ok := columns[h]; ok {
			if _, twice := at[category]; twice {
				return nil, core.Errorf(core.CodeInvalid, "rate card", "two columns are %s", category)
			}
			at[category] = i
		}
	}
	if len(at) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "rate card", "no column is a category: want Marketing, Utility, Authentication, Authentication-International, Service")
	}
	for _, row := range rows {
		market := row.cell(head, "market")
		if market == "" {
			continue
		}
		currency := currencyOf(row.cell(head, "currency"))
		switch {
		case len(currency) != 3:
			return nil, row.wrong("rate card", "the currency is none: want three letters, like USD")
		case c.Currency != "" && c.Currency != currency:
			return nil, row.wrong("rate card", "the currency is another than above: a card has one; take the file of the account's currency")
		case c.Rates[key(market)] != nil:
			return nil, row.wrong("rate card", "the market is there twice")
		}
		c.Currency, c.Rates[key(market)] = currency, map[Category]Amount{}
		for category, i := range at {
			cell := row.at(i)
			if none(cell) {
				continue
			}
			amount, err := ParseAmount(cell)
			if err != nil {
				return nil, row.wrong("rate card", "%s: %v", category, err)
			}
			c.Rates[key(market)][category] = amount
		}
	}
	if len(c.Rates) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "rate card", "there are no markets in it")
	}
	return c, nil
}

// ReadTiers reads the volume tiers of a card (CSV): a row for each market, category
// and tier, under
//
//	Market,Category,From,To,Rate
//
// From is the first message of the month that the rate is for, To the last one; empty
// is no end.
func (c *Card) ReadTiers(r io.Reader) error {
	rows, head, err := read(r, "market", "category", "from", "to", "rate")
	if err != nil {
		return err
	}
	for _, row := range rows {
		t := Tier{Market: row.cell(head, "market"), Category: columns[plain(row.cell(head, "category"))]}
		if t.Market == "" {
			continue
		}
		var bad bool
		if t.From, bad = row.count(head, "from"); bad || t.From < 1 {
			return row.wrong("rate tiers", "from is the number of the first message, 1 or more")
		}
		if t.To, bad = row.count(head, "to"); bad || t.To != 0 && t.To < t.From {
			return row.wrong("rate tiers", "to is the number of the last message, or empty")
		}
		if c.Rates[key(t.Market)] == nil || t.Category == "" {
			return row.wrong("rate tiers", "no such market or category in the card: %.60q, %.60q", t.Market, row.cell(head, "category"))
		}
		if t.Rate, err = ParseAmount(row.cell(head, "rate")); err != nil {
			return row.wrong("rate tiers", "%v", err)
		}
		t.Market = key(t.Market)
		c.Tiers = append(c.Tiers, t)
	}
	return nil
}

// currencyOf reads "USD" and what Meta's cards have for it: "$US".
func currencyOf(s string) string {
	if s = strings.ToUpper(s); s == "$US" || s == "US$" {
		return "USD"
	}
	return strings.TrimSpace(s)
}

func none(cell string) bool {
	switch strings.ToLower(cell) {
	case "", "n/a", "na", "-":
		return true
	}
	return false
}

// key is a market's name without what its spellings differ in.
func key(market string) string {
	return strings.Join(strings.Fields(strings.ToLower(strings.ReplaceAll(market, "&", " and "))), " ")
}

// plain is a header without case, spaces and signs.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// row is a line of a file.
type row struct {
	line  int
	cells []string
}

func (r row) at(i int) string {
	if i < 0 || i >= len(r.cells) {
		return ""
	}
	return strings.TrimSpace(r.cells[i])
}

func (r row) cell(head []string, name string) string {
	for i, h := range head {
		if h == name {
			return r.at(i)
		}
	}
	return ""
}

// count reads a whole number; empty is 0.
func (r row) count(head []string, name string) (n int, bad bool) {
	text := strings.ReplaceAll(r.cell(head, name), ",", "")
	if len(text) > 15 {
		return 0, true
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, true
		}
		n = n*10 + int(c-'0')
	}
	return n, false
}

func (r row) wrong(op, format string, args ...any) error {
	e := core.Errorf(core.CodeInvalid, op, format, args...)
	e.Message = fmt.Sprintf("line %d: ", r.line) + e.Message
	return e
}

// read reads the rows of a CSV file below the first line that has all of the columns,
// and its header.
func read(r io.Reader, needed ...string) (rows []row, head []string, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxFile {
		return nil, nil, core.Errorf(core.CodeInvalid, "rates", "the file has more than %d bytes: that is no rate card", maxFile)
	}
	in := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(data), "\ufeff")))
	in.FieldsPerRecord, in.LazyQuotes = -1, true
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, core.Errorf(core.CodeInvalid, "rates", "%w", err)
		}
		line, _ := in.FieldPos(0)
		if head == nil {
			head = header(cells, needed)
			continue
		}
		if rows = append(rows, row{line, cells}); len(rows) > maxRows {
			return nil, nil, core.Errorf(core.CodeInvalid, "rates", "there are more than %d rows", maxRows)
		}
	}
	if head == nil {
		return nil, nil, core.Errorf(core.CodeInvalid, "rates", "no line is the header: want the columns %s", strings.Join(needed, ", "))
	}
	return rows, head, nil
}

// header returns the names of a line's cells if all that are needed are among them.
func header(cells, needed []string) []string {
	head := make([]string, len(cells))
	for i, c := range cells {
		head[i] = plain(c)
	}
	for _, n := range needed {
		found := false
		for _, h := range head {
			found = found || h == n
		}
		if !found {
			return nil
		}
	}
	return head
}
