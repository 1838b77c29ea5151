//go:build linux

package plugin

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
)

// folder makes a plugin that is a folder: a script that runs the test program.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "acme")
	all := map[string]string{
		"run.sh":      fmt.Sprintf("#!/bin/sh\n# %s\nexec %q child actor \"$@\"\n", "a plugin", self),
		"lib/note.md": "a note",
		".git/config": "not part of it",
		"notes.txt":   "nor is this",
		ManifestName:  `{"name":"actor","version":"1.2.3","contract":1,"commands":{"any":["./run.sh"]},"include":["*.sh","lib"]}`,
	}
	maps.Copy(all, files)
	for name, text := range all {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func seal(t *testing.T, dir string, key ed25519.PrivateKey) string {
	t.Helper()
	_, sum, err := Seal(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestLauncher_RunsAFolderFromACopyOfItsOwn(t *testing.T) {
	dir := folder(t, nil)
	l := Launcher{Path: dir, SHA256: seal(t, dir, nil), Memory: -1, Dir: shortDir(t)}
	if err := l.Verify(); err != nil {
		t.Fatal(err)
	}
	h, _ := run(t, HostOptions{Launch: l})
	_, cwd, _ := strings.Cut(mustAct(t, h, "dir"), " ")
	if !strings.HasPrefix(cwd, l.Dir) {
		t.Errorf("it runs in %s, want a copy below %s", cwd, l.Dir)
	}
	var found []string
	_ = filepath.WalkDir(cwd, func(path string, e os.DirEntry, _ error) error {
		if !e.IsDir() {
			rel, _ := filepath.Rel(cwd, path)
			found = append(found, rel)
		}
		return nil
	})
	if diff := cmp.Diff([]string{"lib/note.md", "run.sh"}, found); diff != "" {
		t.Errorf("files of the copy (-want +got):\n%s", diff)
	}

	// Changed, it does not start again, and what runs goes on.
	first := h.State().PID
	put(t, filepath.Join(dir, "lib/note.md"), "another note")
	h.Restart()
	s := await(t, h, "refused", func(s State) bool { return s.LastError != "" })
	if !strings.Contains(s.LastError, "lib/note.md: was changed") || s.PID != first {
		t.Errorf("state is %+v, want the old process and the file that was changed", s)
	}
}

func TestLauncher_SaysWhatIsWrongWithAFolder(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"another manifest", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "run.sh"), "#!/bin/sh\n")
			seal(t, dir, nil)
		}, "the SHA-256 of its plugin.json is not the configured one"},
		{"a changed file", func(t *testing.T, dir string) { put(t, filepath.Join(dir, "run.sh"), "#!/bin/sh\n") }, "run.sh: was changed"},
		{"a missing file", func(_ *testing.T, dir string) { os.Remove(filepath.Join(dir, "lib/note.md")) }, "lib/note.md: is missing"},
		{"a link in a file's place", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "lib/note.md"))
			if err := os.Symlink("/dev/zero", filepath.Join(dir, "lib/note.md")); err != nil {
				t.Fatal(err)
			}
		}, "lib/note.md: "},
		{"a pipe in a file's place", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "lib/note.md"))
			if err := syscall.Mkfifo(filepath.Join(dir, "lib/note.md"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "lib/note.md: "},
		{"no manifest", func(_ *testing.T, dir string) { os.Remove(filepath.Join(dir, ManifestName)) }, "no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := folder(t, nil)
			l := Launcher{Path: dir, SHA256: seal(t, dir, private)}
			if err := l.Verify(); err != nil {
				t.Fatal(err)
			}
			tc.change(t, dir)
			if err := l.Verify(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err := CopyFolder(dir, filepath.Join(t.TempDir(), "copy"), l.SHA256); err == nil {
				t.Error("it was copied all the same")
			}
		})
	}
}

