// Package redecide asks a version of a script again about recorded traffic, and
// says what it would have decided otherwise: before a change is put to work, and
// after one that was a mistake.
//
// Nothing of what it finds depends on how fast the machine is or how many
// processes decide at once: the same traffic and the same versions give the same
// report, byte for byte.
package redecide

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/script"
)

const (
	pageSize  = 2000
	batchSize = 128 // decisions that are asked for together
)

// Traffic is where recorded decisions come from: a running bridge, or its store.
type Traffic interface {
	Decisions(ctx context.Context, q broker.DecisionQuery) (broker.DecisionPage, error)
}

// Decider asks a version of a script: one Decision per call, in order. It is
// called from several goroutines at once.
type Decider func(ctx context.Context, calls []script.Call) []script.Decision

// Options say what is asked again.
type Options struct {
	Traffic Traffic
	Tenant  string
	// From and To bound when the decisions were made; zero is no bound.
	From, To time.Time
	// After is the place after which to begin.
	After uint64
	// By asks only about the decisions of this version; empty asks about all.
	By string
	// Others passes the decisions of other versions, too, in their order: with what
	// was decided as both Old and New.
	Others bool
	// Old is the version to compare with; nil compares with what was decided at
	// the time.
	Old Decider
	New Decider
	// Prices let a diff tell costs; may be nil.
	Prices *Prices
	// Workers is how many batches are decided at once; 0 is 2.
	Workers int
	// Progress is called now and then with the number of decisions looked at; may
	// be nil.
	Progress func(n int)
}

// Pair is one recorded decision, made twice.
type Pair struct {
	Step     broker.Step
	Old, New Outcome

	given given
}

// PairOf makes a pair of a decision that was just made, and what another version
// made of the same call.
func PairOf(call *script.Call, kind core.Kind, was, other *script.Decision) (*Pair, error) {
	p := &Pair{Step: broker.Step{
		Time: call.Now, Kind: kind, Script: was.Version, Recorded: &broker.Recorded{Event: call.Event, Context: call.Context},
	}}
	var e struct{ ID string }
	_ = json.Unmarshal(call.Event, &e)
	p.Step.Event = e.ID
	_ = json.Unmarshal(call.Context, &p.given)
	var err error
	if p.Old, err = OutcomeOf(was); err != nil {
		return nil, err
	}
	p.New, err = OutcomeOf(other)
	return p, err
}

// Outcome is what a version decided.
type Outcome struct {
	Actions []script.Action
	Fields  map[string]any // mapToCRM's
	Log     []string
	// Failed says how the script failed, at Line; the bridge then hands a message
	// to a person.
	Failed string
	Line   string
}

// given is what matters of a recorded context.
type given struct {
	Contact      core.Contact `json:"contact"`
	Conversation struct {
		Mode string `json:"mode"`
	} `json:"conversation"`
}

// Same reports whether both versions decided the same. Where in the script an
// action was made makes no difference, nor how it failed.
func (p *Pair) Same() bool {
	return (p.Old.Failed != "") == (p.New.Failed != "") && sameActions(p.Old.Actions, p.New.Actions) && p.sameFields()
}

func (p *Pair) sameFields() bool {
	return len(p.Old.Fields) == len(p.New.Fields) && (len(p.Old.Fields) == 0 || reflect.DeepEqual(p.Old.Fields, p.New.Fields))
}

func sameActions(a, b []script.Action) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		x.Line, y.Line = "", ""
		if !reflect.DeepEqual(x, y) && !bytes.Equal(canonical(x), canonical(y)) {
			return false
		}
	}
	return true
}

// canonical writes an action so that JSON within it is compared by what it says.
func canonical(a script.Action) []byte {
	data, err := json.Marshal(a)
	if err != nil {
		return nil
	}
	var v any
	if json.Unmarshal(data, &v) != nil {
		return data
	}
	if sorted, err := json.Marshal(v); err == nil { // keys in order
		return sorted
	}
	return data
}

// batch is a few decisions on their way.
type batch struct {
	raw   []json.RawMessage
	pairs []Pair
	seen  int
	err   error
	done  chan struct{}
}

