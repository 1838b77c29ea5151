package broker

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/store"
)

// A conversation has one escalation at a time. What would open another while one
// is open is added to it: its note, and its priority and deadline where they are
// sharper.

const (
	timerEscalation = timerOwn + "escalation" // nobody answered in time
	timerHandOver   = timerOwn + "hand-over"  // no target has it in time
	timerRelease    = timerOwn + "release"    // the person's time may be over
	maxNote         = 2000                    // bytes of an escalation's note
)

// keywords proposes the hand-over that a message asks for by a keyword of the
// tenant's rules.
func (t *tenant) keywords(u *turn) {
	if !u.talks() {
		return
	}
	if topic, word := t.Plan.Triggered(u.e.Message.Text); topic != "" {
		u.proposeHandOver(core.Escalation{Topic: topic, Reason: fmt.Sprintf("the message has %q", word)})
	}
}

// merge makes one of several hand-overs that are proposed at once.
func (u *turn) merge() {
	if len(u.handOvers) < 2 {
		return
	}
	first := u.handOvers[0]
	for _, p := range u.handOvers[1:] {
		if urgency(p.Topic) < urgency(first.Topic) {
			first.Topic, first.event = p.Topic, nil
		}
		if p.Priority != "" {
			first.Priority = escalation.Higher(first.Priority, p.Priority)
		}
		first.Team = or(first.Team, p.Team)
		if p.Reason != first.Reason {
			first.Note = joined(first.Note, p.Reason, p.Note)
		}
	}
	u.handOvers = u.handOvers[:1]
}

// urgency puts what may wait least first.
func urgency(topic string) int {
	switch topic {
	case escalation.TopicComplaint:
		return 0
	case escalation.TopicRequest:
		return 1
	}
	return 2
}

// joined joins what there is of some notes, up to a bound.
func joined(notes ...string) string {
	var b strings.Builder
	for _, n := range notes {
		if n == "" || strings.Contains(b.String(), n) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(n)
	}
	s := b.String()
	if len(s) > maxNote {
		s = strings.ToValidUTF8(s[:maxNote], "") + "…"
	}
	return s
}

// draftHandOver makes the event of a hand-over, with what the rules say.
func (t *tenant) draftHandOver(u *turn, p *handOver) {
	if p.event != nil {
		return
	}
	setDefault(&p.Topic, escalation.TopicScript)
	p.route = t.route(u, p)
	p.event = u.follow(core.KindEscalation)
	p.event.Escalation, p.event.Message = &p.Escalation, u.e.Message
}

// route says where a hand-over goes: as the rules say, but for what the proposal
// names itself.
func (t *tenant) route(u *turn, p *handOver) escalation.Route {
	text := ""
	if u.e.Message != nil {
		text = u.e.Message.Text
	}
	r := t.Plan.Route(p.Topic, p.Team, text)
	if p.Team != "" && p.Team != r.Team.ID {
		u.note(fmt.Sprintf("there is no team %q: the hand-over goes to %s", p.Team, r.Team.ID))
	}
	p.Team, p.Priority = r.Team.ID, or(p.Priority, r.Priority)
	if p.deadline > 0 {
		r.Deadline = p.deadline
	}
	return r
}

