//go:build failpoint

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/wabridge/wabridge/core/app"
)

// This is the program of the crash tests: it kills itself at the n-th time that
// it comes to the step named by WABRIDGE_FAILPOINT ("send-after-mark:3"), and
// breaks its promises as WABRIDGE_MUTANT says ("nosync", "ackfirst").

func failpoint() func(name string) {
	want, nth, _ := strings.Cut(os.Getenv("WABRIDGE_FAILPOINT"), ":")
	if want == "" {
		return nil
	}
	n, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		n = 1
	}
	var hits atomic.Int64
	return func(name string) {
		if name == want && hits.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal is there
		}
	}
}

func unsafe() app.Unsafe {
	mutant := os.Getenv("WABRIDGE_MUTANT")
	return app.Unsafe{NoSync: mutant == "nosync", AckFirst: mutant == "ackfirst"}
}
