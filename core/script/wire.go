package script

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Frames between the engine and a worker: a length of four bytes, big endian,
// a kind of one byte, then the payload. Loading is JSON; calls and results are
// flat, so that nothing is encoded twice on the way of every event.
const (
	frameLoad   = 'L' // engine: loadRequest, worker: loadReply
	frameCalls  = 'C' // engine: calls
	frameResult = 'R' // worker: results of the calls in hand, in order

	maxFrame      = 4 << 20 // bytes; also what the reader of a frame allocates at most
	maxFrameCalls = 64      // calls in one frame
	frameFill     = 1 << 20 // bytes after which no further call goes into a frame
	headerSize    = 5
)

// loadRequest is the first frame of every worker.
type loadRequest struct {
	Name   string        `json:"name"`
	Code   []byte        `json:"code"`
	Soft   time.Duration `json:"soft"`
	Hard   time.Duration `json:"hard"`
	Memory uint64        `json:"memory"`
}

// loadReply answers it.
type loadReply struct {
	Hooks []string `json:"hooks,omitempty"`
	// Error is empty when the script can be used.
	Error string `json:"error,omitempty"`
	// Confined says which walls stand around the worker.
	Confined confinement `json:"confined"`
}

// confinement says how a worker is contained, for people: "on" or why not.
type confinement struct {
	Memory   string `json:"memory"`
	Landlock string `json:"landlock"`
	Seccomp  string `json:"seccomp"`
}

// whole reports whether all the walls stand.
func (c confinement) whole() bool { return c == confinement{"on", "on", "on"} }

// result is what a worker says about one call.
type result struct {
	actions []byte // JSON array; nil when there are none
	fields  []field
	log     []string
	failure failure
	line    string
	message string
	ran     time.Duration
	// stopped says that the call was ended from outside; not sent.
	stopped bool
}

// failure says how a call failed.
type failure byte

const (
	failureNone   failure = iota
	failureScript         // the script's own mistake
	failureWorker         // ours
)

// field is one property that mapToCRM returned. Its value is a string, float64,
// bool or nil.
type field struct {
	name  string
	value any
}

// Tags of a field's value.
const (
	valueNull = iota
	valueFalse
	valueTrue
	valueNumber
	valueString
)

// beginFrame starts a frame in buf, which is reused.
func beginFrame(buf []byte, kind byte) []byte {
	return append(buf[:0], 0, 0, 0, 0, kind)
}

// endFrame fills in the length.
func endFrame(buf []byte) []byte {
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
	return buf
}

var errFrame = errors.New("malformed frame")

