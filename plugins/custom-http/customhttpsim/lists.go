package customhttpsim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// List is a list of contacts that people at the CRM keep.
type List struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Type    string   `json:"type"` // "contacts", or "companies", whose members are none
	Members []Member `json:"members"`
}

// Member is a contact on a list.
type Member struct {
	ID        string `json:"id"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Phone     string `json:"phone,omitempty"`
	BSUID     string `json:"bsuid,omitempty"`
}

// listRow is a list as GET /v1/lists shows it.
type listRow struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Members int    `json:"members"`
}

func (l *List) row() listRow { return listRow{l.ID, l.Name, l.Type, len(l.Members)} }

// memberRow is a membership: of a contact that was deleted there is none.
type memberRow struct {
	Contact *Member `json:"contact"`
}

// SetList has somebody at the CRM make or change a list.
func (s *Sim) SetList(l List) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Members = slices.Clone(l.Members)
	if i := s.indexOfList(l.ID); i >= 0 {
		s.lists[i] = l
		return
	}
	s.lists = append(s.lists, l)
}

// RemoveList has somebody at the CRM delete a list.
func (s *Sim) RemoveList(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists = slices.DeleteFunc(s.lists, func(l List) bool { return l.ID == id })
}

func (s *Sim) indexOfList(id string) int {
	return slices.IndexFunc(s.lists, func(l List) bool { return l.ID == id })
}

// readLists reads lists as whoever steers the sim writes them.
func readLists(body io.Reader) ([]List, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if data = bytes.TrimSpace(data); !bytes.HasPrefix(data, []byte("[")) {
		data = fmt.Appendf(nil, "[%s]", data)
	}
	var lists []List
	if err := strict(data, &lists); err != nil {
		return nil, err
	}
	for _, l := range lists {
		if l.ID == "" || l.Name == "" || l.Type == "" {
			return nil, errors.New("a list has id, name and type")
		}
	}
	return lists, nil
}

// getLists lists the lists whose names have search in them, in whatever case.
func (s *Sim) getLists(c *call, _ string) (int, any, *refusal) {
	at, err := pageOf(c, "search")
	if err != nil {
		return 0, nil, err
	}
	search := strings.ToLower(at.query.Get("search"))
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []listRow
	for _, l := range s.lists {
		if strings.Contains(strings.ToLower(l.Name), search) {
			found = append(found, l.row())
		}
	}
	return http.StatusOK, answerPage(c, at, found), nil
}

func (s *Sim) getList(_ *call, id string) (int, any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.indexOfList(id)
	if i < 0 {
		return 0, nil, refuse(http.StatusNotFound, "no_such_list", "there is no such list")
	}
	return http.StatusOK, map[string]any{"data": s.lists[i].row()}, nil
}

func (s *Sim) getMembers(c *call, id string) (int, any, *refusal) {
	at, err := pageOf(c)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.indexOfList(id)
	if i < 0 {
		return 0, nil, refuse(http.StatusNotFound, "no_such_list", "there is no such list")
	}
	rows := make([]memberRow, 0, len(s.lists[i].Members))
	for _, m := range s.lists[i].Members {
		row := memberRow{&m}
		if m.ID == "" {
			row.Contact = nil
		}
		rows = append(rows, row)
	}
	return http.StatusOK, answerPage(c, at, rows), nil
}

// everybody lists all members of a list at once, as some APIs do, and of no list when
// there is none: it is these APIs' way to say so.
func (s *Sim) everybody(c *call, _ string) (int, any, *refusal) {
	q := c.r.URL.Query()
	if len(q) != 1 || !q.Has("list") {
		return 0, nil, refuse(http.StatusBadRequest, "unknown_parameter", "want the parameter list, and no other")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Member{}
	if i := s.indexOfList(q.Get("list")); i >= 0 {
		all = append(all, s.lists[i].Members...)
	}
	return http.StatusOK, all, nil
}
