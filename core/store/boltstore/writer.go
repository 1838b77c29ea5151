package boltstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

const (
	// A commit costs about the same for one caller as for a hundred. So the more
	// there were in the last one, the longer the next one lets them gather: this
	// long for each, and at most maxGap between the starts of two commits.
	gapEach = 250 * time.Microsecond
	maxGap  = 4 * time.Millisecond
	// maxCommit and maxCommitBytes bound what one commit takes.
	maxCommit      = 1024
	maxCommitBytes = 1 << 20
	housekeeping   = time.Second      // between two looks at the disk
	lookAtLeast    = 15 * time.Second // when nothing is written
)

// Top-level buckets.
var (
	bucketMeta       = []byte("meta")
	bucketQueues     = []byte("queues")  // tenant NUL queue → sequence → item
	bucketValues     = []byte("values")  // tenant NUL bucket → key → value
	bucketSeen       = []byte("seen")    // sequence → time, hash
	bucketExpiry     = []byte("expiry")  // hour, sequence → where the value is
	bucketDead       = []byte("dead")    // id → dead letter
	bucketHistory    = []byte("history") // sequence → record, until it is moved
	bucketLogs       = []byte("logs")    // tenant NUL log → sequence → entry, and the head
	bucketQuarantine = []byte("quarantine")
)

