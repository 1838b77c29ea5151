package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/campaign"
)

const campaignsPath = "/api/v1/campaigns"

func campaignCommand() *cli.Command {
	flags := []cli.Flag{tenantFlag, configFlag, setFlag, urlFlag, jsonFlag}
	command := func(name, usage, example string, action cli.ActionFunc, more ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "NAME", Action: action, Flags: slices.Concat(more, flags),
			Description: "Example:\n   wabridge campaign " + name + " spring-sale" + example,
		}
	}
	by := byFlag("does it")
	why := &cli.StringFlag{Name: "why", Usage: "the `REASON`, for its history"}
	list := command("list", "the campaigns, the latest first", "", listCampaigns)
	list.ArgsUsage, list.Description = "", "Example:\n   wabridge campaign list --tenant demo"
	made := newCampaignCommand(flags, by)
	return &cli.Command{
		Name: "campaign", Usage: "one template to many people", Action: group("campaign"),
		Description: "Example:\n   wabridge campaign new spring-sale --template promo --language es --csv people.csv --param '{{first_name|friend}}'\n" +
			"   wabridge campaign plan spring-sale\n   wabridge campaign start spring-sale",
		Subcommands: []*cli.Command{
			made,
			command("plan", "say who gets it, who does not and why, what it costs and how long it takes; sends nothing", "", planCampaign, by),
			command("start", "send it", "", setCampaign(broker.CampaignStart), by, why),
			command("pause", "send no more, or plan no further, until it is resumed", " --why 'the shop is down'", setCampaign(broker.CampaignPause), by, why),
			command("resume", "go on, also with one that stopped by itself", "", setCampaign(broker.CampaignResume), by, why),
			command("stop", "end it for good", "", setCampaign(broker.CampaignStop), by, why),
			command("delete", "forget it, with its rows: one that never started, or is over", "", deleteCampaign, by, why),
			command("show", "how far it has come", "", showCampaign),
			list,
			segmentsCommand(flags),
			command("rows", "who is in it, and what became of each", " --state failed", listRows,
				&cli.StringFlag{Name: "state", Usage: "only rows in this `STATE`: planned, excluded, queued, unknown, sent, delivered, read or failed"},
				&cli.IntFlag{Name: "limit", Value: 100, Usage: "`N` rows at most; 0 is all"}),
		},
	}
}

// theCampaign is the path of the campaign that the arguments name.
func theCampaign(c *cli.Context) (string, error) {
	if c.NArg() != 1 {
		return "", misused("%s: want one NAME, as wabridge campaign list prints it", c.Command.FullName())
	}
	return campaignsPath + "/" + url.PathEscape(c.Args().First()), nil
}

func setCampaign(what string) cli.ActionFunc {
	return func(c *cli.Context) error {
		got, err := askCampaign(c, what)
		if err != nil {
			return err
		}
		printCampaign(c, got)
		return nil
	}
}

func deleteCampaign(c *cli.Context) error {
	got, err := askCampaign(c, broker.CampaignDelete)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, got)
		return nil
	}
	rows := 0
	for _, n := range got.Counts {
		rows += n
	}
	fmt.Fprintln(c.App.Writer, printable(fmt.Sprintf("%s, which was %s, is gone, with its %d rows", got.Name, got.State, rows)))
	return nil
}

func askCampaign(c *cli.Context, what string) (*broker.Campaign, error) {
	path, err := theCampaign(c)
	if err != nil {
		return nil, err
	}
	got := new(broker.Campaign)
	return got, callBridge(c, request{method: http.MethodPost, path: path + "/" + what, query: values("tenant", c.String("tenant")),
		body: map[string]string{"by": c.String("by"), "why": c.String("why")}}, got)
}

func getCampaign(c *cli.Context) (*broker.Campaign, error) {
	path, err := theCampaign(c)
	if err != nil {
		return nil, err
	}
	got := new(broker.Campaign)
	return got, callBridge(c, request{method: http.MethodGet, path: path, query: values("tenant", c.String("tenant"))}, got)
}

