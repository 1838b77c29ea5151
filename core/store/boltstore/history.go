package boltstore

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

// History is written twice: first in the hot file, in the commit of the step
// that it tells of, then by a mover into the segment of its month. A segment
// only grows at its end, and is dropped whole when its time is over. It holds
// blocks of many records, compressed, and for each block the sorted hashes of
// the ids by which its records are found: looking for one id is a binary search
// in each block's hashes, and adding a thousand ids touches no page but the last.
const (
	moveMost  = 4096            // records in a block
	moveEvery = 2 * time.Second // so long they gather
	maxBlock  = 64 << 20        // what a block may unpack to
)

var (
	segBlocks = []byte("blocks") // first sequence → block
	segIndex  = []byte("index")  // first sequence → sorted hashes
	segMeta   = []byte("meta")
	keyMoved  = []byte("moved") // the last sequence moved, and the newest time
)

type history struct {
	dir    string
	keep   time.Duration
	log    *slog.Logger
	lag    atomic.Int64
	come   chan struct{} // something waits to be moved
	size   atomic.Int64
	moving sync.Mutex   // held while a block is moved, or records are forgotten
	mu     sync.RWMutex // held for writing while segments are opened or dropped
	opened map[string]*bolt.DB
	bolter bolt.Options
}

func newHistory(dir string, o Options) *history {
	return &history{
		dir: dir, keep: o.HistoryRetention, log: o.Log, come: make(chan struct{}, 1), opened: map[string]*bolt.DB{},
		bolter: bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoSync: o.UnsafeNoSync},
	}
}

// segment opens the segment of a name like "2026-11".
func (h *history) segment(name string, create bool) (*bolt.DB, error) {
	h.mu.RLock()
	db := h.opened[name]
	h.mu.RUnlock()
	if db != nil {
		return db, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if db := h.opened[name]; db != nil {
		return db, nil
	}
	path := filepath.Join(h.dir, name+".db")
	if !create {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	var db2 *bolt.DB
	err := guarded(func() error {
		var err error
		if db2, err = bolt.Open(path, 0o600, &h.bolter); err != nil {
			return err
		}
		return db2.Update(func(tx *bolt.Tx) error {
			for _, n := range [][]byte{segBlocks, segIndex, segMeta} {
				if _, err := tx.CreateBucketIfNotExists(n); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, explain(path, err)
	}
	h.opened[name] = db2
	return db2, nil
}

func (h *history) names() []string {
	var out []string
	entries, _ := os.ReadDir(h.dir)
	var size int64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".db"); ok {
			out = append(out, name)
			if info, err := e.Info(); err == nil {
				size += info.Size()
			}
		}
	}
	h.size.Store(size)
	return out // ReadDir sorts
}

func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, db := range h.opened {
		_ = db.Close()
		delete(h.opened, name)
	}
}

// open counts what waits to be moved, and deletes what a mover that was killed
// between its two commits had moved already.
func (h *history) open(hot *bolt.DB) error {
	var moved uint64
	for _, name := range h.names() {
		db, err := h.segment(name, false)
		if err != nil {
			// The history is not worth refusing to start.
			h.log.Error("a segment of the history cannot be opened and is left out", "segment", name, "error", err)
			continue
		}
		_ = db.View(func(tx *bolt.Tx) error {
			if v, err := unframe(tx.Bucket(segMeta).Get(keyMoved)); err == nil && len(v) == 16 {
				moved = max(moved, beUint64(v))
			}
			return nil
		})
	}
	return hot.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketHistory)
		if b.Sequence() < moved { // an older hot file: never give a number twice
			if err := b.SetSequence(moved); err != nil {
				return err
			}
		}
		if err := deleteUpTo(b, moved); err != nil {
			return err
		}
		n := 0
		err := b.ForEach(func(_, _ []byte) error { n++; return nil })
		h.add(n)
		return err
	})
}

