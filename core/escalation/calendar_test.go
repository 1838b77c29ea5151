package escalation

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustCalendar(t *testing.T, zone string, hours ...string) *Calendar {
	t.Helper()
	c, err := NewCalendar(zone, hours, []string{"2026-12-25", "01-01"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(t *testing.T, zone, s string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	v, err := time.ParseInLocation("2006-01-02 15:04", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCalendar_AddsBusinessTime(t *testing.T) {
	const madrid = "Europe/Madrid"
	split := mustCalendar(t, madrid, "mon-fri 09:00-13:00 15:00-19:00", "sat 10:00-14:00")
	night := mustCalendar(t, madrid, "fri,sat 22:00-06:00")
	round := mustCalendar(t, madrid, "mon-sun 00:00-24:00")
	for _, tc := range []struct {
		name     string
		c        *Calendar
		from     string
		add      time.Duration
		want     string
		openFrom bool
	}{
		{"within", split, "2026-11-27 09:30", time.Hour, "2026-11-27 10:30", true},
		{"over lunch", split, "2026-11-27 12:30", time.Hour, "2026-11-27 15:30", true},
		{"to closing, exactly", split, "2026-11-27 18:00", time.Hour, "2026-11-27 19:00", true},
		{"over night, to saturday", split, "2026-11-27 18:30", time.Hour, "2026-11-28 10:30", true},
		{"over sunday", split, "2026-11-28 15:00", time.Hour, "2026-11-30 10:00", false},
		{"nothing is the next opening", split, "2026-11-28 15:00", 0, "2026-11-30 09:00", false},
		{"over a holiday", split, "2026-12-24 18:00", 2 * time.Hour, "2026-12-26 11:00", true},
		{"over a yearly holiday", split, "2026-12-31 18:30", time.Hour, "2027-01-02 10:30", true},
		{"over midnight", night, "2026-11-27 23:00", 2 * time.Hour, "2026-11-28 01:00", true},
		{"into the next night", night, "2026-11-28 05:00", 2 * time.Hour, "2026-11-28 23:00", true},
		{"a night that begins on a holiday is not", night, "2026-12-25 20:00", time.Hour, "2026-12-26 23:00", false},
		{"always", round, "2026-11-27 23:30", time.Hour, "2026-11-28 00:30", true},
		{"an hour that is left out", round, "2026-03-29 01:30", time.Hour, "2026-03-29 03:30", true},
		{"a night with 7 hours", mustCalendar(t, madrid, "sat 22:00-06:00"), "2026-03-28 21:00", 7 * time.Hour, "2026-03-29 06:00", false},
		{"a night with 9 hours", mustCalendar(t, madrid, "sat 22:00-06:00"), "2026-10-24 21:00", 9 * time.Hour, "2026-10-25 06:00", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			from, want := at(t, madrid, tc.from), at(t, madrid, tc.want)
			if got := tc.c.Add(from, tc.add); !got.Equal(want) {
				t.Errorf("%s and %s is %s, want %s", tc.from, tc.add, got, want)
			}
			if got := tc.c.Open(from); got != tc.openFrom {
				t.Errorf("open at %s: %v", tc.from, got)
			}
		})
	}
}

func TestCalendar_NilIsAlwaysOpen(t *testing.T) {
	var c *Calendar
	now := time.Now()
	if !c.Open(now) || !c.NextOpening(now).Equal(now) || !c.Add(now, time.Hour).Equal(now.Add(time.Hour)) {
		t.Error("it is not")
	}
}

func TestCalendar_ThatNeverOpensSaysSo(t *testing.T) {
	holidays := make([]string, 0, 366)
	for d := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() == 2024; d = d.AddDate(0, 0, 1) {
		holidays = append(holidays, d.Format("01-02"))
	}
	c, err := NewCalendar("UTC", []string{"mon-sun 00:00-24:00"}, holidays)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Add(time.Now(), time.Hour); !got.IsZero() {
		t.Errorf("an hour will have been worked at %s", got)
	}
	if got := c.NextOpening(time.Now()); !got.IsZero() {
		t.Errorf("it opens at %s", got)
	}
}

func TestCalendar_RefusesWhatCannotBe(t *testing.T) {
	for _, tc := range []struct{ zone, hours, holiday, want string }{
		{"Europe/Atlantis", "mon 09:00-10:00", "", "no time zone"},
		{"", "mon 09:00-10:00", "", "no time zone"},
		{"UTC", "mon", "", "want days and hours"},
		{"UTC", "moon 09:00-10:00", "", "are no days"},
		{"UTC", "mon-fri,wed 09:00-10:00", "", "wed is there twice"},
		{"UTC", "mon 9:00-10:00", "", "are no hours"},
		{"UTC", "mon 09:00-25:00", "", "are no hours"},
		{"UTC", "mon 09:60-10:00", "", "are no hours"},
		{"UTC", "mon 09:00", "", "are no hours"},
		{"UTC", "mon 24:00-06:00", "", "are no hours"},
		{"UTC", "mon 09:00-09:00", "", "no time at all"},
		{"UTC", "mon 09:00-13:00 12:00-15:00", "", "overlap"},
		{"UTC", "mon-tue 20:00-09:30 09:00-10:00", "", "runs into"},
		{"UTC", "mon 09:00-10:00", "25.12.", "no date"},
		{"UTC", "mon 09:00-10:00", "2026-02-30", "no date"},
	} {
		var holidays []string
		if tc.holiday != "" {
			holidays = []string{tc.holiday}
		}
		if _, err := NewCalendar(tc.zone, []string{tc.hours}, holidays); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, %q, %q: %v, want %q", tc.zone, tc.hours, tc.holiday, err, tc.want)
		}
	}
}

// slowOpen asks the calendar's definition: is the clock on the wall within the
// hours of today, or of yesterday's night?
func slowOpen(zone *time.Location, week map[time.Weekday][][2]int, holidays map[string]bool, t time.Time) bool {
	l := t.In(zone)
	m := l.Hour()*60 + l.Minute()
	for _, s := range week[l.Weekday()] {
		if !holidays[l.Format(time.DateOnly)] && m >= s[0] && m < s[1] {
			return true
		}
	}
	y := time.Date(l.Year(), l.Month(), l.Day()-1, 12, 0, 0, 0, time.UTC)
	for _, s := range week[y.Weekday()] {
		if !holidays[y.Format(time.DateOnly)] && m+24*60 >= s[0] && m+24*60 < s[1] {
			return true
		}
	}
	return false
}

// Zones with their changes at odd times: at midnight, by half an hour, far from
// UTC.
var (
	zones  = []string{"Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "America/Havana", "Pacific/Chatham", "Asia/Taipei", "America/Santiago"}
	shifts = []string{"09:00-17:00", "09:00-13:00 15:00-19:00", "00:00-24:00", "22:00-06:00", "01:30-02:30", "23:30-00:30", "02:00-03:00 03:15-04:00", "00:00-01:00 23:00-24:00"}
	dates  = []string{"2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04", "2026-09-06", "2026-09-27", "2026-06-15"}
)

func TestCalendar_IsWhatTheClockOnTheWallSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		date := rapid.SampledFrom(dates).Draw(t, "date")
		var lines []string
		week := map[time.Weekday][][2]int{}
		for d, name := range dayNames {
			shift := rapid.SampledFrom(append([]string{""}, shifts...)).Draw(t, name)
			if shift == "" {
				continue
			}
			lines = append(lines, name+" "+shift)
			for part := range strings.FieldsSeq(shift) {
				a, b, _ := strings.Cut(part, "-")
				from, err := minute(a)
				to, err2 := minute(b)
				if err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				if to < from {
					to += day
				}
				week[time.Weekday(d)] = append(week[time.Weekday(d)], [2]int{from, to})
			}
		}
		holidays := map[string]bool{}
		var holiday []string
		if rapid.Bool().Draw(t, "holiday") {
			holiday = []string{date}
			holidays[date] = true
		}
		c, err := NewCalendar(zone, lines, holiday)
		if err != nil {
			t.Skip(err) // nights that run into early mornings
		}
		around, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		from := around.Add(time.Duration(rapid.IntRange(-48*60, 48*60).Draw(t, "minute")) * time.Minute)
		add := rapid.IntRange(0, 40*60).Draw(t, "add")

		if got, want := c.Open(from), slowOpen(c.zone, week, holidays, from); got != want {
			t.Fatalf("open at %s: %v, want %v", from.In(c.zone), got, want)
		}
		want := from
		for n := 0; ; want = want.Add(time.Minute) {
			if open := slowOpen(c.zone, week, holidays, want); n == add && (open || add > 0) {
				break
			} else if open {
				n++
			}
			if want.Sub(from) > 30*24*time.Hour {
				t.Skip("more than a month")
			}
		}
		if got := c.Add(from, time.Duration(add)*time.Minute); !got.Equal(want) {
			t.Fatalf("%s and %d minutes of %v is %s, want %s", from.In(c.zone), add, lines, got.In(c.zone), want.In(c.zone))
		}
	})
}
