package connectortest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
)

// describing is a good connector that says what its records hold, too.
type describing struct {
	notebook
	schema core.Schema
	err    error
}

func (c *describing) Describe(context.Context, core.Account) (core.Schema, error) {
	return c.schema, c.err
}

func TestRules_FindWhatIsWrongWithASchema(t *testing.T) {
	of := func(properties ...core.Property) *describing {
		return &describing{schema: core.Schema{Objects: []core.Object{{Name: "contacts", Properties: properties}}}}
	}
	city := core.Property{Name: "city", Type: core.PropertyText}
	unruly := of(city)
	unruly.schema.Mapping = []core.MapRule{{Field: "city"}}
	for name, tc := range map[string]struct {
		c    *describing
		seen string // empty: nothing is wrong
	}{
		"good":          {of(city, core.Property{Name: "stage", Type: core.PropertyChoice, Values: []string{"new"}}), ""},
		"nothing":       {of(), "no properties"},
		"an error":      {&describing{err: errors.New("closed")}, "closed"},
		"twice":         {of(city, city), "another's"},
		"a new type":    {of(core.Property{Name: "x", Type: "colour"}), "colour"},
		"no choice":     {of(core.Property{Name: "x", Type: core.PropertyChoice}), "nothing"},
		"half a rule":   {unruly, "without field or property"},
		"less than one": {of(core.Property{Name: "x", Type: core.PropertyText, Length: -1}), "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, target := newNotebook(t)
			target.Connector, target.Stall, target.Records, target.BadSecrets = tc.c, nil, nil, nil
			var failed []connectortest.Finding
			connectortest.Suite(t.Context(), target, func(f connectortest.Finding) {
				if f.Rule == "describe/sound" && f.Outcome == connectortest.Failed {
					failed = append(failed, f)
				}
			})
			if (tc.seen != "") != (len(failed) == 1) || len(failed) == 1 && !strings.Contains(failed[0].Seen, tc.seen) {
				t.Errorf("failed were %v, want it to see %q", failed, tc.seen)
			}
		})
	}
}
