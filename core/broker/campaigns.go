package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
)

// A campaign is one template to many people. Each recipient is a row in the store; a row
// becomes a message.send event in the settlement that notes it as queued, and what
// becomes of the event comes back by the tally. So a row is sent once, whenever the
// process dies. Rows and campaigns are written in one's turn only.

const (
	bucketCampaigns = "campaigns"       // name → campaignRecord
	bucketRows      = "campaign-rows"   // <name>/<row> → campaign.Row
	bucketRowOf     = "campaign-people" // <contact>/<name>, <contact>/<name>/<row> → the row's number

	// CampaignBatch is how many rows are listed, planned or sent off at once.
	CampaignBatch = 100
	maxCampaigns  = 5000                 // ten a day stay for less than a year: see campaignsSweepLoop
	keepRows      = 180 * 24 * time.Hour // after a row's latest step
	keepRowOf     = 3 * keepRows         // whose it is, after it was listed: longer than any row
	planHolds     = 7 * 24 * time.Hour   // a plan that is older is made again
	byBridge      = "the bridge"
)

// CampaignRequest asks for a campaign. Nothing is sent before it is planned and started.
type CampaignRequest struct {
	Tenant string `json:"tenant"`
	// Name is in the form of a tenant's id, and no other campaign's until a year and a half after it went.
	Name string `json:"name"`
	// Number is who writes; may be empty when the tenant has one only.
	Number   string            `json:"number,omitempty"`
	Template campaign.Template `json:"template"`
	// Who gets it: the contacts with Tag, or whose Field has Value (or any, if that is
	// empty), both if both are set; or who is in Segment. With none of these, rows are added.
	Tag   string `json:"tag,omitempty"`
	Field string `json:"field,omitempty"`
	Value string `json:"value,omitempty"`
	// Segment is a CRM's, whose members are read when it is planned.
	Segment CampaignSegment `json:"segment,omitzero"`
	// First goes first, and Stops says when it stops by itself.
	First campaign.First `json:"first,omitzero"`
	Stops campaign.Stops `json:"stops,omitzero"`
	// By is who asks.
	By string `json:"by,omitempty"`
}

