package broker

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
)

// A campaign goes with its last row, when those have been kept for as long as they are: one
// that is over, and one that nobody has touched for as long. A person may delete one before,
// unless it sends. Its name stays taken while anything may still be known of its people by it.

const (
	bucketCampaignNames = "campaign-names" // name → when its campaign went
	keepName            = keepRowOf
	campaignsSweep      = 6 * time.Hour
)

func campaignNameKey(tenant, name string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketCampaignNames, Key: name}
}

// campaignsSweepLoop forgets campaigns whose rows have gone.
func (t *tenant) campaignsSweepLoop(ctx context.Context) {
	for {
		for name := range *t.campaigns.view.Load() {
			if err := t.forgetIdle(ctx, name, time.Now()); err != nil && ctx.Err() == nil {
				t.b.log.Warn("a campaign could not be forgotten", "tenant", t.ID, "campaign", name, "error", err)
			}
		}
		if !pause(ctx, campaignsSweep) {
			return
		}
	}
}

// idle reports whether nothing was done with a campaign for as long as rows are kept.
func (c *campaignRecord) idle(now time.Time) bool {
	switch c.State {
	case campaign.Planning, campaign.Canary, campaign.Running:
		return false
	}
	return now.Sub(c.Since) > keepRows
}

func (t *tenant) forgetIdle(ctx context.Context, name string, now time.Time) error {
	if c := t.campaign(name); c == nil || !c.idle(now) {
		return nil
	}
	if err := t.campaigns.take(ctx); err != nil {
		return err
	}
	defer t.campaigns.give()
	c := t.campaign(name)
	if c == nil || !c.idle(now) {
		return nil
	}
	if rows, err := t.rowsAfter(ctx, name, "", 1); err != nil || len(rows) > 0 {
		return err
	}
	return t.forgetCampaign(ctx, c, "forgotten: nothing was done with it for 180 days, and its rows are gone", true)
}

// forgetCampaign removes a campaign without rows. The caller has the turn.
func (t *tenant) forgetCampaign(ctx context.Context, c *campaignRecord, note string, keepsName bool) error {
	now := time.Now().UTC()
	step := Step{Time: now, Event: campaignStory(c.Name), Kind: core.KindMessageSend, Tenant: t.ID, Step: "campaign", Notes: []string{note}}
	s := store.Settlement{Put: []store.Put{{Key: campaignKey(t.ID, c.Name)}}, Record: []store.Record{record(&step, &core.Event{})}}
	if keepsName {
		s.Put = append(s.Put, store.Put{Key: campaignNameKey(t.ID, c.Name), Value: mustJSON(now), Expires: now.Add(keepName)})
	}
	if _, err := t.b.settle(ctx, s); err != nil {
		return err
	}
	all := maps.Clone(*t.campaigns.view.Load())
	delete(all, c.Name)
	t.campaigns.view.Store(&all)
	t.campaigns.waits.Delete(c.Name)
	return nil
}

// nameTaken says that a campaign that went had a name, or returns nil.
func (t *tenant) nameTaken(ctx context.Context, name string) error {
	values, err := t.b.o.Store.Get(ctx, campaignNameKey(t.ID, name))
	if err != nil {
		return err
	}
	if at, ok := decode[time.Time](values[0]); ok {
		return core.Errorf(core.CodeUndeliverable, "campaign", "there was a campaign %s until %s: its name is free again on %s", name,
			at.Format(time.DateOnly), at.Add(keepName).Format(time.DateOnly))
	}
	return nil
}

// cannotGo says why a campaign cannot be deleted, or "".
func (c *campaignRecord) cannotGo() string {
	switch n := c.Counts[campaign.RowQueued]; {
	case c.State == campaign.Planning:
		return "wait until it is planned"
	case c.State.Live():
		return "stop it first"
	case n > 0:
		return fmt.Sprintf("%d are on their way: wait until they have ended", n)
	}
	return ""
}

// deleteCampaign removes a campaign that sends nothing, with its rows, and returns what it
// was. After a crash it is stopped, and may be deleted again.
func (t *tenant) deleteCampaign(ctx context.Context, name, by, why string) (was Campaign, err error) {
	for first, more := true, true; more; first = false {
		if more, err = t.deleteSome(ctx, name, by, why, first, &was); err != nil {
			return was, err
		}
	}
	return was, nil
}

// deleteSome removes the next rows of a campaign or, after the last, the campaign.
func (t *tenant) deleteSome(ctx context.Context, name, by, why string, first bool, was *Campaign) (more bool, err error) {
	if err := t.campaigns.take(ctx); err != nil {
		return false, err
	}
	defer t.campaigns.give()
	c := t.campaign(name)
	switch {
	case c == nil && first:
		return false, noCampaign(name)
	case c == nil: // by somebody else, at the same time
		return false, nil
	}
	if problem := c.cannotGo(); problem != "" {
		return false, &core.Error{Code: core.CodeUndeliverable, Op: CampaignDelete, Message: fmt.Sprintf("%s is %s: %s", name, c.State, problem)}
	}
	c = c.copyOf()
	if first {
		*was, c.Clearing = t.shown(c), true
	}
	if c.Clearing {
		var s store.Settlement
		if !c.State.Over() { // nobody plans it while its rows go
			s.Record = append(s.Record, c.become(campaign.Stopped, by, "it is deleted"))
		}
		return true, t.clearRows(ctx, c, s)
	}
	note := "deleted, by " + by
	if why != "" {
		note += ": " + why
	}
	// What was sent has ids that are made of the name, and is not sent again under them.
	return false, t.forgetCampaign(ctx, c, note, !c.Started.IsZero())
}
