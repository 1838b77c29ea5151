package hubspotsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
)

// The limits of a search.
const (
	maxGroups       = 5
	maxFilters      = 6
	maxAllFilters   = 18
	maxSearchLimit  = 200
	maxSearchResult = 10_000
	maxSearchBody   = 3000
)

type filter struct {
	Property string   `json:"propertyName"`
	Operator string   `json:"operator"`
	Value    string   `json:"value"`
	High     string   `json:"highValue"`
	Values   []string `json:"values"`
}

// lacks says what the filter's operator wants and has not.
func (f *filter) lacks() string {
	switch f.Operator {
	case "HAS_PROPERTY", "NOT_HAS_PROPERTY":
		return ""
	case "IN", "NOT_IN":
		if len(f.Values) == 0 {
			return "values"
		}
		return ""
	case "BETWEEN":
		if f.High == "" {
			return "a highValue"
		}
	}
	if f.Value == "" {
		return "a value"
	}
	return ""
}

// order is what a search sorts by: an object, or a property's name, with a minus
// before it for the other way.
type order struct {
	Property  string `json:"propertyName"`
	Direction string `json:"direction"`
}

func (o *order) UnmarshalJSON(b []byte) error {
	var name string
	if json.Unmarshal(b, &name) != nil {
		type plain order
		return json.Unmarshal(b, (*plain)(o))
	}
	if rest, down := strings.CutPrefix(name, "-"); down {
		name, o.Direction = rest, "DESCENDING"
	}
	o.Property = name
	return nil
}

// search finds records as they were Options.SearchLag ago.
func (s *Sim) search(c *call, t *table) {
	var body struct {
		Groups []struct {
			Filters []filter `json:"filters"`
		} `json:"filterGroups"`
		Sorts      []order         `json:"sorts"`
		Properties []string        `json:"properties"`
		Limit      *int            `json:"limit"`
		After      json.RawMessage `json:"after"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.badJSON(err)
		return
	}
	if utf8.RuneCount(c.body) > maxSearchBody {
		c.invalid(fmt.Sprintf("The request body is too long: max %d characters", maxSearchBody))
		return
	}
	limit := 10
	if body.Limit != nil {
		limit = *body.Limit
	}
	after := 0
	if text := strings.Trim(string(body.After), `"`); text != "" && text != "null" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			c.invalid("Invalid value for after: " + text)
			return
		}
		after = n
	}
	all := 0
	for _, g := range body.Groups {
		all += len(g.Filters)
		if len(g.Filters) > maxFilters {
			c.invalid(fmt.Sprintf("Too many filters in a group: max %d", maxFilters))
			return
		}
	}
	switch {
	case limit < 1 || limit > maxSearchLimit:
		c.invalid(fmt.Sprintf("limit must be between 1 and %d", maxSearchLimit))
		return
	case len(body.Groups) > maxGroups || all > maxAllFilters:
		c.invalid(fmt.Sprintf("Too many filters: max %d groups and %d filters", maxGroups, maxAllFilters))
		return
	case len(body.Sorts) > 1:
		c.invalid("Only one sort is allowed")
		return
	case after+limit > maxSearchResult:
		c.invalid(fmt.Sprintf("The maximum number of results that may be paged through is %d", maxSearchResult))
		return
	}

	s.state.mu.Lock()
	problem := ""
	if len(body.Sorts) > 0 && t.properties[body.Sorts[0].Property] == nil {
		problem = fmt.Sprintf("There was a problem with the request: property %q does not exist", body.Sorts[0].Property)
	}
	for _, g := range body.Groups {
		for _, f := range g.Filters {
			switch {
			case t.properties[f.Property] == nil:
				problem = fmt.Sprintf("There was a problem with the request: property %q does not exist", f.Property)
			case operators[f.Operator] == nil:
				problem = "Invalid operator: " + f.Operator
			case f.lacks() != "":
				problem = "Invalid input JSON on line 1: Cannot construct instance of `com.hubspot.inbounddb.publicobject.core.v3.search.Filter`, problem: operator " +
					f.Operator + " requires " + f.lacks()
			}
		}
	}
	type hit struct {
		r   *record
		get func(string) string
	}
	var hits []hit
	now := time.Now()
	for _, r := range t.records {
		get, visible := s.state.indexed(r, now)
		if problem != "" || r.archived || !visible {
			continue
		}
		match := len(body.Groups) == 0
		for _, g := range body.Groups {
			good := true
			for _, f := range g.Filters {
				good = good && operators[f.Operator](get(f.Property), f)
			}
			match = match || good
		}
		if match {
			hits = append(hits, hit{r, get})
		}
	}
	if len(body.Sorts) > 0 {
		slices.SortStableFunc(hits, func(a, b hit) int {
			n := compare(a.get(body.Sorts[0].Property), b.get(body.Sorts[0].Property))
			if strings.HasPrefix(body.Sorts[0].Direction, "DESC") {
				return -n
			}
			return n
		})
	}
	answer := []byte(`{"total":` + strconv.Itoa(len(hits)) + `,"results":[`)
	stop := min(after+limit, len(hits))
	for i := after; i < stop; i++ {
		if i > after {
			answer = append(answer, ',')
		}
		answer = append(hits[i].r.append(answer, t.asked(body.Properties)), '}')
	}
	s.state.mu.Unlock()
	if problem != "" {
		c.invalid(problem)
		return
	}
	answer = append(answer, ']')
	if stop < len(hits) {
		answer = append(answer, `,"paging":{"next":{"after":"`+strconv.Itoa(stop)+`"}}`...)
	}
	c.send(http.StatusOK, append(answer, '}'))
}

