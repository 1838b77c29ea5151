package plugin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/wabridge/wabridge/core"
)

// ManifestName is the file that makes a folder a plugin.
const ManifestName = "plugin.json"

// ContractVersion is the version of connector.proto.
const ContractVersion = 1

// Bounds on a plugin that is a folder.
const (
	maxManifest = 4 << 20
	maxFiles    = 10_000
	maxFolder   = 256 << 20
)

// anyPlatform is the key of a command that runs everywhere.
const anyPlatform = "any"

// Manifest describes a plugin that is a folder. Its author writes all but the
// sums, the signer and the signature, which [Seal] adds; from then on the SHA-256 of
// the manifest pins every byte of the plugin.
type Manifest struct {
	// Name is the connector's, Version for people.
	Name    string `json:"name"`
	Version string `json:"version"`
	// Contract is the version of connector.proto that the plugin speaks.
	Contract int    `json:"contract"`
	Author   string `json:"author,omitempty"`
	// Commands start the plugin, by platform ("linux/amd64") or for "any": a file of
	// the folder, or the path of an interpreter, and arguments. They run in the folder.
	Commands map[string][]string `json:"commands"`
	// Include says which files belong to the plugin: patterns of paths ("*.py"), or
	// folders ("node_modules"). What begins with a dot never does.
	Include []string `json:"include"`
	// Files are the SHA-256 sums, in hex, by path.
	Files map[string]string `json:"files,omitempty"`
	// Signer is the author's ed25519 key, and Signature its signature over the
	// manifest without a signature, both in base64.
	Signer    string `json:"signer,omitempty"`
	Signature string `json:"signature,omitempty"`
}

// ReadManifest reads a folder's manifest, and returns the SHA-256 of the file.
func ReadManifest(dir string) (Manifest, string, error) {
	var m Manifest
	data, err := readBounded(filepath.Join(dir, ManifestName), maxManifest)
	if err != nil {
		return m, "", refuse("a plugin that is a folder has a "+ManifestName+": wabridge plugin new makes one", "%w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&m); err == nil {
		if _, after := dec.Token(); !errors.Is(after, io.EOF) {
			err = errors.New("there is more after its }")
		}
	}
	if err != nil {
		return m, "", refuse("it is one JSON object: docs/plugins has its keys", "%s: %w", filepath.Join(dir, ManifestName), err)
	}
	if err := m.check(); err != nil {
		return m, "", refuse("", "%s: %w", filepath.Join(dir, ManifestName), err)
	}
	return m, shaOf(data), nil
}

func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // the owner or the author names it
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: is larger than %d bytes", name, limit)
	}
	return data, err
}

func shaOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (m *Manifest) check() error {
	switch {
	case !core.TenantPattern.MatchString(m.Name):
		return errors.New("name: want at most 40 of a-z, 0-9 and -, the first not a -")
	case m.Version == "" || len(m.Version) > 100 || clean(m.Version, 100) != m.Version:
		return errors.New("version: want a word, such as 1.0.0")
	case m.Contract != ContractVersion:
		return fmt.Errorf("contract: is %d, this wabridge speaks %d", m.Contract, ContractVersion)
	case len(m.Commands) == 0:
		return errors.New("commands: is missing")
	case len(m.Files) > maxFiles:
		return fmt.Errorf("files: more than %d", maxFiles)
	}
	for platform, command := range m.Commands {
		if len(command) == 0 || command[0] == "" {
			return fmt.Errorf("commands: %s: is empty", platform)
		}
	}
	for _, pattern := range m.Include {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("include: %q is no pattern: %w", pattern, err)
		}
	}
	for name, sum := range m.Files {
		if !fs.ValidPath(name) || name == "." || name == ManifestName || filepath.ToSlash(filepath.Clean(name)) != name {
			return fmt.Errorf("files: %q is no path within the folder", name)
		}
		if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size {
			return fmt.Errorf("files: %s: want a SHA-256 sum", name)
		}
	}
	return nil
}

// command is what starts the plugin here: a file of the folder by its path within
// it, or an interpreter by its path on the machine.
func (m *Manifest) command() ([]string, error) {
	here := runtime.GOOS + "/" + runtime.GOARCH
	command := m.Commands[here]
	if command == nil {
		command = m.Commands[anyPlatform]
	}
	if command == nil {
		return nil, fmt.Errorf("is not for %s, but for %s", here, strings.Join(slices.Sorted(maps.Keys(m.Commands)), ", "))
	}
	command = slices.Clone(command)
	if !path.IsAbs(command[0]) {
		command[0] = path.Clean(command[0])
		if m.Files[command[0]] == "" {
			return nil, fmt.Errorf("commands: %s is neither a file of the plugin nor the whole path of an interpreter", command[0])
		}
	}
	return command, nil
}

// programs are the files that are run, on any platform.
func (m *Manifest) programs() map[string]bool {
	out := map[string]bool{}
	for _, command := range m.Commands {
		out[path.Clean(command[0])] = true
	}
	return out
}

