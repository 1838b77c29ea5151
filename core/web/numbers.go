package web

import (
	"net/http"

	"github.com/wabridge/wabridge/core/access"
)

func (s *Server) numbers(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		writeJSON(w, http.StatusOK, s.o.Bridge.Numbers(tenant))
	}
}

func (s *Server) number(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	tenant, ok := scope(w, q.Get("tenant"), t)
	if !ok {
		return
	}
	n, err := s.o.Bridge.Number(r.Context(), tenant, r.PathValue("id"), q.Get("fresh") == "true")
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, n)
}
