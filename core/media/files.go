// Package media keeps files by what is in them: each once, under its SHA-256, and makes
// the signed addresses by which they are fetched. It knows bytes, tenants and times, and
// not whose a file is.
package media

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wabridge/wabridge/core/durable"
)

// Errors of Put.
var (
	// ErrTooLarge: the file has more bytes than are wanted.
	ErrTooLarge = errors.New("the file is too large")
	// ErrOther: the file is not the one that was told of, by its SHA-256.
	ErrOther = errors.New("the file is another than was told of")
	// ErrFull: there is no room on the disk.
	ErrFull = errors.New("there is no room on the disk")
)

// Files are the files of all tenants, below one folder:
//
//	<dir>/<tenant>/<first two digits of the hash>/<hash>
//
// Only the bridge's user can read them. What was put is there whole, or not at all, also
// after a power cut. All methods may be called concurrently.
type Files struct {
	dir string
	// mu keeps a file that is put again from being removed as old at the same moment.
	mu sync.Mutex
}

// NewFiles returns the files below a folder, which is made when it is needed.
func NewFiles(dir string) *Files { return &Files{dir: dir} }

// File is one that was put.
type File struct {
	// Hash is the SHA-256 in lower-case hexadecimal.
	Hash string
	Size int64
	// Type is what the first bytes look like: see [http.DetectContentType].
	Type string
}

var (
	hashPattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	tenantPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
)

// prefixUnfinished begins the names of files that are not whole yet.
const prefixUnfinished = "unfinished-"

func (f *Files) path(tenant, hash string) (string, error) {
	if !tenantPattern.MatchString(tenant) || !hashPattern.MatchString(hash) {
		return "", fs.ErrNotExist
	}
	return filepath.Join(f.dir, tenant, hash[:2], hash), nil
}

// Put keeps what r reads, which may have up to most bytes, and returns when it is
// durable. sum, unless it is nil, is the SHA-256 that it must have. A file that is there
// already counts as new.
func (f *Files) Put(tenant string, r io.Reader, most int64, sum []byte) (File, error) {
	if !tenantPattern.MatchString(tenant) {
		return File{}, fmt.Errorf("no tenant %q", tenant)
	}
	dir := filepath.Join(f.dir, tenant)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return File{}, full(err)
	}
	tmp, err := os.CreateTemp(dir, prefixUnfinished+"*") // 0600
	if err != nil {
		return File{}, full(err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	h := sha256.New()
	head := &beginning{}
	n, err := io.Copy(io.MultiWriter(tmp, h, head), io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = ErrTooLarge
	}
	got := h.Sum(nil)
	if err == nil && sum != nil && !bytes.Equal(sum, got) {
		err = ErrOther
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return File{}, full(err)
	}
	out := File{Hash: hex.EncodeToString(got), Size: n, Type: http.DetectContentType(head.data)}
	return out, full(f.place(tmp.Name(), tenant, out.Hash))
}

// place moves a whole file to where it belongs.
func (f *Files) place(from, tenant, hash string) error {
	to, err := f.path(tenant, hash)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(to), filepath.Dir(filepath.Dir(to)), f.dir} {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// full finds out whether an error is for want of room.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// beginning keeps what [http.DetectContentType] looks at.
type beginning struct{ data []byte }

func (b *beginning) Write(p []byte) (int, error) {
	if room := 512 - len(b.data); room > 0 {
		b.data = append(b.data, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// Open opens a file for reading; [fs.ErrNotExist] when there is none.
func (f *Files) Open(tenant, hash string) (*os.File, error) {
	path, err := f.path(tenant, hash)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// Has reports whether there is a file.
func (f *Files) Has(tenant, hash string) bool {
	path, err := f.path(tenant, hash)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// Remove removes a file, after writing over what is in it. One that is not there is no
// error.
func (f *Files) Remove(tenant, hash string) error {
	path, err := f.path(tenant, hash)
	if err != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		_, err = io.CopyN(file, zeros{}, info.Size())
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close(), os.Remove(path))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Sweep removes a tenant's files that were put before a time and that nobody uses, and
// those that were begun before it and never finished. It returns how many there were, and
// their bytes.
func (f *Files) Sweep(tenant string, before time.Time, used func(hash string) (bool, error)) (n int, size int64, err error) {
	if !tenantPattern.MatchString(tenant) {
		return 0, 0, nil
	}
	err = filepath.WalkDir(filepath.Join(f.dir, tenant), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile, or there never was a file
		}
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		unfinished := strings.HasPrefix(name, prefixUnfinished)
		if !unfinished && !hashPattern.MatchString(name) {
			return nil // not ours
		}
		if !unfinished {
			if is, err := used(name); is || err != nil {
				return err
			}
		}
		freed, err := f.removeOld(path, before)
		if freed >= 0 {
			n, size = n+1, size+freed
		}
		return err
	})
	return n, size, err
}

// removeOld removes a file unless it was put since, and returns its size, -1 when it is
// still there.
func (f *Files) removeOld(path string, before time.Time) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil || !info.ModTime().Before(before) {
		return -1, err
	}
	if err := os.Remove(path); err != nil {
		return -1, err
	}
	return info.Size(), nil
}
