package zoho

import (
	"context"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

var _ core.Describer = (*Connector)(nil)

// Describe implements [core.Describer]: the fields of the contacts' module. See
// https://www.zoho.com/crm/developer/docs/api/v8/field-meta.html.
func (c *Connector) Describe(ctx context.Context, a core.Account) (core.Schema, error) {
	x, err := c.open(a)
	if err != nil {
		return core.Schema{}, err
	}
	fs, err := x.readFields(ctx, x.ContactModule)
	if err != nil {
		return core.Schema{}, err
	}
	contacts := core.Object{Name: x.ContactModule}
	for _, f := range fs.byName {
		contacts.Properties = append(contacts.Properties, f.property())
	}
	slices.SortFunc(contacts.Properties, func(a, b core.Property) int { return strings.Compare(a.Name, b.Name) })
	return core.Schema{Objects: []core.Object{contacts}, Mapping: suggested}, nil
}

func (f *field) property() core.Property {
	p := core.Property{
		Name: f.Name, Label: crm.Clip(f.Label, 200), Unique: f.isUnique(), ReadOnly: f.ReadOnly, Required: f.Mandatory, Type: core.PropertyOther,
	}
	switch f.Type {
	case "text", "textarea", "phone", "email", "website", "bigint":
		p.Type, p.Length = core.PropertyText, f.Length
	case "integer", "double", "currency", "percent":
		p.Type = core.PropertyNumber
	case "boolean":
		p.Type = core.PropertyBool
	case "date":
		p.Type = core.PropertyDate
	case "datetime":
		p.Type = core.PropertyTime
	case "picklist", "multiselectpicklist":
		if p.Type = core.PropertyChoice; f.Type == "multiselectpicklist" {
			p.Type = core.PropertyChoices
		}
		for _, v := range f.Picklist {
			p.Values = append(p.Values, v.Value)
		}
		if len(p.Values) == 0 {
			p.Type, p.Length = core.PropertyText, f.Length
		}
	}
	return p
}

// suggested is the mapping of a lane that says mapping = "default": what Zoho knows
// of people, both ways, and what WhatsApp does, as soon as somebody makes a field of
// that name for it.
var suggested = []core.MapRule{
	// What goes there is the whole name, by settings.name_field.
	{Field: "first_name", Property: "First_Name", Direction: "from"},
	{Field: "last_name", Property: "Last_Name", Direction: "from"},
	{Field: "email", Property: "Email", Transform: []string{"lower"}},
	{Field: "job_title", Property: "Title"},
	{Field: "department", Property: "Department"},
	{Field: "street", Property: "Mailing_Street"},
	{Field: "city", Property: "Mailing_City"},
	{Field: "state", Property: "Mailing_State"},
	{Field: "postal_code", Property: "Mailing_Zip"},
	{Field: "country", Property: "Mailing_Country"},
	{Field: "birthday", Property: "Date_of_Birth"},
	{Field: "salutation", Property: "Salutation"},
	{Field: "other_phone", Property: "Other_Phone"},
	{Field: "lead_source", Property: "Lead_Source", Conflict: "crm"},
	{Field: "owner", Property: "Owner", Direction: "from"},

	{Field: "language", Property: "WA_Language", Transform: []string{"lower"}},
	{Field: "last_inbound", Property: "WA_Last_Inbound"},
	{Field: "last_outbound", Property: "WA_Last_Outbound"},
	{Field: "first_seen", Property: "WA_First_Seen"},
	{Field: "window_until", Property: "WA_Window_Until"},
	{Field: "messages_in", Property: "WA_Messages_In"},
	{Field: "messages_out", Property: "WA_Messages_Out"},
	{Field: "mode", Property: "WA_Mode"},
	{Field: "assignee", Property: "WA_Assignee"},
	{Field: "escalation", Property: "WA_Escalation"},
	{Field: "phone_country", Property: "WA_Country"},
	{Field: "phone_national", Property: "WA_Phone_National"},
	{Field: "marketing_consent_since", Property: "WA_Marketing_Since"},
	{Field: "may_be_written", Property: "WA_May_Be_Written"},
	{Field: "whatsapp_link", Property: "WA_Link"},
	{Field: "ad_source", Property: "WA_Ad_Source"},
	{Field: "ad_headline", Property: "WA_Ad_Headline"},
	{Field: "ad_click", Property: "WA_Ad_Click"},
	{Field: "number", Property: "WA_Business_Number"},
}
