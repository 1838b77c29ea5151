package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/core/plugin"
)

// pluginCommand is for those who write connectors, and for the bridge, which runs
// those that are built in.
func pluginCommand() *cli.Command {
	return &cli.Command{
		Name: "plugin", Usage: "for authors of connectors: say whether a plugin does what it must", Action: group("plugin"),
		Description: "Example:\n   wabridge plugin test ./acme-crm --badge conformance.json",
		Subcommands: []*cli.Command{pluginTestCommand(), {
			Name: "serve", Hidden: true, Usage: "for the bridge: run a connector that is built in", ArgsUsage: "NAME",
			Action: func(c *cli.Context) error {
				name := c.Args().First()
				newConnector := connectors[name]
				if newConnector == nil || c.NArg() != 1 {
					return misused("plugin serve: want one of %s", strings.Join(connectorNames(), ", "))
				}
				plugin.Serve(newConnector())
				return nil
			},
		}},
	}
}

// pluginTarget is the file that says what a plugin is tried against.
type pluginTarget struct {
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
}

// badge is what a program is told of a run.
type badge struct {
	Program   string                  `json:"program"`
	SHA256    string                  `json:"sha256"`
	Connector core.ConnectorInfo      `json:"connector"`
	Wabridge  string                  `json:"wabridge"`
	Time      time.Time               `json:"time"`
	Passed    int                     `json:"passed"`
	Failed    int                     `json:"failed"`
	Skipped   int                     `json:"skipped"`
	Conforms  bool                    `json:"conforms"`
	Rules     []connectortest.Finding `json:"rules"`
}

func pluginTestCommand() *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "say whether a plugin does what it must", ArgsUsage: "PROGRAM",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "target", Usage: "`FILE` that says what it is tried against", Value: "plugin-test.toml"},
			&cli.StringFlag{Name: "badge", Usage: "write what was found to `FILE`, as JSON"},
			&cli.BoolFlag{Name: "log", Usage: "show what the plugin logs"},
			jsonFlag,
		},
		Description: "Runs the program as the bridge would, and every rule of a connector on it. Records are written to the account that\n" +
			"the target file names:\n\n" +
			"   settings = { base_url = \"http://127.0.0.1:9000\" }\n" +
			"   secrets = { token = \"env:ACME_TOKEN\" }\n" +
			"   bad_settings = { base_url = { base_url = \"nowhere\" } } # each wrong in one setting\n" +
			"   bad_secrets = { token = \"not-the-token\" }\n" +
			"   records = \"http://127.0.0.1:9000/_test/records\" # GET answers {\"event id\": times in the CRM}\n" +
			"   stall = \"http://127.0.0.1:9000/_test/stall\" # POST ?on=true: take requests, answer none\n\n" +
			"What the file leaves out, its rules are skipped for.\n\nExample:\n   wabridge plugin test ./acme-crm --badge conformance.json",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misused("plugin test: want the plugin's program")
			}
			return testPlugin(c, c.Args().First())
		},
	}
}

