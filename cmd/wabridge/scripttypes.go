package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/declare"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/script"
)

const (
	typesFile = declare.FileName
	// namesMost bounds how many decisions of each time in namesSince are looked at
	// for names of fields and tags.
	namesMost = 6000
)

// namesSince are how far back: where there is much traffic, the latest counts.
var namesSince = []time.Duration{24 * time.Hour, 30 * 24 * time.Hour}

func scriptTypesCommand() *cli.Command {
	return &cli.Command{
		Name: "types", Usage: "write the types of a tenant's script, with its own names", ArgsUsage: "[FOLDER]", Flags: scriptFlags,
		Description: "Writes wabridge.d.ts beside the tenant's script and its draft, or into FOLDER: an editor then completes names of\n" +
			"templates, teams, topics, fields, tags, timers and tables, and underlines wrong ones. Templates are those that WhatsApp\n" +
			"has and those of tenant.toml, where the teams are, too; fields, tags, timers and topics those that the script at work,\n" +
			"its tables and the contacts of the last 30 days have, and [names] of tenant.toml. Of a kind that the script computes, names are completed only. Where there is no\n" +
			"tsconfig.json, one is written, so that JavaScript is checked, too. script new, check and deploy do the same.\n\n" +
			"Example:\n   wabridge script types --tenant demo",
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return misused("script types: want one FOLDER at most")
			}
			cfg, err := load(c)
			if err != nil {
				return err
			}
			t, err := tenantTarget(c, cfg)
			if err != nil {
				return err
			}
			dirs := []string{c.Args().First()}
			if dirs[0] == "" {
				dirs = []string{t.scriptDir()}
				if info, err := os.Stat(t.draft()); err == nil && info.IsDir() {
					dirs = append(dirs, t.draft())
				}
			}
			names := t.names(c)
			var wrote []string
			for _, dir := range dirs {
				if _, err := t.writeTypes(dir, names); err != nil {
					return fail(exitFailed, "%w", err)
				}
				wrote = append(wrote, show(filepath.Join(dir, typesFile)))
			}
			if c.Bool("json") {
				printJSON(c.App.Writer, map[string]any{"files": wrote, "templates": len(names.Templates), "teams": names.Teams.Sorted(),
					"topics": names.Topics.Sorted(), "fields": names.Fields.Sorted(), "tags": names.Tags.Sorted(), "timers": names.Timers.Sorted()})
				return nil
			}
			for _, path := range wrote {
				fmt.Fprintln(c.App.Writer, "wrote", printable(path))
			}
			printNames(c.App.Writer, names)
			return nil
		},
	}
}

func printNames(w io.Writer, n *declare.Names) {
	fmt.Fprintf(w, "   %d templates\n", len(n.Templates))
	for _, kind := range []struct {
		name string
		set  *declare.Set
	}{{"teams", &n.Teams}, {"topics", &n.Topics}, {"fields", &n.Fields}, {"tags", &n.Tags}, {"timers", &n.Timers}} {
		more := ""
		switch found := len(kind.set.Sorted()); {
		case found == 0:
			more = ": any will do"
		case kind.set.Open:
			more = ", and others: the script computes them"
		}
		fmt.Fprintf(w, "   %d %s%s\n", len(kind.set.Sorted()), kind.name, more)
	}
}

// scriptDir is the folder of the script at work.
func (t *target) scriptDir() string {
	if t.tenant.Script == "" {
		return t.tenant.Dir
	}
	return filepath.Dir(t.tenant.Script)
}

// names are the tenant's. What cannot be read is left out: types help whoever
// writes a script, and nothing depends on them.
func (t *target) names(c *cli.Context) *declare.Names {
	n := &declare.Names{Settings: t.tenant.Settings}
	for _, tpl := range t.tenant.Templates {
		n.Templates = append(n.Templates, declare.Template{Name: tpl.Name, Language: tpl.Language, Params: tpl.Params})
	}
	n.Teams.Add(t.tenant.Escalation.Team)
	for _, team := range t.tenant.Teams {
		n.Teams.Add(team.ID)
		for _, m := range team.Members {
			n.Owners.Add(m.ID)
		}
	}
	n.Topics.Add(escalation.Topics()...)
	for _, r := range t.tenant.Escalation.Rules {
		n.Topics.Add(r.Topic)
	}
	for _, l := range t.tenant.Lanes {
		n.Fields.Add(mapping.Names(l.Map, l.Mapping != "")...)
	}
	own := t.tenant.Names
	n.Fields.Add(own.Fields...)
	n.Tags.Add(own.Tags...)
	n.Timers.Add(own.Timers...)
	n.Topics.Add(own.Topics...)
	if t.tenant.Script != "" {
		if src, err := script.ReadSource(t.tenant.Script); err == nil {
			n.Learn(src)
		}
	}
	_ = lookAs(c, io.Discard, func(ctx context.Context, l looker) error {
		return errors.Join(t.learnTemplates(ctx, l, n), t.learnContacts(ctx, l, n))
	})
	return n
}

