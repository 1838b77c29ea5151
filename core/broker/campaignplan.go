package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// recipient is who a row is for, as they are now.
type recipient struct {
	*person
	conv *conversation
	to   core.Address
}

// recipients looks up who rows are for: those who were merged into others are these;
// nil for whoever is gone.
func (t *tenant) recipients(ctx context.Context, c *campaignRecord, rows []*campaign.Row) ([]*recipient, error) {
	keys := make([]store.Key, 0, 2*len(rows))
	for _, r := range rows {
		keys = append(keys, contactKey(t.ID, r.Contact), conversationKey(t.ID, r.Contact, c.Number))
	}
	values, err := t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*recipient, len(rows))
	for i, r := range rows {
		if r.Contact == "" || values[2*i] == nil {
			continue
		}
		p := personOf(values[2*i])
		conv, _ := decode[conversation](values[2*i+1])
		if p.MergedInto != "" {
			if p, err = t.standsFor(ctx, values[2*i]); err != nil {
				return nil, err
			}
			again, err := t.b.o.Store.Get(ctx, conversationKey(t.ID, p.ID, c.Number))
			if err != nil {
				return nil, err
			}
			conv, _ = decode[conversation](again[0])
			if p.MergedInto != "" { // into somebody who is gone
				continue
			}
		}
		out[i] = &recipient{person: p, conv: conv, to: p.Address()}
		if a, err := core.ParseAddress(r.To); err == nil && p.has(contact.KeyOf(a)) != nil {
			out[i].to = a
		}
	}
	return out, nil
}

// excludes says why a row may not be sent as things are now: the reason's kind, and in
// words. Values are the row's, or those that it would get.
func (t *tenant) excludes(c *campaignRecord, r *campaign.Row, to *recipient, values []string, now time.Time) (reason, why string) {
	switch {
	case r.Bad != "":
		return r.Reason, r.Bad
	case to == nil:
		return campaign.Erased, "the person is not known any more"
	case to.to == (core.Address{}):
		return campaign.NoAddress, "the contact has no address"
	case !to.Undeliverable.IsZero():
		return campaign.Invalid, "WhatsApp could not deliver to this person on " + to.Undeliverable.Format(time.DateOnly)
	}
	m, err := c.message(to.to, values)
	if err != nil {
		return campaign.NoTemplate, err.Error()
	}
	category, topics := t.category(c.Number, m.Template, now)
	if category == consent.CategoryAuthentication && to.to.Kind != core.AddressPhone {
		return campaign.NoAddress, "an authentication template needs a phone number"
	}
	level := category.Level()
	if why := to.Consent.Suppresses(consent.Outgoing{Marketing: level == consent.Marketing, Topics: topics}); why != "" {
		return campaign.Suppressed, why
	}
	if why := to.Consent.Refuses(level); why != "" {
		return campaign.NoConsent, why
	}
	if why := t.templates.ended(c.Number, m); why != "" {
		return campaign.NoTemplate, why
	}
	if err := whatsapp.Validate(m); err != nil {
		return campaign.NoTemplate, err.Error()
	}
	if err := t.misfit(c.Number, m); err != nil {
		return campaign.NoTemplate, err.Error()
	}
	return "", ""
}

// message is what a row says.
func (c *campaignRecord) message(to core.Address, values []string) (*core.Message, error) {
	tpl, err := c.Template.Render(values)
	if err != nil {
		return nil, err
	}
	return &core.Message{Direction: core.Outbound, Type: core.TypeTemplate, To: to, Template: tpl}, nil
}

// quietIn returns the zones whose quiet hours hold for a recipient; none when they do not
// for this message.
func (t *tenant) quietIn(c *campaignRecord, to *recipient, now time.Time) []*time.Location {
	switch category, _ := t.category(c.Number, &core.Template{Name: c.Template.Name, Language: c.Template.Language}, now); {
	case t.Policy.QuietHours == consent.QuietHours{}:
		return nil
	case category == consent.CategoryAuthentication:
		return nil
	case category != consent.CategoryMarketing && now.Sub(to.conv.LastIn) < liveFor:
		return nil
	}
	return t.zones(&to.Contact)
}

// planSome goes on with a plan: it reads the audience, then looks at the rows, a batch at
// a time. The caller has the turn.
func (t *tenant) planSome(ctx context.Context, c *campaignRecord) error {
	c = c.copyOf()
	if c.Crowd == nil { // an earlier version of the bridge began to plan
		c.Crowd = &campaign.Crowd{}
	}
	if c.Prices == nil { // nothing was in it when it was stored
		c.Prices = map[string]int{}
	}
	if c.Clearing {
		return t.clearRows(ctx, c, store.Settlement{})
	}
	if !c.Listed && (c.Tag != "" || c.Field != "") {
		return t.listAudience(ctx, c)
	}
	rows, err := t.rowsAfter(ctx, c.Name, c.Cursor, CampaignBatch)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return t.planned(ctx, c)
	}
	who, err := t.recipients(ctx, c, rows)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	until, err := t.notYet(ctx, c, rows, who, now)
	if err != nil {
		return err
	}
	plan := *c.Plan
	if plan.Excluded = maps.Clone(plan.Excluded); plan.Excluded == nil {
		plan.Excluded = map[string]int{}
	}
	s := store.Settlement{}
	for i, r := range rows {
		was := r.State
		t.planRow(c, &plan, r, who[i], until[i], now)
		c.Counts.Move(was, r.State)
		s.Put = append(s.Put, putRow(t.ID, c.Name, r))
	}
	c.Plan, c.Cursor = &plan, rowKey(t.ID, c.Name, rows[len(rows)-1].N).Key
	return t.keepCampaign(ctx, c, s)
}

