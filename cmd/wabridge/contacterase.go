package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/app"
	"github.com/wabridge/wabridge/core/broker"
)

func contactEraseCommand() *cli.Command {
	return &cli.Command{
		Name: "erase", Usage: "erase all that is held of one person, here and in the CRMs", ArgsUsage: "CONTACT", Action: eraseContact,
		Description: "Says first what there is, and asks. What stays are hashes that name nobody: that somebody was erased, so that\n" +
			"old webhooks do not bring them back, and whether they had said STOP. CRMs are asked to erase, too; what one\n" +
			"cannot erase is a dead letter that says what is to be done by hand. --reason and --by are kept: do not name\n" +
			"the person there. Goes on by itself when the bridge is stopped in between.\n\n" +
			"Examples:\n   wabridge contact erase +34600111222 --reason \"asked by e-mail, 3 March\"\n" +
			"   wabridge contact erase --status erasure-xk4mz7q2h6tb",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the record"},
			byFlag("erases"),
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.StringFlag{Name: "status", Usage: "say how far the `ERASURE` is"},
			tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
		},
	}
}

// eraseWait is how long the command watches an erasure that goes on by itself.
const eraseWait = 30 * time.Second

func eraseContact(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	cl := newClient(c, cfg)
	cl.http.Timeout = 2 * time.Minute
	if id := c.String("status"); id != "" {
		if c.NArg() > 0 {
			return misused("contact erase: want either a contact or --status")
		}
		e, err := cl.erasure(c.Context, c.String("tenant"), id)
		if err == nil {
			printErasure(c, e)
		}
		return err
	}
	if c.NArg() != 1 {
		return misused("contact erase: want one contact: its ID, a phone number or a user id")
	}
	if c.String("reason") == "" || c.String("by") == "" {
		return misused("contact erase: --reason and --by are needed: they are kept with the erasure")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	r := broker.EraseRequest{Tenant: tenant, Contact: c.Args().First(), Reason: c.String("reason"), By: c.String("by")}
	preview := r
	preview.Preview = true
	var e broker.Erasure
	ask := request{method: http.MethodPost, path: contactsPath + "/erase", body: preview}
	if err := cl.call(c.Context, ask, &e); err != nil {
		return err
	}
	if !c.Bool("json") {
		fmt.Fprintln(c.App.Writer, "held of this person:")
		printHeld(c.App.Writer, e)
	}
	if err := confirmed(c, "erase all of it"); err != nil {
		return err
	}
	ask.body = r
	if err := cl.call(c.Context, ask, &e); err != nil {
		return err
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(eraseWait); e.State != broker.ErasureDone && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-c.Context.Done():
			return c.Context.Err()
		}
		if e, err = cl.erasure(c.Context, tenant, e.ID); err != nil {
			return err
		}
		if e.ForPeople() {
			break
		}
	}
	printErasure(c, e)
	return nil
}

func (cl *client) erasure(ctx context.Context, tenant, id string) (e broker.Erasure, err error) {
	err = cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/erasures/" + url.PathEscape(id), query: values("tenant", tenant)}, &e)
	return e, err
}

func printHeld(w io.Writer, e broker.Erasure) {
	h := e.Held
	for _, row := range []struct {
		n    int
		what string
	}{
		{h.Contacts, "contacts that are this person"}, {h.Identities, "phone numbers and user ids"}, {h.Conversations, "conversations"},
		{h.Merges, "records of merges"}, {h.Escalations, "escalations"}, {h.Consents, "details of consent (the ledger's entries name nobody, and stay)"},
		{h.Waiting, "events on their way"}, {h.DeadLetters, "dead letters"}, {h.Records, "records of the history, with messages and decisions"},
	} {
		fmt.Fprintf(w, "%7d %s\n", row.n, row.what)
	}
	for _, lane := range e.Lanes {
		fmt.Fprintf(w, "        and what %s has\n", printable(lane))
	}
	for _, id := range e.Related {
		fmt.Fprintf(w, "another contact had one of the numbers, or has it now, and stays: %s. If it is the same person, erase it, too\n", id)
	}
}

func printErasure(c *cli.Context, e broker.Erasure) {
	w := c.App.Writer
	if c.Bool("json") {
		printJSON(w, e)
		return
	}
	if e.State == broker.ErasureDone {
		fmt.Fprintf(w, "erased on %s, %s:\n", moment(e.Done), e.ID)
		printHeld(w, e)
		return
	}
	fmt.Fprintf(w, "%s goes on by itself (%s). It waits for:\n", e.ID, e.State)
	for _, what := range e.Waiting {
		fmt.Fprintln(w, "  ", printable(what))
	}
	fmt.Fprintln(w, "see wabridge contact erase --status", e.ID)
}

// toldErased adds to a story without steps that it was erased.
func (s *stored) toldErased(ctx context.Context, tenant string, story *broker.Story) error {
	key, err := app.OpaqueKey(s.cfg.DataDir)
	if err != nil {
		return nil //nolint:nilerr // a folder without a key has erased nothing
	}
	return broker.ToldErased(ctx, s.store, key, tenant, story)
}
