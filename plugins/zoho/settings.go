package zoho

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/crm"
)

// settings are the lane's settings table. A field's name may be set to "" to leave
// that field out, except for the keys. Fields and modules are named by their API
// names.
type settings struct {
	// DataCentre is where the account is: see [centres]. AccountsURL and APIURL
	// replace its addresses, for tests.
	DataCentre  string `json:"data_centre"`
	AccountsURL string `json:"accounts_url"`
	APIURL      string `json:"api_url"`
	// Timeout bounds each call, answer included; Concurrency is how many are made at
	// once, SubConcurrency how many of them may be queries, of views, or writes of more
	// than ten rows. CreditsReserve is left to others: when fewer of the day's API credits
	// remain, the lane waits.
	Timeout        crm.Duration `json:"timeout"`
	Concurrency    int          `json:"concurrency"`
	SubConcurrency int          `json:"sub_concurrency"`
	CreditsReserve int          `json:"credits_reserve"`
	// RunWorkflows lets Zoho's workflow rules run on what is written.
	RunWorkflows bool `json:"run_workflows"`
	// CreateFields lets Check make the fields of ours that are missing.
	CreateFields bool `json:"create_fields"`

	ContactModule string `json:"contact_module"`
	ContactKey    string `json:"contact_key"`
	PhoneField    string `json:"phone_field"`
	NameField     string `json:"name_field"`
	KeepNames     bool   `json:"keep_names"`
	BSUIDField    string `json:"bsuid_field"`
	UsernameField string `json:"username_field"`
	// TagsField holds the bridge's tags, joined by ";". NativeTags writes them as
	// Zoho's tags, too; only what TagsField had is ever taken away there.
	TagsField       string `json:"tags_field"`
	NativeTags      bool   `json:"native_tags"`
	ConsentField    string `json:"consent_field"`
	SuppressedField string `json:"suppressed_field"`
	// ContactFields says to which field a contact field set by a script goes.
	ContactFields map[string]string `json:"contact_fields"`
	// Adopt looks for a record of a person who is new to the bridge: the one that Zoho
	// told of, or one that has the number in AdoptFields, the way that AdoptSearch says.
	// Region is that of numbers written there without a country's code; "" is each
	// person's own.
	Adopt       bool     `json:"adopt"`
	AdoptFields []string `json:"adopt_fields"`
	AdoptSearch string   `json:"adopt_search"`
	Region      string   `json:"region"`
	// OnConflict says what to do when another record has a unique value that
	// mapToCRM returned: "adopt" that record, if no contact of ours is there, or
	// "refuse".
	OnConflict string `json:"on_conflict"`
	// Erase says what contact.erased does: "delete" or "keep".
	Erase string `json:"erase"`
	// OnMerge says what to do when two contacts became one: see [crm.OnMerge].
	OnMerge string `json:"on_merge"`

	// Mode is "module", "notes" or "none".
	Mode             string `json:"mode"`
	MessageModule    string `json:"message_module"`
	MessageKey       string `json:"message_key"`
	MessageName      string `json:"message_name_field"`
	MessageContact   string `json:"message_contact_field"`
	DirectionField   string `json:"direction_field"`
	BodyField        string `json:"body_field"`
	TypeField        string `json:"type_field"`
	MediaField       string `json:"media_field"`
	TimeField        string `json:"time_field"`
	StatusField      string `json:"status_field"`
	StatusTimeField  string `json:"status_time_field"`
	StatusErrorField string `json:"status_error_field"`
	// NotesField is the field on contacts that remembers which notes may have been
	// made, in mode "notes".
	NotesField string `json:"notes_field"`

	// Escalations is "tasks", "cases" or "none". Owners says which Zoho user a team's
	// escalations belong to; an assignee's crm_owner comes first.
	Escalations   string            `json:"escalations"`
	EscalationKey string            `json:"escalation_key"`
	Owners        map[string]string `json:"owners"`
	OpenStatus    string            `json:"open_status"`
	ClosedStatus  string            `json:"closed_status"`

	inboundSettings
}