// Campaign is a campaign, and how far it has come.
type Campaign struct {
	CampaignRequest
	State campaign.State `json:"state"`
	// Since is when it came to be so, Why the reason, SetBy who did it.
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
	SetBy string    `json:"set_by,omitempty"`
	// Created, Started and Ended are when.
	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Plan is what the latest dry run found.
	Plan *campaign.Plan `json:"plan,omitempty"`
	// Counts are the rows by state, Lately what came of those that were sent lately.
	Counts campaign.Counts `json:"counts"`
	Lately campaign.Lately `json:"lately"`
	// Waits says why no more is sent off just now, or read of a segment, until Until.
	Waits string    `json:"waits,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// campaignRecord is a campaign as it is stored.
type campaignRecord struct {
	Campaign
	// Listed says that the audience was read, Cursor how far reading or planning has come.
	Listed bool   `json:"listed,omitempty"`
	Cursor string `json:"cursor,omitempty"`
	// Members is where to go on in the segment. Clearing says that the rows of an earlier
	// reading go first.
	Members  json.RawMessage `json:"members,omitempty"`
	Clearing bool            `json:"clearing,omitempty"`
	// Prices are of rows that are priced alike, Crowd says when they can go: while planning.
	Prices map[string]int  `json:"prices,omitempty"`
	Crowd  *campaign.Crowd `json:"crowd,omitempty"`
	// FirstRows go first; FirstOut is when the last of them had ended.
	FirstRows int            `json:"first_rows,omitempty"`
	FirstOut  time.Time      `json:"first_out,omitzero"`
	Resume    campaign.State `json:"resume,omitempty"` // of a paused one
}

// campaigns are a tenant's.
type campaigns struct {
	turn chan struct{} // taken by whoever writes rows or campaigns, for a commit's time
	view atomic.Pointer[map[string]*campaignRecord]
	wake chan struct{}
	// from is where to look for the next planned rows, waits why none were sent off: by
	// campaign, of the loop alone but for waits.
	from  map[string]string
	waits sync.Map // name → waiting
}

type waiting struct {
	why   string
	until time.Time
}

func campaignKey(tenant, name string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketCampaigns, Key: name}
}

func rowKey(tenant, name string, n int) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketRows, Key: fmt.Sprintf("%s/%08d", name, n)}
}

func rowOfKey(tenant, contact, name string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketRowOf, Key: contact + "/" + name}
}

func rowTooKey(tenant, contact, name string, n int) store.Key {
	return rowOfKey(tenant, contact, name+"/"+strconv.Itoa(n))
}

// take waits for the turn; give gives it back.
func (c *campaigns) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *campaigns) give() { <-c.turn }

// restoreCampaigns reads them.
func (t *tenant) restoreCampaigns(ctx context.Context) error {
	all := map[string]*campaignRecord{}
	t.campaigns.turn, t.campaigns.wake, t.campaigns.from = make(chan struct{}, 1), make(chan struct{}, 1), map[string]string{}
	err := eachEntry(ctx, t.b.o.Store, t.ID, bucketCampaigns, "", func(e store.Entry) bool {
		if c, ok := decode[campaignRecord](e.Value); ok {
			all[c.Name] = c
		}
		return true
	})
	t.campaigns.view.Store(&all)
	return err
}

// campaign returns one, nil when there is none; nobody changes it.
func (t *tenant) campaign(name string) *campaignRecord {
	if all := t.campaigns.view.Load(); all != nil {
		return (*all)[name]
	}
	return nil
}

// copyOf returns a campaign to be changed.
func (c *campaignRecord) copyOf() *campaignRecord {
	out := *c
	out.Counts = maps.Clone(c.Counts)
	out.Prices = maps.Clone(c.Prices)
	out.Crowd = c.Crowd.Clone()
	return &out
}

func (c *campaignRecord) put() store.Put {
	return store.Put{Key: campaignKey(c.Tenant, c.Name), Value: mustJSON(c)}
}

func putRow(tenant, name string, r *campaign.Row) store.Put {
	return store.Put{Key: rowKey(tenant, name, r.N), Value: mustJSON(r), Expires: time.Now().Add(keepRows)}
}

// putRowOf notes which row of a campaign is a contact's: one only, and to be found when the
// person is erased.
func putRowOf(tenant, contact, name string, n int) store.Put {
	return store.Put{Key: rowOfKey(tenant, contact, name), Value: []byte(strconv.Itoa(n)), Expires: time.Now().Add(keepRowOf)}
}

// putRowToo notes that a further row, of which nothing is sent, is of a contact: to be found
// when the person is erased.
func putRowToo(tenant, contact, name string, n int) store.Put {
	put := putRowOf(tenant, contact, name, n)
	put.Key = rowTooKey(tenant, contact, name, n)
	return put
}

// took shows changed campaigns, once they are stored.
func (t *tenant) took(changed ...*campaignRecord) {
	all := maps.Clone(*t.campaigns.view.Load())
	for _, c := range changed {
		all[c.Name] = c
	}
	t.campaigns.view.Store(&all)
	select {
	case t.campaigns.wake <- struct{}{}:
	default:
	}
}

// keepCampaign stores a changed campaign with what belongs to it. The caller has the turn.
func (t *tenant) keepCampaign(ctx context.Context, c *campaignRecord, s store.Settlement) error {
	s.Put = append(s.Put, c.put())
	if _, err := t.b.settle(ctx, s); err != nil {
		return err
	}
	t.took(c)
	return nil
}

// become takes a campaign to a state, and says so in its history.
func (c *campaignRecord) become(state campaign.State, by, why string) store.Record {
	now := time.Now().UTC()
	was := c.State
	c.State, c.Since, c.SetBy, c.Why = state, now, by, why
	if state.Over() {
		c.Ended = now
	}
	note := fmt.Sprintf("%s, by %s", state, by)
	if was != "" {
		note = fmt.Sprintf("%s → %s", was, note)
	}
	if why != "" {
		note += ": " + why
	}
	step := Step{Time: now, Event: campaignStory(c.Name), Kind: core.KindMessageSend, Tenant: c.Tenant, Step: "campaign", Notes: []string{note}}
	return record(&step, &core.Event{})
}

// campaignStory is the id by which `wabridge why` finds a campaign's steps.
func campaignStory(name string) string { return "campaign-" + name }

// noCampaign is the error for a campaign that there is not.
func noCampaign(name string) error {
	return core.Errorf(core.CodeInvalid, "campaign", "there is no campaign %.60q: %w", name, store.ErrNotFound)
}

// NewCampaign makes a campaign; asking again for the same one returns it.
func (b *Broker) NewCampaign(ctx context.Context, r CampaignRequest) (Campaign, error) {
	wrong := func(format string, args ...any) (Campaign, error) {
		return Campaign{}, core.Errorf(core.CodeInvalid, "campaign", format, args...)
	}
	t := b.tenants[r.Tenant]
	if t == nil {
		return Campaign{}, noTenant("campaign", r.Tenant)
	}
	if r.Number == "" && len(t.Numbers) == 1 {
		r.Number = t.Numbers[0].ID
	}
	switch {
	case !core.TenantPattern.MatchString(r.Name):
		return wrong("name: want at most 40 of a-z, 0-9 and -, the first not a -")
	case t.numbers[r.Number] == nil:
		return wrong("tenant %s has no number %.40q: say which of its numbers writes", t.ID, r.Number)
	case r.Template.Name == "" || r.Template.Language == "" || len(r.Template.Name)+len(r.Template.Language) > 600:
		return wrong("template: name and language are needed")
	case r.By == "" || len(r.By) > 120:
		return wrong("by is needed (at most 120 bytes): it is kept with the campaign")
	case r.Value != "" && r.Field == "" || len(r.Tag)+len(r.Field)+len(r.Value) > 2000:
		return wrong("a value is of a field")
	case r.Segment != CampaignSegment{} && (r.Tag != "" || r.Field != ""):
		return wrong("a segment is an audience of its own: no tag or field beside it")
	case r.First.Percent < 0 || r.First.Percent > 100 || r.First.Rows < 0 || r.First.Percent > 0 && r.First.Rows > 0:
		return wrong("first: want a percentage, or a number of rows")
	case r.Stops.Failed < 0 || r.Stops.Failed > 100 || r.Stops.Blocked < 0 || r.Stops.Blocked > 100 || r.Stops.Least < 0:
		return wrong("stops: want percentages")
	}
	if d, err := time.ParseDuration(r.First.Wait); r.First.Wait != "" && (err != nil || d < 0 || d > 7*24*time.Hour) {
		return wrong("first: wait: want a time like 30m, a week at most")
	}
	if err := r.Template.FindSlots(); err != nil {
		return Campaign{}, err
	}
	if cols := r.Template.Columns(); len(cols) > 0 && r.hasAudience() {
		return wrong("{{column.%s}}: only a list has columns; take a field of the contact", cols[0])
	}
	if r.Segment != (CampaignSegment{}) {
		var err error
		if r.Segment, err = t.segmentOf(ctx, r.Name, r.Segment); err != nil {
			return Campaign{}, err
		}
	}
	if err := t.campaigns.take(ctx); err != nil {
		return Campaign{}, err
	}
	defer t.campaigns.give()
	if have := t.campaign(r.Name); have != nil {
		if string(mustJSON(have.CampaignRequest)) == string(mustJSON(r)) {
			return t.shown(have), nil
		}
		return Campaign{}, core.Errorf(core.CodeUndeliverable, "campaign", "there is another campaign %s: each has its own name", r.Name)
	}
	if err := t.nameTaken(ctx, r.Name); err != nil {
		return Campaign{}, err
	}
	if len(*t.campaigns.view.Load()) >= maxCampaigns {
		e := core.Errorf(core.CodeUndeliverable, "campaign", "there are %d campaigns, as many as there may be", maxCampaigns)
		e.Hint = "delete those that are over: wabridge campaign delete"
		return Campaign{}, e
	}
	c := &campaignRecord{Campaign: Campaign{CampaignRequest: r, Created: time.Now().UTC(), Counts: campaign.Counts{}}}
	story := c.become(campaign.Draft, r.By, "")
	if err := t.keepCampaign(ctx, c, store.Settlement{Ingest: true, Record: []store.Record{story}}); err != nil {
		return Campaign{}, err
	}
	return t.shown(c), nil
}

// hasAudience reports whether the bridge finds out itself who gets it.
func (r *CampaignRequest) hasAudience() bool {
	return r.Tag != "" || r.Field != "" || r.Segment != CampaignSegment{}
}

// rows is how many rows there are.
func (c *Campaign) rows() (n int) {
	for _, m := range c.Counts {
		n += m
	}
	return n
}

// shown is a campaign for others.
func (t *tenant) shown(c *campaignRecord) Campaign {
	out := c.copyOf().Campaign
	if w, ok := t.campaigns.waits.Load(c.Name); ok && (c.State == campaign.Running || c.State == campaign.Canary || c.reads()) {
		out.Waits, out.Until = w.(waiting).why, w.(waiting).until
	}
	return out
}

// Campaigns lists those of a tenant ("" for all), the latest first.
func (b *Broker) Campaigns(tenant string) []Campaign {
	out := []Campaign{}
	for _, t := range b.tenants {
		if tenant != "" && t.ID != tenant {
			continue
		}
		for _, c := range *t.campaigns.view.Load() {
			out = append(out, t.shown(c))
		}
	}
	slices.SortFunc(out, func(x, y Campaign) int {
		if c := y.Created.Compare(x.Created); c != 0 {
			return c
		}
		return strings.Compare(x.Tenant+"/"+x.Name, y.Tenant+"/"+y.Name)
	})
	return out
}

// Campaign returns one.
func (b *Broker) Campaign(tenant, name string) (Campaign, error) {
	t := b.tenants[tenant]
	if t == nil {
		return Campaign{}, noCampaign(name)
	}
	c := t.campaign(name)
	if c == nil {
		return Campaign{}, noCampaign(name)
	}
	return t.shown(c), nil
}

// CampaignRows asks for rows of a campaign, a page at a time.
type CampaignRows struct {
	Tenant, Name string
	// State, unless empty, is the only one.
	State string
	After int
	Limit int
}

// CampaignRowPage is a page of rows, by their numbers.
type CampaignRowPage struct {
	Rows []campaign.Row `json:"rows"`
	// Next is set when there may be more: the after of the next page.
	Next int `json:"next,omitempty"`
}

// CampaignRows returns rows. A page may have fewer than there are, and even none, while
// Next is set.
func (b *Broker) CampaignRows(ctx context.Context, q CampaignRows) (CampaignRowPage, error) {
	t := b.tenants[q.Tenant]
	if t == nil || t.campaign(q.Name) == nil {
		return CampaignRowPage{}, noCampaign(q.Name)
	}
	if q.State != "" && !slices.Contains(campaign.RowStates(), campaign.RowState(q.State)) {
		return CampaignRowPage{}, core.Errorf(core.CodeInvalid, "rows", "there is no state %.40q: want one of %v", q.State, campaign.RowStates())
	}
	const most = 2000 // rows that are looked at
	out := CampaignRowPage{Rows: []campaign.Row{}}
	rows, err := t.rowsAfter(ctx, q.Name, rowKey(t.ID, q.Name, q.After).Key, most)
	for i, r := range rows {
		if len(out.Rows) >= max(1, q.Limit) {
			return out, nil
		}
		if q.State == "" || string(r.State) == q.State {
			out.Rows = append(out.Rows, *r)
		}
		if out.Next = r.N; i == len(rows)-1 && len(rows) < most {
			out.Next = 0
		}
	}
	return out, err
}

// rowsAfter returns up to n rows of a campaign after a key.
func (t *tenant) rowsAfter(ctx context.Context, name, after string, n int) ([]*campaign.Row, error) {
	entries, err := t.b.o.Store.Range(ctx, t.ID, bucketRows, max(after, name+"/"), n)
	if err != nil {
		return nil, err
	}
	var out []*campaign.Row
	for _, e := range entries {
		if !strings.HasPrefix(e.Key, name+"/") {
			break
		}
		if r, ok := decode[campaign.Row](e.Value); ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// What may be done with a campaign.
const (
	CampaignPlan   = "plan"
	CampaignStart  = "start"
	CampaignPause  = "pause"
	CampaignResume = "resume"
	CampaignStop   = "stop"
	CampaignDelete = "delete" // it, and its rows
)

// SetCampaign does something with a campaign: by says who, why the reason, for its
// history. Doing what was done already changes nothing.
func (b *Broker) SetCampaign(ctx context.Context, tenant, name, what, by, why string) (Campaign, error) {
	t := b.tenants[tenant]
	if t == nil || t.campaign(name) == nil {
		return Campaign{}, noCampaign(name)
	}
	if by == "" || len(by) > 120 || len(why) > 500 {
		return Campaign{}, core.Errorf(core.CodeInvalid, what, "by is needed (at most 120 bytes), why may have 500")
	}
	if what == CampaignDelete {
		return t.deleteCampaign(ctx, name, by, why)
	}
	if what == CampaignPlan {
		if err := t.filesThere(ctx, name); err != nil {
			return Campaign{}, err
		}
	}
	if err := t.campaigns.take(ctx); err != nil {
		return Campaign{}, err
	}
	defer t.campaigns.give()
	c := t.campaign(name)
	if c == nil { // deleted meanwhile
		return Campaign{}, noCampaign(name)
	}
	c = c.copyOf()
	next, problem := c.next(what)
	if problem != "" {
		return t.shown(c), &core.Error{Code: core.CodeUndeliverable, Op: what, Message: fmt.Sprintf("%s is %s: %s", name, c.State, problem)}
	}
	if next == "" {
		return t.shown(c), nil
	}
	story := c.become(next, by, why)
	if err := t.keepCampaign(ctx, c, store.Settlement{Record: []store.Record{story}}); err != nil {
		return Campaign{}, err
	}
	return t.shown(c), nil
}

// next is the state that something leads to, "" when it is there already, or why it
// cannot be.
func (c *campaignRecord) next(what string) (next campaign.State, problem string) {
	switch what {
	case CampaignPlan:
		switch {
		case c.State == campaign.Planning:
			return "", ""
		case c.State == campaign.Paused && c.Resume == campaign.Planning:
			return "", "resume it"
		case c.State != campaign.Draft && c.State != campaign.Planned:
			return "", "what was started is not planned again"
		case c.rows() == 0 && !c.hasAudience():
			return "", "there are no rows yet"
		}
		if c.Segment != (CampaignSegment{}) { // whoever left it since gets nothing
			c.Listed, c.Members, c.Clearing = false, nil, c.rows() > 0
		}
		c.Cursor, c.Prices, c.Crowd = "", map[string]int{}, &campaign.Crowd{}
		c.Plan = &campaign.Plan{Excluded: map[string]int{}}
		return campaign.Planning, ""
	case CampaignStart:
		switch {
		case c.State == campaign.Canary || c.State == campaign.Running:
			return "", ""
		case c.State == campaign.Paused:
			return "", "resume it"
		case c.State != campaign.Planned:
			return "", "plan it first, and look at what that says"
		case time.Since(c.Plan.At) > planHolds:
			return "", "its plan is of " + c.Plan.At.Format(time.DateOnly) + ": plan it again"
		case c.Plan.Planned == 0:
			return "", "nobody would get it: see its rows"
		}
		c.Started = time.Now().UTC()
		if c.FirstRows = c.First.Count(c.Plan.Planned); c.FirstRows > 0 {
			return campaign.Canary, ""
		}
		return campaign.Running, ""
	case CampaignPause:
		switch c.State {
		case campaign.Paused:
			return "", ""
		case campaign.Planning, campaign.Canary, campaign.Running:
			c.Resume = c.State
			return campaign.Paused, ""
		}
		return "", "nothing of it is being planned or sent"
	case CampaignResume:
		switch c.State {
		case campaign.Canary, campaign.Running:
			return "", ""
		case campaign.Paused:
			c.Lately = campaign.Lately{} // a person has looked
			return c.Resume, ""
		}
		return "", "it is not paused"
	case CampaignStop:
		switch {
		case c.State == campaign.Stopped:
			return "", ""
		case c.State.Over():
			return "", "there is nothing left to stop"
		}
		return campaign.Stopped, ""
	}
	return "", "want plan, start, pause, resume or stop"
}
