package broker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// dossier is all that is stored of a contact.
func (b *bridge) dossier(id string) string {
	b.Helper()
	v, err := b.store.Get(context.Background(), contactKey("acme", id))
	if err != nil {
		b.Fatal(err)
	}
	talks, err := b.tenants["acme"].conversationsOf(context.Background(), id)
	if err != nil {
		b.Fatal(err)
	}
	return string(mustJSON(dossier{personOf(v[0]), talks}))
}

func (b *bridge) merge(keep, with string) MergeReport {
	b.Helper()
	rep, err := b.MergeContacts(context.Background(), MergeRequest{Tenant: "acme", Contact: keep, With: with, By: "ana", Reason: "one voice"})
	if err != nil || !rep.Done {
		b.Fatalf("merge: %+v, %v", rep, err)
	}
	return rep
}

func (b *bridge) unmerge(id string) MergeReport {
	b.Helper()
	rep, err := b.UnmergeContact(context.Background(), UnmergeRequest{Tenant: "acme", Contact: id, By: "ana", Reason: "two people"})
	if err != nil || !rep.Done {
		b.Fatalf("unmerge: %+v, %v", rep, err)
	}
	synctest.Wait() // a clock that ran out meanwhile rings at once
	b.checkAliases()
	b.checkDesk()
	return rep
}

// checkDesk sees to it that the escalations of the conversations, the inbox, the
// stored list and what members have are the same.
func (b *bridge) checkDesk() {
	b.Helper()
	ctx := context.Background()
	in := map[string]string{}
	var closed []string
	has := map[string]int{}
	entries, err := b.store.Range(ctx, "acme", bucketPeople, "", 10_000)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		id, n, ok := strings.Cut(e.Key, "/")
		if !ok {
			continue
		}
		c, _ := decode[conversation](e.Value)
		if c.Escalation == nil {
			for name := range c.Timers {
				if isOwn(name) {
					b.Errorf("%s has the timer %s and no escalation", e.Key, name)
				}
			}
			continue
		}
		if c.Escalation.ContactID != id || c.Escalation.Conversation != core.ConversationID(n, id) || !c.Escalation.Closed.IsZero() {
			b.Errorf("%s has %+v", e.Key, c.Escalation)
		}
		stored := *c.Escalation
		stored.State = stored.state()
		in[stored.ID] = string(mustJSON(stored))
		if a := stored.Assignee; a != nil {
			has[shareKey(stored.Team, a.ID)]++
		}
	}
	list := map[string]string{}
	if entries, err = b.store.Range(ctx, "acme", bucketEscalations, "", 10_000); err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		list[e.Key] = string(e.Value)
	}
	if entries, err = b.store.Range(ctx, "acme", bucketClosed, "", 10_000); err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		closed = append(closed, e.Key)
	}
	desk := map[string]string{}
	for _, e := range b.Escalations("acme") {
		desk[e.ID] = string(mustJSON(e))
		if slices.Contains(closed, e.ID) {
			b.Errorf("%s is open, and closed", e.ID)
		}
	}
	if fmt.Sprint(in) != fmt.Sprint(list) || fmt.Sprint(in) != fmt.Sprint(desk) {
		b.Errorf("the conversations have %v\nthe list %v\nthe inbox %v", in, list, desk)
	}
	d := b.tenants["acme"].desk
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, s := range d.shares {
		if s.Open != has[key] {
			b.Errorf("%s has %d, and %d in the inbox's list", key, has[key], s.Open)
		}
	}
}

// busy is a script that does something of everything: a tag and a field by the
// text, a timer, a hand-over.
func busy(e *core.Event) script.Decision {
	d := script.Decision{Version: "v1"}
	if e.Message == nil || e.Kind != core.KindMessageReceived {
		return d
	}
	for word := range strings.FieldsSeq(e.Message.Text) {
		name, arg, _ := strings.Cut(word, "=")
		switch name {
		case "tag":
			d.Actions = append(d.Actions, script.Action{Type: script.ActionTag, Tag: arg})
		case "untag":
			d.Actions = append(d.Actions, script.Action{Type: script.ActionUntag, Tag: arg})
		case "field":
			d.Actions = append(d.Actions, script.Action{Type: script.ActionSetField, Name: "f", Value: arg})
		case "timer":
			after, _ := time.ParseDuration(arg)
			d.Actions = append(d.Actions, script.Action{Type: script.ActionTimer, Name: "t", After: after})
		case "escalate":
			d.Actions = append(d.Actions, script.Action{Type: script.ActionEscalate, Topic: arg, Reason: e.ID})
		case "reply":
			d.Actions = append(d.Actions, script.Action{Type: script.ActionReply, Text: "hello"})
		}
	}
	return d
}

