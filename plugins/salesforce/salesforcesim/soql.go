package salesforcesim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// soql is a query that was parsed: SELECT fields FROM object USING SCOPE … WHERE …
// ORDER BY … LIMIT n OFFSET n, or COUNT() for fields. There is no more of SOQL than this.
type soql struct {
	count  bool
	fields []string
	object string
	mine   bool // the scope is what the user owns
	where  *condition
	order  []ordering
	limit  int
	offset int
}

// ordering is what records are sorted by.
type ordering struct {
	field           string
	down, nullsLast bool
}

// condition is a comparison, or several under AND or OR.
type condition struct {
	op     string // "and", "or", "not", "=", "!=", "like", "in", "<", ">", "<=", ">="
	parts  []*condition
	field  string
	values []any // texts, numbers, booleans, nil; times and dates are bare
}

// bare is a literal that is neither quoted nor a number: a time or a date.
type bare string

type token struct {
	kind rune // 'n' name, 's' literal text, '#' number or time, or the punctuation itself
	text string
}

// scan cuts a query into tokens.
func scan(q string) ([]token, error) {
	var all []token
	rest := []rune(q)
	for i := 0; i < len(rest); {
		c := rest[i]
		switch {
		case unicode.IsSpace(c):
			i++
		case c == '\'':
			var text strings.Builder
			i++
			for {
				if i >= len(rest) {
					return nil, fmt.Errorf("unterminated string literal")
				}
				if rest[i] == '\'' {
					i++
					break
				}
				if rest[i] == '\\' {
					i++
					if i >= len(rest) {
						return nil, fmt.Errorf("unterminated string literal")
					}
					switch e := rest[i]; e {
					case 'n', 'N':
						text.WriteRune('\n')
					case 'r', 'R':
						text.WriteRune('\r')
					case 't', 'T':
						text.WriteRune('\t')
					case 'b', 'B':
						text.WriteRune('\b')
					case 'f', 'F':
						text.WriteRune('\f')
					case '\'', '"', '\\':
						text.WriteRune(e)
					case '%', '_':
						text.WriteString(`\` + string(e)) // told apart by LIKE
					default:
						return nil, fmt.Errorf("invalid string literal: illegal character sequence '\\%c'", e)
					}
					i++
					continue
				}
				if rest[i] == '\n' || rest[i] == '\r' {
					return nil, fmt.Errorf("line breaks not allowed in string literals")
				}
				text.WriteRune(rest[i])
				i++
			}
			all = append(all, token{'s', text.String()})
		case unicode.IsLetter(c) || c == '_':
			from := i
			for i < len(rest) && (unicode.IsLetter(rest[i]) || unicode.IsDigit(rest[i]) || strings.ContainsRune("_.", rest[i])) {
				i++
			}
			all = append(all, token{'n', string(rest[from:i])})
		case unicode.IsDigit(c):
			from := i
			for i < len(rest) && (unicode.IsDigit(rest[i]) || unicode.IsLetter(rest[i]) || strings.ContainsRune("-:.+", rest[i])) {
				i++
			}
			all = append(all, token{'#', string(rest[from:i])})
		case strings.ContainsRune("<>!", c) && i+1 < len(rest) && rest[i+1] == '=':
			all = append(all, token{'o', string(c) + "="})
			i += 2
		case strings.ContainsRune("=<>", c):
			all = append(all, token{'o', string(c)})
			i++
		case strings.ContainsRune("(),", c):
			all = append(all, token{c, string(c)})
			i++
		default:
			return nil, fmt.Errorf("unexpected token: '%c'", c)
		}
	}
	return all, nil
}

// parser reads tokens from the left.
type parser struct {
	tokens []token
	depth  int
}

func parseSOQL(q string) (*soql, error) {
	tokens, err := scan(q)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	s := &soql{limit: math.MaxInt}
	if !p.word("select") {
		return nil, p.unexpected()
	}
	if len(p.tokens) > 1 && p.tokens[1].kind == '(' && p.word("count") {
		s.count = true
		if !p.punctuation('(') || !p.punctuation(')') {
			return nil, p.unexpected()
		}
	} else if s.fields, err = p.names(); err != nil {
		return nil, err
	}
	if !p.word("from") {
		return nil, p.unexpected()
	}
	if s.object, err = p.name(); err != nil {
		return nil, err
	}
	if p.word("using") {
		if s.mine, err = p.scope(); err != nil {
			return nil, err
		}
	}
	if p.word("where") {
		if s.where, err = p.condition(); err != nil {
			return nil, err
		}
	}
	if p.word("order") {
		if !p.word("by") {
			return nil, p.unexpected()
		}
		if s.order, err = p.orderings(); err != nil {
			return nil, err
		}
	}
	if p.word("limit") {
		if s.limit, err = p.number(); err != nil {
			return nil, err
		}
	}
	if p.word("offset") {
		if s.offset, err = p.number(); err != nil {
			return nil, err
		}
		if s.offset > maxOffset {
			return nil, fmt.Errorf("maximum SOQL offset allowed is %d", maxOffset)
		}
	}
	if len(p.tokens) > 0 {
		return nil, p.unexpected()
	}
	return s, nil
}

// scope reads what follows USING; mine when only the user's own records are meant.
func (p *parser) scope() (mine bool, _ error) {
	switch {
	case !p.word("scope"):
		return false, p.unexpected()
	case p.word("mine"):
		return true, nil
	case p.word("everything"):
		return false, nil
	}
	return false, p.unexpected()
}

// maxOffset is how many records a query may pass over.
const maxOffset = 2000

func (p *parser) number() (int, error) {
	if len(p.tokens) == 0 || p.tokens[0].kind != '#' {
		return 0, p.unexpected()
	}
	n, err := strconv.Atoi(p.tokens[0].text)
	if err != nil {
		return 0, p.unexpected()
	}
	p.tokens = p.tokens[1:]
	return n, nil
}

func (p *parser) orderings() ([]ordering, error) {
	var all []ordering
	for {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		o := ordering{field: name}
		if !p.word("asc") {
			o.down = p.word("desc")
		}
		if p.word("nulls") {
			if o.nullsLast = p.word("last"); !o.nullsLast && !p.word("first") {
				return nil, p.unexpected()
			}
		}
		all = append(all, o)
		if !p.punctuation(',') {
			return all, nil
		}
	}
}

func (p *parser) unexpected() error {
	if len(p.tokens) == 0 {
		return fmt.Errorf("unexpected token: '<EOF>'")
	}
	return fmt.Errorf("unexpected token: '%s'", p.tokens[0].text)
}

func (p *parser) word(w string) bool {
	if len(p.tokens) > 0 && p.tokens[0].kind == 'n' && strings.EqualFold(p.tokens[0].text, w) {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *parser) punctuation(c rune) bool {
	if len(p.tokens) > 0 && p.tokens[0].kind == c {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *parser) name() (string, error) {
	if len(p.tokens) == 0 || p.tokens[0].kind != 'n' {
		return "", p.unexpected()
	}
	name := p.tokens[0].text
	p.tokens = p.tokens[1:]
	return name, nil
}

func (p *parser) names() ([]string, error) {
	var all []string
	for {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		all = append(all, name)
		if !p.punctuation(',') {
			return all, nil
		}
	}
}

// condition reads parts joined by AND or by OR: SOQL takes no mixture without
// parentheses.
func (p *parser) condition() (*condition, error) {
	if p.depth++; p.depth > 50 {
		return nil, fmt.Errorf("too deep")
	}
	defer func() { p.depth-- }()
	first, err := p.comparison()
	if err != nil {
		return nil, err
	}
	all := &condition{parts: []*condition{first}}
	for {
		op := ""
		switch {
		case p.word("and"):
			op = "and"
		case p.word("or"):
			op = "or"
		}
		if op == "" {
			break
		}
		if all.op != "" && all.op != op {
			return nil, fmt.Errorf("unexpected token: '%s'", op)
		}
		all.op = op
		next, err := p.comparison()
		if err != nil {
			return nil, err
		}
		all.parts = append(all.parts, next)
	}
	if all.op == "" {
		return first, nil
	}
	return all, nil
}

func (p *parser) comparison() (*condition, error) {
	if p.word("not") {
		c, err := p.comparison()
		return &condition{op: "not", parts: []*condition{c}}, err
	}
	if p.punctuation('(') {
		c, err := p.condition()
		if err == nil && !p.punctuation(')') {
			err = p.unexpected()
		}
		return c, err
	}
	field, err := p.name()
	if err != nil {
		return nil, err
	}
	c := &condition{field: field}
	not := p.word("not")
	switch {
	case !not && p.word("like"):
		c.op = "like"
	case p.word("in"):
		c.op = "in"
		if !p.punctuation('(') {
			return nil, p.unexpected()
		}
		for {
			v, err := p.literal()
			if err != nil {
				return nil, err
			}
			c.values = append(c.values, v)
			if !p.punctuation(',') {
				break
			}
		}
		if !p.punctuation(')') {
			return nil, p.unexpected()
		}
		if not {
			c = &condition{op: "not", parts: []*condition{c}}
		}
		return c, nil
	case !not && len(p.tokens) > 0 && p.tokens[0].kind == 'o':
		c.op = p.tokens[0].text
		p.tokens = p.tokens[1:]
	default:
		return nil, p.unexpected()
	}
	v, err := p.literal()
	c.values = []any{v}
	return c, err
}

func (p *parser) literal() (any, error) {
	switch {
	case p.word("null"):
		return nil, nil
	case p.word("true"):
		return true, nil
	case p.word("false"):
		return false, nil
	}
	if len(p.tokens) == 0 || p.tokens[0].kind != 's' && p.tokens[0].kind != '#' {
		return nil, p.unexpected()
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	if t.kind == '#' {
		if n, err := strconv.ParseFloat(t.text, 64); err == nil {
			return n, nil
		}
		return bare(t.text), nil
	}
	return t.text, nil
}
