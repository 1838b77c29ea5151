package whatsapp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// The fields beside "messages" that the bridge understands. What of a value is not as
// expected is passed on as it came, see [origin.left].
const (
	fieldPreferences      = "user_preferences"
	fieldEchoes           = "smb_message_echoes"
	fieldTemplateCategory = "template_category_update"
	fieldTemplateStatus   = "message_template_status_update"
	fieldTemplateQuality  = "message_template_quality_update"
	fieldTemplateContent  = "message_template_components_update"
	fieldQuality          = "phone_number_quality_update"
	fieldCapability       = "business_capability_update"
	fieldStandby          = "standby"
	fieldHandovers        = "messaging_handovers"
	fieldHistory          = "history"
	fieldUserID           = "user_id_update"
)

// groupFields are what WhatsApp tells of groups in.
var groupFields = []string{"group_lifecycle_update", "group_participants_update", "group_settings_update", "group_status_update"}

// parseOther makes the updates of a change that is not of messages; false when it
// is not understood.
func (o *origin) parseOther(field string, value []byte, fields map[string]json.RawMessage) ([]Update, bool) {
	switch field {
	case fieldPreferences:
		return o.list(field, fields, fieldPreferences, o.preference)
	case fieldEchoes:
		return o.list(field, fields, "message_echoes", o.echo)
	case fieldTemplateCategory:
		return o.templateCategory(value)
	case fieldTemplateStatus, fieldTemplateQuality, fieldTemplateContent:
		return o.templateStatus(field, value)
	case fieldQuality, fieldCapability:
		return o.limits(field, value)
	case fieldStandby:
		return o.standby(fields)
	case fieldHandovers:
		return o.handover(value)
	case fieldHistory:
		return o.history(fields)
	case fieldUserID:
		return o.list(field, fields, fieldUserID, o.userID)
	}
	if slices.Contains(groupFields, field) {
		return o.list(field, fields, "groups", o.group)
	}
	if read := accountFields[field]; read != nil {
		return o.account(field, value, read)
	}
	return nil, false
}

// list makes an update of each element of an array, and one of what is left; false when
// nothing is understood.
func (o *origin) list(field string, fields map[string]json.RawMessage, name string, read func(raw []byte) (core.Event, bool)) ([]Update, bool) {
	updates, odd := o.each(fields, name, read)
	if len(updates) == 0 {
		return nil, false
	}
	return append(updates, o.left(field, fields, name, odd)...), true
}

// each makes an update of each element of an array, and returns those that it cannot read.
func (o *origin) each(fields map[string]json.RawMessage, name string, read func(raw []byte) (core.Event, bool)) ([]Update, []json.RawMessage) {
	all, _ := elements(fields[name])
	contacts, _ := elements(fields["contacts"])
	o.contacts, o.only = nil, len(all) == 1
	for _, raw := range contacts {
		var p profile
		_ = json.Unmarshal(raw, &p) // as far as it can be read
		o.contacts = append(o.contacts, p)
	}
	var updates []Update
	var odd []json.RawMessage
	for _, raw := range all {
		e, ok := read(raw)
		if !ok {
			odd = append(odd, raw)
			continue
		}
		source := e.Source
		u := o.update(e)
		u.Event.Source = cmp.Or(source, u.Event.Source)
		updates = append(updates, u)
	}
	return updates, odd
}

// preference reads a person's choice about marketing in WhatsApp itself.
// https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/reference/user_preferences
func (o *origin) preference(raw []byte) (core.Event, bool) {
	var p struct {
		WaID         flexID   `json:"wa_id"`
		UserID       string   `json:"user_id"`
		ParentUserID string   `json:"parent_user_id"`
		Detail       string   `json:"detail"`
		Category     string   `json:"category"`
		Value        string   `json:"value"`
		SignUp       flexID   `json:"signup_id"`
		Timestamp    flexTime `json:"timestamp"`
	}
	if json.Unmarshal(raw, &p) != nil || p.Category != "marketing_messages" || p.Timestamp.IsZero() {
		return core.Event{}, false
	}
	c := &core.Consent{Level: "marketing", Source: "meta", Evidence: p.Detail}
	switch p.Value {
	case "stop":
		c.State = "withdrawn"
	case "resume":
		c.State = "granted"
	case "signup":
		c.State = "granted"
		if c.Evidence == "" {
			c.Evidence = "signed up in WhatsApp: " + string(p.SignUp)
		}
	default:
		return core.Event{}, false
	}
	e := core.Event{
		ID: hashID(o.waba(), fieldPreferences, raw, []byte(o.number)), Kind: core.KindConsentChanged, Time: p.Timestamp.Time,
		Contact: o.contact(string(p.WaID), p.UserID, p.ParentUserID), Consent: c,
	}
	return e, e.Contact != nil
}

