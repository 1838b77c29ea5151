package main

import (
	"fmt"
	"net/http"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

func mergeFlags() []cli.Flag {
	return []cli.Flag{
		byFlag("does it"),
		&cli.StringFlag{Name: "reason", Usage: "`WHY`, for whoever looks at it later"},
		&cli.BoolFlag{Name: "preview", Usage: "say what would change, and change nothing"},
		&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
	}
}

func contactMergeCommand() *cli.Command {
	return &cli.Command{
		Name: "merge", Usage: "make one contact of two that are one person", ArgsUsage: "CONTACT OTHER", Action: mergeContacts,
		Description: "CONTACT stays and gets everything of OTHER: what it is known by, conversations, tags, timers, an open escalation.\n" +
			"Of what both said about consent the later word counts. Says what will change, and asks.\n" +
			"wabridge contact unmerge OTHER takes it back.\n\n" +
			"Example:\n   wabridge contact merge cxvfacp7jf7aviuu3 +34600111222 --by ana --reason \"says so on the phone\"",
		Flags: mergeFlags(),
	}
}

func contactUnmergeCommand() *cli.Command {
	return &cli.Command{
		Name: "unmerge", Usage: "take a merge back", ArgsUsage: "CONTACT", Action: unmergeContact,
		Description: "CONTACT is the ID of the contact that went, as wabridge contact show of the other names it. Both are what they\n" +
			"were; what came since stays with the other. Nothing that WhatsApp says merges them again.\n\n" +
			"Example:\n   wabridge contact unmerge cxvfacp7jf7aviuu3 --by ana --reason \"a family's shared phone\"",
		Flags: mergeFlags(),
	}
}

func mergeContacts(c *cli.Context) error {
	if c.NArg() != 2 {
		return misused("contact merge: want two contacts: the one that stays, and the one that becomes it")
	}
	return regroup(c, contactPath(c.Args().Get(0))+"/merge", func(tenant string, preview bool) any {
		return broker.MergeRequest{Tenant: tenant, With: c.Args().Get(1), By: c.String("by"), Reason: c.String("reason"), Preview: preview}
	}, func(r *broker.MergeReport) string { return "merge " + r.ID + " into " + r.Survivor })
}

func unmergeContact(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("contact unmerge: want one contact: the one that went")
	}
	return regroup(c, contactPath(c.Args().First())+"/unmerge", func(tenant string, preview bool) any {
		return broker.UnmergeRequest{Tenant: tenant, By: c.String("by"), Reason: c.String("reason"), Preview: preview}
	}, func(r *broker.MergeReport) string { return "take " + r.ID + " and " + r.Survivor + " apart" })
}

// regroup shows what a merge, or taking one back, changes, asks, and has it done.
func regroup(c *cli.Context, path string, body func(tenant string, preview bool) any, what func(*broker.MergeReport) string) error {
	if c.String("by") == "" || c.String("reason") == "" {
		return misused("contact: say who does it with --by, and why with --reason")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	ask := func(preview bool) (rep broker.MergeReport, err error) {
		err = newClient(c, cfg).call(c.Context, request{method: http.MethodPost, path: path, body: body(tenant, preview)}, &rep)
		return rep, err
	}
	out := c.App.Writer
	if c.Bool("json") {
		out = c.App.ErrWriter
	}
	rep, err := ask(true)
	if err != nil {
		return err
	}
	for _, s := range rep.Changes {
		fmt.Fprintln(out, "-", printable(s))
	}
	if !c.Bool("preview") {
		if err := confirmed(c, what(&rep)); err != nil {
			return err
		}
		if rep, err = ask(false); err != nil {
			return err
		}
		fmt.Fprintf(out, "done: see wabridge why %s\n", rep.ID)
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, rep)
	}
	return nil
}
