package core_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources returns the project's files with an extension: path within the
// project → content.
func sources(t *testing.T, ext string) map[string]string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && path != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ext {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("found %d files of %s", len(files), ext)
	}
	return files
}

// link is a Markdown link's target.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestDocs_LinkToWhatIsThere(t *testing.T) {
	links := 0
	for file, text := range sources(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join("..", filepath.Dir(file), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", file, target)
			}
		}
	}
	if links < 20 {
		t.Errorf("found %d links in the documentation: does the pattern still match?", links)
	}
}

// maxLines is where a file probably has a second idea in it.
const maxLines = 600

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestFiles_HaveOneIdea(t *testing.T) {
	for file, text := range sources(t, ".go") {
		if n := strings.Count(text, "\n"); n > maxLines && !generated.MatchString(text) {
			t.Errorf("%s has %d lines, more than %d: find its second idea", file, n, maxLines)
		}
	}
}

// sleep is a call of the function that tests use in virtual time only.
var sleep = regexp.MustCompile(`\btime\.Sleep\(`)

func TestTests_SleepInVirtualTimeOnly(t *testing.T) {
	for file, text := range sources(t, ".go") {
		if strings.HasSuffix(file, "_test.go") && sleep.MatchString(text) && !strings.Contains(text, `"testing/synctest"`) {
			t.Errorf("%s sleeps and imports no testing/synctest: wait for what happens, or sleep in virtual time", file)
		}
	}
}
