package broker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// answering is a script that answers whatever it is asked about.
func answering(e *core.Event) script.Decision {
	return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Text: "answer to " + string(e.Kind)}}}
}

func amendment(id, phone, of string, kind core.Kind, text string) core.Event {
	e := received(id, phone, text)
	e.Kind, e.Source, e.Message.ID = kind, "whatsapp", of
	if kind == core.KindMessageRevoked {
		e.Message.Type, e.Message.Text = core.TypeRevoke, ""
	}
	return e
}

// crmHas is what the CRM has of a message: the latest that it was told under its id.
func (b *bridge) crmHas(message string) (texts []string) {
	for _, tr := range b.crm.taken() {
		if m := tr.event.Message; m != nil && m.ID == message {
			texts = append(texts, string(m.Type)+" "+m.Text)
		}
	}
	return texts
}

func TestAmended_TheCRMHasWhatAMessageIsNowAndNobodyAnswers(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = answering
		b.start()
		b.write("wamid.1", ana, "at six")
		b.accept(amendment("wamid.2", ana, "wamid.1", core.KindMessageEdited, "at seven"))
		settled(time.Second)
		b.accept(amendment("wamid.3", ana, "wamid.1", core.KindMessageRevoked, ""))
		settled(time.Second)
		b.wantSaid("answer to message.received")
		if got, want := b.crmHas("wamid.1"), []string{"text at six", "text at seven", "revoke "}; !slices.Equal(got, want) {
			t.Errorf("the CRM was told %q, want %q", got, want)
		}
		// The trace of the message tells what became of it, and keeps what it was.
		b.wantNotes("wamid.1", "the message wamid.1 was changed")
		b.wantNotes("wamid.1", "the message wamid.1 was taken back")
		story, err := b.Why(context.Background(), "acme", "wamid.1")
		if err != nil || !slices.ContainsFunc(story.Steps, func(s Step) bool {
			return s.Recorded != nil && strings.Contains(string(s.Recorded.Event), "at six")
		}) {
			t.Errorf("what it was before is not in the trace: %v", err)
		}
	})
}

func TestAmended_TheOwnerMayKeepTheTextAndHaveTheScriptAsked(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{KeepRevoked: true, Reads: []Reading{ReadEdits, ReadRevokes, ReadReactions}})
		b.scripts = answering
		b.start()
		b.write("wamid.1", ana, "at six")
		b.accept(amendment("wamid.2", ana, "wamid.1", core.KindMessageRevoked, ""))
		settled(time.Second)
		b.accept(amendment("wamid.3", ana, "wamid.1", core.KindMessageEdited, "at eight"))
		settled(time.Second)
		if got, want := b.crmHas("wamid.1"), []string{"text at six", "text at eight"}; !slices.Equal(got, want) {
			t.Errorf("the CRM was told %q, want %q", got, want)
		}
		b.wantNotes("wamid.2", "CRMs keep its text (policy.keep_revoked)")
		r := received("wamid.4", ana, "")
		r.Message.Type, r.Message.Reaction = core.TypeReaction, &core.Reaction{MessageID: "wamid.1", Emoji: "👍"}
		b.accept(r)
		settled(time.Second)
		b.wantSaid("answer to message.received", "answer to message.revoked", "answer to message.edited", "answer to message.received")
	})
}

func TestHeard_ReactionsAreLoggedAndNotAnswered(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = answering
		b.start()
		for _, emoji := range []string{"👍", ""} { // and taken back
			r := received("wamid.r"+emoji, ana, "")
			r.Message.Type, r.Message.Reaction = core.TypeReaction, &core.Reaction{MessageID: "wamid.1", Emoji: emoji}
			b.accept(r)
			settled(time.Second)
		}
		b.wantSaid()
		if n := len(b.crm.taken()); n != 2 {
			t.Errorf("the CRM got %d events, want 2", n)
		}
		b.wantNotes("wamid.r", "a reaction: the script is not asked (policy.reads)")
	})
}

// inGroup is a message in a group.
func inGroup(id, phone, text string) core.Event {
	e := received(id, phone, text)
	e.Source, e.Group = "whatsapp", "Z3JvdXA"
	return e
}

func TestHeard_AGroupIsAConversationOfItsOwn(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = answering
		b.start()
		b.accept(inGroup("wamid.g1", ana, "STOP"), inGroup("wamid.g2", berto, "complaint"))
		settled(time.Second)
		b.wantSaid()
		view, err := b.Contact(context.Background(), "acme", ana)
		if err != nil {
			t.Fatal(err)
		}
		if len(view.Conversations) != 0 || len(view.Consent.Suppressed) != 0 {
			t.Errorf("what was written in a group counts for the person: %+v, %+v", view.Conversations, view.Consent)
		}
		for _, tr := range b.crm.taken() {
			if tr.event.Conversation != core.GroupConversationID(number, "Z3JvdXA") || tr.event.Group == "" {
				t.Errorf("%s is in %s", tr.event.ID, tr.event.Conversation)
			}
		}
		if n := len(b.crm.taken()); n != 2 {
			t.Errorf("the CRM got %d events, want 2", n)
		}
		// The window to the person is closed as before: free text is refused.
		b.order("k1", berto, "hello")
		b.write("wamid.1", ana, "hello")
		b.accept(inGroup("wamid.g3", ana, "later"))
		settled(25 * time.Hour)
		b.accept(inGroup("wamid.g4", ana, "a day later"))
		settled(time.Second)
		id := b.order("k2", ana, "free text")
		settled(time.Second)
		b.wantNotes(id, "the 24-hour window closed")
	})
}

