package whatsapp

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// interactive is what of an interactive object has limits.
type interactive struct {
	Type   string   `json:"type"`
	Header *part    `json:"header"`
	Body   *part    `json:"body"`
	Footer *part    `json:"footer"`
	Action struct { // of all types
		Button   string   `json:"button"`
		Name     string   `json:"name"`
		Buttons  []button `json:"buttons"`
		Sections []struct {
			Title    string `json:"title"`
			Rows     []row  `json:"rows"`
			Products []struct {
				ID string `json:"product_retailer_id"`
			} `json:"product_items"`
		} `json:"sections"`
		Parameters struct {
			DisplayText string `json:"display_text"`
			URL         string `json:"url"`
			Country     string `json:"country"`
			flow
		} `json:"parameters"`
		Catalog string `json:"catalog_id"`
		Product string `json:"product_retailer_id"`
		Cards   []card `json:"cards"`
	} `json:"action"`
}

type (
	part struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Image    *file  `json:"image"`
		Video    *file  `json:"video"`
		Document *file  `json:"document"`
	}
	file struct {
		ID   string `json:"id"`
		Link string `json:"link"`
	}
	flow struct {
		Version    string `json:"flow_message_version"`
		ID         string `json:"flow_id"`
		Name       string `json:"flow_name"`
		CTA        string `json:"flow_cta"`
		FlowAction string `json:"flow_action"`
	}
	card struct {
		Index  *int   `json:"card_index"`
		Type   string `json:"type"`
		Header *part  `json:"header"`
		Body   *part  `json:"body"`
		Action struct {
			Buttons    []button `json:"buttons"`
			Parameters struct {
				DisplayText string `json:"display_text"`
				URL         string `json:"url"`
			} `json:"parameters"`
			Catalog string `json:"catalog_id"`
			Product string `json:"product_retailer_id"`
		} `json:"action"`
	}
	button struct {
		Type  string   `json:"type"`
		Reply btnReply `json:"reply"`
		Quick btnReply `json:"quick_reply"` // of a card
	}
	btnReply struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	row struct {
		ID          string `json:"id"`
		Title       string `json:"title"`
		Description string `json:"description"`
	}
)

func checkInteractive(raw json.RawMessage) *core.Error {
	if len(raw) == 0 || len(raw) > maxObject {
		return wrongf("interactive must be the Cloud API's interactive object, of at most %d KiB", maxObject>>10)
	}
	var i interactive
	if err := json.Unmarshal(raw, &i); err != nil || i.Type == "" {
		return wrongf("interactive is not the Cloud API's interactive object")
	}
	if err := firstOf(atMostPart("interactive.footer", i.Footer, maxFooter), checkHeader("interactive.header", i.Header)); err != nil {
		return err
	}
	most := maxBody
	if i.Type == "list" {
		most = maxListBody
	}
	switch i.Type {
	case "product": // shows the product, and may do without a word
		return firstOf(atMostPart("interactive.body", i.Body, most), checkProducts(&i))
	case "button", "list", "cta_url", "flow", "product_list", "catalog_message", "location_request_message", "address_message",
		"call_permission_request", "contact_request", "request_contact_info", "carousel":
		if err := firstOf(needs("interactive.body.text", i.Body), atMostPart("interactive.body", i.Body, most)); err != nil {
			return err
		}
	default:
		return atMostPart("interactive.body", i.Body, maxListBody) // newer types: Meta judges
	}
	switch p := i.Action.Parameters; i.Type {
	case "button":
		return checkButtons(i.Action.Buttons)
	case "list":
		return checkList(&i)
	case "cta_url":
		if p.DisplayText == "" || !isWebAddress(p.URL) {
			return wrongf("interactive.action.parameters must have a display_text and a url")
		}
		return firstOf(atMost("interactive.action.parameters.display_text", p.DisplayText, maxButtonTitle), named(&i, "cta_url"))
	case "flow":
		switch {
		case p.Version == "" || (p.ID == "") == (p.Name == "") || p.CTA == "":
			return wrongf("interactive.action.parameters must have a flow_message_version, a flow_id or flow_name, and a flow_cta")
		case p.FlowAction != "" && p.FlowAction != "navigate" && p.FlowAction != "data_exchange":
			return wrongf("interactive.action.parameters.flow_action is navigate or data_exchange")
		}
		return named(&i, "flow")
	case "product_list":
		return checkProducts(&i)
	case "catalog_message":
		return named(&i, "catalog_message")
	case "location_request_message":
		return named(&i, "send_location")
	case "address_message":
		if p.Country == "" {
			return wrongf("interactive.action.parameters.country is empty")
		}
		return named(&i, "address_message")
	case "call_permission_request":
		return named(&i, "call_permission_request")
	case "contact_request", "request_contact_info": // Meta's page has the one, its users the other
		return named(&i, "request_contact_info")
	}
	return checkCarousel(&i)
}

