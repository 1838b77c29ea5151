package customhttp_test

import (
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

// member is an account at an API where one signs in with a password.
func member(t testing.TB, more table, instead http.Handler) *bench {
	t.Helper()
	auth := table{"type": "session", "token_url": "http://crm.test/login"}
	maps.Copy(auth, more)
	return start(t, customhttpsim.Options{User: username, Password: password, Sessions: true, TokenLife: time.Hour}, notes("none", table{"auth": auth}), instead)
}

// asPage signs in as a browser does.
var asPage = table{"in": "cookie", "name": "sid", "format": "form", "body": `{"login": {{.username}}, "pass": "{{.password}}"}`}

func TestSession_SignsInAgainWhenItEnds(t *testing.T) {
	for name, auth := range map[string]table{
		"a token, until it says":        {"token": "data.token", "expires": "data.ends"},
		"a token, as long as it says":   {"token": "data.token", "expires": "data.life"},
		"a token, as long as they know": {"token": "data.token", "lifetime": "1h"},
		"a cookie":                      asPage,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := member(t, auth, nil)
				if err := b.one(received(1)); codeOf(err) != core.CodeUnauthenticated {
					t.Errorf("before: %v", err)
				}
				for i := range 2 {
					if err := b.signIn(); err != nil {
						t.Fatal(err)
					}
					if left := time.Until(b.account.Token.Expires); left != time.Hour {
						t.Errorf("it holds for %v", left)
					}
					if err := b.one(received(i)); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Hour)
					err := b.one(received(9))
					if codeOf(err) != core.CodeUnauthenticated || strings.Contains(err.Error()+err.Hint, b.account.Token.Secrets["access"].Reveal()) {
						t.Errorf("when it has ended: %v", err)
					}
				}
			})
		})
	}
}

func TestSession_WhoIsNotLetIn(t *testing.T) {
	for name, auth := range map[string]table{"as an API": {"token": "data.token"}, "as a page": asPage} {
		b := member(t, auth, nil)
		b.account.Secrets["password"] = "another-password-2"
		err := core.AsError(b.signIn())
		if err == nil || !strings.Contains(err.Hint, "username and password") || strings.Contains(err.Error(), "another-password") {
			t.Errorf("%s: %+v", name, err)
		}
		delete(b.account.Secrets, "password")
		if err := core.AsError(b.signIn()); err == nil || err.Code != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets.password: missing") {
			t.Errorf("%s, without: %+v", name, err)
		}
	}
}

func TestSession_AnswersThatHoldNoToken(t *testing.T) {
	answer := func(status int, cookie, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if cookie != "" {
				w.Header().Set("Set-Cookie", cookie)
			}
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	for _, c := range []struct {
		auth         table
		status       int
		cookie, body string
		code         core.Code
		hint         string
	}{
		{nil, 200, "", `{"jwt":"hidden-token-1"}`, core.CodeForbidden, "settings.auth.token"},
		{nil, 200, "", `{"token":"a\nb"}`, core.CodeForbidden, "settings.auth.token"},
		{nil, 302, "", ``, core.CodeForbidden, "token_url"},
		{nil, 404, "", `no such page`, core.CodeForbidden, "token_url"},
		{nil, 403, "", `{"error":{"code":"locked"}}`, core.CodeUnauthenticated, "username and password"},
		{nil, 429, "", ``, core.CodeRateLimited, ""},
		{nil, 503, "", ``, core.CodeUnavailable, ""},
		{asPage, 200, "sid=; Max-Age=0", `<html>`, core.CodeForbidden, "settings.auth.name"},
		{asPage, 303, "other=hidden-token-2", ``, core.CodeForbidden, "settings.auth"},
		{asPage, 500, "sid=hidden-token-3", ``, core.CodeUnavailable, ""},
	} {
		err := core.AsError(member(t, c.auth, answer(c.status, c.cookie, c.body)).signIn())
		if err == nil || err.Code != c.code || !strings.Contains(err.Hint, c.hint) || strings.Contains(err.Error(), "hidden-token") {
			t.Errorf("%d %s %s: got %+v, want %s, and a hint with %q", c.status, c.cookie, c.body, err, c.code, c.hint)
		}
	}
}

func TestAPIKey_IsACookie(t *testing.T) {
	b := start(t, customhttpsim.Options{Key: "key-for-a-cookie"}, notes("none", table{"auth": table{"type": "api_key", "in": "cookie", "name": "api_key"}}), nil)
	b.account.Secrets["api_key"] = "key-for-a-cookie"
	if err := b.one(received(1)); err != nil {
		t.Error(err)
	}
	b.account.Secrets["api_key"] = "key; for=all"
	if err := b.one(received(2)); codeOf(err) != core.CodeUnauthenticated || !strings.Contains(err.Error(), "secrets.api_key: has characters") {
		t.Errorf("%v", err)
	}
	r, err := customhttp.Render(b.account.Settings, received(1))
	if err != nil || r.Header.Get("Cookie") != "api_key=[secret]" {
		t.Errorf("it is shown as %v, %v", r.Header, err)
	}
}