// write commits until ctx ends, then what it had taken. It returns nil, or the
// error after which nobody knows what is in the file.
func (s *Store) write(ctx context.Context) error {
	rest := housekeeping
	tick := time.NewTimer(rest)
	defer tick.Stop()
	var last time.Time
	var gap time.Duration
	for {
		var batch []*request
		stopping := false
		select {
		case r := <-s.reqs:
			batch = append(batch, r)
		case <-s.lazy:
			t := time.NewTimer(lazyWait)
			select {
			case r := <-s.reqs:
				batch = append(batch, r)
			case <-t.C:
			case <-ctx.Done():
			}
			t.Stop()
		case <-tick.C:
			batch, rest = s.housekeep(), lookAtLeast
			tick.Reset(rest)
		case <-ctx.Done():
			stopping = true
		}
		if wait := gap - time.Since(last); wait > 0 && !stopping {
			pause(ctx, wait)
		}
		batch = s.gather(batch)
		gap = min(maxGap, time.Duration(len(batch)-1)*gapEach)
		last = time.Now()
		s.committed = s.committed || len(batch) > 0
		if err := s.commitAll(ctx, batch); err != nil {
			return err
		}
		if rest > housekeeping && (s.committed || s.sweepMore || s.disk.full.Load()) {
			rest = housekeeping
			tick.Reset(rest)
		}
		if stopping && len(batch) == 0 {
			return nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// gather adds what waits to a batch.
func (s *Store) gather(batch []*request) []*request {
	size := 0
	for _, r := range batch {
		size += r.weight()
	}
	for len(batch) < maxCommit && size < maxCommitBytes {
		select {
		case r := <-s.reqs:
			batch = append(batch, r)
			size += r.weight()
		default:
			return batch
		}
	}
	return batch
}

// weight is about how many bytes a request writes.
func (r *request) weight() int {
	if r.s == nil {
		return 0
	}
	n := 0
	for i := range r.s.Add {
		n += len(r.s.Add[i].Data) + 64
	}
	for i := range r.s.Put {
		n += len(r.s.Put[i].Value) + 64
	}
	for i := range r.s.Append {
		n += len(r.s.Append[i].Data) + 128
	}
	for i := range r.s.Record {
		n += len(r.s.Record[i].Data) + 64
	}
	return n
}

// commitAll commits a batch and what is owed, and answers everybody in it.
// While there is no room it refuses what is new and goes on trying with the
// rest.
func (s *Store) commitAll(ctx context.Context, batch []*request) error {
	for {
		now := time.Now()
		s.mu.Lock()
		ops := s.owed
		s.owed = nil
		owed := len(ops)
		kept := batch[:0]
		for _, r := range batch {
			if r.s == nil {
				kept = append(kept, r)
				continue
			}
			if err := s.prepare(r, now); err != nil {
				r.done <- err
				continue
			}
			kept = append(kept, r)
		}
		batch = kept
		s.mu.Unlock()
		if len(batch) == 0 && owed == 0 {
			return nil
		}
		if s.o.UnsafeAckFirst {
			for _, r := range batch {
				r.done <- nil
			}
			pause(ctx, 10*time.Millisecond) // time for the answer to reach its caller
		}
		s.failpoint("before-commit")
		began := time.Now()
		err := s.commitOnce(ops, batch, now)
		s.failpoint("after-commit")
		if err == nil {
			s.finish(ops, batch, began)
			return nil
		}
		s.mu.Lock()
		for _, r := range batch {
			s.unclaim(&r.work)
			s.uncache(&r.work)
			r.work, r.out = work{}, store.Outcome{}
		}
		s.owed = append(ops[:owed:owed], s.owed...)
		s.mu.Unlock()
		if refused, ok := errors.AsType[*refusedError](err); ok {
			refused.r.done <- refused.err
			batch = without(batch, refused.r)
			continue
		}
		if !noRoom(err) {
			err = fmt.Errorf("boltstore: commit failed, and what is in %s is not known: %w", s.db.Path(), err)
			s.log.Error("the store gives up: the process must exit and start again", "error", err)
			return err
		}
		if batch = s.refuseNew(batch); !s.disk.makeRoom() {
			if pause(ctx, time.Second); ctx.Err() != nil {
				return errors.Join(store.ErrFull, err)
			}
		}
	}
}

func without(batch []*request, r *request) []*request {
	out := batch[:0]
	for _, b := range batch {
		if b != r {
			out = append(out, b)
		}
	}
	return out
}

// refuseNew answers those that bring new work.
func (s *Store) refuseNew(batch []*request) []*request {
	out := batch[:0]
	for _, r := range batch {
		if r.s != nil && r.s.Ingest {
			r.done <- store.ErrFull
			continue
		}
		out = append(out, r)
	}
	return out
}

// prepare claims what a settlement is about and decides what is new. Callers
// hold mu.
func (s *Store) prepare(r *request, now time.Time) error {
	w, err := s.claim(r.s)
	if err != nil {
		return err
	}
	r.out.Added = make([]bool, len(r.s.Add))
	for i := range r.s.Add {
		if in := &r.s.Add[i]; s.once(&w, in) {
			r.out.Added[i] = true
			s.add(&w, in, now)
		}
	}
	r.work = w
	return nil
}

// uncache takes back what add counted. Callers hold mu.
func (s *Store) uncache(w *work) {
	for _, it := range w.added {
		s.cached -= int64(len(it.data))
	}
}

// finish makes a committed batch visible and answers.
func (s *Store) finish(ops []op, batch []*request, began time.Time) {
	now := time.Now()
	records := 0
	for i := range ops {
		if ops[i].bucket[0] == bucketHistory[0] {
			records++
		}
	}
	for _, r := range batch {
		if r.s != nil {
			records += len(r.s.Record)
		}
	}
	s.hist.add(records)
	s.mu.Lock()
	for _, r := range batch {
		s.apply(&r.work, now)
	}
	s.commit.add(now.Sub(began))
	s.mu.Unlock()
	s.m.commits.Observe(now.Sub(began).Seconds())
	if !s.o.UnsafeAckFirst {
		for _, r := range batch {
			r.done <- nil
		}
	}
}

func (s *Store) failpoint(name string) {
	if s.o.Failpoint != nil {
		s.o.Failpoint(name)
	}
}

// refusedError ends one request of a batch; the others go on without it.
type refusedError struct {
	r   *request
	err error
}

func (e *refusedError) Error() string { return e.err.Error() }

// commitOnce makes one transaction of everything.
func (s *Store) commitOnce(ops []op, batch []*request, now time.Time) error {
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	w := txWriter{tx: tx, open: make(map[bucketName]*bolt.Bucket)}
	if err := w.write(ops); err != nil {
		return err
	}
	for _, r := range batch {
		if r.own != nil {
			if err := r.own(tx); err != nil {
				return err
			}
			continue
		}
		if err := s.commitOne(&w, r, now); err != nil {
			return err
		}
	}
	s.disk.size.Store(tx.Size())
	return tx.Commit()
}

func (s *Store) commitOne(w *txWriter, r *request, now time.Time) error {
	st := r.s
	ops := make([]op, 0, len(st.Add)+len(st.Ack)+len(st.Nak)+len(st.Mark)+len(st.Put)+len(st.Record))
	i := 0
	for j := range st.Add {
		if !r.out.Added[j] {
			continue
		}
		it := r.work.added[i]
		i++
		ops = append(ops, op{bucket: bucketQueues, sub: it.q.key, key: key64(it.seq), value: encodeItem(it, st.Add[j].Data)})
	}
	for _, h := range r.work.seen {
		ops = append(ops, op{bucket: bucketSeen, value: encodeSeen(h, now)})
	}
	s.mu.Lock()
	ops = plan(ops, st, &r.work)
	s.mu.Unlock()
	r.work.dead = 0
	for j, it := range r.work.terms {
		o, err := bury(it, &st.Term[j], now, j)
		if err != nil {
			return err
		}
		ops = append(ops, o)
		r.work.dead++
	}
	for j := range st.Put {
		p := &st.Put[j]
		ops = append(ops, op{bucket: bucketValues, sub: valuesKey(p.Key.Tenant, p.Key.Bucket), put: p})
	}
	if err := w.write(ops); err != nil {
		return err
	}
	if err := w.append(r, now); err != nil {
		return err
	}
	return s.exhume(w, r, now)
}

func valuesKey(tenant, bucket string) []byte { return []byte(tenant + "\x00" + bucket) }

// bury makes a dead letter of an item.
func bury(it *item, t *store.Term, now time.Time, n int) (op, error) {
	d := store.DeadLetter{
		ID:    fmt.Sprintf("%016x-%08x", now.UnixNano()+int64(n), it.seq),
		Queue: it.q.id, Item: it.id, Order: it.order, Class: it.class, Data: t.Delivery.Data, Reason: t.Reason, Attempts: it.attempt + 1,
		Mark: it.mark, Added: it.added, Died: now.UTC(), Deadline: t.Deadline.UTC(),
	}
	if it.data != nil {
		d.Data = it.data
	}
	v, err := encodeDead(&d)
	return op{bucket: bucketDead, key: []byte(d.ID), value: v}, err
}

// exhume replays and resolves dead letters.
func (s *Store) exhume(w *txWriter, r *request, now time.Time) error {
	dead := w.tx.Bucket(bucketDead)
	drop := func(id string) (store.DeadLetter, error) {
		v := dead.Get([]byte(id))
		if v == nil {
			return store.DeadLetter{}, &refusedError{r, fmt.Errorf("dead letter %.60q: %w", id, store.ErrNotFound)}
		}
		d, err := decodeDead(v)
		if err != nil {
			return d, &refusedError{r, fmt.Errorf("dead letter %.60q: %w", id, err)}
		}
		r.work.dead--
		return d, dead.Delete([]byte(id))
	}
	for _, id := range r.s.Resolve {
		if _, err := drop(id); err != nil {
			return err
		}
	}
	for _, id := range r.s.Replay {
		d, err := drop(id)
		if err != nil {
			return err
		}
		s.mu.Lock()
		it := s.add(&r.work, &store.Item{Queue: d.Queue, ID: d.Item, Order: d.Order, Class: d.Class, Data: d.Data}, now)
		s.mu.Unlock()
		if err := w.write([]op{{bucket: bucketQueues, sub: it.q.key, key: key64(it.seq), value: encodeItem(it, d.Data)}}); err != nil {
			return err
		}
	}
	return nil
}

// txWriter applies ops to one transaction.
type txWriter struct {
	tx   *bolt.Tx
	open map[bucketName]*bolt.Bucket
}

type bucketName struct {
	top byte // first letter of the top-level bucket: those written here differ in it
	sub string
}

func (w *txWriter) bucket(top, sub []byte) (*bolt.Bucket, error) {
	if b := w.open[bucketName{top[0], string(sub)}]; b != nil {
		return b, nil
	}
	b := w.tx.Bucket(top)
	if sub != nil {
		var err error
		if b, err = b.CreateBucketIfNotExists(sub); err != nil {
			return nil, err
		}
	}
	if top[0] != bucketValues[0] {
		b.FillPercent = 0.9 // written at the end only
	}
	w.open[bucketName{top[0], string(sub)}] = b
	return b, nil
}

func (w *txWriter) write(ops []op) error {
	for i := range ops {
		o := &ops[i]
		b, err := w.bucket(o.bucket, o.sub)
		if err != nil {
			return err
		}
		switch {
		case o.put != nil:
			err = w.put(b, o)
		case o.key == nil:
			var n uint64
			if n, err = b.NextSequence(); err == nil {
				err = b.Put(key64(n), o.value)
			}
		case o.value == nil:
			err = b.Delete(o.key)
		default:
			err = b.Put(o.key, o.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put writes a value, and an entry in the expiry log when its hour is new.
func (w *txWriter) put(b *bolt.Bucket, o *op) error {
	key := []byte(o.put.Key.Key)
	if o.put.Value == nil {
		return b.Delete(key)
	}
	if hour := expiryHour(o.put.Expires); hour != 0 {
		logged := false
		if old := b.Get(key); old != nil {
			_, have, err := decodeValue(old)
			logged = err == nil && have == hour
		}
		if !logged {
			log, err := w.bucket(bucketExpiry, nil)
			if err != nil {
				return err
			}
			n, err := log.NextSequence()
			if err != nil {
				return err
			}
			entry, err := json.Marshal([2][]byte{o.sub, key})
			if err != nil {
				return err
			}
			if err := log.Put(append(key64(uint64(hour)), key64(n)...), frame(entry)); err != nil {
				return err
			}
		}
	}
	return b.Put(key, encodeValue(o.put.Value, o.put.Expires))
}
