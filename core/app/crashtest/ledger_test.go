//go:build linux && !race

package crashtest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// figures are what a run was like.
type figures struct {
	Acked, Posts, Asked, Sent, Dead, Held, Statuses int
}

func (f figures) String() string {
	return fmt.Sprintf("%d messages acknowledged in %d posts; %d asked for an answer, %d answers sent; %d dead letters, %d of them held as unknown; %d statuses in the CRM",
		f.Acked, f.Posts, f.Asked, f.Sent, f.Dead, f.Held, f.Statuses)
}

// check compares what was acknowledged with what the vendors have, and returns
// everything that is wrong.
func (w *world) check(tr *traffic, dead []broker.DeadLetter) (figures, []string) {
	var wrong []string
	complain := func(format string, args ...any) {
		if len(wrong) < 50 {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	given := map[string]bool{} // events before a person
	f := figures{Acked: len(tr.acked), Posts: tr.posts, Dead: len(dead)}
	for _, d := range dead {
		var e core.Event
		if err := json.Unmarshal(d.Event, &e); err != nil {
			complain("dead letter %s: %v", d.ID, err)
		}
		given[e.ID] = true
		if d.Held {
			f.Held++
		}
	}
	records := map[string]hubspotsim.Record{}
	for _, r := range w.crm.Records("communications") {
		id := r.Properties["wa_message_id"]
		if r.Archived || id == "" {
			continue
		}
		if _, twice := records[id]; twice {
			complain("%s is in the CRM twice", id)
		}
		records[id] = r
		for i, h := range r.History {
			f.Statuses++
			if i > 0 && !core.StatusValue(r.History[i-1].Value).Advances(core.StatusValue(h.Value)) && r.History[i-1].Value != h.Value {
				complain("the status of %s went from %s to %s", id, r.History[i-1].Value, h.Value)
			}
		}
	}
	for _, id := range tr.acked {
		if _, ok := records[id]; !ok && !given[id] {
			complain("LOST: %s was acknowledged, and is neither in the CRM nor a dead letter", id)
		}
	}
	for phone, ids := range tr.order {
		last := int64(0)
		for _, id := range ids {
			r, ok := records[id]
			if !ok {
				continue
			}
			if r.Created < last {
				complain("ORDER: %s of %s came into the CRM before an earlier message", id, phone)
			}
			last = r.Created
		}
	}
	sends := w.wa.Ledger()
	for intent, ids := range sends.Twice() {
		complain("TWICE: intent %s became %s", intent, strings.Join(ids, ", "))
	}
	f.Sent = len(sends.Sends)
	answered := map[string]int{}
	for _, s := range sends.Sends {
		answered[strings.TrimPrefix(s.Text, "re ")]++
		if _, ok := records[s.ID]; !ok && !given[core.FollowID(core.FollowID(strings.TrimPrefix(s.Text, "re "), 1), 1)] {
			complain("the answer %s was sent, and is not in the CRM", s.ID)
		}
	}
	for id, asked := range tr.asks {
		if !asked {
			continue
		}
		f.Asked++
		n := answered[id]
		if n > 1 {
			complain("TWICE: %s was answered %d times", id, n)
		}
		if n == 0 && !given[core.FollowID(id, 1)] {
			complain("LOST: %s was never answered, and no dead letter says why", id)
		}
	}
	slices.Sort(wrong)
	return f, wrong
}

// sound runs bbolt's own check over the hot file. No bridge may be running.
func (w *world) sound() error {
	db, err := bolt.Open(filepath.Join(w.data, "hot.db"), 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
}
