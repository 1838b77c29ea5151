//go:build race && linux

package connectortest

import (
	"os"
	"syscall"
)

// A program with the race detector in it sleeps for a second before it ends. A child,
// which is given a plugin's environment, starts over without that.
func init() {
	if len(os.Args) != 3 || os.Args[1] != childArgument {
		return
	}
	if os.Getenv("GORACE") == "" {
		panic(syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GORACE=atexit_sleep_ms=0")))
	}
	_ = os.Unsetenv("GORACE") // it has been read
}
