package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/redecide"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/versions"
)

// draftsDir holds a folder for each tenant whose script is being changed: beside
// the tenants', because all files of a tenant's own folder are at work.
const draftsDir = "drafts"

func scriptCommand() *cli.Command {
	return &cli.Command{
		Name: "script", Usage: "write, test, compare, deploy and undo tenants' scripts",
		Description: "FILE is a script, or the folder that it is in. Without one it is the tenant's draft (drafts/TENANT, made by\n" +
			"wabridge script new), and when there is none, the script that is at work.\n\n" +
			"Example, a change from beginning to end:\n" +
			"   wabridge script new             # a copy to work on, in drafts/\n" +
			"   wabridge script test            # its tests, and which lines they do not reach\n" +
			"   wabridge script diff --since 7d # what it would have decided otherwise\n" +
			"   wabridge script deploy\n" +
			"   wabridge script rollback        # if it was wrong",
		Action: group("script"),
		Subcommands: []*cli.Command{
			scriptNewCommand(), scriptCheckCommand(), scriptTestCommand(), scriptRunCommand(), scriptDiffCommand(),
			scriptDeployCommand(), scriptRollbackCommand(), scriptListCommand(), scriptTraceCommand(), scriptTypesCommand(), scriptFixCommand(), scriptShadowCommand(),
		},
	}
}

var scriptFlags = []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag, tenantFlag}

// target is a script that a command is about.
type target struct {
	cfg    *config.Config
	tenant config.Tenant
	// file is the script, live says that it is the one that the bridge runs.
	file    string
	live    bool
	archive versions.Archive
}

// targetOf finds the script that a command is about: what its argument says, or
// the tenant's draft, or the tenant's script.
func targetOf(c *cli.Context) (*target, error) {
	if c.NArg() > 1 {
		return nil, misused("script %s: want one FILE at most", c.Command.Name)
	}
	return targetAt(c, c.Args().First())
}

func targetAt(c *cli.Context, arg string) (*target, error) {
	cfg, err := load(c)
	if err != nil {
		return nil, err
	}
	t := &target{cfg: cfg}
	if t.tenant, err = scriptTenant(c, cfg, arg); err != nil {
		return nil, err
	}
	t.archive = versions.Of(t.tenant.Dir)
	switch {
	case arg != "":
		if t.file, err = t.find(arg); err != nil {
			return nil, err
		}
	default:
		if t.file, err = t.find(t.draft()); err != nil {
			t.file = t.tenant.Script
		}
	}
	if t.file == "" {
		return nil, fail(exitNotFound, "tenant %s has no script: wabridge script new makes one", t.tenant.ID)
	}
	if t.file, err = filepath.Abs(t.file); err != nil {
		return nil, err
	}
	t.live = t.file == t.tenant.Script
	return t, nil
}

// scriptTenant returns the tenant that a command names, by --tenant or by a file in
// its folder; the only one, when there is but one.
func scriptTenant(c *cli.Context, cfg *config.Config, arg string) (config.Tenant, error) {
	id := c.String("tenant")
	if abs, err := filepath.Abs(arg); id == "" && arg != "" && err == nil {
		for _, t := range cfg.Tenants {
			for _, dir := range []string{t.Dir, filepath.Join(cfg.Dir, draftsDir, t.ID)} {
				if abs == dir || strings.HasPrefix(abs, dir+string(filepath.Separator)) {
					return t, nil
				}
			}
		}
	}
	var names []string
	for _, t := range cfg.Tenants {
		if t.ID == id || id == "" && len(cfg.Tenants) == 1 {
			return t, nil
		}
		names = append(names, t.ID)
	}
	if id != "" {
		return config.Tenant{}, fail(exitNotFound, "there is no tenant %q: there are %s", id, strings.Join(names, ", "))
	}
	return config.Tenant{}, misused("script: say which tenant with --tenant: there are %s", strings.Join(names, ", "))
}

// draft is the folder in which the tenant's script is changed.
func (t *target) draft() string { return filepath.Join(t.cfg.Dir, draftsDir, t.tenant.ID) }

// find returns the script at a path: the file itself, or the one in the folder.
func (t *target) find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fail(exitNotFound, "there is no script %s: %w", path, err)
	}
	if !info.IsDir() {
		return path, nil
	}
	var names []string
	if t.tenant.Script != "" {
		names = append(names, filepath.Base(t.tenant.Script))
	}
	for _, name := range []string{"script.ts", "script.js"} {
		if len(names) == 0 || name != names[0] {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return filepath.Join(path, name), nil
		}
	}
	return "", fail(exitNotFound, "there is no %s in %s", strings.Join(names, " or "), path)
}

// source reads the script with the files that it may import.
func (t *target) source() (script.Source, error) {
	src, err := script.ReadSource(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		return src, fail(exitNotFound, "%w", err)
	}
	if err != nil {
		return src, fail(exitConfig, "%w", err)
	}
	return src, nil
}

// show is the file as a person in this folder would write it.
func show(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// engine makes an engine for questions that have no consequences. It is not
// running: see withEngine.
func (t *target) engine() *script.Engine {
	return script.New(script.Options{
		Command: worker(), Soft: t.cfg.Script.Soft, Hard: t.cfg.Script.Hard, MemoryLimit: uint64(t.cfg.Script.Memory),
		Workers: runtime.NumCPU(), NeverOff: true, Log: slog.New(slog.DiscardHandler),
	})
}

// withEngine runs an engine while f does.
func (t *target) withEngine(ctx context.Context, f func(ctx context.Context, e *script.Engine) error) error {
	e := t.engine()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	err := f(ctx, e)
	cancel()
	return errors.Join(err, <-ended)
}

// decider loads a version and returns what asks it.
func decider(ctx context.Context, e *script.Engine, src script.Source) (redecide.Decider, script.Version, error) {
	name := src.Hash() // the engine keeps versions apart as if they were tenants
	v, err := e.Load(ctx, name, src)
	if err != nil {
		return nil, v, badScript(src, err)
	}
	return func(ctx context.Context, calls []script.Call) []script.Decision { return e.Decide(ctx, name, calls) }, v, nil
}

// version returns a version that ran, as a source.
func (t *target) version(hash string) (script.Source, error) {
	v, err := t.archive.Get(hash)
	if errors.Is(err, versions.ErrNotFound) {
		return script.Source{}, &exitError{
			code: exitNotFound, err: err, message: fmt.Sprintf("tenant %s: %s", t.tenant.ID, err),
			hint: "wabridge script list shows the versions that ran",
		}
	}
	if err != nil {
		return script.Source{}, fail(exitDamaged, "%w", err)
	}
	return sourceOf(v), nil
}

// sourceOf makes a source of an archived version.
func sourceOf(v versions.Version) script.Source {
	src := script.Source{Name: v.Name, Files: map[string][]byte{}}
	for name, data := range v.Files {
		switch {
		case name == v.Name:
			src.Code = data
		case !isTest(name):
			src.Files[name] = data
		}
	}
	return src
}
