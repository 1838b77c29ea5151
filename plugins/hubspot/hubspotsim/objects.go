package hubspotsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxInputs is how many inputs a batch may have, maxHistory how many when their
// history is read.
const (
	maxInputs  = 100
	maxHistory = 50
)

// input is one row of a batch request, or the body of a single one.
type input struct {
	ID           string `json:"id"`
	IDProperty   string `json:"idProperty"`
	Trace        string `json:"objectWriteTraceId"`
	Properties   pairs  `json:"properties"`
	Associations []struct {
		To    struct{ ID string } `json:"to"`
		Types []associationType   `json:"types"`
	} `json:"associations"`
}

// objects serves the records of an object.
func (s *Sim) objects(c *call) {
	object := tableName(c.rest[0])
	if object == "" {
		c.invalid("Unable to infer object type from: " + c.rest[0])
		return
	}
	t := s.state.tables[object]
	what := c.r.Method + " " + strings.Join(c.rest[1:], "/")
	switch what {
	case "GET ":
		if s.may(c, ScopeRead) {
			s.list(c, t)
		}
		return
	case "POST search":
		if s.may(c, ScopeRead) {
			s.search(c, t)
		}
		return
	case "POST batch/read":
		if s.may(c, ScopeRead) {
			s.batchRead(c, t)
		}
		return
	case "POST batch/upsert", "POST batch/create", "POST batch/update", "POST batch/archive":
		if s.may(c, ScopeWrite) {
			s.batchWrite(c, t, c.rest[2])
		}
		return
	case "POST gdpr-delete":
		if t.name != "contacts" {
			c.notFound()
		} else if s.may(c, ScopeWrite) {
			s.gdprDelete(c, t)
		}
		return
	case "POST merge":
		if t.name != "contacts" {
			c.notFound()
		} else if s.may(c, ScopeWrite) {
			s.merge(c, t)
		}
		return
	case "POST ":
		if s.may(c, ScopeWrite) {
			s.single(c, t, "", "create")
		}
		return
	}
	if len(c.rest) > 3 && c.rest[2] == "associations" && c.version != "v3" {
		s.recordAssociations(c)
		return
	}
	if len(c.rest) != 2 {
		c.notFound()
		return
	}
	switch c.r.Method {
	case http.MethodGet:
		if s.may(c, ScopeRead) {
			s.get(c, t, c.rest[1])
		}
	case http.MethodPatch:
		if s.may(c, ScopeWrite) {
			s.single(c, t, c.rest[1], "update")
		}
	case http.MethodDelete:
		if s.may(c, ScopeWrite) {
			s.single(c, t, c.rest[1], "archive")
		}
	default:
		c.fail(http.StatusMethodNotAllowed, vendorError{Message: "Method not allowed"})
	}
}

// badJSON answers to a body that does not fit: numbers as property values, mostly.
func (c *call) badJSON(err error) { c.invalid(jsonProblem(err)) }

func jsonProblem(err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("Invalid input JSON on line 1, column %d: Cannot deserialize value of type `java.lang.%s` from %s value (field %s)",
			t.Offset, t.Type, t.Value, t.Field)
	}
	return "Invalid input JSON on line 1: " + err.Error()
}

// batchSize checks the number of inputs of a batch, and that no id is there twice;
// it has answered when it returns false.
func (c *call) batchSize(n int, id func(i int) string) bool {
	if n == 0 {
		c.invalid("Some required fields were not set: [inputs]")
		return false
	}
	if n > maxInputs {
		c.invalid(fmt.Sprintf("Number of inputs %d exceeds the maximum of %d", n, maxInputs))
		return false
	}
	seen := make(map[string]bool, n)
	for i := range n {
		if id := id(i); id != "" && seen[id] {
			c.fail(http.StatusBadRequest, vendorError{Category: "VALIDATION_ERROR",
				Message: "Duplicate IDs found in batch input: [" + id + "]. IDs must be unique", Context: map[string][]string{"ids": {id}}})
			return false
		}
		seen[id(i)] = true
	}
	return true
}

