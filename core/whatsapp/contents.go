package whatsapp

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// typeEdit is the type of a message that changes another.
const typeEdit = "edit"

// edited returns the message that an edit made of another, with that one's id; nil
// when it is no edit, or does not say of what.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
func (m *message) edited() *core.Message {
	if m.Type != typeEdit || m.Edit == nil || !usableID(m.Edit.Of) || m.Edit.Message == nil {
		return nil
	}
	out := m.Edit.Message.content()
	out.ID = m.Edit.Of
	return out
}

// revoked returns the id of the message that was taken back; "" when it is none.
func (m *message) revoked() string {
	if m.Type != string(core.TypeRevoke) || m.Revoke == nil || !usableID(m.Revoke.Of) {
		return ""
	}
	return m.Revoke.Of
}

// event is the ad or post in our words.
func (r *msgReferral) event() *core.Referral {
	if r == nil {
		return nil
	}
	return &core.Referral{
		URL: r.URL, ID: string(r.ID), Type: r.Type, Headline: r.Headline, Body: r.Body, MediaType: r.MediaType,
		ImageURL: r.ImageURL, VideoURL: r.VideoURL, Thumbnail: r.Thumbnail, Click: r.Click, Welcome: r.Welcome.Text,
	}
}

// maxItems is how many products of an order are taken, maxListed how many its text
// lists. What is more is in the raw.
const (
	maxItems  = 1000
	maxListed = 30
)

// known reports whether an event holds all of the order.
func (o *msgOrder) known() bool {
	for _, i := range o.Items {
		if i.Product == "" || i.Quantity == "" {
			return false
		}
	}
	return len(o.Items) > 0 && len(o.Items) <= maxItems
}

// event is the order in our words, with its total.
func (o *msgOrder) event() *core.Order {
	out := &core.Order{Catalog: string(o.Catalog), Note: o.Text, Items: []core.OrderItem{}}
	total, whole, places := new(big.Rat), true, 0
	for _, i := range o.Items[:min(len(o.Items), maxItems)] {
		quantity, _ := strconv.ParseFloat(string(i.Quantity), 64)
		out.Items = append(out.Items, core.OrderItem{Product: string(i.Product), Quantity: quantity, Price: string(i.Price), Currency: i.Currency})
		price, ok := new(big.Rat).SetString(string(i.Price))
		n, counted := new(big.Rat).SetString(string(i.Quantity))
		if !ok || !counted || i.Currency == "" || i.Currency != o.Items[0].Currency {
			whole = false
			continue
		}
		total.Add(total, price.Mul(price, n))
		places = max(places, decimals(i.Price)+decimals(i.Quantity))
	}
	if whole && len(o.Items) > 0 && len(o.Items) <= maxItems {
		out.Total, out.Currency = total.FloatString(places), o.Items[0].Currency
	}
	return out
}

func decimals(n flexNumber) int {
	_, after, _ := strings.Cut(string(n), ".")
	return len(after)
}

// orderText is what a person would read of an order.
func orderText(o *core.Order) string {
	var lines []string
	if o.Note != "" {
		lines = append(lines, o.Note)
	}
	for n, i := range o.Items {
		if n == maxListed {
			lines = append(lines, fmt.Sprintf("… and %d more", len(o.Items)-n))
			break
		}
		line := strconv.FormatFloat(i.Quantity, 'f', -1, 64) + " × " + i.Product
		if i.Price != "" {
			line += " at " + strings.TrimSpace(i.Price+" "+i.Currency)
		}
		lines = append(lines, line)
	}
	if o.Total != "" {
		lines = append(lines, "Total "+o.Total+" "+o.Currency)
	}
	return strings.Join(lines, "\n")
}
