package salesforce

import (
	"context"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

var _ core.Describer = (*Connector)(nil)

// Describe implements [core.Describer]: the fields of the contacts' object that the
// user may see. See
// https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm.
func (c *Connector) Describe(ctx context.Context, account core.Account) (core.Schema, error) {
	x, err := c.open(account)
	if err != nil {
		return core.Schema{}, err
	}
	s, r := x.describe(ctx, x.ContactObject, 0)
	if r != nil {
		return core.Schema{}, r.Error
	}
	contacts := core.Object{Name: x.ContactObject}
	for _, f := range s.fields {
		contacts.Properties = append(contacts.Properties, f.property())
	}
	slices.SortFunc(contacts.Properties, func(a, b core.Property) int { return strings.Compare(a.Name, b.Name) })
	return core.Schema{Objects: []core.Object{contacts}, Mapping: suggested}, nil
}

func (f *field) property() core.Property {
	p := core.Property{
		Name: f.Name, Label: crm.Clip(f.Label, 200), Unique: f.Unique, ReadOnly: !f.Createable || !f.Updateable,
		Required: !f.Nillable && !f.Defaulted && f.Createable, Type: core.PropertyOther,
	}
	switch f.Type {
	case "string", "textarea", "phone", "email", "url", "encryptedstring", "combobox":
		p.Type, p.Length = core.PropertyText, f.Length
	case "double", "currency", "percent", "int", "long":
		p.Type = core.PropertyNumber
	case "boolean":
		p.Type = core.PropertyBool
	case "date":
		p.Type = core.PropertyDate
	case "datetime":
		p.Type = core.PropertyTime
	case "picklist", "multipicklist":
		if !f.Restricted { // others may be added by writing them
			p.Type, p.Length = core.PropertyText, f.Length
			break
		}
		if p.Type = core.PropertyChoice; f.Type == "multipicklist" {
			p.Type = core.PropertyChoices
		}
		for _, v := range f.Picklist {
			if v.Active {
				p.Values = append(p.Values, v.Value)
			}
		}
		if len(p.Values) == 0 {
			p.Type = core.PropertyOther
		}
	}
	return p
}

// suggested is the mapping of a lane that says mapping = "default": what Salesforce
// knows of people, both ways, and what WhatsApp does, as soon as somebody makes a
// field of that name for it.
var suggested = []core.MapRule{
	// What goes there is the whole name, by settings.name_field.
	{Field: "first_name", Property: "FirstName", Direction: "from"},
	{Field: "last_name", Property: "LastName", Direction: "from"},
	{Field: "email", Property: "Email", Transform: []string{"lower"}},
	{Field: "job_title", Property: "Title"},
	{Field: "department", Property: "Department"},
	{Field: "street", Property: "MailingStreet"},
	{Field: "city", Property: "MailingCity"},
	{Field: "state", Property: "MailingState"},
	{Field: "postal_code", Property: "MailingPostalCode"},
	{Field: "country", Property: "MailingCountry"},
	{Field: "birthday", Property: "Birthdate"},
	{Field: "salutation", Property: "Salutation"},
	{Field: "other_phone", Property: "OtherPhone"},
	{Field: "lead_source", Property: "LeadSource", Conflict: "crm"},
	{Field: "owner", Property: "OwnerId", Direction: "from"},

	{Field: "language", Property: "WA_Language__c", Transform: []string{"lower"}},
	{Field: "last_inbound", Property: "WA_Last_Inbound__c"},
	{Field: "last_outbound", Property: "WA_Last_Outbound__c"},
	{Field: "first_seen", Property: "WA_First_Seen__c"},
	{Field: "window_until", Property: "WA_Window_Until__c"},
	{Field: "messages_in", Property: "WA_Messages_In__c"},
	{Field: "messages_out", Property: "WA_Messages_Out__c"},
	{Field: "mode", Property: "WA_Mode__c"},
	{Field: "assignee", Property: "WA_Assignee__c"},
	{Field: "escalation", Property: "WA_Escalation__c"},
	{Field: "phone_country", Property: "WA_Country__c"},
	{Field: "phone_national", Property: "WA_Phone_National__c"},
	{Field: "marketing_consent_since", Property: "WA_Marketing_Since__c"},
	{Field: "may_be_written", Property: "WA_May_Be_Written__c"},
	{Field: "whatsapp_link", Property: "WA_Link__c"},
	{Field: "ad_source", Property: "WA_Ad_Source__c"},
	{Field: "ad_headline", Property: "WA_Ad_Headline__c"},
	{Field: "ad_click", Property: "WA_Ad_Click__c"},
	{Field: "number", Property: "WA_Business_Number__c"},
}
