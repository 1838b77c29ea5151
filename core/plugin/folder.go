package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// Differences says in which files a folder is not what its manifest says: "main.py:
// was changed". Files that include names and files does not are told too. Empty:
// it is the plugin, whole.
func Differences(dir string) ([]string, error) {
	m, _, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	differs, err := m.compare(dir, "")
	if err != nil {
		return nil, err
	}
	names, err := m.found(dir)
	if err != nil {
		return nil, refuse("", "%w", err)
	}
	for _, name := range names {
		if m.Files[name] == "" {
			differs = append(differs, name+": was added")
		}
	}
	slices.Sort(differs)
	return differs, nil
}

// copy copies the files of the manifest into a folder, "" is nowhere, and fails when
// one is not what the manifest says. What it copied is what it summed.
func (m *Manifest) copy(from, to string) error {
	differs, err := m.compare(from, to)
	if err == nil && len(differs) > 0 {
		err = differ(from, differs)
	}
	return err
}

// compare is copy that says all that differs. Its error is of the place where they go.
func (m *Manifest) compare(from, to string) (differs []string, err error) {
	programs := m.programs()
	left := int64(maxFolder)
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		n, err := m.copyOne(from, to, name, programs[name], left)
		left -= n
		at, _ := errors.AsType[*fs.PathError](err)
		switch {
		case at != nil && to != "" && strings.HasPrefix(at.Path, to):
			return nil, noPlace(err)
		case errors.Is(err, fs.ErrNotExist):
			differs = append(differs, name+": is missing")
		case err != nil:
			differs = append(differs, name+": "+err.Error())
		}
	}
	return differs, nil
}

// noPlace is the trouble with where a plugin's files go: it may be over soon.
func noPlace(err error) *core.Error {
	e := core.Errorf(core.CodeUnavailable, "start plugin", "%w", err)
	e.Source, e.Hint = core.SourceBridge, "the plugin's files are copied there: see to it that there is room, and that wabridge may write there"
	return e
}

var errChanged = errors.New("was changed")

func (m *Manifest) copyOne(from, to, name string, program bool, limit int64) (n int64, err error) {
	sum := sha256.New()
	var w io.Writer = sum
	if to != "" {
		target := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return 0, err
		}
		mode := fs.FileMode(0o400)
		if program {
			mode = 0o500
		}
		f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = io.MultiWriter(sum, f)
	}
	n, err = copyFile(w, filepath.Join(from, filepath.FromSlash(name)), limit)
	if err == nil && !strings.EqualFold(hex.EncodeToString(sum.Sum(nil)), m.Files[name]) {
		err = errChanged
	}
	return n, err
}

// CopyFolder copies a sealed plugin, whose manifest must have the SHA-256, into a
// folder that is not there yet. Nothing is left of a copy that fails.
func CopyFolder(from, to, sha string) (err error) {
	l := Launcher{Path: from, SHA256: sha}
	p, err := l.open()
	if err != nil {
		return err
	}
	if p.folder == nil {
		return refuse("", "%s: is not a folder", from)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return noPlace(err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(to)
		}
	}()
	data, err := readBounded(filepath.Join(from, ManifestName), maxManifest)
	if err != nil {
		return err
	}
	if shaOf(data) != strings.ToLower(sha) {
		return refuse("", "%s: changed while it was copied", from)
	}
	if err := p.folder.copy(from, to); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, ManifestName), data, 0o400); err != nil {
		return noPlace(err)
	}
	return nil
}

func differ(dir string, differs []string) error {
	said := strings.Join(differs[:min(5, len(differs))], ", ")
	if n := len(differs) - 5; n > 0 {
		said += fmt.Sprintf(" and %d more", n)
	}
	return refuse("restore the files (of an installed plugin, wabridge plugin upgrade does, with the folder that it came from), or, if you changed them: wabridge plugin seal "+dir, "%s: %s", dir, said)
}

// openFolder is open for a plugin that is a folder: it looks at the manifest only,
// as the files are summed when they are copied.
func (l *Launcher) openFolder() (*program, error) {
	m, sum, err := ReadManifest(l.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case l.SHA256 == "":
		return nil, refuse(fmt.Sprintf(`if this is the plugin that you trust, set sha256 = "%s"`, sum), "%s: no sha256 is configured", l.Path)
	case !sumPattern.MatchString(strings.TrimSpace(l.SHA256)):
		return nil, refuse("sha256 is 64 hexadecimal digits, as sha256sum "+ManifestName+" prints them", "%s: sha256 is not a SHA-256 sum", l.Path)
	case !strings.EqualFold(strings.TrimSpace(l.SHA256), sum):
		return nil, refuse(fmt.Sprintf(`the plugin was replaced or damaged: restore it, or, if you updated it, set sha256 = "%s"`, sum),
			"%s: the SHA-256 of its %s is not the configured one", l.Path, ManifestName)
	case len(m.Files) == 0:
		return nil, refuse("run wabridge plugin seal "+l.Path, "%s: its %s has no sums of files", l.Path, ManifestName)
	}
	if err := m.CheckSignature(); err != nil {
		return nil, err
	}
	command, err := m.command()
	if err != nil {
		return nil, refuse("", "%s: %w", l.Path, err)
	}
	return &program{path: l.Path, args: append(command, l.Args...), folder: &m}, nil
}

// verifyFolder checks the files too.
func (p *program) verifyFolder() error {
	if err := p.folder.copy(p.path, ""); err != nil {
		return err
	}
	if filepath.IsAbs(p.args[0]) {
		if _, err := os.Stat(p.args[0]); err != nil {
			return refuse("install it, or change commands in "+ManifestName, "%s: its interpreter %s is not on this machine", p.path, p.args[0])
		}
		return nil
	}
	f, err := os.Open(filepath.Join(p.path, filepath.FromSlash(p.args[0])))
	if err == nil {
		err = checkProgram(f)
		f.Close()
	}
	if err != nil {
		return refuse("install the plugin that was built for this machine", "%s: %w", p.path, err)
	}
	return nil
}

// unpack makes the copy of the folder that one process runs from, in its private
// directory: what was summed is what runs, whatever becomes of the folder.
func (p *program) unpack(private string) error {
	p.dir = filepath.Join(private, "plugin")
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return noPlace(err)
	}
	if err := p.folder.copy(p.path, p.dir); err != nil {
		return err
	}
	if !filepath.IsAbs(p.args[0]) {
		p.args[0] = filepath.Join(p.dir, filepath.FromSlash(p.args[0]))
	}
	return nil
}
