//go:build linux

package plugin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
)

// byHand starts a plugin as its author would in a debugger.
func byHand(t *testing.T, file string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "child", "actor")
	cmd.Env = []string{AttachVariable + "=" + file}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestHost_UsesAProcessThatItsAuthorStarted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acme.attach")
	put(t, file, `{"PLUGIN_UNIX_SOCKET_DIR":"/nowhere","WABRIDGE_PLUGIN_HANDSHAKE":"/nowhere/x"}`) // of a bridge that was killed
	o := HostOptions{Launch: child("attach", file)}
	o.ForDebugger()
	author := byHand(t, file) // may be there first
	h, j := run(t, o)
	mustAct(t, h, "ok")
	j.wait(t, "level=WARN", "for development only")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v, want it to be its owner's alone", info, err)
	}

	// It ends in the middle of a call, and is started again, as happens in debugging.
	if r := act(t, h, "exit"); r.Err == nil || core.CodeOf(plain(r.Err)) != core.CodeUnknownOutcome {
		t.Errorf("got %v, want an unknown outcome", r.Err)
	}
	_ = author.Wait()
	j.wait(t, "plugin down, starting it again") // else the next call may still go to the one that has ended
	byHand(t, file)
	mustAct(t, h, "ok")
	if s := h.State(); s.Phase != PhaseRunning {
		t.Errorf("state is %+v", s)
	}
	if strings.Contains(j.String(), "s3cr3t") {
		t.Error("the log tells a secret")
	}
}

func TestServe_ByHandEndsWithTheBridge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acme.attach")
	o := HostOptions{Launch: child("attach", file)}
	o.ForDebugger()
	author := byHand(t, file)
	t.Run("a bridge", func(t *testing.T) {
		h, _ := run(t, o)
		mustAct(t, h, "ok")
	})
	watch(t, author.Process.Pid).gone(t, "a process that nobody can use any more")
}
