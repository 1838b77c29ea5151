package broker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/store"
)

// The ways in which an escalation ends.
const (
	outcomeClosed   = "closed"
	outcomeReleased = "released"
	outcomeExpired  = "expired"
)

// alarm takes a timer of the bridge's own that is due.
func (t *tenant) alarm(u *turn) {
	e := u.conv.Escalation
	if e == nil {
		return
	}
	switch u.e.Timer.Name {
	case timerEscalation:
		if !e.stopped() {
			t.unanswered(u, "nobody answered within the time")
		}
	case timerHandOver:
		if e.Handed.IsZero() {
			t.b.log.Error("an escalation reached no target in time", "tenant", t.ID, "escalation", e.ID, "team", e.Team)
			t.unanswered(u, fmt.Sprintf("no target had it within %s", t.Plan.HandOver()))
		}
	case timerRelease:
		if until := u.conv.HumanUntil; until.After(u.step.Time) {
			t.releaseAt(u, until)
		} else if !e.Answered.IsZero() {
			t.ends(u, outcomeExpired, "")
		}
	}
}

// unanswered moves the open escalation to the next level; where there is none,
// it is overdue, and said so once.
func (t *tenant) unanswered(u *turn, why string) {
	e, now := u.conv.Escalation, u.step.Time
	team, _ := t.Plan.Team(e.Team)
	next, ok := t.Plan.Team(team.Next)
	if team.Next == "" || !ok {
		u.note(why + ", and there is no further level")
		if e.Overdue {
			return
		}
		e.Overdue = true
		// Whatever the targets do, the bridge's own list has it, and the log.
		t.handed(u, escalation.Inbox, time.Now().UTC())
		t.b.m.overdue.WithLabelValues(t.ID).Inc()
		t.b.log.Error("an escalation is overdue: see `wabridge escalation list`", "tenant", t.ID, "escalation", e.ID, "team", e.Team)
		t.tellMoved(u)
		t.keep(u)
		return
	}
	u.note(why + ": moved from " + e.Team + " to " + next.ID)
	t.b.m.moved.WithLabelValues(t.ID).Inc()
	r := escalation.Route{Team: next, Priority: e.Priority, Deadline: next.Deadline, AnyTime: e.AnyTime}
	t.give(u, r, "")
	e.Level++
	e.Deadline = t.Plan.Due(r, now)
	t.tellMoved(u)
	t.starts(u, r)
	t.keep(u)
}

// humanSpoke takes note that a person wrote to the contact, from wherever: the
// clock stops.
func (t *tenant) humanSpoke(u *turn) {
	e := u.conv.Escalation
	if e == nil || !e.Answered.IsZero() {
		return
	}
	e.Answered = u.step.Time
	took := e.Answered.Sub(e.Accepted)
	e.AnswerMS = milliseconds(took)
	u.note(fmt.Sprintf("a person answered escalation %s, %s after the message", e.ID, took.Round(time.Millisecond)))
	t.stops(u)
	t.releaseAt(u, u.conv.HumanUntil)
	t.tellMoved(u)
	t.keep(u)
	u.afterwards(func(stored bool) {
		if stored {
			t.b.m.answer.WithLabelValues(t.ID, topicLabel(e.Topic)).Observe(took.Seconds())
		}
	})
}

// stops makes the clocks of the open escalation stand still.
func (t *tenant) stops(u *turn) {
	t.cancelTimer(u, timerEscalation)
	t.cancelTimer(u, timerHandOver)
}

// releaseAt looks at the open escalation again when the bot may speak.
func (t *tenant) releaseAt(u *turn, at time.Time) {
	if at.Before(u.step.Time) {
		at = u.step.Time.Add(t.HumanFor)
	}
	if err := t.setTimer(u, timerRelease, at, nil); err != nil {
		u.note(err.Error())
	}
}

// ends closes the open escalation: the bot has the conversation again.
func (t *tenant) ends(u *turn, outcome, by string) {
	e := u.conv.Escalation
	assignee := e.Assignee
	t.takeBack(u)
	e.Assignee = assignee // who had it, for the record
	e.Closed, e.Outcome, e.By = u.step.Time, outcome, by
	t.stops(u)
	t.cancelTimer(u, timerRelease)
	u.conv.HumanUntil = time.Time{}
	u.note("escalation " + e.ID + " " + outcome)
	closed := u.follow(core.KindEscalationClosed)
	state := e.Escalation
	closed.Escalation = &state
	t.tell(u, closed)
	t.keep(u)
}

// Escalations lists who waits for people, those that are due first first. The
// tenant "" is all of them.
func (b *Broker) Escalations(tenant string) []Escalation {
	out := []Escalation{}
	for _, t := range b.tenants {
		if tenant == "" || t.ID == tenant {
			out = append(out, t.desk.all()...)
		}
	}
	slices.SortStableFunc(out, func(a, b Escalation) int {
		if a.stopped() != b.stopped() {
			if b.stopped() {
				return -1
			}
			return 1
		}
		return a.Deadline.Compare(b.Deadline)
	})
	return out
}

