package mapping

import (
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

// Known is what the bridge knows of a person when a mapping is read.
type Known struct {
	Contact *core.Contact
	// Number is the business number of the conversation; the zero conversation has
	// none of what follows.
	Number          string
	LastIn, LastOut time.Time
	In, Out         int
	Human           bool
	Language        string
	Assignee        string
	Escalation      string
	// Since is when the person was first known.
	Since time.Time
	// Marketing is where consent to marketing stands, "" when it was never spoken of.
	Marketing      string
	MarketingSince time.Time
	Suppressed     []string
	// Referral is the ad that the event's message came from.
	Referral *core.Referral
	// Now is when it is looked at.
	Now time.Time
	// Set says when each of the contact's own fields was last set, and by whom.
	Set map[string]Mark
}

// Mark is when a field was last set, and where: a lane's name, "script", "file", …
type Mark struct {
	At time.Time `json:"at"`
	By string    `json:"by,omitempty"`
}

// window is how long after the person's last message free text may be sent.
const window = 24 * time.Hour

// value is a field's, as a string, []string, time.Time, int or bool.
type value struct {
	v     any
	known bool
	guess bool // nobody said so
}

func is(v any) value { return value{v: v, known: true} }

// some is a text that is known unless it is empty.
func some(s string) value { return value{v: s, known: s != ""} }

func at(t time.Time) value { return value{v: t.UTC(), known: !t.IsZero()} }

// value returns what is known of a field.
func (k *Known) value(f Field) value {
	c := k.Contact
	if name := f.stored(); name != "" {
		if v := c.Fields[name]; v != "" {
			return is(v)
		}
		if _, set := k.Set[name]; set {
			return is("") // taken away
		}
		g := k.guess(f.Name)
		return value{v: g, known: g != "", guess: true}
	}
	switch f.Name {
	case "tags":
		return is(c.Tags)
	case "marketing_consent":
		return some(k.Marketing)
	case "contact_id":
		return some(c.ID)
	case "name":
		return some(c.Name)
	case "username":
		return some(c.Username)
	case "bsuid":
		return some(c.BSUID)
	case "detected_language":
		return some(k.Language)
	case "number":
		return some(k.Number)
	case "suppressed":
		return is(k.Suppressed)
	case "may_be_written":
		return is(len(k.Suppressed) == 0)
	case "marketing_consent_since":
		return at(k.MarketingSince)
	case "first_seen":
		return at(k.Since)
	}
	if strings.HasPrefix(f.Name, "ad_") {
		return k.ad(f.Name)
	}
	if c.Phone != "" {
		switch f.Name {
		case "phone":
			return is(c.Phone)
		case "phone_digits":
			return is(strings.TrimPrefix(c.Phone, "+"))
		case "whatsapp_link":
			return is("https://wa.me/" + strings.TrimPrefix(c.Phone, "+"))
		case "phone_national":
			return some(contact.National(k.address()))
		case "phone_country":
			return some(contact.Country(k.address()))
		}
	}
	if k.Number == "" {
		return value{}
	}
	switch f.Name {
	case "mode":
		if k.Human {
			return is("human")
		}
		return is("bot")
	case "assignee":
		return is(k.Assignee)
	case "escalation":
		return is(k.Escalation)
	case "last_inbound":
		return at(k.LastIn)
	case "last_outbound":
		return at(k.LastOut)
	case "window_until":
		if k.LastIn.IsZero() {
			return value{}
		}
		return at(k.LastIn.Add(window))
	case "messages_in":
		return is(k.In)
	case "messages_out":
		return is(k.Out)
	}
	return value{}
}

func (k *Known) address() core.Address {
	return core.Address{Kind: core.AddressPhone, Value: k.Contact.Phone}
}

// guess is what may be so, until somebody says it.
func (k *Known) guess(name string) string {
	switch name {
	case "first_name", "last_name":
		first, rest := contact.Names(k.Contact.Name)
		if name == "first_name" {
			return first
		}
		return rest
	case "country":
		return contact.Country(k.Contact.Address())
	case "language":
		return k.Language
	case "time_zone":
		if zones := contact.TimeZones(k.Contact.Address()); len(zones) == 1 {
			return zones[0]
		}
	}
	return ""
}

// ad is what a message says of where it came from. Other messages say nothing,
// which takes nothing back.
func (k *Known) ad(name string) value {
	ad := k.Referral
	if ad == nil {
		return value{}
	}
	switch name {
	case "ad_source":
		return some(ad.URL)
	case "ad_id":
		return some(ad.ID)
	case "ad_type":
		return some(ad.Type)
	case "ad_click":
		return some(ad.Click)
	}
	return some(ad.Headline)
}
