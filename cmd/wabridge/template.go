package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/template"
)

const templatesPath = "/api/v1/templates"

func templateCommand() *cli.Command {
	flags := []cli.Flag{tenantFlag, configFlag, setFlag, urlFlag, jsonFlag}
	account := &cli.StringFlag{Name: "account", Usage: "the business account (`WABA`), where a tenant has several"}
	language := &cli.StringFlag{Name: "language", Usage: "the template's `LANGUAGE`, like en_US"}
	change := append([]cli.Flag{account}, flags...)
	const file = "FILE"
	return &cli.Command{
		Name: "template", Usage: "the templates that are sent", Action: group("template"),
		Description: "A template is what a business may begin a conversation with; Meta reviews each. With waba at one of\n" +
			"a tenant's [[numbers]] the bridge knows those of the account. FILE, in TOML or JSON, is a template as\n" +
			"[[templates]] in tenant.toml has it, with examples; or it has several, as [[templates]].\n\n" +
			"Examples:\n   wabridge template list\n   wabridge template create shipped.toml",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "which there are, and what becomes of their messages now", Flags: flags, Action: listTemplates,
				Description: "Without a running bridge it reads the data folder.\n\nExample:\n   wabridge template list",
			},
			{
				Name: "show", Usage: "what a template says, and what it wants", ArgsUsage: "NAME", Flags: append([]cli.Flag{language}, flags...), Action: showTemplate,
				Description: "Example:\n   wabridge template show order_shipped --language en_US",
			},
			{
				Name: "history", Usage: "the states that a template was in, and why", ArgsUsage: "NAME", Flags: append([]cli.Flag{language}, flags...), Action: showTemplateHistory,
				Description: "Example:\n   wabridge template history order_shipped",
			},
			{
				Name: "sync", Usage: "ask WhatsApp for them now", Flags: flags, Action: syncTemplates,
				Description: "The bridge does so by itself every whatsapp.template_sync, and when WhatsApp says that one has changed.\n\n" +
					"Example:\n   wabridge template sync",
			},
			{
				Name: "lint", Usage: "say what is wrong with templates before Meta does", ArgsUsage: "[" + file + "]...", Flags: []cli.Flag{configFlag, setFlag, jsonFlag, tenantFlag}, Action: lintTemplates,
				Description: "Without a FILE it looks at the texts of [[templates]] in tenant.toml: marketing must say who writes,\n" +
					"and have a way out. With one it looks for all that Meta would refuse. Exits with 3 when it finds\n" +
					"something.\n\nExamples:\n   wabridge template lint --tenant demo\n   wabridge template lint shipped.toml",
			},
			{
				Name: "create", Usage: "make a template, which Meta then reviews", ArgsUsage: file, Flags: change, Action: changeTemplates("create"),
				Description: "What is there already and says the same is left alone: to repeat the command makes no second one.\n\n" +
					"Example:\n   wabridge template create shipped.toml",
			},
			{
				Name: "edit", Usage: "replace what a template says; Meta reviews it anew", ArgsUsage: file, Flags: change, Action: changeTemplates("edit"),
				Description: "Messages wait until it is approved again. Meta lets an approved one be edited once a day, ten times\n" +
					"a month, and its category never.\n\nExample:\n   wabridge template edit shipped.toml",
			},
			{
				Name: "delete", Usage: "delete a template", ArgsUsage: "NAME", Action: nameTemplate("delete"),
				Flags: append([]cli.Flag{language, &cli.BoolFlag{Name: "all", Usage: "all languages"}}, change...),
				Description: "Its name cannot be used again for 30 days. Messages that wait for it are refused.\n\n" +
					"Example:\n   wabridge template delete order_shipped --language en_US",
			},
			{
				Name: "unpause", Usage: "enable a template again that WhatsApp paused for its pace", ArgsUsage: "NAME", Action: nameTemplate("unpause"),
				Flags:       append([]cli.Flag{language}, change...),
				Description: "One that was paused for its quality comes back by itself.\n\nExample:\n   wabridge template unpause order_shipped",
			},
		},
	}
}

func (cl *client) Templates(ctx context.Context, tenant string) (out broker.TemplateList, err error) {
	err = cl.call(ctx, request{method: http.MethodGet, path: templatesPath, query: values("tenant", tenant)}, &out)
	return out, err
}

func (cl *client) Template(ctx context.Context, tenant, name, language string) (out []broker.TemplateStatus, err error) {
	err = cl.call(ctx, request{method: http.MethodGet, path: templatesPath + "/" + url.PathEscape(name), query: values("tenant", tenant, "language", language)}, &out)
	return out, err
}

