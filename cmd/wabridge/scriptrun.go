package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/redecide"
	"github.com/wabridge/wabridge/core/script"
)

func scriptRunCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "show what a script decides about one message", ArgsUsage: "--on MESSAGE [FILE]",
		Description: "MESSAGE is a text; or the id of a message that the bridge decided, which is asked about again just as it was\n" +
			"then; or a file of JSON, an event. Nothing happens: it is only decided.\n\n" +
			"Examples:\n   wabridge script run --on \"I confirm order 4711\"\n   wabridge script run --on wamid.HBgLMTY0NjcwNDM1OTUVAgASGBQzQTdCNTg5RjY1MEMyRjlGMjRGNgA= tenants/demo",
		Flags: append([]cli.Flag{&cli.StringFlag{Name: "on", Usage: "what to decide about: a `TEXT`, a wamid or a file.json"}}, scriptFlags...),
		Action: func(c *cli.Context) error {
			on := c.String("on")
			if on == "" {
				return misused("script run: say what about with --on TEXT, --on WAMID or --on FILE.json")
			}
			t, err := targetOf(c)
			if err != nil {
				return err
			}
			src, err := t.source()
			if err != nil {
				return err
			}
			call, err := t.callOn(c, on)
			if err != nil {
				return err
			}
			return t.withEngine(c.Context, func(ctx context.Context, e *script.Engine) error {
				decide, v, err := decider(ctx, e, src)
				if err != nil {
					return err
				}
				d := decide(ctx, []script.Call{call})[0]
				out, err := redecide.OutcomeOf(&d)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					printJSON(c.App.Writer, map[string]any{"version": v.Hash, "decided": out.Lines(), "answer": json.RawMessage(orNull(d.Answer)),
						"fields": out.Fields, "log": out.Log, "failed": out.Failed, "took_ms": float64(d.Ran.Microseconds()) / 1000})
				} else {
					fmt.Fprintf(c.App.Writer, "%s, version %s, in %s\n", show(t.file), v.Hash, d.Ran.Round(10*time.Microsecond))
					printOutcome(c.App.Writer, &out)
				}
				if out.Failed != "" {
					return badScript(src, core.Errorf(core.CodeInvalid, "script", "%s", out.Failed))
				}
				return nil
			})
		},
	}
}

func orNull(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

// printOutcome prints what was decided, below a line that says by what.
func printOutcome(w io.Writer, o *redecide.Outcome) {
	for _, line := range o.Lines() {
		fmt.Fprintln(w, "  ", printable(line))
	}
	for _, name := range sortedNames(o.Fields) {
		fmt.Fprintf(w, "   CRM %s = %s\n", printable(name), printable(clip(redecide.Value(o.Fields[name]), 100)))
	}
	for _, line := range o.Log {
		fmt.Fprintln(w, "   console:", printable(line))
	}
}

// callOn makes the question of what --on says.
func (t *target) callOn(c *cli.Context, on string) (script.Call, error) {
	if strings.HasSuffix(on, ".json") {
		data, err := os.ReadFile(on)
		if err != nil {
			return script.Call{}, fail(exitNotFound, "--on: %w", err)
		}
		e := new(core.Event)
		if err := json.Unmarshal(data, e); err != nil {
			return script.Call{}, fail(exitFailed, "%s is no event: %w", on, err)
		}
		return t.callAbout(e), nil
	}
	if strings.HasPrefix(on, "wamid.") || strings.Contains(on, "#") && !strings.Contains(on, " ") {
		step, err := decisionOf(c, t.tenant.ID, on)
		if err != nil {
			return script.Call{}, err
		}
		return step.Recorded.Call(), nil
	}
	return t.callAbout(&core.Event{
		ID: "try", Kind: core.KindMessageReceived, Message: &core.Message{ID: "try", Direction: core.Inbound, Type: core.TypeText, Text: on},
		Contact: &core.Contact{ID: "ctest", Name: "Ana Test", Phone: "+15550100100"},
	}), nil
}

// callAbout asks about an event that nobody has decided.
func (t *target) callAbout(e *core.Event) script.Call {
	now := time.Now().UTC()
	e.Tenant = t.tenant.ID
	if e.Kind == "" {
		e.Kind = core.KindMessageReceived
	}
	if e.Time.IsZero() {
		e.Time, e.Accepted = now, now
	}
	event, err := json.Marshal(e)
	if err != nil {
		event = []byte("{}") // it was just read: it can be written
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, e.ID)
	return script.Call{Event: event, Context: baseContext(&t.tenant), Hooks: script.HooksFor(e.Kind), Now: now, Seed: int64(h.Sum64())}
}

// decisionOf returns the step with the recorded decision about a message.
func decisionOf(c *cli.Context, tenant, id string) (broker.Step, error) {
	steps, err := decisionsOf(c, tenant, id)
	if err != nil {
		return broker.Step{}, err
	}
	return steps[0], nil
}

func decisionsOf(c *cli.Context, tenant, id string) (steps []broker.Step, err error) {
	err = look(c, func(ctx context.Context, l looker) error {
		story, err := l.Why(ctx, tenant, id)
		for _, s := range story.Steps {
			if s.Recorded != nil {
				steps = append(steps, s)
			}
		}
		return err
	})
	if err == nil && len(steps) == 0 {
		err = &exitError{code: exitNotFound, message: fmt.Sprintf("no decision about %q was recorded", id), hint: "record = false in tenant.toml switches it off; or no script was asked"}
	}
	return steps, err
}

func scriptTraceCommand() *cli.Command {
	return &cli.Command{
		Name: "trace", Usage: "show what a script was asked about a message, and what it answered", ArgsUsage: "ID", Flags: scriptFlags,
		Description: "Example:\n   wabridge script trace wamid.HBgLMTY0NjcwNDM1OTUVAgASGBQzQTdCNTg5RjY1MEMyRjlGMjRGNgA=",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misused("script trace: want one ID")
			}
			steps, err := decisionsOf(c, c.String("tenant"), c.Args().First())
			if err != nil {
				return err
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, steps)
				return nil
			}
			for _, s := range steps {
				o := redecide.Recorded(s.Recorded)
				fmt.Fprintf(c.App.Writer, "%s  %s %s\n", s.Time.Local().Format("2006-01-02 15:04:05.000"), printable(s.Event), s.Kind)
				var e core.Event
				if json.Unmarshal(s.Recorded.Event, &e) == nil && e.Message != nil {
					fmt.Fprintf(c.App.Writer, "   asked about %s: %s\n", e.Message.Type, printable(redecide.Masked(e.Message.Text)))
				}
				fmt.Fprintf(c.App.Writer, "   version %s decided:\n", printable(s.Script))
				printOutcome(c.App.Writer, &o)
				fmt.Fprintf(c.App.Writer, "   again: wabridge script run --on %s\n", printable(s.Event))
			}
			return nil
		},
	}
}

func sortedNames(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
