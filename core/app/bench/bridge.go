package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

const (
	secret   = "bench-app-secret"
	number   = "106540352242922"
	noisy    = "106540352242923"                  // of the tenant beside
	apiToken = "wab_bench_token_0123456789abcdef" //nolint:gosec // of a bridge that lives for seconds
	// pollEvery is how often the benchmark looks whether something is done.
	pollEvery = 20 * time.Millisecond
)

// bridge is the program under measurement with the sims around it.
type bridge struct {
	url     string
	client  http.Client
	cmd     *exec.Cmd
	exited  chan error
	crm     *vendor
	wa      *whatsappsim.Sim
	servers []*http.Server
	stopSim context.CancelFunc
	sims    sync.WaitGroup
	dir     string
	healed  time.Time

	acked, replies, arrived, beside atomic.Int64

	mu     sync.Mutex
	sent   []time.Time     // when the n-th message was due
	took   []time.Duration // how long it took into the CRM
	landed []time.Time
}

// answers is the script: it answers what begins with Ask, hands over what begins with Complain, and
// maps fifteen fields.
const answers = `
export function onMessage(event, context) {
  const text = event.message.text || "";
  if (text.startsWith("Ask")) return [reply("Thank you, we will look into it. You wrote " + event.id)];
  if (text.startsWith("Complain")) return [escalate({ topic: "complaint", reason: "a complaint" })];
}
export function mapToCRM(event, context) {
  const c = context.contact, m = event.message, text = m.text || "";
  return {
    lastname: c.name, wa_f1: c.id, wa_f2: m.id, wa_f3: m.type, wa_f4: String(text.length), wa_f5: text.slice(0, 40),
    wa_f6: event.number, wa_f7: event.time, wa_f8: String(context.conversation.messages), wa_f9: context.conversation.mode,
    wa_f10: context.tenant.name, wa_f11: c.phone || "", wa_f12: text.includes("fox") ? "fox" : "none",
    wa_f13: text.split(" ").length + " words", wa_f14: (c.name || "").toUpperCase(),
  };
}
`

func start(ctx context.Context, o options, s setup) (*bridge, error) {
	dir, err := os.MkdirTemp(o.dir, "run-*")
	if err != nil {
		return nil, err
	}
	b := &bridge{dir: dir, exited: make(chan error, 1), client: http.Client{Timeout: 5 * time.Second}}
	if s.vendor == nil {
		s.vendor = vendors[0]
	}
	b.crm = s.vendor(s.crm)
	address, err := rig.Address()
	if err != nil {
		return nil, err
	}
	b.url = "http://" + address
	b.wa = whatsappsim.New(whatsappsim.Options{
		AppSecret: secret, Numbers: []whatsappsim.Number{
			{ID: number, DisplayNumber: "15550783881", WABA: "102290129340398"},
			{ID: noisy, DisplayNumber: "15550783882", WABA: "102290129340399"},
		},
		WebhookURL: b.url + "/webhooks/whatsapp", StatusDelay: 100 * time.Millisecond, BatchStatuses: 50 * time.Millisecond,
		Latency: func() time.Duration { return s.graph },
	})
	sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stopSim = stop
	b.sims.Go(func() { _ = b.wa.Run(sctx) })
	crmURL, err := b.serve(b.watched())
	if err != nil {
		return nil, err
	}
	waURL, err := b.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/messages") {
			b.replies.Add(1)
		}
		b.wa.ServeHTTP(w, r)
	}))
	if err != nil {
		return nil, err
	}
	if b.crm.begin != nil {
		if err := b.crm.begin(sctx, b); err != nil {
			return nil, err
		}
	}
	if err := b.configure(crmURL, waURL, address, s); err != nil {
		return nil, err
	}
	args := []string{"run", "--config", filepath.Join(dir, "wabridge.toml")}
	if o.profile != "" {
		args = append(args, "--cpuprofile", o.profile)
	}
	b.cmd = exec.CommandContext(sctx, o.bin, args...) //nolint:gosec // the program that the person who measures names
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	b.cmd.Stdout, b.cmd.Stderr = logFile, logFile
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { b.exited <- b.cmd.Wait(); _ = logFile.Close() }()
	if err := b.wait(ctx, 15*time.Second, b.up); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, errors.Join(fmt.Errorf("the bridge does not come up: %w: %s", err, text), b.close())
	}
	return b, nil
}

func (b *bridge) serve(h http.Handler) (string, error) {
	ln, err := listen()
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	b.servers = append(b.servers, srv)
	b.sims.Go(func() { _ = srv.Serve(ln) })
	return "http://" + ln.Addr().String(), nil
}

func listen() (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
}

func (b *bridge) configure(crm, wa, address string, s setup) error {
	perSecond := cmp.Or(s.perSecond, 10_000)
	main := fmt.Sprintf(`data_dir = "data"
[web]
listen = %q
public_url = %q
[[web.api_tokens]]
name = "bench"
token = %q
[log]
level = "warn"
[whatsapp]
base_url = %q
verify_token = "bench-verify-token"
app_secrets = [%q]
`, address, b.url, apiToken, wa, secret)
	err := errors.Join(
		os.WriteFile(filepath.Join(b.dir, "wabridge.toml"), []byte(main), 0o600),
		b.tenant("bench", number, "102290129340398", crm, perSecond),
	)
	if s.beside != nil {
		err = errors.Join(err, b.tenant("beside", noisy, "102290129340399", crm, perSecond))
	}
	return err
}

