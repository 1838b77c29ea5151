package customhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"

	"github.com/wabridge/wabridge/core"
)

// place is where a template's output goes. It decides how values are escaped:
// what a person writes on WhatsApp can change values, never their shape.
type place int

const (
	inBody place = iota // JSON
	inPath
	inText // a header or a query's value
)

// idOnly is the template that is asked for most.
const idOnly = "{{.id}}"

// tmpl is a compiled template.
type tmpl struct {
	where string // the setting
	at    place
	text  string // as written; the output when there are no actions in it
	t     *template.Template
}

// fixed reports whether the output is always the same.
func (t *tmpl) fixed() bool { return t.t == nil }

// execute writes the output for data to b, which must not grow beyond limit.
// An *item is decoded only now. The error is CodeInvalid and names the setting.
func (t *tmpl) execute(b *bytes.Buffer, data any, limit int) *core.Error {
	if t.fixed() {
		b.WriteString(t.text)
		return nil
	}
	if it, ok := data.(*item); ok {
		data = it.fields()
	}
	err := t.t.Execute(&boundedWriter{b, limit}, data)
	if err == nil {
		return nil
	}
	return &core.Error{
		Code: core.CodeInvalid, Op: "request", Source: core.SourcePlugin,
		Message: t.where + ": " + explain(err),
		Hint:    "look at " + t.where + " in the lane's settings; what may be absent takes default",
	}
}

// render returns the output as a text of at most limit bytes.
func (t *tmpl) render(data any, limit int) (string, *core.Error) {
	if t.fixed() {
		return t.text, nil
	}
	if it, ok := data.(*item); ok && t.text == idOnly && t.at == inText {
		return it.id, nil // known without a look at the event
	}
	var b bytes.Buffer
	err := t.execute(&b, data, limit)
	return b.String(), err
}

type boundedWriter struct {
	b     *bytes.Buffer
	limit int
}

var errTooLarge = errors.New("the output is too large")

func (w *boundedWriter) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > w.limit {
		return 0, errTooLarge
	}
	return w.b.Write(p)
}

var (
	execError   = regexp.MustCompile(`(?s)at <(.*?)>: (.*)$`)
	callError   = regexp.MustCompile(`^error calling \w+: `)
	noEntry     = regexp.MustCompile(`^(map has no entry for key|nil data; no entry for key|nil pointer evaluating) `)
	parsePrefix = regexp.MustCompile(`^template: [^:]*:(\d+)(:\d+)?: `)
)

// explain says in few words why a template failed.
func explain(err error) string {
	if errors.Is(err, errTooLarge) {
		return errTooLarge.Error()
	}
	m := execError.FindStringSubmatch(err.Error())
	if m == nil {
		return clip(parsePrefix.ReplaceAllString(err.Error(), "line $1: "), 200)
	}
	at, why := m[1]+": ", callError.ReplaceAllString(m[2], "")
	switch {
	case strings.HasPrefix(at, "_"):
		at = "" // ours, and says itself what it was given
	case noEntry.MatchString(why):
		why = "the event has no such field"
	}
	return clip(at+why, 200)
}

// compileTemplate compiles a template over data that is shaped like words.
func compileTemplate(text string, at place, where string, words *word, p *problems) *tmpl {
	t, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	switch {
	case err != nil:
		p.addf(where, "%s", clip(parsePrefix.ReplaceAllString(err.Error(), "line $1: "), 200))
		return &tmpl{where: where}
	case len(t.Templates()) > 1:
		p.addf(where, "define and block are not supported")
	}
	c := &compiler{at: at, where: where, words: words, problems: p}
	if t.Tree != nil {
		if c.list(t.Root, false, true) {
			p.addf(where, "a text in the JSON has no closing quote")
		}
	}
	compiled := &tmpl{where: where, at: at, text: text}
	if c.actions {
		compiled.t = t
	} else if t.Tree != nil && t.Root != nil {
		compiled.text = t.Root.String() // without comments
	}
	return compiled
}

// compiler walks a template: it checks fields against the vocabulary, makes
// fields optional where absence is asked for, and escapes what is printed.
type compiler struct {
	at       place
	where    string
	words    *word
	problems *problems
	actions  bool
}

// list walks nodes. Quoted says whether the output so far ends inside a JSON
// string; it returns the same for the end. Top says that the dot is the data.
func (c *compiler) list(l *parse.ListNode, quoted, top bool) bool {
	if l == nil {
		return quoted
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			quoted = c.literal(n.Text, quoted)
		case *parse.ActionNode:
			c.actions = true
			c.pipe(n.Pipe, top, false)
			if len(n.Pipe.Decl) == 0 {
				c.escape(n.Pipe, quoted)
			}
		case *parse.IfNode:
			quoted = c.branch(&n.BranchNode, quoted, top, top)
		case *parse.WithNode:
			quoted = c.branch(&n.BranchNode, quoted, false, top)
		case *parse.RangeNode:
			if c.branch(&n.BranchNode, quoted, false, top) != quoted {
				c.problems.addf(c.where, "a quote is opened or closed within {{range}} only")
			}
		default:
			c.problems.addf(c.where, "%s is not supported", clip(n.String(), 40))
		}
	}
	return quoted
}

