package web

import (
	"net/http"

	"github.com/wabridge/wabridge/core/access"
)

// makeToken makes a token, for the asker's tenant if they have one.
func (s *Server) makeToken(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req access.Request
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = scope(w, req.Tenant, t); !ok {
		return
	}
	if req.Tenant != "" && !s.isTenant(req.Tenant) {
		writeError(w, http.StatusNotFound, "not_found", "no such tenant", "")
		return
	}
	req.By = t.Name
	n, err := s.o.Access.Make(r.Context(), req)
	if err == nil {
		s.log.Info("a token was made", "id", n.ID, "name", n.Name, "tenant", n.Tenant, "scopes", n.Scopes, "by", t.Name)
	}
	answerWith(w, http.StatusCreated, n, err)
}

func (s *Server) isTenant(id string) bool {
	for _, t := range s.o.Bridge.Snapshot().Tenants {
		if t.ID == id {
			return true
		}
	}
	return false
}

func (s *Server) tokens(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := scope(w, r.URL.Query().Get("tenant"), t); ok {
		writeJSON(w, http.StatusOK, s.o.Access.List(tenant))
	}
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request, t access.Token) {
	id := r.PathValue("id")
	err := s.o.Access.Revoke(r.Context(), t.Tenant, id)
	if err == nil {
		s.log.Info("a token was revoked", "id", id, "by", t.Name)
	}
	answerWith(w, http.StatusOK, removedAnswer{id}, err)
}
