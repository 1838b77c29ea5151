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
