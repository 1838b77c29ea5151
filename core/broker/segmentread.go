package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/roster"
	"github.com/wabridge/wabridge/core/store"
)

// The members of a campaign's segment are read a page at a time, by a goroutine for each
// campaign, so that a slow CRM keeps nobody waiting: the turn is taken only to store what a
// page brought, together with where to go on. Whenever the process dies, it goes on there.

const (
	segmentRetry = time.Second     // a page that failed is asked for again, at first after this
	segmentWait  = 5 * time.Minute // and at last
	segmentLook  = 30 * time.Second
	maxEmpty     = 1000 // pages in a row that have nobody
	clearedPage  = 500  // rows
)

// reads reports whether a campaign is being planned, and its segment not read whole; nil is
// one that was deleted.
func (c *campaignRecord) reads() bool {
	return c != nil && c.State == campaign.Planning && c.Segment != (CampaignSegment{}) && !c.Listed && !c.Clearing
}

// segmentReaders are those that read now; they belong to the loop of campaigns.
type segmentReaders struct {
	t  *tenant
	on map[string]*segmentReader
	wg sync.WaitGroup
}

// segmentReader reads the segment of one campaign, as it has been planned since.
type segmentReader struct {
	t        *tenant
	name     string
	since    time.Time
	cancel   context.CancelFunc
	done     chan struct{}
	empty    int // pages in a row
	failures int
	records  *recordIndex
}

// tend begins to read for a campaign that wants it, and ends it for one that does not.
func (r *segmentReaders) tend(ctx context.Context, name string) {
	c, on := r.t.campaign(name), r.on[name]
	if on != nil {
		select {
		case <-on.done:
			delete(r.on, name)
			on = nil
		default:
		}
	}
	switch {
	case on == nil && c.reads():
		rctx, cancel := context.WithCancel(ctx)
		on = &segmentReader{t: r.t, name: name, since: c.Since, cancel: cancel, done: make(chan struct{})}
		r.on[name] = on
		r.t.campaigns.waits.Delete(name)
		r.wg.Go(func() { on.run(rctx) })
	case on != nil && !on.wanted(c):
		on.cancel()
	}
}

func (r *segmentReaders) wait() { r.wg.Wait() }

// wanted reports whether a campaign is still what the reader began with.
func (r *segmentReader) wanted(c *campaignRecord) bool { return c.reads() && c.Since.Equal(r.since) }

