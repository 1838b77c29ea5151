package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/store"
)

const (
	bucketBudgets = "budgets" // <lane> → what was left of its long windows

	// keptWindow is from which length on a window is kept over restarts: a restart
	// does not make a day's calls anew.
	keptWindow = time.Hour
	// keptStep is which share of a window may be spent or saved without being stored.
	keptStep = 0.01
)

// budgets are what the lanes at an account may spend at their CRM, in the order in which
// they are asked. A nil one allows all.
type budgets struct {
	windows []budgetWindow

	mu     sync.Mutex
	stored []keptBudget // the long ones, as they were stored last
	// keeping says that they are being stored, spent that there may be more to store.
	keeping, spent bool
}

type budgetWindow struct {
	core.Budget
	account *limit.Budget
	longest bool // of its name
}

func (w *budgetWindow) String() string {
	return fmt.Sprintf("%d %s calls in %v", w.Calls, w.Name, w.Per)
}

// charge is what was reserved for a call, for each window.
type charge []float64

// newBudgets are those that the connector declares, but for the names that the owner
// gives other ones.
func newBudgets(declared, owners []core.Budget, now time.Time) *budgets {
	all := slices.Clone(owners)
	for _, d := range declared {
		if !slices.ContainsFunc(owners, func(o core.Budget) bool { return o.Name == d.Name }) {
			all = append(all, d)
		}
	}
	b := &budgets{}
	for _, one := range all {
		longer := func(o core.Budget) bool { return o.Name == one.Name && o.Per > one.Per }
		b.windows = append(b.windows, budgetWindow{one, limit.NewBudget(now, one.Calls, one.Per), !slices.ContainsFunc(all, longer)})
	}
	return b
}

// begin reserves what a call is expected to cost; where a window does not pay for
// it, it says which and until when.
func (b *budgets) begin(now time.Time) (c charge, why string, until time.Time) {
	if b == nil {
		return nil, "", time.Time{}
	}
	for i := range b.windows {
		w := &b.windows[i]
		reserved, wait := w.account.Begin(now)
		if wait > 0 {
			b.giveBack(c)
			return nil, "the budget of " + w.String() + " is spent", now.Add(wait)
		}
		c = append(c, reserved)
	}
	return c, "", time.Time{}
}

// giveBack ends a call that was not made.
func (b *budgets) giveBack(c charge) {
	for i := range c {
		b.windows[i].account.Cancel(c[i])
	}
}

// end pays for a call. One that was not begun has no charge.
func (b *budgets) end(now time.Time, c charge, m *core.Meter) {
	if b == nil {
		return
	}
	spent, left := m.Spent()
	for i := range b.windows {
		w := &b.windows[i]
		reserved := 0.0
		if i < len(c) {
			reserved = c[i]
		}
		w.account.End(now, reserved, spent[w.Name])
		if n, ok := left[w.Name]; ok && w.longest {
			w.account.Correct(now, n)
		}
	}
}

// left is what can be spent now in each window.
func (b *budgets) left(now time.Time) []BudgetStatus {
	if b == nil {
		return nil
	}
	var out []BudgetStatus
	for i := range b.windows {
		w := &b.windows[i]
		out = append(out, BudgetStatus{Name: w.Name, Calls: w.Calls, Per: w.Per.String(), Left: int(max(0, w.account.Level(now)))})
	}
	return out
}

// BudgetStatus is what a lane may still spend of a budget.
type BudgetStatus struct {
	Name  string `json:"name"`
	Calls int    `json:"calls"`
	Per   string `json:"per"`
	// Left is what can be spent at once; a tenth of a short window's calls
	// and half of a long one's after a rest.
	Left int `json:"left"`
}

// keptBudget is a long window as it is stored.
type keptBudget struct {
	Name  string        `json:"name"`
	Per   time.Duration `json:"per"`
	Level float64       `json:"level"`
	At    time.Time     `json:"at"`
}

// keepBudgets stores the long windows when enough was spent of one. One call at a
// time does, in the order in which things were spent, and for those who come
// meanwhile.
func (l *lane) keepBudgets(ctx context.Context) {
	b := l.budgets
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = true
	if b.keeping {
		return
	}
	b.keeping = true
	for b.spent {
		b.spent = false
		if kept := b.toKeep(time.Now()); kept != nil {
			b.mu.Unlock()
			_, _ = l.b.settle(ctx, store.Settlement{Put: []store.Put{{Key: l.purse.key(), Value: mustJSON(kept)}}})
			b.mu.Lock()
		}
	}
	b.keeping = false
}

// toKeep returns the long windows if they are to be stored anew. The caller holds mu.
func (b *budgets) toKeep(now time.Time) []keptBudget {
	var kept []keptBudget
	changed := false
	for i := range b.windows {
		w := &b.windows[i]
		if w.Per < keptWindow {
			continue
		}
		level, n := w.account.Level(now), len(kept)
		changed = changed || len(b.stored) == 0 || math.Abs(b.stored[n].Level-level) > keptStep*float64(w.Calls)
		kept = append(kept, keptBudget{w.Name, w.Per, level, now.UTC()})
	}
	if !changed {
		return nil
	}
	b.stored = kept
	return kept
}

// purse is an account's budgets, for all lanes that are at it.
type purse struct {
	of  *lane         // the first of them
	own []core.Budget // the owner's

	mu      sync.Mutex
	budgets *budgets // from when the first lane has started on
}

// key is where is kept what was left of the long budgets.
func (p *purse) key() store.Key {
	return store.Key{Tenant: p.of.t.ID, Bucket: bucketBudgets, Key: p.of.name}
}

// setBudgets begins with what was left when the bridge stopped, or with what another lane
// at the account has left.
func (l *lane) setBudgets(ctx context.Context, declared []core.Budget) error {
	l.purse.mu.Lock()
	defer l.purse.mu.Unlock()
	if l.purse.budgets == nil {
		b, err := l.purse.open(ctx, declared)
		if err != nil {
			return err
		}
		l.purse.budgets = b
	}
	l.budgets = l.purse.budgets
	return nil
}

// open returns the account's budgets, nil when there are none. The caller holds mu.
func (p *purse) open(ctx context.Context, declared []core.Budget) (*budgets, error) {
	now := time.Now()
	b := newBudgets(declared, p.own, now)
	if len(b.windows) == 0 {
		return nil, nil //nolint:nilnil // none is no error, and allows all
	}
	values, err := p.of.b.o.Store.Get(ctx, p.key())
	if err != nil {
		return nil, err
	}
	var kept []keptBudget
	if values[0] != nil && json.Unmarshal(values[0], &kept) != nil {
		kept = nil
	}
	for _, k := range kept {
		for i := range b.windows {
			if w := &b.windows[i]; w.Name == k.Name && w.Per == k.Per && k.At.Before(now) {
				w.account.Restore(k.At, k.Level)
			}
		}
	}
	return b, nil
}
