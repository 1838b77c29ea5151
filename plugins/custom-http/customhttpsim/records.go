package customhttpsim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Record is one thing that the account holds.
type Record struct {
	// Object is "message", "contact", "note" or "event".
	Object string `json:"object"`
	// ID is the account's own, ExternalID the caller's.
	ID         string         `json:"id"`
	ExternalID string         `json:"external_id"`
	Fields     map[string]any `json:"fields"`
	// Writes counts its creation and changes.
	Writes int `json:"writes"`
	// Statuses are those of a message, in the order in which they came.
	Statuses []string `json:"statuses,omitempty"`
}

// Records returns what the account holds of an object ("" is everything), in
// order of creation.
func (s *Sim) Records(object string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Record, 0, len(s.ledger))
	for _, r := range s.ledger {
		if object == "" || r.Object == object {
			c := *r
			c.Statuses = append([]string(nil), r.Statuses...)
			list = append(list, c)
		}
	}
	return list
}

// Count returns how many records of an object ("" is all) there are, by
// external id.
func (s *Sim) Count(object string) map[string]int {
	n := make(map[string]int)
	for _, r := range s.Records(object) {
		n[r.ExternalID]++
	}
	return n
}

// replay is an answer kept for its Idempotency-Key.
type replay struct {
	request [sha256.Size]byte
	status  int
	answer  any
}

// message is what the API takes as a message.
type message struct {
	ExternalID string    `json:"external_id"`
	Direction  string    `json:"direction"`
	Type       string    `json:"type"`
	Text       *string   `json:"text"`
	SentAt     time.Time `json:"sent_at"`
	Contact    *person   `json:"contact"`
	Tags       []string  `json:"tags,omitempty"`
}

type person struct {
	ExternalID string `json:"external_id"`
	Name       string `json:"name"`
	Phone      string `json:"phone,omitempty"`
	BSUID      string `json:"bsuid,omitempty"`
}

func (m *message) check() *refusal {
	switch {
	case m.ExternalID == "":
		return refuse(http.StatusUnprocessableEntity, "required", "external_id is required")
	case m.Direction != "in" && m.Direction != "out":
		return refuse(http.StatusUnprocessableEntity, "invalid", "direction must be in or out")
	case m.Type == "":
		return refuse(http.StatusUnprocessableEntity, "required", "type is required")
	case m.Text == nil:
		return refuse(http.StatusUnprocessableEntity, "required", "text is required, if empty")
	case len(*m.Text) > 64<<10:
		return refuse(http.StatusUnprocessableEntity, "too_long", "text has at most 65536 bytes")
	case m.SentAt.IsZero():
		return refuse(http.StatusUnprocessableEntity, "required", "sent_at is required")
	case m.Contact == nil || m.Contact.ExternalID == "":
		return refuse(http.StatusUnprocessableEntity, "required", "contact.external_id is required")
	}
	return nil
}

// strict decodes exactly one JSON value without unknown keys.
func strict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

func read(c *call, v any) *refusal {
	if err := strict(c.body, v); err != nil {
		return refuse(http.StatusBadRequest, "malformed", "%v", err)
	}
	return nil
}

// put makes or changes a record. Callers hold mu.
func (s *Sim) put(object, externalID string, v any) (r *Record, created bool) {
	fields := make(map[string]any)
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &fields)
	}
	if err != nil {
		panic(err)
	}
	if s.records[object] == nil {
		s.records[object] = make(map[string]*Record)
	}
	r = s.records[object][externalID]
	if r == nil {
		r, created = s.add(object, externalID), true
		s.records[object][externalID] = r
	}
	r.Fields = fields
	r.Writes++
	return r, created
}

// add makes a record. Callers hold mu.
func (s *Sim) add(object, externalID string) *Record {
	r := &Record{Object: object, ID: fmt.Sprintf("%s_%d", object[:1], len(s.ledger)+1), ExternalID: externalID}
	s.ledger = append(s.ledger, r)
	return r
}

func made(r *Record, created bool) (int, any, *refusal) {
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return status, map[string]any{"ok": true, "id": r.ID}, nil
}

// once answers a known Idempotency-Key as the first time. Callers hold mu.
func (s *Sim) once(c *call, do func() (int, any, *refusal)) (int, any, *refusal) {
	key := c.r.Header.Get("Idempotency-Key")
	if key == "" {
		return do()
	}
	key = c.r.URL.Path + " " + key
	sum := sha256.Sum256(c.body)
	if known, ok := s.keys[key]; ok {
		if known.request != sum {
			return 0, nil, refuse(http.StatusUnprocessableEntity, "key_reused", "the Idempotency-Key belongs to another request: %s", hex.EncodeToString(known.request[:4]))
		}
		s.stats.Replays++
		c.w.Header().Set("Idempotent-Replayed", "true")
		return known.status, known.answer, nil
	}
	status, answer, refused := do()
	if refused == nil {
		s.keys[key] = replay{sum, status, answer}
	}
	return status, answer, refused
}

