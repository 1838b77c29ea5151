package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"text/template"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/app"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/web"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
	"github.com/wabridge/wabridge/scripts"
)

//go:embed demo
var demoFiles embed.FS

// The demo's phone numbers.
const (
	bakeryNumber = "100000000000001"
	ciclosNumber = "100000000000002"
	demoAddress  = "127.0.0.1:8080"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "run a bridge with imitated vendors and traffic",
		Description: "WhatsApp, HubSpot and a CRM's API are imitated on this machine, two businesses have customers who\n" +
			"write, and everything between is the real thing. Nothing reaches the network, and nothing is left\n" +
			"behind. Ctrl-C ends it.\n\nExamples:\n   wabridge demo\n   wabridge demo --for 20s --rate 300",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: demoAddress, Usage: "the `ADDRESS` of the page; a free one if that is taken"},
			&cli.DurationFlag{Name: "for", Usage: "end so `LONG` after the first answer"},
			&cli.IntFlag{Name: "rate", Value: 40, Usage: "messages of customers a `MINUTE`"},
			jsonFlag,
		},
		Action: runDemo,
	}
}

// demo is a bridge and all that it talks to.
type demo struct {
	c      *cli.Context
	dir    string
	bridge *app.App

	whatsapp *whatsappsim.Sim
	hubspot  *hubspotsim.Sim
	shop     *customhttpsim.Sim
	// Where they listen.
	waAddr, hubAddr, shopAddr net.Listener
	log                       *os.File
	traffic                   traffic
}