// planCampaign has a campaign planned, and waits until it is.
func planCampaign(c *cli.Context) error {
	got, err := askCampaign(c, broker.CampaignPlan)
	bar := newProgress(c.App.ErrWriter)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	waits := ""
	for err == nil && got.State == campaign.Planning {
		n := 0
		for _, m := range got.Counts {
			n += m
		}
		bar.say("%d of %d rows …", got.Plan.Rows, n)
		if got.Waits != waits { // it may be long
			if waits = got.Waits; waits != "" {
				bar.done()
				fmt.Fprintln(c.App.ErrWriter, printable("waits: "+waits))
			}
		}
		select {
		case <-tick.C:
		case <-c.Context.Done():
			return c.Context.Err()
		}
		got, err = getCampaign(c)
	}
	bar.done()
	if err != nil {
		return err
	}
	if got.State == campaign.Draft { // its segment cannot be read
		return fail(exitFailed, "%s is a draft again: %s", got.Name, got.Why)
	}
	printCampaign(c, got)
	return nil
}

func showCampaign(c *cli.Context) error {
	got, err := getCampaign(c)
	if err != nil {
		return err
	}
	printCampaign(c, got)
	return nil
}

// printCampaign says what there is to know of a campaign.
func printCampaign(c *cli.Context, got *broker.Campaign) {
	w := c.App.Writer
	if c.Bool("json") {
		printJSON(w, got)
		return
	}
	say := func(format string, args ...any) { fmt.Fprintln(w, printable(fmt.Sprintf(format, args...))) }
	say("%s is %s, by %s, %s", got.Name, got.State, got.SetBy, ago(got.Since))
	if got.Why != "" {
		say("  %s", got.Why)
	}
	if got.Waits != "" {
		until := ""
		if !got.Until.IsZero() {
			until = ", until " + got.Until.Local().Format(time.DateTime)
		}
		say("  waits: %s%s", got.Waits, until)
	}
	say("  template %s (%s) from %s to %s", got.Template.Name, got.Template.Language, got.Number, audience(got))
	if p := got.Plan; p != nil && !p.At.IsZero() {
		say("  planned %s: %d of %d get it, as %s", ago(p.At), p.Planned, p.Rows, p.Category)
		for _, reason := range byCount(p.Excluded) {
			say("    %d do not: %s", p.Excluded[reason], reason)
		}
		cost := broker.Cost{Low: p.Cost.Low, High: p.Cost.High}
		switch {
		case p.Cost.Unknown == p.Planned:
			say("    the cost is unknown: %s", strings.Join(p.Cost.Why, "; "))
		case p.Cost.Unknown > 0:
			say("    it costs %s, and for %d that is unknown: %s", costWords(cost, p.Cost.Currency), p.Cost.Unknown, strings.Join(p.Cost.Why, "; "))
		default:
			say("    it costs %s", costWords(cost, p.Cost.Currency))
		}
		if !p.Finishes.IsZero() {
			say("    started then, it would be done %s after (%s)", span(p.Finishes.Sub(p.At)), strings.Join(p.Bounds, "; "))
		}
	}
	var counts []string
	for _, s := range campaign.RowStates() {
		if n := got.Counts[s]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, s))
		}
	}
	say("  rows: %s", cmp.Or(strings.Join(counts, ", "), "none"))
}

func byCount(of map[string]int) []string {
	var out []string
	for k := range of {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(of[b]-of[a], strings.Compare(a, b)) })
	return out
}

func audience(c *broker.Campaign) string {
	var of []string
	if c.Tag != "" {
		of = append(of, "the tag "+c.Tag)
	}
	if c.Field != "" {
		of = append(of, "the field "+c.Field+map[bool]string{true: " = " + c.Value}[c.Value != ""])
	}
	if s := c.Segment; s.ID != "" {
		return fmt.Sprintf("the segment %s (%s) of %s", s.Name, s.ID, s.Lane)
	}
	if len(of) == 0 {
		return "a list"
	}
	return "who has " + strings.Join(of, " and ")
}

