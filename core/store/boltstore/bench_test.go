package boltstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.TempDir(), Options{MinFree: -1, BallastSize: -1})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkIngest measures items stored per second, each waited for by its own
// caller, as webhooks are.
func BenchmarkIngest(b *testing.B) {
	data := make([]byte, 1024)
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := benchStore(b)
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for {
						i := n.Add(1)
						if i > int64(b.N) {
							return
						}
						id := fmt.Sprintf("wamid.%d", i)
						_, err := s.Settle(context.Background(), store.Settlement{Ingest: true, Add: []store.Item{
							{Queue: store.QueueID{Tenant: "t", Name: "q"}, ID: id, Once: true, Order: id, Data: data}}})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
		})
	}
}

// BenchmarkFlow measures the whole way of an item: stored, handed out, settled
// with a follow-up, a value and a record, and that follow-up settled lazily.
func BenchmarkFlow(b *testing.B) {
	data := make([]byte, 1024)
	value, record := make([]byte, 200), make([]byte, 250)
	s := benchStore(b)
	in, out := store.QueueID{Tenant: "t", Name: "in"}, store.QueueID{Tenant: "t", Name: "out"}
	ctx := context.Background()
	var n atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 256 {
		wg.Go(func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				id := fmt.Sprintf("wamid.%d", i)
				_, err := s.Settle(ctx, store.Settlement{Ingest: true, Add: []store.Item{{Queue: in, ID: id, Once: true, Order: id, Data: data}}})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for done := 0; done < b.N; {
				ds, err := fetchSoon(s, in, 64)
				if err != nil {
					return
				}
				st := store.Settlement{Ack: ds}
				for _, d := range ds {
					st.Add = append(st.Add, store.Item{Queue: out, ID: d.ID, Order: d.Order, Data: data})
					st.Put = append(st.Put, store.Put{Key: store.Key{Tenant: "t", Bucket: "people", Key: d.ID}, Value: value})
					st.Record = append(st.Record, store.Record{Tenant: "t", IDs: []string{d.ID}, Time: time.Now(), Data: record})
				}
				if _, err := s.Settle(ctx, st); err != nil {
					b.Error(err)
				}
			}
		})
	}
	var settled atomic.Int64
	wg.Go(func() {
		for settled.Load() < int64(b.N) {
			ds, err := fetchSoon(s, out, 100)
			if err != nil {
				return
			}
			if _, err := s.Settle(ctx, store.Settlement{Lazy: true, Ack: ds}); err != nil {
				b.Error(err)
			}
			settled.Add(int64(len(ds)))
		}
	})
	wg.Wait()
	b.ReportMetric(float64(settled.Load())/b.Elapsed().Seconds(), "items/s")
}

// fetchSoon gives up when nothing comes for a while.
func fetchSoon(s *Store, q store.QueueID, n int) ([]store.Delivery, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	return s.Fetch(ctx, q, n, time.Minute)
}
