package web

import (
	"net/http"
	"strings"

	"github.com/wabridge/wabridge/core/access"
)

const cookieName = "wabridge_token"

// authorized returns the token that the request carries, if it is one of ours.
func (s *Server) authorized(r *http.Request) (access.Token, bool) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		if c, err := r.Cookie(cookieName); err == nil {
			text, ok = c.Value, true
		}
	}
	if !ok {
		return access.Token{}, false
	}
	return s.o.Access.Find(r.Context(), text)
}

func (s *Server) hasToken(r *http.Request) bool {
	_, ok := s.authorized(r)
	return ok
}

// guarded lets requests through that have a token with the route's scope. Routes
// that only look are open to who is on this machine; see mayLook.
func (s *Server) guarded(to route) http.Handler {
	if to.look {
		return s.look(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { to.serve(w, r, access.Token{}) }))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := s.authorized(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="wabridge"`)
			writeError(w, http.StatusUnauthorized, "unauthenticated", "a token is needed", "send Authorization: Bearer <token of web.api_tokens, or of wabridge token new>")
			return
		}
		if !t.May(to.scope) {
			writeError(w, http.StatusForbidden, "forbidden", "the token does not have the scope "+string(to.scope), "make one that has: wabridge token new --scope "+string(to.scope))
			return
		}
		to.serve(w, r, t)
	})
}

// seesAll reports whether a token lets its bearer see what concerns all tenants.
func seesAll(t access.Token) bool { return t.Tenant == "" && t.May(access.ReadStatus) }

// mayLook reports whether a request may see what concerns all tenants: who is on
// this machine may, others need a token for all tenants.
func (s *Server) mayLook(r *http.Request) bool {
	if t, ok := s.authorized(r); ok && seesAll(t) {
		return true
	}
	return s.loopback && !proxied(r)
}

// look lets requests through that only look; see mayLook.
func (s *Server) look(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.mayLook(r) {
			writeError(w, http.StatusUnauthorized, "unauthenticated", "a token for all tenants is needed", "sign in on the page, or send Authorization: Bearer <token>")
			return
		}
		next.ServeHTTP(w, r)
	})
}
