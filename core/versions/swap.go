package versions

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core/durable"
)

// Swap puts a version of the archive in the place of the files in dir, at once
// for whoever asks [Archive.Swapping] before he reads them: while files are
// written, that one says which version it is to be. Files of the version before,
// given by their names, are removed when the new one has none of that name.
//
// When it is interrupted, Swapping goes on saying so, and the next Swap repairs
// it.
func (a Archive) Swap(hash, dir string, before []string) error {
	v, err := a.Get(hash)
	if err != nil {
		return err
	}
	if err := a.swap(v, dir, before); err != nil {
		return fmt.Errorf("versions: put %s into %s: %w", v.Hash, dir, err)
	}
	return nil
}

func (a Archive) swap(v Version, dir string, before []string) error {
	mark := filepath.Join(a.dir, swapFile)
	if err := durable.WriteFile(mark, []byte(v.Hash+"\n")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(v.Files)) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), durable.WriteFile(path, v.Files[name])); err != nil { //nolint:gosec // the owner's scripts, which others may read
			return err
		}
		if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	for _, name := range before {
		if _, stays := v.Files[name]; stays || !filepath.IsLocal(name) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Remove(mark)
}

// Swapping returns the version that is being put in place, if one is: its files
// in the archive are whole, those in the tenant's folder may not be.
func (a Archive) Swapping() (Version, bool) {
	data, err := readFile(filepath.Join(a.dir, swapFile), 100)
	if err != nil {
		return Version{}, false
	}
	v, err := a.Get(strings.TrimSpace(string(data)))
	return v, err == nil
}
