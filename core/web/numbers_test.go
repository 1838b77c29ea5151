package web

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

func (b *bridge) Numbers(tenant string) []broker.NumberStatus {
	return []broker.NumberStatus{{Tenant: tenant, Number: "7", Trouble: whatsapp.TroubleBanned, GoesBy: "8"}}
}

func (b *bridge) Number(_ context.Context, tenant, number string, fresh bool) (broker.NumberStatus, error) {
	if number != "7" {
		return broker.NumberStatus{}, core.Errorf(core.CodeInvalid, "number", "no %s: %w", number, store.ErrNotFound)
	}
	return broker.NumberStatus{Tenant: tenant, Number: number, Why: fmt.Sprint("fresh: ", fresh)}, nil
}

func TestNumbers_AreShownToTheirTenant(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	for _, test := range []struct {
		path   string
		status int
		says   string
	}{
		{"/api/v1/numbers", 200, `"goes_by": "8"`},
		{"/api/v1/numbers?tenant=other", 404, "no such tenant"},
		{"/api/v1/numbers/7", 200, `"why": "fresh: false"`},
		{"/api/v1/numbers/7?fresh=true", 200, `"why": "fresh: true"`},
		{"/api/v1/numbers/9", 404, "no 9"},
	} {
		got := call{method: "GET", path: test.path, token: tenantToken}.do(t, h)
		if got.Code != test.status || !strings.Contains(got.Body.String(), test.says) {
			t.Errorf("%s: %d %s", test.path, got.Code, got.Body)
		}
	}
}