// named asks that the action is named as its type wants it.
func named(i *interactive, name string) *core.Error {
	if i.Action.Name != name {
		return wrongf("interactive.action.name of a %s must be %s", i.Type, name)
	}
	return nil
}

// checkHeader looks at a header: a text, or one file of the kind that its type says.
func checkHeader(what string, h *part) *core.Error {
	if h == nil {
		return nil
	}
	var f *file
	switch h.Type {
	case "text":
		return firstOf(needs(what+".text", h), atMostPart(what, h, maxHeader))
	case "image":
		f = h.Image
	case "video":
		f = h.Video
	case "document":
		f = h.Document
	default:
		return wrongf("%s.type is text, image, video or document", what)
	}
	if f == nil || (f.ID == "") == (f.Link == "") {
		return wrongf("%s.%s must have an id or a link, not both", what, h.Type)
	}
	return nil
}

func checkProducts(i *interactive) *core.Error {
	if i.Action.Catalog == "" {
		return wrongf("interactive.action.catalog_id is empty")
	}
	if i.Type == "product" {
		if i.Action.Product == "" {
			return wrongf("interactive.action.product_retailer_id is empty")
		}
		if i.Header != nil {
			return wrongf("interactive.header: a product has none")
		}
		return nil
	}
	if i.Header == nil || i.Header.Type != "text" {
		return wrongf("interactive.header must be a text")
	}
	sections := i.Action.Sections
	if n := len(sections); n == 0 || n > maxSections {
		return wrongf("interactive.action.sections must be 1 to %d, not %d", maxSections, n)
	}
	products := 0
	for n, s := range sections {
		if s.Title == "" && len(sections) > 1 {
			return wrongf("interactive.action.sections[%d].title is empty: with several sections each needs one", n)
		}
		if err := atMost("the title of a section", s.Title, maxSection); err != nil {
			return err
		}
		for _, p := range s.Products {
			if p.ID == "" {
				return wrongf("interactive.action.sections[%d].product_items has one without a product_retailer_id", n)
			}
			products++
		}
	}
	if products == 0 || products > maxProducts {
		return wrongf("a list of products must have 1 to %d of them, not %d", maxProducts, products)
	}
	return nil
}

