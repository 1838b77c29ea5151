package web

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store/boltstore"
)

// withTokens returns options with tokens that are kept.
func withTokens(t *testing.T, b *bridge, listen string) Options {
	t.Helper()
	st, err := boltstore.Open(t.TempDir(), boltstore.Options{MinFree: -1, BallastSize: -1, UnsafeNoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	o := options(b, listen)
	o.Access, err = access.New(t.Context(), st, []access.Configured{{Name: "owner", Secret: ownerToken}, {Name: "acme", Tenant: "acme", Secret: tenantToken}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// whole is a bridge that answers everything.
func whole() *bridge {
	return &bridge{
		send:    func(broker.SendRequest) (broker.SendReceipt, error) { return broker.SendReceipt{ID: "x"}, nil },
		why:     func(string, string) (broker.Story, error) { return broker.Story{Steps: []broker.Step{}}, nil },
		decided: func(broker.DecisionQuery) (broker.DecisionPage, error) { return broker.DecisionPage{}, nil },
		letters: map[string]broker.DeadLetter{"d1": {ID: "d1", Tenant: "acme", Reason: core.Error{Code: core.CodeInvalid}}},
	}
}

// pathOf is a path that a route serves.
func pathOf(r route) string {
	id := "e1"
	switch {
	case strings.Contains(r.path, "/dead/"):
		id = "d1"
	case strings.Contains(r.path, "/subscriptions/"):
		id = "sub-1"
	}
	return strings.NewReplacer("{id...}", id, "{id}", id, "{who}", "c1", "{name}", "info").Replace(r.path)
}

func TestRoutes_AreOpenToTokensWithTheirScopeOnly(t *testing.T) {
	b := whole()
	s := New(withTokens(t, b, "0.0.0.0:8080"))
	h := s.Handler()
	tokens := map[access.Scope]string{}
	for _, scope := range access.Scopes() {
		n, err := s.o.Access.Make(t.Context(), access.Request{Name: string(scope), Scopes: []access.Scope{scope}})
		if err != nil {
			t.Fatal(err)
		}
		tokens[scope] = n.Secret
	}
	served := map[access.Scope]bool{access.Admin: true}
	for _, r := range s.routes() {
		if !slices.Contains(access.Scopes(), r.scope) {
			t.Errorf("%s %s has no scope", r.method, r.path)
		}
		served[r.scope] = true
		body := ""
		if r.body != nil {
			body = "{}"
		}
		switch r.id {
		case "importContacts":
			body = `{"people":[{}]}`
		case "correctContacts":
			body = `{"contacts":[{}]}`
		}
		ask := func(token string) int {
			return call{method: r.method, path: pathOf(r), body: body, key: "k", token: token}.do(t, h).Code
		}
		for scope, token := range tokens {
			status := ask(token)
			refused := status == http.StatusForbidden || r.look && status == http.StatusUnauthorized
			if may := scope == r.scope || scope == access.Admin; refused == may || status == http.StatusUnauthorized && !r.look || status >= 500 {
				t.Errorf("%s %s with the scope %s: %d", r.method, r.path, scope, status)
			}
		}
		for _, token := range []string{"", "wab_wrong"} {
			if status := ask(token); status != http.StatusUnauthorized {
				t.Errorf("%s %s with the token %q: %d", r.method, r.path, token, status)
			}
		}
	}
	for _, scope := range access.Scopes() {
		if !served[scope] {
			t.Errorf("nothing needs the scope %s", scope)
		}
	}
}

func TestTokens_OfATenantMakeNoneForOthers(t *testing.T) {
	var logged bytes.Buffer
	o := withTokens(t, whole(), "127.0.0.1:8080")
	o.Log = slog.New(slog.NewTextHandler(&logged, nil))
	h := New(o).Handler()
	post := func(token, body string) (int, access.NewToken) {
		w := call{method: "POST", path: "/api/v1/tokens", body: body, token: token}.do(t, h)
		var n access.NewToken
		if w.Code == http.StatusCreated && json.Unmarshal(w.Body.Bytes(), &n) != nil {
			t.Errorf("answered %s", w.Body)
		}
		return w.Code, n
	}
	if code, _ := post(tenantToken, `{"name":"a","tenant":"other","scopes":["admin"]}`); code != http.StatusNotFound {
		t.Errorf("for another tenant: %d", code)
	}
	if code, _ := post(ownerToken, `{"name":"a","tenant":"nobody","scopes":["admin"]}`); code != http.StatusNotFound {
		t.Errorf("for no tenant: %d", code)
	}
	code, n := post(tenantToken, `{"name":"a","scopes":["messages:send"]}`)
	if code != http.StatusCreated || n.Tenant != "acme" || n.By != "acme" || n.Secret == "" || strings.Contains(logged.String(), n.Secret) {
		t.Errorf("%d %+v", code, n)
	}
	if got := (call{method: "GET", path: "/api/v1/tokens", token: tenantToken}).do(t, h); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), n.ID) || strings.Contains(got.Body.String(), n.Secret) {
		t.Errorf("listed: %d %s", got.Code, got.Body)
	}
	if got := (call{method: "DELETE", path: "/api/v1/tokens/" + n.ID, token: tenantToken}).do(t, h); got.Code != http.StatusOK {
		t.Errorf("revoked: %d %s", got.Code, got.Body)
	}
	if got := (call{method: "POST", path: "/api/v1/messages", body: `{"tenant":"acme"}`, key: "k", token: n.Secret}).do(t, h); got.Code != http.StatusUnauthorized {
		t.Errorf("after that: %d", got.Code)
	}
}

func TestSubscriptions_AreATenantsOwn(t *testing.T) {
	h := New(options(whole(), "127.0.0.1:8080")).Handler()
	for _, tc := range []struct {
		name, method, path, body string
		want                     int
		has                      string
	}{
		{"made", "POST", "/api/v1/subscriptions", `{"url":"https://a.example"}`, http.StatusCreated, `"by": "token acme"`},
		{"for another", "POST", "/api/v1/subscriptions", `{"tenant":"other","url":"https://a.example"}`, http.StatusNotFound, "no such tenant"},
		{"misspelt", "POST", "/api/v1/subscriptions", `{"uri":"https://a.example"}`, http.StatusBadRequest, "uri"},
		{"listed", "GET", "/api/v1/subscriptions", "", http.StatusOK, `"tenant": "acme"`},
		{"another's listed", "GET", "/api/v1/subscriptions?tenant=other", "", http.StatusNotFound, "no such tenant"},
		{"shown", "GET", "/api/v1/subscriptions/sub-1", "", http.StatusOK, `"id": "sub-1"`},
		{"changed", "PATCH", "/api/v1/subscriptions/sub-1", `{"state":"paused"}`, http.StatusOK, `"id": "sub-1"`},
		{"rotated", "POST", "/api/v1/subscriptions/sub-1/rotate", `{"overlap":"1h"}`, http.StatusOK, "whsec_y"},
		{"rotated backwards", "POST", "/api/v1/subscriptions/sub-1/rotate", `{"overlap":"-1h"}`, http.StatusBadRequest, "overlap"},
		{"tested", "POST", "/api/v1/subscriptions/sub-1/test", "", http.StatusOK, `"delivered": true`},
		{"looked into", "GET", "/api/v1/subscriptions/sub-1/events?after=m1", "", http.StatusOK, `"next": "m1"`},
		{"removed", "DELETE", "/api/v1/subscriptions/sub-1", "", http.StatusOK, `"removed": "sub-1"`},
		{"none removed", "DELETE", "/api/v1/subscriptions/sub-2", "", http.StatusNotFound, string(core.CodeInvalid)},
	} {
		if w := (call{method: tc.method, path: tc.path, body: tc.body, token: tenantToken}).do(t, h); w.Code != tc.want || !strings.Contains(w.Body.String(), tc.has) {
			t.Errorf("%s: answered %d %s", tc.name, w.Code, w.Body)
		}
	}
}
