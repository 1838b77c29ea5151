package zoho_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/connectortest/golden"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func TestGolden(t *testing.T) {
	golden.Run(t, 4, func(t *testing.T, settings string) golden.Bench {
		b := start(t, zohosim.Options{}, settings, nil)
		b.sim.AddField("Contacts", zohosim.Field{Name: "Tier", Type: "text", Length: 20})
		b.mustCheck()
		return golden.Bench{Deliver: b.deliver, Forget: b.clear, Requests: func() string { return pretty(t, b.requests) }}
	})
}

// pretty prints requests.
func pretty(t *testing.T, requests []request) string {
	t.Helper()
	var b strings.Builder
	for _, r := range requests {
		fmt.Fprintln(&b, r.line)
		if len(r.body) == 0 {
			continue
		}
		if got := r.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", r.line, got)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, r.body, "  ", "  "); err != nil {
			t.Fatalf("%s: %v\n%s", r.line, err, r.body)
		}
		fmt.Fprintf(&b, "  %s\n", out.String())
	}
	return b.String()
}
