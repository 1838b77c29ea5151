package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/config"
)

// The smallest configuration that works.
const (
	smallMain = `
[whatsapp]
verify_token = "a verify token"
app_secrets = ["an app secret"]
`
	smallTenant = `
[[numbers]]
id = "106540352242922"
access_token = "an access token"
`
)

var defaultPolicy = config.Policy{ReplyCap: 10, DetectLoops: true, ReplyWindow: 10 * time.Minute, HumanFor: 24 * time.Hour, ConfirmWithin: 168 * time.Hour, AwaitFor: 2 * time.Minute, Stop: "all"}

// folder writes files and returns the path of the main one.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, config.FileName)
}

func options(env ...string) config.Options {
	return config.Options{Connectors: []string{"custom-http", "hubspot"}, Environ: append([]string{}, env...)}
}

// load loads what must be right.
func load(t *testing.T, files map[string]string, opts config.Options) *config.Config {
	t.Helper()
	cfg, err := config.Load(folder(t, files), opts)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return cfg
}

// problems loads what must be wrong, and returns the lines of the error
// without the path of the folder.
func problems(t *testing.T, files map[string]string, opts config.Options) string {
	t.Helper()
	path := folder(t, files)
	cfg, err := config.Load(path, opts)
	if err == nil {
		t.Fatalf("Load gave %+v, want an error", cfg)
	}
	if !errors.Is(err, config.ErrInvalid) {
		t.Errorf("Load: %v is not ErrInvalid", err)
	}
	return strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", "")
}

