//go:build linux

package plugin

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

var swaps = flag.Int("swaps", 6, "how often the plugin is replaced under load")

// ledger is a CRM that counts how often each event came.
type ledger struct {
	core.Account
	mu   sync.Mutex
	seen map[string]int
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{seen: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen[r.FormValue("id")]++
	}))
	t.Cleanup(server.Close)
	l.Account = core.Account{Settings: json.RawMessage(fmt.Sprintf(`{"url":%q}`, server.URL))}
	return l
}

func (l *ledger) times(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[id]
}

func TestHost_SwapsVersionsUnderLoad(t *testing.T) {
	l := newLedger(t)
	h, _ := run(t, HostOptions{Launch: child("actor"), Account: func() core.Account { return l.Account }, DrainTimeout: patience})
	await(t, h, "running", running)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent atomic.Int64
	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() {
			for ctx.Err() == nil {
				batch := does("ask", "ask")
				for i := range batch {
					id := fmt.Sprintf("wamid.swap%d", sent.Add(1))
					batch[i].Event.ID = id
					batch[i].Data, _ = json.Marshal(batch[i].Event)
				}
				for _, r := range h.Deliver(context.Background(), batch) {
					if r.Err != nil {
						t.Errorf("%s: %v", r.ID, r.Err)
					}
				}
			}
		})
	}
	began := time.Now()
	for i := range *swaps {
		next := child("actor", fmt.Sprint("version ", i))
		next.SHA256 = fmt.Sprint(i) // of a Command it is only a name
		h.Use(next)
		await(t, h, "replaced", func(s State) bool { return s.Phase == PhaseRunning && s.SHA256 == next.SHA256 })
	}
	cancel()
	callers.Wait()
	lost, doubled := 0, 0
	for n := range sent.Load() {
		switch got := l.times(fmt.Sprintf("wamid.swap%d", n+1)); {
		case got == 0:
			lost++
		case got > 1:
			doubled++
		}
	}
	t.Logf("%d swaps in %v under %d events: %d lost, %d doubled", *swaps, time.Since(began), sent.Load(), lost, doubled)
	if lost+doubled > 0 || sent.Load() < int64(*swaps) {
		t.Errorf("of %d events %d were lost and %d doubled", sent.Load(), lost, doubled)
	}
	if s := h.State(); s.Crashes != 0 || s.Starts != *swaps+1 {
		t.Errorf("state is %+v", s)
	}
}

func TestHost_DisabledRunsNothingUntilItIsEnabled(t *testing.T) {
	l := child("actor")
	h, _ := run(t, HostOptions{Launch: l})
	old := watch(t, await(t, h, "running", running).PID)
	off := l
	off.Disabled = true
	h.Use(off)
	old.gone(t, "the process of a disabled plugin")
	await(t, h, "disabled", func(s State) bool { return s.Phase == PhaseDisabled })
	began := time.Now()
	r := act(t, h, "ok")
	if core.CodeOf(plain(r.Err)) != core.CodeUnavailable || r.Err.Holds() != core.ScopeLane || !strings.Contains(r.Err.Hint, "plugin enable actor") || time.Since(began) > 5*time.Second {
		t.Errorf("after %v a call gets %v (%s), want unavailable at once, and how to enable it", time.Since(began), r.Err, r.Err.Hint)
	}
	h.Restart() // does not get around it
	if s := await(t, h, "disabled still", func(s State) bool { return s.Phase == PhaseDisabled }); s.Crashes != 0 || s.Starts != 1 {
		t.Errorf("state is %+v", s)
	}
	h.Use(l)
	await(t, h, "running again", running)
	mustAct(t, h, "ok")
}

func TestHost_SaysWhyANewVersionIsRefusedAndTakesTheOldOneBack(t *testing.T) {
	good := child("actor")
	good.SHA256 = "good"
	h, _ := run(t, HostOptions{Launch: good})
	first := await(t, h, "running", running).PID
	bad := child("exiting")
	bad.SHA256 = "bad"
	h.Use(bad)
	s := await(t, h, "refused", func(s State) bool { return s.Refused != "" })
	if s.PID != first || s.SHA256 != "good" || s.Wanted != "bad" || !strings.Contains(s.Refused, "config not found") {
		t.Errorf("state is %+v", s)
	}
	mustAct(t, h, "ok")
	h.Use(good)
	s = await(t, h, "replaced", func(s State) bool { return s.PID != first && s.Phase == PhaseRunning })
	if s.Refused != "" || s.Wanted != "good" || s.SHA256 != "good" {
		t.Errorf("state is %+v", s)
	}
}

// TestHost_DeliversAgainSoonAfterACrash: within a second. The machine may be busy, so the best of three counts.
func TestHost_DeliversAgainSoonAfterACrash(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("actor")})
	await(t, h, "running", running)
	best := patience
	for range 3 {
		if r := act(t, h, "exit"); r.Err == nil || r.Err.Vendor != VendorCrashed {
			t.Fatalf("got %v, want a crash", r.Err)
		}
		began := time.Now()
		mustAct(t, h, "ok")
		best = min(best, time.Since(began))
	}
	t.Logf("delivering again after %v", best)
	if best > time.Second {
		t.Errorf("delivering again took %v", best)
	}
	if s := h.State(); s.Starts != 4 || s.Crashes != 3 {
		t.Errorf("state is %+v", s)
	}
}
