package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
)

const (
	leastOut      = 2 * CampaignBatch // rows that may be on their way at once, at least
	secondsOut    = 2                 // or as many as the number sends in so many seconds
	campaignRetry = 5 * time.Second
	campaignLook  = 30 * time.Second // what is told nobody of is looked at
)

// campaignsLoop plans and sends campaigns.
func (t *tenant) campaignsLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	readers := &segmentReaders{t: t, on: map[string]*segmentReader{}}
	defer readers.wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.campaigns.wake:
		case <-timer.C:
		}
		next := time.Duration(0) // nothing to do
		for _, c := range *t.campaigns.view.Load() {
			readers.tend(ctx, c.Name)
			wait, err := t.campaignStep(ctx, c.Name)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.b.log.Error("campaign", "tenant", t.ID, "campaign", c.Name, "error", err)
				wait = campaignRetry
			}
			if wait > 0 && (next == 0 || wait < next) {
				next = wait
			}
		}
		timer.Stop()
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// campaignStep does the next thing for a campaign, and returns when to come again if
// nobody wakes the loop; 0 is not at all.
func (t *tenant) campaignStep(ctx context.Context, name string) (time.Duration, error) {
	if err := t.campaigns.take(ctx); err != nil {
		return 0, err
	}
	defer t.campaigns.give()
	c := t.campaign(name)
	if c == nil {
		return 0, nil
	}
	switch c.State {
	case campaign.Planning:
		if c.reads() { // see segmentReader
			return 0, nil
		}
		return time.Nanosecond, t.planSome(ctx, c)
	case campaign.Canary, campaign.Running:
		if why := t.endedFor(c); why != "" {
			return 0, t.pauseItself(ctx, c.copyOf(), why)
		}
		return t.sendSome(ctx, c)
	}
	return 0, nil
}

// endedFor says what is wrong with a campaign's template, or "".
func (t *tenant) endedFor(c *campaignRecord) string {
	switch status := t.templates.of(c.Number, &core.Template{Name: c.Template.Name, Language: c.Template.Language}).Status; status {
	case "REJECTED", "DISABLED", "DELETED", "PAUSED", "FLAGGED", "PENDING_DELETION", "LOCKED":
		return fmt.Sprintf("WhatsApp has the template %s (%s) as %s", c.Template.Name, c.Template.Language, strings.ToLower(status))
	}
	return ""
}

// pauseItself stops a campaign until a person has looked. The caller has the turn.
func (t *tenant) pauseItself(ctx context.Context, c *campaignRecord, why string) error {
	c.Resume = c.State
	story := c.become(campaign.Paused, byBridge, why)
	t.b.log.Error("a campaign stopped by itself: see `wabridge campaign show`", "tenant", t.ID, "campaign", c.Name, "why", why)
	t.b.m.campaignsStopped.WithLabelValues(t.ID).Inc()
	return t.keepCampaign(ctx, c, store.Settlement{Record: []store.Record{story}})
}

// outAtOnce is how many rows may be on their way.
func (t *tenant) outAtOnce(c *campaignRecord) int {
	return max(leastOut, int(secondsOut*t.numbers[c.Number].limiter.Rate()))
}

// sendSome sends the next rows off, if it is time. The caller has the turn.
func (t *tenant) sendSome(ctx context.Context, c *campaignRecord) (time.Duration, error) {
	now := time.Now().UTC()
	out := c.Counts[campaign.RowQueued]
	room := min(CampaignBatch, t.outAtOnce(c)-out)
	if c.State == campaign.Canary {
		if done, wait, err := t.judgeFirst(ctx, c, now); done || err != nil {
			return wait, err
		}
	}
	if room < CampaignBatch/4 && out > 0 {
		t.waits(c, fmt.Sprintf("%d are on their way", out), time.Time{})
		return campaignLook, nil
	}
	rows, from, later, err := t.nextRows(ctx, c, room, now)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return t.nothingToSend(ctx, c, later, now)
	}
	queued, err := t.sendOff(ctx, c.copyOf(), rows, now)
	if e := core.AsError(err); err != nil && (errors.Is(err, store.ErrFull) || e.Code == core.CodeUnavailable) {
		t.waits(c, e.Error(), now.Add(campaignRetry))
		return campaignRetry, nil
	}
	if err != nil {
		return 0, err
	}
	t.campaigns.from[c.Name] = from
	t.campaigns.waits.Delete(c.Name)
	t.b.log.Debug("campaign", "tenant", t.ID, "campaign", c.Name, "queued", queued)
	return campaignLook, nil
}

func (t *tenant) waits(c *campaignRecord, why string, until time.Time) {
	t.campaigns.waits.Store(c.Name, waiting{why, until})
}

