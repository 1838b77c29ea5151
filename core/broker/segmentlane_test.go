package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
)

// unset has segments only where its settings say so, and they do not.
type unset struct{ *segmented }

func (unset) Segments(context.Context, string) ([]core.Segment, error) {
	return nil, &core.Error{Code: core.CodeInvalid, Op: "segments", Message: "the settings say nothing of segments", Hint: "set settings.segments"}
}

// A lane that has no segments by its settings is not one that may be meant.
func TestSegment_OfLanesThatMayHaveSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, names := range [][]string{{"crm", "unset"}, {"unset"}, {"unset", "unset2"}} {
			b, crm := segmenting(t, membersTo(3)...)
			change := b.change
			b.change = func(o *Options) {
				change(o)
				o.Tenants[0].Lanes = nil
				for _, name := range names {
					l := Lane{Name: name, Connector: "some", Sink: unset{&segmented{sink: &sink{}, has: []core.Segment{{ID: "1"}}}}, MaxBatch: 1}
					if name == "crm" {
						l.Sink = crm
					}
					o.Tenants[0].Lanes = append(o.Tenants[0].Lanes, l)
				}
			}
			b.start()
			settled(time.Second)
			list, err := b.Segments(b.Context(), SegmentQuery{Tenant: "acme", Name: "spring"})
			switch e := core.AsError(err); {
			case names[0] == "crm":
				if err != nil || list.Lane != "crm" || len(list.Segments) != 1 {
					t.Errorf("%v: %+v, %v", names, list, err)
				}
			case err == nil || e.Code != core.CodeInvalid || e.Hint != "set settings.segments":
				t.Errorf("%v: %+v, %+v", names, list, e)
			}
			b.stop()
		}
	})
}
