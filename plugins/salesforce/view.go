package salesforce

import "strings"

// view is what a list view's query says of which records it has.
type view struct {
	object, scope, where string
}

// from is where the records are.
func (v *view) from() string {
	if v.scope == "" {
		return v.object
	}
	return v.object + " USING SCOPE " + v.scope
}

// readView reads the query of a list view, as its description has it:
//
//	SELECT … FROM Contact USING SCOPE mine WHERE … ORDER BY …
//
// The fields and the order are those that people look at; neither says who is in it. A
// query with anything else, such as a limit, is not read. See
// https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_listviewdescribe.htm.
func readView(query string) (v view, ok bool) {
	words, ok := wordsOf(query)
	at := 0
	next := func(want string) bool {
		if at < len(words) && strings.EqualFold(words[at].text, want) {
			at++
			return true
		}
		return false
	}
	name := func() (text string) {
		if at < len(words) {
			text = words[at].text
			at++
		}
		return text
	}
	if !ok || !next("SELECT") {
		return view{}, false
	}
	for at < len(words) && !strings.EqualFold(words[at].text, "FROM") {
		at++
	}
	if !next("FROM") {
		return view{}, false
	}
	v.object = name()
	if next("USING") {
		if !next("SCOPE") {
			return view{}, false
		}
		v.scope = name()
		if v.scope == "" {
			return view{}, false
		}
	}
	if next("WHERE") {
		from, to := words[at-1].to, len(query)
		for ; at < len(words); at++ {
			if words[at].isClause() {
				to = words[at].from
				break
			}
		}
		if v.where = strings.TrimSpace(query[from:to]); v.where == "" {
			return view{}, false
		}
	}
	if next("ORDER") {
		for ; at < len(words); at++ {
			if words[at].isClause() {
				return view{}, false
			}
		}
	}
	return v, v.object != "" && at == len(words)
}

// word is a word of a query that stands in no parentheses.
type word struct {
	text     string
	from, to int
}

// isClause reports whether a clause begins with the word, which is then no field's name.
func (w word) isClause() bool {
	switch strings.ToUpper(w.text) {
	case "ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "WITH", "FOR", "UPDATE", "ALL":
		return true
	}
	return false
}

// wordsOf returns the words of a query outside of parentheses and of texts.
func wordsOf(query string) (words []word, ok bool) {
	depth := 0
	for i := 0; i < len(query); i++ {
		switch c := query[i]; {
		case c == '\'':
			for i++; i < len(query) && query[i] != '\''; i++ {
				if query[i] == '\\' {
					i++
				}
			}
			if i >= len(query) {
				return nil, false
			}
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 {
				return nil, false
			}
		case isWord(c):
			from := i
			for i+1 < len(query) && isWord(query[i+1]) {
				i++
			}
			if depth == 0 {
				words = append(words, word{query[from : i+1], from, i + 1})
			}
		}
	}
	return words, depth == 0
}

func isWord(c byte) bool {
	return c == '_' || c == '.' || c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
