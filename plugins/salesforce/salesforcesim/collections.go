package salesforcesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// listObjects answers with all objects.
func (s *Sim) listObjects(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(s.tables)) {
		list = append(list, s.tables[key].summary())
	}
	c.answer(http.StatusOK, map[string]any{"encoding": "UTF-8", "maxBatchSize": maxRows, "sobjects": list})
}

// maxRetrieved is how many records may be read at once with POST.
const maxRetrieved = 2000

// retrieveMany answers with records by their ids, null where there is none.
func (s *Sim) retrieveMany(c *call, object string) {
	var request struct{ IDs, Fields []string }
	if c.r.Method == http.MethodGet {
		q := c.r.URL.Query()
		request.IDs, request.Fields = strings.Split(q.Get("ids"), ","), strings.Split(q.Get("fields"), ",")
	} else {
		if !c.isJSON() {
			return
		}
		if err := json.Unmarshal(c.body, &request); err != nil {
			c.fail(http.StatusBadRequest, "JSON_PARSER_ERROR", "Unexpected character: "+err.Error())
			return
		}
	}
	if len(request.IDs) == 0 || len(request.IDs) > maxRetrieved {
		c.fail(http.StatusBadRequest, "EXCEEDED_MAX_SOBJECTS_LIMIT", fmt.Sprintf("The number of ids has to be between 1 and %d", maxRetrieved))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[strings.ToLower(object)]
	if t == nil {
		c.notFound()
		return
	}
	out := make([]map[string]any, len(request.IDs))
	for i, id := range request.IDs {
		rec := t.get(id)
		if rec == nil {
			rec = &record{} // its fields are looked at all the same
		}
		shown, wrong := t.shown(rec, request.Fields)
		if wrong != nil {
			c.answer(http.StatusBadRequest, []apiError{*wrong})
			return
		}
		if rec.id != "" {
			out[i] = shown
		}
	}
	c.answer(http.StatusOK, out)
}

// removeMany deletes the records of ?ids=, of any objects.
func (s *Sim) removeMany(c *call) {
	q := c.r.URL.Query()
	ids := strings.Split(q.Get("ids"), ",")
	if ids[0] == "" || len(ids) > maxRows {
		c.fail(http.StatusBadRequest, "EXCEEDED_MAX_SOBJECTS_LIMIT", fmt.Sprintf("The number of ids has to be between 1 and %d", maxRows))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	find := func(id string) (*table, *record) {
		for _, t := range s.tables {
			if rec := t.get(id); rec != nil {
				return t, rec
			}
		}
		return nil, nil
	}
	failed := slices.ContainsFunc(ids, func(id string) bool { _, rec := find(id); return rec == nil })
	answer := make([]outcome, len(ids))
	for i, id := range ids {
		t, rec := find(id)
		switch {
		case rec == nil:
			answer[i] = outcome{ID: id, Errors: []rowError{{StatusCode: "ENTITY_IS_DELETED", Message: "entity is deleted", Fields: []string{}}}}
		case failed && q.Get("allOrNone") == "true":
			answer[i] = outcome{ID: id, Errors: []rowError{*rolledBack()}}
		case s.hasCases(t, rec):
			answer[i] = outcome{ID: id, Errors: []rowError{{StatusCode: "DELETE_FAILED", Fields: []string{},
				Message: "Your attempt to delete the contact could not be completed because it is associated with the following cases."}}}
		default:
			s.remove(t, rec)
			answer[i] = outcome{ID: id, Success: true, Errors: []rowError{}}
		}
	}
	c.answer(http.StatusOK, answer)
}

// rolledBack is the error of a good row among bad ones, where all or none was asked
// for.
func rolledBack() *rowError {
	return &rowError{StatusCode: "ALL_OR_NONE_OPERATION_ROLLED_BACK", Message: "Record rolled back because not all records were valid and the request was using AllOrNone header", Fields: []string{}}
}
