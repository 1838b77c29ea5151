package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

// holding returns the files below a folder that hold some bytes.
func holding(t *testing.T, dir string, what []byte) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, what) {
			out = append(out, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestScrub_LeavesNothingOfWhatWasDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, err := Open(dir, Options{MinFree: -1, BallastSize: -1, InitialMmapSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		settle := func(st store.Settlement) {
			t.Helper()
			if _, err := s.Settle(ctx, st); err != nil {
				t.Fatal(err)
			}
		}
		// Much of two people, in keys and values, side by side.
		const n = 6000
		key := func(who string, i int) store.Key {
			return store.Key{Tenant: "acme", Bucket: "people", Key: fmt.Sprintf("%05d of %s", i, who)}
		}
		for i := 0; i < n; i += 100 {
			var st store.Settlement
			for j := i; j < i+100; j++ {
				for _, who := range []string{"stays-here", "goes-away"} {
					st.Put = append(st.Put, store.Put{Key: key(who, j), Value: fmt.Appendf(nil, "%s says %d", who, j)})
				}
			}
			st.Record = []store.Record{
				{Tenant: "acme", IDs: []string{"stays-here"}, Time: time.Now(), Data: []byte("stays-here")},
				{Tenant: "acme", IDs: []string{"goes-away"}, Time: time.Now(), Data: fmt.Append(nil, "goes-away", i)},
			}
			settle(st)
		}
		<-time.After(10 * time.Second) // the history is moved
		var block []byte
		segment := filepath.Join("history", s.hist.names()[0]+".db")
		db, err := s.hist.segment(s.hist.names()[0], false)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.View(func(tx *bolt.Tx) error {
			_, v := tx.Bucket(segBlocks).Cursor().First()
			block = clone(v[:64]) // compressed, so only a piece of it tells
			return nil
		}); err != nil {
			t.Fatal(err)
		}

		for i := 0; i < n; i += 100 {
			var st store.Settlement
			for j := i; j < i+100; j++ {
				st.Put = append(st.Put, store.Put{Key: key("goes-away", j)})
			}
			settle(st)
		}
		if _, err := s.Forget(ctx, "acme", "goes-away"); err != nil {
			t.Fatal(err)
		}
		if holding(t, dir, []byte("goes-away")) == nil || holding(t, dir, block) == nil {
			t.Fatal("nothing is left of it even without a scrub: this test shows nothing")
		}
		before := fileSize(filepath.Join(dir, hotFile))
		if err := s.Scrub(ctx); err != nil {
			t.Fatal(err)
		}
		if left := holding(t, dir, []byte("goes-away")); left != nil {
			t.Errorf("it is still in %v", left)
		}
		if left := holding(t, dir, block); left != nil {
			t.Errorf("a forgotten block is still in %v (%s)", left, segment)
		}
		if after := fileSize(filepath.Join(dir, hotFile)); after > before+32<<20 {
			t.Errorf("the file grew from %d to %d", before, after)
		}
		values, err := s.Get(ctx, key("stays-here", 0), key("stays-here", n-1), key("goes-away", 7))
		if err != nil || values[0] == nil || values[1] == nil || values[2] != nil {
			t.Errorf("the others: %q, %v", values, err)
		}
		// While others write, and again: it ends.
		for range 3 {
			go func() {
				for i := range 50 {
					_, _ = s.Settle(ctx, store.Settlement{Put: []store.Put{{Key: key("busy", i), Value: block}}})
				}
			}()
			if err := s.Scrub(ctx); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenReadOnly(dir); err != nil {
			t.Errorf("opened again: %v", err)
		}
	})
}

func TestScrub_RefusesWhenThereIsNoRoom(t *testing.T) {
	s, err := Open(t.TempDir(), Options{MinFree: -1, BallastSize: -1, InitialMmapSize: 1 << 20, MaxSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if err := s.Scrub(ctx); err == nil || !bytes.Contains([]byte(err.Error()), []byte("full")) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Settle(ctx, store.Settlement{Put: []store.Put{{Key: store.Key{Tenant: "a", Bucket: "b", Key: "k"}, Value: []byte("v")}}}); err != nil {
		t.Errorf("the store goes on: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
