package script

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// sourceMap leads from a bundled script back to the author's files.
type sourceMap struct {
	sources []string
	lines   [][]segment // by line of the bundle
}

// segment is where a line of the bundle, from a column on, comes from.
type segment struct{ column, source, line int32 }

// parseSourceMap reads a source map of version 3 as the bundler writes it.
func parseSourceMap(data []byte) (*sourceMap, error) {
	var w struct {
		Sources  []string `json:"sources"`
		Mappings string   `json:"mappings"`
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("source map: %w", err)
	}
	m := &sourceMap{}
	for _, s := range w.Sources {
		m.sources = append(m.sources, authors(s))
	}
	var at segment
	for line := range strings.SplitSeq(w.Mappings, ";") {
		var segments []segment
		at.column = 0
		for part := range strings.SplitSeq(line, ",") {
			var deltas [5]int32
			n, ok := vlq(part, deltas[:])
			if !ok {
				return nil, fmt.Errorf("source map: malformed")
			}
			if n == 0 {
				continue
			}
			at.column += deltas[0]
			if n >= 4 {
				at.source += deltas[1]
				at.line += deltas[2]
				segments = append(segments, at)
			}
		}
		m.lines = append(m.lines, segments)
	}
	return m, nil
}

// find returns the file and the line, from 1, that a place in the bundle comes
// from; its line counts from 1, its column from 0.
func (m *sourceMap) find(line, column int) (source string, at int, ok bool) {
	if line < 1 || line > len(m.lines) {
		return "", 0, false
	}
	segments := m.lines[line-1]
	i := sort.Search(len(segments), func(i int) bool { return int(segments[i].column) > column })
	if i == 0 {
		return "", 0, false
	}
	s := segments[i-1]
	if int(s.source) >= len(m.sources) || s.source < 0 {
		return "", 0, false
	}
	return m.sources[s.source], int(s.line) + 1, true
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// vlq decodes the numbers of a segment and returns how many there were.
func vlq(s string, out []int32) (n int, ok bool) {
	for s != "" {
		value, shift := 0, 0
		for more := true; more; shift += 5 {
			if s == "" || shift > 30 || n == len(out) {
				return 0, false
			}
			digit := strings.IndexByte(base64Digits, s[0])
			if digit < 0 {
				return 0, false
			}
			s, more = s[1:], digit&32 != 0
			value |= (digit & 31) << shift
		}
		if out[n] = int32(value >> 1); value&1 != 0 {
			out[n] = -out[n]
		}
		n++
	}
	return n, true
}
