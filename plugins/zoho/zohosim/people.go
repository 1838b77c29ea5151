package zohosim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Editor is who does something in the account, and by what means.
type Editor struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Source is what timelines say of it: "crm_ui", "crm_api", …
	Source string `json:"-"`
}

// The people and programs of an account.
var (
	// Own is the user whose refresh token it is, by the API; AtScreen the same user,
	// who works in Zoho's own pages.
	Own      = Editor{"5500000000000000001", "wabridge", "crm_api"}
	AtScreen = Editor{"5500000000000000001", "wabridge", "crm_ui"}
	// Person is somebody else, at the screen; Program another integration.
	Person  = Editor{"5500000000000000002", "Olga Ops", "crm_ui"}
	Program = Editor{"5500000000000000003", "Another Program", "crm_api"}
)

// entry is one thing that was done to a record.
type entry struct {
	id      string
	action  string // "added", "updated"
	at      time.Time
	by      Editor
	changes []change // of "updated" only
}

type change struct{ field, was, is string }

// maxEntries is how much of a record's history is kept.
const maxEntries = 1000

// did notes what was done. The caller holds the lock.
func (r *record) did(action string, now time.Time, by Editor, changes []change) {
	r.modifiedBy = by
	r.timeline = append(r.timeline, entry{r.id + strconv.Itoa(len(r.timeline)), action, now, by, changes})
	if n := len(r.timeline) - maxEntries; n > 0 {
		r.timeline = slices.Delete(r.timeline, 0, n)
	}
}

// Edit does what somebody does to a record; an empty id makes one. It returns the
// record's id, or why it cannot be.
func (s *Sim) Edit(by Editor, module, id string, values map[string]any) (string, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m, r, err := s.state.find(module, id)
	if err != nil {
		return "", err
	}
	for name := range values {
		if m.byName[name] == nil {
			return "", fmt.Errorf("%s has no field %s", module, name)
		}
	}
	if refused := m.check(r, values, "$"); refused != nil {
		return "", fmt.Errorf("%s: %v", refused.Message, refused.Details)
	}
	if r == nil {
		return s.state.create(m, values, time.Now(), by).id, nil
	}
	s.state.set(m, r, values, time.Now(), by)
	return id, nil
}

// Tag gives a record a tag, or takes it away.
func (s *Sim) Tag(by Editor, module, id, tag string, on bool) error {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m, r, err := s.state.find(module, id)
	if err == nil {
		s.state.tag(m, r, tag, on, time.Now(), by)
	}
	return err
}

// Delete puts a record into the recycle bin.
func (s *Sim) Delete(by Editor, module, id string) error {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m, r, err := s.state.find(module, id)
	if err == nil {
		s.state.delete(m, r, time.Now(), by)
	}
	return err
}

// Merge makes one record of two: what master lacks it takes from other, which is
// gone then.
func (s *Sim) Merge(by Editor, module, master, other string) error {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m, into, err := s.state.find(module, master)
	if err != nil {
		return err
	}
	_, from, err := s.state.find(module, other)
	if err != nil {
		return err
	}
	taken := map[string]any{}
	for name, v := range from.values {
		if text(into.values[name]) == "" {
			taken[name] = v
		}
	}
	now := time.Now()
	s.state.delete(m, from, now, by)
	s.state.set(m, into, taken, now, by)
	return nil
}

// find returns a record; an empty id is none. The caller holds the lock.
func (s *state) find(module, id string) (*module, *record, error) {
	m := s.modules[module]
	if m == nil {
		return nil, nil, fmt.Errorf("there is no module %s", module)
	}
	r := m.byID[id]
	if id != "" && (r == nil || r.deleted) {
		return nil, nil, fmt.Errorf("%s has no record %s", module, id)
	}
	return m, r, nil
}

// tag gives a tag or takes it. The caller holds the lock.
func (s *state) tag(m *module, r *record, name string, on bool, now time.Time, by Editor) {
	had := slices.Contains(r.tags, name)
	r.tags = slices.DeleteFunc(r.tags, func(have string) bool { return have == name })
	if on {
		r.tags = append(r.tags, name)
	}
	if had != on {
		s.put(m, r, nil, now)
		r.modifiedBy = by
		s.notify(m, r, "update", []change{{field: "Tag"}})
	}
}

