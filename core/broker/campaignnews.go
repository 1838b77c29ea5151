package broker

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
)

// rowNews is what became of a campaign's row, or, without a state, an error that was met
// on the way. Without a campaign it is for all that write from a number.
type rowNews struct {
	Campaign string            `json:"campaign,omitempty"`
	Row      int               `json:"row,omitempty"`
	State    campaign.RowState `json:"state,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Why      string            `json:"why,omitempty"`
	Code     int               `json:"code,omitempty"`
	Message  string            `json:"message,omitempty"` // wamid
	Number   string            `json:"number,omitempty"`
	At       time.Time         `json:"at"`
}

// rowBecame has it noted what became of a campaign's message; of other messages it does
// nothing.
func (t *tenant) rowBecame(s *store.Settlement, send *core.Event, n rowNews) {
	if send.Campaign == "" {
		return
	}
	n.Campaign, n.Row, n.At = send.Campaign, rowOf(send.ID), time.Now().UTC()
	t.tally(s, send.ID, tallied{Row: &n})
}

// rowFailed is rowBecame for a message that was not sent.
func (t *tenant) rowFailed(s *store.Settlement, send *core.Event, why *core.Error) {
	n := rowNews{State: campaign.RowFailed, Why: why.Message, Code: vendorNumber(why)}
	if why.Op == "policy" { // nobody tried
		n.State, n.Reason = campaign.RowExcluded, campaign.Refused
	}
	t.rowBecame(s, send, n)
}

// rowMet notes an error that a campaign's message met, and that may mean trouble for all.
func (t *tenant) rowMet(s *store.Settlement, send *core.Event, err *core.Error) {
	if code := vendorNumber(err); campaign.AtOnce(code) != "" {
		t.rowBecame(s, send, rowNews{Code: code})
	}
}

func vendorNumber(err *core.Error) int {
	if err == nil {
		return 0
	}
	n, _ := strconv.Atoi(err.Vendor)
	return n
}

// rowStatus notes what a status says of a campaign's message, and has the CRMs told of
// which campaign it is.
func (t *tenant) rowStatus(u *turn, in *intent) {
	if in == nil || in.Campaign == "" {
		return
	}
	n := rowNews{Campaign: in.Campaign, Row: rowOf(in.ID), Message: u.e.Status.MessageID, At: u.step.Time}
	switch u.e.Status.Value {
	case core.StatusSent, core.StatusAccepted:
		n.State = campaign.RowSent
	case core.StatusDelivered:
		n.State = campaign.RowDelivered
	case core.StatusRead, core.StatusPlayed:
		n.State = campaign.RowRead
	case core.StatusFailed:
		n.State = campaign.RowFailed
		if len(u.e.Status.Errors) > 0 {
			e := u.e.Status.Errors[0]
			n.Code, n.Why = e.Code, or(e.Details, e.Title)
		}
	default:
		return
	}
	t.tally(&u.s, u.e.ID, tallied{Row: &n})
	if u.tell != nil {
		e := *u.tell
		e.Campaign = in.Campaign
		u.tell, u.data = &e, nil
	}
}

// numberInTrouble stops what campaigns a number sends.
func (t *tenant) numberInTrouble(s *store.Settlement, id, number, why string) {
	t.tally(s, id, tallied{Row: &rowNews{Number: number, Why: why, At: time.Now().UTC()}})
}

// addRows takes news of rows over: rows, counts, and campaigns that must stop. The caller
// has the turn, and calls took with what is returned once it is stored.
func (t *tenant) addRows(ctx context.Context, s *store.Settlement, news []rowNews) ([]*campaignRecord, error) {
	if len(news) == 0 {
		return nil, nil
	}
	rows := map[store.Key]*campaign.Row{}
	var keys []store.Key
	for _, n := range news {
		if k := rowKey(t.ID, n.Campaign, n.Row); n.Campaign != "" && rows[k] == nil {
			rows[k], keys = &campaign.Row{}, append(keys, k)
		}
	}
	values, err := t.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		rows[k], _ = decode[campaign.Row](values[i])
	}
	changed, touched := map[string]*campaignRecord{}, map[store.Key]bool{}
	edit := func(name string) *campaignRecord {
		if c := t.campaign(name); changed[name] == nil && c != nil {
			changed[name] = c.copyOf()
		}
		return changed[name]
	}
	trouble := map[string]string{}
	for _, n := range news {
		if n.Campaign == "" {
			for name, c := range *t.campaigns.view.Load() {
				if c.Number == n.Number && (c.State == campaign.Canary || c.State == campaign.Running) {
					edit(name)
					trouble[name] = n.Why
				}
			}
			continue
		}
		c := edit(n.Campaign)
		if c == nil {
			continue
		}
		k := rowKey(t.ID, n.Campaign, n.Row)
		if r := rows[k]; n.State != "" && r.N != 0 && r.State.Advances(n.State) {
			c.Lately.Saw(r.State, n.State, n.Code)
			c.Counts.Move(r.State, n.State)
			r.State, r.At, r.Reason, r.Why, r.Code, r.MessageID = n.State, n.At, n.Reason, n.Why, n.Code, or(n.Message, r.MessageID)
			touched[k] = true
		}
		if why := or(campaign.AtOnce(n.Code), c.Stops.Trouble(c.Lately)); why != "" {
			trouble[n.Campaign] = why
		}
	}
	for k := range touched {
		name, _, _ := strings.Cut(k.Key, "/")
		s.Put = append(s.Put, putRow(t.ID, name, rows[k]))
	}
	out := make([]*campaignRecord, 0, len(changed))
	for name, c := range changed {
		if why := trouble[name]; why != "" && (c.State == campaign.Canary || c.State == campaign.Running) {
			c.Resume = c.State
			s.Record = append(s.Record, c.become(campaign.Paused, byBridge, why))
			t.b.log.Error("a campaign stopped by itself: see `wabridge campaign show`", "tenant", t.ID, "campaign", name, "why", why)
			t.b.m.campaignsStopped.WithLabelValues(t.ID).Inc()
		}
		s.Put = append(s.Put, c.put())
		out = append(out, c)
	}
	return out, nil
}

// campaignHolds says what a campaign's state means for one of its messages that is about
// to go: it is refused, or put off.
func (t *tenant) campaignHolds(e *core.Event, now time.Time) (until time.Time, why string) {
	if e.Campaign == "" {
		return time.Time{}, ""
	}
	switch c := t.campaign(e.Campaign); {
	case c == nil:
		return time.Time{}, fmt.Sprintf("there is no campaign %s any more", e.Campaign)
	case c.State == campaign.Stopped:
		return time.Time{}, fmt.Sprintf("the campaign %s was stopped", c.Name)
	case c.State == campaign.Paused:
		return now.Add(time.Minute), ""
	}
	return time.Time{}, ""
}

// heldByCampaign takes out of a batch what belongs to campaigns that were paused or
// stopped while it waited.
func (l *lane) heldByCampaign(ctx context.Context, ds []store.Delivery, now time.Time) []store.Delivery {
	var s store.Settlement
	may := ds[:0:0]
	for _, d := range ds {
		e := eventOf(d)
		until, why := l.t.campaignHolds(e, now)
		switch {
		case len(d.Mark) > 0 || until.IsZero() && why == "":
			may = append(may, d)
		case why != "":
			refused := core.Errorf(core.CodeUndeliverable, "policy", "%s", why)
			step := l.step(d, e, now)
			step.Step, step.Error, step.Notes = "dead", refused, []string{"refused while it waited to be sent: " + why}
			s.Ack, s.Record = append(s.Ack, d), append(s.Record, record(&step, e))
			l.t.failed(&s, e, refused)
		default:
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: until})
		}
	}
	if len(may) == len(ds) {
		return ds
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	return may
}

// namedRow reads which row of which campaign is a contact's.
func namedRow(contact string, e store.Entry) (name string, n int) {
	name, _, _ = strings.Cut(strings.TrimPrefix(e.Key, contact+"/"), "/")
	n, _ = strconv.Atoi(string(e.Value))
	return name, n
}

// forgetRows takes a person who was erased out of the rows of campaigns.
func (t *tenant) forgetRows(ctx context.Context, contacts []string) error {
	if err := t.campaigns.take(ctx); err != nil {
		return err
	}
	defer t.campaigns.give()
	for _, id := range contacts {
		var found []store.Entry
		err := eachOf(ctx, t.b.o.Store, t.ID, bucketRowOf, id, func(e store.Entry) { found = append(found, e) })
		if err != nil {
			return err
		}
		for _, e := range found {
			name, n := namedRow(id, e)
			s := store.Settlement{Put: []store.Put{{Key: store.Key{Tenant: t.ID, Bucket: bucketRowOf, Key: e.Key}}}}
			values, err := t.b.o.Store.Get(ctx, rowKey(t.ID, name, n))
			if err != nil {
				return err
			}
			c := t.campaign(name)
			if r, ok := decode[campaign.Row](values[0]); ok && c != nil {
				c = c.copyOf()
				now := campaign.Row{N: r.N, State: r.State, At: r.At, Code: r.Code, Ordinal: r.Ordinal, Reason: campaign.Erased, Bad: "the person was erased"}
				if !r.State.Ended() {
					now.State, now.Why = campaign.RowExcluded, now.Bad
					c.Counts.Move(r.State, now.State)
				}
				s.Put = append(s.Put, putRow(t.ID, name, &now), c.put())
			}
			if _, err := t.b.settle(ctx, s); err != nil {
				return err
			}
			if c != nil {
				t.took(c)
			}
		}
	}
	return nil
}
