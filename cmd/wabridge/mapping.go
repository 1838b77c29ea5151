package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/plugin"
)

func mappingCommand() *cli.Command {
	lane := &cli.StringFlag{Name: "lane", Usage: "the `LANE`, where several have a mapping"}
	flags := []cli.Flag{lane, tenantFlag, configFlag, setFlag, jsonFlag}
	return &cli.Command{
		Name: "mapping", Usage: "which of a contact's fields is which of a CRM's properties", Action: group("mapping"),
		Description: "A lane says mapping = \"default\", for what its connector suggests, and [[lanes.map]] for rules\n" +
			"of its own; both are in tenant.toml. What these commands show is what the configuration says now:\n" +
			"a running bridge does so once it is started anew.\n\n" +
			"Examples:\n   wabridge mapping fields\n   wabridge mapping preview --lane hubspot --contact +34600111222",
		Subcommands: []*cli.Command{
			{
				Name: "fields", Usage: "list the fields that a rule may name", Flags: []cli.Flag{jsonFlag}, Action: mappingFields,
				Description: "fields.NAME is any other field that scripts set.\n\nExample:\n   wabridge mapping fields",
			},
			{
				Name: "show", Usage: "list the rules, and whether they are at work", Flags: flags, Action: showMapping,
				Description: "Asks the CRM what properties it has.\n\nExample:\n   wabridge mapping show --lane hubspot",
			},
			{
				Name: "check", Usage: "say what is wrong with the rules", Flags: flags, Action: checkMapping,
				Description: "Asks the CRM what properties it has. Exits with 3 when a rule of [[lanes.map]] cannot be; what the\n" +
					"connector suggests and the CRM does not have is no mistake.\n\nExample:\n   wabridge mapping check",
			},
			{
				Name: "preview", Usage: "show what would be written of real people, without writing anything", Action: previewMapping,
				Description: "Without --contact it looks at some people that there are. Properties that CRM and bridge agree on are\n" +
					"left out. --crm shows the other direction: what would become of the contact if the CRM told so.\n" +
					"--json has whole numbers.\n\n" +
					"Examples:\n   wabridge mapping preview --lane hubspot\n" +
					"   wabridge mapping preview --contact +34600111222 --crm city=Sevilla",
				Flags: append([]cli.Flag{
					&cli.StringFlag{Name: "contact", Usage: "`WHO`: the contact's ID, a phone number or a user id"},
					&cli.IntFlag{Name: "limit", Value: 3, Usage: "look at so many people: `N`"},
					&cli.StringSliceFlag{Name: "crm", Usage: "what the CRM would tell, as `PROPERTY=VALUE`; may be repeated"},
					fullFlag, urlFlag,
				}, flags...),
			},
		},
	}
}

func mappingFields(c *cli.Context) error {
	if c.Bool("json") {
		printJSON(c.App.Writer, mapping.Fields())
		return nil
	}
	t := newTable(c.App.Writer, "FIELD", "TYPE", "DIRECTION", "")
	for _, f := range mapping.Fields() {
		direction := "to"
		if f.FromCRM {
			direction = "both"
		}
		t.row(f.Name, f.Type, direction, f.Text)
	}
	t.flush()
	return nil
}

// mappedLane is a lane with a mapping that was fitted to what its CRM has.
type mappedLane struct {
	tenant config.Tenant
	lane   config.Lane
	table  *mapping.Table
	// said is false when the connector cannot say what the CRM has.
	said bool
}

// theMapping finds the lane that is meant, and asks its CRM.
func theMapping(c *cli.Context) (*mappedLane, error) {
	if c.NArg() > 0 {
		return nil, misused("mapping %s: no arguments, only flags", c.Command.Name)
	}
	cfg, err := load(c)
	if err != nil {
		return nil, err
	}
	id, err := theTenant(c)
	if err != nil {
		return nil, err
	}
	var found []*mappedLane
	var names []string
	for _, t := range cfg.Tenants {
		for _, l := range t.Lanes {
			if t.ID != id || l.Mapping == "" && len(l.Map) == 0 {
				continue
			}
			if names = append(names, l.Name); c.String("lane") == "" || c.String("lane") == l.Name {
				found = append(found, &mappedLane{tenant: t, lane: l})
			}
		}
	}
	switch {
	case len(names) == 0:
		return nil, fail(exitNotFound, "tenant %s: no lane has a mapping: mapping = \"default\" in its [[lanes]] takes what the connector suggests", id)
	case len(found) == 0:
		return nil, fail(exitNotFound, "tenant %s: no lane %q has a mapping: %s do", id, c.String("lane"), strings.Join(names, ", "))
	case len(found) > 1:
		return nil, misused("say which lane with --lane: %s", strings.Join(names, ", "))
	}
	m := found[0]
	return m, m.ask(c.Context, cfg)
}

