package customhttpsim

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// tokenRoute gives access tokens, as RFC 6749 says, once there is a ClientID.
const tokenRoute = "POST /oauth/token" //nolint:gosec // an address

// grantError is the answer of a server that gives no token.
type grantError struct{ code, description string }

// token answers to who asks for a token. A refresh token is good once.
func (s *Sim) token(c *call) (int, any) {
	answer, err := s.grant(c.r, c.body)
	if err == nil {
		return http.StatusOK, answer
	}
	status := http.StatusBadRequest
	if err.code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	return status, map[string]string{"error": err.code, "error_description": err.description}
}

func (s *Sim) grant(r *http.Request, body []byte) (map[string]any, *grantError) {
	form, parseErr := url.ParseQuery(string(body))
	if parseErr != nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return nil, &grantError{"invalid_request", "want a form"}
	}
	for name, values := range form {
		if len(values) != 1 || values[0] == "" {
			return nil, &grantError{"invalid_request", name + " wants one value"}
		}
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if encoded, isBasic := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); isBasic {
		if secret != "" {
			return nil, &grantError{"invalid_request", "the client says twice who it is"}
		}
		pass, err := base64.StdEncoding.DecodeString(encoded)
		user, password, _ := strings.Cut(string(pass), ":")
		if id, secret = unescape(user), unescape(password); err != nil {
			return nil, &grantError{"invalid_client", "not Basic"}
		}
	}
	if form.Get("grant_type") == jwtBearer {
		if err := s.assertion(form.Get("assertion"), time.Now()); err != nil {
			return nil, &grantError{"invalid_grant", err.Error() + ": " + form.Get("assertion")}
		}
		if secret != "" || id != "" && id != s.opts.ClientID {
			return nil, &grantError{"invalid_client", "an assertion says who asks"}
		}
	} else if !same(id, s.opts.ClientID) || !same(secret, s.opts.ClientSecret) {
		return nil, &grantError{"invalid_client", "there is no client " + id + " with the secret " + secret}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := map[string]any{"token_type": "Bearer"}
	switch form.Get("grant_type") {
	case "client_credentials", jwtBearer:
	case "refresh_token":
		if s.refresh == "" {
			s.refresh = s.opts.RefreshToken
		}
		if given := form.Get("refresh_token"); !same(given, s.refresh) {
			return nil, &grantError{"invalid_grant", "the refresh token " + given + " is not good"}
		}
		s.refresh = fmt.Sprintf("refresh-after-%04d", s.granted+1)
		answer["refresh_token"] = s.refresh
	default:
		return nil, &grantError{"unsupported_grant_type", form.Get("grant_type")}
	}
	s.granted++
	s.access = fmt.Sprintf("access-token-%04d", s.granted)
	answer["access_token"] = s.access
	if s.opts.TokenLife > 0 {
		s.accessEnds = time.Now().Add(s.opts.TokenLife)
		answer["expires_in"] = int(s.opts.TokenLife.Seconds())
	}
	return answer, nil
}

// isGranted reports whether a bearer token is the one given last, and still good.
func (s *Sim) isGranted(bearer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.access != "" && same(bearer, s.access) && (s.opts.TokenLife == 0 || time.Now().Before(s.accessEnds))
}

func unescape(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return ""
	}
	return plain
}
