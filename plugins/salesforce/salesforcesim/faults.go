package salesforcesim

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The kinds of faults.
const (
	FaultStatus  = "status"  // answers Status and Code without doing anything
	FaultSlow    = "slow"    // waits for Delay, then goes on
	FaultHang    = "hang"    // never answers
	FaultDrop    = "drop"    // closes the connection without doing anything
	FaultLost    = "lost"    // does everything, then closes the connection
	FaultGarbage = "garbage" // answers 200 with a page of HTML
	FaultRow     = "row"     // refuses the rows of a collection whose key holds Row, with Code
)

var kinds = []string{FaultStatus, FaultSlow, FaultHang, FaultDrop, FaultLost, FaultGarbage, FaultRow}

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
	// For is how long it lasts; 0 has no end.
	For time.Duration `json:"for,omitempty"`
	// Delay is for FaultSlow.
	Delay time.Duration `json:"delay,omitempty"`
	// Status, Code and Message are the answer of FaultStatus, Code and Message those
	// of refused rows. A status without a code is answered with HTML, as by what
	// stands before Salesforce.
	Status  int    `json:"status,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Fields are those that a refused row's error names.
	Fields []string `json:"fields,omitempty"`
	// Row is a part of the keys of the rows meant.
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
	since           time.Time
	skipped, struck int
}

func (a *armed) over(now time.Time) bool {
	return a.Count > 0 && a.struck >= a.Count || a.For > 0 && now.Sub(a.since) >= a.For
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
	for _, a := range s.fault.list {
		list = append(list, a.Fault)
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
	rows []Fault
}

// take returns what strikes a request and counts it.
func (f *faults) take(path string, note func(kind string)) struck {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s struck
	now := time.Now()
	for _, a := range f.list {
		if !strings.Contains(path, a.Match) || a.over(now) {
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
		case FaultRow:
			s.rows = append(s.rows, a.Fault)
		default:
			s.list = append(s.list, a.Fault)
		}
	}
	f.list = slices.DeleteFunc(f.list, func(a *armed) bool { return a.over(now) })
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
		case FaultStatus:
			if f.Code != "" {
				c.fail(f.Status, f.Code, f.Message)
				return true
			}
			c.w.Header().Set("Content-Type", "text/html")
			c.w.WriteHeader(f.Status)
			_, _ = c.w.Write([]byte("<html><body><h1>" + http.StatusText(f.Status) + "</h1></body></html>"))
			return true
		case FaultGarbage:
			c.w.Header().Set("Content-Type", "text/html")
			_, _ = c.w.Write([]byte("<html><body><h1>We are down for maintenance.</h1></body></html>"))
			return true
		}
	}
	return false
}

// strikeRow returns the error of a row that a fault strikes.
func strikeRow(list []Fault, key string) *rowError {
	for _, f := range list {
		if strings.Contains(key, f.Row) {
			e := &rowError{StatusCode: f.Code, Message: f.Message, Fields: f.Fields}
			if e.StatusCode == "" {
				e.StatusCode = "UNABLE_TO_LOCK_ROW"
			}
			if e.Message == "" {
				e.Message = "unable to obtain exclusive access to this record or 1 records"
			}
			return e
		}
	}
	return nil
}
