package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// defaultTarget is the file where none is named.
const defaultTarget = "plugin-test.toml"

// pluginTarget is the file that says what a plugin is tried against.
type pluginTarget struct {
	// Sim is a CRM that is started for the test: "custom-http", with secrets.token as
	// its token. Its address takes the place of {sim} in settings.
	Sim string `toml:"sim"`
	// Settings and Secrets are of an account that works: a sim, or a real account
	// for tests. A secret may be "env:NAME".
	Settings map[string]any    `toml:"settings"`
	Secrets  map[string]string `toml:"secrets"`
	// BadSettings has, by the name of a setting, settings in which it is wrong.
	BadSettings map[string]map[string]any `toml:"bad_settings"`
	// BadSecrets are such that the CRM refuses.
	BadSecrets map[string]string `toml:"bad_secrets"`
	// Records is asked, with GET, for {"event id": how often it is in the CRM}; Stall
	// is told, with POST, ?on=true to take requests and not answer, and ?on=false.
	Records string `toml:"records"`
	Stall   string `toml:"stall"`
	// Texts is asked, with GET, for {"event id": its text in the CRM}; Fail is told, with
	// POST, ?status=503 to answer everything with that, and ?status=0.
	Texts string `toml:"texts"`
	Fail  string `toml:"fail"`
}

// readPluginTarget reads what a plugin is tried against. Without the file the
// account has nothing, which is enough for some. Stop ends what it started.
func readPluginTarget(c *cli.Context, name string) (t connectortest.Target, stop func(), err error) {
	t, file, err := decodePluginTarget(name, c.IsSet("target"))
	if err != nil || file.Sim == "" {
		return t, func() {}, err
	}
	return startTargetSim(c.Context, name, t, file)
}

// startTargetSim starts the CRM that a target asks for.
func startTargetSim(ctx context.Context, name string, t connectortest.Target, file pluginTarget) (connectortest.Target, func(), error) {
	if file.Sim != "custom-http" {
		return t, nil, fail(exitConfig, "%s: sim: want custom-http, not %q", name, file.Sim)
	}
	sim := customhttpsim.New(customhttpsim.Options{Token: t.Account.Secrets["token"].Reveal()})
	ln, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return t, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, sim, nil) }()
	at := func(settings json.RawMessage) json.RawMessage {
		return bytes.ReplaceAll(settings, []byte("{sim}"), []byte("http://"+ln.Addr().String()))
	}
	t.Account.Settings = at(t.Account.Settings)
	for setting, bad := range t.BadSettings {
		t.BadSettings[setting] = at(bad)
	}
	t.Records = func() map[string]int {
		records := sim.Count("event")
		maps.Copy(records, sim.Count("message"))
		maps.Copy(records, sim.Count("note"))
		return records
	}
	t.Stall = func(stalled bool) {
		if stalled {
			sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultHang})
		} else {
			sim.Heal()
		}
	}
	t.Fail = func(status int) {
		if status == 0 {
			sim.Heal()
		} else {
			sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: status, Header: map[string]string{"Retry-After": "7"}})
		}
	}
	t.Texts = func() map[string]string {
		texts := map[string]string{}
		for _, r := range sim.Records("") {
			if text, ok := r.Fields["text"].(string); ok {
				texts[r.ExternalID] = text
			}
		}
		return texts
	}
	return t, func() {
		cancel()
		<-done //nolint:errcheck // it was asked to stop
	}, nil
}

func decodePluginTarget(name string, mustBe bool) (connectortest.Target, pluginTarget, error) {
	t := connectortest.Target{Account: core.Account{Tenant: "test", Lane: "test", Settings: json.RawMessage("{}")}}
	var file pluginTarget
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) && !mustBe {
		return t, file, nil
	}
	if err == nil {
		dec := toml.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		err = dec.Decode(&file)
	}
	if strict := (*toml.StrictMissingError)(nil); errors.As(err, &strict) {
		return t, file, fail(exitConfig, "%s: unknown keys:\n%s", name, strict.String())
	}
	if err != nil {
		return t, file, fail(exitConfig, "%s: %w", name, err)
	}
	if t.Account.Settings, err = json.Marshal(file.Settings); err != nil {
		return t, file, fail(exitConfig, "%s: settings: %w", name, err)
	}
	if file.Settings == nil {
		t.Account.Settings = json.RawMessage("{}")
	}
	if t.Account.Secrets, err = targetSecrets(file.Secrets); err != nil {
		return t, file, fail(exitConfig, "%s: %w", name, err)
	}
	if t.BadSecrets, err = targetSecrets(file.BadSecrets); err != nil {
		return t, file, fail(exitConfig, "%s: %w", name, err)
	}
	for _, setting := range slices.Sorted(maps.Keys(file.BadSettings)) {
		if t.BadSettings == nil {
			t.BadSettings = map[string]json.RawMessage{}
		}
		if t.BadSettings[setting], err = json.Marshal(file.BadSettings[setting]); err != nil {
			return t, file, fail(exitConfig, "%s: bad_settings.%s: %w", name, setting, err)
		}
	}
	if file.Records != "" {
		t.Records = func() map[string]int { return askedAt[int](file.Records) }
	}
	if file.Texts != "" {
		t.Texts = func() map[string]string { return askedAt[string](file.Texts) }
	}
	if file.Stall != "" {
		t.Stall = func(on bool) { instruct(file.Stall, "on", fmt.Sprint(on)) }
	}
	if file.Fail != "" {
		t.Fail = func(status int) { instruct(file.Fail, "status", fmt.Sprint(status)) }
	}
	return t, file, nil
}

func targetSecrets(from map[string]string) (map[string]core.Secret, error) {
	if len(from) == 0 {
		return nil, nil
	}
	out := map[string]core.Secret{}
	for name, v := range from {
		if env, ok := strings.CutPrefix(v, "env:"); ok {
			if v = os.Getenv(env); v == "" {
				return nil, fmt.Errorf("secrets.%s: the environment variable %s is not set", name, env)
			}
		}
		out[name] = core.Secret(v)
	}
	return out, nil
}

const targetTimeout = 10 * time.Second

// askedAt asks the CRM that a plugin is tried against what it has, by event id. No answer
// is nothing, which the rules then say.
func askedAt[V any](address string) map[string]V {
	ctx, cancel := context.WithTimeout(context.Background(), targetTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil
	}
	client := http.Client{Timeout: targetTimeout}
	res, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var records map[string]V
	if json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(&records) != nil {
		return nil
	}
	return records
}

// instruct tells the CRM that a plugin is tried against how to behave.
func instruct(address, key, value string) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(context.Background(), targetTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return
	}
	client := http.Client{Timeout: targetTimeout}
	if res, err := client.Do(req); err == nil {
		res.Body.Close()
	}
}
