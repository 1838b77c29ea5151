package web

import (
	"net/http"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// costs tells what messages cost.
func (s *Server) costs(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	tenant, ok := s.tenantOf(w, q.Get("tenant"), t)
	if !ok {
		return
	}
	page, err := s.o.Bridge.Costs(r.Context(), broker.CostQuery{
		Tenant: tenant, From: q.Get("from"), To: q.Get("to"), Campaign: q.Get("campaign"), After: q.Get("after"), Limit: limit(r),
	})
	answerWith(w, http.StatusOK, page, err)
}
