package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core/spelling"
)

// fields returns the keys of a struct's settings, with their types.
func fields(t reflect.Type) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for f := range t.Fields() {
		if key := f.Tag.Get("koanf"); key != "" && key != "-" {
			m[key] = f.Type
		}
	}
	return m
}

// leaves returns the key paths of all settings below t that are one value or
// one list, sorted. A name that the owner chooses is "*".
func leaves(t reflect.Type, prefix string) []string {
	var all []string
	for key, ft := range fields(t) {
		switch {
		case ft.Kind() == reflect.Struct:
			all = append(all, leaves(ft, prefix+key+".")...)
		case ft.Kind() == reflect.Map && ft.Elem().Kind() == reflect.Struct:
			all = append(all, leaves(ft.Elem(), prefix+key+".*.")...)
		default:
			all = append(all, prefix+key)
		}
	}
	slices.Sort(all)
	return all
}

// pathIn reports whether key is one of the key paths, "*" standing for one
// name.
func pathIn(paths []string, key string) bool {
	parts := strings.Split(key, ".")
	return slices.ContainsFunc(paths, func(path string) bool {
		return slices.EqualFunc(strings.Split(path, "."), parts, func(a, b string) bool {
			return a == b || a == "*" && b != ""
		})
	})
}

// suggestKey returns what was probably meant by a key that the table t does
// not have: "; did you mean listen?". A key of another table below root is
// suggested with its path.
func suggestKey(root, t reflect.Type, key string) string {
	siblings := slices.Sorted(maps.Keys(fields(t)))
	if near := spelling.Nearest(key, siblings); near != "" {
		return "; did you mean " + near + "?"
	}
	for _, leaf := range leaves(root, "") {
		if strings.HasSuffix(leaf, "."+key) {
			return "; did you mean " + leaf + "?"
		}
	}
	return "; known are " + strings.Join(siblings, ", ")
}
