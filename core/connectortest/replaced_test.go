package connectortest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
)

// remembering is a notebook that does not ask what is there: it remembers what it wrote.
type remembering struct {
	notebook
	mu   sync.Mutex
	seen map[string]bool
}

func (r *remembering) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	results, fresh := failed(batch, nil), []core.Delivery{}
	for _, d := range batch {
		if !r.seen[d.Event.ID] {
			fresh = append(fresh, d)
		}
	}
	for _, done := range r.notebook.Deliver(ctx, a, fresh) {
		r.seen[done.ID] = done.Err == nil
		results[slices.IndexFunc(results, func(other core.Result) bool { return other.ID == done.ID })] = done
	}
	return results
}

func TestRules_FindOutAPluginThatRemembers(t *testing.T) {
	server, target := newNotebook(t)
	server.appends = true
	target.Connector = connectortest.Plugin(t, "remembering")
	target.Stall = nil // a timeout is another matter
	outcomes := map[string]connectortest.Finding{}
	connectortest.Suite(t.Context(), target, func(f connectortest.Finding) { outcomes[f.Rule] = f })
	if f := outcomes["deliver/again"]; f.Outcome != connectortest.Passed {
		t.Errorf("to one process it is no trouble: %s", f)
	}
	if f := outcomes["deliver/replaced"]; f.Outcome != connectortest.Failed || !strings.Contains(f.Seen, "2 times") {
		t.Errorf("got %s, want it to be found out", f)
	}
}
