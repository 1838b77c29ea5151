package broker

import (
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
)

// identity is a key of a person, and how the bridge came to know it.
type identity struct {
	Key contact.Key `json:"key"`
	// Value is how it is written to: WhatsApp's own spelling of a phone number,
	// where WhatsApp told it.
	Value  string `json:"value"`
	Raw    string `json:"raw,omitempty"` // as it was given, where that differs
	Source string `json:"source"`
	// First and Last are when it was seen; Last to within lastGrain.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Claimed is when a webhook last named a phone number beside a user id of
	// the person: of two who claim a number, it belongs to the later.
	Claimed time.Time `json:"claimed,omitzero"`
	// Left is when WhatsApp said that the person has another number instead: who is
	// named with it later is somebody else.
	Left time.Time `json:"left,omitzero"`
	// Beside is a key that it was named with when it was seen first.
	Beside contact.Key `json:"beside,omitzero"`
}

// lastGrain is how exact identity.Last is: a message every minute is no reason
// to write the contact every minute.
const lastGrain = time.Hour

const sourceWhatsApp = "whatsapp"

// claim is what an event says about who its contact is.
type claim struct {
	// keys are all that it names, in the order in which a person is found by
	// them: user id, parent user id, phone number. Usernames are no key: people
	// change them, and others take them.
	keys   []contact.Key
	values []string // of the keys, as the event has them
	// strong are the keys that are user ids: those in one event are one person's
	// for certain.
	strong []contact.Key
	// phone is the number that the person has at the time of the event, was the
	// one that they had before, where the event tells of a change.
	phone, was contact.Key
	firm       bool // it comes from WhatsApp, and names both: see identity.Claimed
}

func claimOf(e *core.Event) claim {
	var c claim
	if e.Contact == nil || e.Contact.BSUID == "" && e.Contact.ParentBSUID == "" && e.Contact.Phone == "" && e.Change == nil {
		return c
	}
	c.keys, c.values = make([]contact.Key, 0, 3), make([]string, 0, 3)
	ch := e.Change
	if ch == nil {
		ch = &core.IdentityChange{}
	}
	for _, id := range []string{e.Contact.BSUID, ch.PreviousBSUID, ch.BSUID} {
		c.add(contact.KeyOf(core.Address{Kind: core.AddressBSUID, Value: id}), id)
	}
	for _, id := range []string{ch.ParentBSUID, e.Contact.ParentBSUID} {
		c.add(contact.ParentKey(id), id)
	}
	c.strong = c.keys
	number := e.Contact.Phone
	c.phone = contact.KeyOf(core.Address{Kind: core.AddressPhone, Value: number})
	if ch.Phone != "" {
		now := contact.KeyOf(core.Address{Kind: core.AddressPhone, Value: ch.Phone})
		if now != c.phone {
			c.was = c.phone
			c.add(c.was, number)
		}
		c.phone, number = now, ch.Phone
	}
	c.add(c.phone, number)
	c.firm = !c.phone.IsZero() && (len(c.strong) > 0 || !c.was.IsZero()) && e.Kind != core.KindMessageStatus && e.Source == sourceWhatsApp
	return c
}

func (c *claim) add(k contact.Key, value string) {
	if !k.IsZero() && !slices.Contains(c.keys, k) {
		c.keys, c.values = append(c.keys, k), append(c.values, value)
	}
}

// beside returns a key that is named with another: of a number a user id, of a
// user id the number, where there is one.
func (c *claim) beside(k contact.Key) contact.Key {
	switch {
	case k.IsPhone() && len(c.strong) > 0:
		return c.strong[0]
	case !k.IsPhone() && !c.phone.IsZero():
		return c.phone
	}
	for _, other := range c.keys {
		if other != k {
			return other
		}
	}
	return contact.Key{}
}

// value returns how the event writes a key.
func (c *claim) value(k contact.Key) string {
	if i := slices.Index(c.keys, k); i >= 0 {
		return c.values[i]
	}
	return ""
}

func rank(k contact.Key) int {
	switch {
	case k.IsBSUID():
		return 0
	case k.IsParent():
		return 1
	}
	return 2
}

func phoneAddress(k contact.Key) core.Address {
	return core.Address{Kind: core.AddressPhone, Value: strings.TrimPrefix(k.String(), "phone:")}
}

// has returns the person's identity of a key, nil when there is none.
func (p *person) has(k contact.Key) *identity {
	for i := range p.Identities {
		if p.Identities[i].Key == k {
			return &p.Identities[i]
		}
	}
	return nil
}

func (p *person) hasAll(keys []contact.Key) bool {
	return !slices.ContainsFunc(keys, func(k contact.Key) bool { return p.has(k) == nil })
}

// hasUserID reports whether WhatsApp has told a user id of the person.
func (p *person) hasUserID() bool {
	return slices.ContainsFunc(p.Identities, func(i identity) bool { return i.Key.IsBSUID() })
}

// lacked reports whether a number of the person was another's at a time: they had
// left it before, or changed to it later.
func (p *person) lacked(k contact.Key, at time.Time) bool {
	i := p.has(k)
	if i == nil {
		return false
	}
	return !i.Left.IsZero() && at.After(i.Left) || !p.hasUserID() && at.Before(i.Claimed)
}