func listCampaigns(c *cli.Context) error {
	var all []broker.Campaign
	if err := callBridge(c, request{method: http.MethodGet, path: campaignsPath, query: values("tenant", c.String("tenant"))}, &all); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, all)
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(c.App.Writer, "there are no campaigns")
		return nil
	}
	t := newTable(c.App.Writer, "NAME", "TENANT", "STATE", "SINCE", "TEMPLATE", "PLANNED", "SENT", "FAILED", "WHY")
	for i := range all {
		g := &all[i]
		sent := g.Counts[campaign.RowSent] + g.Counts[campaign.RowDelivered] + g.Counts[campaign.RowRead]
		t.row(g.Name, g.Tenant, g.State, ago(g.Since), g.Template.Name, g.Counts[campaign.RowPlanned], sent, g.Counts[campaign.RowFailed], cmp.Or(g.Why, g.Waits))
	}
	t.flush()
	return nil
}

func listRows(c *cli.Context) error {
	path, err := theCampaign(c)
	if err != nil {
		return err
	}
	rows := []campaign.Row{}
	for after := 0; ; {
		var page broker.CampaignRowPage
		err := callBridge(c, request{method: http.MethodGet, path: path + "/rows", query: values("tenant", c.String("tenant"),
			"state", c.String("state"), "after", strconv.Itoa(after), "limit", "500")}, &page)
		if err != nil {
			return err
		}
		rows = append(rows, page.Rows...)
		if n := c.Int("limit"); n > 0 && len(rows) > n {
			rows = rows[:n]
			fmt.Fprintln(c.App.ErrWriter, "there are more rows: see --limit")
			break
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, rows)
		return nil
	}
	head := []string{"ROW", "STATE", "CONTACT", "EVENT", "WHY"}
	records := slices.ContainsFunc(rows, func(r campaign.Row) bool { return r.Ref != "" })
	if records { // of a CRM's segment
		head = slices.Insert(head, 3, "RECORD")
	}
	t := newTable(c.App.Writer, head...)
	for _, r := range rows {
		why := r.Why
		if r.Code != 0 {
			why = fmt.Sprintf("%d %s", r.Code, why)
		}
		cells := []any{r.N, r.State, cmp.Or(r.Contact, "-"), cmp.Or(r.Event, "-"), why}
		if records {
			cells = slices.Insert(cells, 3, any(cmp.Or(r.Ref, "-")))
		}
		t.row(cells...)
	}
	t.flush()
	return nil
}

// componentsOf are a template's components, of a file or of what its parameters are.
func componentsOf(c *cli.Context) (json.RawMessage, error) {
	if file := c.String("components"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fail(exitNotFound, "--components: %w", err)
		}
		if !json.Valid(data) {
			return nil, fail(exitConfig, "--components: %s is no JSON", file)
		}
		return data, nil
	}
	type parameter struct {
		Type string `json:"type"`
		Name string `json:"parameter_name,omitempty"`
		Text string `json:"text"`
	}
	type component struct {
		Type       string      `json:"type"`
		SubType    string      `json:"sub_type,omitempty"`
		Index      string      `json:"index,omitempty"`
		Parameters []parameter `json:"parameters"`
	}
	named := func(s string) parameter {
		if name, value, ok := strings.Cut(s, "="); ok && name != "" && !strings.ContainsAny(name, "{} ") {
			return parameter{"text", name, value}
		}
		return parameter{Type: "text", Text: s}
	}
	var out []component
	if v := c.String("header"); v != "" {
		out = append(out, component{Type: "header", Parameters: []parameter{named(v)}})
	}
	if all := c.StringSlice("param"); len(all) > 0 {
		body := component{Type: "body"}
		for _, v := range all {
			body.Parameters = append(body.Parameters, named(v))
		}
		out = append(out, body)
	}
	for _, v := range c.StringSlice("button") {
		index, value, ok := strings.Cut(v, "=")
		if _, err := strconv.ParseUint(index, 10, 4); err != nil || !ok {
			return nil, misused("--button %s: want INDEX=VALUE, like 0={{column.Code}}; the first button is 0", v)
		}
		out = append(out, component{Type: "button", SubType: "url", Index: index, Parameters: []parameter{{Type: "text", Text: value}}})
	}
	if out == nil {
		return nil, nil
	}
	return json.Marshal(out)
}
