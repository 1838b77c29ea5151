package app

import (
	"testing"

	"github.com/wabridge/wabridge/core/redecide"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/versions"
)

// A shadow that is behind is left out: whoever offers never waits.
func TestShadow_IsNeverWaitedFor(t *testing.T) {
	s := &shadow{id: "acme", work: make(chan shadowBatch, shadowQueue), hooks: script.OnMessage, counter: redecide.NewCounter(),
		plan: versions.Shadow{Version: versions.Version{Hash: "0123"}}}
	calls := []script.Call{
		{Hooks: script.OnMessage, Event: []byte(`{"id":"1","kind":"message.received"}`), Context: []byte(`{}`)},
		{Hooks: script.BeforeSend, Event: []byte(`{}`), Context: []byte(`{}`)},
	}
	live := []script.Decision{{Version: "live"}, {Version: "live"}}
	for range shadowQueue + 3 {
		s.offer(calls, live)
	}
	if len(s.work) != shadowQueue || s.seen.Skipped != 3 {
		t.Errorf("%d wait, %d were left out", len(s.work), s.seen.Skipped)
	}
	b := <-s.work
	calls[0].Event[0] = 'x' // the caller's again
	if len(b.calls) != 1 || b.calls[0].Event[0] != '{' {
		t.Errorf("offered %d calls, the first %s", len(b.calls), b.calls[0].Event)
	}
	s.count(&b, []script.Decision{{Version: "0123", Actions: []script.Action{{Type: script.ActionTag, Tag: "x"}}}})
	b.version = "of another shadow"
	s.count(&b, []script.Decision{{}})
	if r := s.report(); r.Decisions != 1 || r.Changed != 1 {
		t.Errorf("counted %+v", r)
	}
	s.hooks = 0
	s.offer(calls, live)
	if len(s.work) != shadowQueue-1 {
		t.Error("one that is over is offered more")
	}
}
