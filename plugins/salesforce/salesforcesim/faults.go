package salesforcesim

import (
	"net/http"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// The kinds of faults.
const (
	FaultStatus  = "status" // answers Status and Code without doing anything
	FaultSlow    = fault.Slow
	FaultHang    = fault.Hang
	FaultDrop    = fault.Drop
	FaultLost    = "lost" // does everything, then closes the connection
	FaultGarbage = fault.Garbage
	FaultRow     = "row" // refuses the rows of a collection whose key holds Row, with Code
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

// When implements [fault.Fault].
func (f Fault) When() fault.When {
	return fault.When{Kind: f.Kind, Match: f.Match, Count: f.Count, Skip: f.Skip, Chance: f.Chance, For: f.For, Delay: f.Delay}
}

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
		s.mu.Lock()
		s.stats.Faults[f.Kind]++
		s.mu.Unlock()
		switch {
		case f.Kind == FaultLost:
			lost = true
		case f.Kind == FaultRow:
			c.rows = append(c.rows, f)
		case f.Kind == FaultStatus && f.Code != "":
			c.fail(f.Status, f.Code, f.Message)
			return lost, true
		case f.Kind == FaultStatus:
			c.w.Header().Set("Content-Type", "text/html")
			c.w.WriteHeader(f.Status)
			_, _ = c.w.Write([]byte("<html><body><h1>" + http.StatusText(f.Status) + "</h1></body></html>"))
			return lost, true
		case fault.Strike(c.w, c.r, f.When()):
			return lost, true
		}
	}
	return lost, false
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
