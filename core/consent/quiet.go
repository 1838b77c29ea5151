package consent

import (
	"fmt"
	"strings"
	"time"
)

// QuietHours are a part of the day, in the recipient's time, in which a business
// does not begin to write. They may go over midnight. The zero QuietHours are
// none.
type QuietHours struct {
	from, to time.Duration // since midnight
}

// ParseQuietHours reads "21:00-08:00"; "" is none.
func ParseQuietHours(s string) (QuietHours, error) {
	if s == "" {
		return QuietHours{}, nil
	}
	from, to, ok := strings.Cut(s, "-")
	a, err1 := time.Parse("15:04", strings.TrimSpace(from))
	b, err2 := time.Parse("15:04", strings.TrimSpace(to))
	if !ok || err1 != nil || err2 != nil || a.Equal(b) {
		return QuietHours{}, fmt.Errorf("%.40q is no part of a day, like 21:00-08:00", s)
	}
	return QuietHours{sinceMidnight(a), sinceMidnight(b)}, nil
}

func sinceMidnight(t time.Time) time.Duration {
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
}

// Length is how long they last on a day without a change of the clocks.
func (q QuietHours) Length() time.Duration {
	if q.to < q.from {
		return q.to + 24*time.Hour - q.from
	}
	return q.to - q.from
}

// Until returns when the quiet hours that hold at now are over in all of the
// zones, or the zero time when it is quiet in none of them. A country with
// several zones has several: none of its people is woken.
func (q QuietHours) Until(now time.Time, zones ...*time.Location) time.Time {
	if q == (QuietHours{}) {
		return time.Time{}
	}
	end := now
	for range 2 * (len(zones) + 1) { // where one zone's night ends, another's may hold
		next := end
		for _, z := range zones {
			if t := q.end(end, z); t.After(next) {
				next = t
			}
		}
		if next.Equal(end) {
			break
		}
		end = next
	}
	if end.Equal(now) {
		return time.Time{}
	}
	return end
}

// end returns when the quiet hours that hold at t in one zone are over, or t. The
// clock on the wall counts: a night with a change of the clocks is longer or
// shorter.
func (q QuietHours) end(t time.Time, z *time.Location) time.Time {
	local := t.In(z)
	wall := sinceMidnight(local)
	days := 0
	switch {
	case q.from < q.to && (wall < q.from || wall >= q.to):
		return t
	case q.from > q.to && wall >= q.to && wall < q.from:
		return t
	case q.from > q.to && wall >= q.from:
		days = 1
	}
	end := time.Date(local.Year(), local.Month(), local.Day()+days, int(q.to/time.Hour), int(q.to%time.Hour/time.Minute), 0, 0, z)
	for !end.After(t) { // the clock goes back over the end: it comes twice
		end = end.Add(time.Hour)
	}
	return end
}
