package config

import (
	"fmt"
	"os"
	"time"

	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/rate"
)

// RateCard is what WhatsApp charges from a date on: files, as Meta publishes them.
type RateCard struct {
	// EffectiveFrom is the day, such as "2026-10-01", in policy.zone.
	EffectiveFrom string `koanf:"effective_from"`
	// Card, Tiers and Markets are files; all but Card may be empty. Markets says which
	// country belongs to which market, where not as it ships.
	Card    string `koanf:"card"`
	Tiers   string `koanf:"tiers"`
	Markets string `koanf:"markets"`
	// FreeUtility says that utility templates are free while the service window is open.
	FreeUtility bool `koanf:"free_utility_in_window"`
	// International are countries towards which the rate for authentication from abroad
	// is paid.
	International []string `koanf:"authentication_international"`
}

const maxRateCards = 100

// rates reads the files of the tenant's rate cards.
func (d *document) rates(t *Tenant) {
	zone, err := time.LoadLocation(t.Policy.Zone)
	if err != nil {
		zone = time.UTC // noted where the policy is checked
	}
	if len(t.Rates) > maxRateCards {
		d.problem("rates", "%d cards are too many: at most %d", len(t.Rates), maxRateCards)
		return
	}
	var cards []*rate.Card
	from := map[string]bool{}
	for i, r := range t.Rates {
		key := fmt.Sprintf("rates[%d]", i)
		at, err := time.ParseInLocation(time.DateOnly, r.EffectiveFrom, zone)
		switch {
		case err != nil:
			d.problem(key+".effective_from", "%.40q is no day: write it like \"2026-10-01\"", r.EffectiveFrom)
		case from[r.EffectiveFrom]:
			d.problem(key+".effective_from", "another card begins on %s", r.EffectiveFrom)
		}
		from[r.EffectiveFrom] = true
		for _, c := range r.International {
			if !contact.IsRegion(c) {
				d.problem(key+".authentication_international", "%.40q is no country: want two letters of ISO 3166", c)
			}
		}
		if r.Card == "" {
			d.problem(key+".card", "is missing: the rate card that Meta publishes for the account's currency (CSV)")
			continue
		}
		var card *rate.Card
		ok := d.rateFile(key+".card", r.Card, func(f *os.File) (err error) {
			card, err = rate.ReadCard(f)
			return err
		})
		if !ok {
			continue
		}
		card.From, card.FreeUtility, card.International = at, r.FreeUtility, r.International
		if r.Tiers != "" {
			d.rateFile(key+".tiers", r.Tiers, func(f *os.File) error { return card.ReadTiers(f) })
		}
		if r.Markets != "" {
			d.rateFile(key+".markets", r.Markets, func(f *os.File) (err error) {
				card.Markets, err = rate.ReadMarkets(f)
				return err
			})
		}
		cards = append(cards, card)
	}
	if len(cards) > 0 {
		t.Book = rate.NewBook(cards...)
	}
}

// rateFile has a file read, and reports whether that went well.
func (d *document) rateFile(key, path string, read func(*os.File) error) bool {
	f, err := os.Open(d.path(path))
	if err != nil {
		d.problem(key, "there is no file %s", path)
		return false
	}
	defer f.Close()
	if err := read(f); err != nil {
		d.problem(key, "%s: %v", path, err)
		return false
	}
	return true
}
