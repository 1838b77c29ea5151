package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// accountChanged takes over what WhatsApp says of an account or a number: alarms, and
// what may not be sent.
func (t *tenant) accountChanged(u *turn) {
	c := u.e.AccountChange
	if c == nil {
		u.note("the event says nothing of an account")
		return
	}
	u.note(c.Text)
	numbers, target, sure := t.concerned(u.e)
	if len(numbers) == 0 {
		u.note("none of the tenant's numbers is concerned")
		return
	}
	id := c.About + "@" + target
	switch {
	case c.About == "":
	case c.Over:
		if t.lower(&u.s, id, c.Text, u.e.ID, u.e.Time) {
			u.note("the alarm " + id + " is over: what it stopped goes on")
		}
	case c.Alarm != "":
		a := Alarm{
			ID: id, Level: c.Alarm, About: c.About, Numbers: numbers, Text: c.Text, Hint: hintOf(c.About), Told: u.e.Time, Event: u.e.ID,
		}
		if was, ok := t.alarmOf(id); ok && c.Stops == nil && was.live(u.e.Time) {
			a.Stops = was.Stops
		} else if c.Stops != nil {
			a.Stops = *c.Stops
		}
		if !sure && len(a.Stops) > 0 {
			a.Stops = nil
			u.note("nothing is stopped: none of the numbers is known as the one that it is about; say what it is by display in [[numbers]]")
		}
		if !t.raise(&u.s, a) {
			u.note("that is no news")
			return
		}
		u.note("alarm " + id)
		for _, s := range a.Stops {
			u.note(StopInWords(s))
		}
		if c.About == aboutQuality || slices.ContainsFunc(a.Stops, func(s core.Stop) bool { return s.What != core.StopReplies }) {
			for _, n := range numbers {
				t.numberInTrouble(&u.s, u.e.ID+"/"+n, n, c.Text)
			}
			u.note("campaigns from the numbers stop")
		}
	}
}

// aboutQuality is the [core.AccountChange.About] of people blocking or reporting a number.
const aboutQuality = "quality"

// concerned returns the ids of the numbers that the event is about, and what names
// them in an alarm's ID: one number, or the account. It is not sure when the event is
// about one number, and nobody knows which that is.
func (t *tenant) concerned(e *core.Event) (numbers []string, target string, sure bool) {
	c := e.AccountChange
	var unknown []string
	for _, n := range t.Numbers {
		display := digits(t.numbers[n.ID].displayed())
		if n.ID == e.Number || c.Display != "" && display == digits(c.Display) {
			return []string{n.ID}, n.ID, true
		}
		if n.Account == "" || c.Account == "" || n.Account == c.Account {
			numbers = append(numbers, n.ID)
			if display == "" {
				unknown = append(unknown, n.ID)
			}
		}
	}
	if c.Display != "" && len(unknown) == 1 {
		return unknown, unknown[0], true
	}
	return numbers, or(c.Account, "account"), c.Display == ""
}

// displayed is the lane's number as people write it, as far as it is known.
func (l *lane) displayed() string {
	known, _ := l.health.now()
	return or(l.display, known.Health.DisplayNumber)
}

// hintOf says what can be done about an alarm.
func hintOf(about string) string {
	switch kind, _, _ := strings.Cut(about, "/"); kind {
	case "security":
		return "if it was none of you, change the PIN in WhatsApp Manager and look who has access to the business"
	case "error":
		if about == "error/131042" || about == "error/131044" {
			return "check the payment method in WhatsApp Manager"
		}
	case "quality":
		return "pause campaigns of the number, and look at its quality in WhatsApp Manager"
	case "flow":
		return "correct the flow in WhatsApp Manager"
	case "partner":
		return "make sure that the app is subscribed to the account, and that its token works"
	}
	return "look at the account in Meta's WhatsApp Manager; ask for a review there if it is a mistake"
}

// StopInWords says what is not sent, and until when.
func StopInWords(s core.Stop) string {
	what := map[string]string{core.StopAll: "nothing is sent", core.StopBegins: "nothing is sent to people who have not written within a day", core.StopReplies: "nothing is sent to people who have written within a day"}[s.What]
	if s.Until.IsZero() {
		return what + " until WhatsApp lifts it, or a person settles the alarm"
	}
	return what + " until " + s.Until.UTC().Format(time.RFC3339)
}

// barred is why a number may not send, and until when; zero when nobody knows.
type barred struct {
	why   string
	until time.Time
}

// bars says whether WhatsApp lets a number send something: core.StopBegins,
// core.StopReplies, or for core.StopAll anything at all. The channel is closed when
// that changes.
func (t *tenant) bars(l *lane, what string, now time.Time) (b barred, is bool, changed <-chan struct{}) {
	t.alarms.mu.Lock()
	defer t.alarms.mu.Unlock()
	if l.held == nil {
		return barred{}, false, nil // no number's lane
	}
	number := l.number()
	find := func(what string) (b barred, is bool) {
		for _, a := range t.alarms.all {
			if a.Over || !slices.Contains(a.Numbers, number) {
				continue
			}
			for _, s := range a.Stops {
				if s.What != what && s.What != core.StopAll || !s.Until.IsZero() && !now.Before(s.Until) {
					continue
				}
				if !is || s.Until.IsZero() || !b.until.IsZero() && s.Until.After(b.until) {
					b = barred{why: a.Text, until: s.Until}
				}
				is = true
			}
		}
		return b, is
	}
	if what != core.StopAll {
		b, is = find(what)
		return b, is, t.alarms.changed
	}
	// Nothing at all may be sent while neither of the two may.
	begins, one := find(core.StopBegins)
	replies, two := find(core.StopReplies)
	if b = begins; begins.until.IsZero() || !replies.until.IsZero() && replies.until.Before(begins.until) {
		b = replies
	}
	return b, one && two, t.alarms.changed
}

