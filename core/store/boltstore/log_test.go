package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/wabridge/wabridge/core/store"
)

var testLog = store.LogID{Tenant: "acme", Name: "ledger"}

// withLog opens a store whose log has entries with this data, and stops it: what
// follows is done to the file.
func withLog(t testing.TB, dir string, data ...string) *Store {
	t.Helper()
	s, err := Open(dir, Options{MinFree: -1, BallastSize: -1, InitialMmapSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var st store.Settlement
	for _, d := range data {
		st.Append = append(st.Append, store.Append{Log: testLog, Data: []byte(d)})
	}
	if _, err := s.Settle(context.Background(), st); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return s
}

func verify(s *Store) error {
	_, err := store.VerifyLog(context.Background(), s, testLog, nil)
	return err
}

// change rewrites the record under a key of the log, nil deletes.
func change(t testing.TB, s *Store, key, value []byte) {
	t.Helper()
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketLogs).Bucket(logKey(testLog))
		if value == nil {
			return b.Delete(key)
		}
		return b.Put(key, value)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func recordOf(t testing.TB, s *Store, key []byte) (out []byte) {
	t.Helper()
	err := s.db.View(func(tx *bolt.Tx) error {
		out = clone(tx.Bucket(bucketLogs).Bucket(logKey(testLog)).Get(key))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLog_FindsEachByteThatWasChanged(t *testing.T) {
	s := withLog(t, t.TempDir(), "first entry", "second", "third")
	defer func() { _ = s.Close() }()
	if err := verify(s); err != nil {
		t.Fatal(err)
	}
	for _, key := range [][]byte{key64(1), key64(2), key64(3), headKey} {
		good := recordOf(t, s, key)
		for i := range good {
			bad := clone(good)
			bad[i] ^= 0x40
			change(t, s, key, bad)
			if err := verify(s); !errors.Is(err, store.ErrLogDamaged) {
				t.Errorf("byte %d of %q as stored: err = %v", i, key, err)
			}
			if i >= frameSize { // and by somebody who knows of the checksum
				change(t, s, key, sealed(bad))
				if err := verify(s); !errors.Is(err, store.ErrLogDamaged) {
					t.Errorf("byte %d of %q with its checksum: err = %v", i, key, err)
				}
			}
		}
		change(t, s, key, nil)
		if err := verify(s); !errors.Is(err, store.ErrLogDamaged) {
			t.Errorf("without %q: err = %v", key, err)
		}
		change(t, s, key, good)
	}
	if err := verify(s); err != nil {
		t.Errorf("put back: %v", err)
	}
}

func TestLog_TakesNoMoreWhenItsHeadIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s := withLog(t, dir, "a", "b")
	change(t, s, headKey, []byte("nonsense"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{MinFree: -1, BallastSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	k := store.Key{Tenant: "acme", Bucket: "state", Key: "k"}
	_, err = s.Settle(ctx, store.Settlement{Append: []store.Append{{Log: testLog, Data: []byte("c")}}, Put: []store.Put{{Key: k, Value: []byte("v")}}})
	if !errors.Is(err, store.ErrLogDamaged) {
		t.Errorf("err = %v, want ErrLogDamaged", err)
	}
	if got, err := s.Get(ctx, k); err != nil || got[0] != nil {
		t.Errorf("the rest of the settlement happened: %q, %v", got, err)
	}
	if _, err := s.Settle(ctx, store.Settlement{Put: []store.Put{{Key: k, Value: []byte("v")}}}); err != nil {
		t.Errorf("others do not go on: %v", err)
	}
	cancel()
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Error(err)
	}
}

// Whatever the entries are and whatever is done to the file, the log reads as it
// was written, or the check fails.
func TestLog_ReadsAsWrittenOrIsFoundOut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var data []string
		for i := range rapid.IntRange(1, 6).Draw(rt, "entries") {
			data = append(data, fmt.Sprint(i, rapid.StringN(0, 8, -1).Draw(rt, "data")))
		}
		s := withLog(t, t.TempDir(), data...)
		defer func() { _ = s.Close() }()
		keys := [][]byte{headKey}
		for i := range data {
			keys = append(keys, key64(uint64(i+1)))
		}
		for range rapid.IntRange(1, 4).Draw(rt, "changes") {
			key := rapid.SampledFrom(keys).Draw(rt, "key")
			switch from := recordOf(t, s, rapid.SampledFrom(keys).Draw(rt, "other")); rapid.IntRange(0, 3).Draw(rt, "how") {
			case 0:
				change(t, s, key, nil)
			case 1: // another's place
				if len(from) > 0 {
					change(t, s, key, from)
				}
			case 2:
				if len(from) > frameSize {
					from[rapid.IntRange(frameSize, len(from)-1).Draw(rt, "byte")] ^= byte(rapid.IntRange(0, 255).Draw(rt, "bits"))
					change(t, s, key, sealed(from))
				}
			case 3:
				change(t, s, key64(uint64(rapid.IntRange(len(data), len(data)+2).Draw(rt, "seq"))), frame([]byte("0123456789abcdef0123456789abcdef0123456789abcdef")))
			}
		}
		var got []string
		_, err := store.VerifyLog(context.Background(), s, testLog, func(e store.LogEntry) error {
			got = append(got, string(e.Data))
			return nil
		})
		switch {
		case err != nil && !errors.Is(err, store.ErrLogDamaged):
			rt.Fatal(err)
		case err == nil && !bytes.Equal(fmt.Append(nil, got), fmt.Append(nil, data)) && len(got) > 0:
			rt.Fatalf("read %q, written %q, and no error", got, data)
		case err == nil && len(got) == 0:
			// All of it is gone, head included: only a head noted elsewhere tells.
			if h, err := s.LogHead(context.Background(), testLog); err != nil || h.Seq != 0 {
				rt.Fatalf("nothing read, head %+v, %v", h, err)
			}
		}
	})
}
