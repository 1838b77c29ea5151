package core

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Budget is how many calls of a kind a CRM bears from an account in some time. A
// connector says which there are ([ConnectorInfo.Budgets]) and takes note of each
// call that it makes ([Spend]); the bridge keeps the account and begins no more
// deliveries than the budget pays for. Several of one name are windows of different
// length on the same calls: 100 in ten seconds, 250,000 in a day.
type Budget struct {
	// Name is the kind of call: "api", "search", "credits".
	Name string `json:"name"`
	// Calls are how many in Per.
	Calls int           `json:"calls"`
	Per   time.Duration `json:"per"`
}

// Meter counts what connectors spend while a call of the bridge's lasts. Its
// methods may be called concurrently.
type Meter struct {
	mu    sync.Mutex
	spent map[string]int
	left  map[string]int
}

type meterKey struct{}

// WithMeter returns a context in which [Spend] and [Left] count on the meter.
func WithMeter(ctx context.Context) (context.Context, *Meter) {
	m := &Meter{spent: map[string]int{}, left: map[string]int{}}
	return context.WithValue(ctx, meterKey{}, m), m
}

// Spend takes note that n calls were made that count to the budgets of a name. ctx
// is the one that the connector was called with, or one made of it. The empty name is
// for calls that count to none.
func Spend(ctx context.Context, name string, n int) {
	if m, ok := ctx.Value(meterKey{}).(*Meter); ok && n > 0 && name != "" {
		m.mu.Lock()
		m.spent[name] += n
		m.mu.Unlock()
	}
}

// Left takes note that the CRM says how many calls are left in the longest window
// of a name: others may use the account, too.
func Left(ctx context.Context, name string, n int) {
	if m, ok := ctx.Value(meterKey{}).(*Meter); ok && n >= 0 {
		m.mu.Lock()
		if old, seen := m.left[name]; !seen || n < old {
			m.left[name] = n
		}
		m.mu.Unlock()
	}
}

// Spent returns what was spent so far, and what the CRM said is left, by name.
func (m *Meter) Spent() (spent, left map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.spent), maps.Clone(m.left)
}
