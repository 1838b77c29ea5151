package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"
	tomlv2 "github.com/pelletier/go-toml/v2"

	"github.com/wabridge/wabridge/core"
)

// decode writes the document's settings over those in out, a pointer to a
// struct. What does not fit is noted, and left as it was.
func (d *document) decode(out any) {
	d.unknownKeys(reflect.TypeOf(out).Elem(), reflect.TypeOf(out).Elem(), d.ko.Raw(), "")
	d.decodeErrors("", d.ko.UnmarshalWithConf("", out, koanf.UnmarshalConf{
		DecoderConfig: &mapstructure.DecoderConfig{
			DecodeHook: d.convert,
			MatchName:  func(key, field string) bool { return key == field },
		}}))
}

// gone are settings that there were, and what is there instead.
var gone = map[string]string{
	"policy.message_cost": ratesInstead,
	"policy.currency":     ratesInstead,
	"policy.costs":        ratesInstead,
}

const ratesInstead = "what messages cost is in rate cards, see [[rates]]"

// unknownKeys notes the keys of v, at path, that the type t does not have. The
// decoder could, but says nothing of a table that has other problems too.
func (d *document) unknownKeys(root, t reflect.Type, v any, path string) {
	switch v := v.(type) {
	case []any:
		if t.Kind() == reflect.Slice {
			for i, e := range v {
				d.unknownKeys(root, t.Elem(), e, fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case map[string]any:
		known := map[string]reflect.Type{}
		if t.Kind() == reflect.Struct {
			known = fields(t)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			at := strings.TrimPrefix(path+"."+key, ".")
			switch kt := known[key]; {
			case kt != nil:
				d.unknownKeys(root, kt, v[key], at)
			case gone[at] != "":
				d.problem(at, "is no setting any more: %s", gone[at])
			case t.Kind() == reflect.Struct:
				d.problem(at, "unknown key%s", suggestKey(root, t, key))
			case t.Kind() == reflect.Map:
				d.unknownKeys(root, t.Elem(), v[key], at)
			}
		}
	}
}

// decodeErrors notes each of the errors joined in err.
func (d *document) decodeErrors(name string, err error) {
	if err == nil {
		return
	}
	switch e := err.(type) { //nolint:errorlint // it is the tree itself that is walked
	case valueError:
		d.problem(keyPath(name), "%s", string(e))
	case *mapstructure.DecodeError:
		d.decodeErrors(e.Name(), e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range e.Unwrap() {
			d.decodeErrors(name, e)
		}
	case interface{ Unwrap() error }:
		d.decodeErrors(name, e.Unwrap())
	default:
		// The text of the decoder's own errors might quote a secret.
		d.problem(keyPath(name), "does not fit here")
	}
}

// valueError says what is wrong with one value, without quoting secrets.
type valueError string

func (e valueError) Error() string { return string(e) }

func wrong(format string, args ...any) error { return valueError(fmt.Sprintf(format, args...)) }

// convert turns a value as it was read, from, into what the setting of to's
// type holds. It is called for every value on every level, outer ones first.
func (d *document) convert(from, to reflect.Value) (any, error) {
	v := from.Interface()
	text, isText := v.(string)
	switch to.Interface().(type) {
	case time.Duration:
		return duration(v)
	case Size:
		return size(v)
	case core.Secret:
		if !isText {
			return nil, wrong(`write the secret in quotes, or "env:NAME" or "file:PATH"`)
		}
		return d.secret(text)
	case json.RawMessage:
		return jsonObject(v)
	case map[string]any:
		b, err := jsonObject(v)
		if err != nil {
			return nil, err
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, wrong("does not fit here")
		}
		return m, nil
	}
	switch to.Kind() {
	case reflect.String:
		if !isText {
			return nil, wrong("write this as text, in quotes")
		}
	case reflect.Bool:
		return truth(v)
	case reflect.Int:
		return integer(v)
	case reflect.Float64:
		return number(v)
	case reflect.Slice:
		if isText && to.Type().Elem().Kind() != reflect.Struct {
			return split(text), nil
		}
		if from.Kind() != reflect.Slice && to.Type().Elem().Kind() == reflect.Struct {
			return nil, wrong("this is a list of tables: write it in the file as [[…]]")
		}
		if from.Kind() != reflect.Slice {
			return nil, wrong(`write a list, like ["…", "…"]`)
		}
	case reflect.Struct, reflect.Map:
		m, ok := v.(map[string]any)
		if !ok {
			return nil, wrong("this is a table of settings, not a value: write it as [table]")
		}
		return withDefaults(m, to.Type()), nil
	}
	return v, nil
}

// withDefaults adds what an element of a list does not say.
func withDefaults(m map[string]any, t reflect.Type) map[string]any {
	defaults := elementDefaults[t]
	if defaults == nil {
		return m
	}
	full := maps.Clone(defaults)
	maps.Copy(full, m)
	return full
}

func size(v any) (any, error) {
	switch v := v.(type) {
	case Size:
		return v, nil
	case int64:
		if v >= 0 {
			return Size(v), nil
		}
	case string:
		n, err := ParseSize(v)
		if err != nil {
			return nil, wrong("%v", err)
		}
		return n, nil
	}
	return nil, wrong(`write a size like "64MiB" or "4GiB"`)
}

func duration(v any) (any, error) {
	if _, ok := v.(time.Duration); ok {
		return v, nil
	}
	text, ok := v.(string)
	if !ok {
		return nil, wrong(`write a duration in quotes, like "30s" or "1m30s"`)
	}
	dur, err := time.ParseDuration(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, wrong(`%q is not a duration: write it like "50ms", "30s" or "2h"`, text)
	case dur < 0:
		return nil, wrong("%q is negative", text)
	}
	return dur, nil
}

func truth(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if yes := strings.TrimSpace(v); yes == "true" || yes == "false" {
			return yes == "true", nil
		}
	}
	return nil, wrong("write true or false")
}

func integer(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case int:
		return v, nil
	case string:
		if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
			return n, nil
		}
	}
	return nil, wrong("write a whole number")
}

func number(v any) (any, error) {
	var f float64
	switch v := v.(type) {
	case int64:
		f = float64(v)
	case float64:
		f = v
	case string:
		n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil {
			return nil, wrong("write a number")
		}
		f = n
	default:
		return nil, wrong("write a number")
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, wrong("write a finite number")
	}
	return f, nil
}

// jsonObject returns a table as JSON.
func jsonObject(v any) (json.RawMessage, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, wrong("this is a table of settings, not a value")
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, wrong("has a number that JSON cannot hold (nan or inf)")
	}
	return b, nil
}

// split reads a list from one text, as from the environment: "1s, 30s".
func split(text string) []any {
	list := []any{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// bracketed is a key of a map in the decoder's names.
var bracketed = regexp.MustCompile(`\[([^\]]*[^\]0-9][^\]]*)\]`)

// keyPath returns the decoder's name of a setting as its key path.
func keyPath(name string) string { return bracketed.ReplaceAllString(name, ".$1") }

// syntaxError says where a TOML file is wrong. What the parser quotes of the
// file is left out: it may be a secret.
func syntaxError(err error) string {
	var e *tomlv2.DecodeError
	if !errors.As(err, &e) {
		return "cannot be read"
	}
	row, column := e.Position()
	message, _, _ := strings.Cut(strings.TrimPrefix(e.Error(), "toml: "), "\"")
	message, _, _ = strings.Cut(message, ": strconv")
	return fmt.Sprintf("line %d, column %d: %s", row, column, strings.TrimRight(message, ": "))
}
