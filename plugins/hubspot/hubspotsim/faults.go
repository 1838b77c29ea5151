package hubspotsim

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The kinds of faults.
const (
	FaultStatus  = "status"   // answers Status without doing anything
	FaultSlow    = "slow"     // waits for Delay, then goes on
	FaultHang    = "hang"     // never answers
	FaultDrop    = "drop"     // closes the connection without doing anything
	FaultLost    = "lost"     // does everything, then closes the connection
	FaultGarbage = "garbage"  // answers 200 with a page of HTML
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

// faults are the faults in force.
type faults struct {
	mu     sync.Mutex
	list   []*armed
	random *rand.Rand
}

type armed struct {
	Fault
	since   time.Time
	skipped int
	struck  int
}

// Inject adds faults.
func (s *Sim) Inject(list ...Fault) {
	s.fault.mu.Lock()
	defer s.fault.mu.Unlock()
	for _, f := range list {
		s.fault.list = append(s.fault.list, &armed{Fault: f, since: time.Now()})
	}
}

// Faults returns the faults in force.
func (s *Sim) Faults() []Fault {
	s.fault.mu.Lock()
	defer s.fault.mu.Unlock()
	list := make([]Fault, 0, len(s.fault.list))
	for _, f := range s.fault.list {
		list = append(list, f.Fault)
	}
	return list
}

// Heal ends all faults. Requests that hang already go on hanging.
func (s *Sim) Heal() {
	s.fault.mu.Lock()
	defer s.fault.mu.Unlock()
	s.fault.list = nil
}

// struck is what strikes one request.
type struck struct {
	list []Fault
	lost bool
	rows rowFaults
}

// take returns what strikes a request and counts it.
func (f *faults) take(path string, note func(kind string)) struck {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s struck
	if len(f.list) == 0 {
		return s
	}
	now := time.Now()
	for _, a := range f.list {
		age := now.Sub(a.since)
		if !strings.Contains(path, a.Match) || age < a.After || a.For > 0 && age >= a.After+a.For ||
			a.Count > 0 && a.struck >= a.Count {
			continue
		}
		if a.skipped < a.Skip {
			a.skipped++
			continue
		}
		if a.Chance > 0 && f.random.Float64() >= a.Chance {
			continue
		}
		a.struck++
		note(a.Kind)
		switch a.Kind {
		case FaultLost:
			s.lost = true
		case FaultRow, FaultUnnamed, FaultRefuse, FaultMute, FaultNoTrace:
			s.rows = append(s.rows, a.Fault)
		default:
			s.list = append(s.list, a.Fault)
		}
	}
	f.list = slices.DeleteFunc(f.list, func(a *armed) bool {
		return a.Count > 0 && a.struck >= a.Count || a.For > 0 && now.Sub(a.since) >= a.After+a.For
	})
	return s
}

// before strikes a request that was not looked at yet; true when that was all.
func (s struck) before(c *call) bool {
	for _, f := range s.list {
		switch f.Kind {
		case FaultSlow:
			pause(c.r.Context(), f.Delay)
		case FaultHang:
			<-c.r.Context().Done()
			panic(http.ErrAbortHandler)
		case FaultDrop:
			panic(http.ErrAbortHandler)
		case FaultGarbage:
			c.w.Header().Set("Content-Type", "text/html")
			_, _ = c.w.Write([]byte("<html><body><h1>Just a moment…</h1></body></html>"))
			return true
		case FaultStatus:
			f.answer(c)
			return true
		}
	}
	return false
}

func (f *Fault) answer(c *call) {
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

func (f *Fault) rowError() *vendorError {
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
	if strings.HasSuffix(c.r.URL.Path, "/search") {
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
		if h := c.w.Header(); r.policy == "TEN_SECONDLY_ROLLING" {
			h.Set("X-HubSpot-RateLimit-Max", strconv.Itoa(r.max))
			h.Set("X-HubSpot-RateLimit-Remaining", strconv.Itoa(left))
			h.Set("X-HubSpot-RateLimit-Interval-Milliseconds", strconv.FormatInt(r.per.Milliseconds(), 10))
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
