package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/plugin"
)

// pluginWait is how long a running bridge may take to start a version and to look
// for it; a plugin has 10 s for the start.
const pluginWait = 20 * time.Second

// pluginOfLane is the process behind a lane of a running bridge.
type pluginOfLane struct {
	Tenant string `json:"tenant"`
	broker.PluginInfo
}

// pluginLanes asks a running bridge about the processes of all lanes.
func pluginLanes(c *cli.Context, cfg *config.Config) ([]pluginOfLane, error) {
	var snap broker.Snapshot
	if err := newClient(c, cfg).call(c.Context, request{method: http.MethodGet, path: "/api/v1/status"}, &snap); err != nil {
		return nil, err
	}
	var lanes []pluginOfLane
	for _, t := range snap.Tenants {
		for _, p := range t.Plugins {
			lanes = append(lanes, pluginOfLane{t.ID, p})
		}
	}
	return lanes, nil
}

// awaitPlugin waits until all lanes of a connector, whose version is to be sha, are as
// wanted; false when no bridge runs, or no lane has it. Who interrupts the command gets
// an error, so that it can be put right.
func awaitPlugin(c *cli.Context, cfg *config.Config, name, sha string, want func(pluginOfLane) bool) (bool, error) {
	interrupted, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(interrupted, pluginWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	troubled := 0 // how often in a row trouble was seen: for a second, it may be of before
	for {
		lanes, err := pluginLanes(c, cfg)
		switch {
		case err != nil && exitCode(err) == exitUnreachable:
			return false, nil
		case err != nil:
			return false, err
		}
		lanes = slices.DeleteFunc(lanes, func(l pluginOfLane) bool { return l.Connector != name })
		if len(lanes) == 0 {
			return false, nil
		}
		i := slices.IndexFunc(lanes, func(l pluginOfLane) bool { return !want(l) })
		if i < 0 {
			return true, nil
		}
		late := lanes[i]
		refused, quarantined := late.Refused != "", late.Phase == string(plugin.PhaseQuarantined)
		if troubled++; late.Wanted != sha || !refused && !quarantined {
			troubled = 0
		}
		switch {
		case troubled <= 30:
		case refused:
			return false, fail(exitFailed, "tenant %s, lane %s does not take it up, the version before goes on: %s", late.Tenant, late.Lane, late.Refused)
		default:
			return false, fail(exitFailed, "tenant %s, lane %s cannot start it: %s", late.Tenant, late.Lane, late.Error)
		}
		select {
		case <-ctx.Done():
			if interrupted.Err() != nil {
				return false, fail(exitFailed, "interrupted before tenant %s, lane %s took it up", late.Tenant, late.Lane)
			}
			return false, fail(exitFailed, "tenant %s, lane %s does not take it up in time, it is %s: %s",
				late.Tenant, late.Lane, late.Phase, or(late.Error, fmt.Sprintf("version %s", late.Version)))
		case <-tick.C:
		}
	}
}
