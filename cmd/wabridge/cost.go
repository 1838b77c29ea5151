package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

const costsPath = "/api/v1/costs"

func costCommand() *cli.Command {
	return &cli.Command{
		Name: "cost", Usage: "what messages cost", Action: showCosts,
		Description: "Adds up what WhatsApp said of each message (its category, free or not) by the rate cards of the tenant\n" +
			"([[rates]]). Where a card has tiers of volume, the cost is a range.\n\n" +
			"Examples:\n   wabridge cost\n   wabridge cost --from 2026-11-01 --to 2026-11-30 --by campaign",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "the first `DAY`; the first of this month unless given"},
			&cli.StringFlag{Name: "to", Usage: "the last `DAY`; today unless given"},
			&cli.StringFlag{Name: "by", Value: "category", Usage: "a line for each `WHAT`: day, category, campaign or market"},
			&cli.StringFlag{Name: "campaign", Usage: "of this `CAMPAIGN` only"},
			tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
		},
	}
}

// costGroup is what one line says.
type costGroup struct {
	Of       string `json:"of"`
	Currency string `json:"currency,omitempty"`
	broker.Cost
}

func showCosts(c *cli.Context) error {
	by := map[string]func(*broker.CostLine) string{
		"day":      func(l *broker.CostLine) string { return l.Day },
		"category": func(l *broker.CostLine) string { return l.Category },
		"campaign": func(l *broker.CostLine) string { return cmp.Or(l.Campaign, "none") },
		"market":   func(l *broker.CostLine) string { return cmp.Or(l.Market, "unknown") },
	}[c.String("by")]
	if by == nil || c.NArg() > 0 {
		return misused("cost: --by is day, category, campaign or market")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	now := time.Now()
	from, to := cmp.Or(c.String("from"), now.Format("2006-01")+"-01"), cmp.Or(c.String("to"), now.AddDate(0, 0, 1).Format(time.DateOnly))
	groups := map[[2]string]*costGroup{}
	for after := ""; ; {
		var page broker.CostPage
		err := callBridge(c, request{method: http.MethodGet, path: costsPath, query: values(
			"tenant", tenant, "from", from, "to", to, "campaign", c.String("campaign"), "after", after, "limit", "500")}, &page)
		if err != nil {
			return err
		}
		for i := range page.Lines {
			l := &page.Lines[i]
			k := [2]string{by(l), l.Currency}
			if groups[k] == nil {
				groups[k] = &costGroup{Of: k[0], Currency: k[1]}
			}
			groups[k].Add(l.Cost)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	all := make([]*costGroup, 0, len(groups))
	for _, g := range groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *costGroup) int { return cmp.Or(cmp.Compare(a.Of, b.Of), cmp.Compare(a.Currency, b.Currency)) })
	if c.Bool("json") {
		printJSON(c.App.Writer, all)
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(c.App.Writer, "WhatsApp has told of no message what it costs")
		return nil
	}
	t := newTable(c.App.Writer, "OF", "MESSAGES", "FREE", "UNKNOWN", "COST")
	for _, g := range all {
		t.row(g.Of, g.Messages, g.Free, g.Unknown, costWords(g.Cost, g.Currency))
	}
	t.flush()
	return nil
}

// costWords are a cost for people.
func costWords(c broker.Cost, currency string) string {
	switch {
	case currency == "":
		return "-"
	case c.Low != c.High:
		return fmt.Sprintf("%s to %s %s", c.Low, c.High, currency)
	}
	return fmt.Sprintf("%s %s", c.High, currency)
}
