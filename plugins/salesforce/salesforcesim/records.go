package salesforcesim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf16"
)

// record is one record; values are by field name in lower case.
type record struct {
	id      string
	values  map[string]any
	writes  int
	created int64
	history []Write
	view    *View // of a list view
}

// rowError is Salesforce's error of a row: its code is statusCode.
type rowError struct {
	StatusCode string   `json:"statusCode"`
	Message    string   `json:"message"`
	Fields     []string `json:"fields"`
}

type outcome struct {
	ID      string     `json:"id,omitempty"`
	Success bool       `json:"success"`
	Errors  []rowError `json:"errors"`
	Created *bool      `json:"created,omitempty"`
}

// maxRows is how many records a collection may have.
const maxRows = 200

// collection serves a collection: upserted by an external id field, or updated by id
// when there is none.
func (s *Sim) collection(c *call, object, external string) {
	var request struct {
		AllOrNone bool             `json:"allOrNone"`
		Records   []map[string]any `json:"records"`
	}
	if !c.isJSON() {
		return
	}
	if err := json.Unmarshal(c.body, &request); err != nil {
		c.fail(http.StatusBadRequest, "JSON_PARSER_ERROR", "Unexpected character: "+err.Error())
		return
	}
	if len(request.Records) == 0 {
		c.fail(http.StatusBadRequest, "REQUIRED_FIELD_MISSING", "Required fields are missing: [records]")
		return
	}
	if len(request.Records) > maxRows {
		c.fail(http.StatusBadRequest, "EXCEEDED_MAX_SOBJECTS_LIMIT", "A maximum of 200 records can be handled")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]row, len(request.Records))
	for i, fields := range request.Records {
		r, err := s.read(object, external, fields)
		if err != nil {
			c.answer(http.StatusBadRequest, []apiError{*err})
			return
		}
		rows[i] = r
	}
	s.stats.Rows += len(rows)
	allow := c.mayDouble()
	twice := map[string]int{}
	for i := range rows {
		rows[i].create, rows[i].assign = c.r.Method == http.MethodPost, c.assigns()
		twice[strings.ToLower(rows[i].key)]++
	}
	refused := func(r row) *rowError {
		if err := strikeRow(c.rows, r.key); err != nil {
			return err
		}
		switch n := twice[strings.ToLower(r.key)]; {
		case s.opts.TriggerRows > 0 && len(rows) > s.opts.TriggerRows:
			return &rowError{StatusCode: "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", Message: "acme.Heavy: System.LimitException: Too many SOQL queries: 101", Fields: []string{}}
		case r.create && r.key != "":
			return &rowError{StatusCode: "INVALID_FIELD_FOR_INSERT_UPDATE", Message: "cannot specify Id in an insert call", Fields: []string{"Id"}}
		case r.key == "" || n < 2:
		case external == "":
			return &rowError{StatusCode: "DUPLICATE_VALUE", Message: "duplicate id in list: " + r.key, Fields: []string{}}
		default:
			return &rowError{StatusCode: "DUPLICATE_VALUE", Message: "Duplicate external id specified: " + r.key, Fields: []string{external}}
		}
		return nil
	}
	var none *rowError
	if request.AllOrNone {
		for _, r := range rows {
			wrong := refused(r)
			if wrong == nil {
				_, wrong = s.examine(&r, allow)
			}
			if wrong != nil {
				none = rolledBack()
			}
		}
	}
	answer := make([]outcome, len(rows))
	for i, r := range rows {
		var id string
		var isNew bool
		err := refused(r)
		if err == nil && none != nil {
			if _, err = s.examine(&r, allow); err == nil {
				err = none
			}
		}
		if err == nil {
			id, isNew, err = s.write(r, allow)
		}
		if err != nil {
			if err.Fields == nil {
				err.Fields = []string{}
			}
			answer[i] = outcome{Errors: []rowError{*err}}
			continue
		}
		answer[i] = outcome{ID: id, Success: true, Errors: []rowError{}}
		if external != "" {
			answer[i].Created = &isNew
		}
	}
	c.answer(http.StatusOK, answer)
}

// row is a record of a request that was understood.
type row struct {
	t        *table
	external string // in lower case; "" is by id
	key      string
	create   bool // a new record, whatever there is
	assign   bool // the org's rules say whose it is, if it is of a kind that they are for
	values   map[string]any
	wrong    *rowError
}