// learnTemplates takes the templates that WhatsApp has, in the place of what the
// settings say of them.
func (t *target) learnTemplates(ctx context.Context, l looker, n *declare.Names) error {
	list, err := l.Templates(ctx, t.tenant.ID)
	if err != nil {
		return err
	}
	for _, v := range list.Templates {
		if v.Synced.IsZero() || v.Sends == "no" {
			continue
		}
		n.Templates = slices.DeleteFunc(n.Templates, func(s declare.Template) bool { return s.Name == v.Name && s.Language == v.Language })
		params := any(len(v.Variables))
		if slices.ContainsFunc(v.Variables, func(name string) bool { return strings.Trim(name, "0123456789") != "" }) {
			names := make([]any, len(v.Variables))
			for i, name := range v.Variables {
				names[i] = name
			}
			params = names
		}
		n.Templates = append(n.Templates, declare.Template{Name: v.Name, Language: v.Language, Params: params})
	}
	return nil
}

// learnContacts takes the names of fields and tags that contacts have.
func (t *target) learnContacts(ctx context.Context, l looker, n *declare.Names) error {
	for _, since := range namesSince {
		q := broker.DecisionQuery{Tenant: t.tenant.ID, From: time.Now().Add(-since), Limit: 2000}
		if err := learnPages(ctx, l, q, n); err != nil {
			return err
		}
	}
	return nil
}

func learnPages(ctx context.Context, l looker, q broker.DecisionQuery, n *declare.Names) error {
	for seen := 0; seen < namesMost; {
		page, err := l.Decisions(ctx, q)
		if err != nil || len(page.Steps) == 0 {
			return err
		}
		for _, raw := range page.Steps {
			var step struct {
				Recorded struct {
					Context struct{ Contact core.Contact }
				}
			}
			if json.Unmarshal(raw, &step) != nil {
				continue
			}
			contact := &step.Recorded.Context.Contact
			n.Tags.Add(contact.Tags...)
			for name := range contact.Fields {
				n.Fields.Add(name)
			}
		}
		seen, q.After = seen+len(page.Steps), page.Next
	}
	return nil
}

// writeTypes writes the types into a folder, and what an editor needs to use them
// when it is not there; it says whether the types are others than they were.
func (t *target) writeTypes(dir string, n *declare.Names) (changed bool, err error) {
	// Each folder has its own tables.
	own := *n
	own.Modules = nil
	if file, err := t.find(dir); err == nil {
		if src, err := script.ReadSource(file); err == nil {
			own.Import(src)
		}
	}
	project := filepath.Join(dir, declare.ProjectName)
	if _, err := os.Lstat(project); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(project, declare.Project(), 0o644); err != nil { //nolint:gosec // no secret
			return false, err
		}
	}
	types, path := declare.Types(&own), filepath.Join(dir, typesFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, types) {
		return false, nil
	}
	return true, os.WriteFile(path, types, 0o644) //nolint:gosec // no secret
}

// refreshTypes writes the types beside a script that is checked or deployed, where
// they are the bridge's to write. That it fails stops nobody.
func (t *target) refreshTypes(c *cli.Context, dirs ...string) {
	names := t.names(c)
	for _, dir := range slices.Compact(dirs) {
		if _, err := os.Stat(filepath.Join(dir, typesFile)); err != nil && dir != t.scriptDir() && dir != t.draft() {
			continue // a file from somewhere
		}
		changed, err := t.writeTypes(dir, names)
		switch {
		case err != nil:
			fmt.Fprintf(c.App.ErrWriter, "the types could not be written: %v\n", err)
		case changed:
			fmt.Fprintf(c.App.ErrWriter, "%s has the names of now\n", printable(show(filepath.Join(dir, typesFile))))
		}
	}
}