func (b *bridge) tenant(id, number, waba, crm string, perSecond float64) error {
	text := fmt.Sprintf(`name = "Bench"
[escalation]
after_messages = 0
[[numbers]]
id = %q
waba = %q
access_token = "bench-access-token"
rate = %.1f
`, number, waba, perSecond) + b.crm.lane(crm)
	dir := filepath.Join(b.dir, "tenants", id)
	return errors.Join(
		os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "tenant.toml"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, "script.js"), []byte(b.script()), 0o600),
	)
}

// script is the tenants' script, with the CRM's names of the fields.
func (b *bridge) script() string {
	text := answers
	for i := range mapped {
		text = strings.Replace(text, fmt.Sprintf("wa_f%d:", i+1), fmt.Sprintf(b.crm.field, i+1)+":", 1)
	}
	if b.crm.connector != "hubspot" {
		text = strings.Replace(text, "lastname: c.name, ", "", 1)
	}
	return text
}

func (b *bridge) pid() int { return b.cmd.Process.Pid }

func (b *bridge) get(path string, v any) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, b.url+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+apiToken)
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, bytes.TrimSpace(data))
	}
	if err == nil && v != nil {
		err = json.Unmarshal(data, v)
	}
	return err
}

// up reports whether the bridge takes events and its lanes deliver.
func (b *bridge) up() bool {
	var s broker.Snapshot
	if b.get("/readyz", nil) != nil || b.get("/api/v1/status", &s) != nil || len(s.Lanes) == 0 {
		return false
	}
	for _, l := range s.Lanes {
		if l.State != broker.LaneRunning {
			return false
		}
	}
	return s.Tenants[0].Script != ""
}

// idle reports whether nothing is on its way.
func (b *bridge) idle() bool {
	var s broker.Snapshot
	if b.get("/api/v1/status", &s) != nil {
		return false
	}
	return s.OnTheWay() == 0
}

func (b *bridge) wait(ctx context.Context, most time.Duration, done func() bool) error {
	end := time.NewTimer(most)
	defer end.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end.C:
			return errors.New("it took too long")
		case err := <-b.exited:
			b.exited <- err
			return fmt.Errorf("the bridge ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// expect makes room for n messages.
func (b *bridge) expect(n int) {
	b.sent, b.took, b.landed = make([]time.Time, n+1), make([]time.Duration, n+1), make([]time.Time, n+1)
}

func (b *bridge) sending(n int, _ string, due time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n < len(b.sent) {
		b.sent[n] = due
	}
}

// created is told of each message that the CRM has.
func (b *bridge) created(key string) {
	if strings.HasPrefix(key, "wamid.beside.") {
		b.beside.Add(1)
		return
	}
	now := time.Now()
	var n int
	if _, err := fmt.Sscanf(key, "wamid.bench.%d", &n); err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n < len(b.sent) && b.took[n] == 0 {
		b.took[n], b.landed[n] = now.Sub(b.sent[n]), now
		b.arrived.Add(1)
	}
}

// answers are how long each answer took, from when its message was due.
func (b *bridge) answers() rig.Latencies {
	sends := b.wa.Ledger().Sends
	b.mu.Lock()
	defer b.mu.Unlock()
	var out rig.Latencies
	for _, s := range sends {
		_, id, _ := strings.Cut(s.Text, "wamid.bench.")
		var n int
		if _, err := fmt.Sscanf(id, "%d", &n); err == nil && n < len(b.sent) {
			out = append(out, s.At.Sub(b.sent[n]))
		}
	}
	return out
}

func (b *bridge) written() int { return int(b.arrived.Load()) }

func (b *bridge) latencies() rig.Latencies {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out rig.Latencies
	for _, d := range b.took {
		if d > 0 {
			out = append(out, d)
		}
	}
	return out
}

// recovered is how long after the end of an outage the last message landed that
// was due before it ended.
func (b *bridge) recovered() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var last time.Time
	for n, at := range b.landed {
		if !at.IsZero() && b.sent[n].Before(b.healed) && at.After(last) {
			last = at
		}
	}
	return max(0, last.Sub(b.healed))
}

// close ends the bridge and the sims.
func (b *bridge) close() error {
	var err error
	if b.cmd != nil && b.cmd.Process != nil {
		_ = b.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err = <-b.exited:
		case <-time.After(35 * time.Second):
			err = errors.Join(errors.New("the bridge did not end within 35 s"), b.cmd.Process.Kill())
		}
	}
	b.stopSim()
	for _, s := range b.servers {
		err = errors.Join(err, s.Close())
	}
	b.sims.Wait()
	return errors.Join(err, os.RemoveAll(b.dir))
}
