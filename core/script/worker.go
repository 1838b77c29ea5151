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
	// gcPercent lets a busy worker's heap grow to some 32 MiB before it is
	// collected: nearly all of it is garbage. A worker without work for
	// releaseAfter gives it back.
	gcPercent    = 800
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
	time.Local = time.UTC
	if err := work(os.NewFile(socketFD, "engine")); err != nil {
		fmt.Fprintln(os.Stderr, "script worker:", err)
		os.Exit(1)
	}
}

// work serves one engine.
func work(conn io.ReadWriter) error {
	in, out := frameReader{r: conn}, []byte(nil)
	kind, payload, err := in.next()
	if err == io.EOF { //nolint:errorlint // io.EOF is never wrapped here
		return nil
	}
	var load loadRequest
	if err != nil || kind != frameLoad {
		return fmt.Errorf("first frame: %c: %w", kind, err)
	}
	if err := json.Unmarshal(payload, &load); err != nil {
		return err
	}
	debug.SetMemoryLimit(int64(load.Memory / 2))
	reply := loadReply{Confined: confine(load.Memory)}
	clock := newClock(load.Soft, load.Hard)
	c, err := compile(Source{Name: load.Name, Code: load.Code})
	if err == nil {
		// From here on the script runs, and the engine takes the time.
		out = beginFrame(out, frameRead)
		if _, err := conn.Write(endFrame(out)); err != nil {
			return err
		}
		clock.mark()
		reply.Hooks, err = c.probe(clock)
	}
	if err != nil {
		reply.Error = clip(err.Error(), 4096)
	}
	data, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	out = append(beginFrame(out, frameLoad), data...)
	if _, err := conn.Write(endFrame(out)); err != nil || reply.Error != "" {
		return err
	}
	// What compiling left behind is most of the heap.
	load.Code, payload, data, in.buf, in.n, in.cut = nil, nil, nil, nil, 0, 0
	debug.FreeOSMemory()
	release := time.AfterFunc(time.Hour, debug.FreeOSMemory)
	defer release.Stop()

	for {
		kind, payload, err = in.next()
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