// nextRows finds rows to send now: up to n, and where they end; if there are none, when
// the first of those is due for whom it is night.
func (t *tenant) nextRows(ctx context.Context, c *campaignRecord, n int, now time.Time) (rows []*campaign.Row, from string, later time.Time, err error) {
	const page = 500
	from = t.campaigns.from[c.Name]
	for whole := from == ""; ; {
		some, err := t.rowsAfter(ctx, c.Name, from, page)
		if err != nil {
			return nil, from, later, err
		}
		for _, r := range some {
			if len(rows) == n {
				return rows, from, later, nil
			}
			from = rowKey(t.ID, c.Name, r.N).Key
			switch {
			case r.State != campaign.RowPlanned:
			case c.State == campaign.Canary && !campaign.GoesFirst(r.Ordinal, c.FirstRows, c.Plan.Planned):
			case r.NotBefore.After(now):
				if later.IsZero() || r.NotBefore.Before(later) {
					later = r.NotBefore
				}
			default:
				rows = append(rows, r)
			}
		}
		if len(some) < page {
			if len(rows) > 0 || whole {
				return rows, from, later, nil
			}
			from, whole = "", true // once more from the beginning
		}
	}
}

// nothingToSend is when no row can be sent now: all are, or it is night.
func (t *tenant) nothingToSend(ctx context.Context, c *campaignRecord, later, now time.Time) (time.Duration, error) {
	t.campaigns.from[c.Name] = ""
	switch {
	case !later.IsZero():
		t.waits(c, "for those who are left it is night (quiet_hours), or WhatsApp keeps marketing from them", later)
		return later.Sub(now), nil
	case c.Counts[campaign.RowQueued] > 0:
		t.waits(c, fmt.Sprintf("%d are on their way", c.Counts[campaign.RowQueued]), time.Time{})
		return campaignLook, nil
	case c.State == campaign.Canary:
		return campaignLook, nil
	}
	c = c.copyOf()
	if err := t.recount(ctx, c); err != nil {
		return 0, err
	}
	if c.Counts[campaign.RowQueued]+c.Counts[campaign.RowPlanned]+c.Counts[campaign.RowListed] > 0 {
		t.b.log.Error("a campaign's counts were not those of its rows", "tenant", t.ID, "campaign", c.Name)
		return campaignLook, t.keepCampaign(ctx, c, store.Settlement{})
	}
	t.campaigns.waits.Delete(c.Name)
	delete(t.campaigns.from, c.Name)
	return 0, t.keepCampaign(ctx, c, store.Settlement{Record: []store.Record{c.become(campaign.Done, byBridge, "")}})
}

// recount counts the rows: what is done is what they say.
func (t *tenant) recount(ctx context.Context, c *campaignRecord) error {
	const page = 1000
	c.Counts = campaign.Counts{}
	for after := ""; ; {
		rows, err := t.rowsAfter(ctx, c.Name, after, page)
		if err != nil {
			return err
		}
		for _, r := range rows {
			c.Counts.Move("", r.State)
			after = rowKey(t.ID, c.Name, r.N).Key
		}
		if len(rows) < page {
			return nil
		}
	}
}

// judgeFirst looks at the rows that went first once all of them have ended, and lets the
// others follow, or not. It reports whether it has done all there is to do now.
func (t *tenant) judgeFirst(ctx context.Context, c *campaignRecord, now time.Time) (done bool, wait time.Duration, err error) {
	if c.FirstOut.IsZero() {
		if c.Counts[campaign.RowQueued] > 0 {
			return false, 0, nil
		}
		rows, _, later, err := t.nextRows(ctx, c, 1, now)
		if err != nil || len(rows) > 0 || !later.IsZero() {
			return false, 0, err
		}
		c = c.copyOf()
		c.FirstOut = now
		return true, time.Nanosecond, t.keepCampaign(ctx, c, store.Settlement{})
	}
	if until := c.FirstOut.Add(c.First.WaitFor()); now.Before(until) {
		t.waits(c, fmt.Sprintf("%d went first: what becomes of them is waited for", c.FirstRows), until)
		return true, until.Sub(now), nil
	}
	c = c.copyOf()
	t.campaigns.from[c.Name] = ""
	if why := c.Stops.Judge(c.Lately); why != "" {
		c.State = campaign.Running // what resuming it leads to: a person has looked then
		return true, 0, t.pauseItself(ctx, c, "those that went first: "+why)
	}
	why := fmt.Sprintf("%d went first, of which %d failed", c.Lately.Sent, c.Lately.Failed)
	return true, time.Nanosecond, t.keepCampaign(ctx, c, store.Settlement{Record: []store.Record{c.become(campaign.Running, byBridge, why)}})
}

