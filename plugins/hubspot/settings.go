package hubspot

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// settings are the lane's settings table. A property name may be set to "" to
// leave that property out, except for the two keys.
type settings struct {
	// BaseURL is where the API is; plain http only on loopback.
	BaseURL string `json:"base_url"`
	// APIVersion is "2026-09", "2026-03" or "v3". See [settings.path].
	APIVersion string `json:"api_version"`
	// Timeout bounds each call, answer included.
	Timeout crm.Duration `json:"timeout"`
	// CreateProperties lets Check make the properties below where they are missing.
	CreateProperties bool `json:"create_properties"`

	// ContactKey is the unique property on contacts that holds the bridge's
	// contact id; PhoneProperty, NameProperty, BSUIDProperty and UsernameProperty
	// hold what WhatsApp says of the person, TagsProperty the tenant's labels
	// joined by ";", EscalationProperty the reason of the last escalation.
	ContactKey         string `json:"contact_key"`
	PhoneProperty      string `json:"phone_property"`
	NameProperty       string `json:"name_property"`
	BSUIDProperty      string `json:"bsuid_property"`
	UsernameProperty   string `json:"username_property"`
	TagsProperty       string `json:"tags_property"`
	EscalationProperty string `json:"escalation_property"`
	// ConsentProperty holds where the person's consent to marketing stands ("granted",
	// "asked", "withdrawn"), SuppressedProperty the reasons for which nothing is sent
	// to them, joined by ";". Both are "" unless set: then they are not written.
	ConsentProperty    string `json:"consent_property"`
	SuppressedProperty string `json:"suppressed_property"`
	// AdoptBy are the properties in which the number of somebody is looked for who has no
	// record of ours; empty adopts none by their number.
	AdoptBy []string `json:"adopt_by"`
	// KeepNames writes the profile name only to contacts without a name, so that one
	// given in HubSpot stays.
	KeepNames bool `json:"keep_names"`
	// ContactFields says to which property a contact field set by a script
	// (setField) goes. Fields not named here are not written.
	ContactFields map[string]string `json:"contact_fields"`
	// PullFields says from which property a contact field comes, the other way.
	// PullTags is a property whose values, joined by ";", become tags. ConsentFrom is
	// the property in which people enter consent to marketing, SendProperty one that
	// sends its text to the contact when somebody writes into it. Without any of
	// them nothing is taken from HubSpot.
	PullFields   map[string]string `json:"pull_fields"`
	PullTags     string            `json:"pull_tags"`
	ConsentFrom  string            `json:"consent_from"`
	SendProperty string            `json:"send_property"`
	// PullDeleted tells of contacts that were deleted.
	PullDeleted bool `json:"pull_deleted"`
	// OnConflict says what to do when HubSpot knows another contact by a unique
	// value that a script mapped (its email, as a rule): "adopt" that contact if
	// it is not another WhatsApp contact's already, or "refuse".
	OnConflict string `json:"on_conflict"`
	// Erase says how a person is erased: "gdpr" deletes the contact for good, and
	// archives the communications logged for it; "archive" archives both, to be
	// restored for 90 days; "keep" leaves HubSpot as it is.
	Erase string `json:"erase"`
	// OnMerge says what to do when two contacts became one: see [crm.OnMerge].
	OnMerge string `json:"on_merge"`

	// LogMessages is "communications", "inbox" or "none".
	LogMessages string `json:"log_messages"`
	// MessageKey is the unique property on communications that holds the wamid.
	MessageKey        string `json:"message_key"`
	DirectionProperty string `json:"direction_property"`
	StatusProperty    string `json:"status_property"`
	// StatusErrorProperty says why WhatsApp could not deliver.
	StatusErrorProperty string `json:"status_error_property"`
	// InboundPrefix and OutboundPrefix begin the text on the timeline, which shows
	// nothing else of who wrote.
	InboundPrefix  string `json:"inbound_prefix"`
	OutboundPrefix string `json:"outbound_prefix"`
	// OwnerID is the HubSpot user shown as the one who logged the message.
	OwnerID string `json:"owner_id"`

	// Escalations is "timeline": a property of the contact and an entry on its
	// timeline; or "tickets", keyed by the unique property TicketKey.
	Escalations string `json:"escalations"`
	TicketKey   string `json:"ticket_key"`
	// TicketPipeline is where tickets are, TicketStage where they begin and
	// TicketClosedStage where they end, by HubSpot's ids.
	TicketPipeline    string `json:"ticket_pipeline"`
	TicketStage       string `json:"ticket_stage"`
	TicketClosedStage string `json:"ticket_closed_stage"`
	// Owners says whose a team's tickets are: team → id of a HubSpot owner. An
	// assignee's crm_owner comes first.
	Owners map[string]string `json:"owners"`
	// TicketDueProperty is a property of tickets, date and time, for the deadline.
	TicketDueProperty string `json:"ticket_due_property"`

	// ClientID is of an app with OAuth, whose refresh token is a secret.
	ClientID string `json:"client_id"`
	// ChannelID is the app's custom channel, InboxID the inbox in which an account of it
	// is made for each number that has none; ChannelAccounts are those that there are, by
	// the number's id. AppID is the app's id: what it wrote
	// itself is no news then, and messages that other apps write into the inbox are sent.
	ChannelID       string            `json:"channel_id"`
	InboxID         string            `json:"inbox_id"`
	ChannelAccounts map[string]string `json:"channel_accounts"`
	AppID           string            `json:"app_id"`
	// InboxIdentifier is "phone", where the channel knows people by phone number if they
	// have one, or "opaque". InboxThreads says what makes a thread: "conversation" is the
	// bridge's (the channel's threadingModel is INTEGRATION_THREAD_ID), "identifier"
	// leaves it to HubSpot (DELIVERY_IDENTIFIER).
	InboxIdentifier string `json:"inbox_identifier"`
	InboxThreads    string `json:"inbox_threads"`
}

