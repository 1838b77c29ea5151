package connectortest

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

func TestFinding_TellsWhatIsAlikeOnce(t *testing.T) {
	s := &session{id: "ABCDEFG2"}
	f := s.check(t.Context(), rule{id: "a/rule", check: func(_ context.Context, p *probe) {
		for i := range 60 {
			p.failf("wamid.CT%s%04d (message.received): no result", s.id, i)
			p.failf("%d is wrong", i)
		}
	}})
	lines := strings.Split(f.Seen, "\n")
	if want := fmt.Sprintf("wamid.CT%s0000 (message.received): no result (60 times)", s.id); lines[0] != want {
		t.Errorf("the first line is %q, want %q", lines[0], want)
	}
	if len(lines) != maxFailures+1 || lines[1] != "0 is wrong" || lines[maxFailures] != "…" {
		t.Errorf("the lines are %q, want %d and that there were more", lines, maxFailures)
	}
}
