package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/roster"
)

// greeting is a utility template with the person's name and a column of the list.
var greeting = campaign.Template{Name: "info", Language: "en", Components: json.RawMessage(
	`[{"type":"body","parameters":[{"type":"text","text":"{{first_name|friend}}"},{"type":"text","text":"{{column.Code}}"}]}]`)}

func phoneOf(i int) string { return fmt.Sprintf("+346001%05d", i) }

// entry is a row of a list.
func entry(i int) CampaignEntry {
	return CampaignEntry{
		Person:  roster.Person{Line: i + 2, Name: fmt.Sprintf("Ana%d García", i), Phones: []roster.Phone{{Number: phoneOf(i)}}},
		Columns: map[string]string{"Code": fmt.Sprintf("C-%d", i), "Shoe": "42"},
	}
}

func entries(n int) []CampaignEntry {
	out := make([]CampaignEntry, n)
	for i := range out {
		out[i] = entry(i)
	}
	return out
}

// campaigning makes a bridge with templates and a rate card.
func campaigning(t *testing.T, p Policy) *bridge {
	t.Helper()
	b := newBridge(t)
	b.noSync = true
	b.withPolicy(p)
	policy := b.change
	b.change = func(o *Options) {
		policy(o)
		card, err := rate.ReadCard(strings.NewReader("Market,Currency,Marketing,Utility\nSpain,EUR,0.05,0.01\n"))
		if err != nil {
			t.Fatal(err)
		}
		o.Tenants[0].Rates = rate.NewBook(card)
	}
	return b
}

