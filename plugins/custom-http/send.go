package customhttp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

const (
	maxAnswer = 1 << 20 // bytes of an answer that are read, unpacked
	maxQuote  = 300     // bytes of it that are quoted
)

// privateHint says how to allow an address of one's own network.
const privateHint = "name the host in settings.allowed_hosts if that is meant"

// session is a plan with the secrets of one call.
type session struct {
	*plan
	cred    credentials
	key     string // that requests are signed with
	hidden  []string
	secrets *strings.Replacer // masks them
	pauses  *pauses           // nil where a token is asked for, whose server counts by itself
	account string            // whose pause counts
	// webhookURL is below where the bridge is.
	webhookURL string
}

// open reads the account. Its errors pause the lane and lose no events.
func (c *Connector) open(account core.Account) (*session, *core.Error) {
	return c.openFor(account, true)
}

// openFor reads the account; to use the API, or to get a token for that.
func (c *Connector) openFor(account core.Account, use bool) (*session, *core.Error) {
	p, err := c.plan(account)
	if err != nil {
		return nil, err
	}
	if err := p.promisedMore(account.Idempotency); err != nil {
		return nil, err
	}
	x := &session{plan: p, pauses: &c.pauses, account: accountKey(&account), webhookURL: account.WebhookURL}
	var hide []string
	for _, name := range []string{keySecret, proxySecret} {
		if value := account.Secrets[name].Reveal(); value != "" {
			hide = append(hide, value, base64.StdEncoding.EncodeToString([]byte(value)))
		}
	}
	for _, name := range secretNames(p.auth.Type) {
		value := account.Secrets[name].Reveal()
		why := ""
		switch {
		case value == "":
			why = "missing"
		case badHeaderValue(value):
			why = "has line breaks or control characters"
		case name == "username" && p.auth.Type == "basic" && strings.Contains(value, ":"):
			why = "cannot have a colon"
		case name == "api_key" && p.auth.In == "cookie" && badCookie(value):
			why = "has characters that a cookie cannot have"
		}
		if why != "" {
			return nil, missingSecret(name, why)
		}
		hide = append(hide, value)
	}
	secret := func(name string) string { return account.Secrets[name].Reveal() }
	if p.signIn != nil {
		if account.Secrets[clientSecret] == "" && p.auth.Grant == "client_credentials" {
			return nil, missingSecret(clientSecret, "missing")
		}
		var token core.Token
		if account.Token != nil {
			token = *account.Token
		}
		if use && token.Secrets[accessToken] == "" {
			return nil, &core.Error{Code: core.CodeUnauthenticated, Op: "settings", Source: core.SourcePlugin, Message: "not signed in: there is no token"}
		}
		for _, value := range []core.Secret{account.Secrets[clientSecret], account.Secrets[refreshSecret], account.Secrets[privateKey], token.Secrets[accessToken], token.Secrets[keptRefresh]} {
			if value != "" {
				hide = append(hide, value.Reveal())
			}
		}
		secret = func(name string) string { return token.Secrets[name].Reveal() }
	}
	x.cred = credentialsOf(&p.auth, secret)
	if p.signing != nil {
		x.key = account.Secrets[signingKey].Reveal()
	}
	if p.auth.Type == "basic" {
		pass := account.Secrets["username"].Reveal() + ":" + account.Secrets["password"].Reveal()
		hide = append(hide, base64.StdEncoding.EncodeToString([]byte(pass)))
	}
	x.hidden = hide
	x.secrets = hiding(hide)
	return x, nil
}

// promisedMore is the error of a lane that promises more than the settings: by that, the
// bridge would repeat what is done twice then.
func (p *plan) promisedMore(lane core.Idempotency) *core.Error {
	if p.idempotency.Safe() || lane == p.idempotency || !lane.Safe() && lane != core.IdempotencySearch {
		return nil
	}
	return &core.Error{
		Code: core.CodeInvalid, Op: "settings", Source: core.SourcePlugin,
		Message: fmt.Sprintf("the lane's idempotency is %q, and settings.idempotency %q: the bridge would repeat what is done twice then", lane, p.idempotency),
		Hint:    "set both, idempotency beside connector and settings.idempotency, to what is true of the API",
	}
}

func hiding(list []string) *strings.Replacer {
	var pairs []string
	for _, value := range list {
		pairs = append(pairs, value, masked, url.QueryEscape(value), masked, url.PathEscape(value), masked)
	}
	return strings.NewReplacer(pairs...)
}

// hiding returns a session that masks one more secret.
func (x *session) hiding(more core.Secret) *session {
	also := *x
	also.hidden = append(slices.Clone(x.hidden), more.Reveal())
	also.secrets = hiding(also.hidden)
	return &also
}

