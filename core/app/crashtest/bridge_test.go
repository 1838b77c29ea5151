//go:build linux && !race

package crashtest

import (
	"bytes"
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
	"syscall"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

const (
	appSecret = "crash-app-secret"
	number    = "106540352242922"
	apiToken  = "wab_crash_token_0123456789abcdef"
)

// script answers what begins with Ask, naming what it answers.
const script = `
export function onMessage(event, context) {
  if (event.message.text.startsWith("Ask")) return [reply("re " + event.id)];
}
export function mapToCRM(event, context) {
  return { lastname: context.contact.name };
}
`

// world is everything that outlives the bridge: the vendors, the configuration,
// the disk.
type world struct {
	t       *testing.T
	bin     string
	config  string
	data    string
	url     string
	crm     *hubspotsim.Sim
	wa      *whatsappsim.Sim
	client  http.Client
	stopSim context.CancelFunc
	servers []*http.Server
	ended   chan struct{}
}

func newWorld(t *testing.T, bin, data string) *world {
	t.Helper()
	w := &world{t: t, bin: bin, data: data, client: http.Client{Timeout: 5 * time.Second}, ended: make(chan struct{})}
	address, err := rig.Address()
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + address
	w.crm = hubspotsim.New(hubspotsim.Options{Seed: 7})
	w.wa = whatsappsim.New(whatsappsim.Options{
		AppSecret: appSecret, Numbers: []whatsappsim.Number{{ID: number, DisplayNumber: "15550783881", WABA: "102290129340398"}},
		WebhookURL: w.url + "/webhooks/whatsapp", StatusDelay: 50 * time.Millisecond, BatchStatuses: 20 * time.Millisecond,
		RetryMin: 50 * time.Millisecond, RetryMax: 500 * time.Millisecond, Seed: 7,
	})
	ctx, stop := context.WithCancel(context.Background())
	w.stopSim = stop
	go func() { defer close(w.ended); _ = w.wa.Run(ctx) }()
	w.configure(address, w.serve(w.crm), w.serve(w.wa))
	t.Cleanup(func() {
		stop()
		for _, s := range w.servers {
			_ = s.Close()
		}
		<-w.ended
	})
	return w
}

func (w *world) serve(h http.Handler) string {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	w.servers = append(w.servers, s)
	go func() { _ = s.Serve(ln) }()
	return "http://" + ln.Addr().String()
}

func (w *world) configure(address, crm, wa string) {
	w.t.Helper()
	w.config = w.t.TempDir()
	tenant := filepath.Join(w.config, "tenants", "crash")
	err := errors.Join(
		os.MkdirAll(tenant, 0o700),
		os.WriteFile(filepath.Join(w.config, "wabridge.toml"), fmt.Appendf(nil, `data_dir = %q
[web]
listen = %q
[[web.api_tokens]]
name = "crash"
token = %q
[log]
level = "warn"
[store]
ballast_size = "4MiB"
min_free = "16MiB"
[whatsapp]
base_url = %q
verify_token = "crash-verify-token"
app_secrets = [%q]
unknown_wait = "2s"
timeout = "5s"
`, w.data, address, apiToken, wa, appSecret), 0o600),
		os.WriteFile(filepath.Join(tenant, "tenant.toml"), fmt.Appendf(nil, `name = "Crash"
[escalation]
after_messages = 0
[policy]
reply_cap = 1000
detect_loops = false
reply_window = "1s"
[[numbers]]
id = %q
access_token = "crash-access-token"
rate = 1000.0
[[lanes]]
connector = "hubspot"
retry = ["100ms", "300ms", "1s", "1s", "2s"]
secrets = { token = "crash-token" }
budgets = [{ name = "api", calls = 1000000, per = "1s" }]
[lanes.settings]
base_url = %q
`, number, crm), 0o600),
		os.WriteFile(filepath.Join(tenant, "script.js"), []byte(script), 0o600),
	)
	if err != nil {
		w.t.Fatal(err)
	}
}

// disturb makes the vendors unruly.
func (w *world) disturb() {
	w.crm.Inject(
		hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Status: 503, Chance: 0.04},
		hubspotsim.Fault{Kind: hubspotsim.FaultLost, Chance: 0.03},
		hubspotsim.Fault{Kind: hubspotsim.FaultSlow, Delay: 50 * time.Millisecond, Chance: 0.05},
	)
	w.wa.Fail(
		whatsappsim.Rule{Do: whatsappsim.DoLost, Chance: 0.04},
		whatsappsim.Rule{Do: whatsappsim.DoHTML, Status: 502, Chance: 0.02},
		whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131056, Chance: 0.01},
		whatsappsim.Rule{Do: whatsappsim.DoSlow, Delay: 100 * time.Millisecond, Chance: 0.1},
	)
}

func (w *world) heal() {
	w.crm.Heal()
	w.wa.Heal()
}

// bridge is one process.
type bridge struct {
	w      *world
	cmd    *exec.Cmd
	log    *bytes.Buffer
	exited chan struct{}
	err    error
}

// start starts the program; env is added to its environment.
func (w *world) start(env ...string) *bridge {
	w.t.Helper()
	b := &bridge{w: w, log: new(bytes.Buffer), exited: make(chan struct{})}
	b.cmd = exec.Command(w.bin, "run", "--config", w.config)
	b.cmd.Env = append(os.Environ(), env...)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // all that it starts is known by that
	b.cmd.Stdout, b.cmd.Stderr = io.Discard, b.log
	if err := b.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { b.err = b.cmd.Wait(); close(b.exited) }()
	return b
}

// ready waits until the bridge takes events, and reports false when it ended
// before.
func (b *bridge) ready() bool {
	b.w.t.Helper()
	ok := await(10*time.Second, func() bool {
		resp, err := b.w.get("/readyz")
		if err != nil {
			return b.gone()
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if !ok {
		b.w.t.Fatalf("the bridge does not get ready:\n%s", b.log)
	}
	return !b.gone()
}

func (b *bridge) gone() bool {
	select {
	case <-b.exited:
		return true
	default:
		return false
	}
}

func (b *bridge) kill() {
	_ = b.cmd.Process.Kill()
	<-b.exited
}

// killedItself reports whether the program ended by SIGKILL, as a failpoint does.
func (b *bridge) killedItself() bool {
	st, ok := b.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && st.Signaled() && st.Signal() == syscall.SIGKILL
}

func (b *bridge) stop() error {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
		return b.err
	case <-time.After(35 * time.Second):
		b.kill()
		return errors.New("the bridge did not stop within 35 s")
	}
}

func (w *world) get(path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiToken)
	return w.client.Do(req)
}

// api asks the bridge.
func (w *world) api(path string, v any) error {
	resp, err := w.get(path)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// waiting is how much is on its way, -1 when the bridge cannot be asked.
func (w *world) waiting() int {
	var s broker.Snapshot
	if w.api("/api/v1/status", &s) != nil {
		return -1
	}
	return s.OnTheWay()
}

// deadLetters are all there are.
func (w *world) deadLetters() []broker.DeadLetter {
	w.t.Helper()
	var all []broker.DeadLetter
	for after := ""; ; {
		var page []broker.DeadLetter
		if err := w.api("/api/v1/dead?limit=500&after="+after, &page); err != nil {
			w.t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
}

// await looks again and again until something is so, for at most a while.
func await(most time.Duration, so func() bool) bool {
	end := time.NewTimer(most)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-end.C:
			return so()
		}
	}
	return true
}