func TestHeard_EachParticipantsStatusIsHarmless(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		for _, who := range []string{ana, berto} {
			for _, v := range []core.StatusValue{core.StatusDelivered, core.StatusRead} {
				b.accept(core.Event{
					ID: "wamid.G/" + string(v) + "/" + who, Kind: core.KindMessageStatus, Number: number, Time: time.Now(), Group: "Z3JvdXA",
					Source: "whatsapp", Contact: &core.Contact{Phone: who}, Status: &core.Status{MessageID: "wamid.G", Value: v},
				})
			}
		}
		settled(time.Minute)
		if n := len(b.dead()); n != 0 || b.depth() != 0 {
			t.Errorf("%d dead letters, %d waiting", n, b.depth())
		}
		var got []string
		for _, tr := range b.crm.taken() {
			got = append(got, string(tr.event.Status.Value)+" in "+tr.event.Conversation)
		}
		want := []string{"delivered in " + core.GroupConversationID(number, "Z3JvdXA"), "read in " + core.GroupConversationID(number, "Z3JvdXA")}
		if !slices.Equal(got, want) { // each step once, whoever took it first
			t.Errorf("the CRM was told %q, want %q", got, want)
		}
	})
}

func TestHeard_WhatWasWrittenBeforeIsForTheRecord(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = answering
		b.start()
		e := received("wamid.h1", ana, "STOP")
		e.Source, e.Time = whatsapp.SourceHistory, time.Now().Add(-time.Hour)
		ours := received("wamid.h2", ana, "we are open")
		ours.Kind, ours.Source, ours.Author, ours.Message.Direction = core.KindMessageSent, whatsapp.SourceHistory, core.AuthorHuman, core.Outbound
		b.accept(e, ours)
		settled(time.Second)
		b.wantSaid()
		view, err := b.Contact(context.Background(), "acme", ana)
		if err != nil || len(view.Conversations) != 0 || len(view.Consent.Suppressed) != 0 || len(b.crm.taken()) != 2 {
			t.Errorf("%+v, %v, %d events at the CRM", view, err, len(b.crm.taken()))
		}
	})
}

func TestThread_TheBotKeepsSilentWhileAnotherAppAnswers(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.scripts = answering
		b.start()
		standby := func(id, text string) {
			e := received(id, ana, text)
			e.Source, e.Standby = "whatsapp", true
			b.accept(e)
			settled(time.Second)
		}
		standby("wamid.s1", "are you a machine?")
		b.accept(core.Event{
			ID: "wamid.s2", Kind: core.KindMessageSent, Number: number, Time: time.Now(), Source: whatsapp.SourceStandby, Standby: true,
			Contact: &core.Contact{Phone: ana}, Message: &core.Message{ID: "wamid.s2", Direction: core.Outbound, Type: core.TypeText, Text: "I am an assistant."},
		})
		standby("wamid.s3", "STOP") // counts, and is not answered
		b.wantSaid()
		b.wantNotes("wamid.s1", standsBy)
		b.wantNotes("wamid.s3", "reply refused: "+standsBy)
		if got := b.crmHas("wamid.s2"); !slices.Equal(got, []string{"text I am an assistant."}) || len(b.crmHas("wamid.s1")) != 1 {
			t.Errorf("the CRM was told %q of what the other app said", got)
		}
		view, err := b.Contact(context.Background(), "acme", ana)
		if err != nil || len(view.Consent.Suppressed) == 0 {
			t.Errorf("STOP to another app does not count: %+v, %v", view.Consent, err)
		}
		standby("wamid.s4", "START")
		b.accept(core.Event{
			ID: "wh-1", Kind: core.KindThreadMoved, Number: number, Time: time.Now(), Source: "whatsapp", Contact: &core.Contact{Phone: ana},
		})
		settled(time.Second)
		b.wantNotes("wh-1", "the conversation is ours again")
		b.write("wamid.1", ana, "a person, please?")
		b.wantSaid("answer to message.received")
	})
}

func TestThread_AMessageOfAPersonsTakesItBackAndATemplateDoesNot(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		e := received("wamid.s1", ana, "hello")
		e.Source, e.Standby = "whatsapp", true
		b.accept(e)
		settled(time.Second)
		id := b.order("k1", ana, "template info")
		settled(time.Second)
		if strings.Contains(b.trace(id), "takes the conversation") {
			t.Error("a template takes the conversation")
		}
		id = b.order("k2", ana, "I take over", func(r *SendRequest) { r.Author = core.AuthorHuman })
		settled(time.Second)
		b.wantNotes(id, "the message takes the conversation from the other app")
		b.wantSaid("info", "I take over")
		// What was told late of the time before does not give it away again.
		old := received("wamid.s2", ana, "still there?")
		old.Source, old.Standby, old.Time = "whatsapp", true, time.Now().Add(-2*time.Second)
		b.accept(old)
		settled(time.Second)
		id = b.order("k3", ana, "here I am")
		settled(time.Second)
		if notes := b.trace(id); strings.Contains(notes, "takes the conversation") {
			t.Errorf("the conversation was given away: %s", notes)
		}
	})
}
