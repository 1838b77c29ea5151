package phrase

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxPhrase  = 2000 // bytes
	maxProgram = 600  // steps
	minPrefix  = 2    // letters
	maxGap     = 8    // half words
)

type op uint8

const (
	opWord  op = iota // one of the words ids
	opList            // a phrase of list n
	opGap             // other words
	opSplit           // go on at a, or else at b
	opJump            // go on at a
	opStart           // of the message
	opEnd             // of the message
	opFound
)

type step struct {
	op   op
	a, b int32
	ids  []int32
}

// program is a phrase that is ready to be looked for.
type program struct {
	steps  []step
	except bool
	row    int
	// words and lists of which the message must have one, each
	need []step
}

// compile reads a phrase.
func (w *Words) compile(phrase string) (*program, error) {
	s := strings.TrimSpace(phrase)
	if len(s) > maxPhrase {
		return nil, fmt.Errorf("%.40q…: a phrase has at most %d bytes", s, maxPhrase)
	}
	p := &parser{w: w, rest: strings.ReplaceAll(s, "...", "…")}
	p.rest, p.prog.except = strings.CutPrefix(p.rest, "-")
	err := p.sequence(0)
	if err == nil && p.rest != "" {
		err = fmt.Errorf("%q has no beginning", p.rest[:1])
	}
	if err == nil {
		p.emit(step{op: opFound})
		switch {
		case len(p.prog.steps) > maxProgram:
			err = errors.New("is too long")
		case p.prog.steps[0].op == opGap:
			err = errors.New("cannot begin with …")
		case p.empty():
			err = errors.New("has no words")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("phrase %q: %w", phrase, err)
	}
	p.needs()
	return &p.prog, nil
}

type parser struct {
	w    *Words
	rest string
	prog program
}

func (p *parser) emit(s step) int {
	p.prog.steps = append(p.prog.steps, s)
	return len(p.prog.steps) - 1
}

func (p *parser) here() int32 { return int32(len(p.prog.steps)) }

const special = "{}()[]|…^$#"

// sequence reads up to the end, or to what closes a group.
func (p *parser) sequence(depth int) error {
	if depth > 5 {
		return errors.New("is nested too deeply")
	}
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		if p.rest == "" || strings.ContainsAny(p.rest[:1], "|)]") {
			return nil
		}
		if err := p.item(depth); err != nil {
			return err
		}
	}
}

func (p *parser) item(depth int) error {
	switch {
	case p.take("…"):
		p.emit(step{op: opGap})
	case p.take("^"):
		p.emit(step{op: opStart})
	case p.take("$"):
		p.emit(step{op: opEnd})
	case p.take("#"):
		p.emit(step{op: opWord, ids: []int32{idNumber}})
	case p.take("{"):
		name, rest, ok := strings.Cut(p.rest, "}")
		if !ok {
			return errors.New("{ without }")
		}
		n, ok := p.w.named[name]
		if !ok || p.w.lists[n].filling {
			return fmt.Errorf("there is no list {%s}", name)
		}
		p.rest = rest
		at := -1
		if strings.HasPrefix(rest, "?") {
			at = p.emit(step{op: opSplit})
			p.prog.steps[at].a = p.here()
		}
		p.emit(step{op: opList, a: int32(n)})
		if at >= 0 {
			p.rest = rest[1:]
			p.prog.steps[at].b = p.here()
		}
	case p.take("["):
		return p.group(depth, "]", true)
	case p.take("("):
		return p.group(depth, ")", false)
	default:
		return p.words()
	}
	return nil
}

// group reads what stands between brackets: [may be missing], and so may (this)?.
func (p *parser) group(depth int, closing string, missing bool) error {
	at := p.emit(step{op: opSplit})
	p.prog.steps[at].a = p.here()
	if err := p.choice(depth, closing); err != nil {
		return err
	}
	if p.take("?") || missing {
		p.prog.steps[at].b = p.here()
	} else {
		p.prog.steps[at] = step{op: opJump, a: p.prog.steps[at].a}
	}
	return nil
}