// mayRun waits while WhatsApp lets the number send nothing. It reports false when ctx
// ends.
func (l *lane) mayRun(ctx context.Context) bool {
	for ctx.Err() == nil {
		b, is, changed := l.t.bars(l, core.StopAll, time.Now())
		if !is {
			return true
		}
		var over <-chan time.Time
		if !b.until.IsZero() {
			timer := time.NewTimer(time.Until(b.until))
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-over:
		}
	}
	return false
}

// unbarred takes out of a batch of sends what WhatsApp does not let the number send
// now. That is no failed attempt; it is looked at again when it may go, or after a
// quarter of the time that it has waited.
func (l *lane) unbarred(ctx context.Context, ds []store.Delivery) []store.Delivery {
	now := time.Now().UTC()
	begins, any1, _ := l.t.bars(l, core.StopBegins, now)
	replies, any2, _ := l.t.bars(l, core.StopReplies, now)
	if !any1 && !any2 {
		return ds
	}
	_, all, _ := l.t.bars(l, core.StopAll, now)
	isBeginning, err := l.begins(ctx, ds, now)
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	var s store.Settlement
	may := ds[:0:0]
	for i, d := range ds {
		e := eventOf(d)
		b, is := replies, any2
		if isBeginning[i] {
			b, is = begins, any1
		}
		if !is || len(d.Mark) > 0 {
			may = append(may, d)
			continue
		}
		due := now.Add(min(max(now.Sub(d.Added)/4, leastHold), mostHold))
		if !b.until.IsZero() && b.until.Before(due) {
			due = b.until
		}
		if all {
			due = now // the lane waits: see mayRun
		}
		s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: due})
		l.waits(&s, d, e, now, due, LimitAlarm, b.words())
	}
	if len(s.Nak) == 0 {
		return ds
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	l.b.m.paced.WithLabelValues(l.t.ID, l.name).Add(float64(len(s.Nak)))
	return may
}

func (b barred) words() string {
	if b.until.IsZero() {
		return b.why + " (until WhatsApp lifts it, or a person settles the alarm)"
	}
	return b.why + " (until " + b.until.UTC().Format(time.RFC3339) + ")"
}

// locked raises an alarm when WhatsApp refuses a send because the number as a whole
// may not send: it cannot pay, or is locked or restricted.
func (l *lane) locked(s *store.Settlement, send *core.Event, err *core.Error, now time.Time) {
	if err == nil {
		return
	}
	vendor, _, _ := strings.Cut(err.Vendor, "/")
	if code, bad := strconv.Atoi(vendor); bad == nil && whatsapp.Locks(code) {
		l.t.lockedBy(s, send.Number, code, err.Message, send.ID, now)
	}
}

// lockedBy raises the alarm of an error that locks a number.
func (t *tenant) lockedBy(s *store.Settlement, number string, code int, text, event string, now time.Time) {
	about := fmt.Sprintf("error/%d", code)
	t.raise(s, Alarm{
		ID: about + "@" + number, Level: "critical", About: about, Numbers: []string{number},
		Text: text, Hint: hintOf(about), Told: now, Event: event,
	})
}

// watchLocks looks whether the turn's status says that its number is locked, or that it is
// not any more: WhatsApp billed something.
func (t *tenant) watchLocks(u *turn) {
	st := u.e.Status
	for _, e := range st.Errors {
		if whatsapp.Locks(e.Code) {
			t.lockedBy(&u.s, u.e.Number, e.Code, fmt.Sprintf("WhatsApp did not deliver: error %d: %s", e.Code, or(e.Details, e.Title)), u.e.ID, u.step.Time)
			u.note("alarm: the number may not send")
		}
	}
	var pricing struct {
		Billable bool `json:"billable"`
	}
	if len(st.Errors) == 0 && len(st.Pricing) > 0 && t.alarmed() && json.Unmarshal(st.Pricing, &pricing) == nil && pricing.Billable {
		t.unlocked(&u.s, u.e.Number, u.e.ID, true, u.step.Time)
	}
}

func (t *tenant) alarmed() bool {
	t.alarms.mu.Lock()
	defer t.alarms.mu.Unlock()
	return len(t.alarms.all) > 0
}

// unlocked ends the alarms of errors that locked a number: it sends again. Of one that
// could not pay that is known when WhatsApp bills something.
func (t *tenant) unlocked(s *store.Settlement, number, event string, bills bool, now time.Time) {
	if !t.alarmed() {
		return
	}
	for _, code := range []int{368, 131031, 131042, 131044} {
		if pays := code == 131042 || code == 131044; pays == bills {
			t.lower(s, fmt.Sprintf("error/%d@%s", code, number), "the number sends again", event, now)
		}
	}
}

// wellAgain ends alarms that stop a number of which WhatsApp says, when it is asked,
// that it may send: that it is over may never have been told. News of a moment ago
// are left alone.
func (t *tenant) wellAgain(ctx context.Context, number string, now time.Time) {
	var s store.Settlement
	for _, a := range t.listAlarms(now) {
		if len(a.Stops) > 0 && slices.Contains(a.Numbers, number) && now.Sub(a.Told) >= troubledEvery {
			t.lower(&s, a.ID, "WhatsApp says, when it is asked, that the number may send", a.Event, now)
		}
	}
	if len(s.Put) > 0 {
		s.Lazy = true
		_, _ = t.b.settle(ctx, s) // else it is said again
	}
}
