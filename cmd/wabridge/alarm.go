package main

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

const alarmsPath = "/api/v1/alarms"

func alarmCommand() *cli.Command {
	flags := []cli.Flag{tenantFlag, configFlag, setFlag, urlFlag, jsonFlag}
	return &cli.Command{
		Name: "alarm", Usage: "what WhatsApp says of accounts and numbers, and somebody should look at", Flags: flags,
		Description: "Examples:\n   wabridge alarm list\n   wabridge alarm settle security@106540352242922",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misused("alarm: no command %q: want list or settle", c.Args().First())
			}
			return listAlarms(c)
		},
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "the alarms that stand, critical ones on top", Action: listAlarms, Flags: flags,
				Description: "Example:\n   wabridge alarm list --tenant demo",
			},
			{
				Name: "settle", Usage: "it was dealt with: what it stopped goes on", ArgsUsage: "ID", Action: settleAlarm,
				Description: "Example:\n   wabridge alarm settle security@106540352242922 --by ana",
				Flags:       append([]cli.Flag{byFlag("does it")}, flags...),
			},
		},
	}
}

func listAlarms(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	var all []broker.Alarm
	err = newClient(c, cfg).call(c.Context, request{method: http.MethodGet, path: alarmsPath, query: values("tenant", c.String("tenant"))}, &all)
	if err != nil {
		return err
	}
	w := c.App.Writer
	if c.Bool("json") {
		printJSON(w, all)
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(w, "no alarms")
		return nil
	}
	for i := range all {
		a := &all[i]
		fmt.Fprintf(w, "%s  %s, tenant %s, numbers %s, since %s\n", a.Level, printable(a.ID), printable(a.Tenant), printable(strings.Join(a.Numbers, " ")), ago(a.Since))
		fmt.Fprintln(w, "  "+printable(a.Text))
		for _, s := range a.Stops {
			fmt.Fprintln(w, "  "+broker.StopInWords(s))
		}
		if a.Hint != "" {
			fmt.Fprintln(w, "  → "+printable(a.Hint))
		}
		fmt.Fprintln(w, "  its story: wabridge why", printable(a.Event))
	}
	return nil
}

func settleAlarm(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("alarm settle: want one ID, as wabridge alarm list prints it")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	by := cmp.Or(c.String("by"), "somebody")
	var answer map[string]string
	body := map[string]any{"id": c.Args().First(), "by": by}
	if tenant := c.String("tenant"); tenant != "" {
		body["tenant"] = tenant
	}
	if err := newClient(c, cfg).call(c.Context, request{method: http.MethodPost, path: alarmsPath + "/settle", body: body}, &answer); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, answer)
		return nil
	}
	fmt.Fprintln(c.App.Writer, "settled", printable(answer["settled"]))
	return nil
}
