package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "say which version this is", Flags: []cli.Flag{jsonFlag},
		Description: "Example:\n   wabridge version --json",
		Action: func(c *cli.Context) error {
			if c.Bool("json") {
				printJSON(c.App.Writer, map[string]any{
					"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "connectors": connectorNames(),
				})
				return nil
			}
			fmt.Fprintf(c.App.Writer, "wabridge %s (%s, %s/%s; connectors: %s)\n",
				version, runtime.Version(), runtime.GOOS, runtime.GOARCH, strings.Join(connectorNames(), ", "))
			return nil
		},
	}
}

// workerHelp is what a person gets who calls what only the engine may call; see
// main.
func workerHelp() *cli.Command {
	return &cli.Command{
		Name: workerCommand, Hidden: true,
		Action: func(*cli.Context) error { return misused("%s: the bridge starts it, without arguments", workerCommand) },
	}
}
