package salesforce_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// authorize asks for a token with secrets.
func (b *bench) authorize(secrets map[string]core.Secret) (core.Token, *core.Error) {
	b.account.Secrets = secrets
	token, err := b.connector.Authorize(b.t.Context(), b.account)
	return token, core.AsError(err)
}

func TestAuthorize_SignsInInThreeWays(t *testing.T) {
	for _, c := range []struct {
		settings string
		secrets  map[string]core.Secret
	}{
		{`{}`, map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}},
		{`{"audience":"test"}`, map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}},
		{`{"audience":"https://acme.my.site.com/help"}`, map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}},
		{`{"auth":"client_credentials","username":""}`, map[string]core.Secret{"client_secret": "app-secret"}},
		{`{"auth":"refresh_token","username":""}`, map[string]core.Secret{"refresh_token": "5Aep.first"}},
	} {
		b := start(t, salesforcesim.Options{ClientID: clientID, ClientSecret: "app-secret", Username: username, PublicKey: &privateKey(t).PublicKey, RefreshTokens: []string{"5Aep.first"},
			Audiences: []string{"https://login.salesforce.com", "https://test.salesforce.com", "https://acme.my.site.com/help"}}, c.settings)
		token, err := b.authorize(c.secrets)
		if err != nil {
			t.Errorf("%s: %v (%s)", c.settings, err, err.Hint)
			continue
		}
		if token.Values["instance_url"] != "http://127.0.0.1" || !token.Expires.IsZero() {
			t.Errorf("%s: got %+v", c.settings, token)
		}
		b.account.Token = &token
		b.mustDeliver(received(1))
	}
}

func TestAuthorize_SaysWhatToMend(t *testing.T) {
	key := map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}
	secret := map[string]core.Secret{"client_secret": "app-secret"}
	for name, c := range map[string]struct {
		settings string
		secrets  map[string]core.Secret
		wants    string // in the hint
	}{
		"no key":             {`{}`, nil, "private_key"},
		"no PEM":             {`{}`, map[string]core.Secret{"private_key": "not a key"}, "private_key"},
		"another key":        {`{}`, map[string]core.Secret{"private_key": privatePEM(t, otherKey(t))}, "certificate"},
		"another user":       {`{"username":"mallory@acme.example"}`, key, "permission set"},
		"another app":        {`{"client_id":"other"}`, key, "client_id"},
		"another audience":   {`{"audience":"https://elsewhere.example"}`, key, "audience"},
		"no secret":          {`{"auth":"client_credentials"}`, nil, "client_secret"},
		"another secret":     {`{"auth":"client_credentials"}`, map[string]core.Secret{"client_secret": "wrong"}, "client_id"},
		"no refresh token":   {`{"auth":"refresh_token"}`, secret, "refresh_token"},
		"void refresh token": {`{"auth":"refresh_token"}`, map[string]core.Secret{"refresh_token": "5Aep.void"}, "refresh_token"},
	} {
		b := start(t, salesforcesim.Options{ClientID: clientID, ClientSecret: "app-secret", Username: username, PublicKey: &privateKey(t).PublicKey, RefreshTokens: []string{"5Aep.first"}}, c.settings)
		_, err := b.authorize(c.secrets)
		if err == nil || err.Code != core.CodeUnauthenticated || !strings.Contains(err.Hint, c.wants) {
			t.Errorf("%s: got %+v, want unauthenticated and a hint with %q", name, err, c.wants)
		}
	}
}

func TestAuthorize_TellsTroublesFromRefusals(t *testing.T) {
	for _, c := range []struct {
		fault salesforcesim.Fault
		code  core.Code
	}{
		{salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: http.StatusServiceUnavailable}, core.CodeUnavailable},
		{salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: http.StatusTooManyRequests}, core.CodeRateLimited},
		{salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: http.StatusNotFound}, core.CodeForbidden},
		{salesforcesim.Fault{Kind: salesforcesim.FaultGarbage}, core.CodeUnavailable},
		{salesforcesim.Fault{Kind: salesforcesim.FaultLost}, core.CodeUnavailable},
		{salesforcesim.Fault{Kind: salesforcesim.FaultDrop}, core.CodeUnavailable},
	} {
		b := start(t, salesforcesim.Options{}, "")
		b.sim.Inject(c.fault)
		if _, err := b.authorize(map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}); err == nil || err.Code != c.code {
			t.Errorf("%+v: got %+v, want %s", c.fault, err, c.code)
		}
	}
}

func TestAuthorize_GoesOnWithTheRefreshTokenThatItGotLast(t *testing.T) {
	b := start(t, salesforcesim.Options{RefreshTokens: []string{"5Aep.first", "5Aep.signed-in-again"}, RotateRefresh: true}, `{"auth":"refresh_token"}`)
	b.account.Token = nil
	given := map[string]core.Secret{"refresh_token": "5Aep.first"}
	for range 3 {
		token, err := b.authorize(given)
		if err != nil {
			t.Fatal(err)
		}
		b.account.Token = &token
	}
	// A person signed in again, and the one kept is void.
	b.account.Token.Secrets["refresh"] = "5Aep.void"
	if _, err := b.authorize(map[string]core.Secret{"refresh_token": "5Aep.signed-in-again"}); err != nil {
		t.Error(err)
	}
}

func TestAuthorize_TakesTheTokenToSalesforceOnly(t *testing.T) {
	for _, c := range []struct {
		instance string
		good     bool
	}{
		{"https://acme.my.salesforce.com", true},
		{"https://acme--dev.sandbox.my.salesforce.com/", true},
		{"https://na1.salesforce.com", true},
		{"http://acme.my.salesforce.com", false},
		{"https://acme.my.salesforce.com.evil.example", false},
		{"https://evilsalesforce.com", false},
		{"https://acme.my.salesforce.com:8443", false},
		{"https://user@acme.my.salesforce.com", false},
		{"https://evil.example/.salesforce.com", false},
		{"https://evil.example?.salesforce.com", false},
		{"https://169.254.169.254", false},
		{"https://127.0.0.1:9999", false},
		{"", false},
		{"http://127.0.0.1", true}, // instance_host
	} {
		b := start(t, salesforcesim.Options{}, "")
		token, err := b.authorize(map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))})
		if err != nil {
			t.Fatal(err)
		}
		token.Values["instance_url"] = c.instance
		b.account.Token = &token
		b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: 503})
		got := b.deliver(received(1))["wamid.IN001"].Err
		if refused := got.Code == core.CodeForbidden; refused == c.good {
			t.Errorf("%q: got %v", c.instance, got)
		}
	}
	b := start(t, salesforcesim.Options{InstanceURL: "https://evil.example"}, "")
	if _, err := b.authorize(map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}); err == nil || err.Code != core.CodeForbidden {
		t.Errorf("got %v, want forbidden", err)
	}
}

func TestSim_VerifiesAssertions(t *testing.T) {
	b := start(t, salesforcesim.Options{PublicKey: &privateKey(t).PublicKey}, "")
	if _, err := b.authorize(map[string]core.Secret{"private_key": privatePEM(t, privateKey(t))}); err != nil {
		t.Fatal(err)
	}
	var claims struct{ Exp int64 }
	form := string(b.served.Requests()[0].Body)
	parts := strings.Split(form[strings.Index(form, "assertion=")+10:], ".")
	if err := json.Unmarshal(unbase64(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(time.Unix(claims.Exp, 0)); left <= 0 || left > 3*time.Minute {
		t.Errorf("the assertion holds for %v, want at most 3 minutes", left)
	}
}
