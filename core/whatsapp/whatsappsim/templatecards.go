package whatsappsim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// checkCardsOf finds the cards of a carousel good, or says why not.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/marketing-templates/media-card-carousel-templates
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/marketing-templates/product-card-carousel-templates
func (p *part) checkCardsOf(b *templateBody) *graphError {
	if b.Category != "MARKETING" && b.Category != "" { // an edit may be without one
		return invalid("Only templates of the category MARKETING have a carousel")
	}
	if n := len(p.Cards); n < 2 || n > 10 {
		return invalid("A carousel has 2 to 10 cards")
	}
	p.cards = nil
	for i, c := range p.Cards {
		of, refusal := readParts(c.Components)
		if refusal != nil {
			return refusal
		}
		if err := first(checkPartsOf(of, b), checkCard(of)); err != nil {
			return err
		}
		p.cards = append(p.cards, of)
		if i > 0 && !slices.Equal(shapeOf(of), shapeOf(p.cards[0])) {
			return invalid("All cards of a carousel must have the same components: card %d has not those of the first", i)
		}
	}
	return nil
}

func checkCard(of []part) *graphError {
	header := ""
	for i := range of {
		if of[i].Type == "HEADER" {
			header = of[i].Format
		}
	}
	if !slices.Contains([]string{"IMAGE", "VIDEO", "PRODUCT"}, header) {
		return invalid("The header of a card must be one of {IMAGE, PRODUCT, VIDEO} - got %q.", header)
	}
	most, kinds, buttons := 2, []string{"PHONE_NUMBER", "QUICK_REPLY", "URL"}, 0
	if header == "PRODUCT" {
		most, kinds = 1, []string{"SPM", "URL"}
	}
	for i := range of {
		switch p := &of[i]; {
		case p.Type == "HEADER":
		case p.Type == "BODY" && header != "PRODUCT":
			if utf8.RuneCountInString(p.Text) > 160 {
				return ofTemplates(2388040, "Character limit exceeded", "The body of a card has 160 characters at most.")
			}
		case p.Type == "BUTTONS":
			for _, x := range p.Buttons {
				if !slices.Contains(kinds, x.Type) {
					return invalid("The type of a card's button must be one of %v - got %q.", kinds, x.Type)
				}
			}
			if buttons = len(p.Buttons); buttons > most {
				return invalid("A card has at most %d buttons", most)
			}
		default:
			return invalid("A card has no component of the type %s", p.Type)
		}
	}
	if header == "PRODUCT" && buttons == 0 {
		return invalid("A card of a product has a button")
	}
	return nil
}

// shapeOf is what is alike on all cards.
func shapeOf(of []part) []string {
	var out []string
	for i := range of {
		kinds := []string{of[i].Type, of[i].Format}
		for _, x := range of[i].Buttons {
			kinds = append(kinds, x.Type)
		}
		out = append(out, strings.Join(kinds, " "))
	}
	slices.Sort(out)
	return out
}

// checkCards checks the cards of a send against those of the template: as many, but of a
// catalog's products up to ten.
func (t *storedTemplate) checkCards(p *part, sent []sentPart) *graphError {
	var cards []struct {
		Index      *int       `json:"card_index"`
		Components []sentPart `json:"components"`
	}
	for _, c := range sent {
		if strings.EqualFold(c.Type, "carousel") && json.Unmarshal(c.Cards, &cards) != nil {
			return invalid("Param template['components']['cards'] must be an array")
		}
	}
	products := slices.ContainsFunc(p.cards[0], func(c part) bool { return c.Format == "PRODUCT" })
	if n := len(cards); products && (n < 2 || n > 10) || !products && n != len(p.cards) {
		return errorOf(132012, fmt.Sprintf("carousel: Number of cards (%d) does not match the expected number of cards (%d)", n, len(p.cards)))
	}
	for i, c := range cards {
		if c.Index == nil || *c.Index != i {
			return wrongValue("card_index of card %d must be %d", i, i)
		}
		for _, s := range c.Components {
			if !slices.Contains([]string{"header", "body", "button"}, strings.ToLower(s.Type)) {
				return invalid("Param cards[%d]['components'] has an unknown type %q", i, s.Type)
			}
		}
		if err := t.checkParts(p.cards[min(i, len(p.cards)-1)], c.Components); err != nil {
			return err
		}
	}
	return nil
}
