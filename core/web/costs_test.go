package web

import (
	"context"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/broker"
)

func (b *bridge) Costs(_ context.Context, q broker.CostQuery) (broker.CostPage, error) {
	return broker.CostPage{Lines: []broker.CostLine{{Day: q.From, Category: "marketing", Currency: "EUR", Cost: broker.Cost{Messages: 2, Low: 50_100, High: 100_000}}}, Next: q.Tenant + q.To + q.Campaign + q.After}, nil
}

func TestCosts_AreMoneyAsDecimals(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	got := call{method: "GET", path: "/api/v1/costs?from=2026-11-01&to=2026-11-30&campaign=spring&after=x", token: ownerToken}.do(t, h)
	for _, want := range []string{`"low": "0.0501"`, `"high": "0.10"`, `"next": "acme2026-11-30springx"`} {
		if got.Code != 200 || !strings.Contains(got.Body.String(), want) {
			t.Errorf("%d, no %s in %s", got.Code, want, got.Body)
		}
	}
}
