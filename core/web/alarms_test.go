package web

import (
	"context"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
)

func (b *bridge) Alarms(tenant string) []broker.Alarm {
	return []broker.Alarm{{ID: "security@100", Tenant: tenant, Level: "critical", Text: "the PIN was changed"}}
}

func (b *bridge) SettleAlarm(_ context.Context, tenant, id, by string) error {
	if id != "security@100" {
		return core.Errorf(core.CodeInvalid, "settle alarm", "none: %w", store.ErrNotFound)
	}
	b.released = append(b.released, tenant+" "+id+" "+by)
	return nil
}

func TestAlarms_AreListedAndSettledWithinTheTokensTenant(t *testing.T) {
	b := &bridge{}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	got := call{method: "GET", path: "/api/v1/alarms?tenant=acme", token: ownerToken}.do(t, h)
	if got.Code != 200 || !strings.Contains(got.Body.String(), "the PIN was changed") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	for _, tc := range []struct {
		body   string
		status int
	}{
		{`{"id":"security@100","by":"Ana"}`, 200},
		{`{"id":"security@100"}`, 400},
		{`{"by":"Ana"}`, 400},
		{`{"id":"security@101","by":"Ana","tenant":"acme"}`, 404},
		{`{"id":"security@100","by":"Ana","tenant":"another"}`, 404},
	} {
		got := call{method: "POST", path: "/api/v1/alarms/settle", token: tenantToken, body: tc.body}.do(t, h)
		if got.Code != tc.status {
			t.Errorf("%s: %d %s, want %d", tc.body, got.Code, got.Body, tc.status)
		}
	}
	if len(b.released) != 1 || b.released[0] != "acme security@100 Ana" {
		t.Errorf("settled %q", b.released)
	}
}
