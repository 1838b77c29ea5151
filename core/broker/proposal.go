package broker

import (
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/script"
)

// send proposes a message to the contact.
type send struct {
	message *core.Message
	// asked says that the turn's event asks for it: the API or a CRM does. The
	// others are automatic replies.
	asked bool
	// own says that it is the bridge's own word, stop that it is the answer to
	// STOP, which is sent to whoever is suppressed by it.
	own, stop bool
	// confidence is how sure the script is of it; nil when it does not say.
	confidence *float64
	// refused says why it is not sent; empty when it is.
	refused string
	// until puts it off; it is then decided anew.
	until time.Time

	// event is made once the policy has let it pass, data is its JSON.
	event *core.Event
	data  []byte
}

// handOver proposes to hand the conversation to a person or team.
type handOver struct {
	core.Escalation
	event *core.Event // made for route, or at last
	route escalation.Route
	// owner and deadline are the script's own word on them, if any.
	owner    string
	deadline time.Duration
}

// propose takes what the script asked for.
func (t *tenant) propose(u *turn, actions []script.Action) {
	called := fullName(u.contact)
	defer func() { u.changed = u.renamed(called, "script") || u.changed }()
	for _, a := range actions {
		if why := overfull(u.contact, &a); why != "" {
			u.note(a.String() + " refused: " + why)
			continue
		}
		switch a.Type {
		case script.ActionReply:
			m := a.Message
			if m == nil {
				m = &core.Message{Type: core.TypeText, Text: a.Text}
			}
			u.proposeReply(m).confidence = a.Confidence
		case script.ActionTag:
			u.changed = addTag(u.contact, a.Tag) || u.changed
		case script.ActionUntag:
			u.changed = removeTag(u.contact, a.Tag) || u.changed
		case script.ActionSetField:
			switch {
			case t.heldByCRM(u.person, a.Name, nil):
				u.note(a.String() + " refused: a CRM has the say on this field (conflict = \"crm\")")
			case setField(u.contact, a.Name, a.Value):
				t.mark(u.person, a.Name, "script", u.step.Time)
				u.changed = true
			}
		case script.ActionEscalate:
			u.proposeHandOver(core.Escalation{Topic: a.Topic, Reason: a.Reason, Team: a.Team, Note: a.Note, Priority: a.Priority})
		case script.ActionConsent:
			t.scriptConsent(u, core.Consent{Level: a.Level, State: a.State, Evidence: a.Evidence})
		case script.ActionTimer, script.ActionCancelTimer:
			u.timers = append(u.timers, a)
		}
	}
}

// proposeReply proposes an automatic message to the contact.
func (u *turn) proposeReply(m *core.Message) *send {
	m.Direction, m.To = core.Outbound, u.contact.Address()
	p := &send{message: m}
	u.sends = append(u.sends, p)
	return p
}

// proposeHandOver proposes a hand-over. What is empty is filled in from the
// tenant's settings.
func (u *turn) proposeHandOver(e core.Escalation) {
	u.handOvers = append(u.handOvers, &handOver{Escalation: e})
}

// asked proposes the message that the API or a CRM asked for.
func (t *tenant) asked(u *turn) {
	u.sends = append(u.sends, &send{message: u.e.Message, asked: true, event: u.e, data: u.d.Data})
}

// sets does what the script asked about a timer: set it, or cancel it.
func (t *tenant) sets(u *turn, a script.Action) {
	if strings.HasPrefix(a.Name, timerOwn) {
		u.note("timer refused: names that begin with " + timerOwn + " are the bridge's own")
		return
	}
	if a.Type == script.ActionCancelTimer {
		t.cancelTimer(u, a.Name)
		return
	}
	if err := t.setTimer(u, a.Name, u.step.Time.Add(a.After), a.Data); err != nil {
		u.note("timer refused: " + err.Error())
	}
}

// refuse takes a message out of what is sent, and says so in the trace.
func (t *tenant) refuse(u *turn, p *send, why string) {
	p.refused = why
	if !p.asked {
		u.note("reply refused: " + why)
		t.b.m.refused.WithLabelValues(t.ID).Inc()
		return
	}
	err := core.Errorf(core.CodeUndeliverable, "policy", "%s", why)
	u.step.Error, u.step.Step = err, "dead"
	// Refused for good, but not silently: the CRM is told.
	t.failed(&u.s, u.e, err)
	u.note("refused: " + why)
}

// draft makes the event of a message that the policy let pass.
func (u *turn) draft(p *send) {
	if p.event == nil {
		p.event = u.follow(core.KindMessageSend)
		p.event.Message, p.event.Class = p.message, core.ClassReply
		if p.own {
			p.event.Source = sourcePolicy
		}
		p.data = mustJSON(p.event)
	}
}

// goes sends a message.
func (t *tenant) goes(u *turn, p *send) {
	u.draft(p)
	now := u.step.Time
	switch {
	case p.own || p.message.Type == core.TypeRead:
	case !p.asked:
		u.person.Replies, u.contactChanged = append(u.person.Replies, now), true
		u.conv.LastReply = now
	default:
		t.takesThread(u, p.message, now)
		t.weWrote(u)
		if u.contact.ID != "" { // the CRMs, which hear of it when it is sent, may not know of them yet
			e := *p.event
			e.Contact = u.contact
			p.event, p.data = &e, nil
		}
	}
	u.conv.Out++
	u.conv.LastOut, u.convChanged = now, true
	t.toNumber(&u.s, p.event, p.data)
}
