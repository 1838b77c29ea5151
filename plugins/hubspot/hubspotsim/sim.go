// Package hubspotsim imitates the part of HubSpot's API that a connector uses:
// objects (contacts, communications, companies), properties, associations, lists and
// search, in the dated path family (/crm/objects/2026-09/…) and the older one
// (/crm/v3/objects/…), and the inbox with its custom channels. It refuses what HubSpot refuses, in HubSpot's words, and can
// misbehave on demand (see [Fault]).
//
// A Sim is an [http.Handler]: tests mount it in memory, a demo on a port. Other
// processes steer it under /_sim/: see [Sim.ServeHTTP].
package hubspotsim

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// Options configure a Sim. The zero Options are an account without limits, at once
// consistent, that takes any token.
type Options struct {
	// Tokens are the access tokens that the account takes; empty takes any.
	Tokens []string
	// ClientID and ClientSecret are an app's, RefreshTokens those that it may refresh:
	// with any, only tokens that it got by them are taken, beside Tokens. An empty id or
	// secret takes any.
	ClientID, ClientSecret string
	RefreshTokens          []string
	// Rotates says that each answer brings another refresh token, and ends the one before.
	Rotates bool
	// Scopes are what the tokens may do; empty is everything. See [Scopes].
	Scopes []string
	// Latency is how long every answer takes, at least.
	Latency time.Duration
	// Country is the account's, as "ES": numbers without a country's code are of there.
	Country string
	// SearchLag is how long search does not see a write.
	SearchLag time.Duration
	// TenSecondly, Secondly and Daily limit the requests; 0 is no limit. Search has
	// SearchSecondly of its own, and does not count for the first two.
	TenSecondly, Secondly, Daily, SearchSecondly int
	// NoUniqueActivities refuses unique properties on communications.
	NoUniqueActivities bool
	// Required are properties that the account's administrator requires of new
	// records, by object; enforced from API version 2026-09 on.
	Required map[string][]string
	// History names the properties whose writes the ledger keeps in order; empty
	// is wa_status.
	History []string
	// Seed is for faults with a chance.
	Seed uint64
	// Created, when set, is told of each new record by the value of its unique
	// property. It must be quick: the account waits.
	Created func(object, key string)
}

// The scopes that the API asks for.
const (
	ScopeRead        = "crm.objects.contacts.read"
	ScopeWrite       = "crm.objects.contacts.write"
	ScopeSchemaRead  = "crm.schemas.contacts.read"
	ScopeSchemaWrite = "crm.schemas.contacts.write"
)

// maxBody bounds a request's body.
const maxBody = 16 << 20

// Sim is one HubSpot account. All methods may be called concurrently.
type Sim struct {
	opts  Options
	state state
	limit limits
	fault *fault.List[Fault]
	oauth oauth
	inbox inbox
	stats stats
}

// New returns an empty account.
func New(o Options) *Sim {
	if len(o.History) == 0 {
		o.History = []string{"wa_status"}
	}
	s := &Sim{opts: o, fault: fault.New[Fault](o.Seed)}
	s.state.init(&s.opts)
	return s
}

// call is one request on its way through the sim.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	version string // "2026-09", "2026-03", "v3", "v4"
	rest    []string
	body    []byte
	rows    rowFaults
	id      string // correlation id
}

// stats counts requests.
type stats struct {
	ids      atomic.Uint64
	inFlight atomic.Int64
	mu       sync.Mutex
	v        Stats
}

// Stats counts what a Sim was asked and answered.
type Stats struct {
	Requests map[string]int `json:"requests"` // by method and path, ids left out
	Statuses map[int]int    `json:"statuses"`
	Faults   map[string]int `json:"faults"`    // injected, by kind
	InFlight int            `json:"in_flight"` // the most at once
	Rows     int            `json:"rows"`      // inputs of batches
}

// Stats returns the counts so far.
func (s *Sim) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	v := s.stats.v
	v.Requests, v.Statuses, v.Faults = clone(v.Requests), clone(v.Statuses), clone(v.Faults)
	return v
}

func clone[K comparable](m map[K]int) map[K]int {
	c := make(map[K]int, len(m))
	maps.Copy(c, m)
	return c
}

func (t *stats) note(f func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.v.Requests == nil {
		t.v = Stats{Requests: map[string]int{}, Statuses: map[int]int{}, Faults: map[string]int{}}
	}
	f(&t.v)
}

// ServeHTTP implements [http.Handler]. Beside HubSpot's paths there are
//
//	GET    /_sim/stats                  [Stats]
//	GET    /_sim/ledger?object=contacts a [Record] a line, in order of creation
//	GET    /_sim/inbox                  an [InboxMessage] a line, in order of creation
//	GET    /_sim/faults                 the [Fault]s in force
//	POST   /_sim/faults                 adds one, or a list
//	DELETE /_sim/faults                 ends them all
//	POST   /_sim/latency?d=200ms        sets Options.Latency
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/_sim/"); ok {
		s.control(w, r, rest)
		return
	}
	n := int(s.stats.inFlight.Add(1))
	defer s.stats.inFlight.Add(-1)
	cw := &countingWriter{ResponseWriter: w, status: http.StatusOK}
	c := &call{w: cw, r: r, id: "sim-" + strconv.FormatUint(s.stats.ids.Add(1), 10)}
	s.stats.note(func(v *Stats) { v.InFlight = max(v.InFlight, n) })
	defer func() {
		s.stats.note(func(v *Stats) {
			v.Requests[r.Method+" "+shape(r.URL.Path)]++
			v.Statuses[cw.status]++
		})
	}()
	s.serve(c)
}

