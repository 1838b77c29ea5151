package script

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/unistring"
)

// Coverage says which lines of a file ran. A line counts where a statement
// begins, and has run when all that begin there have.
type Coverage struct {
	File string `json:"file"`
	// Lines is how many there are, Missed those that did not run.
	Lines  int   `json:"lines"`
	Missed []int `json:"missed,omitempty"`
}

// coverName is the function that is called before each statement. Nobody has a
// variable of that name.
const coverName = "__wabridge_cover"

// cover counts which statements of a script ran, in tests.
type cover struct {
	where []string // of each statement: "script.ts:12"
	ran   []bool
	last  int // line of the program that is the author's
}

// hit notes that a statement runs.
func (v *cover) hit(n int64) {
	if n >= 0 && n < int64(len(v.ran)) {
		v.ran[n] = true
	}
}

// instrument puts a call before each statement of the author's.
func (v *cover) instrument(c *compiled, tree *ast.Program) {
	v.walk(c, tree.File, reflect.ValueOf(tree))
}

var (
	typeStatement  = reflect.TypeFor[ast.Statement]()
	typeStatements = reflect.TypeFor[[]ast.Statement]()
	typeFile       = reflect.TypeFor[*file.File]()
)

func (v *cover) walk(c *compiled, f *file.File, node reflect.Value) {
	switch node.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !node.IsNil() && node.Type() != typeFile {
			v.walk(c, f, node.Elem())
		}
	case reflect.Slice:
		for i := range node.Len() {
			v.walk(c, f, node.Index(i))
		}
	case reflect.Struct:
		labelled := node.Type() == reflect.TypeFor[ast.LabelledStatement]()
		for i := range node.NumField() {
			field := node.Field(i)
			if node.Type().Field(i).Name == "DeclarationList" || !field.CanSet() {
				continue
			}
			v.walk(c, f, field)
			switch {
			case field.Type() == typeStatements:
				field.Set(reflect.ValueOf(v.list(c, f, field.Interface().([]ast.Statement))))
			case field.Type() == typeStatement && !field.IsNil() && !labelled:
				field.Set(reflect.ValueOf(v.single(c, f, field.Interface().(ast.Statement))))
			}
		}
	}
}

// list counts the statements of a block.
func (v *cover) list(c *compiled, f *file.File, in []ast.Statement) []ast.Statement {
	out := make([]ast.Statement, 0, 2*len(in))
	for _, s := range in {
		if count := v.count(c, f, s); count != nil {
			out = append(out, count)
		}
		out = append(out, s)
	}
	return out
}

// single counts what stands where a block could.
func (v *cover) single(c *compiled, f *file.File, s ast.Statement) ast.Statement {
	count := v.count(c, f, s)
	if count == nil {
		return s
	}
	return &ast.BlockStatement{LeftBrace: s.Idx0(), List: []ast.Statement{count, s}, RightBrace: s.Idx1()}
}

// count returns the statement that counts another; nil for what does not run by
// itself.
func (v *cover) count(c *compiled, f *file.File, s ast.Statement) ast.Statement {
	switch s.(type) {
	case *ast.FunctionDeclaration, *ast.EmptyStatement, *ast.BlockStatement, *ast.BadStatement:
		return nil
	}
	at := s.Idx0()
	if i, ok := s.(*ast.IfStatement); ok {
		at = i.Test.Idx0() // the parser does not say where the if is
	}
	pos := f.Position(int(at) - f.Base())
	where := c.line(pos)
	if where == "" || pos.Line > v.last {
		return nil // ours
	}
	n := len(v.where)
	v.where, v.ran = append(v.where, where), append(v.ran, false)
	return &ast.ExpressionStatement{Expression: &ast.CallExpression{
		Callee:          &ast.Identifier{Name: unistring.String(coverName), Idx: at},
		LeftParenthesis: at, RightParenthesis: at,
		ArgumentList: []ast.Expression{&ast.NumberLiteral{Idx: at, Literal: strconv.Itoa(n), Value: int64(n)}},
	}}
}

// report says what ran, file by file.
func (v *cover) report() []Coverage {
	files := map[string]map[int]bool{}
	for i, where := range v.where {
		at := strings.LastIndexByte(where, ':')
		line, err := strconv.Atoi(where[at+1:])
		if err != nil {
			continue
		}
		lines := files[where[:at]]
		if lines == nil {
			lines = map[int]bool{}
			files[where[:at]] = lines
		}
		all, seen := lines[line]
		lines[line] = v.ran[i] && (all || !seen)
	}
	var out []Coverage
	for _, name := range slices.Sorted(maps.Keys(files)) {
		cov := Coverage{File: name, Lines: len(files[name])}
		for _, line := range slices.Sorted(maps.Keys(files[name])) {
			if !files[name][line] {
				cov.Missed = append(cov.Missed, line)
			}
		}
		out = append(out, cov)
	}
	return out
}
