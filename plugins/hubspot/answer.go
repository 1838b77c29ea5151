package hubspot

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// apiError is HubSpot's error, of a request or of a row. Every field may be missing,
// says its documentation, and context holds lists or plain texts.
type apiError struct {
	Message    string                     `json:"message"`
	Category   string                     `json:"category"`
	Code       string                     `json:"code"`
	PolicyName string                     `json:"policyName"`
	Trace      string                     `json:"objectWriteTraceId"`
	Context    map[string]json.RawMessage `json:"context"`
	Errors     []apiError                 `json:"errors"`
}

// readError reads an error's body; false when it is not one of HubSpot's.
func readError(body []byte) (apiError, bool) {
	var e apiError
	if err := crm.Decode(body, &e); err != nil {
		return apiError{}, false
	}
	return e, e.Message != "" || e.Category != ""
}

// values returns what the error's context, or that of the errors within, holds
// under a name.
func (e *apiError) values(name string) []string {
	var found []string
	if raw, ok := e.Context[name]; ok {
		var list []string
		var one string
		switch {
		case json.Unmarshal(raw, &list) == nil:
			found = append(found, list...)
		case json.Unmarshal(raw, &one) == nil:
			found = append(found, one)
		}
	}
	for i := range e.Errors {
		found = append(found, e.Errors[i].values(name)...)
	}
	return found
}

// traces returns the objectWriteTraceIds that the error names.
func (e *apiError) traces() []string {
	found := e.values("objectWriteTraceId")
	if e.Trace != "" {
		found = append(found, e.Trace)
	}
	return found
}

var (
	noProperty = regexp.MustCompile(`Property \\*"([^"\\]+)\\*" does not exist`)
	existingID = regexp.MustCompile(`Existing ID: ([0-9]+)`)
)

// text returns the error in one line for a person, with what may be a phone number
// or an address masked.
func (e *apiError) text() string {
	text := e.Message
	if text == "" {
		text = e.Category
	}
	return crm.VendorText(text)
}

// The most that is repeated of a code, and of a list of names.
const (
	maxCode  = 60
	maxNames = 300
)

// code is what HubSpot calls the error.
func (e *apiError) code() string { return crm.Clip(crm.VendorText(e.Category), maxCode) }

// names lists names for a person.
func names(all []string) string { return crm.Clip(strings.Join(all, ", "), maxNames) }

// missingProperties returns the properties that HubSpot says do not exist.
func (e *apiError) missingProperties() []string {
	var found []string
	for _, m := range noProperty.FindAllStringSubmatch(e.Message, -1) {
		found = append(found, m[1])
	}
	if e.Code == "PROPERTY_DOESNT_EXIST" {
		found = append(found, e.values("propertyName")...)
	}
	for i := range e.Errors {
		found = append(found, e.Errors[i].missingProperties()...)
	}
	return found
}

// existing returns the id of the record that a CONFLICT is with, or "".
func (e *apiError) existing() string {
	if ids := e.values("existingId"); len(ids) > 0 {
		return ids[0]
	}
	if m := existingID.FindStringSubmatch(e.Message); m != nil {
		return m[1]
	}
	return ""
}

// scopes returns the scopes that a 403 asks for, or "".
func (e *apiError) scopes() string {
	found := append(e.values("requiredGranularScopes"), e.values("missingScopes")...)
	slices.Sort(found)
	return names(slices.Compact(found))
}

// limit returns the policy that a 429 names and how long it holds. The daily one
// ends at midnight in the account's time zone, which we do not know: a quarter of
// an hour is asking at most 96 times.
func (e *apiError) limit() (policy string, wait time.Duration) {
	policy = e.PolicyName
	text := strings.ToUpper(e.Message)
	for _, p := range []struct {
		name string
		wait time.Duration
	}{
		{"TEN_SECONDLY_ROLLING", 10 * time.Second},
		{"SECONDLY", time.Second},
		{"DAILY", 15 * time.Minute},
	} {
		if policy == p.name || policy == "" && strings.Contains(text, p.name) {
			return p.name, p.wait
		}
	}
	return policy, 0
}

