package broker

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// fileHas returns the files of the data folder that hold a text.
func (b *bridge) fileHas(text string) []string {
	b.Helper()
	var out []string
	err := filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			out = append(out, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// detailsOf are what deletes the details of a contact's consent.
func (b *bridge) detailsOf(contact string) (puts []store.Put) {
	b.Helper()
	err := eachOf(context.Background(), b.store, "acme", bucketConsent, contact, func(e store.Entry) {
		puts = append(puts, store.Put{Key: store.Key{Tenant: "acme", Bucket: bucketConsent, Key: e.Key}})
	})
	if err != nil {
		b.Fatal(err)
	}
	return puts
}

func (b *bridge) erase(who string) Erasure {
	b.Helper()
	e, err := b.EraseContact(context.Background(), EraseRequest{Tenant: "acme", Contact: who, Reason: "asked for it", By: "maria"})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// chatty is a bridge on which everything that is kept of a person is.
func chatty(b *bridge) {
	b.withPolicy(Policy{})
	b.scripts = func(e *core.Event) script.Decision {
		if e.Message == nil || !strings.Contains(e.Message.Text, "my secret") {
			return script.Decision{Version: "v1"}
		}
		return script.Decision{Version: "v1", Actions: []script.Action{
			{Type: script.ActionReply, Text: "you wrote " + e.Message.Text}, {Type: script.ActionSetField, Name: "street", Value: "Elm Street"},
			{Type: script.ActionEscalate, Reason: "they wrote " + e.Message.Text},
		}}
	}
}

// gone are texts that must not be left of the person in these tests.
var gone = []string{"14155550100", "my secret", "Elm Street", "US.13491208655302741918", "wamid.a1"}

func TestErase_LeavesNothingOfThePersonInAnyFile(t *testing.T) {
	run(t, func(b *bridge) {
		chatty(b)
		b.start()
		const bsuid = "US.13491208655302741918"
		b.write("wamid.a1", ana, "my secret order")
		only := received("wamid.a2", "", "my secret, too")
		only.Contact.BSUID = bsuid
		b.accept(only)
		settled(2 * time.Second)
		both := received("wamid.a3", ana, "my secret: both are me") // a merge
		both.Contact.BSUID, both.Source = bsuid, sourceWhatsApp
		b.accept(both)
		b.write("wamid.b1", berto, "berto speaks")
		b.crm.do = func(core.Delivery) core.Result {
			return core.Result{Err: core.Errorf(core.CodeInvalid, "write", "no")}
		}
		b.write("wamid.a4", ana, "my secret dead letter")
		b.write("wamid.b2", berto, "berto's dead letter")
		b.write("wamid.a5", ana, "STOP")
		b.crm.do = func(core.Delivery) core.Result { return core.Result{Ref: "crm-77"} }
		b.write("wamid.a6", ana, "my secret last word")
		for _, text := range gone {
			if text != "wamid.a1" && b.fileHas(text) == nil {
				t.Fatalf("%q was never there", text)
			}
		}
		before, err := b.EraseContact(context.Background(), EraseRequest{Tenant: "acme", Contact: ana, Preview: true})
		if err != nil || before.Held.Contacts != 2 || before.Held.Merges != 1 || before.Held.DeadLetters == 0 || before.Held.Records == 0 || before.ID != "" {
			t.Fatalf("the preview: %+v, %v", before, err)
		}
		b.crm.tries = nil
		e := b.erase(ana)
		if e.State != ErasureDone || len(e.Waiting) > 0 {
			t.Fatalf("%+v", e)
		}
		if e.Held.Contacts != 2 || e.Held.Conversations != 1 || e.Held.DeadLetters != before.Held.DeadLetters || e.Held.Consents == 0 || e.Held.Escalations == 0 {
			t.Errorf("it held %+v, the preview %+v", e.Held, before.Held)
		}
		for _, text := range gone {
			if left := b.fileHas(text); left != nil {
				t.Errorf("%q is still in %v", text, left)
			}
		}
		settled(10 * time.Second) // the history is moved to its segment, which is compressed
		recs, _, err := b.store.History(context.Background(), store.HistoryQuery{Tenant: "acme", ID: RecordedID, Limit: 1000})
		if err != nil || len(recs) == 0 {
			t.Fatalf("%d recorded decisions, %v", len(recs), err)
		}
		for _, r := range recs {
			if strings.Contains(string(r.Data), "my secret") || strings.Contains(string(r.Data), ana) {
				t.Errorf("a recorded decision has %s", r.Data)
			}
		}
		if b.fileHas("34600111222") == nil || len(b.dead()) == 0 {
			t.Error("berto was erased as well")
		}

		// Each contact that the CRM may know is told, by what it is known by.
		told := b.crm.taken()
		if len(told) != 2 || told[0].event.Kind != core.KindContactErased || told[0].event.Contact.Phone != ana || told[0].event.Contact.BSUID != bsuid ||
			told[0].event.Contact.ID == told[1].event.Contact.ID || told[0].event.Contact.Name != "" {
			t.Errorf("the CRM was told %+v", told)
		}
		if refs, ok := told[0].event.Fields["records"].([]any); !ok || !slices.Contains(refs, any("crm-77")) {
			t.Errorf("its records: %v", told[0].event.Fields)
		}

		// The story says that it was erased, the ledger is whole and names nobody.
		story, err := b.Why(context.Background(), "acme", "wamid.a1")
		if err != nil || len(story.Steps) != 1 || story.Steps[0].Step != "erased" || !strings.Contains(story.Steps[0].Notes[0], "erased on 2") {
			t.Errorf("why: %+v, %v", story, err)
		}
		if story, err = b.Why(context.Background(), "acme", e.ID); err != nil || len(story.Steps) < 2 || story.Steps[0].Notes[0] != "by maria: asked for it" {
			t.Errorf("why the erasure: %+v, %v", story, err)
		}
		if proof, err := b.ProveConsent(context.Background(), "acme", berto); err != nil || !proof.Whole {
			t.Errorf("the ledger: %+v, %v", proof, err)
		}
		if _, err := b.Consent(context.Background(), "acme", ana); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("consent of somebody who is not there: %v", err)
		}

		// Once more, and what WhatsApp sends again, change nothing.
		if again, err := b.Erasure(context.Background(), "", e.ID); err != nil || !again.Done.Equal(e.Done) {
			t.Errorf("%+v, %v", again, err)
		}
		people := len(b.people())
		old := both
		old.ID, old.Contact = "wamid.a7", &core.Contact{Phone: ana, BSUID: bsuid}
		b.accept(old)
		late := statusOf("wamid.a1#1", "wamid.out.1", core.StatusRead)
		late.Contact.Phone = ana
		b.accept(late, core.Event{ID: "crm-1", Kind: core.KindContactChanged, Tenant: "acme", Source: "crm", Time: time.Now(), Contact: &core.Contact{Phone: ana}})
		settled(2 * time.Second)
		if n := len(b.people()); n != people {
			t.Errorf("what was left brought somebody back: %d people, then %d", people, n)
		}

		// Whoever said STOP is not written to, whoever brings the number back.
		said := len(b.said())
		b.order("k1", ana, "template promo")
		b.order("k2", ana, "hello again")
		settled(2 * time.Second)
		if n := len(b.said()); n != said {
			t.Errorf("somebody who said STOP before they were erased got %q", b.said()[said:])
		}
		st, err := b.Consent(context.Background(), "acme", ana)
		if err != nil || len(st.Suppressed) != 1 || st.Contact == told[0].event.Contact.ID {
			t.Errorf("the new contact: %+v, %v", st, err)
		}
		b.write("wamid.a8", ana, "START")
		b.write("wamid.a9", ana, "here I am again")
		if n := len(b.said()); n == said {
			t.Error("START was not heard")
		}
	})
}

func TestErase_IsFinishedWhereverTheProcessDies(t *testing.T) {
	for _, point := range []string{"erase-begun", "erase-before-commit", "erase-after-commit", "erase-forgotten", "erase-told", "erase-scrubbed"} {
		run(t, func(b *bridge) {
			t.Log(point)
			chatty(b)
			policy := b.change
			var armed atomic.Bool
			ctx, die := context.WithCancel(context.Background())
			b.change = func(o *Options) {
				policy(o)
				o.Failpoint = func(name string) {
					if name == point && armed.CompareAndSwap(true, false) {
						// Whoever is at it, the caller or the loop, goes no further.
						die()
						b.kill()
						runtime.Goexit()
					}
				}
			}
			b.start()
			b.write("wamid.a1", ana, "my secret order")
			armed.Store(true)
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				_, _ = b.EraseContact(ctx, EraseRequest{Tenant: "acme", Contact: ana, Reason: "asked for it", By: "maria"})
			}()
			<-asked
			settled(time.Second)
			if armed.Load() {
				t.Fatalf("%s was never reached", point)
			}
			b.stop()
			b.start()
			settled(30 * time.Second)
			for _, text := range gone {
				if left := b.fileHas(text); left != nil {
					t.Errorf("%s: %q is still in %v", point, text, left)
				}
			}
			told := 0
			for _, tr := range b.crm.taken() {
				if tr.event.Kind == core.KindContactErased {
					told++
				}
			}
			if told == 0 || told > 2 {
				t.Errorf("%s: the CRM was told %d times", point, told)
			}
			open, err := b.store.Range(context.Background(), "acme", bucketErasing, "", 10)
			if err != nil || len(open) != 0 {
				t.Errorf("%s: %d erasures are open, %v", point, len(open), err)
			}
		})
	}
}

// informed is a sink whose connector says which events it wants.
type informed struct {
	*sink
	kinds []core.Kind
}

func (i informed) Info(context.Context) (core.ConnectorInfo, error) {
	return core.ConnectorInfo{Name: "test", MaxBatch: 10, Idempotency: core.IdempotencyUpsert, Kinds: i.kinds}, nil
}

func TestErase_WaitsForAPersonWhereAConnectorCannot(t *testing.T) {
	run(t, func(b *bridge) {
		b.change = func(o *Options) {
			o.Tenants[0].Lanes = []Lane{{Name: "crm", Connector: "test", Sink: informed{b.crm, []core.Kind{core.KindMessageReceived}}}}
		}
		b.start()
		b.write("wamid.a1", ana, "my secret order")
		e := b.erase(ana)
		if e.State != ErasureTelling || len(e.Waiting) != 1 || !strings.Contains(e.Waiting[0], "a person") {
			t.Fatalf("%+v", e)
		}
		dead := b.dead()
		if len(dead) != 1 || !strings.Contains(dead[0].Reason.Hint, "by hand") || !strings.Contains(string(dead[0].Event), ana) {
			t.Fatalf("%+v", dead)
		}
		if left := b.fileHas("my secret"); left != nil {
			t.Errorf("the message is still in %v", left)
		}
		if err := b.Resolve(context.Background(), "done", dead[0].ID); err != nil {
			t.Fatal(err)
		}
		settled(10 * time.Second)
		if e, err := b.Erasure(context.Background(), "acme", e.ID); err != nil || e.State != ErasureDone {
			t.Errorf("%+v, %v", e, err)
		}
		if left := b.fileHas("14155550100"); left != nil {
			t.Errorf("the number is still in %v", left)
		}
	})
}

// What a sink has in hand is waited for, and does not bring anything back.
func TestErase_WaitsForWhatIsBeingDelivered(t *testing.T) {
	run(t, func(b *bridge) {
		slow := make(chan struct{})
		b.crm.do = func(d core.Delivery) core.Result {
			if d.Event.Kind == core.KindMessageReceived {
				<-slow
				return core.Result{Err: core.Errorf(core.CodeUnavailable, "write", "not now")}
			}
			return core.Result{}
		}
		b.start()
		b.write("wamid.a1", ana, "my secret order")
		b.accept(received("wamid.a2", ana, "my secret, again"))
		done := make(chan Erasure)
		go func() { done <- b.erase(ana) }()
		settled(5 * time.Second)
		for _, tr := range b.crm.taken() {
			if tr.event.Kind == core.KindContactErased {
				t.Error("the CRM was told while it had an event of the person in hand")
			}
		}
		close(slow)
		if e := <-done; e.State != ErasureDone {
			t.Errorf("%+v", e)
		}
		settled(time.Minute)
		if left := b.fileHas("my secret"); left != nil || len(b.dead()) != 0 {
			t.Errorf("left in %v, %d dead letters", left, len(b.dead()))
		}
		for _, q := range b.store.Stats().Queues {
			if q.Depth > 0 {
				t.Errorf("%+v", q)
			}
		}
	})
}

// A message that is older than the erasure but comes after it is dropped; one
// that is newer makes a new contact.
func TestErase_WhatWasOnItsWayIsDroppedOrAnew(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		b.write("wamid.a1", ana, "STOP")
		old := b.people()[0].ID
		if e := b.erase(ana); e.State != ErasureDone {
			t.Fatalf("%+v", e)
		}
		// As accepted at the last moment, with the contact as it was.
		put := func(id string, at time.Time) {
			e := received(id, ana, "late")
			e.Tenant, e.Contact.ID, e.Time, e.Accepted = "acme", old, at, time.Now()
			e.Conversation = core.ConversationID(number, old)
			if _, err := b.store.Settle(context.Background(), store.Settlement{Add: []store.Item{
				{Queue: b.tenants["acme"].queue, ID: id, Order: e.Conversation, Data: mustJSON(e)}}}); err != nil {
				t.Fatal(err)
			}
		}
		put("wamid.a2", time.Now().Add(-time.Hour))
		settled(2 * time.Second)
		if p := b.people(); len(p) != 0 {
			t.Errorf("%d people", len(p))
		}
		put("wamid.a3", time.Now())
		settled(2 * time.Second)
		b.wantPeople("phone:" + ana)
		if p := b.people(); len(p) == 1 && p[0].ID == old {
			t.Error("the contact that was erased is back")
		}
		if st, err := b.Consent(context.Background(), "acme", ana); err != nil || len(st.Suppressed) != 1 {
			t.Errorf("the STOP from before: %+v, %v", st, err)
		}
		b.write("wamid.a4", ana, "hello")
		b.wantPeople("phone:" + ana)
	})
}