func TestManifest_IsRefusedWhenItSaysWhatCannotBe(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for text, want := range map[string]string{
		`{"name":"../x","version":"1","contract":1,"commands":{"any":["a"]}}`:                                    "name: ",
		`{"name":"x","version":"","contract":1,"commands":{"any":["a"]}}`:                                        "version: ",
		`{"name":"x","version":"1","contract":2,"commands":{"any":["a"]}}`:                                       "contract: is 2, this wabridge speaks 1",
		`{"name":"x","version":"1","contract":1}`:                                                                "commands: is missing",
		`{"name":"x","version":"1","contract":1,"commands":{"any":[]}}`:                                          "commands: any: is empty",
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]},"files":{"../a":"` + sum + `"}}`:        `"../a" is no path`,
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]},"files":{"/etc/passwd":"` + sum + `"}}`: `"/etc/passwd" is no path`,
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]},"files":{"plugin.json":"` + sum + `"}}`: `"plugin.json" is no path`,
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]},"files":{"a":"12"}}`:                    "a: want a SHA-256 sum",
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]},"wish":1}`:                              "wish",
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]}}, "files":{}}`:                          "more after its }",
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]},"include":["*.py","[.js"]}`:             `"[.js" is no pattern`,
		`{"name":"x","version":"1","contract":1,"commands":{"plan9/arm":["a"]},"files":{"a":"` + sum + `"}}`:     "is not for linux/",
		`{"name":"x","version":"1","contract":1,"commands":{"any":["../sh"]},"files":{"a":"` + sum + `"}}`:       "../sh is neither a file of the plugin",
		`{"name":"x","version":"1","contract":1,"commands":{"any":["a"]}}`:                                       "has no sums of files",
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, ManifestName), text)
		l := Launcher{Path: dir, SHA256: shaOf([]byte(text))}
		if err := l.Verify(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestDifferences_TellsEachFile(t *testing.T) {
	dir := folder(t, nil)
	seal(t, dir, nil)
	if got, err := Differences(dir); err != nil || len(got) > 0 {
		t.Fatalf("right after sealing it differs: %v, %v", got, err)
	}
	put(t, filepath.Join(dir, "run.sh"), "x")
	put(t, filepath.Join(dir, "lib/more.md"), "x")
	put(t, filepath.Join(dir, "other.txt"), "is not in include")
	os.Remove(filepath.Join(dir, "lib/note.md"))
	got, err := Differences(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lib/more.md: was added", "lib/note.md: is missing", "run.sh: was changed"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestManifest_IsSignedAsAWhole(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, nil)
	seal(t, dir, key)
	m, _, err := ReadManifest(dir)
	if err != nil || m.Signature == "" || m.CheckSignature() != nil {
		t.Fatalf("signed: %+v, %v, %v", m, err, m.CheckSignature())
	}
	for what, change := range map[string]func(m *Manifest){
		"version":           func(m *Manifest) { m.Version = "9" },
		"sum":               func(m *Manifest) { m.Files["run.sh"] = strings.Repeat("0", 64) },
		"command":           func(m *Manifest) { m.Commands["any"] = []string{"/bin/sh"} },
		"signer":            func(m *Manifest) { m.Signer = "AAAA" },
		"without signature": func(m *Manifest) { m.Signature = "" },
	} {
		var changed Manifest
		data, _ := json.Marshal(m)
		if err := json.Unmarshal(data, &changed); err != nil {
			t.Fatal(err)
		}
		change(&changed)
		if changed.CheckSignature() == nil {
			t.Errorf("%s: changed after it was signed, the signature is good", what)
		}
	}
}

func TestSeal_SaysThatAProgramIsBuiltBefore(t *testing.T) {
	dir := folder(t, map[string]string{
		ManifestName: `{"name":"actor","version":"1.2.3","contract":1,"commands":{"any":["bin/acme"]},"include":["bin"]}`,
	})
	_, _, err := Seal(dir, nil)
	var e *core.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, "include names: bin") || !strings.Contains(e.Hint, "built before") {
		t.Errorf("got %v, want what is missing, and that it is built before", err)
	}
}

func TestSeal_TakesNoLinks(t *testing.T) {
	for include, link := range map[string]string{"lib": "lib/passwd", "etc": "etc", "etc/*": "etc", "etc/ssl/*.pem": "etc"} {
		dir := folder(t, map[string]string{
			ManifestName: fmt.Sprintf(`{"name":"actor","version":"1.2.3","contract":1,"commands":{"any":["./run.sh"]},"include":["*.sh",%q]}`, include),
		})
		if err := os.Symlink("/etc", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Seal(dir, nil); err == nil || !strings.Contains(err.Error(), link+": is a link") {
			t.Errorf("with %s and the link %s: got %v", include, link, err)
		}
	}
}

func TestSeal_WantsACommandThatIsThereForSomePlatform(t *testing.T) {
	for commands, good := range map[string]bool{
		`{"any":["python3","main.py"]}`:                               false,
		`{"any":["/usr/bin/python3","main.py"]}`:                      true,
		`{"linux/amd64":["bin/amd64"],"linux/arm64":["./run.sh"]}`:    true, // the other was not built
		`{"linux/amd64":["bin/amd64"],"linux/arm64":["bin/arm64"]}`:   false,
		`{"linux/amd64":["../run.sh"],"linux/arm64":["lib/none.md"]}`: false,
	} {
		dir := folder(t, map[string]string{
			ManifestName: `{"name":"actor","version":"1.2.3","contract":1,"commands":` + commands + `,"include":["*.sh","lib"]}`,
		})
		if _, _, err := Seal(dir, nil); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "commands: none begins with a file") {
			t.Errorf("%s: got %v", commands, err)
		}
	}
}

// What is wrong with the place that files are copied to is not laid at the plugin's door.
func TestCopyFolder_SaysWhatIsWrongWithThePlace(t *testing.T) {
	dir := folder(t, nil)
	sum := seal(t, dir, nil)
	m, _, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	taken := t.TempDir()
	put(t, filepath.Join(taken, "lib"), "where a folder must be made")
	for what, err := range map[string]error{
		"no folder": CopyFolder(dir, filepath.Join(t.TempDir(), "none", "copy"), sum),
		"no room":   m.copy(dir, taken),
	} {
		e, ok := errors.AsType[*core.Error](err)
		if !ok || e.Code != core.CodeUnavailable || !strings.Contains(e.Hint, "room") || strings.Contains(e.Message, "was changed") {
			t.Errorf("%s: got %v, want the place to be blamed, for now", what, err)
		}
	}
}