func TestLoad_FillsInDefaults(t *testing.T) {
	cfg := load(t, map[string]string{
		"wabridge.toml":            smallMain,
		"tenants/demo/tenant.toml": smallTenant + "[[lanes]]\nconnector = \"hubspot\"\n",
		"tenants/demo/script.js":   "",
	}, options())

	want := config.Default()
	want.File, want.Dir = cfg.File, filepath.Dir(cfg.File)
	want.DataDir = filepath.Join(want.Dir, "data")
	want.WhatsApp.VerifyToken = "a verify token"
	want.WhatsApp.AppSecrets = []core.Secret{"an app secret"}
	dir := filepath.Join(want.Dir, "tenants", "demo")
	retry := []time.Duration{time.Second, 30 * time.Second}
	want.Tenants = []config.Tenant{{
		ID: "demo", Dir: dir, Script: filepath.Join(dir, "script.js"),
		Record: true, Escalation: config.Escalation{Team: "support", HandOver: 20 * time.Second, AfterMessages: 6}, Policy: defaultPolicy,
		Numbers: []config.Number{{ID: "106540352242922", AccessToken: "an access token", Rate: 80, Retry: retry}},
		Lanes: []config.Lane{{Name: "hubspot", Connector: "hubspot", Settings: json.RawMessage("{}"),
			Retry: retry, Linger: 20 * time.Millisecond, Pull: 15 * time.Minute}},
	}}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLoad_ReadsEverySetting(t *testing.T) {
	plugin := strings.Repeat("0123456789abcdef", 4)
	files := map[string]string{
		"wabridge.toml": `
data_dir = "/var/lib/wabridge"
dead_letter_deadline = "8h"
[web]
listen = "0.0.0.0:80"
public_url = "https://bridge.example/wa/"
max_in_flight = 64
trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
[[web.api_tokens]]
name = "erp"
tenant = "b"
token = "file:secrets/erp"
[log]
level = "debug"
format = "json"
[store]
max_size = "1GiB"
ballast_size = "8MB"
min_free = 1024
seen_days = 9
history_days = 30
[whatsapp]
base_url = "http://127.0.0.1:9000/"
api_version = "v24.0"
verify_token = "env:VERIFY"
app_secrets = ["env:WABRIDGE_NEW_SECRET", "old secret"]
timeout = "5s"
unknown_wait = "1m"
health_every = "2h"
[script]
soft = "10ms"
hard = "20ms"
memory = "32MiB"
[plugins.erp]
path = "erp-plugin"
sha256 = "` + plugin + `"
`,
		"secrets/erp": "0123456789abcdef\r\n",
		"erp-plugin":  "",
		"tenants/b/tenant.toml": `
name = "Bee"
record = false
script = "main.ts"
settings = { greeting = "hi", limits = [1, 2.5], "a.b" = true }
[escalation]
team = "desk"
[policy]
reply_cap = 3
reply_window = "1h"
human_for = "2h"
[[numbers]]
id = "1"
waba = "2"
display = "+49 30 1234"
access_token = "env:TOKEN"
rate = 20
retry = []
max_in_flight = 4
fallback = "4"
fallback_when = ["banned"]
fallback_back_after = "10m"
[[numbers]]
id = "4"
access_token = "env:TOKEN"
[[lanes]]
name = "orders"
connector = "erp"
retry = ["5s"]
rate = 2.5
max_in_flight = 2
max_batch = 50
linger = "5ms"
idempotency = "key"
search_delay = "5s"
pull = "30m"
budgets = [{ name = "api", calls = 190, per = "10s" }]
account = "org"
settings = { base_url = "http://127.0.0.1:1", nested = { n = 1 } }
secrets = { password = "file:password" }
`,
		"tenants/b/main.ts":     "",
		"tenants/b/password":    "hunter2\n",
		"tenants/b/.git/x":      "",
		"tenants/a/tenant.toml": "[[numbers]]\nid = \"3\"\naccess_token = \"x\"\n",
		"tenants/README":        "not a tenant",
	}
	cfg := load(t, files, options("VERIFY=v", "WABRIDGE_NEW_SECRET=new secret", "TOKEN=t=1"))

	dir := cfg.Dir
	retry := []time.Duration{time.Second, 30 * time.Second}
	want := &config.Config{
		File: filepath.Join(dir, "wabridge.toml"), Dir: dir, DataDir: "/var/lib/wabridge", DeadLetterDeadline: 8 * time.Hour,
		Web: config.Web{Listen: "0.0.0.0:80", PublicURL: "https://bridge.example/wa", TrustedProxies: []string{"127.0.0.1", "10.0.0.0/8"}, MaxInFlight: 64,
			APITokens: []config.APIToken{{Name: "erp", Tenant: "b", Token: "0123456789abcdef"}}},
		Log: config.Log{Level: "debug", Format: "json"},
		Store: config.Store{MaxSize: config.GiB, BallastSize: 8e6, MinFree: 1024,
			SeenDays: 9, HistoryDays: 30},
		WhatsApp: config.WhatsApp{BaseURL: "http://127.0.0.1:9000", APIVersion: "v24.0", VerifyToken: "v",
			AppSecrets: []core.Secret{"new secret", "old secret"}, Timeout: 5 * time.Second, UnknownWait: time.Minute, HealthEvery: 2 * time.Hour,
			TemplateSync: 6 * time.Hour, ManagementCallsPerHour: 200, TemplateCreationsPerHour: 100,
			MediaHosts: []string{"lookaside.fbsbx.com", "fbcdn.net", "whatsapp.net", "graph.facebook.com"}},
		Media:   config.Media{Fetch: true, KeepDays: 90, MaxSize: 100 * config.MiB, Types: []string{}, AtOnce: 4},
		Script:  config.Script{Soft: 10 * time.Millisecond, Hard: 20 * time.Millisecond, Memory: 32 * config.MiB},
		Plugins: map[string]config.Plugin{"erp": {Path: filepath.Join(dir, "erp-plugin"), SHA256: plugin}},
		Tenants: []config.Tenant{
			{ID: "a", Dir: filepath.Join(dir, "tenants/a"), Record: true, Escalation: config.Escalation{Team: "support", HandOver: 20 * time.Second, AfterMessages: 6}, Policy: defaultPolicy,
				Numbers: []config.Number{{ID: "3", AccessToken: "x", Rate: 80, Retry: retry}}},
			{ID: "b", Dir: filepath.Join(dir, "tenants/b"), Name: "Bee",
				Script:     filepath.Join(dir, "tenants/b/main.ts"),
				Settings:   map[string]any{"greeting": "hi", "limits": []any{1.0, 2.5}, "a.b": true},
				Escalation: config.Escalation{Team: "desk", HandOver: 20 * time.Second, AfterMessages: 6},
				Policy:     config.Policy{ReplyCap: 3, DetectLoops: true, ReplyWindow: time.Hour, HumanFor: 2 * time.Hour, ConfirmWithin: 168 * time.Hour, AwaitFor: 2 * time.Minute, Stop: "all"},
				Numbers: []config.Number{{ID: "1", WABA: "2", Display: "+49 30 1234", AccessToken: "t=1", Rate: 20,
					Retry: []time.Duration{}, MaxInFlight: 4, Fallback: "4", FallbackWhen: []string{"banned"}, FallbackBackAfter: 10 * time.Minute},
					{ID: "4", AccessToken: "t=1", Rate: 80, Retry: retry}},
				Lanes: []config.Lane{{Name: "orders", Connector: "erp",
					Settings: json.RawMessage(`{"base_url":"http://127.0.0.1:1","nested":{"n":1}}`),
					Secrets:  map[string]core.Secret{"password": "hunter2"},
					Retry:    []time.Duration{5 * time.Second}, Rate: 2.5, Account: "org", Budgets: []config.Budget{{Name: "api", Calls: 190, Per: 10 * time.Second}}, MaxInFlight: 2, MaxBatch: 50,
					Linger: 5 * time.Millisecond, Idempotency: core.IdempotencyKey, SearchDelay: 5 * time.Second, Pull: 30 * time.Minute}},
			},
		},
	}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLoad_LetsFlagsWinOverEnvironmentOverFile(t *testing.T) {
	files := map[string]string{
		"wabridge.toml":         smallMain + "[web]\nlisten = \"127.0.0.1:1\"\nmax_in_flight = 1\n[log]\nlevel = \"warn\"\n",
		"tenants/a/tenant.toml": smallTenant,
	}
	opts := options("WABRIDGE_WEB__LISTEN=127.0.0.1:2", "WABRIDGE_WEB__MAX_IN_FLIGHT=2",
		"WABRIDGE_WHATSAPP__APP_SECRETS=one, env:TWO", "TWO=two", "WABRIDGE_DATA_DIR=elsewhere",
		"WABRIDGE_SCRIPT__SOFT=7ms", "WABRIDGE_SUBSCRIPTIONS__ALLOW_PRIVATE=true")
	opts.Flags = map[string]any{"web.listen": "127.0.0.1:3", "store.history_days": 5}
	cfg := load(t, files, opts)

	if !cfg.Subscriptions.AllowPrivate {
		t.Error("what the environment says is true is false")
	}
	if got, want := cfg.Web.Listen, "127.0.0.1:3"; got != want {
		t.Errorf("flag over environment over file: Listen = %q, want %q", got, want)
	}
	if got, want := cfg.Web.MaxInFlight, 2; got != want {
		t.Errorf("environment over file: MaxInFlight = %d, want %d", got, want)
	}
	if got, want := cfg.Log.Level, "warn"; got != want {
		t.Errorf("file over default: Level = %q, want %q", got, want)
	}
	if got, want := cfg.Store.HistoryDays, 5; got != want {
		t.Errorf("a flag of the setting's type: HistoryDays = %d, want %d", got, want)
	}
	if diff := cmp.Diff([]core.Secret{"one", "two"}, cfg.WhatsApp.AppSecrets); diff != "" {
		t.Errorf("a list in the environment (-want +got):\n%s", diff)
	}
	if got, want := cfg.DataDir, filepath.Join(cfg.Dir, "elsewhere"); got != want {
		t.Errorf("DataDir = %q, want %q", got, want)
	}
	if got, want := cfg.Script.Soft, 7*time.Millisecond; got != want {
		t.Errorf("Script.Soft = %v, want %v", got, want)
	}
}

func TestLoad_KnowsThatASecretsVariableIsNoSetting(t *testing.T) {
	cfg := load(t, map[string]string{
		"wabridge.toml":         strings.Replace(smallMain, "a verify token", "env:WABRIDGE_META__VERIFY", 1),
		"tenants/a/tenant.toml": smallTenant,
	}, options("WABRIDGE_META__VERIFY=v"))
	if got := cfg.WhatsApp.VerifyToken.Reveal(); got != "v" {
		t.Errorf("VerifyToken = %q, want %q", got, "v")
	}
}

func TestLoad_LeavesOtherPeoplesVariablesAlone(t *testing.T) {
	// Kubernetes makes such variables for a service named wabridge.
	load(t, map[string]string{"wabridge.toml": smallMain, "tenants/a/tenant.toml": smallTenant},
		options("WABRIDGE_PORT=tcp://10.0.0.1:8080", "WABRIDGE_SERVICE_HOST=10.0.0.1",
			"WABRIDGE_PORT_8080_TCP_ADDR=10.0.0.1", "WABRIDGE_CONFIG=x", "HOME=/", "=C:=x", "odd"))
}

func TestWeb_ProxiesAreNetworks(t *testing.T) {
	w := config.Web{TrustedProxies: []string{"127.0.0.1", "10.0.0.0/8", "2001:db8::1", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104"}}
	if got := fmt.Sprint(w.Proxies()); got != "[127.0.0.1/32 10.0.0.0/8 2001:db8::1/128 10.0.0.1/32]" {
		t.Errorf("got %s", got)
	}
}
