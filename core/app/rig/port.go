package rig

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// Ports are taken in turn from below those that the system gives by itself
// (ip_local_port_range begins at 32768): one of these, when it is free again, may be
// anybody's at once. Each process begins elsewhere.
const (
	firstPort = 12_000
	ports     = 20_000
)

var lastPort atomic.Uint32

func init() { lastPort.Store(uint32(os.Getpid()) * 97 % ports) }

// Address returns an address of this machine on which nobody listens, and which no other
// call in this process returns soon.
func Address() (string, error) {
	var failed error
	for range 100 {
		port := firstPort + lastPort.Add(1)%ports
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.FormatUint(uint64(port), 10)))
		if err == nil {
			return ln.Addr().String(), ln.Close()
		}
		failed = errors.Join(failed, err)
	}
	return "", failed
}
