package boltstore

import (
	"context"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

const (
	// maxOwed bounds the work that lazy settlements may leave to the writer.
	maxOwed = 20_000
	// lazyWait is how long lazy work waits for a commit to ride with.
	lazyWait = 50 * time.Millisecond
	// maxKey bounds keys and ids: bbolt takes 32 KiB, and a page is 4.
	maxKey = 1024
)

// request is what the writer is asked to commit: a settlement, or work of the
// store's own.
type request struct {
	s    *store.Settlement
	own  func(*bolt.Tx) error
	done chan error // receives exactly one value

	out  store.Outcome
	work work
}

// Settle implements [store.Store].
func (s *Store) Settle(ctx context.Context, st store.Settlement) (store.Outcome, error) {
	if err := validate(&st); err != nil {
		return store.Outcome{}, err
	}
	if st.Ingest && s.disk.full.Load() {
		return store.Outcome{}, store.ErrFull
	}
	if st.Lazy && lazyOnly(&st) {
		wait, err := s.settleLazily(&st)
		if err != nil || !wait {
			return store.Outcome{}, err
		}
		st = store.Settlement{} // wait for the writer to catch up
	}
	r := &request{s: &st, done: make(chan error, 1)}
	if err := s.submit(ctx, r); err != nil {
		return store.Outcome{}, err
	}
	return r.out, nil
}

// submit hands a request to the writer and waits for its end.
func (s *Store) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.reqs <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return store.ErrClosed
	}
	// Taken: from here on only the writer knows.
	select {
	case err := <-r.done:
		return err
	case <-s.done:
		select {
		case err := <-r.done:
			return err
		default:
			return store.ErrClosed
		}
	}
}

// lazyOnly reports whether a settlement has nothing that somebody else could
// miss before its commit.
func lazyOnly(st *store.Settlement) bool {
	return len(st.Add)+len(st.Term)+len(st.Put)+len(st.Append)+len(st.Replay)+len(st.Resolve)+len(st.Drop) == 0
}

// settleLazily applies a settlement in memory and owes the commit. It reports
// whether so much is owed that the caller should wait.
func (s *Store) settleLazily(st *store.Settlement) (wait bool, err error) {
	select {
	case <-s.done:
		return false, store.ErrClosed
	default:
	}
	now := time.Now()
	s.mu.Lock()
	w, err := s.claim(st)
	if err == nil {
		s.owed = plan(s.owed, st, &w)
		s.apply(&w, now)
		wait = len(s.owed) > maxOwed
	}
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	select {
	case s.lazy <- struct{}{}:
	default:
	}
	return wait, nil
}

func validate(st *store.Settlement) error {
	for i := range st.Add {
		it := &st.Add[i]
		if it.ID == "" || len(it.ID) > maxKey || len(it.Order) > maxKey || len(it.Queue.Tenant)+len(it.Queue.Name) > maxKey || it.Queue.Name == "" {
			return fmt.Errorf("store: item %.40q for queue %q: ids are 1 to %d bytes", it.ID, it.Queue.Name, maxKey)
		}
		if it.Class < 0 || it.Class >= store.Classes {
			return fmt.Errorf("store: item %.40q for queue %q: there is no class %d", it.ID, it.Queue.Name, it.Class)
		}
	}
	for i := range st.Put {
		k := &st.Put[i].Key
		if k.Key == "" || k.Bucket == "" || len(k.Key) > maxKey || len(k.Tenant)+len(k.Bucket) > maxKey {
			return fmt.Errorf("store: key %.40q in bucket %q: keys are 1 to %d bytes", k.Key, k.Bucket, maxKey)
		}
	}
	for i := range st.Append {
		if id := st.Append[i].Log; id.Name == "" || len(id.Tenant)+len(id.Name) > maxKey {
			return fmt.Errorf("store: log %.40q: names are 1 to %d bytes", id.Name, maxKey)
		}
	}
	return nil
}

// work is a settlement on its way through a commit: the items it is about.
type work struct {
	acks, naks, marks, terms []*item
	drops                    []*item
	naksOf                   []store.Nak
	marksOf                  []store.Mark
	added                    []*item
	seen                     []seenHash
	dead                     int // change of the number of dead letters
}

// claim checks that every delivery is still the caller's, and takes them out of
// the clock's hands. Callers hold mu. On error nothing was claimed.
func (s *Store) claim(st *store.Settlement) (work, error) {
	var w work
	w.naksOf, w.marksOf = st.Nak, st.Mark
	take := func(list *[]*item, d *store.Delivery, ends bool) error {
		it, err := s.leased(d)
		if err != nil {
			return err
		}
		it.settling = ends
		if ends {
			s.leases.remove(it)
		}
		*list = append(*list, it)
		return nil
	}
	var err error
	for i := 0; i < len(st.Ack) && err == nil; i++ {
		err = take(&w.acks, &st.Ack[i], true)
	}
	for i := 0; i < len(st.Nak) && err == nil; i++ {
		err = take(&w.naks, &st.Nak[i].Delivery, true)
	}
	for i := 0; i < len(st.Term) && err == nil; i++ {
		err = take(&w.terms, &st.Term[i].Delivery, true)
	}
	for i := 0; i < len(st.Mark) && err == nil; i++ {
		err = take(&w.marks, &st.Mark[i].Delivery, false)
	}
	for i := 0; i < len(st.Drop) && err == nil; i++ {
		err = s.claimUnleased(&w, &st.Drop[i])
	}
	if err != nil {
		s.unclaim(&w)
	}
	return w, err
}

