package broker

import (
	"strings"
	"unicode"

	"github.com/wabridge/wabridge/core"
)

// A person has two names: what the business calls them, and what they call themselves
// on WhatsApp. Contact.Name is the first where there is one, else the second: it is what
// campaigns, CRMs and scripts get. person.Profile keeps the second beside the first.

// callsThemself takes note of the name that came with an event, and reports whether the
// record changed.
func (p *person) callsThemself(e *core.Event) bool {
	name := e.Contact.Name
	dst := &p.Name
	if p.NamedBy != "" {
		dst = &p.Profile
	}
	// A message to send has the name that the person had when it was asked for.
	if name == "" || name == *dst || e.Kind == core.KindMessageSend {
		return false
	}
	*dst = name
	return true
}

// isCalled gives the person the business's name for them, and reports whether that is
// news. A text without a letter is no name: CRMs that want one have the number there.
func (p *person) isCalled(name, by string) bool {
	name = strings.TrimSpace(name)
	if !strings.ContainsFunc(name, unicode.IsLetter) || name == p.Name && p.NamedBy != "" {
		return false
	}
	if p.NamedBy == "" {
		p.Profile = p.Name
	}
	p.Name, p.NamedBy = name, by
	return true
}

// mayBeCalled reports whether a name that a record or list has of the person beside other things is one that the
// business gave: they have none yet, and it is not what the bridge wrote there.
func (p *person) mayBeCalled(name string) bool {
	return p.NamedBy == "" && name != "" && name != p.Name && name != p.Username && name != p.Profile
}

// joinNames takes the names of two contacts that are one: the business's before what
// they call themselves, and of two the survivor's.
func (p *person) joinNames(s, l *person) {
	first, second := s, l
	if s.NamedBy == "" && l.NamedBy != "" {
		first, second = l, s
	}
	p.Name, p.NamedBy = or(first.Name, second.Name), first.NamedBy
	p.Profile = or(first.Profile, second.Profile)
	if p.NamedBy != "" && second.NamedBy == "" && p.Profile == "" {
		p.Profile = second.Name
	}
}

// fullName is the first and last name that somebody gave the contact, "" unless there
// are both.
func fullName(c *core.Contact) string {
	first, last := strings.TrimSpace(c.Fields["first_name"]), strings.TrimSpace(c.Fields["last_name"])
	if first == "" || last == "" {
		return ""
	}
	return first + " " + last
}

// renamed gives the person the name that their fields make since it was before, and
// reports whether it is another.
func (u *turn) renamed(before, by string) bool {
	name := fullName(u.contact)
	if name == "" || name == before || u.person.NamedBy == "" && name == u.person.Name {
		return false
	}
	return u.person.isCalled(name, by)
}

// called returns an event with the name that counts, where it has another.
func (u *turn) called(e *core.Event) *core.Event {
	if e.Contact == nil || u.contact == nil || e.Contact.Name == "" || u.contact.Name == "" || e.Contact.Name == u.contact.Name {
		return e
	}
	own, c := *e, *e.Contact
	c.Name = u.contact.Name
	own.Contact = &c
	return &own
}
