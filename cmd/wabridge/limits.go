package main

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

const limitsPath = "/api/v1/limits"

func limitsCommand() *cli.Command {
	return &cli.Command{
		Name: "limits", Usage: "what may be sent, and why something waits", Action: showLimits,
		Description: "Shows each limit of WhatsApp's and of the owner's: how much of it is used, how many messages wait, and\n" +
			"until when. With --event it says what that message waits for.\n\n" +
			"Examples:\n   wabridge limits\n   wabridge limits --event api-5f0c…",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "event", Usage: "the `ID` of a message, or of what it follows from"},
			tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
		},
	}
}

func showLimits(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("limits: %q is no flag: an event is named by --event", c.Args().First())
	}
	var r broker.LimitReport
	err := callBridge(c, request{method: http.MethodGet, path: limitsPath, query: values("tenant", c.String("tenant"), "event", c.String("event"))}, &r)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, r)
		return nil
	}
	now := time.Now()
	if e := r.Event; e != nil {
		fmt.Fprintf(c.App.Writer, "%s %s: %s\n", printable(e.ID), e.State, printable(e.Why))
		if !e.Until.IsZero() {
			fmt.Fprintln(c.App.Writer, "until "+untilWords(e.Until, now))
		}
		return nil
	}
	t := newTable(c.App.Writer, "TENANT", "LIMIT", "OF", "MOST", "BY", "USED", "WAITING", "UNTIL", "WHY")
	for i := range r.Limits {
		l := &r.Limits[i]
		t.row(l.Tenant, l.Limit, l.Of, mostWords(l), cmp.Or(l.By, "-"), count(l.Used), classWords(l.Waiting), untilWords(l.Until, now), cmp.Or(l.Why, "-"))
	}
	t.flush()
	return nil
}

func count(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// mostWords says how many a limit lets through in which time.
func mostWords(l *broker.LimitStatus) string {
	if l.Most == 0 {
		if l.Limit == broker.LimitPause {
			return "-"
		}
		return "any"
	}
	s := fmt.Sprintf("%v in %s", l.Most, span(time.Duration(l.PerSeconds*float64(time.Second))))
	if l.AtOnce > 0 {
		s += fmt.Sprintf(", %d at once", l.AtOnce)
	}
	return s
}

// classWords counts messages that wait, the most urgent first.
func classWords(n broker.ClassCount) string {
	if n.Sum() == 0 {
		return "-"
	}
	return fmt.Sprintf("%d (replies %d, transactions %d, campaigns %d)", n.Sum(), n.Reply, n.Transaction, n.Campaign)
}

func untilWords(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%s (in %s)", t.Local().Format(time.DateTime), span(max(0, t.Sub(now))))
}
