package zoho

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// need is a field that Deliver writes.
type need struct {
	named
	label, kind string
	length      int
	unique      bool
	made        bool // Check may make it
}

// needs returns the fields of each module that the settings want written.
func (s *settings) needs() map[string][]need {
	text := func(setting, name string) need {
		return need{named{setting, name}, strings.ReplaceAll(name, "_", " "), "text", 255, false, true}
	}
	key := func(setting, name string) need { n := text(setting, name); n.unique = true; return n }
	there := func(setting, name string) need { return need{named: named{setting, name}} }
	as := func(n need, kind string, length int) need { n.kind, n.length = kind, length; return n }
	contacts := []need{key("contact_key", s.ContactKey), there("name_field", s.NameField), there("phone_field", s.PhoneField),
		text("bsuid_field", s.BSUIDField), text("username_field", s.UsernameField), text("tags_field", s.TagsField),
		text("consent_field", s.ConsentField), text("suppressed_field", s.SuppressedField)}
	for name, field := range s.ContactFields {
		contacts = append(contacts, there("contact_fields."+name, field))
	}
	all := map[string][]need{}
	switch s.Mode {
	case "notes":
		contacts = append(contacts, text("notes_field", s.NotesField))
	case "module":
		lookup := as(text("message_contact_field", s.MessageContact), "lookup to "+s.ContactModule, 0)
		lookup.made = false
		all[s.MessageModule] = []need{key("message_key", s.MessageKey), there("message_name_field", s.MessageName), lookup,
			text("direction_field", s.DirectionField), as(text("body_field", s.BodyField), "textarea", 32000), text("type_field", s.TypeField),
			text("media_field", s.MediaField), as(text("time_field", s.TimeField), "datetime", 0), text("status_field", s.StatusField),
			as(text("status_time_field", s.StatusTimeField), "datetime", 0), text("status_error_field", s.StatusErrorField)}
	}
	if s.Escalations != "none" {
		all[s.work().module] = []need{key("escalation_key", s.EscalationKey)}
	}
	for _, n := range s.inboundFields() {
		contacts = append(contacts, there(n.setting, n.name))
	}
	if s.SendModule != "" {
		all[s.SendModule] = []need{there("send_to_field", s.SendTo), there("send_contact_field", s.SendContact), there("send_text_field", s.SendText), there("send_template_field", s.SendTemplate),
			there("send_language_field", s.SendLanguage), there("send_params_field", s.SendParams),
			there("send_status_field", s.SendStatus), there("send_error_field", s.SendError)}
	}
	all[s.ContactModule] = contacts
	return all
}

// Check implements [core.Connector]: it reads the fields of each module, which
// proves the token and the scopes, makes those of ours that are missing, and asks a
// query. Several checks of one account at once do not disturb each other.
func (c *Connector) Check(ctx context.Context, a core.Account) error {
	x, err := c.open(a)
	if err != nil {
		return err
	}
	needs := x.needs()
	modules := []string{x.ContactModule}
	if x.Mode == "module" {
		modules = append(modules, x.MessageModule)
	}
	if x.Escalations != "none" {
		modules = append(modules, x.work().module)
	}
	if x.SendModule != "" {
		modules = append(modules, x.SendModule)
	}
	if x.pulls() {
		if _, err := x.userID(ctx); err != nil {
			return err
		}
	}
	for _, module := range modules {
		if err := x.prepare(ctx, module, needs[module]); err != nil {
			return err
		}
		if _, err := x.query(ctx, module, "id is not null", "id"); err != nil {
			return err
		}
	}
	if err := x.trySearch(ctx); err != nil {
		return err
	}
	return nil
}

// prepare makes the fields of a module that are missing, and says exactly what to
// make by hand.
func (x *session) prepare(ctx context.Context, module string, needs []need) *core.Error {
	fs, err := x.readFields(ctx, module)
	if err != nil {
		if err.Vendor == "INVALID_MODULE" {
			err.Hint = "create the module " + module + " in Zoho (Setup, Modules and Fields) with the fields " + describeNeeds(needs)
			if module == x.SendModule {
				err.Hint += "; or name another in settings.send_module"
			} else {
				err.Hint += `; or name another in settings.message_module, or set settings.mode = "notes"`
			}
		}
		return err
	}
	var missing []need
	for _, n := range needs {
		switch f := fs.byName[n.name]; {
		case n.name == "":
		case f == nil && n.made && x.CreateFields:
			if err := x.createField(ctx, module, n); err != nil {
				return err
			}
			fs = nil
		case f == nil:
			missing = append(missing, n)
		case n.unique && !f.isUnique():
			return setupError("NOT_UNIQUE", module+"."+n.name+" allows doubles",
				`tick "Do not allow duplicate values" in the field's properties, or name another field in settings.`+n.setting)
		}
		if fs == nil {
			if fs, err = x.readFields(ctx, module); err != nil {
				return err
			}
			if fs.byName[n.name] == nil {
				missing = append(missing, n)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	hint := "create in Zoho, in the module " + module + ": " + describeNeeds(missing)
	if !x.CreateFields {
		hint += "; or set settings.create_fields = true"
	}
	return setupError("FIELD_MISSING", module+" has no field "+missing[0].name, hint+"; other names are settings."+missing[0].setting)
}

func describeNeeds(needs []need) string {
	var parts []string
	for _, n := range needs {
		if n.name == "" || n.kind == "" && n.setting == "message_name_field" {
			continue
		}
		part := n.name
		switch {
		case n.kind == "text":
			part += " (single line"
		case n.kind == "textarea":
			part += " (multi-line, large"
		case n.kind == "datetime":
			part += " (date/time"
		case n.kind != "":
			part += " (" + n.kind
		default:
			part += " (any text field"
		}
		if n.length > 0 {
			part += fmt.Sprintf(", %d characters", n.length)
		}
		if n.unique {
			part += ", no duplicate values"
		}
		parts = append(parts, part+")")
	}
	return strings.Join(parts, ", ")
}

func setupError(vendor, message, hint string) *core.Error {
	return &core.Error{Code: core.CodeForbidden, Op: "check fields", Source: core.SourceVendor, Scope: core.ScopeLane,
		Vendor: vendor, Message: message, Hint: hint}
}

// createField makes a field. Zoho makes the API name of the label.
func (x *session) createField(ctx context.Context, module string, n need) *core.Error {
	def := map[string]any{"field_label": n.label, "data_type": n.kind}
	if n.length > 0 {
		def["length"] = n.length
	}
	if n.unique {
		def["unique"] = map[string]any{"casesensitive": false}
	}
	body := appendJSON(nil, map[string]any{"fields": []any{def}})
	var a struct {
		Fields []outcome `json:"fields"`
	}
	r := x.call(ctx, "create field "+n.name, http.MethodPost, "settings/fields?module="+module, body, func(b []byte) error { return crm.Decode(b, &a) })
	switch {
	case r == nil && (len(a.Fields) == 0 || a.Fields[0].Status != "error"):
		return nil
	case r == nil && a.Fields[0].Code == "DUPLICATE_DATA": // somebody else just made it
		return nil
	case r != nil && r.Code != core.CodeInvalid:
		return r.Error
	}
	return setupError("FIELD_MISSING", module+" has no field "+n.name+", and Zoho does not let it be made",
		"create it by hand in the module "+module+": "+describeNeeds([]need{n})+"; other names are settings."+n.setting)
}
