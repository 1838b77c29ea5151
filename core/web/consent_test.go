package web

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestConsent_IsChangedShownAndProvenWithinTheTokensTenant(t *testing.T) {
	b := &bridge{}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	body := `{"contact":"c1","level":"marketing","state":"granted","evidence":"form /join"}`
	for _, c := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"without a key", call{method: "POST", path: "/api/v1/consent", body: body, token: tenantToken}, http.StatusBadRequest, "Idempotency-Key"},
		{"without a token", call{method: "POST", path: "/api/v1/consent", body: body, key: "k"}, http.StatusUnauthorized, ""},
		{"another tenant", call{method: "POST", path: "/api/v1/consent", body: `{"tenant":"other","contact":"c1"}`, token: tenantToken, key: "k"}, http.StatusNotFound, ""},
		{"unknown name", call{method: "POST", path: "/api/v1/consent", body: `{"contcat":"c1"}`, token: tenantToken, key: "k"}, http.StatusBadRequest, "contcat"},
		{"granted", call{method: "POST", path: "/api/v1/consent", body: body, token: tenantToken, key: "k"}, http.StatusOK, `"contact": "c1"`},
		{"shown", call{method: "GET", path: "/api/v1/consent?contact=c1", token: tenantToken}, http.StatusOK, "no marketing consent"},
		{"nobody", call{method: "GET", path: "/api/v1/consent?contact=c2", token: tenantToken}, http.StatusNotFound, ""},
		{"proven", call{method: "GET", path: "/api/v1/consent/proof?contact=c1", token: tenantToken}, http.StatusOK, `"whole": true`},
		{"released", call{method: "POST", path: "/api/v1/conversations/release", body: `{"conversation":"1:c1","by":"maria"}`, token: tenantToken}, http.StatusOK, "1:c1"},
	} {
		w := c.call.do(t, h)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if len(b.consents) != 1 || b.consents[0].Tenant != "acme" || b.consents[0].Key != "k" || b.consents[0].By != "token acme" || b.consents[0].Evidence != "form /join" {
		t.Errorf("asked for %+v", b.consents)
	}
	if !slices.Equal(b.released, []string{"acme 1:c1 maria"}) {
		t.Errorf("released %q", b.released)
	}
}
