package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

var stateCases = []testCase{
	{"PutGetDelete", "values are what was put last, also after opening again; nil deletes; empty is not nil", func(b *bench) {
		b.start()
		b.settle(store.Settlement{Put: []store.Put{
			{Key: key("a"), Value: []byte("1")}, {Key: key("b"), Value: []byte("2")}, {Key: key("e"), Value: []byte{}},
		}})
		b.settle(store.Settlement{Put: []store.Put{{Key: key("a"), Value: []byte("3")}, {Key: key("b")}}})
		b.want("values", b.get(key("a"), key("b"), key("e"), key("none")), []string{"3", "<none>", "", "<none>"})
		b.restart()
		b.want("again", b.get(key("a"), key("b"), key("e")), []string{"3", "<none>", ""})
	}},
	{"TenantsAreApart", "the same key of another tenant is another value", func(b *bench) {
		b.start()
		other := store.Key{Tenant: "other", Bucket: "state", Key: "a"}
		b.settle(store.Settlement{Put: []store.Put{{Key: key("a"), Value: []byte("mine")}}})
		b.want("values", b.get(key("a"), other), []string{"mine", "<none>"})
	}},
	{"RangePages", "Range gives keys in order, from a key on, a page at a time", func(b *bench) {
		b.start()
		var puts []store.Put
		for i := range 25 {
			puts = append(puts, store.Put{Key: key(fmt.Sprintf("%02d", i)), Value: []byte("v")})
		}
		b.settle(store.Settlement{Put: puts})
		var got []string
		after := ""
		for {
			page, err := b.Range(context.Background(), "acme", "state", after, 10)
			if err != nil {
				b.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				got = append(got, e.Key)
			}
			after = page[len(page)-1].Key
		}
		b.want("keys", len(got), 25)
		b.want("first and last", []string{got[0], got[24]}, []string{"00", "24"})
	}},
	{"ValuesExpire", "a value is there until it expires, and gone an hour and a bit later; more time given later counts", func(b *bench) {
		b.start()
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		b.settle(store.Settlement{Put: []store.Put{
			{Key: key("short"), Value: []byte("x"), Expires: in(2 * time.Hour)},
			{Key: key("longer"), Value: []byte("x"), Expires: in(2 * time.Hour)},
			{Key: key("ever"), Value: []byte("x")},
		}})
		b.settle(store.Settlement{Put: []store.Put{{Key: key("longer"), Value: []byte("x"), Expires: in(48 * time.Hour)}}})
		b.wait(2*time.Hour - time.Second)
		b.want("before", b.get(key("short"), key("longer"), key("ever")), []string{"x", "x", "x"})
		b.wait(time.Hour + 2*time.Minute)
		b.want("after", b.get(key("short"), key("longer"), key("ever")), []string{"<none>", "x", "x"})
	}},
	{"DeadLetterIsKeptWhole", "a terminated item leaves its queue, frees its order, and is kept with its reason", func(b *bench) {
		b.start()
		b.add(item("a1", "a"), item("a2", "a"))
		deadline := time.Now().Add(24 * time.Hour).UTC()
		b.settle(store.Settlement{Term: []store.Term{{Delivery: b.fetch(1)[0], Reason: []byte(`"why"`), Deadline: deadline}}})
		b.want("the next goes on", ids(b.fetch(10)), []string{"a2"})
		b.restart()
		dead, err := b.Dead(context.Background(), "acme", "", 10)
		if err != nil || len(dead) != 1 {
			b.Fatalf("Dead: %v, %v", dead, err)
		}
		d := dead[0]
		b.want("dead letter", []string{d.Item, d.Order, string(d.Data), string(d.Reason), d.Queue.Name}, []string{"a1", "a", "data of a1", `"why"`, "work"})
		b.want("deadline", d.Deadline.Equal(deadline), true)
		b.want("count", b.Stats().Dead, 1)
		if _, err := b.Store.DeadLetter(context.Background(), d.ID); err != nil {
			b.Error(err)
		}
	}},
	{"DeadLettersAreReplayed", "a replayed dead letter is an item again, with its attempts at zero; a resolved one is gone", func(b *bench) {
		b.start()
		b.add(item("a", ""), item("b", ""))
		for _, d := range b.fetch(2) {
			b.settle(store.Settlement{Term: []store.Term{{Delivery: d, Reason: []byte("1")}}})
		}
		dead, err := b.Dead(context.Background(), "", "", 10)
		if err != nil || len(dead) != 2 || dead[0].Item != "a" {
			b.Fatalf("Dead: %v, %v", dead, err)
		}
		page, err := b.Dead(context.Background(), "", dead[0].ID, 10)
		if err != nil || len(page) != 1 || page[0].Item != "b" {
			b.Fatalf("second page: %v, %v", page, err)
		}
		b.settle(store.Settlement{Replay: []string{dead[0].ID}, Resolve: []string{dead[1].ID}})
		ds := b.fetch(10)
		b.want("replayed", ids(ds), []string{"a"})
		b.want("attempt and data", []any{ds[0].Attempt, string(ds[0].Data)}, []any{1, "data of a"})
		_, err = b.Settle(context.Background(), store.Settlement{Resolve: []string{dead[1].ID}, Put: []store.Put{{Key: key("x"), Value: []byte("x")}}})
		if !errors.Is(err, store.ErrNotFound) {
			b.Errorf("resolved twice: %v, want ErrNotFound", err)
		}
		b.want("nothing of it happened", b.get(key("x")), []string{"<none>"})
		b.restart()
		b.want("count", b.Stats().Dead, 0)
		b.want("still there", ids(b.fetch(10)), []string{"a"})
	}},
	{"HistoryIsFound", "records are found by each of their ids, of their tenant only, before and after they were moved and opened again", func(b *bench) {
		b.start()
		rec := func(n int, ids ...string) store.Record {
			return store.Record{Tenant: "acme", IDs: ids, Time: time.Now().Add(time.Duration(n) * time.Second), Data: fmt.Appendf(nil, "step %d", n)}
		}
		b.settle(store.Settlement{Record: []store.Record{rec(2, "a", "x"), rec(1, "a"), rec(3, "b")}})
		find := func(tenant, id string) string {
			recs, err := b.Find(context.Background(), tenant, id)
			if err != nil {
				b.Fatal(err)
			}
			var out []string
			for _, r := range recs {
				out = append(out, string(r.Data))
			}
			return strings.Join(out, ", ")
		}
		check := func(when string) {
			b.want(when, []string{find("acme", "a"), find("acme", "x"), find("acme", "c"), find("other", "a")},
				[]string{"step 1, step 2", "step 2", "", ""})
		}
		check("at once")
		b.wait(10 * time.Second)
		check("moved")
		b.want("lag", b.Stats().HistoryLag, 0)
		b.settle(store.Settlement{Record: []store.Record{rec(4, "c2")}})
		b.restart()
		check("opened again")
		b.want("later", find("acme", "c2"), "step 4")
	}},
}