func (s *Sim) createMessage(c *call, _ string) (int, any, *refusal) {
	var m message
	if err := read(c, &m); err != nil {
		return 0, nil, err
	}
	if err := m.check(); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.once(c, func() (int, any, *refusal) {
		if have := s.records["message"][m.ExternalID]; have != nil {
			err := refuse(http.StatusConflict, "duplicate", "there is a message with this external_id")
			err.id = have.ID
			return 0, nil, err
		}
		r, created := s.put("message", m.ExternalID, m)
		return made(r, created)
	})
}

func (s *Sim) putMessage(c *call, id string) (int, any, *refusal) {
	var m message
	if err := read(c, &m); err != nil {
		return 0, nil, err
	}
	if m.ExternalID == "" {
		m.ExternalID = id
	}
	if m.ExternalID != id {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "invalid", "external_id is not the one in the path")
	}
	if err := m.check(); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return made(s.put("message", id, m))
}

func (s *Sim) patchMessage(c *call, id string) (int, any, *refusal) {
	var change struct {
		Status string `json:"status"`
		Error  string `json:"error,omitempty"`
	}
	if err := read(c, &change); err != nil {
		return 0, nil, err
	}
	if change.Status == "" {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "required", "status is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records["message"][id]
	if r == nil {
		return 0, nil, refuse(http.StatusNotFound, "no_such_message", "there is no message with this external_id")
	}
	r.Writes++
	r.Statuses = append(r.Statuses, change.Status)
	return made(r, false)
}

func (s *Sim) putContact(c *call, id string) (int, any, *refusal) {
	var p struct {
		person
		Tags   []string       `json:"tags,omitempty"`
		Fields map[string]any `json:"fields,omitempty"`
	}
	if err := read(c, &p); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own, isOwn := strings.CutPrefix(id, ownID)
	if !isOwn {
		return made(s.put("contact", id, p))
	}
	r := s.byOwnID(own)
	switch {
	case r == nil:
		return 0, nil, refuse(http.StatusNotFound, "not_found", "there is no contact with this id")
	case p.ExternalID == "" || r.ExternalID != "" && r.ExternalID != p.ExternalID:
		return 0, nil, refuse(http.StatusUnprocessableEntity, "invalid", "external_id is missing, or is not the contact's")
	}
	if s.records["contact"] == nil {
		s.records["contact"] = make(map[string]*Record)
	}
	if other := s.records["contact"][p.ExternalID]; other != nil && other != r {
		return 0, nil, refuse(http.StatusConflict, "duplicate", "another contact has this external_id")
	}
	r.ExternalID, s.records["contact"][p.ExternalID] = p.ExternalID, r
	return made(s.put("contact", p.ExternalID, p))
}

// eraseContact forgets a contact and the messages that name it.
func (s *Sim) eraseContact(_ *call, id string) (int, any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.ledger)
	s.ledger = slices.DeleteFunc(s.ledger, func(r *Record) bool {
		contact, _ := r.Fields["contact"].(map[string]any)
		gone := r.Object == "contact" && r.ExternalID == id || r.Object == "message" && contact["external_id"] == id
		if gone {
			delete(s.records[r.Object], r.ExternalID)
		}
		return gone
	})
	if len(s.ledger) == n {
		return 0, nil, refuse(http.StatusNotFound, "not_found", "there is no contact with this external_id")
	}
	return http.StatusOK, map[string]any{"ok": true, "id": id, "erased": n - len(s.ledger)}, nil
}

// mergeContacts gives the messages of a contact to another, which it then is.
func (s *Sim) mergeContacts(c *call, _ string) (int, any, *refusal) {
	var m struct {
		From string `json:"from"`
		Into string `json:"into"`
	}
	if err := read(c, &m); err != nil {
		return 0, nil, err
	}
	if m.From == "" || m.Into == "" || m.From == m.Into {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "required", "from and into are required, and differ")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.once(c, func() (int, any, *refusal) {
		moved := 0
		for _, r := range s.ledger {
			if contact, _ := r.Fields["contact"].(map[string]any); r.Object == "message" && contact["external_id"] == m.From {
				contact["external_id"] = m.Into
				moved++
			}
		}
		contacts := s.records["contact"]
		switch from := contacts[m.From]; {
		case from == nil && moved == 0:
			return 0, nil, refuse(http.StatusNotFound, "not_found", "there is no contact with the external_id from")
		case from == nil:
		case contacts[m.Into] == nil:
			from.ExternalID, contacts[m.Into] = m.Into, from
			from.Fields["external_id"] = m.Into
		default:
			s.ledger = slices.DeleteFunc(s.ledger, func(r *Record) bool { return r == from })
		}
		delete(contacts, m.From)
		return http.StatusOK, map[string]any{"ok": true, "id": m.Into, "moved": moved}, nil
	})
}

