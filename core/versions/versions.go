// Package versions keeps the versions of a tenant's script that ran: what one
// decided can be compared with what another would, and one can be put back.
//
// They are in the tenant's folder, .versions/<hash>/, each with its files as they
// were and a manifest. Only files are kept there: the bridge, and commands while
// it runs or not, may use the same archive at once.
package versions

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/durable"
)

const (
	// Folder is the archive's name in a tenant's folder.
	Folder = ".versions"
	// Most is how many versions are kept; those that ran longest ago go first.
	Most = 50

	manifestFile = "manifest.json"
	swapFile     = "swap"
	maxManifest  = 1 << 20
	maxFile      = 1 << 20
)

// ErrNotFound says that there is no such version.
var ErrNotFound = errors.New("no such version")

// Version is one version of a script.
type Version struct {
	// Hash names it: see script.Version.
	Hash string `json:"hash"`
	// Name is the file that the bridge begins with.
	Name string `json:"name"`
	// First and Last are when it was put to work for the first and the last time.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Files are all of its files, Name among them, by their paths relative to
	// it; in a list of versions they have no content.
	Files map[string][]byte `json:"-"`
	// Sums are their SHA-256.
	Sums map[string]string `json:"files"`
}

// Archive is the versions of one tenant.
type Archive struct{ dir string }

// Of returns the archive in a tenant's folder, which need not be there yet.
func Of(tenantDir string) Archive { return Archive{filepath.Join(tenantDir, Folder)} }

// Keep notes that a version is at work since a time. Its files are written when
// they are not there yet, or when some are others than were kept (tests, of which a
// hash says nothing), and the versions beyond Most are removed.
func (a Archive) Keep(v Version, at time.Time) error {
	if err := a.keep(v, at); err != nil {
		return fmt.Errorf("versions: keep %s: %w", v.Hash, err)
	}
	return nil
}

func (a Archive) keep(v Version, at time.Time) error {
	if !hashed(v.Hash) {
		return fmt.Errorf("%q is no hash", v.Hash)
	}
	at = at.UTC().Truncate(time.Second)
	v.First, v.Last = at, at
	if had, err := a.manifest(v.Hash); err == nil {
		if !had.lacks(v.Files) {
			had.Last = at
			return a.write(filepath.Join(a.dir, v.Hash, manifestFile), had)
		}
		v.First = had.First
	}
	tmp, err := a.lay(&v)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := a.write(filepath.Join(tmp, manifestFile), v); err != nil {
		return err
	}
	// What is there under that name has no manifest, or other tests.
	if err := os.RemoveAll(filepath.Join(a.dir, v.Hash)); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(a.dir, v.Hash)); err != nil {
		return err
	}
	return a.prune()
}

// lacks reports whether there are files that the version does not have so.
func (v *Version) lacks(files map[string][]byte) bool {
	for name, data := range files {
		if v.Sums[name] != sum(data) {
			return true
		}
	}
	return false
}

// lay writes a version's files into a new folder of the archive, and their sums
// into v.
func (a Archive) lay(v *Version) (dir string, err error) {
	v.Sums = map[string]string{}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(a.dir, ".new-*")
	if err != nil {
		return "", err
	}
	for name, data := range v.Files {
		path := filepath.Join(tmp, name)
		if !filepath.IsLocal(name) || name == manifestFile {
			err = fmt.Errorf("%q cannot be kept", name)
		} else {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600))
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(tmp))
		}
		v.Sums[name] = sum(data)
	}
	return tmp, nil
}

func (a Archive) write(path string, v Version) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'))
}

func (a Archive) prune() error {
	all, err := a.List()
	if err != nil || len(all) <= Most {
		return err
	}
	for _, v := range all[Most:] {
		err = errors.Join(err, os.RemoveAll(filepath.Join(a.dir, v.Hash)))
	}
	return err
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func hashed(s string) bool {
	return len(s) >= 4 && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// List returns the versions, the one that was put to work last first. There are
// none where there is no archive.
func (a Archive) List() ([]Version, error) {
	entries, err := os.ReadDir(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Version
	for _, e := range entries {
		if !hashed(e.Name()) {
			continue
		}
		if v, err := a.manifest(e.Name()); err == nil {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(x, y Version) int {
		return cmp.Or(y.Last.Compare(x.Last), y.First.Compare(x.First), cmp.Compare(x.Hash, y.Hash))
	})
	return all, err
}

func (a Archive) manifest(hash string) (Version, error) {
	var v Version
	data, err := readFile(filepath.Join(a.dir, hash, manifestFile), maxManifest)
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err == nil && v.Hash != hash {
		err = errors.New("the manifest is another version's")
	}
	return v, err
}

// Get returns a version with its files, by its hash or the beginning of it. The
// error is ErrNotFound when there is none, and says so when the archive was
// changed by hand.
func (a Archive) Get(hash string) (Version, error) {
	found, err := a.find(hash)
	if err != nil {
		return Version{}, err
	}
	v, err := a.manifest(found)
	if err != nil {
		return Version{}, fmt.Errorf("version %s: %w", found, err)
	}
	if v.Files, err = a.files(found, v.Sums); err != nil {
		return Version{}, fmt.Errorf("version %s: %w", found, err)
	}
	return v, nil
}

// files reads the files of a folder of the archive.
func (a Archive) files(folder string, sums map[string]string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, want := range sums {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("%q is not a path within it", name)
		}
		data, err := readFile(filepath.Join(a.dir, folder, name), maxFile)
		if err != nil {
			return nil, err
		}
		if sum(data) != want {
			return nil, core.Errorf(core.CodeInvalid, "archive", "%s was changed since it ran", name)
		}
		files[name] = data
	}
	return files, nil
}

// find completes a hash.
func (a Archive) find(hash string) (string, error) {
	all, err := a.List()
	if err != nil {
		return "", err
	}
	var found []string
	for _, v := range all {
		if v.Hash == hash {
			return hash, nil
		}
		if len(hash) >= 4 && strings.HasPrefix(v.Hash, hash) {
			found = append(found, v.Hash)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("version %.40q: %w", hash, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("version %q could be %s: say more of it", hash, strings.Join(found, " or "))
}

func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", filepath.Base(path), limit)
	}
	return os.ReadFile(path)
}
