package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/dlclark/regexp2/v2"
)

const (
	// socketFD is where a worker finds its end of the socket pair.
	socketFD = 3
	// maxStack makes stack bombs die within milliseconds instead of seconds, and
	// of the stack rather than of memory: a stack is copied to grow.
	maxStack = 32 << 20
	// regexpTimeout ends what only a backtracking engine can match.
	regexpTimeout = 100 * time.Millisecond
	// flushAfter is how long finished results may wait for others: the engine
	// sees progress at least as often.
	flushAfter = 5 * time.Millisecond
	// gcPercent lets a busy worker's heap grow to some 20 MiB before it is
	// collected: nearly all of it is garbage. More saves no time. A worker
	// without work for releaseAfter gives it back.
	gcPercent    = 400
	releaseAfter = 2 * time.Second
)

// WorkerMain is the main function of a worker process: what the command in
// [Options.Command] runs. It talks to the engine over file descriptor 3, and
// returns when the engine hangs up.
func WorkerMain() {
	runtime.GOMAXPROCS(1)
	debug.SetMaxStack(maxStack)
	debug.SetTraceback("none")
	debug.SetGCPercent(gcPercent)
	regexp2.DefaultMatchTimeout = regexpTimeout
	regexp2.SetTimeoutCheckPeriod(regexpTimeout / 10) // its clock goes by 100 ms otherwise
	time.Local = time.UTC
	if err := work(os.NewFile(socketFD, "engine")); err != nil {
		fmt.Fprintln(os.Stderr, "script worker:", err)
		os.Exit(1)
	}
}

// work serves one engine.
func work(conn io.ReadWriter) error {
	c, clock, err := take(conn)
	if c == nil || err != nil {
		return err
	}
	debug.FreeOSMemory() // what compiling left behind is most of the heap
	release := time.AfterFunc(time.Hour, debug.FreeOSMemory)
	defer release.Stop()

	in, out := frameReader{r: conn}, []byte(nil)
	for {
		kind, payload, err := in.next()
		if err == io.EOF { //nolint:errorlint // io.EOF is never wrapped here
			return nil
		}
		if err != nil || kind != frameCalls {
			return fmt.Errorf("frame: %c: %w", kind, err)
		}
		if out, err = answer(conn, c, clock, payload, out); err != nil {
			return err
		}
		release.Reset(releaseAfter)
	}
}

// take reads the first frame and makes a script of it, within the walls. It
// returns no script when there is nothing more to do. The engine sends nothing
// else before it has the answer.
func take(conn io.ReadWriter) (*compiled, *clock, error) {
	in := frameReader{r: conn}
	kind, payload, err := in.next()
	if err == io.EOF { //nolint:errorlint // io.EOF is never wrapped here
		return nil, nil, nil
	}
	if err != nil || kind != frameLoad {
		return nil, nil, fmt.Errorf("first frame: %c: %w", kind, err)
	}
	var load loadRequest
	if err := json.Unmarshal(payload, &load); err != nil {
		return nil, nil, err
	}
	debug.SetMemoryLimit(int64(load.Memory / 2))
	reply := loadReply{Confined: confine(load.Memory)}
	clock := newClock(load.Soft, load.Hard)
	c, err := compile(load.Source, load.Tests != nil)
	if err == nil {
		// From here on the script runs, and the engine takes the time.
		if _, err := conn.Write(endFrame(beginFrame(nil, frameRead))); err != nil {
			return nil, nil, err
		}
		clock.mark()
		reply.Hooks, err = c.probe(clock)
		if err == nil && load.Tests != nil {
			reply.Tests, err = runTests(&load, c, load.Source, clock)
		}
	}
	if err != nil {
		c, reply.Error = nil, clip(err.Error(), 4096)
	}
	data, err := json.Marshal(reply)
	if err != nil {
		return nil, nil, err
	}
	_, err = conn.Write(endFrame(append(beginFrame(nil, frameLoad), data...)))
	return c, clock, err
}

// answer makes the calls of a frame, one after the other, and sends their
// results: together while they are quick, singly when they are slow.
func answer(conn io.Writer, c *compiled, clock *clock, payload, out []byte) ([]byte, error) {
	u := unpacker{s: string(payload)}
	clock.mark()
	flushed := time.Now()
	out = beginFrame(out, frameResult)
	for u.s != "" {
		call := u.call()
		if u.err != nil {
			return out, u.err
		}
		if len(out) > headerSize && (time.Since(flushed) > flushAfter || len(out) > MaxOutput) {
			if _, err := conn.Write(endFrame(out)); err != nil {
				return out, err
			}
			out = beginFrame(out, frameResult)
			clock.mark()
			flushed = time.Now()
		}
		var res result
		c.do(&call, clock, &res)
		res.message = oneLine(res.message)
		out = appendResult(out, &res)
	}
	if len(out) > headerSize {
		if _, err := conn.Write(endFrame(out)); err != nil {
			return out, err
		}
	}
	return out, nil
}

// oneLine makes a message fit for a trace.
func oneLine(s string) string {
	if s == "" {
		return ""
	}
	return clip(string(bytes.Join(bytes.Fields([]byte(s)), []byte(" "))), 300)
}