// handsOver hands the conversation to a person: from here on the bot is silent
// until the time is up.
func (t *tenant) handsOver(u *turn, p *handOver) {
	now := u.step.Time
	t.draftHandOver(u, p)
	p.route = t.route(u, p) // again: the script's route may have changed the team
	if until := now.Add(t.HumanFor); until.After(u.conv.HumanUntil) {
		u.conv.HumanUntil = until
	}
	u.convChanged = true
	if u.conv.Escalation != nil {
		t.sharpen(u, p)
		return
	}
	u.note("escalated: " + p.Reason)
	t.b.m.escalations.WithLabelValues(t.ID).Inc()
	if u.contact.ID == "" { // nobody to write to: the CRMs are told, and that is all
		t.tell(u, p.event)
		return
	}
	e := &Escalation{
		Tenant: t.ID, Event: p.event.ID, Conversation: u.e.Conversation, Number: u.e.Number, ContactID: u.contact.ID,
		ContactName: u.contact.Name, Accepted: u.e.Accepted,
	}
	e.Escalation, e.AnyTime = p.Escalation, p.route.AnyTime
	e.ID, e.Opened = escalationID(p.event.ID, now), now
	u.conv.Escalation = e
	t.give(u, p.route, p.owner)
	e.Deadline = t.Plan.Due(p.route, now)
	*p.event.Escalation = e.Escalation
	t.tell(u, p.event)
	t.starts(u, p.route)
	t.outsideHours(u, p)
	t.keep(u)
}

// escalationID is short enough to be typed, and in the order of opening.
func escalationID(event string, now time.Time) string {
	sum := sha256.Sum256([]byte(event))
	return fmt.Sprintf("e%011x%s", now.UnixMilli(), contactEncoding.EncodeToString(sum[:5]))
}

// give gives the open escalation to a team, and there to somebody.
func (t *tenant) give(u *turn, r escalation.Route, owner string) {
	e := u.conv.Escalation
	t.takeBack(u)
	e.Team = r.Team.ID
	a, put, undo := t.desk.assign(t.ID, &r.Team, owner)
	if e.Assignee = a; a != nil {
		u.s.Put = append(u.s.Put, put)
		u.afterwards(func(stored bool) {
			if !stored {
				undo()
			}
		})
	}
}

// takeBack takes the open escalation from whom it was given to.
func (t *tenant) takeBack(u *turn) {
	e := u.conv.Escalation
	if e.Assignee == nil {
		return
	}
	team, member := e.Team, e.Assignee.ID
	e.Assignee = nil
	u.afterwards(func(stored bool) {
		if stored {
			t.desk.free(team, member)
		}
	})
}

// starts sets the clocks of the open escalation, for a team that was just
// given it.
func (t *tenant) starts(u *turn, r escalation.Route) {
	e := u.conv.Escalation
	if e.Handed.IsZero() {
		if hasInbox(r.Team.Targets) {
			t.handed(u, escalation.Inbox, time.Now().UTC())
		} else if err := t.setTimer(u, timerHandOver, u.step.Time.Add(t.Plan.HandOver()), nil); err != nil {
			u.note(err.Error())
		}
	}
	if err := t.setTimer(u, timerEscalation, e.Deadline, nil); err != nil {
		u.note(err.Error())
	}
}

func hasInbox(targets []string) bool {
	return slices.Contains(targets, escalation.Inbox)
}

// handed takes note that a target has the open escalation.
func (t *tenant) handed(u *turn, target string, at time.Time) {
	e := u.conv.Escalation
	if e == nil || !e.Handed.IsZero() {
		return
	}
	e.Handed, e.HandedTo = at, target
	took := at.Sub(e.Accepted)
	e.HandOverMS = milliseconds(took)
	u.note(fmt.Sprintf("handed over to %s by %s, %s after the message", e.Team, target, took.Round(time.Millisecond)))
	t.cancelTimer(u, timerHandOver)
	u.afterwards(func(stored bool) {
		if stored {
			if target == escalation.Inbox {
				took = time.Since(e.Accepted) // the inbox has it now, with the commit
			}
			t.b.m.handOver.WithLabelValues(t.ID, topicLabel(e.Topic)).Observe(took.Seconds())
		}
	})
}