func (s *stored) Templates(ctx context.Context, tenant string) (broker.TemplateList, error) {
	return broker.StoredTemplates(ctx, s.store, tenant, s.templateSettings(tenant))
}

func (s *stored) Template(ctx context.Context, tenant, name, language string) ([]broker.TemplateStatus, error) {
	return broker.StoredTemplate(ctx, s.store, tenant, s.templateSettings(tenant), name, language)
}

// templateSettings are the tenant's [[templates]].
func (s *stored) templateSettings(tenant string) []broker.Template {
	var out []broker.Template
	for _, t := range s.cfg.Tenants {
		for _, tpl := range t.Templates {
			if t.ID == tenant {
				out = append(out, broker.Template{Name: tpl.Name, Language: tpl.Language, Category: consent.ParseCategory(tpl.Category), Params: tpl.Params})
			}
		}
	}
	return out
}

func listTemplates(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("template list: no arguments, only flags")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	return look(c, func(ctx context.Context, l looker) error {
		list, err := l.Templates(ctx, tenant)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, list)
			return nil
		}
		printTemplates(c.App.Writer, list)
		return nil
	})
}

func printTemplates(w io.Writer, list broker.TemplateList) {
	if len(list.Templates) == 0 {
		fmt.Fprintln(w, "WhatsApp has told of no template")
	} else {
		t := newTable(w, "NAME", "LANGUAGE", "CATEGORY", "STATUS", "QUALITY", "SENDS", "WAITING")
		for _, v := range list.Templates {
			t.row(v.Name, v.Language, dash(v.Category), strings.ToLower(dash(v.Status)), strings.ToLower(dash(v.Quality)), v.Sends, v.Waiting)
		}
		t.flush()
	}
	for _, v := range list.Templates {
		if v.Reason != "" && v.Sends != "yes" {
			fmt.Fprintf(w, "%s (%s): %s\n", v.Name, v.Language, printable(v.Reason))
		}
		if v.Next != "" {
			fmt.Fprintf(w, "%s (%s): %s from %s on\n", v.Name, v.Language, v.Next, v.NextAt.Local().Format(time.DateTime))
		}
		for _, d := range v.Differs {
			fmt.Fprintf(w, "%s (%s): %s\n", v.Name, v.Language, printable(d))
		}
	}
	printSyncs(w, list.Syncs)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func printSyncs(w io.Writer, syncs []broker.TemplateSync) {
	for _, s := range syncs {
		if s.Synced.IsZero() {
			fmt.Fprintf(w, "account %s: not asked yet\n", s.Account)
		} else {
			fmt.Fprintf(w, "account %s: %d templates, asked %s ago, again in %s\n", s.Account, s.Templates, span(time.Since(s.Synced)), span(max(0, time.Until(s.Next))))
		}
		if s.Error != "" {
			fmt.Fprintf(w, "account %s: %s\n", s.Account, printable(s.Error))
		}
	}
}

// theTemplates returns the template that the argument names, in its languages.
func theTemplates(c *cli.Context, show func([]broker.TemplateStatus)) error {
	if c.NArg() != 1 {
		return misused("template %s: want one NAME", c.Command.Name)
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	return notThere(look(c, func(ctx context.Context, l looker) error {
		all, err := l.Template(ctx, tenant, c.Args().First(), c.String("language"))
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, all)
		} else {
			show(all)
		}
		return nil
	}))
}

func showTemplate(c *cli.Context) error {
	return theTemplates(c, func(all []broker.TemplateStatus) {
		for i := range all {
			if i > 0 {
				fmt.Fprintln(c.App.Writer)
			}
			printTemplate(c.App.Writer, &all[i])
		}
	})
}

