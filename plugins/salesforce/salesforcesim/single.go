package salesforcesim

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// saved is the answer to a write of one record.
type saved struct {
	ID      string     `json:"id"`
	Success bool       `json:"success"`
	Errors  []rowError `json:"errors"`
	Created *bool      `json:"created,omitempty"`
}

// object serves sobjects/{object} and what is below it: one record, by its id or by
// a field that is an external id.
func (s *Sim) object(c *call, rest []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[strings.ToLower(rest[0])]
	if t == nil {
		c.notFound()
		return
	}
	if len(rest) == 1 {
		switch c.r.Method {
		case http.MethodGet:
			c.answer(http.StatusOK, map[string]any{"objectDescribe": t.summary(), "recentItems": []any{}})
		case http.MethodPost:
			s.save(c, t, "", "")
		default:
			c.methodNotAllowed("HEAD,GET,POST")
		}
		return
	}
	var rec *record
	external := ""
	switch key := strings.ToLower(rest[1]); {
	case len(rest) == 2:
		if rec = t.get(rest[1]); rec == nil {
			c.absent()
			return
		}
	case len(rest) == 3:
		if f, ok := t.fields[key]; !ok || !f.ExternalID {
			c.fail(http.StatusNotFound, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: "+rest[1])
			return
		}
		external, rec = key, t.unique[key][strings.ToLower(rest[2])]
	default:
		c.notFound()
		return
	}
	switch method := c.r.Method; {
	case method == http.MethodPatch && external != "":
		s.save(c, t, external, rest[2])
	case method == http.MethodPatch:
		s.save(c, t, "", rec.id)
	case rec == nil:
		c.absent()
	case method == http.MethodGet:
		s.retrieve(c, t, rec)
	case method == http.MethodDelete:
		s.remove(t, rec)
		c.w.WriteHeader(http.StatusNoContent)
	default:
		c.methodNotAllowed("HEAD,GET,PATCH,DELETE")
	}
}

// absent is the answer where there is no such record.
func (c *call) absent() {
	c.fail(http.StatusNotFound, "NOT_FOUND", "The requested resource does not exist")
}

func (c *call) methodNotAllowed(allowed string) {
	c.fail(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "HTTP Method '"+c.r.Method+"' not allowed. Allowed are "+allowed)
}

// save creates a record, changes the one that key names, or upserts by an external
// id. The caller holds the lock.
func (s *Sim) save(c *call, t *table, external, key string) {
	if !c.isJSON() {
		return
	}
	fields := map[string]any{}
	if err := json.Unmarshal(c.body, &fields); err != nil {
		c.fail(http.StatusBadRequest, "JSON_PARSER_ERROR", "Unexpected character: "+err.Error())
		return
	}
	id := "id"
	if external != "" {
		id = external
	}
	for name := range fields {
		if strings.EqualFold(name, id) {
			c.answer(http.StatusBadRequest, []apiError{{ErrorCode: "INVALID_FIELD", Message: "The " + name + " field should not be specified in the sobject data.", Fields: []string{}}})
			return
		}
	}
	fields["attributes"] = map[string]any{"type": t.name}
	fields[id] = key
	r, refused := s.read("", external, fields)
	if refused != nil {
		c.answer(http.StatusBadRequest, []apiError{*refused})
		return
	}
	r.create, r.assign = external == "" && key == "", c.assigns()
	wrong := strikeRow(c.rows, key)
	var isNew bool
	if wrong == nil {
		key, isNew, wrong = s.write(r, c.mayDouble())
	}
	switch {
	case wrong != nil:
		c.answer(http.StatusBadRequest, []apiError{{ErrorCode: wrong.StatusCode, Message: wrong.Message, Fields: wrong.Fields}})
	case external != "":
		status := http.StatusOK
		if isNew {
			status = http.StatusCreated
		}
		c.answer(status, saved{key, true, []rowError{}, &isNew})
	case isNew:
		c.answer(http.StatusCreated, saved{key, true, []rowError{}, nil})
	default:
		c.w.WriteHeader(http.StatusNoContent)
	}
}

// isJSON refuses a body that is not said to be JSON.
func (c *call) isJSON() bool {
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json") {
		return true
	}
	c.fail(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Content-Type header specified in HTTP request is not supported: "+c.r.Header.Get("Content-Type"))
	return false
}

// mayDouble says whether a request passes over the org's duplicate rules.
func (c *call) mayDouble() bool {
	return strings.Contains(c.r.Header.Get("Sforce-Duplicate-Rule-Header"), "allowSave=true")
}

// assigns says whether the org's rules give away the cases and leads that a request
// writes: they do unless it says that they do not.
// https://developer.salesforce.com/docs/platform/api-rest/guide/headers-autoassign.html
func (c *call) assigns() bool {
	return !strings.EqualFold(c.r.Header.Get("Sforce-Auto-Assign"), "false")
}

// retrieve answers with a record, with ?fields= only some. The caller holds the lock.
func (s *Sim) retrieve(c *call, t *table, rec *record) {
	names := t.order
	if list := c.r.URL.Query().Get("fields"); list != "" {
		names = strings.Split(list, ",")
	}
	out, wrong := t.shown(rec, names)
	if wrong != nil {
		c.answer(http.StatusBadRequest, []apiError{*wrong})
		return
	}
	c.answer(http.StatusOK, out)
}

// shown is a record with the fields named.
func (t *table) shown(rec *record, names []string) (map[string]any, *apiError) {
	out := map[string]any{"attributes": map[string]string{"type": t.name, "url": fmt.Sprintf("/services/data/v%d.0/sobjects/%s/%s", newest, t.name, rec.id)}}
	for _, name := range names {
		f, ok := t.fields[strings.ToLower(name)]
		if !ok {
			return nil, noColumn(t, name)
		}
		v := rec.values[strings.ToLower(name)]
		if text, ok := v.(string); ok && f.Type == "datetime" {
			if at, ok := instant(text); ok {
				v = at.Format(stampLayout)
			}
		}
		if n, ok := v.(float64); ok && (f.Type == "double" || f.Type == "currency" || f.Type == "percent") {
			v = decimal(n)
		}
		out[f.Name] = v
	}
	return out, nil
}

// decimal is how Salesforce writes a number that may have decimals, which is Java's way:
// 12.0, and from ten million on 1.2E7.
func decimal(n float64) json.RawMessage {
	if a := math.Abs(n); a == 0 || a >= 1e-3 && a < 1e7 {
		text := strconv.FormatFloat(n, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return json.RawMessage(text)
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(n, 'E', -1, 64), "E")
	if !strings.Contains(digits, ".") {
		digits += ".0"
	}
	power, _ := strconv.Atoi(exponent)
	return json.RawMessage(digits + "E" + strconv.Itoa(power))
}

// remove puts a record into the bin: only queries of all records find it there. The
// caller holds the lock.
func (s *Sim) remove(t *table, rec *record) {
	for name, index := range t.unique {
		if text, ok := rec.values[name].(string); ok {
			delete(index, strings.ToLower(text))
		}
	}
	delete(t.byID, rec.id)
	s.withdraw(t, rec)
	for _, other := range s.tables { // what pointed to it points nowhere
		for name, f := range other.fields {
			if f.Type != "reference" {
				continue
			}
			for _, r := range other.records {
				if r.values[name] == rec.id {
					r.values[name] = nil
				}
			}
		}
	}
	rec.values["isdeleted"] = true
	s.changed(t, rec, "DELETE")
	s.touch(rec)
}

// hasCases reports whether a record is a contact of which there are cases: Salesforce
// deletes none of those. The caller holds the lock.
func (s *Sim) hasCases(t *table, rec *record) bool {
	cases := s.tables["case"]
	return t.name == "Contact" && cases != nil && slices.ContainsFunc(cases.records, func(r *record) bool {
		return r.values["contactid"] == rec.id && r.values["isdeleted"] != true
	})
}

// summary is what the list of all objects says of one.
func (t *table) summary() map[string]any {
	base := fmt.Sprintf("/services/data/v%d.0/sobjects/%s", newest, t.name)
	label := strings.ReplaceAll(strings.TrimSuffix(t.name, "__c"), "_", " ")
	return map[string]any{"name": t.name, "label": label, "labelPlural": label + "s", "keyPrefix": t.prefix, "custom": strings.HasSuffix(t.name, "__c"),
		"createable": true, "updateable": true, "deletable": true, "queryable": true, "retrieveable": true, "searchable": true,
		"urls": map[string]string{"sobject": base, "describe": base + "/describe", "rowTemplate": base + "/{ID}"}}
}
