package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/consent"
)

func initialise(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	made, err := config.Init(dir, "script.js", []byte("// script\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range made {
		made[i], _ = filepath.Rel(dir, made[i])
	}
	want := []string{"wabridge.toml", "tenants/demo/tenant.toml", "tenants/demo/script.js", "secrets/api-token", "secrets/verify-token"}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Fatalf("Init made (-want +got):\n%s", diff)
	}
	return dir
}

func TestInit_AsksOnlyForWhatMetaGives(t *testing.T) {
	dir := initialise(t)
	_, err := config.Load(filepath.Join(dir, config.FileName), options())
	if err == nil {
		t.Fatal("Load found secrets that nobody gave")
	}
	const why = ": no such file; put the secret there, readable only by the bridge (chmod 600)"
	want := "wabridge.toml: whatsapp.app_secrets[0]: file:secrets/app-secret" + why + "\n" +
		"tenants/demo/tenant.toml: numbers[0].access_token: file:../../secrets/access-token" + why
	if got := strings.ReplaceAll(err.Error(), dir+"/", ""); got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}

	for _, name := range []string{"app-secret", "access-token"} {
		if err := os.WriteFile(filepath.Join(dir, "secrets", name), []byte("given by Meta\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, config.FileName), options())
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Web.APITokens[0].Token; len(got) < 26 {
		t.Errorf("the API token has %d characters, want at least 26", len(got))
	}
	if cfg.WhatsApp.VerifyToken == cfg.Web.APITokens[0].Token {
		t.Error("the verify token is the API token")
	}
	if got, want := cfg.Tenants[0].Script, filepath.Join(dir, "tenants/demo/script.js"); got != want {
		t.Errorf("Script = %q, want %q", got, want)
	}
}

func TestInit_KeepsSecretsToTheOwner(t *testing.T) {
	dir := initialise(t)
	for name, want := range map[string]fs.FileMode{
		"secrets": 0o700, "secrets/api-token": 0o600, "secrets/verify-token": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestInit_OverwritesNothing(t *testing.T) {
	for _, name := range []string{"wabridge.toml", "tenants/demo/script.js", "secrets/verify-token"} {
		path := folder(t, map[string]string{name: "mine"})
		dir := filepath.Dir(path)
		made, err := config.Init(dir, "script.js", nil, nil)
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), name+" is already there") {
			t.Errorf("Init over %s: %v, want an error that names it", name, err)
		}
		if len(made) != 0 {
			t.Errorf("Init over %s made %v", name, made)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "mine" {
			t.Errorf("%s holds %q (%v) after Init", name, got, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("after Init over %s there are %v (%v)", name, entries, err)
		}
	}
}

// settingLine is a setting in a template that is commented out.
var settingLine = regexp.MustCompile(`(?m)^#([a-z_]+ = .*|\[.*\])$`)

// The templates show defaults: with every comment sign before a setting taken
// away, what is loaded is the same.
func TestTemplate_ShowsTheDefaults(t *testing.T) {
	dir := initialise(t)
	for _, name := range []string{"app-secret", "access-token", "hubspot-token"} {
		if err := os.WriteFile(filepath.Join(dir, "secrets", name), []byte("given"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, config.FileName)
	want, err := config.Load(path, options())
	if err != nil {
		t.Fatal(err)
	}

	tenant := filepath.Join(dir, "tenants/demo/tenant.toml")
	for _, file := range []string{path, tenant} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, plugins, _ := strings.Cut(string(b), "# A connector that is not built in")
		if (plugins == "") != (file == tenant) {
			t.Fatalf("%s has no example of a plugin", file)
		}
		if n := len(settingLine.FindAllString(text, -1)); n < 5 {
			t.Fatalf("%s shows %d settings, want more", file, n)
		}
		if err := os.WriteFile(file, []byte(settingLine.ReplaceAllString(text, "$1")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := config.Load(path, options())
	if err != nil {
		t.Fatal(err)
	}
	// Examples that are not defaults.
	want.Web.PublicURL = "https://bridge.example.com"
	want.Tenants[0].Region = "TW"
	p := &want.Tenants[0].Policy
	p.QuietHours, p.Zone = "21:00-08:00", "Europe/Madrid"
	p.OptOutWords, p.OptInWords, p.HumanWords = []string{}, []string{}, []string{}
	p.Reads, p.RetryUnknown = []string{}, []string{}
	want.Tenants[0].Names = config.Names{Fields: []string{}, Tags: []string{}, Timers: []string{}, Topics: []string{}}
	p.OutsideWindow = config.OutsideWindow{Template: "message_for_you", Language: "en_US", Params: []string{"{text}"}}
	p.Texts = map[string]consent.Texts{"en": {Stop: "You will get no more messages from us.", Start: "Welcome back!", AskTemplate: "ask_offers/en"}}
	want.Tenants[0].Templates = []config.MessageTemplate{{Name: "order_shipped", Language: "en", Category: "utility", Params: []any{"order"}}}
	want.Tenants[0].Settings = map[string]any{"greeting": "Hello!"}
	want.Tenants[0].Numbers[0].WABA = "200000000000000"
	want.Tenants[0].Numbers[0].Display = "+1 555 0100"
	if len(got.Tenants[0].Lanes) != 1 {
		t.Fatalf("the example has %d lanes, want 1", len(got.Tenants[0].Lanes))
	}
	lane := got.Tenants[0].Lanes[0]
	if lane.Name != "hubspot" || lane.Secrets["token"] != "given" || lane.Rate != 10 || len(lane.Retry) != 2 {
		t.Errorf("the example of a lane is %+v", lane)
	}
	got.Tenants[0].Lanes = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with the comments taken away (-want +got):\n%s", diff)
	}
}
