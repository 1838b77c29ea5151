package zoho

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// throttled is how long the token endpoint wants to be left alone: ten tokens in ten
// minutes is what it gives, and asking earlier makes it longer.
const throttled = 10 * time.Minute

// Authorize implements [core.Authorizer]: a refresh token, which lives until it is
// revoked, for an access token, which lives an hour. What the answer means is in its
// body: Zoho reports most errors with status 200.
func (c *Connector) Authorize(ctx context.Context, a core.Account) (core.Token, error) {
	const op = "authorize"
	s, err := parseSettings(a.Settings)
	if err != nil {
		return core.Token{}, err
	}
	form := url.Values{"grant_type": {"refresh_token"}}
	for _, name := range []string{"client_id", "client_secret", "refresh_token"} {
		v := a.Secrets[name].Reveal()
		if v == "" {
			return core.Token{}, refused(op, "no secret "+name, "", "set the secret "+name+" of a self client")
		}
		form.Set(name, v)
	}
	caller := crm.Caller{Client: c.http(), Timeout: time.Duration(s.Timeout), Setting: "data_centre"}
	var token core.Token
	err = caller.Do(ctx, crm.Call{Op: op, Method: http.MethodPost, URL: s.accounts() + "/oauth/v2/token", Body: []byte(form.Encode()),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
		func(resp *http.Response, body []byte) *core.Error {
			var err *core.Error
			token, err = s.readToken(op, resp, body)
			return err
		})
	if err != nil {
		if err.Code == core.CodeUnknownOutcome {
			err.Code = core.CodeUnavailable // a token more or less
		}
		return core.Token{}, err
	}
	return token, nil
}

func (s *settings) readToken(op string, resp *http.Response, body []byte) (core.Token, *core.Error) {
	var a struct {
		Access      string  `json:"access_token"`
		Expires     float64 `json:"expires_in"`
		APIDomain   string  `json:"api_domain"`
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	if err := crm.Decode(body, &a); err != nil || a.Access == "" && a.Error == "" {
		e := crm.Failure(core.CodeUnavailable, op, "the accounts server answered %d, which is not a token", resp.StatusCode)
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode >= 300 && resp.StatusCode < 400 {
			e.Code, e.Hint = core.CodeForbidden, "look at settings.data_centre"
		}
		return core.Token{}, e
	}
	if a.Access != "" {
		if err := s.rightCentre(op, a.APIDomain); err != nil {
			return core.Token{}, err
		}
		if a.Expires < 60 || a.Expires > 86400 {
			a.Expires = 3600
		}
		return core.Token{Secrets: map[string]core.Secret{"access": core.Secret(a.Access)},
			Expires: time.Now().Add(time.Duration(a.Expires) * time.Second)}, nil
	}
	switch {
	case a.Error == "Access Denied", strings.Contains(a.Description, "too many requests"), resp.StatusCode == http.StatusTooManyRequests:
		return core.Token{}, &core.Error{Code: core.CodeRateLimited, Op: op, Source: core.SourceVendor, Vendor: a.Error, RetryAfter: throttled,
			Message: "Zoho gives no more tokens for now: " + crm.VendorText(a.Description),
			Hint:    "look whether another program uses the same refresh token: each should have its own"}
	case a.Error == "invalid_code":
		return core.Token{}, refused(op, "Zoho does not take the refresh token", a.Error,
			"make a new refresh token for the self client and set the secret refresh_token; it belongs to one data centre (settings.data_centre)")
	case a.Error == "invalid_client":
		return core.Token{}, refused(op, "Zoho does not know the client", a.Error, "look at the secret client_id and at settings.data_centre")
	case a.Error == "invalid_client_secret":
		return core.Token{}, refused(op, "Zoho does not take the client's secret", a.Error, "set the secret client_secret")
	case resp.StatusCode >= 500, a.Error == "general_error", a.Error == "internal_error":
		return core.Token{}, &core.Error{Code: core.CodeUnavailable, Op: op, Source: core.SourceVendor, Vendor: a.Error, Message: "the accounts server failed"}
	}
	return core.Token{}, refused(op, "the accounts server refused: "+crm.VendorText(a.Error+" "+a.Description), a.Error,
		"look at the secrets client_id, client_secret and refresh_token")
}

// rightCentre compares where the token is good with where the settings call. The
// address in the answer is not followed.
func (s *settings) rightCentre(op, domain string) *core.Error {
	if s.APIURL != "" || domain == "" || strings.TrimRight(domain, "/") == centres[s.DataCentre].api {
		return nil
	}
	for name, c := range centres {
		if c.api == strings.TrimRight(domain, "/") {
			return refused(op, "the account is in another data centre", "", `set settings.data_centre = "`+name+`"`)
		}
	}
	return refused(op, "the account is in a data centre that this connector does not know", "", "look at settings.data_centre, or set settings.api_url")
}

// refused makes an error that a person must mend.
func refused(op, message, vendor, hint string) *core.Error {
	return &core.Error{Code: core.CodeUnauthenticated, Op: op, Source: core.SourceVendor, Vendor: vendor, Message: message, Hint: hint}
}
