package escalation

import (
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
)

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,39}$`)

// checker notes what is wrong while a plan is made.
type checker struct {
	plan     *Plan
	problems []Problem
}

func (c *checker) problem(key, format string, args ...any) {
	c.problems = append(c.problems, Problem{key, fmt.Sprintf(format, args...)})
}

// id checks a name that others refer to.
func (c *checker) id(key, id string, taken bool) {
	switch {
	case !idPattern.MatchString(id):
		c.problem(key, "%q is no id: at most 40 of a-z, 0-9, - and _, like front-desk", id)
	case taken:
		c.problem(key, "another has the id %q: give each its own", id)
	}
}

func (c *checker) atMost(key string, n, most int) {
	if n > most {
		c.problem(key, "%d are too many: at most %d", n, most)
	}
}

func (c *checker) calendars() {
	c.atMost("calendars", len(c.plan.s.Calendars), maxTeams)
	for i, s := range c.plan.s.Calendars {
		key := fmt.Sprintf("calendars[%d]", i)
		_, taken := c.plan.calendars[s.ID]
		c.id(key+".id", s.ID, taken)
		cal, err := NewCalendar(s.Zone, s.Hours, s.Holidays)
		if err != nil {
			setting, text, _ := strings.Cut(err.Error(), ": ")
			c.problem(key+"."+setting, "%s", text)
		}
		messages := map[string]string{"": s.Message}
		c.message(key+".message", s.Message)
		for _, language := range slices.Sorted(maps.Keys(s.Messages)) {
			c.message(key+".messages."+language, s.Messages[language])
			messages[language] = s.Messages[language]
		}
		c.plan.calendars[s.ID], c.plan.messages[s.ID] = cal, messages
	}
}

func (c *checker) message(key, text string) {
	if len(text) > maxMessage {
		c.problem(key, "has %d bytes: at most %d", len(text), maxMessage)
	}
}

func (c *checker) teams() {
	p := c.plan
	c.atMost("teams", len(p.s.Teams), maxTeams)
	p.s.Teams = slices.Clone(p.s.Teams)
	for i := range p.s.Teams {
		t, key := &p.s.Teams[i], fmt.Sprintf("teams[%d]", i)
		_, taken := p.teams[t.ID]
		c.id(key+".id", t.ID, taken)
		p.teams[t.ID] = t
		if t.Deadline == 0 {
			t.Deadline = DefaultDeadline
		}
		c.deadline(key+".deadline", t.Deadline)
		if t.Assign == "" {
			t.Assign = RoundRobin
		}
		if t.Assign != RoundRobin && t.Assign != LeastLoad {
			c.problem(key+".assign", "%q is none of %s, %s", t.Assign, RoundRobin, LeastLoad)
		}
		c.known(key+".calendar", "calendar", t.Calendar, ids(p.s.Calendars, func(s CalendarSettings) string { return s.ID }))
		if len(t.Targets) == 0 {
			t.Targets = []string{Inbox}
		}
		for j, name := range t.Targets {
			c.known(fmt.Sprintf("%s.targets[%d]", key, j), "target", name, append([]string{Inbox}, p.s.Targets...))
		}
		c.members(key, t)
	}
	all := p.Teams()
	for i, t := range p.s.Teams {
		key := fmt.Sprintf("teams[%d].next", i)
		c.known(key, "team", t.Next, all)
		if path := p.cycle(t.ID); path != "" {
			c.problem(key, "goes round in a circle: %s", path)
		}
	}
	if len(all) > 0 {
		c.known("escalation.team", "team", p.s.Team, all)
	}
}

func (c *checker) members(key string, t *Team) {
	c.atMost(key+".members", len(t.Members), maxMembers)
	seen := map[string]bool{}
	for j, m := range t.Members {
		at := fmt.Sprintf("%s.members[%d]", key, j)
		c.id(at+".id", m.ID, seen[m.ID])
		seen[m.ID] = true
		if m.Email != "" && !IsEmail(m.Email) {
			c.problem(at+".email", "%q is no e-mail address, like ana@example.com", m.Email)
		}
	}
}

// IsEmail reports whether s is an address, and nothing but one.
func IsEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && !strings.ContainsAny(s, "\r\n\x00")
}

// cycle returns the way from a team back to itself, or "".
func (p *Plan) cycle(id string) string {
	path := []string{id}
	for t := p.teams[id]; t != nil && t.Next != "" && len(path) <= len(p.teams); t = p.teams[t.Next] {
		path = append(path, t.Next)
		if t.Next == id {
			return strings.Join(path, " → ")
		}
	}
	return ""
}

func (c *checker) rules() {
	p := c.plan
	c.atMost("escalation.rules", len(p.s.Rules), maxRules)
	p.keywords = make([][]string, len(p.s.Rules))
	for i, r := range p.s.Rules {
		key := fmt.Sprintf("escalation.rules[%d]", i)
		c.atMost(key+".keywords", len(r.Keywords), maxRuleKeywords)
		for j, w := range r.Keywords {
			folded := p.s.Fold(w)
			if strings.TrimSpace(folded) == "" {
				c.problem(fmt.Sprintf("%s.keywords[%d]", key, j), "%q has no letter or digit to look for", w)
			}
			p.keywords[i] = append(p.keywords[i], folded)
		}
		if len(p.s.Teams) > 0 {
			c.known(key+".team", "team", r.Team, p.Teams())
		}
		if r.Priority != "" && !slices.Contains([]string{Low, Normal, High}, r.Priority) {
			c.problem(key+".priority", "%q is none of %s, %s, %s", r.Priority, Low, Normal, High)
		}
		if r.Deadline != 0 {
			c.deadline(key+".deadline", r.Deadline)
		}
		if near := nearest(r.Topic, Topics()); r.Topic != "" && near != "" && near != r.Topic {
			c.problem(key+".topic", "%q: did you mean %s?", r.Topic, near)
		}
	}
}

func (c *checker) deadline(key string, d time.Duration) {
	if d < time.Second || d > maxDeadline {
		c.problem(key, "%v is not between 1s and 720h", d)
	}
}

// known checks a reference; the empty one refers to nothing.
func (c *checker) known(key, what, name string, known []string) {
	if name == "" || slices.Contains(known, name) {
		return
	}
	if near := nearest(name, known); near != "" {
		c.problem(key, "there is no %s %q; did you mean %s?", what, name, near)
		return
	}
	if len(known) == 0 {
		c.problem(key, "there is no %s %q: declare it with [[%ss]]", what, name, what)
		return
	}
	c.problem(key, "there is no %s %q; known are %s", what, name, strings.Join(known, ", "))
}

func ids[T any](all []T, id func(T) string) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = id(v)
	}
	return out
}

// nearest returns the candidate that word was probably meant to be: one letter
// away, or two of a long one; or "".
func nearest(word string, candidates []string) string {
	for _, c := range candidates {
		if word == c {
			return c
		}
	}
	for _, c := range candidates {
		if d := distance(word, c); d == 1 || d == 2 && len(c) > 5 {
			return c
		}
	}
	return ""
}

// distance counts the letters to insert, delete or change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := corner
			if a[i] != b[j] {
				d++
			}
			corner = row[j+1]
			row[j+1] = min(d, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