func defaultSettings() *settings {
	return &settings{
		DataCentre: "com", Timeout: crm.Duration(20 * time.Second), Concurrency: 8, SubConcurrency: 10, CreditsReserve: 100, CreateFields: true,
		ContactModule: "Contacts", ContactKey: "WA_Contact_ID", PhoneField: "Phone", NameField: "Last_Name", KeepNames: true,
		BSUIDField: "WA_BSUID", UsernameField: "WA_Username", TagsField: "WA_Tags", NativeTags: true,
		Adopt: true, AdoptFields: []string{"Phone", "Mobile"}, AdoptSearch: adoptDigits, OnConflict: "adopt", Erase: "delete", OnMerge: crm.OnMerge[0],
		Mode: "module", MessageModule: "WhatsApp_Messages", MessageKey: "WA_Message_ID", MessageName: "Name", MessageContact: "Contact",
		DirectionField: "Direction", BodyField: "Body", TypeField: "Type", MediaField: "Media_URL", TimeField: "Message_Time",
		StatusField: "Status", StatusTimeField: "Status_Time", StatusErrorField: "Status_Error", NotesField: "WA_Notes",
		Escalations: "tasks", EscalationKey: "WA_Escalation_ID",
		inboundSettings: defaultInbound(),
	}
}

// adoptDigits looks for a number's digits, whatever stands between them; "endings" for how
// it ends in the usual ways to write it.
const adoptDigits = "digits"

const settingsOp = "zoho settings"