// outcome is what became of an input.
type outcome struct {
	r     *record
	isNew bool
	err   *vendorError
	mute  bool
	// history names the properties to answer with all values that they had.
	history []string
}

// batchWrite creates, updates, upserts or archives.
func (s *Sim) batchWrite(c *call, t *table, verb string) {
	var body struct{ Inputs []input }
	if list, ok := parseInputs(c.body); ok {
		body.Inputs = list
	} else if err := json.Unmarshal(c.body, &body); err != nil {
		c.badJSON(err)
		return
	}
	if !c.batchSize(len(body.Inputs), func(i int) string { return body.Inputs[i].ID }) {
		return
	}
	s.stats.note(func(v *Stats) { v.Rows += len(body.Inputs) })
	traces := make(map[string]bool, len(body.Inputs))
	for i := range body.Inputs {
		in := &body.Inputs[i]
		if f := c.rows.of(FaultRefuse, in.ID); f != nil {
			c.invalid(f.rowError().Message)
			return
		}
		if missing := in.lacks(verb); missing != "" {
			c.invalid(fmt.Sprintf("Some required fields were not set: [inputs[%d].%s]", i, missing))
			return
		}
		traces[in.Trace] = true
	}
	// With a trace id of its own for every input, the good rows are written.
	partial := len(traces) == len(body.Inputs) && !traces[""]

	answer, failed, refused := s.applyAll(c, t, verb, body.Inputs, partial)
	switch {
	case refused != nil:
		status := http.StatusBadRequest
		if refused.Category == "CONFLICT" {
			status = http.StatusConflict
		}
		c.fail(status, *refused)
	case verb == "archive":
		c.w.WriteHeader(http.StatusNoContent)
	default:
		status := http.StatusOK
		switch {
		case failed && c.version != "2026-09":
			status = http.StatusMultiStatus
		case verb == "create":
			status = http.StatusCreated
		}
		c.send(status, answer)
	}
}

// applyAll does the inputs of a batch, all or none of them unless partial.
func (s *Sim) applyAll(c *call, t *table, verb string, inputs []input, partial bool) (answer []byte, failed bool, refused *vendorError) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	now := time.Now()
	if !partial {
		for i := range inputs {
			if o := s.apply(c, t, verb, &inputs[i], now, true); o.err != nil {
				return nil, false, o.err
			}
		}
	}
	out := make([]outcome, len(inputs))
	for i := range inputs {
		out[i] = s.apply(c, t, verb, &inputs[i], now, false)
		failed = failed || out[i].err != nil
	}
	return appendBatch(make([]byte, 0, 600*len(out)+200), c, verb, inputs, out, now, nil), failed, nil
}

// lacks returns the name of a field that the input must have and has not.
func (in *input) lacks(verb string) string {
	switch {
	case in.ID == "" && verb != "create":
		return "id"
	case in.Properties == nil && verb != "archive":
		return "properties"
	}
	return ""
}

