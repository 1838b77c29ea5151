package zohosim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// isID says whether a part of a path is a record's id.
func isID(part string) bool { return part != "" && strings.Trim(part, "0123456789") == "" }

// everything returns the names of all that a record shows when nothing is asked for.
func (m *module) everything() []string {
	names := make([]string, 0, len(m.fields)+5)
	for _, f := range m.fields {
		names = append(names, f.Name)
	}
	for _, name := range []string{"Created_By", "Created_Time", "Modified_By", "Modified_Time", "Tag"} {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// one answers with the record of a path; nothing where there is none.
func (s *Sim) one(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	names := m.everything()
	if list := c.r.URL.Query().Get("fields"); list != "" {
		names = strings.Split(list, ",")
	}
	s.state.mu.Lock()
	var data []map[string]any
	if r := m.byID[c.path[1]]; r != nil && !r.deleted {
		data = append(data, r.shown(names))
	}
	s.state.mu.Unlock()
	if data == nil {
		c.nothing()
		return
	}
	c.answer(http.StatusOK, map[string]any{"data": data})
}

// removeOne deletes the record of a path.
func (s *Sim) removeOne(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	s.state.mu.Lock()
	r := m.byID[c.path[1]]
	found := r != nil && !r.deleted
	if found {
		s.state.delete(m, r, time.Now(), Own)
	}
	s.state.mu.Unlock()
	details := map[string]any{"id": c.path[1]}
	if !found {
		c.answer(http.StatusBadRequest, map[string]any{"data": []answered{failure("INVALID_DATA", "the id given seems to be invalid", details)}})
		return
	}
	c.answer(http.StatusOK, map[string]any{"data": []answered{{Code: "SUCCESS", Details: details, Message: "record deleted", Status: "success"}}})
}
