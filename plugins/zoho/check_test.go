package zoho_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestInfo_FitsTheContract(t *testing.T) {
	info := zoho.New().Info()
	if !core.TenantPattern.MatchString(info.Name) || info.MaxBatch != 100 || !info.Idempotency.Safe() {
		t.Errorf("got %+v", info)
	}
}

func TestCheck_MakesTheFieldsOnce(t *testing.T) {
	b := start(t, zohosim.Options{Bare: true}, `{"mode":"notes"}`, nil)
	var wait sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wait.Go(func() { errs[i] = b.check() })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	b.mustCheck()
	if err := b.check(); err != nil {
		t.Fatal(err)
	}
	for _, call := range b.calls() {
		if strings.HasPrefix(call, "POST /crm/v8/settings") {
			t.Errorf("a second check made a %s", call)
		}
	}
	b.done(received(1), escalated(2, core.KindEscalation))
}

func TestCheck_NamesWhatToChange(t *testing.T) {
	for _, c := range []struct {
		name     string
		options  zohosim.Options
		settings string
		prepare  func(*bench)
		code     core.Code
		wants    []string // in the message or the hint
	}{
		{"no module for messages", zohosim.Options{NoMessages: true}, "", nil, core.CodeForbidden,
			[]string{"WhatsApp_Messages", "WA_Message_ID (single line, 255 characters, no duplicate values)", `settings.mode = "notes"`}},
		{"a module without fields", zohosim.Options{}, `{"message_module":"Chats","create_fields":false}`, func(b *bench) { b.sim.AddModule("Chats") }, core.CodeForbidden,
			[]string{"Body (multi-line, large, 32000 characters)", "Contact (lookup to Contacts)", "create_fields"}},
		{"a lookup is made by hand", zohosim.Options{}, `{"message_module":"Chats"}`, func(b *bench) { b.sim.AddModule("Chats") }, core.CodeForbidden,
			[]string{"Contact (lookup to Contacts)"}},
		{"a contact key that allows doubles", zohosim.Options{}, `{"contact_key":"Mailing_City"}`, nil, core.CodeForbidden,
			[]string{"settings.contact_key", "Do not allow duplicate values"}},
		{"fields must not be made", zohosim.Options{Bare: true}, `{"create_fields":false}`, nil, core.CodeForbidden, []string{"WA_Contact_ID", "create_fields"}},
		{"a mapped field that is not there", zohosim.Options{}, `{"contact_fields":{"tier":"Tier"}}`, nil, core.CodeForbidden, []string{"Tier", "contact_fields.tier"}},
		{"no scope for fields", zohosim.Options{Scopes: []string{zohosim.ScopeContacts}}, "", nil, core.CodeForbidden, []string{"ZohoCRM.settings.fields"}},
		{"no scope for queries", zohosim.Options{Scopes: []string{zohosim.ScopeFields, zohosim.ScopeContacts}}, "", nil, core.CodeForbidden, []string{"ZohoCRM.coql.READ"}},
		{"a token that is over", zohosim.Options{}, "", func(b *bench) { b.sim.ExpireTokens() }, core.CodeUnauthenticated, []string{"refresh_token"}},
		{"Zoho is down", zohosim.Options{}, "", func(b *bench) {
			b.sim.Inject(zohosim.Fault{Kind: zohosim.FaultStatus, Status: 503})
		}, core.CodeUnavailable, []string{"503"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, c.options, c.settings, nil)
			if c.prepare != nil {
				c.prepare(b)
			}
			e := core.AsError(b.check())
			if e == nil || e.Code != c.code {
				t.Fatalf("got %+v, want %s", e, c.code)
			}
			for _, part := range c.wants {
				if !strings.Contains(e.Message+" "+e.Hint, part) {
					t.Errorf("%q is not in %q, %q", part, e.Message, e.Hint)
				}
			}
		})
	}
}

func TestSettings_AreChecked(t *testing.T) {
	for _, c := range []struct{ settings, wants string }{
		{`{"api_url":"http://www.zohoapis.com"}`, "api_url"},
		{`{"accounts_url":"https://u:p@accounts.zoho.com"}`, "accounts_url"},
		{`{"data_centre":"us"}`, "data_centre"},
		{`{"timeout":"10ms"}`, "timeout"},
		{`{"concurrency":0}`, "concurrency"},
		{`{"sub_concurrency":0}`, "sub_concurrency"},
		{`{"mode":"inbox"}`, "mode"},
		{`{"on_conflict":"steal"}`, "on_conflict"},
		{`{"erase":"maybe"}`, "erase"},
		{`{"escalations":"calls"}`, "escalations"},
		{`{"region":"Spain"}`, "region"},
		{`{"owners":{"sales":"bob"}}`, "owners.sales"},
		{`{"contact_key":""}`, "contact_key"},
		{`{"message_key":"WA id"}`, "message_key"},
		{`{"adopt_fields":["Phone or 1=1"]}`, "adopt_fields"},
		{`{"bsuid_field":"WA_Contact_ID"}`, "bsuid_field"},
		{`{"contact_fields":{"tier":"WA_BSUID"}}`, "contact_fields.tier"},
		{`{"create_fields":"yes"}`, "create_fields"},
		{`{"send_error_field":"Why"}`, "send_error_field"},
		{`{"send_module":"Out","send_status_field":"Body"}`, "send_status_field"},
		{`{"send_module":"Out","send_status_field":"Status","send_error_field":"Phone"}`, "send_error_field"},
		{`{"messagekey":"x"}`, "did you mean message_key?"},
		{`[]`, "object"},
	} {
		account := core.Account{Settings: []byte(c.settings), Secrets: secrets}
		e := core.AsError(zoho.New().Check(t.Context(), account))
		if e == nil || e.Code != core.CodeInvalid || !strings.Contains(e.Message+" "+e.Hint, c.wants) {
			t.Errorf("%s: got %+v, want invalid, naming %s", c.settings, e, c.wants)
		}
	}
}
