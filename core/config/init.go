package config

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed template/wabridge.toml
var mainTemplate string

//go:embed template/tenant.toml
var tenantTemplate string

// Template returns a wabridge.toml with every setting, explained, at its
// default.
func Template() string { return mainTemplate }

// DemoTenant is the tenant that Init makes.
const DemoTenant = "demo"

type initFile struct {
	path    string
	mode    fs.FileMode
	content string
}

// Init makes a configuration in dir to start from: the main file, one tenant
// with a script (its file's name and content, and the files beside it that it
// imports, by their paths from there), and a folder of secrets with
// those that need not come from elsewhere. It returns the paths of the files it
// made. It never overwrites: if one of the files is there, it makes none.
func Init(dir, scriptName string, script []byte, beside map[string][]byte) ([]string, error) {
	tenant := filepath.Join(dir, TenantsDir, DemoTenant)
	secrets := filepath.Join(dir, "secrets")
	files := []initFile{
		{filepath.Join(dir, FileName), 0o644, mainTemplate},
		{filepath.Join(tenant, TenantFile), 0o644, strings.ReplaceAll(tenantTemplate, "@SCRIPT@", scriptName)},
		{filepath.Join(tenant, scriptName), 0o644, string(script)},
		{filepath.Join(secrets, "api-token"), 0o600, rand.Text() + "\n"},
		{filepath.Join(secrets, "verify-token"), 0o600, rand.Text() + "\n"},
	}
	for _, name := range slices.Sorted(maps.Keys(beside)) {
		files = append(files, initFile{filepath.Join(tenant, filepath.FromSlash(name)), 0o644, string(beside[name])})
	}
	var there []error
	for _, f := range files {
		if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
			there = append(there, fmt.Errorf("init: %s is already there: %w", f.path, fs.ErrExist))
		}
	}
	if len(there) > 0 {
		return nil, errors.Join(there...)
	}
	for folder, mode := range map[string]fs.FileMode{tenant: 0o755, secrets: 0o700} {
		if err := os.MkdirAll(folder, mode); err != nil {
			return nil, fmt.Errorf("init: %w", err)
		}
	}
	// MkdirAll leaves a folder that is there as it is.
	if err := os.Chmod(secrets, 0o700); err != nil { //nolint:gosec // a folder needs x
		return nil, fmt.Errorf("init: %w", err)
	}
	made := make([]string, 0, len(files))
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil { //nolint:gosec // as the tenant's folder
			return made, fmt.Errorf("init: %w", err)
		}
		if err := writeNew(f.path, f.mode, f.content); err != nil {
			return made, fmt.Errorf("init: %w", err)
		}
		made = append(made, f.path)
	}
	return made, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, mode fs.FileMode, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}
