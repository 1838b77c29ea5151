package salesforce_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/connectortest/golden"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

func TestGolden(t *testing.T) {
	golden.Run(t, 5, func(t *testing.T, settings string) golden.Bench {
		b := start(t, salesforcesim.Options{}, settings)
		return golden.Bench{Deliver: b.deliver, Forget: b.clear, Requests: b.pretty}
	})
}

// pretty prints requests, a record or query a line.
func (b *bench) pretty() string {
	b.t.Helper()
	var text strings.Builder
	for _, r := range b.served.Requests() {
		fmt.Fprintln(&text, r.Line)
		for name, value := range map[string]string{"Authorization": "Bearer " + access, "Sforce-Call-Options": "client=wabridge"} {
			if got := r.Header.Get(name); got != value {
				b.t.Errorf("%s: %s is %q", r.Line, name, got)
			}
		}
		if len(r.Body) == 0 {
			continue
		}
		var body struct {
			AllOrNone bool                           `json:"allOrNone"`
			Records   []json.RawMessage              `json:"records"`
			Composite []struct{ Method, URL string } `json:"compositeRequest"`
		}
		if err := json.Unmarshal(r.Body, &body); err != nil || body.AllOrNone {
			b.t.Fatalf("%s: %v\n%s", r.Line, err, r.Body)
		}
		for _, record := range body.Records {
			var out bytes.Buffer
			if err := json.Indent(&out, record, "  ", "  "); err != nil {
				b.t.Fatal(err)
			}
			fmt.Fprintf(&text, "  %s\n", out.String())
		}
		for _, sub := range body.Composite {
			decoded, err := url.QueryUnescape(sub.URL)
			if err != nil {
				b.t.Fatal(err)
			}
			fmt.Fprintf(&text, "  %s %s\n", sub.Method, decoded)
		}
	}
	return text.String()
}
