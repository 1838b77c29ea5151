package hubspotsim

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// gdprDelete deletes a contact for good, with the communications associated with
// it: POST contacts/gdpr-delete {"objectId": …, "idProperty": "email"}.
func (s *Sim) gdprDelete(c *call, t *table) {
	var body struct {
		ObjectID   string `json:"objectId"`
		IDProperty string `json:"idProperty"`
	}
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		c.badJSON(err)
		return
	}
	switch {
	case body.ObjectID == "":
		c.invalid("Some required fields were not set: [objectId]")
		return
	case body.IDProperty != "" && body.IDProperty != "email":
		c.invalid("idProperty must be email")
		return
	}
	s.state.mu.Lock()
	r, _, e := t.find(&input{ID: body.ObjectID, IDProperty: body.IDProperty})
	if r != nil {
		for _, id := range r.associated["communications"] {
			s.state.purge(s.state.tables["communications"], s.state.tables["communications"].byID[id])
		}
		s.state.purge(t, r)
	}
	s.state.mu.Unlock()
	switch {
	case e != nil:
		c.fail(http.StatusBadRequest, *e)
	case r == nil:
		c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "resource not found", Context: map[string][]string{"id": {body.ObjectID}}})
	default:
		c.w.WriteHeader(http.StatusNoContent)
	}
}

// purge takes everything out of a record but its id; the caller holds the lock.
func (s *state) purge(t *table, r *record) {
	if r == nil {
		return
	}
	s.archive(t, r)
	r.values, r.indexed, r.history, r.associated, r.erased = nil, nil, nil, nil, true
	delete(t.byID, r.id)
}