// readFrame reads one frame into buf, growing it, and returns the kind and the
// payload, which is valid until the next call with the same buf.
func readFrame(r io.Reader, buf *[]byte) (kind byte, payload []byte, err error) {
	var head [headerSize]byte
	if got, err := io.ReadFull(r, head[:]); err != nil {
		if got > 0 {
			return 0, nil, fmt.Errorf("%w: cut off", errFrame)
		}
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < 1 || n > maxFrame {
		return 0, nil, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	n--
	if cap(*buf) < n {
		*buf = make([]byte, n+n/4)
	}
	payload = (*buf)[:n]
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("%w: cut off", errFrame)
	}
	return head[4], payload, nil
}

func appendBytes[T ~string | ~[]byte](buf []byte, s T) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

// Bits of a call's hooks.
const (
	runOnMessage = 1 << iota
	runMapToCRM
)

func appendCall(buf []byte, c *Call) []byte {
	var hooks byte
	if c.OnMessage {
		hooks |= runOnMessage
	}
	if c.MapToCRM {
		hooks |= runMapToCRM
	}
	buf = append(buf, hooks)
	buf = binary.BigEndian.AppendUint64(buf, uint64(c.Now.UnixNano()))
	buf = binary.BigEndian.AppendUint64(buf, uint64(c.Seed))
	buf = appendBytes(buf, c.Event)
	return appendBytes(buf, c.Context)
}

func appendResult(buf []byte, r *result) []byte {
	buf = append(buf, byte(r.failure))
	buf = binary.AppendUvarint(buf, uint64(max(r.ran, 0)))
	buf = appendBytes(buf, r.message)
	buf = appendBytes(buf, r.line)
	buf = appendBytes(buf, r.actions)
	if r.fields == nil {
		buf = binary.AppendUvarint(buf, 0)
	} else {
		buf = binary.AppendUvarint(buf, uint64(len(r.fields))+1)
	}
	for _, f := range r.fields {
		buf = appendBytes(buf, f.name)
		switch v := f.value.(type) {
		case string:
			buf = appendBytes(append(buf, valueString), v)
		case float64:
			buf = binary.BigEndian.AppendUint64(append(buf, valueNumber), math.Float64bits(v))
		case bool:
			if v {
				buf = append(buf, valueTrue)
			} else {
				buf = append(buf, valueFalse)
			}
		default:
			buf = append(buf, valueNull)
		}
	}
	buf = binary.AppendUvarint(buf, uint64(len(r.log)))
	for _, l := range r.log {
		buf = appendBytes(buf, l)
	}
	return buf
}

// unpacker takes a payload apart. After the first mistake it returns zero values
// and keeps the error.
type unpacker struct {
	b   []byte
	err error
}

func (p *unpacker) fail() {
	p.b, p.err = nil, errFrame
}

func (p *unpacker) byte() byte {
	if len(p.b) < 1 {
		p.fail()
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *unpacker) uint64() uint64 {
	if len(p.b) < 8 {
		p.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(p.b)
	p.b = p.b[8:]
	return v
}

func (p *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.fail()
		return 0
	}
	p.b = p.b[n:]
	return v
}

// count reads a number of things, of which each takes at least one byte.
func (p *unpacker) count() int {
	n := p.uvarint()
	if n > uint64(len(p.b)) {
		p.fail()
		return 0
	}
	return int(n)
}

// bytes returns a part of the payload itself.
func (p *unpacker) bytes() []byte {
	n := p.count()
	b := p.b[:n]
	p.b = p.b[n:]
	return b
}

func (p *unpacker) string() string { return string(p.bytes()) }

// call reads a call. Its Event and Context are parts of the payload.
func (p *unpacker) call() (c Call) {
	hooks := p.byte()
	c.OnMessage, c.MapToCRM = hooks&runOnMessage != 0, hooks&runMapToCRM != 0
	c.Now = time.Unix(0, int64(p.uint64())).UTC()
	c.Seed = int64(p.uint64())
	c.Event, c.Context = p.bytes(), p.bytes()
	return c
}

// result reads a result. Nothing of it refers to the payload, except actions.
func (p *unpacker) result() (r result) {
	if r.failure = failure(p.byte()); r.failure > failureWorker {
		p.fail()
	}
	r.ran = time.Duration(min(p.uvarint(), uint64(time.Hour)))
	r.message, r.line, r.actions = p.string(), p.string(), p.bytes()
	if n := p.count(); n > 0 {
		if n-1 > MaxFields {
			p.fail()
			return r
		}
		r.fields = make([]field, n-1)
		for i := range r.fields {
			r.fields[i] = p.field()
		}
	}
	if n := p.count(); n > MaxLog+1 {
		p.fail()
	} else if n > 0 {
		r.log = make([]string, n)
		for i := range r.log {
			r.log[i] = p.string()
		}
	}
	return r
}

func (p *unpacker) field() (f field) {
	f.name = p.string()
	switch p.byte() {
	case valueNull:
	case valueFalse:
		f.value = false
	case valueTrue:
		f.value = true
	case valueNumber:
		v := math.Float64frombits(p.uint64())
		if math.IsNaN(v) || math.IsInf(v, 0) {
			p.fail()
		}
		f.value = v
	case valueString:
		f.value = p.string()
	default:
		p.fail()
	}
	return f
}
