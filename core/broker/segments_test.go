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
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/roster"
)

// segmented is a sink whose CRM has segments. A page of their members is of three.
type segmented struct {
	*sink
	has []core.Segment
	// asks, unless nil, says what is wrong with a call, or how long it takes.
	asks func(call string) error
	// page, unless nil, is every page; with forever, each goes on somewhere else.
	page    *core.Members
	forever bool

	mu      sync.Mutex
	members map[string][]core.Member
	calls   []string
}

func (s *segmented) Info(context.Context) (core.ConnectorInfo, error) {
	return core.ConnectorInfo{Name: "test", MaxBatch: 100, Idempotency: core.IdempotencyUpsert, Segments: s.has != nil,
		Budgets: []core.Budget{{Name: "day", Calls: 10_000, Per: 24 * time.Hour}}}, nil
}

func (s *segmented) asked(ctx context.Context, call string) error {
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	core.Spend(ctx, "day", 1)
	if s.asks == nil {
		return nil
	}
	return s.asks(call)
}

func (s *segmented) Segments(ctx context.Context, name string) (out []core.Segment, err error) {
	if err := s.asked(ctx, "segments "+name); err != nil {
		return nil, err
	}
	for _, g := range s.has {
		if strings.Contains(strings.ToLower(g.Name), strings.ToLower(name)) || g.ID == name {
			out = append(out, g)
		}
	}
	return out, nil
}

func (s *segmented) Members(ctx context.Context, segment string, cursor json.RawMessage) (out core.Members, err error) {
	if err := s.asked(ctx, segment+" "+string(cursor)); err != nil {
		return out, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.page != nil {
		out = *s.page
		if s.forever {
			out.Cursor = json.RawMessage(strconv.Itoa(len(s.calls)))
		}
		return out, nil
	}
	all, ok := s.members[segment]
	if !ok {
		return out, core.Errorf(core.CodeInvalid, "members", "there is no such list")
	}
	at, _ := strconv.Atoi(string(cursor))
	end := min(at+3, len(all))
	return core.Members{Members: all[at:end], Cursor: json.RawMessage(strconv.Itoa(end)), More: end < len(all)}, nil
}

func (s *segmented) become(segment string, members ...core.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members[segment] = members
}

func (s *segmented) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func member(i int) core.Member {
	return core.Member{ContactRef: fmt.Sprint("r", i), Contact: core.Contact{Name: fmt.Sprintf("Ana%d García", i), Phone: phoneOf(i)}}
}

func membersTo(n int) (out []core.Member) {
	for i := range n {
		out = append(out, member(i))
	}
	return out
}

// hello is a utility template with the person's name.
var hello = campaign.Template{Name: "info", Language: "en", Components: json.RawMessage(`[{"type":"body","parameters":[{"type":"text","text":"{{first_name|friend}}"}]}]`)}

// segmenting makes a bridge with a CRM that has segments, of which "12" has members.
func segmenting(t *testing.T, members ...core.Member) (*bridge, *segmented) {
	t.Helper()
	b := campaigning(t, Policy{})
	crm := &segmented{sink: b.crm, members: map[string][]core.Member{"12": members}, has: []core.Segment{
		{ID: "12", Name: "Spring buyers", Kind: "static list", Size: len(members)}, {ID: "13", Name: "Autumn buyers"},
		{ID: "14", Name: "VIP"}, {ID: "15", Name: "VIP", Kind: "active list"},
	}}
	change := b.change
	b.change = func(o *Options) {
		change(o)
		o.Tenants[0].Lanes[0].Sink, o.Tenants[0].Region = crm, "ES"
	}
	return b, crm
}

func (b *bridge) newSpring() {
	b.Helper()
	settled(time.Second) // the lane is up
	b.newCampaign(CampaignRequest{Name: "spring", Template: hello, Segment: CampaignSegment{Name: "spring buyers"}})
}

func TestSegment_IsTheAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobody, landline, short, theirs, byID := member(20), member(21), member(22), member(23), member(24)
		nobody.Contact.Phone, landline.Contact.Phone, short.Contact.Phone = "", "+34912345678", "+3460"
		theirs.Contact.Phone = phoneOf(1)
		byID.Contact.Phone, byID.Contact.BSUID = "", "ES.1234567890"
		national := member(3)
		national.Contact.Phone = strings.TrimPrefix(phoneOf(3), "+34")
		b, _ := segmenting(t, member(0), member(1), member(2), national, nobody, landline, short, theirs, byID)
		b.crm.do = func(core.Delivery) core.Result { // the CRM has Ana 2 as r2, whatever her number
			return core.Result{ContactRef: "r2"}
		}
		b.start()
		b.write("wamid.in.1", phoneOf(2), "hello")
		b.newSpring()
		if s := b.get("spring").Segment; s != (CampaignSegment{"crm", "12", "Spring buyers"}) {
			t.Fatalf("the segment is %+v", s)
		}
		c := b.planIt("spring")
		b.wantRows("spring", "1 planned", "2 planned", "3 planned", "4 planned", "5 excluded no address", "6 excluded invalid", "7 excluded invalid", "8 excluded duplicate", "9 planned")
		if c.Plan.Rows != 9 || c.Plan.Planned != 5 {
			t.Errorf("plan: %+v", c.Plan)
		}
		for _, r := range b.rows("spring") {
			want := map[int]string{5: "crm's record r20 has neither", 6: "crm's record r21: the number is a landline's", 7: `crm's record r22: the phone number "…460": too short`, 8: "the same person as row 2"}[r.N]
			if r.Ref == "" || !strings.Contains(r.Why, want) {
				t.Errorf("row %d of record %q: %q, want %q", r.N, r.Ref, r.Why, want)
			}
		}
		b.set("spring", CampaignStart)
		settled(time.Second)
		b.wantState("spring", campaign.Done, "")
		var to []string
		for _, s := range b.wa.taken() {
			to = append(to, s.event.Message.To.Value)
		}
		slices.Sort(to)
		if want := []string{phoneOf(0), phoneOf(1), phoneOf(2), phoneOf(3), "ES.1234567890"}; !slices.Equal(to, want) {
			t.Errorf("sent to %q, want %q", to, want)
		}
		if view, err := b.Contact(b.Context(), "acme", phoneOf(0)); err != nil || view.Name != "Ana0 García" || view.Consent.MayMarket {
			t.Errorf("who was not known is %+v, %v: want a contact who did not agree to marketing", view.Consent, err)
		}
		b.stop()
	})
}