// apiName is the form of a name in Zoho's API.
var apiName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,99}$`)

var recordID = regexp.MustCompile(`^[0-9]{1,30}$`)

// parseSettings reads and checks the settings table. Its errors name the setting.
func parseSettings(raw json.RawMessage) (*settings, *core.Error) {
	s := defaultSettings()
	if err := crm.ReadSettings(settingsOp, raw, s); err != nil {
		return nil, err
	}
	return s, s.check()
}

func (s *settings) check() *core.Error {
	if _, ok := centres[s.DataCentre]; !ok {
		return crm.BadSetting(settingsOp, "data_centre", "want one of %s", strings.Join(slices.Sorted(maps.Keys(centres)), ", "))
	}
	for name, url := range map[string]*string{"accounts_url": &s.AccountsURL, "api_url": &s.APIURL} {
		if *url == "" {
			continue
		}
		var err *core.Error
		if *url, err = crm.BaseURL(settingsOp, name, *url, "https://accounts.zoho.com"); err != nil {
			return err
		}
	}
	if d := time.Duration(s.Timeout); d < time.Second || d > 5*time.Minute {
		return crm.BadSetting(settingsOp, "timeout", "want 1s to 5m")
	}
	if s.Concurrency < 1 || s.Concurrency > 25 {
		return crm.BadSetting(settingsOp, "concurrency", "want 1 to 25")
	}
	if s.SubConcurrency < 1 || s.SubConcurrency > 25 {
		return crm.BadSetting(settingsOp, "sub_concurrency", "want 1 to 25")
	}
	for _, choice := range []struct {
		setting, value string
		of             []string
	}{
		{"mode", s.Mode, []string{"module", "notes", "none"}}, {"on_conflict", s.OnConflict, []string{"adopt", "refuse"}},
		{"adopt_search", s.AdoptSearch, []string{adoptDigits, "endings"}}, {"on_merge", s.OnMerge, crm.OnMerge}, {"erase", s.Erase, []string{"delete", "keep"}}, {"escalations", s.Escalations, []string{"tasks", "cases", "none"}},
	} {
		if !slices.Contains(choice.of, choice.value) {
			return crm.BadSetting(settingsOp, choice.setting, "want one of %s", strings.Join(choice.of, ", "))
		}
	}
	if s.Region != "" && !contact.IsRegion(s.Region) {
		return crm.BadSetting(settingsOp, "region", `want a country in two letters, such as "ES"`)
	}
	for team, id := range s.Owners {
		if !recordID.MatchString(id) {
			return crm.BadSetting(settingsOp, "owners."+team, "want the id of a Zoho user: digits")
		}
	}
	if err := s.checkNames(); err != nil {
		return err
	}
	return s.inboundSettings.check(s.MessageModule)
}

// named is a setting that names a field or a module.
type named struct{ setting, name string }

func (s *settings) checkNames() *core.Error {
	must := []named{{"contact_module", s.ContactModule}, {"contact_key", s.ContactKey}, {"name_field", s.NameField},
		{"message_module", s.MessageModule}, {"message_key", s.MessageKey}, {"message_name_field", s.MessageName},
		{"escalation_key", s.EscalationKey}, {"notes_field", s.NotesField}}
	for _, n := range must {
		if n.name == "" {
			return crm.BadSetting(settingsOp, n.setting, "must not be empty")
		}
	}
	contacts := []named{{"contact_key", s.ContactKey}, {"name_field", s.NameField}, {"notes_field", s.NotesField}, {"phone_field", s.PhoneField},
		{"bsuid_field", s.BSUIDField}, {"username_field", s.UsernameField}, {"tags_field", s.TagsField},
		{"consent_field", s.ConsentField}, {"suppressed_field", s.SuppressedField}}
	for _, field := range slices.Sorted(maps.Keys(s.ContactFields)) {
		contacts = append(contacts, named{"contact_fields." + field, s.ContactFields[field]})
	}
	messages := []named{{"message_key", s.MessageKey}, {"message_name_field", s.MessageName}, {"message_contact_field", s.MessageContact},
		{"direction_field", s.DirectionField}, {"body_field", s.BodyField}, {"type_field", s.TypeField}, {"media_field", s.MediaField},
		{"time_field", s.TimeField}, {"status_field", s.StatusField}, {"status_time_field", s.StatusTimeField}, {"status_error_field", s.StatusErrorField}}
	rest := []named{{"contact_module", s.ContactModule}, {"message_module", s.MessageModule}, {"escalation_key", s.EscalationKey}}
	for _, name := range s.AdoptFields {
		if !apiName.MatchString(name) {
			return crm.BadSetting(settingsOp, "adopt_fields", "want fields' API names")
		}
	}
	for _, group := range [][]named{contacts, messages, rest} {
		taken := map[string]string{}
		for _, n := range group {
			switch {
			case n.name == "":
				continue
			case !apiName.MatchString(n.name):
				return crm.BadSetting(settingsOp, n.setting, "want an API name: a letter, then letters, digits and _")
			case taken[n.name] != "":
				return crm.BadSetting(settingsOp, n.setting, "%s is the one of %s already", n.name, taken[n.name])
			}
			taken[n.name] = n.setting
		}
	}
	return nil
}

// centre is where Zoho keeps an account: its two hosts.
type centre struct{ accounts, api string }

// centres are Zoho's data centres (api/v8/multi-dc.html). Addresses are taken from
// here and from the settings, never from an answer.
var centres = map[string]centre{
	"com": {"https://accounts.zoho.com", "https://www.zohoapis.com"},
	"eu":  {"https://accounts.zoho.eu", "https://www.zohoapis.eu"},
	"in":  {"https://accounts.zoho.in", "https://www.zohoapis.in"},
	"au":  {"https://accounts.zoho.com.au", "https://www.zohoapis.com.au"},
	"jp":  {"https://accounts.zoho.jp", "https://www.zohoapis.jp"},
	"ca":  {"https://accounts.zohocloud.ca", "https://www.zohoapis.ca"},
	"cn":  {"https://accounts.zoho.com.cn", "https://www.zohoapis.com.cn"},
	"sa":  {"https://accounts.zoho.sa", "https://www.zohoapis.sa"},
	"uk":  {"https://accounts.zoho.uk", "https://www.zohoapis.uk"},
}

func (s *settings) accounts() string {
	if s.AccountsURL != "" {
		return s.AccountsURL
	}
	return centres[s.DataCentre].accounts
}

func (s *settings) api(path string) string {
	if s.APIURL != "" {
		return s.APIURL + "/crm/v8/" + path
	}
	return centres[s.DataCentre].api + "/crm/v8/" + path
}
