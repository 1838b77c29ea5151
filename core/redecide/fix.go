package redecide

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/script"
)

// MaxFixes is how many contacts can be corrected at once.
const MaxFixes = 100_000

// Fixes are the corrections after a version of the script that another would have
// decided otherwise than.
type Fixes struct {
	// Decisions is how many the version made, Changed how many the other would
	// make otherwise, Failed how many of these it fails at: they stay.
	Decisions int `json:"decisions"`
	Changed   int `json:"changed"`
	Failed    int `json:"failed,omitempty"`
	// Overtaken is how many things that it wrote were written again since by
	// other decisions, or changed at the CRM: they are left alone.
	Overtaken int `json:"overtaken"`
	// Messages is how many decisions differ in messages, which are never sent
	// again.
	Messages int `json:"messages"`
	// Contacts are what is to be corrected, in the order of their ids.
	Contacts []Fix `json:"contacts"`
}

// Fix is what is to be corrected of a contact.
type Fix struct {
	broker.ContactCorrection
	// Who is their masked address; Events are the decisions that wrote it, by the
	// place of the change.
	Who    string   `json:"who,omitempty"`
	Events []string `json:"events"`
}

// key is something of a contact that decisions write.
type key struct{ what, name string }

// written is what a version left there, and what the other would have.
type written struct {
	was, want any
	event     string
	at        time.Time
}

// fixing is what is known of one contact.
type fixing struct {
	who, number string
	keys        map[key]written
}

// FindFixes finds what the version o.By wrote of contacts that the version o.New would
// have written otherwise, as it stands after the last of its decisions. What
// anybody else wrote afterwards stays.
func FindFixes(ctx context.Context, o Options) (*Fixes, error) {
	o.Others = true
	f := &Fixes{}
	contacts := map[string]*fixing{}
	err := Each(ctx, o, func(p *Pair) error {
		if id := p.given.Contact.ID; id != "" {
			f.add(contacts, id, p, p.Step.Script == o.By)
		}
		if len(contacts) > MaxFixes {
			return core.Errorf(core.CodeInvalid, "fix", "more than %d contacts are to be corrected: ask for a shorter time with --since", MaxFixes)
		}
		return nil
	})
	for _, id := range slices.Sorted(maps.Keys(contacts)) {
		if c := contacts[id]; len(c.keys) > 0 {
			f.Contacts = append(f.Contacts, c.fix(id))
		}
	}
	return f, err
}

func (f *Fixes) add(contacts map[string]*fixing, id string, p *Pair, asked bool) {
	c := contacts[id]
	if asked {
		f.Decisions++
		if !p.Same() {
			f.Changed++
			if p.New.Failed != "" {
				f.Failed++
				p.New = p.Old
			} else if !sameActions(replies(p.Old.Actions), replies(p.New.Actions)) {
				f.Messages++
			}
		}
	}
	if c == nil && (!asked || p.Same()) {
		return
	}
	if c == nil {
		c = &fixing{keys: map[key]written{}}
	}
	f.overtaken(c, p)
	before := state(&p.given.Contact)
	was := after(before, p, &p.Old)
	if !asked {
		for k := range touched(p, &p.Old) {
			c.drop(f, k) // decided anew by another version
		}
		return
	}
	wish := maps.Clone(before)
	for k, w := range c.keys {
		if k.what == core.CorrectTag || k.what == core.CorrectField {
			wish[k] = w.want
		}
	}
	want := after(wish, p, &p.New)
	keys := touched(p, &p.Old)
	maps.Copy(keys, touched(p, &p.New))
	for k := range keys {
		x, y := was[k], want[k]
		if k.what == core.CorrectCRM || k.what == core.CorrectEscalation { // what was before is not in the record
			held := c.keys[k]
			if _, wrote := was[k]; !wrote {
				x = held.was
			}
			if _, wrote := want[k]; !wrote {
				y = held.want
			}
		}
		if k.what == core.CorrectTag {
			x, y = x == true, y == true
		} else if k.what != core.CorrectCRM {
			x, y = cmp.Or(text(x), ""), cmp.Or(text(y), "")
		}
		if reflect.DeepEqual(x, y) {
			delete(c.keys, k)
			continue
		}
		c.keys[k] = written{was: x, want: y, event: p.Step.Event, at: p.Step.Time}
	}
	c.take(p)
	if len(c.keys) > 0 {
		contacts[id] = c
	}
}

