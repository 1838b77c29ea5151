package broker

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

// Two contacts that turn out to be one person become one: the survivor, who gets
// everything of the other. How both were before is kept, so that a person can
// undo it: what has not changed since goes back to what it was, what came since
// stays with the survivor, and whatever can be told apart (a count, a tag, a
// timer) is.

// merged is the record of a merge, stored under the contact that went.
type merged struct {
	ID       string    `json:"id"` // the contact that was merged
	Survivor string    `json:"survivor"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`              // "webhook", or who asked for it
	Cause    string    `json:"cause,omitempty"` // the event that showed it
	Why      string    `json:"why,omitempty"`
	// Offset is what was added to the generations of the timers of ID.
	Offset int `json:"offset,omitempty"`
	// Was is how both were before.
	Was struct {
		Survivor dossier `json:"survivor"`
		ID       dossier `json:"id"`
	} `json:"was"`
}

// dossier is a contact with its conversations, by number.
type dossier struct {
	Person        *person                  `json:"person"`
	Conversations map[string]*conversation `json:"conversations,omitempty"`
}

func mergeKey(tenant, contact string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketMerges, Key: contact}
}

// join returns the survivor's dossier once it has everything of the other's. The
// arguments are left as they are.
func join(s, l dossier) (out dossier, offset int) {
	for _, c := range s.Conversations {
		offset = max(offset, c.LastTimer)
	}
	out = dossier{Person: joinPeople(s.Person, l.Person), Conversations: map[string]*conversation{}}
	for n, c := range s.Conversations {
		out.Conversations[n] = joinConversations(c, l.Conversations[n], offset)
	}
	for n, c := range l.Conversations {
		if s.Conversations[n] == nil {
			out.Conversations[n] = joinConversations(nil, c, offset)
		}
	}
	return out, offset
}

