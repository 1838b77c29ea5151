package spelling

import "testing"

func TestNearest_IsWhatWasProbablyMeant(t *testing.T) {
	known := []string{"keywords", "language", "hours", "reply", "tag", "team"}
	for word, want := range map[string]string{
		"keyword": "keywords", "Keywords": "keywords", "key_words": "keywords", "langage": "language", "houre": "hours",
		"replies": "", "price": "", "": "", "tags": "tag", "taem": "team",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
