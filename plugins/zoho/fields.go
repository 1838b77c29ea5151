package zoho

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// field is a field of a module, as far as writing needs to know it.
type field struct {
	Name     string          `json:"api_name"`
	Type     string          `json:"data_type"`
	Length   int             `json:"length"`
	ReadOnly bool            `json:"read_only"`
	Unique   json.RawMessage `json:"unique"`

	Label     string `json:"field_label"`
	Mandatory bool   `json:"system_mandatory"`
	Picklist  []struct {
		Value string `json:"actual_value"`
	} `json:"pick_list_values"`
}

// isUnique reads what is an object, empty where values may repeat.
func (f *field) isUnique() bool {
	var o map[string]any
	return json.Unmarshal(f.Unique, &o) == nil && len(o) > 0
}

// queryable are the types of fields whose values can be read with a query and
// compared. Others are written without looking.
var queryable = []string{"text", "phone", "email", "website", "picklist", "multiselectpicklist", "integer", "bigint", "double",
	"currency", "boolean", "date", "datetime", "lookup", "ownerlookup"}

// fields are those of a module.
type fields struct {
	module string
	byName map[string]*field
	read   time.Time
}

const (
	// fieldsFresh is how long fields are taken to be as they were read: a call, and a
	// credit, for each batch would be a waste.
	fieldsFresh = 10 * time.Minute
	// fieldsSettle is how soon they are read again for a name that is not there.
	fieldsSettle = 15 * time.Second
)

// fieldsOf returns the fields of a module, read lately, or just now if there is none
// of the name wanted.
func (x *session) fieldsOf(ctx context.Context, module string, wanted ...string) (*fields, *core.Error) {
	x.known.mu.Lock()
	fs := x.known.fields[module]
	x.known.mu.Unlock()
	if fs != nil {
		age := time.Since(fs.read)
		lacks := slices.ContainsFunc(wanted, func(name string) bool { return fs.byName[name] == nil })
		if age < fieldsFresh && (!lacks || age < fieldsSettle) {
			return fs, nil
		}
	}
	return x.readFields(ctx, module)
}

func (x *session) readFields(ctx context.Context, module string) (*fields, *core.Error) {
	var a struct {
		Fields []*field `json:"fields"`
	}
	r := x.call(ctx, "read fields of "+module, http.MethodGet, "settings/fields?module="+module, nil, func(b []byte) error { return crm.Decode(b, &a) })
	if r != nil {
		if r.Code == core.CodeInvalid { // the question is ours, no event's
			r.Code, r.Scope, r.Hint = core.CodeForbidden, core.ScopeLane, hintQuery
		}
		return nil, r.Error
	}
	fs := &fields{module: module, byName: make(map[string]*field, len(a.Fields)), read: time.Now()}
	for _, f := range a.Fields {
		if f != nil {
			fs.byName[f.Name] = f
		}
	}
	if len(fs.byName) == 0 {
		return nil, crm.Failure(core.CodeUnavailable, "read fields of "+module, "Zoho tells none")
	}
	x.known.mu.Lock()
	x.known.fields[module] = fs
	x.known.mu.Unlock()
	return fs, nil
}

// lacking says what to do when a field that the settings name is not there: without
// it Zoho would take the value and keep nothing.
func (fs *fields) lacking(n named) *core.Error {
	if n.name == "" || fs.byName[n.name] != nil {
		return nil
	}
	return &core.Error{Code: core.CodeForbidden, Op: "fields", Source: core.SourceVendor, Scope: core.ScopeLane, Vendor: "FIELD_MISSING",
		Message: fs.module + " has no field " + n.name,
		Hint:    "create it in Zoho (wabridge check says how), or name another in settings." + n.setting}
}

// value is v as a field of its type takes it. What does not fit is left as it is:
// Zoho says what is wrong with it.
func (f *field) value(v any) any {
	if v == nil {
		return nil
	}
	text := printable(crm.FieldText(v))
	switch f.Type {
	case "integer":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case "double", "currency", "percent":
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	case "boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case "multiselectpicklist":
		if _, ok := v.(string); ok {
			return strings.Split(text, ";")
		}
	case "lookup", "ownerlookup":
		if recordID.MatchString(text) {
			return map[string]string{"id": text}
		}
	case "date":
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return at.Format(time.DateOnly)
		}
		return text
	case "datetime":
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return at.Format(clock)
		}
		return text
	case "text", "textarea", "phone", "email", "website", "picklist", "bigint":
		return f.cut(text)
	}
	return v
}

// printable leaves of a text what can be shown.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// cut cuts a text to what the field takes. Zoho does not say whether it counts characters
// or the halves that UTF-16 has of some of them, such as emoji: neither are too many.
func (f *field) cut(text string) string {
	switch {
	case f.Length <= 0:
		return text
	case f.Type == "textarea":
		return crm.Cut(text, f.Length, "…")
	}
	return crm.Cut(text, f.Length, "")
}

// same reports whether a field already has a value. have is as a query returned it.
func (f *field) same(have, want any) bool {
	if !slices.Contains(queryable, f.Type) {
		return false
	}
	a, b := plain(have), plain(want)
	if a != b && f.Type == "datetime" {
		s, err1 := time.Parse(time.RFC3339, a)
		t, err2 := time.Parse(time.RFC3339, b)
		return err1 == nil && err2 == nil && s.Equal(t)
	}
	return a == b
}

// plain is a value as text, a lookup by its id.
func plain(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return crm.FieldText(v["id"])
	case map[string]string:
		return v["id"]
	}
	return crm.FieldText(v)
}