// read reads a record of a request. What is wrong with its form has Salesforce
// refuse the whole request.
func (s *Sim) read(object, external string, fields map[string]any) (row, *apiError) {
	attributes, _ := fields["attributes"].(map[string]any)
	name, _ := attributes["type"].(string)
	if name == "" {
		return row{}, &apiError{ErrorCode: "INVALID_INPUT", Message: "The type attribute is required"}
	}
	t := s.tables[strings.ToLower(name)]
	if t == nil || object != "" && !strings.EqualFold(name, object) {
		return row{}, &apiError{ErrorCode: "INVALID_TYPE", Message: "sObject type '" + name + "' is not supported."}
	}
	r := row{t: t, external: strings.ToLower(external), values: map[string]any{}}
	key := "id"
	if external != "" {
		if f, ok := t.fields[r.external]; !ok || !f.ExternalID {
			return row{}, &apiError{ErrorCode: "NOT_FOUND", Message: "Provided external ID field does not exist or is not accessible: " + external}
		}
		key = r.external
	}
	for name, v := range fields {
		if name == "attributes" {
			continue
		}
		lower := strings.ToLower(name)
		if lower == key {
			r.key, _ = v.(string)
			continue
		}
		f, ok := t.fields[lower]
		if _, nested := v.(map[string]any); !ok && nested {
			if err := s.refer(&r, name, v); err != nil {
				return row{}, err
			}
			continue
		}
		if !ok {
			return row{}, noColumn(t, name)
		}
		if err := wellTyped(f, v); err != nil {
			return row{}, err
		}
		r.values[lower] = v
	}
	return r, nil
}

// wellTyped checks the JSON type of a value: a wrong one is the whole request's.
func wellTyped(f Field, v any) *apiError {
	if v == nil {
		return nil
	}
	want := "string"
	var ok bool
	switch f.Type {
	case "boolean":
		want = "boolean"
		_, ok = v.(bool)
	case "double", "currency", "percent", "int":
		want = f.Type
		_, ok = v.(float64)
	case "date", "datetime":
		want = f.Type
		layout := time.RFC3339Nano
		if f.Type == "date" {
			layout = time.DateOnly
		}
		var text string
		if text, ok = v.(string); ok {
			_, err := time.Parse(layout, text)
			ok = err == nil
		}
	default:
		_, ok = v.(string)
	}
	if ok {
		return nil
	}
	return &apiError{ErrorCode: "JSON_PARSER_ERROR", Message: fmt.Sprintf("Cannot deserialize instance of %s from VALUE_STRING value %v or request may be missing a required field", want, v)}
}

// examine finds the record that a row means, nil for a new one, and what is wrong
// with the row. The caller holds the lock.
func (s *Sim) examine(r *row, allow bool) (*record, *rowError) {
	t := r.t
	var rec *record
	switch {
	case r.wrong != nil:
		return nil, r.wrong
	case r.create:
	case r.external == "":
		if rec = t.get(r.key); rec == nil {
			return nil, &rowError{StatusCode: "INVALID_CROSS_REFERENCE_KEY", Message: "invalid cross reference id"}
		}
	case r.key == "":
		return nil, &rowError{StatusCode: "MISSING_ARGUMENT", Message: t.fields[r.external].Name + " not specified", Fields: []string{}}
	default:
		rec = t.unique[r.external][strings.ToLower(r.key)]
		r.values[r.external] = r.key
	}
	if err := s.check(t, rec, r.values); err != nil {
		return nil, err
	}
	if rec == nil && s.opts.DuplicateRule && !allow && t.name == "Contact" && s.alike(t, r.values) {
		return nil, &rowError{StatusCode: "DUPLICATES_DETECTED", Message: "Use one of these records?"}
	}
	return rec, nil
}

// write writes one row. The caller holds the lock.
func (s *Sim) write(r row, allow bool) (id string, isNew bool, _ *rowError) {
	rec, err := s.examine(&r, allow)
	if err != nil {
		return "", false, err
	}
	if rec == nil {
		isNew = true
		rec = s.add(r.t)
	}
	if r.assign && (r.t.name == "Case" || r.t.name == "Lead") {
		r.values["ownerid"] = Assigned
	}
	s.put(r.t, rec, r.values)
	return rec.id, isNew, nil
}

// stampLayout is how Salesforce writes times; those that it sets itself are whole
// seconds.
const stampLayout = "2006-01-02T15:04:05.000+0000"

func now() string { return time.Now().UTC().Truncate(time.Second).Format(stampLayout) }

// add makes an empty record.
func (s *Sim) add(t *table) *record {
	s.seq++
	id, _ := fullID(fmt.Sprintf("%s%012d", t.prefix, len(t.records)+1))
	rec := &record{id: id, values: map[string]any{}, created: s.seq}
	t.records = append(t.records, rec)
	t.byID[rec.id] = rec
	rec.values["id"], rec.values["createddate"], rec.values["isdeleted"] = rec.id, now(), false
	rec.values["createdbyid"] = s.actor()
	for name, f := range t.fields {
		if f.Type == "boolean" && rec.values[name] == nil {
			rec.values[name] = false
		}
	}
	return rec
}

