package customhttpsim

import (
	"net/http"
	"slices"
	"time"
)

// Entry is a contact as people at the CRM know it, or a message that they ask
// for: what GET /v1/changes lists.
type Entry struct {
	ID        string            `json:"id"`
	Type      string            `json:"type"` // "contact", "deleted", "consent" or "outbox"
	UpdatedAt time.Time         `json:"updated_at"`
	Phone     string            `json:"phone,omitempty"`
	City      *string           `json:"city"`
	Labels    []string          `json:"labels,omitempty"`
	NewsOK    string            `json:"news_ok,omitempty"` // "yes" or "no"
	Form      string            `json:"form,omitempty"`
	Text      string            `json:"text,omitempty"`
	Owner     string            `json:"owner,omitempty"`
	More      map[string]string `json:"more,omitempty"`
}

// Change has somebody at the CRM make or change an entry, now.
func (s *Sim) Change(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.UpdatedAt = time.Now().UTC()
	s.entries = slices.DeleteFunc(s.entries, func(o Entry) bool { return o.ID == e.ID })
	s.entries = append(s.entries, e)
}

// changes lists the entries changed at or after updated_after, the oldest first.
func (s *Sim) changes(c *call, _ string) (int, any, *refusal) {
	at, err := pageOf(c, "updated_after")
	if err != nil {
		return 0, nil, err
	}
	var since time.Time
	if text := at.query.Get("updated_after"); text != "" {
		var parseErr error
		if since, parseErr = time.Parse(time.RFC3339Nano, text); parseErr != nil {
			return 0, nil, refuse(http.StatusBadRequest, "bad_parameter", "updated_after is %q", text)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Entry
	for _, e := range s.entries {
		if !e.UpdatedAt.Before(since) {
			found = append(found, e)
		}
	}
	return http.StatusOK, answerPage(c, at, found), nil
}