var (
	chen = who{"886912345678", "TW.1", ""}
	ruiz = who{"34600111222", "ES.1", ""}
)

func TestUnmerge_IsIdentity(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = busy
		b.desk(deskSettings())
		b.start()
		sleepUntil(monday)
		b.webhooks(chen.wrote("1", time.Now(), "tag=a field=a timer=2h escalate=complaint reply"),
			ruiz.wrote("2", time.Now(), "tag=b tag=a field=b timer=1h escalate=returns"),
			ruiz.wrote("3", time.Now(), "STOP"))
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		wasA, wasO := b.dossier(a), b.dossier(o)
		before := string(mustJSON(b.Escalations("acme")))
		rep := b.merge(a, o)
		b.checkDesk()
		b.checkAliases()
		e := b.only()
		if e.Topic != "complaint" || !strings.Contains(e.Note, "2") || e.ContactID != a {
			b.Errorf("of the two escalations %+v is left", e)
		}
		p := b.people()[0]
		if p.ID != a || !slices.Equal(p.Tags, []string{"a", "b"}) || p.Fields["f"] != "a" || p.Consent.Suppresses(consent.Outgoing{}) == "" {
			b.Errorf("together they are %+v", p)
		}
		if !strings.Contains(strings.Join(rep.Changes, "\n"), "two escalations are open") {
			b.Errorf("it was said: %q", rep.Changes)
		}
		settled(time.Second)
		n := len(b.crm.taken())
		b.unmerge(o)
		apart := func(of string) string { return `,"apart":["` + of + `"]` }
		if got := strings.Replace(b.dossier(a), apart(o), "", 1); got != wasA {
			b.Errorf("it is\n%s\nand was\n%s", got, wasA)
		}
		if got := strings.Replace(b.dossier(o), apart(a), "", 1); got != wasO {
			b.Errorf("it is\n%s\nand was\n%s", got, wasO)
		}
		if after := string(mustJSON(b.Escalations("acme"))); after != before {
			b.Errorf("the inbox is\n%s\nand was\n%s", after, before)
		}
		settled(time.Second)
		told := map[string]bool{}
		for _, tr := range b.crm.taken()[n:] {
			told[string(tr.event.Kind)+" "+tr.event.Contact.ID] = true
		}
		if !told["contact.changed "+a] || !told["contact.changed "+o] || !told["escalation.opened "+o] {
			b.Errorf("the CRM was told %v", told)
		}
	})
}

func TestUnmerge_WhatCameSinceStaysWithTheSurvivor(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = busy
		b.noSync = true
		b.start()
		b.webhooks(chen.wrote("1", time.Now(), "tag=a field=a timer=9h"), ruiz.wrote("2", time.Now(), "tag=b timer=1h"))
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		wasO := b.dossier(o)
		b.merge(a, o)
		renamed := who{"34600111222", "ES.1", "ES.ENT.9"}
		b.webhooks(ruiz.wrote("3", time.Now(), "tag=c untag=a"), renamed.wrote("4", time.Now(), "field=c"), chen.wrote("5", time.Now(), "reply"))
		rep := b.unmerge(o)
		b.wantPeople("bsuid:ES.1 parent:ES.ENT.9 phone:+34600111222", "bsuid:TW.1 phone:+886912345678")
		v, err := b.Contact(context.Background(), "acme", a)
		if err != nil || !slices.Equal(v.Tags, []string{"c"}) || v.Fields["f"] != "c" || v.Conversations[0].In != 4 || v.Conversations[0].Out != 1 ||
			v.Phone != "+886912345678" || len(v.Merges) != 0 || !slices.Equal(v.Conversations[0].Timers, []string{"t"}) {
			b.Errorf("the survivor is %+v, %v", v, err)
		}
		w, err := b.Contact(context.Background(), "acme", o)
		if err != nil || !slices.Equal(w.Tags, []string{"b"}) || w.Conversations[0].In != 1 || w.Phone != "+34600111222" || w.ParentBSUID != "ES.ENT.9" {
			b.Errorf("the other is %+v, %v; and was %s", w, err, wasO)
		}
		if said := strings.Join(rep.Changes, "\n"); !strings.Contains(said, "the 3 in and 1 out since the merge stay with "+a) {
			b.Errorf("it was said:\n%s", said)
		}
		story, err := b.Why(context.Background(), "acme", o)
		if err != nil || !strings.Contains(fmt.Sprint(story.Steps), "two people") || !strings.Contains(fmt.Sprint(story.Steps), "by ana") {
			b.Errorf("why: %+v, %v", story, err)
		}
		// Their messages go to whose they are, and WhatsApp cannot merge them.
		b.webhooks(ruiz.wrote("6", time.Now(), "tag=d"), who{"34600111222", "TW.1", ""}.wrote("7", time.Now(), "tag=e"), who{bsuid: "ES.1"}.wrote("8", time.Now(), "tag=f"))
		b.wantPeople("bsuid:ES.1 parent:ES.ENT.9", "bsuid:TW.1 phone:+34600111222 phone:+886912345678")
		if w, _ = b.Contact(context.Background(), "acme", o); !slices.Equal(w.Tags, []string{"b", "d", "f"}) {
			b.Errorf("the other has the tags %q", w.Tags)
		}
	})
}

