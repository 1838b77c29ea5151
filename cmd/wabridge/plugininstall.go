package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/core/durable"
	"github.com/wabridge/wabridge/core/installed"
	"github.com/wabridge/wabridge/core/plugin"
)

var signerFlag = &cli.StringFlag{Name: "signer", Usage: "take it only if it is signed by this `KEY`, as seal prints it"}

func pluginInstallCommand() *cli.Command {
	return &cli.Command{
		Name: "install", Usage: "make a connector of a sealed plugin", ArgsUsage: "FOLDER",
		Flags: []cli.Flag{configFlag, setFlag, signerFlag, jsonFlag},
		Description: "Checks every file and the signature, starts it once, copies it into the data folder and pins the sum of its\n" +
			"manifest there. Lanes may then name it as their connector; the bridge runs it when it is started the next time.\n\n" +
			"Example:\n   wabridge plugin install ./acme --signer 'Jd3…='",
		Action: func(c *cli.Context) error { return install(c, false) },
	}
}

func pluginUpgradeCommand() *cli.Command {
	return &cli.Command{
		Name: "upgrade", Usage: "put another version of an installed plugin to work", ArgsUsage: "FOLDER",
		Flags: []cli.Flag{configFlag, setFlag, signerFlag, urlFlag, jsonFlag},
		Description: "As install. A running bridge starts the new version beside the old one, lets that finish its calls and goes on\n" +
			"with the new one: nothing is lost or done twice. If it does not start there, the old version stays. A plugin that was\n" +
			"signed is only replaced by what has the same signer, unless --signer names another.\n\n" +
			"Example:\n   wabridge plugin upgrade ./acme",
		Action: func(c *cli.Context) error { return install(c, true) },
	}
}

// changed is what --json prints after a change.
type changed struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Before  string `json:"before,omitempty"`
	// Running says that lanes of a running bridge use it now.
	Running bool `json:"running"`
}

func install(c *cli.Context, upgrade bool) error {
	if c.NArg() != 1 {
		return misused("plugin %s: want the plugin's FOLDER", c.Command.Name)
	}
	cfg, err := loadKnowing(c, nil) // lanes may name what is only now being installed
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Args().First())
	if err != nil {
		return err
	}
	release, err := alone(c, cfg)
	if err != nil {
		return err
	}
	defer release()
	m, sum, err := sealedFolder(c, dir)
	if err != nil {
		return err
	}
	v := installed.Version{SHA256: sum, Version: m.Version, Author: m.Author, Signer: m.Signer, Time: time.Now().UTC().Truncate(time.Second)}
	if err := mayInstall(c, cfg, m, v, upgrade); err != nil {
		return err
	}
	if err := startsOnce(c.Context, m, plugin.Launcher{Path: dir, SHA256: sum}); err != nil {
		return err
	}
	if err := copyOnce(dir, installed.Dir(cfg.DataDir, m.Name, sum), sum); err != nil {
		return pluginError(c.Command.Name, err)
	}
	return use(c, cfg, m.Name, v)
}

// sealedFolder reads a folder that is to be installed; its files are summed later.
func sealedFolder(c *cli.Context, dir string) (plugin.Manifest, string, error) {
	m, sum, err := plugin.ReadManifest(dir)
	if err == nil {
		err = m.CheckSignature()
	}
	if err != nil {
		return m, sum, pluginError(c.Command.Name, err)
	}
	if want := c.String("signer"); want != "" && want != m.Signer {
		return m, sum, fail(exitRefused, "plugin %s: %s %s is %s", c.Command.Name, m.Name, m.Version, signedBy(m.Signer)[2:])
	}
	if len(m.Files) == 0 {
		return m, sum, neverSealed(c.Command.Name, dir, exitConfig)
	}
	differs, err := plugin.Differences(dir)
	if err != nil {
		return m, sum, pluginError(c.Command.Name, err)
	}
	if len(differs) > 0 {
		return m, sum, &exitError{
			code: exitConfig, message: fmt.Sprintf("plugin %s: %s is not as it was sealed: %s", c.Command.Name, dir, strings.Join(differs, ", ")),
			hint: "wabridge plugin verify says more; if the changes are yours: wabridge plugin seal " + dir,
		}
	}
	return m, sum, nil
}

func neverSealed(command, dir string, code int) error {
	return &exitError{
		code: code, message: fmt.Sprintf("plugin %s: %s was never sealed: its plugin.json has no sums of its files", command, dir),
		hint: "its author does that: wabridge plugin seal " + dir,
	}
}

