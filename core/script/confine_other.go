//go:build !linux

package script

import (
	"math"
	"syscall"
	"time"
)

// confine can do nothing here: the walls are Linux's. Workers are killed when
// they take too long all the same.
func confine(uint64) confinement {
	const why = "only on Linux"
	return confinement{Memory: why, Landlock: why, Seccomp: why}
}

func putLast(int) {}

func cpuTime() time.Duration { return math.MaxInt64 / 2 }

func cpuTimeOf(int) (time.Duration, bool) { return 0, false }

func workerAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
