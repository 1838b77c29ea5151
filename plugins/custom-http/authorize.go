package customhttp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

// The secrets of OAuth 2.0, and what a token is called among those of a [core.Token].
const (
	clientSecret  = "client_secret"
	refreshSecret = "refresh_token"
	accessToken   = "access"
	keptRefresh   = "refresh"
)

// grants are what a token is given for.
var grants = []string{"client_credentials", "refresh_token", jwtBearer}

// maxTokenLife caps how long a token is believed to hold.
const maxTokenLife = 365 * 24 * time.Hour

// signIn is where and how a token is asked for: https://www.rfc-editor.org/rfc/rfc6749.
type signIn struct {
	url    *url.URL
	form   url.Values // but the secrets
	basic  bool       // the client says who it is in a header, not in the form
	token  path
	op     *operation
	client *http.Client // to another host than the API's, perhaps
	own    bool         // that host may be at a private address
	login  *login       // nil for OAuth 2.0
	// assertion goes with the form; nil for other grants.
	assertion *assertion
}

func (c *planner) oauth2(p *plan) {
	const where = "settings.auth"
	a := &p.auth
	s := &signIn{form: url.Values{}, token: parsePath(cmp.Or(a.Token, "access_token"))}
	s.token.check(where+".token", c.problems)
	if !slices.Contains(grants, a.Grant) {
		c.addf(where+".grant", `want "client_credentials", "refresh_token" where a person signed in, or "jwt_bearer" where the lane has a key`)
	}
	s.form.Set("grant_type", a.Grant)
	switch {
	case a.Grant == jwtBearer:
		s.form.Set("grant_type", jwtBearerWire)
		s.assertion = c.assertion(a)
	case a.Algorithm != "" || a.KeyID != "" || a.Claims != nil:
		c.addf(where+".grant", "algorithm, key_id and claims are for %q", jwtBearer)
	}
	if a.ClientID == "" && (a.Grant != jwtBearer || a.Client == "basic") {
		c.addf(where+".client_id", "missing: what the API calls this app")
	}
	if a.Scope != "" {
		s.form.Set("scope", a.Scope)
	}
	for _, name := range sortedKeys(a.Params) {
		if slices.Contains([]string{"", "grant_type", "client_id", clientSecret, refreshSecret, "scope", "assertion"}, name) {
			c.addf(where+".params."+quoteKey(name), "is set by settings.auth")
		}
		s.form.Set(name, a.Params[name])
	}
	switch a.Client = cmp.Or(a.Client, "form"); a.Client {
	case "form":
		if a.ClientID != "" {
			s.form.Set("client_id", a.ClientID)
		}
	case "basic":
		s.basic = true
	default:
		c.addf(where+".client", `want "form" or "basic": where client_id and the secret client_secret are sent`)
	}
	if badHeaderValue(a.Prefix) {
		c.addf(where+".prefix", "control characters cannot be in a header")
	}
	a.Prefix = cmp.Or(a.Prefix, "Bearer ")
	s.url, s.own = c.address(where+".token_url", a.TokenURL, "https://login.example.com/oauth/token")
	s.op = &operation{
		name: where + ".token_url", kind: "sign-in", method: http.MethodPost, path: &tmpl{where: where + ".token_url"},
		response: response{success: []statusRange{{200, 299}}, errorCode: path{"error"}, errorMessage: path{"error_description"}},
	}
	p.signIn = s
}

// address checks an address that is not below base_url, by the same rules. It is nil
// when it is none.
func (c *planner) address(where, text, example string) (u *url.URL, own bool) {
	u, err := url.Parse(text)
	if text == "" || err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		c.addf(where, "want an address such as %s, without credentials", example)
		return nil, false
	}
	own = slices.ContainsFunc(c.AllowedHosts, func(host string) bool { return names(host, u) })
	switch {
	case u.Scheme == "http" && !own:
		c.addf(where, "plain http shows everyone on the way the credentials: use https, or name %s in settings.allowed_hosts", u.Host)
	case u.Scheme != "http" && u.Scheme != "https":
		c.addf(where, "want https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if why := guard.Refusal(ip, own, privateHint); why != "" {
			c.addf(where, "%s", why)
		}
	}
	return u, own
}

var _ core.Authorizer = (*Connector)(nil)

// Authorize implements [core.Authorizer]. Where credentials do not expire there is
// nothing to ask for: the token is empty, but that secrets are missing is said here, too.
func (c *Connector) Authorize(ctx context.Context, account core.Account) (core.Token, error) {
	x, err := c.openFor(account, false)
	if err != nil {
		return core.Token{}, err
	}
	if x.signIn == nil {
		return core.Token{Secrets: map[string]core.Secret{accessToken: ""}}, nil
	}
	if x.signIn.login != nil {
		token, err := x.logIn(ctx, account)
		if err != nil {
			return core.Token{}, err
		}
		return token, nil
	}
	tokens, err := x.refreshTokens(account)
	if err != nil {
		return core.Token{}, err
	}
	var token core.Token
	for _, refresh := range tokens {
		// The one that was kept is the newer after a rotation, the owner's after
		// somebody signed in again.
		if token, err = x.askToken(ctx, account, refresh); err == nil {
			return token, nil
		}
		if err.Code != core.CodeUnauthenticated {
			break
		}
	}
	return core.Token{}, err
}

