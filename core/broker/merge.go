package broker

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/store"
)

// Two contacts that turn out to be one person become one: the survivor, who gets
// everything of the other. How both were before is kept with the merge, so that
// they can be taken apart again: see split.

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
	// Undone is why it is being undone, Ended which of ID's escalations a merge has
	// ended, this or a later one. Neither is stored.
	Undone string          `json:"-"`
	Ended  map[string]bool `json:"-"`
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

// union is what two dossiers become.
type union struct {
	dossier
	offset int           // of the timers of the one that goes
	ended  []*Escalation // open ones that there is no room for
}

// join returns the survivor's dossier once it has everything of the other's. The
// arguments are left as they are.
func join(s, l dossier) union {
	offset := 0
	for _, c := range s.Conversations {
		offset = max(offset, c.LastTimer)
	}
	return joinBy(s, l, offset)
}

// joinBy is join with what is added to the generations of l's timers.
func joinBy(s, l dossier, offset int) union {
	u := union{dossier: dossier{Person: joinPeople(s.Person, l.Person), Conversations: map[string]*conversation{}}, offset: offset}
	numbers := map[string]bool{}
	for _, d := range []dossier{s, l} {
		for n := range d.Conversations {
			numbers[n] = true
		}
	}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		c, ended := joinConversations(s.Conversations[n], l.Conversations[n], u.offset)
		if ended != nil {
			u.ended = append(u.ended, ended)
		}
		if c.Escalation != nil {
			c.Escalation.moveTo(u.Person, n)
		}
		u.Conversations[n] = c
	}
	return u
}

func joinPeople(s, l *person) *person {
	a, b := clone(s), clone(l)
	fillIn(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
	a.joinNames(s, l)
	a.Identities = clone(s).Identities
	for _, i := range b.Identities {
		if a.has(i.Key) == nil {
			a.Identities = append(a.Identities, i)
		}
	}
	slices.SortFunc(a.Identities, func(x, y identity) int { return strings.Compare(x.Key.String(), y.Key.String()) })
	for _, tag := range b.Tags {
		addTag(&a.Contact, tag)
	}
	for name, v := range b.Fields {
		if _, ok := a.Fields[name]; !ok {
			setField(&a.Contact, name, v)
			if m, ok := b.Set[name]; ok && a.Set != nil {
				a.Set[name] = m
			}
		}
	}
	a.Agreed = clone(s).Agreed // it is about the survivor's record at the CRM
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
// the survivor has none. Of two open escalations one ends.
func joinConversations(s, l *conversation, offset int) (c *conversation, ended *Escalation) {
	if l == nil {
		return clone(s), nil
	}
	b := clone(l)
	for name, tm := range b.Timers {
		tm.Generation += offset
		b.Timers[name] = tm
	}
	b.LastTimer += offset
	if s == nil {
		return b, nil
	}
	a := clone(s)
	kept, ended := joinEscalations(a.Escalation, b.Escalation)
	timers := a.Timers
	fillIn(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())
	a.Timers = timers
	joinTimers(a, b, kept)
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
	if a.Standby, a.ThreadAt = s.Standby, s.ThreadAt; l.ThreadAt.After(s.ThreadAt) {
		a.Standby, a.ThreadAt = l.Standby, l.ThreadAt
	}
	a.LastTimer = max(a.LastTimer, b.LastTimer)
	a.Escalation = kept
	return clone(a), ended
}

// joinTimers adds b's timers to a's. Of two with one name the earlier stays; the
// bridge's own are those of the escalation that is kept.
func joinTimers(a, b *conversation, kept *Escalation) {
	fromB := kept != nil && b.Escalation != nil && kept.ID == b.Escalation.ID
	for name := range a.Timers {
		if fromB && strings.HasPrefix(name, timerOwn) {
			delete(a.Timers, name)
		}
	}
	for name, tm := range b.Timers {
		have, ok := a.Timers[name]
		if own := strings.HasPrefix(name, timerOwn); own && fromB || !own && (!ok || tm.Due.Before(have.Due)) {
			setTimerOf(a, name, tm)
		}
	}
}

func setTimerOf(c *conversation, name string, tm timer) {
	if c.Timers == nil {
		c.Timers = map[string]timer{}
	}
	c.Timers[name] = tm
}

// joinEscalations says which of two open escalations goes on when their
// conversations become one: one that nobody has taken before one that somebody
// has, then the one that is due first. It gets what the other says, which ends.
func joinEscalations(a, b *Escalation) (kept, ended *Escalation) {
	switch {
	case a == nil:
		return clone(b), nil
	case b == nil:
		return clone(a), nil
	case b.pressesMore(a):
		a, b = b, a
	}
	kept = clone(a)
	if b.Reason != a.Reason {
		kept.Note = joined(a.Note, b.Reason, b.Note)
	} else {
		kept.Note = joined(a.Note, b.Note)
	}
	kept.Priority = escalation.Higher(a.Priority, b.Priority)
	return kept, clone(b)
}

func (e *Escalation) pressesMore(o *Escalation) bool {
	if e.stopped() != o.stopped() {
		return !e.stopped()
	}
	return cmp.Or(e.Deadline.Compare(o.Deadline), strings.Compare(e.ID, o.ID)) < 0
}

// moveTo makes it one of another contact's conversations, if it is not.
func (e *Escalation) moveTo(p *person, number string) {
	if e.ContactID != p.ID {
		e.ContactID, e.ContactName, e.Conversation = p.ID, p.Name, core.ConversationID(number, p.ID)
	}
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
