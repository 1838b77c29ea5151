package mapping

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Table is one lane's mapping. All methods may be called concurrently, and on a nil
// Table, which maps nothing.
type Table struct {
	written   []core.MapRule
	suggested bool
	live      atomic.Pointer[[]*rule]
	lines     atomic.Pointer[[]Line]
}

// Line says what became of a rule.
type Line struct {
	core.MapRule
	// Suggested says that the rule is the connector's, not the owner's.
	Suggested bool `json:"suggested,omitempty"`
	// Off says why the rule does nothing; empty when it is at work.
	Off string `json:"off,omitempty"`
	// Type is what the CRM's property takes, where the CRM says so.
	Type core.PropertyType `json:"type,omitempty"`
}

// New makes a table of the owner's rules; suggested adds those of the connector,
// where the owner says nothing of the field or property. Rules do nothing until it
// is known what the CRM has: see [Table.Learn].
func New(written []core.MapRule, suggested bool) (*Table, []Problem) {
	if len(written) == 0 && !suggested {
		return nil, nil
	}
	rules, problems := check(written)
	if len(problems) > 0 {
		return nil, problems
	}
	t := &Table{written: written, suggested: suggested}
	lines := make([]Line, len(rules))
	for i, r := range rules {
		lines[i] = Line{MapRule: r.said(), Off: "it is not known yet what the CRM has"}
	}
	t.lines.Store(&lines)
	return t, nil
}

// Learn fits the rules to what the CRM has. A rule that cannot be with it does
// nothing: see [Table.Lines]. nil is a CRM that does not say, where all of the
// owner's rules are taken as they are.
func (t *Table) Learn(s *core.Schema) {
	if t == nil {
		return
	}
	rules, _ := check(t.written)
	own := len(rules)
	if s != nil && t.suggested {
		rules = append(rules, t.suggestions(s, rules)...)
	}
	var live []*rule
	lines := make([]Line, len(rules))
	for i, r := range rules {
		lines[i] = Line{MapRule: r.said(), Suggested: i >= own}
		if s != nil {
			lines[i].Off = "the CRM says of nothing what it has"
			if len(s.Objects) > 0 {
				lines[i].Off = r.fit(s)
			}
		}
		if r.property != nil {
			r.Property = r.property.Name
			lines[i].Type, lines[i].Property = r.property.Type, r.Property
		}
		if lines[i].Off == "" {
			live = append(live, r)
		}
	}
	t.live.Store(&live)
	t.lines.Store(&lines)
}

// suggestions are the connector's rules about which the owner says nothing. Those
// with mistakes are left out.
func (t *Table) suggestions(s *core.Schema, own []*rule) []*rule {
	var free []core.MapRule
	for _, m := range s.Mapping {
		if !slices.ContainsFunc(own, func(r *rule) bool { return r.Field == m.Field || strings.EqualFold(r.Property, m.Property) }) {
			free = append(free, m)
		}
	}
	rules, _ := check(free)
	return rules
}

// Lines returns the rules, and what became of each.
func (t *Table) Lines() []Line {
	if t == nil {
		return nil
	}
	return slices.Clone(*t.lines.Load())
}

// String says how many rules are at work; "" without a mapping.
func (t *Table) String() string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%d of %d rules", len(t.rules()), len(*t.lines.Load()))
}

func (t *Table) rules() []*rule {
	if t == nil {
		return nil
	}
	if live := t.live.Load(); live != nil {
		return *live
	}
	return nil
}

// Needs returns the part of a schema that the table looks at, to be kept.
func (t *Table) Needs(s core.Schema) core.Schema {
	if t == nil || len(s.Objects) == 0 {
		return core.Schema{}
	}
	wanted := map[string]bool{}
	for _, m := range append(slices.Clone(t.written), s.Mapping...) {
		wanted[strings.ToLower(m.Property)] = true
	}
	o := core.Object{Name: s.Objects[0].Name}
	for _, p := range s.Objects[0].Properties {
		if wanted[strings.ToLower(p.Name)] {
			o.Properties = append(o.Properties, p)
		}
	}
	return core.Schema{Objects: []core.Object{o}, Mapping: s.Mapping}
}

