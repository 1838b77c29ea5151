package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Caps on what a plugin logs.
const (
	maxLine        = 4 << 10
	linesPerSecond = 100
)

// logs turns what a plugin's process prints into log records: at most
// linesPerSecond of at most maxLine bytes, without the account's secrets and
// without the text of panics. What is too much is read, so that the plugin does
// not block on it, and dropped.
type logs struct {
	log    *slog.Logger
	redact *redactor
	drop   func() // counts a dropped line

	mu      sync.Mutex
	tokens  float64
	refill  time.Time
	dropped int
	noted   time.Time // when dropped lines were last told of
	crash   crash
	last    string // what was logged last
	thrown  string // the last line with which JavaScript names an error
}

// Node, when it dies of an error, prints the error, then its stack and last its own
// version, which helps nobody.
var (
	thrownError = regexp.MustCompile(`^(?:Uncaught )?\w*Error\b[^:]*: `)
	nodeEnds    = regexp.MustCompile(`^Node\.js v\d`)
)

func newLogs(log *slog.Logger, redact *redactor, drop func()) *logs {
	return &logs{log: log, redact: redact, drop: drop, tokens: linesPerSecond, refill: time.Now()}
}

// read logs the process's standard error until it ends, and then what it left
// when it crashed.
func (l *logs) read(from io.Reader) {
	w := &lineWriter{line: l.errorLine}
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{from}, make([]byte, 32<<10))
	w.flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crash.on() {
		l.log.Error("plugin crashed", "stack", l.redact.words(l.crash.report()))
	}
	l.noteDropped(time.Now())
}

// lastWords is what the process said about its crash, in a line, and otherwise
// the last line it logged. It is complete when read has returned.
func (l *logs) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.crash.summary(); s != "" {
		return l.redact.words(s)
	}
	return l.last
}

// writer returns a Writer for another stream of the process.
func (l *logs) writer(stream string) io.Writer {
	return &lineWriter{line: func(line []byte, cut bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.allow() {
			l.emit(line, cut, slog.String("stream", stream))
		}
	}}
}

func (l *logs) errorLine(line []byte, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crash.take(line) || !l.allow() {
		return
	}
	l.emit(line, cut)
}

// allow takes a token. The lock is held.
func (l *logs) allow() bool {
	now := time.Now()
	l.tokens = min(linesPerSecond, l.tokens+now.Sub(l.refill).Seconds()*linesPerSecond)
	l.refill = now
	if l.tokens < 1 {
		l.dropped++
		l.drop()
		return false
	}
	l.tokens--
	if now.Sub(l.noted) >= time.Second {
		l.noteDropped(now)
	}
	return true
}

func (l *logs) noteDropped(now time.Time) {
	if l.dropped > 0 {
		l.log.Warn("plugin logs too much", "dropped_lines", l.dropped)
		l.dropped, l.noted = 0, now
	}
}

// emit logs one line: a JSON record of log/slog or hclog with its level and
// attributes, anything else as it is. The lock is held.
func (l *logs) emit(line []byte, cut bool, attrs ...slog.Attr) {
	level := slog.LevelInfo
	var text string
	var record map[string]any
	if len(line) > 0 && line[0] == '{' && json.Unmarshal(line, &record) == nil {
		pick := func(keys ...string) string {
			for _, k := range keys {
				if s, ok := record[k].(string); ok {
					delete(record, k)
					return s
				}
			}
			return ""
		}
		pick("time", "@timestamp")
		text = pick("msg", "@message")
		if err := level.UnmarshalText([]byte(pick("level", "@level"))); err != nil {
			level = slog.LevelInfo // "trace" and other people's words
		}
		var said []any
		for _, k := range slices.Sorted(maps.Keys(record)) {
			said = append(said, slog.Any(l.line(k), l.scrub(record[k])))
		}
		if len(said) > 0 {
			attrs = append(attrs, slog.Group("said", said...))
		}
	} else {
		text = string(line)
	}
	if cut {
		attrs = append(attrs, slog.Bool("cut", true))
	}
	if text = l.line(text); text == "" && len(attrs) == 0 {
		return
	}
	l.last = clean(text, 300)
	switch {
	case thrownError.MatchString(l.last):
		l.thrown = l.last
	case l.thrown != "" && nodeEnds.MatchString(l.last):
		l.last, l.thrown = l.thrown, ""
	}
	l.log.LogAttrs(context.Background(), level, text, attrs...) //nolint:sloglint // the words are the plugin's
}

func (l *logs) line(s string) string { return clean(l.redact.words(s), maxLine) }

// scrub returns a JSON value without secrets.
func (l *logs) scrub(v any) any {
	switch v := v.(type) {
	case string:
		return l.line(v)
	case map[string]any, []any:
		b, _ := json.Marshal(v) //nolint:errchkjson // it was JSON before
		return l.line(string(b))
	}
	return v
}

// lineWriter splits what is written into lines and keeps at most maxLine bytes
// of each.
type lineWriter struct {
	line func(line []byte, cut bool)
	buf  []byte
	cut  bool
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if len(w.buf) == 0 && i <= maxLine {
			w.line(bytes.TrimRight(p[:i], "\r"), false)
		} else {
			w.keep(p[:i])
			w.flush()
		}
		p = p[i+1:]
	}
	w.keep(p)
	return n, nil
}

func (w *lineWriter) keep(p []byte) {
	if room := maxLine - len(w.buf); len(p) > room {
		p, w.cut = p[:room], true
	}
	w.buf = append(w.buf, p...)
}

func (w *lineWriter) flush() {
	if len(w.buf) > 0 {
		w.line(bytes.TrimRight(w.buf, "\r"), w.cut)
	}
	w.buf, w.cut = w.buf[:0], false
}

// redactor takes secrets out of texts: those of the accounts it has seen, also
// after they were changed. Its methods may be called concurrently.
type redactor struct {
	mu       sync.Mutex
	known    map[core.Secret]bool
	replacer atomic.Pointer[strings.Replacer]
}

// maxKnown caps the secrets that are remembered.
const maxKnown = 64

func (r *redactor) learn(secrets map[string]core.Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := false
	for _, s := range secrets {
		news = news || len(s) >= 4 && !r.known[s] // shorter ones are words
	}
	if !news {
		return
	}
	if r.known == nil || len(r.known)+len(secrets) > maxKnown {
		r.known = make(map[core.Secret]bool)
	}
	for _, s := range secrets {
		if len(s) >= 4 {
			r.known[s] = true
		}
	}
	// The longest first: one may be part of another.
	texts := slices.SortedFunc(maps.Keys(r.known), func(a, b core.Secret) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range texts {
		pairs = append(pairs, s.Reveal(), "[secret]")
		if quoted, err := json.Marshal(s.Reveal()); err == nil && len(quoted) != len(s)+2 {
			pairs = append(pairs, string(quoted[1:len(quoted)-1]), "[secret]")
		}
	}
	r.replacer.Store(strings.NewReplacer(pairs...))
}

// fullNumber is a phone number as nearly everybody writes one into a log.
var fullNumber = regexp.MustCompile(`\+[0-9]{7,15}`)

// words is text, without phone numbers either: for what people read.
func (r *redactor) words(s string) string {
	return fullNumber.ReplaceAllStringFunc(r.text(s), core.MaskAddress)
}

func (r *redactor) text(s string) string {
	if rep := r.replacer.Load(); rep != nil && s != "" {
		return rep.Replace(s)
	}
	return s
}
