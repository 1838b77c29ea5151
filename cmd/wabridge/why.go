package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/redecide"
)

var tenantFlag = &cli.StringFlag{Name: "tenant", Usage: "only this `TENANT`"}

func whyCommand() *cli.Command {
	return &cli.Command{
		Name: "why", Usage: "tell every step of a message, and why", ArgsUsage: "ID",
		Description: "ID is a wamid, or the id of an event: `wabridge send` prints one, dead letters have one. Without a running\n" +
			"bridge the data folder is read.\n\n" +
			"Example:\n   wabridge why wamid.HBgLMTY0NjcwNDM1OTUVAgASGBQzQTdCNTg5RjY1MEMyRjlGMjRGNgA=",
		Flags: []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag, tenantFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misused("why: want one ID")
			}
			return look(c, func(ctx context.Context, l looker) error {
				story, err := l.Why(ctx, c.String("tenant"), c.Args().First())
				if err != nil {
					return err
				}
				if c.Bool("json") {
					printJSON(c.App.Writer, story)
				} else {
					tell(c.App.Writer, story)
				}
				return nil
			})
		},
	}
}

// tell prints a story for a person.
func tell(w io.Writer, s broker.Story) {
	fmt.Fprintf(w, "%s", printable(s.Root))
	if s.ID != s.Root {
		fmt.Fprintf(w, ", asked by %s", printable(s.ID))
	}
	fmt.Fprintln(w)
	n := namer{root: s.Root, refs: map[string]string{}}
	var began time.Time
	for i, step := range s.Steps {
		at := step.Time.Local()
		if i == 0 {
			began = at
			if !step.Accepted.IsZero() {
				began = step.Accepted.Local()
			}
			fmt.Fprintf(w, "tenant %s", printable(step.Tenant))
			if step.Conversation != "" {
				fmt.Fprintf(w, ", conversation %s", printable(step.Conversation))
			}
			fmt.Fprintf(w, ", %s\n\n", at.Format("2006-01-02 -07:00"))
			if !step.Accepted.IsZero() {
				fmt.Fprintf(w, "%s %9s  accepted %s, by %s's clock at %s\n", began.Format("15:04:05.000"), "", printable(string(step.Kind)),
					printable(step.Source), step.Written.Local().Format("15:04:05"))
			}
		}
		after := ""
		if d := at.Sub(began); d > 0 {
			after = "+" + elapsed(d)
		}
		fmt.Fprintf(w, "%s %9s  %s\n", at.Format("15:04:05.000"), after, printable(n.headline(step)))
		for _, d := range n.details(step) {
			fmt.Fprintf(w, "%24s%s\n", "", printable(d))
		}
	}
	for _, waiting := range s.Waiting {
		id, rest, _ := strings.Cut(waiting, " ")
		if short := n.short(id); short != "" {
			id = short
		}
		fmt.Fprintf(w, "%12s %9s  %s %s\n", "now", "", printable(id), printable(rest))
	}
}

// elapsed is a duration in three digits or so.
func elapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return span(d)
}

// namer shortens the ids of a story's events: what followed from the root is
// "#1", the status of the message that it became "#1/sent".
type namer struct {
	root string
	refs map[string]string // a message's wamid → the short id of what became it
}

func (n *namer) short(id string) string {
	if rest, ok := strings.CutPrefix(id, n.root); ok {
		return rest
	}
	for wamid, short := range n.refs {
		if rest, ok := strings.CutPrefix(id, wamid+"/"); ok {
			return short + "/" + rest
		}
	}
	return id
}

// headline says in a line what was done to which event.
func (n *namer) headline(s broker.Step) string {
	words := []string{s.Step}
	if short := n.short(s.Event); short != "" {
		words = append(words, short)
	}
	words = append(words, string(s.Kind))
	if s.Lane != "" {
		words = append(words, "by "+s.Lane)
	}
	if s.Attempt > 1 {
		words = append(words, fmt.Sprintf("at attempt %d", s.Attempt))
	}
	if s.Took > 0 {
		words = append(words, fmt.Sprintf("in %.1f ms", s.Took))
	}
	return strings.Join(words, " ")
}

// details are the lines below the headline.
func (n *namer) details(s broker.Step) []string {
	var out []string
	if s.Who != "" {
		out = append(out, s.Who)
	}
	if s.Script != "" {
		line := "script " + s.Script
		if s.Line != "" {
			line += ", " + s.Line
		}
		out = append(out, line)
	}
	if s.Ref != "" {
		if s.Kind == core.KindMessageSend {
			n.refs[s.Ref] = n.short(s.Event)
		}
		out = append(out, "became "+s.Ref)
	}
	if s.Error != nil {
		out = append(out, string(s.Error.Code)+": "+s.Error.Error())
		if s.Error.Hint != "" {
			out = append(out, "→ "+s.Error.Hint)
		}
	}
	out = append(out, s.Notes...)
	if r := s.Recorded; r != nil {
		if asked := eventOf(r.Event); asked != nil {
			out = append(out, "the script was asked about "+redecide.Masked(what(asked)))
		}
		decided := redecide.Recorded(r)
		for _, line := range decided.Lines() {
			out = append(out, "it decided "+line)
		}
		for _, name := range sortedNames(r.Fields) {
			out = append(out, fmt.Sprintf("it gave the CRM %s = %s", name, redecide.Masked(redecide.Value(r.Fields[name]))))
		}
		out = append(out, "again: wabridge script run --on "+s.Event)
	}
	if len(s.Follows) > 0 {
		names := make([]string, len(s.Follows))
		for i, f := range s.Follows {
			names[i] = n.short(f)
		}
		out = append(out, "then "+strings.Join(names, ", "))
	}
	return out
}

// what says in a few words what an event is about.
func what(e *core.Event) string {
	switch {
	case e == nil:
		return ""
	case e.Message != nil && e.Message.Text != "":
		return string(e.Kind) + " " + string(e.Message.Type) + ": " + clip(e.Message.Text, 40)
	case e.Message != nil:
		return string(e.Kind) + " " + string(e.Message.Type)
	case e.Status != nil:
		return string(e.Kind) + " " + string(e.Status.Value)
	case e.Escalation != nil:
		return string(e.Kind) + ": " + clip(e.Escalation.Reason, 40)
	}
	return string(e.Kind)
}

// clip shortens a text to n characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
