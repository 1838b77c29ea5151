package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/app"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
)

func consentCommand() *cli.Command {
	flags := []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag, tenantFlag}
	change := append([]cli.Flag{
		&cli.StringFlag{Name: "evidence", Usage: "the `TEXT` that shows it: where and how the person said so"},
		byFlag("records it"),
		&cli.StringFlag{Name: "at", Usage: "the `TIME` when it happened, like 2026-03-02T10:00:00Z; now when not given"},
		&cli.StringFlag{Name: "key", Usage: "the `KEY` that makes repeating this command harmless; random when not given"},
	}, flags...)
	level := &cli.StringFlag{Name: "level", Value: "marketing", Usage: "the `LEVEL`: marketing or transactional"}
	reason := &cli.StringFlag{Name: "reason", Value: "request", Usage: "the `REASON`: stop, complaint, blocked, wrong_number, deceased, legal_hold or request"}
	scope := &cli.StringFlag{Name: "scope", Value: "all", Usage: "the `SCOPE`: all, marketing or topic:<name>"}
	const who = "CONTACT"
	return &cli.Command{
		Name: "consent", Usage: "what people agreed to, and why they are not written to",
		Description: "A person is named by the contact's ID, +<country><number>, or a BSUID. Without a running\n" +
			"bridge, show and prove read the data folder.\n\n" +
			"Examples:\n   wabridge consent show +34600111222\n   wabridge consent prove +34600111222",
		Action: group("consent"),
		Subcommands: []*cli.Command{
			{Name: "show", Usage: "where a person stands", ArgsUsage: who, Flags: flags, Action: showConsent,
				Description: "Example:\n   wabridge consent show +34600111222"},
			{Name: "prove", Usage: "a person's entries in the ledger, which is checked whole", ArgsUsage: who, Flags: flags, Action: proveConsent,
				Description: "Exits with 5 when an entry of the tenant's ledger was changed, added or removed.\n\n" +
					"Example:\n   wabridge consent prove +34600111222 --json > proof.json"},
			{Name: "grant", Usage: "record that a person agreed", ArgsUsage: who, Flags: append([]cli.Flag{level}, change...),
				Description: "Example:\n   wabridge consent grant +34600111222 --evidence \"form /join, 2 March, box ticked\"",
				Action: func(c *cli.Context) error {
					return changeConsent(c, core.Consent{Level: c.String("level"), State: string(consent.Granted)})
				}},
			{Name: "withdraw", Usage: "record that a person took it back", ArgsUsage: who, Flags: append([]cli.Flag{level}, change...),
				Description: "Example:\n   wabridge consent withdraw +34600111222 --evidence \"by phone\"",
				Action: func(c *cli.Context) error {
					return changeConsent(c, core.Consent{Level: c.String("level"), State: string(consent.Withdrawn)})
				}},
			{Name: "suppress", Usage: "send nothing more to a person", ArgsUsage: who, Flags: append([]cli.Flag{reason, scope}, change...),
				Description: "Example:\n   wabridge consent suppress +34600111222 --reason legal_hold --evidence \"case 17\"",
				Action: func(c *cli.Context) error {
					return changeConsent(c, core.Consent{Suppression: c.String("reason"), Scope: c.String("scope")})
				}},
			{Name: "unsuppress", Usage: "take such a reason back", ArgsUsage: who, Flags: append([]cli.Flag{reason, scope}, change...),
				Description: "Example:\n   wabridge consent unsuppress +34600111222 --reason legal_hold",
				Action: func(c *cli.Context) error {
					return changeConsent(c, core.Consent{Suppression: c.String("reason"), Scope: c.String("scope"), Lifted: true})
				}},
		},
	}
}

// tenantOf returns the tenant that --tenant names, or the only one.
func tenantOf(c *cli.Context, ids []string) (string, error) {
	if t := c.String("tenant"); t != "" || len(ids) != 1 {
		if t == "" {
			return "", misused("say which tenant with --tenant: %s", strings.Join(ids, ", "))
		}
		return t, nil
	}
	return ids[0], nil
}

