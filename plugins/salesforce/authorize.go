package salesforce

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

const authorizeOp = "salesforce sign-in"

// assertionLife is how long a signed assertion holds: Salesforce takes three
// minutes at most.
const assertionLife = 3 * time.Minute

// Authorize implements [core.Authorizer]. The token has no known end: Salesforce
// does not tell it, and moves it with each use.
func (c *Connector) Authorize(ctx context.Context, account core.Account) (core.Token, error) {
	s, err := parseSettings(account.Settings)
	if err != nil {
		return core.Token{}, err
	}
	form := url.Values{"client_id": {s.ClientID}}
	var refresh []core.Secret
	switch s.Auth {
	case "jwt":
		assertion, err := s.assertion(account.Secrets["private_key"], time.Now())
		if err != nil {
			return core.Token{}, err
		}
		form = url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	case "client_credentials":
		secret := account.Secrets["client_secret"]
		if secret == "" {
			return core.Token{}, noSecret("client_secret", "the consumer secret of the app")
		}
		form.Set("grant_type", "client_credentials")
		form.Set("client_secret", secret.Reveal())
	case "refresh_token":
		if account.Token != nil && account.Token.Secrets["refresh"] != "" {
			refresh = append(refresh, account.Token.Secrets["refresh"])
		}
		// After a rotation the secret is the older one, after a new sign-in the newer.
		if given := account.Secrets["refresh_token"]; given != "" && (len(refresh) == 0 || refresh[0] != given) {
			refresh = append(refresh, given)
		}
		if len(refresh) == 0 {
			return core.Token{}, noSecret("refresh_token", "what Salesforce gave when a person signed in")
		}
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", refresh[0].Reveal())
		if secret := account.Secrets["client_secret"]; secret != "" {
			form.Set("client_secret", secret.Reveal())
		}
	}
	token, err := c.askToken(ctx, s, form)
	if err != nil && err.Code == core.CodeUnauthenticated && len(refresh) > 1 {
		form.Set("refresh_token", refresh[1].Reveal())
		token, err = c.askToken(ctx, s, form)
	}
	if err != nil {
		return core.Token{}, err
	}
	if used := form.Get("refresh_token"); used != "" && token.Secrets["refresh"] == "" {
		token.Secrets["refresh"] = core.Secret(used)
	}
	return token, nil
}

func noSecret(name, what string) *core.Error {
	return &core.Error{Code: core.CodeUnauthenticated, Op: authorizeOp, Source: core.SourcePlugin,
		Message: "no secret " + name, Hint: "set the secret " + name + ": " + what}
}

// assertion signs who we are.
func (s *settings) assertion(key core.Secret, now time.Time) (string, *core.Error) {
	if key == "" {
		return "", noSecret("private_key", "the RSA key whose certificate the app in Salesforce has, as PEM")
	}
	private, why := readKey(key.Reveal())
	if why != "" {
		return "", &core.Error{Code: core.CodeUnauthenticated, Op: authorizeOp, Source: core.SourcePlugin,
			Message: "the secret private_key is no usable key: " + why, Hint: "set the secret private_key to an RSA private key in PEM"}
	}
	claims, _ := json.Marshal(map[string]any{ //nolint:errchkjson // texts and a number
		"iss": s.ClientID, "sub": s.Username, "aud": s.audience(), "exp": now.Add(assertionLife).Unix(),
	})
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
	if err != nil {
		return "", &core.Error{Code: core.CodeUnauthenticated, Op: authorizeOp, Source: core.SourcePlugin,
			Message: "the secret private_key cannot sign", Hint: "set the secret private_key to an RSA key of at least 2048 bits"}
	}
	return signed + "." + encode(signature), nil
}

// readKey reads an RSA key; why says what is wrong with it, without showing it.
func readKey(text string) (_ *rsa.PrivateKey, why string) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, "not PEM"
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, ""
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, "not PKCS #1 or PKCS #8, or protected by a password"
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, "not RSA"
	}
	return private, ""
}

// audience is whom the assertion is for.
func (s *settings) audience() string {
	switch s.Audience {
	case "login":
		return "https://login.salesforce.com"
	case "test":
		return "https://test.salesforce.com"
	case "":
		u, err := url.Parse(s.LoginURL)
		if err == nil && (u.Hostname() == "test.salesforce.com" || strings.HasSuffix(u.Hostname(), ".sandbox.my.salesforce.com")) {
			return "https://test.salesforce.com"
		}
		return "https://login.salesforce.com"
	}
	return s.Audience
}

// identityURL is the form of a token answer's id, which names the org and the user:
// https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_using_openid.htm.
var identityURL = regexp.MustCompile(`/id/(00D[A-Za-z0-9]{12,15})/(005[A-Za-z0-9]{12,15})$`)

