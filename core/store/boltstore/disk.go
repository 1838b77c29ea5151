package boltstore

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

const errReadOnlyFS = syscall.EROFS

// noRoom reports whether an error says that there is no room: after these bbolt
// has rolled back, and the commit did not happen. Any other error of a commit
// leaves that open.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) ||
		errors.Is(err, bolterrors.ErrMaxSizeReached)
}

// damagedText recognises what bbolt says of a file without a typed error.
func damagedText(err error) bool {
	s := err.Error()
	return strings.Contains(s, "file size too small") || strings.Contains(s, "invalid database") || strings.Contains(s, "page ")
}

// disk watches the room on the disk and keeps a ballast: space that is given up
// when the disk is full, so that what is inside can be finished. Where there is no
// room for one, as much that is free within the hot file, which never shrinks, does
// the same.
type disk struct {
	dir     string
	inside  func() int64 // how much is free within the hot file
	ballast string
	size    atomic.Int64 // of the hot file
	free    atomic.Int64
	full    atomic.Bool
	refused atomic.Bool // a commit found no room since the last look
	want    int64
	min     int64
	log     *slog.Logger
}

func newDisk(dir string, o Options, inside func() int64) *disk {
	d := &disk{dir: dir, inside: inside, ballast: filepath.Join(dir, "ballast"), want: o.BallastSize, min: o.MinFree, log: o.Log}
	d.look()
	return d
}

// look measures the room, and decides whether new events are taken.
func (d *disk) look() {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return
	}
	free := int64(st.Bavail) * st.Bsize
	d.free.Store(free)
	short := free < d.min
	if !short {
		short = !d.reserve(free) && d.inside() < d.want
	}
	// After a refused commit one look later is early enough to try again.
	full := short || d.refused.Swap(false)
	if was := d.full.Swap(full); was != full {
		if full {
			d.log.Error("the disk is full: new events are refused until there is room", "dir", d.dir, "free", free, "min_free", d.min)
		} else {
			d.log.Info("there is room again: new events are taken", "dir", d.dir, "free", free)
		}
	}
}

// reserve makes the ballast if it is not there, and reports whether it is.
func (d *disk) reserve(free int64) bool {
	if d.want <= 0 {
		return true
	}
	if info, err := os.Stat(d.ballast); err == nil && info.Size() == d.want {
		return true
	}
	if free < d.min+d.want {
		return false
	}
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return false
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, d.want)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EOPNOTSUPP) {
		err = writeZeros(f, d.want)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(d.ballast)
		return false
	}
	return true
}

func writeZeros(f *os.File, n int64) error {
	buf := make([]byte, 1<<20)
	for n > 0 {
		k, err := f.Write(buf[:min(n, int64(len(buf)))])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

// makeRoom gives the ballast up, and reports whether there was any.
func (d *disk) makeRoom() bool {
	d.refused.Store(true)
	if !d.full.Swap(true) {
		d.log.Error("the disk is full: new events are refused until there is room", "dir", d.dir)
	}
	return os.Remove(d.ballast) == nil
}
