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
	"strconv"
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
	answer["id"] = "http://" + c.r.Host + identityPath
	answer["issued_at"], answer["scope"], answer["signature"] = strconv.FormatInt(time.Now().UnixMilli(), 10), "api", "c2lt"
	c.answer(http.StatusOK, answer)
}

// identityPath is where the user that tokens are for is told of.
const identityPath = "/id/00D000000000simEAA/" + Integration

// revoke serves the endpoint that ends a token, of either kind.
func (s *Sim) revoke(c *call) {
	token := c.r.URL.Query().Get("token")
	if form, err := url.ParseQuery(string(c.body)); err == nil && form.Get("token") != "" {
		token = form.Get("token")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, access := s.tokens[token]
	if !access && !s.refresh[token] {
		c.refuse("unsupported_token_type", "this token type is not supported")
		return
	}
	delete(s.tokens, token)
	delete(s.refresh, token)
	c.w.WriteHeader(http.StatusOK)
}

// identity serves the address that tokens name as their id.
func (s *Sim) identity(c *call) {
	token := c.r.URL.Query().Get("oauth_token")
	if t, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer "); ok {
		token = t
	}
	s.mu.Lock()
	_, ok := s.tokens[token]
	s.mu.Unlock()
	if !ok || c.r.URL.Path != identityPath {
		http.Error(c.w, "Bad_OAuth_Token", http.StatusForbidden)
		return
	}
	username := s.opts.Username
	if username == "" {
		username = "integration@example.com"
	}
	c.answer(http.StatusOK, map[string]any{"id": "http://" + c.r.Host + identityPath, "user_id": Integration, "organization_id": "00D000000000simEAA",
		"username": username, "display_name": "Integration", "active": true, "user_type": "STANDARD"})
}

// versions serves the list of API versions, which needs no token.
func (s *Sim) versions(c *call) {
	list := []map[string]string{}
	for v := oldest; v <= newest; v++ {
		list = append(list, map[string]string{"label": fmt.Sprintf("Version %d", v), "url": fmt.Sprintf("/services/data/v%d.0", v), "version": fmt.Sprintf("%d.0", v)})
	}
	c.answer(http.StatusOK, list)
}

// resources says what a version of the API has.
func (s *Sim) resources(c *call, version int) {
	base := fmt.Sprintf("/services/data/v%d.0/", version)
	out := map[string]string{"identity": "http://" + c.r.Host + identityPath}
	for _, name := range []string{"sobjects", "query", "queryAll", "composite", "limits"} {
		out[name] = base + name
	}
	c.answer(http.StatusOK, out)
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
