// Package escalation knows who should answer, and by when: calendars with
// business hours, teams and their members, and the rules that send a
// conversation to one of them. It is arithmetic over settings: it stores
// nothing, sends nothing and reads no clock.
package escalation

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are known wherever the bridge runs
)

// Calendar says when people are there. Hours are by the clock on the wall of
// its zone: at an instant it is open when that clock is within its hours, so an
// hour that a zone leaves out in spring is not worked, and the one that comes
// twice in autumn is worked twice.
//
// The nil Calendar is always open.
type Calendar struct {
	zone     *time.Location
	week     [7][]span // by time.Weekday, in order, never touching
	holidays map[string]bool
}

// span is a stretch of a day, in minutes after its midnight. to is more than a
// day's when it runs into the next.
type span struct{ from, to int }

const (
	day = 24 * 60
	// maxAhead is how many changes between open and closed are looked ahead: a
	// calendar that is closed for longer is taken for closed for ever.
	maxAhead    = 4000
	maxHours    = 100  // lines of hours
	maxHolidays = 1000 // of one calendar
)

// NewCalendar makes a calendar: hours are lines like "mon-fri 09:00-13:00
// 15:00-19:00", "sat 10:00-14:00" or "fri,sat 22:00-04:00", which runs into the
// next morning. What lines say of the same day adds up. Holidays are dates,
// "2026-12-25" or, every year, "12-25": nothing begins on them.
func NewCalendar(zone string, hours, holidays []string) (*Calendar, error) {
	c := &Calendar{holidays: map[string]bool{}}
	var err error
	if c.zone, err = time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
		return nil, fmt.Errorf("zone: %q is no time zone, like Europe/Madrid or UTC", zone)
	}
	if len(hours) == 0 || len(hours) > maxHours {
		return nil, fmt.Errorf(`hours: want 1 to %d lines, like "mon-fri 09:00-18:00"`, maxHours)
	}
	for _, line := range hours {
		days, spans, err := parseHours(line)
		if err != nil {
			return nil, fmt.Errorf("hours: %q: %w", line, err)
		}
		for _, d := range days {
			c.week[d] = append(c.week[d], spans...)
		}
	}
	if err := c.tidy(); err != nil {
		return nil, err
	}
	if len(holidays) > maxHolidays {
		return nil, fmt.Errorf("holidays: %d are too many: at most %d", len(holidays), maxHolidays)
	}
	for _, h := range holidays {
		if !isDate(h) {
			return nil, fmt.Errorf(`holidays: %q is no date: want "2026-12-25", or "12-25" for every year`, h)
		}
		c.holidays[h] = true
	}
	return c, nil
}

func isDate(s string) bool {
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return true
	}
	_, err := time.Parse(time.DateOnly, "2024-"+s) // a leap year
	return err == nil
}

// tidy sorts the spans of each day and refuses those that overlap.
func (c *Calendar) tidy() error {
	for d := range c.week {
		slices.SortFunc(c.week[d], func(a, b span) int { return cmp.Compare(a.from, b.from) })
		var joined []span
		for i, s := range c.week[d] {
			if i > 0 && s.from < c.week[d][i-1].to {
				return fmt.Errorf("hours: those of %s overlap: %s and %s", dayNames[d], c.week[d][i-1], s)
			}
			if n := len(joined); n > 0 && joined[n-1].to == s.from {
				joined[n-1].to = s.to
				continue
			}
			joined = append(joined, s)
		}
		c.week[d] = joined
	}
	for d := range c.week {
		before, this := c.week[(d+6)%7], c.week[d]
		if len(before) > 0 && len(this) > 0 && before[len(before)-1].to-day > this[0].from {
			return fmt.Errorf("hours: %s of %s runs into %s of %s", before[len(before)-1], dayNames[(d+6)%7], this[0], dayNames[d])
		}
	}
	return nil
}

func (s span) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", s.from/60, s.from%60, s.to%day/60, s.to%60)
}

