package web

import (
	"context"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
)

func (b *bridge) Limits(_ context.Context, tenant, event string) (broker.LimitReport, error) {
	if event == "unknown" {
		return broker.LimitReport{}, core.Errorf(core.CodeInvalid, "limits", "nothing: %w", store.ErrNotFound)
	}
	return broker.LimitReport{Limits: []broker.LimitStatus{{Tenant: tenant, Limit: broker.LimitPlan}}, Event: &broker.EventWait{ID: event, State: "waits"}}, nil
}

func TestLimits_AreThoseOfTheTokensTenant(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	for _, c := range []struct {
		path, token string
		status      int
		want        string
	}{
		{"/api/v1/limits?event=e1", tenantToken, 200, `"tenant": "acme"`},
		{"/api/v1/limits?event=e1", ownerToken, 200, `"id": "e1"`},
		{"/api/v1/limits?tenant=bolt", tenantToken, 404, "not_found"},
		{"/api/v1/limits?event=unknown", ownerToken, 404, "nothing"},
		{"/api/v1/limits", "", 401, "unauthenticated"},
	} {
		if got := (call{method: "GET", path: c.path, token: c.token}).do(t, h); got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s with %q: %d %s", c.path, c.token, got.Code, got.Body)
		}
	}
}
