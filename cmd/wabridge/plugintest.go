package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
	"github.com/wabridge/wabridge/core/plugin"
)

// pluginCommand is for those who write connectors, and for the bridge, which runs
// those that are built in.
func pluginCommand() *cli.Command {
	return &cli.Command{
		Name: "plugin", Usage: "write, test, install and replace connectors that are not built in", Action: group("plugin"),
		Description: "Examples:\n   wabridge plugin new acme --lang python\n   wabridge plugin test ./acme\n   wabridge plugin install ./acme",
		Subcommands: []*cli.Command{
			pluginNewCommand(), pluginTestCommand(), pluginSealCommand(), pluginVerifyCommand(), pluginInstallCommand(), pluginListCommand(),
			pluginSwitchCommand("enable", "let an installed plugin run again", false), pluginSwitchCommand("disable", "stop an installed plugin; what is for it waits", true),
			pluginUpgradeCommand(), pluginRollbackCommand(), pluginRemoveCommand(), {
				Name: "attach", Hidden: true, Usage: "for the bridge: stand in for a plugin that was started by hand", ArgsUsage: "FILE",
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return misused("plugin attach: want a FILE")
					}
					plugin.Attach(c.Args().First())
					return nil
				},
			}, {
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
		Name: "test", Usage: "say whether a plugin does what it must", ArgsUsage: "PROGRAM|FOLDER",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "target", Usage: "`FILE` that says what it is tried against; plugin-test.toml, in the plugin's folder, unless given", Value: defaultTarget},
			&cli.StringFlag{Name: "badge", Usage: "write what was found to `FILE`, as JSON"},
			&cli.BoolFlag{Name: "log", Usage: "show what the plugin logs"},
			jsonFlag,
		},
		Description: "Runs the program, or the plugin in the folder as it is now, as the bridge would, and every rule of a connector on it.\n" +
			"Records are written to the account that\n" +
			"the target file names:\n\n" +
			"   settings = { base_url = \"http://127.0.0.1:9000\" }\n" +
			"   secrets = { token = \"env:ACME_TOKEN\" }\n" +
			"   bad_settings = { base_url = { base_url = \"nowhere\" } } # each wrong in one setting\n" +
			"   bad_secrets = { token = \"not-the-token\" }\n" +
			"   records = \"http://127.0.0.1:9000/_test/records\" # GET answers {\"event id\": times in the CRM}\n" +
			"   texts = \"http://127.0.0.1:9000/_test/texts\" # GET answers {\"event id\": the text there}\n" +
			"   stall = \"http://127.0.0.1:9000/_test/stall\" # POST ?on=true: take requests, answer none\n" +
			"   fail = \"http://127.0.0.1:9000/_test/fail\" # POST ?status=503: answer that to everything; 429 with Retry-After: 7; 0 ends it\n\n" +
			"Or sim = \"custom-http\": a CRM that is started for the test, {sim} in the settings is its address, secrets.token its token.\n" +
			"What the file leaves out, its rules are skipped for.\n\nExample:\n   wabridge plugin test ./acme-crm --badge conformance.json",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misused("plugin test: want the plugin's program")
			}
			return testPlugin(c, c.Args().First())
		},
	}
}

// testLauncher says how to start what is to be tested: a program, or a copy of a
// folder, sealed or not. The copy goes with clean.
func testLauncher(program string) (launch plugin.Launcher, clean func(), err error) {
	path, err := filepath.Abs(program)
	if err != nil {
		return launch, nil, err
	}
	if isFolder(path) {
		dir, err := os.MkdirTemp("", "wabtest")
		if err != nil {
			return launch, nil, err
		}
		clean = func() { _ = os.RemoveAll(dir) }
		sum, err := plugin.SealCopy(path, dir)
		if err != nil {
			clean()
			return launch, nil, pluginError("test", err)
		}
		return plugin.Launcher{Path: dir, SHA256: sum}, clean, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return launch, nil, fail(exitNotFound, "plugin test: %w", err)
	}
	sum := sha256.Sum256(data)
	return plugin.Launcher{Path: path, SHA256: hex.EncodeToString(sum[:])}, func() {}, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// testedManifest is that of a folder, nil of a program, and what to call the plugin.
func testedManifest(program string) (*plugin.Manifest, string, error) {
	if !isFolder(program) {
		return nil, filepath.Base(program), nil
	}
	m, _, err := plugin.ReadManifest(program)
	if err != nil {
		return nil, "", pluginError("test", err)
	}
	return &m, m.Name, nil
}

// isItsManifests refuses what would not be installed, or be called by a version
// that it is not.
func isItsManifests(m plugin.Manifest, info core.ConnectorInfo) error {
	if err := saysItIs(m, info); err != nil {
		return err
	}
	if info.Version == m.Version {
		return nil
	}
	return &exitError{
		code: exitConfig, message: fmt.Sprintf("plugin test: its manifest says that it is %s %s, the plugin itself says %s", m.Name, m.Version, info.Version),
		hint: "make version in plugin.json and in the program the same: wabridge plugin list shows people that of plugin.json",
	}
}

func testPlugin(c *cli.Context, program string) error {
	launch, clean, err := testLauncher(program)
	if err != nil {
		return err
	}
	defer clean()
	if err := launch.Verify(); err != nil {
		return pluginError("test", err)
	}
	file := c.String("target")
	if !c.IsSet("target") && isFolder(program) {
		file = filepath.Join(program, defaultTarget)
	}
	target, stopSim, err := readPluginTarget(c, file)
	if err != nil {
		return err
	}
	defer stopSim()
	log := slog.New(slog.DiscardHandler)
	if c.Bool("log") {
		log = slog.New(slog.NewTextHandler(c.App.ErrWriter, nil))
	}
	m, name, err := testedManifest(program)
	if err != nil {
		return err
	}
	connector, stop, err := connectortest.Start(c.Context, name, launch, log)
	if err != nil {
		return &exitError{code: exitFailed, message: "plugin test: the program does not start: " + err.Error(), hint: "--log shows what it says", err: err}
	}
	defer stop()
	if m != nil {
		if err := isItsManifests(*m, connector.Info()); err != nil {
			return err
		}
	}
	target.Connector = connector
	b := badge{
		Program: filepath.Base(program), SHA256: launch.SHA256, Connector: connector.Info(), Wabridge: version, Time: time.Now().UTC(),
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
