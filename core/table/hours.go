package table

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// hours say when a row is in force.
type hours struct {
	text   string // as compared
	open   bool   // while the business is open
	closed bool
	spans  []span
}

// span is a time of some days of the week, in minutes; to is beyond midnight
// when it is not after from.
type span struct {
	days     [7]bool // from Sunday
	from, to int
}

func (h *hours) any() bool { return h.text == "" }

func (h *hours) fits(m *Message) bool {
	switch {
	case h.any():
		return true
	case h.open:
		return !m.Closed
	case h.closed:
		return m.Closed
	}
	day, minute := int(m.Local.Weekday()), m.Local.Hour()*60+m.Local.Minute()
	for _, s := range h.spans {
		switch {
		case s.from < s.to:
			if s.days[day] && minute >= s.from && minute < s.to {
				return true
			}
		case s.days[day] && minute >= s.from, s.days[(day+6)%7] && minute < s.to:
			return true
		}
	}
	return false
}

var (
	spanPattern = regexp.MustCompile(`^(?:([a-z]+)(?:\s*-\s*([a-z]+))?\s+)?(\d{1,2})(?::(\d\d))?\s*-\s*(\d{1,2})(?::(\d\d))?$`)
	dayNames    = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	daysLong    = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
)

// parseHours reads "open", "closed" or times such as "mon-fri 09:00-18:00;
// sat 10-13". Times without days are of the days before them, or of all.
func parseHours(c cell) (hours, error) {
	parts := c.list
	if c.list == nil {
		parts = strings.FieldsFunc(c.text, func(r rune) bool { return r == ';' || r == ',' })
	}
	var h hours
	days := [7]bool{true, true, true, true, true, true, true}
	for _, part := range parts {
		part = strings.ToLower(strings.TrimSpace(part))
		switch part {
		case "":
			continue
		case "open", "closed":
			if len(parts) > 1 {
				return hours{}, fmt.Errorf("is open, closed or times, and not several of these")
			}
			return hours{text: part, open: part == "open", closed: part == "closed"}, nil
		}
		if len(h.spans) == 50 {
			return hours{}, fmt.Errorf("has more than 50 times")
		}
		s, err := parseSpan(part, days)
		if err != nil {
			return hours{}, err
		}
		days = s.days
		h.spans = append(h.spans, s)
		h.text += part + ";"
	}
	return h, nil
}

func parseSpan(part string, days [7]bool) (span, error) {
	m := spanPattern.FindStringSubmatch(part)
	if m == nil {
		return span{}, fmt.Errorf("%q is not understood: write open, closed, or times such as mon-fri 09:00-18:00", clip(part))
	}
	s := span{days: days}
	if m[1] != "" {
		from, to := dayOf(m[1]), dayOf(m[2])
		if m[2] == "" {
			to = from
		}
		if from < 0 || to < 0 {
			return span{}, fmt.Errorf("%q is not understood: days are %s", clip(part), strings.Join(dayNames, ", "))
		}
		s.days = [7]bool{}
		for d := from; ; d = (d + 1) % 7 {
			s.days[d] = true
			if d == to {
				break
			}
		}
	}
	var ok1, ok2 bool
	s.from, ok1 = minutes(m[3], m[4])
	s.to, ok2 = minutes(m[5], m[6])
	if !ok1 || !ok2 || s.from == s.to {
		return span{}, fmt.Errorf("%q is no time of the day: write it as 09:00-18:00", clip(part))
	}
	return s, nil
}

func dayOf(s string) int {
	for i := range dayNames {
		if s == dayNames[i] || s == daysLong[i] {
			return i
		}
	}
	return -1
}

func minutes(h, m string) (int, bool) {
	if m == "" {
		m = "00"
	}
	if h == "24" && m == "00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", fmt.Sprintf("%02s:%s", h, m))
	return t.Hour()*60 + t.Minute(), err == nil
}
