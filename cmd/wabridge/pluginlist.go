package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/installed"
)

func pluginListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "the connectors there are, and the versions of those that are installed", Flags: []cli.Flag{configFlag, setFlag, urlFlag, jsonFlag},
		Description: "Example:\n   wabridge plugin list",
		Action:      pluginList,
	}
}

func pluginList(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("plugin list: no arguments, only flags")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	lock, err := installed.Read(cfg.DataDir)
	if err != nil {
		return fail(exitConfig, "%w", err)
	}
	lanes, err := pluginLanes(c, cfg)
	if err != nil && exitCode(err) != exitUnreachable {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]any{"built_in": connectorNames(), "installed": lock.Plugins, "configured": configuredNames(cfg), "lanes": lanes})
		return nil
	}
	tab := newTable(c.App.Writer, "CONNECTOR", "VERSION", "SHA256", "INSTALLED", "")
	for _, name := range connectorNames() {
		tab.row(name, version, "", "", "built in")
	}
	for _, name := range configuredNames(cfg) {
		tab.row(name, "", cfg.Plugins[name].SHA256[:min(12, len(cfg.Plugins[name].SHA256))], "", "configured: "+or(show(cfg.Plugins[name].Path), "attached"))
	}
	for _, name := range slices.Sorted(maps.Keys(lock.Plugins)) {
		p := lock.Plugins[name]
		for _, v := range slices.Backward(p.Versions) {
			state := ""
			switch {
			case v.SHA256 == p.SHA256 && p.Disabled:
				state = "disabled"
			case v.SHA256 == p.SHA256:
				state = fmt.Sprintf("in place, %d lanes run it", running(lanes, v.SHA256)) + refused(lanes, name, v.SHA256)
			case v.SHA256 == p.Before:
				state = "before"
			}
			tab.row(name, v.Version, v.SHA256[:12], v.Time.Local().Format(time.DateTime), state)
		}
	}
	tab.flush()
	return nil
}

func configuredNames(cfg *config.Config) []string {
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins)) {
		if !cfg.Plugins[name].Installed {
			names = append(names, name)
		}
	}
	return names
}

func running(lanes []pluginOfLane, sha string) int {
	n := 0
	for _, l := range lanes {
		if l.SHA256 == sha {
			n++
		}
	}
	return n
}

// refused says why a lane does not take up what is in place: the version before goes on
// there, until the bridge is started again.
func refused(lanes []pluginOfLane, name, sha string) string {
	for _, l := range lanes {
		if l.Connector == name && l.Wanted == sha && l.Refused != "" {
			return fmt.Sprintf("; %s of %s does not (wabridge plugin rollback %s ends that): %s", l.Lane, l.Tenant, name, l.Refused)
		}
	}
	return ""
}
