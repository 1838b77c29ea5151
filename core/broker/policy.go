package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Policy is what holds for a tenant's messages, whoever asks for them.
type Policy struct {
	// QuietHours, in the recipient's time, put off what the business begins. Zone
	// is the time of recipients whose country does not tell; nil is UTC.
	QuietHours consent.QuietHours
	Zone       *time.Location
	Templates  []Template
	// Sender are the names by which marketing templates say who writes.
	Sender []string
	// Words are whole messages that mean something; Texts what is said about it.
	Words consent.Words
	Texts map[string]consent.Texts
	// DoubleOptIn has each consent to marketing confirmed by the person, within
	// ConfirmWithin of the question; 0 is seven days.
	DoubleOptIn   bool
	ConfirmWithin time.Duration
	// StopMarketingOnly has STOP end marketing only, not every message.
	StopMarketingOnly bool
	// NoLoops switches off looking for machines that answer the bridge.
	NoLoops bool
	// AfterMessages hands a conversation over after so many messages without a
	// person; 0 never does.
	AfterMessages int
	// Reads are what the script is asked about beside messages.
	Reads []Reading
	// OutsideWindow is the template that texts go out as when the window is closed; nil
	// refuses them.
	OutsideWindow *OutsideWindow
	// RetryUnknown are the classes of messages that are sent once more when it stays
	// unknown whether they were: who gets one twice is better off than who gets none.
	// All others are held for a person.
	RetryUnknown []core.Class
	// AwaitFor is how long a message waits at most for the one before it that asks for
	// that; 0 is two minutes.
	AwaitFor time.Duration
	// KeepRevoked leaves the text of a message that was taken back in the CRMs.
	KeepRevoked bool
	// MinConfidence is how sure a script must be of a reply that says how sure it
	// is.
	MinConfidence float64
}

// sourcePolicy is the Event.Source of what the bridge itself says, such as the
// answer to STOP.
const sourcePolicy = "policy"

// policy looks at what is proposed, and refuses what must not be, whoever asked
// for it. What it refuses is in the trace, in words.
func (t *tenant) policy(u *turn) {
	replies := u.person.repliesSince(u.step.Time.Add(-t.ReplyWindow))
	for _, p := range u.sends {
		if p.refused != "" {
			continue
		}
		asked := *p
		instead := t.outsideWindow(u, p)
		why := t.refuses(u, p, replies)
		if why == "" && p.asked {
			if p.until, why = t.campaignHolds(u.e, u.step.Time); !p.until.IsZero() {
				continue
			}
		}
		if why != "" {
			t.refuse(u, p, why)
			continue
		}
		if p.until, why = t.holds(u, p.message); why != "" {
			t.refuse(u, p, why)
			continue
		}
		if !p.until.IsZero() {
			p.message, p.event, p.data = asked.message, asked.event, asked.data
			continue
		}
		if until := t.quietUntil(u, p); !until.IsZero() {
			p.until = until
			p.message, p.event, p.data = asked.message, asked.event, asked.data // what goes then is decided then
			u.note("it is night where the person is (quiet_hours): put off until " + until.UTC().Format(time.RFC3339))
			continue
		}
		if instead {
			u.note(insteadNote(p.message))
		}
		if !p.asked && !p.own {
			replies++
		}
	}
	t.requested(u)
}

// refuses says why a message may not be sent, or "". The order is that of what a
// person would want to know first.
func (t *tenant) refuses(u *turn, p *send, replies int) string {
	m, now := p.message, u.step.Time
	if m == nil {
		return "the event has no message"
	}
	if m.Type == core.TypeRead {
		return "" // says nothing to anybody
	}
	if u.conv.Standby && (!p.asked || u.e.Source == "script" || u.e.Source == sourcePolicy) {
		return standsBy
	}
	if p.own || p.asked && u.e.Source == sourcePolicy { // put off, if it was asked for
		if why := u.person.Consent.Suppresses(consent.Outgoing{Marketing: true}); why != "" && !p.stop {
			return why
		}
		return t.refusesPlain(u, p)
	}
	bot := !p.asked || u.e.Source == "script"
	switch {
	case u.human && bot: // before this event: "sorry, a colleague takes over" may be said
		return "a person has this conversation until " + u.conv.HumanUntil.Format(time.RFC3339)
	case u.loop != "" && bot:
		return u.loop
	}
	if why := t.notAllowed(u.person, u.e.Number, m, now); why != "" {
		return why
	}
	if !p.asked {
		switch {
		case p.confidence != nil && *p.confidence < t.Policy.MinConfidence:
			u.proposeHandOver(handOverOn("low_confidence", fmt.Sprintf("the script is sure by %.2f of its reply, less than min_confidence, %.2f", *p.confidence, t.Policy.MinConfidence)))
			return fmt.Sprintf("the script is sure by %.2f only, less than %.2f (min_confidence): handed to a person", *p.confidence, t.Policy.MinConfidence)
		case replies >= t.ReplyCap:
			return fmt.Sprintf("%d automatic replies to the person within %s are the cap (reply_cap)", t.ReplyCap, t.ReplyWindow)
		}
	}
	return t.refusesPlain(u, p)
}

