package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
)

func (b *bridge) Escalations(tenant string) []broker.Escalation {
	return []broker.Escalation{{Tenant: tenant, State: broker.StateWaiting}}
}

func (b *bridge) Escalation(_ context.Context, tenant, id string) (broker.Escalation, error) {
	if id != "e1" {
		return broker.Escalation{}, core.Errorf(core.CodeInvalid, "escalation", "there is no escalation %q: %w", id, store.ErrNotFound)
	}
	return broker.Escalation{Tenant: tenant}, nil
}

func (b *bridge) settleEscalation(tenant, id, by string) (broker.Escalation, error) {
	e, err := b.Escalation(context.Background(), tenant, id)
	e.By = by
	return e, err
}

func (b *bridge) TakeEscalation(_ context.Context, tenant, id, by string) (broker.Escalation, error) {
	return b.settleEscalation(tenant, id, by)
}

func (b *bridge) CloseEscalation(_ context.Context, tenant, id, by, _ string) (broker.Escalation, error) {
	return b.settleEscalation(tenant, id, by)
}

func (b *bridge) ReleaseEscalation(_ context.Context, tenant, id, by, _ string) (broker.Escalation, error) {
	return b.settleEscalation(tenant, id, by)
}

func TestEscalations_AreATenantsOwnAndSayWhoActs(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	for _, tc := range []struct {
		name, method, path, body, token string
		want                            int
		has                             string
	}{
		{"list, one's own", "GET", "/api/v1/escalations", "", tenantToken, http.StatusOK, `"tenant": "acme"`},
		{"list another's", "GET", "/api/v1/escalations?tenant=other", "", tenantToken, http.StatusNotFound, "no such tenant"},
		{"list without a token", "GET", "/api/v1/escalations", "", "", http.StatusUnauthorized, ""},
		{"show", "GET", "/api/v1/escalations/e1", "", tenantToken, http.StatusOK, `"tenant": "acme"`},
		{"show none", "GET", "/api/v1/escalations/e2", "", tenantToken, http.StatusNotFound, "no escalation"},
		{"take", "POST", "/api/v1/escalations/e1/take", `{"by":"ana"}`, tenantToken, http.StatusOK, `"by": "ana"`},
		{"close", "POST", "/api/v1/escalations/e1/close", `{"by":"ana","note":"x"}`, tenantToken, http.StatusOK, `"by": "ana"`},
		{"release", "POST", "/api/v1/escalations/e1/release", `{"by":"ana"}`, tenantToken, http.StatusOK, `"by": "ana"`},
		{"nobody", "POST", "/api/v1/escalations/e1/close", `{}`, tenantToken, http.StatusBadRequest, "by:"},
		{"something else", "POST", "/api/v1/escalations/e1/eat", `{"by":"ana"}`, tenantToken, http.StatusNotFound, "openapi.json says what is"},
		{"without a token", "POST", "/api/v1/escalations/e1/close", `{"by":"ana"}`, "", http.StatusUnauthorized, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := call{method: tc.method, path: tc.path, body: tc.body, token: tc.token}.do(t, h)
			if w.Code != tc.want || !strings.Contains(w.Body.String(), tc.has) {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
		})
	}
}