// apply does one input. The caller holds the lock; dry only checks.
func (s *Sim) apply(c *call, t *table, verb string, in *input, now time.Time, dry bool) outcome {
	for _, kind := range []string{FaultRow, FaultUnnamed} {
		if f := c.rows.of(kind, in.ID); f != nil {
			return outcome{err: f.rowError()}
		}
	}
	var r *record
	if verb != "create" {
		found, key, e := t.find(in)
		if e != nil {
			return outcome{err: e}
		}
		r = found
		if r == nil && (verb != "upsert" || key == "") {
			return outcome{err: &vendorError{Status: "error", Category: "OBJECT_NOT_FOUND",
				Message: "Could not get some " + strings.ToUpper(t.name) + " objects, they may be deleted or not exist. Check that ids are valid.",
				Context: map[string][]string{"ids": {in.ID}}}}
		}
		if key != "" && in.Properties != nil {
			switch v := in.Properties.get(key); {
			case v == "":
				in.Properties = append(in.Properties, pair{key, in.ID})
			case v != in.ID && verb == "upsert":
				return outcome{err: badValue("CONFLICTING_UNIQUE_VALUE", key, "The id differs from the value of its property")}
			}
		}
	}
	if verb == "archive" {
		if !dry {
			s.state.archive(t, r)
		}
		return outcome{r: r}
	}
	if e := s.state.check(t, r, in.Properties, c.version); e != nil {
		return outcome{err: e}
	}
	if dry {
		return outcome{}
	}
	o := outcome{r: r, mute: c.rows.of(FaultMute, in.ID) != nil}
	if r == nil {
		o.r, o.isNew = s.state.create(t, in.Properties, now), true
		for _, a := range in.Associations {
			if e := s.state.associate(t, o.r, a.To.ID, a.Types); e != nil {
				o.err = e
			}
		}
		return o
	}
	s.state.write(t, r, in.Properties, now)
	return o
}

// find returns the record that an input means, and by which property; no property
// is the record's id. The caller holds the lock.
func (t *table) find(in *input) (r *record, key string, e *vendorError) {
	if in.IDProperty == "" {
		return t.live(in.ID), "", nil
	}
	p := t.properties[in.IDProperty]
	if p == nil {
		return nil, "", badValue("PROPERTY_DOESNT_EXIST", in.IDProperty, fmt.Sprintf("Property %q does not exist", in.IDProperty))
	}
	if !p.HasUniqueValue {
		return nil, "", &vendorError{Status: "error", Category: "VALIDATION_ERROR",
			Message: fmt.Sprintf("Unable to perform update/upsert by non-unique %s property %s in portal ID 1", t.typeID, p.Name)}
	}
	if p.Name == "email" {
		return t.unique[p.Name][strings.ToLower(in.ID)], p.Name, nil
	}
	return t.unique[p.Name][in.ID], p.Name, nil
}

// single creates, changes or archives one record.
func (s *Sim) single(c *call, t *table, id, verb string) {
	in := input{}
	if verb != "archive" {
		if err := json.Unmarshal(c.body, &in); err != nil {
			c.badJSON(err)
			return
		}
		if in.Properties == nil {
			c.invalid("Some required fields were not set: [properties]")
			return
		}
	}
	in.ID, in.IDProperty = id, c.r.URL.Query().Get("idProperty")
	s.state.mu.Lock()
	now := time.Now()
	o := s.apply(c, t, verb, &in, now, false)
	var answer []byte
	if o.err == nil {
		answer = o.r.append(nil, nil)
		answer = append(answer, '}')
	}
	s.state.mu.Unlock()
	switch {
	case o.err != nil && o.err.Category == "OBJECT_NOT_FOUND":
		c.fail(http.StatusNotFound, *o.err)
	case o.err != nil && o.err.Category == "CONFLICT":
		c.fail(http.StatusConflict, *o.err)
	case o.err != nil:
		c.fail(http.StatusBadRequest, *o.err)
	case verb == "archive":
		c.w.WriteHeader(http.StatusNoContent)
	case verb == "create":
		c.send(http.StatusCreated, answer)
	default:
		c.send(http.StatusOK, answer)
	}
}

// get answers with one record.
func (s *Sim) get(c *call, t *table, id string) {
	q := c.r.URL.Query()
	s.state.mu.Lock()
	r, _, e := t.find(&input{ID: id, IDProperty: q.Get("idProperty")})
	if q.Get("archived") == "true" {
		if r = t.byID[id]; r != nil && !r.archived {
			r = nil
		}
	}
	var answer []byte
	if r != nil {
		answer = s.shown(t, r, q)
	}
	s.state.mu.Unlock()
	switch {
	case e != nil:
		c.fail(http.StatusBadRequest, *e)
	case r == nil:
		c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "Object not found.  objectId are usually numeric.", Context: map[string][]string{"id": {id}}})
	default:
		c.send(http.StatusOK, answer)
	}
}