// Reads returns the properties that the rules at work read: [core.Account].Properties.
func (t *Table) Reads() []string {
	var names []string
	for _, r := range t.rules() {
		if r.reads() {
			names = append(names, r.Property)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Writes returns the properties that rules, at work or not, are about towards the CRM.
func (t *Table) Writes() []string {
	if t == nil {
		return nil
	}
	var names []string
	for _, l := range *t.lines.Load() {
		if l.Direction != From {
			names = append(names, l.Property)
		}
	}
	return names
}

// Says reports whether the CRM has the say on a field of the contact: it gave it a
// value that only it may change.
func (t *Table) Says(field string, agreed map[string]Agreed) bool {
	for _, r := range t.rules() {
		if r.reads() && r.Conflict == CRM && r.field.stored() == field && agreed[r.Property].Sum != "" {
			return true
		}
	}
	return false
}

// Agreed is what both sides last had of a property, as far as the bridge knows: what
// the CRM told, or what was written to it since.
type Agreed struct {
	// Sum is the value's, "" of none; List is a list itself.
	Sum  string `json:"s,omitempty"`
	List string `json:"l,omitempty"`
	// Again is how often the bridge's value was written over the CRM's since the
	// CRM last had it.
	Again int `json:"n,omitempty"`
	// Over is what was last written over in this way, as of At: told once more, it
	// is as old as it was.
	Over string    `json:"o,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

const (
	// maxAgain bounds how often that is done: a CRM that makes something else of
	// what is written would never be done with.
	maxAgain = 10
	maxList  = 4096
)

// Written is what is to be written to a CRM.
type Written struct {
	Properties map[string]any
	// Changed says that what was agreed on did: it must be stored with what is
	// written.
	Changed bool
	// Notes say in words what was left out, without values.
	Notes []string
}

// To returns what is to be written to the CRM with an event about a person. agreed,
// of this person and lane, is changed; nil is read-only: then only what the bridge
// alone knows is written. over are properties that somebody else writes with the
// same event, the tenant's script: they are left to them.
func (t *Table) To(k *Known, agreed map[string]Agreed, over map[string]any) Written {
	w := Written{Properties: map[string]any{}}
	for _, r := range t.rules() {
		if v, theirs := over[r.Property]; theirs {
			if r.reads() && agreed != nil {
				agreed[r.Property], w.Changed = r.agree(v, 0), true
			}
			continue
		}
		if !r.writes() || r.reads() && agreed == nil {
			continue
		}
		have := k.value(r.field)
		if r.reads() {
			r.toBoth(have, agreed, &w)
			continue
		}
		if !have.known {
			if r.Default == "" {
				continue
			}
			have.v = r.Default
		}
		v, why := r.to(have.v)
		w.note(r, why)
		if v != nil || why == "" {
			w.Properties[r.Property] = v
		}
	}
	return w
}

func (w *Written) note(r *rule, why string) {
	if why != "" {
		w.Notes = append(w.Notes, fmt.Sprintf("%s → %s: %s", r.Field, r.Property, why))
	}
}

// toBoth writes what the CRM, too, may change: only what it does not have yet.
func (r *rule) toBoth(have value, agreed map[string]Agreed, w *Written) {
	was, told := agreed[r.Property]
	empty := told && was.Sum == ""
	switch {
	case have.known && !have.guess:
	case !empty: // nobody said it, and the CRM may know better
		return
	case !have.known && r.Default != "":
		have.v = r.Default
	case !have.known:
		return
	}
	v, why := r.to(have.v)
	w.note(r, why)
	if v == nil && why != "" {
		return
	}
	sum := r.sum(v)
	if told && sum == was.Sum || !told && sum == "" {
		return
	}
	if r.Conflict == CRM && !empty {
		return // it has, or may have, a value of its own
	}
	agreed[r.Property] = r.agree(v, 0)
	w.Properties[r.Property], w.Changed = v, true
}

func (r *rule) agree(v any, again int) Agreed {
	a := Agreed{Sum: r.sum(v), Again: again}
	if r.field.Type == List {
		if list := strings.Join(r.listFrom(v), "\n"); len(list) <= maxList {
			a.List = list
		}
	}
	return a
}

// Told is what a CRM told of a person's properties.
type Told struct {
	Lane       string
	Properties map[string]any
	// At is when they were changed; Changed says it of each, where the CRM does.
	At      time.Time
	Changed map[string]time.Time
}

func (t *Told) at(property string) time.Time {
	if at, ok := t.Changed[property]; ok {
		return at
	}
	return t.At
}

// Taken is what follows for the bridge.
type Taken struct {
	// Fields are the contact's own to be set, "" takes one away. At says when they
	// were changed.
	Fields map[string]string
	At     map[string]time.Time
	Tags   []string
	Untags []string
	// Consent is "granted" or "withdrawn" where the CRM says so, Evidence what shows it.
	Consent, Evidence string
	ConsentAt         time.Time
	// Back are properties to be written back: the bridge's value counts.
	Back    map[string]any
	Changed bool
	Notes   []string
}

// From takes what a CRM told. agreed, of this person and lane, is changed. locked
// says which of the contact's fields another CRM has the say on; may be nil.
func (t *Table) From(k *Known, told Told, agreed map[string]Agreed, locked func(field string) bool) Taken {
	out := Taken{Fields: map[string]string{}, At: map[string]time.Time{}, Back: map[string]any{}}
	for _, r := range t.rules() {
		v, ok := told.Properties[r.Property]
		if !r.reads() || !ok {
			continue
		}
		was, known := agreed[r.Property]
		if known && was.Sum == r.sum(v) {
			continue // what both had: an echo, or about something else
		}
		if !was.At.IsZero() && was.Over == r.sum(v) && !told.at(r.Property).After(was.At) {
			continue
		}
		out.Changed = true
		got, why := r.from(v)
		if why != "" {
			agreed[r.Property] = r.agree(v, was.Again)
			out.Notes = append(out.Notes, fmt.Sprintf("%s → %s: %s", r.Property, r.Field, why))
			continue
		}
		switch r.field.Type {
		case List:
			r.merge(k, v, was, agreed, &out)
		case Consent:
			agreed[r.Property] = r.agree(v, 0)
			r.consent(k, got, v, known, &told, &out)
		default:
			r.settle(k, got, v, was, known, &told, agreed, locked, &out)
		}
	}
	return out
}

// settle decides whose value of a field counts.
func (r *rule) settle(k *Known, got string, v any, was Agreed, known bool, told *Told, agreed map[string]Agreed, locked func(string) bool, out *Taken) {
	name := r.field.stored()
	ours := k.Contact.Fields[name]
	mark, marked := k.Set[name]
	if writing, why := r.to(ours); got == ours || why == "" && r.sum(writing) == r.sum(v) {
		agreed[r.Property] = r.agree(v, 0) // it is so already
		return
	}
	at := told.at(r.Property)
	fills := got == "" && !known // the CRM never had a value
	var keep bool
	switch {
	case locked != nil && locked(name):
		keep = true
	case ours == "" && r.Conflict != Newest:
	case r.Conflict == CRM:
		keep = fills
	case r.Conflict == WhatsApp:
		keep = true
	default:
		keep = fills || marked && mark.At.After(at)
	}
	switch {
	case !keep:
		agreed[r.Property] = r.agree(v, 0)
		out.Fields[name], out.At[name] = got, at
	case !r.writes():
		agreed[r.Property] = r.agree(v, 0)
		out.Notes = append(out.Notes, fmt.Sprintf("%s → %s: the bridge's value counts", r.Property, r.Field))
	case was.Again >= maxAgain: // as if it had it
		out.Notes = append(out.Notes, fmt.Sprintf("%s → %s: the bridge's value counts, but the CRM does not keep it", r.Property, r.Field))
	default:
		back, why := r.to(ours)
		if why != "" {
			agreed[r.Property] = r.agree(v, was.Again)
			out.Notes = append(out.Notes, fmt.Sprintf("%s → %s: %s", r.Field, r.Property, why))
			return
		}
		now := r.agree(back, was.Again+1)
		now.Over, now.At = r.sum(v), at
		agreed[r.Property] = now
		out.Back[r.Property] = back
		out.Notes = append(out.Notes, fmt.Sprintf("%s → %s: the bridge's value counts, and is written back", r.Property, r.Field))
	}
}

// merge takes what a CRM added to a list, and what it took away.
func (r *rule) merge(k *Known, v any, was Agreed, agreed map[string]Agreed, out *Taken) {
	var before []string
	if was.List != "" {
		before = strings.Split(was.List, "\n")
	}
	now := r.listFrom(v)
	for _, one := range now {
		if !slices.Contains(before, one) && !slices.Contains(k.Contact.Tags, one) {
			out.Tags = append(out.Tags, one)
		}
	}
	for _, one := range before {
		if !slices.Contains(now, one) && slices.Contains(k.Contact.Tags, one) {
			out.Untags = append(out.Untags, one)
		}
	}
	agreed[r.Property] = r.agree(v, 0)
}

// consent takes what a CRM says of consent, as a proposal: the rules of consent
// decide. A yes that was there before anything was known of it is not taken over one
// that the bridge has: nobody knows how old it is.
func (r *rule) consent(k *Known, state string, v any, known bool, told *Told, out *Taken) {
	if state == "" || state == "asked" || state == k.Marketing {
		return
	}
	if state == "granted" && !known && k.Marketing != "" {
		out.Notes = append(out.Notes, r.Property+" → marketing_consent: an old yes is not taken over what is known")
		return
	}
	out.Consent, out.ConsentAt = state, told.at(r.Property)
	out.Evidence = fmt.Sprintf("%s: %s is %.100q since %s", told.Lane, r.Property, textOf(v), out.ConsentAt.UTC().Format(time.RFC3339))
}
