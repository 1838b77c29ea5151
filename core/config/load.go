package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/installed"
	"github.com/wabridge/wabridge/core/spelling"
)

// Where the files are, beside each other.
const (
	// FileName is the usual name of the main file.
	FileName = "wabridge.toml"
	// TenantsDir holds a folder for each tenant, with a TenantFile in it.
	TenantsDir = "tenants"
	TenantFile = "tenant.toml"
	// EnvPrefix is how names of environment variables begin; two underscores
	// part the levels of a key: WABRIDGE_WEB__LISTEN.
	EnvPrefix = "WABRIDGE_"
)

// maxFile is more than any configuration needs.
const maxFile = 1 << 20

// Options are what Load needs to know beyond the files.
type Options struct {
	// Connectors are the names of the built-in ones. A lane's connector is one
	// of them or one of Config.Plugins. Nil checks no names.
	Connectors []string
	// Flags are settings by key path ("web.listen"); they win over everything.
	// Values are text as in the environment, or of the setting's own type.
	Flags map[string]any
	// Environ is the environment as "NAME=value"; nil is the process's own.
	Environ []string
}

// Load reads the main file at path and the tenants beside it. The error is an
// [*Error] with everything that is wrong.
func Load(path string, opts Options) (*Config, error) {
	if opts.Environ == nil {
		opts.Environ = os.Environ()
	}
	l := &loader{opts: opts, used: map[string]bool{}}
	cfg := l.load(path)
	l.check(cfg)
	if problems := l.all(); len(problems) > 0 {
		return nil, &Error{Problems: problems}
	}
	return cfg, nil
}

// loader reads one configuration.
type loader struct {
	opts Options
	docs []*document // the main one first, then the tenants' in order
	// used are the environment variables that a secret refers to: those are
	// not settings, whatever their names.
	used map[string]bool
	// strays are the environment variables that look like settings, but are
	// none.
	strays []Problem
}

// document is one set of settings, merged from its sources, and what is wrong
// with it.
type document struct {
	*loader
	file     string // as the owner gave it
	dir      string // what relative paths in it are relative to
	ko       *koanf.Koanf
	origin   map[string]Problem // by key: where a setting not from file is from
	problems []Problem
	noted    map[string]bool // the keys with problems
	unread   bool            // the file could not be read: nothing to check
}

func (l *loader) document(path, dir string) *document {
	d := &document{loader: l, file: path, dir: dir, ko: koanf.New("."), origin: map[string]Problem{}, noted: map[string]bool{}}
	l.docs = append(l.docs, d)
	return d
}

// problem notes that the setting at key ("" for the whole file) is wrong. Of
// two problems with one key the first says it best: only that one is kept.
func (d *document) problem(key, format string, args ...any) {
	if d.noted[key] {
		return
	}
	d.noted[key] = true
	p := Problem{File: d.file, Key: key, Message: fmt.Sprintf(format, args...)}
	// What is in a list has the origin of the list.
	for k := key; k != ""; k = k[:max(0, strings.LastIndexAny(k, ".["))] {
		if o, ok := d.origin[k]; ok {
			p.File, p.Key = o.File, o.Key
			break
		}
	}
	d.problems = append(d.problems, p)
}