func (p *parser) choice(depth int, closing string) error {
	var ends []int
	for {
		at := p.emit(step{op: opSplit})
		p.prog.steps[at].a = p.here()
		if err := p.sequence(depth + 1); err != nil {
			return err
		}
		if p.take("|") {
			ends = append(ends, p.emit(step{op: opJump}))
			p.prog.steps[at].b = p.here()
			continue
		}
		if !p.take(closing) {
			return fmt.Errorf("a group without %s", closing)
		}
		p.prog.steps[at] = step{op: opJump, a: p.prog.steps[at].a} // the last has no other
		for _, e := range ends {
			p.prog.steps[e].a = p.here()
		}
		return nil
	}
}

// words reads plain text, and prefixes.
func (p *parser) words() error {
	end := strings.IndexAny(p.rest, special)
	if end < 0 {
		end = len(p.rest)
	}
	text := p.rest[:end]
	p.rest = p.rest[end:]
	if text == "" {
		return fmt.Errorf("%q is not understood", p.rest)
	}
	for i, part := range strings.SplitAfter(text, "*") {
		stem, prefix := strings.CutSuffix(part, "*")
		list := tokens(stem)
		if prefix && (len(list) == 0 || strings.HasSuffix(stem, " ") || len(list[len(list)-1].word) < minPrefix) {
			return errors.New("* follows the beginning of a word, of two letters at least")
		}
		if !prefix && i > 0 && part != "" && part[0] != ' ' {
			return errors.New("* is only at the end of a word")
		}
		for j, t := range list {
			word := t.word
			if prefix && j == len(list)-1 {
				word += "*"
			}
			p.emit(step{op: opWord, ids: []int32{p.w.id(word)}})
		}
	}
	return nil
}

func (p *parser) take(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
	}
	return ok
}

// empty reports whether a phrase may be found without any word.
func (p *parser) empty() bool {
	ways := []int32{0}
	seen := make([]bool, len(p.prog.steps))
	for len(ways) > 0 {
		pc := ways[len(ways)-1]
		ways = ways[:len(ways)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch s := p.prog.steps[pc]; s.op {
		case opWord, opList:
		case opFound:
			return true
		case opSplit:
			ways = append(ways, s.a, s.b)
		case opJump:
			ways = append(ways, s.a)
		default:
			ways = append(ways, pc+1)
		}
	}
	return false
}

// needs notes the words that no way around leads past.
func (p *parser) needs() {
	for pc := int32(0); ; pc++ {
		switch s := p.prog.steps[pc]; s.op {
		case opWord, opList:
			p.prog.need = append(p.prog.need, s)
		case opSplit:
			pc = p.join(pc) - 1
		case opJump:
			pc = s.a - 1
		case opFound:
			return
		default:
		}
	}
}

// join is where the ways of a split come together again.
func (p *parser) join(pc int32) int32 {
	s := p.prog.steps[pc]
	if j := p.prog.steps[s.b-1]; s.b-1 > pc && j.op == opJump && j.a >= s.b {
		return j.a // a choice: its first way ends with a jump behind it
	}
	return s.b
}

// firsts collects the words that a phrase may begin with. It reports whether
// it may begin with anything.
func (w *Words) firsts(p *program, ids map[int32]bool) (loose bool) {
	ways := []int32{0}
	seen := make([]bool, len(p.steps))
	for len(ways) > 0 {
		pc := ways[len(ways)-1]
		ways = ways[:len(ways)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch s := p.steps[pc]; s.op {
		case opWord:
			for _, id := range s.ids {
				ids[id] = true
			}
		case opList:
			l := w.lists[s.a]
			for id := range l.first {
				ids[id] = true
			}
			loose = loose || len(l.loose) > 0
		case opSplit:
			ways = append(ways, s.a, s.b)
		case opJump:
			ways = append(ways, s.a)
		case opStart:
			ways = append(ways, pc+1)
		default:
			loose = true
		}
	}
	return loose
}
