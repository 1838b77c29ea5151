package hubspot

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

var _ core.Authorizer = (*Connector)(nil)

const refreshToken = "refresh_token"

// Authorize implements [core.Authorizer]: an app's refresh token, which lives until the
// app is uninstalled, for an access token, which lives half an hour. A lasting token is
// returned as it is. See
// https://developers.hubspot.com/docs/api-reference/auth-oauth-v1/guide.
func (c *Connector) Authorize(ctx context.Context, a core.Account) (core.Token, error) {
	const op = "authorize"
	s, err := parseSettings(a.Settings)
	if err != nil {
		return core.Token{}, err
	}
	refresh := a.Secrets[refreshToken].Reveal()
	if refresh == "" {
		if a.Secrets["token"] == "" {
			return core.Token{}, noToken()
		}
		return core.Token{Secrets: map[string]core.Secret{"access": a.Secrets["token"]}}, nil
	}
	if s.ClientID == "" || a.Secrets[clientSecret] == "" {
		return core.Token{}, &core.Error{Code: core.CodeUnauthenticated, Op: op, Source: core.SourcePlugin,
			Message: "a refresh token without its app", Hint: "set settings.client_id and the secret " + clientSecret + " of the app that the refresh token is of"}
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {s.ClientID}, "client_secret": {a.Secrets[clientSecret].Reveal()}, "refresh_token": {refresh}}
	x := &session{settings: *s, http: c.http()}
	var got struct {
		Access  string  `json:"access_token"`
		Expires float64 `json:"expires_in"`
	}
	caller := crm.Caller{Client: x.http, Timeout: time.Duration(x.Timeout), Setting: "base_url"}
	call := crm.Call{Op: op, Method: http.MethodPost, URL: x.BaseURL + "/oauth/" + x.APIVersion + "/token", Body: []byte(form.Encode()),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}}
	err = caller.Do(ctx, call, func(resp *http.Response, body []byte) *core.Error {
		if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
			if e := crm.Decode(body, &got); e != nil || got.Access == "" {
				return crm.Failure(core.CodeUnavailable, op, "the answer holds no token")
			}
			return nil
		}
		r := x.refused(op, resp, body)
		if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized {
			// BAD_REFRESH_TOKEN, BAD_CLIENT_ID, …, or invalid_grant: only a person can mend it.
			r.Code, r.Scope = core.CodeUnauthenticated, ""
			r.Hint = "look at the secrets " + refreshToken + " and " + clientSecret + " and at settings.client_id; where the app was uninstalled, install it again"
		}
		return r.Error
	})
	if err != nil {
		if err.Code == core.CodeUnknownOutcome {
			err.Code = core.CodeUnavailable // a token more or less
		}
		return core.Token{}, err
	}
	if got.Expires < 60 || got.Expires > 86400 {
		got.Expires = 1800
	}
	return core.Token{Secrets: map[string]core.Secret{"access": core.Secret(got.Access)}, Expires: time.Now().Add(time.Duration(got.Expires) * time.Second)}, nil
}

func noToken() *core.Error {
	return &core.Error{
		Code: core.CodeUnauthenticated, Op: "hubspot", Source: core.SourcePlugin, Message: "no token",
		Hint: "set the secret token: a service key or a private app's access token; or an app's " + refreshToken,
	}
}
