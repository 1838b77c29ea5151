package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/app"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/plugin"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store/boltstore"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// onlineTimeout is how long one vendor has to answer.
const onlineTimeout = 30 * time.Second

func checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "say everything that is wrong with the configuration",
		Description: "Reads the configuration and its secrets, looks at the data folder, reads the scripts and\n" +
			"checks the settings of CRMs. With --online it also asks WhatsApp and each CRM whether the\n" +
			"credentials work; CRMs then get the properties that the bridge needs. Targets\n" +
			"of escalations are connected to; nothing is sent there.\n\n" +
			"Examples:\n   wabridge check\n   wabridge check --online --config /etc/wabridge",
		Flags: []cli.Flag{
			configFlag, setFlag, jsonFlag,
			&cli.BoolFlag{Name: "online", Usage: "ask WhatsApp and the CRMs too"},
		},
		Action: check,
	}
}

// finding is what came of looking at one thing.
type finding struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`

	code int
}

// checker collects findings.
type checker struct {
	c        *cli.Context
	cfg      *config.Config
	bar      *progress
	findings []finding
}

func check(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("wabridge check: no arguments, only flags")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	k := &checker{c: c, cfg: cfg, bar: newProgress(c.App.ErrWriter)}
	k.add("configuration", fmt.Sprintf("%s, tenants: %d", cfg.File, len(cfg.Tenants)), nil, exitConfig)
	k.dataDir()
	k.scripts()
	for name, p := range cfg.Plugins {
		if p.Attach != "" {
			k.add("plugin "+name, "WARNING: started by hand, with "+plugin.AttachVariable+"="+p.Attach+": for development only", nil, exitConfig)
			continue
		}
		l := pinned(p)
		k.add("plugin "+name, p.Path, l.Verify(), exitConfig)
	}
	for _, t := range cfg.Tenants {
		for _, n := range t.Numbers {
			if n.ID == placeholderNumber {
				k.add("tenant "+t.ID+" number "+n.ID, "WARNING: the one that wabridge init wrote: put the phone number id of Meta's app dashboard there", nil, exitConfig)
			}
		}
		for _, l := range t.Lanes {
			k.settings(t, l)
		}
		for _, g := range t.Targets {
			k.target(t, g, app.Notifier.Problem)
		}
	}
	k.templates("")
	if c.Bool("online") {
		k.online()
	}
	k.bar.done()
	return k.conclude()
}

// add notes a finding; err is what is wrong, if anything.
func (k *checker) add(what, detail string, err error, code int) {
	f := finding{What: what, OK: err == nil, Detail: detail, code: code}
	if err != nil {
		f.Detail, f.Hint = err.Error(), hintOf(err)
	}
	k.findings = append(k.findings, f)
}

// conclude prints the findings; the first that is bad gives the exit code.
func (k *checker) conclude() error {
	bad := 0
	var first finding
	for _, f := range k.findings {
		if !f.OK {
			if bad == 0 {
				first = f
			}
			bad++
		}
	}
	if k.c.Bool("json") {
		printJSON(k.c.App.Writer, map[string]any{"ok": bad == 0, "findings": k.findings})
	} else {
		for _, f := range k.findings {
			mark := "ok   "
			if !f.OK {
				mark = "WRONG"
			}
			fmt.Fprintf(k.c.App.Writer, "%s  %s: %s\n", mark, printable(f.What), printable(f.Detail))
			if f.Hint != "" {
				fmt.Fprintln(k.c.App.Writer, "         →", printable(f.Hint))
			}
		}
	}
	if bad == 0 {
		return nil
	}
	more := ""
	if bad > 1 {
		more = fmt.Sprintf(" (and %d more)", bad-1)
	}
	return fail(first.code, "check: %s: %s%s", first.What, first.Detail, more)
}

// dataDir looks whether the folder can be used, without changing what is in it.
func (k *checker) dataDir() {
	dir := k.cfg.DataDir
	what := "data folder"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k.add(what, dir+", will be made", writable(parentOf(dir)), exitDisk)
		return
	case err == nil && !info.IsDir():
		err = fmt.Errorf("%s is not a folder: set another data_dir", dir)
	case err == nil:
		err = writable(dir)
	}
	if err != nil {
		k.add(what, "", err, exitDisk)
		return
	}
	k.bar.say("reading %s …", dir)
	st, err := boltstore.OpenReadOnly(dir)
	switch {
	case err == nil:
		k.add(what, fmt.Sprintf("%s, %d dead letters", dir, st.Stats().Dead), st.Close(), exitFailed)
	case errors.Is(err, boltstore.ErrLocked):
		k.add(what, dir+", in use by a running wabridge", nil, exitDone)
	case errors.Is(err, fs.ErrNotExist):
		k.add(what, dir+", empty", nil, exitDone)
	default:
		k.add(what, "", err, exitCode(err))
	}
}

// parentOf is the nearest folder above path that is there.
func parentOf(path string) string {
	for {
		up := filepath.Dir(path)
		if _, err := os.Stat(up); err == nil || up == path {
			return up
		}
		path = up
	}
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".wabridge-check-*")
	if err != nil {
		return fmt.Errorf("%s: not writable: %w: give the user that runs wabridge the right to write there, or set another data_dir", dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// scripts has each tenant's script read by a worker: nothing of it runs here.
func (k *checker) scripts() {
	engine := script.New(script.Options{
		Command: worker(), Soft: k.cfg.Script.Soft, Hard: k.cfg.Script.Hard, MemoryLimit: uint64(k.cfg.Script.Memory),
		Log: slog.New(slog.DiscardHandler),
	})
	for _, t := range k.cfg.Tenants {
		what := "tenant " + t.ID + " script"
		if t.Script == "" {
			k.add(what, "none: nothing is answered", nil, exitConfig)
			continue
		}
		k.bar.say("reading %s …", t.Script)
		src, err := script.ReadSource(t.Script)
		if err == nil {
			err = engine.Check(k.c.Context, src)
		}
		k.add(what, t.Script, err, exitConfig)
	}
}

// settings checks what a connector that is built in can say of a lane without
// asking anybody: it is called with a context that has ended, so that all it can
// do is to read its settings.
func (k *checker) settings(t config.Tenant, l config.Lane) {
	newConnector, ok := connectors[l.Connector]
	if !ok {
		return
	}
	ended, cancel := context.WithCancel(k.c.Context)
	cancel()
	connector := newConnector()
	err := connector.Check(ended, account(t, l))
	if a, ok := connector.(core.Authorizer); ok && core.CodeOf(err) != core.CodeInvalid {
		_, err = a.Authorize(ended, account(t, l)) // says which secrets are missing
	}
	if c := core.CodeOf(err); c != core.CodeInvalid && c != core.CodeUnauthenticated {
		err = nil // it would have asked now
	}
	k.add(laneName(t, l)+" settings", l.Connector, err, exitConfig)
}

func laneName(t config.Tenant, l config.Lane) string { return "tenant " + t.ID + " lane " + l.Name }

// target adds what asking a target of escalations finds; nothing is sent.
func (k *checker) target(t config.Tenant, g config.Target, ask func(app.Notifier) error) {
	n, err := app.NewTarget(g)
	if err == nil {
		err = ask(n)
	}
	code := exitConfig
	if err != nil && core.CodeOf(err) != core.CodeInvalid {
		code = vendorCode(err)
	}
	k.add("tenant "+t.ID+" target "+g.Name, app.TargetPlace(g), err, code)
}

func account(t config.Tenant, l config.Lane) core.Account {
	return core.Account{Tenant: t.ID, Lane: l.Name, Settings: l.Settings, Secrets: l.Secrets, Idempotency: l.Idempotency}
}

// online asks WhatsApp about each number and each CRM, through its plugin, about
// each lane.
func (k *checker) online() {
	log := slog.New(slog.DiscardHandler)
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{
		BaseURL: k.cfg.WhatsApp.BaseURL, APIVersion: k.cfg.WhatsApp.APIVersion, Timeout: k.cfg.WhatsApp.Timeout,
		Transport: whatsapp.NewTransport(), OpaqueKey: []byte(rand.Text()), Log: log,
	})
	if err != nil {
		k.add("whatsapp", "", err, exitConfig)
		return
	}
	for _, t := range k.cfg.Tenants {
		for _, n := range t.Numbers {
			k.bar.say("asking WhatsApp about %s …", n.ID)
			ctx, cancel := context.WithTimeout(k.c.Context, onlineTimeout)
			sink := client.Sink(whatsapp.Number{Tenant: t.ID, ID: n.ID, AccessToken: func() core.Secret { return n.AccessToken }})
			err := sink.Check(ctx)
			cancel()
			k.add("tenant "+t.ID+" number "+n.ID, "WhatsApp knows it, and the token", err, vendorCode(err))
		}
		for _, l := range t.Lanes {
			if k.cfg.Plugins[l.Connector].Attach != "" {
				continue // whoever starts it by hand is not to be waited for
			}
			k.bar.say("asking %s about tenant %s …", l.Connector, t.ID)
			var warned warnings
			err := withPlugin(k.c.Context, k.cfg, t, l, slog.New(&warned), func(ctx context.Context, h *plugin.Host) error { return h.Check(ctx) })
			k.add(laneName(t, l), l.Connector+" takes the credentials", err, vendorCode(err))
			if err == nil {
				for _, f := range warned.all() {
					f.What = laneName(t, l)
					k.findings = append(k.findings, f)
				}
				k.mapping(t, l)
			}
		}
		for _, g := range t.Targets {
			k.bar.say("connecting to target %s of tenant %s …", g.Name, t.ID)
			ctx, cancel := context.WithTimeout(k.c.Context, onlineTimeout)
			k.target(t, g, func(n app.Notifier) error { return n.Check(ctx) })
			cancel()
		}
	}
}

// withPlugin runs a lane's plugin while f asks it.
func withPlugin(ctx context.Context, cfg *config.Config, t config.Tenant, l config.Lane, log *slog.Logger, f func(context.Context, *plugin.Host) error) error {
	launch, ok := builtin(l.Connector)
	if !ok {
		p := cfg.Plugins[l.Connector]
		launch = pinned(p)
	}
	host := plugin.NewHost(plugin.HostOptions{
		Name: l.Connector, Tenant: t.ID, Lane: l.Name, Launch: launch,
		Account: func() core.Account { return account(t, l) }, Log: log,
	})
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	gone := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() { gone <- host.Run(run) }()
	err := f(ctx, host)
	stop()
	return errors.Join(err, <-gone)
}
