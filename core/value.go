package core

import (
	"encoding/json"
	"strconv"
	"strings"
)

// ValueText writes the value of a property as a text, as JSON has it: lists are
// joined by ";", and nothing is "". other writes what is no plain value.
func ValueText(v any, other func(any) string) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case json.Number:
		return v.String()
	case []string:
		return strings.Join(v, ";")
	case []any:
		parts := make([]string, len(v))
		for i, one := range v {
			parts[i] = ValueText(one, other)
		}
		return strings.Join(parts, ";")
	}
	return other(v)
}
