package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/redecide"
	"github.com/wabridge/wabridge/core/script"
)

const (
	fixRate     = 10
	fixPage     = 128 << 10 // bytes of one question
	fixExamples = 3
)

func scriptFixCommand() *cli.Command {
	return &cli.Command{
		Name: "fix", Usage: "correct at the CRM what a version of the script got wrong", ArgsUsage: "--from HASH [--to HASH]",
		Description: "Finds what the version --from wrote (tags, fields, CRM properties, the reason of an escalation at the CRM) that the version\n" +
			"--to would have written otherwise, and shows it. With --apply it is corrected, by the CRM lanes, so many contacts a second.\n" +
			"Messages are never sent again, and nothing is escalated. What anybody changed since (a person, the CRM, another\n" +
			"version) is left alone, and counted. Of CRM properties the bridge knows the changes that it was told of.\n" +
			"The same is corrected once: run it again when it was interrupted, and it goes on.\n\n" +
			"Examples:\n   wabridge script fix --from 3f2a9c --since 7d\n   wabridge script fix --from 3f2a9c --to 81d0e2 --since 7d --apply --rate 5",
		Flags: append([]cli.Flag{
			sinceFlag,
			&cli.StringFlag{Name: "from", Usage: "the version whose decisions were wrong, by its `HASH`"},
			&cli.StringFlag{Name: "to", Usage: "the version that would be right, by its `HASH`; else the one in place"},
			&cli.BoolFlag{Name: "apply", Usage: "correct it; otherwise it is only shown"},
			&cli.Float64Flag{Name: "rate", Value: fixRate, Usage: "how many `CONTACTS` a second"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		}, scriptFlags...),
		Action: scriptFix,
	}
}

// fixReport is what --json prints.
type fixReport struct {
	Tenant string `json:"tenant"`
	From   string `json:"from"`
	To     string `json:"to"`
	*redecide.Fixes
	// Receipts are of the contacts, in their order.
	Receipts []broker.CorrectionReceipt `json:"receipts"`
	Applied  *fixApplied                `json:"applied,omitempty"`
}

type fixApplied struct {
	Asked  int `json:"asked"`  // contacts that are corrected now
	Before int `json:"before"` // that were before
	None   int `json:"none"`   // of which all is left alone
}

func scriptFix(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("script fix: want --from HASH, and no FILE: versions are named by their hash")
	}
	if c.String("from") == "" {
		return misused("script fix: say whose decisions were wrong with --from HASH; wabridge script list shows the versions that ran")
	}
	if rate := c.Float64("rate"); rate <= 0 || rate > 1000 {
		return misused("--rate %v: want more than 0 and at most 1000 contacts a second", rate)
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	t, err := tenantTarget(c, cfg)
	if err != nil {
		return err
	}
	from, err := t.version(c.String("from"))
	if err != nil {
		return err
	}
	to, err := t.version(cmp.Or(c.String("to"), t.inPlace()))
	if err != nil {
		return err
	}
	r := &fixReport{Tenant: t.tenant.ID, From: from.Hash(), To: to.Hash()}
	if r.From == r.To {
		return misused("script fix: --from and --to are the same version %s", r.From)
	}
	if err := look(c, func(ctx context.Context, l looker) error { return t.findFixes(ctx, c, l, r, to) }); err != nil {
		return err
	}
	out := c.App.Writer
	if c.Bool("json") {
		out = c.App.ErrWriter
	}
	printFixes(out, r)
	if c.Bool("apply") && r.open() > 0 {
		if err := confirmed(c, fmt.Sprintf("correct %d contacts of tenant %s", r.open(), t.tenant.ID)); err != nil {
			return err
		}
		if err := r.apply(c, newClient(c, cfg)); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%d contacts are corrected by the CRM lanes now, %d were before; wabridge why ID tells of each\n", r.Applied.Asked, r.Applied.Before)
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, r)
	}
	return nil
}

// findFixes asks the version that would be right about what was decided, and the
// bridge about what still is as it was written.
func (t *target) findFixes(ctx context.Context, c *cli.Context, l looker, r *fixReport, to script.Source) error {
	since, err := sinceOf(c.String("since"), time.Now())
	if err != nil {
		return err
	}
	o := redecide.Options{Traffic: l, Tenant: t.tenant.ID, From: since, By: r.From, Workers: runtime.NumCPU()}
	bar := newProgress(c.App.ErrWriter)
	o.Progress = func(n int) { bar.say("%d decisions looked at …", n) }
	err = t.withEngine(ctx, func(ctx context.Context, e *script.Engine) error {
		if o.New, _, err = decider(ctx, e, to); err != nil {
			return err
		}
		r.Fixes, err = redecide.FindFixes(ctx, o)
		return err
	})
	bar.done()
	if err != nil {
		return err
	}
	r.Receipts = r.Receipts[:0]
	for i := 0; i < len(r.Contacts); {
		req := r.request(i)
		req.DryRun = true
		receipts, err := l.Correct(ctx, req)
		if err != nil {
			return err
		}
		r.Receipts = append(r.Receipts, receipts...)
		i += len(req.Contacts)
	}
	return nil
}

