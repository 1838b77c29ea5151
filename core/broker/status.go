package broker

import (
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wabridge/wabridge/core/store"
)

// totals count since the start of the process.
type totals struct {
	accepted, duplicates, decided, sent, written, dead, scriptErrs, doubleSend, quarantine, messages atomic.Uint64
}

func (t *totals) read() Totals {
	return Totals{
		Accepted: t.accepted.Load(), Duplicates: t.duplicates.Load(), Decided: t.decided.Load(), Sent: t.sent.Load(),
		Written: t.written.Load(), Dead: t.dead.Load(), ScriptErrs: t.scriptErrs.Load(), DoubleSend: t.doubleSend.Load(),
		Quarantine: t.quarantine.Load(), Messages: t.messages.Load(),
	}
}

// minute counts what happened in the last minute, by second.
type minute struct {
	mu    sync.Mutex
	slots [60]struct {
		second int64
		n      int
	}
}

func (m *minute) add(now time.Time) {
	s := now.Unix()
	m.mu.Lock()
	defer m.mu.Unlock()
	slot := &m.slots[s%60]
	if slot.second != s {
		slot.second, slot.n = s, 0
	}
	slot.n++
}

func (m *minute) sum(now time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, slot := range m.slots {
		if now.Unix()-slot.second < 60 {
			n += slot.n
		}
	}
	return n
}

// Snapshot describes the whole bridge at this moment. It is cheap enough for
// each second.
func (b *Broker) Snapshot() Snapshot {
	now := time.Now().UTC()
	st := b.o.Store.Stats()
	snap := Snapshot{
		Time: now, Started: b.started.UTC(), MessagesPerMinute: float64(b.rate.sum(now)), Totals: b.totals.read(),
		Queues: Queues(st), Dead: st.Dead, Overdue: int(b.overdue.Load()), Full: st.Full, FileSize: st.FileSize,
		FreeDisk: st.FreeDisk, CommitP99: float64(st.CommitP99.Microseconds()) / 1000,
	}
	byQueue := make(map[store.QueueID]store.QueueStats, len(st.Queues))
	for _, q := range st.Queues {
		byQueue[q.Queue] = q
	}
	lanes := map[store.QueueID]LaneStatus{}
	snap.Alarms = b.Alarms("")
	for _, t := range b.tenants {
		info := TenantInfo{ID: t.ID, Name: t.Name}
		if b.o.TenantInfo != nil {
			info = b.o.TenantInfo(t.ID)
			info.ID, info.Name = t.ID, t.Name
		}
		snap.Tenants = append(snap.Tenants, info)
		for _, l := range t.allLanes() {
			s := l.status(byQueue[l.queue])
			snap.Lanes = append(snap.Lanes, s)
			lanes[l.queue] = s
		}
	}
	for i := range snap.Queues {
		q := &snap.Queues[i]
		switch s, ok := lanes[store.QueueID{Tenant: q.Tenant, Name: q.Queue}]; {
		case ok && s.State != LaneRunning:
			q.State, q.Why = s.State, s.Why
		case !ok && q.Depth > 0 && isLanes(q.Queue):
			q.State, q.Why = LaneStopped, noLane
		}
	}
	sort.Slice(snap.Tenants, func(i, j int) bool { return snap.Tenants[i].ID < snap.Tenants[j].ID })
	sort.SliceStable(snap.Lanes, func(i, j int) bool { return snap.Lanes[i].Tenant < snap.Lanes[j].Tenant })
	return snap
}

// noLane is said of what waits for a lane, target or number that the configuration
// had when it came.
const noLane = "the configuration does not have it any more: what waits goes on when it is there again, by this name"

// isLanes reports whether a queue is for a lane of the configuration.
func isLanes(queue string) bool {
	for _, of := range []func(string) string{crmQueue, targetQueue, numberQueue} {
		if strings.HasPrefix(queue, of("")) {
			return true
		}
	}
	return false
}

// tellUnserved logs what waits for lanes that are not there.
func (b *Broker) tellUnserved() {
	for _, q := range b.Snapshot().Queues {
		if q.Why == noLane {
			b.log.Warn("events wait that nobody delivers", "tenant", q.Tenant, "lane", q.Queue, "events", q.Depth, "why", noLane)
		}
	}
}

// Queues describes the queues in a store's stats, by tenant and name.
func Queues(st store.Stats) []QueueStatus {
	out := make([]QueueStatus, len(st.Queues))
	for i, q := range st.Queues {
		out[i] = QueueStatus{
			Tenant: q.Queue.Tenant, Queue: q.Queue.Name, Depth: q.Depth, Leased: q.Leased, Waiting: q.Waiting,
			Oldest: q.Oldest, NextDue: q.NextDue,
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Tenant != out[j].Tenant {
			return out[i].Tenant < out[j].Tenant
		}
		return out[i].Queue < out[j].Queue
	})
	return out
}
