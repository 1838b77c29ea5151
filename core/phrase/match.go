package phrase

import (
	"fmt"
	"slices"
	"strings"
)

// maxSteps bounds the work for one message and one set.
const maxSteps = 200_000

// Text is a message that has been read. It is for one goroutine.
type Text struct {
	w      *Words
	tokens []token
	lower  string
	has    []uint64 // which words of the dictionary there are
	// ends remembers where the phrases of a list end that begin at a token.
	ends []reach
	// masked are the tokens that an exception of the set in question covers.
	masked []bool
	marks  bool
	steps  int
	from   int // the first token that is no sign
	to     int // behind the last one
}

// reach is up to four ends of the phrases of a list.
type reach struct {
	known bool
	n     uint8
	ends  [4]uint16
}

// Read makes a message ready to be searched.
func (w *Words) Read(message string) *Text {
	t := &Text{w: w, tokens: tokens(message), lower: strings.ToLower(clip(message))}
	t.has = make([]uint64, w.words/64+1)
	buf := make([]int32, 0, 3*len(t.tokens)+8)
	for i := range t.tokens {
		buf = w.resolve(&t.tokens[i], buf)
		for _, id := range t.tokens[i].ids {
			t.has[id/64] |= 1 << (id % 64)
		}
	}
	t.masked = make([]bool, len(t.tokens))
	t.to = len(t.tokens)
	for t.from < t.to && t.tokens[t.from].kind >= kindSign {
		t.from++
	}
	for t.to > t.from && t.tokens[t.to-1].kind >= kindSign {
		t.to--
	}
	return t
}

// Set is phrases of rows: which row does a message belong to?
type Set struct {
	w      *Words
	rows   list
	except list
}

// NewSet returns an empty set of this dictionary.
func (w *Words) NewSet() *Set {
	return &Set{w: w, rows: list{first: map[int32][]int32{}}, except: list{first: map[int32][]int32{}}}
}

// Add adds a phrase of a row. One that begins with - is an exception, for all
// rows.
func (s *Set) Add(row int, phrase string) error {
	p, err := s.w.compile(phrase)
	if err != nil {
		return err
	}
	p.row = row
	l := &s.rows
	if p.except {
		l = &s.except
	}
	s.w.add(l, p)
	if len(l.loose) > 0 {
		return fmt.Errorf("phrase %q: begins with what may be missing", phrase)
	}
	return nil
}

// Size is how many phrases the set has.
func (s *Set) Size() int { return len(s.rows.phrases) + len(s.except.phrases) }

// Find returns the lowest row that one of its phrases is found of, or -1.
func (s *Set) Find(t *Text) int {
	best := -1
	s.Each(t, func(row int) bool {
		if best < 0 || row < best {
			best = row
		}
		return best != 0
	})
	return best
}

// Each calls f with the row of each phrase that is found, in no order, and
// stops when it returns false.
func (s *Set) Each(t *Text, f func(row int) bool) {
	t.steps = maxSteps
	clear(t.masked)
	some := false
	t.search(&s.rows, func(*program) bool { some = true; return false })
	if !some {
		return // and exceptions would only take away: most messages end here
	}
	t.marks = true
	t.search(&s.except, func(*program) bool { return true })
	t.marks = false
	t.search(&s.rows, func(p *program) bool { return f(p.row) })
}

func (t *Text) search(l *list, found func(*program) bool) {
	if len(l.phrases) == 0 {
		return
	}
	for pos := range t.tokens {
		for _, id := range t.tokens[pos].ids {
			for _, n := range l.first[id] {
				p := l.phrases[n]
				if !t.possible(p) || t.run(p, 0, pos) < 0 {
					continue
				}
				if !found(p) {
					return
				}
			}
		}
	}
}

