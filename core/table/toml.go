package table

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// rowHeader begins a row in a TOML file.
var rowHeader = regexp.MustCompile(`^\s*\[\[\s*row\s*\]\]`)

// toml reads a file of rows, each [[row]] with the columns as keys.
func (p *parser) toml(data []byte) {
	var file map[string]any
	if err := toml.Unmarshal(data, &file); err != nil {
		if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := wrong.Position()
			p.problems = append(p.problems, fmt.Sprintf("%s:%d: %s", p.table.Name, line, strings.TrimPrefix(wrong.Error(), "toml: ")))
			return
		}
		p.problem(0, "", "%s", strings.TrimPrefix(err.Error(), "toml: "))
		return
	}
	for _, key := range sortedKeys(file) {
		if key != "row" {
			p.problem(0, "", "there is no %q: each row begins with [[row]]", clip(key))
		}
	}
	rows, ok := file["row"].([]any)
	if !ok && file["row"] != nil {
		p.problem(0, "", "each row begins with [[row]], in two brackets")
		return
	}
	lines := rowLines(data)
	for i, r := range rows {
		values, ok := r.(map[string]any)
		if !ok {
			p.problem(i+1, "", "is no table of columns")
			continue
		}
		where := p.table.Name
		if len(lines) == len(rows) {
			where = fmt.Sprintf("%s:%d", p.table.Name, lines[i])
		}
		p.row(i+1, where, p.cells(i+1, values))
		if p.full {
			return
		}
	}
}

// rowLines are the lines on which rows begin.
func rowLines(data []byte) (lines []int) {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if rowHeader.MatchString(line) {
			lines = append(lines, n)
		}
	}
	return lines
}

// cells reads the keys of a row.
func (p *parser) cells(n int, values map[string]any) map[string]cell {
	cells := make(map[string]cell, len(values))
	for _, key := range sortedKeys(values) {
		if fields, ok := values[key].(map[string]any); ok && key == "field" {
			for _, name := range sortedKeys(fields) {
				p.cell(n, fieldPrefix+name, fields[name], cells)
			}
			continue
		}
		column, ok := columnName(key)
		if !ok {
			p.problem(n, "", "there is no column %q%s", clip(key), suggest(key))
			continue
		}
		p.cell(n, column, values[key], cells)
	}
	return cells
}

func (p *parser) cell(n int, column string, v any, cells map[string]cell) {
	switch v := v.(type) {
	case string:
		cells[column] = cell{text: v}
	case bool:
		cells[column] = cell{text: strconv.FormatBool(v)}
	case int64:
		cells[column] = cell{text: strconv.FormatInt(v, 10)}
	case float64:
		cells[column] = cell{text: strconv.FormatFloat(v, 'g', -1, 64)}
	case []any:
		c := cell{plain: true}
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				p.problem(n, column, "is a list of texts")
				return
			}
			c.list = append(c.list, s)
		}
		if column != "keywords" && column != "tag" && column != "language" && column != "hours" {
			p.problem(n, column, "is one text, and no list")
			return
		}
		cells[column] = c
	default:
		p.problem(n, column, "is a text")
	}
}
