package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// monday is a working day, ten in the morning, in synctest's year.
var monday = time.Date(2000, 1, 3, 10, 0, 0, 0, time.UTC)

func deskSettings() escalation.Settings {
	return escalation.Settings{
		Team: "desk",
		Teams: []escalation.Team{
			{ID: "desk", Deadline: 10 * time.Minute, Next: "boss", Members: []escalation.Member{{ID: "ana", CRMOwner: "77"}, {ID: "bo"}}},
			{ID: "boss", Deadline: time.Hour, Targets: []string{escalation.Inbox, "pager"}},
		},
		Rules:   []escalation.Rule{{Topic: escalation.TopicComplaint, Keywords: []string{"lawyer"}}, {Keywords: []string{"invoice"}, Priority: escalation.Low}},
		Targets: []string{"pager"},
	}
}

// desk gives the bridge teams, and a pager to watch.
func (b *bridge) desk(s escalation.Settings) *sink {
	b.Helper()
	pager := &sink{}
	b.noSync = true
	b.change = func(o *Options) {
		p, problems := escalation.NewPlan(s)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		o.Tenants[0].Plan, o.Tenants[0].HumanFor = p, 3*time.Hour
		o.Tenants[0].Targets = []Target{{Name: "pager", Kind: "webhook", Sink: pager}}
	}
	return pager
}

// escalates is a script that hands over what it is told, by topic.
func escalates(e *core.Event) script.Decision {
	return script.Decision{Version: "v1", Actions: []script.Action{{Type: script.ActionEscalate, Topic: e.Message.Text, Reason: "because"}}}
}

// only returns the one escalation that is open.
func (b *bridge) only() Escalation {
	b.Helper()
	all := b.Escalations("acme")
	if len(all) != 1 {
		b.Fatalf("%d escalations are open, want one", len(all))
	}
	return all[0]
}

func (b *bridge) ofKind(s *sink, k core.Kind) []*core.Event {
	var out []*core.Event
	for _, t := range s.taken() {
		if t.event.Kind == k {
			out = append(out, t.event)
		}
	}
	return out
}

func TestEscalation_IsInTheInboxAtOnce(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = escalates
		b.desk(deskSettings())
		b.start()
		sleepUntil(monday)
		b.accept(received("wamid.1", "+14155550100", "complaint"))
		settled(time.Second)
		e := b.only()
		if e.Team != "desk" || e.Priority != escalation.High || e.State != StateWaiting || e.Assignee.ID != "ana" || e.HandedTo != escalation.Inbox ||
			!e.Deadline.Equal(e.Opened.Add(5*time.Minute)) || e.ContactName != "Ana" || e.HandOverMS > 1000 {
			t.Errorf("got %+v", e)
		}
		opened := b.ofKind(b.crm, core.KindEscalation)
		if len(opened) != 1 || opened[0].Escalation.Assignee.CRMOwner != "77" || !opened[0].Escalation.Deadline.Equal(e.Deadline) || opened[0].Escalation.ID != e.ID {
			t.Errorf("the CRM got %+v", opened)
		}
		story, err := b.Why(context.Background(), "", "wamid.1")
		if err != nil || !strings.Contains(fmt.Sprint(story), "handed over to desk by inbox") {
			t.Errorf("why: %v, %+v", err, story)
		}
	})
}

func TestEscalation_IsOneAtATime(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = escalates
		b.desk(deskSettings())
		b.start()
		sleepUntil(monday)
		b.accept(received("wamid.1", "+14155550100", "returns"))
		settled(time.Minute)
		first := b.only()
		b.accept(received("wamid.2", "+14155550100", "returns"))
		settled(time.Second)
		if got := b.ofKind(b.crm, core.KindEscalationMoved); len(got) != 0 {
			t.Errorf("the same again moved it: %+v", got[0].Escalation)
		}
		b.accept(received("wamid.3", "+14155550100", "complaint"))
		settled(time.Second)
		e := b.only()
		if e.ID != first.ID || e.Priority != escalation.High || !e.Deadline.Before(first.Deadline) {
			t.Errorf("got %+v\nfirst %+v", e, first)
		}
		if got := b.ofKind(b.crm, core.KindEscalationMoved); len(got) != 1 || got[0].Escalation.Priority != escalation.High {
			t.Errorf("the CRM was not told of the higher priority: %+v", got)
		}
		if got := b.ofKind(b.crm, core.KindEscalation); len(got) != 1 {
			t.Errorf("%d were opened", len(got))
		}
	})
}