// refreshTokens returns what to ask with, one after the other; "" for a grant
// without.
func (x *session) refreshTokens(account core.Account) ([]core.Secret, *core.Error) {
	if x.auth.Grant != "refresh_token" {
		return []core.Secret{""}, nil
	}
	var list []core.Secret
	if account.Token != nil && account.Token.Secrets[keptRefresh] != "" {
		list = append(list, account.Token.Secrets[keptRefresh])
	}
	if given := account.Secrets[refreshSecret]; given != "" && !slices.Contains(list, given) {
		list = append(list, given)
	}
	if list == nil {
		return nil, missingSecret(refreshSecret, "missing")
	}
	return list, nil
}

func (x *session) askToken(ctx context.Context, account core.Account, refresh core.Secret) (core.Token, *core.Error) {
	s, secret := x.signIn, account.Secrets[clientSecret].Reveal()
	form := maps.Clone(s.form)
	if refresh != "" {
		form.Set(refreshSecret, refresh.Reveal())
	}
	if s.assertion != nil {
		name := s.assertion.secret()
		signed, err := s.assertion.sign(account.Secrets[name], time.Now())
		if err != nil {
			return core.Token{}, err
		}
		form.Set("assertion", signed.Reveal())
		x = x.hiding(signed)
		if name == clientSecret {
			secret = "" // it signs, and is not told
		}
	}
	r := Request{Method: s.op.method, URL: s.url.String(), Header: http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}, "User-Agent": {"wabridge"},
	}}
	switch {
	case s.basic:
		// Both are encoded as in a form first: RFC 6749, section 2.3.1.
		pass := url.QueryEscape(x.auth.ClientID) + ":" + url.QueryEscape(secret)
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pass)))
	case secret != "":
		form.Set(clientSecret, secret)
	}
	r.Body = []byte(form.Encode())
	asked := time.Now()
	a, err := x.askSignIn(ctx, r)
	switch {
	case err != nil:
		return core.Token{}, err
	case a.status < 200 || a.status > 299, a.text(path{"error"}) != "":
		return core.Token{}, x.noToken(a)
	}
	access := core.Secret(a.text(s.token))
	if access == "" || badHeaderValue(access.Reveal()) {
		return core.Token{}, x.tokenMissing(a, "token", "look at settings.auth.token, the path to it, and at settings.auth.token_url")
	}
	token := core.Token{Secrets: map[string]core.Secret{accessToken: access}}
	if next := cmp.Or(core.Secret(a.text(path{"refresh_token"})), refresh); refresh != "" {
		token.Secrets[keptRefresh] = next
	}
	if seconds, err := strconv.ParseFloat(a.text(path{"expires_in"}), 64); err == nil && seconds > 0 {
		token.Expires = after(asked, seconds)
	}
	return token, nil
}

// askSignIn asks for a token.
func (x *session) askSignIn(ctx context.Context, r Request) (*answer, *core.Error) {
	there := *x.plan
	there.client = x.signIn.client
	a, err := (&session{plan: &there, cred: x.cred, secrets: x.secrets}).do(ctx, x.signIn.op, r)
	if err != nil {
		if err.Code == core.CodeUnknownOutcome {
			err.Code = core.CodeUnavailable // a token more or less
		}
		if err.Scope == "" {
			err.Hint = "look at settings.auth.token_url and the network"
		}
	}
	return a, err
}

// tokenMissing is for an answer of success without what was asked for. It is not quoted:
// there may be a token of another name in it.
func (x *session) tokenMissing(a *answer, what, hint string) *core.Error {
	return &core.Error{Code: core.CodeForbidden, Op: x.signIn.op.kind, Source: core.SourceVendor,
		Message: "answered " + strconv.Itoa(a.status) + " without a " + what, Hint: hint}
}

// noToken explains an answer that gives none: RFC 6749, section 5.2. Some say with
// 200 that they refuse.
func (x *session) noToken(a *answer) *core.Error {
	op := x.signIn.op
	why := a.text(path{"error"})
	switch s := a.status; {
	case s == http.StatusTooManyRequests:
		return x.refusal(op, a, core.CodeRateLimited)
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusTooEarly, why == "server_error", why == "temporarily_unavailable":
		return x.refusal(op, a, core.CodeUnavailable)
	case why == "" && (s >= 300 && s < 400 || s == http.StatusNotFound || s == http.StatusMethodNotAllowed || bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<"))):
		err := x.refusal(op, a, core.CodeForbidden)
		err.Hint = "look at settings.auth.token_url"
		return err
	}
	err := x.refusal(op, a, core.CodeUnauthenticated)
	err.Hint = "look at settings.auth and the secret " + clientSecret
	if x.signIn.assertion != nil {
		err.Hint = "look at settings.auth (client_id, claims) and the secret " + x.signIn.assertion.secret()
	}
	if x.signIn.login != nil {
		err.Hint = "look at settings.auth and the secrets username and password"
	}
	if x.auth.Grant == "refresh_token" && (why == "invalid_grant" || why == "") {
		err.Hint = "sign in at the API again, and set the secret " + refreshSecret + " to what it gives"
	}
	return err
}
