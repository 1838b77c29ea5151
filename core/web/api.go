package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
)

const (
	maxBody  = 256 << 10
	maxKey   = 255
	maxPage  = 500
	maxBatch = 1000
)

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer cannot be written"}}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n'))
}

// apiError is what went wrong.
type apiError struct {
	// Code is one of the codes of core.Code, or "not_found".
	Code string `json:"code"`
	// Message is one line for a person: what, and why.
	Message string `json:"message"`
	// Hint says what can be done about it.
	Hint string `json:"hint,omitempty"`
}

// errorAnswer is what every request that fails is answered with.
type errorAnswer struct {
	Error apiError `json:"error"`
}

// replayedAnswer says how many dead letters went back to their lanes.
type replayedAnswer struct {
	Replayed int `json:"replayed"`
}

// resolvedAnswer says how many dead letters were resolved.
type resolvedAnswer struct {
	Resolved int `json:"resolved"`
}

func writeError(w http.ResponseWriter, status int, code, message, hint string) {
	writeJSON(w, status, errorAnswer{apiError{code, message, hint}})
}

// fail answers with an error of the bridge.
func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, store.ErrFull) {
		w.Header().Set("Retry-After", "30")
		writeError(w, http.StatusServiceUnavailable, "unavailable", "the disk is full: nothing new is taken until there is room", "make room on the disk of data_dir")
		return
	}
	if errors.Is(err, store.ErrClosed) {
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, "unavailable", "the bridge is stopping", "")
		return
	}
	e := core.AsError(err)
	status := http.StatusInternalServerError
	switch e.Code {
	case core.CodeInvalid:
		status = http.StatusUnprocessableEntity
		if errors.Is(err, store.ErrNotFound) {
			status = http.StatusNotFound
		}
	case core.CodeUndeliverable:
		status = http.StatusConflict
	case core.CodeUnavailable, core.CodeUnknownOutcome:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	case core.CodeRateLimited:
		status = http.StatusTooManyRequests
	case core.CodeForbidden:
		status = http.StatusForbidden
	case core.CodeUnauthenticated:
		status = http.StatusUnauthorized
	}
	writeError(w, status, string(e.Code), strings.TrimSuffix(e.Error(), ": "+store.ErrNotFound.Error()), e.Hint)
}

// read decodes the body into v; unknown names are mistakes.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more follows after the JSON object")
		}
	}
	if err == nil {
		return true
	}
	if big := new(http.MaxBytesError); errors.As(err, &big) {
		writeError(w, http.StatusRequestEntityTooLarge, "invalid", fmt.Sprintf("the body is larger than %d bytes", big.Limit), "")
		return false
	}
	writeError(w, http.StatusBadRequest, "invalid", "body: "+err.Error(), "")
	return false
}

// scope returns the tenant that a request is about: the one it names, which
// must be the token's own if that has one.
func scope(w http.ResponseWriter, asked string, t access.Token) (string, bool) {
	if t.Tenant != "" && asked != "" && asked != t.Tenant {
		// Not "forbidden": who may not see a tenant does not learn that it is.
		writeError(w, http.StatusNotFound, "not_found", "no such tenant", "")
		return "", false
	}
	if asked == "" {
		asked = t.Tenant
	}
	return asked, true
}

func (s *Server) send(w http.ResponseWriter, r *http.Request, t access.Token) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > maxKey {
		writeError(w, http.StatusBadRequest, "invalid", fmt.Sprintf("the header Idempotency-Key is needed, 1 to %d characters: it makes sending again harmless", maxKey), "")
		return
	}
	var req broker.SendRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = scope(w, req.Tenant, t); !ok {
		return
	}
	if req.Tenant == "" {
		if all := s.o.Bridge.Snapshot().Tenants; len(all) == 1 {
			req.Tenant = all[0].ID
		}
	}
	req.Key = key
	receipt, err := s.o.Bridge.Send(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusAccepted, receipt)
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request, _ access.Token) {
	writeJSON(w, http.StatusOK, s.o.Bridge.Snapshot())
}

