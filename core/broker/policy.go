package broker

import (
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// act does what the script asked for, as far as the policy allows. What it
// refuses is in the trace, in words.
func (t *tenant) act(s *store.Settlement, u *turn, actions []script.Action) {
	changed := false
	human := u.conv.human(u.step.Time) // before this event: "sorry, a colleague takes over" may be said
	for _, a := range actions {
		switch a.Type {
		case "reply":
			t.reply(s, u, a, human)
		case "tag":
			changed = addTag(u.contact, a.Tag) || changed
		case "untag":
			changed = removeTag(u.contact, a.Tag) || changed
		case "setField":
			changed = setField(u.contact, a.Name, a.Value) || changed
		case "escalate":
			t.escalate(s, u, a)
		}
	}
	if changed {
		u.contactChanged = true
		t.toCRM(s, u.follow(core.KindContactChanged), nil)
	}
}

// reply sends an automatic reply, unless a person has the conversation, the
// window is closed, or the conversation had too many: a script cannot talk over
// people, nor two bots talk each other into a ban.
func (t *tenant) reply(s *store.Settlement, u *turn, a script.Action, human bool) {
	now := u.step.Time
	m := a.Message
	if m == nil {
		m = &core.Message{Type: core.TypeText, Text: a.Text}
	}
	m.Direction, m.To = core.Outbound, u.contact.Address()
	why := ""
	switch {
	case human:
		why = "a person has this conversation until " + u.conv.HumanUntil.Format(time.RFC3339)
	case m.Type != core.TypeTemplate && now.Sub(u.conv.LastIn) >= window:
		why = "the 24-hour window is closed: only a template may be sent"
	case u.conv.repliesSince(now.Add(-t.ReplyWindow)) >= t.ReplyCap:
		why = fmt.Sprintf("%d automatic replies within %s are the cap (reply_cap)", t.ReplyCap, t.ReplyWindow)
	case m.To == (core.Address{}):
		why = "the contact has no address"
	default:
		if err := whatsapp.Validate(m); err != nil {
			why = err.Error()
		}
	}
	if why != "" {
		u.note("reply refused: " + why)
		t.b.m.refused.WithLabelValues(t.ID).Inc()
		return
	}
	e := u.follow(core.KindMessageSend)
	e.Message = m
	u.conv.Replies = append(u.conv.Replies, now)
	u.conv.Out++
	u.conv.LastOut = now
	t.toNumber(s, e, nil)
}

// escalate hands the conversation to a person: from here on the bot is silent
// until the time is up.
func (t *tenant) escalate(s *store.Settlement, u *turn, a script.Action) {
	if a.Team == "" {
		a.Team = t.Team
	}
	if a.Priority == "" {
		a.Priority = "normal"
	}
	u.conv.HumanUntil, u.convChanged = u.step.Time.Add(t.HumanFor), true
	e := u.follow(core.KindEscalation)
	e.Escalation = &core.Escalation{Reason: a.Reason, Team: a.Team, Note: a.Note, Priority: a.Priority}
	e.Message = u.e.Message
	u.note("escalated: " + a.Reason)
	t.b.m.escalations.WithLabelValues(t.ID).Inc()
	t.toCRM(s, e, nil)
}

// refuseSend says why a message that was asked for may not be sent, or "".
// Free text needs an open window. Where the bridge has never seen the person
// write, WhatsApp knows better, and decides.
func refuseSend(u *turn, now time.Time) string {
	m := u.e.Message
	if m == nil {
		return "the event has no message"
	}
	free := m.Type != core.TypeTemplate && m.Type != core.TypeRead && m.Type != core.TypeReaction
	if free && !u.conv.LastIn.IsZero() && now.Sub(u.conv.LastIn) >= window {
		return "the 24-hour window closed at " + u.conv.LastIn.Add(window).Format(time.RFC3339) + ": only a template may be sent"
	}
	return ""
}