func (b *bridge) newCampaign(r CampaignRequest, people ...CampaignEntry) {
	b.Helper()
	r.Tenant, r.By = "acme", "maria"
	if _, err := b.NewCampaign(context.Background(), r); err != nil {
		b.Fatal(err)
	}
	for batch := range slices.Chunk(people, CampaignBatch) {
		if _, err := b.AddToCampaign(context.Background(), r.Name, CampaignEntries{Tenant: "acme", People: batch}); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bridge) set(name, what string) Campaign {
	b.Helper()
	c, err := b.SetCampaign(context.Background(), "acme", name, what, "maria", "")
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
	return c
}

func (b *bridge) planIt(name string) Campaign {
	b.Helper()
	b.set(name, CampaignPlan)
	settled(time.Second)
	c := b.get(name)
	if c.State != campaign.Planned {
		b.Fatalf("%s is %s", name, c.State)
	}
	return c
}

func (b *bridge) get(name string) Campaign {
	b.Helper()
	c, err := b.Campaign("acme", name)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (b *bridge) rows(name string) []campaign.Row {
	b.Helper()
	page, err := b.CampaignRows(context.Background(), CampaignRows{Tenant: "acme", Name: name, Limit: 500})
	if err != nil {
		b.Fatal(err)
	}
	return page.Rows
}

// wantRows compares rows by their states and reasons.
func (b *bridge) wantRows(name string, want ...string) {
	b.Helper()
	var got []string
	for _, r := range b.rows(name) {
		got = append(got, strings.TrimSpace(fmt.Sprint(r.N, " ", r.State, " ", r.Reason)))
	}
	if !slices.Equal(got, want) {
		b.Errorf("rows of %s:\n %q\nwant\n %q", name, got, want)
	}
}

func (b *bridge) wantState(name string, want campaign.State, why string) {
	b.Helper()
	if c := b.get(name); c.State != want || !strings.Contains(c.Why, why) {
		b.Errorf("%s is %s (%s), want %s (%s)", name, c.State, c.Why, want, why)
	}
}

func TestCampaign_FromTheListToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		b.start()
		b.write("wamid.in.1", phoneOf(1), "STOP")
		first := len(b.wa.taken())
		people := entries(6)
		people[2].Phones[0] = people[0].Phones[0] // the same person
		people[3].Columns = nil
		people[4].Bad, people[4].Phones = "the phone number …: too short", nil
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, people...)
		c := b.planIt("spring")
		b.wantRows("spring", "2 planned", "3 excluded suppressed", "4 excluded duplicate", "5 excluded no value", "6 excluded invalid", "7 planned")
		if p := c.Plan; p.Rows != 6 || p.Planned != 2 || p.Cost.High.String() != "0.02" || p.Cost.Currency != "EUR" || p.Category != "utility" || p.Begins != 2 ||
			!maps.Equal(p.Excluded, map[string]int{"suppressed": 1, "duplicate": 1, "no value": 1, "invalid": 1}) {
			t.Errorf("plan: %+v", *p)
		}
		if len(b.wa.taken()) != first {
			t.Error("a dry run sent something")
		}
		b.set("spring", CampaignStart)
		settled(time.Second)
		b.wantState("spring", campaign.Done, "")
		sends := b.wa.taken()[first:]
		if len(sends) != 2 {
			t.Fatalf("%d were sent", len(sends))
		}
		for _, s := range sends {
			e := s.event
			i := 0
			if e.Message.To.Value == phoneOf(5) {
				i = 5
			}
			want := fmt.Sprintf(`[{"parameters":[{"text":"Ana%d","type":"text"},{"text":"C-%d","type":"text"}],"type":"body"}]`, i, i)
			if string(e.Message.Template.Components) != want || e.Campaign != "spring" || e.Source != "campaign" || e.Message.To.Value != phoneOf(i) {
				t.Errorf("sent %s of %q to %s", e.Message.Template.Components, e.Campaign, e.Message.To.Value)
			}
		}
		// What becomes of them, and what it costs, comes by statuses.
		one, two := sends[0].event.ID, sends[1].event.ID
		b.accept(toldOf(with(statusOf(one, "wamid.out.2", core.StatusSent), "regular", "utility"), sends[0].event.Message.To.Value))
		b.accept(toldOf(with(statusOf(one, "wamid.out.2", core.StatusDelivered), "regular", "utility"), sends[0].event.Message.To.Value))
		failed := toldOf(statusOf(two, "wamid.out.3", core.StatusFailed), sends[1].event.Message.To.Value)
		failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
		b.accept(failed)
		settled(time.Second)
		if got := b.get("spring").Counts; !maps.Equal(got, campaign.Counts{campaign.RowExcluded: 4, campaign.RowDelivered: 1, campaign.RowFailed: 1}) {
			t.Errorf("counts %v", got)
		}
		page, err := b.CampaignRows(context.Background(), CampaignRows{Tenant: "acme", Name: "spring", State: "failed", Limit: 10})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].Code != 131026 || page.Rows[0].Why != "Message undeliverable" {
			t.Errorf("failed rows: %+v, %v", page, err)
		}
		costs, err := b.Costs(context.Background(), CostQuery{Tenant: "acme", From: "2000-01-01", To: "2000-01-02", Campaign: "spring", Limit: 10})
		if err != nil || len(costs.Lines) != 1 || costs.Lines[0].High.String() != "0.01" {
			t.Errorf("costs: %+v, %v", costs, err)
		}
		var told []string
		for _, tr := range b.crm.taken() {
			if tr.event.Campaign == "spring" {
				told = append(told, string(tr.event.Kind))
			}
		}
		if want := []string{"message.sent", "message.sent", "message.status", "message.status", "message.status"}; !slices.Equal(slices.Sorted(slices.Values(told)), want) {
			t.Errorf("the CRM was told %v", told)
		}
		b.wantNotes("campaign-spring", "running → done, by the bridge")
		b.stop()
	})
}

