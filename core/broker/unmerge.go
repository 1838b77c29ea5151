package broker

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// Two contacts that were merged by mistake are taken apart. The rule for
// everything: what has not changed since the merge is on both sides what it was
// before; what came since stays with the survivor. There are few exceptions, each
// because there is a reason to think otherwise: keys that were named beside the
// other's, the other's escalation, and consent, which holds for both as far as it
// forbids.

// parted is what a merged dossier becomes when it is taken apart.
type parted struct {
	s, l dossier
	one  *person // what both were when they were merged
	// gone are keys of either before the merge that are a third person's by now.
	gone []identity
	// reopened are the escalations that the merge ended and that go on.
	reopened []*Escalation
	// moved are open ones that go home to l.
	moved []*Escalation
	// again are timers that must be set anew: what waits in the queue is another
	// contact's.
	again []setAgain
}

type setAgain struct {
	person *person
	number string
	name   string
	timer  timer
}

// split takes what a merge joined, as it is by now, apart.
func split(now dossier, m *merged, at time.Time) parted {
	s0, l0 := m.Was.Survivor, m.Was.ID
	u := joinBy(s0, l0, m.Offset)
	p := parted{one: u.Person, s: dossier{Conversations: map[string]*conversation{}}, l: dossier{Conversations: map[string]*conversation{}}}
	p.s.Person, p.l.Person = splitPeople(now.Person, u.Person, s0.Person, l0.Person)
	for _, i := range u.Person.Identities {
		if now.Person.has(i.Key) == nil {
			p.gone = append(p.gone, i)
		}
	}
	for n, c := range now.Conversations {
		sc := &splitting{
			parted: &p, ended: m.Ended, number: n, at: at, now: c, one: u.Conversations[n], s0: s0.Conversations[n], l0: l0.Conversations[n], offset: u.offset,
		}
		sc.split()
		if sc.s != nil {
			p.s.Conversations[n] = clone(sc.s)
		}
		if sc.l != nil {
			p.l.Conversations[n] = clone(sc.l)
		}
	}
	return p
}

func splitPeople(now, one, s0, l0 *person) (s, l *person) {
	s, l = clone(now), clone(l0)
	undo(reflect.ValueOf(s).Elem(), reflect.ValueOf(now).Elem(), reflect.ValueOf(one).Elem(), reflect.ValueOf(s0).Elem())
	// A name of the other's that was given to both by their messages is theirs.
	if s.Name == l0.Name && s0.Name != "" {
		s.Name = s0.Name
	}
	if s.NamedBy = s0.NamedBy; s.Name != s0.Name {
		s.NamedBy = now.NamedBy
	}
	if s.Username == l0.Username {
		s.Username = s0.Username
	}
	s.Identities, l.Identities = splitIdentities(now, s0, l0)
	s.Replies = subtract(now.Replies, l0.Replies)
	s.Tags = clone(s0).Tags
	for _, tag := range now.Tags {
		if !slices.Contains(one.Tags, tag) {
			addTag(&s.Contact, tag)
		}
	}
	for _, tag := range one.Tags {
		if !slices.Contains(now.Tags, tag) {
			removeTag(&s.Contact, tag)
		}
	}
	s.Fields = clone(s0).Fields
	for name, v := range now.Fields {
		if was, ok := one.Fields[name]; !ok || was != v {
			setField(&s.Contact, name, v)
		}
	}
	for name := range one.Fields {
		if _, ok := now.Fields[name]; !ok {
			setField(&s.Contact, name, "")
		}
	}
	s.Apart = clone(s0).Apart
	for _, id := range now.Apart {
		if !slices.Contains(one.Apart, id) && !slices.Contains(s.Apart, id) {
			s.Apart = append(s.Apart, id)
		}
	}
	s.Consent = s0.Consent.Part(one.Consent, now.Consent)
	l.Consent = l0.Consent.Part(one.Consent, now.Consent)
	s.face()
	l.face()
	return clone(s), clone(l)
}

// splitIdentities says whose the keys are. One that came since is theirs beside
// whose it was named first.
func splitIdentities(now, s0, l0 *person) (s, l []identity) {
	theirs := map[string]bool{}
	for more := true; more; {
		more = false
		for _, i := range now.Identities {
			k := i.Key.String()
			if !theirs[k] && s0.has(i.Key) == nil && (l0.has(i.Key) != nil || theirs[i.Beside.String()]) {
				theirs[k], more = true, true
			}
		}
	}
	for _, i := range clone(now).Identities {
		if theirs[i.Key.String()] {
			l = append(l, i)
		} else {
			s = append(s, i)
		}
	}
	return s, l
}

// splitting takes one conversation apart.
type splitting struct {
	*parted
	ended  map[string]bool // see merged.Ended
	number string
	at     time.Time
	offset int
	// now is the conversation, one what came of joining s0 and l0, of which one
	// may be nil.
	now, one, s0, l0 *conversation

	s, l *conversation // what is left of it on either side, or nil
}

func (p *splitting) split() {
	if p.l0 == nil {
		p.s = p.now // not touched by the merge
		return
	}
	before := p.s0
	if before == nil {
		before = &conversation{}
	}
	p.s, p.l = clone(p.now), clone(p.l0)
	undo(reflect.ValueOf(p.s).Elem(), reflect.ValueOf(p.now).Elem(), reflect.ValueOf(p.one).Elem(), reflect.ValueOf(before).Elem())
	p.s.In, p.s.Out = max(0, p.now.In-p.l0.In), max(0, p.now.Out-p.l0.Out)
	if p.now.Unattended != p.one.Unattended && p.now.Unattended >= p.one.Unattended {
		p.s.Unattended = p.now.Unattended - p.l0.Unattended
	}
	p.timers(before)
	p.escalation(before)
	switch {
	case p.s0 != nil:
	case p.s.In == 0 && p.s.Out == 0 && len(p.s.Timers) == 0 && p.s.Escalation == nil:
		p.s = nil
	case p.s.Started.IsZero():
		p.s.Started = p.at
	}
}

