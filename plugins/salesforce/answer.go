package salesforce

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// apiError is Salesforce's error. Of a request the code is errorCode, of a row
// statusCode.
type apiError struct {
	Message    string   `json:"message"`
	ErrorCode  string   `json:"errorCode"`
	StatusCode string   `json:"statusCode"`
	Fields     []string `json:"fields"`
}

// readError reads an error's body; false when it is not one of Salesforce's.
func readError(body []byte) (apiError, bool) {
	var list []apiError
	if err := crm.Decode(body, &list); err != nil || len(list) == 0 {
		return apiError{}, false
	}
	return list[0], list[0].code() != ""
}

func (e *apiError) code() string {
	if e.StatusCode != "" {
		return e.StatusCode
	}
	return e.ErrorCode
}

// text returns the error in one line for a person.
func (e *apiError) text() string {
	text := e.Message
	if text == "" {
		text = e.code()
	}
	return crm.VendorText(text)
}

// passing are the codes of troubles that another attempt may not have.
var passing = []string{
	"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG", "ALL_OR_NONE_OPERATION_ROLLED_BACK",
	"ENTITY_IS_DELETED", // the next attempt finds what there is instead, or makes it
	"UNKNOWN_EXCEPTION", "TXN_SECURITY_METERING_ERROR", "ENTITY_IS_LOCKED", "PROCESSING_HALTED", "TOO_MANY_REQUESTS",
}

var (
	noColumn  = regexp.MustCompile(`No such column '([A-Za-z0-9_]{1,80})'`)
	maxLength = regexp.MustCompile(`\(max length=([0-9]{1,7})\)`)
)

// fields returns the fields that the error is about.
func (e *apiError) fields() []string {
	named := slices.Clone(e.Fields)
	if m := noColumn.FindStringSubmatch(e.Message); m != nil && !slices.Contains(named, m[1]) {
		named = append(named, m[1])
	}
	return named
}

// rowError makes the error for a row that Salesforce refused.
func (s *settings) rowError(op string, e apiError) *core.Error {
	err := &core.Error{Code: core.CodeInvalid, Op: op, Message: e.text(), Source: core.SourceVendor, Vendor: e.code()}
	if err.Message == "" {
		err.Message = "refused without a reason"
	}
	fields := e.fields()
	if len(fields) > 0 && !strings.Contains(err.Message, fields[0]) {
		err.Message += " [" + strings.Join(fields, ", ") + "]"
	}
	switch code := e.code(); {
	case slices.Contains(passing, code), strings.Contains(e.Message, "UNABLE_TO_LOCK_ROW"): // in a trigger, or a flow
		err.Code = core.CodeUnavailable
	case e.tooMuch():
		err.Code = core.CodeUnavailable
		err.Hint = "a trigger or flow of the org's does more than Salesforce lets it: have it do with many records what it does with one"
	case code == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" && strings.HasPrefix(e.Message, "entity type cannot be "):
		err = noObject(err)
	case code == "REQUEST_LIMIT_EXCEEDED":
		err.Code, err.RetryAfter = core.CodeRateLimited, dailyWait
	case code == "INVALID_SESSION_ID":
		err.Code = core.CodeUnauthenticated
	case code == "STORAGE_LIMIT_EXCEEDED":
		err.Code, err.Hint = core.CodeForbidden, "the org's data storage is full: delete or buy some"
	case code == "DUPLICATE_VALUE" && (s.isKey(e) || strings.Contains(e.Message, "<unknown>")):
		err.Code = core.CodeUnavailable // two writers raced: the next attempt finds the record
		err.Hint = "when it stays so, a record that the bridge's user may not see has the value: share it with the user, or merge the two"
	case code == "DUPLICATE_VALUE":
		err.Hint = "another record has one of these unique values: merge the two, or do not return it from mapToCRM"
	case code == "DUPLICATE_EXTERNAL_ID":
		err.Hint = "several records have this key, which must be unique: merge them, and make the fields that settings name as keys Unique"
	case code == "DUPLICATES_DETECTED":
		err.Hint = "a duplicate rule of the org's refuses it: merge the records, or set settings.allow_duplicates"
	case strings.HasPrefix(code, "INVALID_FIELD") && s.ownField(op, fields) != "":
		// Without its own fields the connector can write nothing: that is no fault of the event.
		setting := s.ownField(op, fields)
		err.Code, err.Scope = core.CodeForbidden, core.ScopeLane
		err.Hint = "let the user see and edit the field " + fields[0] + ", which comes of settings." + setting + "; create it where there is none"
	case code == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", code == "CANNOT_EXECUTE_FLOW_TRIGGER":
		err.Hint = "a trigger or flow of the org's refuses it"
	case code == "FIELD_CUSTOM_VALIDATION_EXCEPTION":
		err.Hint = "a validation rule of the org's refuses it"
	case code == "REQUIRED_FIELD_MISSING":
		err.Hint = "return " + strings.Join(fields, ", ") + " from mapToCRM, or give new contacts a value with settings.on_create"
	case strings.HasPrefix(code, "INSUFFICIENT_ACCESS"):
		err.Hint = "the user may not edit this record: look at sharing and permission sets"
	case code == "INACTIVE_OWNER_OR_USER":
		err.Hint = "settings.owners, or a person's crm_owner, names a user who is no longer active"
	case code == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST":
		err.Hint = "add the value to " + strings.Join(fields, ", ") + " in Salesforce, or let it take others than its own (Restrict picklist)"
	case code == "INVALID_CROSS_REFERENCE_KEY":
		err.Hint = "a record that this one points to is gone, or settings.owners names nobody"
	case len(fields) > 0:
		err.Hint = "look at what mapToCRM returns for " + strings.Join(fields, ", ")
	default:
		err.Hint = "look at what mapToCRM returns, and at the org's rules"
	}
	return err
}