// indexed returns a record's values as search knows them; false when it does not
// know the record yet. The caller holds the lock.
func (s *state) indexed(r *record, now time.Time) (get func(string) string, visible bool) {
	values := r.values
	if lag := s.opts.SearchLag; lag > 0 {
		if now.Sub(r.created) < lag {
			return nil, false
		}
		if now.Sub(r.stale) < lag && r.indexed != nil {
			values = r.indexed
		}
	}
	return func(name string) string {
		switch name {
		case "hs_object_id":
			return r.id
		case "createdate", "hs_createdate":
			return strconv.FormatInt(r.created.UnixMilli(), 10)
		case "lastmodifieddate", "hs_lastmodifieddate":
			return strconv.FormatInt(r.updated.UnixMilli(), 10)
		}
		as := func(v string) string { return v }
		if kept := keptNumbers[name]; kept != "" {
			name, as = kept, s.keptAs
		}
		for _, v := range values {
			if v.p.Name == name {
				return as(v.v)
			}
		}
		return ""
	}, true
}

// keptNumbers are the properties that search knows numbers by, and what they are made of.
var keptNumbers = map[string]string{
	"hs_searchable_calculated_phone_number":  "phone",
	"hs_searchable_calculated_mobile_number": "mobilephone",
}

// maxKept bounds the memory of numbers.
const maxKept = 100_000

// keptAs is keptNumber, which takes long, from memory. The caller holds the lock.
func (s *state) keptAs(v string) string {
	kept, known := s.kept[v]
	if !known {
		if kept = s.keptNumber(v); s.kept == nil || len(s.kept) > maxKept {
			s.kept = map[string]string{}
		}
		s.kept[v] = kept
	}
	return kept
}

// keptNumber is how search knows a number: area code and local number, without the country's
// code; of what is no number of the account's country, or of the one it names, the digits.
func (s *state) keptNumber(v string) string {
	if n, err := phonenumbers.Parse(v, s.opts.Country); err == nil && phonenumbers.IsValidNumber(n) {
		return phonenumbers.GetNationalSignificantNumber(n)
	}
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, v)
}

// operators are the search's.
var operators = map[string]func(v string, f filter) bool{
	"EQ":               func(v string, f filter) bool { return strings.EqualFold(v, f.Value) },
	"NEQ":              func(v string, f filter) bool { return !strings.EqualFold(v, f.Value) },
	"LT":               func(v string, f filter) bool { return v != "" && compare(v, f.Value) < 0 },
	"LTE":              func(v string, f filter) bool { return v != "" && compare(v, f.Value) <= 0 },
	"GT":               func(v string, f filter) bool { return v != "" && compare(v, f.Value) > 0 },
	"GTE":              func(v string, f filter) bool { return v != "" && compare(v, f.Value) >= 0 },
	"BETWEEN":          func(v string, f filter) bool { return v != "" && compare(v, f.Value) >= 0 && compare(v, f.High) <= 0 },
	"IN":               func(v string, f filter) bool { return slices.Contains(f.Values, v) },
	"NOT_IN":           func(v string, f filter) bool { return !slices.Contains(f.Values, v) },
	"HAS_PROPERTY":     func(v string, _ filter) bool { return v != "" },
	"NOT_HAS_PROPERTY": func(v string, _ filter) bool { return v == "" },
	"CONTAINS_TOKEN":   func(v string, f filter) bool { return containsToken(v, f.Value) },
	"NOT_CONTAINS_TOKEN": func(v string, f filter) bool {
		return !containsToken(v, f.Value)
	},
}

// containsToken finds a word, with * at either end for any beginning or end.
func containsToken(v, want string) bool {
	want = strings.ToLower(want)
	core := strings.Trim(want, "*")
	for word := range strings.FieldsSeq(strings.ToLower(v)) {
		switch {
		case strings.HasPrefix(want, "*") && strings.HasSuffix(want, "*"):
			if strings.Contains(word, core) {
				return true
			}
		case strings.HasPrefix(want, "*"):
			if strings.HasSuffix(word, core) {
				return true
			}
		case strings.HasSuffix(want, "*"):
			if strings.HasPrefix(word, core) {
				return true
			}
		case word == core:
			return true
		}
	}
	return false
}

// compare orders numbers as numbers, all else as text.
func compare(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return strings.Compare(a, b)
}
