package web

import (
	"fmt"
	"net/http"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// tenantOf returns the tenant that a request is about: the only one, when it
// names none.
func (s *Server) tenantOf(w http.ResponseWriter, asked string, t access.Token) (string, bool) {
	asked, ok := scope(w, asked, t)
	if ok && asked == "" {
		if all := s.o.Bridge.Snapshot().Tenants; len(all) == 1 {
			asked = all[0].ID
		}
	}
	return asked, ok
}

// changeConsent changes what a person agreed to, or why nothing may be sent to
// them.
func (s *Server) changeConsent(w http.ResponseWriter, r *http.Request, t access.Token) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > maxKey {
		writeError(w, http.StatusBadRequest, "invalid", fmt.Sprintf("the header Idempotency-Key is needed, 1 to %d characters: it makes asking again harmless", maxKey), "")
		return
	}
	var req broker.ConsentRequest
	if !read(w, r, &req) {
		return
	}
	var ok bool
	if req.Tenant, ok = s.tenantOf(w, req.Tenant, t); !ok {
		return
	}
	if req.By == "" {
		req.By = "token " + t.Name
	}
	req.Key = key
	status, err := s.o.Bridge.ChangeConsent(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, status)
}

// consent tells where a person stands.
func (s *Server) consent(w http.ResponseWriter, r *http.Request, t access.Token) {
	tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	status, err := s.o.Bridge.Consent(r.Context(), tenant, r.URL.Query().Get("contact"))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, status)
}

// proveConsent returns a person's entries and checks the ledgers.
func (s *Server) proveConsent(w http.ResponseWriter, r *http.Request, t access.Token) {
	tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t)
	if !ok {
		return
	}
	proof, err := s.o.Bridge.ProveConsent(r.Context(), tenant, r.URL.Query().Get("contact"))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, proof)
}

// releaseRequest asks for a conversation to be given back to the bot.
type releaseRequest struct {
	Tenant string `json:"tenant,omitempty"`
	// Conversation is the conversation's ID.
	Conversation string `json:"conversation"`
	// By is who does it.
	By string `json:"by"`
}

// releaseAnswer names the conversation that the bot has again.
type releaseAnswer struct {
	Released string `json:"released"`
}

// release gives a conversation back to the bot.
func (s *Server) release(w http.ResponseWriter, r *http.Request, t access.Token) {
	var req releaseRequest
	if !read(w, r, &req) {
		return
	}
	tenant, ok := s.tenantOf(w, req.Tenant, t)
	if !ok {
		return
	}
	if err := s.o.Bridge.Release(r.Context(), tenant, req.Conversation, req.By); err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, releaseAnswer{req.Conversation})
}
