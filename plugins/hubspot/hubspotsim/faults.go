package hubspotsim

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// The kinds of faults.
const (
	FaultStatus  = "status" // answers Status without doing anything
	FaultSlow    = fault.Slow
	FaultHang    = fault.Hang
	FaultDrop    = fault.Drop
	FaultLost    = "lost" // does everything, then closes the connection
	FaultGarbage = fault.Garbage
	FaultRow     = "row"      // refuses the inputs named by Row, each by name
	FaultUnnamed = "unnamed"  // refuses them without saying which they are
	FaultRefuse  = "refuse"   // refuses a whole batch that holds one, without a name
	FaultMute    = "mute"     // writes them, but leaves them out of the answer
	FaultNoTrace = "no_trace" // answers without objectWriteTraceIds
)

// Fault is one way to misbehave. A duration is written as in Go's JSON: in
// nanoseconds.
type Fault struct {
	Kind string `json:"kind"`
	// Match is a part of the paths it strikes; empty strikes all.
	Match string `json:"match,omitempty"`
	// Count is how many requests it strikes; 0 has no end.
	Count int `json:"count,omitempty"`
	// Skip lets as many pass first.
	Skip int `json:"skip,omitempty"`
	// Chance strikes by lot; 0 strikes always.
	Chance float64 `json:"chance,omitempty"`
	// After and For are its window, counted from when it was set; For 0 has no end.
	After time.Duration `json:"after,omitempty"`
	For   time.Duration `json:"for,omitempty"`
	// Delay is for FaultSlow.
	Delay time.Duration `json:"delay,omitempty"`
	// Status, Category, Message, Policy (of a 429) and RetryAfter (the header) are
	// the answer of FaultStatus; Category and Message that of refused rows too.
	Status     int    `json:"status,omitempty"`
	Category   string `json:"category,omitempty"`
	Message    string `json:"message,omitempty"`
	Policy     string `json:"policy,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
	// Row is a part of the ids of the inputs meant.
	Row string `json:"row,omitempty"`
}

// When implements [fault.Fault].
func (f Fault) When() fault.When {
	return fault.When{Kind: f.Kind, Match: f.Match, Count: f.Count, Skip: f.Skip, Chance: f.Chance, After: f.After, For: f.For, Delay: f.Delay}
}

// kinds are those that there are.
var kinds = []string{FaultStatus, FaultSlow, FaultHang, FaultDrop, FaultLost, FaultGarbage,
	FaultRow, FaultUnnamed, FaultRefuse, FaultMute, FaultNoTrace}

// Inject adds faults.
func (s *Sim) Inject(list ...Fault) { s.fault.Inject(list...) }

// Faults returns the faults in force.
func (s *Sim) Faults() []Fault { return s.fault.InForce() }

// Heal ends all faults. Requests that hang already go on hanging.
func (s *Sim) Heal() { s.fault.Heal() }

// strike lets faults strike a request that was not looked at yet; answered when that
// was all, lost when nobody will hear of the answer.
func (s *Sim) strike(c *call) (lost, answered bool) {
	for _, f := range s.fault.Take(c.r.URL.Path) {
		s.stats.note(func(v *Stats) { v.Faults[f.Kind]++ })
		switch f.Kind {
		case FaultLost:
			lost = true
		case FaultRow, FaultUnnamed, FaultRefuse, FaultMute, FaultNoTrace:
			c.rows = append(c.rows, f)
		case FaultStatus:
			f.answer(c)
			return lost, true
		default:
			if fault.Strike(c.w, c.r, f.When()) {
				return lost, true
			}
		}
	}
	return lost, false
}

func (f Fault) answer(c *call) {
	e := vendorError{Category: f.Category, Message: f.Message}
	switch {
	case f.Status == http.StatusTooManyRequests:
		rateLimited(&e, f.Policy)
	case e.Category == "" && f.Status >= 500:
		e.Category = "INTERNAL_ERROR"
	}
	if e.Message == "" {
		e.Message = http.StatusText(f.Status)
	}
	if f.RetryAfter != "" {
		c.w.Header().Set("Retry-After", f.RetryAfter)
	}
	c.fail(f.Status, e)
}

// rowFaults strike inputs of a batch.
type rowFaults []Fault

// of returns the fault of a kind that strikes an input.
func (fs rowFaults) of(kind, id string) *Fault {
	for i := range fs {
		if fs[i].Kind == kind && strings.Contains(id, fs[i].Row) {
			return &fs[i]
		}
	}
	return nil
}

func (f Fault) rowError() *vendorError {
	e := &vendorError{Status: "error", Category: f.Category, Message: f.Message}
	if e.Category == "" {
		e.Category = "VALIDATION_ERROR"
	}
	if e.Message == "" {
		e.Message = "Property values were not valid: []"
	}
	return e
}

// limits are the account's.
type limits struct {
	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	start time.Time
	count int
}

// admit counts a request; it has answered 429 when it returns false.
func (l *limits) admit(s *Sim, c *call) bool {
	type rule struct {
		policy string
		max    int
		per    time.Duration
	}
	rules := []rule{{"DAILY", s.opts.Daily, 24 * time.Hour}}
	path := c.r.URL.Path
	search := strings.HasSuffix(path, "/search") && strings.Contains(path, "/objects/") // that of lists is like any other
	if search {
		rules = append(rules, rule{"SEARCH_SECONDLY", s.opts.SearchSecondly, time.Second})
	} else {
		rules = append(rules, rule{"TEN_SECONDLY_ROLLING", s.opts.TenSecondly, 10 * time.Second}, rule{"SECONDLY", s.opts.Secondly, time.Second})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.windows == nil {
		l.windows = map[string]*window{}
	}
	now := time.Now()
	for _, r := range rules {
		if r.max == 0 {
			continue
		}
		w := l.windows[r.policy]
		if w == nil || now.Sub(w.start) >= r.per {
			w = &window{start: now}
			l.windows[r.policy] = w
		}
		w.count++
		left := max(r.max-w.count, 0)
		switch h := c.w.Header(); r.policy {
		case "TEN_SECONDLY_ROLLING":
			h.Set("X-HubSpot-RateLimit-Max", strconv.Itoa(r.max))
			h.Set("X-HubSpot-RateLimit-Remaining", strconv.Itoa(left))
			h.Set("X-HubSpot-RateLimit-Interval-Milliseconds", strconv.FormatInt(r.per.Milliseconds(), 10))
		case "DAILY":
			if !search { // whose answers have no such headers
				h.Set("X-HubSpot-RateLimit-Daily", strconv.Itoa(r.max))
				h.Set("X-HubSpot-RateLimit-Daily-Remaining", strconv.Itoa(left))
			}
		}
		if w.count > r.max {
			e := vendorError{}
			rateLimited(&e, strings.TrimPrefix(r.policy, "SEARCH_"))
			c.fail(http.StatusTooManyRequests, e)
			return false
		}
	}
	return true
}

// rateLimited fills in the body of a 429, unlike other errors in its fields.
func rateLimited(e *vendorError, policy string) {
	if policy == "" {
		policy = "TEN_SECONDLY_ROLLING"
	}
	e.Message = "You have reached your " + strings.ToLower(policy) + " limit."
	e.ErrorType, e.PolicyName, e.Category = "RATE_LIMIT", policy, "RATE_LIMITS"
}
