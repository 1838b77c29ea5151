package main

import (
	"errors"
	"fmt"
	"io"
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
	"github.com/wabridge/wabridge/core/roster"
)

func newCampaignCommand(flags []cli.Flag, by cli.Flag) *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "make a campaign, for a list, a segment of the CRM, a tag or a field of contacts; sends nothing", ArgsUsage: "NAME", Action: newCampaign,
		Description: "Parameters may have slots, filled in for each person when it is planned, and frozen then: {{name}},\n" +
			"{{first_name}}, {{field.<name>}} of the contact, {{column.<header>}} of the list; {{name|friend}} says friend\n" +
			"to who has none, and who has none without that is left out.\n\n" +
			"Who of the list is not known becomes a contact, without having agreed to anything by it. After an\n" +
			"interruption make it again: rows that are there stay.\n\n" +
			"Examples:\n   wabridge campaign new spring-sale --template promo --language es --csv people.csv --param '{{first_name|friend}}' --param '{{column.Code}}' --first 5%\n" +
			"   wabridge campaign new vip-news --template news --language en --tag vip\n" +
			"   wabridge campaign new buyers --template offer --language es --segment 'Spring buyers'\n" +
			"   wabridge campaign new leads --template hello --language en --field lifecycle=lead",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "template", Usage: "the template's `NAME`", Required: true},
			&cli.StringFlag{Name: "language", Usage: "the template's `LANGUAGE`, such as es or pt_BR", Required: true},
			&cli.StringFlag{Name: "csv", Usage: "the list, a `FILE` that a spreadsheet saved"},
			&cli.StringSliceFlag{Name: "map", Usage: "what a column of the list is, as `COLUMN=FIELD`: phone, name, bsuid or -; may be repeated"},
			&cli.StringFlag{Name: "encoding", Usage: "of the list, if it is not UTF-8 or UTF-16: `windows-1252`"},
			&cli.StringFlag{Name: "tag", Usage: "to the contacts that have this `TAG`"},
			&cli.StringFlag{Name: "field", Usage: "to the contacts whose field has this value, `NAME=VALUE`, or any: NAME"},
			&cli.StringFlag{Name: "segment", Usage: "to the members of the CRM's segment (list, campaign, view) of this `NAME` or id: see wabridge campaign segments"},
			&cli.StringFlag{Name: "lane", Usage: "the `LANE` of the segment's CRM, where several have segments"},
			&cli.StringSliceFlag{Name: "param", Usage: "a parameter of the template's body, `TEXT` or NAME=TEXT, in their order; may be repeated"},
			&cli.StringFlag{Name: "header", Usage: "the parameter of its header: `TEXT`"},
			&cli.StringSliceFlag{Name: "button", Usage: "what follows the address of a button, as `INDEX=TEXT`; the first is 0"},
			&cli.StringFlag{Name: "components", Usage: "all of them, as the Cloud API's components, in a `FILE`; slots may be in any text"},
			&cli.StringFlag{Name: "number", Usage: "who writes: `phone_number_id`"},
			&cli.StringFlag{Name: "first", Usage: "what is sent first, and looked at before the rest: `5%` or 50"},
			&cli.StringFlag{Name: "first-wait", Usage: "how `LONG` to wait for what becomes of them; an hour unless given"},
			&cli.Float64Flag{Name: "max-failed", Usage: "stop when more than this `PERCENT` of what was sent lately failed; 20 unless given"},
			&cli.Float64Flag{Name: "max-blocked", Usage: "stop when WhatsApp refused more than this `PERCENT` because people do not want it; 5 unless given"},
			by,
		}, flags),
	}
}

