// Package app puts a bridge together: store, scripts, plugins, broker and web,
// started in the order in which they need each other and stopped in the
// reverse. The program, the demo and the tests run the same one.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/durable"
	"github.com/wabridge/wabridge/core/hook"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/plugin"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store/boltstore"
	"github.com/wabridge/wabridge/core/web"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Options make an App.
type Options struct {
	Config *config.Config
	// Version is the program's own, for people.
	Version string
	// Builtin says how to start a connector that is built in; Worker how to
	// start a script worker.
	Builtin func(name string) (plugin.Launcher, bool)
	Worker  []string
	// Listener is where the web listens; nil listens at Config.Web.Listen.
	Listener net.Listener
	Log      *slog.Logger
	// Failpoint and Unsafe are for crash tests: see boltstore.Options.
	Failpoint func(name string)
	Unsafe    Unsafe
}

// Unsafe breaks the bridge on purpose, so that a test that cannot see it is
// found out.
type Unsafe struct {
	NoSync   bool // commits do not reach the disk
	AckFirst bool // events are acknowledged before they are committed
}

// App is one bridge.
type App struct {
	o       Options
	log     *slog.Logger
	store   *boltstore.Store
	engine  *script.Engine
	plugins *plugins
	broker  *broker.Broker
	web     *web.Server
	watch   *watcher
	shadows *shadows
	// tokensKey seals the lanes' tokens.
	tokensKey []byte
	// accounts are the tenants by the id of their WhatsApp business account.
	accounts map[string][]string
}

// New opens the store and the address, and puts the bridge together. Nothing
// runs yet. Close the App when Run is not going to be called.
func New(o Options) (*App, error) {
	a := &App{o: o, log: o.Log}
	cfg := o.Config
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	st, err := boltstore.Open(cfg.DataDir, boltstore.Options{
		MaxSize: int64(cfg.Store.MaxSize), BallastSize: int64(cfg.Store.BallastSize), MinFree: int64(cfg.Store.MinFree),
		SeenRetention:    time.Duration(cfg.Store.SeenDays) * 24 * time.Hour,
		HistoryRetention: time.Duration(cfg.Store.HistoryDays) * 24 * time.Hour,
		Log:              o.Log, Registerer: reg, Failpoint: o.Failpoint,
		UnsafeNoSync: o.Unsafe.NoSync, UnsafeAckFirst: o.Unsafe.AckFirst,
	})
	if err != nil {
		return nil, err
	}
	a.store = st
	if err := a.assemble(reg); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return a, nil
}

