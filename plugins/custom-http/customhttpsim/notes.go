package customhttpsim

import (
	"encoding/json"
	"net/http"
	"time"
)

// note is what is appended each time it comes.
type note struct {
	Ref  string `json:"ref"`
	Text string `json:"text"`
}

func (s *Sim) createNote(c *call, _ string) (int, any, *refusal) {
	var n note
	if err := read(c, &n); err != nil {
		return 0, nil, err
	}
	if n.Ref == "" {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "required", "ref is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return made(s.note(n), true)
}

// note adds one. Callers hold mu.
func (s *Sim) note(n note) *Record {
	r := s.add("note", n.Ref)
	r.Fields, r.Writes = map[string]any{"text": n.Text}, 1
	s.noted[r.ID] = time.Now()
	return r
}

// Note has somebody at the CRM make a note, and returns its id.
func (s *Sim) Note(ref, text string) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note(note{Ref: ref, Text: text}).ID
}

// createNotes makes all or none, each time it is asked.
func (s *Sim) createNotes(c *call, _ string) (int, any, *refusal) {
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := read(c, &list); err != nil {
		return 0, nil, err
	}
	if err := s.checkBulk(len(list.Items)); err != nil {
		return 0, nil, err
	}
	notes := make([]note, len(list.Items))
	for i, raw := range list.Items {
		if err := strict(raw, &notes[i]); err != nil || notes[i].Ref == "" {
			return 0, nil, refuse(http.StatusUnprocessableEntity, "invalid", "items[%d]: want ref and text", i)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]map[string]any, len(notes))
	for i, n := range notes {
		rows[i] = map[string]any{"id": s.note(n).ID, "status": http.StatusCreated}
	}
	return http.StatusOK, map[string]any{"results": rows}, nil
}

// getNotes searches: by the parameter ref, or all.
func (s *Sim) getNotes(c *call, _ string) (int, any, *refusal) {
	at, err := pageOf(c, "ref")
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []map[string]any{}
	for _, r := range s.ledger {
		if r.Object == "note" && (!at.query.Has("ref") || at.query.Get("ref") == r.ExternalID) && time.Since(s.noted[r.ID]) >= s.opts.SearchDelay {
			found = append(found, map[string]any{"id": r.ID, "ref": r.ExternalID, "text": r.Fields["text"]})
		}
	}
	return http.StatusOK, answerPage(c, at, found), nil
}
