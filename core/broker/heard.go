package broker

import (
	"slices"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Reading is something beside messages that a script may be asked about.
type Reading string

// What Policy.Reads may name.
const (
	ReadReactions Reading = "reactions"
	ReadEdits     Reading = "edits"
	ReadRevokes   Reading = "revokes"
	ReadGroups    Reading = "groups"
)

// Readings are all of them.
func Readings() []Reading { return []Reading{ReadReactions, ReadEdits, ReadRevokes, ReadGroups} }

func (t *tenant) reads(r Reading) bool { return slices.Contains(t.Policy.Reads, r) }

// heard does what comes before the script when a message came: says which hooks are
// asked about it, and whether it counts for the conversation with the person.
func (t *tenant) heard(u *turn) {
	m := u.e.Message
	if m != nil && m.Type == core.TypeSystem {
		return // WhatsApp's own words: nobody wrote, and nobody is answered
	}
	if len(t.crm) > 0 {
		u.hooks |= script.MapToCRM
	}
	switch {
	case u.e.Source == whatsapp.SourceHistory:
		u.note("from before the number was connected: it is for the record, and nobody answers")
		return
	case u.e.Group != "":
		t.asks(u, ReadGroups, "written in a group")
		return
	}
	u.hooks |= script.OnMessage
	t.received(u)
	t.thread(u)
	t.beforeScript(u)
	if m != nil && m.Type == core.TypeReaction {
		u.hooks &^= script.OnMessage
		t.asks(u, ReadReactions, "a reaction")
	}
	if u.conv.Standby {
		u.hooks &^= script.OnMessage
	}
}

// asks has the script asked about what is no message to answer, where the tenant
// wants it.
func (t *tenant) asks(u *turn, r Reading, what string) {
	if t.reads(r) {
		u.hooks |= script.OnMessage
		return
	}
	u.note(what + ": the script is not asked (policy.reads)")
}

// talks reports whether the turn's event is a message that a person wrote to the
// business, and that is the bridge's to answer.
func (u *turn) talks() bool {
	return u.e.Kind == core.KindMessageReceived && u.e.Message != nil && u.e.Message.Type != core.TypeSystem &&
		u.e.Group == "" && u.e.Source != whatsapp.SourceHistory && !u.conv.Standby
}

// amended takes note of what became of an earlier message: the CRMs have it under its
// id, and are told what it is now. What it was before stays in its own trace.
func (t *tenant) amended(u *turn) {
	e := *u.e
	if u.contact.ID != "" {
		e.Contact = u.contact
	}
	u.tell, u.data = &e, nil
	if e.Message == nil {
		return
	}
	if e.Message.Direction == core.Inbound && e.Group == "" {
		u.reachable()
	}
	if e.Kind == core.KindMessageEdited {
		u.note("the message " + e.Message.ID + " was changed: CRMs have what it is now")
		t.asks(u, ReadEdits, "an edit")
		return
	}
	u.note("the message " + e.Message.ID + " was taken back")
	if t.Policy.KeepRevoked {
		u.quiet = true
		u.note("CRMs keep its text (policy.keep_revoked)")
	}
	t.asks(u, ReadRevokes, "a message taken back")
}

// conversationOf names the conversation that an event of a contact belongs to.
func conversationOf(e *core.Event, contact string) string {
	if e.Group != "" {
		return core.GroupConversationID(e.Number, e.Group)
	}
	return core.ConversationID(e.Number, contact)
}

// placeGroup puts an event of a group that is about nobody in particular into the
// group's conversation.
func placeGroup(e *core.Event) {
	if e.Group != "" && e.Number != "" && e.Conversation == "" {
		e.Conversation = conversationOf(e, "")
	}
}
