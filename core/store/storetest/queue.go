package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

func classed(id, order string, class int) store.Item {
	it := item(id, order)
	it.Class = class
	return it
}

var queueCases = []testCase{
	{"KeepsItems", "what Settle returned for is there after opening again, whole and in order", func(b *bench) {
		b.start()
		b.add(item("a", ""), item("b", ""))
		b.add(item("c", ""))
		b.restart()
		ds := b.fetch(10)
		b.want("items", ids(ds), []string{"a", "b", "c"})
		b.want("data", string(ds[0].Data), "data of a")
		b.want("attempt", ds[0].Attempt, 1)
	}},
	{"DropsSeen", "an id added Once is dropped afterwards, in the same and in later settlements and after opening again", func(b *bench) {
		once := func(id string) store.Item { it := item(id, ""); it.Once = true; return it }
		b.start()
		b.want("added", b.add(once("a"), once("b"), once("a")), []bool{true, true, false})
		b.settle(store.Settlement{Ack: b.fetch(10)})
		b.want("added again", b.add(once("a"), once("c")), []bool{false, true})
		b.restart()
		b.want("after opening again", b.add(once("b"), once("c"), once("d")), []bool{false, false, true})
	}},
	{"SeenIsPerQueue", "the same id in another queue or of another tenant is another item", func(b *bench) {
		b.start()
		b.want("added", b.add(
			store.Item{Queue: q, ID: "a", Once: true},
			store.Item{Queue: store.QueueID{Tenant: "acme", Name: "other"}, ID: "a", Once: true},
			store.Item{Queue: store.QueueID{Tenant: "other", Name: "work"}, ID: "a", Once: true},
		), []bool{true, true, true})
	}},
	{"OrdersWithinAConversation", "items of one order are handed out one at a time, in order; others beside them", func(b *bench) {
		b.start()
		b.add(item("a1", "a"), item("a2", "a"), item("b1", "b"), item("a3", "a"), item("free", ""))
		first := b.fetch(10)
		b.want("first", ids(first), []string{"a1", "b1", "free"})
		b.want("while they are out", ids(b.fetch(10)), []string{})
		b.settle(store.Settlement{Ack: first[:1]})
		b.want("after the ack", ids(b.fetch(10)), []string{"a2"})
	}},
	{"UrgentGoesFirst", "of what is due the most urgent is handed out first, after opening again too, and in order within a class", func(b *bench) {
		b.start()
		b.add(classed("c1", "", 2), classed("b1", "", 1), classed("c2", "", 2), classed("a1", "", 0), classed("b2", "", 1))
		b.want("first", ids(b.fetch(2)), []string{"a1", "b1"})
		b.restart()
		b.add(classed("a2", "", 0))
		b.want("all", ids(b.fetch(10)), []string{"a1", "a2", "b1", "b2", "c1", "c2"})
	}},
	{"EveryClassHasItsShare", "while more urgent items never end, each class gets one of Share", func(b *bench) {
		b.start()
		const rounds = 5
		for i := range rounds * store.Share {
			b.add(classed(fmt.Sprint("a", i), "", 0), classed(fmt.Sprint("b", i), "", 1), classed(fmt.Sprint("c", i), "", 2))
		}
		for range rounds {
			n := map[byte]int{}
			for range store.Share {
				n[b.fetch(1)[0].ID[0]]++
			}
			b.want("of Share", n, map[byte]int{'a': store.Share - 2, 'b': 1, 'c': 1})
		}
	}},
	{"WhatHoldsBackTheUrgentIsAsUrgent", "an item before a more urgent one of its order goes as that one would, and no other does", func(b *bench) {
		b.start()
		b.add(classed("x1", "x", 2), classed("y1", "y", 2), classed("z1", "z", 1), classed("y2", "y", 0))
		b.want("first", ids(b.fetch(1)), []string{"y1"})
		b.restart()
		ds := b.fetch(1)
		b.want("after opening again", ids(ds), []string{"y1"})
		b.settle(store.Settlement{Ack: ds})
		b.want("then", ids(b.fetch(10)), []string{"y2", "z1", "x1"})
	}},
	{"WhatIsReplayedKeepsItsClass", "a dead letter goes back as urgent as it was", func(b *bench) {
		b.start()
		b.add(classed("c1", "", 2))
		b.settle(store.Settlement{Term: []store.Term{{Delivery: b.fetch(1)[0], Reason: []byte("{}")}}})
		dead, err := b.Dead(context.Background(), "", "", 10)
		b.want("dead", []any{len(dead), err}, []any{1, nil})
		b.settle(store.Settlement{Replay: []string{dead[0].ID}})
		b.add(classed("b1", "", 1))
		b.want("then", ids(b.fetch(10)), []string{"b1", "c1"})
	}},
	{"RetryHoldsBackItsConversationOnly", "a nak'ed item holds back later items of its order, and no others", func(b *bench) {
		b.start()
		b.add(item("a1", "a"), item("a2", "a"), item("b1", "b"))
		ds := b.fetch(1)
		b.settle(store.Settlement{Nak: []store.Nak{{Delivery: ds[0], Due: time.Now().Add(10 * time.Second), Counts: true}}})
		b.want("others go on", ids(b.fetch(10)), []string{"b1"})
		b.want("one tick early", ids(b.fetchWithin(10, 10*time.Second-2*time.Nanosecond)), []string{})
		again := b.fetchWithin(10, time.Second)
		b.want("when due", ids(again), []string{"a1"})
		b.want("attempt", again[0].Attempt, 2)
	}},
	{"OrderSurvivesOpeningAgain", "order, attempts, marks and due times are kept", func(b *bench) {
		b.start()
		b.add(item("a1", "a"), item("a2", "a"))
		ds := b.fetch(1)
		b.settle(store.Settlement{Nak: []store.Nak{{Delivery: ds[0], Due: time.Now().Add(time.Hour), Counts: true, Mark: []byte("m")}}})
		b.restart()
		b.want("too early", ids(b.fetchWithin(10, time.Minute)), []string{})
		ds = b.fetchWithin(10, 2*time.Hour)
		b.want("when due", ids(ds), []string{"a1"})
		b.want("attempt", ds[0].Attempt, 2)
		b.want("mark", string(ds[0].Mark), "m")
	}},
	{"NakThatDoesNotCount", "a nak without Counts leaves the attempt as it was, and an empty mark clears it", func(b *bench) {
		b.start()
		b.add(item("a", ""))
		d := b.fetch(1)[0]
		b.settle(store.Settlement{Mark: []store.Mark{{Delivery: d, Mark: []byte("started")}}})
		b.settle(store.Settlement{Nak: []store.Nak{{Delivery: d, Mark: []byte{}}}})
		d = b.fetch(1)[0]
		b.want("attempt", d.Attempt, 1)
		b.want("mark", len(d.Mark), 0)
	}},
	{"MarkIsKept", "a mark is there after opening again, with the item still in its queue", func(b *bench) {
		b.start()
		b.add(item("a", "a"))
		b.settle(store.Settlement{Mark: []store.Mark{{Delivery: b.fetch(1)[0], Mark: []byte("started")}}})
		b.restart()
		b.want("mark", string(b.fetch(1)[0].Mark), "started")
	}},
	{"DueLater", "an item is not handed out before it is due", func(b *bench) {
		b.start()
		it := item("a", "")
		it.Due = time.Now().Add(30 * time.Second)
		b.add(it, item("b", ""))
		b.want("now", ids(b.fetch(10)), []string{"b"})
		b.want("then", ids(b.fetchWithin(10, 30*time.Second)), []string{"a"})
	}},
	{"LateOnesInOrderOfDue", "what became due while nobody looked, or no process ran, is handed out in the order in which it was due", func(b *bench) {
		b.start()
		later := func(id string, d time.Duration) store.Item { it := item(id, ""); it.Due = time.Now().Add(d); return it }
		b.add(later("c", 3*time.Minute), later("a", time.Minute), later("b2", 2*time.Minute), later("b1", 2*time.Minute))
		b.stop()
		time.Sleep(time.Hour)
		b.start()
		b.want("items", ids(b.fetch(10)), []string{"a", "b2", "b1", "c"})
	}},
	{"FetchWaits", "Fetch returns when something comes, and not before", func(b *bench) {
		b.start()
		got := make(chan []store.Delivery)
		go func() {
			ds, err := b.Fetch(context.Background(), q, 5, time.Minute)
			if err != nil {
				b.Error(err)
			}
			got <- ds
		}()
		b.add(item("a", ""))
		b.want("got", ids(<-got), []string{"a"})
	}},
	{"AckAndFollowUpsAreOne", "ack, follow-up, state and record of one settlement are all there or none is", func(b *bench) {
		b.start()
		b.add(item("a", ""), item("b", ""))
		ds := b.fetch(2)
		other := store.QueueID{Tenant: "acme", Name: "next"}
		follow := store.Settlement{
			Ack: ds[:1], Add: []store.Item{{Queue: other, ID: "a#1", Data: []byte("x")}},
			Put: []store.Put{{Key: key("a"), Value: []byte("decided")}},
		}
		b.settle(follow)
		follow.Add[0].ID, follow.Put[0].Value = "a#2", []byte("twice")
		if _, err := b.Settle(context.Background(), follow); !errors.Is(err, store.ErrStale) {
			b.Errorf("the same delivery a second time: %v, want ErrStale", err)
		}
		b.restart()
		b.want("state", b.get(key("a")), []string{"decided"})
		b.want("left", ids(b.fetch(10)), []string{"b"})
		items, err := b.Peek(context.Background(), other, 0, 10)
		if err != nil {
			b.Fatal(err)
		}
		b.want("follow-ups", ids(items), []string{"a#1"})
	}},
	{"PeekSeesEverything", "Peek lists leased items too, from a place on", func(b *bench) {
		b.start()
		b.add(item("a", ""), item("b", ""), item("c", ""))
		b.fetch(1)
		all, err := b.Peek(context.Background(), q, 0, 2)
		if err != nil {
			b.Fatal(err)
		}
		b.want("first page", ids(all), []string{"a", "b"})
		all, err = b.Peek(context.Background(), q, all[1].Seq, 2)
		if err != nil {
			b.Fatal(err)
		}
		b.want("second page", ids(all), []string{"c"})
	}},
	{"StatsCount", "depth, leased and waiting add up", func(b *bench) {
		b.start()
		b.add(item("a1", "a"), item("a2", "a"), item("b", ""))
		b.fetch(1)
		var got store.QueueStats
		for _, s := range b.Stats().Queues {
			if s.Queue == q {
				got = s
			}
		}
		b.want("counts", []int{got.Depth, got.Leased, got.Waiting}, []int{3, 1, 1})
		if got.Oldest.IsZero() || got.DataSize == 0 {
			b.Errorf("oldest %v, size %d", got.Oldest, got.DataSize)
		}
	}},
}

