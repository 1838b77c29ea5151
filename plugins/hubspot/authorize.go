package hubspot

import (
	"cmp"
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
// app is uninstalled, for an access token, which lives half an hour. Where an answer brings
// another refresh token, that is used from then on. A lasting token is returned as it is. See
// https://developers.hubspot.com/docs/api-reference/auth-oauth-v1/guide.
func (c *Connector) Authorize(ctx context.Context, a core.Account) (core.Token, error) {
	const op = "authorize"
	s, err := parseSettings(a.Settings)
	if err != nil {
		return core.Token{}, err
	}
	given := a.Secrets[refreshToken]
	if given == "" {
		if a.Secrets["token"] == "" {
			return core.Token{}, noToken()
		}
		return core.Token{Secrets: map[string]core.Secret{"access": a.Secrets["token"]}}, nil
	}
	if s.ClientID == "" || a.Secrets[clientSecret] == "" {
		return core.Token{}, &core.Error{Code: core.CodeUnauthenticated, Op: op, Source: core.SourcePlugin,
			Message: "a refresh token without its app", Hint: "set settings.client_id and the secret " + clientSecret + " of the app that the refresh token is of"}
	}
	x := &session{settings: *s, http: c.http()}
	// The one that was kept is the newer, but for somebody who has signed in again.
	if a.Token != nil && a.Token.Secrets["refresh"] != "" && a.Token.Secrets["refresh"] != given {
		token, err := x.refresh(ctx, a.Secrets[clientSecret], a.Token.Secrets["refresh"])
		if err == nil {
			return token, nil
		}
		if err.Code != core.CodeUnauthenticated {
			return core.Token{}, err
		}
	}
	token, err := x.refresh(ctx, a.Secrets[clientSecret], given)
	if err != nil {
		return core.Token{}, err
	}
	return token, nil
}

// refresh asks for an access token.
func (x *session) refresh(ctx context.Context, secret, refresh core.Secret) (core.Token, *core.Error) {
	const op = "authorize"
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {x.ClientID}, "client_secret": {secret.Reveal()}, "refresh_token": {refresh.Reveal()}}
	var got struct {
		Access  string  `json:"access_token"`
		Refresh string  `json:"refresh_token"`
		Expires float64 `json:"expires_in"`
	}
	caller := crm.Caller{Client: x.http, Timeout: time.Duration(x.Timeout), Setting: "base_url"}
	call := crm.Call{Op: op, Method: http.MethodPost, URL: x.BaseURL + "/oauth/" + x.APIVersion + "/token", Body: []byte(form.Encode()),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}}
	err := caller.Do(ctx, call, func(resp *http.Response, body []byte) *core.Error {
		if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
			if e := crm.Decode(body, &got); e != nil || got.Access == "" {
				return crm.Failure(core.CodeUnavailable, op, "the answer holds no token")
			}
			return nil
		}
		r := x.refused(op, resp, body)
		if code, why := credentials(body); code != "" && (resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized) {
			// BAD_REFRESH_TOKEN, BAD_CLIENT_ID, … or invalid_grant: only a person can mend it.
			r.Code, r.Scope, r.Vendor, r.Message = core.CodeUnauthenticated, "", code, why
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
	return core.Token{
		Secrets: map[string]core.Secret{"access": core.Secret(got.Access), "refresh": cmp.Or(core.Secret(got.Refresh), refresh)},
		Expires: time.Now().Add(time.Duration(got.Expires) * time.Second),
	}, nil
}

// credentials reads what the token endpoint says of credentials, "" when it says nothing: the
// standard's error and HubSpot's older status, either or both. See
// https://developers.hubspot.com/changelog/new-oauth-v3-api-endpoints-and-standardized-error-responses.
func credentials(body []byte) (code, why string) {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Status      string `json:"status"`
		Message     string `json:"message"`
	}
	if crm.Decode(body, &e) != nil {
		return "", ""
	}
	why = crm.VendorText(cmp.Or(e.Description, e.Message, e.Error, e.Status))
	return crm.Clip(crm.VendorText(cmp.Or(e.Status, e.Error)), maxCode), why
}

func noToken() *core.Error {
	return &core.Error{
		Code: core.CodeUnauthenticated, Op: "hubspot", Source: core.SourcePlugin, Message: "no token",
		Hint: "set the secret token: a service key or a private app's access token; or an app's " + refreshToken,
	}
}
