package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
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
	if near := nearest(key, siblings); near != "" {
		return "; did you mean " + near + "?"
	}
	for _, leaf := range leaves(root, "") {
		if strings.HasSuffix(leaf, "."+key) {
			return "; did you mean " + leaf + "?"
		}
	}
	return "; known are " + strings.Join(siblings, ", ")
}

// nearest returns the candidate that word was probably meant to be, or "":
// the one with the fewest letters to change, at most a third of them. Case,
// and the kind and number of separators, do not count. Of candidates alike, the
// first is returned.
func nearest(word string, candidates []string) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
	}
	best, bestDistance := "", len(plain(word))/3+1
	for _, c := range candidates {
		if d := distance(plain(word), plain(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	// Three rows of the table are enough: the one before last is for swaps.
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
