package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
)

// say adds a sentence about what changes, for people.
func (r *reunion) say(format string, args ...any) {
	r.words = append(r.words, fmt.Sprintf(format, args...))
}

func (r *reunion) sayMerged(m *merged, u union) {
	a, b := m.Was.Survivor.Person, m.Was.ID.Person
	r.say("%s becomes %s, who has %s then", b.ID, a.ID, addresses(u.Person.Identities))
	for _, n := range slices.Sorted(maps.Keys(u.Conversations)) {
		l := m.Was.ID.Conversations[n]
		switch {
		case l == nil:
		case m.Was.Survivor.Conversations[n] == nil:
			r.say("the conversation with number %s (%d in, %d out) is %s's", n, l.In, l.Out, a.ID)
		default:
			r.say("their conversations with number %s become one (%d in, %d out)", n, u.Conversations[n].In, u.Conversations[n].Out)
		}
	}
	if more := without(u.Person.Tags, a.Tags); len(more) > 0 {
		r.say("%s gets the tags %s", a.ID, strings.Join(more, ", "))
	}
	for _, id := range []*person{a, b} {
		if was, is := stands(id), stands(u.Person); was != is {
			r.say("consent: the later word of both counts, and a reason to send nothing stays. For %s that is: %s (now: %s)", id.ID, is, was)
		}
	}
	for _, e := range u.ended {
		kept := u.Conversations[e.Number].Escalation
		r.say("two escalations are open: %s goes on with what both say, %s ends", kept.ID, e.ID)
	}
	r.say("the CRMs are told of %s; what they have under %s stays as it is", a.ID, b.ID)
}

func (r *reunion) sayParted(ctx context.Context, m *merged, talks map[string]*conversation, p parted) error {
	a, b := p.s.Person, p.l.Person
	r.say("%s is a contact of its own again, with %s; %s keeps %s", b.ID, addresses(b.Identities), a.ID, addresses(a.Identities))
	owners, err := r.t.owners(ctx, keysIn(p.gone))
	if err != nil {
		return err
	}
	for _, i := range p.gone {
		if owner := owners[i.Key]; owner != "" && owner != a.ID && owner != b.ID {
			r.say("%s is %s's by now, since WhatsApp names it with another user id: it stays there", core.MaskAddress(i.Value), owner)
		} else {
			r.say("%s is nobody's of the two by now: it stays so", core.MaskAddress(i.Value))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(talks)) {
		s, l := p.s.Conversations[n], p.l.Conversations[n]
		if l == nil {
			continue
		}
		var in, out int
		if s != nil {
			in, out = s.In, s.Out
		}
		if was := m.Was.Survivor.Conversations[n]; was != nil {
			in, out = in-was.In, out-was.Out
		}
		if in+out > 0 {
			r.say("of the conversation with number %s, the %d in and %d out since the merge stay with %s", n, in, out, a.ID)
		}
		r.say("%s has the conversation with number %s again (%d in, %d out)", b.ID, n, l.In, l.Out)
	}
	for _, was := range []struct{ p, before *person }{{a, m.Was.Survivor.Person}, {b, m.Was.ID.Person}} {
		if before, now := stands(was.before), stands(was.p); before != now {
			r.say("consent: of what was said meanwhile, what forbids holds for both. For %s that is: %s (before the merge: %s)", was.p.ID, now, before)
		}
	}
	for _, e := range p.moved {
		r.say("the open escalation %s is %s's", e.ID, e.ContactID)
	}
	for _, e := range p.reopened {
		r.say("the escalation %s, which the merge ended, is open again, for %s", e.ID, e.ContactID)
	}
	r.say("from now on nothing that WhatsApp says merges them; a person can. The CRMs are told of both")
	return nil
}

// addresses lists identities, masked.
func addresses(ids []identity) string {
	var out []string
	for _, i := range ids {
		out = append(out, [...]string{"user id ", "parent user id ", "number "}[rank(i.Key)]+core.MaskAddress(i.Value))
	}
	if len(out) == 0 {
		return "no number and no user id"
	}
	return strings.Join(out, ", ")
}

func keysIn(ids []identity) []contact.Key {
	var out []contact.Key
	for _, i := range ids {
		out = append(out, i.Key)
	}
	return out
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// stands says in words what may be sent to a person.
func stands(p *person) string {
	why := p.Consent.Suppresses(consent.Outgoing{Marketing: true})
	if why == "" {
		why = p.Consent.Refuses(consent.Marketing)
	}
	if why == "" {
		return "marketing may be sent"
	}
	return why
}