func deleteUpTo(b *bolt.Bucket, last uint64) error {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil && beUint64(k) <= last; k, _ = c.Next() {
		keys = append(keys, clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func beUint64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// run moves the history until ctx ends, and drops segments whose time is over.
func (h *history) run(ctx context.Context, s *Store) {
	hourly := time.NewTimer(moveEvery)
	defer hourly.Stop()
	var dropped time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.come:
			pause(ctx, moveEvery)
			h.moveAll(ctx, s)
		case now := <-hourly.C:
			hourly.Reset(time.Hour)
			if !dropped.IsZero() && now.Sub(dropped) < 2*time.Hour {
				h.drop(now)
			}
			dropped = now
			h.names()
		}
	}
}

// add says that so many records more wait to be moved.
func (h *history) add(n int) {
	if n == 0 {
		return
	}
	h.lag.Add(int64(n))
	select {
	case h.come <- struct{}{}:
	default:
	}
}

// moveAll moves what waits. What cannot be moved is tried again.
func (h *history) moveAll(ctx context.Context, s *Store) {
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = h.move(ctx, s); err == nil {
			continue
		}
		if ctx.Err() == nil {
			h.log.Error("the history is not moved for now", "error", err)
		}
		select {
		case h.come <- struct{}{}:
		default:
		}
		return
	}
}

// entry is a record on its way into a segment.
type entry struct {
	seq     uint64
	payload []byte
	rec     store.Record
}

// move moves one block, and reports whether a full one more may be waiting.
func (h *history) move(ctx context.Context, s *Store) (more bool, err error) {
	h.moving.Lock()
	defer h.moving.Unlock()
	var list []entry
	var lastKey uint64
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketHistory).Cursor()
		for k, v := c.First(); k != nil && len(list) < moveMost; k, v = c.Next() {
			lastKey = beUint64(k)
			p, err := unframe(v)
			if err != nil {
				continue // deleted with the others; the log has the count
			}
			list = append(list, entry{seq: lastKey, payload: clone(p)})
		}
		return nil
	})
	if err != nil || lastKey == 0 {
		return false, err
	}
	// A block is of one month, and what is moved is always everything up to
	// some sequence number: after a crash that number says what is left.
	var block []entry
	month := ""
	for _, e := range list {
		if e.rec, err = decodeHistory(e.payload); err != nil {
			continue
		}
		name := e.rec.Time.UTC().Format("2006-01")
		if month != "" && name != month {
			lastKey, more = e.seq-1, true
			break
		}
		month, block = name, append(block, e)
	}
	if len(block) > 0 {
		if err := h.append(month, block); err != nil {
			return false, err
		}
	}
	r := &request{done: make(chan error, 1), own: func(tx *bolt.Tx) error {
		return deleteUpTo(tx.Bucket(bucketHistory), lastKey)
	}}
	if err := s.submit(ctx, r); err != nil {
		return false, err
	}
	h.lag.Add(-int64(len(block)))
	return more || len(list) == moveMost, nil
}

// append writes one block to a segment. A block that was written before is
// written over.
func (h *history) append(name string, es []entry) error {
	db, err := h.segment(name, true)
	if err != nil {
		return err
	}
	var hashes []uint64
	newest := time.Time{}
	var packed bytes.Buffer
	z, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return err
	}
	var size []byte
	for _, e := range es {
		size = binary.AppendUvarint(size[:0], uint64(len(e.payload)))
		if _, err := z.Write(size); err != nil {
			return err
		}
		if _, err := z.Write(e.payload); err != nil {
			return err
		}
		for _, id := range e.rec.IDs {
			hashes = append(hashes, hashID(e.rec.Tenant, id))
		}
		if e.rec.Time.After(newest) {
			newest = e.rec.Time
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	index := make([]byte, frameSize, frameSize+8*len(hashes))
	for _, n := range hashes {
		index = binary.BigEndian.AppendUint64(index, n)
	}
	return db.Update(func(tx *bolt.Tx) error {
		blocks, idx, meta := tx.Bucket(segBlocks), tx.Bucket(segIndex), tx.Bucket(segMeta)
		blocks.FillPercent, idx.FillPercent = 0.95, 0.95
		key := key64(es[0].seq)
		moved := es[len(es)-1].seq
		if v, err := unframe(meta.Get(keyMoved)); err == nil && len(v) == 16 {
			moved = max(moved, beUint64(v))
			if at := time.Unix(int64(beUint64(v[8:])), 0); at.After(newest) {
				newest = at
			}
		}
		err := errors.Join(blocks.Put(key, frame(packed.Bytes())), idx.Put(key, sealed(index)))
		return errors.Join(err, meta.Put(keyMoved, frame(append(key64(moved), key64(uint64(newest.Unix()))...))))
	})
}

func hashID(tenant, id string) uint64 {
	h := sha256.New()
	_, _ = io.WriteString(h, tenant)
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, id)
	var sum [32]byte
	return binary.BigEndian.Uint64(h.Sum(sum[:0]))
}

