// Package customhttpsim is a small CRM with a REST API such as companies write
// for themselves. It stands for no vendor: it does what such APIs do, each in
// its own endpoint, strictly, and can misbehave on demand (see [Fault]).
//
//	GET   /v1/me                      who asks
//	POST  /v1/messages                makes a message; drops a repeated Idempotency-Key, 409 for an external_id it has
//	PUT   /v1/messages/{external_id}  makes or changes a message
//	PATCH /v1/messages/{external_id}  changes its status
//	POST  /v1/messages/bulk           {"items":[…]}, makes or changes messages, a result for each
//	GET   /v1/contacts                the contacts: phone, phone_like, bsuid, after_id, and pages as of /v1/changes
//	PUT   /v1/contacts/{external_id}  makes or changes a contact; /v1/contacts/id:{id} changes the one with that id
//	DELETE /v1/contacts/{external_id} erases a contact and its messages; 404 when it has neither
//	POST  /v1/contacts/merge          {"from","into"}: one contact of two, with the messages of both; 404 when there is nothing of the first
//	GET   /v1/changes                 what people at the CRM changed: updated_after, limit, and page, offset or cursor
//	GET   /v1/lists                   lists of contacts: search, and pages as of /v1/changes
//	GET   /v1/lists/{id}              one of them
//	GET   /v1/lists/{id}/members      who is on it, by pages
//	GET   /v1/members?list=           who is on it, all at once; nobody when there is no such list
//	POST  /v1/files                   takes a file, as the body or in a form
//	POST  /v1/notes                   makes a note, each time
//	POST  /v1/notes/bulk              {"items":[…]}, makes them, each time, a result for each
//	GET   /v1/notes?ref=              the notes with that ref, late by SearchDelay
//	POST  /v1/events                  takes any event with an id, and drops it when it has it
//	POST  /v1/events/bulk             {"events":[…]}, all or nothing
//	POST  /v1/rpc                     as /v1/notes, but always answers 200 with {"ok":…}
//	POST  /login                      gives a token for a JSON {"username","password"}, the cookie sid for a form
//	POST  /oauth/token                gives an access token: client_credentials, refresh_token, which is good once, or an assertion (JWT)
//
// A Sim is an [http.Handler]: tests mount it in memory, a demo on a port. Other
// processes steer it under /_sim/: see [Sim.ServeHTTP].
package customhttpsim

