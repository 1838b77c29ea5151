package broker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
)

// names are the campaigns that there are, the latest first.
func (b *bridge) campaignNames() string {
	var out []string
	for _, c := range b.Campaigns("acme") {
		out = append(out, c.Name)
	}
	return strings.Join(out, " ")
}

func (b *bridge) wantRefused(want string, err error) {
	b.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		b.Errorf("got %v, want an error with %q", err, want)
	}
}

// made asks for a campaign.
func (b *bridge) made(name string) error {
	_, err := b.NewCampaign(context.Background(), CampaignRequest{Tenant: "acme", Name: name, Template: greeting, By: "maria"})
	return err
}

func TestCampaignGone_GoesWithItsRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		b.start()
		b.newCampaign(CampaignRequest{Name: "sent", Template: greeting}, entries(2)...)
		b.planIt("sent")
		b.set("sent", CampaignStart)
		settled(time.Minute)
		b.newCampaign(CampaignRequest{Name: "untouched", Template: greeting}, entries(1)...)
		b.newCampaign(CampaignRequest{Name: "touched", Template: greeting}, entries(1)...)
		b.newCampaign(CampaignRequest{Name: "audience", Template: campaign.Template{Name: "info", Language: "en"}, Tag: "vip"})
		settled(time.Second)
		b.off(100 * 24 * time.Hour)
		sent := b.rows("sent")[0]
		b.accept(statusOf(sent.Event, sent.MessageID, core.StatusRead)) // a late step: the row stays for longer
		if _, err := b.AddToCampaign(b.Context(), "touched", CampaignEntries{Tenant: "acme", People: entries(2)[1:]}); err != nil {
			t.Fatal(err)
		}
		settled(time.Minute)
		b.off(79 * 24 * time.Hour)
		settled(campaignsSweep)
		if got := b.campaignNames(); got != "audience touched untouched sent" {
			t.Errorf("on the last day there are %s", got)
		}
		b.off(2 * 24 * time.Hour)
		settled(2 * campaignsSweep)
		if got := b.campaignNames(); got != "touched sent" {
			t.Errorf("after 180 days there are %s", got)
		}
		b.off(100 * 24 * time.Hour)
		settled(2 * campaignsSweep)
		if got := b.campaignNames(); got != "" {
			t.Errorf("after 280 days there are %s", got)
		}
		b.wantNotes("campaign-sent", "forgotten: nothing was done with it for 180 days")
		b.wantRefused("there was a campaign sent until ", b.made("sent"))
		b.off(keepName)
		settled(campaignsSweep)
		if err := b.made("sent"); err != nil {
			t.Error(err)
		}
		b.stop()
	})
}

func TestCampaignGone_IsDeletedWithItsRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		answer := b.wa.do
		b.wa.do = func(d core.Delivery) core.Result { <-time.After(10 * time.Second); return answer(d) }
		b.start()
		b.newCampaign(CampaignRequest{Name: "draft", Template: greeting}, append(entries(700), entry(0))...)
		b.set("draft", CampaignDelete)
		left := func() (n int) {
			for _, bucket := range []string{bucketRows, bucketRowOf, bucketCampaigns} {
				entries, err := b.store.Range(b.Context(), "acme", bucket, "", 1000)
				if err != nil {
					t.Fatal(err)
				}
				n += len(entries)
			}
			return n
		}
		if n := left(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
		// Nothing was sent in its name: it is free.
		b.newCampaign(CampaignRequest{Name: "draft", Template: greeting}, entries(3)...)
		b.planIt("draft")
		b.set("draft", CampaignStart)
		_, err := b.SetCampaign(b.Context(), "acme", "draft", CampaignDelete, "maria", "")
		b.wantRefused("stop it first", err)
		settled(time.Minute)
		if got := b.get("draft"); got.State != campaign.Done {
			t.Fatalf("it is %s", got.State)
		}
		sent := b.rows("draft")[0]
		if was := b.set("draft", CampaignDelete); was.State != campaign.Done || was.Counts[campaign.RowSent] != 3 {
			t.Errorf("it was %+v", was)
		}
		b.accept(statusOf(sent.Event, sent.MessageID, core.StatusDelivered)) // of a row that is gone
		settled(time.Minute)
		if n := left(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
		b.wantRefused("there was a campaign draft", b.made("draft"))
		_, err = b.SetCampaign(b.Context(), "acme", "draft", CampaignDelete, "maria", "")
		b.wantRefused("no campaign", err)
		b.stop()
		b.start()
		if got := b.campaignNames(); got != "" {
			t.Errorf("after a restart there are %s", got)
		}
		b.wantRefused("there was a campaign draft", b.made("draft"))
		b.stop()
	})
}

// A dead letter of a campaign that was deleted is not sent by replaying it.
func TestCampaignGone_SendsNothingAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		b.wa.do = func(core.Delivery) core.Result {
			return core.Result{Err: &core.Error{Code: core.CodeUndeliverable, Message: "no", Scope: core.ScopeEvent}}
		}
		b.start()
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(1)...)
		b.planIt("spring")
		b.set("spring", CampaignStart)
		settled(time.Minute)
		tries := len(b.wa.taken())
		b.set("spring", CampaignDelete)
		dead := b.dead()
		if len(dead) == 0 {
			t.Fatal("there is no dead letter")
		}
		for _, d := range dead {
			if err := b.Replay(b.Context(), d.ID); err != nil {
				t.Fatal(err)
			}
		}
		settled(time.Minute)
		if n := len(b.wa.taken()); n != tries {
			t.Errorf("%d tries after it was deleted", n-tries)
		}
		b.stop()
	})
}