func TestCampaign_AudienceIsByTagAndField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		b.start()
		tagged := func(i int, tag, city string) roster.Person {
			p := entry(i).Person
			p.Tags, p.Fields = []string{tag}, map[string]string{"city": city}
			return p
		}
		b.imports(true, tagged(0, "vip", "Madrid"), tagged(1, "vip", "Lugo"), tagged(2, "new", "Madrid"))
		b.newCampaign(CampaignRequest{Name: "all-vips", Tag: "vip", Template: campaign.Template{Name: "info", Language: "en"}})
		b.newCampaign(CampaignRequest{Name: "madrid", Field: "city", Value: "Madrid", Template: campaign.Template{Name: "promo", Language: "en"}})
		b.newCampaign(CampaignRequest{Name: "both", Tag: "vip", Field: "city", Value: "Madrid", Template: campaign.Template{Name: "info", Language: "en"}})
		for name, want := range map[string]string{"all-vips": "2 of 2", "madrid": "0 of 2", "both": "1 of 1"} {
			if p := b.planIt(name).Plan; fmt.Sprintf("%d of %d", p.Planned, p.Rows) != want {
				t.Errorf("%s: %+v", name, *p)
			}
		}
		b.wantRows("madrid", "1 excluded no consent", "2 excluded no consent")
		// A plan may be made again: what is so then counts.
		b.change1("k1", phoneOf(0), core.Consent{Level: "marketing", State: "granted", Source: "person", Evidence: "asked"})
		settled(time.Second)
		if p := b.planIt("madrid").Plan; p.Planned != 1 || p.Rows != 2 {
			t.Errorf("again: %+v", *p)
		}
		b.stop()
	})
}

func TestCampaign_FirstOnesAreLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		failing int // of the first ten
		want    campaign.State
	}{"well": {1, campaign.Done}, "badly": {3, campaign.Paused}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := campaigning(t, Policy{})
				var n atomic.Int64
				send := b.wa.do
				b.wa.do = func(d core.Delivery) core.Result {
					if n.Add(1) <= int64(c.failing) {
						return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Vendor: "131026", Message: "undeliverable"}}
					}
					return send(d)
				}
				b.start()
				b.newCampaign(CampaignRequest{Name: "spring", Template: greeting, First: campaign.First{Percent: 10, Wait: "30m"}}, entries(100)...)
				b.planIt("spring")
				b.set("spring", CampaignStart)
				settled(30*time.Minute - time.Second)
				b.wantState("spring", campaign.Canary, "")
				var lines []int
				for _, r := range b.rows("spring") {
					if r.State != campaign.RowPlanned {
						lines = append(lines, r.N-2)
					}
				}
				if want := []int{9, 19, 29, 39, 49, 59, 69, 79, 89, 99}; !slices.Equal(lines, want) {
					t.Errorf("first went %v, want those spread over the list", lines)
				}
				if c := b.get("spring"); !strings.Contains(c.Waits, "10 went first") || c.Until.IsZero() {
					t.Errorf("waits %q until %v", c.Waits, c.Until)
				}
				settled(2 * time.Second)
				b.wantState("spring", c.want, "")
				if c.want == campaign.Paused {
					b.wantState("spring", campaign.Paused, "those that went first: of 10 that were sent lately 3 failed: 30.0 %, more than 20 %")
					if got := len(b.wa.taken()); got != 10 {
						t.Errorf("%d were sent", got)
					}
					b.set("spring", CampaignResume) // a person has looked
					settled(time.Second)
					b.wantState("spring", campaign.Done, "")
				}
				if got := len(b.wa.taken()); got != 100 {
					t.Errorf("%d were sent", got)
				}
				b.stop()
			})
		})
	}
}

