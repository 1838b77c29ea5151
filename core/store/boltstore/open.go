package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/wabridge/wabridge/core/durable"
	"github.com/wabridge/wabridge/core/store"
)

// Errors of Open, wrapped in one that says what to do.
var (
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("locked")
	// ErrDamaged: the file is not what the bridge wrote.
	ErrDamaged = errors.New("damaged")
	// ErrUnwritable: the folder or its files cannot be written.
	ErrUnwritable = errors.New("not writable")
	// ErrNewer: a newer version of the bridge wrote the file.
	ErrNewer = errors.New("written by a newer version")
)

const (
	hotFile     = "hot.db"
	schema      = 1
	lockTimeout = time.Second
)

// Open opens the store in a folder, which is made when it is not there. One
// process at a time may have it open. Call Run, then use it; Close at the end.
func Open(dir string, o Options) (*Store, error) {
	o.defaults()
	if err := os.MkdirAll(filepath.Join(dir, "history"), 0o700); err != nil {
		return nil, explain(dir, err)
	}
	path := filepath.Join(dir, hotFile)
	if err := create(path); err != nil {
		return nil, explain(dir, err)
	}
	s := newStore(dir, o)
	err := guarded(func() error { return s.open(path, false) })
	if err != nil {
		if s.db != nil {
			_ = guarded(s.db.Close)
		}
		return nil, explain(path, err)
	}
	s.disk = newDisk(dir, o, func() int64 { return int64(s.db.Stats().FreePageN) * int64(s.db.Info().PageSize) })
	s.disk.size.Store(fileSize(path))
	s.hist = newHistory(filepath.Join(dir, "history"), o)
	if err := s.hist.open(s.db); err != nil {
		_ = s.db.Close()
		return nil, explain(filepath.Join(dir, "history"), err)
	}
	s.m = newMetrics(o.Registerer, s)
	return s, nil
}

// OpenReadOnly opens the store of a bridge that does not run, for looking only:
// Get, Range, Dead, DeadLetter, Peek, Find, History and Stats work, Settle and Fetch do
// not.
func OpenReadOnly(dir string) (*Store, error) {
	var o Options
	o.defaults()
	path := filepath.Join(dir, hotFile)
	s := newStore(dir, o)
	if err := guarded(func() error { return s.open(path, true) }); err != nil {
		if s.db != nil {
			_ = guarded(s.db.Close)
		}
		return nil, explain(path, err)
	}
	close(s.done)
	s.disk = &disk{dir: dir}
	s.disk.size.Store(fileSize(path))
	s.hist = newHistory(filepath.Join(dir, "history"), o)
	return s, nil
}

func newStore(dir string, o Options) *Store {
	s := &Store{
		o: o, dir: dir, log: o.Log,
		reqs: make(chan *request, 4*maxCommit), lazy: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		done: make(chan struct{}), queues: map[store.QueueID]*queue{}, seen: map[seenHash]struct{}{},
	}
	s.leases.less = func(a, b *item) bool { return a.until.Before(b.until) }
	return s
}

func (o *Options) bolt(readOnly bool) *bolt.Options {
	return &bolt.Options{
		Timeout: lockTimeout, ReadOnly: readOnly, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		InitialMmapSize: o.InitialMmapSize, MaxSize: int(o.MaxSize), NoSync: o.UnsafeNoSync,
	}
}

// create makes an empty file with its buckets, whole or not at all: a power cut
// while bbolt makes one can leave something that it will not open.
func create(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(tmp, 0o600, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketQueues, bucketValues, bucketSeen, bucketExpiry, bucketDead, bucketHistory, bucketLogs, bucketQuarantine} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		return meta.Put([]byte("schema"), frame(key64(schema)))
	})
	if err = errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

func fileSize(path string) int64 {
	if info, err := os.Stat(path); err == nil {
		return info.Size()
	}
	return 0
}

// guarded turns a panic, and the fault that reading a cut-off file gives, into
// an error.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return f()
}

// open opens the file and rebuilds what is kept in memory.
func (s *Store) open(path string, readOnly bool) error {
	if err := checkPages(path); err != nil {
		return err
	}
	db, err := bolt.Open(path, 0o600, s.o.bolt(readOnly))
	if err != nil {
		return err
	}
	s.db = db
	var damaged []damage
	err = db.View(func(tx *bolt.Tx) error {
		if err := checkSchema(tx); err != nil {
			return err
		}
		damaged, err = s.load(tx)
		return err
	})
	if err != nil || readOnly {
		return err
	}
	if err := addLogs(db); err != nil || len(damaged) == 0 {
		return err
	}
	return s.quarantine(damaged)
}

