package hubspotsim

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// Close has an agent close a thread.
func (s *Sim) Close(thread string) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	if s.inbox.closed == nil {
		s.inbox.closed = map[string]bool{}
	}
	s.inbox.closed[thread] = true
}

// threads serves a contact's threads and puts one into the recycle bin, from which it
// goes for good after 30 days. See
// https://developers.hubspot.com/docs/api-reference/legacy/conversations/conversations/threads/get-conversations.
func (s *Sim) threads(c *call) {
	switch {
	case c.r.Method == http.MethodGet && len(c.rest) == 1:
		if s.may(c, ScopeInboxRead) {
			s.inbox.listThreads(c)
		}
	case c.r.Method == http.MethodDelete && len(c.rest) == 2:
		if s.may(c, ScopeInboxWrite) {
			s.inbox.archiveThread(c)
		}
	default:
		c.notFound()
	}
}

func (b *inbox) listThreads(c *call) {
	q := c.r.URL.Query()
	contact, status := q.Get("associatedContactId"), q.Get("threadStatus")
	limit, err := strconv.Atoi(q.Get("limit"))
	switch {
	case contact == "":
		c.invalid("the imitation lists the threads of a contact only: associatedContactId")
		return
	case status != "OPEN" && status != "CLOSED":
		c.invalid("threadStatus must be OPEN or CLOSED where associatedContactId is set")
		return
	case err != nil || limit < 1 || limit > 500:
		c.invalid("limit must be between 1 and 500")
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string]map[string]any{}
	for _, m := range b.messages {
		if m.Contact == contact && !m.Archived && b.closed[m.Thread] == (status == "CLOSED") {
			found[m.Thread] = map[string]any{"id": m.Thread, "status": status, "archived": false, "spam": false, "associatedContactId": contact,
				"originalChannelId": m.ChannelID, "originalChannelAccountId": m.AccountID, "inboxId": b.account(b.channels[m.ChannelID], m.AccountID).InboxID,
				"createdAt": stamp(m.created)}
		}
	}
	ids := slices.Sorted(maps.Keys(found))
	from, _ := slices.BinarySearch(ids, q.Get("after"))
	page := []any{}
	answer := map[string]any{}
	for _, id := range ids[from:] {
		if len(page) == limit {
			answer["paging"] = map[string]any{"next": map[string]string{"after": id}}
			break
		}
		page = append(page, found[id])
	}
	answer["results"] = page
	c.answer(http.StatusOK, answer)
}

func (b *inbox) archiveThread(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := false
	for _, m := range b.messages {
		if m.Thread == c.rest[1] {
			m.Archived, known = true, true
		}
	}
	if !known {
		c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "No thread with id " + c.rest[1]})
		return
	}
	maps.DeleteFunc(b.threads, func(_, id string) bool { return id == c.rest[1] })
	c.w.WriteHeader(http.StatusNoContent)
}
