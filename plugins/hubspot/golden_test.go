package hubspot_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/connectortest/golden"
	"github.com/wabridge/wabridge/core/memnet"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

func TestGolden(t *testing.T) {
	golden.Run(t, 8, func(t *testing.T, settings string) golden.Bench {
		b := start(t, hubspotsim.Options{}, settings, nil)
		b.sim.AddChannel(inboxChannel(""))
		b.account.Secrets["client_secret"] = appSecret
		if strings.Contains(settings, `"inbox"`) {
			b.refs = map[string]string{}
		}
		for _, p := range []string{"order_total", "vip", "interests", "wa_tier"} {
			b.sim.AddProperty("contacts", hubspotsim.Property{Name: p, Type: "string"})
		}
		b.mustCheck()
		return golden.Bench{Deliver: b.deliver, Forget: b.clear, Requests: func() string { return pretty(t, b.served.Requests()) }}
	})
}

// pretty prints requests, an input a line.
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
		if strings.Contains(r.Line, " /conversations/") || strings.HasSuffix(r.Line, "/contacts/search") {
			var out bytes.Buffer
			if err := json.Indent(&out, r.Body, "  ", "  "); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "  %s\n", out.String())
			continue
		}
		var body struct {
			Inputs []json.RawMessage `json:"inputs"`
			By     string            `json:"idProperty"`
			Names  json.RawMessage   `json:"properties"`
			Past   json.RawMessage   `json:"propertiesWithHistory"`
		}
		dec := json.NewDecoder(bytes.NewReader(r.Body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&body); err != nil {
			t.Fatalf("%s: %v\n%s", r.Line, err, r.Body)
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
