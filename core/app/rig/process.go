package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process and its descendants use.
type Usage struct {
	CPU time.Duration // of those still alive, and of children already reaped
	// RSS is resident memory; Anon the part that is not backed by files, PSS
	// counts what processes share only once.
	RSS, Anon, PSS int64
	Processes      int
}

// UsageOf looks at a process and its descendants.
func UsageOf(pid int) Usage {
	var u Usage
	for _, p := range descendants(pid) {
		cpu, ok := cpuOf(p)
		if !ok {
			continue
		}
		u.CPU += cpu
		u.Processes++
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		u.RSS += kilobytes(rollup, "Rss:")
		u.PSS += kilobytes(rollup, "Pss:")
		u.Anon += kilobytes(rollup, "Anonymous:")
	}
	return u
}

func kilobytes(data []byte, key string) int64 {
	for line := range bytes.Lines(data) {
		f := strings.Fields(string(line))
		if len(f) >= 2 && f[0] == key {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n * 1024
		}
	}
	return 0
}

// stat returns the fields of /proc/PID/stat after the command's name.
func stat(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
}

func cpuOf(pid int) (time.Duration, bool) {
	f := stat(pid)
	if len(f) < 15 {
		return 0, false
	}
	var ticks int64
	for _, s := range f[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(s, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, true
}

func descendants(root int) []int {
	parents := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		if f := stat(pid); len(f) > 1 {
			ppid, _ := strconv.Atoi(f[1])
			parents[ppid] = append(parents[ppid], pid)
		}
	}
	out := []int{root}
	for i := 0; i < len(out); i++ {
		out = append(out, parents[out[i]]...)
	}
	return out
}

// Session returns the processes of the session that a process leads, or led: one that
// was started with Setsid, and all that it started, also those that outlive it.
func Session(leader int) []int {
	var out []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		if f := stat(pid); len(f) > 3 && f[3] == strconv.Itoa(leader) && f[0] != "Z" {
			out = append(out, pid)
		}
	}
	return out
}

// Kill kills the descendants of a process whose command ends with these arguments.
func Kill(pid int, arguments ...string) {
	suffix := []byte("\x00" + strings.Join(arguments, "\x00") + "\x00")
	for _, p := range descendants(pid) {
		if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)); bytes.HasSuffix(text, suffix) {
			_ = syscall.Kill(p, syscall.SIGKILL) // it may be gone already
		}
	}
}

// errLeft is wrapped by the error about processes left over.
var errLeft = errors.New("processes are left over")

// LeftOver returns an error naming the processes that still run a program.
func LeftOver(program string) error {
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	var left []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		exe, err := os.Stat(filepath.Join(d, "exe"))
		if err != nil || !os.SameFile(exe, info) {
			continue
		}
		cmd, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		left = append(left, filepath.Base(d)+" "+strings.TrimSpace(strings.ReplaceAll(string(cmd), "\x00", " ")))
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: %s", errLeft, strings.Join(left, "; "))
	}
	return nil
}
