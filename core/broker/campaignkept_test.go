package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// What a campaign kept of people goes with its rows, in the end: who had which, too.
func TestCampaign_KeepsNothingOfPeopleForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		b.start()
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(3)...)
		b.planIt("spring")
		b.set("spring", CampaignStart)
		settled(time.Minute)
		kept := func(bucket string) int {
			entries, err := b.o.Store.Range(context.Background(), "acme", bucket, "", 10)
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		b.off(keepRows - time.Hour)
		settled(time.Minute)
		if rows, of := kept(bucketRows), kept(bucketRowOf); rows != 3 || of != 3 {
			t.Errorf("%d rows and whose %d are, while they are kept: want 3", rows, of)
		}
		b.off(keepRowOf)
		settled(2 * time.Hour)
		if rows, of := kept(bucketRows), kept(bucketRowOf); rows != 0 || of != 0 {
			t.Errorf("%d rows and whose %d are, for good", rows, of)
		}
		b.stop()
	})
}

// Planning goes on after a restart, also one that came before the first row was looked at.
func TestCampaign_PlansOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := campaigning(t, Policy{})
		change, mine := b.change, &mortal{after: true, died: make(chan struct{})}
		b.change = func(o *Options) {
			change(o)
			if mine != nil {
				mine.Store, o.Store = o.Store, mine
			}
		}
		mine.left.Store(1 << 40)
		b.start()
		b.newCampaign(CampaignRequest{Name: "spring", Template: greeting}, entries(3)...)
		settled(time.Second)
		mine.left.Store(1)
		if _, err := b.SetCampaign(b.Context(), "acme", "spring", CampaignPlan, "maria", ""); err == nil {
			t.Fatal("the process did not die")
		}
		b.stop()
		mine = nil
		b.start()
		settled(time.Second)
		b.wantRows("spring", "2 planned", "3 planned", "4 planned")
		b.stop()
	})
}
