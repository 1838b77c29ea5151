// Package boltstore is the store of a bridge on one machine: one bbolt file for
// what is on its way and what is known, and one more for each month of history.
//
// One goroutine writes. It commits whatever has come in while it was busy with
// the commit before, so that one fsync serves everybody who waits; nothing is
// acknowledged before it. The queues' order, leases and due times are kept in
// memory and rebuilt when the store is opened.
//
// When a commit fails because there is no room, it did not happen, and the
// store goes on refusing what is new until there is room again. When it fails in
// any other way, nobody knows whether it happened: the store gives up, the
// process must exit, and opening again finds out.
package boltstore

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

// Options configure a Store. The zero Options are good for a bridge of a small
// firm.
type Options struct {
	// MaxSize is where the hot file stops growing; 0 is 8 GiB.
	MaxSize int64
	// BallastSize is reserved on the disk, and given up to finish what is
	// inside when the disk is full; 0 is 16 MiB, negative none. As much that is
	// free within the hot file does in its place.
	BallastSize int64
	// MinFree is how much of the disk must be free to take new events; 0 is 64
	// MiB, negative none.
	MinFree int64
	// InitialMmapSize is how much address space the hot file gets at once; 0 is
	// 4 GiB. A file that outgrows it waits for every reader.
	InitialMmapSize int
	// DataCache is how many bytes of items stay in memory; the others are read
	// when they are handed out. 0 is 64 MiB.
	DataCache int64
	// SeenRetention is how long ids are remembered; 0 is 8 days.
	SeenRetention time.Duration
	// HistoryRetention is how long the history is kept; 0 is 90 days.
	HistoryRetention time.Duration

	Log        *slog.Logger
	Registerer prometheus.Registerer

	// Failpoint is called before and after each commit, for crash tests.
	Failpoint func(name string)
	// UnsafeNoSync and UnsafeAckFirst break what the store promises: commits do
	// not reach the disk, settlements return before their commit. They exist
	// for tests that must notice it.
	UnsafeNoSync   bool
	UnsafeAckFirst bool
}

func (o *Options) defaults() {
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.MaxSize, 8<<30)
	def(&o.BallastSize, 16<<20)
	def(&o.MinFree, 64<<20)
	def(&o.DataCache, 64<<20)
	def((*int64)(&o.SeenRetention), int64(8*24*time.Hour))
	def((*int64)(&o.HistoryRetention), int64(90*24*time.Hour))
	if o.InitialMmapSize == 0 {
		o.InitialMmapSize = 4 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
}

// Store implements [store.Store]. Use [Open].
type Store struct {
	o    Options
	dir  string
	log  *slog.Logger
	db   *bolt.DB
	hist *history
	disk *disk
	m    *metrics

	reqs chan *request // settlements for the writer
	lazy chan struct{} // tells the writer that lazy work waits
	wake chan struct{} // tells the clock that an earlier time is due
	done chan struct{} // closed when the writer ended

	mu     sync.Mutex
	queues map[store.QueueID]*queue
	leases itemHeap  // by the end of the lease
	lease  uint64    // the last lease given out
	next   time.Time // when the clock looks again
	seen   map[seenHash]struct{}
	cached int64
	dead   int
	owed   []op // database work of lazy settlements, in order
	commit latencies

	// The writer's own.
	swept     time.Time
	sweepMore bool
	committed bool // something, since the disk was looked at
}

type seenHash [16]byte

func hashSeen(q store.QueueID, id string) seenHash {
	h := sha256.New()
	_, _ = h.Write([]byte(q.Tenant))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(q.Name))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(id))
	var out seenHash
	var sum [32]byte
	copy(out[:], h.Sum(sum[:0]))
	return out
}

var _ store.Store = (*Store)(nil)

// queue returns the index of a queue, made on first use. Callers hold mu.
func (s *Store) queue(id store.QueueID) *queue {
	q := s.queues[id]
	if q == nil {
		q = newQueue(id)
		s.queues[id] = q
	}
	return q
}

