package hubspotsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// associationType says what an association means.
type associationType struct {
	Category string `json:"associationCategory"`
	ID       int    `json:"associationTypeId"`
}

// defaults are the types of default associations, by the ends.
var defaults = map[[2]string]int{
	{"communications", "contacts"}:  81,
	{"contacts", "communications"}:  82,
	{"communications", "companies"}: 87,
	{"companies", "communications"}: 88,
	{"tickets", "contacts"}:         16,
	{"contacts", "tickets"}:         15,
	{"contacts", "companies"}:       279,
	{"companies", "contacts"}:       280,
}

// associate makes an association from a record; the caller holds the lock.
func (s *state) associate(t *table, from *record, to string, types []associationType) *vendorError {
	for other := range s.tables {
		for _, typ := range types {
			if defaults[[2]string{t.name, other}] != typ.ID || typ.Category != "HUBSPOT_DEFINED" {
				continue
			}
			r := s.tables[other].live(to)
			if r == nil {
				return notThere(from.id, to)
			}
			tie(t.name, from, other, r)
			return nil
		}
	}
	return &vendorError{Status: "error", Category: "VALIDATION_ERROR", Message: fmt.Sprintf("No association type of %v fits object type %s", types, t.typeID)}
}

func notThere(from, to string) *vendorError {
	return &vendorError{Status: "error", Category: "OBJECT_NOT_FOUND", Message: "No object was found for this association",
		Context: map[string][]string{"fromObjectId": {from}, "toObjectId": {to}}}
}

// tie associates two records both ways; twice is once.
func tie(nameA string, a *record, nameB string, b *record) {
	// Both know it or neither: the one with fewer is quicker to ask, as a contact
	// may have very many messages.
	known := slices.Contains(a.associated[nameB], b.id)
	if len(b.associated[nameA]) < len(a.associated[nameB]) {
		known = slices.Contains(b.associated[nameA], a.id)
	}
	if !known {
		a.point(nameB, b.id)
		b.point(nameA, a.id)
	}
}

func (r *record) point(name, id string) {
	if r.associated == nil {
		r.associated = map[string][]string{}
	}
	r.associated[name] = append(r.associated[name], id)
}

// associations serves /{from}/{to}/batch/associate/default, batch/create and
// batch/read.
func (s *Sim) associations(c *call) {
	if len(c.rest) < 4 || c.r.Method != http.MethodPost {
		c.notFound()
		return
	}
	from, to := tableName(c.rest[0]), tableName(c.rest[1])
	typeID := defaults[[2]string{from, to}]
	if typeID == 0 {
		c.invalid("No default association from " + c.rest[0] + " to " + c.rest[1])
		return
	}
	switch strings.Join(c.rest[2:], "/") {
	case "batch/associate/default", "batch/create":
		if s.may(c, ScopeWrite) {
			s.batchAssociate(c, from, to, typeID, c.rest[3] == "create")
		}
	case "batch/archive":
		if s.may(c, ScopeWrite) {
			s.batchDissociate(c, from, to)
		}
	case "batch/read":
		if s.may(c, ScopeRead) {
			s.readAssociations(c, from, to, typeID)
		}
	default:
		c.notFound()
	}
}

// end is one end of an association.
type end struct {
	ID string `json:"id"`
}

func (s *Sim) batchAssociate(c *call, from, to string, typeID int, typed bool) {
	var body struct {
		Inputs []struct {
			From, To end
			Types    []associationType
		}
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.badJSON(err)
		return
	}
	if n := len(body.Inputs); n == 0 || n > 2000 {
		c.invalid(fmt.Sprintf("Number of inputs %d is not between 1 and 2000", n))
		return
	}
	for i, in := range body.Inputs {
		switch {
		case in.From.ID == "" || in.To.ID == "":
			c.invalid(fmt.Sprintf("Some required fields were not set: [inputs[%d].from.id, to.id]", i))
			return
		case typed && (len(in.Types) != 1 || in.Types[0] != (associationType{"HUBSPOT_DEFINED", typeID})):
			c.invalid(fmt.Sprintf("inputs[%d]: no such association type", i))
			return
		}
		if f := c.rows.of(FaultRefuse, in.From.ID); f != nil {
			c.invalid(f.rowError().Message)
			return
		}
	}
	type result struct {
		From end             `json:"from"`
		To   end             `json:"to"`
		Spec associationType `json:"associationSpec"`
	}
	results := []result{}
	var errs []vendorError
	s.state.mu.Lock()
	a, b := s.state.tables[from], s.state.tables[to]
	for _, in := range body.Inputs {
		if f := c.rows.of(FaultRow, in.From.ID); f != nil {
			e := *f.rowError()
			e.Context = map[string][]string{"fromObjectId": {in.From.ID}, "toObjectId": {in.To.ID}}
			errs = append(errs, e)
			continue
		}
		if f := c.rows.of(FaultUnnamed, in.From.ID); f != nil {
			errs = append(errs, *f.rowError())
			continue
		}
		ra, rb := a.live(in.From.ID), b.live(in.To.ID)
		if ra == nil || rb == nil {
			errs = append(errs, *notThere(in.From.ID, in.To.ID))
			continue
		}
		tie(from, ra, to, rb)
		if c.rows.of(FaultMute, in.From.ID) == nil {
			results = append(results, result{in.From, in.To, associationType{"HUBSPOT_DEFINED", typeID}})
		}
	}
	s.state.mu.Unlock()
	answer := map[string]any{"status": "COMPLETE", "results": results, "startedAt": time.Now().UTC(), "completedAt": time.Now().UTC()}
	status := http.StatusOK
	if len(errs) > 0 {
		answer["errors"], answer["numErrors"] = errs, len(errs)
		if c.version != "2026-09" {
			status = http.StatusMultiStatus
		}
	}
	c.answer(status, answer)
}

func (s *Sim) readAssociations(c *call, from, to string, typeID int) {
	var body struct{ Inputs []end }
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.badJSON(err)
		return
	}
	if !c.batchSize(len(body.Inputs), func(i int) string { return body.Inputs[i].ID }) {
		return
	}
	results := []any{}
	s.state.mu.Lock()
	for _, in := range body.Inputs {
		r := s.state.tables[from].live(in.ID)
		if r == nil || len(r.associated[to]) == 0 {
			continue
		}
		var ends []any
		for _, id := range r.associated[to] {
			if s.state.tables[to].live(id) == nil {
				continue
			}
			ends = append(ends, map[string]any{"toObjectId": id, "associationTypes": []any{map[string]any{
				"category": "HUBSPOT_DEFINED", "typeId": typeID, "label": nil}}})
		}
		results = append(results, map[string]any{"from": in, "to": ends})
	}
	s.state.mu.Unlock()
	c.answer(http.StatusOK, map[string]any{"status": "COMPLETE", "results": results})
}