// Escalation returns one, open or closed within the last 30 days. An unknown one
// is CodeInvalid.
func (b *Broker) Escalation(ctx context.Context, tenant, id string) (Escalation, error) {
	for _, t := range b.tenants {
		if tenant != "" && t.ID != tenant {
			continue
		}
		if e, ok := t.desk.get(id); ok {
			return e, nil
		}
		values, err := b.o.Store.Get(ctx, store.Key{Tenant: t.ID, Bucket: bucketClosed, Key: id})
		if err != nil {
			return Escalation{}, err
		}
		if e, ok := decode[Escalation](values[0]); ok {
			return *e, nil
		}
	}
	return Escalation{}, noEscalation(id)
}

func noEscalation(id string) error {
	return core.Errorf(core.CodeInvalid, "escalation", "there is no escalation %q: %w", id, store.ErrNotFound)
}

// TakeEscalation says that somebody will answer: the clock stops. by is a
// member's id, or a name.
func (b *Broker) TakeEscalation(ctx context.Context, in, id, by string) (Escalation, error) {
	return b.withEscalation(ctx, in, id, "taken", func(t *tenant, u *turn) {
		e := u.conv.Escalation
		team, _ := t.Plan.Team(e.Team)
		t.takeBack(u)
		if slices.ContainsFunc(team.Members, func(m escalation.Member) bool { return m.ID == by }) {
			t.give(u, escalation.Route{Team: team}, by)
		} else {
			e.Assignee = &core.Assignee{ID: by, Name: by}
		}
		e.Taken, e.By = u.step.Time, by
		u.note("taken by " + by)
		t.stops(u)
		t.tellMoved(u)
		t.keep(u)
	})
}

// CloseEscalation ends one that was dealt with; ReleaseEscalation one that the
// bot is to go on with. Either way the bot has the conversation again.
func (b *Broker) CloseEscalation(ctx context.Context, in, id, by, note string) (Escalation, error) {
	return b.endEscalation(ctx, in, id, outcomeClosed, by, note)
}

// ReleaseEscalation gives a conversation back to the bot; see CloseEscalation.
func (b *Broker) ReleaseEscalation(ctx context.Context, in, id, by, note string) (Escalation, error) {
	return b.endEscalation(ctx, in, id, outcomeReleased, by, note)
}

func (b *Broker) endEscalation(ctx context.Context, in, id, outcome, by, note string) (Escalation, error) {
	return b.withEscalation(ctx, in, id, outcome, func(t *tenant, u *turn) {
		u.conv.Escalation.Note = joined(u.conv.Escalation.Note, note)
		t.ends(u, outcome, by)
	})
}

// withEscalation does something to an open escalation, in a turn of its own.
func (b *Broker) withEscalation(ctx context.Context, in, id, what string, do func(*tenant, *turn)) (Escalation, error) {
	t, known, err := b.openEscalation(ctx, in, id)
	if err != nil {
		return known, err
	}
	event := known.Event + "#" + what + strconv.FormatInt(time.Now().UnixMilli(), 36)
	err = t.onContact(ctx, known.ContactID, known.Number, event, func(u *turn) error {
		if u.conv.Escalation == nil || u.conv.Escalation.ID != id {
			return noEscalation(id) // closed meanwhile
		}
		u.step.Kind, u.step.Step = core.KindEscalationMoved, what
		do(t, u)
		return nil
	})
	if err != nil {
		return Escalation{}, err
	}
	return b.Escalation(ctx, t.ID, id)
}

// openEscalation finds an open escalation and whose it is.
func (b *Broker) openEscalation(ctx context.Context, in, id string) (*tenant, Escalation, error) {
	for _, t := range b.tenants {
		if in != "" && t.ID != in {
			continue
		}
		if e, ok := t.desk.get(id); ok {
			return t, e, nil
		}
	}
	e, err := b.Escalation(ctx, in, id)
	if err == nil {
		err = core.Errorf(core.CodeUndeliverable, "escalation", "%s was %s already", id, e.Outcome)
	}
	return nil, e, err
}

// isOwnTimer reports whether an event is a timer of the bridge's own.
func isOwnTimer(e *core.Event) bool {
	return e.Timer != nil && strings.HasPrefix(e.Timer.Name, timerOwn)
}

// tookOver takes note, where the inbox is no target of the team, that the lane's
// target has an escalation: the conversation learns it in a turn of its own.
func (l *lane) tookOver(s *store.Settlement, e *core.Event, at time.Time) {
	if e.Escalation == nil || e.Kind != core.KindEscalation && e.Kind != core.KindEscalationMoved {
		return
	}
	_, name, _ := strings.Cut(l.name, "/")
	team, _ := l.t.Plan.Team(e.Escalation.Team)
	if hasInbox(team.Targets) || !slices.Contains(team.Targets, name) {
		return
	}
	handed := &core.Event{
		ID: e.ID + "#" + l.name, Kind: core.KindEscalationHanded, Tenant: e.Tenant, Number: e.Number,
		Conversation: e.Conversation, Time: at.UTC(), Accepted: e.Accepted, Source: name, Cause: e.ID,
		Contact: &core.Contact{ID: e.Contact.ID}, Escalation: &core.Escalation{ID: e.Escalation.ID},
	}
	l.t.depth.Add(1)
	s.Add = append(s.Add, store.Item{Queue: l.t.queue, ID: handed.ID, Order: handed.Conversation, Class: classOf(handed), Data: mustJSON(handed), Value: handed})
}
