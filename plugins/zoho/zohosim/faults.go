package zohosim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// The kinds of faults.
const (
	FaultStatus  = "status" // answers Status, Code and Message without doing anything
	FaultSlow    = fault.Slow
	FaultHang    = fault.Hang
	FaultDrop    = fault.Drop
	FaultLost    = "lost" // does everything, then closes the connection
	FaultGarbage = fault.Garbage
	FaultRow     = "row"  // refuses the rows that hold the text Row, with Code and Message
	FaultMute    = "mute" // writes them, but leaves them out of the answer
)

// Fault is one way to misbehave. A duration is in nanoseconds in JSON.
type Fault struct {
	Kind string `json:"kind"`
	// Match is a part of "METHOD path" of the requests it strikes; empty strikes all.
	Match string `json:"match,omitempty"`
	// Count is how many requests it strikes; 0 has no end. Skip lets as many pass
	// first. For is how long it lasts; 0 has no end.
	Count int           `json:"count,omitempty"`
	Skip  int           `json:"skip,omitempty"`
	For   time.Duration `json:"for,omitempty"`
	// Chance strikes by lot; 0 strikes always. Delay is for FaultSlow.
	Chance float64       `json:"chance,omitempty"`
	Delay  time.Duration `json:"delay,omitempty"`

	Status  int            `json:"status,omitempty"`
	Code    string         `json:"code,omitempty"`
	Message string         `json:"message,omitempty"`
	Details map[string]any `json:"details,omitempty"`
	Row     string         `json:"row,omitempty"`
}

// When implements [fault.Fault].
func (f Fault) When() fault.When {
	return fault.When{Kind: f.Kind, Match: f.Match, Count: f.Count, Skip: f.Skip, Chance: f.Chance, For: f.For, Delay: f.Delay}
}

// kinds are those that there are.
var kinds = []string{FaultStatus, FaultSlow, FaultHang, FaultDrop, FaultLost, FaultGarbage, FaultRow, FaultMute}

// Inject adds faults.
func (s *Sim) Inject(list ...Fault) { s.fault.Inject(list...) }

// Faults returns the faults in force.
func (s *Sim) Faults() []Fault { return s.fault.InForce() }

// Heal ends all faults. Requests that hang already go on hanging.
func (s *Sim) Heal() { s.fault.Heal() }

// strike lets faults strike a request; answered when that was all, lost when nobody
// will hear of the answer.
func (s *Sim) strike(c *call) (lost, answered bool) {
	for _, f := range s.fault.Take(c.r.Method + " " + c.r.URL.Path) {
		s.count(func(v *Stats) { v.Faults[f.Kind]++ })
		switch f.Kind {
		case FaultLost:
			lost = true
		case FaultStatus:
			if f.Code == "" {
				f.Code, f.Message = "INTERNAL_ERROR", "Internal Server Error"
			}
			c.fail(f.Status, failure(f.Code, f.Message, f.Details))
			return lost, true
		case FaultRow, FaultMute:
			c.rows = append(c.rows, f)
		default:
			if fault.Strike(c.w, c.r, f.When()) {
				return lost, true
			}
		}
	}
	return lost, false
}

// rowAnswer is what a refused row is told.
func (f Fault) rowAnswer(at string) answered {
	a := failure(f.Code, f.Message, f.Details)
	if a.Code == "" {
		a = failure("INVALID_DATA", "invalid data", map[string]any{"api_name": "Phone", "json_path": at + ".Phone", "expected_data_type": "phone"})
	}
	return a
}

func bodyOf(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// Record is a record as the ledger tells it, deleted ones included.
type Record struct {
	ID      string            `json:"id"`
	Values  map[string]string `json:"values"`
	Tags    []string          `json:"tags,omitempty"`
	Writes  int               `json:"writes"`
	History []Write           `json:"history,omitempty"`
	Deleted bool              `json:"deleted,omitempty"`
}

// Write is one write of one field, Seq its place in the order of all writes.
type Write struct {
	Field string `json:"field"`
	Value string `json:"value"`
	Seq   int64  `json:"seq"`
}

// Records returns all records of a module in order of creation. Lookups are the ids
// they point to.
func (s *Sim) Records(name string) []Record {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m := s.state.modules[name]
	if m == nil {
		return nil
	}
	list := make([]Record, 0, len(m.records))
	for _, r := range m.records {
		out := Record{ID: r.id, Values: make(map[string]string, len(r.values)), Tags: slices.Clone(r.tags),
			Writes: r.writes, History: slices.Clone(r.history), Deleted: r.deleted}
		for field, v := range r.values {
			out.Values[field] = text(v)
		}
		list = append(list, out)
	}
	return list
}

// control serves /_sim/.
func (s *Sim) control(w http.ResponseWriter, r *http.Request, what string) {
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // the sim made it; whoever asked may be gone
	}
	switch r.Method + " " + what {
	case "GET stats":
		reply(s.Stats())
	case "GET faults", "POST faults", "DELETE faults":
		s.fault.Control(w, r, kinds)
	case "POST latency":
		d, err := time.ParseDuration(r.URL.Query().Get("d"))
		if err != nil || d < 0 {
			http.Error(w, "want ?d=200ms", http.StatusBadRequest)
			return
		}
		s.SetLatency(d)
		reply(d.String())
	case "POST revoke":
		s.ExpireTokens()
		reply("revoked")
	case "POST edit":
		var values map[string]any
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&values); err != nil {
			http.Error(w, "want a JSON object of fields", http.StatusBadRequest)
			return
		}
		id, err := s.Edit(Person, r.URL.Query().Get("module"), r.URL.Query().Get("id"), values)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(map[string]string{"id": id})
	case "POST view", "POST campaign":
		made := s.makeView
		if what == "campaign" {
			made = s.makeCampaign
		}
		id, err := made(w, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(map[string]string{"id": id})
	case "GET ledger":
		records := s.Records(r.URL.Query().Get("module"))
		if records == nil {
			http.Error(w, "want ?module=Contacts, or another module", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		buf := bufio.NewWriter(w)
		enc := json.NewEncoder(buf)
		for _, rec := range records {
			_ = enc.Encode(rec) //nolint:errchkjson // whoever asked may be gone
		}
		_ = buf.Flush()
	default:
		http.NotFound(w, r)
	}
}