// dayNames are by time.Weekday.
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseHours reads a line: days, then spans.
func parseHours(line string) ([]int, []span, error) {
	words := strings.Fields(strings.ToLower(line))
	if len(words) < 2 {
		return nil, nil, fmt.Errorf(`want days and hours, like "mon-fri 09:00-13:00 15:00-19:00"`)
	}
	var days []int
	for part := range strings.SplitSeq(words[0], ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, to := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if !isRange {
			to = from
		}
		if from < 0 || to < 0 {
			return nil, nil, fmt.Errorf("%q are no days: want mon, tue, wed, thu, fri, sat, sun, mon-fri or mon,wed", words[0])
		}
		for d := from; ; d = (d + 1) % 7 {
			if slices.Contains(days, d) {
				return nil, nil, fmt.Errorf("%s is there twice", dayNames[d])
			}
			days = append(days, d)
			if d == to {
				break
			}
		}
	}
	var spans []span
	for _, word := range words[1:] {
		a, b, ok := strings.Cut(word, "-")
		from, err := minute(a)
		to, err2 := minute(b)
		switch {
		case !ok || err != nil || err2 != nil || from == day:
			return nil, nil, fmt.Errorf("%q are no hours: want 09:00-17:30", word)
		case from == to:
			return nil, nil, fmt.Errorf("%q is no time at all: the whole day is 00:00-24:00", word)
		case to < from:
			to += day // into the next morning
		}
		spans = append(spans, span{from, to})
	}
	return days, spans, nil
}

// minute reads "09:30" as minutes after midnight; "24:00" is the day's end.
func minute(s string) (int, error) {
	h, m, ok := strings.Cut(s, ":")
	hours, err := strconv.Atoi(h)
	minutes, err2 := strconv.Atoi(m)
	if !ok || err != nil || err2 != nil || len(h) != 2 || len(m) != 2 || minutes > 59 || hours*60+minutes > day {
		return 0, fmt.Errorf("no time of day")
	}
	return hours*60 + minutes, nil
}

// Zone is the calendar's time zone; nil for the nil Calendar.
func (c *Calendar) Zone() *time.Location {
	if c == nil {
		return nil
	}
	return c.zone
}

// Open reports whether the calendar is open at an instant.
func (c *Calendar) Open(t time.Time) bool {
	if c == nil {
		return true
	}
	open, _ := c.look(t)
	return open
}

// NextOpening returns the first instant from t on at which the calendar is open:
// t itself when it is. It is the zero time when that is years away.
func (c *Calendar) NextOpening(t time.Time) time.Time {
	if c == nil {
		return t
	}
	for range maxAhead {
		open, until := c.look(t)
		if open {
			return t
		}
		t = until
	}
	return time.Time{}
}

// Add returns the instant at which the calendar will have been open for d since
// t; for 0 the next opening. It is the zero time when that is years away.
func (c *Calendar) Add(t time.Time, d time.Duration) time.Time {
	if c == nil {
		return t.Add(d)
	}
	if d <= 0 {
		return c.NextOpening(t)
	}
	for range maxAhead {
		open, until := c.look(t)
		if open {
			if have := until.Sub(t); have < d {
				d -= have
			} else {
				return t.Add(d)
			}
		}
		t = until
	}
	return time.Time{}
}

// look reports whether the calendar is open at t, and the next instant at which
// that may change. The clock on the wall runs evenly up to there.
func (c *Calendar) look(t time.Time) (open bool, until time.Time) {
	local := t.In(c.zone)
	sinceMidnight := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute +
		time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
	next := day * time.Minute // midnight, another day's hours
	edge := func(minutes int) {
		if at := time.Duration(minutes) * time.Minute; at > sinceMidnight && at < next {
			next = at
		}
	}
	within := func(from, to int) {
		edge(from)
		edge(to)
		if sinceMidnight >= time.Duration(from)*time.Minute && sinceMidnight < time.Duration(to)*time.Minute {
			open = true
		}
	}
	for _, s := range c.hours(local) {
		within(s.from, s.to)
	}
	// Noon of yesterday is yesterday, whatever the clock did in between.
	for _, s := range c.hours(time.Date(local.Year(), local.Month(), local.Day()-1, 12, 0, 0, 0, time.UTC)) {
		if s.to > day {
			within(0, s.to-day)
		}
	}
	until = t.Add(next - sinceMidnight)
	if _, end := local.ZoneBounds(); !end.IsZero() && until.After(end) {
		until = end.In(t.Location()) // the wall's clock is set then
	}
	return open, until
}

// hours returns the hours that begin on a date.
func (c *Calendar) hours(date time.Time) []span {
	if len(c.holidays) > 0 && (c.holidays[date.Format(time.DateOnly)] || c.holidays[date.Format("01-02")]) {
		return nil
	}
	return c.week[date.Weekday()]
}
