package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/broker"
)

func TestDecisions_AreATenantsOwnInPages(t *testing.T) {
	var asked []broker.DecisionQuery
	b := &bridge{decided: func(q broker.DecisionQuery) (broker.DecisionPage, error) {
		asked = append(asked, q)
		return broker.DecisionPage{Steps: []json.RawMessage{json.RawMessage(`{"event":"x"}`)}, Next: 7}, nil
	}}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	w := call{method: "GET", path: "/api/v1/decisions?from=2026-03-01T00:00:00Z&after=3&limit=99999", token: tenantToken}.do(t, h)
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != `{"steps":[{"event":"x"}],"next":7}` {
		t.Errorf("answered %d %s", w.Code, got)
	}
	want := broker.DecisionQuery{Tenant: "acme", From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), After: 3, Limit: maxDecisions}
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	for path, want := range map[string]int{
		"/api/v1/decisions?tenant=other":     http.StatusNotFound,
		"/api/v1/decisions?from=last-monday": http.StatusBadRequest,
	} {
		if w := (call{method: "GET", path: path, token: tenantToken}).do(t, h); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := (call{method: "GET", path: "/api/v1/decisions"}).do(t, h); w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", w.Code)
	}
}
