// Package zohosim imitates the part of Zoho CRM's API (v8) that a connector uses:
// the token endpoint, upserts with real uniqueness, COQL, search that lags, Notes,
// Tasks, Cases, tags, fields, modules, timelines, deleted records, notifications, custom
// views and campaigns. It refuses what Zoho refuses, in Zoho's words, and can misbehave on demand (see [Fault]).
//
// A Sim is an [http.Handler] that serves both hosts of a data centre, accounts and
// API: tests mount it in memory, a demo on a port. Other processes steer it under
// /_sim/: see [Sim.ServeHTTP].
package zohosim

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// Options configure a Sim. The zero Options are an account without limits, at once
// consistent, whose token endpoint takes any client.
type Options struct {
	// ClientID, ClientSecret and RefreshToken are what the token endpoint takes;
	// empty takes any.
	ClientID, ClientSecret, RefreshToken string
	// APIDomain is what the token endpoint says the API's address is; empty is the
	// address that was called, where that is no accounts server of Zoho's: clients
	// go there with the token.
	APIDomain string
	// Scopes are what tokens may do; empty is everything. See the Scope constants.
	Scopes []string
	// TokenLife is how long a token lives; 0 is an hour. LiveTokens is how many of
	// them at once: older ones die; 0 is 10. TokensIn10Min is how many may be asked
	// for in ten minutes; 0 is no limit.
	TokenLife     time.Duration
	LiveTokens    int
	TokensIn10Min int
	// Latency is how long every call is at work, at least.
	Latency time.Duration
	// SearchLag is how long search does not see a write. COQL does at once.
	SearchLag time.Duration
	// LikeWithin is what a query's like does with a % within a text, of which Zoho's
	// pages show nothing: "" has it stand for anything, "refused" is a syntax error, and
	// with "literal" nothing is found.
	LikeWithin string
	// TokenRecords is how many records of a list page tokens lead to; 0 is 100,000.
	TokenRecords int
	// NumberedMembers has no tokens for pages of campaigns' members: Zoho's pages know
	// numbers only, its specification tokens, too.
	NumberedMembers bool
	// Credits are those of a day; 0 is no limit. Concurrency is how many calls may be
	// at work at once, SubConcurrency how many of them queries, searches and writes
	// of more than ten rows; 0 is no limit.
	Credits, Concurrency, SubConcurrency int
	// NoMessages leaves out the module WhatsApp_Messages, which is made with the
	// fields of the connector's defaults otherwise.
	NoMessages bool
	// Bare leaves out the connector's fields on Contacts, Tasks and Cases, too.
	Bare bool
	// NotifyTries is how often a notification is sent whose receiver does not answer
	// 2xx, NotifyWait apart; 0 is once. Zoho promises nothing. NotifyTwice sends each
	// twice: no promise against that, either.
	NotifyTries int
	NotifyWait  time.Duration
	NotifyTwice bool
	// Seed is for faults with a chance.
	Seed uint64
	// History names the fields whose writes the ledger keeps; empty is Status.
	History []string
}

// The scopes that the API asks for.
const (
	ScopeContacts = "ZohoCRM.modules.contacts.ALL"
	ScopeNotes    = "ZohoCRM.modules.notes.ALL"
	ScopeCustom   = "ZohoCRM.modules.custom.ALL"
	ScopeTasks    = "ZohoCRM.modules.tasks.ALL"
	ScopeCases    = "ZohoCRM.modules.cases.ALL"
	ScopeFields   = "ZohoCRM.settings.fields.ALL"
	ScopeModules  = "ZohoCRM.settings.modules.ALL"
	ScopeCOQL     = "ZohoCRM.coql.READ"
	ScopeUsers    = "ZohoCRM.users.READ"
	ScopeNotify   = "ZohoCRM.notifications.ALL"

	ScopeViews     = "ZohoCRM.settings.custom_views.READ"
	ScopeCampaigns = "ZohoCRM.modules.campaigns.READ"
)

// maxBody bounds a request's body.
const maxBody = 16 << 20

// Sim is one Zoho CRM account. All methods may be called concurrently.
type Sim struct {
	opts  Options
	state state
	oauth oauth
	limit limits
	fault *fault.List[Fault]
	delay atomic.Int64

	mu    sync.Mutex
	stats Stats
}

// Stats counts what a Sim was asked and answered.
type Stats struct {
	Requests map[string]int `json:"requests"` // by method and path, ids left out
	Statuses map[int]int    `json:"statuses"`
	Faults   map[string]int `json:"faults"` // by kind
	Credits  int            `json:"credits"`
	Rows     int            `json:"rows"` // of writes
	// Notified counts notifications by what was answered; 0 is nothing.
	Notified map[int]int `json:"notified"`
}

// New returns an account with the modules Contacts, Notes, Tasks, Cases, Campaigns
// and WhatsApp_Messages, all empty, each with a view of all its records.
func New(o Options) *Sim {
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.LiveTokens == 0 {
		o.LiveTokens = 10
	}
	if len(o.History) == 0 {
		o.History = []string{"Status"}
	}
	s := &Sim{opts: o, fault: fault.New[Fault](o.Seed), stats: Stats{Requests: map[string]int{}, Statuses: map[int]int{}, Faults: map[string]int{}, Notified: map[int]int{}}}
	s.delay.Store(int64(o.Latency))
	s.state.init(&s.opts)
	return s
}

// Stats returns the counts so far.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stats
	v.Requests, v.Statuses, v.Faults = maps.Clone(v.Requests), maps.Clone(v.Statuses), maps.Clone(v.Faults)
	v.Notified = maps.Clone(v.Notified)
	return v
}

