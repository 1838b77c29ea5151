package zohosim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxRows is how many rows a write may have, maxKeys how many fields a double may be known
// by, and maxFields how many fields a read may ask for.
const (
	maxRows   = 100
	maxKeys   = 10
	maxFields = 50
)

// stamp is how Zoho writes times: with the organisation's offset.
func stamp(t time.Time) string {
	return t.In(time.FixedZone("", 5*3600+1800)).Format("2006-01-02T15:04:05-07:00")
}

// module returns the module of a path; it has answered when there is none, or the
// token may not.
func (s *Sim) module(c *call, name string) *module {
	s.state.mu.Lock()
	m := s.state.modules[name]
	s.state.mu.Unlock()
	if m == nil {
		c.fail(http.StatusBadRequest, failure("INVALID_MODULE", "the module name given seems to be invalid", map[string]any{"resource_path_index": 0}))
		return nil
	}
	if !s.may(c, scopeOf(name)) {
		return nil
	}
	return m
}

// write inserts, updates or upserts rows, each on its own.
func (s *Sim) write(c *call, verb string) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	invalid := func(code, name, message string) {
		c.fail(http.StatusBadRequest, failure(code, message, map[string]any{"api_name": name, "json_path": "$." + name}))
	}
	if verb == "upsert" && slices.Contains([]string{"Notes", "Tasks"}, m.name) {
		c.fail(http.StatusBadRequest, failure("NOT_SUPPORTED", "the module given is not supported in upsert", nil))
		return
	}
	var body struct {
		Data  []map[string]any `json:"data"`
		Keys  *json.RawMessage `json:"duplicate_check_fields"`
		Flows *json.RawMessage `json:"trigger"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "body is not a json object", map[string]any{"expected_data_type": "jsonobject"}))
		return
	}
	if len(c.path) == 2 && verb == "update" { // the id is in the path
		if len(body.Data) != 1 {
			invalid("INVALID_DATA", "data", "invalid data")
			return
		}
		body.Data[0]["id"] = c.path[1]
	}
	var keys []string
	if body.Keys != nil && (json.Unmarshal(*body.Keys, &keys) != nil || len(keys) > maxKeys) {
		invalid("INVALID_DATA", "duplicate_check_fields", "invalid data")
		return
	}
	var flows []string
	if body.Flows != nil && json.Unmarshal(*body.Flows, &flows) != nil {
		invalid("INVALID_DATA", "trigger", "invalid data")
		return
	}
	switch {
	case len(body.Data) == 0:
		invalid("MANDATORY_NOT_FOUND", "data", "required field not found")
		return
	case len(body.Data) > maxRows:
		invalid("LIMIT_EXCEEDED", "data", "maximum of 100 records are allowed")
		return
	}
	var stale time.Time // what was modified later is not written
	if v := c.r.Header.Get("If-Unmodified-Since"); v != "" {
		var err error
		if stale, err = time.Parse(time.RFC3339, v); err != nil {
			c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"header_name": "If-Unmodified-Since"}))
			return
		}
	}
	s.count(func(v *Stats) { v.Rows += len(body.Data) })
	s.state.mu.Lock()
	if verb == "upsert" && len(keys) == 0 {
		keys = m.ownKeys()
	}
	for _, key := range keys {
		if f := m.byName[key]; f == nil || !f.Unique {
			s.state.mu.Unlock()
			invalid("INVALID_DATA", "duplicate_check_fields", "the duplicate check field given is not unique")
			return
		}
	}
	now := time.Now()
	answers, failed, muted := make([]answered, 0, len(body.Data)), 0, 0
	for i, values := range body.Data {
		row, mute := s.row(c, m, verb, keys, values, fmt.Sprintf("$.data[%d]", i), now, stale)
		if row.Status == "error" {
			failed++
		}
		if mute {
			muted++
			continue
		}
		answers = append(answers, row)
	}
	s.state.mu.Unlock()
	status := http.StatusOK
	switch {
	case failed == len(body.Data) && len(answers) > 0 && answers[0].Code == alreadyModified:
		status = http.StatusPreconditionFailed
	case failed == len(body.Data):
		status = http.StatusBadRequest
	case failed > 0:
		status = http.StatusMultiStatus
	case verb == "insert":
		status = http.StatusCreated
	}
	c.answer(status, map[string]any{"data": answers})
}

// ownKeys are the fields by which a double is known where the call names none: Zoho's own
// unique field before those that people made.
func (m *module) ownKeys() []string {
	var system, custom []string
	for _, f := range m.fields {
		switch {
		case f.Unique && f.Custom:
			custom = append(custom, f.Name)
		case f.Unique:
			system = append(system, f.Name)
		}
	}
	return append(system, custom...)
}

// alreadyModified is the code of a row that If-Unmodified-Since keeps from being written.
const alreadyModified = "ALREADY_MODIFIED"

// row does one row. The caller holds the lock.
func (s *Sim) row(c *call, m *module, verb string, keys []string, values map[string]any, at string, now, stale time.Time) (answer answered, mute bool) {
	raw, _ := json.Marshal(values) //nolint:errchkjson // it was JSON
	for _, f := range c.rows {
		if strings.Contains(string(raw), f.Row) {
			switch f.Kind {
			case FaultRow:
				return f.rowAnswer(at), false
			case FaultMute:
				mute = true
			}
		}
	}
	var r *record
	field := ""
	if id, ok := values["id"].(string); ok || verb == "update" {
		if r = m.byID[id]; r == nil || r.deleted {
			return failure("INVALID_DATA", "the id given seems to be invalid", map[string]any{"id": id}), mute
		}
	}
	for _, key := range keys {
		if v := fold(values[key]); r == nil && v != "" {
			if r = m.unique[key][v]; r != nil {
				field = key
			}
		}
	}
	if r != nil && !stale.IsZero() && r.modified.Truncate(time.Second).After(stale) {
		return failure(alreadyModified, "the record was modified already", map[string]any{"id": r.id}), mute
	}
	if e := m.check(r, values, at); e != nil {
		return *e, mute
	}
	if name := s.state.pointless(m, values); name != "" {
		return failure("INVALID_DATA", "the id given seems to be invalid", map[string]any{"api_name": name, "json_path": at + "." + name}), mute
	}
	action, message := "insert", "record added"
	if r == nil {
		r = s.state.create(m, values, now, Own)
	} else {
		s.state.set(m, r, values, now, Own)
		action, message = "update", "record updated"
	}
	answer = answered{Code: "SUCCESS", Status: "success", Message: message, Details: map[string]any{"id": r.id,
		"Created_Time": stamp(r.created), "Modified_Time": stamp(r.modified), "Created_By": r.createdBy, "Modified_By": r.modifiedBy}}
	if verb == "upsert" {
		answer.Action, answer.Field = action, field
	}
	return answer, mute
}

// pointless returns the lookup of a row that points to no record, "" when there is none.
// A note says of which module its record is. The caller holds the lock.
func (s *state) pointless(m *module, values map[string]any) string {
	for _, f := range m.fields {
		to, ok := values[f.Name].(map[string]any)
		if !ok || f.Type != "lookup" {
			continue
		}
		of, _ := to["module"].(map[string]any)
		there := false
		for _, name := range sortedKeys(s.modules) {
			r := s.modules[name].byID[text(to)]
			there = there || r != nil && !r.deleted && (m.name != "Notes" || of["api_name"] == name)
		}
		if !there {
			return f.Name
		}
	}
	return ""
}

// remove deletes the records of ?ids=.
func (s *Sim) remove(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	ids := strings.Split(c.r.URL.Query().Get("ids"), ",")
	if len(ids) > maxRows || ids[0] == "" {
		c.fail(http.StatusBadRequest, failure("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", map[string]any{"param_name": "ids"}))
		return
	}
	s.state.mu.Lock()
	answers, failed := make([]answered, len(ids)), 0
	for i, id := range ids {
		r := m.byID[id]
		if r == nil || r.deleted {
			answers[i] = failure("INVALID_DATA", "the id given seems to be invalid", map[string]any{"id": id})
			failed++
			continue
		}
		s.state.delete(m, r, time.Now(), Own)
		answers[i] = answered{Code: "SUCCESS", Details: map[string]any{"id": id}, Message: "record deleted", Status: "success"}
	}
	s.state.mu.Unlock()
	status := http.StatusOK
	if failed > 0 {
		status = http.StatusMultiStatus
	}
	c.answer(status, map[string]any{"data": answers})
}

// shown is a record as reads show it. The caller holds the lock.
func (r *record) shown(fields []string) map[string]any {
	out := map[string]any{"id": r.id}
	for _, f := range fields {
		switch f {
		case "id":
		case "Modified_Time":
			out[f] = stamp(r.modified)
		case "Created_Time":
			out[f] = stamp(r.created)
		case "Modified_By":
			out[f] = r.modifiedBy
		case "Created_By":
			out[f] = r.createdBy
		case "Full_Name":
			out[f] = strings.TrimSpace(text(r.values["First_Name"]) + " " + text(r.values["Last_Name"]))
		case "Tag":
			tags := []map[string]any{}
			for i, name := range r.tags {
				tags = append(tags, map[string]any{"name": name, "id": itoa(7000 + i), "color_code": nil})
			}
			out[f] = tags
		default:
			out[f] = r.values[f]
		}
	}
	return out
}

// page answers with the records that match, a page at a time.
func (s *Sim) page(c *call, m *module, match func(*record) bool) {
	q := c.r.URL.Query()
	names := strings.Split(q.Get("fields"), ",")
	if q.Get("fields") == "" && c.path[len(c.path)-1] == "search" {
		names = m.everything()
	}
	if names[0] == "" || q.Has("fields") && len(names) > maxFields {
		c.fail(http.StatusBadRequest, failure("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", map[string]any{"param_name": "fields"}))
		return
	}
	number := func(name string, otherwise int) int {
		n := otherwise
		if v := q.Get(name); v != "" {
			if _, err := fmt.Sscan(v, &n); err != nil {
				n = -1
			}
		}
		return n
	}
	page, size := number("page", 1), number("per_page", 200)
	if page < 1 || page > 10 || size < 1 || size > 200 {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"param_name": "page"}))
		return
	}
	s.state.mu.Lock()
	var data []map[string]any
	seen, more := 0, false
	for _, r := range slices.Backward(m.records) { // the newest first
		if r.deleted || !match(r) {
			continue
		}
		if seen++; seen <= (page-1)*size {
			continue
		}
		if len(data) == size {
			more = true
			break
		}
		data = append(data, r.shown(names))
	}
	s.state.mu.Unlock()
	if len(data) == 0 {
		c.nothing()
		return
	}
	c.answer(http.StatusOK, map[string]any{"data": data, "info": map[string]any{"per_page": size, "page": page, "count": len(data), "more_records": more}})
}

func (s *Sim) relatedNotes(c *call) {
	m := s.module(c, "Notes")
	if m == nil {
		return
	}
	s.page(c, m, func(r *record) bool { return text(r.values["Parent_Id"]) == c.path[1] })
}

// tags serves actions/add_tags and remove_tags.
func (s *Sim) tags(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	var body struct {
		Tags []struct{ Name string }
		IDs  []string
	}
	if err := json.Unmarshal(c.body, &body); err != nil || len(body.Tags) == 0 || len(body.IDs) == 0 || len(body.IDs) > maxRows {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", nil))
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	answers, status := make([]answered, len(body.IDs)), http.StatusOK
	for i, id := range body.IDs {
		r := m.byID[id]
		if r == nil || r.deleted {
			answers[i], status = failure("INVALID_DATA", "the id given seems to be invalid", map[string]any{"id": id}), http.StatusMultiStatus
			continue
		}
		for _, t := range body.Tags {
			if len([]rune(t.Name)) > 25 {
				c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"api_name": "name", "maximum_length": 25}))
				return
			}
			s.state.tag(m, r, t.Name, c.path[2] == "add_tags", time.Now(), Own)
		}
		answers[i] = answered{Code: "SUCCESS", Details: map[string]any{"id": id, "tags": r.tags}, Message: "tags updated successfully", Status: "success"}
	}
	c.answer(status, map[string]any{"data": answers})
}

// fields serves settings/fields.
func (s *Sim) fields(c *call) {
	if !s.may(c, ScopeFields) {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m := s.state.modules[c.r.URL.Query().Get("module")]
	if m == nil {
		c.fail(http.StatusBadRequest, failure("INVALID_MODULE", "the module name given seems to be invalid", map[string]any{"param_name": "module"}))
		return
	}
	type shown struct {
		*Field
		ID     string              `json:"id"`
		Label  string              `json:"field_label"`
		Unique map[string]any      `json:"unique"`
		Values []map[string]string `json:"pick_list_values"`
	}
	list := make([]shown, len(m.fields))
	for i, f := range m.fields {
		list[i] = shown{f, itoa(3000 + i), strings.ReplaceAll(f.Name, "_", " "), map[string]any{}, []map[string]string{}}
		for _, v := range f.Picklist {
			list[i].Values = append(list[i].Values, map[string]string{"display_value": v, "actual_value": v})
		}
		if f.Unique {
			list[i].Unique["casesensitive"] = "false"
		}
	}
	c.answer(http.StatusOK, map[string]any{"fields": list})
}

// createFields makes fields of text; the api name comes from the label.
func (s *Sim) createFields(c *call) {
	if !s.may(c, ScopeFields) {
		return
	}
	var body struct {
		Fields []struct {
			Label  string         `json:"field_label"`
			Type   string         `json:"data_type"`
			Length int            `json:"length"`
			Unique map[string]any `json:"unique"`
		} `json:"fields"`
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m := s.state.modules[c.r.URL.Query().Get("module")]
	if err := json.Unmarshal(c.body, &body); err != nil || m == nil || len(body.Fields) == 0 || len(body.Fields) > 5 {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", nil))
		return
	}
	var answers []answered
	status := http.StatusCreated
	for _, f := range body.Fields {
		name := strings.ReplaceAll(f.Label, " ", "_")
		if m.byName[name] != nil {
			answers = append(answers, failure("DUPLICATE_DATA", "duplicate data", map[string]any{"api_name": "field_label"}))
			status = http.StatusBadRequest
			continue
		}
		m.put(Field{Name: name, Type: f.Type, Length: f.Length, Unique: f.Unique != nil, Custom: true})
		answers = append(answers, answered{Code: "SUCCESS", Details: map[string]any{"id": "1"}, Message: "field created", Status: "success"})
	}
	c.answer(status, map[string]any{"fields": answers})
}

func (s *Sim) modules(c *call) {
	if !s.may(c, ScopeModules) {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	list := []map[string]any{}
	for name := range s.state.modules {
		label := strings.ReplaceAll(name, "_", " ")
		made := "default"
		if scopeOf(name) == ScopeCustom {
			made = "custom"
		}
		list = append(list, map[string]any{"api_name": name, "module_name": name, "api_supported": true, "generated_type": made,
			"singular_label": strings.TrimSuffix(label, "s"), "plural_label": label, "creatable": true, "editable": true, "deletable": true, "viewable": true})
	}
	slices.SortFunc(list, func(a, b map[string]any) int { return strings.Compare(text(a["api_name"]), text(b["api_name"])) })
	c.answer(http.StatusOK, map[string]any{"modules": list})
}