// Fetch implements [store.Store].
func (s *Store) Fetch(ctx context.Context, id store.QueueID, limit int, lease time.Duration) ([]store.Delivery, error) {
	if limit <= 0 {
		return nil, nil
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		q := s.queue(id)
		now := time.Now()
		q.ripen(now)
		if n := min(limit, q.readied()); n > 0 {
			out := make([]store.Delivery, 0, n)
			for len(out) < n {
				out = append(out, s.handOut(q, q.next(), now.Add(lease)))
			}
			sooner := s.sooner(now.Add(lease))
			s.mu.Unlock()
			if sooner {
				s.nudge()
			}
			return s.fill(out)
		}
		wake := q.wake
		q.waiters++
		s.mu.Unlock()
		var err error
		select {
		case <-wake:
		case <-ctx.Done():
			err = ctx.Err()
		case <-s.done:
			err = store.ErrClosed
		}
		s.mu.Lock()
		q.waiters--
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

// handOut leases an item. Callers hold mu.
func (s *Store) handOut(q *queue, it *item, until time.Time) store.Delivery {
	s.lease++
	it.lease, it.until = s.lease, until
	q.leased++
	s.leases.push(it)
	return it.delivery()
}

// fill reads the data of deliveries that did not fit into memory.
func (s *Store) fill(ds []store.Delivery) ([]store.Delivery, error) {
	missing := false
	for i := range ds {
		missing = missing || ds[i].Data == nil
	}
	if !missing {
		return ds, nil
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		for i := range ds {
			if ds[i].Data != nil {
				continue
			}
			b := tx.Bucket(bucketQueues).Bucket(queueKey(ds[i].Queue))
			if b == nil {
				continue
			}
			if _, data, err := decodeItem(b.Get(key64(ds[i].Seq))); err == nil {
				ds[i].Data = append([]byte{}, data...)
			}
		}
		return nil
	})
	return ds, err
}

// leased returns the item of a delivery that is still the caller's. Callers
// hold mu.
func (s *Store) leased(d *store.Delivery) (*item, error) {
	q := s.queues[d.Queue]
	if q == nil || d.Lease == 0 {
		return nil, store.ErrStale
	}
	it := q.items[d.Seq]
	if it == nil || it.lease != d.Lease || it.settling {
		return nil, store.ErrStale
	}
	return it, nil
}

// Extend implements [store.Store].
func (s *Store) Extend(d store.Delivery, lease time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, err := s.leased(&d)
	if err != nil {
		return err
	}
	it.until = time.Now().Add(lease)
	s.leases.fix(it)
	return nil
}

// unlease ends an item's lease without settling it. Callers hold mu.
func (s *Store) unlease(it *item) {
	s.leases.remove(it)
	it.lease = 0
	it.q.leased--
}

// sooner reports whether the clock must look before it would have. Callers hold
// mu.
func (s *Store) sooner(t time.Time) bool {
	if !s.next.IsZero() && !t.Before(s.next) {
		return false
	}
	s.next = t
	return true
}

// nudge wakes the clock.
func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tick runs out leases and ripens what is due, and returns when to look again;
// zero for not before it is nudged.
func (s *Store) tick(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for len(s.leases.list) > 0 {
		it := s.leases.list[0]
		if it.until.After(now) {
			earlier(it.until)
			break
		}
		s.unlease(it)
		it.due = time.Time{}
		it.q.release(it, now)
	}
	for _, q := range s.queues {
		earlier(q.ripen(now))
	}
	s.next = next
	return next
}

// clock keeps the times until ctx ends.
func (s *Store) clock(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		if next := s.tick(time.Now()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

// Run implements [store.Store].
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { s.clock(ctx) })
	wg.Go(func() { s.hist.run(ctx, s) })
	err := s.write(ctx)
	close(s.done)
	return err
}

// Close releases the files. Run must have returned, or never been called.
func (s *Store) Close() error {
	if s.hist != nil {
		s.hist.close()
	}
	return s.db.Close()
}

// Stats implements [store.Store].
func (s *Store) Stats() store.Stats {
	now := time.Now()
	var st store.Stats
	s.mu.Lock()
	for _, q := range s.queues {
		st.Queues = append(st.Queues, q.stats(now))
	}
	st.Dead, st.Seen = s.dead, len(s.seen)
	st.Commits, st.CommitP99 = s.commit.n, s.commit.p99()
	s.mu.Unlock()
	st.Full = s.disk.full.Load()
	st.FreeDisk = s.disk.free.Load()
	st.FileSize = s.disk.size.Load()
	st.HistoryLag, st.HistorySize = int(s.hist.lag.Load()), s.hist.size.Load()
	return st
}