// run reads until all is read, or nobody wants it.
func (r *segmentReader) run(ctx context.Context) {
	defer func() {
		r.cancel()
		close(r.done)
		select { // the loop goes on
		case r.t.campaigns.wake <- struct{}{}:
		default:
		}
	}()
	for {
		c := r.t.campaign(r.name)
		if ctx.Err() != nil || !r.wanted(c) {
			return
		}
		wait, err := r.page(ctx, c)
		if err != nil && ctx.Err() == nil {
			wait = r.failed(ctx, c, wait, err)
		}
		if wait == 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// final is an error that asking again does not help.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// failed has it shown why reading waits, and returns for how long; or the campaign becomes a
// draft again, where waiting does not help.
func (r *segmentReader) failed(ctx context.Context, c *campaignRecord, wait time.Duration, err error) time.Duration {
	e := core.AsError(err)
	why := strings.TrimPrefix(e.Error(), "segments: ")
	if e.Hint != "" {
		why += "; " + e.Hint
	}
	if _, is := errors.AsType[final](err); is && r.giveUp(ctx, why) == nil {
		return 0
	}
	if wait == 0 {
		if wait = max(e.RetryAfter, segmentRetry); e.RetryAfter <= 0 { // nobody said when
			wait = min(segmentRetry<<min(r.failures, 10), segmentWait)
			r.failures++
		}
		r.t.b.log.Warn("a segment could not be read", "tenant", r.t.ID, "campaign", r.name, "lane", c.Segment.Lane, "error", e, "again_in", wait)
	}
	if e.Code == core.CodeRateLimited && wait < 5*time.Second { // it only takes its time
		return wait
	}
	r.t.waits(c, "the segment cannot be read: "+why, time.Now().Add(wait).UTC())
	return wait
}

// giveUp makes a draft of the campaign, with the reason.
func (r *segmentReader) giveUp(ctx context.Context, why string) error {
	t := r.t
	if err := t.campaigns.take(ctx); err != nil {
		return err
	}
	defer t.campaigns.give()
	c := t.campaign(r.name)
	if !r.wanted(c) {
		return nil
	}
	c = c.copyOf()
	story := c.become(campaign.Draft, byBridge, why)
	t.b.log.Error("a campaign could not be planned", "tenant", t.ID, "campaign", c.Name, "why", why)
	return t.keepCampaign(ctx, c, store.Settlement{Record: []store.Record{story}})
}

// page reads the next page and makes rows of it. With an error it may say how long to wait,
// where nobody was asked.
func (r *segmentReader) page(ctx context.Context, c *campaignRecord) (wait time.Duration, err error) {
	l := r.t.crmLane(c.Segment.Lane)
	if l == nil {
		return segmentLook, core.Errorf(core.CodeUnavailable, "segment", "the tenant has no lane %s any more", c.Segment.Lane)
	}
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if l.up() && !l.segments.Load() {
		return segmentLook, core.Errorf(core.CodeUnavailable, "segment", "the connector of the lane %s, %s, tells of no segments any more", l.crmName(), l.sinkName)
	}
	var got core.Members
	cctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	asked, err := l.askSegments(cctx, func(ctx context.Context, s Segmenter) (err error) {
		got, err = s.Members(ctx, c.Segment.ID, c.Members)
		return err
	})
	switch e := core.AsError(err); {
	case err == nil:
	case !asked && e.Code == core.CodeRateLimited:
		return min(max(e.RetryAfter, 10*time.Millisecond), segmentLook), e
	case !asked:
		return min(max(e.RetryAfter, time.Second), segmentLook), e
	case e.Code == core.CodeInvalid || e.Code == core.CodeUndeliverable:
		return 0, final{e}
	default:
		return 0, e
	}
	if why := r.odd(c, &got); why != "" {
		return 0, final{core.Errorf(core.CodeInvalid, "segment", "the connector of the lane %s %s", l.crmName(), why)}
	}
	if c.rows()+len(got.Members) > roster.MaxRows {
		return 0, final{core.Errorf(core.CodeInvalid, "segment", "it has more than %d members, as many as a campaign may have: make smaller segments of it", roster.MaxRows)}
	}
	rows, err := r.rows(ctx, l, c, got.Members)
	if err != nil {
		return 0, err
	}
	if err := r.keep(ctx, c, rows, &got); err != nil {
		return 0, err
	}
	r.failures = 0
	r.t.campaigns.waits.Delete(r.name)
	return 0, nil
}

// odd says what is wrong with a page, or "".
func (r *segmentReader) odd(c *campaignRecord, got *core.Members) string {
	if r.empty++; len(got.Members) > 0 {
		r.empty = 0
	}
	switch {
	case len(got.Members) > core.MaxMembers:
		return fmt.Sprintf("told of %d members at once, more than %d", len(got.Members), core.MaxMembers)
	case got.More && len(got.Cursor) == 0:
		return "says that there is more, and not where"
	case got.More && string(got.Cursor) == string(c.Members):
		return "says that there is more, and does not get on"
	case got.More && r.empty > maxEmpty:
		return fmt.Sprintf("says that there is more, after %d pages without anybody", maxEmpty)
	}
	return ""
}

// keep stores a page's rows and where to go on, unless the campaign is another since.
func (r *segmentReader) keep(ctx context.Context, was *campaignRecord, rows []*campaign.Row, got *core.Members) error {
	t := r.t
	if err := t.campaigns.take(ctx); err != nil {
		return err
	}
	defer t.campaigns.give()
	c := t.campaign(r.name)
	if !r.wanted(c) || string(c.Members) != string(was.Members) || c.rows() != was.rows() {
		return nil
	}
	c = c.copyOf()
	s := store.Settlement{Ingest: true}
	if err := t.list(ctx, c, rows, &s); err != nil {
		return err
	}
	if l := t.crmLane(c.Segment.Lane); l != nil {
		if err := l.toldOf(ctx, &s, refsOf(rows)); err != nil {
			return err
		}
	}
	if c.Members = got.Cursor; !got.More {
		c.Members, c.Cursor, c.Listed = nil, "", true
	}
	t.b.failpoint("segment-before-commit")
	err := t.keepCampaign(ctx, c, s)
	t.b.failpoint("segment-after-commit")
	return err
}

// refsOf returns the members' records by contact; of one with several, the first.
func refsOf(rows []*campaign.Row) map[string]string {
	refs := map[string]string{}
	for _, row := range rows {
		if row.Contact != "" && row.Ref != "" && row.Bad == "" {
			refs[row.Contact] = row.Ref
		}
	}
	return refs
}

// rows makes a row of each member: of the person whose record it is, as far as the bridge
// knows, else of the one who has the number. Who is not known becomes a contact.
func (r *segmentReader) rows(ctx context.Context, l *lane, c *campaignRecord, members []core.Member) ([]*campaign.Row, error) {
	t := r.t
	known, err := r.known(ctx, l, members)
	if err != nil {
		return nil, err
	}
	rows := make([]*campaign.Row, len(members))
	people := make([]roster.Person, len(members))
	var keys []contact.Key
	bad := make([]string, len(members))
	for i, m := range members {
		people[i], bad[i] = roster.Of(c.rows()+i+1, m.Contact.Name, m.Contact.Phone, m.Contact.BSUID, t.Region)
		keys = append(keys, people[i].Keys()...)
	}
	owners, err := t.owners(ctx, keys)
	if err != nil {
		return nil, err
	}
	var entries []CampaignEntry
	for i, m := range members {
		row := &campaign.Row{N: people[i].Line, Ref: clip(m.ContactRef, maxContactRef), State: campaign.RowListed}
		rows[i] = row
		record := fmt.Sprintf("%s's record %s", l.crmName(), clip(or(row.Ref, "without a name"), 80))
		switch p := known[m.ContactRef]; {
		case p != nil:
			row.Contact = p.ID
			if again, _ := roster.Of(row.N, people[i].Name, p.Phone, p.BSUID, t.Region); p.mayBeCalled(again.Name) && len(again.Keys()) > 0 {
				entries = append(entries, CampaignEntry{Person: again}) // for the name alone
			}
			for _, k := range people[i].Keys() {
				switch owner := owners[k]; {
				case owner == p.ID && k.IsPhone():
					row.To = core.Address{Kind: core.AddressPhone, Value: people[i].Phones[0].Number}.String()
				case owner != "" && owner != p.ID:
					row.To, row.Reason = "", campaign.Invalid
					row.Bad = fmt.Sprintf("contradicts what is known: %s is %s's, its %s %s's: if they are one person, wabridge contact merge %s %s",
						record, p.ID, core.MaskAddress(k.String()), owner, p.ID, owner)
				}
			}
		case len(people[i].Keys()) > 0:
			entries = append(entries, CampaignEntry{Person: people[i]})
		case bad[i] != "":
			row.Reason, row.Bad = campaign.Invalid, record+": "+bad[i]
		default:
			row.Reason, row.Bad = campaign.NoAddress, record+" has neither a phone number nor a user id"
		}
	}
	listed, err := t.listed(ctx, c, entries)
	if err != nil {
		return nil, err
	}
	first := c.rows() + 1
	for _, row := range listed {
		if rows[row.N-first].Contact != "" {
			continue
		}
		row.Ref = rows[row.N-first].Ref
		if row.Bad != "" {
			row.Bad = fmt.Sprintf("%s's record %s: %s", l.crmName(), clip(or(row.Ref, "without a name"), 80), row.Bad)
		}
		rows[row.N-first] = row
	}
	return rows, nil
}

// known returns the people whose records members are, as far as the bridge was told.
func (r *segmentReader) known(ctx context.Context, l *lane, members []core.Member) (map[string]*person, error) {
	if r.records == nil {
		var err error
		if r.records, err = l.indexRecords(ctx); err != nil {
			return nil, err
		}
	}
	var refs, ids []string
	var keys []store.Key
	for _, m := range members {
		if id := r.records.contact(m.ContactRef); id != "" {
			refs, ids, keys = append(refs, m.ContactRef), append(ids, id), append(keys, l.recordKey(id))
		}
	}
	values, err := r.t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := map[string]*person{}
	for i, v := range values {
		if rec, ok := decode[crmRecord](v); !ok || rec.Ref != refs[i] { // it changed since
			continue
		}
		p, err := r.t.personNow(ctx, ids[i])
		if err != nil {
			return nil, err
		}
		if p != nil && p.ID != "" {
			out[refs[i]] = p
		}
	}
	return out, nil
}

// recordIndex finds whose a record probably is: what it says is looked up. It is made once
// for a reading, since records are kept by contact: about 50 bytes for each that there is.
type recordIndex struct {
	seed maphash.Seed
	of   map[uint64]string
}

func (x *recordIndex) contact(ref string) string {
	if ref == "" {
		return ""
	}
	return x.of[maphash.String(x.seed, ref)]
}

func (l *lane) indexRecords(ctx context.Context) (*recordIndex, error) {
	x := &recordIndex{seed: maphash.MakeSeed(), of: map[uint64]string{}}
	prefix := l.name + " "
	err := eachEntry(ctx, l.b.o.Store, l.t.ID, bucketRecords, prefix, func(e store.Entry) bool {
		id, ours := strings.CutPrefix(e.Key, prefix)
		if r, ok := decode[crmRecord](e.Value); ours && ok && r.Ref != "" {
			x.of[maphash.String(x.seed, r.Ref)] = strings.Clone(id)
		}
		return ours
	})
	return x, err
}

// clearRows takes away the next rows of an earlier reading, or of a campaign that is deleted,
// in a settlement. The caller has the turn.
func (t *tenant) clearRows(ctx context.Context, c *campaignRecord, s store.Settlement) error {
	rows, err := t.rowsAfter(ctx, c.Name, "", clearedPage)
	if err != nil {
		return err
	}
	for _, r := range rows {
		c.Counts.Move(r.State, "")
		s.Put = append(s.Put, store.Put{Key: rowKey(t.ID, c.Name, r.N)})
		switch {
		case r.Contact == "":
		case r.Bad != "":
			s.Put = append(s.Put, store.Put{Key: rowTooKey(t.ID, r.Contact, c.Name, r.N)})
		default:
			s.Put = append(s.Put, store.Put{Key: rowOfKey(t.ID, r.Contact, c.Name)})
		}
	}
	if len(rows) < clearedPage {
		c.Clearing, c.Counts = false, campaign.Counts{}
	}
	slices.SortFunc(s.Put, func(x, y store.Put) int { return strings.Compare(x.Key.Key, y.Key.Key) })
	return t.keepCampaign(ctx, c, s)
}
