package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wabridge/wabridge/core"
)

// maxDir is how long the path of Launcher.Dir can be: what is made below it
// takes 57 of the 107 bytes that the path of a Unix socket may have.
const maxDir = 50

const dirPrefix = "wabplug"

// privateDir is a directory that only the bridge's user can enter. It is locked
// as long as the bridge lives, so that what a killed bridge left can be told
// from what is in use.
type privateDir struct {
	path string
	lock *os.File
}

// makeDir makes a private directory in base, after removing those there that
// nobody holds any more.
func makeDir(base string) (*privateDir, error) {
	if base == "" {
		base = os.TempDir()
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, err
	}
	fail := func(err error) error {
		e := core.Errorf(core.CodeUnavailable, "start plugin", "private directory: %w", err)
		e.Hint = "the bridge must be able to make a directory in " + base
		return e
	}
	if len(base) > maxDir {
		e := refuse("choose a shorter path for the plugins' directory, or set TMPDIR",
			"private directory: the path %s is longer than %d bytes, which is too long for a socket in it", base, maxDir)
		return nil, e
	}
	sweepDirs(base)
	for range 10 {
		path, err := os.MkdirTemp(base, dirPrefix)
		if err != nil {
			return nil, fail(err)
		}
		lock, err := lockDir(path)
		switch {
		case err == nil:
			return &privateDir{path: path, lock: lock}, nil
		case !errors.Is(err, errDirTaken):
			return nil, fail(err)
		}
	}
	return nil, fail(errDirTaken)
}

var errDirTaken = errors.New("another bridge removes it")

// lockDir opens and locks the directory. It fails with errDirTaken if another
// process has it locked or has just swept it away.
func lockDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errDirTaken
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %w", errDirTaken, err)
	}
	held, err := f.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Lstat(path); err == nil && os.SameFile(held, there) {
			return f, nil
		}
	}
	f.Close()
	return nil, errDirTaken
}

func (d *privateDir) remove() {
	_ = os.RemoveAll(d.path)
	d.lock.Close()
}

// sweepDirs removes the private directories of bridges that were killed, and ends what
// still works in them.
func sweepDirs(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), dirPrefix) {
			continue
		}
		path := filepath.Join(base, e.Name())
		if lock, err := lockDir(path); err == nil {
			endStragglers(path)
			(&privateDir{path: path, lock: lock}).remove()
		}
	}
}
