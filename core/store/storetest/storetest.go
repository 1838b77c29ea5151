// Package storetest says what every [store.Store] must do. An implementation
// calls [Run] from its own tests; each case names the rule that it checks.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/store"
)

// Opener opens the same store again and again: what one opening committed, the
// next must know. The function returned with the store releases it.
type Opener func(t *testing.T) (store.Store, func() error)

// Run runs the suite. place makes a fresh, empty place and returns its Opener.
func Run(t *testing.T, place func(t *testing.T) Opener) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Logf("rule: %s", c.rule)
			synctest.Test(t, func(t *testing.T) { c.run(&bench{T: t, open: place(t)}) })
		})
	}
}

type testCase struct {
	name, rule string
	run        func(*bench)
}

// bench is one store under test.
type bench struct {
	*testing.T
	open Opener
	store.Store
	stop func()
}

// start opens the store and runs it.
func (b *bench) start() {
	b.Helper()
	s, release := b.open(b.T)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Store = s
	stopped := false
	b.stop = func() {
		b.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("Run: %v", err)
		}
		if err := release(); err != nil {
			b.Errorf("close: %v", err)
		}
	}
	b.Cleanup(b.stop)
}

func (b *bench) restart() {
	b.Helper()
	b.stop()
	b.start()
}

var q = store.QueueID{Tenant: "acme", Name: "work"}

func item(id, order string) store.Item {
	return store.Item{Queue: q, ID: id, Order: order, Data: []byte("data of " + id)}
}

func (b *bench) settle(s store.Settlement) store.Outcome {
	b.Helper()
	out, err := b.Settle(context.Background(), s)
	if err != nil {
		b.Fatalf("Settle: %v", err)
	}
	return out
}

func (b *bench) add(items ...store.Item) []bool {
	b.Helper()
	return b.settle(store.Settlement{Add: items}).Added
}

// fetch takes what can be had now.
func (b *bench) fetch(n int) []store.Delivery {
	b.Helper()
	return b.fetchWithin(n, 0)
}

func (b *bench) fetchWithin(n int, wait time.Duration) []store.Delivery {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait+time.Nanosecond)
	defer cancel()
	ds, err := b.Fetch(ctx, q, n, time.Minute)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		b.Fatalf("Fetch: %v", err)
	}
	return ds
}

// wait lets virtual time pass.
func (b *bench) wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func ids(ds []store.Delivery) []string {
	out := []string{}
	for _, d := range ds {
		out = append(out, d.ID)
	}
	return out
}

func (b *bench) want(what string, got, want any) {
	b.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (b *bench) get(keys ...store.Key) []string {
	b.Helper()
	values, err := b.Get(context.Background(), keys...)
	if err != nil {
		b.Fatalf("Get: %v", err)
	}
	out := make([]string, len(values))
	for i, v := range values {
		if out[i] = string(v); v == nil {
			out[i] = "<none>"
		}
	}
	return out
}

func key(k string) store.Key { return store.Key{Tenant: "acme", Bucket: "state", Key: k} }

var cases = slices.Concat(queueCases, leaseCases, stateCases, pastCases, forgetCases, logCases, []testCase{
	{"ClosedStoreRefuses", "after Run returned, nothing is taken and nobody hangs", func(b *bench) {
		b.start()
		s := b.Store
		b.stop()
		if _, err := s.Settle(context.Background(), store.Settlement{Add: []store.Item{item("a", "")}}); !errors.Is(err, store.ErrClosed) {
			b.Errorf("Settle: %v, want ErrClosed", err)
		}
		if _, err := s.Fetch(context.Background(), q, 1, time.Minute); !errors.Is(err, store.ErrClosed) {
			b.Errorf("Fetch: %v, want ErrClosed", err)
		}
	}},
	{"ManyAtOnce", "concurrent settlements all happen, each once", func(b *bench) {
		b.start()
		const callers, each = 32, 50
		done := make(chan error)
		for c := range callers {
			go func() {
				var err error
				for i := 0; i < each && err == nil; i++ {
					_, err = b.Settle(context.Background(), store.Settlement{Add: []store.Item{item(fmt.Sprintf("%d-%d", c, i), fmt.Sprint(c))}})
				}
				done <- err
			}()
		}
		for range callers {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
		seen := map[string]int{}
		next := make([]int, callers)
		for len(seen) < callers*each {
			ds := b.fetch(100)
			if len(ds) == 0 {
				b.Fatalf("%d of %d were handed out, then no more", len(seen), callers*each)
			}
			for _, d := range ds {
				var c, i int
				if _, err := fmt.Sscanf(d.ID, "%d-%d", &c, &i); err != nil {
					b.Fatal(err)
				}
				if i != next[c] {
					b.Errorf("order %d: got %d, want %d", c, i, next[c])
				}
				next[c]++
				seen[d.ID]++
			}
			b.settle(store.Settlement{Ack: ds})
		}
		for id, n := range seen {
			if n != 1 {
				b.Errorf("%s was handed out %d times", id, n)
			}
		}
	}},
})
