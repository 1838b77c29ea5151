package whatsappsim

import (
	"encoding/json"
	"fmt"
)

// What customers do beside writing: they order from the catalog, come from ads, change
// and take back what they wrote, write in groups, and talk to another app.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages

// InboundOrder is an order from the catalog.
type InboundOrder struct {
	Catalog string        `json:"catalog"`
	Note    string        `json:"note,omitempty"`
	Items   []InboundItem `json:"items"`
}

// InboundItem is a product of an order.
type InboundItem struct {
	Product  string      `json:"product"`
	Quantity int         `json:"quantity"`
	Price    json.Number `json:"price"` // of one
	Currency string      `json:"currency"`
}

// InboundEdit changes a message. Of is its id, Text what it now says; a caption, when
// Media is the file of the message.
type InboundEdit struct {
	Of    string        `json:"of"`
	Text  string        `json:"text"`
	Type  string        `json:"type,omitempty"` // of Media
	Media *InboundMedia `json:"media,omitempty"`
}

// InboundProduct is the product that a text asks about.
type InboundProduct struct {
	Catalog string `json:"catalog"`
	ID      string `json:"id"`
}

// InboundReferral is the ad or post that a person came from.
type InboundReferral struct {
	URL      string `json:"source_url"`
	ID       string `json:"source_id"`
	Type     string `json:"source_type"` // "" is ad
	Headline string `json:"headline,omitempty"`
	Body     string `json:"body,omitempty"`
	Click    string `json:"ctwa_clid,omitempty"` // ads in the status have none
	// Welcome is what the chat greets with.
	Welcome string `json:"welcome,omitempty"`
}

// check says what is wrong with a message that nobody can send, or nil.
func (in *Inbound) check() error {
	switch o := in.Order; {
	case o == nil:
	case len(o.Items) == 0 || o.Catalog == "":
		return fmt.Errorf("an order has a catalog and items")
	default:
		for _, i := range o.Items {
			if i.Product == "" || i.Quantity < 1 || i.Price == "" || len(i.Currency) != 3 {
				return fmt.Errorf("an item has a product, a quantity, a price and a currency such as EUR")
			}
		}
	}
	switch {
	case in.Edit != nil && in.Edit.Of == "":
		return fmt.Errorf("say of which message the edit is: of")
	case in.Group != "" && in.Standby:
		return fmt.Errorf("another app has conversations with people, not with groups")
	case in.Referral != nil && in.Referral.Type != "" && in.Referral.Type != "ad" && in.Referral.Type != "post":
		return fmt.Errorf("people come from an ad or a post, not from %q", in.Referral.Type)
	}
	return nil
}

// opensWindow reports whether the message opens the service window.
func (in *Inbound) opensWindow() bool {
	return in.Group == "" && in.Edit == nil && in.Revoke == "" && in.Type != "system"
}

// kind returns the type and object of what is no plain message; false when it is one.
func (in *Inbound) kind(s *Sim) (string, any, bool) {
	switch {
	case in.Order != nil:
		items := []map[string]any{}
		for _, i := range in.Order.Items {
			items = append(items, map[string]any{"product_retailer_id": i.Product, "quantity": i.Quantity, "item_price": i.Price, "currency": i.Currency})
		}
		return "order", map[string]any{"catalog_id": in.Order.Catalog, "text": in.Order.Note, "product_items": items}, true
	case in.Edit != nil:
		typ, object := "text", any(map[string]string{"body": in.Edit.Text})
		if in.Edit.Media != nil {
			typ, object = in.Edit.Media.content(s, &Inbound{Type: in.Edit.Type, Text: in.Edit.Text})
		}
		return "edit", map[string]any{"original_message_id": in.Edit.Of, "message": map[string]any{"type": typ, typ: object}}, true
	case in.Revoke != "":
		return "revoke", map[string]string{"original_message_id": in.Revoke}, true
	case in.Unsupported != "":
		return "unsupported", map[string]string{"type": in.Unsupported}, true
	case in.Calls != "":
		return "interactive", map[string]any{"type": "call_permission_reply", "call_permission_reply": map[string]string{
			"response": in.Calls, "response_source": "user_action",
		}}, true
	}
	return "", nil, false
}

// adorn adds what a message of any kind may have.
func (in *Inbound) adorn(m map[string]any, n *Number) {
	if in.Group != "" {
		m["group_id"] = in.Group
	}
	if in.Unsupported != "" {
		m["errors"] = []map[string]any{{
			"code": 131051, "title": "Message type unknown", "message": "Message type unknown",
			"error_data": map[string]string{"details": "Message type is currently not supported."},
		}}
	}
	if p := in.Product; p != nil {
		m["context"] = map[string]any{"from": n.DisplayNumber, "id": in.Context,
			"referred_product": map[string]string{"catalog_id": p.Catalog, "product_retailer_id": p.ID}}
	}
	if r := in.Referral; r != nil {
		o := map[string]any{"source_url": r.URL, "source_id": r.ID, "source_type": "ad", "headline": r.Headline, "body": r.Body, "media_type": "image"}
		if r.Type != "" {
			o["source_type"] = r.Type
		}
		if r.Click != "" {
			o["ctwa_clid"] = r.Click
		}
		if r.Welcome != "" {
			o["welcome_message"] = map[string]string{"text": r.Welcome}
		}
		m["referral"] = o
	}
}

// standby wraps a message as what is told of a conversation that another app has.
func standby(n *Number, message json.RawMessage, who *contact) json.RawMessage {
	return marshal(map[string]any{
		"messaging_product": "whatsapp", "metadata": metadata{n.DisplayNumber, n.ID},
		"standby": map[string]any{"contacts": []*contact{who}, "messages": []json.RawMessage{message}},
	})
}
