package plugin

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
)

// crash gathers what a Go program prints when it dies: where, but not the text
// of a panic nor the arguments of calls, which can hold secrets.
type crash struct {
	lines []string
	seen  int  // lines, kept or not
	sure  bool // it lists goroutines
}

const (
	maxCrashLines = 40
	maxCrashSeen  = 500 // without goroutines it was no crash, but someone who prints "panic: "
)

var (
	crashCall = regexp.MustCompile(`^(created by )?([\w./*()\[\]{}·@~%-]*\w)(?:\(.*\))?( in goroutine \d+)?$`)
	crashFile = regexp.MustCompile(`^\t(\S+\.(?:go|s):\d+)(?: \+0x[0-9a-f]+)?$`)
)

func (c *crash) on() bool { return c.seen > 0 }

// take reports whether the line belongs to a crash, and keeps what may be told
// of it.
func (c *crash) take(line []byte) bool {
	if c.seen == 0 && !startsCrash(line) {
		return false
	}
	c.seen++
	c.sure = c.sure || bytes.HasPrefix(line, []byte("goroutine "))
	if c.seen > maxCrashSeen && !c.sure {
		*c = crash{}
		return false
	}
	if len(c.lines) < maxCrashLines {
		if told := tell(string(line)); told != "" {
			c.lines = append(c.lines, told)
		}
	}
	return true
}

func startsCrash(line []byte) bool {
	if len(line) == 0 || !strings.ContainsRune("pfrS", rune(line[0])) { // most lines
		return false
	}
	return bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")) ||
		bytes.HasPrefix(line, []byte("runtime: goroutine stack exceeds")) ||
		bytes.HasPrefix(line, []byte("SIG")) && bytes.Contains(line, []byte(": "))
}

// tell returns what may be told of a line of a crash, or "".
func tell(line string) string {
	switch {
	case strings.HasPrefix(line, "panic: runtime error: "), strings.HasPrefix(line, "fatal error: "),
		strings.HasPrefix(line, "runtime: "), strings.HasPrefix(line, "[signal "), strings.HasPrefix(line, "goroutine "):
		return clean(line, 200)
	case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "\tpanic: "):
		return "panic (its text is not shown)"
	}
	if m := crashFile.FindStringSubmatch(line); m != nil {
		dir, file := filepath.Split(m[1])
		return "\t" + filepath.Join(filepath.Base(dir), file)
	}
	if m := crashCall.FindStringSubmatch(line); m != nil && strings.Contains(m[2], ".") {
		return clean(m[1]+m[2]+m[3], 200)
	}
	return ""
}

func (c *crash) report() string { return strings.Join(c.lines, "\n") }

// summary is the crash in one line: what, and in which of the plugin's lines.
func (c *crash) summary() string {
	if !c.on() || len(c.lines) == 0 {
		return ""
	}
	for i, line := range c.lines[:len(c.lines)-1] {
		where := c.lines[i+1]
		if strings.HasPrefix(where, "\t") && !strings.HasPrefix(line, "runtime.") && !strings.HasPrefix(line, "panic") {
			return c.lines[0] + " at " + strings.TrimSpace(where) + " (" + line + ")"
		}
	}
	return c.lines[0]
}
