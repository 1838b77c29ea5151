package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
)

const escalationsPath = "/api/v1/escalations"

func escalationCommand() *cli.Command {
	flags := []cli.Flag{tenantFlag, configFlag, setFlag, urlFlag, jsonFlag}
	settle := append([]cli.Flag{
		&cli.StringFlag{Name: "by", Usage: "who does it: a member's id, or a `NAME`; yours on this machine unless given"},
		&cli.StringFlag{Name: "note", Usage: "`WHY`, for wabridge why"},
	}, flags...)
	command := func(name, usage, example string, action cli.ActionFunc, flags []cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: "ID", Action: action, Flags: flags, Description: "Example:\n   wabridge escalation " + name + " " + example}
	}
	list := command("list", "who waits, the most urgent on top", "--tenant demo", listEscalations, flags)
	list.ArgsUsage = ""
	return &cli.Command{
		Name: "escalation", Usage: "conversations that were handed to people", Flags: flags,
		Description: "Examples:\n   wabridge escalation list\n   wabridge escalation close e19ac1b2c3dabcdefgh --note \"called back\"",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misused("escalation: no command %q: want list, show, take, close or release", c.Args().First())
			}
			return listEscalations(c)
		},
		Subcommands: []*cli.Command{
			list,
			command("show", "one, whole", "e19ac1b2c3dabcdefgh", showEscalation, flags),
			command("take", "somebody will answer: its clock stops", "e19ac1b2c3dabcdefgh --by ana", settleEscalation("take"), settle),
			command("close", "it was dealt with: the bot has the conversation again", "e19ac1b2c3dabcdefgh --note \"called back\"", settleEscalation("close"), settle),
			command("release", "the bot is to go on with it", "e19ac1b2c3dabcdefgh", settleEscalation("release"), settle),
		},
	}
}

func listEscalations(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	var all []broker.Escalation
	err = newClient(c, cfg).call(c.Context, request{method: http.MethodGet, path: escalationsPath, query: values("tenant", c.String("tenant"))}, &all)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, all)
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(c.App.Writer, "nobody waits for a person")
		return nil
	}
	t := newTable(c.App.Writer, "ID", "TENANT", "STATE", "TEAM", "WHO", "PRIORITY", "OPENED", "ANSWER", "TOPIC", "REASON")
	for i := range all {
		e := &all[i]
		t.row(e.ID, e.Tenant, e.State, e.Team, assignee(e), e.Priority, ago(e.Opened), answerBy(e), e.Topic, clip(e.Reason, 60))
	}
	t.flush()
	return nil
}

func assignee(e *broker.Escalation) string {
	if e.Assignee == nil {
		return "-"
	}
	return e.Assignee.ID
}

// answerBy says how long there still is to answer.
func answerBy(e *broker.Escalation) string {
	left := time.Until(e.Deadline)
	switch {
	case e.State != broker.StateWaiting:
		return "-"
	case e.Overdue || left <= 0:
		return span(-left) + " OVERDUE"
	}
	return span(left) + " left"
}

func showEscalation(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("escalation show: want one ID, as wabridge escalation list prints it")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	var e broker.Escalation
	r := request{method: http.MethodGet, path: escalationsPath + "/" + url.PathEscape(c.Args().First()), query: values("tenant", c.String("tenant"))}
	if err := newClient(c, cfg).call(c.Context, r, &e); err != nil {
		return err
	}
	printEscalation(c, &e)
	return nil
}

func printEscalation(c *cli.Context, e *broker.Escalation) {
	w := c.App.Writer
	if c.Bool("json") {
		printJSON(w, e)
		return
	}
	fmt.Fprintf(w, "%s, tenant %s, %s\n", e.ID, printable(e.Tenant), e.State)
	fmt.Fprintf(w, "%s, priority %s: %s\n", printable(e.Topic), e.Priority, printable(e.Reason))
	if e.Note != "" {
		fmt.Fprintln(w, printable(e.Note))
	}
	fmt.Fprintf(w, "team %s, level %d, given to %s\n", printable(e.Team), e.Level, printable(assignee(e)))
	if !e.Handed.IsZero() {
		fmt.Fprintf(w, "handed over to %s %.0f ms after the message\n", printable(e.HandedTo), e.HandOverMS)
	}
	if !e.Answered.IsZero() {
		fmt.Fprintf(w, "answered %s after the message\n", span(e.Answered.Sub(e.Accepted)))
	}
	fmt.Fprintln(w, "its story: wabridge why", printable(e.Event))
}

// settleEscalation takes, closes or releases one.
func settleEscalation(what string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != 1 {
			return misused("escalation %s: want one ID, as wabridge escalation list prints it", what)
		}
		cfg, err := load(c)
		if err != nil {
			return err
		}
		body := map[string]any{"by": cmp.Or(c.String("by"), operator(), "somebody")}
		if note := c.String("note"); note != "" {
			body["note"] = note
		}
		var e broker.Escalation
		r := request{method: http.MethodPost, path: escalationsPath + "/" + url.PathEscape(c.Args().First()) + "/" + what,
			query: values("tenant", c.String("tenant")), body: body}
		if err := newClient(c, cfg).call(c.Context, r, &e); err != nil {
			return err
		}
		printEscalation(c, &e)
		return nil
	}
}