// planRow decides about one row, which is not to go before until.
func (t *tenant) planRow(c *campaignRecord, plan *campaign.Plan, r *campaign.Row, to *recipient, until, now time.Time) {
	plan.Rows++
	r.At, r.Why, r.Values, r.NotBefore = now, "", nil, time.Time{}
	if r.Bad == "" {
		r.Reason = ""
	}
	var missing string
	if to != nil && r.Bad == "" {
		r.Values, missing = c.Template.Freeze(&to.Contact, r.Columns)
	}
	reason, why := t.excludes(c, r, to, r.Values, now)
	if missing != "" && (reason == "" || reason == campaign.NoTemplate) {
		reason, why = campaign.NoValue, "there is nothing for "+missing
	}
	if reason != "" {
		r.State, r.Reason, r.Why, r.Values = campaign.RowExcluded, reason, why, nil
		if reason == campaign.Erased {
			*r = campaign.Row{N: r.N, State: r.State, Reason: reason, Why: why, Bad: why, At: now}
		}
		plan.Excluded[reason]++
		return
	}
	r.State, r.Ordinal = campaign.RowPlanned, plan.Planned
	plan.Planned++
	open := now.Sub(to.conv.LastIn) < window
	if !open {
		plan.Begins++
	}
	kind := campaign.Kind{New: !open && !t.pace.people.Has(now, limit.Person{Tenant: t.ID, Key: to.ID})}
	zones := t.quietIn(c, to, now)
	for i, z := range zones {
		if i > 0 {
			kind.Zones += ","
		}
		kind.Zones += z.String()
	}
	if until.After(now) {
		plan.Night++
		if until.After(plan.NightEnds) {
			plan.NightEnds = until.UTC()
		}
		if until.After(t.Policy.QuietHours.Until(now, zones...)) { // WhatsApp keeps marketing from them
			kind.After = until.UTC().Add(time.Hour - 1).Truncate(time.Hour)
		}
	}
	c.Crowd.Add(kind)
	c.Prices[contact.Country(to.to)+" "+strconv.FormatBool(open)]++
}

// planned ends planning: what it costs, and when it would be done.
func (t *tenant) planned(ctx context.Context, c *campaignRecord) error {
	now := time.Now().UTC()
	plan := *c.Plan
	plan.At = now
	category, _ := t.category(c.Number, &core.Template{Name: c.Template.Name, Language: c.Template.Language}, now)
	plan.Category = string(category)
	for _, k := range slices.Sorted(maps.Keys(c.Prices)) {
		country, open, _ := strings.Cut(k, " ")
		plan.Cost.Add(t.Rates.Price(rate.Message{Country: country, Category: rate.Category(category), At: now, Window: open == "true"}), c.Prices[k])
	}
	if plan.Planned > 0 {
		plan.Finishes, plan.Bounds = t.paceOf(c, &plan, now).Finish(c.Crowd, now)
		if plan.Night > 0 {
			plan.Bounds = append(plan.Bounds, fmt.Sprintf("for %d it is night, or WhatsApp keeps marketing from them, until %s", plan.Night, plan.NightEnds.Format(time.RFC3339)))
		}
	}
	c.Plan, c.Cursor, c.Prices, c.Crowd = &plan, "", nil, nil
	return t.keepCampaign(ctx, c, store.Settlement{Record: []store.Record{c.become(campaign.Planned, c.SetBy, "")}})
}

// paceOf is what bounds how fast a campaign goes.
func (t *tenant) paceOf(c *campaignRecord, plan *campaign.Plan, now time.Time) campaign.Pace {
	p := campaign.Pace{PerSecond: t.numbers[c.Number].limiter.Rate(), Plan: t.pace.plan.Rate(), Out: t.outAtOnce(c) - CampaignBatch/4, First: c.First.Count(plan.Planned), Wait: c.First.WaitFor()}
	if p.Plan > 0 {
		p.Burst = burstOfPlan(t.Limits.MessagesPerMinute)
	}
	if most := t.pace.people.Most(); most > 0 {
		p.PeoplePerDay, p.Campaigns = most, limit.ForCampaigns(most)
		t.pace.people.Each(now, func(at time.Time, campaigns bool) {
			p.Reached = append(p.Reached, campaign.Reached{At: at, N: 1, Campaign: campaigns})
		})
	}
	zones := map[string][]*time.Location{}
	p.Quiet = func(at time.Time, names string) time.Time {
		if zones[names] == nil {
			for name := range strings.SplitSeq(names, ",") {
				if z, err := time.LoadLocation(name); err == nil {
					zones[names] = append(zones[names], z)
				}
			}
		}
		return t.Policy.QuietHours.Until(at, zones[names]...)
	}
	return p
}