// overtaken drops what is not there any more as the version left it.
func (f *Fixes) overtaken(c *fixing, p *Pair) {
	now := state(&p.given.Contact)
	var e core.Event
	if p.Step.Kind == core.KindContactChanged {
		_ = json.Unmarshal(p.Step.Recorded.Event, &e)
	}
	for k, w := range c.keys {
		switch k.what {
		case core.CorrectTag:
			if (now[k] == true) != w.was {
				c.drop(f, k)
			}
		case core.CorrectField:
			if text(now[k]) != w.was {
				c.drop(f, k)
			}
		case core.CorrectCRM:
			if v, told := e.Fields[k.name]; told && !reflect.DeepEqual(v, w.was) {
				c.drop(f, k)
			}
		}
	}
}

func (c *fixing) drop(f *Fixes, k key) {
	if _, ok := c.keys[k]; ok {
		delete(c.keys, k)
		f.Overtaken++
	}
}

// take notes who the contact is.
func (c *fixing) take(p *Pair) {
	if to := p.given.Contact.Address(); to.Value != "" {
		c.who = core.MaskAddress(to.Value)
	}
	var e struct{ Number string }
	if json.Unmarshal(p.Step.Recorded.Event, &e) == nil && e.Number != "" {
		c.number = e.Number
	}
}

func (c *fixing) fix(id string) Fix {
	x := Fix{ContactCorrection: broker.ContactCorrection{Contact: id, Number: c.number}, Who: c.who}
	for _, k := range slices.SortedFunc(maps.Keys(c.keys), func(a, b key) int { return cmp.Or(cmp.Compare(a.what, b.what), cmp.Compare(a.name, b.name)) }) {
		w := c.keys[k]
		x.Changes = append(x.Changes, core.Change{What: k.what, Name: k.name, Was: w.was, Want: w.want, At: w.at})
		x.Events = append(x.Events, w.event)
	}
	return x
}

// state is what decisions can read of a contact.
func state(c *core.Contact) map[key]any {
	s := map[key]any{}
	for _, tag := range c.Tags {
		s[key{core.CorrectTag, tag}] = true
	}
	for name, v := range c.Fields {
		s[key{core.CorrectField, name}] = v
	}
	return s
}

// actions are what becomes of an outcome: a script that fails hands over.
func actions(p *Pair, o *Outcome) []script.Action {
	if o.Failed != "" && (p.Step.Kind == core.KindMessageReceived || p.Step.Kind == core.KindTimer) {
		return []script.Action{{Type: script.ActionEscalate, Reason: "script failed"}}
	}
	return o.Actions
}

// after is a state when what was decided has been written into it.
func after(s map[key]any, p *Pair, o *Outcome) map[key]any {
	s = maps.Clone(s)
	for _, a := range actions(p, o) {
		switch k := keyOf(a); a.Type {
		case script.ActionTag:
			s[k] = true
		case script.ActionUntag:
			delete(s, k)
		case script.ActionSetField:
			s[k] = a.Value
		case script.ActionEscalate:
			s[k] = a.Reason
		}
	}
	if p.Step.Kind == core.KindMessageReceived {
		for name, v := range o.Fields {
			s[key{core.CorrectCRM, name}] = v
		}
	}
	return s
}

// touched are the keys that an outcome writes.
func touched(p *Pair, o *Outcome) map[key]bool {
	keys := map[key]bool{}
	for _, a := range actions(p, o) {
		if k := keyOf(a); k.what != "" {
			keys[k] = true
		}
	}
	if p.Step.Kind == core.KindMessageReceived {
		for name := range o.Fields {
			keys[key{core.CorrectCRM, name}] = true
		}
	}
	return keys
}

func keyOf(a script.Action) key {
	switch a.Type {
	case script.ActionTag, script.ActionUntag:
		return key{core.CorrectTag, a.Tag}
	case script.ActionSetField:
		return key{core.CorrectField, a.Name}
	case script.ActionEscalate:
		return key{what: core.CorrectEscalation}
	}
	return key{}
}

func replies(all []script.Action) []script.Action {
	return slices.DeleteFunc(slices.Clone(all), func(a script.Action) bool { return a.Type != script.ActionReply })
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// Shape says in a line what is corrected; values of fields differ from contact to
// contact and are not in it.
func Shape(c *core.Change) string {
	switch c.What {
	case core.CorrectTag:
		if c.Want == true {
			return "tag " + strconv.Quote(c.Name)
		}
		return "untag " + strconv.Quote(c.Name)
	case core.CorrectEscalation:
		return fmt.Sprintf("escalation at the CRM: %q → %q", clip(text(c.Was), 60), clip(text(c.Want), 60))
	}
	what := map[string]string{core.CorrectField: "field ", core.CorrectCRM: "CRM property "}[c.What] + strconv.Quote(c.Name)
	switch c.Want {
	case nil, "":
		return what + " removed"
	}
	return what + " set"
}
