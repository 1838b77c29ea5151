package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
)

// starterPlugins are the plugins that authors begin with, a folder for each
// language and one for what all have. A name's .tmpl is cut off: go tooling would
// take the file for its own.
//
//go:embed starter/plugin
var starterPlugins embed.FS

// languages are those that there is a beginning in, with the program that each
// needs and where it is looked for first.
var languages = map[string]struct{ program, at string }{
	"go":     {"go", ""},
	"node":   {"node", "/usr/bin/node"},
	"python": {"python3", "/usr/bin/python3"},
}

func pluginNewCommand() *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "make a plugin to start from", ArgsUsage: "NAME [FOLDER]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "lang", Value: "python", Usage: "`LANGUAGE`: " + strings.Join(slices.Sorted(maps.Keys(languages)), ", ")}, jsonFlag,
		},
		Description: "In FOLDER, or else in ./NAME: a connector that works, against a CRM that comes with wabridge (wabridge sim\n" +
			"custom-http), and keeps every rule of a connector. What is its author's is one short file; its README says how to go on.\n\n" +
			"Example:\n   wabridge plugin new acme --lang python && wabridge plugin test acme",
		Action: pluginNew,
	}
}

func pluginNew(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return misused("plugin new: want a NAME, and perhaps a FOLDER")
	}
	name, dir, lang := c.Args().First(), c.Args().Get(1), c.String("lang")
	if !core.TenantPattern.MatchString(name) || connectors[name] != nil {
		return misused("plugin new: %s: a connector's name is at most 40 of a-z, 0-9 and -, and none of those that are built in", name)
	}
	if _, ok := languages[lang]; !ok {
		return misused("plugin new: --lang %s: want one of %s", lang, strings.Join(slices.Sorted(maps.Keys(languages)), ", "))
	}
	if dir == "" {
		dir = name
	}
	files, err := starterFiles(name, lang)
	if err != nil {
		return fail(exitFailed, "plugin new: %w", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return &exitError{code: exitFailed, message: "plugin new: " + dir + " is already there", hint: "name another FOLDER"}
	}
	var made []string
	for _, f := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, f)
		err := os.MkdirAll(filepath.Dir(path), 0o755) //nolint:gosec // no secrets
		if err == nil {
			err = os.WriteFile(path, files[f], 0o644) //nolint:gosec // no secrets
		}
		if err != nil {
			return fail(exitDisk, "plugin new: %w", err)
		}
		made = append(made, path)
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]any{"folder": dir, "files": made})
		return nil
	}
	for _, path := range made {
		fmt.Fprintln(c.App.Writer, "made", printable(path))
	}
	fmt.Fprintf(c.App.Writer, "\nnext: cd %s, and see README.md\n", printable(dir))
	return nil
}

// starterFiles are the files that a plugin begins with, by name.
func starterFiles(name, lang string) (map[string][]byte, error) {
	files := map[string][]byte{}
	source, descriptor, err := plugin.Contract()
	if err != nil {
		return nil, err
	}
	switch lang {
	case "python":
		files["connector.proto"], files["connector.binpb"] = source, descriptor
	case "node":
		files["connector.proto"] = source
	}
	words := []string{"@NAME@", name, "@VERSION@", moduleVersion()}
	for _, l := range languages {
		words = append(words, "@"+strings.ToUpper(l.program)+"@", where(l.program, l.at))
	}
	put := strings.NewReplacer(words...)
	for _, folder := range []string{"all", lang} {
		root := "starter/plugin/" + folder
		err := fs.WalkDir(starterPlugins, root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := starterPlugins.ReadFile(path)
			if err != nil {
				return err
			}
			file := strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".tmpl")
			if bytes.Contains(data, []byte("@")) {
				data = []byte(put.Replace(string(data)))
			}
			files[file] = data
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// where is the whole path of a program: at, if it is there, or where the shell
// finds it.
func where(program, at string) string {
	if _, err := os.Stat(at); at != "" && err == nil {
		return at
	}
	if found, err := exec.LookPath(program); err == nil {
		if found, err = filepath.Abs(found); err == nil {
			return found
		}
	}
	return or(at, program)
}

// moduleVersion is the version of this module that a plugin in Go asks for.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && semver.MatchString(info.Main.Version) {
		return info.Main.Version
	}
	if semver.MatchString(version) {
		return version
	}
	return "v0.0.0" // no release: the author says where it is, with replace
}

var semver = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
