package customhttp_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

const (
	appSecret    = "app:secret/very+long%"
	firstRefresh = "refresh-of-the-owner"
)

// app is an account at an API that gives tokens.
func app(t testing.TB, grant string, more table, instead http.Handler) *bench {
	t.Helper()
	auth := table{"type": "oauth2", "grant": grant, "client_id": "app 1", "token_url": "http://crm.test/oauth/token"}
	maps.Copy(auth, more)
	b := start(t, customhttpsim.Options{ClientID: "app 1", ClientSecret: appSecret, RefreshToken: firstRefresh, TokenLife: time.Hour},
		notes("none", table{"auth": auth}), instead)
	b.account.Secrets = map[string]core.Secret{"client_secret": appSecret, "refresh_token": firstRefresh}
	return b
}

// signIn does what the bridge does with a token.
func (b *bench) signIn() error {
	token, err := b.connector.Authorize(b.t.Context(), b.account)
	if err == nil {
		b.account.Token = &token
	}
	return err
}

func TestAuthorize_GetsATokenThatTheAPITakes(t *testing.T) {
	for _, grant := range []string{"client_credentials", "refresh_token"} {
		for _, client := range []string{"form", "basic"} {
			t.Run(grant+" "+client, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := app(t, grant, table{"client": client, "scope": "notes", "params": table{"audience": "crm"}}, nil)
					if err := b.one(received(1)); codeOf(err) != core.CodeUnauthenticated {
						t.Errorf("without a token: %v", err)
					}
					if err := b.signIn(); err != nil {
						t.Fatal(err)
					}
					if left := time.Until(b.account.Token.Expires); left != time.Hour {
						t.Errorf("it holds for %v", left)
					}
					if err := b.one(received(1)); err != nil {
						t.Error(err)
					}
					asked := b.sim.Requests()[0]
					for _, part := range []string{"scope=notes", "audience=crm", "grant_type=" + grant} {
						if !strings.Contains(asked.Body, part) {
							t.Errorf("asked with %s", asked.Body)
						}
					}
					time.Sleep(time.Hour)
					err := b.one(received(2))
					if codeOf(err) != core.CodeUnauthenticated || strings.Contains(err.Error()+err.Hint, b.account.Token.Secrets["access"].Reveal()) {
						t.Errorf("with a token that has ended: %v", err)
					}
					if err := b.signIn(); err != nil {
						t.Fatal(err)
					}
					if err := b.one(received(2)); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestAuthorize_KeepsTheRefreshTokenThatItWasGivenInExchange(t *testing.T) {
	b := app(t, "refresh_token", nil, nil)
	for i := range 3 { // the sim takes each once
		if err := b.signIn(); err != nil {
			t.Fatalf("time %d: %v", i+1, err)
		}
		if got, want := b.account.Token.Secrets["refresh"].Reveal(), fmt.Sprintf("refresh-after-%04d", i+1); got != want {
			t.Fatalf("time %d: kept %s, want %s", i+1, got, want)
		}
	}
	// Somebody signed in again: what was kept is dead, the owner's is new.
	b.account.Token.Secrets["refresh"], b.account.Secrets["refresh_token"] = "refresh-that-died", "refresh-after-0003"
	if err := b.signIn(); err != nil {
		t.Error(err)
	}
	// Both are dead: a person is told, and no secret.
	b.account.Secrets["refresh_token"] = "refresh-that-died-too"
	b.account.Token.Secrets["refresh"] = "refresh-that-died"
	err := core.AsError(b.signIn())
	if err.Code != core.CodeUnauthenticated || err.Vendor != "invalid_grant" || !strings.Contains(err.Hint, "refresh_token") || strings.Contains(err.Error(), "that-died") {
		t.Errorf("%+v", err)
	}
}

func TestAuthorize_AnswersThatHoldNoToken(t *testing.T) {
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	for _, c := range []struct {
		status int
		body   string
		code   core.Code
		hint   string
	}{
		{200, `{"error":"invalid_code"}`, core.CodeUnauthenticated, "settings.auth"},
		{200, `{"token":"hidden-token-1"}`, core.CodeForbidden, "settings.auth.token"},
		{200, `<html>sign in</html>`, core.CodeForbidden, "token_url"},
		{401, `{"error":"invalid_client","error_description":"no ` + appSecret + `"}`, core.CodeUnauthenticated, "client_secret"},
		{404, `nothing here`, core.CodeForbidden, "token_url"},
		{302, ``, core.CodeForbidden, "token_url"},
		{429, `{"error":"slow_down"}`, core.CodeRateLimited, ""},
		{503, `busy`, core.CodeUnavailable, ""},
		{400, `{"error":"temporarily_unavailable"}`, core.CodeUnavailable, ""},
	} {
		err := core.AsError(app(t, "client_credentials", nil, answer(c.status, c.body)).signIn())
		if err == nil || err.Code != c.code || !strings.Contains(err.Hint, c.hint) {
			t.Errorf("%d %s: got %+v, want %s, and a hint with %q", c.status, c.body, err, c.code, c.hint)
			continue
		}
		if strings.Contains(err.Error(), "hidden-token") || strings.Contains(err.Error(), appSecret) {
			t.Errorf("%d: a secret is in %v", c.status, err)
		}
		if wait := c.code == core.CodeRateLimited || c.code == core.CodeUnavailable; wait != (err.RetryAfter == 7*time.Second) {
			t.Errorf("%d %s: to be asked again after %v", c.status, c.body, err.RetryAfter)
		}
	}
}

func TestAuthorize_ReadsTheAnswersOfOddServers(t *testing.T) {
	b := app(t, "refresh_token", table{"token": "data.jwt", "prefix": "Token "}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/token" {
			_, _ = w.Write([]byte(`{"data":{"jwt":"eyJ.1"},"expires_in":"3600"}`))
		} else if got := r.Header.Get("Authorization"); got != "Token eyJ.1" {
			t.Errorf("asked with %q", got)
		}
	}))
	if err := b.signIn(); err != nil {
		t.Fatal(err)
	}
	tok := b.account.Token
	if left := time.Until(tok.Expires); left < 50*time.Minute || left > time.Hour || tok.Secrets["refresh"] != firstRefresh {
		t.Errorf("%v, kept %v", left, tok.Secrets["refresh"] == firstRefresh)
	}
	if err := b.one(received(1)); err != nil {
		t.Error(err)
	}
}

func TestAuthorize_SaysWhichSecretIsMissing(t *testing.T) {
	for grant, name := range map[string]string{"client_credentials": "client_secret", "refresh_token": "refresh_token"} {
		b := app(t, grant, nil, nil)
		delete(b.account.Secrets, name)
		if err := core.AsError(b.signIn()); err == nil || err.Code != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets."+name) {
			t.Errorf("%s: %v", grant, err)
		}
	}
	lasting := start(t, customhttpsim.Options{Token: token}, example(t, "one-by-one"), nil)
	if err := lasting.signIn(); err != nil {
		t.Error(err)
	}
	lasting.account.Secrets = nil
	if err := core.AsError(lasting.signIn()); err == nil || err.Code != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets.token") {
		t.Errorf("a lasting token: %v", err)
	}
}

func TestAuthorize_AsksNobodyAtAPrivateAddressUnlessNamed(t *testing.T) {
	// The API may be private; where tokens are given was not named.
	settings := notes("none", table{"base_url": "http://127.0.0.1:1/v1", "allowed_hosts": []string{"127.0.0.1:1"}, "auth": table{
		"type": "oauth2", "grant": "client_credentials", "client_id": "app", "token_url": "https://localhost:1/token"}})
	_, err := (&customhttp.Connector{}).Authorize(context.Background(), core.Account{
		Settings: toJSON(t, settings), Secrets: map[string]core.Secret{"client_secret": appSecret}})
	if e := core.AsError(err); e == nil || e.Code != core.CodeForbidden || !strings.Contains(e.Error(), "private") {
		t.Errorf("got %v", err)
	}
}
