package boltstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"time"

	bolt "go.etcd.io/bbolt"
)

// sweepMost bounds what one sweep deletes: the next one goes on.
const sweepMost = 2000

// housekeep looks at the disk, and returns the sweeps to commit.
func (s *Store) housekeep() []*request {
	now := time.Now()
	s.disk.look()
	s.committed = false
	if now.Sub(s.swept) < time.Minute && !s.sweepMore {
		return nil
	}
	if now.Before(s.swept) || (!s.swept.IsZero() && now.Sub(s.swept) > time.Hour) {
		// The clock jumped, or the machine slept: nothing is deleted on its word.
		s.log.Warn("the clock jumped: nothing is deleted for a minute", "by", now.Sub(s.swept))
		s.swept = now
		return nil
	}
	s.swept, s.sweepMore = now, false
	if !s.sweepable(now) {
		return nil // a commit for nothing would be one a minute
	}
	return []*request{{own: func(tx *bolt.Tx) error { return s.sweep(tx, now) }, done: make(chan error, 1)}}
}

// sweepable reports whether there is something to sweep.
func (s *Store) sweepable(now time.Time) (found bool) {
	err := s.db.View(func(tx *bolt.Tx) error {
		if k, v := tx.Bucket(bucketSeen).Cursor().First(); k != nil {
			_, at, err := decodeSeen(v)
			found = err != nil || at <= now.Add(-s.o.SeenRetention).Unix()
		}
		if k, _ := tx.Bucket(bucketExpiry).Cursor().First(); k != nil {
			found = found || bytes.Compare(k[:8], key64(uint64(now.Unix()/3600))) <= 0
		}
		return nil
	})
	return found || err != nil
}

// sweep deletes ids seen and values whose time is over.
func (s *Store) sweep(tx *bolt.Tx, now time.Time) error {
	seen := tx.Bucket(bucketSeen)
	var keys [][]byte
	var gone []seenHash
	limit := now.Add(-s.o.SeenRetention).Unix()
	c := seen.Cursor()
	for k, v := c.First(); k != nil && len(keys) < sweepMost; k, v = c.Next() {
		h, at, err := decodeSeen(v)
		if err == nil && at > limit {
			break
		}
		keys, gone = append(keys, clone(k)), append(gone, h)
	}
	for _, k := range keys {
		if err := seen.Delete(k); err != nil {
			return err
		}
	}
	s.mu.Lock()
	for _, h := range gone {
		delete(s.seen, h)
	}
	s.mu.Unlock()
	s.sweepMore = len(keys) == sweepMost
	return s.expire(tx, now)
}

func (s *Store) expire(tx *bolt.Tx, now time.Time) error {
	log, values := tx.Bucket(bucketExpiry), tx.Bucket(bucketValues)
	hour := key64(uint64(now.Unix() / 3600))
	var entries, subs, keys [][]byte
	c := log.Cursor()
	for k, v := c.First(); k != nil && len(entries) < sweepMost; k, v = c.Next() {
		if bytes.Compare(k[:8], hour) > 0 {
			break
		}
		var at [2][]byte
		if p, err := unframe(v); err == nil && json.Unmarshal(p, &at) == nil {
			subs, keys = append(subs, at[0]), append(keys, at[1])
		}
		entries = append(entries, clone(k))
	}
	for i, key := range keys {
		b := values.Bucket(subs[i])
		if b == nil {
			continue
		}
		// Written again since, with more time: another entry of the log says so.
		if _, until, err := decodeValue(b.Get(key)); err != nil || until == 0 || uint64(until) > binary.BigEndian.Uint64(hour) {
			continue
		}
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	for _, k := range entries {
		if err := log.Delete(k); err != nil {
			return err
		}
	}
	s.sweepMore = s.sweepMore || len(entries) == sweepMost
	return nil
}
