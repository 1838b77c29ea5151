package zohosim

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// oauth is the accounts server.
type oauth struct {
	mu    sync.Mutex
	live  []issued
	asked []time.Time
}

type issued struct {
	token string
	until time.Time
}

// token serves /oauth/v2/token, which takes its parameters from the query, a form or
// a multipart form, and reports most errors with status 200.
func (s *Sim) token(c *call) {
	if c.r.Method != http.MethodPost {
		c.answer(http.StatusMethodNotAllowed, map[string]string{"error": "invalid_request"})
		return
	}
	c.r.Body = http.NoBody
	if len(c.body) > 0 {
		c.r.Body = bodyOf(c.body)
	}
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/") {
		_ = c.r.ParseMultipartForm(1 << 20) // what cannot be read is missing
	} else {
		_ = c.r.ParseForm()
	}
	wrong := func(want, name string) bool {
		got := c.r.Form.Get(name)
		return got == "" || want != "" && got != want
	}
	refuse := func(code string) { c.answer(http.StatusOK, map[string]string{"error": code}) }
	switch {
	case c.r.Form.Get("grant_type") != "refresh_token":
		refuse("unsupported_grant_type")
		return
	case wrong(s.opts.ClientID, "client_id"):
		refuse("invalid_client")
		return
	case wrong(s.opts.ClientSecret, "client_secret"):
		refuse("invalid_client_secret")
		return
	case wrong(s.opts.RefreshToken, "refresh_token"):
		refuse("invalid_code")
		return
	}
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	now := time.Now()
	s.oauth.asked = slices.DeleteFunc(s.oauth.asked, func(t time.Time) bool { return now.Sub(t) >= 10*time.Minute })
	s.oauth.asked = append(s.oauth.asked, now) // retries lengthen it
	if n := s.opts.TokensIn10Min; n > 0 && len(s.oauth.asked) > n {
		c.answer(http.StatusBadRequest, map[string]string{"error": "Access Denied", "status": "failure",
			"error_description": "You have made too many requests continuously. Please try again after some time."})
		return
	}
	token := "1000." + strings.ToLower(rand.Text()) + "." + strings.ToLower(rand.Text())
	s.oauth.live = append(s.oauth.live, issued{token, now.Add(s.opts.TokenLife)})
	if n := len(s.oauth.live) - s.opts.LiveTokens; n > 0 {
		s.oauth.live = slices.Delete(s.oauth.live, 0, n)
	}
	scope := "ZohoCRM.modules.ALL ZohoCRM.settings.ALL ZohoCRM.coql.READ"
	if len(s.opts.Scopes) > 0 {
		scope = strings.Join(s.opts.Scopes, " ")
	}
	c.answer(http.StatusOK, map[string]any{"access_token": token, "scope": scope, "api_domain": s.apiDomain(c.r.Host),
		"token_type": "Bearer", "expires_in": int(s.opts.TokenLife.Seconds())})
}

// apiDomain is the API's address, for whoever called the accounts server at host.
func (s *Sim) apiDomain(host string) string {
	if s.opts.APIDomain != "" {
		return s.opts.APIDomain
	}
	for accounts, api := range map[string]string{"accounts.zoho.": "https://www.zohoapis.", "accounts.zohocloud.": "https://www.zohoapis."} {
		if centre, ok := strings.CutPrefix(host, accounts); ok {
			return api + centre
		}
	}
	return "http://" + host
}

// ExpireTokens ends all access tokens.
func (s *Sim) ExpireTokens() {
	s.oauth.mu.Lock()
	defer s.oauth.mu.Unlock()
	s.oauth.live = nil
}

// authenticate checks the access token; it has answered when it returns false.
func (s *Sim) authenticate(c *call) bool {
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Zoho-oauthtoken ")
	if !ok || token == "" {
		c.fail(http.StatusUnauthorized, failure("AUTHENTICATION_FAILURE", "Authentication failed", nil))
		return false
	}
	s.oauth.mu.Lock()
	now := time.Now()
	good := slices.ContainsFunc(s.oauth.live, func(i issued) bool { return i.token == token && now.Before(i.until) })
	s.oauth.mu.Unlock()
	if !good {
		c.fail(http.StatusUnauthorized, failure("INVALID_TOKEN", "invalid oauth token", nil))
	}
	return good
}

// may checks a scope; it has answered when it returns false.
func (s *Sim) may(c *call, scope string) bool {
	if len(s.opts.Scopes) == 0 || slices.ContainsFunc(s.opts.Scopes, func(have string) bool {
		whole, all := strings.CutSuffix(have, "ALL")
		return have == scope || all && strings.HasPrefix(scope, whole)
	}) {
		return true
	}
	c.fail(http.StatusUnauthorized, failure("OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL", nil))
	return false
}

// scopeOf is the scope of a module's records.
func scopeOf(module string) string {
	switch module {
	case "Contacts":
		return ScopeContacts
	case "Notes":
		return ScopeNotes
	case "Tasks":
		return ScopeTasks
	case "Cases":
		return ScopeCases
	case campaigns:
		return ScopeCampaigns
	}
	return ScopeCustom
}

// limits are the account's.
type limits struct {
	mu         sync.Mutex
	credits    int
	since      time.Time
	running    int
	subRunning int
}

// admit counts a call; it has answered 429 when it returns false.
func (s *Sim) admit(c *call) (release func(), ok bool) {
	rows := strings.Count(string(c.body[:min(len(c.body), 1<<20)]), "},{") + 1
	write := c.r.Method != http.MethodGet && c.path[0] != "coql" && c.path[0] != "settings"
	asked := c.r.URL.Query()
	sub := c.path[0] == "coql" || strings.HasSuffix(c.r.URL.Path, "/search") || asked.Has("cvid") || asked.Has("sort_by") || write && rows > 10
	cost := 1
	switch {
	case strings.HasSuffix(c.r.URL.Path, "_tags"):
		var body struct {
			IDs []string `json:"ids"`
		}
		_ = json.Unmarshal(c.body, &body) // what cannot be read is refused later
		cost = max(1, (len(body.IDs)+49)/50)
	case write:
		cost = (rows + 9) / 10
	case len(c.path) == 2 && c.path[1] == "deleted":
		cost = 2
	}
	l := &s.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.since) >= 24*time.Hour {
		l.credits, l.since = 0, now
	}
	tooMany := func(message string) (func(), bool) {
		c.fail(http.StatusTooManyRequests, failure("TOO_MANY_REQUESTS", message, nil))
		return nil, false
	}
	if n := s.opts.Credits; n > 0 {
		if l.credits+cost > n {
			return tooMany("You have exceeded the maximum number of requests allowed in a 24 hour window. Please try again later.")
		}
		if used := l.credits + cost; used*2 >= n { // told from half of them on
			c.w.Header().Set("X-API-CREDITS-REMAINING", itoa(n-used))
		}
	}
	if n := s.opts.Concurrency; n > 0 && l.running >= n {
		return tooMany("You have exceeded the maximum concurrency limit of API calls. Please try again later.")
	}
	if n := s.opts.SubConcurrency; sub && n > 0 && l.subRunning >= n {
		return tooMany("You have exceeded the maximum sub-concurrency limit of API calls. Please try again later.")
	}
	l.credits += cost
	s.count(func(v *Stats) { v.Credits += cost })
	l.running++
	if sub {
		l.subRunning++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running--
		if sub {
			l.subRunning--
		}
	}, true
}
