package config

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// maxSecret is larger than any token, key or certificate.
const maxSecret = 64 << 10

// secret looks up what is written for a secret: its value, "env:NAME" or
// "file:PATH". Errors name the reference, never the value.
func (d *document) secret(ref string) (core.Secret, error) {
	kind, name, _ := strings.Cut(ref, ":")
	switch kind {
	case "env":
		d.used[name] = true
		return d.secretFromEnv(name)
	case "file":
		return d.secretFromFile(name)
	}
	return core.Secret(ref), nil
}

func (d *document) secretFromEnv(name string) (core.Secret, error) {
	for _, v := range d.opts.Environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
			return core.Secret(value), nil
		}
	}
	return "", wrong("env:%s: the environment variable is not set", name)
}

func (d *document) secretFromFile(name string) (core.Secret, error) {
	path := d.path(name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", wrong("file:%s: no such file; put the secret there, readable only by the bridge (chmod 600)", name)
	case err != nil:
		return "", wrong("file:%s: cannot be read: %v", name, errors.Unwrap(err))
	case !info.Mode().IsRegular():
		return "", wrong("file:%s: is not a file", name)
	case info.Mode().Perm()&0o004 != 0:
		return "", wrong("file:%s: is readable by everyone on this machine; chmod 600 it", name)
	case info.Size() > maxSecret:
		return "", wrong("file:%s: is larger than %v", name, Size(maxSecret))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", wrong("file:%s: cannot be read: %v", name, errors.Unwrap(err))
	}
	value := strings.TrimRight(string(b), "\r\n")
	if value == "" {
		return "", wrong("file:%s: is empty", name)
	}
	return core.Secret(value), nil
}
