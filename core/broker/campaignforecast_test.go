package broker

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/roster"
)

var forecasts = flag.Int("forecasts", 1+2/fewer, "how many campaigns are forecast")

// bounded is a campaign, and what bounds it.
type bounded struct {
	people, plan, aDay, before, hour int
	rate, first                      float64
	quiet                            string
	sorted                           bool // by country
}

var boundeds = rapid.Custom(func(t *rapid.T) bounded {
	n := rapid.IntRange(20, 120).Draw(t, "people")
	out := bounded{
		people: n, plan: rapid.SampledFrom([]int{0, 0, 20}).Draw(t, "a minute"), aDay: rapid.SampledFrom([]int{0, n / 2, n, 2 * n}).Draw(t, "people a day"),
		before: rapid.IntRange(0, 20).Draw(t, "reached before"), hour: rapid.IntRange(0, 23).Draw(t, "hour"),
		rate: rapid.SampledFrom([]float64{0.005, 0.02, 1, 80}).Draw(t, "rate"), first: rapid.SampledFrom([]float64{0, 10}).Draw(t, "first"),
		quiet: rapid.SampledFrom([]string{"", "22:00-09:00"}).Draw(t, "quiet hours"), sorted: rapid.Bool().Draw(t, "sorted"),
	}
	if out.aDay > 0 { // who waits already is not forecast
		out.before = min(out.before, out.aDay)
	}
	return out
})

// When a campaign is done is what its plan said, whatever bounds it: -forecasts 500 tries more.
func TestCampaign_IsDoneWhenItsPlanSays(t *testing.T) {
	prefixes := []string{"+346001", "+447911", "+5255510"} // Spain, the UK, Mexico
	for seed := range *forecasts {
		bounds := boundeds.Example(seed)
		synctest.Test(t, func(t *testing.T) {
			b := campaigning(t, Policy{})
			change := b.change
			b.change = func(o *Options) {
				change(o)
				tenant := &o.Tenants[0]
				if bounds.quiet != "" {
					tenant.Policy.QuietHours, _ = consent.ParseQuietHours(bounds.quiet)
				}
				tenant.Numbers[0].Rate = bounds.rate
				tenant.Limits.MessagesPerMinute, tenant.Limits.PeoplePerDay = bounds.plan, bounds.aDay
			}
			time.Sleep(time.Duration(bounds.hour) * time.Hour)
			b.start()
			if bounds.rate >= 1 {
				for i := range bounds.before {
					b.order(fmt.Sprint("before-", i), fmt.Sprintf("+4915112%05d", i), "template info")
				}
				settled(time.Hour)
			}
			people := make([]CampaignEntry, bounds.people)
			for i := range people {
				p := prefixes[i%3]
				if bounds.sorted {
					p = prefixes[3*i/len(people)]
				}
				people[i] = CampaignEntry{Person: roster.Person{Line: i + 2, Name: "Ana", Phones: []roster.Phone{{Number: fmt.Sprintf("%s%05d", p, i)}}}}
			}
			b.newCampaign(CampaignRequest{Name: "spring", Template: campaign.Template{Name: "info", Language: "en"}, First: campaign.First{Percent: bounds.first, Wait: "1h"}}, people...)
			c := b.planIt("spring")
			if c.Plan.Planned != len(people) {
				t.Fatalf("%d of %d are planned: %v", c.Plan.Planned, len(people), c.Plan.Excluded)
			}
			c = b.set("spring", CampaignStart)
			for range 2000 {
				if c = b.get("spring"); c.State != campaign.Running && c.State != campaign.Canary {
					break
				}
				settled(10 * time.Minute)
			}
			said, took := c.Plan.Finishes.Sub(c.Plan.At), c.Ended.Sub(c.Started)
			if c.State != campaign.Done || max(said-took, took-said) > took/20+5*time.Second {
				t.Errorf("seed %d: %+v: %s (%s) after %v, its plan said %v: %q", seed, bounds, c.State, c.Why, took, said, c.Plan.Bounds)
			}
			b.stop()
		})
	}
}