import (
	"crypto"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// maxBody bounds a request's body.
const maxBody = 4 << 20

// Options configure a Sim.
type Options struct {
	// Token is taken as a bearer token, User and Password as basic
	// authentication, and Key as an API key in the header X-Api-Key, the
	// query's api_key or the cookie api_key. Without any of them everyone is let in.
	Token, User, Password, Key string
	// Sessions has User and Password sign in at /login, and nowhere else. Only the newest
	// token is taken, as a bearer token or the cookie sid, for TokenLife.
	Sessions bool
	// SigningKey signs requests: the header X-Signature is "v1=" and the HMAC-SHA256, in hex,
	// of method, path, query, X-Timestamp (seconds, 5 minutes off at most) and body, a line each.
	SigningKey string
	// CommonName is in the certificate of who is let in by it; the server that the Sim
	// is mounted on verifies that.
	CommonName string
	// ClientID and ClientSecret are an app's, which asks for access tokens at
	// /oauth/token; RefreshToken is its first one. Only the newest access token is
	// taken, for TokenLife, or for good when that is 0.
	ClientID, ClientSecret, RefreshToken string
	TokenLife                            time.Duration
	// PublicKey verifies the assertions of the client, signed with RS256 (*rsa.PublicKey) or
	// ES256 (*ecdsa.PublicKey); nil takes HS256 with ClientSecret.
	PublicKey crypto.PublicKey
	// MaxBatch is the most items in bulk; 100 when 0.
	MaxBatch int
	// Shuffle answers to bulk in another order than asked.
	Shuffle bool
	// Latency is how long every answer takes, at least.
	Latency time.Duration
	// Quota is how many requests are taken in a window of QuotaPer, which begins with the
	// first; 0 is no limit. Answers say what is left.
	Quota    int
	QuotaPer time.Duration
	// SearchDelay is after what time a search for notes sees one that was made.
	SearchDelay time.Duration
	// Seed is for faults with a chance.
	Seed uint64
}

// Sim is one account. All methods may be called concurrently.
type Sim struct {
	opts  Options
	fault *fault.List[Fault]

	mu       sync.Mutex
	latency  time.Duration
	records  map[string]map[string]*Record // by object and external id
	ledger   []*Record
	keys     map[string]replay
	noted    map[string]time.Time // when each note was made, by its id
	entries  []Entry              // in the order of their changes
	lists    []List
	requests []Request
	stats    Stats
	inFlight int

	window time.Time // when the quota's began
	taken  int       // of it

	granted         int    // access tokens
	access, refresh string // the newest
	accessEnds      time.Time
	assertions      map[string]bool // by jti
}

// Request is a request as it came, for whoever asks what was sent.
type Request struct {
	Method string      `json:"method"`
	Path   string      `json:"path"` // still escaped
	Query  string      `json:"query,omitempty"`
	Header http.Header `json:"header"`
	Body   string      `json:"body,omitempty"`
}

// maxRequests is how many requests are kept, the last ones.
const maxRequests = 200

// Stats counts what a Sim was asked and answered.
type Stats struct {
	Requests map[string]int `json:"requests"` // by route
	Statuses map[int]int    `json:"statuses"`
	Faults   map[string]int `json:"faults"`    // injected, by kind
	InFlight int            `json:"in_flight"` // the most at once
	Rows     int            `json:"rows"`      // items in bulk
	Replays  int            `json:"replays"`   // answered by a known Idempotency-Key
}

// New returns an empty account.
func New(o Options) *Sim {
	if o.MaxBatch == 0 {
		o.MaxBatch = 100
	}
	return &Sim{
		opts: o, fault: fault.New[Fault](o.Seed), latency: o.Latency, records: make(map[string]map[string]*Record), keys: make(map[string]replay), noted: make(map[string]time.Time),
		stats: Stats{Requests: make(map[string]int), Statuses: make(map[int]int), Faults: make(map[string]int)},
	}
}

// Stats returns the counts so far.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stats
	v.Requests, v.Statuses, v.Faults = clone(v.Requests), clone(v.Statuses), clone(v.Faults)
	return v
}

func clone[K comparable](m map[K]int) map[K]int {
	c := make(map[K]int, len(m))
	maps.Copy(c, m)
	return c
}

// Requests returns the last requests, oldest first.
func (s *Sim) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// call is one request on its way through the sim.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	body []byte
	hit  struck
}

// refusal is an answer that says no.
type refusal struct {
	status  int
	code    string
	message string
	id      string // of the record that is in the way
}

func (e *refusal) Error() string { return e.code + ": " + e.message }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// ServeHTTP implements [http.Handler]. Beside the API's paths there are
//
//	GET    /_sim/stats     [Stats]
//	GET    /_sim/ledger    a [Record] a line, in order of creation
//	GET    /_sim/requests  the last [Request]s
//	GET    /_sim/faults    the [Fault]s in force
//	POST   /_sim/faults    adds one, or a list
//	DELETE /_sim/faults    ends them all
//	POST   /_sim/lists     makes or changes a [List], or a list of them
//	POST   /_sim/latency?d=200ms
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/_sim/"); ok {
		s.control(w, r, rest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	c := &call{w: w, r: r, body: body}
	route, id := routeOf(r)

	s.mu.Lock()
	s.stats.Requests[route]++
	s.inFlight++
	s.stats.InFlight = max(s.stats.InFlight, s.inFlight)
	latency := s.latency
	s.requests = append(s.requests, Request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Clone(), string(body)})
	s.requests = s.requests[max(0, len(s.requests)-maxRequests):]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inFlight--
		s.mu.Unlock()
	}()

	fault.Pause(r.Context(), latency)
	if !s.quota(c) {
		return
	}
	if s.strike(c) {
		return
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		s.fail(c, refuse(http.StatusRequestEntityTooLarge, "too_large", "a body has at most %d bytes", maxBody))
		return
	case err != nil:
		return // the client went away
	}
	if route == tokenRoute && s.opts.ClientID != "" {
		status, answer := s.token(c)
		s.write(c, status, answer)
		return
	}
	if route == loginRoute && s.opts.Sessions {
		status, answer := s.login(c)
		s.write(c, status, answer)
		return
	}
	status, answer, refused := s.answer(c, route, id)
	switch {
	case refused != nil:
		s.fail(c, refused)
	default:
		s.write(c, status, answer)
	}
}

