package connectortest

import (
	"context"
	"slices"

	"github.com/wabridge/wabridge/core"
)

var propertyTypes = []core.PropertyType{
	core.PropertyText, core.PropertyNumber, core.PropertyBool, core.PropertyDate, core.PropertyTime, core.PropertyChoice,
	core.PropertyChoices, core.PropertyOther,
}

func describeSound(ctx context.Context, p *probe) {
	if p.describer == nil {
		p.skip("the connector has no Describe")
		return
	}
	account, err := p.withToken(ctx)
	if err != nil {
		p.failf("no token: %v", err)
		return
	}
	schema, err := p.describer.Describe(ctx, account)
	p.see(err)
	if err != nil {
		p.failf("Describe: %v", err)
		return
	}
	if len(schema.Objects) == 0 || len(schema.Objects[0].Properties) == 0 {
		p.failf("no properties of contacts")
		return
	}
	n := 0
	for _, o := range schema.Objects {
		seen := map[string]bool{}
		for _, q := range o.Properties {
			n++
			switch choice := q.Type == core.PropertyChoice || q.Type == core.PropertyChoices; {
			case q.Name == "" || seen[q.Name]:
				p.failf("%s: a property has no name, or another's: %q", o.Name, q.Name)
			case !slices.Contains(propertyTypes, q.Type):
				p.failf("%s.%s: there is no type %q", o.Name, q.Name, q.Type)
			case q.Length < 0:
				p.failf("%s.%s: its length is negative", o.Name, q.Name)
			case choice && len(q.Values) == 0:
				p.failf("%s.%s: a choice of nothing", o.Name, q.Name)
			}
			seen[q.Name] = true
		}
	}
	if n > core.MaxProperties {
		p.failf("%d properties, want at most %d", n, core.MaxProperties)
	}
	for _, r := range schema.Mapping {
		if r.Field == "" || r.Property == "" {
			p.failf("a suggested rule without field or property: %+v", r)
		}
	}
}

// A mapping may be older than the CRM it was written for: a property that is gone
// must not end what is told of the others.
func pollProperties(ctx context.Context, p *probe) {
	if p.poller == nil {
		p.skip("the connector has no Poll")
		return
	}
	account, err := p.withToken(ctx)
	if err != nil {
		p.failf("no token: %v", err)
		return
	}
	if _, err := p.poller.Poll(ctx, account, nil); err != nil {
		p.skip("Poll does not work without any, either")
		return
	}
	const gone = "no_such_property_of_ours"
	account.Properties = []string{gone}
	var cursor []byte
	for range 20 {
		polled, err := p.poller.Poll(ctx, account, cursor)
		p.see(err)
		if err != nil {
			p.failf("Poll: %v", err)
			return
		}
		for _, e := range polled.Events {
			if v, ok := e.Fields[gone]; ok && v != nil && v != "" {
				p.failf("%s has the value %v of a property that does not exist", e.ID, v)
			}
		}
		if cursor = polled.Cursor; !polled.More {
			return
		}
	}
}
