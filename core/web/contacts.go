package web

import (
	"context"
	"net/http"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// Contacts is what the API asks about people.
type Contacts interface {
	FindContacts(ctx context.Context, q broker.ContactQuery) (broker.ContactPage, error)
	Contact(ctx context.Context, tenant, who string) (broker.ContactView, error)
	MergeContacts(ctx context.Context, q broker.MergeRequest) (broker.MergeReport, error)
	UnmergeContact(ctx context.Context, q broker.UnmergeRequest) (broker.MergeReport, error)
}

// findContacts finds contacts. A contact is named by its ID, or by a phone number or
// user id.
func (s *Server) findContacts(w http.ResponseWriter, r *http.Request, t access.Token) {
	q := r.URL.Query()
	tenant, ok := s.tenantOf(w, q.Get("tenant"), t)
	if !ok {
		return
	}
	page, err := s.o.Bridge.FindContacts(r.Context(), broker.ContactQuery{
		Tenant: tenant, Text: q.Get("text"), Tag: q.Get("tag"), After: q.Get("after"), Limit: limit(r),
	})
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, page)
}

func (s *Server) contact(w http.ResponseWriter, r *http.Request, t access.Token) {
	tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	c, err := s.o.Bridge.Contact(r.Context(), tenant, r.PathValue("who"))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, c)
}

// mergeContacts makes one contact of two; with "preview" it says what would
// change.
func (s *Server) mergeContacts(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req broker.MergeRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	req.Contact = r.PathValue("who")
	answer(w)(s.o.Bridge.MergeContacts(r.Context(), req))
}

// unmergeContact takes a merge back.
func (s *Server) unmergeContact(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req broker.UnmergeRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	req.Contact = r.PathValue("who")
	answer(w)(s.o.Bridge.UnmergeContact(r.Context(), req))
}

func answer(w http.ResponseWriter) func(rep broker.MergeReport, err error) {
	return func(rep broker.MergeReport, err error) {
		if err != nil {
			fail(w, err)
			return
		}
		writeJSON(w, http.StatusOK, rep)
	}
}
