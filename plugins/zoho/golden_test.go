package zoho_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/connectortest/golden"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestGolden(t *testing.T) {
	golden.Run(t, 4, func(t *testing.T, settings string) golden.Bench {
		b := start(t, zohosim.Options{}, settings, nil)
		b.sim.AddField("Contacts", zohosim.Field{Name: "Tier", Type: "text", Length: 20})
		b.mustCheck()
		return golden.Bench{Deliver: b.deliver, Forget: b.clear, Requests: func() string { return pretty(t, b.served.Requests()) }}
	})
}

// pretty prints requests.
func pretty(t *testing.T, requests []memnet.Request) string {
	t.Helper()
	var b strings.Builder
	for _, r := range requests {
		fmt.Fprintln(&b, r.Line)
		if len(r.Body) == 0 {
			continue
		}
		if got := r.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", r.Line, got)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, r.Body, "  ", "  "); err != nil {
			t.Fatalf("%s: %v\n%s", r.Line, err, r.Body)
		}
		fmt.Fprintf(&b, "  %s\n", out.String())
	}
	return b.String()
}
