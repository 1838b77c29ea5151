package broker

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// maxAsk is how often a script is asked that cannot be.
const maxAsk = 5

// round is a set of questions to the tenant's script: one call for the batch.
type round struct {
	calls []script.Call
	of    []asked
	// record says to keep what is asked and answered.
	record bool
}

// asked says what a question is about: the turn's event, or one of its
// proposals.
type asked struct {
	u    *turn
	send *send
	over *handOver
}

func (t *tenant) ask(r *round, a asked, hooks script.Hooks, id string, event []byte) {
	r.calls = append(r.calls, script.Call{
		Event: event, Context: t.scriptContext(a.u), Hooks: hooks, Now: a.u.step.Time, Seed: seed(id),
		Version: a.u.step.Script, // what began with a version is finished with it
	})
	r.of = append(r.of, a)
}

func seed(id string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return int64(h.Sum64())
}

// hooks returns those that the tenant's script has.
func (t *tenant) hooks() script.Hooks {
	if t.b.o.Scripts == nil {
		return 0
	}
	v, ok := t.b.o.Scripts.Version(t.ID)
	if !ok {
		return 0
	}
	return v.Hooks
}

// askAboutEvents is the first round: what is to be done about the events. What a
// change at a CRM means for the contact is asked before, so that the script then
// sees the contact changed.
func (t *tenant) askAboutEvents(ctx context.Context, has script.Hooks, turns []turn) error {
	before, events := round{}, round{record: !t.NoRecord}
	if has.Has(script.MapFromCRM) {
		for i := range turns {
			if u := &turns[i]; u.again == nil && u.e.Kind == core.KindContactChanged {
				t.ask(&before, asked{u: u}, script.MapFromCRM, u.e.ID, u.d.Data)
			}
		}
	}
	err := t.answers(ctx, &before, func(a asked, dec *script.Decision) {
		if t.fails(a.u, dec) {
			a.u.note("mapFromCRM failed: nothing of the change was taken over")
			return
		}
		t.propose(a.u, dec.Changes)
	})
	if err != nil {
		return err
	}
	for i := range turns {
		if u := &turns[i]; u.again == nil && has&u.hooks != 0 {
			t.ask(&events, asked{u: u}, u.hooks, u.e.ID, u.d.Data)
		}
	}
	return t.answers(ctx, &events, func(a asked, dec *script.Decision) { t.decided(a.u, dec) })
}

// decided takes the script's answer about an event.
func (t *tenant) decided(u *turn, dec *script.Decision) {
	if dec.Fields != nil && u.e.Kind == core.KindMessageReceived {
		u.tell.Fields = dec.Fields
	}
	if !t.fails(u, dec) {
		if len(dec.Actions) > 0 {
			u.step.Line = dec.Actions[0].Line
		}
		t.propose(u, dec.Actions)
		return
	}
	switch u.e.Kind {
	case core.KindMessageReceived, core.KindTimer:
		u.note("the script failed: handed to a person")
		u.proposeHandOver(core.Escalation{Reason: "script failed", Note: dec.Err.Error()})
	default: // nobody waits for an answer
		u.note("the script failed: passed on without it")
	}
}

// askAboutProposals is the second round: messages that may be vetoed, and
// hand-overs that may be routed.
func (t *tenant) askAboutProposals(ctx context.Context, has script.Hooks, turns []turn) error {
	if !has.Has(script.BeforeSend | script.Route) {
		return nil
	}
	var r round
	for i := range turns {
		u := &turns[i]
		if u.again != nil {
			continue
		}
		for _, p := range u.sends {
			if p.refused == "" && p.until.IsZero() && !p.own && has.Has(script.BeforeSend) {
				u.draft(p)
				t.ask(&r, asked{u: u, send: p}, script.BeforeSend, p.event.ID, p.data)
			}
		}
		for _, p := range u.handOvers {
			if has.Has(script.Route) {
				t.draftHandOver(u, p)
				t.ask(&r, asked{u: u, over: p}, script.Route, p.event.ID, mustJSON(p.event))
			}
		}
	}
	return t.answers(ctx, &r, func(a asked, dec *script.Decision) {
		if a.send != nil {
			t.maySend(a.u, a.send, dec)
		} else {
			t.routed(a.u, a.over, dec)
		}
	})
}