// branch walks an if, with or range. All ways through must end alike.
func (c *compiler) branch(n *parse.BranchNode, quoted, topList, topElse bool) bool {
	c.actions = true
	c.pipe(n.Pipe, topElse, true)
	one := c.list(n.List, quoted, topList)
	other := c.list(n.ElseList, quoted, topElse)
	if one != other {
		c.problems.addf(c.where, "a quote is opened or closed within {{%s}} only", clip(n.Pipe.String(), 40))
	}
	return one
}

// pipe checks the fields of a pipeline. Optional ones may be absent.
func (c *compiler) pipe(pipe *parse.PipeNode, top, optional bool) {
	for i, cmd := range pipe.Cmds {
		absent := optional || isCall(cmd, "default") || i+1 < len(pipe.Cmds) && isCall(pipe.Cmds[i+1], "default")
		for j, arg := range cmd.Args {
			switch arg := arg.(type) {
			case *parse.FieldNode:
				c.check(arg.Ident, top)
				if absent {
					cmd.Args[j] = maybeOf(&parse.DotNode{NodeType: parse.NodeDot, Pos: arg.Pos}, arg.Ident, arg.Pos)
				}
			case *parse.VariableNode:
				c.check(arg.Ident[1:], arg.Ident[0] == "$")
				if absent && len(arg.Ident) > 1 {
					v := &parse.VariableNode{NodeType: parse.NodeVariable, Pos: arg.Pos, Ident: arg.Ident[:1]}
					cmd.Args[j] = maybeOf(v, arg.Ident[1:], arg.Pos)
				}
			case *parse.PipeNode:
				c.pipe(arg, top, absent)
			case *parse.ChainNode:
				if inner, ok := arg.Node.(*parse.PipeNode); ok {
					c.pipe(inner, top, absent)
				}
			}
		}
	}
}

// check reports a field that no event has. Below with and range the dot is
// something else, and errors show when the template runs.
func (c *compiler) check(names []string, top bool) {
	if !top || len(names) == 0 {
		return
	}
	if wrong := c.words.check(names); wrong != "" {
		c.problems.addf(c.where, "%s", wrong)
	}
}

// escape ends a pipeline that prints by what its place needs.
func (c *compiler) escape(pipe *parse.PipeNode, quoted bool) {
	last := pipe.Cmds[len(pipe.Cmds)-1]
	var with string
	switch {
	case c.at == inPath:
		with = "_segment"
	case c.at == inText:
		with = "_text"
	case quoted:
		with = "_string"
		if isCall(last, "json") {
			c.problems.addf(c.where, "{{%s}} is between quotes already: leave out json, or the quotes", clip(pipe.String(), 60))
		}
	case !isCall(last, "json"):
		with = "json"
	}
	if c.at != inBody && (isCall(last, "urlquery") || isCall(last, "html")) {
		c.problems.addf(c.where, "{{%s}} would be escaped twice: leave out urlquery", clip(pipe.String(), 60))
	}
	switch with {
	case "":
	case "json":
		pipe.Cmds = append(pipe.Cmds, call(with, pipe.Pos))
	default:
		what := &parse.StringNode{NodeType: parse.NodeString, Pos: pipe.Pos, Text: clip(pipe.String(), 60)}
		pipe.Cmds = append(pipe.Cmds, call(with, pipe.Pos, what))
	}
}

func isCall(cmd *parse.CommandNode, name string) bool {
	id, ok := cmd.Args[0].(*parse.IdentifierNode)
	return ok && id.Ident == name
}

func call(name string, pos parse.Pos, args ...parse.Node) *parse.CommandNode {
	id := parse.NewIdentifier(name).SetPos(pos)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: append([]parse.Node{id}, args...)}
}

// maybeOf returns (_maybe v "a" "b"), which is nil where v.a.b is an error.
func maybeOf(v parse.Node, names []string, pos parse.Pos) parse.Node {
	args := []parse.Node{v}
	for _, name := range slices.Clone(names) {
		args = append(args, &parse.StringNode{NodeType: parse.NodeString, Pos: pos, Quoted: fmt.Sprintf("%q", name), Text: name})
	}
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{call("_maybe", pos, args...)}}
}

// pathText is what may stand in a path as it is.
var pathText = regexp.MustCompile(`^(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$`)

// literal follows the template's own text. In a body it returns whether it ends
// inside a JSON string, given whether it begins in one.
func (c *compiler) literal(text []byte, quoted bool) bool {
	if c.at == inPath && !pathText.Match(text) {
		c.problems.addf(c.where, "%q is not a path: percent-encode what is special, and put a query under query", clip(string(text), 60))
	}
	if c.at != inBody {
		return false
	}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '\\' && quoted:
			if i++; i == len(text) {
				c.problems.addf(c.where, "a backslash cannot come just before {{")
			}
		}
	}
	return quoted
}

// validJSON reports a body that is no JSON as the template's error.
func (t *tmpl) validJSON(b []byte) *core.Error {
	if json.Valid(b) {
		return nil
	}
	var v any
	why := json.Unmarshal(b, &v)
	return &core.Error{
		Code: core.CodeInvalid, Op: "request", Source: core.SourcePlugin,
		Message: fmt.Sprintf("%s: the output is not JSON: %v", t.where, why),
		Hint:    "look at " + t.where + " in the lane's settings",
	}
}

// clip cuts a text to n bytes, on one line.
func clip(s string, n int) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
