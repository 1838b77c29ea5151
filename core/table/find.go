package table

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	maxWords   = 8        // of a keyword
	maxMessage = 16 << 10 // bytes that are looked at of a message
)

// Text is a message made ready to be looked through, by any number of tables.
type Text struct {
	folded string
	units  []unit
}

// unit is a word, or a character that is looked for by itself.
type unit struct{ from, to int }

// Read makes a text ready: small letters without accents; one space between
// words and none around Chinese characters and signs, which are found anywhere.
func Read(s string) *Text {
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "")
	}
	b := make([]byte, 0, len(s)+8)
	var units []unit
	space, word := true, false
	put := func(r rune) {
		alone := isAlone(r)
		begins := alone || space || !word
		if space && word && !alone {
			b = append(b, ' ')
		}
		if begins {
			units = append(units, unit{from: len(b)})
		}
		space, word = false, !alone
		b = utf8.AppendRune(b, r)
		units[len(units)-1].to = len(b)
	}
	fold := func(r rune) {
		switch {
		case unicode.Is(unicode.Mn, r), r == 0x200d, r == 0xfe0f, r >= 0x1f3fb && r <= 0x1f3ff, r == '\'':
			// accents, joiners, skin tones; don't is dont
		case unicode.IsLetter(r), unicode.IsDigit(r), isAlone(r):
			put(unicode.ToLower(r))
		default:
			space = true
		}
	}
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if !ascii {
		s = norm.NFKD.String(s)
	}
	for _, r := range s {
		switch r {
		case '’', '‘', 'ʼ', '´', '`':
			r = '\''
		case 'œ', 'Œ':
			fold('o')
			r = 'e'
		case 'æ', 'Æ':
			fold('a')
			r = 'e'
		case 'ß':
			fold('s')
			r = 's'
		}
		fold(r)
	}
	return &Text{folded: string(b), units: units}
}

// isAlone reports whether a character is looked for without regard to words.
func isAlone(r rune) bool {
	if r < 0x2000 {
		return false
	}
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.So)
}

// keyword is a keyword of some rows.
type keyword struct {
	rows  []int // rows that want it in the message
	whole []int // rows that want it to be the message
}

// finder finds all keywords that are in a text.
type finder struct {
	words map[string]*keyword // by their folded form
	units int                 // of the longest
}

func (f *finder) add(t *Text, row int, whole bool) {
	if f.words == nil {
		f.words = map[string]*keyword{}
	}
	f.units = max(f.units, len(t.units))
	k := f.words[t.folded]
	if k == nil {
		k = &keyword{}
		f.words[t.folded] = k
	}
	if whole {
		k.whole = append(k.whole, row)
	} else {
		k.rows = append(k.rows, row)
	}
}

// each calls f once for each keyword that is in a text, and says whether it is
// all of it.
func (f *finder) each(t *Text, found func(k *keyword, whole bool)) {
	var seen map[*keyword]bool
	for i, first := range t.units {
		for _, last := range t.units[i:min(i+f.units, len(t.units))] {
			k := f.words[t.folded[first.from:last.to]]
			if k != nil && !seen[k] {
				if seen == nil {
					seen = map[*keyword]bool{}
				}
				seen[k] = true
				found(k, first.from == 0 && last.to == len(t.folded))
			}
		}
	}
}
