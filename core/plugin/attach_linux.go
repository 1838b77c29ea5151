package plugin

import (
	"bytes"
	"context"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// watchSocket finds out which process listens on the socket of a handshake, and
// returns a function that waits until it has ended.
func watchSocket(line []byte) (gone func(), err error) {
	fields := bytes.Split(line, []byte("|"))
	if len(fields) < 5 {
		return nil, errAttach("what answered wrote no handshake")
	}
	address := string(fields[3])
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "unix", address)
	if err != nil {
		return nil, errAttach("nothing listens where the handshake says: %w", err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) { peer, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = sockErr
	}
	if err != nil {
		return nil, errAttach("who listens where the handshake says: %w", err)
	}
	fd, err := unix.PidfdOpen(int(peer.Pid), 0)
	if err != nil {
		return nil, errAttach("the plugin's process %d: %w", peer.Pid, err)
	}
	return func() {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n == 1 || err != nil && err != unix.EINTR {
				return
			}
		}
	}, nil
}