// ask fits the mapping to what the CRM says that it has.
func (m *mappedLane) ask(ctx context.Context, cfg *config.Config) error {
	m.table, _ = mapping.New(m.lane.Map, m.lane.Mapping == "default") // load has checked the rules
	var schema *core.Schema
	err := withPlugin(ctx, cfg, m.tenant, m.lane, slog.New(slog.DiscardHandler), func(ctx context.Context, h *plugin.Host) error {
		info, err := h.Info(ctx)
		if err != nil || !info.Describes {
			return err
		}
		s, err := h.Describe(ctx)
		schema, m.said = &s, true
		return err
	})
	if err != nil {
		return &exitError{code: vendorCode(err), message: laneName(m.tenant, m.lane) + ": " + err.Error(), hint: hintOf(err), err: err}
	}
	m.table.Learn(schema)
	return nil
}

// wrong are the owner's rules that cannot be.
func (m *mappedLane) wrong() []mapping.Line {
	return slices.DeleteFunc(m.table.Lines(), func(l mapping.Line) bool { return l.Off == "" || l.Suggested })
}

// summary says in a line how many rules are at work.
func (m *mappedLane) summary() string {
	on, off := 0, 0
	for _, l := range m.table.Lines() {
		if l.Off == "" {
			on++
		} else {
			off++
		}
	}
	text := fmt.Sprintf("%d rules are at work", on)
	if off > 0 {
		text += fmt.Sprintf(", %d are not: see wabridge mapping show", off)
	}
	if !m.said {
		text += " (" + m.lane.Connector + " does not say what the CRM has: nothing was compared)"
	}
	return text
}

func showMapping(c *cli.Context) error {
	m, err := theMapping(c)
	if err != nil {
		return err
	}
	lines := m.table.Lines()
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]any{"tenant": m.tenant.ID, "lane": m.lane.Name, "described": m.said, "rules": lines})
		return nil
	}
	t := newTable(c.App.Writer, "FIELD", "", "PROPERTY", "TAKES", "CONFLICT", "RULE", "")
	for _, l := range lines {
		arrow := map[string]string{mapping.Both: "↔", mapping.To: "→", mapping.From: "←"}[l.Direction]
		whose, state := "own", "at work"
		if l.Suggested {
			whose = "suggested"
		}
		if l.Off != "" {
			state = "off: " + l.Off
		}
		t.row(l.Field, arrow, l.Property, l.Type, l.Conflict, whose, state)
	}
	t.flush()
	fmt.Fprintln(c.App.Writer, m.summary())
	return nil
}

func checkMapping(c *cli.Context) error {
	m, err := theMapping(c)
	if err != nil {
		return err
	}
	wrong := m.wrong()
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]any{"ok": len(wrong) == 0, "described": m.said, "wrong": wrong})
	} else {
		for _, l := range wrong {
			fmt.Fprintf(c.App.Writer, "WRONG  %s → %s: %s\n", l.Field, printable(l.Property), printable(l.Off))
		}
		fmt.Fprintln(c.App.Writer, m.summary())
	}
	if len(wrong) > 0 {
		return fail(exitConfig, "mapping: %d of [[lanes.map]] cannot be", len(wrong))
	}
	return nil
}

// mapping adds what asking a CRM about a lane's mapping finds.
func (k *checker) mapping(t config.Tenant, l config.Lane) {
	if l.Mapping == "" && len(l.Map) == 0 {
		return
	}
	m := &mappedLane{tenant: t, lane: l}
	err := m.ask(k.c.Context, k.cfg)
	code := vendorCode(err)
	detail := ""
	if err == nil {
		detail, code = m.summary(), exitConfig
		if wrong := m.wrong(); len(wrong) > 0 {
			err = fail(exitConfig, "%s → %s: %s; see wabridge mapping check", wrong[0].Field, wrong[0].Property, wrong[0].Off)
		}
	}
	k.add(laneName(t, l)+" mapping", detail, err, code)
}

