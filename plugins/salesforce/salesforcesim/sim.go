// Package salesforcesim imitates the part of Salesforce that a connector uses: the
// token endpoint (JWT bearer, client credentials, refresh token), describe, SOQL
// queries, composite requests, collections upserted by external ids, campaigns and list
// views. It refuses
// what Salesforce refuses, in Salesforce's words, and can misbehave on demand (see
// [Fault]).
//
// A Sim is an [http.Handler]: tests mount it in memory, a demo on a port. Other
// processes steer it under /_sim/: see [Sim.ServeHTTP].
package salesforcesim

import (
	"cmp"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// Options configure a Sim. The zero Options are an org without limits that takes any
// credentials, and has the fields that wabridge's README says to create.
type Options struct {
	// ClientID is the app's consumer key, ClientSecret its secret, PublicKey that of
	// its certificate, RefreshTokens those that work, Username the user that the app
	// may sign in. What is empty is not looked at.
	ClientID, ClientSecret, Username string
	PublicKey                        *rsa.PublicKey
	RefreshTokens                    []string
	// RotateRefresh gives another refresh token with each access token; the one
	// before is then void.
	RotateRefresh bool
	// Audiences are whom an assertion may be for; empty is Salesforce's login hosts.
	Audiences []string
	// InstanceURL is what token answers say; empty is the address that was called.
	InstanceURL string
	// SessionLife ends access tokens that long after their last use; 0 never does.
	SessionLife time.Duration
	// Tokens are access tokens that work from the beginning.
	Tokens []string
	// Daily is how many API requests the org may make; 0 is 100,000.
	Daily int
	// Deliveries is how many events the org's subscriptions may bring in a day; 0 is no
	// limit.
	// Keepalive is how long one that waits is silent; 0 is Salesforce's 270 s.
	Deliveries int
	Keepalive  time.Duration
	// QueryPage is how many records of a query's answer come at once, where that is less
	// than what is asked for: Salesforce gives fewer as it likes.
	QueryPage int
	// DuplicateRule refuses a new contact whose LastName and MobilePhone another has,
	// unless the request's header allows it.
	DuplicateRule bool
	// TriggerRows is how many rows at a time the org's triggers bear: of a collection with
	// more all are refused; 0 is any.
	TriggerRows int
	// Bare leaves out the fields and the object that wabridge needs.
	Bare bool
	// Namespace is that of these fields.
	Namespace string
	// Latency is how long every answer takes, at least.
	Latency time.Duration
	// Seed is for faults with a chance.
	Seed uint64
}

// maxBody bounds a request's body.
const maxBody = 16 << 20

// Sim is one org. All methods may be called concurrently.
type Sim struct {
	opts  Options
	fault *fault.List[Fault]

	mu      sync.Mutex
	latency time.Duration
	tables  map[string]*table // by name in lower case
	tokens  map[string]time.Time
	refresh map[string]bool
	serial  int
	used    int // of the daily requests
	seq     int64
	cursors []*cursor // the youngest last
	stats   Stats
	bus     bus
	person  bool // somebody at the org acts, not the user of the tokens
}

// Stats counts what a Sim was asked and answered.
type Stats struct {
	Requests map[string]int `json:"requests"` // by method and path
	Statuses map[int]int    `json:"statuses"`
	Faults   map[string]int `json:"faults"` // injected, by kind
	Rows     int            `json:"rows"`   // of collections
}

// New returns an org without records.
func New(o Options) *Sim {
	if o.Daily == 0 {
		o.Daily = 100_000
	}
	if len(o.Audiences) == 0 {
		o.Audiences = []string{"https://login.salesforce.com", "https://test.salesforce.com"}
	}
	s := &Sim{opts: o, fault: fault.New[Fault](o.Seed), latency: o.Latency, tokens: map[string]time.Time{}, refresh: map[string]bool{}, tables: tables(o),
		stats: Stats{Requests: map[string]int{}, Statuses: map[int]int{}, Faults: map[string]int{}}}
	s.standardViews()
	for _, t := range o.Tokens {
		s.tokens[t] = time.Now()
	}
	for _, t := range o.RefreshTokens {
		s.refresh[t] = true
	}
	return s
}

// Stats returns the counts so far.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stats
	v.Requests, v.Statuses, v.Faults = maps.Clone(v.Requests), maps.Clone(v.Statuses), maps.Clone(v.Faults)
	return v
}

