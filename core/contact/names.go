package contact

import "strings"

// Names takes a name apart where it is not known which part is which: the first word, and
// the rest. Of "García, Ana" the first name is what comes after the comma.
func Names(name string) (first, rest string) {
	if last, given, ok := strings.Cut(name, ","); ok && strings.TrimSpace(last) != "" && strings.TrimSpace(given) != "" && !strings.Contains(given, ",") {
		return strings.TrimSpace(given), strings.TrimSpace(last)
	}
	first, rest, _ = strings.Cut(strings.TrimSpace(name), " ")
	return first, strings.TrimSpace(rest)
}
