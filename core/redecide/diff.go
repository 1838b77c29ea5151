package redecide

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/script"
)

const (
	maxGroups   = 200 // kinds of changes that are told apart
	maxExamples = 3   // of each
	maxVersions = 100
)

// Report says which decisions change, and what follows from it.
type Report struct {
	// Decisions is how many were made again, Changed how many are not the same.
	Decisions int `json:"decisions"`
	Changed   int `json:"changed"`
	// First and Last are when the first and the last of them were made.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Versions are those that made them, with how many.
	Versions map[string]int `json:"versions"`
	// Groups are the changes by what was decided and what would be, the largest
	// first; Ungrouped is how many changes are of still other kinds.
	Groups    []Group `json:"groups"`
	Ungrouped int     `json:"ungrouped,omitempty"`
	// Old and New are what the two decide about messages.
	Old Forecast `json:"old"`
	New Forecast `json:"new"`
}

// Group is a kind of change.
type Group struct {
	Kind  core.Kind `json:"kind"`
	Old   string    `json:"old"`
	New   string    `json:"new"`
	Count int       `json:"count"`
	// Examples are the first few.
	Examples []Example `json:"examples"`
}

// Example is one decision that changes. Numbers of people are masked.
type Example struct {
	Event string    `json:"event"`
	Time  time.Time `json:"time"`
	Who   string    `json:"who,omitempty"`
	Text  string    `json:"text,omitempty"`
	Old   []string  `json:"old"`
	New   []string  `json:"new"`
}

// Forecast counts what a version decides about messages from people. What the
// policy refuses, and hands over by itself, is not in it.
type Forecast struct {
	Messages int `json:"messages"`
	// Automatic were answered by the script and by nobody else, Human were handed
	// to a person, Failed of those because the script failed.
	Automatic int `json:"automatic"`
	Human     int `json:"human"`
	Failed    int `json:"failed"`
	// Sends is how many messages the script sends, whatever it was asked about.
	// While a person has the conversation it sends none.
	Sends int `json:"sends"`
	// Cost is what these cost by the rate cards; nil when there are none.
	Cost *rate.Cost `json:"cost,omitempty"`
}

// Share is n of the messages, 0 to 1.
func (f *Forecast) Share(n int) float64 {
	if f.Messages == 0 {
		return 0
	}
	return float64(n) / float64(f.Messages)
}

func (f *Forecast) add(p *Pair, o *Outcome, prices *Prices) {
	replies, human := 0, o.Failed != ""
	for _, a := range o.Actions {
		switch a.Type {
		case script.ActionReply:
			replies++
		case script.ActionEscalate:
			human = true
		}
	}
	if p.given.Conversation.Mode == "human" {
		replies = 0
	}
	f.Sends += replies
	if prices != nil {
		if f.Cost == nil {
			f.Cost = &rate.Cost{}
		}
		for i := range o.Actions {
			if a := &o.Actions[i]; a.Type == script.ActionReply && replies > 0 {
				f.Cost.Add(prices.of(a, p.country(), p.Step.Kind), 1)
			}
		}
	}
	if p.Step.Kind != core.KindMessageReceived {
		return
	}
	f.Messages++
	switch {
	case human:
		f.Human++
		if o.Failed != "" {
			f.Failed++
		}
	case replies > 0:
		f.Automatic++
	}
}

// Diff asks again about all that Options say, and tells what changes.
func Diff(ctx context.Context, o Options) (*Report, error) {
	c := NewCounter()
	c.prices = o.Prices
	if err := Each(ctx, o, func(p *Pair) error { c.Add(p); return nil }); err != nil {
		return nil, err
	}
	return c.Report(), nil
}

// Counter makes a Report of pairs, one after the other, in bounded memory.
type Counter struct {
	prices *Prices
	r      Report
	groups map[[3]string]*Group
}

// NewCounter returns an empty Counter.
func NewCounter() *Counter {
	return &Counter{groups: map[[3]string]*Group{}, r: Report{Versions: map[string]int{}}}
}

// CounterOf goes on counting from a report.
func CounterOf(r *Report) *Counter {
	c := NewCounter()
	c.r = *r
	c.r.Versions = maps.Clone(r.Versions)
	if c.r.Versions == nil {
		c.r.Versions = map[string]int{}
	}
	c.r.Groups = nil
	for _, g := range r.Groups {
		c.groups[[3]string{string(g.Kind), g.Old, g.New}] = &g
	}
	return c
}

// Add counts a pair.
func (c *Counter) Add(p *Pair) {
	at := p.Step.Time
	if c.r.Decisions == 0 || at.Before(c.r.First) {
		c.r.First = at
	}
	if at.After(c.r.Last) {
		c.r.Last = at
	}
	c.r.Decisions++
	version := p.Step.Script
	if c.r.Versions[version] == 0 && len(c.r.Versions) >= maxVersions {
		version = "others"
	}
	c.r.Versions[version]++
	c.r.Old.add(p, &p.Old, c.prices)
	c.r.New.add(p, &p.New, c.prices)
	if p.Same() {
		return
	}
	c.r.Changed++
	before, after := p.shapes()
	key := [3]string{string(p.Step.Kind), before, after}
	g := c.groups[key]
	if g == nil {
		if len(c.groups) >= maxGroups {
			c.r.Ungrouped++
			return
		}
		g = &Group{Kind: p.Step.Kind, Old: before, New: after}
		c.groups[key] = g
	}
	if g.Count++; len(g.Examples) < maxExamples {
		g.Examples = append(g.Examples, p.example())
	}
}

// shapes are what both decided, in a line each; where the fields for the CRM
// differ, with their names.
func (p *Pair) shapes() (before, after string) {
	before, after = p.Old.Shape(), p.New.Shape()
	if names := p.crmFields(); len(names) > 0 {
		crm := " + CRM fields " + strings.Join(names, ", ")
		before, after = before+crm, after+crm
	}
	return before, after
}

func (p *Pair) example() Example {
	var e core.Event
	_ = json.Unmarshal(p.Step.Recorded.Event, &e)
	x := Example{Event: p.Step.Event, Time: p.Step.Time, Old: p.Old.Lines(), New: p.New.Lines()}
	if e.Contact != nil {
		if to := e.Contact.Address(); to.Value != "" {
			x.Who = core.MaskAddress(to.Value)
		}
	}
	if e.Message != nil {
		x.Text = Masked(e.Message.Text)
	}
	for _, name := range p.crmFields() {
		x.Old = append(x.Old, crmField(name, p.Old.Fields))
		x.New = append(x.New, crmField(name, p.New.Fields))
	}
	for _, side := range [][]string{x.Old, x.New} {
		for i := range side {
			side[i] = phones.ReplaceAllStringFunc(side[i], core.MaskAddress)
		}
	}
	return x
}

// Value writes a field's value as JSON does.
func Value(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

func crmField(name string, fields map[string]any) string {
	v, ok := fields[name]
	if !ok {
		return fmt.Sprintf("CRM %s: not set", name)
	}
	return fmt.Sprintf("CRM %s = %s", name, clip(Value(v), 80))
}

// Report returns what was counted so far.
func (c *Counter) Report() *Report {
	r := c.r
	r.Versions = maps.Clone(c.r.Versions)
	r.Groups = make([]Group, 0, len(c.groups))
	for _, g := range c.groups {
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Old, b.Old), cmp.Compare(a.New, b.New))
	})
	return &r
}