func (s *stored) Consent(ctx context.Context, tenant, who string) (broker.ConsentStatus, error) {
	return broker.ConsentOf(ctx, s.store, tenant, who)
}

func (s *stored) ProveConsent(ctx context.Context, tenant, who string) (broker.ConsentProof, error) {
	key, err := app.OpaqueKey(s.cfg.DataDir)
	if err != nil {
		return broker.ConsentProof{}, err
	}
	return broker.ConsentProofOf(ctx, s.store, key, tenant, who)
}

func (cl *client) Consent(ctx context.Context, tenant, who string) (out broker.ConsentStatus, err error) {
	err = cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/consent", query: values("tenant", tenant, "contact", who)}, &out)
	return out, err
}

func (cl *client) ProveConsent(ctx context.Context, tenant, who string) (out broker.ConsentProof, err error) {
	err = cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/consent/proof", query: values("tenant", tenant, "contact", who)}, &out)
	return out, err
}

// askConsent asks about the person that the argument names.
func askConsent(c *cli.Context, ask func(ctx context.Context, l looker, tenant, who string) error) error {
	if c.NArg() != 1 {
		return misused("consent: want one contact: its ID, +<country><number>, or a BSUID")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	var ids []string
	for _, t := range cfg.Tenants {
		ids = append(ids, t.ID)
	}
	tenant, err := tenantOf(c, ids)
	if err != nil {
		return err
	}
	err = look(c, func(ctx context.Context, l looker) error { return ask(ctx, l, tenant, c.Args().First()) })
	if isNotFound(err) {
		return &exitError{code: exitNotFound, message: err.Error(), err: err}
	}
	return err
}

func showConsent(c *cli.Context) error {
	return askConsent(c, func(ctx context.Context, l looker, tenant, who string) error {
		st, err := l.Consent(ctx, tenant, who)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, st)
			return nil
		}
		printConsent(c.App.Writer, st)
		return nil
	})
}

func printConsent(w io.Writer, st broker.ConsentStatus) {
	fmt.Fprintf(w, "%s %s, tenant %s\n", st.Contact, st.Address, st.Tenant)
	for _, l := range consent.Levels() {
		s, ok := st.Levels[l]
		if !ok {
			fmt.Fprintf(w, "%-14s nothing was said\n", l)
			continue
		}
		fmt.Fprintf(w, "%-14s %s since %s (%s)\n", l, s.State, s.Since.Local().Format(time.DateTime), s.Source)
	}
	if m := st.MetaStop; m != nil && m.State == consent.Withdrawn {
		fmt.Fprintf(w, "%-14s stopped in WhatsApp itself on %s\n", "", m.Since.Local().Format(time.DateTime))
	}
	for _, s := range st.Suppressed {
		fmt.Fprintf(w, "suppressed     %s, for %s, since %s (%s)\n", s.Reason, s.Scope, s.Since.Local().Format(time.DateTime), s.Source)
	}
	if st.MayMarket {
		fmt.Fprintln(w, "marketing may be sent")
	} else {
		fmt.Fprintln(w, "no marketing:", printable(st.Why))
	}
}

func proveConsent(c *cli.Context) error {
	return askConsent(c, func(ctx context.Context, l looker, tenant, who string) error {
		p, err := l.ProveConsent(ctx, tenant, who)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, p)
		} else {
			printProof(c.App.Writer, p)
		}
		for _, led := range p.Ledgers {
			if led.Damaged != "" {
				return &exitError{code: exitDamaged, message: "consent prove: " + led.Damaged,
					hint: "the ledger proves nothing from that entry on: compare it with a backup of data_dir"}
			}
		}
		return nil
	})
}