func (s *Server) why(w http.ResponseWriter, r *http.Request, t access.Token) {
	id := r.PathValue("id")
	if id == "" {
		id = r.URL.Query().Get("id")
	}
	tenant, ok := scope(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	story, err := s.o.Bridge.Why(r.Context(), tenant, id)
	if core.CodeOf(err) == core.CodeInvalid {
		writeError(w, http.StatusNotFound, "not_found", err.Error(), cmp.Or(core.AsError(err).Hint, "the history may have been dropped: see store.history_days"))
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, story)
}

func (s *Server) queues(w http.ResponseWriter, r *http.Request, t access.Token) {
	tenant, ok := scope(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	out := []broker.QueueStatus{}
	for _, q := range s.o.Bridge.Snapshot().Queues {
		if tenant == "" || q.Tenant == tenant {
			out = append(out, q)
		}
	}
	writeJSON(w, http.StatusOK, out)
}

func limit(r *http.Request) int {
	n, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || n < 1 {
		n = 50
	}
	return min(n, maxPage)
}

func (s *Server) items(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	tenant, ok := scope(w, q.Get("tenant"), t)
	if !ok {
		return
	}
	after, _ := strconv.ParseUint(q.Get("after"), 10, 64)
	items, err := s.o.Bridge.Peek(r.Context(), tenant, q.Get("queue"), after, limit(r))
	if err != nil {
		fail(w, err)
		return
	}
	if items == nil {
		items = []broker.QueueItem{}
	}
	writeJSON(w, http.StatusOK, items)
}

func (s *Server) dead(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	tenant, ok := scope(w, q.Get("tenant"), t)
	if !ok {
		return
	}
	dead, err := s.o.Bridge.Dead(r.Context(), tenant, q.Get("after"), limit(r))
	if err != nil {
		fail(w, err)
		return
	}
	if dead == nil {
		dead = []broker.DeadLetter{}
	}
	writeJSON(w, http.StatusOK, dead)
}

// own returns a dead letter that the token may see.
func (s *Server) own(w http.ResponseWriter, r *http.Request, t access.Token, id string) (broker.DeadLetter, bool) {
	d, err := s.o.Bridge.DeadLetter(r.Context(), id)
	if err == nil && t.Tenant != "" && d.Tenant != t.Tenant {
		err = core.Errorf(core.CodeInvalid, "dead letter", "no dead letter %q: %w", id, store.ErrNotFound)
	}
	if err != nil {
		fail(w, err)
		return d, false
	}
	return d, true
}

func (s *Server) deadLetter(w http.ResponseWriter, r *http.Request, t access.Token) {
	if d, ok := s.own(w, r, t, r.PathValue("id")); ok {
		writeJSON(w, http.StatusOK, d)
	}
}

type deadRequest struct {
	IDs  []string `json:"ids"`
	Note string   `json:"note,omitempty"`
}

func (s *Server) readDead(w http.ResponseWriter, r *http.Request, t access.Token) (deadRequest, bool) {
	var req deadRequest
	if !read(w, r, &req) {
		return req, false
	}
	if len(req.IDs) == 0 || len(req.IDs) > maxBatch || len(req.Note) > 1000 {
		writeError(w, http.StatusBadRequest, "invalid", fmt.Sprintf("ids: 1 to %d are needed; note: at most 1000 bytes", maxBatch), "")
		return req, false
	}
	if t.Tenant != "" {
		for _, id := range req.IDs {
			if _, ok := s.own(w, r, t, id); !ok {
				return req, false
			}
		}
	}
	return req, true
}

func (s *Server) replay(w http.ResponseWriter, r *http.Request, t access.Token) {
	if req, ok := s.readDead(w, r, t); ok {
		if err := s.o.Bridge.Replay(r.Context(), req.IDs...); err != nil {
			fail(w, err)
			return
		}
		writeJSON(w, http.StatusOK, replayedAnswer{len(req.IDs)})
	}
}

func (s *Server) resolve(w http.ResponseWriter, r *http.Request, t access.Token) {
	if req, ok := s.readDead(w, r, t); ok {
		if err := s.o.Bridge.Resolve(r.Context(), req.Note, req.IDs...); err != nil {
			fail(w, err)
			return
		}
		writeJSON(w, http.StatusOK, resolvedAnswer{len(req.IDs)})
	}
}
