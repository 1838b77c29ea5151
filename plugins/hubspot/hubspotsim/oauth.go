package hubspotsim

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// oauth are the tokens that apps got for themselves.
type oauth struct {
	mu      sync.Mutex
	issued  map[string]time.Time // access token, its end
	refresh []string             // refresh tokens beside those of the options
	ended   map[string]bool      // refresh tokens that were replaced
}

// knows reports whether a refresh token counts.
func (o *oauth) knows(given []string, refresh string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.ended[refresh] && (slices.Contains(given, refresh) || slices.Contains(o.refresh, refresh))
}

// tokenLife is how long an access token lives.
const tokenLife = 30 * time.Minute

// oauthPaths are those of the token endpoint.
var oauthPaths = []string{"/oauth/v1/token", "/oauth/v3/token", "/oauth/2026-03/token", "/oauth/2026-09/token"}

// authorizeApp serves the token endpoint and what it says about tokens; false: the
// path is another's.
func (s *Sim) authorizeApp(c *call) bool {
	path := c.r.URL.Path
	token, asked := strings.CutPrefix(path, "/oauth/v1/access-tokens/")
	switch {
	case c.r.Method == http.MethodGet && asked:
		s.describeToken(c, token)
	case c.r.Method == http.MethodPost && slices.Contains(oauthPaths, path):
		s.token(c)
	default:
		return false
	}
	return true
}

// token gives an access token for a refresh token, as
// https://developers.hubspot.com/docs/api-reference/auth-oauth-v1/guide says.
func (s *Sim) token(c *call) {
	// The standard's error, and beside it what was there before: see
	// https://developers.hubspot.com/changelog/new-oauth-v3-api-endpoints-and-standardized-error-responses.
	refuse := func(code, status, message string) {
		c.answer(http.StatusBadRequest, map[string]string{"error": code, "error_description": message, "status": status, "message": message, "correlationId": c.id})
	}
	form, err := url.ParseQuery(string(c.body))
	switch {
	case err != nil || !strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		c.fail(http.StatusUnsupportedMediaType, vendorError{Category: "VALIDATION_ERROR", Message: "Unsupported Media Type"})
		return
	case form.Get("grant_type") != "refresh_token":
		refuse("unsupported_grant_type", "BAD_GRANT_TYPE", "missing or unknown grant type")
		return
	case form.Get("client_id") == "" || s.opts.ClientID != "" && form.Get("client_id") != s.opts.ClientID:
		refuse("invalid_client", "BAD_CLIENT_ID", "missing or unknown client id")
		return
	case form.Get("client_secret") == "" || s.opts.ClientSecret != "" && form.Get("client_secret") != s.opts.ClientSecret:
		refuse("invalid_client", "BAD_CLIENT_SECRET", "missing or invalid client secret")
		return
	case !s.oauth.knows(s.opts.RefreshTokens, form.Get("refresh_token")):
		refuse("invalid_grant", "BAD_REFRESH_TOKEN", "missing or unknown refresh token")
		return
	}
	access := "CO" + rand.Text()
	s.oauth.mu.Lock()
	if s.oauth.issued == nil {
		s.oauth.issued, s.oauth.ended = map[string]time.Time{}, map[string]bool{}
	}
	for t, end := range s.oauth.issued { // those that nobody can ask about any more
		if time.Since(end) > tokenLife {
			delete(s.oauth.issued, t)
		}
	}
	s.oauth.issued[access] = time.Now().Add(tokenLife)
	refresh := form.Get("refresh_token")
	if s.opts.Rotates {
		s.oauth.ended[refresh], refresh = true, "na1-"+rand.Text()
		s.oauth.refresh = append(s.oauth.refresh, refresh)
	}
	s.oauth.mu.Unlock()
	c.answer(http.StatusOK, map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "bearer",
		"expires_in": int(tokenLife.Seconds()), "hub_id": 1, "scopes": s.scopes()})
}

func (s *Sim) scopes() []string {
	if len(s.opts.Scopes) > 0 {
		return s.opts.Scopes
	}
	return []string{ScopeRead, ScopeWrite, ScopeSchemaRead, ScopeSchemaWrite}
}

func (s *Sim) describeToken(c *call, token string) {
	s.oauth.mu.Lock()
	end := s.oauth.issued[token]
	s.oauth.mu.Unlock()
	left := time.Until(end)
	if left <= 0 {
		c.fail(http.StatusNotFound, vendorError{Message: "not found"})
		return
	}
	c.answer(http.StatusOK, map[string]any{"token": token, "user": "bridge@example.com", "hub_domain": "example.com", "scopes": s.scopes(),
		"hub_id": 1, "app_id": 54321, "expires_in": int(left.Seconds()), "user_id": 1, "token_type": "access"})
}

// issuedTo looks for a token among those that apps got: whether it is one, and what
// is wrong with it if it does not work any more.
func (o *oauth) issuedTo(token string) (known bool, problem string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end, known := o.issued[token]
	if over := time.Since(end); known && over >= 0 {
		return true, fmt.Sprintf("The OAuth token used to make this call expired %d second(s) ago.", int(over.Seconds()))
	}
	return known, ""
}