// reached takes the word of a lane that its target has the open escalation.
func (t *tenant) reached(u *turn) {
	if e := u.conv.Escalation; e != nil && e.ID == u.e.Escalation.ID && e.Handed.IsZero() {
		t.handed(u, u.e.Source, u.e.Time)
		t.keep(u)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// topicLabel bounds the topics of the metrics: scripts make up their own.
func topicLabel(topic string) string {
	if slices.Contains(escalation.Topics(), topic) {
		return topic
	}
	return "other"
}

// sharpen adds a further hand-over to the open escalation.
func (t *tenant) sharpen(u *turn, p *handOver) {
	e := u.conv.Escalation
	u.note("escalated already (" + e.ID + "): " + p.Reason)
	note, priority := e.Note, e.Priority
	if p.Reason != e.Reason {
		e.Note = joined(e.Note, p.Reason, p.Note)
	}
	e.Priority = escalation.Higher(e.Priority, p.Priority)
	sooner := t.Plan.Due(p.route, u.step.Time)
	moved := e.Priority != priority
	if !e.stopped() && !e.Overdue && sooner.Before(e.Deadline) {
		e.Deadline, moved = sooner, true
		if err := t.setTimer(u, timerEscalation, e.Deadline, nil); err != nil {
			u.note(err.Error())
		}
	}
	if moved {
		t.tellMoved(u)
	}
	if moved || e.Note != note {
		t.keep(u)
	}
}

// outsideHours tells the person, once, that nobody is there now.
func (t *tenant) outsideHours(u *turn, p *handOver) {
	message := t.Plan.Away(p.Team, t.languageOf(u, ""))
	if message == "" || p.route.AnyTime || t.Plan.Calendar(p.Team).Open(u.step.Time) {
		return
	}
	said := &send{message: &core.Message{Type: core.TypeText, Text: message, Direction: core.Outbound, To: u.contact.Address()}}
	if why := t.refuses(u, said, 0); why != "" {
		t.refuse(u, said, why)
		return
	}
	t.goes(u, said)
}

// tell tells the CRMs, the team's targets and those of the teams before it.
func (t *tenant) tell(u *turn, e *core.Event) { t.tellTargets(&u.s, u, e, u.conv.Escalation) }

// tellTargets tells of an escalation; of is what is kept of it, nil when nothing
// is. u may be nil: see toLanes.
func (t *tenant) tellTargets(s *store.Settlement, u *turn, e *core.Event, of *Escalation) {
	data := mustJSON(e)
	t.toLanes(s, u, e, data)
	team, _ := t.Plan.Team(e.Escalation.Team)
	told := team.Targets
	if of != nil {
		told = slices.Clone(of.Told)
		for _, name := range team.Targets {
			if t.targets[name] != nil && !slices.Contains(told, name) {
				told = append(told, name)
			}
		}
		of.Told = told
	}
	for _, name := range told {
		if l := t.targets[name]; l != nil {
			s.Add = append(s.Add, store.Item{Queue: l.queue, ID: e.ID, Order: e.Conversation, Class: classOf(e), Data: data, Value: e})
		}
	}
}

// tellMoved tells that the open escalation is not what it was.
func (t *tenant) tellMoved(u *turn) {
	e := u.follow(core.KindEscalationMoved)
	state := u.conv.Escalation.Escalation
	e.Escalation, e.Message = &state, u.e.Message
	t.tell(u, e)
}

// keep stores the open escalation, or the one that was just closed.
func (t *tenant) keep(u *turn) {
	u.convChanged = true
	e := *u.conv.Escalation
	e.State = e.state()
	key := store.Key{Tenant: t.ID, Bucket: bucketEscalations, Key: e.ID}
	if e.State == StateClosed {
		closed := key
		closed.Bucket = bucketClosed
		u.s.Put = append(u.s.Put, store.Put{Key: key}, store.Put{Key: closed, Value: mustJSON(e), Expires: e.Closed.Add(closedFor)})
		u.conv.Escalation = nil
	} else {
		u.s.Put = append(u.s.Put, store.Put{Key: key, Value: mustJSON(e)})
	}
	u.afterwards(func(stored bool) {
		if stored {
			t.desk.keep(e)
		}
	})
}