func runDemo(c *cli.Context) (err error) {
	if c.NArg() > 0 {
		return misused("demo: no arguments, only flags")
	}
	if rate := c.Int("rate"); rate < 1 || rate > 60_000 {
		return misused("--rate: want 1 to 60000 messages a minute")
	}
	d := &demo{c: c}
	defer func() { err = errors.Join(err, d.remove()) }()
	ln, err := d.listen()
	if err != nil {
		return err
	}
	if err := d.prepare(ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	return untilSignal(c.Context, c.App.ErrWriter, d.run)
}

// listen opens the page's address: another one if the usual one is taken and
// nobody asked for it.
func (d *demo) listen() (net.Listener, error) {
	ln, err := listen(d.c.Context, d.c.String("listen"))
	if errors.Is(err, web.ErrInUse) && !d.c.IsSet("listen") {
		return listen(d.c.Context, "127.0.0.1:0")
	}
	return ln, err
}

// prepare makes everything; nothing runs yet.
func (d *demo) prepare(ln net.Listener) (err error) {
	if d.dir, err = os.MkdirTemp("", "wabridge-demo-"); err != nil {
		return err
	}
	for _, at := range []*net.Listener{&d.waAddr, &d.hubAddr, &d.shopAddr} {
		if *at, err = listen(d.c.Context, "127.0.0.1:0"); err != nil {
			return err
		}
	}
	secrets := map[string]string{}
	for _, name := range []string{"api-token", "verify-token", "app-secret", "access-token", "hubspot-token", "shop-token"} {
		secrets[name] = rand.Text()
	}
	if err := d.write(ln.Addr().String(), secrets); err != nil {
		return err
	}
	d.whatsapp = whatsappsim.New(whatsappsim.Options{
		AppSecret: secrets["app-secret"], VerifyToken: secrets["verify-token"], AccessTokens: []string{secrets["access-token"]},
		Numbers: []whatsappsim.Number{
			{ID: bakeryNumber, DisplayNumber: "15550100001", WABA: "200000000000001"},
			{ID: ciclosNumber, DisplayNumber: "15550100002", WABA: "200000000000002"},
		},
		WebhookURL: "http://" + ln.Addr().String() + "/webhooks/whatsapp", EnforceWindow: true,
		StatusDelay: 700 * time.Millisecond, Latency: func() time.Duration { return 40 * time.Millisecond },
	})
	d.hubspot = hubspotsim.New(hubspotsim.Options{Tokens: []string{secrets["hubspot-token"]}, Latency: 60 * time.Millisecond})
	d.shop = customhttpsim.New(customhttpsim.Options{Token: secrets["shop-token"], Latency: 30 * time.Millisecond})

	cfg, err := config.Load(d.configFile(), config.Options{Connectors: connectorNames()})
	if err != nil {
		return err
	}
	if d.log, err = os.OpenFile(filepath.Join(d.dir, "bridge.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	d.bridge, err = app.New(app.Options{
		Config: cfg, Version: version, Builtin: builtin, Worker: worker(), Listener: ln, Log: logger(cfg.Log, d.log),
	})
	return err
}

func (d *demo) configFile() string { return filepath.Join(d.dir, config.FileName) }

// write makes the configuration of two businesses.
func (d *demo) write(address string, secrets map[string]string) error {
	values := map[string]string{
		"Listen": address, "Bakery": bakeryNumber, "Ciclos": ciclosNumber,
		"WhatsApp": urlOf(d.waAddr), "HubSpot": urlOf(d.hubAddr), "Shop": urlOf(d.shopAddr),
	}
	for name, source := range map[string]string{
		config.FileName: "wabridge.toml", "tenants/bakery/tenant.toml": "bakery.toml", "tenants/ciclos/tenant.toml": "ciclos.toml",
	} {
		t, err := template.ParseFS(demoFiles, "demo/"+source)
		if err != nil {
			return err
		}
		path := filepath.Join(d.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := errors.Join(t.Execute(f, values), f.Close()); err != nil {
			return err
		}
	}
	files := map[string][]byte{}
	for _, tenant := range []string{"bakery", "ciclos"} {
		files["tenants/"+tenant+"/script.js"] = scripts.Default()
		for name, table := range scripts.Tables() {
			files["tenants/"+tenant+"/"+name] = table
		}
		files["tenants/"+tenant+"/"+typesFile] = scripts.Types()
	}
	for name, value := range secrets {
		files["secrets/"+name] = []byte(value)
	}
	for name, content := range files {
		path := filepath.Join(d.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func urlOf(ln net.Listener) string { return "http://" + ln.Addr().String() }

// run runs everything until ctx ends or the time is up, then lets what is under
// way arrive and says what came of it.
func (d *demo) run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	worldCtx, stopWorld := context.WithCancel(base)
	defer stopWorld()
	var world sync.WaitGroup
	defer world.Wait()
	defer stopWorld()
	broken := make(chan error, 4)
	start := func(f func(context.Context) error) {
		world.Go(func() {
			if err := f(worldCtx); err != nil && worldCtx.Err() == nil {
				broken <- err
			}
		})
	}
	start(func(ctx context.Context) error { return serve(ctx, d.waAddr, d.whatsapp, d.whatsapp.Run) })
	start(func(ctx context.Context) error { return serve(ctx, d.hubAddr, d.hubspot, nil) })
	start(func(ctx context.Context) error { return serve(ctx, d.shopAddr, d.shop, nil) })
	start(d.bridge.Run)

	if wait := d.c.Duration("for"); wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait+startTime)
		defer cancel()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-broken:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if !d.c.Bool("json") {
		d.welcome()
	}
	d.traffic = traffic{sim: d.whatsapp, send: d.bridge.Broker().Send, rate: d.c.Int("rate")}
	var busy sync.WaitGroup
	busy.Go(func() { d.traffic.run(ctx) })
	d.watch(ctx)
	reason := context.Cause(ctx)
	cancel(nil)
	busy.Wait()
	if err := reason; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	d.settle(base)
	return d.conclude()
}

// welcome says what there is to see and to try.
func (d *demo) welcome() {
	w := d.c.App.Writer
	fmt.Fprintf(w, `wabridge demo: two businesses, their customers, and the vendors imitated, all on this machine.

   The page         http://%s
   WhatsApp         %s   imitated; the page there is a customer's phone
   HubSpot          %s   imitated, has the CRM of Maple Bakery
   A CRM's own API  %s   imitated, has the one of Ciclos Luna
   Settings, log    %s   removed at the end

`, d.bridge.Addr(), urlOf(d.waAddr), urlOf(d.hubAddr), urlOf(d.shopAddr), d.dir)
}

// suggest says what to try, once there is a message to ask about.
func (d *demo) suggest(wamid string) {
	self := programName()
	with := "--config " + d.dir
	fmt.Fprintf(d.c.App.Writer, `Try, in another terminal:

   %[1]s why %[2]s %[3]s
      every step of a message, and why
   curl %[4]s/_sim/receive -d '{"from":"+15550100199","name":"You","text":"I confirm order 4711"}'
      be a customer of Maple Bakery; curl %[4]s/_sim/messages shows what you got
   $EDITOR %[5]s/tenants/bakery/script.js
      change what it answers: the new version decides from the moment that it is saved
   pkill -P %[7]d -f 'plugin serve hubspot'
      kill the plugin: the same deliveries go to its next process
   curl %[6]s/_sim/faults -d '{"kind":"status","status":503}'
      break HubSpot and watch its lane; curl -X DELETE %[6]s/_sim/faults mends it
   curl %[4]s/_sim/fail -d '{"do":"error","code":131026,"count":1}'
      one message cannot be delivered: %[1]s dead list %[2]s
   %[1]s send --tenant bakery --to +12015550100 --text "Fresh bread!" --wait 5s %[2]s
      write to a customer

Ctrl-C ends it.

`, self, with, wamid, urlOf(d.waAddr), d.dir, urlOf(d.hubAddr), os.Getpid())
}

// programName is how this program is called in another terminal.
func programName() string {
	self, err := os.Executable()
	if err != nil {
		return "wabridge"
	}
	if found, err := exec.LookPath("wabridge"); err == nil {
		if found, err = filepath.Abs(found); err == nil && found == self {
			return "wabridge"
		}
	}
	return self
}

// watch shows how it goes until ctx ends, or the demo went on for as long as it should.
func (d *demo) watch(ctx context.Context) {
	bar := newProgress(d.c.App.ErrWriter)
	defer bar.done()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var end <-chan time.Time
	began, answered := time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-tick.C:
		}
		if sends := d.whatsapp.Ledger().Sends; !answered && len(sends) > 0 {
			answered = true
			if wait := d.c.Duration("for"); wait > 0 {
				end = time.After(wait)
			}
			if !d.c.Bool("json") {
				bar.done()
				d.suggest(sends[0].ID)
			}
		}
		s := d.bridge.Broker().Snapshot()
		bar.say("%s: %d messages in, %d sent, %d written to CRMs, %d dead letters",
			span(time.Since(began).Truncate(time.Second)), s.Totals.Messages, s.Totals.Sent, s.Totals.Written, s.Dead)
	}
}

const (
	// startTime is how long it may take until the first answer.
	startTime = time.Minute
	// settleTime is how long what is under way may take to arrive at the end.
	settleTime = 20 * time.Second
)

// settle waits until nothing waits any more, for a while.
func (d *demo) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for d.whatsapp.Wait(ctx) == nil && d.waiting() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *demo) waiting() int {
	s := d.bridge.Broker().Snapshot()
	return s.OnTheWay()
}

