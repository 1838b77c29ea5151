package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/template"
)

// Bounds of a file of templates.
const (
	maxTemplateFile = 256 << 10
	maxFileDrafts   = 100
)

// readTemplates reads the templates of a file, TOML or JSON.
func readTemplates(file string) ([]template.Draft, error) {
	wrong := func(format string, args ...any) error {
		return fail(exitConfig, "%s: %w", show(file), fmt.Errorf(format, args...))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fail(exitNotFound, "%w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTemplateFile+1))
	switch {
	case err != nil:
		return nil, wrong("%w", err)
	case len(data) > maxTemplateFile:
		return nil, wrong("it is larger than %d KiB", maxTemplateFile>>10)
	}
	var doc map[string]any
	if strings.EqualFold(filepath.Ext(file), ".json") {
		err = json.Unmarshal(data, &doc)
	} else {
		err = toml.Unmarshal(data, &doc)
	}
	if err != nil {
		return nil, wrong("%w", err)
	}
	all := []any{doc}
	if several, ok := doc["templates"].([]any); ok && len(doc) == 1 {
		all = several
	}
	if len(all) == 0 || len(all) > maxFileDrafts {
		return nil, wrong("it has %d templates: 1 to %d", len(all), maxFileDrafts)
	}
	drafts := make([]template.Draft, len(all))
	for i, one := range all {
		raw, err := json.Marshal(one)
		if err != nil {
			return nil, wrong("%w", err)
		}
		if drafts[i], err = template.ParseDraft(raw); err != nil {
			return nil, wrong("%w", err)
		}
	}
	return drafts, nil
}

// changeTemplates creates or edits the templates of a file.
func changeTemplates(what string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != 1 {
			return misused("template %s: want one FILE", what)
		}
		drafts, err := readTemplates(c.Args().First())
		if err != nil {
			return err
		}
		all := broker.TemplateReceipt{Templates: []broker.TemplateStatus{}}
		for _, d := range drafts {
			r := request{
				method: http.MethodPost, path: templatesPath,
				body: broker.TemplateRequest{Tenant: c.String("tenant"), Account: c.String("account"), Template: d},
			}
			if what == "edit" {
				r.method, r.path = http.MethodPut, templatesPath+"/"+url.PathEscape(d.Name)
			}
			var receipt broker.TemplateReceipt
			if err := callBridge(c, r, &receipt); err != nil {
				return notThere(err)
			}
			if len(drafts) == 1 {
				return printReceipt(c, &receipt)
			}
			if !c.Bool("json") {
				_ = printReceipt(c, &receipt)
			}
			all.Done = receipt.Done
			all.Templates = append(all.Templates, receipt.Templates...)
			all.Problems = append(all.Problems, receipt.Problems...)
		}
		if c.Bool("json") {
			return printReceipt(c, &all)
		}
		return nil
	}
}

// nameTemplate deletes or unpauses the template that the argument names.
func nameTemplate(what string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != 1 {
			return misused("template %s: want one NAME", what)
		}
		if what == "delete" && (c.String("language") == "") != c.Bool("all") {
			return misused("template delete: want --language LANGUAGE, or --all for all of them")
		}
		r := request{
			method: http.MethodDelete, path: templatesPath + "/" + url.PathEscape(c.Args().First()),
			query: values("tenant", c.String("tenant"), "account", c.String("account"), "language", c.String("language")),
		}
		if what == "unpause" {
			r.method, r.path = http.MethodPost, r.path+"/unpause"
		}
		var receipt broker.TemplateReceipt
		if err := callBridge(c, r, &receipt); err != nil {
			return notThere(err)
		}
		return printReceipt(c, &receipt)
	}
}

func printReceipt(c *cli.Context, r *broker.TemplateReceipt) error {
	if c.Bool("json") {
		printJSON(c.App.Writer, r)
		return nil
	}
	for _, t := range r.Templates {
		fmt.Fprintf(c.App.Writer, "%s %s (%s): %s, %s\n", r.Done, printable(t.Name), t.Language, t.Category, strings.ToLower(dash(t.Status)))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(c.App.Writer, "   %s: %s\n", printable(p.Text), p.Hint)
	}
	return nil
}
