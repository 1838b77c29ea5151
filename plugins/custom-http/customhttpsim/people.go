package customhttpsim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// personRow is a contact as GET /v1/contacts shows it.
type personRow struct {
	ID         string `json:"id"`
	ExternalID string `json:"external_id,omitempty"`
	Phone      string `json:"phone,omitempty"`
	BSUID      string `json:"bsuid,omitempty"`
}

// AddContact has somebody at the CRM make a contact, with a number as they write it, and
// returns its id.
func (s *Sim) AddContact(phone, bsuid string) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.add("contact", "")
	r.Fields = map[string]any{"name": "by hand", "phone": phone, "bsuid": bsuid}
	r.Writes++
	return r.ID
}

// getContacts searches: by the parameters phone (one of them is the number, as it is
// written), phone_like (% stands for anything) and bsuid. Without any of these there is
// everybody.
func (s *Sim) getContacts(c *call, _ string) (int, any, *refusal) {
	at, err := pageOf(c, "phone", "phone_like", "bsuid", "after_id")
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []personRow{}
	for _, r := range s.ledger {
		if r.Object != "contact" {
			continue
		}
		row := personRow{ID: r.ID, ExternalID: r.ExternalID}
		row.Phone, _ = r.Fields["phone"].(string)
		row.BSUID, _ = r.Fields["bsuid"].(string)
		if row.fits(at.query) {
			found = append(found, row)
		}
	}
	if after := at.query.Get("after_id"); after != "" {
		i := slices.IndexFunc(found, func(r personRow) bool { return r.ID == after })
		if i < 0 {
			return 0, nil, refuse(http.StatusBadRequest, "bad_parameter", "there is no contact with the id after_id")
		}
		found = found[i+1:]
	}
	return http.StatusOK, answerPage(c, at, found), nil
}

func (p *personRow) fits(q url.Values) bool {
	switch {
	case q.Has("phone") && !slices.Contains(q["phone"], p.Phone) && !slices.Contains(strings.Split(q.Get("phone"), ","), p.Phone),
		q.Has("phone_like") && !like(p.Phone, q.Get("phone_like")),
		q.Has("bsuid") && p.BSUID != q.Get("bsuid"):
		return false
	}
	return true
}

// like is SQL's: % stands for anything, all else for itself.
func like(text, pattern string) bool {
	parts := strings.Split(pattern, "%")
	if len(parts) == 1 {
		return text == pattern
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return strings.HasSuffix(text, last)
}

// ownID begins an id in a path that is the account's own.
const ownID = "id:"

// byOwnID returns a contact by its own id, nil when there is none. Callers hold mu.
func (s *Sim) byOwnID(id string) *Record {
	i := slices.IndexFunc(s.ledger, func(r *Record) bool { return r.Object == "contact" && r.ID == id })
	if i < 0 {
		return nil
	}
	return s.ledger[i]
}
