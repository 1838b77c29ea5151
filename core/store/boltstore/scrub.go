package boltstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/wabridge/wabridge/core/store"
)

// What bbolt deletes stays on pages that are free until something else is
// written to them. To get rid of it, the free pages are given to a bucket of
// zeros, which is then dropped: bbolt itself writes over them, and knows which
// nobody reads any more.
const (
	scrubPages    = 4096 // that one transaction fills: 16 MiB
	scrubSpare    = 16   // more pages than are free: the transaction itself needs some
	scrubPatience = 10 * time.Second
)

var bucketScrub = []byte("scrub")

// Scrub implements [store.Store].
func (s *Store) Scrub(ctx context.Context) error {
	if s.disk.full.Load() {
		return store.ErrFull
	}
	err := scrub(ctx, s.db, s.o.MaxSize, func(own func(*bolt.Tx) error) error {
		r := &request{done: make(chan error, 1)}
		r.own = func(tx *bolt.Tx) error {
			if err := own(tx); err != nil {
				return &refusedError{r, err}
			}
			return nil
		}
		return s.submit(ctx, r)
	})
	if err != nil {
		return err
	}
	s.hist.moving.Lock()
	defer s.hist.moving.Unlock()
	for _, name := range s.hist.names() {
		db, err := s.hist.segment(name, false)
		if err != nil {
			continue // said when the store was opened
		}
		if err := scrub(ctx, db, 0, db.Update); err != nil {
			return fmt.Errorf("scrub %s: %w", name, err)
		}
	}
	return nil
}

// scrub writes over the free pages of a file. It begins when nobody reads what
// was deleted before it was called, and is done with the first transaction that
// has room for all pages that are free by then: each of the others was written
// to meanwhile.
func scrub(ctx context.Context, db *bolt.DB, maxSize int64, update func(func(*bolt.Tx) error) error) error {
	if err := unread(ctx, db); err != nil {
		return err
	}
	zeros := make([]byte, (db.Info().PageSize-pageHeader)/2-elementSize-16) // two to a page
	for all := false; !all; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := update(func(tx *bolt.Tx) error {
			st := db.Stats()
			free := st.FreePageN + st.PendingPageN + scrubSpare
			all = free <= scrubPages
			if grown := tx.Size() + int64(db.AllocSize); maxSize > 0 && grown > maxSize {
				return store.ErrFull // it may grow by some pages
			}
			b, err := tx.CreateBucketIfNotExists(bucketScrub)
			if err != nil {
				return err
			}
			b.FillPercent = 1
			for range 2 * min(free, scrubPages) {
				n, err := b.NextSequence()
				if err != nil {
					return err
				}
				if err := b.Put(key64(n), zeros); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket(bucketScrub); !errors.Is(err, bolterrors.ErrBucketNotFound) {
			return err
		}
		return nil
	})
}

// unread waits until no transaction is open that began before.
func unread(ctx context.Context, db *bolt.DB) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(scrubPatience)
	for stats := db.Stats(); stats.OpenTxN > 0; stats = db.Stats() {
		if time.Now().After(end) {
			return fmt.Errorf("boltstore: scrub: somebody has been reading for %s", scrubPatience)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
