package web

import (
	"context"
	"net/http"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// ContactData is what the API asks about all that is held of people.
type ContactData interface {
	EraseContact(ctx context.Context, r broker.EraseRequest) (broker.Erasure, error)
	Erasure(ctx context.Context, tenant, id string) (broker.Erasure, error)
	ExportContact(ctx context.Context, tenant, who string) (broker.ContactExport, error)
	ContactRecords(ctx context.Context, tenant, after string, limit int) (broker.ContactRecords, error)
	ImportContacts(ctx context.Context, r broker.ImportRequest) (broker.ImportReport, error)
}

// eraseContact erases a person, or says what there is to erase. An erasure that
// is not done when the answer comes goes on.
func (s *Server) eraseContact(w http.ResponseWriter, r *http.Request, t access.Token) {
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

func (s *Server) erasure(w http.ResponseWriter, r *http.Request, t access.Token) {
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

// importContacts takes people over from a list, or says what would change.
func (s *Server) importContacts(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req broker.ImportRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	rep, err := s.o.Bridge.ImportContacts(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, rep)
}

// exportContact returns all that is held of a person.
func (s *Server) exportContact(w http.ResponseWriter, r *http.Request, t access.Token) {
	tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	x, err := s.o.Bridge.ExportContact(r.Context(), tenant, r.URL.Query().Get("contact"))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, x)
}

// contactRecords returns a page of contacts, as lists have them.
func (s *Server) contactRecords(w http.ResponseWriter, r *http.Request, t access.Token) {
	tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	page, err := s.o.Bridge.ContactRecords(r.Context(), tenant, r.URL.Query().Get("after"), limit(r))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, page)
}
