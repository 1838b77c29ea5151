package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processAttributes: a group of its own, and the kernel kills it when the thread
// that started it ends.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// starter hands commands to the one thread that starts processes. The thread
// lives as long as the bridge does: Pdeathsig is bound to the thread that
// forked, so a process started from a thread that ends would be killed with it.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread() // and never unlocked
		for f := range work {
			f()
		}
	}()
	return work
})

func startOnStarter(cmd *exec.Cmd) error {
	done := make(chan error)
	starter() <- func() { done <- cmd.Start() }
	return <-done
}

// limitProcess caps a process that has just been started: no core dumps (they
// would hold secrets), and memory.
func limitProcess(pid int, memory int64) error {
	limits := map[int]uint64{unix.RLIMIT_CORE: 0}
	if memory > 0 {
		limits[unix.RLIMIT_DATA] = uint64(memory)
	}
	for resource, n := range limits {
		err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: n}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended already
			return fmt.Errorf("limit the plugin's process: %w", err)
		}
	}
	return nil
}

// waitUnreaped returns when the process has ended; while it is not reaped its id
// stays taken, and its group can be swept. It returns false where that cannot be
// had.
func waitUnreaped(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// endStragglers kills what the plugins of a bridge that was killed had started: the kernel
// killed these, nobody killed that. It is known by its working directory, the plugin's
// or one below, and by its group, whose leader, the plugin, is no more: a person's shell
// leads its own.
func endStragglers(dir string) {
	if at, err := filepath.Abs(dir); err == nil {
		dir = at
	}
	if at, err := filepath.EvalSymlinks(dir); err == nil {
		dir = at // as the kernel names it
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return
	}
	for _, p := range processes {
		cwd, err := os.Readlink(filepath.Join(p, "cwd"))
		if err != nil || cwd != dir && !strings.HasPrefix(cwd, dir+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil {
			continue
		}
		group, err := unix.Getpgid(pid)
		if err == nil && errors.Is(unix.Kill(group, 0), unix.ESRCH) {
			killGroup(group)
		}
	}
}

func changeTime(i fs.FileInfo) time.Time {
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix())
	}
	return i.ModTime()
}
