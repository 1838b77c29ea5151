package customhttp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

// Bounds, in bytes unless said otherwise.
const (
	maxBatch        = 200 // events
	maxParallel     = 64  // requests
	maxRequestBody  = 8 << 20
	maxHeaderValue  = 8 << 10
	maxURL          = 8 << 10
	defaultTimeout  = 10 * time.Second
	maxTimeout      = 2 * time.Minute
	defaultParallel = 8
	defaultMaxBytes = 1 << 20
)

// plan is what the settings say, checked and compiled. It is not changed, and
// holds no secrets but those of its connections: the others come with each call.
type plan struct {
	base        *url.URL
	private     bool // may be at a private address, and plain http
	timeout     time.Duration
	parallel    int
	auth        authSettings
	signIn      *signIn  // nil where credentials do not expire
	signing     *signing // nil where requests are not signed
	idempotency core.Idempotency
	retryAfter  retryAfterSettings
	left        leftSettings
	health      *operation
	operations  map[core.Kind]*operation // "*" included
	pulls       []*pull
	webhook     *webhook
	segments    *segments
	find        []*search

	line   line
	wire   *wire
	client *http.Client
	bridge *http.Client // to fetch files from it
	log    *slog.Logger
}

// operation is what to do for one kind of event.
type operation struct {
	name     string // the setting's path, for people
	kind     string // the kind it is for, or "*" or "health"
	skip     bool
	names    bool // says {{.contact_ref}}
	method   string
	path     *tmpl
	query    []named
	headers  []named
	body     *tmpl // nil is the event itself
	noBody   bool
	batch    *batch
	response response
	errors   []rule
	readBack *readBack // nil is not looked for
	upload   *upload   // nil where files stay at the bridge
	answer   int       // bytes of an answer that are read; maxAnswer when 0
}

// named is a template with a name.
type named struct {
	name  string
	value *tmpl
}

// batch is how an operation puts several events into one request.
type batch struct {
	maxItems, maxBytes int
	before, after      string // around the items
	body               *tmpl  // instead
	results            *results
}

// kinds are the events that there can be operations for.
var kinds = []core.Kind{
	core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia, core.KindMessageStatus, core.KindContactChanged, core.KindConsentChanged,
	core.KindContactErased, core.KindContactMerged, core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed, core.KindUnknown,
}

// forPerson returns why a person has to do what the settings say nothing of, nil when
// they do: a contact is not erased, and of two records not made one, by silence. An
// operation for all kinds is told of it like of everything else.
func (p *plan) forPerson(kind core.Kind) *core.Error {
	err := &core.Error{Code: core.CodeUndeliverable, Source: core.SourcePlugin}
	switch {
	case p.operations[kind] != nil || p.operations["*"] != nil:
		return nil
	case kind == core.KindContactErased:
		err.Op, err.Message = "erase", "the settings do not say how a contact is erased"
		err.Hint = `erase by hand, at the API, what is kept under the contact's id and addresses (see the event), then resolve this; ` +
			`or set operations."contact.erased" and replay it`
	case kind == core.KindContactMerged:
		err.Op, err.Message = "merge", "the settings do not say how two contacts are made one"
		err.Hint = `make one, at the API, of what is kept under the ids of both contacts (see the event), then resolve this; ` +
			`or set operations."contact.merged", with skip = true where two do no harm, and replay it`
	default:
		return nil
	}
	return err
}

// operationFor returns nil when there is nothing to do.
func (p *plan) operationFor(kind core.Kind) *operation {
	op, ok := p.operations[kind]
	if !ok {
		op = p.operations["*"]
	}
	if op == nil || op.skip {
		return nil
	}
	return op
}

// compile checks the settings and makes a plan of them. The error is
// CodeInvalid and names everything that is wrong.
func compile(raw json.RawMessage) (*plan, *core.Error) {
	var p problems
	s := parseSettings(raw, &p)
	if err := p.err(); err != nil {
		return nil, err
	}
	c := &planner{settings: s, problems: &p}
	made := c.plan()
	if err := p.err(); err != nil {
		return nil, err
	}
	return made, nil
}