// Whose a record is the bridge knows from what was written there, also when the CRM has another
// number now; when that is somebody else's, a person has to say who is meant.
func TestSegment_MembersAreKnownByTheirRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changed, without, twice := member(0), member(1), member(3)
		changed.Contact.Phone, without.Contact.Phone = phoneOf(9), ""
		twice.ContactRef, twice.Contact.Phone = "r2", phoneOf(3)
		b, _ := segmenting(t, changed, without, twice, member(4))
		b.crm.do = func(d core.Delivery) core.Result {
			for i := range 3 {
				if d.Event.Contact.Phone == phoneOf(i) {
					return core.Result{ContactRef: fmt.Sprint("r", i)}
				}
			}
			return core.Result{}
		}
		b.start()
		for i := range 4 {
			b.write(fmt.Sprint("wamid.in.", i), phoneOf(i), "hello")
		}
		b.newSpring()
		b.planIt("spring")
		b.wantRows("spring", "1 planned", "2 planned", "3 excluded invalid", "4 planned")
		id := func(i int) string {
			v, err := b.Contact(b.Context(), "acme", phoneOf(i))
			if err != nil {
				t.Fatal(err)
			}
			return v.ID
		}
		rows := b.rows("spring")
		if rows[0].Contact != id(0) || rows[1].Contact != id(1) || rows[2].Contact != id(2) {
			t.Errorf("rows of %s, %s and %s, want %s, %s and %s", rows[0].Contact, rows[1].Contact, rows[2].Contact, id(0), id(1), id(2))
		}
		if want := "wabridge contact merge " + id(2) + " " + id(3); !strings.Contains(rows[2].Why, want) || strings.Contains(rows[2].Why, phoneOf(3)) {
			t.Errorf("row 3: %s, want %s", rows[2].Why, want)
		}
		// With the person goes what rows say of them, those of which nothing is sent, too.
		if e, err := b.EraseContact(b.Context(), EraseRequest{Tenant: "acme", Contact: id(2), Reason: "asked", By: "maria"}); err != nil || e.Held.Rows != 1 {
			t.Errorf("%+v, %v", e, err)
		}
		settled(time.Minute)
		if r := b.rows("spring")[2]; r.Ref != "" || r.Contact != "" || strings.Contains(r.Why+r.Bad, "r2") {
			t.Errorf("of who was erased there is %+v", r)
		}
		b.stop()
	})
}

