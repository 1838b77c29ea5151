package customhttp

import "testing"

func TestPath_FindsWhatIsThere(t *testing.T) {
	v, err := decodeJSON([]byte(`{"a":{"b":[{"c":1},{"c":"x"}],"n":null,"t":true},"1":{"2":12345678901234567890}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, text string
		found      bool
	}{
		{"a.b.0.c", "1", true}, {"a.b.1.c", "x", true}, {"a.t", "true", true}, {"1.2", "12345678901234567890", true},
		{"a.n", "", true}, {"a.b", "", true}, {"", "", true},
		{"a.b.2.c", "", false}, {"a.b.-1", "", false}, {"a.b.c", "", false}, {"a.t.x", "", false}, {"a.n.x", "", false}, {"b", "", false},
	} {
		_, found := parsePath(c.path).find(v)
		if text := parsePath(c.path).text(v); found != c.found || text != c.text {
			t.Errorf("%q: got %q, %v", c.path, text, found)
		}
	}
}

func TestDecodeJSON_TakesExactlyOneValue(t *testing.T) {
	for text, ok := range map[string]bool{`{}`: true, ` null `: true, `{} {}`: false, `{}x`: false, ``: false, `{`: false, `{"a":1}]`: false} {
		if _, err := decodeJSON([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