type planner struct {
	*settings
	*problems
	shared named // the idempotency header of operations for single events
}

func (c *planner) plan() *plan {
	p := &plan{
		timeout: defaultTimeout, parallel: defaultParallel, auth: c.Auth, retryAfter: c.RetryAfter,
		operations: make(map[core.Kind]*operation),
	}
	c.base(p)
	p.line = c.line()
	c.limits(p)
	c.authentication(p)
	c.idempotency(p)
	if h := c.Health; h != nil {
		p.health = c.request("settings.health", "health", operationSettings{
			Method: cmp.Or(h.Method, http.MethodGet), Path: h.Path, Query: h.Query, Headers: h.Headers,
		}, noWords)
		if h.Response == nil {
			h.Response = new(responseSettings)
		}
		p.health.noBody = true
		p.health.response = compileResponse(h.Response, "settings.health.response", c.problems)
		p.health.errors = c.rules("settings.errors", c.Errors)
	}
	names := make([]string, 0, len(kinds)+1)
	for _, k := range kinds {
		names = append(names, string(k))
	}
	names = append(names, "*")
	for _, kind := range sortedKeys(c.Operations) {
		where := "settings.operations." + quoteKey(kind)
		if !slices.Contains(names, kind) {
			c.addf(where, `unknown kind of event%s (want %s or "*")`, suggest(kind, names), strings.Join(names[:len(names)-1], ", "))
			continue
		}
		p.operations[core.Kind(kind)] = c.operation(where, kind, c.Operations[kind])
	}
	p.pulls, p.webhook, p.segments = c.pulls(), c.webhook(), c.segments()
	p.find = c.searches(p)
	c.readBacks(p)
	if len(c.Operations) == 0 && len(p.pulls) == 0 && p.webhook == nil && p.segments == nil {
		c.addf("settings.operations", `missing: say what to do, for "message.received" or for all kinds as "*"`)
	}
	return p
}

func (c *planner) base(p *plan) {
	const where = "settings.base_url"
	u, err := url.Parse(c.BaseURL)
	switch {
	case c.BaseURL == "":
		c.addf(where, "missing: the API's address, such as https://api.example.com/v1")
		return
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		c.addf(where, "want an address such as https://api.example.com/v1")
		return
	case u.User != nil:
		c.addf(where, "credentials do not belong here: use settings.auth and secrets")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		c.addf(where, "a query belongs to the operations")
	}
	p.base = u
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	for i, host := range c.AllowedHosts {
		if host == "" || strings.ContainsAny(host, "/@*") {
			c.addf(fmt.Sprintf("settings.allowed_hosts[%d]", i), "want a host or host:port, such as localhost:9000")
		}
		p.private = p.private || names(host, u)
	}
	switch {
	case u.Scheme == "http" && !p.private:
		c.addf(where, "plain http shows everyone on the way what is written: use https, or name %s in settings.allowed_hosts", u.Host)
	case u.Scheme != "http" && u.Scheme != "https":
		c.addf(where, "want https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if why := guard.Refusal(ip, p.private, privateHint); why != "" {
			c.addf(where, "%s", why)
		}
	}
}

// names reports whether a host or host:port is the URL's.
func names(host string, u *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.EqualFold(strings.Trim(host, "[]"), u.Hostname()) ||
		strings.EqualFold(host, net.JoinHostPort(u.Hostname(), port))
}

