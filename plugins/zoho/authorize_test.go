package zoho_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestAuthorize_ReadsTheBodyAndNotTheStatus(t *testing.T) {
	known := zohosim.Options{ClientID: "1000.CLIENT", ClientSecret: "very-secret", RefreshToken: "1000.refresh"}
	for _, c := range []struct {
		name    string
		options zohosim.Options
		secret  string // that is wrong
		hint    string
		code    core.Code
		fault   *zohosim.Fault
	}{
		{name: "a revoked refresh token", options: known, secret: "refresh_token", code: core.CodeUnauthenticated, hint: "secret refresh_token"},
		{name: "a wrong client", options: known, secret: "client_id", code: core.CodeUnauthenticated, hint: "secret client_id"},
		{name: "a wrong client secret", options: known, secret: "client_secret", code: core.CodeUnauthenticated, hint: "secret client_secret"},
		{name: "a page in place of an answer", options: known, code: core.CodeUnavailable, fault: &zohosim.Fault{Kind: zohosim.FaultGarbage}},
		{name: "no answer", options: known, code: core.CodeUnavailable, fault: &zohosim.Fault{Kind: zohosim.FaultDrop}},
		{name: "a failure", options: known, code: core.CodeUnavailable, fault: &zohosim.Fault{Kind: zohosim.FaultStatus, Status: 500}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, c.options, "", nil)
			account := b.account
			account.Secrets = map[string]core.Secret{}
			for name, s := range secrets {
				if account.Secrets[name] = s; name == c.secret {
					account.Secrets[name] = "wrong"
				}
			}
			if c.fault != nil {
				b.sim.Inject(*c.fault)
			}
			_, err := b.connector.Authorize(t.Context(), account)
			e := core.AsError(err)
			if e == nil || e.Code != c.code || !strings.Contains(e.Hint, c.hint) || strings.Contains(e.Error()+e.Hint, "very-secret") {
				t.Errorf("got %+v, want %s, hinting at %q", e, c.code, c.hint)
			}
		})
	}
	b := start(t, known, "", nil)
	b.account.Secrets = map[string]core.Secret{"client_id": "1000.CLIENT", "client_secret": "very-secret"}
	if _, err := b.connector.Authorize(t.Context(), b.account); core.CodeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Error(), "refresh_token") {
		t.Errorf("without a refresh token: %v", err)
	}
}

func TestAuthorize_WaitsWhenZohoGivesNoMoreTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, zohosim.Options{TokensIn10Min: 2}, "", nil)
		if _, err := b.connector.Authorize(t.Context(), b.account); err != nil {
			t.Fatal(err)
		}
		_, err := b.connector.Authorize(t.Context(), b.account)
		e := core.AsError(err)
		if e == nil || e.Code != core.CodeRateLimited || e.RetryAfter != 10*time.Minute {
			t.Fatalf("got %+v, want rate limited for ten minutes", e)
		}
		time.Sleep(e.RetryAfter)
		token, err := b.connector.Authorize(t.Context(), b.account)
		if err != nil {
			t.Fatalf("after the wait: %v", err)
		}
		if left := time.Until(token.Expires); left != time.Hour {
			t.Errorf("the token expires in %v, want 1h", left)
		}
	})
}

func TestAuthorize_DoesNotFollowTheAddressInTheAnswer(t *testing.T) {
	for domain, hint := range map[string]string{
		"https://www.zohoapis.eu":  `settings.data_centre = "eu"`,
		"https://evil.example.com": "settings.data_centre",
	} {
		b := start(t, zohosim.Options{APIDomain: domain}, "", nil) // with api_url set, it does not matter
		b.account.Settings = []byte(`{"accounts_url":"http://127.0.0.1","data_centre":"com"}`)
		_, err := b.connector.Authorize(t.Context(), b.account)
		if e := core.AsError(err); e == nil || e.Code != core.CodeUnauthenticated || !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: got %+v, want a hint at %s", domain, e, hint)
		}
	}
	b := start(t, zohosim.Options{APIDomain: "https://www.zohoapis.eu"}, "", nil)
	b.account.Settings = []byte(`{"accounts_url":"http://127.0.0.1","data_centre":"eu"}`)
	if _, err := b.connector.Authorize(t.Context(), b.account); err != nil {
		t.Errorf("the centre named: %v", err)
	}
}

func TestDeliver_SaysThatATokenIsOver(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil).mustCheck()
	b.sim.ExpireTokens()
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnauthenticated})
	token, err := b.connector.Authorize(t.Context(), b.account)
	if err != nil {
		t.Fatal(err)
	}
	b.account.Token = &token
	b.done(received(1))
	b.account.Token = &core.Token{}
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": core.CodeUnauthenticated})
}