// preview is what a mapping would do about one person.
type preview struct {
	Contact string         `json:"contact"`
	Name    string         `json:"name,omitempty"`
	Writes  map[string]any `json:"writes"`
	// Taken is what the CRM's word would change.
	Fields  map[string]string `json:"fields,omitempty"`
	Tags    []string          `json:"tags,omitempty"`
	Untags  []string          `json:"untags,omitempty"`
	Consent string            `json:"consent,omitempty"`
	Back    map[string]any    `json:"back,omitempty"`
	Notes   []string          `json:"notes,omitempty"`
}

func previewMapping(c *cli.Context) error {
	told := map[string]any{}
	for _, s := range c.StringSlice("crm") {
		property, value, ok := strings.Cut(s, "=")
		if !ok || property == "" {
			return misused("--crm %s: want PROPERTY=VALUE", s)
		}
		told[property] = value
	}
	if c.Int("limit") < 1 || c.Int("limit") > 100 {
		return misused("mapping preview: want a --limit of 1 to 100")
	}
	m, err := theMapping(c)
	if err != nil {
		return err
	}
	var out []preview
	err = look(c, func(ctx context.Context, l looker) error {
		out = []preview{}
		people := []string{c.String("contact")}
		if people[0] == "" {
			page, err := l.FindContacts(ctx, broker.ContactQuery{Tenant: m.tenant.ID, Limit: c.Int("limit")})
			if err != nil {
				return err
			}
			people = nil
			for _, f := range page.Contacts {
				people = append(people, f.ID)
			}
		}
		for _, who := range people {
			v, err := l.Contact(ctx, m.tenant.ID, who)
			if err != nil {
				return err
			}
			out = append(out, m.preview(&v, told))
		}
		return nil
	})
	switch {
	case err != nil:
		return notThere(err)
	case c.Bool("json"):
		printJSON(c.App.Writer, out)
	default:
		for i := range out {
			out[i].print(c, m.table.Lines())
		}
		fmt.Fprintln(c.App.Writer, m.summary())
	}
	if len(out) == 0 {
		return fail(exitNotFound, "the bridge knows nobody yet")
	}
	return nil
}

func (m *mappedLane) preview(v *broker.ContactView, told map[string]any) preview {
	p := preview{Contact: v.ID, Name: v.Name}
	known, agreed := v.Known(), maps.Clone(v.Agreed[m.lane.Name])
	if agreed == nil {
		agreed = map[string]mapping.Agreed{}
	}
	if len(told) > 0 {
		taken := m.table.From(known, mapping.Told{Lane: m.lane.Name, Properties: told, At: known.Now}, agreed, nil)
		p.Fields, p.Tags, p.Untags, p.Consent, p.Back, p.Notes = taken.Fields, taken.Tags, taken.Untags, taken.Consent, taken.Back, taken.Notes
		return p
	}
	w := m.table.To(known, agreed, nil)
	p.Writes, p.Notes = w.Properties, w.Notes
	return p
}

// private are the fields that hold a number or a user id, of which a terminal shows
// the end only.
var private = []string{"phone", "phone_digits", "phone_national", "whatsapp_link", "other_phone", "bsuid"}

func (p *preview) print(c *cli.Context, lines []mapping.Line) {
	w := c.App.Writer
	fmt.Fprintf(w, "%s %s\n", p.Contact, printable(p.Name))
	t := newTable(w, "  PROPERTY", "WOULD BE", "FROM")
	for _, l := range lines {
		v, ok := p.Writes[l.Property]
		if !ok || l.Off != "" || l.Direction == mapping.From {
			continue
		}
		text := fmt.Sprintf("%v", v)
		switch {
		case v == nil:
			text = "(nothing)"
		case slices.Contains(private, l.Field):
			text = masked(c, text)
		}
		t.row("  "+l.Property, clip(text, 60), l.Field)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Back)) {
		t.row("  "+name, fmt.Sprintf("%v", p.Back[name]), "written back")
	}
	t.flush()
	say := func(what, value string) { fmt.Fprintf(w, "  the contact's %s: %s\n", what, printable(value)) }
	for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
		say("field "+name+" would be", p.Fields[name])
	}
	if len(p.Tags) > 0 {
		say("tags would have, too", strings.Join(p.Tags, ", "))
	}
	if len(p.Untags) > 0 {
		say("tags would no longer have", strings.Join(p.Untags, ", "))
	}
	if p.Consent != "" {
		say("marketing consent would be", p.Consent+", if the rules of consent allow it")
	}
	for _, note := range p.Notes {
		fmt.Fprintln(w, "  note:", printable(note))
	}
	fmt.Fprintln(w)
}