func TestUnmerge_LeavesANumberToWhomItIsByNow(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(chen.wrote("1", hour(1), "a"), ruiz.wrote("2", hour(2), "b"))
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		b.merge(a, o)
		b.webhooks(who{"34600111222", "ES.7", ""}.wrote("3", hour(3), "c")) // somebody else has the number
		third := b.whoIs("ES.7")
		rep := b.unmerge(o)
		b.wantPeople("bsuid:ES.1", "bsuid:ES.7 phone:+34600111222", "bsuid:TW.1 phone:+886912345678")
		if said := strings.Join(rep.Changes, "\n"); !strings.Contains(said, "…22 is "+third+"'s by now") {
			b.Errorf("it was said:\n%s", said)
		}
	})
}

func TestUnmerge_RefusesWhatCannotBe(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(chen.wrote("1", hour(1), "a"), ruiz.wrote("2", hour(2), "b"), who{bsuid: "US.1"}.wrote("3", hour(3), "c"))
		a, o, u := b.whoIs("TW.1"), b.whoIs("ES.1"), b.whoIs("US.1")
		ctx := context.Background()
		b.merge(a, o)
		b.merge(u, a)
		wantHint := func(err error, code core.Code, hint string) {
			b.Helper()
			if e := core.AsError(err); err == nil || e.Code != code || !strings.Contains(e.Hint, hint) {
				b.Errorf("%v, hint %q, want the hint %q", err, core.AsError(err).Hint, hint)
			}
		}
		_, err := b.UnmergeContact(ctx, UnmergeRequest{Tenant: "acme", Contact: o, By: "ana", Reason: "r"})
		wantHint(err, core.CodeUndeliverable, "wabridge contact unmerge "+a)
		_, err = b.UnmergeContact(ctx, UnmergeRequest{Tenant: "acme", Contact: u, By: "ana", Reason: "r"})
		wantHint(err, core.CodeUndeliverable, "wabridge contact unmerge "+a)
		_, err = b.MergeContacts(ctx, MergeRequest{Tenant: "acme", Contact: o, With: u, By: "ana", Reason: "r"})
		wantHint(err, core.CodeUndeliverable, "wabridge contact unmerge "+o)
		_, err = b.MergeContacts(ctx, MergeRequest{Tenant: "acme", Contact: u, With: "TW.1", By: "ana", Reason: "r"})
		wantHint(err, core.CodeUndeliverable, "")
		for _, q := range []MergeRequest{{Contact: u, With: o}, {Contact: u, With: o, By: "ana"}, {Contact: u, With: o, By: "webhook", Reason: "r"}} {
			q.Tenant = "acme"
			_, err = b.MergeContacts(ctx, q)
			wantHint(err, core.CodeInvalid, "")
		}
		if _, err = b.UnmergeContact(ctx, UnmergeRequest{Tenant: "acme", Contact: "cnone", By: "ana", Reason: "r"}); !errors.Is(err, store.ErrNotFound) {
			b.Errorf("unmerged nobody: %v", err)
		}
		// In the right order it goes; a preview changes nothing.
		was := b.dossier(u)
		rep, err := b.UnmergeContact(ctx, UnmergeRequest{Tenant: "acme", Contact: a, By: "ana", Reason: "r", Preview: true})
		if err != nil || rep.Done || len(rep.Changes) == 0 || b.dossier(u) != was {
			b.Errorf("the preview: %+v, %v", rep, err)
		}
		b.unmerge(a)
		b.unmerge(o)
		b.wantPeople("bsuid:ES.1 phone:+34600111222", "bsuid:TW.1 phone:+886912345678", "bsuid:US.1")
	})
}

