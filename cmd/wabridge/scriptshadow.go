package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/app"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/versions"
)

// maxShadow is how long a version may decide in the shadow.
const maxShadow = 30 * 24 * time.Hour

func scriptShadowCommand() *cli.Command {
	return &cli.Command{
		Name: "shadow", Usage: "what a version decides beside the one at work", Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "stop", Usage: "end it"},
		}, scriptFlags...),
		Description: "wabridge script deploy --shadow 2h has a version decide every event after the version at work did, in a process of its\n" +
			"own. Nothing comes of it: what it would have done otherwise is counted, and shown here.\n\n" +
			"Examples:\n   wabridge script deploy --shadow 2h\n   wabridge script shadow\n   wabridge script shadow --stop",
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return misused("script shadow: takes no argument; say which tenant with --tenant")
			}
			cfg, err := load(c)
			if err != nil {
				return err
			}
			t, err := tenantTarget(c, cfg)
			if err != nil {
				return err
			}
			s, r, err := t.shadow()
			if err != nil {
				return err
			}
			if c.Bool("stop") {
				if err := t.archive.EndShadow(); err != nil {
					return err
				}
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, map[string]any{"shadow": s, "seen": r, "stopped": c.Bool("stop")})
				return nil
			}
			if c.Bool("stop") {
				fmt.Fprintf(c.App.Writer, "version %s decides in the shadow no more\n", s.Hash)
				return nil
			}
			printShadow(c.App.Writer, s, r)
			return nil
		},
	}
}

// shadow returns the tenant's version in the shadow and what was seen of it.
func (t *target) shadow() (versions.Shadow, *app.ShadowReport, error) {
	s, _, ok, err := t.archive.Shadow()
	if err != nil {
		return s, nil, fail(exitDamaged, "%w", err)
	}
	if !ok {
		return s, nil, &exitError{code: exitNotFound, message: "tenant " + t.tenant.ID + ": no version decides in the shadow", hint: "wabridge script deploy --shadow 2h starts one"}
	}
	r := &app.ShadowReport{}
	if !t.archive.Report(r) || r.Version != s.Hash {
		*r = app.ShadowReport{Version: s.Hash}
	}
	return s, r, nil
}

func printShadow(w io.Writer, s versions.Shadow, r *app.ShadowReport) {
	then := "then a person decides"
	if s.Then == versions.ThenDeploy {
		then = "then it is put to work"
	}
	if s.Ended.IsZero() {
		fmt.Fprintf(w, "version %s decides in the shadow until %s, %s\n", s.Hash, s.Until.Local().Format(time.DateTime), then)
	} else {
		fmt.Fprintf(w, "version %s decided in the shadow until %s; wabridge script deploy puts it to work\n", s.Hash, s.Ended.Local().Format(time.DateTime))
	}
	if r.Error != "" {
		fmt.Fprintf(w, "   %s\n", printable(r.Error))
	}
	if r.Skipped > 0 {
		fmt.Fprintf(w, "   it was not asked about %d events: it was too slow\n", r.Skipped)
	}
	if r.Decisions == 0 {
		fmt.Fprintln(w, "   nothing came yet")
		return
	}
	fmt.Fprintf(w, "   the slowest decision took %.1f ms\n", r.Slowest)
	printDiff(w, &r.Report, s.Hash)
}

// shadowFor reads how long a shadow lasts.
func shadowFor(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d = time.Duration(n * 24 * float64(time.Hour))
	}
	if err != nil || d <= 0 || d > maxShadow {
		return 0, misused("--shadow %s: want a time like 30m, 2h or 1d, at most 30d", text)
	}
	return d, nil
}

// deployShadow has a source decide in the shadow.
func (t *target) deployShadow(c *cli.Context, src script.Source, d time.Duration) error {
	if t.tenant.Script == "" {
		return fail(exitFailed, "tenant %s has no script that decides: there is nothing to compare with", t.tenant.ID)
	}
	now := time.Now()
	s := versions.Shadow{Version: archived(src, filepath.Dir(t.file)), Until: now.Add(d).UTC().Truncate(time.Second), Then: c.String("then")}
	if err := t.archive.SetShadow(s, now); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, s)
		return nil
	}
	fmt.Fprintf(c.App.Writer, "version %s decides in the shadow until %s, when the bridge runs; wabridge script shadow shows what it would have done\n",
		s.Hash, s.Until.Local().Format(time.DateTime))
	return nil
}