func TestCampaign_StopsByItself(t *testing.T) {
	fails := func(vendor string, each int64) func(*bridge) {
		return func(b *bridge) {
			var n atomic.Int64
			send := b.wa.do
			b.wa.do = func(d core.Delivery) core.Result {
				if n.Add(1)%each == 0 {
					return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Vendor: vendor, Message: "no", Scope: core.ScopeEvent}}
				}
				return send(d)
			}
		}
	}
	for name, c := range map[string]struct {
		do  func(*bridge)
		why string
	}{
		"who does not want it":  {fails("131049", 10), "refused"},
		"who stopped marketing": {fails("131050", 10), "refused"},
		"failures":              {fails("131026", 3), "failed"},
		"the template, at once": {fails("132015", 300), "paused the template"},
		"the number's spam, waits": {func(b *bridge) {
			var n atomic.Int64
			send := b.wa.do
			b.wa.do = func(d core.Delivery) core.Result {
				if n.Add(1) > 50 {
					return core.Result{Err: &core.Error{Code: core.CodeRateLimited, Vendor: "131048", Message: "spam", RetryAfter: time.Hour, Scope: core.ScopeLane}}
				}
				return send(d)
			}
		}, "has the number for spam"},
		"the number is flagged": {func(b *bridge) {
			var n atomic.Int64
			send := b.wa.do
			b.wa.do = func(d core.Delivery) core.Result {
				if n.Add(1) == 50 {
					b.accept(core.Event{ID: "q1", Kind: core.KindLimitChanged, Tenant: "acme", LimitChange: &core.LimitChange{Display: "+1 555 0100", Event: "FLAGGED"}})
				}
				return send(d)
			}
		}, "flagged the number"},
		"the account is restricted": {func(b *bridge) {
			var n atomic.Int64
			send := b.wa.do
			b.wa.do = func(d core.Delivery) core.Result {
				if n.Add(1) == 50 {
					b.accept(core.Event{ID: "r1", Kind: core.KindAccountChanged, Tenant: "acme", Time: time.Now(), AccountChange: &core.AccountChange{
						Text: "WhatsApp has restricted the account", Alarm: "critical", About: "account", Stops: &[]core.Stop{{What: core.StopBegins}}}})
				}
				return send(d)
			}
		}, "restricted the account"},
		"the template's status": {func(b *bridge) {
			var n atomic.Int64
			send := b.wa.do
			b.wa.do = func(d core.Delivery) core.Result {
				if n.Add(1) == 50 {
					b.accept(core.Event{ID: "t1", Kind: core.KindTemplateChanged, Tenant: "acme", TemplateChange: &core.TemplateChange{Name: "info", Language: "en", Status: "PAUSED"}})
				}
				return send(d)
			}
		}, "as paused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := campaigning(t, Policy{})
				change := b.change
				b.change = func(o *Options) {
					change(o)
					o.Tenants[0].Numbers[0].Rate, o.Tenants[0].Numbers[0].Display = 80, "+1 555 0100"
				}
				c.do(b)
				b.start()
				b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(1000)...)
				b.planIt("spring")
				b.set("spring", CampaignStart)
				settled(time.Minute)
				b.wantState("spring", campaign.Paused, c.why)
				sent := len(b.wa.taken())
				if sent > 900 {
					t.Errorf("%d were sent all the same", sent)
				}
				settled(10 * time.Minute)
				if more := len(b.wa.taken()) - sent; more > 1 { // a probe of the lane
					t.Errorf("%d were sent while it was paused", more)
				}
				b.stop()
			})
		})
	}
}