var leaseCases = []testCase{
	{"LeaseRunsOut", "an item whose lease ran out is handed out again, and the late settlement is refused whole", func(b *bench) {
		b.start()
		b.add(item("a", "a"))
		old := b.fetch(1)
		again := b.fetchWithin(1, 2*time.Minute)
		b.want("again", ids(again), []string{"a"})
		b.want("attempt", again[0].Attempt, 1)
		_, err := b.Settle(context.Background(), store.Settlement{Ack: old, Put: []store.Put{{Key: key("x"), Value: []byte("late")}}})
		if !errors.Is(err, store.ErrStale) {
			b.Errorf("late: %v, want ErrStale", err)
		}
		b.want("nothing of it happened", b.get(key("x")), []string{"<none>"})
		b.settle(store.Settlement{Ack: again})
	}},
	{"LeaseIsExtended", "an extended lease runs from then on", func(b *bench) {
		b.start()
		b.add(item("a", ""))
		d := b.fetch(1)[0]
		for range 5 {
			b.want("meanwhile", ids(b.fetchWithin(1, 50*time.Second)), []string{})
			if err := b.Extend(d, time.Minute); err != nil {
				b.Fatal(err)
			}
		}
		b.settle(store.Settlement{Ack: []store.Delivery{d}})
		if err := b.Extend(d, time.Minute); !errors.Is(err, store.ErrStale) {
			b.Errorf("extend after the ack: %v, want ErrStale", err)
		}
	}},
	{"CrashEndsLeases", "after opening again everything unsettled can be had at once", func(b *bench) {
		b.start()
		b.add(item("a", "a"), item("b", ""))
		b.fetch(10)
		b.restart()
		b.want("again", ids(b.fetch(10)), []string{"a", "b"})
	}},
	{"LazyIsVisibleAtOnce", "a lazy ack releases the next of its order before any commit, and is durable soon after", func(b *bench) {
		b.start()
		b.add(item("a1", "a"), item("a2", "a"))
		b.settle(store.Settlement{Lazy: true, Ack: b.fetch(1)})
		b.want("next", ids(b.fetch(1)), []string{"a2"})
		b.wait(time.Second)
		b.restart()
		b.want("after opening again", ids(b.fetch(10)), []string{"a2"})
	}},
	{"LazyNakKeepsItsPlace", "a lazy nak, then an ack of the next attempt, end in an empty queue", func(b *bench) {
		b.start()
		b.add(item("a", "a"))
		b.settle(store.Settlement{Lazy: true, Nak: []store.Nak{{Delivery: b.fetch(1)[0], Counts: true}}})
		d := b.fetch(1)[0]
		b.want("attempt", d.Attempt, 2)
		b.settle(store.Settlement{Lazy: true, Ack: []store.Delivery{d}})
		b.restart()
		b.want("left", ids(b.fetch(10)), []string{})
	}},
}
