package broker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/campaign"
)

// Whenever the process is killed while a segment is read, for the first time or again, each
// member has a row in the end, and one only.
func TestSegment_KilledWhileItIsRead_SkipsAndDoublesNobody(t *testing.T) {
	const people = 7 // three pages
	for _, again := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			died := true
			for n := int64(1); died; n++ { // at each settlement that there is
				t.Run(fmt.Sprintf("again=%v, settlement %d, after=%v", again, n, after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { died = killReading(t, people, n, after, again) })
				})
				if n == 1 && !died {
					t.Error("nothing was killed")
				}
			}
		}
	}
}

// killReading reads a segment, kills the process at a settlement, reports whether there was
// one, and looks at what there is in the end.
func killReading(t *testing.T, people int, n int64, after, again bool) (died bool) {
	b, crm := segmenting(t, membersTo(people)...)
	change, mine := b.change, (*mortal)(nil)
	b.change = func(o *Options) {
		change(o)
		if mine != nil {
			mine.Store, o.Store = o.Store, mine
		}
	}
	b.start()
	b.newSpring()
	if again {
		crm.become("12", member(30), member(2), member(31), member(2))
		b.planIt("spring")
		crm.become("12", membersTo(people)...)
	}
	crm.asks = func(string) error { time.Sleep(time.Second); return nil }
	b.stop()
	mine = &mortal{after: after, died: make(chan struct{})}
	mine.left.Store(1 << 40)
	b.start()
	settled(time.Second)
	mine.left.Store(n + 1) // and the one that begins to plan
	b.set("spring", CampaignPlan)
	select {
	case <-mine.died:
		died = true
	case <-time.After(time.Hour): // it had nothing to do any more
	}
	b.stop()
	mine = nil
	b.start()
	settled(time.Minute)

	var refs, want []string
	for i, r := range b.rows("spring") {
		if refs = append(refs, r.Ref); r.N != i+1 || r.State != campaign.RowPlanned {
			t.Errorf("row %d is %+v", i+1, r)
		}
	}
	for i := range people {
		want = append(want, fmt.Sprint("r", i))
	}
	if !slices.Equal(refs, want) {
		t.Errorf("rows of %q", refs)
	}
	if c := b.get("spring"); c.State != campaign.Planned || c.Plan.Planned != people || len(c.Counts) != 1 || c.Counts[campaign.RowPlanned] != people {
		t.Errorf("in the end it is %s", mustJSON(c))
	}
	b.stop()
	return died
}