func TestSegment_IsReadAgainWhenItIsPlannedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, crm := segmenting(t, membersTo(5)...)
		b.start()
		left := func() int { return b.Snapshot().Lanes[1].Budgets[0].Left }
		settled(time.Second)
		before := left()
		b.newSpring()
		b.planIt("spring")
		if spent := before - left(); spent != 3 {
			t.Errorf("the name and two pages cost %d calls of the lane's budget", spent)
		}
		b.wantRows("spring", "1 planned", "2 planned", "3 planned", "4 planned", "5 planned")
		crm.become("12", member(7), member(1), member(1))
		b.planIt("spring")
		b.wantRows("spring", "1 planned", "2 planned", "3 excluded duplicate")
		c := b.get("spring")
		if c.Plan.Rows != 3 || !maps.Equal(c.Counts, campaign.Counts{campaign.RowPlanned: 2, campaign.RowExcluded: 1}) {
			t.Errorf("%+v of %+v", c.Counts, c.Plan)
		}
		if entries, err := b.o.Store.Range(b.Context(), "acme", bucketRowOf, "", 10); err != nil || len(entries) != 3 {
			t.Errorf("%d rows are somebody's, %v: want 3", len(entries), err)
		}
		b.set("spring", CampaignStart)
		settled(time.Second)
		b.wantState("spring", campaign.Done, "")
		if _, err := b.SetCampaign(b.Context(), "acme", "spring", CampaignPlan, "maria", ""); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("planned again after it was sent: %v", err)
		}
		b.stop()
	})
}

// A CRM that is down, or takes its time, holds up nobody else; and when it is back, reading
// goes on where it was.
func TestSegment_WaitsForItsCRM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, crm := segmenting(t, membersTo(9)...)
		b.start()
		b.newSpring()
		b.newCampaign(CampaignRequest{Name: "other", Template: greeting}, entries(3)...)
		var down sync.Mutex
		broken := true
		crm.asks = func(call string) error {
			time.Sleep(20 * time.Second)
			down.Lock()
			defer down.Unlock()
			if broken && call == "12 3" {
				return &core.Error{Code: core.CodeUnavailable, Op: "lists", Message: "503", Vendor: "503"}
			}
			return nil
		}
		b.set("spring", CampaignPlan)
		settled(time.Second)
		b.planIt("other")
		b.set("other", CampaignStart)
		settled(10 * time.Second)
		b.wantState("other", campaign.Done, "")
		settled(time.Minute)
		c := b.get("spring")
		if c.State != campaign.Planning || !strings.Contains(c.Waits, "the segment cannot be read: lists: 503") || c.Until.IsZero() {
			t.Errorf("%s waits: %q until %v", c.State, c.Waits, c.Until)
		}
		b.set("spring", CampaignPause)
		settled(time.Minute)
		n := len(crm.called())
		settled(time.Hour)
		if more := len(crm.called()) - n; more != 0 {
			t.Errorf("it was asked %d times while it was paused", more)
		}
		b.set("spring", CampaignResume)
		settled(30 * time.Minute)
		if more := len(crm.called()) - n; more < 5 || more > 30 {
			t.Errorf("it was asked %d times in half an hour", more)
		}
		down.Lock()
		broken = false
		down.Unlock()
		settled(10 * time.Minute)
		c = b.get("spring")
		if c.State != campaign.Planned || c.Plan.Planned != 9 || c.Waits != "" {
			t.Errorf("it is %s: %+v, waits: %q", c.State, c.Plan, c.Waits)
		}
		times := map[string]int{}
		for _, call := range crm.called() {
			times[call]++
		}
		if times["12 "] != 1 || times["12 6"] != 1 {
			t.Errorf("asked %v: want what was read once", times)
		}
		b.stop()
	})
}