// Revoke ends all access tokens.
func (s *Sim) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// UseUp counts requests that others made.
func (s *Sim) UseUp(requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used += requests
}

// NextDay gives the org its requests and events anew.
func (s *Sim) NextDay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used, s.bus.today = 0, 0
}

// call is one request on its way through the sim.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	body []byte
	rows []Fault
}

// apiError is Salesforce's error of a request.
type apiError struct {
	Message   string   `json:"message"`
	ErrorCode string   `json:"errorCode"`
	Fields    []string `json:"fields,omitempty"`
}

// ServeHTTP implements [http.Handler]. Beside Salesforce's paths there are
//
//	GET    /_sim/stats                  [Stats]
//	GET    /_sim/ledger?object=Contact  a [Record] a line, in order of creation
//	GET    /_sim/faults                 the [Fault]s in force
//	POST   /_sim/faults                 adds one, or a list
//	DELETE /_sim/faults                 ends them all
//	POST   /_sim/views                  makes the list view that a [View] says
//	POST   /_sim/latency?d=200ms        sets Options.Latency
//	POST   /_sim/revoke                 ends all access tokens
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/_sim/"); ok {
		s.control(w, r, rest)
		return
	}
	cw := &countingWriter{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stats.Requests[r.Method+" "+r.URL.Path]++
		s.stats.Statuses[cw.status]++
	}()
	c := &call{w: cw, r: r}
	// The body comes first: only after it does the server notice that a client left.
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		c.fail(http.StatusRequestEntityTooLarge, "REQUEST_TOO_LARGE", "Maximum request size exceeded.")
		return
	}
	s.mu.Lock()
	d := s.latency
	s.mu.Unlock()
	fault.Pause(r.Context(), d)
	lost, answered := s.strike(c)
	if answered {
		return
	}
	if lost {
		// Everything happens, and nobody hears of it.
		c.w = fault.Unheard{}
		s.route(c)
		panic(http.ErrAbortHandler)
	}
	s.route(c)
}

var (
	dataPath   = regexp.MustCompile(`^/services/data/v([0-9]{2,3})\.0(?:/(.*))?$`)
	viewsPath  = regexp.MustCompile(`^sobjects/([A-Za-z0-9_]+)/listviews(?:/([A-Za-z0-9]+)(/describe)?)?$`)
	objectPath = regexp.MustCompile(`^sobjects/([A-Za-z0-9_]+)/describe/?$`)
	manyPath   = regexp.MustCompile(`^composite/sobjects/([A-Za-z0-9_]+)$`)
	upsertPath = regexp.MustCompile(`^composite/sobjects/([A-Za-z0-9_]+)/([A-Za-z0-9_]+)$`)
)

// maxURI is how long an address may be:
// https://developer.salesforce.com/docs/platform/api-rest/guide/errorcodes.html.
const maxURI = 16_384

// The versions that the org serves, older ones are retired; collections are upserted from 46 on.
const oldest, newest, upserts = 31, 68, 46

