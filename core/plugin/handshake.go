package plugin

import (
	"bytes"
	"io"
	"regexp"
	"sync"
)

// maxNoise caps what a process may print before the handshake.
const maxNoise = 64 << 10

// handshakeLine is go-plugin's line, wherever in a line it begins: a plugin may
// have printed something without a line's end.
var handshakeLine = regexp.MustCompile(`1\|\d+\|[a-z]+\|[^|\n]*\|[a-z]*(?:\|[^\n]*)?$`)

// handshakeReader is the process's standard output as go-plugin gets to see it:
// the line with the handshake and nothing else. A plugin that prints something
// before is forgiven; what else it prints is logged. Reading stops at the end of
// the output, of which nothing is ever left in the pipe to block the plugin.
type handshakeReader struct {
	from  io.ReadCloser
	noise io.Writer

	buf     []byte // not yet a whole line, then what is still to be handed out
	found   bool
	handing bool

	mu    sync.Mutex
	first []byte // what was printed instead, for an error
	count int
}

func (r *handshakeReader) Read(p []byte) (int, error) {
	if r.handing && len(r.buf) > 0 {
		n := copy(p, r.buf)
		r.buf = r.buf[n:]
		return n, nil
	}
	chunk := make([]byte, 4<<10)
	for {
		n, err := r.from.Read(chunk)
		if n > 0 {
			if r.take(chunk[:n]) {
				r.handing = true
				return r.Read(p)
			}
		}
		if err != nil {
			return 0, io.EOF
		}
		if r.silly() {
			return 0, io.EOF
		}
	}
}

// take looks for the handshake in what was read and reports whether it is there
// now; the rest is noise.
func (r *handshakeReader) take(b []byte) bool {
	if r.found {
		_, _ = r.noise.Write(b)
		return false
	}
	r.buf = append(r.buf, b...)
	for {
		i := bytes.IndexByte(r.buf, '\n')
		if i < 0 {
			return false
		}
		line := r.buf[:i]
		if at := handshakeLine.FindIndex(line); at != nil {
			if at[0] > 0 {
				r.hear(append(bytes.Clone(line[:at[0]]), '\n'))
			}
			rest := bytes.Clone(r.buf[i+1:])
			r.buf = append(bytes.Clone(line[at[0]:]), '\n')
			r.found = true
			if len(rest) > 0 {
				_, _ = r.noise.Write(rest)
			}
			return true
		}
		r.hear(r.buf[:i+1])
		r.buf = r.buf[i+1:]
	}
}

func (r *handshakeReader) hear(b []byte) {
	_, _ = r.noise.Write(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count += len(b)
	r.first = append(r.first, b[:min(len(b), 200-len(r.first))]...)
}

// silly reports whether there was so much noise that no handshake is to be
// expected.
func (r *handshakeReader) silly() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.found && r.count+len(r.buf) > maxNoise
}

// printed is the beginning of what the process printed instead of a handshake.
func (r *handshakeReader) printed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return clean(string(r.first), 200)
}

func (r *handshakeReader) Close() error { return r.from.Close() }
