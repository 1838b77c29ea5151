//go:build !linux

package plugin

import (
	"io/fs"
	"os/exec"
	"syscall"
	"time"
)

// Elsewhere than on Linux a plugin ends with its parent by polling (see Serve),
// and its memory is not capped.

func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func startOnStarter(cmd *exec.Cmd) error { return cmd.Start() }

func limitProcess(int, int64) error { return nil }

func waitUnreaped(int) bool { return false }

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func endStragglers(string) {}

func changeTime(i fs.FileInfo) time.Time { return i.ModTime() }
