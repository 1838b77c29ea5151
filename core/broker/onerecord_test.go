package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// story is what a CRM got, as kind and contact.
func (b *bridge) story() (out []string) {
	for _, tr := range b.crm.taken() {
		out = append(out, fmt.Sprintf("%s %s", tr.event.Kind, tr.event.Contact.ID))
	}
	return out
}

// What was on its way of the contact that went is delivered as theirs, then the CRM is
// told, and nothing is theirs afterwards, over a restart and retries, too.
func TestOneRecord_TheMergeComesBetweenWhatWasAndWhatIs(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			run(t, func(b *bridge) {
				b.scripts = busy
				b.start()
				b.webhooks(chen.wrote("1", time.Now(), "a"), ruiz.wrote("2", time.Now(), "reply"))
				settled(time.Second)
				a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
				sent := b.ofKind(b.crm, core.KindMessageSent)
				slow := time.Now().Add(10 * time.Second)
				b.crm.do = func(d core.Delivery) core.Result {
					if d.Event.Contact.ID == o && time.Now().Before(slow) {
						return core.Result{Err: core.Errorf(core.CodeUnavailable, "write", "not now")}
					}
					return core.Result{ContactRef: "r-" + d.Event.Contact.ID}
				}
				b.webhooks(ruiz.wrote("3", time.Now(), "more"))
				settled(100 * time.Millisecond)
				b.merge(a, o)
				b.webhooks(chen.wrote("4", time.Now(), "b"), ruiz.wrote("5", time.Now(), "c"))
				read := statusOf("", sent[0].Message.ID, core.StatusRead)
				read.Contact = &core.Contact{Phone: "+34600111222", BSUID: "ES.1"}
				b.accept(read)
				settled(3 * time.Second)
				if restart {
					b.stop()
					b.start()
				}
				settled(5 * time.Minute)
				story := b.story()
				at := slices.Index(story, "contact.merged "+a)
				if at < 0 || slices.Contains(story[at+1:], "contact.merged "+a) {
					t.Fatalf("it was not told once: %q", story)
				}
				if !slices.Contains(story[:at], "message.received "+o) || slices.ContainsFunc(story[at:], func(s string) bool { return strings.HasSuffix(s, " "+o) }) {
					t.Errorf("%s became %s: %q", o, a, story)
				}
				for i, tr := range b.crm.taken() {
					if m := tr.event.Message; m != nil && m.Text == "more" && (tr.event.Contact.ID != o || i > at) {
						t.Errorf("what was on its way was delivered as %d, of %s", i, tr.event.Contact.ID)
					}
				}
				e := b.ofKind(b.crm, core.KindContactMerged)[0]
				if e.Merge == nil || e.Merge.Contact.ID != o || e.Merge.Contact.BSUID != "ES.1" || e.Merge.Since.IsZero() || e.Merge.KeptSince.IsZero() || e.Contact.ID != a {
					t.Errorf("it says %+v, %+v", e.Merge, e.Contact)
				}
				if got := b.crmRecords(); len(got) != 1 || got[a] != "r-"+a {
					t.Errorf("records are known of %v", got)
				}
				if left, err := b.store.Range(context.Background(), "acme", bucketMerging, "", 10); err != nil || len(left) > 0 || len(b.dead()) > 0 {
					t.Errorf("left over: %v, %v, %v", left, b.dead(), err)
				}
			})
		})
	}
}

// A connector that says nothing of merges leaves them to a person, who is told what
// to do.
func TestOneRecord_IsAPersonsToMakeWhereTheConnectorCannot(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
		inner := b.change
		b.change = func(o *Options) {
			inner(o)
			o.Tenants[0].Lanes[0].Sink = wanting{d, []core.Kind{core.KindMessageReceived, core.KindContactChanged}}
		}
		b.start()
		settled(time.Second)
		b.webhooks(chen.wrote("1", time.Now(), "a"), ruiz.wrote("2", time.Now(), "b"))
		settled(time.Second)
		b.merge(b.whoIs("TW.1"), b.whoIs("ES.1"))
		settled(time.Minute)
		dead := b.dead()
		if len(dead) != 1 || !strings.Contains(dead[0].Reason.Hint, "merge them by hand") {
			t.Errorf("the dead letters are %+v", dead)
		}
	})
}

