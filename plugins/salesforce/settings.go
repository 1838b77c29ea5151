package salesforce

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// settings are the lane's settings table. A field name may be set to "" to leave
// that field out, except for keys, the name and what links a message to its contact.
type settings struct {
	// LoginURL is where tokens are got; plain http only on loopback.
	LoginURL string `json:"login_url"`
	// Auth is "jwt", "client_credentials" or "refresh_token".
	Auth string `json:"auth"`
	// ClientID is the app's consumer key, Username whom the JWT signs in.
	ClientID string `json:"client_id"`
	Username string `json:"username"`
	// Audience of the JWT: "login", "test", a community's address; "" is told from
	// LoginURL.
	Audience string `json:"audience"`
	// InstanceHost is a host (with port) that an instance_url may have beside those
	// in Salesforce's domains.
	InstanceHost string       `json:"instance_host"`
	APIVersion   string       `json:"api_version"`
	Timeout      crm.Duration `json:"timeout"`
	DailyShare   float64      `json:"daily_share"`
	Namespace    string       `json:"namespace"`

	ContactObject   string            `json:"contact_object"`
	ContactKey      string            `json:"contact_key"`
	NameField       string            `json:"name_field"`
	PhoneField      string            `json:"phone_field"`
	BSUIDField      string            `json:"bsuid_field"`
	UsernameField   string            `json:"username_field"`
	TagsField       string            `json:"tags_field"`
	ConsentField    string            `json:"consent_field"`
	SuppressedField string            `json:"suppressed_field"`
	ContactFields   map[string]string `json:"contact_fields"`
	// OnCreate are values for new contacts.
	OnCreate map[string]string `json:"on_create"`
	// AdoptBy are the phone fields by which an existing record is found; empty
	// adopts none.
	AdoptBy         []string `json:"adopt_by"`
	AllowDuplicates bool     `json:"allow_duplicates"`

	// OnMerge says what to do when two contacts became one: see [crm.OnMerge].
	OnMerge string `json:"on_merge"`
	// Erase says what erasing a person does: "delete" or "keep".
	Erase string `json:"erase"`

	// Mode is "object", "task" or "none".
	Mode             string `json:"mode"`
	MessageObject    string `json:"message_object"`
	MessageKey       string `json:"message_key"`
	MessageContact   string `json:"message_contact"`
	MessageBody      string `json:"message_body"`
	MessageDirection string `json:"message_direction"`
	MessageType      string `json:"message_type"`
	MessageTime      string `json:"message_time"`
	MessageStatus    string `json:"message_status"`
	MessageError     string `json:"message_error"`

	// Escalations is "case", "task" or "none".
	Escalations      string `json:"escalations"`
	EscalationKey    string `json:"escalation_key"`
	EscalationDue    string `json:"escalation_due"`
	EscalationClosed string `json:"escalation_closed"`
	// Owners says who owns an escalation: team, or id of a person → id of a user or
	// queue.
	Owners map[string]string `json:"owners"`

	inboundSettings
}

// defaults depend on where messages and escalations go, and on the namespace.
func (s *settings) defaults() {
	own := func(name string) string {
		if s.Namespace != "" {
			return s.Namespace + "__" + name
		}
		return name
	}
	*s = settings{
		LoginURL: "https://login.salesforce.com", Auth: "jwt", APIVersion: "v66.0", Timeout: crm.Duration(30 * time.Second), DailyShare: 0.9,
		Namespace: s.Namespace, Mode: s.Mode, Escalations: s.Escalations,
		ContactObject: cmp.Or(s.ContactObject, "Contact"), ContactKey: own("WA_Contact_Id__c"), NameField: "LastName", PhoneField: "MobilePhone",
		BSUIDField: own("WA_BSUID__c"), UsernameField: own("WA_Username__c"), TagsField: own("WA_Tags__c"),
		OnMerge: crm.OnMerge[0], Erase: "delete",
		AdoptBy:       []string{"MobilePhone", "Phone"},
		EscalationKey: own("WA_Escalation_Id__c"),
	}
	if s.Mode == "task" {
		s.MessageObject, s.MessageKey, s.MessageContact, s.MessageBody = "Task", own("WA_Id__c"), "WhoId", "Description"
		s.MessageDirection, s.MessageStatus, s.MessageError = own("WA_Direction__c"), own("WA_Status__c"), own("WA_Error__c")
	} else {
		s.MessageObject, s.MessageKey, s.MessageContact, s.MessageBody = own("WhatsApp_Message__c"), own("WA_Id__c"), own("Contact__c"), own("Body__c")
		s.MessageDirection, s.MessageType, s.MessageTime = own("Direction__c"), own("Type__c"), own("Time__c")
		s.MessageStatus, s.MessageError = own("Status__c"), own("Error__c")
	}
	s.SendText, s.SendTo, s.SendAuthor = own("Body__c"), own("Phone__c"), core.AuthorHuman
	s.PubSubURL = "https://api.pubsub.salesforce.com:7443"
	s.History, s.HistoryParent = s.ContactObject+"History", s.ContactObject+"Id"
	if name, custom := strings.CutSuffix(s.ContactObject, "__c"); custom {
		s.History, s.HistoryParent = name+"__History", "ParentId"
	}
	s.EscalationClosed = "Closed"
	if s.Escalations == "task" {
		s.EscalationDue, s.EscalationClosed = "ActivityDate", "Completed"
	}
}

const settingsOp = "salesforce settings"