// sendOff makes events of rows. The caller has the turn.
func (t *tenant) sendOff(ctx context.Context, c *campaignRecord, rows []*campaign.Row, now time.Time) (int, error) {
	who, err := t.recipients(ctx, c, rows)
	if err != nil {
		return 0, err
	}
	until, err := t.notYet(ctx, c, rows, who, now)
	if err != nil {
		return 0, err
	}
	var s store.Settlement
	var events []core.Event
	taken := map[string]int{}
	for i, r := range rows {
		to := who[i]
		reason, why := t.excludes(c, r, to, r.Values, now)
		if reason == "" && to.ID != r.Contact { // merged since
			if reason, why, err = t.hasRow(ctx, c, r, to.ID, taken, &s); err != nil {
				return 0, err
			}
		}
		if reason != "" {
			r.State, r.Reason, r.Why, r.At = campaign.RowExcluded, reason, why, now
			if reason == campaign.Erased {
				*r = campaign.Row{N: r.N, State: r.State, Reason: reason, Why: why, Bad: why, At: now}
			}
			c.Counts.Move(campaign.RowPlanned, campaign.RowExcluded)
			s.Put = append(s.Put, putRow(t.ID, c.Name, r))
			continue
		}
		if until[i].After(now) {
			r.NotBefore = until[i].UTC()
			s.Put = append(s.Put, putRow(t.ID, c.Name, r))
			continue
		}
		m, err := c.message(to.to, r.Values)
		if err != nil {
			return 0, err
		}
		r.State, r.At, r.Event = campaign.RowQueued, now, rowEvent(c.Name, r.N)
		c.Counts.Move(campaign.RowPlanned, campaign.RowQueued)
		s.Put = append(s.Put, putRow(t.ID, c.Name, r))
		events = append(events, core.Event{
			ID: r.Event, Kind: core.KindMessageSend, Tenant: t.ID, Number: c.Number, Time: now, Source: sourceCampaign, Class: core.ClassCampaign,
			Contact: contactAt(to.to), Message: m, Campaign: c.Name,
		})
	}
	s.Put = append(s.Put, c.put())
	t.b.failpoint("campaign-before-commit")
	if _, err := t.b.accept(ctx, events, s); err != nil {
		return 0, err
	}
	t.b.failpoint("campaign-after-commit")
	t.took(c)
	return len(events), nil
}

// notYet says until when rows wait: it is night where the person is, or WhatsApp keeps
// marketing from them.
func (t *tenant) notYet(ctx context.Context, c *campaignRecord, rows []*campaign.Row, who []*recipient, now time.Time) ([]time.Time, error) {
	out := make([]time.Time, len(rows))
	category, _ := t.category(c.Number, &core.Template{Name: c.Template.Name, Language: c.Template.Language}, now)
	var keys []store.Key
	for i, to := range who {
		id := ""
		if to != nil {
			id = to.ID
			out[i] = t.Policy.QuietHours.Until(now, t.quietIn(c, to, now)...)
		}
		keys = append(keys, t.withheldKey(id))
	}
	if category != consent.CategoryMarketing {
		return out, nil
	}
	values, err := t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		if w, ok := decode[withholding](v); ok && w.Until.After(out[i]) {
			out[i] = w.Until
		}
	}
	return out, nil
}

// hasRow says whether somebody into whom a row's contact was merged has a row of their
// own already; if not, this is theirs now.
func (t *tenant) hasRow(ctx context.Context, c *campaignRecord, r *campaign.Row, id string, taken map[string]int, s *store.Settlement) (reason, why string, err error) {
	k := rowOfKey(t.ID, id, c.Name)
	v, err := t.b.o.Store.Get(ctx, k)
	if err != nil {
		return "", "", err
	}
	n, _ := strconv.Atoi(string(v[0]))
	if n == 0 {
		n = taken[id]
	}
	if n != 0 && n != r.N {
		return campaign.Duplicate, "the same person as row " + strconv.Itoa(n), nil
	}
	taken[id] = r.N
	s.Put = append(s.Put, putRowOf(t.ID, id, c.Name, r.N))
	return "", "", nil
}

// sourceCampaign is the Event.Source of a campaign's messages.
const sourceCampaign = "campaign"

// rowEvent is the ID of the event of a row: the same whenever it is made.
func rowEvent(name string, n int) string { return fmt.Sprintf("%s-%d", campaignStory(name), n) }

// rowOf is the row of such an event.
func rowOf(event string) int {
	root := core.RootID(event)
	n, _ := strconv.Atoi(root[strings.LastIndexByte(root, '-')+1:])
	return n
}