// quota counts a request, and says what is left; false when it is answered, as nothing is.
func (s *Sim) quota(c *call) bool {
	if s.opts.Quota == 0 {
		return true
	}
	s.mu.Lock()
	now := time.Now()
	if !now.Before(s.window.Add(s.opts.QuotaPer)) {
		s.window, s.taken = now, 0
	}
	s.taken++
	left, until := s.opts.Quota-s.taken, s.window.Add(s.opts.QuotaPer)
	s.mu.Unlock()
	h := c.w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(s.opts.Quota))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, left)))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(until.Add(time.Second-1).Unix(), 10))
	if left < 0 {
		h.Set("Retry-After", strconv.Itoa(int(until.Sub(now)/time.Second)+1))
		s.fail(c, refuse(http.StatusTooManyRequests, "rate_limited", "the quota is used up"))
		return false
	}
	return true
}

// answer does what a request asks.
func (s *Sim) answer(c *call, route, id string) (status int, answer any, refused *refusal) {
	if err := s.authorize(c.r, c.body); err != nil {
		return 0, nil, err
	}
	handler, ok := routes[route]
	if !ok {
		return 0, nil, refuse(http.StatusNotFound, "no_such_endpoint", "%s is not an endpoint", route)
	}
	if c.r.Method == http.MethodDelete && len(c.body) > 0 {
		return 0, nil, refuse(http.StatusBadRequest, "malformed", "DELETE takes no body")
	}
	if route != filesRoute && c.r.Method != http.MethodGet && c.r.Method != http.MethodDelete {
		if media := c.r.Header.Get("Content-Type"); media != "application/json" {
			return 0, nil, refuse(http.StatusUnsupportedMediaType, "media_type", "want application/json, not %q", media)
		}
	}
	return handler(s, c, id)
}

var routes = map[string]func(s *Sim, c *call, id string) (int, any, *refusal){
	"GET /v1/me": func(*Sim, *call, string) (int, any, *refusal) {
		return http.StatusOK, map[string]any{"ok": true, "account": "demo"}, nil
	},
	"POST /v1/messages":          (*Sim).createMessage,
	"PUT /v1/messages/{id}":      (*Sim).putMessage,
	"PATCH /v1/messages/{id}":    (*Sim).patchMessage,
	"POST /v1/messages/bulk":     (*Sim).bulkMessages,
	"GET /v1/contacts":           (*Sim).getContacts,
	"PUT /v1/contacts/{id}":      (*Sim).putContact,
	"DELETE /v1/contacts/{id}":   (*Sim).eraseContact,
	"POST /v1/contacts/merge":    (*Sim).mergeContacts,
	"GET /v1/changes":            (*Sim).changes,
	"GET /v1/lists":              (*Sim).getLists,
	"GET /v1/lists/{id}":         (*Sim).getList,
	"GET /v1/lists/{id}/members": (*Sim).getMembers,
	"GET /v1/members":            (*Sim).everybody,
	filesRoute:                   (*Sim).createFile,
	"POST /v1/notes":             (*Sim).createNote,
	"POST /v1/notes/bulk":        (*Sim).createNotes,
	"GET /v1/notes":              (*Sim).getNotes,
	"POST /v1/rpc":               (*Sim).rpc,
	"POST /v1/events":            (*Sim).takeEvent,
	"POST /v1/events/bulk":       (*Sim).takeEvents,
}