func newCampaign(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("campaign new: want one NAME")
	}
	r := broker.CampaignRequest{
		Name: c.Args().First(), Number: c.String("number"), Tag: c.String("tag"), By: c.String("by"),
		Template: campaign.Template{Name: c.String("template"), Language: c.String("language")},
		Stops:    campaign.Stops{Failed: c.Float64("max-failed"), Blocked: c.Float64("max-blocked")},
		First:    campaign.First{Wait: c.String("first-wait")},
	}
	r.Field, r.Value, _ = strings.Cut(c.String("field"), "=")
	audiences := 0
	for _, given := range []bool{c.String("csv") != "", c.String("segment") != "", r.Tag != "" || r.Field != ""} {
		if given {
			audiences++
		}
	}
	if audiences != 1 {
		return misused("campaign new: want --csv, or --segment, or --tag or --field (or both of these)")
	}
	if r.Segment.Name = c.String("segment"); r.Segment.Name != "" {
		r.Segment.Lane = c.String("lane")
	} else if c.String("lane") != "" {
		return misused("campaign new: --lane says whose --segment it is")
	}
	if first := c.String("first"); first != "" {
		text, percent := strings.CutSuffix(first, "%")
		n, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil || n <= 0 || !percent && n != float64(int(n)):
			return misused("--first %s: want a percentage like 5%%, or a number of rows", first)
		case percent:
			r.First.Percent = n
		default:
			r.First.Rows = int(n)
		}
	}
	var err error
	if r.Template.Components, err = componentsOf(c); err != nil {
		return err
	}
	if err := r.Template.FindSlots(); err != nil {
		return fail(exitUsage, "%w", err)
	}
	if r.Tenant, err = theTenant(c); err != nil {
		return err
	}
	l := &lister{c: c, maps: map[string]string{}}
	for _, m := range c.StringSlice("map") {
		i := strings.LastIndex(m, "=")
		if i < 1 || i == len(m)-1 {
			return misused("--map %s: want COLUMN=FIELD, like --map Handy=phone", m)
		}
		l.maps[m[:i]] = m[i+1:]
	}
	if path := c.String("csv"); path != "" { // what is wrong with it is said before there is a campaign
		if err := l.open(path); err != nil {
			return err
		}
		defer l.file.Close()
		for _, name := range r.Template.Columns() {
			if !slices.ContainsFunc(l.in.Header.Cells, func(h string) bool { return strings.TrimSpace(h) == name }) {
				return fail(exitConfig, "the list has no column %q, which a parameter names: it has %s", name, strings.Join(l.in.Header.Cells, ", "))
			}
		}
	}
	var made broker.Campaign
	if err := callBridge(c, request{method: http.MethodPost, path: campaignsPath, body: r}, &made); err != nil {
		return err
	}
	if l.in != nil {
		if err := l.addTo(&made); err != nil {
			return fmt.Errorf("after %d rows: %w; make it again to go on", l.rows, err)
		}
		if err := callBridge(c, request{method: http.MethodGet, path: campaignsPath + "/" + url.PathEscape(r.Name), query: values("tenant", r.Tenant)}, &made); err != nil {
			return err
		}
	}
	printCampaign(c, &made)
	return nil
}

// lister reads the list of a campaign.
type lister struct {
	c       *cli.Context
	maps    map[string]string
	file    *os.File
	in      *roster.Reader
	columns roster.Columns
	options roster.Options
	rows    int
}

func (l *lister) open(path string) (err error) {
	if l.file, err = os.Open(path); err != nil {
		return fail(exitNotFound, "campaign new: %w", err)
	}
	cfg, err := load(l.c)
	if err != nil {
		return err
	}
	tenant, err := theTenant(l.c)
	if err != nil {
		return err
	}
	l.options = roster.Options{Now: time.Now()}
	for _, t := range cfg.Tenants {
		if t.ID == tenant {
			l.options.Region = t.Region
		}
	}
	if l.in, err = roster.NewReader(l.file, l.c.String("encoding")); err != nil {
		return fail(exitConfig, "%s: %w", path, err)
	}
	if l.columns, err = roster.FindColumns(l.in.Header.Cells, l.maps); err != nil {
		return &exitError{code: exitConfig, message: path + ": " + err.Error(), hint: hintOf(err), err: err}
	}
	return nil
}

// addTo adds the list's rows to a campaign, a batch at a time.
func (l *lister) addTo(made *broker.Campaign) error {
	wanted := made.Template.Columns()
	bar := newProgress(l.c.App.ErrWriter)
	defer bar.done()
	var batch []broker.CampaignEntry
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		var listed broker.CampaignListed
		err := callBridge(l.c, request{method: http.MethodPost, path: campaignsPath + "/" + url.PathEscape(made.Name) + "/people",
			body: broker.CampaignEntries{Tenant: made.Tenant, People: batch}}, &listed)
		batch = batch[:0]
		bar.say("%d rows …", l.rows)
		return err
	}
	for {
		row, err := l.in.Next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return fail(exitConfig, "%w", err)
		}
		l.rows++
		p, bad := l.columns.Read(row, l.options)
		p.Line, p.Fields, p.Consent = row.Line, nil, nil // a campaign is no import
		p.Tags = slices.DeleteFunc(p.Tags, func(tag string) bool { return tag != roster.DisabledTag })
		e := broker.CampaignEntry{Person: p, Bad: bad, Columns: map[string]string{}}
		for i, h := range l.in.Header.Cells {
			if h = strings.TrimSpace(h); i < len(row.Cells) && slices.Contains(wanted, h) {
				e.Columns[h] = strings.TrimSpace(row.Cells[i])
			}
		}
		for _, v := range e.Columns {
			size += len(v)
		}
		if batch, size = append(batch, e), size+500; len(batch) == broker.CampaignBatch || size > maxImportBytes {
			size = 0
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
