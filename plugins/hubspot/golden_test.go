package hubspot_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/connectortest/golden"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestGolden(t *testing.T) {
	golden.Run(t, 8, func(t *testing.T, settings string) golden.Bench {
		b := start(t, hubspotsim.Options{}, settings, nil)
		for _, p := range []string{"order_total", "vip", "interests", "wa_tier"} {
			b.sim.AddProperty("contacts", hubspotsim.Property{Name: p, Type: "string"})
		}
		b.mustCheck()
		return golden.Bench{Deliver: b.deliver, Forget: b.clear, Requests: func() string { return pretty(t, b.requests) }}
	})
}

// pretty prints requests, an input a line.
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
		var body struct {
			Inputs []json.RawMessage `json:"inputs"`
		}
		dec := json.NewDecoder(bytes.NewReader(r.body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&body); err != nil {
			t.Fatalf("%s: %v\n%s", r.line, err, r.body)
		}
		for _, in := range body.Inputs {
			var out bytes.Buffer
			if err := json.Indent(&out, in, "  ", "  "); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "  %s\n", out.String())
		}
	}
	return b.String()
}
