package app

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/installed"
	"github.com/wabridge/wabridge/core/plugin"
)

// lanePlugin is the process behind a lane.
type lanePlugin struct {
	host                    *plugin.Host
	tenant, lane, connector string
}

// plugins runs the lanes' processes, and replaces those of an installed plugin when
// the lock of the data folder says another version. It looks rather than being told,
// as the watcher of scripts does.
type plugins struct {
	dataDir string
	lanes   []lanePlugin
	log     *slog.Logger

	used  map[string]installed.Plugin // by connector, as the lanes were told last
	stamp os.FileInfo                 // of the lock that was read last
}

func newPlugins(cfg *config.Config, log *slog.Logger) *plugins {
	p := &plugins{dataDir: cfg.DataDir, log: log, used: map[string]installed.Plugin{}}
	for name, c := range cfg.Plugins {
		if c.Installed {
			p.used[name] = installed.Plugin{SHA256: c.SHA256, Disabled: c.Disabled}
		}
	}
	return p
}

// launcherOf says how to start a plugin that is not built in.
func launcherOf(p config.Plugin) plugin.Launcher {
	if p.Attach != "" {
		return plugin.Self("plugin", "attach", p.Attach)
	}
	return plugin.Launcher{Path: p.Path, SHA256: p.SHA256, Disabled: p.Disabled}
}

// Run runs the processes until ctx ends; they stop side by side.
func (p *plugins) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range p.lanes {
		wg.Go(func() {
			if err := l.host.Run(ctx); err != nil && ctx.Err() == nil {
				p.log.Error("a plugin's host ended", "error", err)
			}
		})
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil
		case <-tick.C:
			p.look()
		}
	}
}

// look tells the hosts what changed in the lock. A lock that cannot be read changes
// nothing, and neither does a plugin that is no longer in it: its lanes are there
// until the bridge is started again.
func (p *plugins) look() {
	info, err := os.Stat(installed.File(p.dataDir))
	if err != nil || p.stamp != nil && os.SameFile(info, p.stamp) && info.ModTime().Equal(p.stamp.ModTime()) {
		return
	}
	p.stamp = info
	lock, err := installed.Read(p.dataDir)
	if err != nil {
		p.log.Error("the lock of the installed plugins is not taken up", "error", err)
		return
	}
	for name, now := range lock.Plugins {
		before, ok := p.used[name]
		if !ok {
			continue
		}
		p.used[name] = now
		v, _ := now.Version(now.SHA256)
		was, known := before.Version(before.SHA256)
		anew := known && !v.Time.Equal(was.Time) // its files were damaged, and are whole again
		if before.SHA256 == now.SHA256 && before.Disabled == now.Disabled && !anew {
			continue
		}
		p.log.Info("plugin changed", "plugin", name, "version", v.Version, "sha256", now.SHA256, "disabled", now.Disabled)
		for _, l := range p.lanes {
			if l.connector == name {
				l.host.Use(plugin.Launcher{Path: installed.Dir(p.dataDir, name, now.SHA256), SHA256: now.SHA256, Disabled: now.Disabled})
			}
		}
	}
}

// info describes a tenant's processes for people.
func (p *plugins) info(tenant string) []broker.PluginInfo {
	var out []broker.PluginInfo
	for _, l := range p.lanes {
		if l.tenant != tenant {
			continue
		}
		s := l.host.State()
		out = append(out, broker.PluginInfo{
			Lane: l.lane, Connector: l.connector, Phase: string(s.Phase), Version: s.Version, SHA256: s.SHA256, Wanted: s.Wanted, PID: s.PID,
			Starts: s.Starts, Crashes: s.Crashes, Error: s.LastError, Refused: s.Refused,
		})
	}
	return out
}
