package salesforce

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// field is what is read of a field's description.
type field struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Length     int    `json:"length"`
	Nillable   bool   `json:"nillable"`
	Defaulted  bool   `json:"defaultedOnCreate"`
	Createable bool   `json:"createable"`
	Updateable bool   `json:"updateable"`
	ExternalID bool   `json:"externalId"`
	Unique     bool   `json:"unique"`
	Label      string `json:"label"`
	Restricted bool   `json:"restrictedPicklist"`
	Picklist   []struct {
		Value  string `json:"value"`
		Active bool   `json:"active"`
	} `json:"picklistValues"`
}

// schema is what fields an object has for this user, by name in lower case.
type schema struct {
	fields map[string]field
	read   time.Time
}

const (
	schemaLife = 10 * time.Minute
	// schemaRest is how soon a description is read again because a field is missing.
	schemaRest = 30 * time.Second
	maxSchemas = 64
)

// schemas keeps descriptions for a while: they are large, and a call each.
type schemas struct {
	mu   sync.Mutex
	kept map[string]schema
}

// describe returns what fields an object has, as they were life ago at most.
func (x *session) describe(ctx context.Context, object string, life time.Duration) (schema, *refusal) {
	key := x.instance + " " + x.ClientID + " " + x.Username + " " + x.APIVersion + " " + object
	x.schemas.mu.Lock()
	kept, ok := x.schemas.kept[key]
	x.schemas.mu.Unlock()
	if ok && time.Since(kept.read) < life {
		return kept, nil
	}
	var answer struct {
		Fields []field `json:"fields"`
	}
	if r := x.call(ctx, "describe "+object, http.MethodGet, "sobjects/"+object+"/describe", nil, func(b []byte) error { return crm.Decode(b, &answer) }); r != nil {
		return schema{}, r
	}
	if len(answer.Fields) == 0 { // every object has an Id
		return schema{}, &refusal{Error: crm.Failure(core.CodeUnavailable, "describe "+object, "the answer has no fields")}
	}
	fresh := schema{fields: make(map[string]field, len(answer.Fields)), read: time.Now()}
	for _, f := range answer.Fields {
		fresh.fields[strings.ToLower(f.Name)] = f
	}
	x.schemas.mu.Lock()
	defer x.schemas.mu.Unlock()
	if x.schemas.kept == nil || len(x.schemas.kept) >= maxSchemas {
		x.schemas.kept = map[string]schema{}
	}
	x.schemas.kept[key] = fresh
	return fresh, nil
}

// layFields adds what scripts returned to the contacts, checked against what fields
// there are: a single value of a wrong type would have Salesforce refuse all rows.
func (x *session) layFields(ctx context.Context, p *plan) {
	var s *schema
	for i := range p.steps {
		st := &p.steps[i]
		if st.err != nil || st.contact == nil || len(st.event.Fields) == 0 {
			continue
		}
		if s == nil {
			fresh, r := x.describe(ctx, x.ContactObject, schemaLife)
			if r == nil && time.Since(fresh.read) > schemaRest && !fresh.hasAll(st.event.Fields) {
				fresh, r = x.describe(ctx, x.ContactObject, 0)
			}
			if r != nil {
				st.err = unread(r.Error)
				continue
			}
			s = &fresh
		}
		x.layScript(st, s)
	}
}

func (s *schema) hasAll(fields map[string]any) bool {
	for name := range fields {
		if _, ok := s.fields[strings.ToLower(name)]; !ok {
			return false
		}
	}
	return true
}

func (x *session) layScript(st *step, s *schema) {
	values := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(st.event.Fields)) {
		if strings.EqualFold(name, x.ContactKey) || strings.EqualFold(name, "Id") {
			continue // who the contact is, no script decides
		}
		f, ok := s.fields[strings.ToLower(name)]
		var why string
		if !ok {
			why = x.ContactObject + " has no such field, or the user may not see it"
		} else {
			values[f.Name], why = f.value(st.event.Fields[name])
		}
		if why != "" {
			shown := crm.VendorText(crm.Clip(name, 80))
			st.err = &core.Error{Code: core.CodeInvalid, Op: "mapToCRM", Source: core.SourcePlugin, Vendor: "INVALID_FIELD",
				Message: shown + ": " + why, Hint: "correct " + shown + " in what mapToCRM returns, or the field in Salesforce"}
			return
		}
	}
	for name, value := range values {
		if strings.EqualFold(name, x.NameField) {
			if value != nil && value != "" {
				st.contact.named, st.contact.name = true, value
			}
			continue
		}
		st.contact.set(name, value)
	}
}

// value makes a value one that the field takes, or says why it is none.
func (f *field) value(v any) (_ any, why string) {
	if !f.Updateable || !f.Createable {
		return nil, "the field is read only for the user"
	}
	text := crm.FieldText(v)
	if v == nil || text == "" && f.Type != "string" {
		if f.Type == "boolean" {
			return false, ""
		}
		return nil, ""
	}
	switch f.Type {
	case "boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return b, ""
		}
		return nil, "want true or false"
	case "double", "currency", "percent", "int", "long":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) || (f.Type == "int" || f.Type == "long") && n != math.Trunc(n) {
			return nil, "want a number (" + f.Type + ")"
		}
		return n, ""
	case "date":
		if at, ok := readTime(text); ok {
			return at.Format(time.DateOnly), ""
		}
		return nil, "want a date such as 2026-11-27"
	case "datetime":
		if at, ok := readTime(text); ok {
			return at.UTC().Format(stamp), ""
		}
		return nil, "want a time such as 2026-11-27T10:00:00Z"
	case "reference":
		if recordID.MatchString(text) {
			return text, ""
		}
		return nil, "want the id of a record: 15 or 18 letters and digits"
	case "address", "location", "base64", "complexvalue", "anyType":
		return nil, "a field of type " + f.Type + " cannot be written: write its parts"
	}
	if f.Length > 0 && crm.Length(text) > f.Length {
		return nil, fmt.Sprintf("the text is too long: the field takes %d characters", f.Length)
	}
	return text, ""
}

func readTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