// all returns every problem, in the order of files and keys.
func (l *loader) all() []Problem {
	var all []Problem
	for i, d := range l.docs {
		slices.SortStableFunc(d.problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
		all = append(all, d.problems...)
		for _, p := range l.strays {
			if i == 0 && !l.used[p.File] {
				all = append(all, p)
			}
		}
	}
	return all
}

// load reads all files and returns what could be read.
func (l *loader) load(path string) *Config {
	cfg := Default()
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	cfg.File, cfg.Dir = abs, filepath.Dir(abs)

	d := l.document(path, cfg.Dir)
	d.read()
	d.environment()
	d.flags()
	d.decode(cfg)
	cfg.DataDir = d.path(cfg.DataDir)
	for name, p := range cfg.Plugins {
		p.Path, p.Attach = d.path(p.Path), d.path(p.Attach)
		cfg.Plugins[name] = p
	}

	d.installed(cfg)

	// A wrong path is one problem, not also one of missing tenants.
	if _, err := os.Stat(abs); err == nil {
		l.tenants(cfg, d, filepath.Join(filepath.Dir(path), TenantsDir))
	}
	return cfg
}

// installed adds the plugins of the data folder's lock.
func (d *document) installed(cfg *Config) {
	lock, err := installed.Read(cfg.DataDir)
	if err != nil {
		d.problem("plugins", "%v", err)
		return
	}
	for name, p := range lock.Plugins {
		if own, ok := cfg.Plugins[name]; ok {
			if own.Attach != "" {
				continue // for now
			}
			d.problem("plugins."+name, "is installed too: remove it here, or with wabridge plugin remove %s", name)
			continue
		}
		if cfg.Plugins == nil {
			cfg.Plugins = map[string]Plugin{}
		}
		cfg.Plugins[name] = Plugin{Path: installed.Dir(cfg.DataDir, name, p.SHA256), SHA256: p.SHA256, Installed: true, Disabled: p.Disabled}
	}
}

// tenants reads the folder of tenants, named as the owner would.
func (l *loader) tenants(cfg *Config, main *document, dir string) {
	entries, err := os.ReadDir(filepath.Join(cfg.Dir, TenantsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		main.problem("", "the tenants cannot be read: %v", err)
		return
	}
	for _, e := range entries {
		id := e.Name()
		abs := filepath.Join(cfg.Dir, TenantsDir, id)
		if info, err := os.Stat(abs); err != nil || !info.IsDir() || strings.HasPrefix(id, ".") {
			continue
		}
		d := l.document(filepath.Join(dir, id, TenantFile), abs)
		if !core.TenantPattern.MatchString(id) {
			d.problem("", "the folder's name is the tenant's id: at most 40 of a-z, 0-9 and -, the first not a -")
		}
		t := defaultTenant()
		t.ID, t.Dir = id, abs
		d.read()
		d.decode(&t)
		d.script(&t)
		d.escalations(&t)
		d.rates(&t)
		for i := range t.Lanes {
			if t.Lanes[i].Name == "" {
				t.Lanes[i].Name = t.Lanes[i].Connector
			}
		}
		cfg.Tenants = append(cfg.Tenants, t)
	}
	if len(cfg.Tenants) == 0 {
		main.problem("", "there are no tenants: a tenant is a folder %s with a %s",
			filepath.Join(dir, "<id>"), TenantFile)
	}
}

// script finds the tenant's script.
func (d *document) script(t *Tenant) {
	if t.Script != "" {
		given := t.Script
		t.Script = d.path(given)
		if info, err := os.Stat(t.Script); err != nil || !info.Mode().IsRegular() {
			d.problem("script", "there is no file %s", given)
		}
		return
	}
	for _, name := range []string{"script.ts", "script.js"} {
		path := filepath.Join(t.Dir, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if t.Script != "" {
			d.problem("script", "there are both script.ts and script.js: say which with script = %q", name)
		}
		t.Script = path
	}
}

// path makes a configured path absolute; empty stays empty.
func (d *document) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.dir, p)
}

// read loads the document's file.
func (d *document) read() {
	if err := d.readFile(filepath.Join(d.dir, filepath.Base(d.file))); err != nil {
		d.unread = true
		d.problem("", "%v", err)
	}
}

func (d *document) readFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Base(path) == TenantFile:
		return wrong("no such file; the folder of each tenant has one")
	case errors.Is(err, fs.ErrNotExist):
		return wrong("no such file; `wabridge init` makes one")
	case err != nil:
		return wrong("cannot be read: %v", errors.Unwrap(err))
	case !info.Mode().IsRegular():
		return wrong("is not a file")
	case info.Size() > maxFile:
		return wrong("is larger than %v: this is no configuration", Size(maxFile))
	}
	if err := d.ko.Load(file.Provider(path), toml.Parser()); err != nil {
		return wrong("%s", syntaxError(err))
	}
	return nil
}

// environment loads WABRIDGE_ variables over what is there.
func (d *document) environment() {
	known := leaves(reflect.TypeFor[Config](), "")
	provider := env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return d.opts.Environ },
		TransformFunc: func(name, value string) (string, any) {
			key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), "__", ".")
			if pathIn(known, key) {
				d.origin[key] = Problem{File: name}
				return key, value
			}
			if message := strayVariable(name, known); message != "" {
				d.strays = append(d.strays, Problem{File: name, Message: message})
			}
			return "", nil
		},
	})
	if err := d.ko.Load(provider, nil); err != nil {
		d.problem("", "environment: %v", err)
	}
	slices.SortFunc(d.strays, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
}

// strayVariable says what is wrong with a variable that is no setting, or ""
// if it need not be meant as one: container platforms make variables with such
// names of their own, like WABRIDGE_PORT.
func strayVariable(name string, known []string) string {
	key := strings.TrimPrefix(name, EnvPrefix)
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = strings.TrimPrefix(envName(k), EnvPrefix)
	}
	if near := spelling.Nearest(key, names); near != "" {
		return "unknown setting; did you mean " + EnvPrefix + near + "?"
	}
	if strings.Contains(key, "__") {
		return "unknown setting; the names are " + EnvPrefix + "<GROUP>__<KEY>, like " + envName("web.listen")
	}
	return ""
}

func envName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// flags loads Options.Flags over what is there.
func (d *document) flags() {
	for key := range maps.Keys(d.opts.Flags) {
		d.origin[key] = Problem{File: "flag", Key: key}
	}
	if err := d.ko.Load(confmap.Provider(d.opts.Flags, "."), nil); err != nil {
		d.problem("", "flags: %v", err)
	}
}
