package roster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/wabridge/wabridge/core"
)

// Bounds of what is read.
const (
	MaxRows   = 1_000_000
	maxRecord = 64 << 10 // bytes of a row
	maxCells  = 200
)

// Row is one row of a list, as it was read.
type Row struct {
	Line  int // at which it begins, 1 for the first
	Cells []string
	// Bad is why the row cannot be read; Cells has then what was there.
	Bad string
}

// Reader reads rows. Use [NewReader].
type Reader struct {
	in    *bufio.Reader
	comma byte
	line  int
	rows  int
	// Header is the first row that is not blank.
	Header Row
	Blank  int // rows without anything in them, so far
}

// NewReader reads the header, and finds out what separates the cells. The
// encoding is "" for UTF-8, or what the file's first bytes say (UTF-16), or
// "windows-1252".
func NewReader(r io.Reader, enc string) (*Reader, error) {
	var decoder *encoding.Decoder
	switch enc {
	case "", "utf-8", "utf-16":
		decoder = encoding.Nop.NewDecoder()
	case "windows-1252", "latin1":
		decoder = charmap.Windows1252.NewDecoder()
	default:
		return nil, core.Errorf(core.CodeInvalid, "encoding", "%.40q is unknown: want utf-8, utf-16 or windows-1252", enc)
	}
	out := &Reader{in: bufio.NewReaderSize(transform.NewReader(r, unicode.BOMOverride(decoder)), 4*maxRecord)}
	head, err := out.in.Peek(maxRecord)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nil, &core.Error{Code: core.CodeInvalid, Op: "read", Message: "this is no text: there are zero bytes in it",
			Hint: "save the sheet as CSV UTF-8"}
	}
	out.comma = commaOf(string(head))
	out.Header, err = out.Next()
	if errors.Is(err, io.EOF) {
		return nil, core.Errorf(core.CodeInvalid, "read", "there is nothing in it")
	}
	if err == nil && out.Header.Bad != "" {
		err = core.Errorf(core.CodeInvalid, "read", "line %d: the header %s", out.Header.Line, out.Header.Bad)
	}
	return out, err
}

// commaOf finds what separates the cells: what the first line has most of, outside
// of quotes.
func commaOf(head string) byte {
	n := map[byte]int{}
	quoted := false
	for _, c := range []byte(strings.TrimLeft(head, "\r\n")) {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n' || c == '\r':
			goto counted
		case strings.IndexByte(",;\t|", c) >= 0:
			n[c]++
		}
	}
counted:
	best := byte(',')
	for _, c := range []byte(";\t|") {
		if n[c] > n[best] {
			best = c
		}
	}
	return best
}

// Next returns the next row that is not blank; io.EOF at the end. A row that cannot
// be read is returned with the reason, and the next one after it.
func (r *Reader) Next() (Row, error) {
	for {
		buf, err := r.in.Peek(maxRecord)
		if len(buf) == 0 {
			if err == nil || errors.Is(err, bufio.ErrBufferFull) {
				err = io.ErrUnexpectedEOF
			}
			return Row{}, err
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return Row{}, err
		}
		row := Row{Line: r.line + 1}
		cells, n, bad := parse(buf, r.comma, errors.Is(err, io.EOF))
		row.Cells, row.Bad = cells, bad
		r.line += max(1, bytes.Count(buf[:n], []byte{'\n'}))
		if !utf8.Valid(buf[:n]) && bad == "" {
			row.Bad = "has characters that are not UTF-8: save the sheet as CSV UTF-8, or say --encoding windows-1252"
		}
		if _, err := r.in.Discard(n); err != nil {
			return Row{}, err
		}
		if row.Bad == "" && blank(cells) {
			r.Blank++
			continue
		}
		if r.rows++; r.rows > MaxRows+1 {
			return Row{}, core.Errorf(core.CodeInvalid, "read", "there are more than %d rows: split the file", MaxRows)
		}
		return row, nil
	}
}

func blank(cells []string) bool {
	for _, c := range cells {
		if strings.TrimSpace(c) != "" {
			return false
		}
	}
	return true
}

// parse takes one record off b, and returns how many bytes it has. A quoted cell
// may have line ends in it; one that is not closed is the trouble of its first line
// only.
func parse(b []byte, comma byte, end bool) (cells []string, n int, bad string) {
	var cell []byte
	quoted, was := false, false // in quotes; the cell was quoted
	add := func() {
		cells = append(cells, string(cell))
		cell, was = cell[:0], false
	}
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case quoted && c == '"' && i+1 < len(b) && b[i+1] == '"':
			cell = append(cell, c)
			i++
		case quoted && c == '"':
			quoted = false
		case quoted:
			cell = append(cell, c)
		case c == '"' && len(cell) == 0 && !was:
			quoted, was = true, true
		case c == comma:
			add()
		case c == '\n':
			add()
			return tooMany(cells, i+1)
		case c == '\r' && (i+1 == len(b) || b[i+1] == '\n'):
		case c == '\r': // as old Macs end a line
			add()
			return tooMany(cells, i+1)
		default:
			cell = append(cell, c)
		}
	}
	if !quoted && end {
		add()
		return tooMany(cells, len(b))
	}
	n = bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		n = len(b)
	}
	bad = fmt.Sprintf("has more than %d bytes", maxRecord)
	if quoted {
		bad = "opens a quote that is not closed"
	}
	return strings.Split(strings.TrimRight(string(b[:min(n, 4096)]), "\r\n"), string(comma)), n, bad
}

func tooMany(cells []string, n int) ([]string, int, string) {
	if len(cells) > maxCells {
		return cells[:maxCells], n, fmt.Sprintf("has more than %d cells", maxCells)
	}
	return cells, n, ""
}