// refusesPlain says what is wrong with a message whatever was agreed: the window
// is closed, there is nowhere to send it to, WhatsApp would not take it.
//
// Free text needs an open window. Where the bridge has never seen the person
// write, WhatsApp knows better, and decides about what was asked for.
func (t *tenant) refusesPlain(u *turn, p *send) string {
	m, now := p.message, u.step.Time
	if why := windowClosed(u.conv.LastIn, m, p.asked, now); why != "" {
		return why
	}
	switch {
	case m.To == (core.Address{}) && !p.asked:
		return "the contact has no address"
	}
	if !p.asked { // else it was checked when it was accepted
		if err := whatsapp.Validate(m); err != nil {
			return err.Error()
		}
		if err := t.ownFiles(context.Background(), m); err != nil {
			return err.Error()
		}
	}
	if err := t.misfit(u.e.Number, m); err != nil {
		return err.Error()
	}
	return ""
}

// notAllowed says why nothing like the message may be sent to the person by a number, or "":
// suppression first, then consent by the template's current category.
func (t *tenant) notAllowed(to *person, number string, m *core.Message, now time.Time) string {
	level, out := consent.Transactional, consent.Outgoing{}
	if m.Type == core.TypeTemplate && m.Template != nil {
		var category consent.Category
		category, out.Topics = t.category(number, m.Template, now)
		level = category.Level()
		out.Marketing = level == consent.Marketing
	}
	if why := to.Consent.Suppresses(out); why != "" {
		return why
	}
	if why := to.Consent.Refuses(level); why != "" {
		if out.Marketing {
			return fmt.Sprintf("the template %s is marketing: %s", m.Template.Name, why)
		}
		return why
	}
	return t.templates.ended(number, m)
}

// liveFor is how long after the person's last message a conversation is alive, so
// that an answer in it wakes nobody.
const liveFor = time.Hour

// quietUntil returns when a message may be sent, if it is one that the business
// begins and it is night where the person is; else the zero time.
func (t *tenant) quietUntil(u *turn, p *send) time.Time {
	m, now := p.message, u.step.Time
	if p.own && u.e.Kind == core.KindMessageReceived || m.Type == core.TypeRead || m.Type == core.TypeReaction {
		return time.Time{}
	}
	begins := u.e.Kind != core.KindMessageReceived && now.Sub(u.conv.LastIn) >= liveFor
	if m.Type == core.TypeTemplate && m.Template != nil {
		switch category, _ := t.category(u.e.Number, m.Template, now); category {
		case consent.CategoryAuthentication: // asked for this moment
			return time.Time{}
		case consent.CategoryMarketing:
			begins = true
		}
	}
	if !begins || t.Policy.QuietHours.Length() == 0 {
		return time.Time{}
	}
	return t.Policy.QuietHours.Until(now, t.zones(u.contact)...)
}

// zones are the time zones that the person may be in: the one that somebody said,
// among the contact's fields, or those of the address.
func (t *tenant) zones(c *core.Contact) []*time.Location {
	if said := c.Fields["time_zone"]; said != "" && said != "Local" {
		if z, err := time.LoadLocation(said); err == nil {
			return []*time.Location{z}
		}
	}
	var out []*time.Location
	for _, name := range contact.TimeZones(c.Address()) {
		if z, err := time.LoadLocation(name); err == nil {
			out = append(out, z)
		}
	}
	switch {
	case len(out) > 0:
		return out
	case t.Policy.Zone != nil:
		return []*time.Location{t.Policy.Zone}
	}
	return []*time.Location{time.UTC}
}

// handOverOn is a hand-over on a topic.
func handOverOn(topic, reason string) core.Escalation {
	return core.Escalation{Topic: topic, Reason: reason}
}