// A number that has a new owner is not the erased person's any more.
func TestErase_LeavesWhatIsSomebodyElsesByNow(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(who{"886912345678", "TW.1", ""}.wrote("1", hour(1), "mine"), who{"886912345678", "TW.2", ""}.wrote("2", hour(2), "my new number"))
		b.wantPeople("bsuid:TW.1", "bsuid:TW.2 phone:+886912345678")
		before, err := b.EraseContact(context.Background(), EraseRequest{Tenant: "acme", Contact: "TW.1", Preview: true})
		if err != nil || len(before.Related) != 1 || before.Related[0] != b.whoIs("TW.2") {
			t.Errorf("the preview: %+v, %v", before, err)
		}
		if e := b.erase("TW.1"); e.State != ErasureDone {
			t.Fatalf("%+v", e)
		}
		b.wantPeople("bsuid:TW.2 phone:+886912345678")
		b.webhooks(who{phone: "886912345678"}.wrote("3", time.Now(), "still me"))
		b.wantPeople("bsuid:TW.2 phone:+886912345678")

		// One that the person had before a merge is in its record, and another's too.
		b.webhooks(who{phone: "34600111222"}.wrote("4", hour(3), "a"), who{bsuid: "ES.1"}.wrote("5", hour(3), "b"),
			who{"34600111222", "ES.1", ""}.wrote("6", hour(4), "we are one"), who{"34600111222", "ES.2", ""}.wrote("7", hour(5), "my number now"))
		if e := b.erase("ES.1"); e.State != ErasureDone || e.Held.Merges != 1 {
			t.Fatalf("%+v", e)
		}
		b.webhooks(who{phone: "34600111222"}.wrote("8", hour(6), "still mine"))
		b.wantPeople("bsuid:ES.2 phone:+34600111222", "bsuid:TW.2 phone:+886912345678")
	})
}

// An escalation goes with the person, and whoever had it has one less.
func TestErase_TakesOpenEscalationsOffTheDesk(t *testing.T) {
	run(t, func(b *bridge) {
		chatty(b)
		b.start()
		b.write("wamid.a1", ana, "my secret order")
		if n := len(b.Escalations("acme")); n != 1 {
			t.Fatalf("%d escalations", n)
		}
		b.erase(ana)
		if open := b.Escalations("acme"); len(open) != 0 {
			t.Errorf("%+v", open)
		}
		b.stop()
		b.start()
		settled(time.Hour)
		if open := b.Escalations("acme"); len(open) != 0 || len(b.people()) != 0 {
			t.Errorf("after a restart: %+v, %d people", open, len(b.people()))
		}
	})
}
