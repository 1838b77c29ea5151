package boltstore

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/store"
)

// What is read from the file was written by this program, or damaged since, or
// made by somebody: it must be read as it was written, or refused, and never
// panic. The checksum would keep a fuzzer out: records are sealed here.

func FuzzDecodeItem(f *testing.F) {
	f.Add(encodeItem(&item{id: "wamid.1", order: "1:c1", attempt: 2, added: time.Unix(1, 2), mark: []byte("m")}, []byte("data"))[frameSize:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		it, data, err := decodeItem(frame(payload))
		if err != nil {
			return
		}
		again, same, err := decodeItem(encodeItem(it, data))
		if err != nil || !bytes.Equal(same, data) || again.id != it.id || again.order != it.order || again.attempt != it.attempt ||
			!again.added.Equal(it.added) || !again.due.Equal(it.due) || !bytes.Equal(again.mark, it.mark) {
			t.Errorf("%+v became %+v: %v", it, again, err)
		}
	})
}

func FuzzDecodeHistory(f *testing.F) {
	f.Add(encodeHistory(&store.Record{Tenant: "acme", IDs: []string{"a", "b"}, Time: time.Unix(3, 4), Data: []byte("{}")})[frameSize:])
	f.Add([]byte{1, 'a', 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, payload []byte) {
		rec, err := decodeHistory(payload)
		if err != nil {
			return
		}
		again, err := decodeHistory(encodeHistory(&rec)[frameSize:])
		if diff := cmp.Diff(rec, again); err != nil || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	})
}

func FuzzDecodeSmallRecords(f *testing.F) {
	dead, err := encodeDead(&store.DeadLetter{ID: "1", Item: "wamid.1", Data: []byte("x"), Reason: []byte("{}")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(dead[frameSize:])
	f.Add(encodeSeen(seenHash{1}, time.Unix(5, 0))[frameSize:])
	f.Add(encodeValue([]byte("v"), time.Unix(7200, 0))[frameSize:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := frame(payload)
		if v, hour, err := decodeValue(b); err == nil && (hour < 0 || len(v) != len(payload)-8) && hour == 0 {
			t.Errorf("a value of %d bytes from %d", len(v), len(payload))
		}
		if h, at, err := decodeSeen(b); err == nil && !bytes.Equal(encodeSeen(h, time.Unix(at, 0)), b) {
			t.Error("an id seen is not what was written")
		}
		if d, err := decodeDead(b); err == nil {
			again, err := encodeDead(&d)
			if err != nil {
				t.Fatal(err)
			}
			same, err := decodeDead(again)
			if diff := cmp.Diff(d, same); err != nil || diff != "" {
				t.Errorf("%v: %s", err, diff)
			}
		}
	})
}

func FuzzUnframe(f *testing.F) {
	f.Add([]byte{})
	f.Add(frame([]byte("x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := unframe(b)
		if err == nil && !bytes.Equal(frame(p), b) {
			t.Errorf("%x passes as %x", b, p)
		}
	})
}
