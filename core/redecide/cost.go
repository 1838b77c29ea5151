package redecide

import (
	"encoding/json"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/script"
)

// Prices say what messages cost, for a forecast. nil knows nothing of it.
type Prices struct {
	Book *rate.Book
	// At is when the messages would be sent.
	At time.Time
	// Category is a template's at WhatsApp.
	Category func(name, language string) rate.Category
}

// of returns what a reply costs. In answer to a message the service window is open; when
// something else was decided about, nobody knows, and it is taken to be closed.
func (p *Prices) of(a *script.Action, country string, kind core.Kind) rate.Price {
	m := rate.Message{Country: country, Category: rate.Service, At: p.At, Window: kind == core.KindMessageReceived}
	if a.Message != nil && a.Message.Template != nil {
		m.Category = p.Category(a.Message.Template.Name, a.Message.Template.Language)
	}
	return p.Book.Price(m)
}

// country is that of the person whom a decision was about.
func (p *Pair) country() string {
	if to := p.given.Contact.Address(); to != (core.Address{}) {
		return contact.Country(to)
	}
	var e struct{ Contact *core.Contact }
	if json.Unmarshal(p.Step.Recorded.Event, &e) != nil || e.Contact == nil {
		return ""
	}
	return contact.Country(e.Contact.Address())
}
