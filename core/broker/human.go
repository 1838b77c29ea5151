package broker

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// A conversation is the bot's or a person's. It becomes a person's by a hand-over
// and by any message that a person sends: through the API, from a CRM, with the
// phone app. From then on the bot keeps silent, until the time is up
// (Tenant.HumanFor) or somebody releases it.

// fromPerson reports whether a message of ours was written by a person: it says
// so, or it comes from a CRM, where people write.
func fromPerson(e *core.Event) bool {
	switch e.Source {
	case "script", sourcePolicy:
		return false
	case "api", "whatsapp", "":
		return e.Author == core.AuthorHuman
	}
	return true
}

// humanWrote takes note that a person wrote to the contact.
func (t *tenant) humanWrote(u *turn) {
	u.conv.HumanUntil, u.convChanged = u.step.Time.Add(t.HumanFor), true
	u.conv.Unattended, u.conv.Exchanges = 0, nil
	u.note("a person wrote: the bot keeps silent for " + t.HumanFor.String())
	t.humanSpoke(u)
}

// echoed takes note of what somebody of the business wrote with the phone app.
func (t *tenant) echoed(u *turn) {
	t.onThePhone(u)
	switch {
	case u.e.Source == whatsapp.SourceHistory || u.e.Group != "":
		return // for the record
	case u.e.Standby:
		t.sentByOther(u)
		return
	case !fromPerson(u.e):
		return
	}
	u.conv.Out++
	if u.e.Time.After(u.conv.LastOut) {
		u.conv.LastOut = u.e.Time
	}
	t.humanWrote(u)
}

// Release gives a conversation back to the bot. An unknown one is CodeInvalid.
func (b *Broker) Release(ctx context.Context, tenant, conversation, by string) error {
	number, contact, ok := strings.Cut(conversation, ":")
	t := b.tenants[tenant]
	if t == nil || !ok || t.numbers[number] == nil {
		return core.Errorf(core.CodeInvalid, "release", "tenant %q has no conversation %.80q: it is <number's id>:<contact's id>", tenant, conversation)
	}
	return t.onContact(ctx, contact, number, "release-"+rand.Text(), func(u *turn) error {
		if u.isNew {
			return core.Errorf(core.CodeInvalid, "release", "tenant %s has no conversation %.80q", tenant, conversation)
		}
		if !u.human {
			u.note("the bot had it already")
		}
		u.conv.HumanUntil, u.convChanged = u.step.Time, true
		u.conv.Unattended, u.conv.Exchanges = 0, nil
		u.note("released to the bot" + byWhom(by))
		if u.conv.Escalation != nil {
			t.ends(u, outcomeReleased, by)
		}
		return nil
	})
}

func byWhom(by string) string {
	if by == "" {
		return ""
	}
	return " by " + clip(by, 120)
}

// weWrote takes note of a message that the API or a CRM had sent: a person's
// silences the bot, and the first of all begins a relation.
func (t *tenant) weWrote(u *turn) {
	if _, known := u.person.Consent.Levels[consent.Transactional]; !known {
		t.enter(u, consent.Entry{Source: consent.FirstContact, Level: consent.Transactional, State: consent.Granted},
			consent.Details{Evidence: "the business wrote first, by " + u.e.Source, By: u.e.By})
	}
	if fromPerson(u.e) {
		t.humanWrote(u)
	}
}
