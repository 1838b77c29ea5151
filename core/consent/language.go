package consent

import (
	"strings"

	"github.com/wabridge/wabridge/core"
)

// languages are the countries, by BSUID prefix and by calling code, where most
// people write in one of the shipped languages other than English.
var languages = map[string]struct{ countries, codes string }{
	"es": {"ES MX AR CO CL PE VE EC GT CU BO DO HN PY SV NI CR PA UY PR GQ",
		"+34 +52 +54 +57 +56 +51 +58 +593 +502 +53 +591 +1809 +1829 +1849 +504 +595 +503 +505 +506 +507 +598 +1787 +1939 +240"},
	"fr": {"FR MC SN CI ML BF NE TG BJ GA CG CD CM MG GN HT DZ TN MA", "+33 +377 +221 +225 +223 +226 +227 +228 +229 +241 +242 +243 +237 +261 +224 +509 +213 +216 +212"},
	"pt": {"BR PT AO MZ CV GW ST", "+55 +351 +244 +258 +238 +245 +239"},
	"zh": {"CN TW HK MO", "+86 +886 +852 +853"},
	"de": {"DE AT", "+49 +43"},
	"it": {"IT SM", "+39 +378"},
}

// LanguageOf guesses a language from where an address is; "" when there is none
// to guess.
func LanguageOf(a core.Address) string {
	best, length := "", 0
	for language, l := range languages {
		switch a.Kind {
		case core.AddressBSUID:
			if country, _, _ := strings.Cut(a.Value, "."); country != "" && strings.Contains(l.countries, country) {
				return language
			}
		case core.AddressPhone:
			for code := range strings.SplitSeq(l.codes, " ") {
				if strings.HasPrefix(a.Value, code) && len(code) > length {
					best, length = language, len(code)
				}
			}
		}
	}
	return best
}

// StoppedByWord reports whether the person ended something by a word or a button,
// so that START means to take it back.
func (s *Summary) StoppedByWord() bool {
	m := s.Levels[Marketing]
	return s.Stopped() || m.State == Withdrawn && (m.Source == Word || m.Source == Button)
}

// EndedThemselves reports whether the person ended marketing by a word, a button
// or in WhatsApp, and did not take it back.
func (s *Summary) EndedThemselves() bool { return s.metaStopped() || s.StoppedByWord() }

// Stopped reports whether the person wrote STOP and did not take it back.
func (s *Summary) Stopped() bool {
	for _, p := range s.Live() {
		if p.Reason == Stop {
			return true
		}
	}
	return false
}