// isAnother reports whether the person who has the number that an event names
// must be somebody else than the one it is about, who is target, if known.
func (p *person) isAnother(target *person, c claim, at time.Time) bool {
	if !p.hasUserID() {
		return p.lacked(c.phone, at)
	}
	named := slices.ContainsFunc(c.strong, contact.Key.IsBSUID) || target != nil && target.hasUserID()
	i := p.has(c.phone)
	return named || p.lacked(c.phone, at) || i.Left.IsZero() && at.After(i.Claimed)
}

// since is when the bridge came to know the person.
func (p *person) since() time.Time {
	var first time.Time
	for _, i := range p.Identities {
		if first.IsZero() || i.First.Before(first) {
			first = i.First
		}
	}
	return first
}

// older reports whether the bridge has known the person for longer than another.
func (p *person) older(q *person) bool {
	a, b := p.since(), q.since()
	if a.Equal(b) || a.IsZero() && b.IsZero() {
		return p.ID < q.ID
	}
	return !a.IsZero() && (b.IsZero() || a.Before(b))
}

// take gives the person a key, or takes note that it was seen again. It reports
// whether the record changed.
func (p *person) take(k contact.Key, c claim, e *core.Event) bool {
	at := e.Time.UTC()
	i := p.has(k)
	if i == nil {
		p.Identities = append(p.Identities, identity{Key: k, Value: c.value(k), Source: e.Source, First: at, Last: at, Beside: c.beside(k)})
		slices.SortFunc(p.Identities, func(a, b identity) int { return strings.Compare(a.Key.String(), b.Key.String()) })
		i = p.has(k)
		switch {
		case !c.firm:
		case k == c.phone:
			i.Claimed = at
		case k == c.was:
			i.Left = at
		}
		return true
	}
	changed := false
	if at.Before(i.First) {
		i.First, changed = at, true
	}
	// Whom we are asked to write to is not seen there, and may never be; and what becomes of
	// a message to a number that the person has left does not bring them back.
	seen := e.Kind != core.KindMessageSend && (e.Kind != core.KindMessageStatus || i.Left.IsZero())
	if seen && k != c.was && (at.Sub(i.Last) >= lastGrain || at.After(i.Last) && i.Value != p.current(k)) {
		i.Last, changed = at, true
	}
	if k == c.phone && c.firm && (i.Claimed.IsZero() || at.Sub(i.Claimed) >= lastGrain) {
		i.Claimed, changed = at, true
	}
	switch {
	case k == c.was && c.firm && at.After(i.Left) && !at.Before(i.Claimed): // WhatsApp tells seconds
		i.Left, changed = at, true
	case k == c.phone && c.firm && !i.Left.IsZero() && at.After(i.Left):
		i.Left, changed = time.Time{}, true
	}
	if v := c.value(k); v != "" && v != i.Value && k != c.was && e.Source == sourceWhatsApp && !at.Before(i.Last) {
		i.Value, i.Source, changed = v, e.Source, true
	}
	return changed
}

// current returns the contact's address of a key's kind.
func (p *person) current(k contact.Key) string {
	switch rank(k) {
	case 0:
		return p.BSUID
	case 1:
		return p.ParentBSUID
	}
	return p.Phone
}

// face sets what everybody sees of the identities: of each kind the one seen
// last, one that WhatsApp told before one that it did not, and before all one that the person
// has not left.
func (p *person) face() {
	var best [3]*identity
	for n := range p.Identities {
		i := &p.Identities[n]
		if b := &best[rank(i.Key)]; *b == nil || (*b).before(i) {
			*b = i
		}
	}
	for n, dst := range []*string{&p.BSUID, &p.ParentBSUID, &p.Phone} {
		*dst = ""
		if best[n] != nil {
			*dst = best[n].Value
		}
	}
}

func (i *identity) before(j *identity) bool {
	if a, b := i.Left.IsZero(), j.Left.IsZero(); a != b {
		return b
	}
	if a, b := i.Source == sourceWhatsApp, j.Source == sourceWhatsApp; a != b {
		return b
	}
	if !i.Last.Equal(j.Last) {
		return i.Last.Before(j.Last)
	}
	return i.Key.String() < j.Key.String()
}

// calledAs reports whether the person has a contact's names and user id. The number of a
// status may be another form of the one that was written to.
func (p *person) calledAs(c *core.Contact) bool {
	return p.Name == c.Name && p.Username == c.Username && p.BSUID == c.BSUID
}

// meet takes over what an event says about the person, with the keys that are
// new and theirs, and reports whether the record changed.
func (p *person) meet(e *core.Event, c claim, attach []contact.Key) bool {
	changed := false
	set := func(dst *string, v string) {
		if v != "" && v != *dst {
			*dst, changed = v, true
		}
	}
	set(&p.ID, e.Contact.ID)
	changed = p.callsThemself(e) || changed
	set(&p.Username, e.Contact.Username)
	for _, k := range c.keys {
		if p.has(k) != nil || slices.Contains(attach, k) {
			changed = p.take(k, c, e) || changed
		}
	}
	if changed {
		p.face()
	}
	return changed
}
