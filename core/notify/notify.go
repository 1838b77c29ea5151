// Package notify tells people of escalations outside the bridge: by a signed
// webhook, and by e-mail. Both are sinks behind lanes of their own, so that
// attempts, pauses and dead letters are as everywhere else, and what is told
// twice is harmless: receivers know it by its id.
package notify

import (
	"net/netip"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/guard"
)

// timeout bounds one notice.
const timeout = 10 * time.Second

// privateHint says how to allow an address of one's own network.
const privateHint = "set allow_private = true for the target if that is meant"

// refusedAddress says why the address in a setting must not be connected to. What a
// name leads to is seen only when it is connected to.
func refusedAddress(op, setting, host string, private bool) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if why := guard.Refusal(ip, private, privateHint); why != "" {
			return core.Errorf(core.CodeInvalid, op, "%s: %s", setting, why)
		}
	}
	return nil
}

// what says in a word what happened to an escalation.
func what(e *core.Event) string {
	x := e.Escalation
	switch {
	case e.Kind == core.KindEscalationClosed:
		return "closed"
	case e.Kind == core.KindEscalation:
		return "opened"
	case !x.Answered.IsZero():
		return "answered"
	case !x.Taken.IsZero():
		return "taken"
	case x.Overdue:
		return "overdue"
	case x.Level > 0:
		return "moved up"
	}
	return "changed"
}

// phone is what is told of a contact's number.
func phone(c *core.Contact, whole bool) string {
	if c.Phone == "" || whole {
		return c.Phone
	}
	return core.MaskAddress(c.Phone)
}

// concerns reports whether an event is about an escalation; others are done at
// once.
func concerns(e *core.Event) bool {
	switch e.Kind {
	case core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed:
		return e.Escalation != nil
	}
	return false
}

// oneLine makes a text of a stranger's fit for a line: without what breaks or
// turns it, and not too long.
func oneLine(s string, most int) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}), " ")
	return cut(strings.ToValidUTF8(s, "\uFFFD"), most)
}

// cut cuts a text to so many characters.
func cut(s string, most int) string {
	for i := range s {
		if most == 0 {
			return s[:i] + "…"
		}
		most--
	}
	return s
}
