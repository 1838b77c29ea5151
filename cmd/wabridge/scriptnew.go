package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/script"
)

// What a first script and its test look like.
var (
	//go:embed starter/script.js
	starterScript []byte
	//go:embed starter/script.test.js
	starterTest []byte
)

func scriptNewCommand() *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "make a script to work on, with a test beside it", ArgsUsage: "[FOLDER]", Flags: scriptFlags,
		Description: "In FOLDER, or else in drafts/TENANT: a copy of the tenant's script with the files beside it, or a first script\n" +
			"when the tenant has none. What is there already is left alone. The bridge does not look there: wabridge script\n" +
			"deploy puts it to work.\n\n" +
			"Example:\n   wabridge script new --tenant demo",
		Action: scriptNew,
	}
}

func scriptNew(c *cli.Context) error {
	if c.NArg() > 1 {
		return misused("script new: want one FOLDER at most")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	t := &target{cfg: cfg}
	if t.tenant, err = scriptTenant(c, cfg, ""); err != nil {
		return err
	}
	dir := c.Args().First()
	if dir == "" {
		dir = t.draft()
	}
	files, err := t.beginning()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // scripts are no secrets
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return &exitError{code: exitFailed, message: "new: " + show(path) + " is already there", hint: "deploy what is in " + show(dir) + ", or remove the folder"}
		}
	}
	var made []string
	for _, f := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, f)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, files[f], 0o644)); err != nil { //nolint:gosec // scripts are no secrets
			return err
		}
		made = append(made, show(path))
	}
	if _, err := t.writeTypes(dir, t.names(c)); err != nil {
		return fail(exitFailed, "%w", err)
	}
	made = append(made, show(filepath.Join(dir, typesFile)))
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]any{"folder": dir, "files": made})
		return nil
	}
	for _, path := range made {
		fmt.Fprintln(c.App.Writer, "made", printable(path))
	}
	fmt.Fprintln(c.App.Writer, "\nnext: wabridge script test, then diff, then deploy")
	return nil
}

// beginning is what a draft begins with: the tenant's script, or a first one.
func (t *target) beginning() (map[string][]byte, error) {
	files := map[string][]byte{}
	if t.tenant.Script == "" {
		files["script.js"], files["script.test.js"] = starterScript, starterTest
		return files, nil
	}
	src, err := script.ReadSource(t.tenant.Script)
	if err != nil {
		return nil, fail(exitConfig, "%w", err)
	}
	files[src.Name] = src.Code
	maps.Copy(files, src.Files)
	tests, err := testFiles(filepath.Dir(t.tenant.Script))
	if err != nil {
		return nil, err
	}
	for _, f := range tests {
		files[f.Name] = f.Code
	}
	if len(tests) == 0 {
		base := strings.TrimSuffix(src.Name, filepath.Ext(src.Name))
		files[base+".test.js"] = firstTest
	}
	return files, nil
}

// firstTest is beside a script that has no tests yet.
var firstTest = []byte(`/// <reference path="wabridge.d.ts" />

test("answers, or hands over", t => {
  const decided = t.message("Hello");
  if (decided.reply === null && decided.escalate === null) decided.expect({ reply: true });
});
`)
