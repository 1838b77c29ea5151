package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

// Every stored value is framed: a version, a checksum over the rest, the rest.
// bbolt does not check what it reads, and a flipped bit must not become a
// message that nobody sent.
const (
	frameVersion = 1
	frameSize    = 5
)

var (
	errDamaged = errors.New("record is damaged")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func frame(payload []byte) []byte {
	out := make([]byte, frameSize, frameSize+len(payload))
	return sealed(append(out, payload...))
}

// sealed fills in the frame of a record whose payload begins at frameSize.
func sealed(b []byte) []byte {
	b[0] = frameVersion
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[frameSize:], castagnoli))
	return b
}

// unframe returns the payload, which is part of b.
func unframe(b []byte) ([]byte, error) {
	if len(b) < frameSize || b[0] != frameVersion || binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[frameSize:], castagnoli) {
		return nil, errDamaged
	}
	return b[frameSize:], nil
}

func key64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func appendString(b []byte, v string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// reader takes a payload apart; after a mistake everything is empty and bad is
// set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) time() time.Time {
	ns := r.varint()
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// encodeItem frames an item as it is stored in its queue.
func encodeItem(it *item, data []byte) []byte {
	b := make([]byte, frameSize, frameSize+48+len(it.id)+len(it.order)+len(it.mark)+len(data))
	b = binary.AppendUvarint(b, uint64(it.attempt))
	b = appendTime(b, it.added)
	b = appendTime(b, it.due)
	b = appendString(b, it.id)
	b = appendString(b, it.order)
	b = appendBytes(b, it.mark)
	b = appendBytes(b, data)
	if it.class > 0 { // the most urgent are written as before there were classes
		b = binary.AppendUvarint(b, uint64(it.class))
	}
	return sealed(b)
}

// decodeItem reads an item. The returned data is part of b.
func decodeItem(b []byte) (*item, []byte, error) {
	payload, err := unframe(b)
	if err != nil {
		return nil, nil, err
	}
	r := reader{b: payload}
	it := &item{}
	it.attempt = int(r.uvarint())
	it.added, it.due = r.time(), r.time()
	it.id, it.order = string(r.bytes()), string(r.bytes())
	if m := r.bytes(); len(m) > 0 {
		it.mark = append([]byte(nil), m...)
	}
	data := r.bytes()
	if len(r.b) > 0 {
		it.class = int(min(r.uvarint(), store.Classes-1))
	}
	if r.bad || len(r.b) != 0 {
		return nil, nil, errDamaged
	}
	return it, data, nil
}

// encodeValue frames a bucket's value with its expiry.
func encodeValue(value []byte, expires time.Time) []byte {
	b := make([]byte, frameSize, frameSize+8+len(value))
	b = binary.BigEndian.AppendUint64(b, uint64(expiryHour(expires)))
	return sealed(append(b, value...))
}

// decodeValue reads a bucket's value, which is part of b, and its expiry in
// hours.
func decodeValue(b []byte) ([]byte, int64, error) {
	p, err := unframe(b)
	if err != nil || len(p) < 8 {
		return nil, 0, errDamaged
	}
	return p[8:], int64(binary.BigEndian.Uint64(p)), nil
}

// expiryHour is the hour after which a value may go, 0 for never. Hours, so
// that writing a value again with a little more time costs nothing.
func expiryHour(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()/3600 + 1
}

func encodeHistory(r *store.Record) []byte {
	n := frameSize + 32 + len(r.Tenant) + len(r.Data)
	for _, id := range r.IDs {
		n += len(id) + 2
	}
	b := make([]byte, frameSize, n)
	b = appendString(b, r.Tenant)
	b = appendTime(b, r.Time)
	b = binary.AppendUvarint(b, uint64(len(r.IDs)))
	for _, id := range r.IDs {
		b = appendString(b, id)
	}
	return sealed(appendBytes(b, r.Data))
}

// decodeHistory reads a payload made by encodeHistory; everything is copied.
func decodeHistory(payload []byte) (store.Record, error) {
	r := reader{b: payload}
	rec := store.Record{Tenant: string(r.bytes()), Time: r.time()}
	n := r.uvarint()
	for i := uint64(0); i < n && !r.bad; i++ {
		rec.IDs = append(rec.IDs, string(r.bytes()))
	}
	rec.Data = append([]byte(nil), r.bytes()...)
	if r.bad || len(r.b) != 0 {
		return store.Record{}, errDamaged
	}
	return rec, nil
}

func encodeDead(d *store.DeadLetter) ([]byte, error) {
	data, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return frame(data), nil
}

func decodeDead(b []byte) (store.DeadLetter, error) {
	var d store.DeadLetter
	p, err := unframe(b)
	if err == nil {
		err = json.Unmarshal(p, &d)
	}
	return d, err
}

func encodeSeen(h seenHash, at time.Time) []byte {
	b := make([]byte, frameSize, frameSize+8+len(h))
	b = binary.BigEndian.AppendUint64(b, uint64(at.Unix()))
	return sealed(append(b, h[:]...))
}

func decodeSeen(b []byte) (h seenHash, at int64, err error) {
	p, err := unframe(b)
	if err != nil || len(p) != 8+len(h) {
		return h, 0, errDamaged
	}
	copy(h[:], p[8:])
	return h, int64(binary.BigEndian.Uint64(p)), nil
}
