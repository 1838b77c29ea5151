package hubspotsim_test

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestToken_IsForTheAppAndLastsHalfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubspotsim.New(hubspotsim.Options{ClientID: "app", ClientSecret: "secret", RefreshTokens: []string{"refresh"}})
		send := func(method, path, token, body string) (int, string) {
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		good := url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "client_secret": {"secret"}, "refresh_token": {"refresh"}}
		for name, says := range map[string]string{"grant_type": "BAD_GRANT_TYPE", "client_id": "BAD_CLIENT_ID", "client_secret": "BAD_CLIENT_SECRET", "refresh_token": "BAD_REFRESH_TOKEN"} {
			was := good.Get(name)
			good.Set(name, "wrong")
			if code, body := send("POST", "/oauth/v1/token", "", good.Encode()); code != 400 || !strings.Contains(body, says) {
				t.Errorf("wrong %s: got %d %s", name, code, body)
			}
			good.Set(name, was)
		}
		_, body := send("POST", "/oauth/2026-03/token", "", good.Encode())
		token := regexp.MustCompile(`"access_token":"([^"]+)"`).FindStringSubmatch(body)
		if token == nil || !strings.Contains(body, `"expires_in":1800`) {
			t.Fatalf("got %s", body)
		}
		const contacts = "/crm/objects/2026-09/contacts"
		for at, want := range map[string]string{"nobody": "INVALID_AUTHENTICATION", token[1]: `"results":[]`} {
			if _, body := send("GET", contacts, at, ""); !strings.Contains(body, want) {
				t.Errorf("got %s, want %s", body, want)
			}
		}
		time.Sleep(30*time.Minute - time.Second)
		if code, body := send("GET", "/oauth/v1/access-tokens/"+token[1], "", ""); code != 200 || !strings.Contains(body, `"expires_in":1,`) {
			t.Errorf("a second before: %d %s", code, body)
		}
		time.Sleep(time.Second)
		if code, body := send("GET", contacts, token[1], ""); code != 401 || !strings.Contains(body, "EXPIRED_AUTHENTICATION") {
			t.Errorf("half an hour later: %d %s", code, body)
		}
		if code, _ := send("GET", "/oauth/v1/access-tokens/"+token[1], "", ""); code != 404 {
			t.Errorf("an expired token is told of: %d", code)
		}
	})
}
