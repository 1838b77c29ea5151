package config_test

import "testing"

func TestLoad_TakesOnlyACountryAsRegion(t *testing.T) {
	files := func(region string) map[string]string {
		return map[string]string{"wabridge.toml": smallMain, "tenants/a/tenant.toml": "region = \"" + region + "\"\n" + smallTenant}
	}
	if got := load(t, files("TW"), options()).Tenants[0].Region; got != "TW" {
		t.Errorf("the region is %q", got)
	}
	want := "tenants/a/tenant.toml: region: \"UK\" is no country: want two letters of ISO 3166, such as TW (the United Kingdom is GB)"
	if got := problems(t, files("UK"), options()); got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
}
