package core_test

import (
	"encoding/json"
	"testing"

	"github.com/wabridge/wabridge/core"
)

func TestValueText_WritesPlainValuesAndListsOfThem(t *testing.T) {
	other := func(any) string { return "?" }
	for want, v := range map[string]any{
		"": nil, "a": "a", "true": true, "1.5": 1.5, "100000000": 1e8, "7": 7, "8": int64(8), "9.10": json.Number("9.10"),
		"x;y": []string{"x", "y"}, "1;;?": []any{1.0, nil, map[string]any{"id": 1}}, "?": struct{}{},
	} {
		if got := core.ValueText(v, other); got != want {
			t.Errorf("%#v is %q, want %q", v, got, want)
		}
	}
}
