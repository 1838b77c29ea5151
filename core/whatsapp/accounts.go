package whatsapp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// accountFields are the fields about an account or a number, and how each is read. A
// reader returns nil for what it does not understand.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
var accountFields = map[string]func(value []byte) *core.AccountChange{
	"account_update":               accountUpdate,
	"account_alerts":               accountAlert,
	"account_review_update":        accountReview,
	"security":                     security,
	"phone_number_name_update":     numberName,
	"business_username_update":     businessUsername,
	"payment_configuration_update": paymentConfiguration,
	"flows":                        flowTrouble,
}

// The levels of an alarm.
const (
	warning  = "warning"
	critical = "critical"
)

// account makes the update of a change of an account.
func (o *origin) account(field string, value []byte, read func([]byte) *core.AccountChange) ([]Update, bool) {
	c := read(value)
	if c == nil {
		return nil, false
	}
	c.Field, c.Account = field, o.waba()
	c.Event = c.Event[:min(len(c.Event), maxTypeName)]
	c.Text = clean(c.Text)
	var t flexTime
	_ = t.UnmarshalJSON(o.entry.Time)
	return []Update{o.update(core.Event{
		ID: hashID(o.waba(), field, value, o.entry.Time), Kind: core.KindAccountChanged, Time: t.Time, AccountChange: c, Raw: bytes.Clone(value),
	})}, true
}

// valueError makes the update of an error that is about no message.
func (o *origin) valueError(raw []byte) (Update, bool) {
	var e statusError
	if json.Unmarshal(raw, &e) != nil || e.Code == 0 {
		return Update{}, false
	}
	why := e.reason()
	c := &core.AccountChange{
		Field: "errors", Account: o.waba(), Event: fmt.Sprint(why.Code), Display: o.display,
		Text: clean(fmt.Sprintf("WhatsApp reports error %d: %s", why.Code, cmp.Or(why.Details, why.Title))),
	}
	if Locks(why.Code) {
		c.Alarm, c.About = critical, fmt.Sprintf("error/%d", why.Code)
	}
	var t flexTime
	_ = t.UnmarshalJSON(o.entry.Time)
	return o.update(core.Event{
		ID: hashID(o.waba(), "errors", raw, o.entry.Time), Kind: core.KindAccountChanged, Time: t.Time, AccountChange: c, Raw: bytes.Clone(raw),
	}), true
}

// Locks reports whether an error code says that an account or number as a whole may
// not send, until a person does something about it: it is restricted, locked, or
// cannot pay.
func Locks(code int) bool {
	switch code {
	case 368, 131031, 131042, 131044:
		return true
	}
	return false
}

// flexDate is a moment in seconds, or a date and time as Meta writes them.
type flexDate struct{ time.Time }

// UnmarshalJSON implements [encoding/json.Unmarshaler]. It never fails.
func (d *flexDate) UnmarshalJSON(b []byte) error {
	var t flexTime
	_ = t.UnmarshalJSON(b)
	d.Time = t.Time
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", time.DateOnly} {
		if at, err := time.Parse(form, string(unquoted(b))); d.IsZero() && err == nil {
			d.Time = at.UTC()
		}
	}
	return nil
}

// aboutAccount is what bans and restrictions are about: the latest counts.
const aboutAccount = "account"

// accountUpdate reads bans, restrictions and violations, and what else happens to an
// account.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/account_update
func accountUpdate(value []byte) *core.AccountChange {
	var v struct {
		Event string `json:"event"`
		Phone flexID `json:"phone_number"`
		Ban   *struct {
			State string `json:"waba_ban_state"`
			Date  string `json:"waba_ban_date"`
		} `json:"ban_info"`
		Restrictions *[]restriction `json:"restriction_info"`
		Violation    struct {
			Type string `json:"violation_type"`
		} `json:"violation_info"`
		Disconnection struct {
			Reason string `json:"reason"`
		} `json:"disconnection_info"`
	}
	if json.Unmarshal(value, &v) != nil || v.Event == "" {
		return nil
	}
	c := &core.AccountChange{Event: v.Event, Display: string(v.Phone), Text: "the account: " + words(v.Event)}
	switch {
	case v.Ban != nil && v.Ban.State != "":
		banned(c, v.Ban.State, v.Ban.Date)
	case v.Restrictions != nil:
		restricted(c, *v.Restrictions)
	case v.Violation.Type != "":
		c.Alarm, c.About = critical, "violation"
		c.Text = "WhatsApp says that the account violates its policy: " + words(v.Violation.Type) + "; restrictions may follow"
	case v.Event == "ACCOUNT_DELETED", v.Event == "ACCOUNT_OFFBOARDED":
		c.Alarm, c.About, c.Stops = critical, aboutAccount, &[]core.Stop{{What: core.StopAll}}
		if c.Text = "the account was deleted"; v.Event == "ACCOUNT_OFFBOARDED" {
			c.Text = "the number was taken off the Cloud API"
		}
	case v.Event == "ACCOUNT_RECONNECTED":
		c.About, c.Over, c.Stops = aboutAccount, true, &[]core.Stop{}
		c.Text = "the number is connected to the Cloud API again"
	case v.Event == "PARTNER_REMOVED":
		c.Alarm, c.About = critical, "partner"
		c.Text = "the account was taken away from a partner, or from the app: sends may be refused"
		if r := v.Disconnection.Reason; r != "" {
			c.Text += " (" + words(r) + ")"
		}
	case v.Event == "PARTNER_ADDED":
		c.About, c.Over = "partner", true
	}
	return c
}

