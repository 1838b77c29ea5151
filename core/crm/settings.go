// Package crm is what connectors to CRMs need all alike: reading a lane's settings
// strictly, asking a server over HTTP within bounds, and putting what people wrote
// into words and fields. It knows no CRM.
//
// A third party's connector may import it, as ours do; none must.
package crm

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/spelling"
)

// ReadSettings reads a settings table into a struct that holds the defaults. Its
// errors name the setting; a key that the struct does not have is one. No settings
// at all leave the defaults.
func ReadSettings(op string, raw json.RawMessage, into any) *core.Error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return BadSetting(op, "", "want an object: %v", err)
	}
	names := settingNames(reflect.TypeOf(into).Elem())
	for key := range keys {
		if !slices.Contains(names, key) {
			return unknownSetting(op, key, names)
		}
	}
	if err := json.Unmarshal(raw, into); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return BadSetting(op, t.Field, "want %s, got %s", t.Type, t.Value)
		}
		return BadSetting(op, "", "%v", err)
	}
	return nil
}

// BadSetting makes an error about a setting; no name is the whole table.
func BadSetting(op, name, format string, args ...any) *core.Error {
	e := core.Errorf(core.CodeInvalid, op, format, args...)
	e.Source, e.Scope = core.SourcePlugin, core.ScopeLane
	e.Hint = "correct the lane's settings"
	if name != "" {
		e.Message = name + ": " + e.Message
		e.Hint = "correct settings." + name
	}
	return e
}

func unknownSetting(op, key string, names []string) *core.Error {
	e := BadSetting(op, key, "unknown setting")
	e.Hint = "settings are " + strings.Join(names, ", ")
	if meant := spelling.Nearest(key, names); meant != "" {
		e.Message += "; did you mean " + meant + "?"
		e.Hint = "rename it to " + meant
	}
	return e
}

// settingNames returns the keys of a settings table.
func settingNames(t reflect.Type) []string {
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous { // what is embedded is part of the table
			names = append(names, f.Tag.Get("json"))
		}
	}
	return names
}

// BaseURL checks a setting that holds a server's address and returns it without a
// slash at its end. Plain http is taken on loopback only: credentials go there.
func BaseURL(op, name, value, example string) (string, *core.Error) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", BadSetting(op, name, "want https://host, such as %s", example)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", BadSetting(op, name, "http would send the token in clear: use https")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", BadSetting(op, name, "want https")
	}
	return strings.TrimRight(value, "/"), nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Duration is a [time.Duration] written as "20s" or as a number of seconds.
type Duration time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Duration) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		p, err := time.ParseDuration(v)
		if err != nil {
			return errors.New(`timeout: want a duration such as "20s"`)
		}
		*d = Duration(p)
	case float64:
		*d = Duration(v * float64(time.Second))
	default:
		return errors.New(`timeout: want a duration such as "20s"`)
	}
	return nil
}