func mayInstall(c *cli.Context, cfg *config.Config, m plugin.Manifest, v installed.Version, upgrade bool) error {
	lock, err := installed.Read(cfg.DataDir)
	if err != nil {
		return fail(exitConfig, "%w", err)
	}
	p, there := lock.Plugins[m.Name]
	now, _ := p.Version(p.SHA256)
	switch {
	case connectors[m.Name] != nil:
		return fail(exitConfig, "plugin %s: a connector %s is built in: the plugin needs another name", c.Command.Name, m.Name)
	case !there && cfg.Plugins[m.Name].Path != "":
		return fail(exitConfig, "plugin %s: %s is configured in [plugins.%s]: remove it there first", c.Command.Name, m.Name, m.Name)
	case there && !upgrade:
		return &exitError{code: exitFailed, message: "plugin install: " + m.Name + " is installed already", hint: "wabridge plugin upgrade puts another version to work"}
	case !there && upgrade:
		return &exitError{code: exitNotFound, message: "plugin upgrade: " + m.Name + " is not installed", hint: "wabridge plugin install"}
	case upgrade && now.SHA256 == v.SHA256 && isWhole(cfg, m.Name, now):
		return fail(exitFailed, "plugin upgrade: this is the version that runs already")
	case upgrade && now.Signer != "" && now.Signer != v.Signer && c.String("signer") == "":
		return &exitError{
			code: exitRefused, message: "plugin upgrade: the version that runs is signed by another key than this one" + signedBy(v.Signer),
			hint: "if you trust it, name the key with --signer",
		}
	}
	return nil
}

// isWhole reports whether the copy of a version that runs is what was sealed: if not, it
// is put there anew.
func isWhole(cfg *config.Config, name string, v installed.Version) bool {
	l := plugin.Launcher{Path: installed.Dir(cfg.DataDir, name, v.SHA256), SHA256: v.SHA256}
	return l.Verify() == nil
}

// alone keeps other commands from changing what is installed until release is called.
func alone(c *cli.Context, cfg *config.Config) (release func(), err error) {
	release, err = installed.Hold(cfg.DataDir)
	if errors.Is(err, installed.ErrHeld) {
		return nil, &exitError{code: exitLocked, message: "plugin " + c.Command.Name + ": another wabridge plugin command is at work on " + cfg.DataDir, hint: "try again when it is done", err: err}
	}
	if err != nil {
		return nil, fail(exitDisk, "plugin %s: %w", c.Command.Name, err)
	}
	return release, nil
}

// startsOnce starts a plugin as the bridge would, and looks at what it says it is.
func startsOnce(ctx context.Context, m plugin.Manifest, l plugin.Launcher) error {
	connector, stop, err := connectortest.Start(ctx, m.Name, l, slog.New(slog.DiscardHandler))
	if err != nil {
		return &exitError{code: exitFailed, message: "plugin: it does not start: " + err.Error(), hint: "wabridge plugin test FOLDER --log shows what it says", err: err}
	}
	defer stop()
	return saysItIs(m, connector.Info())
}

// saysItIs compares whose manifest it is with who answers.
func saysItIs(m plugin.Manifest, info core.ConnectorInfo) error {
	if info.Name == m.Name {
		return nil
	}
	return &exitError{
		code: exitConfig, message: fmt.Sprintf("plugin: its manifest says that it is %s, the plugin itself says %s", m.Name, info.Name),
		hint: "make name in plugin.json and in the program the same: it is what a lane says in connector",
	}
}

// copyOnce copies a plugin into its place, if it is not there already, whole.
func copyOnce(from, to, sum string) error {
	if _, err := os.Lstat(to); err == nil {
		l := plugin.Launcher{Path: to, SHA256: sum}
		if l.Verify() == nil {
			return nil
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	half := to + ".part" // a command that was killed may have left it
	err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.RemoveAll(half))
	if err == nil {
		err = plugin.CopyFolder(from, half, sum)
	}
	if err == nil {
		err = durable.SyncTree(half)
	}
	if err == nil {
		err = os.Rename(half, to)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(to))
	}
	return err
}

// use makes a version the one that runs. A running bridge that does not take it up
// gets the one before back.
func use(c *cli.Context, cfg *config.Config, name string, v installed.Version) error {
	var before installed.Plugin
	var gone []installed.Version
	err := installed.Change(cfg.DataDir, func(l *installed.Lock) error {
		p := l.Plugins[name]
		before = p
		before.Versions = slices.Clone(p.Versions)
		gone = p.Use(v)
		l.Plugins[name] = p
		return nil
	})
	if err != nil {
		return fail(exitFailed, "%w", err)
	}
	done := changed{Name: name, Version: v.Version, SHA256: v.SHA256, Before: before.SHA256}
	if before.SHA256 != "" && !before.Disabled {
		done.Running, err = awaitPlugin(c, cfg, name, v.SHA256, func(p pluginOfLane) bool { return p.Phase == string(plugin.PhaseRunning) && p.SHA256 == v.SHA256 })
		if err != nil {
			back := installed.Change(cfg.DataDir, func(l *installed.Lock) error {
				l.Plugins[name] = before
				return nil
			})
			return errors.Join(err, back)
		}
	}
	for _, old := range gone {
		_ = os.RemoveAll(installed.Dir(cfg.DataDir, name, old.SHA256))
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, done)
		return nil
	}
	switch {
	case done.Running:
		fmt.Fprintf(c.App.Writer, "%s %s runs now; back again with: wabridge plugin rollback %s\n", name, printable(v.Version), name)
	case done.Before != "":
		fmt.Fprintf(c.App.Writer, "%s %s is in place: it runs when the bridge does\n", name, printable(v.Version))
	default:
		fmt.Fprintf(c.App.Writer, "%s %s is installed, sha256 %s: a lane may have connector = %q, and the bridge be started again\n", name, printable(v.Version), v.SHA256, name)
	}
	return nil
}

func pluginRollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "put a version of a plugin that ran back to work", ArgsUsage: "NAME [VERSION]",
		Flags: []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag},
		Description: "Without VERSION (or the beginning of its sha256) the one that ran before the one that runs now.\n\n" +
			"Example:\n   wabridge plugin rollback acme",
		Action: func(c *cli.Context) error {
			if c.NArg() < 1 || c.NArg() > 2 {
				return misused("plugin rollback: want a NAME, and perhaps a VERSION, as wabridge plugin list shows them")
			}
			name, want := c.Args().First(), c.Args().Get(1)
			cfg, p, release, err := installedPlugin(c, name)
			if err != nil {
				return err
			}
			defer release()
			v, ok := p.Version(p.Before)
			if want != "" {
				i := slices.IndexFunc(p.Versions, func(v installed.Version) bool {
					return v.SHA256 != p.SHA256 && (v.Version == want || len(want) >= 6 && v.SHA256[:min(len(want), 64)] == want)
				})
				if ok = i >= 0; ok {
					v = p.Versions[i]
				}
			}
			if !ok {
				return fail(exitNotFound, "plugin rollback: %s has no such other version", name)
			}
			l := plugin.Launcher{Path: installed.Dir(cfg.DataDir, name, v.SHA256), SHA256: v.SHA256}
			if err := l.Verify(); err != nil {
				return pluginError("rollback", err)
			}
			return use(c, cfg, name, v)
		},
	}
}

func pluginSwitchCommand(word, usage string, disabled bool) *cli.Command {
	return &cli.Command{
		Name: word, Usage: usage, ArgsUsage: "NAME", Flags: []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag},
		Description: "What is for the lanes of a disabled plugin waits in their queues. A running bridge does it at once.\n\n" +
			"Example:\n   wabridge plugin " + word + " acme",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misused("plugin %s: want a NAME", word)
			}
			name := c.Args().First()
			cfg, p, release, err := installedPlugin(c, name)
			if err != nil {
				return err
			}
			defer release()
			err = installed.Change(cfg.DataDir, func(l *installed.Lock) error {
				p := l.Plugins[name]
				p.Disabled = disabled
				l.Plugins[name] = p
				return nil
			})
			if err != nil {
				return fail(exitFailed, "%w", err)
			}
			running, err := awaitPlugin(c, cfg, name, p.SHA256, func(p pluginOfLane) bool {
				return (p.Phase == string(plugin.PhaseDisabled)) == disabled && (disabled || p.Phase == string(plugin.PhaseRunning))
			})
			if err != nil {
				return err
			}
			v, _ := p.Version(p.SHA256)
			if c.Bool("json") {
				printJSON(c.App.Writer, changed{Name: name, Version: v.Version, SHA256: v.SHA256, Running: running && !disabled})
				return nil
			}
			fmt.Fprintf(c.App.Writer, "%s is %sd\n", name, word)
			return nil
		},
	}
}

func pluginRemoveCommand() *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "forget an installed plugin and all its versions", ArgsUsage: "NAME", Flags: []cli.Flag{configFlag, setFlag, jsonFlag},
		Description: "Refused as long as a lane has it as its connector.\n\nExample:\n   wabridge plugin remove acme",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misused("plugin remove: want a NAME")
			}
			name := c.Args().First()
			cfg, _, release, err := installedPlugin(c, name)
			if err != nil {
				return err
			}
			defer release()
			for _, t := range cfg.Tenants {
				for _, l := range t.Lanes {
					if l.Connector == name {
						return fail(exitRefused, "plugin remove: tenant %s, lane %s has it as its connector", t.ID, l.Name)
					}
				}
			}
			err = installed.Change(cfg.DataDir, func(l *installed.Lock) error {
				delete(l.Plugins, name)
				return nil
			})
			if err == nil {
				err = os.RemoveAll(filepath.Dir(installed.Dir(cfg.DataDir, name, "x")))
			}
			if err != nil {
				return fail(exitFailed, "%w", err)
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, map[string]string{"removed": name})
			} else {
				fmt.Fprintln(c.App.Writer, "removed", name)
			}
			return nil
		},
	}
}

// installedPlugin reads the configuration and what is installed under a name, which
// nobody else changes until release is called.
func installedPlugin(c *cli.Context, name string) (cfg *config.Config, p installed.Plugin, release func(), err error) {
	if cfg, err = load(c); err != nil {
		return nil, p, nil, err
	}
	if release, err = alone(c, cfg); err != nil {
		return nil, p, nil, err
	}
	lock, err := installed.Read(cfg.DataDir)
	p, ok := lock.Plugins[name]
	switch {
	case err != nil:
		err = fail(exitConfig, "%w", err)
	case !ok:
		err = &exitError{code: exitNotFound, message: "plugin " + c.Command.Name + ": " + name + " is not installed", hint: "wabridge plugin list shows what is"}
	default:
		return cfg, p, release, nil
	}
	release()
	return nil, p, nil, err
}
