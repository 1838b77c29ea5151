package roster

import (
	"fmt"

	"github.com/wabridge/wabridge/core/contact"
)

// Twice finds the people who are in a list more than once. The zero value is
// ready.
type Twice struct {
	line map[contact.Key]int32
}

// Seen says of a person who was in the list before at which line, and in words
// why; of one whose numbers are of several earlier ones, that the row contradicts
// the list. The person is remembered.
func (t *Twice) Seen(p *Person) (line int, why string, conflict bool) {
	if t.line == nil {
		t.line = map[contact.Key]int32{}
	}
	keys := p.Keys()
	for _, k := range keys {
		at, ok := t.line[k]
		switch {
		case !ok:
		case line == 0:
			line, why = int(at), t.words(k, int(at))
		case line != int(at):
			return line, fmt.Sprintf("contradicts the list: %s, and %s", why, t.words(k, int(at))), true
		}
	}
	first := int32(p.Line)
	if line != 0 {
		first = int32(line)
	}
	for _, k := range keys {
		if t.line[k] == 0 {
			t.line[k] = first
		}
	}
	return line, why, false
}

func (*Twice) words(k contact.Key, line int) string {
	what := "the same user id"
	if k.IsPhone() {
		what = "the same phone number, however it is written"
	}
	return fmt.Sprintf("%s as in line %d", what, line)
}