func (s *Sim) route(c *call) {
	switch {
	case c.r.URL.Path == "/services/oauth2/token":
		s.token(c)
		return
	case c.r.URL.Path == "/services/oauth2/revoke":
		s.revoke(c)
		return
	case strings.TrimSuffix(c.r.URL.Path, "/") == "/services/data" && c.r.Method == http.MethodGet:
		s.versions(c)
		return
	case strings.HasPrefix(c.r.URL.Path, "/id/"):
		s.identity(c)
		return
	}
	m := dataPath.FindStringSubmatch(c.r.URL.Path)
	version := 0
	if m != nil {
		version, _ = strconv.Atoi(m[1])
	}
	switch {
	case len(c.r.URL.RequestURI()) > maxURI:
		c.w.Header().Set("Content-Type", "text/html")
		c.w.WriteHeader(http.StatusRequestURITooLong)
		return
	case m != nil && version < oldest:
		c.fail(http.StatusGone, "UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL")
		return
	case m == nil, version > newest:
		c.notFound()
		return
	}
	if !s.admit(c) {
		return
	}
	method, path := c.r.Method, strings.TrimSuffix(m[2], "/")
	object, upsert := objectPath.FindStringSubmatch(path), upsertPath.FindStringSubmatch(path)
	switch {
	case object != nil && method == http.MethodGet:
		s.describe(c, object[1])
	case upsert != nil && version >= upserts && method == http.MethodPatch:
		s.collection(c, upsert[1], upsert[2])
	case path == "composite/sobjects" && (method == http.MethodPatch || method == http.MethodPost):
		s.collection(c, "", "")
	case path == "composite/sobjects" && method == http.MethodDelete:
		s.removeMany(c)
	case manyPath.MatchString(path) && (method == http.MethodPost || method == http.MethodGet):
		s.retrieveMany(c, manyPath.FindStringSubmatch(path)[1])
	case path == "sobjects" && method == http.MethodGet:
		s.listObjects(c)
	case viewsPath.MatchString(path):
		s.listViews(c, viewsPath.FindStringSubmatch(path))
	case strings.HasPrefix(path, "sobjects/"):
		s.object(c, strings.Split(strings.TrimPrefix(path, "sobjects/"), "/"))
	case (path == "query" || path == "queryAll") && method == http.MethodGet:
		s.mu.Lock()
		status, v := s.query(c.r.URL.Query().Get("q"), path == "queryAll", batchSize(c.r.Header))
		s.mu.Unlock()
		c.answer(status, v)
	case strings.HasPrefix(path, "query/") && method == http.MethodGet:
		s.mu.Lock()
		status, v := s.more(strings.TrimPrefix(path, "query/"))
		s.mu.Unlock()
		c.answer(status, v)
	case path == "" && method == http.MethodGet:
		s.resources(c, version)
	case path == "composite" && method == http.MethodPost:
		s.composite(c)
	case path == "limits" && method == http.MethodGet:
		s.mu.Lock()
		left := func(all, used int) map[string]int { return map[string]int{"Max": all, "Remaining": max(all-used, 0)} }
		limits := map[string]any{"DailyApiRequests": left(s.opts.Daily, s.used), "DailyDeliveredPlatformEvents": left(cmp.Or(s.opts.Deliveries, deliveries), s.bus.today)}
		s.mu.Unlock()
		c.answer(http.StatusOK, limits)
	case object != nil, upsert != nil, path == "composite", path == "query", path == "composite/sobjects", path == "limits":
		c.fail(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "HTTP Method '"+method+"' not allowed. Allowed are HEAD,GET,POST,PATCH")
	default:
		c.notFound()
	}
}

// admit checks the access token and counts the request; it has answered when it
// returns false.
func (s *Sim) admit(c *call) bool {
	token, _ := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.tokens[token]
	if !ok || s.opts.SessionLife > 0 && time.Since(last) > s.opts.SessionLife {
		delete(s.tokens, token)
		c.fail(http.StatusUnauthorized, "INVALID_SESSION_ID", "Session expired or invalid")
		return false
	}
	s.tokens[token] = time.Now()
	if s.used >= s.opts.Daily {
		c.fail(http.StatusForbidden, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
		return false
	}
	s.used++
	c.w.Header().Set("Sforce-Limit-Info", fmt.Sprintf("api-usage=%d/%d", s.used, s.opts.Daily))
	return true
}

func (c *call) fail(status int, code, message string) {
	c.answer(status, []apiError{{Message: message, ErrorCode: code}})
}

func (c *call) notFound() {
	c.fail(http.StatusNotFound, "NOT_FOUND", "The requested resource does not exist")
}

func (c *call) answer(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // a client that has gone is its own affair
}

// countingWriter remembers the status.
type countingWriter struct {
	http.ResponseWriter
	status int
}

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
