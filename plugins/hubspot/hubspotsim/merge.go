package hubspotsim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// merge makes one contact of two: POST contacts/merge {"primaryObjectId": …,
// "objectIdToMerge": …}. The one that comes of it has an id of its own, the values of
// the first, what that lacks of the second's, and the associations of both.
func (s *Sim) merge(c *call, t *table) {
	var body struct {
		Primary string `json:"primaryObjectId"`
		Other   string `json:"objectIdToMerge"`
	}
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		c.badJSON(err)
		return
	}
	switch {
	case body.Primary == "" || body.Other == "":
		c.invalid("Some required fields were not set: [objectIdToMerge, primaryObjectId]")
		return
	case body.Primary == body.Other:
		c.invalid("A record cannot be merged into itself")
		return
	}
	s.state.mu.Lock()
	into, from := t.live(body.Primary), t.live(body.Other)
	var answer []byte
	var made *record
	if into != nil && from != nil {
		made = s.state.merge(t, into, from)
		answer = append(made.append(nil, nil), '}')
	}
	s.state.mu.Unlock()
	if answer == nil {
		c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "resource not found", Context: map[string][]string{"id": {body.Primary, body.Other}}})
		return
	}
	s.inbox.moved(made.id, into.id, from.id)
	c.send(http.StatusOK, answer)
}

// merge makes a record of two; the caller holds the lock.
func (s *state) merge(t *table, into, from *record) *record {
	var values pairs
	for _, r := range []*record{into, from} {
		for _, v := range r.values {
			if !slices.ContainsFunc(values, func(p pair) bool { return p.name == v.p.Name && p.value != "" }) {
				values = append(values, pair{v.p.Name, v.v})
			}
		}
	}
	s.archive(t, into)
	s.archive(t, from)
	made := s.create(t, values, time.Now())
	s.mergeMembers(made.id, into.id, from.id)
	made.writes = into.writes + from.writes
	if made.created = into.created; from.created.Before(made.created) {
		made.created = from.created
	}
	for _, r := range []*record{into, from} {
		r.merged = made.id
		for name, ids := range r.associated {
			for _, id := range slices.Clone(ids) {
				if other := s.tables[name].byID[id]; other != nil {
					other.associated[t.name] = slices.DeleteFunc(other.associated[t.name], func(id string) bool { return id == r.id })
					tie(t.name, made, name, other)
				}
			}
		}
		r.associated = nil
	}
	return made
}
