package customhttpsim

import (
	"strings"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// The kinds of faults.
const (
	FaultStatus  = "status" // answers Status and Body without doing anything
	FaultSlow    = fault.Slow
	FaultHang    = fault.Hang
	FaultDrop    = fault.Drop
	FaultLost    = "lost" // does everything, then closes the connection
	FaultCut     = "cut"  // does everything, then answers half
	FaultGarbage = fault.Garbage
	FaultRow     = "row"  // refuses the items in bulk named by Row, with Status and Code
	FaultMute    = "mute" // writes them, but leaves them out of the answer
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

// When implements [fault.Fault].
func (f Fault) When() fault.When {
	return fault.When{Kind: f.Kind, Match: f.Match, Count: f.Count, Skip: f.Skip, Chance: f.Chance, For: f.For, Delay: f.Delay}
}

// kinds are those that there are.
var kinds = []string{FaultStatus, FaultSlow, FaultHang, FaultDrop, FaultLost, FaultCut, FaultGarbage, FaultRow, FaultMute}

// Inject adds faults.
func (s *Sim) Inject(list ...Fault) { s.fault.Inject(list...) }

// Faults returns the faults in force.
func (s *Sim) Faults() []Fault { return s.fault.InForce() }

// Heal ends all faults. Requests that hang already go on hanging.
func (s *Sim) Heal() { s.fault.Heal() }

// struck is what strikes one request that is answered.
type struck struct {
	lost, cut bool
	rows      []Fault
}

// strike lets faults strike a request that was not looked at yet; true when that was
// all.
func (s *Sim) strike(c *call) (answered bool) {
	for _, f := range s.fault.Take(c.r.URL.Path) {
		s.mu.Lock()
		s.stats.Faults[f.Kind]++
		s.mu.Unlock()
		switch f.Kind {
		case FaultLost:
			c.hit.lost = true
		case FaultCut:
			c.hit.cut = true
		case FaultRow, FaultMute:
			c.hit.rows = append(c.hit.rows, f)
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
		default:
			if fault.Strike(c.w, c.r, f.When()) {
				return true
			}
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
