package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/config"
)

// Flags that commands share.
var (
	jsonFlag   = &cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"}
	configFlag = &cli.StringFlag{
		Name: "config", Aliases: []string{"c"}, Value: config.FileName, EnvVars: []string{"WABRIDGE_CONFIG"},
		Usage: "the configuration `FILE`, or the folder it is in",
	}
	setFlag = &cli.StringSliceFlag{
		Name: "set", Usage: "a setting as `KEY=VALUE`, like web.listen=127.0.0.1:9000; wins over files and environment; may be repeated",
	}
)

// load reads the configuration, with what the flags say.
func load(c *cli.Context) (*config.Config, error) { return loadKnowing(c, connectorNames()) }

// loadKnowing reads it when these connectors are built in; nil: lanes may name any.
func loadKnowing(c *cli.Context, known []string) (*config.Config, error) {
	path := c.String("config")
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, config.FileName)
	}
	flags := map[string]any{}
	for _, s := range c.StringSlice("set") {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, misused("--set %s: want KEY=VALUE, like --set web.listen=127.0.0.1:9000", s)
		}
		flags[key] = value
	}
	if c.IsSet("listen") {
		flags["web.listen"] = c.String("listen")
	}
	return config.Load(path, config.Options{Connectors: known, Flags: flags})
}

// logger returns the logger that the configuration asks for.
func logger(l config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(l.Level)) != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