// A CRM that says when to ask again is asked then, however often it has said so.
func TestSegment_AsksAgainWhenItsCRMSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, crm := segmenting(t, membersTo(9)...)
		b.start()
		b.newSpring()
		var at []time.Time
		crm.asks = func(call string) error {
			if call != "12 3" {
				return nil
			}
			if at = append(at, time.Now()); len(at) <= 6 {
				return &core.Error{Code: core.CodeRateLimited, Op: "lists", Message: "429", RetryAfter: 2 * time.Second}
			}
			return nil
		}
		b.set("spring", CampaignPlan)
		settled(time.Hour)
		b.wantState("spring", campaign.Planned, "")
		if len(at) != 7 {
			t.Fatalf("asked %d times, want 7", len(at))
		}
		for i := range 6 {
			if wait := at[i+1].Sub(at[i]); wait != 2*time.Second {
				t.Errorf("it was asked again after %v, want 2s", wait)
			}
		}
		b.stop()
	})
}

func TestSegment_IsStoppedWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, crm := segmenting(t, membersTo(9)...)
		b.start()
		b.newSpring()
		crm.asks = func(string) error { time.Sleep(10 * time.Second); return nil }
		b.set("spring", CampaignPlan)
		settled(15 * time.Second)
		b.set("spring", CampaignStop)
		settled(time.Hour)
		b.wantState("spring", campaign.Stopped, "")
		if n := len(crm.called()); n != 3 { // the name's, and two pages of which one was on its way
			t.Errorf("asked %q", crm.called())
		}
		if rows := b.rows("spring"); len(rows) != 3 {
			t.Errorf("%d rows, want those that were read when it was stopped", len(rows))
		}
		b.stop()
	})
}

// However many campaigns are planned, a CRM is asked for one page at a time.
func TestSegment_IsReadOnePageAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, crm := segmenting(t, membersTo(6)...)
		b.start()
		b.newSpring()
		b.newCampaign(CampaignRequest{Name: "summer", Template: hello, Segment: CampaignSegment{ID: "12"}})
		var now, most atomic.Int64
		crm.asks = func(string) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(10 * time.Second)
			now.Add(-1)
			return nil
		}
		b.set("spring", CampaignPlan)
		b.set("summer", CampaignPlan)
		settled(time.Minute)
		b.wantState("spring", campaign.Planned, "")
		b.wantState("summer", campaign.Planned, "")
		if most.Load() != 1 {
			t.Errorf("%d pages were asked for at once", most.Load())
		}
		b.stop()
	})
}

// What a page brings counts for nothing when the campaign is another by then.
func TestSegment_IsStoppedAsAPageComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := segmenting(t, membersTo(9)...)
		pages, change := 0, b.change
		b.change = func(o *Options) {
			change(o)
			o.Failpoint = func(name string) { // who is new is stored, their rows are not
				if name == "import-after-commit" {
					if pages++; pages == 2 {
						b.set("spring", CampaignStop)
					}
				}
			}
		}
		b.start()
		b.newSpring()
		b.set("spring", CampaignPlan)
		settled(time.Minute)
		b.wantState("spring", campaign.Stopped, "")
		if rows := b.rows("spring"); len(rows) != 3 {
			t.Errorf("%d rows, want those that were read when it was stopped", len(rows))
		}
		b.stop()
	})
}