// echo reads what somebody of the business typed in the phone app.
// https://developers.facebook.com/docs/whatsapp/embedded-signup/custom-flows/onboarding-business-app-users
func (o *origin) echo(raw []byte) (core.Event, bool) {
	var m struct {
		message
		To             flexID `json:"to"`
		ToUserID       string `json:"to_user_id"`
		ToParentUserID string `json:"to_parent_user_id"`
	}
	if json.Unmarshal(raw, &m) != nil || !usableID(m.ID) {
		return core.Event{}, false
	}
	c := o.contact(string(m.To), m.ToUserID, m.ToParentUserID)
	if c == nil {
		return core.Event{}, false
	}
	e := core.Event{
		ID: m.ID, Kind: core.KindMessageSent, Time: m.Timestamp.Time, Source: "phone", Author: core.AuthorHuman, Contact: c,
		Message: m.content(),
	}
	switch of := m.edited(); {
	case of != nil:
		e.Kind, e.Message = core.KindMessageEdited, of
	case m.revoked() != "":
		e.Kind, e.Message.ID = core.KindMessageRevoked, m.revoked()
	}
	if m.GroupID != "" {
		if !usableID(m.GroupID) {
			return core.Event{}, false
		}
		e.Group = m.GroupID
	}
	e.Message.Direction, e.Message.To = core.Outbound, reachedAt(c)
	if m.kind() != core.TypeText {
		e.Raw = slices.Clone(raw)
	}
	return e, true
}

// templateCategory reads that Meta changes, or is going to change, a template's
// category. Of the notice that comes a day before, new_category is the category
// as it still is.
// https://developers.facebook.com/docs/whatsapp/business-management-api/webhooks/reference/template_category_update
func (o *origin) templateCategory(value []byte) ([]Update, bool) {
	var v struct {
		templateNames
		New     string   `json:"new_category"`
		Correct string   `json:"correct_category"`
		At      flexTime `json:"category_update_timestamp"`
	}
	if json.Unmarshal(value, &v) != nil || v.Name == "" || v.New == "" {
		return nil, false
	}
	c := v.change()
	c.Category = strings.ToLower(v.New)
	if v.Correct != "" && !v.At.IsZero() {
		c.Next, c.NextAt = strings.ToLower(v.Correct), v.At.Time
	}
	return o.template(fieldTemplateCategory, value, c), true
}

// templateNames is how all of these updates name the template.
type templateNames struct {
	Name     string `json:"message_template_name"`
	Language string `json:"message_template_language"`
	ID       flexID `json:"message_template_id"`
}

// change has the language as it is written everywhere else: Meta's samples of these webhooks
// have en-US where the template is en_US.
func (n *templateNames) change() *core.TemplateChange {
	return &core.TemplateChange{Name: n.Name, Language: strings.ReplaceAll(n.Language, "-", "_"), ID: string(n.ID)}
}

// templateStatus reads a template's status, and its category where Meta says it;
// or its quality; or that its content is another, of which no more is taken over
// than that it is.
// https://developers.facebook.com/docs/whatsapp/business-management-api/webhooks/reference/message_template_status_update
func (o *origin) templateStatus(field string, value []byte) ([]Update, bool) {
	var v struct {
		templateNames
		Event     string `json:"event"`
		Category  string `json:"message_template_category"`
		Quality   string `json:"new_quality_score"`
		Reason    string `json:"reason"`
		Rejection struct {
			Reason         string `json:"reason"`
			Recommendation string `json:"recommendation"`
		} `json:"rejection_info"`
		Other struct {
			Title       string `json:"title"`
			Description string `json:"description"`
		} `json:"other_info"`
	}
	if json.Unmarshal(value, &v) != nil || v.Name == "" {
		return nil, false
	}
	c := v.change()
	switch {
	case v.Event != "":
		c.Status, c.Category = v.Event, strings.ToLower(v.Category)
		if v.Reason == "NONE" {
			v.Reason = ""
		}
		c.Reason = joined(cmp.Or(v.Rejection.Reason, v.Reason, v.Other.Title), cmp.Or(v.Rejection.Recommendation, v.Other.Description))
	case v.Quality != "": // the quality update's sample carries the status update's name
		c.Quality = v.Quality
	case field != fieldTemplateContent:
		return nil, false
	}
	return o.template(field, value, c), true
}

// joined is two parts of a reason, as far as there are, on one line.
func joined(what, more string) string {
	what, more = clean(what), clean(more)
	if what == "" || more == "" {
		return what + more
	}
	return what + ": " + more
}

func (o *origin) template(field string, value []byte, c *core.TemplateChange) []Update {
	var t flexTime
	_ = t.UnmarshalJSON(o.entry.Time)
	c.Account = o.waba()
	return []Update{o.update(core.Event{
		ID: hashID(o.waba(), field, value, o.entry.Time), Kind: core.KindTemplateChanged, Time: t.Time,
		TemplateChange: c, Raw: bytes.Clone(value),
	})}
}
