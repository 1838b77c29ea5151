package phrase

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// MaxTokens is how many words of a message are read; a Chinese character and a
// punctuation mark are one each.
const MaxTokens = 400

// maxBytes bounds what is looked at of a message.
const maxBytes = 8 << 10

// kind says what a token is.
type kind uint8

const (
	kindWord  kind = iota // letters and digits
	kindHan               // one Chinese character
	kindSign              // an emoji, or another sign
	kindComma             // ends no sentence
	kindStop              // ends a sentence: . ! ? ; or a new line
)

// token is a word of a message.
type token struct {
	word   string
	kind   kind
	number bool    // has a digit
	ids    []int32 // the words of the dictionary that it may be
}

// tokens takes a text apart.
func tokens(text string) []token {
	text = clip(text)
	list := make([]token, 0, 24)
	var word []byte
	number := false
	end := func() {
		if len(word) > 0 {
			list = append(list, token{word: string(word), kind: kindWord, number: number})
			word, number = word[:0], false
		}
	}
	runes := []rune(fold(text))
	for i, r := range runes {
		if len(list) >= MaxTokens {
			break
		}
		var letter bool
		switch {
		case r < unicode.MaxASCII:
			letter = r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		case unicode.Is(unicode.Han, r):
			end()
			list = append(list, token{word: string(r), kind: kindHan})
			continue
		default:
			letter = unicode.IsLetter(r) || unicode.IsDigit(r)
		}
		if letter {
			word = append(word, string(r)...)
			number = number || unicode.IsDigit(r)
			continue
		}
		inside := len(word) > 0 && i+1 < len(runes) && (unicode.IsLetter(runes[i+1]) || unicode.IsDigit(runes[i+1]))
		switch r {
		case '\'':
			if inside && !elides(string(word)) {
				continue // don't is dont; l'article is l article
			}
			end()
		case '.':
			if end(); !inside {
				list = append(list, token{word: ".", kind: kindStop})
			}
		case '?', '!', ';', '\n':
			end()
			list = append(list, token{word: string(r), kind: kindStop})
		case ',':
			end()
			list = append(list, token{word: ",", kind: kindComma})
		default:
			end()
			if unicode.Is(unicode.So, r) || unicode.Is(unicode.Sk, r) && r > 0x1f000 {
				list = append(list, token{word: string(r), kind: kindSign})
			}
		}
	}
	end()
	return list
}

func clip(text string) string {
	if len(text) > maxBytes {
		text = strings.ToValidUTF8(text[:maxBytes], "")
	}
	return text
}

// elides reports whether a word before an apostrophe is one of its own.
func elides(word string) bool {
	switch word {
	case "l", "d", "j", "n", "s", "c", "m", "t", "qu", "jusqu", "lorsqu", "puisqu", "quelqu", "aujourd":
		return true
	}
	return false
}

// fold makes small letters without accents, plain signs and simplified
// Chinese.
func fold(text string) string {
	plain := true
	for i := range len(text) {
		if c := text[i]; c >= 0x80 {
			plain = false
			break
		}
	}
	if plain {
		return strings.ReplaceAll(strings.ToLower(text), "`", "'")
	}
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		switch r {
		case '’', '‘', '´', 'ʼ', '`':
			r = '\''
		case '。':
			r = '.'
		case '、', '，':
			r = ','
		case '…':
			r = '.'
		case 'œ', 'Œ':
			b.WriteString("oe")
			continue
		case 'æ', 'Æ':
			b.WriteString("ae")
			continue
		case 'ß':
			b.WriteString("ss")
			continue
		}
		if s, ok := simplified[r]; ok {
			r = s
		}
		b.WriteRune(r)
	}
	decomposed := norm.NFKD.String(b.String())
	b.Reset()
	for _, r := range decomposed {
		switch {
		case unicode.Is(unicode.Mn, r), r == 0x200d, r == 0xfe0f, r >= 0x1f3fb && r <= 0x1f3ff: // accents, joiners, skin tones
			continue
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// squeeze shortens what is stretched: runs of a letter of at least from become
// to long.
func squeeze(word string, from, to int) string {
	out := make([]byte, 0, len(word))
	for i := 0; i < len(word); {
		j := i
		for j < len(word) && word[j] == word[i] {
			j++
		}
		n := j - i
		if n >= from && word[i] >= 'a' {
			n = to
		}
		for range n {
			out = append(out, word[i])
		}
		i = j
	}
	return string(out)
}
