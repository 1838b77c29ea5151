package whatsappsim

import (
	"encoding/json"
	"fmt"
	"strings"
)

type textPart struct {
	Text string `json:"text"`
}

// header is a text, or a file.
type header struct {
	Type     string     `json:"type"`
	Text     string     `json:"text"`
	Image    *mediaFile `json:"image"`
	Video    *mediaFile `json:"video"`
	Document *mediaFile `json:"document"`
}

type mediaFile struct {
	ID   string `json:"id"`
	Link string `json:"link"`
}

// interactive is what is checked of interactive objects.
type interactive struct {
	Type   string    `json:"type"`
	Header *header   `json:"header"`
	Body   *textPart `json:"body"`
	Footer *textPart `json:"footer"`
	Action *action   `json:"action"`
}

type action struct {
	Button  string `json:"button"`
	Name    string `json:"name"`
	Buttons []struct {
		Type  string      `json:"type"`
		Reply buttonReply `json:"reply"`
		Quick buttonReply `json:"quick_reply"` // of a card
	} `json:"buttons"`
	Sections []struct {
		Title string `json:"title"`
		Rows  []struct {
			ID          string `json:"id"`
			Title       string `json:"title"`
			Description string `json:"description"`
		} `json:"rows"`
		Products []struct {
			ID string `json:"product_retailer_id"`
		} `json:"product_items"`
	} `json:"sections"`
	Catalog    string           `json:"catalog_id"`
	Product    string           `json:"product_retailer_id"`
	Cards      []card           `json:"cards"`
	Parameters actionParameters `json:"parameters"`
}

type buttonReply struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// actionParameters are those of all kinds of actions.
type actionParameters struct {
	DisplayText string `json:"display_text"`
	URL         string `json:"url"`
	Country     string `json:"country"`
	Version     string `json:"flow_message_version"`
	FlowID      string `json:"flow_id"`
	FlowName    string `json:"flow_name"`
	CTA         string `json:"flow_cta"`
	FlowAction  string `json:"flow_action"`
	Mode        string `json:"mode"`
	Reference   string `json:"reference_id"`
}

type card struct {
	Index  *int      `json:"card_index"`
	Type   string    `json:"type"`
	Header *header   `json:"header"`
	Body   *textPart `json:"body"`
	Action *action   `json:"action"`
}

