package salesforcesim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Record is a record as the ledger tells it.
type Record struct {
	ID string `json:"id"`
	// Fields are by the names that describe tells.
	Fields map[string]any `json:"fields"`
	// Created is its place in the order of creations, Writes counts its writes.
	Created int64 `json:"created"`
	Writes  int   `json:"writes"`
	// History holds the writes of statuses, in order.
	History []Write `json:"history,omitempty"`
}

// Write is one write of one field.
type Write struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// Records returns all records of an object, in order of creation.
func (s *Sim) Records(object string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[strings.ToLower(object)]
	if t == nil {
		return nil
	}
	all := make([]Record, 0, len(t.records))
	for _, r := range t.records {
		fields := make(map[string]any, len(r.values))
		for name, v := range r.values {
			if f, ok := t.fields[name]; ok && v != nil {
				fields[f.Name] = v
			}
		}
		all = append(all, Record{ID: r.id, Fields: fields, Created: r.created, Writes: r.writes, History: slices.Clone(r.history)})
	}
	return all
}

// objects returns the names of the objects there are.
func (s *Sim) objects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, key := range slices.Sorted(maps.Keys(s.tables)) {
		names = append(names, s.tables[key].name)
	}
	return names
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
		s.mu.Lock()
		s.latency = d
		s.mu.Unlock()
		reply(d.String())
	case "POST revoke":
		s.Revoke()
		reply("revoked")
	case "POST views":
		var v View
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&v); err != nil {
			http.Error(w, "want a view as JSON", http.StatusBadRequest)
			return
		}
		id, err := s.addView(v)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(id)
	case "POST publish":
		name := r.URL.Query().Get("event")
		var fields map[string]any
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&fields); err != nil || !s.hasTopic("/event/"+name) {
			http.Error(w, "want ?event= the name of a platform event, and its fields as JSON", http.StatusBadRequest)
			return
		}
		s.Publish(name, fields)
		reply("published")
	case "GET ledger":
		object := r.URL.Query().Get("object")
		if names := s.objects(); !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, object) }) {
			http.Error(w, "want ?object= one of "+strings.Join(names, ", "), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		for _, record := range s.Records(object) {
			if enc.Encode(record) != nil { //nolint:errchkjson // whoever asked may be gone
				return
			}
		}
	default:
		http.NotFound(w, r)
	}
}
