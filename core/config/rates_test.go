package config_test

import (
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/rate"
)

func TestLoad_ReadsRateCards(t *testing.T) {
	cfg := load(t, map[string]string{
		"wabridge.toml":         smallMain,
		"tenants/a/tenant.toml": smallTenant + "[policy]\nzone = \"Europe/Madrid\"\n[[rates]]\neffective_from = \"2026-10-01\"\ncard = \"c.csv\"\ntiers = \"t.csv\"\nmarkets = \"m.csv\"\n",
		"tenants/a/c.csv":       "Market,Currency,Utility\nOther,EUR,0.05\nSouth,EUR,0.02\n",
		"tenants/a/m.csv":       "Country,Name,Market\nES,Spain,South\n",
		"tenants/a/t.csv":       "Market,Category,From,To,Rate\nSouth,Utility,1000,,0.01\n",
	}, options())
	m := rate.Message{Country: "ES", Category: rate.Utility, At: time.Date(2026, 9, 30, 22, 0, 0, 0, time.UTC)} // midnight in Madrid
	if got := cfg.Tenants[0].Book.Price(m); got.Unknown != "" || got.Low != 10_000 || got.High != 20_000 {
		t.Errorf("%+v", got)
	}
	m.At = m.At.Add(-1)
	if got := cfg.Tenants[0].Book.Price(m); got.Unknown == "" {
		t.Errorf("the day before: %+v", got)
	}
}
