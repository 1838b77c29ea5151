package broker

import (
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// policy looks at what is proposed, and refuses what must not be, whoever asked
// for it. What it refuses is in the trace, in words.
func (t *tenant) policy(u *turn) {
	replies := u.conv.repliesSince(u.step.Time.Add(-t.ReplyWindow))
	for _, p := range u.sends {
		why := ""
		if p.asked {
			why = refuseSend(u, u.step.Time)
		} else if why = t.refuseReply(u, p.message, replies); why == "" {
			replies++
		}
		if why != "" {
			t.refuse(u, p, why)
		}
	}
}

// refuseReply says why an automatic reply may not be sent, or "": a person has
// the conversation, the window is closed, or the conversation had too many. A
// script cannot talk over people, nor two bots talk each other into a ban.
func (t *tenant) refuseReply(u *turn, m *core.Message, replies int) string {
	now := u.step.Time
	switch {
	case u.human: // before this event: "sorry, a colleague takes over" may be said
		return "a person has this conversation until " + u.conv.HumanUntil.Format(time.RFC3339)
	case m.Type != core.TypeTemplate && now.Sub(u.conv.LastIn) >= window:
		return "the 24-hour window is closed: only a template may be sent"
	case replies >= t.ReplyCap:
		return fmt.Sprintf("%d automatic replies within %s are the cap (reply_cap)", t.ReplyCap, t.ReplyWindow)
	case m.To == (core.Address{}):
		return "the contact has no address"
	}
	if err := whatsapp.Validate(m); err != nil {
		return err.Error()
	}
	return ""
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