func TestCampaign_IsPausedAndStopped_WithWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		change := b.change
		b.change = func(o *Options) { change(o); o.Tenants[0].Numbers[0].Rate = 10 }
		b.start()
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(400)...)
		b.planIt("spring")
		b.set("spring", CampaignStart)
		settled(10 * time.Second)
		if n := b.get("spring").Counts[campaign.RowQueued]; n > 2*CampaignBatch {
			t.Errorf("%d are on their way", n)
		}
		b.set("spring", CampaignPause)
		settled(10 * time.Second)
		sent := len(b.wa.taken())
		settled(30 * time.Minute)
		if more := len(b.wa.taken()) - sent; more > 0 || sent > 250 {
			t.Errorf("%d were sent, and %d while it was paused", sent, more)
		}
		b.stop() // a pause outlasts the process
		b.start()
		settled(time.Minute)
		b.wantState("spring", campaign.Paused, "")
		b.set("spring", CampaignResume)
		settled(5 * time.Second)
		b.set("spring", CampaignStop)
		settled(5 * time.Minute)
		sent = len(b.wa.taken())
		b.wantState("spring", campaign.Stopped, "")
		counts := b.get("spring").Counts
		if counts[campaign.RowQueued] != 0 || counts[campaign.RowSent] != sent || counts[campaign.RowPlanned] == 0 || counts[campaign.RowExcluded] == 0 {
			t.Errorf("%d were sent, counts %v", sent, counts)
		}
		if _, err := b.SetCampaign(context.Background(), "acme", "spring", CampaignResume, "maria", ""); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("what was stopped was resumed: %v", err)
		}
		b.stop()
	})
}

func TestCampaign_WaitsForTheMorning_AndForgetsWhoSaidStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		night, err := consent.ParseQuietHours("22:00-09:00") // it is 1:00 in Madrid
		if err != nil {
			t.Fatal(err)
		}
		b := campaigning(t, Policy{QuietHours: night})
		b.start()
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(3)...)
		c := b.planIt("spring")
		if c.Plan.Night != 3 || c.Plan.NightEnds.Format("15:04") != "08:00" || c.Plan.Finishes.Before(c.Plan.NightEnds) {
			t.Errorf("plan: %+v", *c.Plan)
		}
		b.set("spring", CampaignStart)
		settled(time.Hour)
		if c := b.get("spring"); !strings.Contains(c.Waits, "night") || c.Until.Format("15:04") != "08:00" {
			t.Errorf("waits %q until %v", c.Waits, c.Until)
		}
		b.write("wamid.in.1", phoneOf(1), "STOP")
		before := len(b.wa.taken())
		settled(time.Until(time.Date(2000, 1, 1, 7, 59, 59, 0, time.UTC)))
		if n := len(b.wa.taken()) - before; n != 0 {
			t.Errorf("%d were woken", n)
		}
		settled(2 * time.Second)
		b.wantRows("spring", "2 sent", "3 excluded suppressed", "4 sent")
		b.wantState("spring", campaign.Done, "")
		b.stop()
	})
}

// Who gets too much marketing is not sent more of it for a day, and nobody waits for them.
func TestCampaign_LetsPeopleBeFromWhomWhatsAppKeepsMarketing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		send, refused := b.wa.do, 0
		b.wa.do = func(d core.Delivery) core.Result {
			if d.Event.Message.To.Value == phoneOf(1) && refused == 0 {
				refused++
				return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Vendor: "131049", Message: "no"}}
			}
			return send(d)
		}
		b.start()
		for _, name := range []string{"spring", "summer"} {
			b.newCampaign(CampaignRequest{Name: name, Template: campaign.Template{Name: "promo", Language: "en"}}, entries(3)...)
		}
		for i := range 3 {
			b.change1(fmt.Sprint("k", i), phoneOf(i), core.Consent{Level: "marketing", State: "granted", Source: "person", Evidence: "asked"})
		}
		settled(time.Second)
		b.planIt("spring")
		b.set("spring", CampaignStart)
		settled(time.Second)
		b.wantRows("spring", "2 sent", "3 failed", "4 sent")
		b.wantState("spring", campaign.Done, "")
		b.planIt("summer")
		b.set("summer", CampaignStart)
		settled(23 * time.Hour)
		b.wantRows("summer", "2 sent", "3 planned", "4 sent")
		if c := b.get("summer"); !strings.Contains(c.Waits, "keeps marketing from them") {
			t.Errorf("waits: %q until %v", c.Waits, c.Until)
		}
		settled(time.Hour)
		b.wantRows("summer", "2 sent", "3 sent", "4 sent")
		b.stop()
	})
}

