package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/broker"
)

func (b *bridge) Correct(_ context.Context, r broker.CorrectionRequest) ([]broker.CorrectionReceipt, error) {
	return []broker.CorrectionReceipt{{ID: "fix-" + r.Tenant + "-" + r.From + "-" + r.Contacts[0].Contact}}, nil
}

func TestCorrections_AreForTheTokensTenant(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	const body = `"from":"f1","to":"t1","contacts":[{"contact":"c1","changes":[{"what":"tag","name":"x","was":true,"want":false}]}]}`
	for _, c := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"without a token", call{method: "POST", path: "/api/v1/corrections", body: `{` + body}, http.StatusUnauthorized, ""},
		{"another tenant", call{method: "POST", path: "/api/v1/corrections", body: `{"tenant":"other",` + body, token: tenantToken}, http.StatusNotFound, ""},
		{"its own", call{method: "POST", path: "/api/v1/corrections", body: `{` + body, token: tenantToken}, http.StatusOK, `"id": "fix-acme-f1-c1"`},
		{"nonsense", call{method: "POST", path: "/api/v1/corrections", body: `{"form":1}`, token: tenantToken}, http.StatusBadRequest, ""},
	} {
		w := c.call.do(t, h)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
}