func banned(c *core.AccountChange, state, date string) {
	c.About = aboutAccount
	switch state {
	case "DISABLE":
		c.Alarm, c.Stops, c.Text = critical, &[]core.Stop{{What: core.StopAll}}, "WhatsApp has disabled the account"
	case "SCHEDULE_FOR_DISABLE":
		c.Alarm, c.Text = critical, "WhatsApp is going to disable the account"
		if date != "" {
			c.Text += " on " + date
		}
	case "REINSTATE":
		c.Over, c.Stops, c.Text = true, &[]core.Stop{}, "WhatsApp has reinstated the account"
	default:
		c.Alarm, c.Text = warning, "WhatsApp says of a ban of the account: "+words(state)
	}
}

// restriction is one of an account's.
type restriction struct {
	Type  string   `json:"restriction_type"`
	Until flexDate `json:"expiration"`
}

// restricted takes the restrictions that an account has now; none lifts those it had.
func restricted(c *core.AccountChange, all []restriction) {
	c.About = aboutAccount
	stops := []core.Stop{}
	var said []string
	for _, r := range all[:min(len(all), maxRestrictions)] {
		text := words(strings.TrimPrefix(r.Type, "RESTRICTED_"))
		if !r.Until.IsZero() {
			text += " until " + r.Until.Format(time.RFC3339)
		}
		said = append(said, text)
		switch r.Type {
		case "RESTRICTED_BIZ_INITIATED_MESSAGING":
			stops = append(stops, core.Stop{What: core.StopBegins, Until: r.Until.Time})
		case "RESTRICTED_CUSTOMER_INITIATED_MESSAGING":
			stops = append(stops, core.Stop{What: core.StopReplies, Until: r.Until.Time})
		}
	}
	c.Stops = &stops
	switch {
	case len(all) == 0:
		c.Over, c.Text = true, "WhatsApp has lifted the account's restrictions"
		return
	case len(stops) > 0:
		c.Alarm = critical
	default:
		c.Alarm = warning
	}
	c.Text = "WhatsApp has restricted the account: " + strings.Join(said, ", ")
}

const maxRestrictions = 20

// accountAlert reads what somebody should look at.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/account_alerts
func accountAlert(value []byte) *core.AccountChange {
	type alert struct {
		Severity    string `json:"alert_severity"`
		Status      string `json:"alert_status"`
		Type        string `json:"alert_type"`
		Description string `json:"alert_description"`
	}
	var v struct {
		alert          // of older versions
		Entity  string `json:"entity_type"`
		ID      flexID `json:"entity_id"`
		Current *alert `json:"alert_info"`
	}
	if json.Unmarshal(value, &v) != nil {
		return nil
	}
	a := v.alert
	if v.Current != nil {
		a = *v.Current
	}
	if a.Type == "" {
		return nil
	}
	c := &core.AccountChange{Event: a.Type, About: "alert/" + strings.ToLower(a.Type), Text: "WhatsApp's alert: " + cmp.Or(a.Description, words(a.Type))}
	switch {
	case a.Status == "NONE" || a.Status == "RESOLVED":
		c.Over = true
	case a.Severity == "CRITICAL":
		c.Alarm = critical
	case a.Severity == "WARNING":
		c.Alarm = warning
	}
	return c
}

// accountReview reads whether an account passed Meta's review.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/account_review_update
func accountReview(value []byte) *core.AccountChange {
	var v struct {
		Decision string `json:"decision"`
	}
	if json.Unmarshal(value, &v) != nil || v.Decision == "" {
		return nil
	}
	c := &core.AccountChange{Event: v.Decision, About: "review", Text: "Meta's review of the account: " + words(v.Decision)}
	switch v.Decision {
	case "APPROVED":
		c.Over = true
	case "REJECTED":
		c.Alarm = critical
	}
	return c
}