// A timer rings for whom it was set, whatever was merged and taken apart before.
func TestUnmerge_TimersGoHome(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.scripts = busy
		b.start()
		sleepUntil(monday)
		b.webhooks(chen.wrote("1", time.Now(), "timer=3h"), ruiz.wrote("2", time.Now(), "timer=2h"))
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		b.merge(a, o)
		settled(time.Hour)
		b.unmerge(o)
		settled(4 * time.Hour)
		if got, want := b.rang("1"), "3h0m0s "+core.ConversationID(number, a); got != want {
			b.Errorf("rang %q, want %q", got, want)
		}
		if got, want := b.rang("2"), "2h0m0s "+core.ConversationID(number, o); got != want {
			b.Errorf("rang %q, want %q", got, want)
		}
	})
}

// rang says when, since monday, and where the timers rang that an event set.
func (b *bridge) rang(event string) string {
	b.Helper()
	story, err := b.Why(context.Background(), "acme", event)
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, s := range story.Steps {
		if slices.Contains(s.Notes, "the timer t is due") {
			out = append(out, fmt.Sprint(s.Time.Sub(monday).Round(time.Minute), " ", s.Conversation))
		}
	}
	return strings.Join(out, ", ")
}

// An escalation is somebody's as long as it is open, and nobody's clock stops.
func TestUnmerge_EscalationsGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		texts [2]string
		since func(b *bridge, a, o string)
		want  map[string]string // by whose they are: the team
	}{
		"the other's moved up meanwhile": {[2]string{"hi", "escalate=returns"}, func(*bridge, string, string) { settled(15 * time.Minute) },
			map[string]string{"o": "boss"}},
		"both moved up meanwhile": {[2]string{"escalate=returns", "escalate=complaint"}, func(*bridge, string, string) { settled(15 * time.Minute) },
			map[string]string{"a": "boss", "o": "boss"}},
		"the one that was kept is closed": {[2]string{"escalate=returns", "escalate=complaint"}, func(b *bridge, _, _ string) {
			if _, err := b.CloseEscalation(context.Background(), "acme", b.only().ID, "ana", ""); err != nil {
				b.Error(err)
			}
		}, map[string]string{}},
		"one that was taken does not hide one that waits": {[2]string{"escalate=complaint", "escalate=returns"}, func(*bridge, string, string) {},
			map[string]string{"a": "desk", "o": "desk"}},
		"a new one is the survivor's": {[2]string{"hi", "escalate=complaint"}, func(b *bridge, _, _ string) {
			if _, err := b.CloseEscalation(context.Background(), "acme", b.only().ID, "ana", ""); err != nil {
				b.Error(err)
			}
			b.webhooks(ruiz.wrote("9", time.Now(), "escalate=returns"))
		}, map[string]string{"a": "desk"}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.scripts = busy
				s := deskSettings()
				b.desk(s)
				b.start()
				sleepUntil(monday)
				b.webhooks(chen.wrote("1", time.Now(), c.texts[0]), ruiz.wrote("2", time.Now(), c.texts[1]))
				a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
				if strings.HasPrefix(name, "one that was taken") {
					for _, e := range b.Escalations("acme") {
						if e.ContactID == a {
							if _, err := b.TakeEscalation(context.Background(), "acme", e.ID, "bo"); err != nil {
								b.Error(err)
							}
						}
					}
				}
				b.merge(a, o)
				b.checkDesk()
				if strings.HasPrefix(name, "one that was taken") && b.only().State != StateWaiting {
					b.Errorf("left is %+v", b.only())
				}
				c.since(b, a, o)
				b.checkDesk()
				b.unmerge(o)
				settled(time.Second)
				got := map[string]string{}
				for _, e := range b.Escalations("acme") {
					got[map[string]string{a: "a", o: "o"}[e.ContactID]] = e.Team
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					b.Errorf("open are %v, want %v", got, c.want)
				}
				b.checkDesk()
				// The clocks go on: in the end everything that waits is overdue.
				settled(3 * time.Hour)
				for _, e := range b.Escalations("acme") {
					if e.State == StateWaiting && !e.Overdue {
						b.Errorf("nobody's clock: %+v", e)
					}
				}
				b.checkDesk()
				b.stop()
				b.start()
				b.checkDesk()
			})
		})
	}
}