// noObject makes an error the lane's: an object of the settings is not there for the user.
func noObject(err *core.Error) *core.Error {
	err.Code, err.Scope = core.CodeForbidden, core.ScopeLane
	err.Hint = "let the user read, create and edit the objects of settings.contact_object, settings.message_object and settings.escalations"
	return err
}

// tooMuch reports whether a trigger or flow was stopped for what it did with all the rows
// at once. With fewer it may do less.
func (e *apiError) tooMuch() bool {
	return slices.ContainsFunc([]string{"System.LimitException", "Too many SOQL queries", "Too many DML", "CPU time limit exceeded"},
		func(text string) bool { return strings.Contains(e.Message, text) })
}

// isKey reports whether a unique value that was refused is a key of ours.
func (s *settings) isKey(e apiError) bool {
	for _, key := range []string{s.ContactKey, s.MessageKey, s.EscalationKey} {
		if strings.Contains(e.Message, key+" ") || strings.Contains(e.Message, "<"+key+">") || slices.Contains(e.Fields, key) || strings.Contains(e.Message, ": "+key) {
			return true
		}
	}
	return false
}

// ownField returns the setting that names one of fields, "" when none does. Where what was
// done begins with an object's name, only those of that object count.
func (s *settings) ownField(op string, fields []string) string {
	name, _, _ := strings.Cut(op, " ")
	all := s.objects()
	ofObject := func(o object) bool { return strings.EqualFold(o.name, name) }
	some := slices.ContainsFunc(all, ofObject)
	for _, o := range all {
		for _, n := range o.needs {
			if (!some || ofObject(o)) && slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, n.name) }) {
				return n.setting
			}
		}
	}
	return ""
}

// tooLong returns how many characters the fields of the error take, 0 when it is
// about something else.
func (e *apiError) tooLong() int {
	if e.code() != "STRING_TOO_LONG" {
		return 0
	}
	m := maxLength.FindStringSubmatch(e.Message)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}