// put gives a record values that were checked.
func (s *Sim) put(t *table, rec *record, values map[string]any) {
	kind := "UPDATE"
	if rec.values["systemmodstamp"] == nil {
		kind = "CREATE"
	}
	defer s.changed(t, rec, kind)
	rec.writes++
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		v := values[name]
		if text, ok := v.(string); ok {
			v = strings.TrimSpace(text)
			if v == "" {
				v = nil
			}
		}
		if text, ok := v.(string); ok && t.fields[name].Type == "reference" {
			if full, ok := fullID(text); ok {
				v = full
			}
		}
		if index := t.unique[name]; index != nil {
			if old, ok := rec.values[name].(string); ok {
				delete(index, strings.ToLower(old))
			}
			if text, ok := v.(string); ok {
				index[strings.ToLower(text)] = rec
			}
		}
		if rec.values["systemmodstamp"] != nil && rec.values[name] != v {
			s.track(t, rec, name, v)
		}
		rec.values[name] = v
		if text, ok := v.(string); ok && strings.HasSuffix(name, "status__c") {
			rec.history = append(rec.history, Write{Field: t.fields[name].Name, Value: text})
		}
	}
	s.touch(rec)
	if t.name == "Contact" || t.name == "Lead" {
		first, _ := rec.values["firstname"].(string)
		last, _ := rec.values["lastname"].(string)
		rec.values["name"] = strings.TrimSpace(first + " " + last)
	}
}

// check applies the org's rules to a row.
func (s *Sim) check(t *table, rec *record, values map[string]any) *rowError {
	var missing []string
	for _, name := range t.order {
		f := t.fields[name]
		v, given := values[name]
		text, isText := v.(string)
		blank := v == nil || isText && strings.TrimSpace(text) == ""
		if !f.Nillable && !f.Defaulted && (given && blank || rec == nil && !given) {
			missing = append(missing, f.Name)
		}
		if !given || blank {
			continue
		}
		switch {
		case !f.Updateable:
			return &rowError{StatusCode: "INVALID_FIELD_FOR_INSERT_UPDATE", Message: "Unable to create/update fields: " + f.Name + ". Please check the security settings of this field and verify that it is read/write for your profile or permission set.", Fields: []string{f.Name}}
		case isText && f.Length > 0 && f.Type != "reference" && f.measure(text) > f.Length:
			return &rowError{StatusCode: "STRING_TOO_LONG", Message: fmt.Sprintf("%s: data value too large: %.40s (max length=%d)", f.Name, text, f.Length), Fields: []string{f.Name}}
		case f.Type == "email" && !strings.Contains(text, "@"):
			return &rowError{StatusCode: "INVALID_EMAIL_ADDRESS", Message: f.Name + ": invalid email address: " + text, Fields: []string{f.Name}}
		case f.Restricted && !slices.Contains(f.Picklist, text):
			return &rowError{StatusCode: "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", Message: f.Name + ": bad value for restricted picklist field: " + text, Fields: []string{f.Name}}
		case f.Type == "reference" && !s.refers(f, text):
			return &rowError{StatusCode: "INVALID_CROSS_REFERENCE_KEY", Message: f.Name + ": id value of incorrect type: " + text, Fields: []string{f.Name}}
		case f.Unique:
			if other := t.unique[name][strings.ToLower(strings.TrimSpace(text))]; other != nil && other != rec {
				return &rowError{StatusCode: "DUPLICATE_VALUE", Message: "duplicate value found: " + f.Name + " duplicates value on record with id: " + other.id, Fields: []string{}}
			}
		}
	}
	if t.name == "CampaignMember" && rec == nil {
		if wrong := s.enrol(t, values); wrong != nil {
			return wrong
		}
	}
	if len(missing) > 0 {
		return &rowError{StatusCode: "REQUIRED_FIELD_MISSING", Message: "Required fields are missing: [" + strings.Join(missing, ", ") + "]", Fields: missing}
	}
	return nil
}

// measure is how long a text is for a field: in UTF-16 units, and a line break of a text
// area is two of them.
// https://help.salesforce.com/s/articleView?id=005166849&type=1
func (f Field) measure(text string) int {
	n := len(utf16.Encode([]rune(text)))
	if f.Type == "textarea" {
		n += strings.Count(text, "\n")
	}
	return n
}

// refers reports whether an id is that of a record a field may point to. Users and
// queues are taken as they are.
func (s *Sim) refers(f Field, id string) bool {
	for _, to := range f.References {
		switch to {
		case "User":
			if strings.HasPrefix(id, "005") {
				return true
			}
		case "Group":
			if strings.HasPrefix(id, "00G") {
				return true
			}
		default:
			if t := s.tables[strings.ToLower(to)]; t != nil && t.get(id) != nil {
				return true
			}
		}
	}
	return false
}

// alike reports whether a contact has the name and number of a new one.
func (s *Sim) alike(t *table, values map[string]any) bool {
	return slices.ContainsFunc(t.records, func(r *record) bool {
		return r.values["lastname"] == values["lastname"] && r.values["mobilephone"] == values["mobilephone"] && values["mobilephone"] != nil
	})
}
