// Package installed knows the plugins that were installed into a data folder: a
// copy of each version, and a lock that says which of them runs, by the SHA-256 of its
// manifest. Commands write it, one at a time; a bridge reads it when it starts and
// whenever it changes.
package installed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/durable"
)

const (
	folder   = "plugins"
	lockFile = "lock.json"
	holdFile = ".held"
	// keep is how many versions of a plugin stay for a rollback, with the one that runs.
	keep    = 5
	maxLock = 1 << 20
)

// Lock is what is installed, by the connector's name.
type Lock struct {
	Plugins map[string]Plugin `json:"plugins"`
}

// Plugin is one plugin and its versions.
type Plugin struct {
	// SHA256 is that of the version that runs, Before that of the one that ran before
	// it; empty when there was none.
	SHA256 string `json:"sha256"`
	Before string `json:"before,omitempty"`
	// Disabled: it does not run, and what is for it waits.
	Disabled bool `json:"disabled,omitempty"`
	// Versions are the copies that there are, oldest first.
	Versions []Version `json:"versions"`
}

// Version is one copy.
type Version struct {
	SHA256  string    `json:"sha256"` // of its manifest
	Version string    `json:"version"`
	Author  string    `json:"author,omitempty"`
	Signer  string    `json:"signer,omitempty"` // base64; empty when it is not signed
	Time    time.Time `json:"time"`             // when it was installed, or put there anew
}

// Version returns the copy with the SHA-256.
func (p *Plugin) Version(sha string) (Version, bool) {
	i := slices.IndexFunc(p.Versions, func(v Version) bool { return v.SHA256 == sha })
	if i < 0 {
		return Version{}, false
	}
	return p.Versions[i], true
}

// Use makes a version the one that runs. The versions that are too many go; their
// folders are the caller's to remove.
func (p *Plugin) Use(v Version) (gone []Version) {
	if i := slices.IndexFunc(p.Versions, func(old Version) bool { return old.SHA256 == v.SHA256 }); i >= 0 {
		p.Versions[i] = v
	} else {
		p.Versions = append(p.Versions, v)
	}
	if p.SHA256 != v.SHA256 {
		p.SHA256, p.Before = v.SHA256, p.SHA256
	}
	for i := 0; len(p.Versions) > keep; {
		if old := p.Versions[i]; old.SHA256 == p.SHA256 || old.SHA256 == p.Before {
			i++
			continue
		}
		gone = append(gone, p.Versions[i])
		p.Versions = slices.Delete(p.Versions, i, i+1)
	}
	return gone
}

var shaPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (l *Lock) check() error {
	for name, p := range l.Plugins {
		if !core.TenantPattern.MatchString(name) {
			return fmt.Errorf("%q is no name of a connector", name)
		}
		if _, ok := p.Version(p.SHA256); !ok {
			return fmt.Errorf("%s: the version %.12s is not among its versions", name, p.SHA256)
		}
		for _, v := range p.Versions {
			if !shaPattern.MatchString(v.SHA256) {
				return fmt.Errorf("%s: %q is no SHA-256", name, v.SHA256)
			}
		}
	}
	return nil
}

// File is the lock of a data folder: who watches it sees each change.
func File(dataDir string) string { return filepath.Join(dataDir, folder, lockFile) }

// Dir is where the copy of a version is.
func Dir(dataDir, name, sha string) string {
	return filepath.Join(dataDir, folder, name, sha[:min(16, len(sha))])
}

// Read returns what is installed; nothing where there is no lock.
func Read(dataDir string) (Lock, error) {
	l := Lock{Plugins: map[string]Plugin{}}
	info, err := os.Stat(File(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	var data []byte
	if err == nil && info.Size() > maxLock {
		err = fmt.Errorf("has %d bytes", info.Size())
	}
	if err == nil {
		data, err = os.ReadFile(File(dataDir))
	}
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err == nil {
		err = l.check()
	}
	if err != nil {
		return Lock{Plugins: map[string]Plugin{}}, fmt.Errorf("plugins: %s: %w", File(dataDir), err)
	}
	if l.Plugins == nil {
		l.Plugins = map[string]Plugin{}
	}
	return l, nil
}

// ErrHeld is wrapped by the error of Hold when somebody else holds.
var ErrHeld = errors.New("somebody else is changing what is installed")

// Hold keeps others from changing what is installed, for longer than [Change] does, until
// release is called or the process ends. It does not wait.
func Hold(dataDir string) (release func(), err error) {
	dir := filepath.Join(dataDir, folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, holdFile), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrHeld
		}
		return nil, fmt.Errorf("plugins: %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// Change changes the lock. While change runs nobody else changes it, and what it
// returns is written whole or, when it fails, not at all.
func Change(dataDir string, change func(*Lock) error) error {
	dir := filepath.Join(dataDir, folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	held, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("plugins: %s: %w", dir, err)
	}
	l, err := Read(dataDir)
	if err != nil {
		return err
	}
	if err := change(&l); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(File(dataDir), append(data, '\n')); err != nil {
		return fmt.Errorf("plugins: %w", err)
	}
	return nil
}
