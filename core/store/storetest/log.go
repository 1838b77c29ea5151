package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/wabridge/wabridge/core/store"
)

var ledger = store.LogID{Tenant: "acme", Name: "ledger"}

func entry(data string) store.Append { return store.Append{Log: ledger, Data: []byte(data)} }

// verified checks a log and returns its data.
func (b *bench) verified(id store.LogID) []string {
	b.Helper()
	out := []string{}
	_, err := store.VerifyLog(context.Background(), b.Store, id, func(e store.LogEntry) error {
		if e.Time.IsZero() {
			return errors.New("an entry has no time")
		}
		out = append(out, string(e.Data))
		return nil
	})
	if err != nil {
		b.Errorf("VerifyLog: %v", err)
	}
	return out
}

var logCases = []testCase{
	{"LogsAreAppendedTo", "entries are numbered from 1 without gaps, chained, read by page, of one tenant and name only, also after opening again", func(b *bench) {
		b.start()
		b.want("an empty log", b.verified(ledger), []string{})
		out := b.settle(store.Settlement{Append: []store.Append{entry("a"), {Log: store.LogID{Tenant: "other", Name: "ledger"}, Data: []byte("theirs")}, entry("b")}})
		b.want("sequence numbers", out.Appended, []uint64{1, 1, 2})
		b.restart()
		b.want("goes on", b.settle(store.Settlement{Append: []store.Append{entry("c")}}).Appended, []uint64{3})
		b.want("entries", b.verified(ledger), []string{"a", "b", "c"})
		page, err := b.Log(context.Background(), ledger, 1, 1)
		if err != nil || len(page) != 1 || page[0].Seq != 2 {
			b.Errorf("the page after 1: %+v, %v", page, err)
		}
		head, err := b.LogHead(context.Background(), ledger)
		if err != nil || head.Seq != 3 {
			b.Errorf("head: %+v, %v", head, err)
		}
	}},
	{"AppendBelongsToItsSettlement", "an entry is there with the rest of its settlement, or not at all, and leaves no gap", func(b *bench) {
		b.start()
		_, err := b.Settle(context.Background(), store.Settlement{Append: []store.Append{entry("never")}, Resolve: []string{"no such"}})
		if !errors.Is(err, store.ErrNotFound) {
			b.Fatalf("err = %v, want ErrNotFound", err)
		}
		b.want("entries", b.verified(ledger), []string{})
		b.add(item("a", ""))
		d := b.fetch(1)[0]
		b.settle(store.Settlement{Ack: []store.Delivery{d}, Append: []store.Append{entry("first")}})
		if _, err := b.Settle(context.Background(), store.Settlement{Ack: []store.Delivery{d}, Append: []store.Append{entry("twice")}}); !errors.Is(err, store.ErrStale) {
			b.Errorf("err = %v, want ErrStale", err)
		}
		b.want("entries", b.verified(ledger), []string{"first"})
	}},
	{"ManyAppendAtOnce", "concurrent appends to one log make one chain", func(b *bench) {
		b.start()
		const callers = 50
		done := make(chan error)
		for i := range callers {
			go func() {
				_, err := b.Settle(context.Background(), store.Settlement{Append: []store.Append{entry(fmt.Sprint(i))}})
				done <- err
			}()
		}
		for range callers {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
		b.want("entries", len(b.verified(ledger)), callers)
	}},
	{"LogTamperingIsFound", "an entry changed, dropped, swapped, added or cut off at the end fails the check, which names it", func(b *bench) {
		b.start()
		for i := range 5 {
			b.settle(store.Settlement{Append: []store.Append{entry(fmt.Sprint("entry ", i))}})
		}
		for _, c := range []struct {
			name string
			do   func(all []store.LogEntry) []store.LogEntry
			bad  uint64
		}{
			{"data", func(all []store.LogEntry) []store.LogEntry { all[2].Data[0] ^= 1; return all }, 3},
			{"time", func(all []store.LogEntry) []store.LogEntry { all[1].Time = all[1].Time.Add(1); return all }, 2},
			{"hash", func(all []store.LogEntry) []store.LogEntry { all[4].Hash[31] ^= 1; return all }, 5},
			{"dropped", func(all []store.LogEntry) []store.LogEntry { return append(all[:1], all[2:]...) }, 2},
			{"dropped and renumbered", func(all []store.LogEntry) []store.LogEntry {
				all = append(all[:1], all[2:]...)
				for i := range all {
					all[i].Seq = uint64(i + 1)
				}
				return all
			}, 2},
			{"swapped", func(all []store.LogEntry) []store.LogEntry {
				all[1], all[2] = all[2], all[1]
				all[1].Seq, all[2].Seq = 2, 3
				return all
			}, 2},
			{"cut off", func(all []store.LogEntry) []store.LogEntry { return all[:4] }, 5},
			{"all cut off", func(all []store.LogEntry) []store.LogEntry { return all[:0] }, 1},
			{"added", func(all []store.LogEntry) []store.LogEntry {
				e := store.LogEntry{Seq: 6, Time: all[4].Time, Data: []byte("forged")}
				e.Hash = e.Chain(all[4].Hash)
				return append(all, e)
			}, 6},
			{"chained anew", func(all []store.LogEntry) []store.LogEntry {
				all[2].Data = []byte("forged")
				for i := 2; i < len(all); i++ {
					all[i].Hash = all[i].Chain(all[i-1].Hash)
				}
				return all
			}, 5},
		} {
			_, err := store.VerifyLog(context.Background(), tampered{b.Store, c.do}, ledger, nil)
			var bad *store.LogError
			if !errors.As(err, &bad) || bad.Seq != c.bad {
				b.Errorf("%s: err = %v, want one about entry %d", c.name, err, c.bad)
			}
		}
	}},
}

// tampered is a store whose log was changed behind its back.
type tampered struct {
	store.Store
	do func([]store.LogEntry) []store.LogEntry
}

func (t tampered) Log(ctx context.Context, id store.LogID, after uint64, limit int) ([]store.LogEntry, error) {
	all, err := t.Store.Log(ctx, id, 0, 1000)
	if err != nil {
		return nil, err
	}
	var out []store.LogEntry
	for _, e := range t.do(all) {
		if e.Seq > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}
