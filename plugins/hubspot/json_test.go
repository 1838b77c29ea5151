package hubspot

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `"quoted" \ back`, "line\r\ntab\x00\x1f", "ñ 🌸 \u2028", "bad \xff\xc3 utf8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString([]byte("["), s)
		var got []string
		if err := json.Unmarshal(append(b, ']'), &got); err != nil || len(got) != 1 {
			t.Fatalf("%q became %q: %v", s, b, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); got[0] != want {
			t.Errorf("%q came back as %q", s, got[0])
		}
	})
}