// maySend takes the script's answer about a message. Where the script fails, an
// automatic reply becomes a person's; what the API or a CRM asked for is sent,
// as it would be without a script.
func (t *tenant) maySend(u *turn, p *send, dec *script.Decision) {
	switch {
	case !t.fails(u, dec):
		if dec.Veto != "" {
			t.refuse(u, p, "the script's beforeSend: "+dec.Veto)
		}
	case p.asked:
		u.note("beforeSend failed: sent without it")
	default:
		t.refuse(u, p, "beforeSend failed: handed to a person")
		u.proposeHandOver(core.Escalation{Reason: "script failed", Note: dec.Err.Error()})
	}
}

// routed takes the script's answer about a hand-over.
func (t *tenant) routed(u *turn, p *handOver, dec *script.Decision) {
	if t.fails(u, dec) {
		u.note("route failed: the hand-over goes where it would without it")
		return
	}
	if r := dec.Route; r != nil {
		p.Team, p.Priority, p.owner = or(r.Team, p.Team), or(r.Priority, p.Priority), r.Owner
		p.deadline = r.Deadline
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// answers makes the calls of a round and hands out the answers.
func (t *tenant) answers(ctx context.Context, r *round, take func(asked, *script.Decision)) error {
	if len(r.calls) == 0 {
		return nil
	}
	decisions := t.b.o.Scripts.Decide(ctx, t.ID, r.calls)
	if ctx.Err() != nil {
		return ctx.Err() // stopping is not the script's fault
	}
	for i := range decisions {
		a, dec := r.of[i], &decisions[i]
		u := a.u
		switch {
		case u.again != nil:
		case dec.Err != nil && dec.Err.Code == core.CodeUnavailable && u.d.Attempt < maxAsk:
			// No worker to ask: not the script's fault, and soon over.
			u.wait(time.Second, true)
		case u.step.Script != "" && dec.Version != "" && u.step.Script != dec.Version:
			u.wait(0, false) // new versions came between: one decides all of it
		default:
			u.step.Script = or(dec.Version, u.step.Script)
			for _, line := range dec.Log {
				u.note("console: " + line)
			}
			u.step.Took += float64(dec.Ran.Microseconds()) / 1000
			take(a, dec)
			if r.record {
				u.record(&r.calls[i], dec)
			}
		}
	}
	return nil
}

// fails takes note of a failure of the script, and reports whether it is one.
func (t *tenant) fails(u *turn, dec *script.Decision) bool {
	if dec.Err == nil {
		return false
	}
	t.b.totals.scriptErrs.Add(1)
	t.b.m.scriptErrors.WithLabelValues(t.ID).Inc()
	u.step.Error = dec.Err
	u.step.Line = or(dec.Line, u.step.Line)
	return true
}

// scriptContext is what a hook is given beside the event.
func (t *tenant) scriptContext(u *turn) []byte {
	mode := "bot"
	if u.human {
		mode = "human"
	}
	c := struct {
		Contact      *core.Contact `json:"contact"`
		Conversation struct {
			ID       string    `json:"id"`
			New      bool      `json:"new"`
			Mode     string    `json:"mode"`
			Started  time.Time `json:"started"`
			Messages int       `json:"messages"`
			Replies  int       `json:"replies"`
		} `json:"conversation"`
		Tenant struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"tenant"`
		Settings map[string]any `json:"settings"`
		Language string         `json:"language"`
		Hours    string         `json:"hours"`
		Local    time.Time      `json:"local"`
	}{Contact: u.contact, Settings: t.Settings, Language: u.conv.Language}
	c.Hours, c.Local = t.hours(u.step.Time)
	c.Conversation.ID, c.Conversation.New, c.Conversation.Mode = u.e.Conversation, u.isNew, mode
	c.Conversation.Started, c.Conversation.Messages, c.Conversation.Replies = u.conv.Started, u.conv.In, u.conv.Out
	c.Tenant.ID, c.Tenant.Name = t.ID, t.Name
	if c.Settings == nil {
		c.Settings = map[string]any{} // scripts need not ask whether there are any
	}
	return mustJSON(c)
}

// hours says whether the business is open, by the calendar of the team that
// gets what names none ("open" without a calendar), and what time it is there.
func (t *tenant) hours(now time.Time) (state string, local time.Time) {
	calendar := t.Plan.Calendar(t.Team)
	zone := calendar.Zone()
	if zone == nil {
		zone = t.Policy.Zone
	}
	if zone != nil {
		now = now.In(zone)
	}
	if calendar.Open(now) {
		return "open", now
	}
	return "closed", now
}
