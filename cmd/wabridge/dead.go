package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

func deadCommand() *cli.Command {
	flags := []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag}
	settle := append([]cli.Flag{
		&cli.BoolFlag{Name: "all", Usage: "all of --tenant and --lane, but not those that may have been sent"},
		tenantFlag, laneFlag,
	}, flags...)
	return &cli.Command{
		Name: "dead", Usage: "what could not be delivered, and waits for a person",
		Description: "Without a running bridge, list and show read the data folder.\n\n" +
			"Examples:\n   wabridge dead list\n   wabridge dead replay --all --lane crm/hubspot",
		Flags: append([]cli.Flag{tenantFlag, laneFlag, limitFlag}, flags...),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misused("dead: no command %q: want list, show, replay or resolve", c.Args().First())
			}
			return listDead(c)
		},
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "the dead letters, oldest first", Action: listDead,
				Description: "Example:\n   wabridge dead list --tenant demo --lane crm/hubspot",
				Flags:       append([]cli.Flag{tenantFlag, laneFlag, limitFlag}, flags...),
			},
			{
				Name: "show", Usage: "one, whole", ArgsUsage: "ID", Action: showDead, Flags: flags,
				Description: "Example:\n   wabridge dead show 01JD3QZ6",
			},
			{
				Name: "replay", Usage: "try again, with all attempts anew", ArgsUsage: "ID…", Action: replayDead, Flags: settle,
				Description: "One that is marked \"may have been sent\" is perhaps sent for the second time.\n\n" +
					"Example:\n   wabridge dead replay --all --lane crm/hubspot",
			},
			{
				Name: "resolve", Usage: "drop it: it was dealt with otherwise", ArgsUsage: "ID…", Action: resolveDead,
				Description: "Example:\n   wabridge dead resolve 01JD3QZ6 --note \"called the customer\"",
				Flags:       append([]cli.Flag{&cli.StringFlag{Name: "note", Usage: "`WHY`, for wabridge why"}}, settle...),
			},
		},
	}
}

var laneFlag = &cli.StringFlag{Name: "lane", Usage: "only this `LANE`, such as crm/hubspot"}

// deadLetters returns up to limit dead letters that the flags ask for.
func deadLetters(ctx context.Context, c *cli.Context, l looker, limit int) ([]broker.DeadLetter, error) {
	out := []broker.DeadLetter{}
	after := ""
	for len(out) < limit {
		page, err := l.Dead(ctx, c.String("tenant"), after, pageSize)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for _, d := range page {
			if lane := c.String("lane"); (lane == "" || d.Lane == lane) && len(out) < limit {
				out = append(out, d)
			}
		}
		after = page[len(page)-1].ID
	}
	return out, nil
}

func listDead(c *cli.Context) error {
	return look(c, func(ctx context.Context, l looker) error {
		dead, err := deadLetters(ctx, c, l, c.Int("limit"))
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, dead)
			return nil
		}
		if len(dead) == 0 {
			fmt.Fprintln(c.App.Writer, "no dead letters")
			return nil
		}
		t := newTable(c.App.Writer, "ID", "TENANT", "LANE", "DIED", "SETTLE", "WHAT", "REASON")
		for _, d := range dead {
			t.row(d.ID, d.Tenant, d.Lane, ago(d.Died), deadline(d), what(eventOf(d.Event)), reason(d))
		}
		t.flush()
		return nil
	})
}

// deadline says how long a person still has.
func deadline(d broker.DeadLetter) string {
	if left := time.Until(d.Deadline); left > 0 {
		return span(left) + " left"
	}
	return span(time.Since(d.Deadline)) + " OVERDUE"
}

func reason(d broker.DeadLetter) string {
	r := clip(string(d.Reason.Code)+": "+d.Reason.Error(), 60)
	if d.Held {
		r = "may have been sent; " + r
	}
	return r
}

func showDead(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("dead show: want one ID, as wabridge dead list prints it")
	}
	return look(c, func(ctx context.Context, l looker) error {
		d, err := l.DeadLetter(ctx, c.Args().First())
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, d)
			return nil
		}
		w := c.App.Writer
		fmt.Fprintf(w, "%s, tenant %s, %s\n", d.ID, printable(d.Tenant), printable(d.Lane))
		fmt.Fprintf(w, "given up on %s, after %d attempts; time to settle it: %s\n", d.Died.Local().Format(time.DateTime), d.Attempts, deadline(d))
		fmt.Fprintf(w, "%s: %s\n", d.Reason.Code, printable(d.Reason.Error()))
		if d.Reason.Hint != "" {
			fmt.Fprintln(w, "  →", printable(d.Reason.Hint))
		}
		if d.Held {
			fmt.Fprintln(w, "It may have been sent: replaying may send it twice, resolving may leave it unsent.")
		}
		var event any
		if json.Unmarshal(d.Event, &event) == nil {
			printJSON(w, event)
		}
		if e := eventOf(d.Event); e != nil {
			fmt.Fprintln(w, "how it came to this: wabridge why", printable(e.ID))
		}
		return nil
	})
}

func replayDead(c *cli.Context) error {
	return settleDead(c, "/api/v1/dead/replay", "replayed")
}

func resolveDead(c *cli.Context) error {
	return settleDead(c, "/api/v1/dead/resolve", "resolved")
}

// settleDead settles the dead letters that the arguments or --all name.
func settleDead(c *cli.Context, path, done string) error {
	ids := c.Args().Slice()
	if (len(ids) == 0) != c.Bool("all") {
		return misused("dead: want either IDs or --all")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	cl := newClient(c, cfg)
	left := 0
	if c.Bool("all") {
		dead, err := deadLetters(c.Context, c, cl, 1<<20)
		if err != nil {
			return err
		}
		for _, d := range dead {
			if d.Held {
				left++
				continue
			}
			ids = append(ids, d.ID)
		}
	}
	bar := newProgress(c.App.ErrWriter)
	total := 0
	for rest := ids; len(rest) > 0; {
		n := min(len(rest), pageSize)
		body := map[string]any{"ids": rest[:n]}
		if note := c.String("note"); note != "" {
			body["note"] = note
		}
		var answer map[string]int
		if err := cl.call(c.Context, request{method: http.MethodPost, path: path, body: body}, &answer); err != nil {
			bar.done()
			if total > 0 {
				return fail(exitCode(err), "%d %s, then: %w", total, done, err)
			}
			return err
		}
		total += n
		rest = rest[n:]
		bar.say("%s %d of %d …", done, total, len(ids))
	}
	bar.done()
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]int{done: total, "left": left})
		return nil
	}
	fmt.Fprintf(c.App.Writer, "%d %s\n", total, done)
	if left > 0 {
		fmt.Fprintf(c.App.Writer, "%d that may have been sent were left: name them by ID\n", left)
	}
	return nil
}