// routeOf returns the endpoint, and the id in the path.
func routeOf(r *http.Request) (route, id string) {
	route = r.Method + " " + r.URL.Path
	if _, ok := routes[route]; ok {
		return route, ""
	}
	for _, object := range []string{"messages", "contacts", "lists"} {
		// By the escaped path: an id may contain a slash.
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v1/"+object+"/")
		escaped, below := strings.CutSuffix(rest, "/members")
		id, err := url.PathUnescape(escaped)
		switch {
		case !ok || id == "" || err != nil || strings.Contains(escaped, "/"):
		case below:
			return r.Method + " /v1/" + object + "/{id}/members", id
		default:
			return r.Method + " /v1/" + object + "/{id}", id
		}
	}
	return route, ""
}

func (s *Sim) authorize(r *http.Request, body []byte) *refusal {
	o := s.opts
	if o.Token == "" && o.Password == "" && o.Key == "" && o.ClientID == "" && o.CommonName == "" && o.SigningKey == "" {
		return nil
	}
	user, password, _ := r.BasicAuth()
	bearer, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case o.Token != "" && isBearer && same(bearer, o.Token),
		o.ClientID != "" && isBearer && s.isGranted(bearer),
		o.Sessions && (isBearer && s.isGranted(bearer) || s.isGranted(cookie(r, "sid"))),
		o.Password != "" && !o.Sessions && same(user, o.User) && same(password, o.Password),
		o.Key != "" && same(r.Header.Get("X-Api-Key"), o.Key),
		o.Key != "" && same(r.URL.Query().Get("api_key"), o.Key),
		o.Key != "" && same(cookie(r, "api_key"), o.Key),
		o.SigningKey != "" && signed(r, body, o.SigningKey, time.Now()),
		o.CommonName != "" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && same(r.TLS.VerifiedChains[0][0].Subject.CommonName, o.CommonName):
		return nil
	}
	return refuse(http.StatusUnauthorized, "unauthorized", "the credentials are wrong: %s %s", r.Header.Get("Authorization"), r.URL.Query().Get("api_key"))
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *Sim) fail(c *call, e *refusal) {
	answer := map[string]any{"ok": false, "error": map[string]string{"code": e.code, "message": e.message}}
	if e.id != "" {
		answer["id"] = e.id
	}
	if e.status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="sim"`)
	}
	s.write(c, e.status, answer)
}

// write answers, unless the answer is to be lost.
func (s *Sim) write(c *call, status int, answer any) {
	if c.hit.lost {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	s.stats.Statuses[status]++
	s.mu.Unlock()
	b, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	if c.hit.cut {
		c.w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		c.w.WriteHeader(status)
		_, _ = c.w.Write(b[:len(b)/2])
		_ = http.NewResponseController(c.w).Flush()
		panic(http.ErrAbortHandler)
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b)
}

// control steers the sim from outside.
func (s *Sim) control(w http.ResponseWriter, r *http.Request, what string) {
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // the sim made it; whoever asked may be gone
	}
	switch r.Method + " " + what {
	case "GET stats":
		reply(s.Stats())
	case "GET ledger":
		w.Header().Set("Content-Type", "application/jsonl")
		for _, record := range s.Records("") {
			_ = json.NewEncoder(w).Encode(record) //nolint:errchkjson // the sim made it; whoever asked may be gone
		}
	case "GET requests":
		reply(s.Requests())
	case "GET faults", "POST faults", "DELETE faults":
		s.fault.Control(w, r, kinds)
	case "POST lists":
		lists, err := readLists(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, l := range lists {
			s.SetList(l)
		}
		w.WriteHeader(http.StatusNoContent)
	case "POST latency":
		d, err := time.ParseDuration(r.URL.Query().Get("d"))
		if err != nil || d < 0 {
			http.Error(w, "want ?d=200ms", http.StatusBadRequest)
			return
		}
		s.SetLatency(d)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// SetLatency changes Options.Latency.
func (s *Sim) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}
