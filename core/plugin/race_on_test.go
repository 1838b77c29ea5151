//go:build race

package plugin

import (
	"os"
	"syscall"
)

const raceEnabled = true

// A program with the race detector in it sleeps for a second before it ends. The
// tests' children, which are given a plugin's environment, start over without that.
func init() {
	if len(os.Args) < 2 || os.Args[1] != "child" {
		return
	}
	if os.Getenv("GORACE") == "" {
		panic(syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GORACE=atexit_sleep_ms=0")))
	}
	_ = os.Unsetenv("GORACE") // it has been read
}
