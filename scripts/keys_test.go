package scripts_test

import (
	"reflect"
	"slices"
	"strings"
)

// jsonKeys returns the keys of a struct's JSON, sorted.
func jsonKeys(v any) []string {
	var keys []string
	for t, i := reflect.TypeOf(v), 0; i < t.NumField(); i++ {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