func TestEscalation_ByKeywordNeedsNoScript(t *testing.T) {
	run(t, func(b *bridge) {
		b.desk(deskSettings())
		b.start()
		b.accept(received("wamid.1", "+14155550100", "about my Invoice"), received("wamid.2", "+14155550101", "my lawyer says: invoice!"))
		settled(time.Second)
		topics := map[string]string{}
		for _, e := range b.Escalations("") {
			topics[e.Topic] = e.Reason
		}
		if len(topics) != 2 || topics["keyword"] != `the message has "invoice"` || topics["complaint"] != `the message has "lawyer"` {
			t.Errorf("got %q", topics)
		}
	})
}

func TestEscalation_UnansweredGoesUpAndThenIsAnAlarm(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = escalates
		pager := b.desk(deskSettings())
		b.start()
		sleepUntil(monday)
		b.accept(received("wamid.1", "+14155550100", "returns"))
		settled(10*time.Minute - time.Second)
		if e := b.only(); e.Level != 0 || len(pager.taken()) != 0 {
			t.Fatalf("too early: %+v", e)
		}
		settled(2 * time.Second)
		if e := b.only(); e.Level != 1 || e.Team != "boss" || e.Assignee != nil || e.Overdue {
			t.Fatalf("got %+v", e)
		}
		b.wantKinds(pager.kinds(), "escalation.moved wamid.1#2#1")
		// A kill in between: the second level's clock goes on.
		b.stop()
		b.start()
		settled(time.Hour)
		e := b.only()
		if e.Level != 1 || !e.Overdue {
			t.Errorf("nobody answered anywhere: %+v", e)
		}
		if got := b.ofKind(pager, core.KindEscalationMoved); len(got) != 2 || !got[1].Escalation.Overdue {
			t.Errorf("the last level was not told: %v", pager.kinds())
		}
		settled(3 * time.Hour)
		if got := b.ofKind(pager, core.KindEscalationMoved); len(got) != 2 {
			t.Errorf("it goes on and on: %v", pager.kinds())
		}
	})
}

func TestEscalation_APersonsWordStopsTheClock(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = escalates
		pager := b.desk(deskSettings())
		b.start()
		sleepUntil(monday)
		b.accept(received("wamid.1", "+14155550100", "returns"))
		settled(9 * time.Minute)
		c := b.only().ContactID
		b.inTurn("human", c, func(t *tenant, u *turn) { t.humanWrote(u) })
		settled(2 * time.Hour)
		e := b.only()
		if e.State != StateAnswered || e.Level != 0 || len(pager.taken()) != 0 || e.AnswerMS < 9*60*1000 || e.AnswerMS > 9*60*1000+1000 {
			t.Errorf("got %+v", e)
		}
		// When the time is up the bot has the conversation again, and nobody waits.
		settled(2 * time.Hour)
		if got := b.Escalations(""); len(got) != 0 {
			t.Errorf("still open: %+v", got)
		}
		closed, err := b.Escalation(context.Background(), "acme", e.ID)
		if err != nil || closed.State != StateClosed || closed.Outcome != outcomeExpired {
			t.Errorf("got %+v, %v", closed, err)
		}
	})
}

