package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/versions"
)

// deployWait is how long a running bridge may take to load a version.
const deployWait = 15 * time.Second

func scriptDeployCommand() *cli.Command {
	return &cli.Command{
		Name: "deploy", Usage: "put a changed script to work", ArgsUsage: "[FILE]",
		Description: "Checks it, runs its tests, shows which decisions since then would be others, asks, and puts it in the place of\n" +
			"the tenant's script, all files at once. A running bridge takes it up within a second: each event is decided by one\n" +
			"version, whole. With --shadow it first decides beside the script at work for that long, and nothing comes of it:\n" +
			"wabridge script shadow shows what it would have done. Then deploy again; with --then deploy the bridge does it when the\n" +
			"time is over, unless the version failed more often, or was too slow.\n\n" +
			"Examples:\n   wabridge script deploy drafts/demo --since 7d --yes\n   wabridge script deploy --shadow 2h --then deploy",
		Flags: append([]cli.Flag{
			sinceFlag, &cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.StringFlag{Name: "shadow", Usage: "let it decide in the shadow for so `LONG`: 30m, 2h, 1d"},
			&cli.StringFlag{Name: "then", Value: versions.ThenAsk, Usage: "what to do after the shadow: `ask`, or deploy"},
		}, scriptFlags...),
		Action: scriptDeploy,
	}
}

// deployed is what --json prints.
type deployed struct {
	Tenant  string `json:"tenant"`
	Version string `json:"version"`
	Before  string `json:"before,omitempty"`
	// Running says that a bridge decides with it now.
	Running bool `json:"running"`
}

func scriptDeploy(c *cli.Context) error {
	t, err := targetOf(c)
	if err != nil {
		return err
	}
	if t.live {
		return &exitError{code: exitFailed, message: show(t.file) + " is what the bridge runs already", hint: "change a copy: wabridge script new makes one"}
	}
	if then := c.String("then"); then != versions.ThenAsk && then != versions.ThenDeploy {
		return misused("--then %s: want ask or deploy", then)
	}
	var shadow time.Duration
	if c.IsSet("shadow") {
		if shadow, err = shadowFor(c.String("shadow")); err != nil {
			return err
		}
	}
	out := c.App.Writer
	if c.Bool("json") {
		out = c.App.ErrWriter
	}
	src, err := t.check(c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "1. check: nothing is wrong, version %s\n", src.Hash())
	report, err := t.test(c, src)
	switch {
	case err == nil:
		if err := failedTests(report); err != nil {
			printTests(out, report)
			return err
		}
		fmt.Fprintf(out, "2. tests: %d passed\n", len(report.Tests))
	case exitCode(err) == exitNotFound:
		fmt.Fprintln(out, "2. tests: there are none")
	default:
		return err
	}
	changes, err := t.diff(c, src)
	switch {
	case err == nil:
		fmt.Fprint(out, "3. diff: ")
		printDiff(out, changes, src.Hash())
	case exitCode(err) == exitUnreachable:
		fmt.Fprintln(out, "3. diff: there is no traffic yet")
	default:
		return err
	}
	if shadow > 0 {
		if err := confirmed(c, "let version "+src.Hash()+" decide in the shadow for tenant "+t.tenant.ID); err != nil {
			return err
		}
		return t.deployShadow(c, src, shadow)
	}
	if err := confirmed(c, "put version "+src.Hash()+" to work for tenant "+t.tenant.ID); err != nil {
		return err
	}
	done, err := t.putToWork(c, src, filepath.Dir(t.file))
	if err != nil {
		return err
	}
	t.refreshTypes(c, filepath.Dir(t.file), t.scriptDir())
	return told(c, t, done)
}

// confirmed asks whoever sits there.
func confirmed(c *cli.Context, what string) error {
	if c.Bool("yes") {
		return nil
	}
	if !onTerminal(os.Stdin) {
		return misused("nobody is there to be asked: say --yes to %s", what)
	}
	fmt.Fprintf(c.App.ErrWriter, "\n%s? [y/N] ", what)
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return fail(exitFailed, "nothing was changed")
	}
	return nil
}

