package boltstore

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"io"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

const (
	// pastSlack is how far a record's time may be from those of its neighbours:
	// blocks that are further away than that are not looked into.
	pastSlack = time.Hour
	// pastBytes ends a page early.
	pastBytes = 8 << 20
)

// History implements [store.Store].
func (s *Store) History(ctx context.Context, q store.HistoryQuery) ([]store.Record, uint64, error) {
	p := &past{h: s.hist, q: q, want: hashID(q.Tenant, q.ID), at: q.After}
	for {
		blocks, moved := p.blocks()
		for i, b := range blocks {
			if p.full() {
				return p.recs, p.at, nil
			}
			if err := ctx.Err(); err != nil {
				return nil, q.After, err
			}
			end := moved
			if i+1 < len(blocks) {
				end = blocks[i+1].first - 1
			}
			if end > p.at {
				if err := p.read(b, end); err != nil {
					return nil, q.After, err
				}
			}
		}
		if p.full() {
			return p.recs, p.at, nil
		}
		p.at = max(p.at, moved)
		at, n, size := p.at, len(p.recs), p.size
		if err := s.db.View(p.readHot); err != nil {
			return nil, q.After, err
		}
		// What was moved meanwhile may be missing in what was read: it is in a
		// block now, because blocks are written first.
		if _, now := p.blocks(); now <= at {
			return p.recs, p.at, nil
		}
		p.at, p.recs, p.size = at, p.recs[:n], size
	}
}

// past reads the history in the order of its sequence numbers. The blocks of all
// segments together are runs of these numbers, each named by its first; what is
// in no block yet is in the hot file.
type past struct {
	h    *history
	q    store.HistoryQuery
	want uint64

	at   uint64 // the last number looked at
	recs []store.Record
	size int // of recs
}

type block struct {
	db    *bolt.DB
	name  string // its segment's
	first uint64
}

func (p *past) full() bool { return len(p.recs) >= p.q.Limit || p.size >= pastBytes }

// blocks lists the blocks that may hold what is asked for, in order, and says up
// to which number there are any.
func (p *past) blocks() (list []block, moved uint64) {
	for _, name := range p.h.names() {
		db, err := p.h.segment(name, false)
		if err != nil {
			continue // said when the store was opened
		}
		_ = db.View(func(tx *bolt.Tx) error {
			if v, err := unframe(tx.Bucket(segMeta).Get(keyMoved)); err == nil {
				moved = max(moved, beUint64(v))
			}
			c := tx.Bucket(segIndex).Cursor()
			for k, _ := c.First(); k != nil; k, _ = c.Next() {
				list = append(list, block{db, name, beUint64(k)})
			}
			return nil
		})
	}
	slices.SortFunc(list, func(a, b block) int { return cmp.Compare(a.first, b.first) })
	return list, moved
}

// read takes what is asked for out of a block, as far as the page has room.
func (p *past) read(b block, end uint64) error {
	var data []byte
	err := b.db.View(func(tx *bolt.Tx) error {
		index, err := unframe(tx.Bucket(segIndex).Get(key64(b.first)))
		if err != nil || !holds(index, p.want) {
			return nil //nolint:nilerr // a damaged index is as if the block were not there
		}
		if v := tx.Bucket(segBlocks).Get(key64(b.first)); p.near(v) {
			data = clone(v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if data != nil {
		number := b.first - 1
		err := unpack(data, func(payload []byte) {
			if number++; number > p.at && !p.full() {
				p.at = number
				p.take(payload)
			}
		})
		if err != nil {
			p.h.log.Error("a block of the history is damaged", "segment", b.name, "error", err)
		}
		if p.full() {
			return nil
		}
	}
	p.at = max(p.at, end)
	return nil
}

// near reports whether a block may hold records of the time asked for, by the
// time of its first.
func (p *past) near(packed []byte) bool {
	data, err := unframe(packed)
	if err != nil {
		return true // said when it is unpacked
	}
	head := make([]byte, 256) // size, tenant, time
	n, _ := io.ReadFull(flate.NewReader(bytes.NewReader(data)), head)
	r := reader{b: head[:n]}
	r.uvarint()
	r.bytes()
	at := r.time()
	return r.bad || p.within(at, pastSlack)
}

// within reports whether a time is asked for, give or take some.
func (p *past) within(at time.Time, slack time.Duration) bool {
	return (p.q.From.IsZero() || !at.Before(p.q.From.Add(-slack))) && (p.q.To.IsZero() || at.Before(p.q.To.Add(slack)))
}

// take keeps a record that is asked for.
func (p *past) take(payload []byte) {
	if !bytes.Contains(payload, []byte(p.q.ID)) {
		return
	}
	rec, err := decodeHistory(payload)
	if err != nil || rec.Tenant != p.q.Tenant || !slices.Contains(rec.IDs, p.q.ID) || !p.within(rec.Time, 0) {
		return
	}
	p.recs = append(p.recs, rec)
	p.size += len(rec.Data)
}

// readHot takes what is asked for out of the hot file.
func (p *past) readHot(tx *bolt.Tx) error {
	c := tx.Bucket(bucketHistory).Cursor()
	for k, v := c.Seek(key64(p.at + 1)); k != nil && !p.full(); k, v = c.Next() {
		p.at = beUint64(k)
		if payload, err := unframe(v); err == nil {
			p.take(payload)
		}
	}
	return nil
}