func defaultSettings() *settings {
	return &settings{
		BaseURL:             "https://api.hubapi.com",
		APIVersion:          "2026-09",
		Timeout:             crm.Duration(20 * time.Second),
		CreateProperties:    true,
		ContactKey:          "wabridge_contact_id",
		PhoneProperty:       "phone",
		NameProperty:        "firstname",
		AdoptBy:             []string{searchable + "calculated_phone_number", searchable + "calculated_mobile_number"},
		KeepNames:           true,
		BSUIDProperty:       "wa_bsuid",
		UsernameProperty:    "wa_username",
		TagsProperty:        "wabridge_tags",
		EscalationProperty:  "wabridge_escalation",
		OnConflict:          "adopt",
		PullDeleted:         true,
		Erase:               "gdpr",
		OnMerge:             crm.OnMerge[0],
		LogMessages:         "communications",
		MessageKey:          "wa_message_id",
		DirectionProperty:   "wa_direction",
		StatusProperty:      "wa_status",
		StatusErrorProperty: "wa_status_error",
		InboundPrefix:       "← ",
		OutboundPrefix:      "→ ",
		Escalations:         "timeline",
		TicketKey:           "wabridge_escalation_id",
		TicketPipeline:      "0",
		TicketStage:         "1",
		TicketClosedStage:   "4",
		InboxIdentifier:     "phone",
		InboxThreads:        "conversation",
	}
}

// versions are the API versions that [settings.path] knows.
var versions = []string{"2026-09", "2026-03", "v3"}

