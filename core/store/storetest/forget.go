package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

var forgetCases = []testCase{
	{"Forget", "what is forgotten is gone from the history, moved or not, and nothing else is", func(b *bench) {
		b.start()
		ctx := context.Background()
		const n = 300
		put := func(i int) {
			b.settle(store.Settlement{Record: []store.Record{
				{Tenant: "acme", IDs: []string{fmt.Sprintf("m%d", i), fmt.Sprintf("person%d", i%3), "#all"}, Time: time.Now(), Data: fmt.Append(nil, i)},
				{Tenant: "other", IDs: []string{"person1"}, Time: time.Now(), Data: fmt.Append(nil, i)},
			}})
		}
		for i := range n {
			if put(i); i%100 == 50 {
				b.wait(5 * time.Second)
			}
		}
		if got, err := b.Forget(ctx, "acme", "person1", "nobody"); err != nil || got != n/3 {
			b.Fatalf("%d records were forgotten, %v; want %d", got, err, n/3)
		}
		check := func(when string) {
			b.Helper()
			count := func(tenant, id string) int {
				recs, err := b.Find(ctx, tenant, id)
				if err != nil {
					b.Fatal(err)
				}
				return len(recs)
			}
			b.want(when, []int{count("acme", "person1"), count("acme", "m1"), count("acme", "person0"), count("acme", "person2"), count("other", "person1")},
				[]int{0, 0, n / 3, n / 3, n})
			all := 0
			for q := (store.HistoryQuery{Tenant: "acme", ID: "#all", Limit: 7}); ; {
				recs, next, err := b.History(ctx, q)
				if err != nil {
					b.Fatal(err)
				}
				if len(recs) == 0 {
					break
				}
				all, q.After = all+len(recs), next
			}
			b.want(when+", by pages", all, 2*n/3)
		}
		check("at once")
		b.wait(5 * time.Second)
		check("when all is moved")
		b.restart()
		check("opened again")
		if got, err := b.Forget(ctx, "acme", "person1"); err != nil || got != 0 {
			b.Errorf("forgotten again: %d, %v", got, err)
		}
	}},
	{"Drop", "items that nobody has are dropped, wherever they wait; one that somebody has is not", func(b *bench) {
		b.start()
		ctx := context.Background()
		q := store.QueueID{Tenant: "acme", Name: "q"}
		add := func(id, order string, due time.Duration) {
			it := store.Item{Queue: q, ID: id, Order: order, Data: []byte(id)}
			if due > 0 {
				it.Due = time.Now().Add(due)
			}
			b.settle(store.Settlement{Add: []store.Item{it}})
		}
		add("first", "a", 0)
		add("second", "a", 0)
		add("third", "a", 0)
		add("alone", "", 0)
		add("later", "b", time.Minute)
		add("behind", "b", 0)
		had, err := b.Fetch(ctx, q, 1, time.Minute)
		if err != nil || had[0].ID != "first" {
			b.Fatalf("got %v, %v", had, err)
		}
		at := map[string]store.Delivery{}
		list, err := b.Peek(ctx, q, 0, 10)
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range list {
			at[d.ID] = d
		}
		if _, err := b.Settle(ctx, store.Settlement{Drop: []store.Delivery{at["second"], at["first"]}}); !errors.Is(err, store.ErrStale) {
			b.Errorf("dropping what somebody has: %v", err)
		}
		b.settle(store.Settlement{Drop: []store.Delivery{at["second"], at["alone"], at["later"]}})
		again := store.Settlement{Drop: []store.Delivery{at["alone"]}, Add: []store.Item{{Queue: q, ID: "instead", Data: []byte("instead")}}}
		if _, err := b.Settle(ctx, again); !errors.Is(err, store.ErrStale) {
			b.Errorf("dropping what is gone, to add something instead: %v", err)
		}
		rest := func() []string {
			ids := []string{}
			ds, err := b.Peek(ctx, q, 0, 10)
			if err != nil {
				b.Fatal(err)
			}
			for _, d := range ds {
				ids = append(ids, d.ID)
			}
			return ids
		}
		b.want("left", rest(), []string{"first", "third", "behind"})
		b.settle(store.Settlement{Ack: had})
		next, err := b.Fetch(ctx, q, 5, time.Minute)
		if err != nil || len(next) != 2 {
			b.Fatalf("then %v, %v", next, err)
		}
		b.settle(store.Settlement{Ack: next})
		b.restart()
		b.want("opened again", rest(), []string{})
	}},
	{"Scrub", "what is there stays, whatever is written meanwhile, and is there when opened again", func(b *bench) {
		b.start()
		ctx := context.Background()
		k := func(i int) store.Key { return store.Key{Tenant: "acme", Bucket: "state", Key: fmt.Sprint(i)} }
		for i := range 200 {
			b.settle(store.Settlement{Put: []store.Put{{Key: k(i), Value: fmt.Append(nil, i)}}, Add: []store.Item{item(fmt.Sprint(i), "")}})
		}
		for i := range 100 {
			b.settle(store.Settlement{Put: []store.Put{{Key: k(i)}}})
		}
		if err := b.Scrub(ctx); err != nil {
			b.Fatal(err)
		}
		check := func(when string) {
			b.Helper()
			values, err := b.Get(ctx, k(0), k(100), k(199))
			if err != nil {
				b.Fatal(err)
			}
			b.want(when, []string{string(values[0]), string(values[1]), string(values[2])}, []string{"", "100", "199"})
		}
		check("at once")
		b.restart()
		check("opened again")
		b.want("items", len(b.fetch(300)), 200)
	}},
}
