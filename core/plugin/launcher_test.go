//go:build linux

package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
)

// copyOfTestProgram is a third party's plugin: a file and its sum.
func copyOfTestProgram(t testing.TB) (path, sum string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return program0755(t, "plugin", self)
}

func program0755(t testing.TB, name string, content []byte) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path, sumOf(content)
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func TestLauncher_RunsAThirdPartysProgram(t *testing.T) {
	path, sum := copyOfTestProgram(t)
	h, _ := run(t, HostOptions{Launch: Launcher{Path: path, SHA256: strings.ToUpper(sum), Args: []string{"child", "actor"}, Memory: -1}})
	mustAct(t, h, "ok")
}

func TestLauncher_RunsAScript(t *testing.T) {
	program, _ := copyOfTestProgram(t)
	script := []byte("#!/bin/sh\nexec " + program + " child actor\n")
	path, sum := program0755(t, "plugin.sh", script)
	h, _ := run(t, HostOptions{Launch: Launcher{Path: path, SHA256: sum, Memory: -1}})
	mustAct(t, h, "ok")
}

func TestLauncher_RunsTheBytesThatWereSummed(t *testing.T) {
	path, sum := program0755(t, "plugin", []byte("#!/bin/sh\necho good\n"))
	l := Launcher{Path: path, SHA256: sum}
	p, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	evil, _ := program0755(t, "evil", []byte("#!/bin/sh\necho evil\n"))
	if err := os.Rename(evil, path); err != nil { // between sum and start
		t.Fatal(err)
	}
	stdout, _, err := output(p.command())
	if err != nil || stdout != "good\n" {
		t.Errorf("ran %q (%v), want the file that was summed", stdout, err)
	}
	if err := l.Verify(); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("the next start: %v, want invalid", err)
	}
}

func TestLauncher_NoticesAFileWrittenToWhileItStarts(t *testing.T) {
	content := []byte("#!/bin/sh\necho good\n")
	path, sum := program0755(t, "plugin", content)
	p, err := (&Launcher{Path: path, SHA256: sum}).open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.changed() {
		t.Error("an untouched file counts as changed")
	}
	if err := os.WriteFile(path, bytes.Replace(content, []byte("good"), []byte("evil"), 1), 0o755); err != nil {
		t.Fatal(err)
	}
	if !p.changed() {
		t.Error("a file written to in place counts as unchanged")
	}
}

func TestLauncher_SaysWhatToDo(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	good, goodSum := program0755(t, "good", []byte("#!/bin/sh\n"))
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	altered := bytes.Clone(self)
	altered[len(altered)-1] ^= 1
	otherMachine := bytes.Clone(self)
	otherMachine[18], otherMachine[19] = 0x16, 0 // s390
	file := func(content []byte) Launcher {
		path, sum := program0755(t, "plugin", content)
		return Launcher{Path: path, SHA256: sum}
	}
	alteredFile := file(altered)
	alteredFile.SHA256 = sumOf(self)

	for _, tc := range []struct {
		name   string
		launch Launcher
		want   []string // in the error and its hint
	}{
		{"neither", Launcher{}, []string{"command or a path"}},
		{"both", Launcher{Path: good, Command: []string{"x"}}, []string{"command or a path"}},
		{"a relative path", Launcher{Path: "plugins/x"}, []string{"not an absolute path"}},
		{"no file", Launcher{Path: "/nowhere/plugin", SHA256: goodSum}, []string{"/nowhere/plugin", "no such file", "path"}},
		{"a directory", Launcher{Path: t.TempDir(), SHA256: goodSum}, []string{"plugin.json"}},
		{"no sum", Launcher{Path: good}, []string{"no sha256", goodSum}},
		{"not a sum", Launcher{Path: good, SHA256: "abc"}, []string{"64 hexadecimal digits"}},
		{"one bit altered", alteredFile, []string{"not the configured one", sumOf(altered), "restore"}},
		{"not executable", Launcher{Path: plain, SHA256: goodSum}, []string{"chmod +x"}},
		{"another machine", file(otherMachine), []string{"another machine", "linux/"}},
		{"Windows", file([]byte("MZ\x90\x00")), []string{"Windows"}},
		{"macOS", file([]byte("\xcf\xfa\xed\xfe\x07\x00")), []string{"macOS"}},
		{"text", file([]byte("hello, world")), []string{"not a program"}},
		{"empty", file(nil), []string{"too short"}},
		{"half a program", file(self[:40]), []string{"damaged"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.launch.Verify()
			if core.CodeOf(err) != core.CodeInvalid {
				t.Fatalf("got %v, want invalid", err)
			}
			text := err.Error() + " / " + core.AsError(err).Hint
			for _, want := range tc.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %q", text, want)
				}
			}
			// The Host does not try such a thing again and again.
			h, _ := run(t, HostOptions{Launch: tc.launch})
			if s := await(t, h, "quarantined", func(s State) bool { return s.Phase == PhaseQuarantined }); s.Crashes != 1 {
				t.Errorf("it was tried %d times", s.Crashes)
			}
		})
	}
}

func TestLauncher_ExplainsWhatTheSystemRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, script, want string
	}{
		{"a missing interpreter", "#!/nowhere/python\n", "interpreter"},
		{"an interpreter that may not be run", "#!/etc/passwd\n", "may not be run"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path, sum := program0755(t, "plugin", []byte(tc.script))
			h, _ := run(t, HostOptions{Launch: Launcher{Path: path, SHA256: sum}})
			s := await(t, h, "quarantined", func(s State) bool { return s.Phase == PhaseQuarantined })
			if !strings.Contains(s.LastError, tc.want) || !strings.Contains(s.LastError, path) {
				t.Errorf("the error is %q, want it to name the file and say %q", s.LastError, tc.want)
			}
		})
	}
}

func TestLauncher_NeedsAShortDirectory(t *testing.T) {
	dir := filepath.Join(shortDir(t), strings.Repeat("d", maxDir))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := child("actor")
	l.Dir = dir
	h, _ := run(t, HostOptions{Launch: l})
	s := await(t, h, "quarantined", func(s State) bool { return s.Phase == PhaseQuarantined })
	if !strings.Contains(s.LastError, "shorter path") {
		t.Errorf("the error is %q, want it to ask for a shorter path", s.LastError)
	}

	// The longest that is allowed works.
	l.Dir = filepath.Join(shortDir(t), "d")
	l.Dir += strings.Repeat("d", maxDir-len(l.Dir))
	if err := os.Mkdir(l.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h, _ = run(t, HostOptions{Launch: l})
	mustAct(t, h, "ok")
}

func TestServe_SaysWhatItIsWhenRunByHand(t *testing.T) {
	l := child("actor")
	p, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	cmd := p.command()
	cmd.Env = []string{}
	stdout, stderr, err := output(cmd)
	if err == nil || !strings.Contains(stderr, "the bridge starts it") || stdout != "" {
		t.Errorf("got %q, %q, %v", stdout, stderr, err)
	}
}