// claimUnleased takes an item that nobody has: from here on nobody gets it.
// Callers hold mu.
func (s *Store) claimUnleased(w *work, d *store.Delivery) error {
	q := s.queues[d.Queue]
	if q == nil || q.items[d.Seq] == nil {
		return store.ErrStale
	}
	it := q.items[d.Seq]
	if it.lease != 0 || it.settling {
		return store.ErrStale
	}
	it.settling = true
	it.held = q.withdraw(it)
	w.drops = append(w.drops, it)
	return nil
}

// unclaim gives back what was claimed: the commit did not happen. Callers hold
// mu.
func (s *Store) unclaim(w *work) {
	for _, list := range [][]*item{w.acks, w.naks, w.terms} {
		for _, it := range list {
			if it.settling {
				it.settling = false
				s.leases.push(it)
			}
		}
	}
	for _, it := range w.drops {
		if it.settling = false; it.held {
			it.q.release(it, time.Now())
		}
	}
	for _, h := range w.seen {
		delete(s.seen, h)
	}
}

// op is one write to the file.
type op struct {
	bucket []byte // top level
	sub    []byte // nested, may be nil
	key    []byte // nil: the bucket's next sequence number
	value  []byte // nil deletes
	put    *store.Put
}

// plan adds the writes of what was claimed, and of the history, to ops. Callers
// hold mu.
func plan(ops []op, st *store.Settlement, w *work) []op {
	for _, it := range w.acks {
		ops = append(ops, op{bucket: bucketQueues, sub: it.q.key, key: key64(it.seq)})
	}
	for i, it := range w.naks {
		changed := *it
		changed.nak(&w.naksOf[i])
		ops = append(ops, rewrite(&changed, w.naksOf[i].Delivery.Data))
	}
	for i, it := range w.marks {
		changed := *it
		changed.mark = w.marksOf[i].Mark
		ops = append(ops, rewrite(&changed, w.marksOf[i].Delivery.Data))
	}
	for _, it := range w.drops {
		ops = append(ops, op{bucket: bucketQueues, sub: it.q.key, key: key64(it.seq)})
	}
	for _, it := range w.terms {
		ops = append(ops, op{bucket: bucketQueues, sub: it.q.key, key: key64(it.seq)})
	}
	for i := range st.Record {
		ops = append(ops, op{bucket: bucketHistory, value: encodeHistory(&st.Record[i])})
	}
	return ops
}

// nak changes an item as a nak says.
func (it *item) nak(n *store.Nak) {
	it.due = n.Due
	if n.Counts {
		it.attempt++
	}
	if n.Mark != nil {
		it.mark = n.Mark
	}
}

func rewrite(it *item, data []byte) op {
	if it.data != nil {
		data = it.data
	}
	return op{bucket: bucketQueues, sub: it.q.key, key: key64(it.seq), value: encodeItem(it, data)}
}

// apply makes a settlement's effects visible. Callers hold mu.
func (s *Store) apply(w *work, now time.Time) {
	for _, list := range [][]*item{w.acks, w.terms} {
		for _, it := range list {
			endLease(it)
			s.cached -= int64(len(it.data))
			it.q.remove(it, now)
		}
	}
	for _, it := range w.drops {
		it.q.withdraw(it) // let go by the end of the one before it
		s.cached -= int64(len(it.data))
		it.q.remove(it, now)
	}
	for i, it := range w.naks {
		endLease(it)
		it.nak(&w.naksOf[i])
		it.q.release(it, now)
		s.wakeAt(it)
	}
	for i, it := range w.marks {
		it.mark = w.marksOf[i].Mark
	}
	for _, it := range w.added {
		it.q.insert(it, now)
		s.wakeAt(it)
	}
	s.dead += w.dead
}

// endLease ends the lease of an item that was claimed.
func endLease(it *item) {
	it.settling, it.lease = false, 0
	it.q.leased--
}

// wakeAt sees to it that the clock looks when the item is due.
func (s *Store) wakeAt(it *item) {
	if !it.due.IsZero() && s.sooner(it.due) {
		s.nudge()
	}
}

// add prepares a new item. Callers hold mu.
func (s *Store) add(w *work, in *store.Item, now time.Time) *item {
	q := s.queue(in.Queue)
	q.seq++
	it := &item{
		q: q, seq: q.seq, id: in.ID, order: in.Order, class: in.Class, added: now.UTC(), due: in.Due,
		size: len(in.Data), at: -1,
	}
	if s.cached+int64(len(in.Data)) <= s.o.DataCache && len(in.Data) > 0 {
		it.data, it.value = in.Data, in.Value
		s.cached += int64(len(in.Data))
	}
	w.added = append(w.added, it)
	return it
}

// once reports whether an item is new, and remembers it. Callers hold mu.
func (s *Store) once(w *work, in *store.Item) bool {
	if !in.Once {
		return true
	}
	h := hashSeen(in.Queue, in.ID)
	if _, ok := s.seen[h]; ok {
		return false
	}
	s.seen[h] = struct{}{}
	w.seen = append(w.seen, h)
	return true
}
