package customhttpsim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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

// maxPage is how many entries a page has at most.
const maxPage = 100

// changes lists the entries changed at or after updated_after, the oldest first.
// The next page is found in whichever way the caller likes: page, offset, cursor
// (the answer's next_cursor), next_url, or the header Link.
func (s *Sim) changes(c *call, _ string) (int, any, *refusal) {
	q := c.r.URL.Query()
	for name := range q {
		if !slices.Contains([]string{"updated_after", "limit", "page", "offset", "cursor", "api_key"}, name) {
			return 0, nil, refuse(http.StatusBadRequest, "unknown_parameter", "%s is no parameter", name)
		}
	}
	number := func(name string, otherwise, least, most int) (int, *refusal) {
		if q.Get(name) == "" {
			return otherwise, nil
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < least || n > most {
			return 0, refuse(http.StatusBadRequest, "bad_parameter", "%s is %q", name, q.Get(name))
		}
		return n, nil
	}
	limit, err := number("limit", 20, 1, maxPage)
	if err != nil {
		return 0, nil, err
	}
	page, err := number("page", 1, 1, 1<<20)
	if err != nil {
		return 0, nil, err
	}
	offset, err := number("offset", (page-1)*limit, 0, 1<<20)
	if err != nil {
		return 0, nil, err
	}
	if q.Get("cursor") != "" {
		if _, scanErr := fmt.Sscanf(q.Get("cursor"), "after-%d", &offset); scanErr != nil {
			return 0, nil, refuse(http.StatusBadRequest, "bad_parameter", "no such cursor")
		}
	}
	var since time.Time
	if text := q.Get("updated_after"); text != "" {
		var parseErr error
		if since, parseErr = time.Parse(time.RFC3339Nano, text); parseErr != nil {
			return 0, nil, refuse(http.StatusBadRequest, "bad_parameter", "updated_after is %q", text)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make([]Entry, 0, limit)
	for _, e := range s.entries {
		if !e.UpdatedAt.Before(since) {
			found = append(found, e)
		}
	}
	end := min(len(found), offset+limit)
	answer := map[string]any{"data": found[min(offset, len(found)):end], "total": len(found)}
	if end < len(found) {
		next := url.Values{"limit": {strconv.Itoa(limit)}, "offset": {strconv.Itoa(end)}, "updated_after": q["updated_after"]}
		address := c.r.URL.Path + "?" + next.Encode()
		answer["next_cursor"], answer["next_url"] = fmt.Sprintf("after-%d", end), address
		c.w.Header().Set("Link", `<`+c.r.URL.Path+`?first>; rel="first", <`+address+`>; rel="next"`)
	}
	return http.StatusOK, answer, nil
}
