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
// everything of the other. How both were before is kept with the merge: nothing
// undoes one yet, but whatever will can take it from there.

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
