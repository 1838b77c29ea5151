package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// Alarm is something that a person should look at: WhatsApp says that an account or a
// number is restricted, cannot pay, or that somebody touched its security.
type Alarm struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Level is "warning", or "critical" when messages are not sent or somebody may be
	// taking the account over.
	Level string `json:"level"`
	// About is what it is about, such as account, security or error/131042; Numbers are
	// the ids of the numbers concerned.
	About   string   `json:"about"`
	Numbers []string `json:"numbers"`
	// Text says what happened, Hint what can be done.
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
	// Stops are what the numbers may not send meanwhile.
	Stops []core.Stop `json:"stops,omitempty"`
	// Since is when it was first told, Told when it was last.
	Since time.Time `json:"since"`
	Told  time.Time `json:"told"`
	// Event is what `wabridge why` has it under.
	Event string `json:"event,omitempty"`
	// Over says that it is no more: such are not listed, but remembered, so that old
	// news does not raise them again.
	Over bool `json:"over,omitempty"`
}

const (
	bucketAlarms = "alarms" // Alarm.ID → Alarm

	// maxAlarms bounds what is remembered of a tenant.
	maxAlarms = 500
	// alarmTold is for how long one that is over is remembered.
	alarmTold = 30 * 24 * time.Hour
)

// alarms are a tenant's.
type alarms struct {
	mu      sync.Mutex
	all     map[string]*Alarm
	changed chan struct{} // closed and replaced at each change
}

func newAlarms() alarms { return alarms{all: map[string]*Alarm{}, changed: make(chan struct{})} }

// live reports whether it stands: one that stops sends ends with the last of its stops.
func (a *Alarm) live(now time.Time) bool {
	return !a.Over && (len(a.Stops) == 0 || slices.ContainsFunc(a.Stops, func(s core.Stop) bool { return s.Until.IsZero() || now.Before(s.Until) }))
}

// restoreAlarms remembers those of before.
func (t *tenant) restoreAlarms(ctx context.Context) error {
	entries, err := t.b.o.Store.Range(ctx, t.ID, bucketAlarms, "", 2*maxAlarms)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var a Alarm
		if json.Unmarshal(e.Value, &a) == nil {
			t.alarms.all[e.Key] = &a
		}
	}
	return nil
}

// raise takes an alarm up, and adds it to what is stored. It reports whether that is
// news; what is older than what was told of the same is not.
func (t *tenant) raise(s *store.Settlement, a Alarm) bool {
	as := &t.alarms
	as.mu.Lock()
	defer as.mu.Unlock()
	was := as.all[a.ID]
	if was != nil && a.Told.Before(was.Told) {
		return false
	}
	news := was == nil || was.Over != a.Over || was.Text != a.Text
	if a.Since = a.Told; was != nil && !was.Over && !a.Over {
		a.Since = was.Since
	}
	if was == nil && len(as.all) >= maxAlarms && !as.forget(t.ID, s, a.Told) {
		return false
	}
	a.Tenant = t.ID
	as.all[a.ID] = &a
	put := store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketAlarms, Key: a.ID}, Value: mustJSON(&a)}
	if a.Over {
		put.Expires = a.Told.Add(alarmTold)
	}
	s.Put = append(s.Put, put)
	close(as.changed)
	as.changed = make(chan struct{})
	if news {
		say := t.b.log.Warn
		if a.Level == "critical" && !a.Over {
			say = t.b.log.Error
		}
		say("alarm: see `wabridge alarm list`", "tenant", t.ID, "alarm", a.ID, "over", a.Over, "what", a.Text)
	}
	return news
}

// forget makes room by the oldest that is over. Callers hold mu.
func (as *alarms) forget(tenant string, s *store.Settlement, now time.Time) bool {
	var oldest *Alarm
	for _, a := range as.all {
		if !a.live(now) && (oldest == nil || a.Told.Before(oldest.Told)) {
			oldest = a
		}
	}
	if oldest == nil {
		return false
	}
	delete(as.all, oldest.ID)
	s.Put = append(s.Put, store.Put{Key: store.Key{Tenant: tenant, Bucket: bucketAlarms, Key: oldest.ID}})
	return true
}

// alarm returns what is remembered of an alarm.
func (t *tenant) alarmOf(id string) (Alarm, bool) {
	t.alarms.mu.Lock()
	defer t.alarms.mu.Unlock()
	if a := t.alarms.all[id]; a != nil {
		return *a, true
	}
	return Alarm{}, false
}

// lower ends an alarm, if it stands.
func (t *tenant) lower(s *store.Settlement, id, why, event string, at time.Time) bool {
	a, ok := t.alarmOf(id)
	if !ok || a.Over {
		return false
	}
	a.Over, a.Stops, a.Text, a.Told, a.Event = true, nil, why, at, event
	return t.raise(s, a)
}

// list returns the alarms that stand, critical ones first.
func (t *tenant) listAlarms(now time.Time) []Alarm {
	t.alarms.mu.Lock()
	defer t.alarms.mu.Unlock()
	out := []Alarm{}
	for _, a := range t.alarms.all {
		if a.live(now) {
			out = append(out, *a)
		}
	}
	slices.SortFunc(out, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Alarms lists what somebody should look at, of a tenant or of all ("").
func (b *Broker) Alarms(tenant string) []Alarm {
	out := []Alarm{}
	now := time.Now()
	for _, t := range b.sorted() {
		if tenant == "" || t.ID == tenant {
			out = append(out, t.listAlarms(now)...)
		}
	}
	return out
}

// SettleAlarm ends an alarm that a person dealt with, and what it stopped goes on. An
// unknown one is CodeInvalid.
func (b *Broker) SettleAlarm(ctx context.Context, tenant, id, by string) error {
	const op = "settle alarm"
	t := b.tenants[tenant]
	if t == nil {
		return core.Errorf(core.CodeInvalid, op, "no tenant %.60q: %w", tenant, store.ErrNotFound)
	}
	if by == "" || len(by) > 120 {
		return core.Errorf(core.CodeInvalid, op, "by: who does it, at most 120 bytes, is needed")
	}
	a, ok := t.alarmOf(id)
	now := time.Now().UTC()
	if !ok || !a.live(now) {
		return core.Errorf(core.CodeInvalid, op, "tenant %s has no alarm %.120q: %w", tenant, id, store.ErrNotFound)
	}
	var s store.Settlement
	at := now
	if a.Told.After(at) {
		at = a.Told // WhatsApp's clock is ahead
	}
	t.lower(&s, id, a.Text+": settled"+byWhom(by), a.Event, at)
	step := Step{Time: now, Event: or(a.Event, id), Kind: core.KindAccountChanged, Tenant: t.ID, Step: "settled", Notes: []string{"the alarm " + id + " was settled" + byWhom(by)}}
	s.Record = append(s.Record, record(&step, &core.Event{}))
	_, err := b.settle(ctx, s)
	return err
}
