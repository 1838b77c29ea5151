package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/wabridge/wabridge/core"
)

// object is a kind of record in HubSpot, with what the connector needs on it.
type object struct {
	name, singular string
	key            string
	properties     []ownProperty
}

// ownProperty is a property that the connector makes.
type ownProperty struct {
	name, setting, label string
	unique               bool
}

// group is the property group that ours are shown in.
const group = "wabridge"

func (s *settings) contacts() object {
	return object{"contacts", "contact", s.ContactKey, present(
		ownProperty{s.ContactKey, "contact_key", "WhatsApp contact (bridge id)", true},
		ownProperty{s.BSUIDProperty, "bsuid_property", "WhatsApp user id (BSUID)", false},
		ownProperty{s.UsernameProperty, "username_property", "WhatsApp username", false},
		ownProperty{s.TagsProperty, "tags_property", "WhatsApp tags", false},
		ownProperty{s.EscalationProperty, "escalation_property", "WhatsApp escalation", false},
		ownProperty{s.ConsentProperty, "consent_property", "WhatsApp marketing consent", false},
		ownProperty{s.SuppressedProperty, "suppressed_property", "WhatsApp not to be written to", false},
	)}
}

func (s *settings) communications() object {
	return object{"communications", "communication", s.MessageKey, present(
		ownProperty{s.MessageKey, "message_key", "WhatsApp message id", true},
		ownProperty{s.DirectionProperty, "direction_property", "WhatsApp direction", false},
		ownProperty{s.StatusProperty, "status_property", "WhatsApp status", false},
		ownProperty{s.StatusErrorProperty, "status_error_property", "WhatsApp delivery error", false},
	)}
}

// objects returns the kinds of records that the settings want written.
func (s *settings) objects() []object {
	wanted := []object{s.contacts()}
	if s.timeline() {
		wanted = append(wanted, s.communications())
	}
	if s.Escalations == "tickets" {
		wanted = append(wanted, s.tickets())
	}
	return wanted
}

func present(all ...ownProperty) []ownProperty {
	kept := all[:0]
	for _, p := range all {
		if p.name != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

// Check implements [core.Connector]: it reads one contact, which proves the token,
// sees to the properties that Deliver writes, and searches as Deliver does. Several checks of one account at
// once do not disturb each other.
func (c *Connector) Check(ctx context.Context, account core.Account) error {
	x, err := c.open(account)
	if err != nil {
		return err
	}
	if err := x.call(ctx, "check", http.MethodGet, x.path("objects", "contacts")+"?limit=1", nil, ignore); err != nil {
		return err.Error
	}
	for _, o := range x.objects() {
		if err := x.prepare(ctx, o); err != nil {
			return err
		}
	}
	if x.inbox() {
		if err := x.prepareInbox(ctx, account); err != nil {
			return err
		}
	}
	if len(x.AdoptBy) > 0 {
		if _, err := x.searchNumbers(ctx, numbers{[]string{"0"}, []string{"0"}}); err != nil {
			return err
		}
	}
	return x.checkDue(ctx)
}

// checkDue sees to the property for deadlines, which is the owner's own.
func (x *session) checkDue(ctx context.Context) error {
	if x.Escalations != "tickets" || x.TicketDueProperty == "" {
		return nil
	}
	due := ownProperty{name: x.TicketDueProperty, setting: "ticket_due_property"}
	answer, r := x.property(ctx, x.tickets(), due)
	switch {
	case r != nil && r.status == http.StatusNotFound:
		return setupError("PROPERTY_DOESNT_EXIST", "tickets have no property "+due.name,
			"create it in HubSpot as date and time, or leave settings.ticket_due_property out")
	case r != nil:
		return r.Error
	case answer.Type != "datetime":
		return setupError("", "the property "+due.name+" on tickets is no date and time", "name another in settings.ticket_due_property")
	}
	return nil
}

// prepare makes the properties of an object that are missing, and proves that its
// key has unique values.
func (x *session) prepare(ctx context.Context, o object) *core.Error {
	answers := make([]propertyAnswer, len(o.properties))
	refusals := make([]*refusal, len(o.properties))
	var wait sync.WaitGroup
	for i, p := range o.properties {
		wait.Go(func() { answers[i], refusals[i] = x.property(ctx, o, p) })
	}
	wait.Wait()
	grouped := false
	for i, p := range o.properties {
		if r := refusals[i]; r != nil && r.status == http.StatusNotFound {
			if !x.CreateProperties {
				return setupError("PROPERTY_DOESNT_EXIST", o.name+" have no property "+p.name,
					"create it in HubSpot, or set create_properties = true; its name is settings."+p.setting)
			}
			if !grouped {
				if err := x.createGroup(ctx, o); err != nil {
					return err
				}
				grouped = true
			}
			if err := x.createProperty(ctx, o, p); err != nil {
				return err
			}
			answers[i], refusals[i] = x.property(ctx, o, p)
		}
		if r := refusals[i]; r != nil {
			return r.Error
		}
		if p.unique && !answers[i].Unique {
			return setupError("", "the property "+p.name+" on "+o.name+" does not have unique values, and HubSpot cannot change that",
				"name a new property in settings."+p.setting)
		}
	}
	return nil
}

func setupError(vendor, message, hint string) *core.Error {
	return &core.Error{Code: core.CodeForbidden, Op: "check property", Source: core.SourceVendor,
		Scope: core.ScopeLane, Vendor: vendor, Message: message, Hint: hint}
}

// propertyAnswer is what is read of a property.
type propertyAnswer struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Unique bool   `json:"hasUniqueValue"`
}

func (x *session) property(ctx context.Context, o object, p ownProperty) (propertyAnswer, *refusal) {
	var a propertyAnswer
	err := x.call(ctx, "check property", http.MethodGet, x.path("properties", o.name+"/"+p.name), nil, func(b []byte) error {
		return whole(b, &a, func() bool { return a.Name != "" })
	})
	return a, err
}

func ignore([]byte) error { return nil }

func (x *session) createGroup(ctx context.Context, o object) *core.Error {
	body := []byte(`{"name":"` + group + `","label":"WhatsApp (wabridge)","displayOrder":-1}`)
	err := x.call(ctx, "create property group", http.MethodPost, x.path("properties", o.name+"/groups"), body, ignore)
	if err != nil && err.status != http.StatusConflict {
		return err.Error
	}
	return nil
}

func (x *session) createProperty(ctx context.Context, o object, p ownProperty) *core.Error {
	body, err := json.Marshal(map[string]any{
		"groupName": group, "name": p.name, "label": p.label, "description": "Written by wabridge.",
		"type": "string", "fieldType": "text", "hasUniqueValue": p.unique,
	})
	if err != nil {
		return core.Errorf(core.CodeInternal, "create property", "%w", err)
	}
	r := x.call(ctx, "create property", http.MethodPost, x.path("properties", o.name), body, ignore)
	switch {
	case r == nil, r.status == http.StatusConflict: // somebody else just made it
		return nil
	case r.Code == core.CodeInvalid:
		r.Code, r.Scope = core.CodeForbidden, core.ScopeLane
		r.Hint = "create the property " + p.name + " on " + o.name + " by hand, or name another in settings." + p.setting
		if o.name == "communications" && p.unique {
			r.Hint += `; where HubSpot takes no unique property on communications, set log_messages = "none"`
		}
	}
	return r.Error
}
