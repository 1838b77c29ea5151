package hubspotsim

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"
)

// Record is a record as the ledger tells it, archived ones included: two records
// with one value of a unique property are one too many.
type Record struct {
	ID         string            `json:"id"`
	Properties map[string]string `json:"properties"`
	// Created and Updated are places in the order of all writes to the account.
	Created int64 `json:"created"`
	Updated int64 `json:"updated"`
	// Writes counts the writes, the first included.
	Writes int `json:"writes"`
	// History holds the writes of the properties in Options.History, in order.
	History []Write `json:"history,omitempty"`
	// Associated are the ids of records associated, by object, in order.
	Associated map[string][]string `json:"associated,omitempty"`
	Archived   bool                `json:"archived,omitempty"`
	// Erased says that the record was deleted for good: only its id is left.
	Erased bool `json:"erased,omitempty"`
}

// Write is one write of one property.
type Write struct {
	Property string `json:"property"`
	Value    string `json:"value"`
	Seq      int64  `json:"seq"`

	at     time.Time
	source string // who wrote it, in HubSpot's words
}

// Records returns all records of an object ("contacts", "communications") in order
// of creation.
func (s *Sim) Records(object string) []Record {
	var all []Record
	s.each(object, func(r Record) error { all = append(all, r); return nil })
	return all
}

// each calls f for every record, a few at a time so that the account goes on
// working meanwhile.
func (s *Sim) each(object string, f func(Record) error) {
	const some = 500
	for next := 0; ; next += some {
		page := s.state.page(object, next, some)
		for _, r := range page {
			if f(r) != nil {
				return
			}
		}
		if len(page) < some {
			return
		}
	}
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
	case "GET inbox":
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		for _, m := range s.InboxMessages() {
			if enc.Encode(m) != nil { //nolint:errchkjson // whoever asked is gone
				return
			}
		}
	case "GET ledger":
		object := tableName(r.URL.Query().Get("object"))
		if object == "" {
			http.Error(w, "want ?object=contacts or ?object=communications", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		buf := bufio.NewWriter(w)
		enc := json.NewEncoder(buf)
		s.each(object, func(r Record) error { return enc.Encode(r) })
		_ = buf.Flush()
	default:
		http.NotFound(w, r)
	}
}

// SetLatency changes Options.Latency.
func (s *Sim) SetLatency(d time.Duration) { s.state.delay.Store(int64(d)) }
