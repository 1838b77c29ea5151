package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
)

var limitFlag = &cli.IntFlag{Name: "limit", Value: 50, Usage: "at most `N`"}

func queueCommand() *cli.Command {
	flags := []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag, tenantFlag}
	list := &cli.Command{
		Name: "list", Usage: "the queues, and how much waits in each", Flags: flags, Action: listQueues,
		Description: "Example:\n   wabridge queue list",
	}
	return &cli.Command{
		Name: "queue", Usage: "say what waits", Flags: flags,
		Description: "Without a running bridge the data folder is read.\n\n" +
			"Examples:\n   wabridge queue\n   wabridge queue show demo crm/hubspot",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misused("queue: no command %q: want list or show", c.Args().First())
			}
			return listQueues(c)
		},
		Subcommands: []*cli.Command{list, {
			Name: "show", Usage: "the events that wait in a queue, oldest first", ArgsUsage: "TENANT QUEUE",
			Description: "Example:\n   wabridge queue show demo crm/hubspot\n" +
				"What came for numbers that no tenant has: wabridge queue show \"\" quarantine",
			Flags:  append([]cli.Flag{limitFlag, &cli.Uint64Flag{Name: "after", Usage: "go on after this `PLACE`"}}, flags...),
			Action: showQueue,
		}},
	}
}

func listQueues(c *cli.Context) error {
	return look(c, func(ctx context.Context, l looker) error {
		queues, err := l.Queues(ctx, c.String("tenant"))
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, queues)
			return nil
		}
		if len(queues) == 0 {
			fmt.Fprintln(c.App.Writer, "no queues yet: nothing was ever accepted")
			return nil
		}
		t := newTable(c.App.Writer, "TENANT", "QUEUE", "DEPTH", "UNDER WAY", "WAITING", "OLDEST", "NEXT")
		for _, q := range queues {
			next := "–"
			if !q.NextDue.IsZero() {
				next = "in " + span(max(0, time.Until(q.NextDue)))
			}
			t.row(orDash(q.Tenant), q.Queue, q.Depth, q.Leased, q.Waiting, ago(q.Oldest), next)
		}
		t.flush()
		for _, q := range queues {
			if q.Why != "" {
				fmt.Fprintf(c.App.Writer, "%s %s: %s: %s\n", q.Tenant, q.Queue, laneWords[q.State], printable(q.Why))
			}
		}
		return nil
	})
}

// laneWords say how a lane is that does not deliver.
var laneWords = map[broker.LaneState]string{
	broker.LaneStarting: "starting", broker.LaneWaiting: "told to slow down", broker.LaneDown: "out of reach",
	broker.LaneSignIn: "needs sign-in", broker.LaneStopped: "stopped",
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func showQueue(c *cli.Context) error {
	if c.NArg() != 2 {
		return misused("queue show: want TENANT and QUEUE, as wabridge queue list prints them")
	}
	tenant, queue := c.Args().Get(0), c.Args().Get(1)
	if tenant == "–" || tenant == "-" {
		tenant = ""
	}
	return look(c, func(ctx context.Context, l looker) error {
		items, err := l.Items(ctx, tenant, queue, c.Uint64("after"), c.Int("limit"))
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, items)
			return nil
		}
		if len(items) == 0 {
			fmt.Fprintln(c.App.Writer, "nothing waits there")
			return nil
		}
		t := newTable(c.App.Writer, "PLACE", "WAITS", "ATTEMPT", "EVENT", "WHAT")
		for _, it := range items {
			t.row(it.Seq, span(time.Since(it.Added)), it.Attempt, it.ID, what(eventOf(it.Event)))
		}
		t.flush()
		return nil
	})
}

// eventOf decodes a stored event; nil when it is none.
func eventOf(data json.RawMessage) *core.Event {
	e := new(core.Event)
	if json.Unmarshal(data, e) != nil || e.ID == "" {
		return nil
	}
	return e
}