// timers gives back those that scripts have set. Those that rang or were
// cancelled since are gone; those that lost against one of the same name come
// back, if their time is yet to come.
func (p *splitting) timers(before *conversation) {
	p.s.Timers, p.l.Timers = nil, nil
	for name, tm := range p.now.Timers {
		if was, ok := p.l0.Timers[name]; isOwn(name) {
			continue
		} else if ok && tm.Generation == was.Generation+p.offset {
			setTimerOf(p.l, name, was)
		} else {
			setTimerOf(p.s, name, tm)
		}
	}
	lost := func(dst, of *conversation, offset int) {
		for name, tm := range of.Timers {
			_, taken := dst.Timers[name]
			if j := p.one.Timers[name]; !taken && !isOwn(name) && j.Generation != tm.Generation+offset && tm.Due.After(p.at) {
				setTimerOf(dst, name, tm)
			}
		}
	}
	lost(p.s, before, 0)
	lost(p.l, p.l0, p.offset)
}

func isOwn(name string) bool { return strings.HasPrefix(name, timerOwn) }

// escalation sends the open one home, and opens again the one that the merge
// ended, unless the one that was kept instead is dealt with.
func (p *splitting) escalation(before *conversation) {
	open := p.now.Escalation
	p.s.Escalation, p.l.Escalation = nil, nil
	is := func(e *Escalation) bool { return open != nil && e != nil && open.ID == e.ID }
	switch {
	case is(p.l0.Escalation):
		p.goesHome(open)
		if before.Escalation != nil {
			p.reopens(p.s, before, p.parted.s.Person)
		}
	case is(before.Escalation):
		p.stays(open)
		if p.s.Escalation.same(p.one.Escalation) {
			p.s.Escalation = clone(before.Escalation)
		}
		if p.l0.Escalation != nil {
			p.reopens(p.l, p.l0, p.parted.l.Person)
		}
	default:
		if open != nil {
			p.stays(open)
		}
		switch was := p.l0.Escalation; {
		case was == nil:
		case open != nil && p.ended[was.ID]: // by a later merge
			p.reopens(p.l, p.l0, p.parted.l.Person)
		default: // dealt with: the bot has it again, or not, as there
			p.l.HumanUntil = p.now.HumanUntil
		}
	}
}

func (e *Escalation) same(o *Escalation) bool { return reflect.DeepEqual(clone(e), clone(o)) }

func (p *splitting) stays(e *Escalation) {
	p.s.Escalation = clone(e)
	for name, tm := range p.now.Timers {
		if isOwn(name) {
			setTimerOf(p.s, name, tm)
		}
	}
}

// goesHome gives the open escalation to l, with its clocks: those that were set
// since are set anew there.
func (p *splitting) goesHome(e *Escalation) {
	home := p.parted.l.Person
	if p.l.Escalation = clone(e); e.same(p.one.Escalation) {
		p.l.Escalation = clone(p.l0.Escalation)
	}
	p.l.Escalation.moveTo(home, p.number)
	p.moved = append(p.moved, p.l.Escalation)
	if !p.now.HumanUntil.Equal(p.one.HumanUntil) {
		p.l.HumanUntil = p.now.HumanUntil
	}
	for name, tm := range p.now.Timers {
		if !isOwn(name) {
			continue
		}
		if was, ok := p.l0.Timers[name]; ok && tm.Generation == was.Generation+p.offset {
			setTimerOf(p.l, name, was)
		} else {
			p.sets(p.l, home, name, tm.Due)
		}
	}
}

// reopens gives one side the escalation back that the merge ended, with its
// clocks: what ran out meanwhile runs out now.
func (p *splitting) reopens(c, was *conversation, whose *person) {
	c.Escalation = clone(was.Escalation)
	p.reopened = append(p.reopened, c.Escalation)
	for name, tm := range was.Timers {
		switch {
		case !isOwn(name):
		case tm.Due.After(p.at):
			setTimerOf(c, name, tm)
		default:
			p.sets(c, whose, name, p.at)
		}
	}
}

func (p *splitting) sets(c *conversation, whose *person, name string, due time.Time) {
	generation := max(c.LastTimer, p.now.LastTimer) + 1
	c.LastTimer = generation
	tm := timer{Generation: generation, Due: due}
	setTimerOf(c, name, tm)
	p.again = append(p.again, setAgain{whose, p.number, name, tm})
}

// subtract returns a without the elements of b, each once.
func subtract(a, b []time.Time) []time.Time {
	left := slices.Clone(b)
	var out []time.Time
	for _, v := range a {
		if i := slices.IndexFunc(left, v.Equal); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		out = append(out, v)
	}
	return out
}

// undo sets the fields of s that are now what they became when two were
// joined to what they were before.
func undo(s, now, one, before reflect.Value) {
	for i := range s.NumField() {
		switch {
		case s.Type().Field(i).Anonymous:
			undo(s.Field(i), now.Field(i), one.Field(i), before.Field(i))
		case reflect.DeepEqual(now.Field(i).Interface(), one.Field(i).Interface()):
			s.Field(i).Set(before.Field(i))
		}
	}
}
