package customhttpsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answers returns the status and the header of the answer to a request.
func answers(to http.Handler, method, path, body string, header ...string) (int, http.Header) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	to.ServeHTTP(w, r)
	return w.Code, w.Header()
}

func TestSim_LetsInByTheSessionOnly(t *testing.T) {
	s := New(Options{User: "u", Password: "p", Sessions: true, TokenLife: time.Hour})
	asJSON, asForm := []string{"Content-Type", "application/json"}, []string{"Content-Type", "application/x-www-form-urlencoded"}
	for _, c := range []struct {
		body   string
		header []string
		status int
		cookie bool
	}{
		{`{"username":"u","password":"p"}`, nil, 415, false},
		{`{"username":"u","password":"p","more":"x"}`, asJSON, 400, false},
		{`{"username":"u","password":"x"}`, asJSON, 401, false},
		{`{"username":"u","password":"p"}`, asJSON, 200, false},
		{`login=u&pass=x`, asForm, 303, false},
		{`login=u&pass=p`, asForm, 303, true},
	} {
		status, header := answers(s, "POST", "/login", c.body, c.header...)
		if status != c.status || (header.Get("Set-Cookie") != "") != c.cookie {
			t.Errorf("%s: %d, %v", c.body, status, header)
		}
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	for _, c := range []struct {
		name, value string
		status      int
	}{
		{"Authorization", basic, 401}, {"Authorization", "Bearer session-0001", 401},
		{"Authorization", "Bearer session-0002", 200}, {"Cookie", "sid=session-0002", 200}, {"Cookie", "other=session-0002", 401},
	} {
		if status, _ := answers(s, "GET", "/v1/me", "", c.name, c.value); status != c.status {
			t.Errorf("%s: %s: %d, want %d", c.name, c.value, status, c.status)
		}
	}
}

func TestSim_TakesAnAssertionOnceAndNotForLong(t *testing.T) {
	s := New(Options{ClientID: "app", ClientSecret: "secret"})
	now := time.Now()
	made := func(secret, claims string) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	claims := func(iss, aud, jti string, life time.Duration) string {
		return fmt.Sprintf(`{"iss":%q,"sub":"x","aud":%q,"jti":%q,"iat":%d,"exp":%d}`, iss, aud, jti, now.Unix(), now.Add(life).Unix())
	}
	const aud = "https://crm.test/oauth/token"
	for _, c := range []struct{ text, want string }{
		{"a.b", "not a JWT"},
		{made("other", claims("app", aud, "1", time.Minute)), "the signature is wrong"},
		{made("secret", claims("nobody", aud, "1", time.Minute)), `iss is "nobody"`},
		{made("secret", claims("app", "https://crm.test", "1", time.Minute)), `aud is "https://crm.test"`},
		{made("secret", claims("app", aud, "", time.Minute)), "no jti"},
		{made("secret", claims("app", aud, "1", time.Hour)), "not now"},
		{made("secret", claims("app", aud, "1", -time.Minute)), "not now"},
		{made("secret", claims("app", aud, "1", time.Minute)), ""},
		{made("secret", claims("app", aud, "1", time.Minute)), "known already"},
	} {
		got := ""
		if err := s.assertion(c.text, now); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestSim_TakesWhatIsSignedNow(t *testing.T) {
	s := New(Options{SigningKey: "key"})
	for _, c := range []struct {
		what   string
		path   string
		off    time.Duration
		status int
	}{
		{"what was signed", "/v1/me?a=1", 0, 200},
		{"another query", "/v1/me?a=2", 0, 401},
		{"long ago", "/v1/me?a=1", -6 * time.Minute, 401},
		{"not yet", "/v1/me?a=1", 6 * time.Minute, 401},
	} {
		at := fmt.Sprint(time.Now().Add(c.off).Unix())
		mac := hmac.New(sha256.New, []byte("key"))
		mac.Write([]byte("GET\n/v1/me\na=1\n" + at + "\n"))
		signature := "v1=" + hex.EncodeToString(mac.Sum(nil))
		if status, _ := answers(s, "GET", c.path, "", "X-Timestamp", at, "X-Signature", signature); status != c.status {
			t.Errorf("%s: %d, want %d", c.what, status, c.status)
		}
	}
}

func TestProxy_WantsToKnowWhoAsksForWhat(t *testing.T) {
	p := &Proxy{User: "u", Password: "p", Lets: func(address string) bool { return address == "a.test" }}
	right := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	for _, c := range []struct {
		to, given string
		status    int
	}{
		{"/v1/me", right, 400}, {"http://a.test/", "", 407}, {"http://a.test/", "Basic eA==", 407}, {"http://b.test/", right, 403},
	} {
		if status, _ := answers(p, "GET", c.to, "", "Proxy-Authorization", c.given); status != c.status {
			t.Errorf("%s as %q: %d, want %d", c.to, c.given, status, c.status)
		}
	}
	if asked := p.Asked(); len(asked) > 0 {
		t.Errorf("let through %q", asked)
	}
}