// delete puts a record into the bin. The caller holds the lock.
func (s *state) delete(m *module, r *record, now time.Time, by Editor) {
	r.deleted, r.deletedAt, r.deletedBy = true, now, by
	for name, values := range m.unique {
		if values[fold(r.values[name])] == r {
			delete(values, fold(r.values[name]))
		}
	}
	s.notify(m, r, "delete", nil)
	for _, other := range s.modules { // its notes go with it; what else pointed to it points nowhere
		for _, o := range other.records {
			for name, v := range o.values {
				if id, _ := v.(map[string]any); o.deleted || id == nil || id["id"] != r.id {
					continue
				}
				if other.name == "Notes" && name == "Parent_Id" {
					s.delete(other, o, now, by)
					break
				}
				o.values[name] = nil
			}
		}
	}
}

// users serves the user whose token it is.
func (s *Sim) users(c *call) {
	if !s.may(c, ScopeUsers) {
		return
	}
	if c.r.URL.Query().Get("type") != "CurrentUser" {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"param_name": "type"}))
		return
	}
	c.answer(http.StatusOK, map[string]any{"users": []any{map[string]any{"id": Own.ID, "full_name": Own.Name, "status": "active"}}})
}

// timeline serves a record's history, the newest first.
func (s *Sim) timeline(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	q := c.r.URL.Query()
	size, from := 200, 0
	if v := q.Get("per_page"); v != "" {
		size, _ = strconv.Atoi(v)
	}
	if v := q.Get("page_token"); v != "" {
		var ok bool
		if v, ok = strings.CutPrefix(v, "t"); ok {
			from, _ = strconv.Atoi(v)
		}
		if !ok || q.Get("per_page") != "" {
			size = 0
		}
	}
	if size < 1 || size > 200 {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"param_name": "per_page"}))
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r := m.byID[c.path[1]]
	if r == nil || r.deleted {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "the related id given seems to be invalid", map[string]any{"resource_path_index": 1}))
		return
	}
	list := []any{}
	for i := len(r.timeline) - 1 - from; i >= 0 && len(list) < size; i-- {
		e := r.timeline[i]
		shown := map[string]any{"id": e.id, "action": e.action, "audited_time": stamp(e.at), "done_by": e.by, "source": e.by.Source,
			"related_record": nil, "automation_details": nil, "record": nil, "field_history": nil}
		var fields []any
		for _, ch := range e.changes {
			fields = append(fields, map[string]any{"api_name": ch.field, "id": "1", "_value": map[string]any{"old": empty(ch.was), "new": empty(ch.is)}})
		}
		if e.action == "updated" {
			shown["field_history"] = fields
		}
		list = append(list, shown)
	}
	info := map[string]any{"per_page": size, "count": len(list), "more_records": from+len(list) < len(r.timeline), "next_page_token": nil}
	if info["more_records"] == true {
		info["next_page_token"] = "t" + strconv.Itoa(from+len(list))
	}
	c.answer(http.StatusOK, map[string]any{"__timeline": list, "info": info})
}

func empty(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// deleted serves what is in the recycle bin, which says who did it and what the
// record was called, and no more.
func (s *Sim) deleted(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	q := c.r.URL.Query()
	var since time.Time
	var err error
	if v := c.r.Header.Get("If-Modified-Since"); v != "" {
		since, err = time.Parse(time.RFC3339, v)
	}
	page, size := 1, 200
	if v := q.Get("page"); v != "" {
		page, _ = strconv.Atoi(v)
	}
	if err != nil || page < 1 || !slices.Contains([]string{"", "all", "recycle", "permanent"}, q.Get("type")) {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"param_name": "type"}))
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	gone := []*record{}
	for _, r := range m.records {
		if r.deleted && !r.deletedAt.Before(since) && q.Get("type") != "permanent" {
			gone = append(gone, r)
		}
	}
	slices.SortStableFunc(gone, func(a, b *record) int { return b.deletedAt.Compare(a.deletedAt) })
	data := []any{}
	for _, r := range gone[min((page-1)*size, len(gone)):min(page*size, len(gone))] {
		data = append(data, map[string]any{"id": r.id, "display_name": text(r.values["Last_Name"]), "type": "recycle",
			"deleted_by": r.deletedBy, "created_by": r.createdBy, "deleted_time": stamp(r.deletedAt)})
	}
	if len(data) == 0 {
		c.nothing()
		return
	}
	c.answer(http.StatusOK, map[string]any{"data": data, "info": map[string]any{"per_page": size, "page": page, "count": len(data), "more_records": page*size < len(gone)}})
}

// sortedKeys are a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
