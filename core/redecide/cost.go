package redecide

import (
	"strings"

	"github.com/wabridge/wabridge/core/script"
)

// Prices say what messages cost, for a forecast. nil knows nothing of it.
type Prices struct {
	Currency string
	// Message is what a message costs of which no rate tells.
	Message float64
	Rates   []Rate
	// Category is a template's: "marketing", "utility" or "authentication".
	Category func(name, language string) string
}

// Rate is the price of messages of a category to numbers that begin so. Either
// may be empty: it then fits all.
type Rate struct {
	// Category is a template's, or "service" for what is no template.
	Category string
	Prefix   string // "+34"
	Cost     float64
}

// of returns what a reply to a phone number costs: by the rate with the longest
// prefix, of those one that names the category.
func (p *Prices) of(a *script.Action, phone string) float64 {
	category := "service"
	if m := a.Message; m != nil && m.Template != nil {
		category = p.Category(m.Template.Name, m.Template.Language)
	}
	cost, best := p.Message, -1
	for _, r := range p.Rates {
		if r.Category != "" && r.Category != category || !strings.HasPrefix(phone, r.Prefix) {
			continue
		}
		fits := 2 * len(r.Prefix)
		if r.Category != "" {
			fits++
		}
		if fits > best {
			cost, best = r.Cost, fits
		}
	}
	return cost
}
