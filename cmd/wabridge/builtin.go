package main

import (
	"maps"
	"slices"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/hubspot"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/zoho"
)

// connectors are those that are built in, by name. Each runs in a process of
// its own all the same: this program again, as `wabridge plugin serve NAME`.
var connectors = map[string]func() core.Connector{
	"custom-http": customhttp.New,
	"hubspot":     hubspot.New,
	"salesforce":  salesforce.New,
	"zoho":        zoho.New,
}

func connectorNames() []string { return slices.Sorted(maps.Keys(connectors)) }

// workerCommand is the argument that makes this program a script worker.
const workerCommand = "script-worker"

// worker is the command that starts a script worker.
func worker() []string { return plugin.Self(workerCommand).Command }

// builtin says how to start a connector that is built in.
func builtin(name string) (plugin.Launcher, bool) {
	if connectors[name] == nil {
		return plugin.Launcher{}, false
	}
	return plugin.Self("plugin", "serve", name), true
}