// request asks about the contacts from the i-th on, as many as fit.
func (r *fixReport) request(i int) broker.CorrectionRequest {
	req := broker.CorrectionRequest{Tenant: r.Tenant, From: r.From, To: r.To}
	for size := 0; i < len(r.Contacts) && len(req.Contacts) < broker.MaxCorrections; i++ {
		data, err := json.Marshal(r.Contacts[i].ContactCorrection)
		if size += len(data); err != nil || size > fixPage && len(req.Contacts) > 0 {
			break
		}
		req.Contacts = append(req.Contacts, r.Contacts[i].ContactCorrection)
	}
	return req
}

// state says what is to be done about a contact.
func (r *fixReport) state(i int) (done, none bool) {
	return r.Receipts[i].Done, len(r.Receipts[i].Left) == len(r.Contacts[i].Changes)
}

// open is how many contacts are to be corrected.
func (r *fixReport) open() int {
	n := 0
	for i := range r.Contacts {
		if done, none := r.state(i); !done && !none {
			n++
		}
	}
	return n
}

// apply has the contacts corrected, one after the other.
func (r *fixReport) apply(c *cli.Context, cl *client) error {
	r.Applied = &fixApplied{}
	pace := limit.New(c.Float64("rate"), 1)
	bar := newProgress(c.App.ErrWriter)
	defer bar.done()
	for i := range r.Contacts {
		switch done, none := r.state(i); {
		case done:
			r.Applied.Before++
			continue
		case none:
			r.Applied.None++
			continue
		}
		if err := pace.Wait(c.Context, 1); err != nil {
			return err
		}
		req := broker.CorrectionRequest{Tenant: r.Tenant, From: r.From, To: r.To, Contacts: []broker.ContactCorrection{r.Contacts[i].ContactCorrection}}
		receipts, err := cl.Correct(c.Context, req)
		if err != nil {
			return &exitError{code: exitCode(err), err: err, message: fmt.Sprintf("after %d contacts: %v", r.Applied.Asked, err), hint: "run it again: it goes on where it was"}
		}
		if r.Receipts[i] = receipts[0]; receipts[0].Done {
			r.Applied.Before++
		} else {
			r.Applied.Asked++
		}
		bar.say("%d contacts corrected …", r.Applied.Asked)
	}
	return nil
}

func (cl *client) Correct(ctx context.Context, r broker.CorrectionRequest) ([]broker.CorrectionReceipt, error) {
	var out []broker.CorrectionReceipt
	err := cl.call(ctx, request{method: http.MethodPost, path: "/api/v1/corrections", body: r}, &out)
	if err == nil && len(out) != len(r.Contacts) {
		err = fail(exitFailed, "the bridge answered about %d contacts of %d", len(out), len(r.Contacts))
	}
	return out, err
}

// Correct says what would become of corrections: without a bridge none is made.
func (s *stored) Correct(ctx context.Context, r broker.CorrectionRequest) ([]broker.CorrectionReceipt, error) {
	return broker.JudgeCorrections(ctx, s.store, r)
}

// fixGroup is what contacts have in common.
type fixGroup struct {
	shape    string
	count    int
	examples []string
}

func printFixes(w io.Writer, r *fixReport) {
	fmt.Fprintf(w, "version %s made %d decisions in that time; version %s would make %d of them otherwise\n", r.From, r.Decisions, r.To, r.Changed)
	if r.Messages > 0 {
		fmt.Fprintf(w, "   %d differ in messages: those are not sent again\n", r.Messages)
	}
	if r.Failed > 0 {
		fmt.Fprintf(w, "   at %d it fails: those stay as they are\n", r.Failed)
	}
	if r.Overtaken > 0 {
		fmt.Fprintf(w, "   %d things that it wrote were written again since: they are left alone\n", r.Overtaken)
	}
	groups, left, before := map[string]*fixGroup{}, map[string]int{}, 0
	for i, x := range r.Contacts {
		if done, _ := r.state(i); done {
			before++
			continue
		}
		for j := range x.Changes {
			shape := redecide.Shape(&x.Changes[j])
			if why := r.Receipts[i].Left[j]; why != "" {
				left[why]++
				continue
			}
			g := groups[shape]
			if g == nil {
				g = &fixGroup{shape: shape}
				groups[shape] = g
			}
			if g.count++; len(g.examples) < fixExamples {
				g.examples = append(g.examples, strings.TrimSpace(x.Events[j]+" "+x.Who))
			}
		}
	}
	if before > 0 {
		fmt.Fprintf(w, "   %d contacts were corrected before\n", before)
	}
	for _, why := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(w, "   %d changes are left alone: %s\n", left[why], why)
	}
	fmt.Fprintf(w, "%d contacts are to be corrected\n", r.open())
	sorted := slices.SortedFunc(maps.Values(groups), func(a, b *fixGroup) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.shape, b.shape)) })
	for _, g := range sorted {
		fmt.Fprintf(w, "\n%d × %s\n", g.count, printable(g.shape))
		for _, x := range g.examples {
			fmt.Fprintf(w, "     %s\n", printable(x))
		}
	}
}