func TestSegment_ThatCannotBeReadMakesADraftAgain(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(b *bridge, crm *segmented)
		want string
	}{
		"gone": {func(_ *bridge, crm *segmented) {
			crm.asks = func(call string) error {
				if call == "12 3" {
					return core.Errorf(core.CodeInvalid, "lists", "there is no list 12")
				}
				return nil
			}
		}, "lists: there is no list 12"},
		"too large": {func(b *bridge, _ *segmented) {
			tn := b.tenants["acme"]
			c := tn.campaign("spring").copyOf()
			c.become(campaign.Planning, "maria", "")
			c.Plan, c.Crowd, c.Prices = &campaign.Plan{Excluded: map[string]int{}}, &campaign.Crowd{}, map[string]int{}
			c.Counts = campaign.Counts{campaign.RowListed: roster.MaxRows - 4}
			tn.took(c)
		}, "it has more than 1000000 members"},
		"a page too large": {func(_ *bridge, crm *segmented) {
			crm.page = &core.Members{Members: make([]core.Member, core.MaxMembers+1)}
		}, "told of 501 members at once, more than 500"},
		"more, and not where":         {func(_ *bridge, crm *segmented) { crm.page = &core.Members{More: true} }, "and not where"},
		"a connector that goes round": {func(_ *bridge, crm *segmented) { crm.page = &core.Members{More: true, Cursor: json.RawMessage("3")} }, "does not get on"},
		"nobody, for ever":            {func(_ *bridge, crm *segmented) { crm.page = &core.Members{More: true}; crm.forever = true }, "after 1000 pages without anybody"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, crm := segmenting(t, membersTo(9)...)
				b.start()
				b.newSpring()
				c.do(b, crm)
				if b.get("spring").State == campaign.Draft {
					b.set("spring", CampaignPlan)
				}
				settled(time.Second)
				b.wantState("spring", campaign.Draft, c.want)
				if _, err := b.SetCampaign(b.Context(), "acme", "spring", CampaignStart, "maria", ""); err == nil {
					t.Error("it was started")
				}
				crm.asks, crm.page = nil, nil
				if p := b.planIt("spring").Plan; p.Planned != 9 || p.Rows != 9 {
					t.Errorf("planned again: %+v", *p)
				}
				b.stop()
			})
		})
	}
}

