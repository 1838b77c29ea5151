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
	frameRead   = 'P' // worker: the script is compiled, now its top level runs
	frameCalls  = 'C' // engine: calls
	frameResult = 'R' // worker: results of the calls in hand, in order

	maxFrame      = 4 << 20 // bytes; also what the reader of a frame allocates at most
	maxFrameCalls = 64      // calls in one frame
	frameFill     = 1 << 20 // bytes after which no further call goes into a frame
	headerSize    = 5
)

// loadRequest is the first frame of every worker.
type loadRequest struct {
	Source Source        `json:"source"`
	Soft   time.Duration `json:"soft"`
	Hard   time.Duration `json:"hard"`
	Memory uint64        `json:"memory"`
	// Tests, unless nil, are to be run; then the worker takes no calls.
	Tests *testRequest `json:"tests,omitempty"`
}

// loadReply answers it.
type loadReply struct {
	Hooks Hooks       `json:"hooks,omitempty"`
	Tests *TestReport `json:"tests,omitempty"`
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
	answer  string  // JSON of what the hook returned; empty when that is nothing
	fields  []field // mapToCRM's
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

// frameReader reads frames. It asks for more than a frame's beginning at once,
// so that most frames take one system call.
type frameReader struct {
	r   io.Reader
	buf []byte
	n   int // bytes in buf, from the start of the next frame
	cut int // bytes of the frame before, to be dropped
}

// next returns the kind and the payload of the next frame; the payload is valid
// until the call after. At a clean end of the stream the error is io.EOF. After
// any error but a deadline's before the first byte the reader is of no more use.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	f.n = copy(f.buf, f.buf[f.cut:f.n])
	f.cut = 0
	want := headerSize
	for {
		if f.n >= headerSize {
			size := int(binary.BigEndian.Uint32(f.buf))
			if size < 1 || size > maxFrame {
				return 0, nil, fmt.Errorf("%w: %d bytes", errFrame, size)
			}
			if want = 4 + size; f.n >= want {
				f.cut = want
				return f.buf[4], f.buf[headerSize:want], nil
			}
		}
		if len(f.buf) < want {
			f.buf = append(f.buf[:f.n], make([]byte, max(want, minRead)-f.n)...)
			f.buf = f.buf[:cap(f.buf)]
		}
		n, err := f.r.Read(f.buf[f.n:])
		f.n += n
		if err != nil && n == 0 {
			if f.n > 0 {
				return 0, nil, fmt.Errorf("%w: cut off", errFrame)
			}
			return 0, nil, err
		}
	}
}

const minRead = 16 << 10

func appendBytes[T ~string | ~[]byte](buf []byte, s T) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

func appendCall(buf []byte, c *Call) []byte {
	buf = binary.BigEndian.AppendUint16(buf, uint16(c.Hooks))
	buf = binary.BigEndian.AppendUint64(buf, uint64(c.Now.UnixNano()))
	buf = binary.BigEndian.AppendUint64(buf, uint64(c.Seed))
	buf = appendBytes(buf, c.Event)
	return appendBytes(buf, c.Context)
}

// appendResult appends a result with its length before it, so that the reader
// can copy it once and keep parts of the copy.
func appendResult(buf []byte, r *result) []byte {
	at := len(buf)
	buf = append(buf, 0, 0, 0, 0, byte(r.failure))
	buf = binary.AppendUvarint(buf, uint64(max(r.ran, 0)))
	buf = appendBytes(buf, r.message)
	buf = appendBytes(buf, r.line)
	buf = appendBytes(buf, r.answer)
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
	binary.BigEndian.PutUint32(buf[at:], uint32(len(buf)-at-4))
	return buf
}

// cutResult takes the next result off a payload. The result is a copy.
func cutResult(payload []byte) (r result, rest []byte, err error) {
	if len(payload) < 4 {
		return r, nil, errFrame
	}
	n := binary.BigEndian.Uint32(payload)
	payload = payload[4:]
	if uint64(n) > uint64(len(payload)) {
		return r, nil, errFrame
	}
	u := unpacker{s: string(payload[:n])}
	r = u.result()
	if u.err == nil && u.s != "" {
		u.fail()
	}
	return r, payload[n:], u.err
}

// unpacker takes a payload apart; what it returns are parts of it. After the
// first mistake it returns zero values and keeps the error.
type unpacker struct {
	s   string
	err error
}

func (u *unpacker) fail() {
	u.s, u.err = "", errFrame
}

func (u *unpacker) byte() byte {
	if u.s == "" {
		u.fail()
		return 0
	}
	c := u.s[0]
	u.s = u.s[1:]
	return c
}

func (u *unpacker) uint64() (v uint64) {
	if len(u.s) < 8 {
		u.fail()
		return 0
	}
	for i := range 8 {
		v = v<<8 | uint64(u.s[i])
	}
	u.s = u.s[8:]
	return v
}

func (u *unpacker) uvarint() (v uint64) {
	for shift := 0; shift < 64; shift += 7 {
		c := u.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	u.fail()
	return 0
}

// count reads a number of things, of which each takes at least one byte.
func (u *unpacker) count() int {
	n := u.uvarint()
	if n > uint64(len(u.s)) {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *unpacker) string() string {
	n := u.count()
	part := u.s[:n]
	u.s = u.s[n:]
	return part
}

// call is a Call as a worker reads it.
type call struct {
	event, context string
	hooks          Hooks
	now            time.Time
	seed           int64
}

func (u *unpacker) call() (c call) {
	c.hooks = Hooks(u.byte())<<8 | Hooks(u.byte())
	c.now = time.Unix(0, int64(u.uint64())).UTC()
	c.seed = int64(u.uint64())
	c.event, c.context = u.string(), u.string()
	return c
}

func (u *unpacker) result() (r result) {
	if r.failure = failure(u.byte()); r.failure > failureWorker {
		u.fail()
	}
	r.ran = time.Duration(min(u.uvarint(), uint64(time.Hour)))
	r.message, r.line, r.answer = u.string(), u.string(), u.string()
	if n := u.count(); n > 0 {
		if n-1 > MaxFields {
			u.fail()
			return r
		}
		r.fields = make([]field, n-1)
		for i := range r.fields {
			r.fields[i] = u.field()
		}
	}
	if n := u.count(); n > MaxLog+1 {
		u.fail()
	} else if n > 0 {
		r.log = make([]string, n)
		for i := range r.log {
			r.log[i] = u.string()
		}
	}
	return r
}

func (u *unpacker) field() (f field) {
	f.name = u.string()
	switch u.byte() {
	case valueNull:
	case valueFalse:
		f.value = false
	case valueTrue:
		f.value = true
	case valueNumber:
		v := math.Float64frombits(u.uint64())
		if math.IsNaN(v) || math.IsInf(v, 0) {
			u.fail()
		}
		f.value = v
	case valueString:
		f.value = u.string()
	default:
		u.fail()
	}
	return f
}
