package rate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Book are the rate cards of an account. Its methods may be called concurrently; a nil
// one knows no price.
type Book struct {
	cards []*Card // by From, the latest first
}

// NewBook makes one of cards.
func NewBook(cards ...*Card) *Book {
	b := &Book{cards: slices.Clone(cards)}
	slices.SortStableFunc(b.cards, func(a, c *Card) int { return c.From.Compare(a.From) })
	return b
}

// Message is what a price is asked for.
type Message struct {
	// Country is the recipient's (ISO 3166), "" when nobody knows.
	Country  string
	Category Category
	At       time.Time
	// Window says that the person's service window is open, FreeEntry that they came by
	// an ad within the last days, so that everything is free.
	Window    bool
	FreeEntry bool
}

// Price is what a message costs, from Low to High: Low is what it costs once the
// account's volume has reached the lowest tier, High the list price. Unknown says why
// there is no price; Low and High mean nothing then.
type Price struct {
	Market   string `json:"market,omitempty"`
	Currency string `json:"currency,omitempty"`
	Low      Amount `json:"low"`
	High     Amount `json:"high"`
	// Why is in words what it depends on.
	Why     string `json:"why,omitempty"`
	Unknown string `json:"unknown,omitempty"`
}

// Cost is what several messages would cost together.
type Cost struct {
	Currency string `json:"currency,omitempty"`
	Low      Amount `json:"low"`
	High     Amount `json:"high"`
	// Unknown are messages without a price, and Why they have none: at most 20 reasons.
	Unknown int      `json:"unknown,omitempty"`
	Why     []string `json:"why,omitempty"`
}

const maxWhy = 20

// Add adds n messages of a price.
func (c *Cost) Add(p Price, n int) {
	switch {
	case n <= 0:
	case p.Unknown == "":
		c.Currency = p.Currency
		c.Low, c.High = c.Low.Plus(p.Low.Times(n)), c.High.Plus(p.High.Times(n))
	default:
		c.Unknown += n
		if !slices.Contains(c.Why, p.Unknown) && len(c.Why) < maxWhy {
			c.Why = append(slices.Clip(c.Why), p.Unknown)
		}
	}
}

func unknown(format string, args ...any) Price { return Price{Unknown: fmt.Sprintf(format, args...)} }

// Price is what a message would cost.
func (b *Book) Price(m Message) Price {
	c, p := b.card(m)
	if c == nil {
		return p
	}
	switch {
	case m.FreeEntry:
		p.Why = "free: the person came by an ad"
		return p
	case m.Category == Utility && m.Window && c.FreeUtility:
		p.Why = "free: utility while the service window is open"
		return p
	case m.Category == Authentication && slices.Contains(c.International, m.Country):
		m.Category = International
	}
	return c.price(p, m.Category)
}

// Charge is what WhatsApp charged for a message, by the pricing object of its status:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/status
type Charge struct {
	Category Category
	Free     bool
}

// ParseCharge reads a pricing object. Where billable and type contradict each other,
// type counts.
func ParseCharge(raw json.RawMessage) (Charge, bool) {
	var p struct {
		Billable *bool  `json:"billable"`
		Type     string `json:"type"`
		Category string `json:"category"`
	}
	if json.Unmarshal(raw, &p) != nil || p.Category == "" || len(p.Category) > 60 {
		return Charge{}, false
	}
	c := Charge{Category: Category(strings.ReplaceAll(p.Category, "authentication_international", string(International)))}
	switch {
	case strings.HasPrefix(p.Type, "free"):
		c.Free = true
	case p.Type == "" && p.Billable != nil:
		c.Free = !*p.Billable
	}
	return c, true
}

// Charged is the price of a message that WhatsApp charged.
func (b *Book) Charged(c Charge, country string, at time.Time) Price {
	card, p := b.card(Message{Country: country, At: at, Category: c.Category})
	switch {
	case card == nil && !c.Free:
		return p
	case c.Free:
		p.Unknown, p.Why = "", "free, as WhatsApp says"
		return p
	}
	return card.price(p, c.Category)
}

// card returns the card that holds for a message, with the market; nil with the reason
// when there is none.
func (b *Book) card(m Message) (*Card, Price) {
	if b == nil || len(b.cards) == 0 {
		return nil, unknown("no rate card is set: see [[rates]]")
	}
	i := slices.IndexFunc(b.cards, func(c *Card) bool { return !m.At.Before(c.From) })
	if i < 0 {
		return nil, unknown("no rate card holds on %s: the first begins on %s", m.At.Format(time.DateOnly), b.cards[len(b.cards)-1].From.Format(time.DateOnly))
	}
	c := b.cards[i]
	if m.Country == "" {
		return nil, unknown("the country is unknown")
	}
	markets := c.Markets
	if markets == nil {
		markets = DefaultMarkets()
	}
	market := markets.of(c, m.Country)
	if market == "" {
		return nil, unknown("the rate card of %s has no market for %s", c.From.Format(time.DateOnly), m.Country)
	}
	return c, Price{Market: market, Currency: c.Currency}
}

func (c *Card) price(p Price, category Category) Price {
	rates := c.Rates[key(p.Market)]
	rate, ok := rates[category]
	if !ok && category == MarketingLite {
		category = Marketing
		rate, ok = rates[category]
	}
	if !ok {
		p.Unknown = fmt.Sprintf("the rate card of %s has no price for %s in %s", c.From.Format(time.DateOnly), category, p.Market)
		return p
	}
	p.Low, p.High, p.Why = rate, rate, fmt.Sprintf("%s in %s", category, p.Market)
	for _, t := range c.Tiers {
		if t.Market == key(p.Market) && t.Category == category {
			p.Low, p.High = min(p.Low, t.Rate), max(p.High, t.Rate)
		}
	}
	return p
}