func TestSegment_IsFoundByNameOrID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, crm := segmenting(t, membersTo(3)...)
		change := b.change
		plain, none := &segmented{sink: &sink{}}, &sink{}
		b.change = func(o *Options) {
			change(o)
			o.Tenants[0].Lanes = append(o.Tenants[0].Lanes, Lane{Name: "plain", Connector: "plain", Sink: plain}, Lane{Name: "none", Connector: "old", Sink: none, MaxBatch: 1})
		}
		b.start()
		settled(time.Second)
		n := 0
		for _, c := range []struct {
			asked CampaignSegment
			want  string // its id, or what is wrong
		}{
			{CampaignSegment{Name: "Spring buyers"}, "12"},
			{CampaignSegment{Name: "spring BUYERS "}, "12"},
			{CampaignSegment{Name: "13", Lane: "crm"}, "13"},
			{CampaignSegment{ID: "15"}, "15"},
			{CampaignSegment{ID: "Spring buyers"}, `crm has no segment "Spring buyers"`},
			{CampaignSegment{Name: "VIP"}, `2 segments of crm are called "VIP": "VIP" (14), "VIP" (15, active list)`},
			{CampaignSegment{Name: "buyers"}, `crm has no segment "buyers"; there are "Autumn buyers" (13), "Spring buyers" (12, static list)`},
			{CampaignSegment{Name: "Spring byers"}, `there are "Spring buyers" (12, static list)`},
			{CampaignSegment{Name: "all autumn people"}, `there are "Autumn buyers" (13)`},
			{CampaignSegment{Name: "xyz"}, `crm has no segment "xyz"`},
			{CampaignSegment{Lane: "crm"}, "want its name or its id"},
			{CampaignSegment{Lane: "hubspot", Name: "VIP"}, `tenant acme has no lane "hubspot"`},
			{CampaignSegment{Lane: "plain", Name: "VIP"}, "the lane plain has no segments: its connector, plain, does not tell of any"},
			{CampaignSegment{Lane: "none", Name: "VIP"}, "the lane none"},
		} {
			n++
			made, err := b.NewCampaign(b.Context(), CampaignRequest{Tenant: "acme", Name: fmt.Sprint("c", n), By: "maria", Template: hello, Segment: c.asked})
			switch {
			case err == nil && made.Segment.ID == c.want:
			case err != nil && strings.Contains(err.Error(), c.want):
			default:
				t.Errorf("%+v: %+v, %v, want %s", c.asked, made.Segment, err, c.want)
			}
		}
		list, err := b.Segments(b.Context(), SegmentQuery{Tenant: "acme", Name: "BUYERS"})
		if err != nil || list.Lane != "crm" || len(list.Segments) != 2 || list.Segments[0].ID != "13" || list.More {
			t.Errorf("%+v, %v", list, err)
		}
		// Who asks waits with a lane that has spent its calls, as long as that is soon over.
		began := time.Now()
		b.tenants["acme"].crmLane("crm").gate.hold("spent", began.Add(3*time.Second))
		if list, err = b.Segments(b.Context(), SegmentQuery{Tenant: "acme", Lane: "crm"}); err != nil || len(list.Segments) != 4 || time.Since(began) != 3*time.Second {
			t.Errorf("%+v, %v after %v", list, err, time.Since(began))
		}
		b.tenants["acme"].crmLane("crm").gate.hold("spent", time.Now().Add(time.Minute))
		if _, err = b.Segments(b.Context(), SegmentQuery{Tenant: "acme"}); core.CodeOf(err) != core.CodeRateLimited || !strings.Contains(err.Error(), "the lane crm waits until 2000-01-01T") {
			t.Errorf("of a lane that waits for long: %v", err)
		}
		settled(time.Minute)
		// The same again is the same, whether the CRM can be asked or not.
		crm.asks = func(string) error { return &core.Error{Code: core.CodeUnavailable, Op: "lists", Message: "503"} }
		again := CampaignRequest{Tenant: "acme", Name: "c1", By: "maria", Template: hello, Segment: CampaignSegment{Name: "Spring buyers"}}
		if c, err := b.NewCampaign(b.Context(), again); err != nil || c.Segment.ID != "12" {
			t.Errorf("%+v, %v", c.Segment, err)
		}
		again.Name = "other"
		if _, err := b.NewCampaign(b.Context(), again); core.CodeOf(err) != core.CodeUnavailable || !strings.Contains(err.Error(), "segments of crm: lists: 503") {
			t.Errorf("of a CRM that is down: %v", err)
		}
		// A lane whose credentials were refused says so, and asks nothing.
		crm.asks = func(string) error {
			return &core.Error{Code: core.CodeUnauthenticated, Op: "lists", Message: "401", Hint: "renew the token"}
		}
		_, err = b.NewCampaign(b.Context(), again)
		if core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("refused: %v", err)
		}
		calls := len(crm.called())
		if _, err = b.NewCampaign(b.Context(), again); err == nil || !strings.Contains(err.Error(), "the lane crm is paused: lists: 401; renew the token") || len(crm.called()) != calls {
			t.Errorf("of a paused lane, which was asked %d times: %v", len(crm.called())-calls, err)
		}
		if _, err := b.AddToCampaign(b.Context(), "c1", CampaignEntries{Tenant: "acme", People: entries(1)}); core.CodeOf(err) != core.CodeUndeliverable {
			t.Errorf("rows beside a segment: %v", err)
		}
		for _, both := range []CampaignRequest{{Tag: "vip"}, {Field: "city"}} {
			both.Tenant, both.Name, both.By, both.Template, both.Segment = "acme", "both", "maria", hello, CampaignSegment{ID: "12"}
			if _, err := b.NewCampaign(b.Context(), both); core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "an audience of its own") {
				t.Errorf("with %q and %q: %v", both.Tag, both.Field, err)
			}
		}
		b.stop()
	})
}