func missingSecret(name, why string) *core.Error {
	return &core.Error{
		Code: core.CodeUnauthenticated, Op: "settings", Source: core.SourcePlugin,
		Message: "secrets." + name + ": " + why,
		Hint:    "set " + name + " under the lane's secrets; settings.auth asks for it",
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	broken bool // it ended too early

	parsed  bool
	value   any
	invalid bool
}

// json returns the body's value; nil when it is not JSON.
func (a *answer) json() any {
	if !a.parsed {
		v, err := decodeJSON(a.body)
		a.parsed, a.value, a.invalid = true, v, err != nil
	}
	return a.value
}

// text returns what is at the path; "" when there is no path.
func (a *answer) text(q path) string {
	if q == nil {
		return "" // and the body need not be decoded
	}
	return q.text(a.json())
}

func (a *answer) isJSON() bool {
	a.json()
	return !a.invalid
}

// do makes a request. The error says whether it was made at all.
func (x *session) do(ctx context.Context, op *operation, r Request) (*answer, *core.Error) {
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	return x.send(ctx, op, r, body, int64(len(r.Body)))
}

// send makes a request with a body of so many bytes, which may be signed only when it is
// r.Body.
func (x *session) send(ctx context.Context, op *operation, r Request, body io.Reader, size int64) (*answer, *core.Error) {
	if err := x.mayAsk(op); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})

	if size == 0 {
		body = http.NoBody // any other that is empty is sent in chunks
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return nil, refuse(op.path, "makes no valid address")
	}
	// Without GetBody net/http cannot send a body twice. It would do so, without
	// a word, for requests with an Idempotency-Key: harmless where the owner
	// says that the API knows the key, but then the bridge is to decide about it.
	req.GetBody, req.ContentLength = nil, size
	// Who asks only whether anybody is there has no path, and does not say who asks.
	if x.signing != nil && op.path != nil {
		x.signing.sign(&r, x.key, time.Now())
	}
	req.Header = r.Header

	core.Spend(ctx, budgetRequests, 1)
	resp, err := x.client.Do(req)
	if err == nil && resp.StatusCode == http.StatusProxyAuthRequired && x.wire.proxy != nil {
		_ = resp.Body.Close()
		err = &proxyError{resp.StatusCode} // to a request by plain http
	}
	if err != nil {
		return nil, x.noAnswer(ctx, op, err, sent.Load())
	}
	defer resp.Body.Close()
	x.heed(ctx, resp.Header)
	a := &answer{status: resp.StatusCode, header: resp.Header}
	// An answer that breaks off is judged by what came: JSON that is not whole
	// proves nothing, and where the status is proof, it came.
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, int64(cmp.Or(op.answer, maxAnswer))))
	a.broken = err != nil
	return a, nil
}

// noAnswer explains a request without an answer.
func (x *session) noAnswer(ctx context.Context, op *operation, err error, sent bool) *core.Error {
	// The client's error names the address, whose query may hold an API key.
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	e := &core.Error{Code: core.CodeUnavailable, Op: op.kind, Source: core.SourceVendor}
	why := clip(x.hide(err.Error()), maxQuote)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		why = "no time left"
	} else if ctx.Err() != nil {
		why = "the call was ended"
	}
	var refused *guard.Error
	switch {
	case errors.As(err, &refused):
		e.Code, e.Source = core.CodeForbidden, core.SourcePlugin
		e.Message, e.Hint = "not connected: "+refused.Why, "look at settings.base_url and settings.allowed_hosts"
	case x.wire.unconnected(err) != nil:
		e = x.wire.unconnected(err)
		e.Op, e.Message = op.kind, "no connection: "+why
	case sent:
		e.Code, e.Message = x.unknownCode(), "no answer: "+why
		if x.wire.asked.Load() {
			e.Hint = certHint
		}
	default:
		e.Message, e.Hint = "no connection: "+why, "look at settings.base_url and the network"
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
			e.Scope = core.ScopeLane // nobody else's event would get through
		} else if x.wire.asked.Load() {
			e.Hint = certHint
		}
	}
	return e
}

// renew says which secrets to look at.
func (x *session) renew() string {
	names := secretNames(x.auth.Type)
	if x.auth.Type == "oauth2" {
		return "look at what the app may do at the API, and at settings.auth.scope"
	}
	if names == nil {
		return "the API wants credentials: set settings.auth"
	}
	return "renew " + strings.Join(names, " and ") + " under the lane's secrets"
}

// longNumber may be a phone number.
var longNumber = regexp.MustCompile(`\+?[0-9]{7,}`)

// hide masks secrets, and what may be a phone number.
func (x *session) hide(text string) string {
	return longNumber.ReplaceAllStringFunc(x.secrets.Replace(text), core.MaskAddress)
}

// quote returns the beginning of an answer, for people.
func (x *session) quote(a *answer) string {
	if len(bytes.TrimSpace(a.body)) == 0 {
		return "an empty answer"
	}
	// Cut after masking, so that no half of a secret is left.
	text := string(a.body[:min(len(a.body), 16<<10)])
	return fmt.Sprintf("%q", clip(x.hide(strings.ToValidUTF8(text, "?")), maxQuote))
}