// Whichever way a person's message takes, it stops the clock, and nobody is called
// out for what was answered.
func TestEscalation_AnyAnswerOfAPersonStopsTheClock(t *testing.T) {
	const ana = "+14155550100"
	answers := map[string]func(b *bridge){
		"the API": func(b *bridge) {
			b.order("k1", ana, "on my way", func(r *SendRequest) { r.Author, r.By = core.AuthorHuman, "maria" })
		},
		"a CRM": func(b *bridge) {
			l := b.tenants["acme"].crm[0]
			err := l.tell(context.Background(), []core.Event{{
				ID: "note-1", Kind: core.KindMessageSend, Author: core.AuthorHuman, By: "maria",
				Message: &core.Message{Type: core.TypeText, Text: "on my way", To: to(ana)},
			}}, store.Settlement{})
			if err != nil {
				b.Error(err)
			}
		},
		"the phone": func(b *bridge) {
			b.accept(core.Event{
				ID: "wamid.echo", Kind: core.KindMessageSent, Number: number, Time: time.Now(), Source: "phone", Author: core.AuthorHuman,
				Contact: &core.Contact{Phone: ana},
				Message: &core.Message{ID: "wamid.echo", Direction: core.Outbound, Type: core.TypeText, Text: "on my way", To: to(ana)},
			})
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.scripts = escalates
				pager := b.desk(deskSettings())
				b.start()
				sleepUntil(monday)
				b.accept(received("wamid.1", ana, "returns"))
				settled(9 * time.Minute)
				answer(b)
				settled(2 * time.Hour)
				if e := b.only(); e.State != StateAnswered || e.Level != 0 || len(pager.taken()) != 0 {
					t.Errorf("got %+v, the next level got %v", e, pager.kinds())
				}
				moved := b.ofKind(b.crm, core.KindEscalationMoved)
				if len(moved) != 1 || moved[0].Escalation.Answered.IsZero() {
					t.Errorf("the CRM was told %+v", moved)
				}
			})
		})
	}
}

// Who was called out hears how it goes on, also when others have it.
func TestEscalation_IsToldToTheEndToAllWhoWereTold(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = escalates
		s := deskSettings()
		s.Teams[0].Targets = []string{escalation.Inbox, "pager"}
		s.Teams[1].Targets = []string{escalation.Inbox}
		pager := b.desk(s)
		b.start()
		sleepUntil(monday)
		b.accept(received("wamid.1", "+14155550100", "returns"))
		settled(20 * time.Minute) // the next level has it
		b.inTurn("human", b.only().ContactID, func(t *tenant, u *turn) { t.humanWrote(u) })
		settled(time.Minute)
		if _, err := b.CloseEscalation(context.Background(), "", b.only().ID, "bo", ""); err != nil {
			t.Fatal(err)
		}
		settled(time.Second)
		var got []core.Kind
		for _, try := range pager.taken() {
			got = append(got, try.event.Kind)
		}
		want := []core.Kind{core.KindEscalation, core.KindEscalationMoved, core.KindEscalationMoved, core.KindEscalationClosed}
		if !slices.Equal(got, want) {
			t.Errorf("the first level's target got %v, want %v", got, want)
		}
	})
}