func (c *planner) limits(p *plan) {
	if c.Timeout != "" {
		d, err := time.ParseDuration(c.Timeout)
		if err != nil || d < 100*time.Millisecond || d > maxTimeout {
			c.addf("settings.timeout", `want a duration from "100ms" to "%v"`, maxTimeout)
		}
		p.timeout = d
	}
	if c.Parallel != nil {
		if *c.Parallel < 1 || *c.Parallel > maxParallel {
			c.addf("settings.parallel", "want 1 to %d", maxParallel)
		}
		p.parallel = *c.Parallel
	}
	p.left = c.left()
	if p.retryAfter.Format = cmp.Or(c.RetryAfter.Format, "auto"); !slices.Contains(waitFormats, p.retryAfter.Format) {
		c.addf("settings.retry_after.format", "want one of %s", strings.Join(waitFormats, ", "))
	}
	if p.retryAfter.Header = cmp.Or(c.RetryAfter.Header, "Retry-After"); !headerName.MatchString(p.retryAfter.Header) {
		c.addf("settings.retry_after.header", "not a header's name")
	}
}

func (c *planner) authentication(p *plan) {
	a := &p.auth
	a.Type = cmp.Or(a.Type, "none")
	c.foreign(a)
	switch a.Type {
	case "none", "bearer", "basic":
	case "oauth2":
		c.oauth2(p)
	case "session":
		c.login(p)
	case "hmac":
		c.signing(p)
	case "api_key":
		a.In = cmp.Or(a.In, "header")
		c.place(a)
	default:
		c.addf("settings.auth.type", "want none, bearer, basic, api_key, oauth2, session or hmac")
	}
}

// foreign reports what is for another type.
func (c *planner) foreign(a *authSettings) {
	for name, of := range map[string]struct {
		set   bool
		types []string
	}{
		"in": {a.In != "", []string{"api_key", "session"}}, "name": {a.Name != "", []string{"api_key", "session", "hmac"}},
		"token_url": {a.TokenURL != "", []string{"oauth2", "session"}}, "token": {a.Token != "", []string{"oauth2", "session"}},
		"grant": {a.Grant != "", []string{"oauth2"}}, "client_id": {a.ClientID != "", []string{"oauth2"}},
		"client": {a.Client != "", []string{"oauth2"}}, "scope": {a.Scope != "", []string{"oauth2"}}, "params": {len(a.Params) > 0, []string{"oauth2"}},
		"body": {a.Body != "", []string{"session"}}, "format": {a.Format != "", []string{"session"}},
		"expires": {a.Expires != "", []string{"session"}}, "lifetime": {a.Lifetime != "", []string{"session"}},
		"payload": {a.Payload != "", []string{"hmac"}}, "encoding": {a.Encoding != "", []string{"hmac"}}, "value": {a.Value != "", []string{"hmac"}},
		"timestamp": {a.Timestamp != "", []string{"hmac"}}, "timestamp_format": {a.TimestampFormat != "", []string{"hmac"}},
		"algorithm": {a.Algorithm != "", []string{"oauth2", "hmac"}}, "key_id": {a.KeyID != "", []string{"oauth2"}}, "claims": {len(a.Claims) > 0, []string{"oauth2"}},
		"prefix": {a.Prefix != "", []string{"api_key", "oauth2", "session"}},
	} {
		if of.set && !slices.Contains(of.types, a.Type) {
			c.addf("settings.auth."+name, `is for type = "%s"`, strings.Join(of.types, `", "`))
		}
	}
}

// place checks where an API key, or a token, goes.
func (c *planner) place(a *authSettings) {
	if !slices.Contains([]string{"header", "query", "cookie"}, a.In) {
		c.addf("settings.auth.in", `want "header", "query" or "cookie"`)
	}
	switch {
	case a.Name == "":
		c.addf("settings.auth.name", "missing: the name of the header, of the query's parameter or of the cookie")
	case a.In == "header" && !headerName.MatchString(a.Name):
		c.addf("settings.auth.name", "not a header's name")
	case a.In == "cookie" && !headerName.MatchString(a.Name): // both are a token of RFC 9110
		c.addf("settings.auth.name", "not a cookie's name")
	case a.In != "header" && a.Prefix != "":
		c.addf("settings.auth.prefix", "is for headers")
	case badHeaderValue(a.Prefix):
		c.addf("settings.auth.prefix", "control characters cannot be in a header")
	}
}

