package web

import (
	"context"
	"net/http"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// Corrections is what the API asks about what a script wrote.
type Corrections interface {
	Correct(ctx context.Context, r broker.CorrectionRequest) ([]broker.CorrectionReceipt, error)
}

func (s *Server) correct(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req broker.CorrectionRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	receipts, err := s.o.Bridge.Correct(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, receipts)
}