func printTemplate(w io.Writer, v *broker.TemplateStatus) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-10s %s\n", name, printable(text))
		}
	}
	fmt.Fprintf(w, "%s (%s), %s\n", v.Name, v.Language, dash(v.Category))
	status := strings.ToLower(dash(v.Status))
	if !v.Since.IsZero() {
		status += " since " + v.Since.Local().Format(time.DateTime)
	}
	line("status", status)
	line("reason", v.Reason)
	line("quality", strings.ToLower(v.Quality))
	line("sends", map[string]string{"yes": "yes", "no": "no: messages are refused", "held": "not now: messages wait"}[v.Sends])
	if v.Waiting > 0 {
		line("waiting", fmt.Sprint(v.Waiting))
	}
	if v.Next != "" {
		line("becomes", v.Next+" on "+v.NextAt.Local().Format(time.DateTime))
	}
	for _, d := range v.Differs {
		line("differs", d)
	}
	if v.Definition == nil {
		line("", "what it says is not known: with waba at a number, WhatsApp is asked")
		return
	}
	line("wants", wants(v))
	for _, c := range v.Definition.Components {
		kind := strings.ToLower(c.Type)
		switch {
		case c.Type == template.Header && c.Format != template.Text:
			line(kind, strings.ToLower(c.Format))
		case len(c.Buttons) > 0:
			for _, b := range c.Buttons {
				line("button", strings.TrimSpace(strings.Join([]string{b.Text, b.URL, b.Phone}, " "))+" ("+strings.ToLower(b.Type)+")")
			}
		default:
			line(kind, c.Text)
		}
	}
}

// wants says what a message gives the template.
func wants(v *broker.TemplateStatus) string {
	var parts []string
	if f := v.Definition.HeaderFormat(); f != "" && f != template.Text {
		parts = append(parts, "a header of the kind "+strings.ToLower(f))
	}
	if len(v.Variables) > 0 {
		parts = append(parts, "values for "+strings.Join(v.Variables, ", "))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

func showTemplateHistory(c *cli.Context) error {
	return theTemplates(c, func(all []broker.TemplateStatus) {
		t := newTable(c.App.Writer, "WHEN", "LANGUAGE", "STATUS", "CATEGORY", "QUALITY", "BY", "WHY")
		for _, v := range all {
			for _, h := range v.History {
				category := dash(h.Category)
				if h.Next != "" {
					category += ", " + h.Next + " from " + h.NextAt.Local().Format(time.DateTime)
				}
				t.row(h.At.Local().Format(time.DateTime), v.Language, strings.ToLower(dash(h.Status)), category, strings.ToLower(dash(h.Quality)), h.From, h.Reason)
			}
		}
		t.flush()
	})
}

func syncTemplates(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("template sync: no arguments, only flags")
	}
	var syncs []broker.TemplateSync
	if err := callBridge(c, request{method: http.MethodPost, path: "/api/v1/template-sync", query: values("tenant", c.String("tenant"))}, &syncs); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, syncs)
		return nil
	}
	for _, s := range syncs {
		for _, name := range s.Changed {
			fmt.Fprintln(c.App.Writer, "changed", printable(name))
		}
	}
	printSyncs(c.App.Writer, syncs)
	return nil
}

// lintTemplates lints files, or the templates of the settings.
func lintTemplates(c *cli.Context) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	k := &checker{c: c, cfg: cfg, bar: newProgress(c.App.ErrWriter)}
	if c.NArg() == 0 {
		k.templates(c.String("tenant"))
	}
	if c.NArg() > 0 {
		id, err := theTenant(c)
		if err != nil {
			return err
		}
		for _, file := range c.Args().Slice() {
			if err := k.templateFile(file, id); err != nil {
				return err
			}
		}
	}
	k.bar.done()
	return k.conclude()
}

func (k *checker) templateFile(file, tenant string) error {
	drafts, err := readTemplates(file)
	if err != nil {
		return err
	}
	var sender []string
	for i := range k.cfg.Tenants {
		if t := &k.cfg.Tenants[i]; t.ID == tenant {
			sender = t.Sender()
		}
	}
	for i := range drafts {
		d := drafts[i].Definition()
		what := "template " + filepath.Join(d.Name, d.Language)
		problems := broker.LintTemplate(&d, sender)
		for _, p := range problems {
			k.add(what, "", &exitError{code: exitConfig, message: p.Text, hint: p.Hint}, exitConfig)
		}
		if len(problems) == 0 {
			k.add(what, d.Category, nil, exitConfig)
		}
	}
	return nil
}

// templates lints the templates whose texts are in the settings.
func (k *checker) templates(tenant string) {
	for i := range k.cfg.Tenants {
		t := &k.cfg.Tenants[i]
		if tenant != "" && t.ID != tenant {
			continue
		}
		for _, tpl := range t.Templates {
			what := "tenant " + t.ID + " template " + filepath.Join(tpl.Name, tpl.Language)
			problems := t.Lint(tpl)
			for _, p := range problems {
				k.add(what, "", fmt.Errorf("%s", p), exitConfig)
			}
			if len(problems) == 0 {
				k.add(what, tpl.Category, nil, exitConfig)
			}
		}
	}
}