func (s *Sim) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// SetLatency changes Options.Latency.
func (s *Sim) SetLatency(d time.Duration) { s.delay.Store(int64(d)) }

// call is one request on its way through the sim.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	body   []byte
	path   []string // of the API, after its version
	rows   []Fault  // that strike rows
	status int
}

// ServeHTTP implements [http.Handler]. Beside Zoho's paths there are
//
//	GET    /_sim/stats                    [Stats]
//	GET    /_sim/ledger?module=Contacts   a [Record] a line, in order of creation
//	POST   /_sim/edit?module=Contacts     a person edits record ?id=, or makes one
//	POST   /_sim/view?module=Contacts     makes a [View]
//	POST   /_sim/campaign?name=Winter     makes a campaign; the body lists its contacts' ids
//	GET    /_sim/faults                   the [Fault]s in force
//	POST   /_sim/faults                   adds one, or a list
//	DELETE /_sim/faults                   ends them all
//	POST   /_sim/latency?d=200ms          sets Options.Latency
//	POST   /_sim/revoke                   ends all access tokens
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/_sim/"); ok {
		s.control(w, r, rest)
		return
	}
	c := &call{w: w, r: r, status: http.StatusOK}
	defer func() {
		s.count(func(v *Stats) {
			v.Requests[r.Method+" "+shape(r.URL.Path)]++
			v.Statuses[c.status]++
		})
	}()
	// The body comes first: only after it does the server notice that a client left.
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		c.fail(http.StatusRequestEntityTooLarge, failure("REQUEST_BODY_SIZE_EXCEEDED", "the request body is too large", nil))
		return
	}
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

// shape is a path without record ids, for counting.
func shape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if len(p) > 9 && strings.Trim(p, "0123456789") == "" {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

func (s *Sim) route(c *call) {
	if c.r.URL.Path == "/oauth/v2/token" {
		fault.Pause(c.r.Context(), time.Duration(s.delay.Load()))
		s.token(c)
		return
	}
	rest, ok := strings.CutPrefix(c.r.URL.Path, "/crm/v8/")
	if !ok {
		c.fail(http.StatusNotFound, failure("INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one", nil))
		return
	}
	c.path = strings.Split(rest, "/")
	if !s.authenticate(c) {
		return
	}
	release, ok := s.admit(c)
	if !ok {
		return
	}
	defer release()
	fault.Pause(c.r.Context(), time.Duration(s.delay.Load())) // a call is at work meanwhile
	what := c.r.Method + " " + rest
	switch {
	case what == "POST coql":
		s.coql(c)
	case what == "GET settings/fields":
		s.fields(c)
	case what == "POST settings/fields":
		s.createFields(c)
	case what == "GET settings/modules":
		s.modules(c)
	case what == "GET settings/custom_views":
		s.views(c)
	case what == "GET users":
		s.users(c)
	case rest == "actions/watch":
		s.watches(c)
	case len(c.path) == 2 && c.path[1] == "upsert" && c.r.Method == http.MethodPost:
		s.write(c, "upsert")
	case len(c.path) == 2 && c.path[1] == "search" && c.r.Method == http.MethodGet:
		s.search(c)
	case len(c.path) == 2 && isID(c.path[1]) && c.r.Method == http.MethodGet:
		s.one(c)
	case len(c.path) == 2 && isID(c.path[1]) && c.r.Method == http.MethodPut:
		s.write(c, "update")
	case len(c.path) == 2 && isID(c.path[1]) && c.r.Method == http.MethodDelete:
		s.removeOne(c)
	case len(c.path) == 1 && c.r.Method == http.MethodPost:
		s.write(c, "insert")
	case len(c.path) == 1 && c.r.Method == http.MethodPut:
		s.write(c, "update")
	case len(c.path) == 1 && c.r.Method == http.MethodDelete:
		s.remove(c)
	case len(c.path) == 1 && c.r.Method == http.MethodGet:
		s.list(c)
	case len(c.path) == 2 && c.path[1] == "deleted" && c.r.Method == http.MethodGet:
		s.deleted(c)
	case len(c.path) == 3 && c.path[2] == "__timeline" && c.r.Method == http.MethodGet:
		s.timeline(c)
	case len(c.path) == 3 && c.path[1] == "actions" && c.r.Method == http.MethodPost:
		s.tags(c)
	case len(c.path) == 3 && c.path[0] == campaigns && isID(c.path[1]) && c.r.Method == http.MethodGet:
		s.related(c)
	case len(c.path) == 3 && c.path[2] == "Notes" && c.r.Method == http.MethodGet:
		s.relatedNotes(c)
	default:
		c.fail(http.StatusNotFound, failure("INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one", nil))
	}
}

// answered is Zoho's way to say how something ended: a whole call, or a row.
type answered struct {
	Code    string         `json:"code"`
	Details map[string]any `json:"details"`
	Message string         `json:"message"`
	Status  string         `json:"status"`
	Action  string         `json:"action,omitempty"`
	Field   string         `json:"duplicate_field,omitempty"`
}

func failure(code, message string, details map[string]any) answered {
	if details == nil {
		details = map[string]any{}
	}
	return answered{Code: code, Details: details, Message: message, Status: "error"}
}

func (c *call) fail(status int, a answered) { c.answer(status, a) }

func (c *call) answer(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c.status = status
	h := c.w.Header()
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // a client that has gone is its own affair
}

// nothing answers that there is nothing, as Zoho does for reads.
func (c *call) nothing() {
	c.status = http.StatusNoContent
	c.w.WriteHeader(http.StatusNoContent)
}