// security reads that somebody touched a number's two-step verification.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/security
func security(value []byte) *core.AccountChange {
	var v struct {
		Display   flexID `json:"display_phone_number"`
		Event     string `json:"event"`
		Requester flexID `json:"requester"`
	}
	if json.Unmarshal(value, &v) != nil || v.Event == "" {
		return nil
	}
	c := &core.AccountChange{Event: v.Event, Display: string(v.Display), Alarm: critical, About: "security"}
	switch v.Event {
	case "PIN_CHANGED":
		c.Text = "the number's two-step PIN was changed or switched on"
	case "PIN_RESET_REQUEST":
		c.Text = "somebody asked to switch the number's two-step PIN off"
	case "PIN_REQUEST_SUCCESS":
		c.Text = "the number's two-step PIN was switched off"
	default:
		c.Text = "two-step verification: " + words(v.Event)
	}
	if v.Requester != "" {
		c.Text += ", by Meta's user " + core.MaskAddress(string(v.Requester))
	}
	c.Text += ": make sure that it was one of you"
	return c
}

// numberName reads what became of a display name.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/phone_number_name_update
func numberName(value []byte) *core.AccountChange {
	var v struct {
		Display  flexID `json:"display_phone_number"`
		Decision string `json:"decision"`
		Name     string `json:"requested_verified_name"`
		Reason   string `json:"rejection_reason"`
	}
	if json.Unmarshal(value, &v) != nil || v.Decision == "" {
		return nil
	}
	c := &core.AccountChange{Event: v.Decision, Display: string(v.Display), About: "name"}
	c.Text = fmt.Sprintf("the display name %q: %s", v.Name, words(v.Decision))
	switch v.Decision {
	case "APPROVED":
		c.Over = true
	case "REJECTED", "DECLINED":
		c.Alarm = warning
		if v.Reason != "" && v.Reason != "NONE" {
			c.Text += " (" + words(v.Reason) + ")"
		}
	}
	return c
}

// businessUsername reads what became of the business's username.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
func businessUsername(value []byte) *core.AccountChange {
	var v struct {
		Display  flexID `json:"display_phone_number"`
		Username string `json:"username"`
		Status   string `json:"status"`
	}
	if json.Unmarshal(value, &v) != nil || v.Status == "" {
		return nil
	}
	return &core.AccountChange{Event: v.Status, Display: string(v.Display), Text: strings.TrimSpace("the business username " + v.Username + ": " + words(v.Status))}
}

// paymentConfiguration reads whether people can pay in WhatsApp.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/payment_configuration_update
func paymentConfiguration(value []byte) *core.AccountChange {
	var v struct {
		Name   string `json:"configuration_name"`
		Status string `json:"status"`
	}
	if json.Unmarshal(value, &v) != nil || v.Status == "" {
		return nil
	}
	c := &core.AccountChange{Event: v.Status, About: "payment_configuration", Text: fmt.Sprintf("the payment configuration %q: %s", v.Name, words(v.Status))}
	if strings.EqualFold(v.Status, "active") {
		c.Over = true
	} else {
		c.Alarm = warning
	}
	return c
}

// flowTrouble reads that a form does not work as it should.
// https://developers.facebook.com/docs/whatsapp/flows/reference/flowswebhooks
func flowTrouble(value []byte) *core.AccountChange {
	var v struct {
		Event   string `json:"event"`
		Message string `json:"message"`
		Flow    flexID `json:"flow_id"`
		New     string `json:"new_status"`
		State   string `json:"alert_state"`
	}
	if json.Unmarshal(value, &v) != nil || v.Event == "" || v.Flow == "" {
		return nil
	}
	c := &core.AccountChange{Event: v.Event, About: "flow/" + string(v.Flow) + "/" + strings.ToLower(v.Event), Text: "the flow: " + cmp.Or(v.Message, words(v.Event))}
	switch {
	case v.State == "DEACTIVATED", v.New == "PUBLISHED", v.New == "DRAFT":
		c.Over = true
	case v.State == "ACTIVATED", v.New == "BLOCKED", v.New == "THROTTLED", v.Event == "FLOW_VERSION_EXPIRY_WARNING":
		c.Alarm = warning
	}
	return c
}

// words makes WhatsApp's words fit for a sentence.
func words(s string) string {
	return clean(strings.ToLower(strings.ReplaceAll(s, "_", " ")))
}