func joinPeople(s, l *person) *person {
	a, b := clone(s), clone(l)
	fillIn(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
	a.Identities = append(a.Identities, slices.DeleteFunc(b.Identities, func(i identity) bool { return a.has(i.Key) != nil })...)
	slices.SortFunc(a.Identities, func(x, y identity) int { return strings.Compare(x.Key.String(), y.Key.String()) })
	for _, tag := range b.Tags {
		addTag(&a.Contact, tag)
	}
	for name, v := range b.Fields {
		if _, ok := a.Fields[name]; !ok {
			setField(&a.Contact, name, v)
		}
	}
	a.Consent = s.Consent.Join(l.Consent)
	a.Replies = slices.Concat(s.Replies, l.Replies)
	slices.SortFunc(a.Replies, time.Time.Compare)
	for _, id := range b.Apart {
		if !slices.Contains(a.Apart, id) && id != a.ID {
			a.Apart = append(a.Apart, id)
		}
	}
	a.MergedInto = ""
	a.face()
	return clone(a)
}

// joinConversations joins what two contacts said on one number; either may be
// nil. A field that is not named here is the survivor's, or the other's where
// the survivor has none.
func joinConversations(s, l *conversation, offset int) *conversation {
	if l == nil {
		return clone(s)
	}
	b := clone(l)
	for name, tm := range b.Timers {
		tm.Generation += offset
		b.Timers[name] = tm
	}
	b.LastTimer += offset
	if s == nil {
		return b
	}
	a := clone(s)
	fillIn(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
	if !b.Started.IsZero() && b.Started.Before(a.Started) {
		a.Started = b.Started
	}
	later := func(dst *time.Time, v time.Time) {
		if v.After(*dst) {
			*dst = v
		}
	}
	later(&a.LastIn, b.LastIn)
	later(&a.LastOut, b.LastOut)
	later(&a.HumanUntil, b.HumanUntil)
	a.In, a.Out = s.In+l.In, s.Out+l.Out
	a.Unattended = s.Unattended + l.Unattended
	later(&a.LastReply, b.LastReply)
	for name, tm := range b.Timers {
		if have, ok := a.Timers[name]; !ok || tm.Due.Before(have.Due) {
			a.Timers[name] = tm
		}
	}
	a.LastTimer = max(a.LastTimer, b.LastTimer)
	return clone(a)
}

// fillIn sets the fields of a that are zero to b's.
func fillIn(a, b reflect.Value) {
	for i := range a.NumField() {
		switch f := a.Field(i); {
		case a.Type().Field(i).Anonymous:
			fillIn(f, b.Field(i))
		case f.IsZero():
			f.Set(b.Field(i))
		}
	}
}

// split takes a joined dossier, as it is by now, apart again. A conversation
// that is left without anything is nil.
func split(now, s0, l0 dossier, at time.Time) (s, l dossier) {
	joined, offset := join(s0, l0)
	s = dossier{Conversations: map[string]*conversation{}}
	l = dossier{Conversations: map[string]*conversation{}}
	s.Person, l.Person = splitPeople(now.Person, joined.Person, s0.Person, l0.Person)
	for n, c := range now.Conversations {
		was := joined.Conversations[n]
		if was == nil {
			s.Conversations[n] = c // began since
			continue
		}
		s.Conversations[n], l.Conversations[n] = splitConversations(c, was, s0.Conversations[n], l0.Conversations[n], offset, at)
	}
	return s, l
}

func splitPeople(now, joined, s0, l0 *person) (s, l *person) {
	s, l = clone(now), clone(l0)
	undo(reflect.ValueOf(s).Elem(), reflect.ValueOf(now).Elem(), reflect.ValueOf(joined).Elem(), reflect.ValueOf(s0).Elem())
	s.Identities, l.Identities = nil, nil
	for _, i := range clone(now).Identities {
		if was := l0.has(i.Key); was != nil && s0.has(i.Key) == nil {
			l.Identities = append(l.Identities, i)
		} else {
			s.Identities = append(s.Identities, i)
		}
	}
	s.Replies = subtract(now.Replies, l0.Replies)
	s.Tags, l.Tags = clone(s0).Tags, clone(l0).Tags
	for _, tag := range now.Tags {
		if !slices.Contains(joined.Tags, tag) {
			addTag(&s.Contact, tag)
		}
	}
	for _, tag := range joined.Tags {
		if !slices.Contains(now.Tags, tag) {
			removeTag(&s.Contact, tag)
			removeTag(&l.Contact, tag)
		}
	}
	s.Fields, l.Fields = clone(s0).Fields, clone(l0).Fields
	for name, v := range now.Fields {
		if was, ok := joined.Fields[name]; !ok || was != v {
			setField(&s.Contact, name, v)
		}
	}
	for name := range joined.Fields {
		if _, ok := now.Fields[name]; !ok {
			setField(&s.Contact, name, "")
			setField(&l.Contact, name, "")
		}
	}
	// What the person said while they were one is true of both, or of nobody
	// knows which: then the stricter holds for both.
	if !reflect.DeepEqual(now.Consent, joined.Consent) {
		l.Consent = l0.Consent.Join(now.Consent)
	}
	s.face()
	l.face()
	return clone(s), clone(l)
}

// splitConversations splits what came of joining s0 and l0, of which one may be
// nil. What is left without a trace of its own is nil.
func splitConversations(now, joined, s0, l0 *conversation, offset int, at time.Time) (s, l *conversation) {
	if l0 == nil {
		return now, nil
	}
	before := s0
	if before == nil {
		before = &conversation{}
	}
	s, l = clone(now), clone(l0)
	undo(reflect.ValueOf(s).Elem(), reflect.ValueOf(now).Elem(), reflect.ValueOf(joined).Elem(), reflect.ValueOf(before).Elem())
	s.In, s.Out = now.In-l0.In, now.Out-l0.Out
	// Timers that rang or were cancelled since are gone; those that lost against
	// one of the same name come back, if their time is yet to come.
	s.Timers, l.Timers = nil, nil
	for name, tm := range now.Timers {
		if was, ok := l0.Timers[name]; ok && tm.Generation == was.Generation+offset {
			put(&l.Timers, name, was)
		} else {
			put(&s.Timers, name, tm)
		}
	}
	lost := func(dst *map[string]timer, of *conversation, offset int) {
		for name, tm := range of.Timers {
			if j := joined.Timers[name]; j.Generation != tm.Generation+offset && tm.Due.After(at) {
				put(dst, name, tm)
			}
		}
	}
	lost(&s.Timers, before, 0)
	lost(&l.Timers, l0, offset)
	if s.LastTimer = now.LastTimer; now.LastTimer == joined.LastTimer {
		s.LastTimer = before.LastTimer
	}
	if s0 == nil && s.In == 0 && s.Out == 0 && len(s.Timers) == 0 {
		s = nil
	}
	return clone(s), clone(l)
}

func put(m *map[string]timer, name string, tm timer) {
	if *m == nil {
		*m = map[string]timer{}
	}
	(*m)[name] = tm
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
func undo(s, now, joined, before reflect.Value) {
	for i := range s.NumField() {
		switch {
		case s.Type().Field(i).Anonymous:
			undo(s.Field(i), now.Field(i), joined.Field(i), before.Field(i))
		case reflect.DeepEqual(now.Field(i).Interface(), joined.Field(i).Interface()):
			s.Field(i).Set(before.Field(i))
		}
	}
}

// clone copies a stored value through its stored form, so that two that are the
// same there are the same here.
func clone[T any](v *T) *T {
	if v == nil {
		return nil
	}
	out := new(T)
	if err := json.Unmarshal(mustJSON(v), out); err != nil {
		panic("broker: copy: " + err.Error())
	}
	return out
}