// Each asks again about all that Options say and calls f with each pair, in the
// order in which the decisions were made, whatever the order in which they are
// made again. It ends with the first error.
func Each(ctx context.Context, o Options, f func(*Pair) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	workers := max(o.Workers, 1)
	if o.Workers == 0 {
		workers = 2
	}
	// Bounded: reading stays as little ahead as keeps the workers busy.
	work, inOrder := make(chan *batch, workers), make(chan *batch, 4*workers)
	var readErr error
	wg.Go(func() {
		defer close(work)
		defer close(inOrder)
		readErr = o.read(ctx, func(b *batch) bool { return put(ctx, inOrder, b) && put(ctx, work, b) })
	})
	for range workers {
		wg.Go(func() {
			for b := range work {
				b.err = o.decide(ctx, b)
				close(b.done)
			}
		})
	}
	n := 0
	for b := range inOrder {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.err != nil {
			return b.err
		}
		for i := range b.pairs {
			if err := f(&b.pairs[i]); err != nil {
				return err
			}
		}
		if n += b.seen; o.Progress != nil {
			o.Progress(n)
		}
	}
	return readErr
}

func put(ctx context.Context, c chan<- *batch, b *batch) bool {
	select {
	case c <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// read reads the traffic page by page.
func (o *Options) read(ctx context.Context, give func(*batch) bool) error {
	q := broker.DecisionQuery{Tenant: o.Tenant, From: o.From, To: o.To, After: o.After, Limit: pageSize}
	for {
		page, err := o.Traffic.Decisions(ctx, q)
		if err != nil || len(page.Steps) == 0 {
			return err
		}
		for steps := page.Steps; len(steps) > 0; {
			n := min(batchSize, len(steps))
			if !give(&batch{raw: steps[:n], done: make(chan struct{})}) {
				return ctx.Err()
			}
			steps = steps[n:]
		}
		q.After = page.Next
	}
}

// decide makes the decisions of a batch again.
func (o *Options) decide(ctx context.Context, b *batch) error {
	b.seen, b.pairs = len(b.raw), make([]Pair, 0, len(b.raw))
	calls := make([]script.Call, 0, len(b.raw))
	of := make([]int, 0, len(b.raw)) // the pairs that they are about
	for _, raw := range b.raw {
		var p Pair
		if err := json.Unmarshal(raw, &p.Step); err != nil || p.Step.Recorded == nil {
			continue // of another version of the bridge
		}
		asked := o.By == "" || p.Step.Script == o.By
		if !asked && !o.Others {
			continue
		}
		p.Old = Recorded(p.Step.Recorded)
		p.New = p.Old
		_ = json.Unmarshal(p.Step.Recorded.Context, &p.given)
		b.pairs = append(b.pairs, p)
		if asked {
			calls, of = append(calls, p.Step.Recorded.Call()), append(of, len(b.pairs)-1)
		}
	}
	b.raw = nil
	if len(calls) == 0 {
		return nil
	}
	if o.Old != nil {
		if err := ask(ctx, o.Old, calls, func(i int, out Outcome) { b.pairs[of[i]].Old = out }); err != nil {
			return fmt.Errorf("the old version: %w", err)
		}
	}
	return ask(ctx, o.New, calls, func(i int, out Outcome) { b.pairs[of[i]].New = out })
}

func ask(ctx context.Context, d Decider, calls []script.Call, take func(int, Outcome)) error {
	decisions := d(ctx, calls)
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range decisions {
		out, err := OutcomeOf(&decisions[i])
		if err != nil {
			return err
		}
		take(i, out)
	}
	return nil
}

// OutcomeOf returns what was decided; an error when nobody was there to decide.
func OutcomeOf(d *script.Decision) (Outcome, error) {
	out := Outcome{Actions: d.Actions, Fields: d.Fields, Log: d.Log}
	if d.Err != nil {
		if d.Err.Code == core.CodeUnavailable {
			return out, d.Err
		}
		out.Actions, out.Failed, out.Line = nil, d.Err.Message, d.Line
	}
	return out, nil
}

// Recorded is what was decided at the time.
func Recorded(r *broker.Recorded) Outcome {
	out := Outcome{Fields: r.Fields, Log: r.Log, Line: r.Line}
	if r.Error != nil {
		out.Failed = r.Error.Message
		return out
	}
	if len(r.Answer) > 0 {
		var err error
		if out.Actions, err = script.ReadActions(r.Answer); err != nil {
			out.Failed = err.Error() // it was read then: another version of the bridge
		}
	}
	return out
}