// putToWork archives a source with the tests of a folder and swaps it in. Where that
// has none, those that are in place stay; without a folder they are those that the
// archive has.
func (t *target) putToWork(c *cli.Context, src script.Source, tests string) (deployed, error) {
	done := deployed{Tenant: t.tenant.ID, Version: src.Hash()}
	place := t.tenant.Script
	if place == "" {
		place = filepath.Join(t.tenant.Dir, src.Name)
	}
	if filepath.Base(place) != src.Name {
		return done, fail(exitConfig, "the tenant's script is %s, not %s: give it the same name, or change script in tenant.toml", filepath.Base(place), src.Name)
	}
	var before []string
	if old, err := script.ReadSource(place); err == nil {
		done.Before = old.Hash()
		v := archived(old, filepath.Dir(place))
		before = slices.Collect(maps.Keys(v.Files))
		if err := t.archive.Keep(v, time.Now()); err != nil {
			return done, err
		}
	}
	if found, err := testFiles(tests); tests != "" && err == nil && len(found) == 0 {
		tests = filepath.Dir(place)
	}
	if err := t.archive.Keep(archived(src, tests), time.Now()); err != nil {
		return done, err
	}
	if err := t.archive.Swap(src.Hash(), filepath.Dir(place), before); err != nil {
		return done, err
	}
	if err := t.archive.EndShadow(); err != nil { // it was compared with what is gone now
		return done, err
	}
	running, err := t.awaitVersion(c, src.Hash())
	done.Running = running
	return done, err
}

// archived is a source as it is kept, with the tests of a folder: they are no part
// of the version, and go where it goes.
func archived(src script.Source, dir string) versions.Version {
	files := map[string][]byte{filepath.Base(src.Name): src.Code}
	maps.Copy(files, src.Files)
	if tests, err := testFiles(dir); err == nil {
		for _, f := range tests {
			files[f.Name] = f.Code
		}
	}
	return versions.Version{Hash: src.Hash(), Name: filepath.Base(src.Name), Files: files}
}

// awaitVersion waits until a running bridge decides with a version; false when
// none runs.
func (t *target) awaitVersion(c *cli.Context, hash string) (bool, error) {
	ctx, cancel := context.WithTimeout(c.Context, deployWait)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := t.runningInfo(c)
		switch {
		case err != nil && exitCode(err) == exitUnreachable:
			return false, nil
		case err != nil:
			return false, err
		case info.Script == hash && info.ScriptState == "":
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fail(exitFailed, "the files are in place, but the bridge runs %s: %s", info.Script, or(info.ScriptError, "it did not take them up in time"))
		case <-tick.C:
		}
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// runningInfo is what a running bridge says of the tenant.
func (t *target) runningInfo(c *cli.Context) (broker.TenantInfo, error) {
	var snap broker.Snapshot
	cl := newClient(c, t.cfg)
	if err := cl.call(c.Context, request{method: http.MethodGet, path: "/api/v1/status"}, &snap); err != nil {
		return broker.TenantInfo{}, err
	}
	for _, info := range snap.Tenants {
		if info.ID == t.tenant.ID {
			return info, nil
		}
	}
	return broker.TenantInfo{}, nil
}

// told says what was put to work.
func told(c *cli.Context, t *target, done deployed) error {
	if c.Bool("json") {
		printJSON(c.App.Writer, done)
		return nil
	}
	if done.Running {
		fmt.Fprintf(c.App.Writer, "version %s decides for tenant %s now", done.Version, done.Tenant)
	} else {
		fmt.Fprintf(c.App.Writer, "version %s is in place for tenant %s: it decides when the bridge runs", done.Version, done.Tenant)
	}
	if done.Before != "" && done.Before != done.Version {
		fmt.Fprintf(c.App.Writer, "; back again with: wabridge script rollback --tenant %s %s", t.tenant.ID, done.Before)
	}
	fmt.Fprintln(c.App.Writer)
	return nil
}

func scriptRollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "put a version that ran back to work", ArgsUsage: "[HASH]", Flags: scriptFlags,
		Description: "Without HASH the version that ran before the one that is there now. Nothing is asked: it has run before.\n\n" +
			"Examples:\n   wabridge script rollback\n   wabridge script rollback 3f2a9c",
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return misused("script rollback: want one HASH at most, as wabridge script list shows them")
			}
			cfg, err := load(c)
			if err != nil {
				return err
			}
			t, err := tenantTarget(c, cfg)
			if err != nil {
				return err
			}
			hash := c.Args().First()
			if hash == "" {
				if hash, err = t.versionBefore(); err != nil {
					return err
				}
			}
			src, err := t.version(hash)
			if err != nil {
				return err
			}
			done, err := t.putToWork(c, src, "")
			if err != nil {
				return err
			}
			return told(c, t, done)
		},
	}
}

