package consent

import (
	"hash/fnv"
	"math/bits"
	"strings"
	"time"
	"unicode"
)

// Exchange is what loop detection keeps of a message that came after an automatic
// reply.
type Exchange struct {
	At    time.Time     `json:"at"`
	After time.Duration `json:"after"` // since the reply
	Print uint64        `json:"print"` // of the text, see [Fingerprint]
	// Short says that the text has a word or two: a person answering a menu is
	// quick, and says "yes" again and again.
	Short bool `json:"short,omitempty"`
}

// NewExchange is of a text that came after an automatic reply.
func NewExchange(text string, at time.Time, after time.Duration) Exchange {
	return Exchange{At: at, After: after, Print: Fingerprint(text), Short: len(grams(text)) < 3}
}

// Limits of loop detection. A person repeats themselves, or is quick; a machine
// does so without end.
const (
	loopMemory  = 8               // exchanges that are looked at
	loopWithin  = time.Hour       // older ones do not count
	loopQuick   = 8 * time.Second // an answer typed within this is quick
	loopRepeats = 4               // of the latest six that say the same
	loopLatest  = 6
	loopNear    = 10 // bits in which the prints of one text may differ
)

// Remember adds an exchange to those of a conversation, the oldest first.
func Remember(seen []Exchange, e Exchange) []Exchange {
	seen = append(seen, e)
	for len(seen) > loopMemory || len(seen) > 0 && e.At.Sub(seen[0].At) > loopWithin {
		seen = seen[1:]
	}
	return seen
}

// Loop says in words why a conversation looks like two machines that answer each
// other, or "". Of a machine that words each message differently the pace tells,
// of a slow one the repetition.
func Loop(seen []Exchange) string {
	quick := 0
	for _, e := range seen {
		if e.After <= loopQuick && !e.Short {
			quick++
		}
	}
	if quick >= loopMemory {
		return "the last 8 messages each came within 8 seconds of an automatic reply: a machine answers"
	}
	if len(seen) > 0 {
		last, same, most := seen[len(seen)-1], 0, loopRepeats
		if last.Short {
			most = loopLatest
		}
		for _, e := range seen[max(0, len(seen)-loopLatest):] {
			if e.Print == last.Print || !last.Short && bits.OnesCount64(e.Print^last.Print) <= loopNear {
				same++
			}
		}
		if same >= most {
			return "the same message came again and again after automatic replies: a machine answers"
		}
	}
	return ""
}

// Fingerprint is a number that is alike for texts that are alike: order numbers
// and counters ("you are number 7 in the queue") do not count, and a word or two
// change a few bits only.
func Fingerprint(text string) uint64 {
	grams := grams(text)
	if len(grams) == 0 {
		grams = []string{Fold(text)} // digits only: an answer to a menu
	}
	var sums [64]int
	for i, g := range grams {
		if i == 64 {
			break
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(g))
		x := mix(h.Sum64())
		for b := range sums {
			if x>>b&1 == 1 {
				sums[b]++
			} else {
				sums[b]--
			}
		}
	}
	var out uint64
	for b, n := range sums {
		if n > 0 {
			out |= 1 << b
		}
	}
	return out
}

// grams are a text's words; of Chinese, which has no spaces, pairs of characters.
func grams(text string) []string {
	words := strings.FieldsFunc(Fold(text), func(r rune) bool { return !unicode.IsLetter(r) })
	out := make([]string, 0, len(words))
	for _, w := range words {
		r := []rune(w)
		if r[0] < 0x2E80 || len(r) < 3 {
			out = append(out, w)
			continue
		}
		for i := 0; i+2 <= len(r); i++ {
			out = append(out, string(r[i:i+2]))
		}
	}
	return out
}

// mix spreads a hash over all bits: that of a short word leaves some alike.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