func testPlugin(c *cli.Context, program string) error {
	path, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fail(exitNotFound, "plugin test: %w", err)
	}
	sum := sha256.Sum256(data)
	launch := plugin.Launcher{Path: path, SHA256: hex.EncodeToString(sum[:])}
	if err := launch.Verify(); err != nil {
		return &exitError{code: exitConfig, message: "plugin test: " + err.Error(), hint: hintOf(err), err: err}
	}
	target, err := readPluginTarget(c.String("target"))
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if c.Bool("log") {
		log = slog.New(slog.NewTextHandler(c.App.ErrWriter, nil))
	}
	connector, stop, err := connectortest.Start(c.Context, "plugin", launch, log)
	if err != nil {
		return &exitError{code: exitFailed, message: "plugin test: the program does not start: " + err.Error(), hint: "--log shows what it says", err: err}
	}
	defer stop()
	target.Connector = connector
	b := badge{
		Program: filepath.Base(path), SHA256: launch.SHA256, Connector: connector.Info(), Wabridge: version, Time: time.Now().UTC(),
	}
	if !c.Bool("json") {
		fmt.Fprintf(c.App.Writer, "%s %s, %d events a batch, a repeated event: %s\n\n",
			printable(b.Connector.Name), printable(b.Connector.Version), b.Connector.MaxBatch, b.Connector.Idempotency)
	}
	b.Conforms = connectortest.Suite(c.Context, target, func(f connectortest.Finding) {
		b.Rules = append(b.Rules, f)
		switch f.Outcome {
		case connectortest.Passed:
			b.Passed++
		case connectortest.Failed:
			b.Failed++
		case connectortest.Skipped:
			b.Skipped++
		}
		if !c.Bool("json") {
			printFinding(c.App.Writer, f)
		}
	})
	if name := c.String("badge"); name != "" {
		data, err := json.MarshalIndent(b, "", "  ")
		if err == nil {
			err = os.WriteFile(name, append(data, '\n'), 0o600)
		}
		if err != nil {
			return fail(exitFailed, "plugin test: the badge: %w", err)
		}
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, b)
	} else {
		fmt.Fprintf(c.App.Writer, "\n%d passed, %d failed, %d skipped\n", b.Passed, b.Failed, b.Skipped)
	}
	if !b.Conforms {
		return fail(exitFailed, "plugin test: %d rules are not kept", b.Failed)
	}
	return nil
}

func printFinding(w io.Writer, f connectortest.Finding) {
	mark := map[connectortest.Outcome]string{connectortest.Passed: "ok", connectortest.Failed: "FAILED", connectortest.Skipped: "skipped"}[f.Outcome]
	fmt.Fprintf(w, "%-8s%-20s%s\n", mark, f.Rule, f.Text)
	if f.Seen == "" {
		return
	}
	for line := range strings.SplitSeq(f.Seen, "\n") {
		fmt.Fprintf(w, "%8s%s\n", "", printable(line))
	}
}

// readPluginTarget reads what a plugin is tried against. Without the file the
// account has nothing, which is enough for some.
func readPluginTarget(name string) (connectortest.Target, error) {
	t := connectortest.Target{Account: core.Account{Tenant: "test", Lane: "test", Settings: json.RawMessage("{}")}}
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) && name == "plugin-test.toml" {
		return t, nil
	}
	var file pluginTarget
	if err == nil {
		dec := toml.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		err = dec.Decode(&file)
	}
	if strict := (*toml.StrictMissingError)(nil); errors.As(err, &strict) {
		return t, fail(exitConfig, "%s: unknown keys:\n%s", name, strict.String())
	}
	if err != nil {
		return t, fail(exitConfig, "%s: %w", name, err)
	}
	if t.Account.Settings, err = json.Marshal(file.Settings); err != nil {
		return t, fail(exitConfig, "%s: settings: %w", name, err)
	}
	if file.Settings == nil {
		t.Account.Settings = json.RawMessage("{}")
	}
	if t.Account.Secrets, err = targetSecrets(file.Secrets); err != nil {
		return t, fail(exitConfig, "%s: %w", name, err)
	}
	if t.BadSecrets, err = targetSecrets(file.BadSecrets); err != nil {
		return t, fail(exitConfig, "%s: %w", name, err)
	}
	for _, setting := range slices.Sorted(maps.Keys(file.BadSettings)) {
		if t.BadSettings == nil {
			t.BadSettings = map[string]json.RawMessage{}
		}
		if t.BadSettings[setting], err = json.Marshal(file.BadSettings[setting]); err != nil {
			return t, fail(exitConfig, "%s: bad_settings.%s: %w", name, setting, err)
		}
	}
	if file.Records != "" {
		t.Records = func() map[string]int { return recordsAt(file.Records) }
	}
	if file.Stall != "" {
		t.Stall = func(on bool) { tellStall(file.Stall, on) }
	}
	return t, nil
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

// recordsAt asks the CRM that a plugin is tried against what it has. No answer is
// no records, which the rules then say.
func recordsAt(address string) map[string]int {
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
	var records map[string]int
	if json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(&records) != nil {
		return nil
	}
	return records
}

func tellStall(address string, on bool) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	q := u.Query()
	q.Set("on", fmt.Sprint(on))
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