func (s *Sim) serve(c *call) {
	// The body comes first: only after it does the server notice that a client left.
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody)); err != nil {
		c.fail(http.StatusRequestEntityTooLarge, vendorError{Category: "VALIDATION_ERROR", Message: "Request entity too large"})
		return
	}
	if d := s.state.latency(); d > 0 {
		fault.Pause(c.r.Context(), d)
	}
	lost, answered := s.strike(c)
	if answered {
		return
	}
	if s.authorizeApp(c) || !s.authorize(c) || !s.limit.admit(s, c) {
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

// authorize checks the token.
func (s *Sim) authorize(c *call) bool {
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		c.fail(http.StatusUnauthorized, vendorError{Category: "INVALID_AUTHENTICATION",
			Message: "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"})
		return false
	}
	known, problem := s.oauth.issuedTo(token)
	if problem != "" {
		c.fail(http.StatusUnauthorized, vendorError{Category: "EXPIRED_AUTHENTICATION", Message: problem})
		return false
	}
	if !known && len(s.opts.Tokens)+len(s.opts.RefreshTokens) > 0 && !slices.Contains(s.opts.Tokens, token) {
		c.fail(http.StatusUnauthorized, vendorError{Category: "INVALID_AUTHENTICATION",
			Message: "Authentication credentials not found. The access token is invalid or was revoked."})
		return false
	}
	return true
}

// may checks a scope; it has answered when it returns false.
func (s *Sim) may(c *call, scope string) bool {
	if len(s.opts.Scopes) == 0 || slices.Contains(s.opts.Scopes, scope) {
		return true
	}
	c.fail(http.StatusForbidden, vendorError{Category: "MISSING_SCOPES",
		Message: "This app hasn't been granted all required scopes to make this call. Read more about required scopes here: https://developers.hubspot.com/scopes.",
		Errors: []vendorError{{Message: "One or more of the following scopes are required.",
			Context: map[string][]string{"requiredGranularScopes": {scope}}}}})
	return false
}

// versions are the dates that paths carry.
var versions = []string{"2026-09", "2026-03"}

// route finds the endpoint, in either family of paths.
func (s *Sim) route(c *call) {
	parts := strings.Split(strings.Trim(c.r.URL.Path, "/"), "/")
	if s.conversations(c, parts) {
		return
	}
	if len(parts) < 3 || parts[0] != "crm" || len(parts) < 4 && !slices.Contains(parts, "lists") {
		c.notFound()
		return
	}
	var area string
	switch {
	case slices.Contains(versions, parts[2]):
		area, c.version = parts[1], parts[2]
	case parts[1] == "v3" && (parts[2] == "objects" || parts[2] == "properties" || parts[2] == "lists"),
		parts[1] == "v4" && parts[2] == "associations",
		parts[1] == "v4" && parts[2] == "objects" && len(parts) > 6 && parts[5] == "associations":
		area, c.version = parts[2], parts[1]
	}
	c.rest = parts[3:]
	if c.r.Method != http.MethodGet && len(c.body) > 0 && !strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json") {
		c.fail(http.StatusUnsupportedMediaType, vendorError{Category: "VALIDATION_ERROR", Message: "Unsupported Media Type"})
		return
	}
	switch area {
	case "objects":
		s.objects(c)
	case "properties":
		s.properties(c)
	case "associations":
		s.associations(c)
	case "lists":
		s.listPaths(c)
	default:
		c.notFound()
	}
}

// shape is a path without record ids and property names, for counting.
func shape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if len(p) > 4 && strings.Trim(p, "0123456789") == "" {
			parts[i] = "{id}"
		}
		if i == len(parts)-1 && i == 5 && parts[2] == "properties" && p != "groups" {
			parts[i] = "{name}"
		}
	}
	return strings.Join(parts, "/")
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

// Unwrap lets [http.ResponseController] reach the connection.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// vendorError is HubSpot's error, of a request or of a row.
type vendorError struct {
	Status        string              `json:"status,omitempty"`
	Message       string              `json:"message"`
	CorrelationID string              `json:"correlationId,omitempty"`
	Category      string              `json:"category,omitempty"`
	SubCategory   string              `json:"subCategory,omitempty"`
	Code          string              `json:"code,omitempty"`
	ErrorType     string              `json:"errorType,omitempty"`
	PolicyName    string              `json:"policyName,omitempty"`
	Context       map[string][]string `json:"context,omitempty"`
	Errors        []vendorError       `json:"errors,omitempty"`
}

// fail answers with an error.
func (c *call) fail(status int, e vendorError) {
	e.Status, e.CorrelationID = "error", c.id
	c.answer(status, e)
}

func (c *call) invalid(message string) {
	c.fail(http.StatusBadRequest, vendorError{Category: "VALIDATION_ERROR", Message: message})
}

func (c *call) notFound() {
	c.fail(http.StatusNotFound, vendorError{Category: "OBJECT_NOT_FOUND", Message: "No resource was found at " + c.r.URL.Path})
}

func (c *call) answer(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c.send(status, b)
}

func (c *call) send(status int, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", "application/json;charset=utf-8")
	h.Set("X-HubSpot-Correlation-Id", c.id)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // a client that has gone is its own affair
}
