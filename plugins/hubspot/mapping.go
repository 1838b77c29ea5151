package hubspot

import (
	"context"
	"net/http"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

var _ core.Describer = (*Connector)(nil)

// Describe implements [core.Describer]: the properties of contacts. See
// https://developers.hubspot.com/docs/api-reference/crm-properties-v3/guide.
func (c *Connector) Describe(ctx context.Context, account core.Account) (core.Schema, error) {
	x, err := c.open(account)
	if err != nil {
		return core.Schema{}, err
	}
	var answer struct {
		Results []described `json:"results"`
	}
	r := x.call(ctx, "read properties", http.MethodGet, x.path("properties", "contacts"), nil, func(b []byte) error {
		if err := crm.Decode(b, &answer); err != nil || answer.Results != nil {
			return err
		}
		return errNothing
	})
	if err := r.reading(); err != nil {
		return core.Schema{}, err
	}
	contacts := core.Object{Name: "contacts"}
	for i := range answer.Results {
		contacts.Properties = append(contacts.Properties, answer.Results[i].property())
	}
	return core.Schema{Objects: []core.Object{contacts}, Mapping: suggested}, nil
}

// described is what is read of a property.
type described struct {
	Name      string `json:"name"`
	Label     string `json:"label"`
	Type      string `json:"type"`
	FieldType string `json:"fieldType"`
	Unique    bool   `json:"hasUniqueValue"`
	// Calculated properties are HubSpot's own to write.
	Calculated bool `json:"calculated"`
	Metadata   struct {
		ReadOnly bool `json:"readOnlyValue"`
	} `json:"modificationMetadata"`
	Options []struct {
		Value string `json:"value"`
	} `json:"options"`
}

func (d *described) property() core.Property {
	p := core.Property{Name: d.Name, Label: crm.Clip(d.Label, 200), Unique: d.Unique, ReadOnly: d.Calculated || d.Metadata.ReadOnly}
	switch d.Type {
	case "string", "phone_number":
		p.Type, p.Length = core.PropertyText, maxValue
	case "number":
		p.Type = core.PropertyNumber
	case "bool":
		p.Type = core.PropertyBool
	case "date":
		p.Type = core.PropertyDate
	case "datetime":
		p.Type = core.PropertyTime
	case "enumeration":
		if p.Type = core.PropertyChoice; d.FieldType == "checkbox" {
			p.Type = core.PropertyChoices
		}
		for _, o := range d.Options {
			p.Values = append(p.Values, o.Value)
		}
		if len(p.Values) == 0 { // HubSpot fills it in: owners, teams
			p.Type = core.PropertyOther
		}
	default:
		p.Type = core.PropertyOther
	}
	return p
}

// suggested is the mapping of a lane that says mapping = "default": what HubSpot
// knows of people, both ways, and what WhatsApp does, as soon as somebody makes a
// property of that name for it.
var suggested = []core.MapRule{
	// What goes there is the whole name, by settings.name_property.
	{Field: "first_name", Property: "firstname", Direction: "from"},
	{Field: "last_name", Property: "lastname", Direction: "from"},
	{Field: "email", Property: "email", Transform: []string{"lower"}},
	{Field: "company", Property: "company"},
	{Field: "job_title", Property: "jobtitle"},
	{Field: "street", Property: "address"},
	{Field: "city", Property: "city"},
	{Field: "state", Property: "state"},
	{Field: "postal_code", Property: "zip"},
	{Field: "country", Property: "country"},
	{Field: "website", Property: "website"},
	{Field: "salutation", Property: "salutation"},
	{Field: "birthday", Property: "date_of_birth"},
	{Field: "language", Property: "hs_language", Transform: []string{"lower"}},
	{Field: "lifecycle", Property: "lifecyclestage", Conflict: "crm"},
	{Field: "lead_source", Property: "hs_analytics_source", Direction: "from"},
	{Field: "owner", Property: "hubspot_owner_id", Direction: "from"},

	{Field: "last_inbound", Property: "wa_last_inbound"},
	{Field: "last_outbound", Property: "wa_last_outbound"},
	{Field: "first_seen", Property: "wa_first_seen"},
	{Field: "window_until", Property: "wa_window_until"},
	{Field: "messages_in", Property: "wa_messages_in"},
	{Field: "messages_out", Property: "wa_messages_out"},
	{Field: "mode", Property: "wa_mode"},
	{Field: "assignee", Property: "wa_assignee"},
	{Field: "escalation", Property: "wa_escalation"},
	{Field: "phone_country", Property: "wa_country"},
	{Field: "phone_national", Property: "wa_phone_national"},
	{Field: "detected_language", Property: "wa_language"},
	{Field: "marketing_consent_since", Property: "wa_marketing_since"},
	{Field: "may_be_written", Property: "wa_may_be_written"},
	{Field: "whatsapp_link", Property: "wa_link"},
	{Field: "ad_source", Property: "wa_ad_source"},
	{Field: "ad_headline", Property: "wa_ad_headline"},
	{Field: "ad_click", Property: "wa_ad_click"},
	{Field: "number", Property: "wa_business_number"},
}