func TestEscalation_IsTakenAndClosedByPeople(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = escalates
		pager := b.desk(deskSettings())
		b.start()
		sleepUntil(monday)
		b.accept(received("wamid.1", "+14155550100", "returns"))
		settled(time.Second)
		id := b.only().ID
		ctx := context.Background()
		e, err := b.TakeEscalation(ctx, "", id, "bo")
		if err != nil || e.State != StateTaken || e.Assignee.ID != "bo" {
			t.Errorf("got %+v, %v", e, err)
		}
		settled(2 * time.Hour)
		if len(pager.taken()) != 0 {
			t.Errorf("it went up although it was taken: %v", pager.kinds())
		}
		e, err = b.CloseEscalation(ctx, "acme", id, "bo", "called back")
		if err != nil || e.State != StateClosed || e.Outcome != outcomeClosed || e.By != "bo" || e.Note != "called back" {
			t.Errorf("got %+v, %v", e, err)
		}
		settled(time.Second)
		if got := b.ofKind(b.crm, core.KindEscalationClosed); len(got) != 1 || got[0].Escalation.Outcome != outcomeClosed || core.RootID(got[0].ID) != "wamid.1" {
			t.Errorf("the CRM got %+v", got)
		}
		if _, err := b.ReleaseEscalation(ctx, "", id, "bo", ""); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("closed twice: %v", err)
		}
		if _, err := b.CloseEscalation(ctx, "", "e1", "bo", ""); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		// The bot has it again, and may hand it over again.
		b.scripts = reply("hello")
		b.accept(received("wamid.2", "+14155550100", "returns"))
		settled(time.Second)
		if n := b.only(); n.ID == id {
			t.Error("the closed one is open")
		}
	})
}

func TestEscalation_ReleasedLetsTheBotSpeak(t *testing.T) {
	run(t, func(b *bridge) {
		b.desk(deskSettings())
		b.scripts = func(e *core.Event) script.Decision {
			if e.Message.Text == "help" {
				return escalates(e)
			}
			return reply("hello")(e)
		}
		b.start()
		b.accept(received("wamid.1", "+14155550100", "help"))
		settled(time.Second)
		b.accept(received("wamid.2", "+14155550100", "hi"))
		settled(time.Second)
		if n := len(b.wa.taken()); n != 0 {
			t.Fatalf("the bot spoke %d times over a person", n)
		}
		if _, err := b.ReleaseEscalation(context.Background(), "", b.only().ID, "ana", ""); err != nil {
			t.Fatal(err)
		}
		b.accept(received("wamid.3", "+14155550100", "hi"))
		settled(time.Second)
		if n := len(b.wa.taken()); n != 1 {
			t.Errorf("the bot spoke %d times after it was released", n)
		}
	})
}

func TestEscalation_OutsideHoursSaysSoOnceAndWaitsForTheOpening(t *testing.T) {
	run(t, func(b *bridge) {
		s := deskSettings()
		s.Calendars = []escalation.CalendarSettings{{ID: "office", Zone: "UTC", Hours: []string{"mon-fri 09:00-17:00"}, Message: "We are back at nine.",
			Messages: map[string]string{"es": "Volvemos a las nueve."}}}
		s.Teams[0].Calendar = "office"
		b.scripts = escalates
		b.desk(s)
		b.start()
		sleepUntil(monday.Add(10 * time.Hour)) // eight in the evening
		b.accept(received("wamid.1", "+14155550100", "returns"))
		b.accept(received("wamid.2", "+14155550100", "returns"))
		settled(time.Second)
		if got := b.wa.taken(); len(got) != 1 || got[0].event.Message.Text != "We are back at nine." {
			t.Errorf("said %+v", b.wa.kinds())
		}
		if e, want := b.only(), monday.Add(23*time.Hour+10*time.Minute); !e.Deadline.Equal(want) {
			t.Errorf("due %s, want %s", e.Deadline, want)
		}
		b.accept(received("wamid.3", "+14155550111", "Hola, quiero devolver mi pedido: returns"))
		settled(time.Second)
		if got := b.said(); got[len(got)-1] != "Volvemos a las nueve." {
			t.Errorf("said %q to who writes in Spanish", got)
		}
	})
}

