package boltstore

import (
	"bytes"
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

// Get implements [store.Store]. A value that fails its check is as if it were
// not there, but for an error in the log.
func (s *Store) Get(ctx context.Context, keys ...store.Key) ([][]byte, error) {
	if err := ctx.Err(); err != nil || len(keys) == 0 {
		return nil, err
	}
	out := make([][]byte, len(keys))
	err := s.db.View(func(tx *bolt.Tx) error {
		values := tx.Bucket(bucketValues)
		var b *bolt.Bucket
		var of store.Key
		for i, k := range keys {
			if b == nil || of.Tenant != k.Tenant || of.Bucket != k.Bucket {
				b, of = values.Bucket(valuesKey(k.Tenant, k.Bucket)), k
			}
			if b == nil {
				continue
			}
			v := b.Get([]byte(k.Key))
			if v == nil {
				continue
			}
			p, _, err := decodeValue(v)
			if err != nil {
				s.log.Error("a stored value fails its checksum and is left out", "bucket", k.Bucket, "tenant", k.Tenant)
				s.m.damage()
				continue
			}
			out[i] = clone(p)
		}
		return nil
	})
	return out, err
}

// Range implements [store.Store].
func (s *Store) Range(ctx context.Context, tenant, bucket, after string, limit int) ([]store.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []store.Entry
	err := s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketValues).Bucket(valuesKey(tenant, bucket))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := seekAfter(c, []byte(after)); k != nil && len(out) < limit; k, v = c.Next() {
			if p, _, err := decodeValue(v); err == nil {
				out = append(out, store.Entry{Key: string(k), Value: clone(p)})
			}
		}
		return nil
	})
	return out, err
}

// seekAfter goes to the first key after one; empty is before all.
func seekAfter(c *bolt.Cursor, after []byte) (k, v []byte) {
	if len(after) == 0 {
		return c.First()
	}
	if k, v = c.Seek(after); bytes.Equal(k, after) {
		return c.Next()
	}
	return k, v
}

// Dead implements [store.Store].
func (s *Store) Dead(ctx context.Context, tenant, after string, limit int) ([]store.DeadLetter, error) {
	const page = 256
	var out []store.DeadLetter
	for len(out) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		looked := 0
		err := s.db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketDead).Cursor()
			for k, v := seekAfter(c, []byte(after)); k != nil && looked < page && len(out) < limit; k, v = c.Next() {
				looked++
				after = string(k)
				if d, err := decodeDead(v); err == nil && (tenant == "" || d.Queue.Tenant == tenant) {
					out = append(out, d)
				}
			}
			return nil
		})
		if err != nil || looked < page {
			return out, err
		}
	}
	return out, nil
}

// DeadLetter implements [store.Store].
func (s *Store) DeadLetter(ctx context.Context, id string) (store.DeadLetter, error) {
	if err := ctx.Err(); err != nil {
		return store.DeadLetter{}, err
	}
	var d store.DeadLetter
	err := s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketDead).Get([]byte(id))
		if v == nil {
			return fmt.Errorf("dead letter %.60q: %w", id, store.ErrNotFound)
		}
		var err error
		d, err = decodeDead(v)
		return err
	})
	return d, err
}

// Peek implements [store.Store].
func (s *Store) Peek(ctx context.Context, q store.QueueID, after uint64, limit int) ([]store.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []store.Delivery
	err := s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketQueues).Bucket(queueKey(q))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Seek(key64(after + 1)); k != nil && len(out) < limit; k, v = c.Next() {
			it, data, err := decodeItem(v)
			if err != nil || len(k) != 8 {
				continue
			}
			it.q, it.seq, it.data = &queue{id: q}, beUint64(k), clone(data)
			out = append(out, it.delivery())
		}
		return nil
	})
	return out, err
}

// Find implements [store.Store].
func (s *Store) Find(ctx context.Context, tenant, id string) ([]store.Record, error) {
	return s.hist.find(ctx, s.db, tenant, id)
}
