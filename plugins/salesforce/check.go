package salesforce

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// object is a kind of record, with what the connector needs on it.
type object struct {
	name, setting string
	needs         []need
}

// need is a field that the connector writes or reads.
type need struct {
	setting, name string
	form          form
}

// form is what a field must be like.
type form int

const (
	aText form = iota
	aKey
	aName
	aLookup
	aTime
	anyForm
	aRead // it is never written
)

// make says how to create a field of a form.
func (f form) make() string {
	switch f {
	case aKey:
		return "Text, 255, External ID, Unique"
	case aLookup:
		return "Lookup to Contact"
	case aTime:
		return "Date/Time"
	}
	return "Text, 255"
}

// wrong says what is wrong with a field, "" when nothing is.
func (f form) wrong(d field) string {
	switch {
	case f == aKey && (!d.ExternalID || !d.Unique || d.Type != "string" && d.Type != "textarea"):
		return "is not a text that is External ID and Unique"
	case f == aName && (d.Nillable || d.Defaulted):
		return "is not a field that Salesforce requires of new records, by which they are told from known ones"
	case f == aLookup && d.Type != "reference":
		return "is not a lookup"
	case f == aTime && d.Type != "datetime":
		return "is not of type Date/Time"
	case f == aText && !slices.Contains([]string{"string", "textarea", "picklist", "multipicklist", "combobox", "phone", "email", "url"}, d.Type):
		return "is not a text"
	case f != aRead && (!d.Createable || !d.Updateable):
		return "may not be written by the user"
	}
	return ""
}

// objects returns the kinds of records that the settings want written, or read.
func (s *settings) objects() []object {
	contacts := object{name: s.ContactObject, setting: "contact_object", needs: []need{
		{"contact_key", s.ContactKey, aKey}, {"name_field", s.NameField, aName}, {"phone_field", s.PhoneField, aText}, {"bsuid_field", s.BSUIDField, aText},
		{"username_field", s.UsernameField, aText}, {"tags_field", s.TagsField, aText},
		{"consent_field", s.ConsentField, aText}, {"suppressed_field", s.SuppressedField, aText},
	}}
	for _, name := range slices.Sorted(maps.Keys(s.ContactFields)) {
		contacts.needs = append(contacts.needs, need{"contact_fields." + name, s.ContactFields[name], aText})
	}
	for _, name := range slices.Sorted(maps.Keys(s.OnCreate)) {
		contacts.needs = append(contacts.needs, need{"on_create", name, anyForm})
	}
	for _, name := range s.AdoptBy {
		contacts.needs = append(contacts.needs, need{"adopt_by", name, aText})
	}
	read, asked := s.inbound()
	contacts.needs = append(contacts.needs, read...)
	all := []object{contacts}
	if len(asked) > 0 {
		all = append(all, object{name: s.SendObject, setting: "send_object", needs: asked})
	}
	if s.Mode != "none" {
		all = append(all, object{name: s.MessageObject, setting: "message_object", needs: []need{
			{"message_key", s.MessageKey, aKey}, {"message_contact", s.MessageContact, aLookup}, {"message_body", s.MessageBody, aText},
			{"message_direction", s.MessageDirection, aText}, {"message_type", s.MessageType, aText}, {"message_time", s.MessageTime, aTime},
			{"message_status", s.MessageStatus, aText}, {"message_error", s.MessageError, aText},
		}})
		if s.Mode == "task" {
			last := &all[len(all)-1]
			last.needs = append(last.needs, need{"mode", "Subject", aText}, need{"mode", "Status", anyForm}, need{"mode", "ActivityDate", anyForm})
		}
	}
	if s.Escalations != "none" {
		needs := []need{
			{"escalation_key", s.EscalationKey, aKey}, {"escalation_due", s.EscalationDue, anyForm}, {"escalations", s.escalationLink(), aLookup},
			{"escalations", "Subject", aText}, {"escalations", "Description", aText}, {"escalations", "Priority", anyForm}, {"escalations", "Status", anyForm},
		}
		if len(s.Owners) > 0 {
			needs = append(needs, need{"owners", "OwnerId", anyForm})
		}
		all = append(all, object{name: s.escalationObject(), setting: "escalations", needs: needs})
	}
	return all
}

// Check implements [core.Connector]: it reads the description of each object, which
// proves the token, and creates nothing. Its error says all that is missing.
func (c *Connector) Check(ctx context.Context, account core.Account) error {
	x, err := c.open(account)
	if err != nil {
		return err
	}
	var missing, todo []string
	for _, o := range x.objects() {
		s, r := x.describe(ctx, o.name, 0)
		if r != nil && r.status == http.StatusNotFound {
			missing = append(missing, "there is no object "+o.name)
			todo = append(todo, "the object "+o.name+" (settings."+o.setting+") with "+fieldList(o.needs))
			continue
		}
		if r != nil {
			return r.Error
		}
		var absent []need
		for _, n := range o.needs {
			if n.name == "" {
				continue
			}
			d, ok := s.fields[strings.ToLower(n.name)]
			if !ok {
				missing = append(missing, o.name+" has no field "+n.name)
				absent = append(absent, n)
			} else if _, why := d.value(x.OnCreate[n.name]); n.setting == "on_create" && why != "" {
				missing = append(missing, o.name+"."+n.name+": "+why)
				todo = append(todo, "nothing for "+n.name+", but correct settings.on_create."+n.name)
			} else if why := n.form.wrong(d); why != "" {
				missing = append(missing, o.name+"."+n.name+" "+why)
				todo = append(todo, "another "+n.name+" on "+o.name+" (settings."+n.setting+"): "+n.form.make())
			}
		}
		if len(absent) > 0 {
			todo = append(todo, "on "+o.name+" "+fieldList(absent))
		}
	}
	if len(missing) == 0 {
		x.watchEvents(ctx)
		return nil
	}
	return &core.Error{Code: core.CodeForbidden, Op: "check", Source: core.SourceVendor, Scope: core.ScopeLane, Vendor: "INVALID_FIELD",
		Message: strings.Join(missing, "; "),
		Hint:    "create in Setup, Object Manager: " + strings.Join(todo, "; ") + "; and give the user's permission set read and edit access to them"}
}

// fieldList says which fields to create.
func fieldList(needs []need) string {
	var list []string
	for _, n := range needs {
		if n.name == "" {
			continue
		}
		how := n.form.make()
		if n.setting == "message_body" {
			how = "Long Text Area, 131072"
		}
		list = append(list, n.name+" ("+how+"; settings."+n.setting+")")
	}
	return strings.Join(list, ", ")
}