// parseSettings reads and checks the settings table. Its errors name the setting.
func parseSettings(raw json.RawMessage) (*settings, *core.Error) {
	s := &settings{Mode: "object", Escalations: "case"}
	if err := crm.ReadSettings(settingsOp, raw, s); err != nil {
		return nil, err
	}
	s.defaults()
	if err := crm.ReadSettings(settingsOp, raw, s); err != nil {
		return nil, err
	}
	return s, s.check()
}

var (
	// apiName is the form of a field's or object's API name.
	apiName    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,79}$`)
	apiVersion = regexp.MustCompile(`^v[0-9]{2,3}\.0$`)
	recordID   = regexp.MustCompile(`^[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?$`)
)

func (s *settings) check() *core.Error {
	var err *core.Error
	if s.LoginURL, err = crm.BaseURL(settingsOp, "login_url", s.LoginURL, "https://acme.my.salesforce.com"); err != nil {
		return err
	}
	for _, c := range []struct {
		setting, value string
		choices        []string
	}{
		{"auth", s.Auth, []string{"jwt", "client_credentials", "refresh_token"}},
		{"erase", s.Erase, []string{"delete", "keep"}},
		{"mode", s.Mode, []string{"object", "task", "none"}},
		{"escalations", s.Escalations, []string{"case", "task", "none"}},
	} {
		if !slices.Contains(c.choices, c.value) {
			return crm.BadSetting(settingsOp, c.setting, "want one of %s", strings.Join(c.choices, ", "))
		}
	}
	switch d := time.Duration(s.Timeout); {
	case s.ClientID == "":
		return crm.BadSetting(settingsOp, "client_id", "want the consumer key of the app in Salesforce")
	case s.Auth == "jwt" && s.Username == "":
		return crm.BadSetting(settingsOp, "username", "want the Salesforce user that the bridge works as")
	case s.Auth == "client_credentials" && slices.Contains([]string{"https://login.salesforce.com", "https://test.salesforce.com"}, s.LoginURL):
		return crm.BadSetting(settingsOp, "login_url", "want the org's My Domain, such as https://acme.my.salesforce.com: Salesforce takes client credentials nowhere else")
	case !apiVersion.MatchString(s.APIVersion):
		return crm.BadSetting(settingsOp, "api_version", "want a version such as v66.0")
	case d < time.Second || d > 5*time.Minute:
		return crm.BadSetting(settingsOp, "timeout", "want 1s to 5m")
	case s.DailyShare <= 0 || s.DailyShare > 1:
		return crm.BadSetting(settingsOp, "daily_share", "want more than 0 and at most 1")
	}
	if !slices.Contains([]string{"", "login", "test"}, s.Audience) {
		if s.Audience, err = crm.BaseURL(settingsOp, "audience", s.Audience, "https://acme.my.site.com/help"); err != nil {
			return err
		}
	}
	if err := crm.CheckOnMerge(settingsOp, s.OnMerge); err != nil {
		return err
	}
	if err := s.checkNames(); err != nil {
		return err
	}
	if err := s.checkInbound(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Owners)) {
		if !recordID.MatchString(s.Owners[name]) {
			return crm.BadSetting(settingsOp, "owners."+name, "want the id of a user or queue: 15 or 18 letters and digits")
		}
	}
	return nil
}

// checkNames sees to it that names are names (they go into paths and queries), and
// no field is written for two reasons.
func (s *settings) checkNames() *core.Error {
	type named struct{ setting, name string }
	contact := []named{{"contact_key", s.ContactKey}, {"name_field", s.NameField}, {"phone_field", s.PhoneField}, {"bsuid_field", s.BSUIDField},
		{"username_field", s.UsernameField}, {"tags_field", s.TagsField}, {"consent_field", s.ConsentField}, {"suppressed_field", s.SuppressedField}}
	for _, field := range slices.Sorted(maps.Keys(s.ContactFields)) {
		contact = append(contact, named{"contact_fields." + field, s.ContactFields[field]})
	}
	message := []named{{"message_key", s.MessageKey}, {"message_contact", s.MessageContact}, {"message_body", s.MessageBody}, {"message_direction", s.MessageDirection},
		{"message_type", s.MessageType}, {"message_time", s.MessageTime}, {"message_status", s.MessageStatus}, {"message_error", s.MessageError}}
	others := []named{{"contact_object", s.ContactObject}, {"message_object", s.MessageObject}, {"escalation_key", s.EscalationKey}, {"escalation_due", s.EscalationDue}}
	for i, name := range s.AdoptBy {
		others = append(others, named{fmt.Sprintf("adopt_by[%d]", i), name})
	}
	for _, name := range slices.Sorted(maps.Keys(s.OnCreate)) {
		others = append(others, named{"on_create", name})
	}
	required := []string{"contact_key", "name_field", "message_key", "message_contact", "contact_object", "message_object", "escalation_key"}
	for i, group := range [][]named{contact, message, others} {
		taken := map[string]string{}
		for _, n := range group {
			if n.name == "" && !slices.Contains(required, n.setting) {
				continue
			}
			if !apiName.MatchString(n.name) {
				return crm.BadSetting(settingsOp, n.setting, "want an API name: a letter, then letters, digits and _")
			}
			lower := strings.ToLower(n.name)
			if other := taken[lower]; other != "" && i < 2 {
				return crm.BadSetting(settingsOp, n.setting, "%s is the field of %s already", n.name, other)
			}
			taken[lower] = n.setting
		}
	}
	return nil
}

// escalationObject is the kind of record that an escalation becomes.
func (s *settings) escalationObject() string {
	if s.Escalations == "task" {
		return "Task"
	}
	return "Case"
}

// escalationLink is its field that says whose it is about.
func (s *settings) escalationLink() string {
	if s.Escalations == "task" {
		return "WhoId"
	}
	return "ContactId"
}
