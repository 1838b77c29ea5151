package script

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/table"
)

// Source is a script as its author wrote it: the file that the settings name,
// and those beside it that it may import.
type Source struct {
	// Name is the file's name; it ends in .js or .ts, or is a table's.
	Name string
	Code []byte
	// Files are the other files of the folder and the folders below, by their
	// path from there, with slashes.
	Files map[string][]byte
}

// MaxFiles is how many files a script may consist of.
const MaxFiles = 64

// maxDepth is how deep folders are looked into, maxEntries how many files there
// may be of any kind: they are looked through twice a second.
const (
	maxDepth   = 8
	maxEntries = 10_000
)

// Hash is short and the same for the same source.
func (s *Source) Hash() string {
	sum := sha256.New()
	part := func(name string, data []byte) {
		fmt.Fprintf(sum, "%d %d %s\x00", len(name), len(data), name)
		_, _ = sum.Write(data)
	}
	part(path.Base(s.Name), s.Code)
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		if canImport(name) {
			part(name, s.Files[name])
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}

// ReadSource reads a script from disk: the file, and from its folder and those
// below all that it may import: code, JSON and tables. Left out are tests
// (*.test.ts), what is for editors (*.d.ts, tsconfig.json), tenant.toml,
// node_modules and what begins with a dot. Links are refused, so that nothing comes from elsewhere.
func ReadSource(file string) (Source, error) {
	src := Source{Name: filepath.Base(file), Files: map[string][]byte{}}
	size := 0
	err := walk(file, func(dir *os.Root, name string, info fs.FileInfo) error {
		if len(src.Files) >= MaxFiles {
			return fmt.Errorf("there are more than %d files in the folder", MaxFiles)
		}
		if size += int(min(info.Size(), 2*MaxSource)); size > MaxSource {
			return fmt.Errorf("%s: the files of the folder have more than %d KiB together", name, MaxSource>>10)
		}
		data, err := dir.ReadFile(name)
		if err != nil {
			return err
		}
		if name == src.Name {
			src.Code = append([]byte{}, data...)
		} else {
			src.Files[name] = data
		}
		return nil
	})
	return src, err
}

// Stamp changes whenever a file changes that [ReadSource] would read. It looks at
// names, sizes and times only.
func Stamp(file string) (string, error) {
	sum := sha256.New()
	err := walk(file, func(_ *os.Root, name string, info fs.FileInfo) error {
		_, err := fmt.Fprintf(sum, "%s\x00%d %d\n", name, info.Size(), info.ModTime().UnixNano())
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// walk visits the file of a script and those that it may import.
func walk(file string, visit func(dir *os.Root, name string, info fs.FileInfo) error) error {
	dir, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return core.Errorf(core.CodeInvalid, "script", "%w", err)
	}
	defer func() { _ = dir.Close() }()
	entry, found, visited, entries := filepath.Base(file), false, 0, 0
	err = fs.WalkDir(dir.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if entries++; entries > maxEntries {
			return fmt.Errorf("there are more than %d files in the folder and below: keep what is no script elsewhere", maxEntries)
		}
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir():
			if base := path.Base(name); strings.HasPrefix(base, ".") || base == "node_modules" || strings.Count(name, "/") >= maxDepth {
				return fs.SkipDir
			}
			return nil
		case name != entry && !canImport(name):
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is a link or no file: only files of the script's folder can be used", name)
		}
		if visited++; visited > 10*MaxFiles {
			return fs.SkipAll
		}
		found = found || name == entry
		info, err := d.Info()
		if err != nil {
			return err
		}
		return visit(dir, name, info)
	})
	if err == nil && !found {
		err = fmt.Errorf("%s: %w", file, fs.ErrNotExist)
	}
	if err != nil {
		return core.Errorf(core.CodeInvalid, "script", "%w", err)
	}
	return nil
}

// canImport reports whether a file of a script's folder may be imported.
func canImport(name string) bool {
	base := path.Base(name)
	switch {
	case strings.HasPrefix(base, "."), strings.HasSuffix(base, ".d.ts"),
		base == "tenant.toml", base == "tsconfig.json", base == "jsconfig.json":
		return false
	}
	switch ext := path.Ext(base); ext {
	case ".ts", ".js":
		return !strings.HasSuffix(strings.TrimSuffix(base, ext), ".test")
	case ".json":
		return true
	}
	return table.Is(base)
}

// newProgram checks what can be checked without looking into the script.
func newProgram(src Source) (*program, error) {
	src.Name = clip(path.Base(src.Name), MaxName)
	if ext := path.Ext(src.Name); ext != ".js" && ext != ".ts" && !table.Is(src.Name) {
		return nil, core.Errorf(core.CodeInvalid, "script", "%s: a script's name ends in .js or .ts, a table's in .csv or .toml", quote(src.Name))
	}
	if len(src.Files) > MaxFiles {
		return nil, core.Errorf(core.CodeInvalid, "script", "%s: %d files are too many: at most %d", src.Name, len(src.Files)+1, MaxFiles)
	}
	size := len(src.Code)
	files := make(map[string][]byte, len(src.Files))
	for name, data := range src.Files {
		if !fs.ValidPath(name) || len(name) > 200 {
			return nil, core.Errorf(core.CodeInvalid, "script", "%s: not a path within the script's folder", quote(name))
		}
		size += len(data)
		if canImport(name) {
			files[name] = slices.Clone(data)
		}
	}
	if size > MaxSource {
		return nil, core.Errorf(core.CodeInvalid, "script", "%s: %d KiB are too large: at most %d", src.Name, size>>10, MaxSource>>10)
	}
	src.Code, src.Files = slices.Clone(src.Code), files
	return &program{Source: src, version: Version{Hash: src.Hash(), Name: src.Name}}, nil
}

var errNoLocal = errors.New(`only files of the script's own folder can be imported, such as "./prices.json"`)

// resolve finds the file that an import means.
func (s *Source) resolve(importer, what string) (string, error) {
	if !strings.HasPrefix(what, "./") && !strings.HasPrefix(what, "../") {
		return "", errNoLocal
	}
	at := path.Join(path.Dir(importer), what)
	if !fs.ValidPath(at) {
		return "", errors.New("leads out of the script's folder: " + errNoLocal.Error())
	}
	candidates := []string{at, at + ".ts", at + ".js", at + ".json"}
	if js, ok := strings.CutSuffix(at, ".js"); ok { // as TypeScript writes it
		candidates = append(candidates, js+".ts")
	}
	for _, c := range candidates {
		if _, ok := s.Files[c]; ok || c == s.Name {
			return c, nil
		}
	}
	if base := path.Base(at); strings.Contains(base, ".test") || strings.HasSuffix(base, ".d.ts") {
		return "", fmt.Errorf("%s is a test or has types only, and is not there when the script runs", base)
	}
	return "", fmt.Errorf("there is no file %s", quote(at))
}

// file returns a file of the source.
func (s *Source) file(name string) []byte {
	if name == s.Name {
		return s.Code
	}
	return s.Files[name]
}