// possible reports whether the message has the words that a phrase needs.
func (t *Text) possible(p *program) bool {
	for i := range p.need {
		s := &p.need[i]
		if s.op == opList {
			if !t.hasList(int(s.a)) {
				return false
			}
			continue
		}
		if id := s.ids[0]; t.has[id/64]&(1<<(id%64)) == 0 {
			return false
		}
	}
	return true
}

func (t *Text) hasList(n int) bool {
	for pos := range t.tokens {
		if t.list(n, pos).n > 0 {
			return true
		}
	}
	return false
}

// list returns where phrases of a list end that begin at a token.
func (t *Text) list(n, pos int) *reach {
	if t.ends == nil {
		t.ends = make([]reach, len(t.w.lists)*len(t.tokens))
	}
	r := &t.ends[n*len(t.tokens)+pos]
	if r.known {
		return r
	}
	r.known = true
	l := t.w.lists[n]
	marks, masked := t.marks, t.masked
	t.marks, t.masked = false, nil
	for _, id := range t.tokens[pos].ids {
		for _, m := range l.first[id] {
			p := l.phrases[m]
			if !t.possible(p) {
				continue
			}
			if end := t.run(p, 0, pos); end >= 0 {
				r.add(end)
			}
		}
	}
	t.marks, t.masked = marks, masked
	return r
}

func (r *reach) add(end int) {
	for i := range r.n {
		if int(r.ends[i]) == end {
			return
		}
	}
	if int(r.n) < len(r.ends) {
		r.ends[r.n] = uint16(end)
		r.n++
	}
}

// run looks for the rest of a phrase at a token and returns where it ends, or
// -1.
func (t *Text) run(p *program, pc int32, pos int) int {
	for {
		if t.steps--; t.steps < 0 {
			return -1
		}
		s := &p.steps[pc]
		switch s.op {
		case opFound:
			return pos
		case opJump:
			pc = s.a
		case opSplit:
			if end := t.run(p, s.a, pos); end >= 0 {
				return end
			}
			pc = s.b
		case opStart:
			if pos > t.from {
				return -1
			}
			pc++
		case opEnd:
			if pos < t.to {
				return -1
			}
			pc++
		case opWord:
			if pos >= len(t.tokens) || t.covered(pos, pos+1) || !t.tokens[pos].is(s.ids) {
				return -1
			}
			end := t.run(p, pc+1, pos+1)
			if end >= 0 && t.marks {
				t.masked[pos] = true
			}
			return end
		case opList:
			if pos >= len(t.tokens) {
				return -1
			}
			r := *t.list(int(s.a), pos)
			for i := range r.n {
				next := int(r.ends[i])
				if t.covered(pos, next) {
					continue
				}
				end := t.run(p, pc+1, next)
				if end < 0 {
					continue
				}
				if t.marks {
					for ; pos < next; pos++ {
						t.masked[pos] = true
					}
				}
				return end
			}
			return -1
		case opGap:
			return t.gap(p, pc+1, pos)
		}
	}
}

// gap looks for the rest of a phrase here and behind each of the next few
// words.
func (t *Text) gap(p *program, pc int32, pos int) int {
	for left := maxGap; ; pos++ {
		if end := t.run(p, pc, pos); end >= 0 {
			return end
		}
		if pos >= len(t.tokens) {
			return -1
		}
		switch t.tokens[pos].kind {
		case kindStop:
			return -1
		case kindComma:
			if t.marks { // a negation ends with its clause
				return -1
			}
			left -= 2
		case kindHan:
			left--
		default:
			left -= 2
		}
		if left < 0 {
			return -1
		}
	}
}

// covered reports whether an exception covers one of the tokens.
func (t *Text) covered(from, to int) bool {
	if t.marks || t.masked == nil {
		return false
	}
	for ; from < to; from++ {
		if t.masked[from] {
			return true
		}
	}
	return false
}

func (t *token) is(ids []int32) bool {
	for _, id := range t.ids {
		if slices.Contains(ids, id) {
			return true
		}
	}
	return false
}
