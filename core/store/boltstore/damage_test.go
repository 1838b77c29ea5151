package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

var inbox = store.QueueID{Tenant: "acme", Name: "work"}

// small are options for a store that is alone on its disk.
func small() Options {
	return Options{MinFree: -1, BallastSize: -1, InitialMmapSize: 1 << 20}
}

// running opens a store and runs it; stop ends it, and returns Run's error.
func running(t testing.TB, dir string, o Options) (s *Store, stop func() error) {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return errors.Join(<-ended, s.Close())
	}
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

func add(t testing.TB, s *Store, id, data string) error {
	t.Helper()
	_, err := s.Settle(t.Context(), store.Settlement{
		Ingest: true, Add: []store.Item{{Queue: inbox, ID: id, Once: true, Data: []byte(data)}},
	})
	return err
}

// peeked are the items of the queue by id.
func peeked(t testing.TB, s *Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	for after := uint64(0); ; {
		ds, err := s.Peek(t.Context(), inbox, after, 500)
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 {
			return out
		}
		for _, d := range ds {
			out[d.ID], after = string(d.Data), d.Seq
		}
	}
}

// filled makes a store with items in its queue and returns its hot file.
func filled(t testing.TB, n int) (file []byte, items map[string]string) {
	t.Helper()
	dir := t.TempDir()
	s, stop := running(t, dir, small())
	items = map[string]string{}
	for i := range n {
		id := fmt.Sprintf("wamid.%03d", i)
		items[id] = strings.Repeat(fmt.Sprintf("the data of %03d. ", i), 20)
		if err := add(t, s, id, items[id]); err != nil {
			t.Fatal(err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, hotFile))
	if err != nil {
		t.Fatal(err)
	}
	return file, items
}

func place(t testing.TB, file []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, hotFile), file, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpen_SaysWhatToDoAboutADamagedFile(t *testing.T) {
	file, items := filled(t, 50)
	page := os.Getpagesize()
	zeroed := func(from, to int) []byte {
		b := bytes.Clone(file)
		clear(b[from:to])
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
		fine bool
	}{
		{"empty", nil, false}, // bbolt would take it for a new one; but ours are never empty
		{"a hundred bytes", file[:100], false},
		{"one page", file[:page], false},
		{"half the file", file[:len(file)/2/page*page], false},
		{"garbage", bytes.Repeat([]byte("not a database. "), 4*page/16), false},
		{"both meta pages zeroed", zeroed(0, 2*page), false},
		{"one meta page zeroed", zeroed(0, page), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := place(t, c.file)
			s, err := Open(dir, small())
			if err == nil && c.name == "half the file" {
				c.fine = true // what was cut off was free: then nothing may be missing
			}
			if c.fine {
				if err != nil {
					t.Fatal(err)
				}
				if got := peeked(t, s); len(got) != len(items) {
					t.Errorf("%d of %d items are there", len(got), len(items))
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "restore a backup") || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want a damaged file, by name, with what to do", err)
			}
			if kept, err := os.ReadFile(filepath.Join(dir, hotFile)); err == nil && len(c.file) > 0 && !bytes.Equal(kept[:len(c.file)], c.file) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpen_SaysThatAnotherHasTheFile(t *testing.T) {
	dir := t.TempDir()
	running(t, dir, small())
	began := time.Now()
	_, err := Open(dir, small())
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "another wabridge runs on this data") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to say so", took)
	}
}

func TestOpen_RefusesWhatANewerVersionWrote(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMeta).Put([]byte("schema"), frame(key64(schema+1)))
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err = Open(dir, small()); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "run the newer wabridge") {
		t.Errorf("got %v", err)
	}
}

// compacted is a file without free pages.
func compacted(t testing.TB, file []byte) []byte {
	t.Helper()
	from, err := bolt.Open(filepath.Join(place(t, file), hotFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), hotFile)
	to, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = bolt.Compact(to, from, 0)
	if err = errors.Join(err, from.Close(), to.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// bbolt itself takes most flipped bits as they are.
func TestOpen_NeverHandsOutWhatABitFlipChanged(t *testing.T) {
	file, items := filled(t, 200)
	file = compacted(t, file) // a flip in a free page harms nobody
	random := rand.New(rand.NewPCG(1, 2))
	var refused, missing, unharmed int
	for range 600 {
		b := bytes.Clone(file)
		bit := random.IntN(8 * len(b))
		b[bit/8] ^= 1 << (bit % 8)
		s, err := Open(place(t, b), small())
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d: %v, want a damaged file", bit, err)
			}
			refused++
			continue
		}
		got := peeked(t, s)
		if err := guarded(s.Close); err != nil {
			t.Fatalf("bit %d: close: %v", bit, err)
		}
		for id, data := range got {
			if items[id] != data {
				t.Fatalf("bit %d: %s came back as %.40q", bit, id, data)
			}
		}
		if len(got) < len(items) {
			missing++
		} else {
			unharmed++
		}
	}
	t.Logf("600 flipped bits: %d refused, %d with records put aside, %d without harm", refused, missing, unharmed)
	if missing == 0 {
		t.Error("no flip hit a record: this proves nothing")
	}
}

func TestOpen_PutsADamagedRecordAsideAndGoesOn(t *testing.T) {
	file, items := filled(t, 20)
	at := bytes.Index(file, []byte("the data of 007"))
	if at < 0 {
		t.Fatal("the record is not in the file")
	}
	for ; at >= 0; at = bytes.Index(file, []byte("the data of 007")) { // old pages, too
		file[at] ^= 1
	}
	s, stop := running(t, place(t, file), small())
	got := peeked(t, s)
	if _, there := got["wamid.007"]; there || len(got) != len(items)-1 {
		t.Errorf("%d of %d items came back, the damaged one among them: %v", len(got), len(items), there)
	}
	if err := add(t, s, "wamid.new", "x"); err != nil {
		t.Errorf("the store takes nothing more: %v", err)
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket(bucketQuarantine).Stats().KeyN; n != 1 {
			t.Errorf("%d records were put aside, want 1", n)
		}
		return nil
	})
	if err = errors.Join(err, stop()); err != nil {
		t.Error(err)
	}
}
