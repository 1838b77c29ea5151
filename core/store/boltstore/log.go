package boltstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

// headKey is where a log's head is, beside entries whose keys are eight bytes.
var headKey = []byte("head")

func logKey(id store.LogID) []byte { return valuesKey(id.Tenant, id.Name) }

// addLogs gives a file of an older version the bucket for logs.
func addLogs(db *bolt.DB) error {
	have := false
	err := db.View(func(tx *bolt.Tx) error {
		have = tx.Bucket(bucketLogs) != nil
		return nil
	})
	if err != nil || have {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketLogs)
		return err
	})
}

// append writes a settlement's log entries. Each is chained to what the
// transaction has of its log, and the transaction is all or nothing: so is the
// chain. A log whose head cannot be read takes no more: what would follow from
// it proves nothing.
func (w *txWriter) append(r *request, now time.Time) error {
	r.out.Appended = make([]uint64, len(r.s.Append))
	for i := range r.s.Append {
		a := &r.s.Append[i]
		b, err := w.bucket(bucketLogs, logKey(a.Log))
		if err != nil {
			return err
		}
		head, err := readHead(b)
		if err != nil {
			return &refusedError{r, fmt.Errorf("log %s of %s: %w", a.Log.Name, a.Log.Tenant, err)}
		}
		e := store.LogEntry{Seq: head.Seq + 1, Time: now, Data: a.Data}
		e.Hash = e.Chain(head.Hash)
		if err := b.Put(key64(e.Seq), encodeLogEntry(&e)); err != nil {
			return err
		}
		if err := b.Put(headKey, encodeHead(store.LogHead{Seq: e.Seq, Hash: e.Hash})); err != nil {
			return err
		}
		r.out.Appended[i] = e.Seq
	}
	return nil
}

// encodeLogEntry frames an entry: time, hash, data.
func encodeLogEntry(e *store.LogEntry) []byte {
	b := make([]byte, frameSize, frameSize+8+len(e.Hash)+len(e.Data))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	b = append(b, e.Hash[:]...)
	return sealed(append(b, e.Data...))
}

// decodeLogEntry reads an entry; its data is copied. What is no entry has its
// Seq only.
func decodeLogEntry(k, v []byte) store.LogEntry {
	e := store.LogEntry{Seq: beUint64(k)}
	p, err := unframe(v)
	if err != nil || len(p) < 8+sha256.Size {
		return e
	}
	e.Time = time.Unix(0, int64(binary.BigEndian.Uint64(p))).UTC()
	copy(e.Hash[:], p[8:])
	e.Data = clone(p[8+sha256.Size:])
	return e
}

func encodeHead(h store.LogHead) []byte {
	b := make([]byte, frameSize, frameSize+8+len(h.Hash))
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	return sealed(append(b, h.Hash[:]...))
}

// readHead reads the head of a log; b may be nil.
func readHead(b *bolt.Bucket) (store.LogHead, error) {
	var h store.LogHead
	if b == nil {
		return h, nil
	}
	v := b.Get(headKey)
	if v == nil {
		if k, _ := b.Cursor().First(); k != nil {
			return h, fmt.Errorf("%w: its head is missing", store.ErrLogDamaged)
		}
		return h, nil
	}
	p, err := unframe(v)
	if err != nil || len(p) != 8+len(h.Hash) {
		return h, fmt.Errorf("%w: its head cannot be read", store.ErrLogDamaged)
	}
	h.Seq = binary.BigEndian.Uint64(p)
	copy(h.Hash[:], p[8:])
	return h, nil
}

// logBucket returns the bucket of a log, nil when there is none.
func logBucket(tx *bolt.Tx, id store.LogID) *bolt.Bucket {
	logs := tx.Bucket(bucketLogs)
	if logs == nil {
		return nil // read only, of an older version
	}
	return logs.Bucket(logKey(id))
}

// Log implements [store.LogReader].
func (s *Store) Log(ctx context.Context, id store.LogID, after uint64, limit int) ([]store.LogEntry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []store.LogEntry
	err := s.db.View(func(tx *bolt.Tx) error {
		b := logBucket(tx, id)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Seek(key64(after + 1)); k != nil && len(out) < limit; k, v = c.Next() {
			if len(k) == 8 {
				out = append(out, decodeLogEntry(k, v))
			}
		}
		return nil
	})
	return out, err
}

// LogHead implements [store.LogReader].
func (s *Store) LogHead(ctx context.Context, id store.LogID) (store.LogHead, error) {
	if err := ctx.Err(); err != nil {
		return store.LogHead{}, err
	}
	var h store.LogHead
	err := s.db.View(func(tx *bolt.Tx) error {
		var err error
		h, err = readHead(logBucket(tx, id))
		return err
	})
	return h, err
}
