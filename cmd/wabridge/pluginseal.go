package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/plugin"
)

func pluginSealCommand() *cli.Command {
	return &cli.Command{
		Name: "seal", Usage: "write the sums of a plugin's files into its manifest", ArgsUsage: "[FOLDER]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "key", Usage: "sign it with the ed25519 key in `FILE` (openssl genpkey -algorithm ed25519 -out FILE)"}, jsonFlag,
		},
		Description: "What it prints pins every byte of the plugin. Seal again after each change.\n\n" +
			"Example:\n   wabridge plugin seal . --key ../author.pem",
		Action: func(c *cli.Context) error {
			dir, err := oneFolder(c)
			if err != nil {
				return err
			}
			var key ed25519.PrivateKey
			if file := c.String("key"); file != "" {
				if key, err = readSigningKey(file); err != nil {
					return fail(exitConfig, "plugin seal: %w", err)
				}
			}
			m, sum, err := plugin.Seal(dir, key)
			if err != nil {
				return pluginError("seal", err)
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, sealed{m.Name, m.Version, sum, m.Signer, nil})
				return nil
			}
			fmt.Fprintf(c.App.Writer, "%s %s: %d files, sha256 %s%s\n", m.Name, m.Version, len(m.Files), sum, signedBy(m.Signer))
			return nil
		},
	}
}

// sealed is what --json prints of a plugin.
type sealed struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	SHA256  string   `json:"sha256"`
	Signer  string   `json:"signer,omitempty"`
	Differs []string `json:"differs,omitempty"`
}

func signedBy(signer string) string {
	if signer == "" {
		return ", not signed"
	}
	return ", signed by " + signer
}

func oneFolder(c *cli.Context) (string, error) {
	if c.NArg() > 1 {
		return "", misused("plugin %s: want one FOLDER at most", c.Command.Name)
	}
	return or(c.Args().First(), "."), nil
}

// pluginError is an error of package plugin, with its hint.
func pluginError(command string, err error) error {
	message, code := err.Error(), exitDisk
	if e, ok := errors.AsType[*core.Error](err); ok {
		message = e.Message // the command says what was to be done
		if e.Code != core.CodeUnavailable {
			code = exitConfig
		}
	}
	return &exitError{code: code, message: "plugin " + command + ": " + message, hint: hintOf(err), err: err}
}

// readSigningKey reads an ed25519 key in PEM, as openssl writes it.
func readSigningKey(file string) (ed25519.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New(file + ": is no key in PEM: openssl genpkey -algorithm ed25519 makes one")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New(file + ": is another kind of key than ed25519")
	}
	return private, nil
}

func pluginVerifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "say whether plugins are what was sealed, and what differs", ArgsUsage: "[NAME|FOLDER]",
		Flags: []cli.Flag{configFlag, setFlag, jsonFlag},
		Description: "Of a folder: its files against its manifest, and the manifest's signature. Of a NAME, or of all that are\n" +
			"configured or installed: what is there against the sum that is pinned. The bridge looks too, at each start.\n\n" +
			"Examples:\n   wabridge plugin verify ./acme\n   wabridge plugin verify",
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return misused("plugin verify: want one NAME or FOLDER at most")
			}
			if dir := c.Args().First(); isFolder(dir) {
				return verifyFolder(c, dir)
			}
			return verifyPinned(c, c.Args().First())
		},
	}
}

func verifyFolder(c *cli.Context, dir string) error {
	m, sum, err := plugin.ReadManifest(dir)
	if err == nil {
		err = m.CheckSignature()
	}
	if err != nil {
		return pluginError("verify", err)
	}
	if len(m.Files) == 0 {
		return neverSealed("verify", dir, exitFailed)
	}
	differs, err := plugin.Differences(dir)
	if err != nil {
		return pluginError("verify", err)
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, sealed{m.Name, m.Version, sum, m.Signer, differs})
	} else {
		for _, d := range differs {
			fmt.Fprintln(c.App.Writer, printable(d))
		}
	}
	switch {
	case len(differs) > 0:
		return &exitError{code: exitFailed, message: fmt.Sprintf("plugin verify: %d files differ from the manifest", len(differs)), hint: "if the changes are yours: wabridge plugin seal " + dir}
	case !c.Bool("json"):
		fmt.Fprintf(c.App.Writer, "%s %s: %d files are as sealed, sha256 %s%s\n", printable(m.Name), printable(m.Version), len(m.Files), sum, signedBy(m.Signer))
	}
	return nil
}

// verifyPinned looks at the plugins of the configuration.
func verifyPinned(c *cli.Context, name string) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(cfg.Plugins))
	if name != "" {
		if _, ok := cfg.Plugins[name]; !ok {
			return fail(exitNotFound, "plugin verify: %s is neither a folder nor a plugin that is configured or installed", name)
		}
		names = []string{name}
	}
	type found struct {
		Name   string `json:"name"`
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
		Error  string `json:"error,omitempty"`
	}
	out, wrong, hint := []found{}, []string{}, ""
	for _, n := range names {
		p := cfg.Plugins[n]
		if p.Attach != "" {
			continue // there is nothing to look at
		}
		l := pinned(p)
		f := found{Name: n, Path: p.Path, SHA256: p.SHA256}
		if err := l.Verify(); err != nil {
			f.Error = err.Error()
			wrong, hint = append(wrong, n), or(hint, hintOf(err))
		}
		out = append(out, f)
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, out)
	} else {
		for _, f := range out {
			fmt.Fprintf(c.App.Writer, "%-8s%s  %s\n", map[bool]string{true: "ok", false: "WRONG"}[f.Error == ""], f.Name, printable(or(f.Error, f.Path)))
		}
	}
	if len(wrong) > 0 {
		return &exitError{code: exitFailed, message: "plugin verify: not what is pinned: " + strings.Join(wrong, ", "), hint: hint}
	}
	return nil
}

// pinned says how to start a plugin of the configuration.
func pinned(p config.Plugin) plugin.Launcher { return plugin.Launcher{Path: p.Path, SHA256: p.SHA256} }
