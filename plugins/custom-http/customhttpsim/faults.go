package customhttpsim

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The kinds of faults.
const (
	FaultStatus  = "status"  // answers Status and Body without doing anything
	FaultSlow    = "slow"    // waits for Delay, then goes on
	FaultHang    = "hang"    // never answers
	FaultDrop    = "drop"    // closes the connection without doing anything
	FaultLost    = "lost"    // does everything, then closes the connection
	FaultCut     = "cut"     // does everything, then answers half
	FaultGarbage = "garbage" // answers 200 with a page of HTML
	FaultRow     = "row"     // refuses the items in bulk named by Row, with Status and Code
	FaultMute    = "mute"    // writes them, but leaves them out of the answer
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
	// For is how long it lasts; 0 has no end.
	For time.Duration `json:"for,omitempty"`
	// Delay is for FaultSlow.
	Delay time.Duration `json:"delay,omitempty"`
	// Status, Header and Body are the answer of FaultStatus; Status and Code
	// those of refused rows.
	Status int               `json:"status,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
	Code   string            `json:"code,omitempty"`
	// Row is a part of the external ids of the items meant.
	Row string `json:"row,omitempty"`
}

// faults are the faults in force.
type faults struct {
	mu   sync.Mutex
	list []*armed
}

type armed struct {
	Fault
	since           time.Time
	skipped, struck int
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
	list      []Fault
	lost, cut bool
	rows      []Fault
}

// take returns what strikes a request and counts it.
func (f *faults) take(path string, note func(kind string)) struck {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s struck
	now := time.Now()
	over := func(a *armed) bool {
		return a.Count > 0 && a.struck >= a.Count || a.For > 0 && now.Sub(a.since) >= a.For
	}
	for _, a := range f.list {
		if !strings.Contains(path, a.Match) || over(a) {
			continue
		}
		if a.skipped < a.Skip {
			a.skipped++
			continue
		}
		a.struck++
		note(a.Kind)
		switch a.Kind {
		case FaultLost:
			s.lost = true
		case FaultCut:
			s.cut = true
		case FaultRow, FaultMute:
			s.rows = append(s.rows, a.Fault)
		default:
			s.list = append(s.list, a.Fault)
		}
	}
	f.list = slices.DeleteFunc(f.list, over)
	return s
}

// before strikes a request that was not looked at yet; true when that was all.
func (h struck) before(s *Sim, c *call) bool {
	for _, f := range h.list {
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
			for name, value := range f.Header {
				c.w.Header().Set(name, value)
			}
			s.mu.Lock()
			s.stats.Statuses[f.Status]++
			s.mu.Unlock()
			c.w.WriteHeader(f.Status)
			_, _ = c.w.Write([]byte(f.Body))
			return true
		}
	}
	return false
}

// row returns the fault of a kind that strikes an item, or nil.
func (h struck) row(kind, externalID string) *Fault {
	for i := range h.rows {
		if h.rows[i].Kind == kind && strings.Contains(externalID, h.rows[i].Row) {
			return &h.rows[i]
		}
	}
	return nil
}

// pause waits for d, or until the client went away.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