// rpc is the API that is never wrong by its status.
func (s *Sim) rpc(c *call, id string) (int, any, *refusal) {
	_, answer, refused := s.createNote(c, id)
	if refused != nil {
		return http.StatusOK, map[string]any{"ok": false, "error": refused.code, "text": refused.message}, nil //nolint:nilerr // the refusal is in the answer
	}
	return http.StatusOK, answer, nil
}

// eventOf checks an event: any JSON object with the texts id and kind.
func eventOf(raw json.RawMessage) (id string, fields map[string]any, refused *refusal) {
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return "", nil, refuse(http.StatusBadRequest, "malformed", "an event is an object")
	}
	id, _ = fields["id"].(string)
	kind, _ := fields["kind"].(string)
	if id == "" || kind == "" {
		return "", nil, refuse(http.StatusUnprocessableEntity, "required", "id and kind are required")
	}
	return id, fields, nil
}

func (s *Sim) takeEvent(c *call, _ string) (int, any, *refusal) {
	id, fields, err := eventOf(c.body)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.once(c, func() (int, any, *refusal) { return made(s.put("event", id, fields)) })
}

func (s *Sim) takeEvents(c *call, _ string) (int, any, *refusal) {
	var list struct {
		Events []json.RawMessage `json:"events"`
	}
	if err := read(c, &list); err != nil {
		return 0, nil, err
	}
	if err := s.checkBulk(len(list.Events)); err != nil {
		return 0, nil, err
	}
	ids, all := make([]string, len(list.Events)), make([]map[string]any, len(list.Events))
	for i, raw := range list.Events {
		var err *refusal
		if ids[i], all[i], err = eventOf(raw); err != nil {
			err.message = fmt.Sprintf("events[%d]: %s", i, err.message)
			return 0, nil, err
		}
		if f := c.hit.row(FaultRow, ids[i]); f != nil {
			return 0, nil, refuse(f.Status, f.Code, "events[%d]: refused", i)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, id := range ids {
		s.put("event", id, all[i])
	}
	return http.StatusOK, map[string]any{"ok": true, "taken": len(ids)}, nil
}

func (s *Sim) checkBulk(n int) *refusal {
	s.mu.Lock()
	s.stats.Rows += n
	s.mu.Unlock()
	switch {
	case n == 0:
		return refuse(http.StatusBadRequest, "empty", "there are no items")
	case n > s.opts.MaxBatch:
		return refuse(http.StatusRequestEntityTooLarge, "too_many", "at most %d items", s.opts.MaxBatch)
	}
	return nil
}

// result is a row of the answer to bulk.
type result struct {
	ExternalID string    `json:"external_id"`
	Status     int       `json:"status"`
	ID         string    `json:"id,omitempty"`
	Error      *rowError `json:"error,omitempty"`
}

type rowError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (s *Sim) bulkMessages(c *call, _ string) (int, any, *refusal) {
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := read(c, &list); err != nil {
		return 0, nil, err
	}
	if err := s.checkBulk(len(list.Items)); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]result, 0, len(list.Items))
	for _, raw := range list.Items {
		if row, ok := s.bulkMessage(c, raw); ok {
			results = append(results, row)
		}
	}
	if s.opts.Shuffle {
		rand.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	}
	return http.StatusMultiStatus, map[string]any{"results": results}, nil
}

// bulkMessage writes one item; false leaves it out of the answer. Callers hold
// mu.
func (s *Sim) bulkMessage(c *call, raw json.RawMessage) (result, bool) {
	var m message
	refused := func() *refusal {
		if err := strict(raw, &m); err != nil {
			return refuse(http.StatusBadRequest, "malformed", "%v", err)
		}
		if f := c.hit.row(FaultRow, m.ExternalID); f != nil {
			return refuse(f.Status, f.Code, "refused")
		}
		return m.check()
	}()
	if refused != nil {
		return result{ExternalID: m.ExternalID, Status: refused.status, Error: &rowError{refused.code, refused.message}}, true
	}
	r, created := s.put("message", m.ExternalID, m)
	status, _, _ := made(r, created)
	return result{ExternalID: m.ExternalID, Status: status, ID: r.ID}, c.hit.row(FaultMute, m.ExternalID) == nil
}
