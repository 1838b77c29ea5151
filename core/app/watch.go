package app

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/versions"
)

const watchEvery = 500 * time.Millisecond

// watcher loads the tenants' scripts, and again whenever a file of theirs
// changes. It looks rather than being told: that works on every file system and
// with every editor.
type watcher struct {
	engine *script.Engine
	log    *slog.Logger

	mu    sync.Mutex
	files map[string]*scriptFile // by tenant
}

type scriptFile struct {
	path    string
	archive versions.Archive
	stamp   string // of the files that were tried last
	err     error  // why the newest version was refused
}

func newWatcher(e *script.Engine, tenants []config.Tenant, log *slog.Logger) *watcher {
	w := &watcher{engine: e, log: log, files: map[string]*scriptFile{}}
	for _, t := range tenants {
		if t.Script != "" {
			w.files[t.ID] = &scriptFile{path: t.Script, archive: versions.Of(t.Dir)}
		}
	}
	return w
}

// Run looks for changes until ctx ends.
func (w *watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			w.load(ctx)
		}
	}
}

// load loads what is new. A version that is refused leaves the one before in
// place, and is tried again only when a file changes again.
func (w *watcher) load(ctx context.Context) {
	for tenant, f := range w.files {
		if v, ok := f.archive.Swapping(); ok {
			w.swap(ctx, tenant, f, v)
			continue
		}
		stamp, err := script.Stamp(f.path)
		if err != nil {
			w.refused(tenant, f, err)
			continue
		}
		w.mu.Lock()
		same := stamp == f.stamp
		w.mu.Unlock()
		if same {
			continue
		}
		src, err := script.ReadSource(f.path)
		if again, e := script.Stamp(f.path); e != nil || again != stamp {
			continue // somebody is just writing: read what they wrote when they are done
		}
		w.mu.Lock()
		f.stamp = stamp
		w.mu.Unlock()
		if err == nil {
			err = w.use(ctx, tenant, f, src)
		}
		if ctx.Err() != nil {
			return
		}
		w.refused(tenant, f, err)
	}
}

// use loads a version, and keeps it in the archive.
func (w *watcher) use(ctx context.Context, tenant string, f *scriptFile, src script.Source) error {
	v, err := w.engine.Load(ctx, tenant, src)
	if err != nil {
		return err
	}
	w.refused(tenant, f, nil) // at once: keeping the version takes a while
	w.log.Info("script loaded", "tenant", tenant, "file", f.path, "version", v.Hash, "hooks", v.Hooks)
	if err := f.archive.Keep(versions.Version{Hash: v.Hash, Name: v.Name, Files: sourceFiles(src)}, time.Now()); err != nil {
		w.log.Warn("this version is not archived: it cannot be compared with, or put back", "tenant", tenant, "error", err)
	}
	return nil
}

// sourceFiles are the files of a source, by name.
func sourceFiles(src script.Source) map[string][]byte {
	files := map[string][]byte{filepath.Base(src.Name): src.Code}
	maps.Copy(files, src.Files)
	return files
}

// swap takes the version that is being put in place out of the archive: its
// files in the tenant's folder may not be whole.
func (w *watcher) swap(ctx context.Context, tenant string, f *scriptFile, v versions.Version) {
	if now, ok := w.engine.Version(tenant); ok && now.Hash == v.Hash {
		return
	}
	src := script.Source{Name: v.Name, Code: v.Files[v.Name], Files: map[string][]byte{}}
	for name, data := range v.Files {
		if name != v.Name {
			src.Files[name] = data
		}
	}
	w.refused(tenant, f, w.use(ctx, tenant, f, src))
}

func (w *watcher) refused(tenant string, f *scriptFile, err error) {
	w.mu.Lock()
	news := err != nil && (f.err == nil || f.err.Error() != err.Error())
	f.err = err
	w.mu.Unlock()
	if news {
		w.log.Error("script refused: the version before goes on", "tenant", tenant, "file", f.path, "error", err)
	}
}

// info describes a tenant's script for people.
func (w *watcher) info(tenant string) broker.TenantInfo {
	var info broker.TenantInfo
	if st, ok := w.engine.State(tenant); ok {
		info.Script = st.Version.Hash
		if st.Off {
			info.ScriptState, info.ScriptError = "off", st.Reason
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.files[tenant]; f != nil && f.err != nil {
		info.ScriptState, info.ScriptError = "refused", f.err.Error()
	}
	return info
}
