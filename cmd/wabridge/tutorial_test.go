package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
)

// shellBlock is what a reader of a tutorial pastes into a shell.
var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestTutorials_WorkAsTheyStand pastes the blocks of each tutorial into one shell.
func TestTutorials_WorkAsTheyStand(t *testing.T) {
	if testing.Short() || raced != nil { // what they build has no race detector in it
		t.Skip("runs bridges and plugins")
	}
	for name, needs := range map[string][]string{"go": {"curl"}, "node": {"curl", "node"}, "python": {"curl", "python"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, what := range needs {
				if err := checkNeeded(what); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile("../../docs/plugins/tutorial-" + name + ".md")
			if err != nil {
				t.Fatal(err)
			}
			blocks := shellBlock.FindAllStringSubmatch(string(text), -1)
			if len(blocks) < 5 {
				t.Fatalf("found %d blocks", len(blocks))
			}
			script := "set -euo pipefail\n"
			for _, b := range blocks {
				script += b[1]
			}
			paste(t, script)
		})
	}
}

// paste runs a script, and whatever it leaves in the background as long as it runs.
// The addresses in it are others than in the text, so that tests do not meet.
func paste(t *testing.T, script string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wt") //nolint:usetesting // sockets are made in it: its path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, port := range []string{"127.0.0.1:8080", "127.0.0.1:8090", "127.0.0.1:8092"} {
		free, err := rig.Address()
		if err != nil {
			t.Fatal(err)
		}
		if port == "127.0.0.1:8080" {
			script = "export WABRIDGE_WEB__LISTEN=" + free + "\n" + script
		}
		script = strings.ReplaceAll(script, port, free)
	}
	file := filepath.Join(dir, "tutorial.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, "bash", "-x", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// Go's flags are those by which this test was built, so that little is compiled.
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "WABRIDGE_SOURCE="+repository, "NODE_PACKAGES="+filepath.Join(tools(), "plugin-node", "node_modules"), "GOSUMDB=off", "FLAGS=-ldflags=-w", "CGO_ENABLED=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // what is in the background
	if err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(dir, "tutorial", "bridge", "bridge.log"))
		t.Fatalf("%v\n%s\nthe bridge's log:\n%s", err, said, log)
	}
}
