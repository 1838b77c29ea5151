package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/rate"
)

// priced makes a bridge that has a rate card.
func priced(t *testing.T) *bridge {
	t.Helper()
	card, err := rate.ReadCard(strings.NewReader("Market,Currency,Marketing,Utility\nSpain,EUR,0.05,0.01\nOther,EUR,0.07,0.02\n"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBridge(t)
	b.noSync = true
	b.change = func(o *Options) { o.Tenants[0].Rates = rate.NewBook(card) }
	return b
}

// toldOf is a status of a message to somebody.
func toldOf(e core.Event, phone string) core.Event {
	e.Contact.Phone = phone
	return e
}

// with gives a status its pricing.
func with(e core.Event, kind, category string) core.Event {
	e.Status.Pricing = json.RawMessage(fmt.Sprintf(`{"billable":true,"pricing_model":"PMP","type":%q,"category":%q}`, kind, category))
	return e
}

func (b *bridge) costs() string {
	b.Helper()
	page, err := b.Costs(context.Background(), CostQuery{Tenant: "acme", From: "1999-12-01", To: "2000-12-01", Limit: 500})
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, l := range page.Lines {
		out = append(out, fmt.Sprintf("%s %s %s %d/%d/%d %s-%s %s", l.Day, l.Category, l.Market, l.Messages, l.Free, l.Unknown, l.Low, l.High, l.Currency))
	}
	return strings.Join(out, "\n")
}

func TestCosts_FirstPricingOfAMessageCounts_Once(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := priced(t)
		b.start()
		b.order("k1", "+34600111222", "hola")
		b.order("k2", "+34600111333", "hola")
		settled(time.Second)
		ids := map[string]string{}
		for _, try := range b.wa.taken() {
			ids[try.event.Message.To.Value] = try.event.ID
		}
		one, two := ids["+34600111222"], ids["+34600111333"]
		b.accept(with(toldOf(statusOf(one, "wamid.out.1", core.StatusDelivered), "+34600111222"), "regular", "marketing"))
		settled(time.Second)
		// What overtook it tells the same again, as do repeats.
		b.accept(with(toldOf(statusOf(one, "wamid.out.1", core.StatusSent), "+34600111222"), "regular", "marketing"), toldOf(statusOf(one, "wamid.out.1", core.StatusRead), "+34600111222"))
		b.accept(with(toldOf(statusOf(one, "wamid.out.1", core.StatusDelivered), "+34600111222"), "regular", "marketing"))
		settled(time.Second)
		if got, want := b.costs(), "2000-01-01 marketing Spain 1/0/0 0.05-0.05 EUR"; got != want {
			t.Errorf("costs:\n%s\nwant\n%s", got, want)
		}
		// Of what failed in the end nothing is left; of somebody else's message, what it cost.
		b.accept(with(toldOf(statusOf(two, "wamid.out.2", core.StatusSent), "+34600111333"), "regular", "marketing"))
		settled(time.Second)
		b.accept(toldOf(statusOf(two, "wamid.out.2", core.StatusFailed), "+34600111333"))
		other := statusOf("x", "wamid.other", core.StatusSent)
		other.Status.Opaque, other.Contact.Phone = "", "+81312345678"
		b.accept(with(other, "free_customer_service", "service"))
		strange := statusOf("y", "wamid.strange", core.StatusSent)
		strange.Status.Opaque = ""
		b.accept(with(strange, "regular", "general_purpose_ai"))
		b.kill()
		b.stop()
		b.start()
		settled(time.Second)
		want := "2000-01-01 general_purpose_ai Other 1/0/1 0.00-0.00 EUR\n2000-01-01 marketing Spain 1/0/0 0.05-0.05 EUR\n2000-01-01 service Other 1/1/0 0.00-0.00 EUR"
		if got := b.costs(); got != want {
			t.Errorf("costs:\n%s\nwant\n%s", got, want)
		}
		b.stop()
	})
}

func TestCosts_AreAskedForADayAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := priced(t)
		b.start()
		for i := range 3 {
			other := statusOf("x", fmt.Sprint("wamid.other.", i), core.StatusSent)
			other.Status.Opaque = ""
			b.accept(with(other, "regular", "utility"))
			settled(24 * time.Hour)
		}
		ctx := context.Background()
		first, err := b.Costs(ctx, CostQuery{Tenant: "acme", From: "2000-01-02", To: "2000-01-03", Limit: 1})
		if err != nil || len(first.Lines) != 1 || first.Lines[0].Day != "2000-01-02" || first.Next == "" {
			t.Fatalf("%+v, %v", first, err)
		}
		rest, err := b.Costs(ctx, CostQuery{Tenant: "acme", From: "2000-01-02", To: "2000-01-03", After: first.Next, Limit: 10})
		if err != nil || len(rest.Lines) != 1 || rest.Lines[0].Day != "2000-01-03" || rest.Next != "" {
			t.Errorf("%+v, %v", rest, err)
		}
		for _, q := range []CostQuery{{Tenant: "nobody", From: "2000-01-02", To: "2000-01-03"}, {Tenant: "acme"}, {Tenant: "acme", From: "2000-01-02", To: "2000-01-01"},
			{Tenant: "acme", From: "2000-01-02", To: "2002-01-01"}} {
			if _, err := b.Costs(ctx, q); core.CodeOf(err) != core.CodeInvalid {
				t.Errorf("%+v: %v", q, err)
			}
		}
		b.stop()
	})
}
