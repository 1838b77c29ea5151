package web

import (
	"net/http"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// escalations lists who waits for people.
func (s *Server) escalations(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		writeJSON(w, http.StatusOK, s.o.Bridge.Escalations(tenant))
	}
}

func (s *Server) escalation(w http.ResponseWriter, r *http.Request, t access.Token) {
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

// settleRequest says who settles an escalation.
type settleRequest struct {
	// By is who does it: a member's id, or a name.
	By string `json:"by"`
	// Note says why, for its story.
	Note string `json:"note,omitempty"`
}

// settleEscalation takes, closes or releases one.
func (s *Server) settleEscalation(what string) func(http.ResponseWriter, *http.Request, access.Token) {
	return func(w http.ResponseWriter, r *http.Request, t access.Token) {
		var req settleRequest
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
		switch id := r.PathValue("id"); what {
		case "take":
			e, err = s.o.Bridge.TakeEscalation(r.Context(), tenant, id, req.By)
		case "close":
			e, err = s.o.Bridge.CloseEscalation(r.Context(), tenant, id, req.By, req.Note)
		default:
			e, err = s.o.Bridge.ReleaseEscalation(r.Context(), tenant, id, req.By, req.Note)
		}
		answerWith(w, http.StatusOK, e, err)
	}
}
