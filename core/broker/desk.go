package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/store"
)

const (
	bucketEscalations = "escalations"        // those open
	bucketClosed      = "escalations-closed" // and those that were, for closedFor
	bucketShares      = "escalation-shares"  // who was given something last
	closedFor         = 30 * 24 * time.Hour
	escalationsPage   = 500
)

// The states of an escalation.
const (
	StateWaiting  = "waiting"  // nobody has answered yet
	StateTaken    = "taken"    // somebody said that they will
	StateAnswered = "answered" // a person wrote to the contact
	StateClosed   = "closed"
)

// Escalation is a conversation that is handed to people, as they see it.
type Escalation struct {
	core.Escalation
	Tenant string `json:"tenant"`
	State  string `json:"state"`
	// Event is the one that opened it: `wabridge why` tells its story.
	Event        string `json:"event"`
	Conversation string `json:"conversation"`
	Number       string `json:"number"`
	ContactID    string `json:"contact_id"`
	// ContactName is untrusted text.
	ContactName string `json:"contact_name,omitempty"`
	// Accepted is when the message that caused it was.
	Accepted time.Time `json:"accepted"`
	// Handed is when the first target had it, HandedTo which.
	Handed   time.Time `json:"handed,omitzero"`
	HandedTo string    `json:"handed_to,omitempty"`
	// Told are the targets that know of it, and are told how it goes on.
	Told   []string  `json:"told,omitempty"`
	Closed time.Time `json:"closed,omitzero"`
	// AnyTime says that the deadline runs outside the team's hours, too.
	AnyTime bool `json:"any_time,omitempty"`
	// HandOverMS is the time from accepting the message to the hand-over,
	// AnswerMS from there to a person's answer; 0 while it lasts.
	HandOverMS float64 `json:"hand_over_ms,omitempty"`
	AnswerMS   float64 `json:"answer_ms,omitempty"`
}

func (e *Escalation) state() string {
	switch {
	case !e.Closed.IsZero():
		return StateClosed
	case !e.Answered.IsZero():
		return StateAnswered
	case !e.Taken.IsZero():
		return StateTaken
	}
	return StateWaiting
}

// stopped reports whether the clock stands: somebody has it.
func (e *Escalation) stopped() bool { return e.state() != StateWaiting }

// desk knows a tenant's open escalations, and who has how many. What it knows is
// in the store as well; see restore.
type desk struct {
	mu     sync.Mutex
	open   map[string]Escalation
	shares map[string]escalation.Share // by team and member
	last   map[string]uint64           // by team: its assignments so far
}

func newDesk() *desk {
	return &desk{open: map[string]Escalation{}, shares: map[string]escalation.Share{}, last: map[string]uint64{}}
}

func shareKey(team, member string) string { return team + "/" + member }

// assign gives an escalation to a member of a team. The share is taken at once,
// so that of two that are decided at once each goes to somebody else; it is
// given back by undo when the escalation did not come to be.
func (d *desk) assign(tenant string, team *escalation.Team, owner string) (a *core.Assignee, put store.Put, undo func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := team.Pick(func(member string) escalation.Share { return d.shares[shareKey(team.ID, member)] })
	if i := slices.IndexFunc(team.Members, func(m escalation.Member) bool { return m.ID == owner }); i >= 0 {
		m = team.Members[i]
	}
	if !ok {
		return nil, store.Put{}, func() {}
	}
	key := shareKey(team.ID, m.ID)
	before := d.shares[key]
	d.last[team.ID]++
	d.shares[key] = escalation.Share{Last: d.last[team.ID], Open: before.Open + 1}
	put = store.Put{
		Key:   store.Key{Tenant: tenant, Bucket: bucketShares, Key: key},
		Value: strconv.AppendUint(nil, d.last[team.ID], 10),
	}
	undo = func() { d.free(team.ID, m.ID) }
	return &core.Assignee{ID: m.ID, Name: m.Name, Email: m.Email, CRMOwner: m.CRMOwner}, put, undo
}

// free takes one from what a member has.
func (d *desk) free(team, member string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.shares[shareKey(team, member)]
	s.Open = max(0, s.Open-1)
	d.shares[shareKey(team, member)] = s
}

// again gives a member back what was taken from them by free.
func (d *desk) again(team, member string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.shares[shareKey(team, member)]
	s.Open++
	d.shares[shareKey(team, member)] = s
}

// keep takes note of an escalation as it is stored.
func (d *desk) keep(e Escalation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.State == StateClosed {
		delete(d.open, e.ID)
		return
	}
	d.open[e.ID] = e
}

// all returns the open escalations, those that are due first first.
func (d *desk) all() []Escalation {
	d.mu.Lock()
	out := make([]Escalation, 0, len(d.open))
	for _, e := range d.open {
		out = append(out, e)
	}
	d.mu.Unlock()
	slices.SortFunc(out, func(a, b Escalation) int {
		// Who waits comes before who is looked after.
		if aw, bw := a.stopped(), b.stopped(); aw != bw {
			if bw {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Deadline.Compare(b.Deadline), strings.Compare(a.ID, b.ID))
	})
	return out
}

func (d *desk) get(id string) (Escalation, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.open[id]
	return e, ok
}

// restore reads the open escalations and the shares.
func (d *desk) restore(ctx context.Context, st store.Store, tenant string) error {
	each := func(bucket string, take func(store.Entry)) error {
		for after := ""; ; {
			page, err := st.Range(ctx, tenant, bucket, after, escalationsPage)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, e := range page {
				take(e)
			}
			after = page[len(page)-1].Key
		}
	}
	err := each(bucketShares, func(e store.Entry) {
		n, err := strconv.ParseUint(string(e.Value), 10, 64)
		if err != nil {
			return
		}
		team, _, _ := strings.Cut(e.Key, "/")
		d.shares[e.Key] = escalation.Share{Last: n}
		d.last[team] = max(d.last[team], n)
	})
	if err != nil {
		return err
	}
	return each(bucketEscalations, func(e store.Entry) {
		var esc Escalation
		if json.Unmarshal(e.Value, &esc) != nil {
			return
		}
		d.open[esc.ID] = esc
		if esc.Assignee != nil {
			key := shareKey(esc.Team, esc.Assignee.ID)
			s := d.shares[key]
			s.Open++
			d.shares[key] = s
		}
	})
}