// askToken asks the token endpoint.
func (c *Connector) askToken(ctx context.Context, s *settings, form url.Values) (core.Token, *core.Error) {
	var token core.Token
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	caller := crm.Caller{Client: c.http(), Timeout: time.Duration(s.Timeout), Setting: "login_url"}
	err := caller.Do(ctx, crm.Call{Op: authorizeOp, Method: http.MethodPost, URL: s.LoginURL + "/services/oauth2/token", Header: header,
		Body: []byte(form.Encode())}, func(resp *http.Response, body []byte) *core.Error {
		var a struct {
			Access      string `json:"access_token"`
			Refresh     string `json:"refresh_token"`
			Instance    string `json:"instance_url"`
			ID          string `json:"id"`
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		unreadable := crm.Decode(body, &a)
		if resp.StatusCode != http.StatusOK {
			return s.tokenRefused(resp, a.Error, a.Description)
		}
		if unreadable != nil || a.Access == "" {
			return crm.Failure(core.CodeUnavailable, authorizeOp, "the answer holds no access token")
		}
		instance, err := s.instanceURL(a.Instance)
		if err != nil {
			return err
		}
		token = core.Token{Secrets: map[string]core.Secret{"access": core.Secret(a.Access)}, Values: map[string]string{"instance_url": instance}}
		if m := identityURL.FindStringSubmatch(a.ID); m != nil {
			token.Values["org"], token.Values["user"] = m[1], m[2]
		}
		if a.Refresh != "" {
			token.Secrets["refresh"] = core.Secret(a.Refresh)
		}
		return nil
	})
	if err != nil && err.Code == core.CodeUnknownOutcome {
		err.Code = core.CodeUnavailable // a token that nobody heard of does no harm
	}
	return token, err
}

// tokenRefused explains why there is no token.
func (s *settings) tokenRefused(resp *http.Response, code, description string) *core.Error {
	err := &core.Error{Code: core.CodeUnauthenticated, Op: authorizeOp, Source: core.SourceVendor, Vendor: code, RetryAfter: crm.RetryAfter(resp.Header),
		Message: fmt.Sprintf("Salesforce answered %d", resp.StatusCode)}
	if text := crm.VendorText(description); text != "" {
		err.Message += ": " + text
	}
	has := func(part string) bool { return strings.Contains(strings.ToLower(description), part) }
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == 420, has("rate exceeded"), code == "rate_limit_exceeded":
		err.Code, err.RetryAfter = core.CodeRateLimited, max(err.RetryAfter, time.Minute)
	case resp.StatusCode >= 500, code == "unknown_error", code == "server_error", code == "temporarily_unavailable":
		err.Code = core.CodeUnavailable
	case code == "", resp.StatusCode >= 300 && resp.StatusCode < 400:
		err.Code, err.Hint = core.CodeForbidden, "look at settings.login_url: https://login.salesforce.com, https://test.salesforce.com or the org's My Domain"
	case has("hasn't approved"):
		err.Hint = "in the app's policies, let admin approved users only sign in, and give the user of settings.username its permission set"
	case has("audience"):
		err.Hint = `set settings.audience to "login", "test" (sandboxes) or the community's address`
	case code == "invalid_grant" && s.Auth == "jwt":
		err.Hint = "look at settings.username, at the certificate in the app (is it that of the secret private_key?) and at this machine's clock"
	case code == "invalid_grant" && s.Auth == "refresh_token":
		err.Hint = "the refresh token was revoked or has expired: sign in again and set the secret refresh_token"
	case code == "invalid_grant":
		err.Hint = "settings.login_url must be the org's My Domain, and the app needs a user to run as"
	case strings.HasPrefix(code, "invalid_client"), code == "invalid_app_access", code == "unauthorized_client":
		err.Hint = "look at settings.client_id (the consumer key), the app's secret, and whether the app allows this flow (settings.auth)"
	default:
		err.Hint = "look at settings.auth and at the app in Salesforce"
	}
	return err
}

// domains are those under which Salesforce serves the APIs of orgs.
var domains = []string{".salesforce.com", ".cloudforce.com", ".salesforce.mil", ".sfcrmproducts.cn"}

// instanceURL checks where an answer says that the org is: the token goes there.
func (s *settings) instanceURL(raw string) (string, *core.Error) {
	u, err := url.Parse(raw)
	if err == nil && u.Host != "" && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" {
		if s.InstanceHost != "" && u.Host == s.InstanceHost {
			return crm.BaseURL(settingsOp, "instance_host", u.Scheme+"://"+u.Host, "acme.my.salesforce.com")
		}
		for _, d := range domains {
			if u.Scheme == "https" && strings.HasSuffix(strings.ToLower(u.Host), d) {
				return "https://" + strings.ToLower(u.Host), nil
			}
		}
	}
	return "", &core.Error{Code: core.CodeForbidden, Op: authorizeOp, Source: core.SourcePlugin, Scope: core.ScopeLane,
		Message: "the answer's instance_url is not in a domain of Salesforce's",
		Hint:    "look at settings.login_url; where the org is behind another host, name it in settings.instance_host"}
}