func TestEscalation_WithoutTheInboxIsHandedOverByATarget(t *testing.T) {
	run(t, func(b *bridge) {
		s := deskSettings()
		s.Teams[0].Targets = []string{"pager"}
		b.scripts = escalates
		pager := b.desk(s)
		b.start()
		b.accept(received("wamid.1", "+14155550100", "returns"))
		settled(5 * time.Second)
		if e := b.only(); e.HandedTo != "pager" || e.Level != 0 {
			t.Errorf("got %+v", e)
		}
		// The pager is down: within 20 s the next level has it, whose inbox is ours.
		pager.do = func(core.Delivery) core.Result {
			return core.Result{Err: core.Errorf(core.CodeUnavailable, "pager", "down")}
		}
		b.accept(received("wamid.2", "+14155550101", "returns"))
		settled(20*time.Second - time.Millisecond)
		if e := b.second(); !e.Handed.IsZero() || e.Level != 0 {
			t.Errorf("too early: %+v", e)
		}
		settled(2 * time.Millisecond)
		settled(time.Second)
		if e := b.second(); e.HandedTo != escalation.Inbox || e.Team != "boss" || e.HandOverMS < 20_000 || e.HandOverMS > 20_100 {
			t.Errorf("got %+v", e)
		}
	})
}

// second returns the escalation that was opened last.
func (b *bridge) second() Escalation {
	b.Helper()
	all := b.Escalations("acme")
	slices.SortFunc(all, func(a, b Escalation) int { return strings.Compare(a.ID, b.ID) })
	if len(all) != 2 {
		b.Fatalf("%d are open, want two", len(all))
	}
	return all[1]
}

func TestEscalation_ADeadTargetDoesNotDelayOthers(t *testing.T) {
	run(t, func(b *bridge) {
		s := deskSettings()
		s.Teams[0].Targets = []string{"pager", escalation.Inbox}
		b.scripts = escalates
		pager := b.desk(s)
		block := make(chan struct{})
		pager.do = func(core.Delivery) core.Result { <-block; return core.Result{} }
		b.start()
		for i := range 20 {
			b.accept(received(fmt.Sprintf("wamid.%d", i), fmt.Sprintf("+141555501%02d", i), "complaint"))
		}
		settled(time.Second)
		for _, e := range b.Escalations("") {
			if e.HandOverMS > 100 || e.HandedTo != escalation.Inbox {
				t.Errorf("%s was handed over by %s after %v ms", e.ID, e.HandedTo, e.HandOverMS)
			}
		}
		if got := b.ofKind(b.crm, core.KindEscalation); len(got) != 20 {
			t.Errorf("the CRM has %d", len(got))
		}
		close(block)
	})
}

func TestEscalation_IsSharedFairlyAcrossRestarts(t *testing.T) {
	run(t, func(b *bridge) {
		s := deskSettings()
		s.Teams[0].Members = append(s.Teams[0].Members, escalation.Member{ID: "cy"})
		b.scripts = escalates
		b.desk(s)
		for i := range 4 {
			b.start()
			for j := range 5 {
				b.accept(received(fmt.Sprintf("wamid.%d.%d", i, j), fmt.Sprintf("+1415555%02d%02d", i, j), "returns"))
			}
			settled(time.Second)
			b.stop()
		}
		b.start()
		got := map[string]int{}
		for _, e := range b.Escalations("") {
			got[e.Assignee.ID]++
		}
		if got["ana"] < 6 || got["bo"] < 6 || got["cy"] < 6 || len(got) != 3 {
			t.Errorf("20 were shared as %v", got)
		}
	})
}

func TestEscalation_TheScriptsRouteStaysWithinTheTeams(t *testing.T) {
	run(t, func(b *bridge) {
		b.desk(deskSettings())
		b.scripts = func(*core.Event) script.Decision {
			return script.Decision{Version: "v1", Actions: []script.Action{{Type: script.ActionEscalate, Reason: "r", Team: "nobody"}}}
		}
		b.start()
		b.accept(received("wamid.1", "+14155550100", "x"))
		settled(time.Second)
		if e := b.only(); e.Team != "desk" {
			t.Errorf("it went to %s", e.Team)
		}
		story, err := b.Why(context.Background(), "", "wamid.1")
		if err != nil || !strings.Contains(fmt.Sprint(story), `there is no team "nobody": the hand-over goes to desk`) {
			t.Errorf("why: %v, %+v", err, story)
		}
	})
}