// checkCarousel looks at cards that are sent without a template.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/interactive-media-carousel-messages
func checkCarousel(i *interactive) *core.Error {
	if i.Header != nil || i.Footer != nil {
		return wrongf("a carousel has no header and no footer of its own")
	}
	cards := i.Action.Cards
	if n := len(cards); n < minCards || n > maxCards {
		return wrongf("interactive.action.cards must be %d to %d, not %d", minCards, maxCards, n)
	}
	for n, c := range cards {
		what := fmt.Sprintf("interactive.action.cards[%d]", n)
		switch {
		case c.Index == nil || *c.Index != n:
			return wrongf("%s.card_index must be %d", what, n)
		case c.Type != cards[0].Type:
			return wrongf("%s is of another type than the first: all are of one", what)
		case c.Type == "product" && (c.Action.Catalog == "" || c.Action.Product == ""):
			return wrongf("%s.action must have a catalog_id and a product_retailer_id", what)
		case c.Type == "product":
			continue
		case c.Header == nil || c.Header.Type != "image" && c.Header.Type != "video":
			return wrongf("%s.header must be an image or a video", what)
		case c.Header.Type != cards[0].Header.Type:
			return wrongf("%s.header is of another type than the first: all are of one", what)
		}
		if len(c.Action.Buttons) != len(cards[0].Action.Buttons) {
			return wrongf("%s has %d quick replies, and the first card %d: all have as many", what, len(c.Action.Buttons), len(cards[0].Action.Buttons))
		}
		if err := firstOf(checkHeader(what+".header", c.Header), atMostPart(what+".body", c.Body, maxCardBody), checkQuickReplies(what, c.Action.Buttons)); err != nil {
			return err
		}
		if c.Body != nil && strings.Count(c.Body.Text, "\n") > maxCardLines {
			return wrongf("%s.body.text has more than %d line breaks", what, maxCardLines)
		}
		if p := c.Action.Parameters; len(c.Action.Buttons) == 0 && (p.DisplayText == "" || !isWebAddress(p.URL)) {
			return wrongf("%s.action must have quick replies, or parameters with a display_text and a url", what)
		} else if err := atMost("the display_text of a card", p.DisplayText, maxButtonTitle); err != nil {
			return err
		}
	}
	return nil
}

// checkQuickReplies looks at the buttons of a card, which has them or a link.
func checkQuickReplies(what string, buttons []button) *core.Error {
	for n, b := range buttons {
		if b.Type != "quick_reply" || b.Quick.ID == "" || b.Quick.Title == "" {
			return wrongf("%s.action.buttons[%d] must be of type quick_reply, and its quick_reply have an id and a title", what, n)
		}
		if err := firstOf(atMost("the id of a button", b.Quick.ID, maxButtonID), atMost("the title of a button", b.Quick.Title, maxButtonTitle)); err != nil {
			return err
		}
	}
	return nil
}

func checkButtons(buttons []button) *core.Error {
	if n := len(buttons); n == 0 || n > maxButtons {
		return wrongf("interactive.action.buttons must be 1 to %d, not %d", maxButtons, n)
	}
	ids := map[string]bool{}
	for n, b := range buttons {
		switch {
		case b.Type != "reply":
			return wrongf("interactive.action.buttons[%d].type must be reply", n)
		case b.Reply.ID == "" || b.Reply.Title == "":
			return wrongf("interactive.action.buttons[%d].reply must have an id and a title", n)
		case ids[b.Reply.ID]:
			return wrongf("interactive.action.buttons[%d].reply.id is not the only one of its kind", n)
		}
		ids[b.Reply.ID] = true
		if err := firstOf(atMost("the id of a button", b.Reply.ID, maxButtonID), atMost("the title of a button", b.Reply.Title, maxButtonTitle)); err != nil {
			return err
		}
	}
	return nil
}

func checkList(i *interactive) *core.Error {
	if i.Action.Button == "" {
		return wrongf("interactive.action.button is empty")
	}
	sections := i.Action.Sections
	if n := len(sections); n == 0 || n > maxSections {
		return wrongf("interactive.action.sections must be 1 to %d, not %d", maxSections, n)
	}
	rows, ids := 0, map[string]bool{}
	for n, s := range sections {
		if s.Title == "" && len(sections) > 1 {
			return wrongf("interactive.action.sections[%d].title is empty: with several sections each needs one", n)
		}
		if err := atMost("the title of a section", s.Title, maxSection); err != nil {
			return err
		}
		for _, r := range s.Rows {
			if r.ID == "" || r.Title == "" || ids[r.ID] {
				return wrongf("each row of a list must have an id of its own and a title")
			}
			ids[r.ID] = true
			if err := firstOf(atMost("the id of a row", r.ID, maxRowID), atMost("the title of a row", r.Title, maxRowTitle),
				atMost("the description of a row", r.Description, maxRowText)); err != nil {
				return err
			}
			rows++
		}
	}
	if rows == 0 || rows > maxRows {
		return wrongf("a list must have 1 to %d rows in all, not %d", maxRows, rows)
	}
	return atMost("interactive.action.button", i.Action.Button, maxButtonTitle)
}
