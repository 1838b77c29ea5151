package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// Whatever happened before: once a person is erased, by every contact that ever was
// theirs, nothing of them is in any file, others are as they were, the ledger is
// whole, and what WhatsApp sends again brings nobody back.
func TestErase_AfterAnyHistory(t *testing.T) {
	words := []string{"phone", "user id", "both", "stop", "start", "send", "berto", "merge", "unmerge", "crm down", "crm up", "restart", "import", "wait"}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom(words), 2, 14).Draw(rt, "steps")
		failure := ""
		synctest.Test(t, func(t *testing.T) {
			b := newBridge(t)
			b.noSync = true
			chatty(b)
			b.start()
			h := &lifetime{bridge: b}
			for i, s := range steps {
				h.do(i, s)
			}
			failure = h.judge()
			b.stop()
		})
		if failure != "" {
			rt.Fatalf("%s", failure)
		}
	})
}

// lifetime is what happens to a person until they are erased.
type lifetime struct {
	*bridge
	sent []core.Event // webhooks, to be sent again
}

const anaID = "US.13491208655302741918"

func (h *lifetime) do(i int, step string) {
	message := func(phone, bsuid, text string) {
		e := received(fmt.Sprintf("wamid.a1.%d", i), phone, text)
		e.Contact.BSUID, e.Source = bsuid, sourceWhatsApp
		h.sent = append(h.sent, e)
		again := e
		c := *e.Contact
		again.Contact = &c
		h.accept(again)
	}
	first := func(bucket string) (id string) {
		entries, err := h.store.Range(context.Background(), "acme", bucket, "", 1)
		if err != nil {
			h.Fatal(err)
		}
		for _, e := range entries {
			id = e.Key
		}
		return id
	}
	switch step {
	case "phone":
		message(ana, "", "my secret")
	case "user id":
		message("", anaID, "my secret, too")
	case "both":
		message(ana, anaID, "my secret: both are me")
	case "stop", "start":
		message(ana, "", step)
	case "send":
		h.order(fmt.Sprint("k", i), ana, "my secret answer")
	case "berto":
		h.accept(received(fmt.Sprintf("wamid.b1.%d", i), berto, "hola"))
	case "merge":
		a, errA := h.Contact(context.Background(), "acme", ana)
		u, errU := h.Contact(context.Background(), "acme", anaID)
		if errA == nil && errU == nil && a.ID != u.ID {
			h.merge(a.ID, u.ID)
		}
	case "unmerge":
		if id := first(bucketMerges); id != "" {
			_, _ = h.UnmergeContact(context.Background(), UnmergeRequest{Tenant: "acme", Contact: id, By: "maria", Reason: "two people"})
		}
	case "crm down":
		h.crm.do = func(core.Delivery) core.Result {
			return core.Result{Err: core.Errorf(core.CodeInvalid, "write", "no")}
		}
	case "crm up":
		h.crm.do = nil
	case "restart":
		h.stop()
		h.start()
	case "import":
		h.imports(true, listed("my secret name", ana))
	case "wait":
		settled(11 * time.Second)
	}
	settled(50 * time.Millisecond) // some of it is still on its way
}

func (h *lifetime) judge() string {
	ctx := context.Background()
	h.crm.do = nil
	others, err := h.Contact(ctx, "acme", berto)
	known := err == nil
	for _, p := range h.people() { // whoever had her number before, too
		if known && p.ID == others.ID {
			continue
		}
		if e := h.erase(p.ID); e.State != ErasureDone {
			return fmt.Sprintf("not done: %+v", e)
		}
	}
	settled(15 * time.Second)
	for _, text := range append([]string{"my secret name"}, gone...) {
		if left := h.fileHas(text); left != nil {
			return fmt.Sprintf("%q is still in %v", text, left)
		}
	}
	for after := uint64(0); ; {
		recs, next, err := h.store.History(ctx, store.HistoryQuery{Tenant: "acme", ID: RecordedID, After: after, Limit: 100})
		if err != nil {
			return err.Error()
		}
		if len(recs) == 0 {
			break
		}
		after = next
		for _, r := range recs {
			if strings.Contains(string(r.Data), "secret") {
				return "a recorded decision is left: " + string(r.Data)
			}
		}
	}
	for _, e := range h.sent {
		h.accept(e)
	}
	settled(2 * time.Second)
	if people := h.people(); len(people) > 1 || len(people) == 1 && !known {
		return fmt.Sprintf("%d people are back", len(people))
	}
	if known {
		if now, err := h.Contact(ctx, "acme", berto); err != nil || now.ID != others.ID || len(now.Conversations) != len(others.Conversations) {
			return fmt.Sprintf("berto is %+v now, %v", now, err)
		}
	}
	for _, name := range []string{logConsent, logSuppression} {
		if _, err := store.VerifyLog(ctx, h.store, store.LogID{Tenant: "acme", Name: name}, nil); err != nil {
			return err.Error()
		}
	}
	stopped := slices.ContainsFunc(h.Escalations("acme"), func(e Escalation) bool { return e.ContactID != others.ID })
	if stopped {
		return "an escalation of nobody is open"
	}
	return ""
}