// Taken apart before the CRM was told, there is nothing to tell; taken apart while it
// made one record of two, there is one to make again.
func TestOneRecord_IsTwoAgainWhenTheyAreTakenApart(t *testing.T) {
	for _, when := range []string{"before", "meanwhile"} {
		t.Run(when, func(t *testing.T) {
			run(t, func(b *bridge) {
				b.scripts = busy
				b.start()
				b.webhooks(chen.wrote("1", time.Now(), "a"), ruiz.wrote("2", time.Now(), "b"))
				settled(time.Second)
				a, o := b.whoIs("TW.1"), b.whoIs("ES.1")
				slow := time.Now().Add(10 * time.Second)
				b.crm.do = func(d core.Delivery) core.Result {
					switch {
					case when == "before" && time.Now().Before(slow):
						return core.Result{Err: core.Errorf(core.CodeUnavailable, "write", "not now")}
					case when == "meanwhile" && d.Event.Kind == core.KindContactMerged:
						<-time.After(5 * time.Second) // in virtual time
					}
					return core.Result{}
				}
				if when == "before" {
					b.webhooks(ruiz.wrote("3", time.Now(), "waits"))
					settled(100 * time.Millisecond)
				}
				b.merge(a, o)
				settled(2 * time.Second)
				b.unmerge(o)
				settled(5 * time.Minute)
				story := b.story()
				at := slices.Index(story, "contact.merged "+a)
				if when == "before" && at >= 0 {
					t.Errorf("it was told: %q", story)
				}
				again := 0
				for _, s := range story[max(0, at):] {
					if s == "contact.changed "+o {
						again++
					}
				}
				if when == "meanwhile" && (at < 0 || again != 2) { // once at once, once when the CRM had done it
					t.Errorf("the record was not made again: %q", story)
				}
			})
		})
	}
}

// That the record of the one that went is gone is as it should be: nothing is
// forgotten of the one that stays.
func TestOneRecord_ThatItIsGoneIsNoNews(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
		d.do = func(c core.Delivery) core.Result {
			if c.Event.Kind == core.KindContactMerged {
				return core.Result{Err: core.Errorf(core.CodeUnavailable, "merge", "no answer")} // though it is done
			}
			return core.Result{ContactRef: "r-" + c.Event.Contact.BSUID}
		}
		b.start()
		settled(time.Second)
		b.webhooks(chen.wrote("1", time.Now(), "a"), ruiz.wrote("2", time.Now(), "b"))
		settled(time.Second)
		a := b.whoIs("TW.1")
		b.merge(a, b.whoIs("ES.1"))
		settled(100 * time.Millisecond)
		d.tells(goneAtCRM("g1", "r-ES.1"))
		settled(2 * time.Minute)
		if got := b.crmRecords(); got[a] != "r-TW.1" {
			t.Errorf("the records are %v", got)
		}
	})
}

// What a status says of the person is told at once: they may not write again for long.
func TestStatus_TellsTheCRMsWhatThePersonIsCalledNow(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = reply("hello")
		b.start()
		b.accept(received("wamid.1", "+14155550100", "hi"))
		settled(time.Second)
		for _, v := range []core.StatusValue{core.StatusSent, core.StatusDelivered, core.StatusRead} {
			s := statusOf("wamid.1#1", "wamid.out.1", v)
			s.Contact = &core.Contact{Phone: "+14155550100", Name: "Ana María", BSUID: "US.1"}
			s.Source = sourceWhatsApp
			b.accept(s)
			settled(time.Second)
		}
		changed := b.ofKind(b.crm, core.KindContactChanged)
		if len(changed) != 1 || changed[0].Contact.Name != "Ana María" || changed[0].Contact.BSUID != "US.1" {
			t.Errorf("told: %+v", changed)
		}
		// Of somebody whom nobody knows it makes no contact.
		foreign := statusOf("", "wamid.another", core.StatusRead)
		foreign.Contact = &core.Contact{Phone: "+14155550177", Name: "Bo"}
		b.accept(foreign)
		settled(time.Second)
		if got := b.ofKind(b.crm, core.KindContactChanged); len(got) != 1 {
			t.Errorf("told: %+v", got)
		}
	})
}
