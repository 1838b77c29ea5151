package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/redecide"
	"github.com/wabridge/wabridge/core/script"
)

// Shares of messages that a person answers, below and above which something is
// probably wrong.
const (
	humanLow  = 0.15
	humanHigh = 0.25
)

var sinceFlag = &cli.StringFlag{Name: "since", Value: "7d", Usage: "how far back: `7d`, 12h, or a date like 2026-11-20"}

func scriptDiffCommand() *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "say which recorded decisions would be others", ArgsUsage: "[FILE]",
		Description: "Asks the script again about what came since then, and compares with what was decided, by whichever version\n" +
			"that was. With --from, compares with what that version decides; with --to, asks that version instead of FILE.\n" +
			"What the policy refuses or adds is not part of it.\n\n" +
			"Examples:\n   wabridge script diff --since 7d\n   wabridge script diff --since 30d --from 3f2a9c --to 81d0e2",
		Flags: append([]cli.Flag{
			sinceFlag,
			&cli.StringFlag{Name: "from", Usage: "compare with the version of this `HASH`"},
			&cli.StringFlag{Name: "to", Usage: "ask the version of this `HASH`"},
		}, scriptFlags...),
		Action: func(c *cli.Context) error {
			t, err := targetOf(c)
			if err != nil {
				return err
			}
			src, err := t.sourceOr(c.String("to"))
			if err != nil {
				return err
			}
			report, err := t.diff(c, src)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, report)
				return nil
			}
			printDiff(c.App.Writer, report, src.Hash())
			return nil
		},
	}
}

// sourceOr returns a version that ran, or without one what is in the file.
func (t *target) sourceOr(hash string) (script.Source, error) {
	if hash != "" {
		return t.version(hash)
	}
	return t.source()
}

// diff asks a version again about the traffic that --since says.
func (t *target) diff(c *cli.Context, src script.Source) (*redecide.Report, error) {
	from, err := sinceOf(c.String("since"), time.Now())
	if err != nil {
		return nil, err
	}
	o := redecide.Options{Tenant: t.tenant.ID, From: from, Workers: runtime.NumCPU()}
	bar := newProgress(c.App.ErrWriter)
	defer bar.done()
	o.Progress = func(n int) { bar.say("%d decisions made again …", n) }
	var report *redecide.Report
	err = look(c, func(ctx context.Context, l looker) error {
		o.Traffic = l
		if o.Prices, err = t.prices(ctx, l); err != nil {
			return err
		}
		return t.withEngine(ctx, func(ctx context.Context, e *script.Engine) error {
			var err error
			if o.New, _, err = decider(ctx, e, src); err != nil {
				return err
			}
			if hash := c.String("from"); hash != "" {
				old, err := t.version(hash)
				if err != nil {
					return err
				}
				if o.Old, _, err = decider(ctx, e, old); err != nil {
					return err
				}
			}
			report, err = redecide.Diff(ctx, o)
			return err
		})
	})
	return report, err
}

// prices are what the tenant's messages cost now, nil without a rate card. A template's
// category is the one that WhatsApp told of, else the settings'; what nobody knows counts
// as marketing, as for the policy.
func (t *target) prices(ctx context.Context, l looker) (*redecide.Prices, error) {
	if t.tenant.Book == nil {
		return nil, nil
	}
	known, err := l.Templates(ctx, t.tenant.ID)
	if err != nil {
		return nil, err
	}
	return &redecide.Prices{Book: t.tenant.Book, At: time.Now(), Category: func(name, language string) rate.Category {
		for i := range known.Templates {
			if k := &known.Templates[i]; k.Name == name && k.Language == language && k.Category != "" {
				return rate.Category(consent.ParseCategory(k.Category))
			}
		}
		for _, tpl := range t.tenant.Templates {
			if tpl.Name == name && (tpl.Language == language || tpl.Language == "") {
				return rate.Category(tpl.Category)
			}
		}
		return rate.Marketing
	}}, nil
}

// printCosts prints what the messages cost, and why that is unknown of some.
func printCosts(row func(what, old, now string), old, now *rate.Cost) {
	words := func(c *rate.Cost) string {
		if c.Low != c.High {
			return fmt.Sprintf("%s to %s", c.Low, c.High)
		}
		return c.High.String()
	}
	if currency := cmp.Or(old.Currency, now.Currency); currency != "" {
		row("what they cost, in "+currency, words(old), words(now))
	}
	if old.Unknown+now.Unknown == 0 {
		return
	}
	row("of these without a price", fmt.Sprint(old.Unknown), fmt.Sprint(now.Unknown))
	for _, why := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(old.Why, now.Why)))) {
		row("   "+why, "", "")
	}
}

// sinceOf reads how far back.
func sinceOf(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n > 0 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	if at, err := time.ParseInLocation("2006-01-02", s, time.Local); err == nil {
		return at, nil
	}
	return time.Time{}, misused("--since %s: want 7d, 12h or a date like 2026-11-20", s)
}

// printDiff prints a report. The same report is the same text.
func printDiff(w io.Writer, r *redecide.Report, hash string) {
	if r.Decisions == 0 {
		fmt.Fprintln(w, "no decisions were recorded in that time")
		return
	}
	const at = "2006-01-02 15:04"
	fmt.Fprintf(w, "%d of %d decisions change (%s) with version %s\n", r.Changed, r.Decisions, percent(r.Changed, r.Decisions), hash)
	fmt.Fprintf(w, "made from %s to %s UTC\n", r.First.UTC().Format(at), r.Last.UTC().Format(at))
	for _, g := range r.Groups {
		fmt.Fprintf(w, "\n%d × %s\n", g.Count, g.Kind)
		fmt.Fprintf(w, "   - %s\n", printable(g.Old))
		fmt.Fprintf(w, "   + %s\n", printable(g.New))
		for _, x := range g.Examples {
			if x.Text == "" && x.Who == "" {
				fmt.Fprintf(w, "     %s\n", printable(x.Event))
				continue
			}
			fmt.Fprintf(w, "     %s %s %q\n", printable(x.Event), printable(x.Who), printable(x.Text))
		}
	}
	if r.Ungrouped > 0 {
		fmt.Fprintf(w, "\n%d × changes of still other kinds\n", r.Ungrouped)
	}
	fmt.Fprintf(w, "\nof %d messages, by the script alone   as it was    as it would be\n", r.New.Messages)
	row := func(what string, old, now string) { fmt.Fprintf(w, "   %-34s %12s %15s\n", what, old, now) }
	row("answered automatically", percent(r.Old.Automatic, r.Old.Messages), percent(r.New.Automatic, r.New.Messages))
	row("handed to a person", percent(r.Old.Human, r.Old.Messages), percent(r.New.Human, r.New.Messages))
	row("of these because the script failed", fmt.Sprint(r.Old.Failed), fmt.Sprint(r.New.Failed))
	row("messages sent", fmt.Sprint(r.Old.Sends), fmt.Sprint(r.New.Sends))
	if r.New.Cost != nil {
		printCosts(row, r.Old.Cost, r.New.Cost)
	}
	if share := r.New.Share(r.New.Human); r.New.Messages > 0 && (share < humanLow || share > humanHigh) {
		side := "below"
		if share > humanHigh {
			side = "above"
		}
		fmt.Fprintf(w, "   the share of people's work is %s the target of %d–%d %%\n", side, int(100*humanLow), int(100*humanHigh))
	}
}

func percent(n, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}
