package mapping

import (
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/spelling"
)

// Type is what a field's values are.
type Type string

// The types of fields.
const (
	Text     Type = "text"
	Date     Type = "date" // 2026-11-27
	Time     Type = "time" // in UTC
	Number   Type = "number"
	Bool     Type = "bool"
	List     Type = "list"
	Email    Type = "email"
	Language Type = "language" // zh-tw
	Zone     Type = "zone"     // Europe/Madrid
	Consent  Type = "consent"  // granted, asked or withdrawn
)

// Field is something that the bridge knows of a person.
type Field struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
	// FromCRM says that a CRM may change it.
	FromCRM bool   `json:"from_crm"`
	Text    string `json:"text"` // what it is, for people
}

// fields are the bridge's own words for what is known of a person.
var fields = []Field{
	{"first_name", Text, true, "first name; towards the CRM guessed from the name on WhatsApp until somebody says it"},
	{"last_name", Text, true, "last name, likewise"},
	{"salutation", Text, true, "Ms, Dr., …"},
	{"email", Email, true, "e-mail address"},
	{"company", Text, true, "where the person works"},
	{"department", Text, true, "where in the company"},
	{"job_title", Text, true, "what they do there"},
	{"street", Text, true, "street and house number"},
	{"city", Text, true, "city"},
	{"state", Text, true, "state, province, region"},
	{"postal_code", Text, true, "postal code"},
	{"country", Text, true, "country; towards the CRM guessed from the phone number until somebody says it"},
	{"language", Language, true, "language; towards the CRM guessed from what they write until somebody says it"},
	{"time_zone", Zone, true, "time zone; towards the CRM guessed from the phone number where there is one only"},
	{"birthday", Date, true, "date of birth"},
	{"website", Text, true, "website"},
	{"other_phone", Text, true, "another phone number: never one by which the bridge recognises or writes to anybody"},
	{"owner", Text, true, "who at the business looks after the person, as the CRM calls them"},
	{"customer_id", Text, true, "what another system calls the person"},
	{"lifecycle", Text, true, "how far the person is as a customer"},
	{"lead_source", Text, true, "where the person came from, as the CRM calls it"},
	{"notes", Text, true, "what people wrote down"},
	{"tags", List, true, "the contact's tags"},
	{"marketing_consent", Consent, true, "consent to marketing: granted, asked, withdrawn"},

	{"contact_id", Text, false, "the bridge's own id of the contact"},
	{"name", Text, false, "what the business calls the person; else what they call themselves on WhatsApp"},
	{"username", Text, false, "WhatsApp username"},
	{"phone", Text, false, "phone number, +34600111222"},
	{"phone_digits", Text, false, "phone number without the +"},
	{"phone_national", Text, false, "phone number as written in its country"},
	{"phone_country", Text, false, "country of the phone number (ES)"},
	{"bsuid", Text, false, "business-scoped user id"},
	{"whatsapp_link", Text, false, "https://wa.me/34600111222"},
	{"detected_language", Text, false, "language of what they last wrote"},
	{"number", Text, false, "the business number of the conversation, by Meta's id"},
	{"mode", Text, false, "who answers: bot or human"},
	{"assignee", Text, false, "who has the open escalation: a person, or else the team"},
	{"escalation", Text, false, "why the conversation is with a person now"},
	{"suppressed", List, false, "why nothing may be sent: stop, complaint, …"},
	{"may_be_written", Bool, false, "whether nothing forbids to write at all"},
	{"marketing_consent_since", Time, false, "since when the consent to marketing stands as it does"},
	{"first_seen", Time, false, "when the bridge came to know the person"},
	{"last_inbound", Time, false, "when they last wrote"},
	{"last_outbound", Time, false, "when they were last written to"},
	{"window_until", Time, false, "until when free text may be sent"},
	{"messages_in", Number, false, "how many messages they wrote, in this conversation"},
	{"messages_out", Number, false, "how many they got"},
	{"ad_source", Text, false, "address of the ad or post that a message came from"},
	{"ad_id", Text, false, "its id"},
	{"ad_headline", Text, false, "its headline"},
	{"ad_type", Text, false, "ad or post"},
	{"ad_click", Text, false, "WhatsApp's id of the click (ctwa_clid), by which Meta is told of conversions; some ads have none"},
}

// custom is how fields begin that have no name of ours.
const custom = "fields."

// Fields returns the fields there are, beside fields.NAME.
func Fields() []Field { return slices.Clone(fields) }

// fieldOf returns a field by its name, false when there is none.
func fieldOf(name string) (Field, bool) {
	if rest, ok := strings.CutPrefix(name, custom); ok && rest != "" && len(rest) <= maxName {
		return Field{name, Text, true, "a field of scripts"}, true
	}
	if i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name }); i >= 0 {
		return fields[i], true
	}
	return Field{}, false
}

// nearest returns "; did you mean x?" or says where the names are.
func nearest(name string) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	if near := spelling.Nearest(name, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; wabridge mapping fields lists them, and fields." + name + " would be a field of scripts"
}

// Names returns what rules are about among the contact's own fields; suggested adds
// all that a connector may suggest.
func Names(rules []core.MapRule, suggested bool) []string {
	var names []string
	for _, r := range rules {
		if f, ok := fieldOf(r.Field); ok && f.stored() != "" {
			names = append(names, f.stored())
		}
	}
	for _, f := range fields {
		if suggested && f.stored() != "" {
			names = append(names, f.stored())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stored is the name of a field among the contact's own, "" when it is not kept
// there.
func (f Field) stored() string {
	switch {
	case !f.FromCRM || f.Type == List || f.Type == Consent:
		return ""
	case strings.HasPrefix(f.Name, custom):
		return f.Name[len(custom):]
	}
	return f.Name
}
