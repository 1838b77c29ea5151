package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// LogID names an append-only log of one tenant. Logs come into being when
// written to, and nothing in them is ever changed.
type LogID struct {
	Tenant string
	Name   string
}

// Append adds an entry to a log. Sequence number, time and hash are given in the
// commit, so that entries of several settlements can neither mix up nor leave a
// gap.
type Append struct {
	Log  LogID
	Data []byte
}

// LogEntry is one entry of a log.
type LogEntry struct {
	// Seq is 1 for the first entry, and one more for each that follows.
	Seq uint64 `json:"seq"`
	// Time is when it was committed, to the nanosecond.
	Time time.Time `json:"time"`
	// Hash binds the entry to all before it: see [LogEntry.Chain].
	Hash [sha256.Size]byte `json:"-"`
	Data []byte            `json:"-"`
}

// Chain returns the hash that the entry must have after one with the hash prev
// (zeros for the first): SHA-256 of prev, Seq and Time (eight bytes each, big
// endian, Time in nanoseconds since 1970), and Data.
func (e *LogEntry) Chain(prev [sha256.Size]byte) [sha256.Size]byte {
	b := make([]byte, 0, sha256.Size+16+len(e.Data))
	b = append(b, prev[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	return sha256.Sum256(append(b, e.Data...))
}

// LogHead is the end of a log: it is kept apart from the entries, so that
// missing ones are missed. Whoever has written it down outside can tell later
// that nothing before it was rewritten.
type LogHead struct {
	Seq  uint64            `json:"seq"` // 0: the log is empty
	Hash [sha256.Size]byte `json:"-"`
}

// LogReader reads logs. A [Store] is one.
type LogReader interface {
	// Log returns entries in order, from after (exclusive) on, at most limit. An
	// entry that cannot be read has its Seq and nothing else.
	Log(ctx context.Context, id LogID, after uint64, limit int) ([]LogEntry, error)
	// LogHead returns a log's end as the last append to it noted it. One that
	// cannot be read is ErrLogDamaged.
	LogHead(ctx context.Context, id LogID) (LogHead, error)
}

// ErrLogDamaged says that a log is not what was written. [VerifyLog] says where.
var ErrLogDamaged = errors.New("store: log is damaged")

// LogError names the first entry of a log that is wrong.
type LogError struct {
	Log LogID
	Seq uint64
	Why string
}

// Error implements error.
func (e *LogError) Error() string {
	return fmt.Sprintf("log %s of %s: entry %d %s", e.Log.Name, e.Log.Tenant, e.Seq, e.Why)
}

// Unwrap makes every LogError an ErrLogDamaged.
func (e *LogError) Unwrap() error { return ErrLogDamaged }

const logPage = 256

// VerifyLog reads a whole log, checks that each entry follows from the one
// before and that the last is the one that the head names, and calls each, if
// not nil, for every good entry in order. The error is a *LogError for what is
// wrong with the log; what each returned; or the store's. A log that is written
// to meanwhile is checked up to the head as it was at the beginning.
func VerifyLog(ctx context.Context, r LogReader, id LogID, each func(LogEntry) error) (LogHead, error) {
	head, err := r.LogHead(ctx, id)
	if err != nil {
		return LogHead{}, err
	}
	var at LogHead
	for {
		page, err := r.Log(ctx, id, at.Seq, logPage)
		if err != nil {
			return at, err
		}
		for i := range page {
			e := &page[i]
			switch {
			case e.Seq != at.Seq+1:
				return at, &LogError{id, at.Seq + 1, "is missing"}
			case e.Seq > head.Seq && head.Seq == at.Seq && e.Chain(at.Hash) == e.Hash:
				// Appended since, or the head was put back: look again.
				now, err := r.LogHead(ctx, id)
				if err != nil {
					return at, err
				}
				if now.Seq <= head.Seq {
					return at, &LogError{id, e.Seq, "is after the end that the log's head names"}
				}
				return at, nil
			case e.Chain(at.Hash) != e.Hash:
				return at, &LogError{id, e.Seq, "does not follow from the one before: it, or its place, was changed"}
			}
			at = LogHead{e.Seq, e.Hash}
			if at.Seq == head.Seq && at != head {
				return at, &LogError{id, e.Seq, "is not the one that the log's head names"}
			}
			if each != nil {
				if err := each(*e); err != nil {
					return at, err
				}
			}
		}
		if len(page) == 0 {
			if at.Seq < head.Seq {
				return at, &LogError{id, at.Seq + 1, fmt.Sprintf("is missing: the log's head names %d", head.Seq)}
			}
			return at, nil
		}
	}
}