// list answers with a page of records.
func (s *Sim) list(c *call, t *table) {
	q := c.r.URL.Query()
	limit, after := 10, 0
	for name, into := range map[string]*int{"limit": &limit, "after": &after} {
		if v := q.Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || name == "limit" && (n < 1 || n > 100) {
				c.invalid("Invalid value for " + name + ": " + v)
				return
			}
			*into = n
		}
	}
	archived := q.Get("archived") == "true"
	s.state.mu.Lock()
	answer, n, next := []byte(`{"results":[`), 0, ""
	for _, r := range t.records {
		if id, _ := strconv.Atoi(r.id); id <= after || r.archived != archived || r.erased {
			continue
		}
		if n == limit {
			next = strconv.Itoa(after)
			break
		}
		if n > 0 {
			answer = append(answer, ',')
		}
		answer = append(answer, s.shown(t, r, q)...)
		after, _ = strconv.Atoi(r.id)
		n++
	}
	s.state.mu.Unlock()
	answer = append(answer, ']')
	if next != "" {
		answer = append(answer, `,"paging":{"next":{"after":"`+next+`"}}`...)
	}
	c.send(http.StatusOK, append(answer, '}'))
}

// batchRead answers with the records found.
func (s *Sim) batchRead(c *call, t *table) {
	var body struct {
		Inputs     []struct{ ID string }
		IDProperty string
		Properties []string
		History    []string `json:"propertiesWithHistory"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.badJSON(err)
		return
	}
	if !c.batchSize(len(body.Inputs), func(i int) string { return body.Inputs[i].ID }) {
		return
	}
	if len(body.History) > 0 && len(body.Inputs) > maxHistory {
		c.invalid(fmt.Sprintf("The maximum number of inputs that can be read with history is %d", maxHistory))
		return
	}
	s.state.mu.Lock()
	now := time.Now()
	out := make([]outcome, 0, len(body.Inputs))
	ins := make([]input, 0, len(body.Inputs))
	var refused *vendorError
	for _, in := range body.Inputs {
		i := input{ID: in.ID, IDProperty: body.IDProperty}
		r, _, e := t.find(&i)
		if e != nil {
			refused = e
			break
		}
		o := outcome{r: r, history: body.History}
		if r == nil {
			o.err = &vendorError{Status: "error", Category: "OBJECT_NOT_FOUND", Message: "Could not get some objects, they may be deleted or not exist.",
				Context: map[string][]string{"ids": {in.ID}}}
		}
		out, ins = append(out, o), append(ins, i)
	}
	answer := appendBatch(nil, c, "read", ins, out, now, t.asked(body.Properties))
	s.state.mu.Unlock()
	if refused != nil {
		c.fail(http.StatusBadRequest, *refused)
		return
	}
	failed := slices.ContainsFunc(out, func(o outcome) bool { return o.err != nil })
	status := http.StatusOK
	if failed && c.version != "2026-09" {
		status = http.StatusMultiStatus
	}
	c.send(status, answer)
}

// shown is a record as the parameters of a read ask for it. The caller holds the
// lock.
func (s *Sim) shown(t *table, r *record, q url.Values) []byte {
	b := r.append(nil, t.asked(list(q, "properties")))
	if history := t.asked(list(q, "propertiesWithHistory")); q.Has("propertiesWithHistory") {
		b = r.appendHistory(b, history)
	}
	if q.Has("associations") {
		b = s.state.appendAssociations(b, t, r, list(q, "associations"))
	}
	return append(b, '}')
}

// list reads a list in a query: a,b or one parameter for each.
func list(q url.Values, name string) (all []string) {
	for _, some := range q[name] {
		all = append(all, strings.Split(some, ",")...)
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}