func printProof(w io.Writer, p broker.ConsentProof) {
	printConsent(w, p.Status)
	for _, e := range p.Entries {
		what := string(e.Level) + " " + string(e.State)
		switch {
		case e.Reason != "" && e.Lifted:
			what = "no longer suppressed, " + string(e.Reason)
		case e.Reason != "":
			what = "suppressed, " + string(e.Reason) + " (" + e.Scope + ")"
		}
		fmt.Fprintf(w, "\n%s %d  %s: %s\n", e.Ledger, e.Seq, e.At.Local().Format(time.DateTime), what)
		switch {
		case e.Details == nil:
			fmt.Fprintf(w, "   from %s; the details were erased\n", e.Source)
		case !e.Genuine:
			fmt.Fprintf(w, "   from %s; the details ARE NOT THOSE THAT WERE RECORDED: %s\n", e.Source, printable(e.Details.Evidence))
		default:
			fmt.Fprintf(w, "   from %s: %s\n", e.Source, printable(e.Details.Evidence))
			if e.Details.By != "" {
				fmt.Fprintln(w, "   by", printable(e.Details.By))
			}
		}
		fmt.Fprintf(w, "   recorded %s, hash %s\n", e.Time.Local().Format(time.DateTime), e.Hash)
	}
	fmt.Fprintln(w)
	for _, l := range p.Ledgers {
		if l.Damaged != "" {
			fmt.Fprintf(w, "ledger %s: DAMAGED: %s\n", l.Ledger, l.Damaged)
			continue
		}
		fmt.Fprintf(w, "ledger %s: whole, %d entries, head %s\n", l.Ledger, l.Seq, l.Head)
	}
}

// changeConsent asks the running bridge for a change.
func changeConsent(c *cli.Context, change core.Consent) error {
	if c.NArg() != 1 {
		return misused("consent: want one contact: its ID, +<country><number>, or a BSUID")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	change.Source, change.Evidence, change.By = string(consent.Person), c.String("evidence"), c.String("by")
	r := broker.ConsentRequest{Tenant: c.String("tenant"), Contact: c.Args().First(), Consent: change}
	if at := c.String("at"); at != "" {
		if r.At, err = time.Parse(time.RFC3339, at); err != nil {
			return misused("--at: want a time like 2026-03-02T10:00:00Z")
		}
	}
	key := c.String("key")
	if key == "" {
		key = rand.Text()
	}
	var st broker.ConsentStatus
	err = newClient(c, cfg).call(c.Context, request{method: http.MethodPost, path: "/api/v1/consent", key: key, body: r}, &st)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, st)
		return nil
	}
	printConsent(c.App.Writer, st)
	return nil
}

func conversationCommand() *cli.Command {
	return &cli.Command{
		Name: "conversation", Usage: "who has a conversation: the bot or a person", Action: group("conversation"),
		Description: "Example:\n   wabridge conversation release 106540352242922:cxvfacp7jf7aviuu3",
		Subcommands: []*cli.Command{{
			Name: "release", Usage: "give a conversation back to the bot", ArgsUsage: "CONVERSATION",
			Description: "A conversation is named <number's id>:<contact's id>, as `wabridge why` shows it.\n\n" +
				"Example:\n   wabridge conversation release 106540352242922:cxvfacp7jf7aviuu3",
			Flags: []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag, tenantFlag, byFlag("releases it")},
			Action: func(c *cli.Context) error {
				if c.NArg() != 1 {
					return misused("conversation release: want one conversation: <number's id>:<contact's id>")
				}
				cfg, err := load(c)
				if err != nil {
					return err
				}
				body := map[string]string{"tenant": c.String("tenant"), "conversation": c.Args().First(), "by": c.String("by")}
				var answer map[string]string
				if err := newClient(c, cfg).call(c.Context, request{method: http.MethodPost, path: "/api/v1/conversations/release", body: body}, &answer); err != nil {
					return err
				}
				if c.Bool("json") {
					printJSON(c.App.Writer, answer)
					return nil
				}
				fmt.Fprintln(c.App.Writer, "the bot has it again")
				return nil
			},
		}},
	}
}

// isNotFound reports whether what was asked for is not there.
func isNotFound(err error) bool {
	return exitCode(err) == exitNotFound || errors.Is(err, store.ErrNotFound)
}