// outcome is what came of the demo's traffic.
type outcome struct {
	Written int `json:"written"` // messages that customers wrote
	InCRM   int `json:"in_crm"`  // of these, in a CRM
	Sent    int `json:"sent"`    // messages that customers got
	Twice   int `json:"twice"`   // of these, more than once
	Waiting int `json:"waiting"`
	Dead    int `json:"dead"`
}

// conclude compares what customers wrote with what the CRMs have.
func (d *demo) conclude() error {
	has := map[string]bool{}
	for _, r := range d.hubspot.Records("communications") {
		has[r.Properties["wa_message_id"]] = true
	}
	for _, r := range d.shop.Records("message") {
		has[r.ExternalID] = true
	}
	s := d.bridge.Broker().Snapshot()
	stats := d.whatsapp.Stats()
	o := outcome{Sent: stats.Sends, Twice: stats.Twice, Waiting: d.waiting(), Dead: s.Dead}
	for _, id := range d.traffic.ids() {
		o.Written++
		if has[id] {
			o.InCRM++
		}
	}
	if d.c.Bool("json") {
		printJSON(d.c.App.Writer, o)
	} else {
		fmt.Fprintf(d.c.App.Writer, "Customers wrote %d messages; %d of them are in a CRM. %d were sent, %d of them twice. %d wait, %d are dead letters.\n",
			o.Written, o.InCRM, o.Sent, o.Twice, o.Waiting, o.Dead)
	}
	if o.InCRM < o.Written && o.Waiting+o.Dead == 0 {
		return fail(exitFailed, "demo: %d messages are nowhere", o.Written-o.InCRM)
	}
	return nil
}

// remove leaves nothing behind.
func (d *demo) remove() error {
	var errs []error
	for _, c := range []io.Closer{d.waAddr, d.hubAddr, d.shopAddr} {
		if ln, ok := c.(net.Listener); ok && ln != nil {
			_ = ln.Close() // closed already, if it was served
		}
	}
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}