func (c *planner) idempotency(p *plan) {
	const where = "settings.idempotency"
	s := c.Idempotency
	switch p.idempotency = core.Idempotency(s.Mode); p.idempotency {
	case core.IdempotencyKey:
		name := cmp.Or(s.Header, "Idempotency-Key")
		if !headerName.MatchString(name) {
			c.addf(where+".header", "not a header's name")
		}
		c.shared = named{name, compileTemplate(cmp.Or(s.Key, idOnly), inText, where+".key", vocabulary(), c.problems)}
		return
	case core.IdempotencyUpsert, core.IdempotencySearch, core.IdempotencyNone:
	case "":
		c.addf(where, `missing: "key" when the API drops a request whose key it has seen, "upsert" when what is written is keyed by an id in the request, "search" when it can be asked what it has, else "none"`)
	default:
		c.addf(where, `want "key", "upsert", "search" or "none"`)
	}
	if s.Header != "" || s.Key != "" {
		c.addf(where, `header and key are for mode = "key"`)
	}
}

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// request compiles what a request needs but its body.
func (c *planner) request(where, kind string, s operationSettings, words *word) *operation {
	op := &operation{name: where, kind: kind, method: cmp.Or(s.Method, http.MethodPost)}
	if !slices.Contains(methods, op.method) {
		c.addf(where+".method", "want one of %s", strings.Join(methods, ", "))
	}
	if s.Path != "" && !strings.HasPrefix(s.Path, "/") {
		c.addf(where+".path", "want a path that begins with /")
	}
	op.path = compileTemplate(s.Path, inPath, where+".path", words, c.problems)
	if op.path.fixed() && climbs(op.path.text) {
		c.addf(where+".path", "cannot have the segments . and ..")
	}
	for _, name := range sortedKeys(s.Query) {
		at := where + ".query." + quoteKey(name)
		if name == "" || c.Auth.In == "query" && name == c.Auth.Name {
			c.addf(at, "is set by settings.auth, or has no name")
		}
		op.query = append(op.query, named{name, compileTemplate(s.Query[name], inText, at, words, c.problems)})
	}
	headers := make(map[string]named)
	c.headers(headers, "settings.headers", c.settings.Headers, nil)
	c.headers(headers, where+".headers", s.Headers, words)
	for _, name := range sortedKeys(headers) {
		op.headers = append(op.headers, headers[name])
	}
	return op
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// ownHeaders are set by the connection, or by us.
var ownHeaders = []string{
	"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// headers compiles headers; without words they are the same for all requests.
func (c *planner) headers(to map[string]named, where string, from map[string]string, words *word) {
	for _, name := range sortedKeys(from) {
		at, canonical := where+"."+quoteKey(name), textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case words == nil && strings.Contains(from[name], "{{"):
			c.addf(at, "is for all requests: templates go into headers of operations")
			continue
		case !headerName.MatchString(name):
			c.addf(at, "not a header's name")
		case slices.Contains(ownHeaders, canonical):
			c.addf(at, "cannot be set")
		case c.setByAuth(canonical):
			c.addf(at, "is set by settings.auth")
		case canonical == textproto.CanonicalMIMEHeaderKey(c.shared.name),
			canonical == "Idempotency-Key", canonical == "X-Idempotency-Key":
			// net/http takes these two as leave to send a request again.
			c.addf(at, `say settings.idempotency = {mode = "key", header = %q} instead`, canonical)
		}
		to[canonical] = named{canonical, compileTemplate(from[name], inText, at, cmp.Or(words, noWords), c.problems)}
	}
}

func (c *planner) setByAuth(canonical string) bool {
	switch c.Auth.Type {
	case "bearer", "basic", "oauth2":
		return canonical == "Authorization"
	case "hmac":
		return canonical == textproto.CanonicalMIMEHeaderKey(c.Auth.Name) || canonical == textproto.CanonicalMIMEHeaderKey(c.Auth.Timestamp)
	case "api_key", "session":
		switch c.Auth.In {
		case "query":
			return false
		case "cookie":
			return canonical == "Cookie"
		}
		return canonical == textproto.CanonicalMIMEHeaderKey(cmp.Or(c.Auth.Name, "Authorization"))
	}
	return false
}

func (c *planner) operation(where, kind string, s operationSettings) *operation {
	if s.Skip {
		if s.Method != "" || s.Path != "" || s.Body != nil || s.Batch != nil || s.Find != nil || s.Upload != nil {
			c.addf(where+".skip", "leaves nothing to do for the rest")
		}
		return &operation{skip: true}
	}
	words := vocabulary()
	if s.Upload != nil {
		words = uploadWords()
	}
	body := words
	if s.Batch != nil {
		words = batchWords // one request for many events
	}
	op := c.request(where, kind, s, words)
	bodiless := op.method == http.MethodGet || op.method == http.MethodDelete
	switch {
	case s.Body == nil:
		op.noBody = bodiless
	case *s.Body == "":
		op.noBody = true
	case op.method == http.MethodGet:
		c.addf(where+".body", "GET has no body")
	default:
		op.body = compileTemplate(*s.Body, inBody, where+".body", body, c.problems)
		if op.body.fixed() && !json.Valid([]byte(op.body.text)) {
			c.addf(where+".body", "not JSON")
		}
	}
	switch {
	case s.Batch != nil && op.noBody:
		c.addf(where+".batch", "needs a body")
	case s.Batch != nil:
		op.batch = c.batch(where+".batch", s.Batch)
	case c.shared.value != nil:
		op.headers = append(op.headers, c.shared)
	}
	r, at := s.Response, where+".response"
	if r == nil {
		r, at = c.settings.Response, "settings.response"
	}
	if r == nil {
		r = new(responseSettings)
	}
	op.response = compileResponse(r, at, c.problems)
	op.errors = append(c.rules(where+".errors", s.Errors), c.rules("settings.errors", c.settings.Errors)...)
	if s.Find != nil {
		op.readBack = c.readBack(where+".find", s.Find)
	}
	if s.Upload != nil {
		op.upload = c.upload(where+".upload", kind, s.Upload)
		if s.Batch != nil {
			c.addf(where+".upload", "is for an operation without batch: each file is a request of its own")
		}
		if !op.says(".upload") {
			c.addf(where+".upload", "is of no use: the request says neither .upload.id nor .upload.url")
		}
	}
	return op
}

// noWords are what a request for no event can say.
var noWords = &word{fields: map[string]*word{}, only: " (this request is for no event)"}

// batchWords are what a request for many events can say of them.
var batchWords = &word{
	fields: map[string]*word{"count": {zero: json.Number("0")}},
	only:   " (one request for many events knows .count only)",
}

func (c *planner) batch(where string, s *batchSettings) *batch {
	b := &batch{maxItems: s.MaxItems, maxBytes: defaultMaxBytes}
	if b.maxItems < 1 || b.maxItems > maxBatch {
		c.addf(where+".max_items", "want 1 to %d", maxBatch)
	}
	if s.MaxBytes != nil {
		if b.maxBytes = *s.MaxBytes; b.maxBytes < 1 || b.maxBytes > maxRequestBody {
			c.addf(where+".max_bytes", "want 1 to %d", maxRequestBody)
		}
	}
	switch {
	case s.Body != "" && s.Wrap != "":
		c.addf(where, "want one of wrap and body")
	case s.Body != "":
		words := &word{fields: map[string]*word{"count": batchWords.fields["count"], "items": {}}}
		b.body = compileTemplate(s.Body, inBody, where+".body", words, c.problems)
		if b.body.fixed() || !strings.Contains(s.Body, ".items") {
			c.addf(where+".body", "has no place for the events: {{.items}}")
		}
	default:
		q := parsePath(s.Wrap)
		q.check(where+".wrap", c.problems)
		for _, name := range q {
			key, _ := toJSON(name)
			b.before += "{" + key + ":"
			b.after += "}"
		}
		b.before, b.after = b.before+"[", "]"+b.after
	}
	if s.Results != nil {
		b.results = c.results(where+".results", s.Results)
	}
	return b
}
