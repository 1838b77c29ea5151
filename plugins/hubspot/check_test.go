package hubspot_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestInfo_FitsTheContract(t *testing.T) {
	info := hubspot.New().Info()
	if !core.TenantPattern.MatchString(info.Name) || info.MaxBatch != 100 || !info.Idempotency.Safe() {
		t.Errorf("got %+v", info)
	}
}

func TestCheck_MakesThePropertiesOnce(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	if err := b.check(); err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, call := range b.calls() {
		if strings.HasPrefix(call, "POST ") && !strings.HasSuffix(call, "/search") {
			made++
		}
	}
	if made != 11 { // five on contacts, four on communications, and a group each
		t.Errorf("%d things made, want 11: %q", made, b.calls())
	}
	b.clear()
	if err := b.check(); err != nil {
		t.Fatal(err)
	}
	for _, call := range b.calls() {
		if !strings.HasPrefix(call, "GET ") && !strings.HasSuffix(call, "/search") {
			t.Errorf("a second check made a %s", call)
		}
	}
}

func TestCheck_MayRunManyTimesAtOnce(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	var wait sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wait.Go(func() { errs[i] = b.check() })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestCheck_NamesWhatToChange(t *testing.T) {
	for _, c := range []struct {
		name     string
		options  hubspotsim.Options
		settings string
		prepare  func(*bench)
		code     core.Code
		wants    string // in the message or the hint
	}{
		{"wrong token", hubspotsim.Options{Tokens: []string{"another"}}, "", nil, core.CodeUnauthenticated, "secret token"},
		{"no token", hubspotsim.Options{}, "", func(b *bench) { b.account.Secrets = map[string]core.Secret{} }, core.CodeUnauthenticated, "secret token"},
		{"no scope to read", hubspotsim.Options{Scopes: []string{hubspotsim.ScopeSchemaRead}}, "", nil, core.CodeForbidden, hubspotsim.ScopeRead},
		{"no scope to make properties", hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead, hubspotsim.ScopeWrite, hubspotsim.ScopeSchemaRead}}, "",
			nil, core.CodeForbidden, hubspotsim.ScopeSchemaWrite},
		{"a contact key without unique values", hubspotsim.Options{}, `{"contact_key":"company"}`, nil, core.CodeForbidden, "contact_key"},
		{"a message key without unique values", hubspotsim.Options{}, `{"message_key":"hs_communication_body"}`, nil, core.CodeForbidden, "message_key"},
		{"no unique properties on communications", hubspotsim.Options{NoUniqueActivities: true}, "", nil, core.CodeForbidden, `log_messages = "none"`},
		{"properties must not be made", hubspotsim.Options{}, `{"create_properties":false}`, nil, core.CodeForbidden, "create_properties"},
		{"unknown setting", hubspotsim.Options{}, `{"api_verson":"v3"}`, nil, core.CodeInvalid, "did you mean api_version?"},
		{"HubSpot is down", hubspotsim.Options{}, "", func(b *bench) {
			b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503})
		}, core.CodeUnavailable, "503"},
		{"too many unique properties", hubspotsim.Options{}, "", func(b *bench) {
			for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
				b.sim.AddProperty("contacts", hubspotsim.Property{Name: name, Type: "string", HasUniqueValue: true})
			}
		}, core.CodeForbidden, "contact_key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, c.options, c.settings, nil)
			if c.prepare != nil {
				c.prepare(b)
			}
			err := b.check()
			e := core.AsError(err)
			if e == nil || e.Code != c.code || !strings.Contains(e.Message+" "+e.Hint, c.wants) {
				t.Fatalf("got %+v, want %s and %q", e, c.code, c.wants)
			}
			if strings.Contains(e.Error()+e.Hint, token) {
				t.Errorf("the token is in the error: %v", e)
			}
		})
	}
}

func TestCheck_SaysNothingWhenAllIsWell(t *testing.T) {
	b := start(t, hubspotsim.Options{NoUniqueActivities: true}, `{"log_messages":"none"}`, nil)
	if err := b.check(); err != nil {
		t.Fatalf("got %#v, want nil", err)
	}
}

func TestCheck_NoConnection(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.connector.Check(ctx, b.account); core.CodeOf(err) != core.CodeUnknownOutcome && core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestSettings_AreChecked(t *testing.T) {
	for _, c := range []struct{ settings, wants string }{
		{`{"base_url":"http://api.hubapi.com"}`, "base_url"},
		{`{"base_url":"ftp://127.0.0.1"}`, "base_url"},
		{`{"base_url":"https://user:pw@api.hubapi.com"}`, "base_url"},
		{`{"base_url":"api.hubapi.com"}`, "base_url"},
		{`{"base_url":"http://127.0.0.1.evil.example"}`, "base_url"},
		{`{"api_version":"2025-09"}`, "api_version"},
		{`{"timeout":"10ms"}`, "timeout"},
		{`{"timeout":"soon"}`, "timeout"},
		{`{"log_messages":"inbox"}`, "log_messages"},
		{`{"on_conflict":"steal"}`, "on_conflict"},
		{`{"owner_id":"bob"}`, "owner_id"},
		{`{"contact_key":""}`, "contact_key"},
		{`{"contact_key":"Wa Id"}`, "contact_key"},
		{`{"bsuid_property":"wabridge_contact_id"}`, "bsuid_property"},
		{`{"contact_fields":{"tier":"wa_bsuid"}}`, "contact_fields.tier"},
		{`{"create_properties":"yes"}`, "create_properties"},
		{`{"messagekey":"x"}`, "message_key"},
		{`{"something_else_entirely":1}`, "settings are"},
		{`[]`, "object"},
	} {
		t.Run(c.settings, func(t *testing.T) {
			account := core.Account{Settings: []byte(c.settings), Secrets: map[string]core.Secret{"token": token}}
			e := core.AsError(hubspot.New().Check(t.Context(), account))
			if e == nil || e.Code != core.CodeInvalid || !strings.Contains(e.Message+" "+e.Hint, c.wants) {
				t.Errorf("got %+v, want invalid, naming %s", e, c.wants)
			}
		})
	}
}