func (a *App) assemble(reg *prometheus.Registry) error {
	cfg := a.o.Config
	key, err := ownKey(filepath.Join(cfg.DataDir, keyFile))
	if err != nil {
		return err
	}
	if a.tokensKey, err = ownKey(filepath.Join(cfg.DataDir, tokensKeyFile)); err != nil {
		return err
	}
	a.engine = script.New(script.Options{
		Command: a.o.Worker, Soft: cfg.Script.Soft, Hard: cfg.Script.Hard, MemoryLimit: uint64(cfg.Script.Memory),
		Log: a.o.Log, Registerer: reg,
	})
	a.plugins = newPlugins(cfg, a.o.Log)
	a.watch = newWatcher(a.engine, cfg.Tenants, a.o.Log)
	a.shadows = newShadows(a.engine, script.New(script.Options{
		Command: a.o.Worker, Soft: cfg.Script.Soft, Hard: cfg.Script.Hard, MemoryLimit: uint64(cfg.Script.Memory),
		Last: true, Log: a.o.Log,
	}), cfg.Tenants, a.o.Log)
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{
		Files: fileTransport(cfg.WhatsApp.BaseURL), MediaHosts: cfg.WhatsApp.MediaHosts,
		BaseURL: cfg.WhatsApp.BaseURL, APIVersion: cfg.WhatsApp.APIVersion, Timeout: cfg.WhatsApp.Timeout,
		Transport: whatsapp.NewTransport(), OpaqueKey: key, Log: a.o.Log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	a.accounts = accounts(cfg.Tenants)
	tenants := make([]broker.Tenant, len(cfg.Tenants))
	for i, t := range cfg.Tenants {
		if tenants[i], err = a.tenant(t, client, reg); err != nil {
			return err
		}
	}
	seal, err := newSealer(a.tokensKey)
	if err != nil {
		return err
	}
	a.broker, err = broker.New(broker.Options{
		Sealer: seal, Subscriber: a.subscriber, Media: a.media(key),
		Store: a.store, Scripts: a.shadows, Tenants: tenants, OpaqueKey: key, UnknownWait: cfg.WhatsApp.UnknownWait,
		TenantInfo: a.tenantInfo, Busy: new(cpu).busy, Failpoint: a.o.Failpoint, Log: a.o.Log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	configured := make([]access.Configured, len(cfg.Web.APITokens))
	for i, t := range cfg.Web.APITokens {
		configured[i] = access.Configured{Name: t.Name, Tenant: t.Tenant, Secret: t.Token}
	}
	tokens, err := access.New(context.Background(), a.store, configured)
	if err != nil {
		return err
	}
	webhook := whatsapp.NewWebhook(whatsapp.WebhookOptions{
		VerifyToken: cfg.WhatsApp.VerifyToken,
		AppSecrets:  func() []core.Secret { return cfg.WhatsApp.AppSecrets },
		Accept:      a.accept, MaxInFlight: cfg.Web.MaxInFlight, Log: a.o.Log, Registerer: reg,
	})
	a.web = web.New(web.Options{
		Listen: cfg.Web.Listen, Listener: a.o.Listener, Bridge: a.broker, Webhook: webhook, PublicURL: cfg.Web.PublicURL, Proxies: cfg.Web.Proxies(), Access: tokens,
		Gatherer: reg, Version: a.o.Version, Log: a.o.Log,
	})
	return a.web.Listen()
}

func (a *App) tenant(t config.Tenant, client *whatsapp.Client, reg prometheus.Registerer) (broker.Tenant, error) {
	out := broker.Tenant{
		ID: t.ID, Name: t.Name, Region: t.Region, Settings: t.Settings, Team: t.Escalation.Team,
		ReplyCap: t.Policy.ReplyCap, ReplyWindow: t.Policy.ReplyWindow, HumanFor: t.Policy.HumanFor,
		Limits: broker.Limits(t.Limits), Rates: t.Book,
		DeadAfter: a.o.Config.DeadLetterDeadline, NoRecord: !t.Record, Policy: policy(t),
	}
	plan, problems := t.Plan(consent.Fold)
	if len(problems) > 0 { // config.Load would have said so
		return out, core.Errorf(core.CodeInvalid, "tenant "+t.ID, "%s: %s", problems[0].Key, problems[0].Text)
	}
	out.Plan = plan
	for _, g := range t.Targets {
		sink, err := NewTarget(g)
		if err != nil {
			return out, core.Errorf(core.CodeInvalid, "tenant "+t.ID, "target %s: %w", g.Name, err)
		}
		out.Targets = append(out.Targets, broker.Target{Name: g.Name, Kind: g.Kind, Sink: sink, Retry: targetRetry(g)})
	}
	for _, n := range t.Numbers {
		out.Numbers = append(out.Numbers, broker.Number{
			ID: n.ID, Account: n.WABA, Display: n.Display, Rate: n.Rate, Retry: n.Retry, MaxInFlight: n.MaxInFlight,
			HealthEvery: a.o.Config.WhatsApp.HealthEvery, Fallback: fallback(n),
			Sink:  client.Sink(number(t, n)),
			Media: client.Media(number(t, n)),
		})
	}
	out.Accounts = a.templates(t, client)
	for _, l := range t.Lanes {
		launcher, ok := a.launcher(l.Connector)
		if !ok {
			return out, core.Errorf(core.CodeInvalid, "tenant "+t.ID, "lane %s: no connector %q", l.Name, l.Connector)
		}
		account := core.Account{Tenant: t.ID, Lane: l.Name, Settings: l.Settings, Secrets: l.Secrets, Idempotency: l.Idempotency,
			WebhookURL: web.CRMWebhookURL(a.o.Config.Web.PublicURL, t.ID, l.Name)}
		kept, err := newTokens(a.store, a.tokensKey, account, a.o.Log)
		if err != nil {
			return out, err
		}
		table, problems := mapping.New(l.Map, l.Mapping == "default")
		if len(problems) > 0 { // config.Load would have said so
			return out, core.Errorf(core.CodeInvalid, "tenant "+t.ID, "lane %s: map: %s", l.Name, problems[0].Text)
		}
		options := plugin.HostOptions{
			Name: l.Connector, Tenant: t.ID, Lane: l.Name, Launch: launcher,
			Account: func() core.Account {
				now := account
				now.Properties = table.Reads() // as far as the CRM has them
				return now
			}, Tokens: kept, Log: a.o.Log, Registerer: reg,
		}
		if attach := a.o.Config.Plugins[l.Connector].Attach; attach != "" {
			a.log.Warn("a plugin is started by hand: for development only", "plugin", l.Connector, "tenant", t.ID, "lane", l.Name, "attach", attach)
			options.ForDebugger()
		}
		host := plugin.NewHost(options)
		a.plugins.lanes = append(a.plugins.lanes, lanePlugin{host: host, tenant: t.ID, lane: l.Name, connector: l.Connector})
		var budgets []core.Budget
		for _, b := range l.Budgets {
			budgets = append(budgets, core.Budget(b))
		}
		out.Lanes = append(out.Lanes, broker.Lane{
			Name: l.Name, Connector: l.Connector, Sink: host, MaxBatch: l.MaxBatch, Rate: l.Rate, Budgets: budgets, Account: l.Account,
			Idempotency: l.Idempotency, SearchDelay: l.SearchDelay, MaxInFlight: l.MaxInFlight, Linger: l.Linger, Retry: l.Retry, Pull: l.Pull, Mapping: table,
		})
	}
	return out, nil
}

// subscriber makes the sink of a subscription.
func (a *App) subscriber(o broker.SubscriberOptions) (broker.Subscriber, error) {
	secrets := []hook.Secret{{Secret: o.Secret}}
	if o.Old != "" {
		secrets = append(secrets, hook.Secret{Secret: o.Old, Until: o.OldUntil})
	}
	return hook.New(hook.Options{URL: o.URL, Secrets: secrets, Batch: o.Batch, AllowPrivate: a.o.Config.Subscriptions.AllowPrivate})
}

// policy is what a tenant's settings say about its messages.
func policy(t config.Tenant) broker.Policy {
	p := broker.Policy{
		Words: t.Policy.Words(), Texts: t.Policy.Texts, DoubleOptIn: t.Policy.DoubleOptIn, ConfirmWithin: t.Policy.ConfirmWithin,
		NoLoops: !t.Policy.DetectLoops, StopMarketingOnly: t.Policy.Stop == "marketing", MinConfidence: t.Policy.MinConfidence, AfterMessages: t.Escalation.AfterMessages,
	}
	for _, r := range t.Policy.Reads {
		p.Reads = append(p.Reads, broker.Reading(r))
	}
	p.KeepRevoked, p.AwaitFor = t.Policy.KeepRevoked, t.Policy.AwaitFor
	for _, class := range t.Policy.RetryUnknown {
		p.RetryUnknown = append(p.RetryUnknown, core.Class(class))
	}
	if o := t.Policy.OutsideWindow; o.Template != "" {
		p.OutsideWindow = &broker.OutsideWindow{Name: o.Template, Language: o.Language, Params: o.Params}
	}
	p.Sender = t.Sender()
	// Both were checked when they were read.
	p.QuietHours, _ = consent.ParseQuietHours(t.Policy.QuietHours)
	p.Zone, _ = time.LoadLocation(t.Policy.Zone)
	for _, tpl := range t.Templates {
		p.Templates = append(p.Templates, broker.Template{
			Name: tpl.Name, Language: tpl.Language, Category: consent.ParseCategory(tpl.Category), Topics: tpl.Topics, Params: tpl.Params,
		})
	}
	return p
}

// templates are the business accounts of a tenant's numbers, asked for their templates
// with the token of the first number of each.
func (a *App) templates(t config.Tenant, client *whatsapp.Client) []broker.Account {
	var out []broker.Account
	for _, n := range t.Numbers {
		if n.WABA == "" || slices.ContainsFunc(out, func(a broker.Account) bool { return a.ID == n.WABA }) {
			continue
		}
		w := &a.o.Config.WhatsApp
		out = append(out, broker.Account{ID: n.WABA, Every: w.TemplateSync, Templates: client.Templates(whatsapp.Account{
			ID: n.WABA, Tenant: t.ID, AccessToken: func() core.Secret { return n.AccessToken },
			CallsPerHour: w.ManagementCallsPerHour, CreationsPerHour: w.TemplateCreationsPerHour,
		})})
	}
	return out
}

func accounts(tenants []config.Tenant) map[string][]string {
	out := map[string][]string{}
	for _, t := range tenants {
		for _, n := range t.Numbers {
			if !slices.Contains(out[n.WABA], t.ID) { // those that name none under ""
				out[n.WABA] = append(out[n.WABA], t.ID)
			}
		}
	}
	return out
}

func (a *App) launcher(name string) (plugin.Launcher, bool) {
	if p, ok := a.o.Config.Plugins[name]; ok {
		return launcherOf(p), true
	}
	return a.o.Builtin(name)
}

// tenantInfo describes a tenant's script and plugins for people.
func (a *App) tenantInfo(tenant string) broker.TenantInfo {
	info := a.watch.info(tenant)
	info.Shadow = a.shadows.info(tenant)
	info.Plugins = a.plugins.info(tenant)
	return info
}

// accept hands the updates of a webhook to the broker. What is about a business
// account, not a number, goes to the tenant that has the account. Of an account that
// several share, what is about itself, its templates and limits is for all of them; the
// rest is nobody's in particular. An account that no number names is that of the
// tenant whose numbers name none, if there is one such.
func (a *App) accept(ctx context.Context, updates []whatsapp.Update) error {
	events := make([]core.Event, 0, len(updates))
	for _, u := range updates {
		e := u.Event
		e.Number = u.Number
		var owners []string
		if u.WABA != "" {
			owners = a.accounts[u.WABA]
		}
		ofAccount := slices.Contains([]core.Kind{core.KindTemplateChanged, core.KindLimitChanged, core.KindAccountChanged}, e.Kind)
		if len(owners) == 0 && ofAccount && len(a.accounts[""]) == 1 {
			owners = a.accounts[""]
		}
		switch {
		case u.Number != "" || len(owners) == 0:
			events = append(events, e)
		case len(owners) == 1:
			e.Tenant = owners[0]
			events = append(events, e)
		case ofAccount:
			for _, owner := range owners {
				e.Tenant = owner
				events = append(events, e)
			}
		default:
			events = append(events, e)
		}
	}
	if err := a.broker.Accept(ctx, events); err != nil {
		return err
	}
	for _, u := range updates {
		if u.Number == "" { // of an account, or of a number as people write it
			for _, owner := range a.accounts[u.WABA] {
				a.broker.AskNumbers(owner)
			}
		}
	}
	return nil
}

// fallback is by which other number a number's messages go, and when.
func fallback(n config.Number) broker.Fallback {
	f := broker.Fallback{Number: n.Fallback, BackAfter: n.FallbackBackAfter}
	for _, when := range n.FallbackWhen {
		f.When = append(f.When, whatsapp.Trouble(when))
	}
	return f
}

// Broker returns the engine: for commands and tests in the same process.
func (a *App) Broker() *broker.Broker { return a.broker }

// Addr returns where the web listens.
func (a *App) Addr() string { return a.web.Addr() }

// Close releases what an App that was never run has open.
func (a *App) Close() error { return errors.Join(a.web.Close(), a.store.Close()) }

// Run runs the bridge until ctx ends, or something happens after which it must
// not go on; then it returns that. When it returns, all that it started is gone
// and the store is closed.
func (a *App) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	// Each stage is stopped after the one that needs it.
	stage := func(name string, run func(context.Context) error) (stop func()) {
		sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := run(sctx); err != nil && sctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
		return func() { cancel(); wg.Wait() }
	}
	var stops []func()
	start := func(name string, run func(context.Context) error) { stops = append(stops, stage(name, run)) }

	start("store", a.store.Run)
	start("scripts", a.engine.Run)
	start("plugins", a.plugins.Run)
	start("shadows", a.shadows.Run)
	a.watch.load(ctx)
	start("script files", a.watch.Run)
	start("broker", a.broker.Run)
	start("web", a.web.Run)

	<-ctx.Done()
	for _, stop := range slices.Backward(stops) {
		stop()
	}
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // asked to stop
	}
	return errors.Join(err, a.store.Close())
}

// OpaqueKey returns the key of the bridge whose data are in a folder: what
// authenticates what WhatsApp sends back with each status.
func OpaqueKey(dataDir string) ([]byte, error) {
	key, err := os.ReadFile(filepath.Join(dataDir, keyFile))
	if err != nil {
		return nil, core.Errorf(core.CodeInternal, keyFile, "%w", err)
	}
	return key, nil
}

const keyFile = "opaque.key"

// ownKey reads a key of the bridge's own, or makes it. Without [keyFile] a bridge
// would not know its own messages again.
func ownKey(path string) ([]byte, error) {
	name := filepath.Base(path)
	key, err := os.ReadFile(path)
	if err == nil && len(key) == 32 {
		return key, nil
	}
	if err == nil {
		return nil, core.Errorf(core.CodeInvalid, name, "%s has %d bytes instead of 32: restore it from a backup", path, len(key))
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, core.Errorf(core.CodeInternal, name, "%w", err)
	}
	key = make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, key); err != nil {
		return nil, core.Errorf(core.CodeInternal, name, "%w", err)
	}
	return key, nil
}
