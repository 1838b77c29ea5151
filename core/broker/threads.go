package broker

import (
	"time"

	"github.com/wabridge/wabridge/core"
)

// On one number another app may have a conversation, such as Meta Business Agent. What
// happens in it then is told, and is for the record: the bot keeps silent. A message
// that a person of the business has sent takes the conversation back.

// standsBy says why the bot keeps silent while another app has the conversation.
const standsBy = "another app has this conversation (standby): the bot keeps silent"

// thread takes note of who has the conversation, by the turn's event.
func (t *tenant) thread(u *turn) {
	was := u.conv.Standby
	if u.e.Time.Before(u.conv.ThreadAt) || u.e.Group != "" {
		return // old news
	}
	if was != u.e.Standby {
		u.conv.ThreadAt = u.e.Time
	}
	t.setThread(u, u.e.Standby)
}

func (t *tenant) setThread(u *turn, standby bool) {
	switch was := u.conv.Standby; {
	case standby:
		u.note(standsBy)
	case was:
		u.note("the conversation is ours again")
	}
	if u.conv.Standby != standby {
		u.conv.Standby, u.convChanged = standby, true
	}
}

// sentByOther takes note of what another app sent.
func (t *tenant) sentByOther(u *turn) {
	t.thread(u)
	u.conv.Out++
	if u.e.Time.After(u.conv.LastOut) {
		u.conv.LastOut = u.e.Time
	}
	u.convChanged = true
}

// takesThread takes note that a message of a person's takes the conversation from
// another app. A template does not.
func (t *tenant) takesThread(u *turn, m *core.Message, now time.Time) {
	if u.conv.Standby && m.Type != core.TypeTemplate {
		u.conv.Standby, u.conv.ThreadAt, u.convChanged = false, now, true
		u.note("the message takes the conversation from the other app")
	}
}