// signed is what a signature is over.
func (m *Manifest) signed() []byte {
	unsigned := *m
	unsigned.Signature = ""
	data, err := json.Marshal(unsigned)
	if err != nil {
		panic(err) // texts and numbers
	}
	return data
}

// CheckSignature says whether the signature, if there is one, is the signer's.
func (m *Manifest) CheckSignature() error {
	if m.Signer == "" && m.Signature == "" {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(m.Signer)
	signature, err2 := base64.StdEncoding.DecodeString(m.Signature)
	if errors.Join(err, err2) != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, m.signed(), signature) {
		return refuse("do not run it: it was changed by somebody else than who signed it", "%s %s: its signature is wrong", m.Name, m.Version)
	}
	return nil
}

// found returns the files in the folder that belong to the plugin.
func (m *Manifest) found(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(full string, e fs.DirEntry, err error) error {
		if err != nil || full == dir {
			return err
		}
		rel, err := filepath.Rel(dir, full)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case strings.HasPrefix(e.Name(), "."), e.Name() == "__pycache__":
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir() || name == ManifestName || !m.includes(name) && !m.within(name):
			return nil
		case !e.Type().IsRegular():
			return fmt.Errorf("%s: is a link or no file: a plugin is made of files", name)
		case len(names) == maxFiles:
			return fmt.Errorf("more than %d files belong to the plugin: see include", maxFiles)
		}
		names = append(names, name)
		return nil
	})
	return names, err
}

func (m *Manifest) includes(name string) bool {
	for _, pattern := range m.Include {
		for at := name; at != "."; at = path.Dir(at) {
			if ok, err := path.Match(strings.TrimSuffix(pattern, "/"), at); ok && err == nil {
				return true
			}
		}
	}
	return false
}

// within reports whether a pattern is of what lies in a folder of that name.
func (m *Manifest) within(name string) bool {
	return slices.ContainsFunc(m.Include, func(pattern string) bool { return strings.HasPrefix(pattern, name+"/") })
}

// Seal writes the sums of the folder's files into its manifest, and with a key
// signs it. It returns the manifest and its SHA-256.
func Seal(dir string, key ed25519.PrivateKey) (Manifest, string, error) {
	m, err := sum(dir)
	if err != nil {
		return m, "", err
	}
	if key != nil {
		public, _ := key.Public().(ed25519.PublicKey)
		m.Signer = base64.StdEncoding.EncodeToString(public)
		m.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, m.signed()))
	}
	sha, err := m.write(dir)
	return m, sha, err
}

// SealCopy copies a folder as it is now, sealed or not, into an empty one, and seals
// the copy. It returns the SHA-256 of its manifest.
func SealCopy(from, to string) (string, error) {
	m, err := sum(from)
	if err != nil {
		return "", err
	}
	if err := m.copy(from, to); err != nil {
		return "", err
	}
	return m.write(to)
}

// sum reads a folder's manifest and sums the files that belong to it.
func sum(dir string) (Manifest, error) {
	m, _, err := ReadManifest(dir)
	if err != nil {
		return m, err
	}
	names, err := m.found(dir)
	if err != nil {
		return m, refuse("", "%w", err)
	}
	if len(names) == 0 {
		return m, refuse(`a program is built before that (make build); else name the files, such as "include": ["*.py"]`,
			"%s: the folder has no file that include names: %s", filepath.Join(dir, ManifestName), strings.Join(m.Include, ", "))
	}
	m.Files, m.Signer, m.Signature = map[string]string{}, "", ""
	left := int64(maxFolder)
	for _, name := range names {
		h := sha256.New()
		n, err := copyFile(h, filepath.Join(dir, filepath.FromSlash(name)), left)
		if err != nil {
			return m, refuse("", "%w", err)
		}
		left -= n
		m.Files[name] = hex.EncodeToString(h.Sum(nil))
	}
	if !m.startsSomewhere() {
		return m, refuse("name a file that include names, or the whole path of an interpreter, such as /usr/bin/python3",
			"%s: commands: none begins with a file of the plugin or a whole path", filepath.Join(dir, ManifestName))
	}
	return m, nil
}

// startsSomewhere reports whether the program of some platform is there: that of others
// may not have been built.
func (m *Manifest) startsSomewhere() bool {
	for name := range m.programs() {
		if path.IsAbs(name) || m.Files[name] != "" {
			return true
		}
	}
	return false
}

// write writes the manifest into a folder, and returns its SHA-256.
func (m *Manifest) write(dir string) (string, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", err
	}
	data = append(data, '\n')
	if err := os.WriteFile(filepath.Join(dir, ManifestName), data, 0o644); err != nil { //nolint:gosec // no secret
		return "", refuse("", "%w", err)
	}
	return shaOf(data), nil
}

// copyFile copies at most limit bytes of a file, and no more.
func copyFile(to io.Writer, name string, limit int64) (int64, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for a writer
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(fmt.Errorf("%s: is not a file", name), err)
	}
	n, err := io.Copy(to, io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("the plugin's files are larger than %d MiB together", maxFolder>>20)
	}
	return n, err
}