func checkSchema(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: it has no meta bucket", ErrDamaged)
	}
	v, err := unframe(meta.Get([]byte("schema")))
	if err != nil || len(v) != 8 {
		return fmt.Errorf("%w: its schema cannot be read", ErrDamaged)
	}
	if n := binary.BigEndian.Uint64(v); n > schema {
		return fmt.Errorf("%w: schema %d, this program knows %d", ErrNewer, n, schema)
	}
	return nil
}

// damage is a record that fails its check.
type damage struct {
	bucket, sub, key []byte
}

// load reads queues, ids seen and the number of dead letters.
func (s *Store) load(tx *bolt.Tx) ([]damage, error) {
	var bad []damage
	now := time.Now()
	queues := tx.Bucket(bucketQueues)
	err := queues.ForEachBucket(func(name []byte) error {
		id, ok := queueID(name)
		if !ok {
			return fmt.Errorf("%w: queue %q", ErrDamaged, name)
		}
		q := s.queue(id)
		return queues.Bucket(name).ForEach(func(k, v []byte) error {
			it, data, err := decodeItem(v)
			if err != nil || len(k) != 8 {
				bad = append(bad, damage{bucketQueues, clone(name), clone(k)})
				return nil //nolint:nilerr // put aside below: the others go on
			}
			it.seq, it.size = binary.BigEndian.Uint64(k), len(data)
			if s.cached+int64(len(data)) <= s.o.DataCache && len(data) > 0 {
				it.data = clone(data)
				s.cached += int64(len(data))
			}
			q.seq = it.seq
			q.insert(it, now)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	err = tx.Bucket(bucketSeen).ForEach(func(k, v []byte) error {
		h, _, err := decodeSeen(v)
		if err != nil {
			bad = append(bad, damage{bucket: bucketSeen, key: clone(k)})
			return nil //nolint:nilerr // put aside below: the others go on
		}
		s.seen[h] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return bad, tx.Bucket(bucketDead).ForEach(func(_, _ []byte) error { s.dead++; return nil })
}

func clone(b []byte) []byte { return append([]byte{}, b...) }

func queueID(name []byte) (store.QueueID, bool) {
	for i, c := range name {
		if c == 0 {
			return store.QueueID{Tenant: string(name[:i]), Name: string(name[i+1:])}, true
		}
	}
	return store.QueueID{}, false
}

// quarantine moves records that fail their check aside: the others go on.
func (s *Store) quarantine(bad []damage) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		aside := tx.Bucket(bucketQuarantine)
		for _, d := range bad {
			b := tx.Bucket(d.bucket)
			if d.sub != nil {
				b = b.Bucket(d.sub)
			}
			n, err := aside.NextSequence()
			if err != nil {
				return err
			}
			// The key may be what is damaged: what is kept of it is short.
			name := fmt.Appendf(nil, "%s/%.200s/%.200x/%d", d.bucket, d.sub, d.key, n)
			if err := aside.Put(name, clone(b.Get(d.key))); err != nil {
				return err
			}
			if err := b.Delete(d.key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %d records failed their checksum and cannot be put aside: %w", ErrDamaged, len(bad), err)
	}
	s.log.Error("records failed their checksum and were put aside in the bucket \"quarantine\": the disk or the memory may be failing",
		"records", len(bad), "file", s.db.Path())
	return nil
}

// explain says what to do about an error of Open.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open %s: %w: another wabridge runs on this data; stop it first, or set another data_dir", path, ErrLocked)
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("open %s: %w: run the newer wabridge, or restore a backup made by this one", path, err)
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, errReadOnlyFS):
		return fmt.Errorf("open %s: %w: %w: give the user that runs wabridge the right to write there, or set another data_dir", path, ErrUnwritable, err)
	case errors.Is(err, ErrDamaged), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch), damagedText(err):
		return fmt.Errorf("open %s: %w: %w: keep the file, it can be examined with `bbolt check`; "+
			"move it aside and restore a backup, or start with an empty data_dir", path, ErrDamaged, err)
	case noRoom(err):
		return fmt.Errorf("open %s: %w: %w: make room on the disk", path, ErrUnwritable, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}
