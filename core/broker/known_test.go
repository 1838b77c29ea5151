package broker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

// lateCRM can make records and search for them, by a key that need not be unique, and
// the search sees a record a while after it was made. Its connector does what most
// would: it searches, and creates what was not found.
type lateCRM struct {
	sees time.Duration

	mu      sync.Mutex
	records map[string][]time.Time // by key: when each was made
	at      int                    // calls at once
	most    int
	fail    func(call int) *core.Error // what the answer to the n-th call is, whatever was done
	calls   int
}

func (c *lateCRM) Info(context.Context) (core.ConnectorInfo, error) {
	return core.ConnectorInfo{Name: "late", MaxBatch: 10, Idempotency: core.IdempotencySearch, SearchDelay: c.sees}, nil
}

func (c *lateCRM) ensure(key string) {
	for _, made := range c.records[key] {
		if time.Since(made) >= c.sees {
			return
		}
	}
	c.records[key] = append(c.records[key], time.Now())
}

func (c *lateCRM) Deliver(_ context.Context, batch []core.Delivery) []core.Result {
	c.mu.Lock()
	c.calls++
	n := c.calls
	c.at++
	c.most = max(c.most, c.at)
	c.mu.Unlock()
	<-time.After(100 * time.Millisecond) // in virtual time
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at--
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		who := d.Event.Contact.ID
		if d.ContactRef == "" {
			c.ensure("contact " + who)
		}
		c.ensure("event " + d.Event.ID)
		results[i] = core.Result{ID: d.Event.ID, Ref: "r-" + d.Event.ID, ContactRef: "c-" + who}
		if err := c.fail(n); err != nil {
			results[i] = core.Result{ID: d.Event.ID, Err: err}
		}
	}
	return results
}

// wantOnce wants each record once.
func (c *lateCRM) wantOnce(t *testing.T, contacts, events int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.records) != contacts+events {
		t.Errorf("the CRM has %d records of different keys, want %d: %v", len(c.records), contacts+events, c.records)
	}
	for key, made := range c.records {
		if len(made) != 1 {
			t.Errorf("%s was made %d times: %v", key, len(made), made)
		}
	}
}

func TestSearch_MakesNothingTwiceThoughTheSearchIsLate(t *testing.T) {
	unknown := core.Errorf(core.CodeUnknownOutcome, "create", "no answer")
	for name, c := range map[string]struct {
		fail func(call int) *core.Error
		kill bool
	}{
		"all is well":      {func(int) *core.Error { return nil }, false},
		"answers get lost": {func(call int) *core.Error { return map[bool]*core.Error{true: unknown}[call%3 == 1] }, false},
		"the bridge stops": {func(int) *core.Error { return nil }, true},
		"the plugin is bad": {func(call int) *core.Error {
			return map[bool]*core.Error{true: {Code: core.CodeUnknownOutcome, Vendor: vendorCrashed}}[call == 1]
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				crm := &lateCRM{sees: 20 * time.Second, records: map[string][]time.Time{}, fail: c.fail}
				b.change = func(o *Options) {
					o.Tenants[0].Numbers = append(o.Tenants[0].Numbers, Number{ID: "200", Sink: b.wa, Rate: 80})
					o.Tenants[0].Lanes = []Lane{{Name: "crm", Connector: "late", Sink: crm, Retry: []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}}}
				}
				b.start()
				// Each of ten people writes to two numbers at once, twice.
				var events []core.Event
				for i := range 40 {
					e := received(fmt.Sprint("wamid.", i), fmt.Sprintf("+1415555%04d", i/2%10), "hi")
					if i%2 == 1 {
						e.Number = "200"
					}
					events = append(events, e)
				}
				b.accept(events...)
				if c.kill {
					settled(50 * time.Millisecond) // in the middle of a call
					b.stop()
					b.start()
				}
				settled(30 * time.Minute)
				crm.wantOnce(t, 10, 40)
				if crm.most != 1 {
					t.Errorf("%d calls at once", crm.most)
				}
				if n := b.Snapshot().Lanes[len(b.Snapshot().Lanes)-1].Dead; n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}