// reads is what is read of the answer to a batch that reads.
type reads[T any] struct {
	Status    string     `json:"status"`
	Results   []T        `json:"results"`
	NumErrors int        `json:"numErrors"`
	Errors    []apiError `json:"errors"`
}

// whole reports whether the answer says of each record what is known of it, or in Errors why
// that is not known.
func (a *reads[T]) whole() bool {
	return a.Results != nil && (a.Status == "" || a.Status == "COMPLETE") && (a.NumErrors == 0 || len(a.Errors) > 0)
}

// unread is the error of a batch that reads: of those that are gone there is nothing to be
// read, but where it is any other there may be somebody of whom it does not tell.
func (s *settings) unread(op string, errs []apiError) *core.Error {
	for _, e := range errs {
		if e.Category != "OBJECT_NOT_FOUND" {
			return s.rowError(op, e)
		}
	}
	return nil
}

// rowError makes the error for a row that HubSpot refused.
func (s *settings) rowError(op string, e apiError) *core.Error {
	err := &core.Error{Code: core.CodeInvalid, Op: op, Message: e.text(), Source: core.SourceVendor, Vendor: e.code()}
	if err.Message == "" { // so it is not said that it is the event
		err.Code, err.Message = core.CodeUnavailable, "refused without a reason"
		return err
	}
	if setup := s.setupError(e); setup != "" {
		// Without its own properties the connector can write nothing at all:
		// that is no fault of the event.
		err.Code, err.Scope, err.Vendor = core.CodeForbidden, core.ScopeLane, "PROPERTY_DOESNT_EXIST"
		err.Hint = setup
		return err
	}
	if s.raced(e) {
		err.Code, err.Hint = core.CodeUnavailable, ""
		return err
	}
	switch e.Category {
	case "VALIDATION_ERROR", "OBJECT_NOT_FOUND", "":
		if missing := e.missingProperties(); len(missing) > 0 {
			err.Vendor = "PROPERTY_DOESNT_EXIST"
			err.Hint = "create the property " + names(missing) + " in HubSpot, or do not return it from mapToCRM"
		} else {
			err.Hint = "look at what mapToCRM returns, and at the rules for required properties in HubSpot"
		}
	case "CONFLICT":
		err.Hint = "another record in HubSpot has one of these unique values: merge the two, or set settings.on_conflict"
	case "RATE_LIMITS":
		err.Code = core.CodeRateLimited
	case "MISSING_SCOPES":
		err.Code, err.Hint = core.CodeForbidden, "give the token the scope "+e.scopes()
	default: // INTERNAL_ERROR, TIMEOUT and what else there may be: the next attempt may do
		err.Code = core.CodeUnavailable
	}
	return err
}

// setupError says what to do when an error is about a property of the connector's
// own, "" when it is about something else.
func (s *settings) setupError(e apiError) string {
	for _, o := range s.objects() {
		for _, p := range o.properties {
			if slices.Contains(e.missingProperties(), p.name) {
				return "create the property " + p.name + " on " + o.name + ", or set create_properties = true; its name is settings." + p.setting
			}
			if p.unique && strings.Contains(e.Message, "non-unique") && strings.Contains(e.Message, p.name) {
				return "the property " + p.name + " on " + o.name + " does not have unique values: name another in settings." + p.setting
			}
		}
	}
	return ""
}

// raced reports whether a row was refused because another call wrote its key at the
// same time, as one may that was given up and is still at work: the next attempt
// finds the record.
func (s *settings) raced(e apiError) bool {
	if !strings.Contains(e.Message, "CONFLICTING_UNIQUE_VALUE") {
		return false
	}
	for _, o := range s.objects() {
		if strings.Contains(e.Message, `"name":"`+o.key+`"`) {
			return true
		}
	}
	return false
}
