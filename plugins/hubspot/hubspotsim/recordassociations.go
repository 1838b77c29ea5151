package hubspotsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// recordAssociations serves the associations of one record:
// /{from}/{id}/associations/{to}[/{toId}] and /{from}/{id}/associations/default/{to}/{toId}.
func (s *Sim) recordAssociations(c *call) {
	rest, byDefault := c.rest[3:], false
	if rest[0] == "default" {
		rest, byDefault = rest[1:], true
	}
	from, to := tableName(c.rest[0]), ""
	if len(rest) > 0 {
		to = tableName(rest[0])
	}
	typeID := defaults[[2]string{from, to}]
	if typeID == 0 {
		c.invalid("No association from " + c.rest[0] + " to " + strings.Join(rest, "/"))
		return
	}
	switch {
	case c.r.Method == http.MethodGet && len(rest) == 1 && !byDefault:
		if s.may(c, ScopeRead) {
			s.listAssociations(c, from, to, typeID)
		}
	case c.r.Method == http.MethodPut && len(rest) == 2:
		if s.may(c, ScopeWrite) {
			s.associateOne(c, from, to, rest[1], typeID, byDefault)
		}
	case c.r.Method == http.MethodDelete && len(rest) == 2 && !byDefault:
		if s.may(c, ScopeWrite) {
			s.state.mu.Lock()
			s.state.untie(from, c.rest[1], to, rest[1])
			s.state.mu.Unlock()
			c.w.WriteHeader(http.StatusNoContent)
		}
	default:
		c.notFound()
	}
}

// associatedType says how HubSpot tells of an association's type.
func associatedType(typeID int) []any {
	return []any{map[string]any{"category": "HUBSPOT_DEFINED", "typeId": typeID, "label": nil}}
}

func (s *Sim) listAssociations(c *call, from, to string, typeID int) {
	results := []any{}
	s.state.mu.Lock()
	r := s.state.tables[from].live(c.rest[1])
	if r != nil {
		for _, id := range r.associated[to] {
			if s.state.tables[to].live(id) != nil {
				results = append(results, map[string]any{"toObjectId": id, "associationTypes": associatedType(typeID)})
			}
		}
	}
	s.state.mu.Unlock()
	if r == nil {
		c.fail(http.StatusNotFound, *notThere(c.rest[1], ""))
		return
	}
	c.answer(http.StatusOK, map[string]any{"results": results})
}

func (s *Sim) associateOne(c *call, from, to, id string, typeID int, byDefault bool) {
	if !byDefault {
		var types []associationType
		if err := json.Unmarshal(c.body, &types); err != nil {
			c.badJSON(err)
			return
		}
		if len(types) != 1 || types[0] != (associationType{"HUBSPOT_DEFINED", typeID}) {
			c.invalid(fmt.Sprintf("No association type of %v fits object type %s", types, s.state.tables[from].typeID))
			return
		}
	}
	s.state.mu.Lock()
	a, b := s.state.tables[from].live(c.rest[1]), s.state.tables[to].live(id)
	if a != nil && b != nil {
		tie(from, a, to, b)
	}
	s.state.mu.Unlock()
	switch {
	case a == nil || b == nil:
		c.fail(http.StatusNotFound, *notThere(c.rest[1], id))
	case byDefault:
		now := time.Now().UTC()
		c.answer(http.StatusOK, map[string]any{"status": "COMPLETE", "startedAt": now, "completedAt": now, "results": []any{map[string]any{
			"from": end{c.rest[1]}, "to": end{id}, "associationSpec": associationType{"HUBSPOT_DEFINED", typeID}}}})
	default:
		c.answer(http.StatusCreated, map[string]any{"fromObjectTypeId": s.state.tables[from].typeID, "fromObjectId": c.rest[1],
			"toObjectTypeId": s.state.tables[to].typeID, "toObjectId": id, "labels": []string{}})
	}
}

// batchDissociate ends associations; those that are none count as ended.
func (s *Sim) batchDissociate(c *call, from, to string) {
	var body struct {
		Inputs []struct {
			From end
			To   []end
		}
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.badJSON(err)
		return
	}
	if n := len(body.Inputs); n == 0 || n > 1000 {
		c.invalid(fmt.Sprintf("Number of inputs %d is not between 1 and 1000", n))
		return
	}
	s.state.mu.Lock()
	for _, in := range body.Inputs {
		for _, other := range in.To {
			s.state.untie(from, in.From.ID, to, other.ID)
		}
	}
	s.state.mu.Unlock()
	c.w.WriteHeader(http.StatusNoContent)
}

// untie ends the association of two records. The caller holds the lock.
func (s *state) untie(nameA, idA, nameB, idB string) {
	a, b := s.tables[nameA].live(idA), s.tables[nameB].live(idB)
	if a == nil || b == nil {
		return
	}
	a.associated[nameB] = slices.DeleteFunc(a.associated[nameB], func(id string) bool { return id == idB })
	b.associated[nameA] = slices.DeleteFunc(b.associated[nameA], func(id string) bool { return id == idA })
}

// appendAssociations appends the associations of a record that a read asks for, by
// object. The caller holds the lock.
func (s *state) appendAssociations(b []byte, t *table, r *record, objects []string) []byte {
	type associated struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	}
	all := map[string]map[string][]associated{}
	for _, object := range objects {
		to := tableName(object)
		if to == "" {
			continue
		}
		for _, id := range r.associated[to] {
			if s.tables[to].live(id) == nil {
				continue
			}
			if all[to] == nil {
				all[to] = map[string][]associated{}
			}
			all[to]["results"] = append(all[to]["results"], associated{id, singular(t.name) + "_to_" + singular(to)})
		}
	}
	if len(all) == 0 {
		return b
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return append(append(b, `,"associations":`...), text...)
}