// propertyName is the form of a property's internal name in HubSpot.
var propertyName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,99}$`)

var ownerID = regexp.MustCompile(`^[0-9]{0,20}$`)

const settingsOp = "hubspot settings"

// parseSettings reads and checks the settings table. Its errors name the setting.
func parseSettings(raw json.RawMessage) (*settings, *core.Error) {
	s := defaultSettings()
	if err := crm.ReadSettings(settingsOp, raw, s); err != nil {
		return nil, err
	}
	return s, s.check()
}

func (s *settings) check() *core.Error {
	var err *core.Error
	if s.BaseURL, err = crm.BaseURL(settingsOp, "base_url", s.BaseURL, "https://api.hubapi.com"); err != nil {
		return err
	}
	if !slices.Contains(versions, s.APIVersion) {
		return crm.BadSetting(settingsOp, "api_version", "want one of %s", strings.Join(versions, ", "))
	}
	if d := time.Duration(s.Timeout); d < time.Second || d > 5*time.Minute {
		return crm.BadSetting(settingsOp, "timeout", "want 1s to 5m")
	}
	if !slices.Contains([]string{"communications", "inbox", "none"}, s.LogMessages) {
		return crm.BadSetting(settingsOp, "log_messages", `want "communications", "inbox" or "none"`)
	}
	if err := s.checkInbox(); err != nil {
		return err
	}
	if !slices.Contains([]string{"adopt", "refuse"}, s.OnConflict) {
		return crm.BadSetting(settingsOp, "on_conflict", `want "adopt" or "refuse"`)
	}
	if !slices.Contains([]string{"gdpr", "archive", "keep"}, s.Erase) {
		return crm.BadSetting(settingsOp, "erase", `want "gdpr", "archive" or "keep"`)
	}
	if err := crm.CheckOnMerge(settingsOp, s.OnMerge); err != nil {
		return err
	}
	if err := s.checkTickets(); err != nil {
		return err
	}
	for _, team := range slices.Sorted(maps.Keys(s.Owners)) {
		if id := s.Owners[team]; id == "" || !ownerID.MatchString(id) {
			return crm.BadSetting(settingsOp, "owners."+team, "want the id of a HubSpot owner: digits")
		}
	}
	if !ownerID.MatchString(s.OwnerID) {
		return crm.BadSetting(settingsOp, "owner_id", "want a HubSpot owner id: digits")
	}
	if len(s.AdoptBy) > adoptGroups || slices.ContainsFunc(s.AdoptBy, func(name string) bool { return !propertyName.MatchString(name) }) {
		return crm.BadSetting(settingsOp, "adopt_by", "want the internal names of at most %d properties", adoptGroups)
	}
	type named struct{ setting, name string }
	contact := []named{
		{"contact_key", s.ContactKey}, {"phone_property", s.PhoneProperty}, {"name_property", s.NameProperty},
		{"bsuid_property", s.BSUIDProperty}, {"username_property", s.UsernameProperty},
		{"tags_property", s.TagsProperty}, {"escalation_property", s.EscalationProperty},
		{"consent_property", s.ConsentProperty}, {"suppressed_property", s.SuppressedProperty},
	}
	for field, name := range s.ContactFields {
		contact = append(contact, named{"contact_fields." + field, name})
	}
	message := []named{
		{"message_key", s.MessageKey}, {"direction_property", s.DirectionProperty},
		{"status_property", s.StatusProperty}, {"status_error_property", s.StatusErrorProperty},
	}
	for field, name := range s.PullFields {
		if !propertyName.MatchString(name) {
			return crm.BadSetting(settingsOp, "pull_fields."+field, "want a property's internal name: a lower-case letter, then letters, digits and _")
		}
	}
	for _, p := range []named{{"pull_tags", s.PullTags}, {"consent_from", s.ConsentFrom}, {"send_property", s.SendProperty}} {
		if p.name != "" && !propertyName.MatchString(p.name) {
			return crm.BadSetting(settingsOp, p.setting, "want a property's internal name: a lower-case letter, then letters, digits and _")
		}
	}
	for _, group := range [][]named{contact, message} {
		taken := map[string]string{}
		for i, p := range group {
			if p.name == "" && i > 0 {
				continue
			}
			if !propertyName.MatchString(p.name) {
				return crm.BadSetting(settingsOp, p.setting, "want a property's internal name: a lower-case letter, then letters, digits and _")
			}
			if other := taken[p.name]; other != "" {
				return crm.BadSetting(settingsOp, p.setting, "%s is the property of %s already", p.name, other)
			}
			taken[p.name] = p.setting
		}
	}
	return nil
}

// path returns the path of an endpoint in the API version that is set. It is the
// only place that knows the two families of paths: dated ones since 2026, and
// before that v3, whose associations are at v4.
func (s *settings) path(area, rest string) string {
	switch {
	case s.APIVersion != "v3":
		return "/crm/" + area + "/" + s.APIVersion + "/" + rest
	case area == "associations":
		return "/crm/v4/associations/" + rest
	}
	return "/crm/v3/" + area + "/" + rest
}