// What was led to the survivor and waits there for its turn, when the merge is
// undone, is the other's all the same.
func TestUnmerge_EventsOnTheirWayGoHome(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		hold := make(chan struct{})
		b.scripts = func(e *core.Event) script.Decision {
			if e.Message != nil && e.Message.Text == "slow" {
				<-hold
			}
			return busy(e)
		}
		b.start()
		b.webhooks(chen.wrote("1", time.Now(), "hi"), ruiz.wrote("2", time.Now(), "hi"))
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		b.merge(a, o)
		// The survivor is busy; two events of the other's wait for it, one of them
		// accepted as the other's.
		one := received("slow", "+886912345678", "slow")
		one.Contact.ID, one.Conversation = a, core.ConversationID(number, a)
		b.accept(one)
		settled(10 * time.Millisecond)
		late := received("late", "+34600111222", "tag=late")
		late.Contact.ID, late.Conversation = o, core.ConversationID(number, o)
		b.accept(late)
		settled(10 * time.Millisecond)
		done := make(chan error, 1)
		go func() {
			_, err := b.UnmergeContact(context.Background(), UnmergeRequest{Tenant: "acme", Contact: o, By: "ana", Reason: "r"})
			done <- err
		}()
		settled(10 * time.Millisecond)
		close(hold)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		settled(5 * time.Second)
		if v, err := b.Contact(context.Background(), "acme", o); err != nil || !slices.Equal(v.Tags, []string{"late"}) || v.Conversations[0].In != 2 {
			b.Errorf("the other is %+v, %v", v, err)
		}
		if n := b.depth(); n != 0 {
			b.Errorf("%d events wait", n)
		}
	})
}

// What waits to be sent to a contact that was merged since obeys what the
// survivor has said.
func TestLane_AsksTheSurvivorBeforeItSends(t *testing.T) {
	run(t, func(b *bridge) {
		var mu sync.Mutex
		var sent []string // with the lane at work
		b.wa.do = func(d core.Delivery) core.Result {
			if time.Since(monday) < time.Minute {
				return core.Result{Err: &core.Error{Code: core.CodeUnavailable, Message: "down", Scope: core.ScopeLane}}
			}
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, d.Event.Message.Text)
			return core.Result{Ref: "wamid.out"}
		}
		b.start()
		sleepUntil(monday)
		b.webhooks(ruiz.wrote("1", time.Now(), "hi"), chen.wrote("2", time.Now(), "hi"))
		a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
		_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "k", Message: core.Message{
			Type: core.TypeText, Text: "late", To: core.Address{Kind: core.AddressPhone, Value: ruiz.phoneNumber()}}})
		if err != nil {
			b.Fatal(err)
		}
		settled(10 * time.Second)
		b.webhooks(chen.wrote("3", time.Now(), "STOP"))
		b.merge(a, o)
		settled(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(sent) != 1 || sent[0] == "late" { // the answer to STOP
			b.Errorf("sent %q", sent)
		}
	})
}

func (w who) phoneNumber() string { return "+" + w.phone }

// Merges are taken back in any order, and none remembers who is gone from the
// survivor.
func TestUnmerge_InAnyOrder(t *testing.T) {
	for _, order := range []string{"the earlier first", "the later first"} {
		t.Run(order, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.scripts = busy
				b.desk(deskSettings())
				b.start()
				sleepUntil(monday)
				dora := who{bsuid: "US.1"}
				// Timers of one name are the one thing that depends on the order.
				b.webhooks(chen.wrote("1", time.Now(), "tag=a"), ruiz.wrote("2", time.Now(), "tag=b field=b timer=8h escalate=returns"),
					dora.wrote("3", time.Now(), "tag=c field=c escalate=complaint"))
				seen := regexp.MustCompile(`"seen":\[[^]]*]|"note":"2",`)
				now := func(id string) string { return seen.ReplaceAllString(withoutApart(b.dossier(id)), "") }
				ids := []string{b.whoIs("TW.1"), b.whoIs("ES.1"), b.whoIs("US.1")}
				var was []string
				for _, id := range ids {
					was = append(was, now(id))
				}
				b.merge(ids[0], ids[1])
				b.merge(ids[0], ids[2])
				if order == "the earlier first" {
					b.unmerge(ids[1])
					v, err := b.store.Get(context.Background(), mergeKey("acme", ids[2]))
					if err != nil || len(v[0]) == 0 || strings.Contains(string(v[0]), "ES.1") {
						b.Errorf("the later merge remembers %s", v[0])
					}
					b.unmerge(ids[2])
				} else {
					b.unmerge(ids[2])
					b.unmerge(ids[1])
				}
				for i, id := range ids {
					if is := now(id); is != was[i] {
						b.Errorf("it is\n%s\nand was\n%s", is, was[i])
					}
				}
			})
		})
	}
}