func checkInteractive(raw json.RawMessage, m *message) *graphError {
	var i interactive
	if err := json.Unmarshal(raw, &i); err != nil {
		return invalid("Param interactive is not valid: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if i.Type == "" || i.Action == nil {
		return invalid("The parameters interactive['type'] and interactive['action'] are required.")
	}
	bodyLimit := 1024
	if i.Type == "list" {
		bodyLimit = 4096
	}
	if i.Body == nil || i.Body.Text == "" {
		if i.Type != "product" { // the one kind that may go without
			return invalid("The parameter interactive['body']['text'] is required.")
		}
	} else if err := atMost("interactive['body']['text']", i.Body.Text, bodyLimit); err != nil {
		return err
	} else {
		m.Text = i.Body.Text
	}
	if i.Footer != nil {
		if err := atMost("interactive['footer']['text']", i.Footer.Text, 60); err != nil {
			return err
		}
	}
	if err := checkHeader("interactive['header']", i.Header); err != nil {
		return err
	}
	return checkAction(&i)
}

// actionNames are the names that the actions of some types must have.
var actionNames = map[string]string{
	"cta_url": "cta_url", "flow": "flow", "catalog_message": "catalog_message", "location_request_message": "send_location",
	"address_message": "address_message", "call_permission_request": "call_permission_request", "contact_request": "request_contact_info", "request_contact_info": "request_contact_info",
	"order_details": "review_and_pay", "order_status": "review_order", "voice_call": "voice_call",
}

func checkAction(i *interactive) *graphError {
	const at = "interactive['action']['parameters']"
	p := i.Action.Parameters
	if want, ok := actionNames[i.Type]; ok && i.Action.Name != want {
		return wrongValue("interactive['action']['name'] must be %s for type %s", want, i.Type)
	}
	switch i.Type {
	case "button":
		return checkButtons(i.Action)
	case "list":
		return checkList(i.Action)
	case "cta_url":
		return checkLink(at, p)
	case "flow":
		return checkFlow(at, p)
	case "product":
		if i.Header != nil {
			return invalid("Unexpected key \"header\" on interactive of type product")
		}
		return first(required("interactive['action']['catalog_id']", i.Action.Catalog),
			required("interactive['action']['product_retailer_id']", i.Action.Product))
	case "product_list":
		return checkProducts(i)
	case "carousel":
		return checkCards(i)
	case "address_message":
		return required(at+"['country']", p.Country)
	case "order_details", "order_status":
		return required(at+"['reference_id']", p.Reference)
	case "catalog_message", "location_request_message", "call_permission_request", "contact_request", "request_contact_info", "voice_call":
	default:
		return wrongValue("interactive type %q is not supported", i.Type)
	}
	return nil
}

func checkHeader(name string, h *header) *graphError {
	if h == nil {
		return nil
	}
	files := map[string]*mediaFile{"image": h.Image, "video": h.Video, "document": h.Document}
	f, known := files[h.Type]
	switch {
	case h.Type == "text":
		return first(required(name+"['text']", h.Text), atMost(name+"['text']", h.Text, 60))
	case !known:
		return invalid("Param %s['type'] must be one of {TEXT, IMAGE, VIDEO, DOCUMENT} - got %q.", name, h.Type)
	case f == nil || (f.ID == "") == (f.Link == ""):
		return invalid("Param %s['%s']: either id or link is required, not both", name, h.Type)
	case f.Link != "" && !isWebAddress(f.Link):
		return wrongValue("%s link must be a valid http(s) URL", name)
	}
	return nil
}

func checkLink(at string, p actionParameters) *graphError {
	if err := first(required(at+"['display_text']", p.DisplayText), required(at+"['url']", p.URL),
		atMost(at+"['display_text']", p.DisplayText, 20)); err != nil {
		return err
	}
	if !isWebAddress(p.URL) {
		return wrongValue("%s['url'] must be a valid http(s) URL", at)
	}
	return nil
}

func checkFlow(at string, p actionParameters) *graphError {
	switch {
	case (p.FlowID == "") == (p.FlowName == ""):
		return invalid("Param %s: either flow_id or flow_name is required, not both", at)
	case p.FlowAction != "" && p.FlowAction != "navigate" && p.FlowAction != "data_exchange":
		return invalid("Param %s['flow_action'] must be one of {NAVIGATE, DATA_EXCHANGE}", at)
	case p.Mode != "" && p.Mode != "draft" && p.Mode != "published":
		return invalid("Param %s['mode'] must be one of {DRAFT, PUBLISHED}", at)
	}
	return first(required(at+"['flow_message_version']", p.Version), required(at+"['flow_cta']", p.CTA))
}

func checkProducts(i *interactive) *graphError {
	if i.Header == nil || i.Header.Type != "text" {
		return invalid("The parameter interactive['header'] of type text is required.")
	}
	if err := required("interactive['action']['catalog_id']", i.Action.Catalog); err != nil {
		return err
	}
	if n := len(i.Action.Sections); n < 1 || n > 10 {
		return wrongValue("Invalid sections count. Min allowed: 1, Max allowed: 10")
	}
	products := 0
	for _, section := range i.Action.Sections {
		if section.Title == "" && len(i.Action.Sections) > 1 {
			return invalid("The parameter section title is required when there is more than one section.")
		}
		if err := atMost("section title", section.Title, 24); err != nil {
			return err
		}
		for _, p := range section.Products {
			products++
			if err := required("product_retailer_id", p.ID); err != nil {
				return err
			}
		}
	}
	if products < 1 || products > 30 {
		return wrongValue("Total product count must be from 1 to 30")
	}
	return nil
}

func checkCards(i *interactive) *graphError {
	if i.Header != nil || i.Footer != nil {
		return invalid("Unexpected key \"header\" or \"footer\" on interactive of type carousel")
	}
	cards := i.Action.Cards
	if n := len(cards); n < 2 || n > 10 {
		return wrongValue("Invalid cards count. Min allowed: 2, Max allowed: 10")
	}
	for n, c := range cards {
		at := fmt.Sprintf("interactive['action']['cards'][%d]", n)
		switch {
		case c.Index == nil || *c.Index != n:
			return wrongValue("%s['card_index'] must be %d", at, n)
		case c.Type != cards[0].Type:
			return wrongValue("%s['type'] must be that of the other cards", at)
		case c.Action == nil:
			return invalid("The parameter %s['action'] is required.", at)
		case c.Type == "product":
			if err := first(required(at+" catalog_id", c.Action.Catalog), required(at+" product_retailer_id", c.Action.Product)); err != nil {
				return err
			}
			continue
		case c.Type != "cta_url":
			return wrongValue("%s['type'] %q is not supported", at, c.Type)
		case c.Header == nil || c.Header.Type != "image" && c.Header.Type != "video":
			return invalid("Param %s['header']['type'] must be one of {IMAGE, VIDEO}", at)
		case c.Header.Type != cards[0].Header.Type:
			return wrongValue("%s['header']['type'] must be that of the other cards", at)
		}
		if err := checkHeader(at+"['header']", c.Header); err != nil {
			return err
		}
		if len(c.Action.Buttons) > 0 { // quick replies in place of a link
			if err := checkQuickReplies(at, c.Action, cards[0].Action); err != nil {
				return err
			}
		} else if err := checkLink(at+" parameters", c.Action.Parameters); err != nil {
			return err
		}
		if c.Body != nil {
			if err := atMost(at+"['body']['text']", c.Body.Text, 160); err != nil {
				return err
			}
			if strings.Count(c.Body.Text, "\n") > 2 {
				return wrongValue("%s['body']['text'] can have at most 2 line breaks", at)
			}
		}
	}
	return nil
}

// checkQuickReplies looks at a card's buttons, of which each card has as many.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/interactive-media-carousel-messages
func checkQuickReplies(at string, a, of *action) *graphError {
	if of == nil || len(a.Buttons) != len(of.Buttons) {
		return wrongValue("%s must have as many buttons as the other cards", at)
	}
	for n, b := range a.Buttons {
		name := fmt.Sprintf("%s['action']['buttons'][%d]", at, n)
		if b.Type != "quick_reply" {
			return wrongValue("%s['type'] must be quick_reply", name)
		}
		if err := first(required(name+"['quick_reply']['id']", b.Quick.ID), required(name+"['quick_reply']['title']", b.Quick.Title),
			atMost(name+"['quick_reply']['id']", b.Quick.ID, 256), atMost(name+"['quick_reply']['title']", b.Quick.Title, 20)); err != nil {
			return err
		}
	}
	return nil
}

func checkButtons(a *action) *graphError {
	if n := len(a.Buttons); n < 1 || n > 3 {
		return wrongValue("Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: 3")
	}
	ids := map[string]bool{}
	for _, b := range a.Buttons {
		if b.Type != "reply" {
			return wrongValue("Button type must be reply")
		}
		if ids[b.Reply.ID] {
			return wrongValue("Duplicated button id %q", b.Reply.ID)
		}
		ids[b.Reply.ID] = true
		if err := first(required("button reply id", b.Reply.ID), required("button reply title", b.Reply.Title),
			atMost("button reply id", b.Reply.ID, 256), atMost("button reply title", b.Reply.Title, 20)); err != nil {
			return err
		}
	}
	return nil
}

func checkList(a *action) *graphError {
	if err := first(required("interactive['action']['button']", a.Button), atMost("interactive['action']['button']", a.Button, 20)); err != nil {
		return err
	}
	if n := len(a.Sections); n < 1 || n > 10 {
		return wrongValue("Invalid sections count. Min allowed: 1, Max allowed: 10")
	}
	rows, ids := 0, map[string]bool{}
	for _, section := range a.Sections {
		if section.Title == "" && len(a.Sections) > 1 {
			return invalid("The parameter section title is required when there is more than one section.")
		}
		if err := atMost("section title", section.Title, 24); err != nil {
			return err
		}
		for _, row := range section.Rows {
			rows++
			if ids[row.ID] {
				return wrongValue("Duplicated row id %q", row.ID)
			}
			ids[row.ID] = true
			if err := first(required("row id", row.ID), required("row title", row.Title), atMost("row id", row.ID, 200),
				atMost("row title", row.Title, 24), atMost("row description", row.Description, 72)); err != nil {
				return err
			}
		}
	}
	if rows < 1 || rows > 10 {
		return wrongValue("Total row count exceed max allowed count: 10")
	}
	return nil
}
