package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/declare"
	"github.com/wabridge/wabridge/scripts"
)

// placeholderNumber is the phone number id that a new configuration has until the owner
// puts theirs there.
const placeholderNumber = "100000000000000"

func initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make a configuration to start from", ArgsUsage: "[DIR]",
		Description: "Makes wabridge.toml, a first tenant with the default script, and the secrets that\n" +
			"need not come from elsewhere. It never overwrites anything.\n\nExample:\n   wabridge init mybridge",
		Flags:  []cli.Flag{jsonFlag},
		Action: initialize,
	}
}

func initialize(c *cli.Context) error {
	if c.NArg() > 1 {
		return misused("wabridge init: one folder at most")
	}
	dir := c.Args().First()
	if dir == "" {
		dir = "."
	}
	tenant := filepath.Join(dir, config.TenantsDir, config.DemoTenant)
	types := filepath.Join(tenant, typesFile)
	if _, err := os.Lstat(types); !errors.Is(err, fs.ErrNotExist) {
		return fail(exitFailed, "init: %s is already there", types)
	}
	made, err := config.Init(dir, "script.js", scripts.Default(), scripts.Tables())
	if err != nil {
		return err
	}
	// Editors complete and check the script with it.
	if err := os.WriteFile(types, scripts.Types(), 0o644); err != nil { //nolint:gosec // no secret
		return fmt.Errorf("init: %w", err)
	}
	project := filepath.Join(tenant, declare.ProjectName)
	if err := os.WriteFile(project, declare.Project(), 0o644); err != nil { //nolint:gosec // no secret
		return fmt.Errorf("init: %w", err)
	}
	made = append(made, types, project)
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string][]string{"made": made})
		return nil
	}
	w := c.App.Writer
	for _, path := range made {
		fmt.Fprintln(w, "made", path)
	}
	fmt.Fprintf(w, `
Still missing, all from Meta's app dashboard:
   %-40s the app secret (App settings, Basic)
   %-40s an access token of a system user
   %-40s the phone number id, in place of %s
Files of secrets must not be readable by everyone (chmod 600).

Then: wabridge check --config %s
`, filepath.Join(dir, "secrets", "app-secret"), filepath.Join(dir, "secrets", "access-token"),
		filepath.Join(tenant, config.TenantFile), placeholderNumber, filepath.Join(dir, config.FileName))
	return nil
}
