package broker

import (
	"context"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/store"
)

// What messages cost is booked by what WhatsApp says in their statuses: the first
// pricing object of a message counts, later ones are copies of it. One that fails
// afterwards is taken back, as WhatsApp charges for what is delivered.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/status

const (
	bucketCosts = "costs" // <day>|<campaign>|<category>|<market>|<currency> → CostLine
	keepCosts   = 3 * 366 * 24 * time.Hour
	maxCostDays = 366
)

// Cost counts messages, and adds up what they cost.
type Cost struct {
	// Messages are those that WhatsApp priced; Free and Unknown are among them: those
	// that were free, and those that no rate card has a price for.
	Messages int `json:"messages"`
	Free     int `json:"free,omitempty"`
	Unknown  int `json:"unknown,omitempty"`
	// Low to High is what the others cost: High by list price, Low at the lowest tier
	// of volume.
	Low  rate.Amount `json:"low"`
	High rate.Amount `json:"high"`
}

// Add adds another cost of the same currency.
func (c *Cost) Add(o Cost) {
	c.Messages += o.Messages
	c.Free += o.Free
	c.Unknown += o.Unknown
	c.Low, c.High = c.Low.Plus(o.Low), c.High.Plus(o.High)
}

func (c *Cost) negative() Cost { return Cost{-c.Messages, -c.Free, -c.Unknown, -c.Low, -c.High} }

// CostLine is what messages of one day and kind cost.
type CostLine struct {
	// Day is in the tenant's time (policy.zone).
	Day string `json:"day"`
	// Campaign is empty for messages of none.
	Campaign string `json:"campaign,omitempty"`
	// Category is WhatsApp's, as the status says.
	Category string `json:"category"`
	Market   string `json:"market,omitempty"`
	Currency string `json:"currency,omitempty"`
	Cost
}

// booking is what one message adds.
type booking = CostLine

func (l *CostLine) key(tenant string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketCosts, Key: strings.Join([]string{l.Day, l.Campaign, l.Category, l.Market, l.Currency}, "|")}
}

// CostQuery asks for what messages cost.
type CostQuery struct {
	Tenant string
	// From and To are days, such as "2026-11-27", both included.
	From, To string
	// Campaign, unless empty, is the only one.
	Campaign string
	After    string
	Limit    int
}

// CostPage is a page of lines, by day.
type CostPage struct {
	Lines []CostLine `json:"lines"`
	// Next is set when there may be more.
	Next string `json:"next,omitempty"`
}

// Costs returns what messages cost, a page at a time.
func (b *Broker) Costs(ctx context.Context, q CostQuery) (CostPage, error) {
	t := b.tenants[q.Tenant]
	if t == nil {
		return CostPage{}, noTenant("costs", q.Tenant)
	}
	from, err1 := time.Parse(time.DateOnly, q.From)
	to, err2 := time.Parse(time.DateOnly, q.To)
	if err1 != nil || err2 != nil || to.Before(from) || to.Sub(from) > maxCostDays*24*time.Hour {
		return CostPage{}, core.Errorf(core.CodeInvalid, "costs", "from and to are days, like 2026-11-27, a year apart at most")
	}
	out := CostPage{Lines: []CostLine{}}
	end := q.To + "~" // after all of the day's keys
	entries, err := b.o.Store.Range(ctx, t.ID, bucketCosts, max(q.From, q.After), max(1, q.Limit))
	for _, e := range entries {
		if e.Key > end {
			return out, err
		}
		if l, ok := decode[CostLine](e.Value); ok && l.Cost != (Cost{}) && (q.Campaign == "" || l.Campaign == q.Campaign) {
			out.Lines = append(out.Lines, *l)
		}
		out.Next = e.Key
	}
	if len(entries) < max(1, q.Limit) {
		out.Next = ""
	}
	return out, err
}

// priced books what a status says that its message cost, and what is taken back when it
// failed. It reports whether that changed what is known of the message.
func (t *tenant) priced(u *turn) bool {
	st, m := u.e.Status, u.sent
	switch booked := m.status.Booked; {
	case booked != nil && st.Value == core.StatusFailed && m.status.Value.Advances(st.Value):
		back := *booked
		back.Cost = back.negative()
		t.tally(&u.s, u.e.ID, tallied{Cost: &back})
		m.status.Booked = nil
		u.note("its cost is taken back")
		return true
	case booked != nil || len(st.Pricing) == 0 || m.status.Value == core.StatusFailed || st.Value == core.StatusFailed:
		return false
	}
	charge, ok := rate.ParseCharge(st.Pricing)
	if !ok {
		return false
	}
	to := u.contact.Address()
	if c := u.e.Contact; c != nil && c.Address() != (core.Address{}) { // where it went to
		to = c.Address()
	}
	price := t.Rates.Charged(charge, contact.Country(to), u.e.Time)
	l := &booking{
		Campaign: campaignOf(m.intent), Day: u.e.Time.In(t.zone()).Format(time.DateOnly), Category: string(charge.Category), Market: price.Market, Currency: price.Currency,
		Cost: Cost{Messages: 1},
	}
	switch {
	case charge.Free:
		l.Free = 1
	case price.Unknown != "":
		l.Unknown = 1
		u.note("what it cost is unknown: " + price.Unknown)
	default:
		l.Low, l.High = price.Low, price.High
	}
	m.status.Booked = l
	t.tally(&u.s, u.e.ID, tallied{Cost: l})
	return true
}

func campaignOf(in *intent) string {
	if in == nil {
		return ""
	}
	return in.Campaign
}

// zone is the tenant's own time.
func (t *tenant) zone() *time.Location {
	if t.Policy.Zone != nil {
		return t.Policy.Zone
	}
	return time.UTC
}

// addCosts adds to the sums. Nobody else does, one call at a time.
func (t *tenant) addCosts(ctx context.Context, s *store.Settlement, costs []booking) error {
	if len(costs) == 0 {
		return nil
	}
	sums := map[store.Key]*CostLine{}
	var keys []store.Key
	for i := range costs {
		k := costs[i].key(t.ID)
		if sums[k] == nil {
			line := costs[i]
			line.Cost = Cost{}
			sums[k], keys = &line, append(keys, k)
		}
		sums[k].Add(costs[i].Cost)
	}
	values, err := t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	for i, k := range keys {
		if before, ok := decode[CostLine](values[i]); ok {
			sums[k].Add(before.Cost)
		}
		s.Put = append(s.Put, store.Put{Key: k, Value: mustJSON(sums[k]), Expires: time.Now().Add(keepCosts)})
	}
	return nil
}

// countCosts adds to the metrics; what is taken back is not, as they only grow.
func (b *Broker) countCosts(tenant string, costs []booking) {
	const unit = 1e6
	for i := range costs {
		if c := &costs[i]; c.Messages > 0 {
			b.m.priced.WithLabelValues(tenant, c.Category).Inc()
			if c.High > 0 {
				b.m.cost.WithLabelValues(tenant, c.Category, c.Currency).Add(float64(c.High) / unit)
			}
		}
	}
}