// drop removes the segments whose newest record is older than the retention.
func (h *history) drop(now time.Time) {
	for _, name := range h.names() {
		db, err := h.segment(name, false)
		if err != nil {
			continue
		}
		var newest time.Time
		_ = db.View(func(tx *bolt.Tx) error {
			if v, err := unframe(tx.Bucket(segMeta).Get(keyMoved)); err == nil && len(v) == 16 {
				newest = time.Unix(int64(beUint64(v[8:])), 0)
			}
			return nil
		})
		if newest.IsZero() || now.Sub(newest) < h.keep {
			continue
		}
		h.mu.Lock()
		delete(h.opened, name)
		err = errors.Join(db.Close(), os.Remove(filepath.Join(h.dir, name+".db")))
		h.mu.Unlock()
		h.log.Info("a segment of the history was dropped: its time was over", "segment", name, "error", err)
	}
}

// find looks for an id in the hot file and all segments, oldest record first.
func (h *history) find(ctx context.Context, hot *bolt.DB, tenant, id string) ([]store.Record, error) {
	want := hashID(tenant, id)
	var out []store.Record
	take := func(payload []byte) {
		rec, err := decodeHistory(payload)
		if err == nil && rec.Tenant == tenant && slices.Contains(rec.IDs, id) {
			out = append(out, rec)
		}
	}
	for _, name := range h.names() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		db, err := h.segment(name, false)
		if err != nil {
			continue
		}
		var blocks [][]byte
		err = db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(segIndex).Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if p, err := unframe(v); err == nil && holds(p, want) {
					blocks = append(blocks, clone(tx.Bucket(segBlocks).Get(k)))
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, b := range blocks {
			if err := unpack(b, take); err != nil {
				h.log.Error("a block of the history is damaged", "segment", name, "error", err)
			}
		}
	}
	err := hot.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketHistory).ForEach(func(_, v []byte) error {
			if p, err := unframe(v); err == nil && bytes.Contains(p, []byte(id)) {
				take(p)
			}
			return nil
		})
	})
	slices.SortStableFunc(out, func(a, b store.Record) int { return a.Time.Compare(b.Time) })
	return dedupe(out), err
}

// dedupe drops records that are in the hot file and a segment for a moment.
func dedupe(recs []store.Record) []store.Record {
	return slices.CompactFunc(recs, func(a, b store.Record) bool {
		return a.Time.Equal(b.Time) && bytes.Equal(a.Data, b.Data)
	})
}

func holds(sorted []byte, want uint64) bool {
	lo, hi := 0, len(sorted)/8
	for lo < hi {
		mid := (lo + hi) / 2
		switch got := beUint64(sorted[8*mid:]); {
		case got == want:
			return true
		case got < want:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return false
}

// unpack calls f with each record of a block.
func unpack(block []byte, f func(payload []byte)) error {
	p, err := unframe(block)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(p)), maxBlock))
	if err != nil {
		return fmt.Errorf("block: %w", err)
	}
	r := reader{b: data}
	for len(r.b) > 0 && !r.bad {
		if payload := r.bytes(); !r.bad {
			f(payload)
		}
	}
	if r.bad {
		return errDamaged
	}
	return nil
}
