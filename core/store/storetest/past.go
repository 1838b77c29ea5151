package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

var pastCases = []testCase{
	{"HistoryInPages", "the records with an id are read page by page, in the order in which they were stored, before, while and after they are moved", func(b *bench) {
		b.start()
		const n = 500
		put := func(i int) {
			ids := []string{fmt.Sprintf("m%03d", i)}
			if i%5 == 0 {
				ids = append(ids, "#fifth")
			}
			b.settle(store.Settlement{Record: []store.Record{
				{Tenant: "acme", IDs: ids, Time: time.Now(), Data: fmt.Appendf(nil, "%03d", i)},
				{Tenant: "other", IDs: []string{"#fifth"}, Time: time.Now(), Data: []byte("not ours")},
			}})
		}
		read := func(limit int, between func(page int)) []string {
			q := store.HistoryQuery{Tenant: "acme", ID: "#fifth", Limit: limit}
			out := []string{}
			for page := 1; ; page++ {
				recs, next, err := b.History(context.Background(), q)
				if err != nil {
					b.Fatal(err)
				}
				if len(recs) == 0 {
					return out
				}
				if len(recs) > limit {
					b.Fatalf("a page of %d records, limit %d", len(recs), limit)
				}
				for _, r := range recs {
					out = append(out, string(r.Data))
				}
				q.After = next
				between(page)
			}
		}
		none := func(int) {}
		want := []string{}
		for i := range n {
			if put(i); i%5 == 0 {
				want = append(want, fmt.Sprintf("%03d", i))
			}
			if i%120 == 119 {
				b.wait(5 * time.Second) // several blocks, and some that wait
			}
		}
		for _, limit := range []int{1, 7, 100, 1000} {
			b.want(fmt.Sprintf("pages of %d", limit), read(limit, none), want)
		}
		b.want("moved while it is read", read(17, func(page int) {
			if page == 5 {
				b.wait(5 * time.Second)
			}
		}), want)
		b.want("moved", read(23, none), want)
		b.restart()
		b.want("opened again", read(23, none), want)
		b.want("more while it is read", read(50, func(page int) {
			if page == 2 {
				put(500)
			}
		}), append(want, "500"))
	}},
	{"HistoryOfATime", "only the records of the time asked for are read, across months", func(b *bench) {
		b.start()
		start := time.Now()
		for day := range 40 {
			for i := range 3 {
				b.settle(store.Settlement{Record: []store.Record{{
					Tenant: "acme", IDs: []string{"x"}, Data: fmt.Appendf(nil, "%d.%d", day, i),
					Time: start.Add(time.Duration(3*day+i) * 8 * time.Hour),
				}}})
				b.wait(3 * time.Second) // a block each
			}
		}
		at := func(days float64) time.Time { return start.Add(time.Duration(days * 24 * float64(time.Hour))) }
		for _, c := range []struct {
			from, to time.Time
			want     []string
		}{
			{at(9.9), at(10.5), []string{"10.0", "10.1"}},
			{at(38.5), time.Time{}, []string{"38.2", "39.0", "39.1", "39.2"}},
			{time.Time{}, start.Add(8 * time.Hour), []string{"0.0"}},
			{at(30.9), at(31.01), []string{"31.0"}},
			{at(50), at(60), []string{}},
		} {
			recs, _, err := b.History(context.Background(), store.HistoryQuery{Tenant: "acme", ID: "x", From: c.from, To: c.to, Limit: 100})
			if err != nil {
				b.Fatal(err)
			}
			got := []string{}
			for _, r := range recs {
				got = append(got, string(r.Data))
			}
			b.want(fmt.Sprintf("%v to %v", c.from, c.to), got, c.want)
		}
	}},
}
