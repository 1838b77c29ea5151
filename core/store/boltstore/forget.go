package boltstore

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core/store"
)

// Forget implements [store.Store]. A record that is forgotten leaves an empty one
// behind, of nobody, so that the numbers of the others stay. The hot file is one
// transaction, each segment another: whoever was interrupted asks again.
func (s *Store) Forget(ctx context.Context, tenant string, ids ...string) (int, error) {
	s.hist.moving.Lock()
	defer s.hist.moving.Unlock()
	n := 0
	r := &request{done: make(chan error, 1), own: func(tx *bolt.Tx) error {
		n = 0
		b := tx.Bucket(bucketHistory)
		blank := map[string][]byte{}
		err := b.ForEach(func(k, v []byte) error {
			if p, err := unframe(v); err == nil {
				if empty, ok := forgotten(p, tenant, ids); ok {
					blank[string(k)] = frame(empty)
				}
			}
			return nil
		})
		for k, v := range blank {
			err = errors.Join(err, b.Put([]byte(k), v))
			n++
		}
		return err
	}}
	if err := s.submit(ctx, r); err != nil {
		return 0, err
	}
	for _, name := range s.hist.names() {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		more, err := s.hist.forget(name, tenant, ids)
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}

// forgotten returns what is left of a record that carries one of the ids.
func forgotten(payload []byte, tenant string, ids []string) ([]byte, bool) {
	if !slices.ContainsFunc(ids, func(id string) bool { return bytes.Contains(payload, []byte(id)) }) {
		return nil, false
	}
	rec, err := decodeHistory(payload)
	if err != nil || rec.Tenant != tenant || !slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(rec.IDs, id) }) {
		return nil, false
	}
	return encodeHistory(&store.Record{Time: rec.Time})[frameSize:], true
}

// forget writes the blocks of a segment anew that hold one of the ids.
func (h *history) forget(name, tenant string, ids []string) (int, error) {
	db, err := h.segment(name, false)
	if err != nil {
		return 0, nil //nolint:nilerr // said when the store was opened
	}
	var keys [][]byte
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(segIndex).ForEach(func(k, v []byte) error {
			p, err := unframe(v)
			if err != nil || slices.ContainsFunc(ids, func(id string) bool { return holds(p, hashID(tenant, id)) }) {
				keys = append(keys, clone(k))
			}
			return nil
		})
	})
	n := 0
	for _, k := range keys {
		err = errors.Join(err, db.Update(func(tx *bolt.Tx) error {
			more, err := forgetBlock(tx, k, tenant, ids)
			n += more
			return err
		}))
	}
	return n, err
}

func forgetBlock(tx *bolt.Tx, key []byte, tenant string, ids []string) (int, error) {
	var packed bytes.Buffer
	z, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return 0, err
	}
	n := 0
	var hashes []uint64
	var size []byte
	bad := unpack(tx.Bucket(segBlocks).Get(key), func(payload []byte) {
		if empty, ok := forgotten(payload, tenant, ids); ok {
			payload = empty
			n++
		}
		size = binary.AppendUvarint(size[:0], uint64(len(payload)))
		_, e1 := z.Write(size)
		_, e2 := z.Write(payload)
		err = errors.Join(err, e1, e2)
		if rec, err := decodeHistory(payload); err == nil {
			for _, id := range rec.IDs {
				hashes = append(hashes, hashID(rec.Tenant, id))
			}
		}
	})
	if bad != nil || n == 0 {
		return 0, err // a damaged block cannot be read by anybody
	}
	if err := errors.Join(err, z.Close()); err != nil {
		return 0, err
	}
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	index := make([]byte, frameSize, frameSize+8*len(hashes))
	for _, h := range hashes {
		index = binary.BigEndian.AppendUint64(index, h)
	}
	return n, errors.Join(tx.Bucket(segBlocks).Put(key, frame(packed.Bytes())), tx.Bucket(segIndex).Put(key, sealed(index)))
}
