package roster

import (
	"encoding/csv"
	"io"
	"strings"
)

// formula are the signs with which a spreadsheet takes a cell for a formula.
const formula = "=+-@\t\r"

// guard keeps a spreadsheet from calculating what somebody wrote: a cell that
// begins like a formula gets a quote in front, which unguard takes off again.
func guard(cell string) string {
	if cell != "" && (strings.IndexByte(formula, cell[0]) >= 0 || cell[0] == '\'' && len(cell) > 1 && strings.IndexByte(formula+"'", cell[1]) >= 0) {
		return "'" + cell
	}
	return cell
}

func unguard(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.IndexByte(formula+"'", cell[1]) >= 0 {
		return cell[1:]
	}
	return cell
}

// Writer writes rows that no spreadsheet takes for formulas.
type Writer struct{ out *csv.Writer }

// NewWriter returns one, and begins with what tells spreadsheets that this is
// UTF-8.
func NewWriter(w io.Writer) (*Writer, error) {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return nil, err
	}
	return &Writer{csv.NewWriter(w)}, nil
}

// Write writes a row.
func (w *Writer) Write(cells []string) error {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = guard(c)
	}
	return w.out.Write(out)
}

// Flush writes what is left, and returns the first error.
func (w *Writer) Flush() error {
	w.out.Flush()
	return w.out.Error()
}