func tenantTarget(c *cli.Context, cfg *config.Config) (*target, error) {
	tenant, err := scriptTenant(c, cfg, "")
	return &target{cfg: cfg, tenant: tenant, archive: versions.Of(tenant.Dir)}, err
}

// versionBefore is the version that ran before the one that is in place.
func (t *target) versionBefore() (string, error) {
	all, err := t.archive.List()
	if err != nil {
		return "", err
	}
	now := t.inPlace()
	for _, v := range all {
		if v.Hash != now {
			return v.Hash, nil
		}
	}
	return "", fail(exitNotFound, "tenant %s: no other version ran before", t.tenant.ID)
}

// inPlace is the version of the tenant's files.
func (t *target) inPlace() string {
	if v, ok := t.archive.Swapping(); ok {
		return v.Hash
	}
	src, err := script.ReadSource(t.tenant.Script)
	if err != nil {
		return ""
	}
	return src.Hash()
}

func scriptListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "the versions of a tenant's script that ran", Flags: scriptFlags,
		Description: "Example:\n   wabridge script list --tenant demo",
		Action: func(c *cli.Context) error {
			cfg, err := load(c)
			if err != nil {
				return err
			}
			t, err := tenantTarget(c, cfg)
			if err != nil {
				return err
			}
			all, err := t.archive.List()
			if err != nil {
				return err
			}
			info, err := t.runningInfo(c)
			if err != nil && exitCode(err) != exitUnreachable {
				return err
			}
			place := t.inPlace()
			if c.Bool("json") {
				printJSON(c.App.Writer, map[string]any{
					"running": info.Script, "state": info.ScriptState, "error": info.ScriptError,
					"in_place": place, "versions": append([]versions.Version{}, all...),
				})
				return nil
			}
			if len(all) == 0 {
				fmt.Fprintln(c.App.Writer, "no version has run yet")
				return nil
			}
			tab := newTable(c.App.Writer, "VERSION", "FILE", "FIRST", "LAST PUT TO WORK", "")
			for _, v := range all {
				state := ""
				switch v.Hash {
				case info.Script:
					if state = "decides now"; info.ScriptState == "off" {
						state = "switched off"
					}
				case place:
					state = "in place"
				}
				tab.row(v.Hash, v.Name, v.First.Local().Format(time.DateTime), v.Last.Local().Format(time.DateTime), state)
			}
			tab.flush()
			switch info.ScriptState {
			case "off":
				fmt.Fprintf(c.App.Writer, "\nThe script was switched off after three kills: %s.\nEvery message goes to a person until it is changed, or saved again.\n", printable(info.ScriptError))
			case "refused":
				fmt.Fprintf(c.App.Writer, "\nThe newest files were refused, the version before goes on: %s\n", printable(info.ScriptError))
			}
			if s, r, err := t.shadow(); err == nil {
				fmt.Fprintf(c.App.Writer, "\n%s decides in the shadow until %s: %d decisions, %d others (wabridge script shadow)\n",
					s.Hash, s.Until.Local().Format(time.DateTime), r.Decisions, r.Changed)
			}
			return nil
		},
	}
}
