package template

import (
	"fmt"
	"slices"
	"strings"
)

// The cards of a carousel show pictures or videos that a message brings, or products of a
// catalog.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/marketing-templates/media-card-carousel-templates
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/marketing-templates/product-card-carousel-templates

const (
	minCards        = 2
	maxCards        = 10
	maxCardBody     = 160 // characters, with the values of its variables
	maxCardLines    = 2   // line breaks
	maxCardButtons  = 2
	product         = "PRODUCT" // the format of a card's header
	viewProduct     = "SPM"     // a button that shows the card's product
	cardsAreTheSame = "give all cards the same components, in one order"
)

// cards looks at the cards of a carousel.
func (l *linter) cards(cards []Card) {
	if l.d.Category != "marketing" {
		l.add("make it a marketing template", "it has a carousel, and only marketing templates may")
	}
	if n := len(cards); n < minCards || n > maxCards {
		l.add("", "the carousel has %d cards, and may have %d to %d", n, minCards, maxCards)
	}
	for i := range cards {
		where := fmt.Sprintf("card %d: ", i)
		l.card(where, &cards[i])
		if i > 0 && !slices.Equal(shape(&cards[i]), shape(&cards[0])) {
			l.add(cardsAreTheSame, "%sit has %s, and the first card %s", where, strings.Join(shape(&cards[i]), ", "), strings.Join(shape(&cards[0]), ", "))
		}
	}
}

func (l *linter) card(where string, c *Card) {
	l.components(where, c.Components)
	h := find(c.Components, Header)
	if h == nil {
		l.add("give each card an image, a video or a product", "%sit has no header", where)
		return
	}
	format := strings.ToUpper(h.Format)
	if format != Image && format != Video && format != product {
		l.add("an image, a video or a product", "%sits header is of the format %.20q", where, h.Format)
	}
	for _, p := range c.Components {
		kind := strings.ToUpper(p.Type)
		if kind != Header && kind != Buttons && (kind != Body || format == product) {
			l.add("leave it out", "%sit has a component of the type %.20s, and may have none", where, strings.ToLower(p.Type))
		}
	}
	if b := find(c.Components, Body); b != nil {
		what := where + "the body"
		if strings.TrimSpace(b.Text) != "" {
			l.length(what, b.Text, maxCardBody)
		}
		// Meta says so of cards that are sent without a template, and of these nothing:
		// https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/interactive-media-carousel-messages
		if n := strings.Count(b.Text, "\n"); n > maxCardLines {
			l.out = append(l.out, Problem{Perhaps: true, Text: fmt.Sprintf("%s has %d line breaks: perhaps more than Meta takes", what, n),
				Hint: fmt.Sprintf("write it with %d at most", maxCardLines)})
		}
	}
	l.cardButtons(where, format, find(c.Components, Buttons))
}

func (l *linter) cardButtons(where, format string, p *Component) {
	most, kinds := maxCardButtons, []string{QuickReply, URL, PhoneNumber}
	if format == product {
		most, kinds = 1, []string{viewProduct, URL}
	}
	if p == nil {
		if format == product {
			l.add("", "%sa product's card has one button", where)
		}
		return
	}
	if n := len(p.Buttons); n > most {
		l.add("", "%sit has %s, and may have %d", where, count(n, "button"), most)
	}
	for i, b := range p.Buttons {
		if !slices.Contains(kinds, strings.ToUpper(b.Type)) {
			l.add(strings.ToLower(strings.Join(kinds, ", ")), "%sbutton %d is of the type %.20q", where, i, b.Type)
		}
	}
}

// shape is which components and buttons a card has, in their order.
func shape(c *Card) []string {
	var out []string
	for _, kind := range []string{Header, Body, Footer} {
		if p := find(c.Components, kind); p != nil {
			out = append(out, strings.TrimSpace(strings.ToLower(kind+" "+p.Format)))
		}
	}
	if p := find(c.Components, Buttons); p != nil {
		for _, b := range p.Buttons {
			out = append(out, strings.ToLower(b.Type)+" button")
		}
	}
	return out
}

func checkCards(defined *Component, g *given, named bool) string {
	if defined == nil {
		return ""
	}
	var cards []givenCard
	if g != nil {
		cards = g.Cards
	}
	most := len(defined.Cards)
	// Of a catalog's products a message may show more than the template was made with.
	if most > 0 && headerOf(&defined.Cards[0]) == product {
		most = maxCards
		if len(cards) < minCards || len(cards) > most {
			return fmt.Sprintf("its carousel has %s, and may have %d to %d", count(len(cards), "card"), minCards, most)
		}
	} else if len(cards) != most {
		return fmt.Sprintf("its carousel has %s, and the template wants %d", count(len(cards), "card"), most)
	}
	seen := map[looseInt]bool{}
	for _, c := range cards {
		if c.Index < 0 || int(c.Index) >= len(cards) || seen[c.Index] {
			return fmt.Sprintf("card_index %d is not one of 0 to %d, each once", c.Index, len(cards)-1)
		}
		seen[c.Index] = true
		of := defined.Cards[min(int(c.Index), len(defined.Cards)-1)]
		if why := checkParts(of.Components, c.Components, named, maxCardBody); why != "" {
			return fmt.Sprintf("card %d: %s", c.Index, why)
		}
	}
	return ""
}

func headerOf(c *Card) string {
	if h := find(c.Components, Header); h != nil {
		return strings.ToUpper(h.Format)
	}
	return ""
}
