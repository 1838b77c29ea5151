package salesforcesim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxAssertion is how far off an assertion's end may be.
const maxAssertion = 5 * time.Minute

// token serves the token endpoint.
func (s *Sim) token(c *call) {
	form, err := url.ParseQuery(string(c.body))
	switch {
	case c.r.Method != http.MethodPost || err != nil || !strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		c.refuse("invalid_request", "must use HTTP POST")
		return
	case form.Get("grant_type") == "":
		c.refuse("unsupported_grant_type", "grant type not supported")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := map[string]string{}
	switch grant := form.Get("grant_type"); grant {
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		if code, why := s.verify(form.Get("assertion"), time.Now()); code != "" {
			c.refuse(code, why)
			return
		}
	case "client_credentials", "refresh_token":
		if s.opts.ClientID != "" && form.Get("client_id") != s.opts.ClientID {
			c.refuse("invalid_client_id", "client identifier invalid")
			return
		}
		if secret := form.Get("client_secret"); s.opts.ClientSecret != "" && secret != s.opts.ClientSecret && (grant == "client_credentials" || secret != "") {
			c.refuse("invalid_client", "invalid client credentials")
			return
		}
		if grant == "client_credentials" {
			break
		}
		used := form.Get("refresh_token")
		if len(s.opts.RefreshTokens) > 0 && !s.refresh[used] {
			c.refuse("invalid_grant", "expired access/refresh token")
			return
		}
		if s.opts.RotateRefresh {
			delete(s.refresh, used)
			s.serial++
			next := fmt.Sprintf("5Aep861.sim.refresh.%d", s.serial)
			s.refresh[next], answer["refresh_token"] = true, next
		}
	default:
		c.refuse("unsupported_grant_type", "grant type not supported")
		return
	}
	s.serial++
	access := fmt.Sprintf("00D000000000sim!AQ.%s.%d", base64.RawURLEncoding.EncodeToString([]byte(time.Now().Format(time.RFC3339Nano))), s.serial)
	s.tokens[access] = time.Now()
	instance := s.opts.InstanceURL
	if instance == "" {
		instance = "http://" + c.r.Host
	}
	answer["access_token"], answer["instance_url"], answer["token_type"] = access, instance, "Bearer"
	answer["id"] = "https://login.salesforce.com/id/00D000000000simEAA/005000000000simAAA"
	answer["scope"] = "api"
	c.answer(http.StatusOK, answer)
}

func (c *call) refuse(code, description string) {
	c.answer(http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}

// verify checks an assertion; code says what is wrong with it. The caller holds the
// lock.
func (s *Sim) verify(assertion string, now time.Time) (code, why string) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return "invalid_grant", "invalid assertion"
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return "invalid_grant", "invalid assertion"
		}
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Sub, Aud string
		Exp           int64
	}
	if json.Unmarshal(decoded[0], &header) != nil || header.Alg != "RS256" || json.Unmarshal(decoded[1], &claims) != nil {
		return "invalid_grant", "invalid assertion"
	}
	if s.opts.ClientID != "" && claims.Iss != s.opts.ClientID {
		return "invalid_client_id", "client identifier invalid"
	}
	if s.opts.PublicKey != nil {
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if rsa.VerifyPKCS1v15(s.opts.PublicKey, crypto.SHA256, sum[:], decoded[2]) != nil {
			return "invalid_grant", "invalid assertion"
		}
	}
	if !slices.Contains(s.opts.Audiences, claims.Aud) {
		return "invalid_grant", "audience is invalid"
	}
	if exp := time.Unix(claims.Exp, 0); !now.Before(exp) || exp.Sub(now) > maxAssertion {
		return "invalid_grant", "expired authorization code"
	}
	if claims.Sub == "" || s.opts.Username != "" && claims.Sub != s.opts.Username {
		return "invalid_grant", "user hasn't approved this consumer"
	}
	return "", ""
}