func TestCampaign_OnePersonGetsOne_AndWhoIsErasedNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		b.start()
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(4)...)
		b.planIt("spring")
		ids := map[int]string{}
		for _, r := range b.rows("spring") {
			ids[r.N] = r.Contact
		}
		b.merge(ids[2], ids[3])
		for _, preview := range []bool{true, false} {
			e, err := b.EraseContact(context.Background(), EraseRequest{Tenant: "acme", Contact: ids[4], Reason: "asked", By: "maria", Preview: preview})
			if err != nil || e.Held.Rows != 1 {
				t.Errorf("%+v, %v", e, err)
			}
		}
		export, err := b.ExportContact(context.Background(), "acme", ids[5])
		if err != nil || len(export.Rows) != 1 || !strings.Contains(string(export.Rows[0].Value), "C-3") {
			t.Errorf("%s, %v", export.Rows, err)
		}
		settled(time.Second)
		b.set("spring", CampaignStart)
		settled(time.Second)
		b.wantRows("spring", "2 sent", "3 excluded duplicate", "4 excluded erased", "5 sent")
		for _, r := range b.rows("spring") {
			if r.N == 4 && (r.Contact != "" || r.To != "" || r.Values != nil || r.Columns != nil) {
				t.Errorf("of who was erased there is %+v", r)
			}
		}
		b.stop()
	})
}

func TestCampaign_RefusesWhatMakesNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		b.start()
		ctx := context.Background()
		ok := CampaignRequest{Tenant: "acme", Name: "spring", By: "maria", Template: greeting}
		for what, change := range map[string]func(*CampaignRequest){
			"name":        func(r *CampaignRequest) { r.Name = "Spring Sale" },
			"no tenant":   func(r *CampaignRequest) { r.Tenant = "nobody" },
			"number":      func(r *CampaignRequest) { r.Number = "1" },
			"template":    func(r *CampaignRequest) { r.Template.Language = "" },
			"by":          func(r *CampaignRequest) { r.By = "" },
			"first":       func(r *CampaignRequest) { r.First.Percent = 101 },
			"wait":        func(r *CampaignRequest) { r.First.Wait = "soon" },
			"stops":       func(r *CampaignRequest) { r.Stops.Blocked = -1 },
			"components":  func(r *CampaignRequest) { r.Template.Components = json.RawMessage(`[{"text":"{{secret}}"}]`) },
			"column.Code": func(r *CampaignRequest) { r.Tag = "vip" },
			"a value":     func(r *CampaignRequest) { r.Value = "x" },
		} {
			r := ok
			change(&r)
			if _, err := b.NewCampaign(ctx, r); core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := b.NewCampaign(ctx, ok); err != nil {
			t.Fatal(err)
		}
		if _, err := b.NewCampaign(ctx, ok); err != nil {
			t.Errorf("the same again: %v", err)
		}
		other := ok
		other.By = "pedro"
		if _, err := b.NewCampaign(ctx, other); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("another of the name: %v", err)
		}
		for _, what := range []string{CampaignPlan, CampaignStart, CampaignPause, CampaignResume, "fly"} {
			if _, err := b.SetCampaign(ctx, "acme", "spring", what, "maria", ""); core.CodeOf(err) != core.CodeUndeliverable {
				t.Errorf("%s of a draft without rows: %v", what, err)
			}
		}
		if _, err := b.AddToCampaign(ctx, "spring", CampaignEntries{Tenant: "acme", People: entries(CampaignBatch + 1)}); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("a batch too large: %v", err)
		}
		// A plan that is old does not start.
		b.newCampaign(ok, entries(1)...)
		b.planIt("spring")
		settled(planHolds + time.Hour)
		if _, err := b.SetCampaign(ctx, "acme", "spring", CampaignStart, "maria", ""); err == nil || !strings.Contains(err.Error(), "plan it again") {
			t.Errorf("an old plan started: %v", err)
		}
		b.stop()
	})
}
