package web

import (
	"context"
	"net/http"

	"github.com/wabridge/wabridge/core/broker"
)

// ContactData is what the API asks about all that is held of people.
type ContactData interface {
	EraseContact(ctx context.Context, r broker.EraseRequest) (broker.Erasure, error)
	Erasure(ctx context.Context, tenant, id string) (broker.Erasure, error)
}

func (s *Server) contactDataRoutes(mux *http.ServeMux) {
	mux.Handle("POST "+contactsPath+"/erase", s.need(s.eraseContact))
	mux.Handle("GET /api/v1/erasures/{id}", s.need(s.erasure))
}

// eraseContact erases a person, or says what there is to erase. An erasure that
// is not done when the answer comes goes on.
func (s *Server) eraseContact(w http.ResponseWriter, r *http.Request, t token) {
	var req broker.EraseRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	e, err := s.o.Bridge.EraseContact(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	status := http.StatusOK
	if !req.Preview && e.State != broker.ErasureDone {
		status = http.StatusAccepted
	}
	writeJSON(w, status, e)
}

func (s *Server) erasure(w http.ResponseWriter, r *http.Request, t token) {
	tenant, ok := scope(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	e, err := s.o.Bridge.Erasure(r.Context(), tenant, r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, e)
}
