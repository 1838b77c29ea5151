package hubspotsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// group is where properties stand on a record's page.
type group struct {
	Name     string `json:"name"`
	Label    string `json:"label"`
	Archived bool   `json:"archived"`
}

// singular is an object's name for one record.
func singular(object string) string {
	return strings.TrimSuffix(strings.Replace(object, "companies", "company", 1), "s")
}

// groups serves the groups of an object: list, get, create.
func (s *Sim) groups(c *call, t *table, rest []string) {
	switch {
	case c.r.Method == http.MethodPost && len(rest) == 0:
		if s.may(c, ScopeSchemaWrite) {
			s.createGroup(c, t)
		}
	case c.r.Method == http.MethodGet && len(rest) <= 1:
		if !s.may(c, ScopeSchemaRead) {
			return
		}
		s.state.mu.Lock()
		found := slices.DeleteFunc(slices.Clone(t.groups), func(g group) bool { return len(rest) == 1 && g.Name != rest[0] })
		s.state.mu.Unlock()
		switch {
		case len(rest) == 0:
			c.answer(http.StatusOK, map[string]any{"results": found})
		case len(found) == 0:
			c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: fmt.Sprintf("Property group %s does not exist", rest[0])})
		default:
			c.answer(http.StatusOK, found[0])
		}
	default:
		c.notFound()
	}
}

func (s *Sim) createGroup(c *call, t *table) {
	var g group
	if err := json.Unmarshal(c.body, &g); err != nil {
		c.badJSON(err)
		return
	}
	if g.Name == "" || g.Label == "" {
		c.invalid("Some required fields were not set: [name, label]")
		return
	}
	g.Archived = false
	s.state.mu.Lock()
	known := slices.ContainsFunc(t.groups, func(have group) bool { return have.Name == g.Name })
	if !known {
		t.groups = append(t.groups, g)
	}
	s.state.mu.Unlock()
	if known {
		c.fail(http.StatusConflict, vendorError{Category: "OBJECT_ALREADY_EXISTS", Message: fmt.Sprintf("A property group named '%s' already exists.", g.Name)})
		return
	}
	c.answer(http.StatusCreated, g)
}

func noProperty(name string) *vendorError {
	return &vendorError{Status: "error", Category: "OBJECT_NOT_FOUND", Message: fmt.Sprintf("Property %q does not exist", name), Context: map[string][]string{"name": {name}}}
}

// statusOf is the status of a request that failed with e.
func statusOf(e *vendorError) int {
	switch e.Category {
	case "OBJECT_NOT_FOUND":
		return http.StatusNotFound
	case "CONFLICT", "OBJECT_ALREADY_EXISTS":
		return http.StatusConflict
	}
	return http.StatusBadRequest
}

// updateProperty changes what may be changed of a property: neither its name nor
// whether it is unique.
func (s *Sim) updateProperty(c *call, t *table, name string) {
	var change struct {
		Label, Description, GroupName, Type, FieldType *string
		Options                                        *[]Option
	}
	if err := json.Unmarshal(c.body, &change); err != nil {
		c.badJSON(err)
		return
	}
	s.state.mu.Lock()
	p := t.properties[name]
	var next Property
	if p != nil && !p.Defined {
		next = *p
		for from, to := range map[*string]*string{change.Label: &next.Label, change.Description: &next.Description,
			change.GroupName: &next.GroupName, change.Type: &next.Type, change.FieldType: &next.FieldType} {
			if from != nil {
				*to = *from
			}
		}
		if change.Options != nil {
			next.Options = *change.Options
		}
		next.UpdatedAt = time.Now().UTC()
		*p = next // records point to it
	}
	s.state.mu.Unlock()
	switch {
	case p == nil:
		c.fail(http.StatusNotFound, *noProperty(name))
	case p.Defined:
		c.invalid(fmt.Sprintf("The definition of %s is read only", name))
	default:
		c.answer(http.StatusOK, &next)
	}
}

// archiveProperty takes a property away, values and all.
func (s *Sim) archiveProperty(t *table, name string) *vendorError {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	switch p := t.properties[name]; {
	case p == nil:
		return noProperty(name)
	case p.Defined:
		return &vendorError{Status: "error", Category: "VALIDATION_ERROR", Message: fmt.Sprintf("%s is defined by HubSpot and cannot be archived", name)}
	}
	t.remove(name)
	return nil
}

// remove deletes a property and its values. The caller holds the lock.
func (t *table) remove(name string) {
	p := t.properties[name]
	delete(t.properties, name)
	delete(t.unique, name)
	for _, r := range t.records {
		r.values = slices.DeleteFunc(r.values, func(v value) bool { return v.p == p })
	}
}

// propertyBatch creates, reads or archives several properties, each on its own.
func (s *Sim) propertyBatch(c *call, t *table, verb string) {
	scope, status := ScopeSchemaWrite, http.StatusOK
	switch verb {
	case "create":
		status = http.StatusCreated
	case "read":
		scope = ScopeSchemaRead
	case "archive":
	default:
		c.notFound()
		return
	}
	if !s.may(c, scope) {
		return
	}
	var body struct {
		Inputs []Property `json:"inputs"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.badJSON(err)
		return
	}
	if !c.batchSize(len(body.Inputs), func(i int) string { return body.Inputs[i].Name }) {
		return
	}
	results := []*Property{}
	var errs []vendorError
	for i := range body.Inputs {
		p := &body.Inputs[i]
		missing := p.lacks()
		if verb != "create" && p.Name != "" {
			missing = ""
		}
		if missing != "" {
			c.invalid(fmt.Sprintf("Some required fields were not set: [inputs[%d].%s]", i, missing))
			return
		}
	}
	for i := range body.Inputs {
		p := &body.Inputs[i]
		var e *vendorError
		switch verb {
		case "create":
			if p.Options == nil {
				p.Options = []Option{}
			}
			if status, refused := s.defineProperty(t, p); status != http.StatusCreated {
				refused.Status, e = "error", &refused
			}
		case "read":
			s.state.mu.Lock()
			if found := t.properties[p.Name]; found != nil {
				*p = *found
			} else {
				e = noProperty(p.Name)
			}
			s.state.mu.Unlock()
		case "archive":
			e = s.archiveProperty(t, p.Name)
		}
		if e != nil {
			errs = append(errs, *e)
			continue
		}
		results = append(results, p)
	}
	if verb == "archive" {
		c.w.WriteHeader(http.StatusNoContent)
		return
	}
	now := time.Now().UTC()
	answer := map[string]any{"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
	if len(errs) > 0 {
		answer["errors"], answer["numErrors"] = errs, len(errs)
		if status = http.StatusMultiStatus; c.version == "2026-09" {
			status = http.StatusOK
		}
	}
	c.answer(status, answer)
}
