package broker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// Recorded is what a tenant's script was asked about an event, and what it
// answered: enough to ask again, the same version or another. It is part of the
// event's decided step, and kept as long as the history is.
type Recorded struct {
	// Hooks, Event, Context, Now and Seed are what the script was given: see
	// script.Call.
	Hooks   script.Hooks    `json:"hooks"`
	Event   json.RawMessage `json:"event"`
	Context json.RawMessage `json:"context"`
	Now     time.Time       `json:"now"`
	Seed    int64           `json:"seed"`
	// Answer is what it returned: a list of actions as the script wrote them,
	// each with its line. It is empty when there are none, and when Error is set.
	Answer json.RawMessage `json:"answer,omitempty"`
	// Fields are mapToCRM's.
	Fields map[string]any `json:"fields,omitempty"`
	// Log is what it wrote to its console, Error how it failed and Line where.
	Log   []string    `json:"log,omitempty"`
	Error *core.Error `json:"error,omitempty"`
	Line  string      `json:"line,omitempty"`
}

// Call returns the question that was asked.
func (r *Recorded) Call() script.Call {
	return script.Call{Hooks: r.Hooks, Event: r.Event, Context: r.Context, Now: r.Now, Seed: r.Seed}
}

// RecordedID is an id that the steps with a recorded decision share. No event
// has one like it.
const RecordedID = "#decided"

// record keeps what was asked and answered with the turn's step.
func (u *turn) record(c *script.Call, dec *script.Decision) {
	if len(c.Event)+len(c.Context) > script.MaxInput {
		return // the script never saw it
	}
	r := &Recorded{
		Hooks: c.Hooks, Event: c.Event, Context: c.Context, Now: c.Now, Seed: c.Seed,
		Fields: dec.Fields, Log: dec.Log, Error: dec.Err, Line: dec.Line,
	}
	// A worker's word is not taken for it that this is JSON.
	if answer := json.RawMessage(dec.Answer); dec.Err == nil && json.Valid(answer) {
		r.Answer = answer
	}
	u.step.Recorded = r
}

// DecisionQuery asks for recorded decisions of a tenant, a page at a time.
type DecisionQuery struct {
	Tenant   string
	From, To time.Time
	// After is the place after which to go on: 0, or a page's Next.
	After uint64
	Limit int
}

// DecisionPage is a page of recorded decisions, in the order in which they were
// made. A page without any is the last for now.
type DecisionPage struct {
	// Steps are the JSON of a Step each, with Recorded set.
	Steps []json.RawMessage `json:"steps"`
	Next  uint64            `json:"next"`
}

// Decisions returns a page of recorded decisions from the store alone: for a
// bridge that does not run.
func Decisions(ctx context.Context, s store.Store, q DecisionQuery) (DecisionPage, error) {
	recs, next, err := s.History(ctx, store.HistoryQuery{
		Tenant: q.Tenant, ID: RecordedID, From: q.From, To: q.To, After: q.After, Limit: q.Limit,
	})
	p := DecisionPage{Steps: make([]json.RawMessage, len(recs)), Next: next}
	for i, r := range recs {
		p.Steps[i] = r.Data
	}
	return p, err
}

// Decisions returns a page of recorded decisions.
func (b *Broker) Decisions(ctx context.Context, q DecisionQuery) (DecisionPage, error) {
	if b.tenants[q.Tenant] == nil {
		return DecisionPage{}, noTenant("decisions", q.Tenant)
	}
	return Decisions(ctx, b.o.Store, q)
}
