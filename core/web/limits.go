package web

import (
	"net/http"

	"github.com/wabridge/wabridge/core/access"
)

// limits tells of the limits, and of what one event waits for.
func (s *Server) limits(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	tenant, ok := scope(w, q.Get("tenant"), t)
	if !ok {
		return
	}
	report, err := s.o.Bridge.Limits(r.Context(), tenant, q.Get("event"))
	answerWith(w, http.StatusOK, report, err)
}
