package web

import (
	"net/http"

	"github.com/wabridge/wabridge/core/broker"
)

// escalations lists who waits for people.
func (s *Server) escalations(w http.ResponseWriter, r *http.Request, t token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		writeJSON(w, http.StatusOK, s.o.Bridge.Escalations(tenant))
	}
}

func (s *Server) escalation(w http.ResponseWriter, r *http.Request, t token) {
	tenant, ok := scope(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	e, err := s.o.Bridge.Escalation(r.Context(), tenant, r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, e)
}

const maxBy = 120 // bytes of a name

// settleEscalation takes, closes or releases one.
func (s *Server) settleEscalation(w http.ResponseWriter, r *http.Request, t token) {
	var req struct {
		By   string `json:"by"`
		Note string `json:"note,omitempty"`
	}
	if !read(w, r, &req) {
		return
	}
	if req.By == "" || len(req.By) > maxBy || len(req.Note) > 1000 {
		writeError(w, http.StatusBadRequest, "invalid", "by: who does it, at most 120 bytes, is needed; note: at most 1000 bytes", "")
		return
	}
	tenant, ok := scope(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	var e broker.Escalation
	var err error
	switch id := r.PathValue("id"); r.PathValue("what") {
	case "take":
		e, err = s.o.Bridge.TakeEscalation(r.Context(), tenant, id, req.By)
	case "close":
		e, err = s.o.Bridge.CloseEscalation(r.Context(), tenant, id, req.By, req.Note)
	case "release":
		e, err = s.o.Bridge.ReleaseEscalation(r.Context(), tenant, id, req.By, req.Note)
	default:
		writeError(w, http.StatusNotFound, "not_found", "an escalation is taken, closed or released", "see the README")
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, e)
}
