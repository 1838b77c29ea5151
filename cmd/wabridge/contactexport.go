package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/app"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/roster"
)

func contactExportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write all that is held of one person (JSON), or all people (CSV)", ArgsUsage: "[CONTACT]", Action: exportContacts,
		Description: "Of one person: contact, identities, conversations, messages, decisions, consent, escalations, dead letters and\n" +
			"merges; what CRMs hold is named by record. --all writes a list that `contact import` takes again, and that no\n" +
			"spreadsheet takes for formulas. Numbers are whole.\n\n" +
			"Examples:\n   wabridge contact export +34600111222 --output person.json\n   wabridge contact export --all --output people.csv",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "everybody"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to this `FILE`, which only you can read"},
			tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
		},
	}
}

func (s *stored) ExportContact(ctx context.Context, tenant, who string) (broker.ContactExport, error) {
	key, err := app.OpaqueKey(s.cfg.DataDir)
	if err != nil {
		return broker.ContactExport{}, err
	}
	return broker.ExportOf(ctx, s.store, key, tenant, who, s.region(tenant))
}

func (cl *client) ExportContact(ctx context.Context, tenant, who string) (out broker.ContactExport, err error) {
	err = cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/contact-export", query: values("tenant", tenant, "contact", who)}, &out)
	return out, err
}

func exportContacts(c *cli.Context) error {
	if (c.NArg() == 1) == c.Bool("all") || c.NArg() > 1 {
		return misused("contact export: want either one contact or --all")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	export := func(w io.Writer) error {
		return notThere(look(c, func(ctx context.Context, l looker) error {
			if c.Bool("all") {
				return exportAll(ctx, c, l, tenant, w)
			}
			x, err := l.ExportContact(ctx, tenant, c.Args().First())
			if err == nil {
				printJSON(w, x)
			}
			return err
		}))
	}
	path := c.String("output")
	if path == "" {
		return export(c.App.Writer)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(export(f), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	fmt.Fprintln(c.App.ErrWriter, "written to", path)
	return nil
}

// exportAll writes everybody: first the columns are found, then the rows written.
func exportAll(ctx context.Context, c *cli.Context, l looker, tenant string, w io.Writer) error {
	const maxColumns = 150 // of fields: import takes 200 in all
	fields, phones := map[string]bool{}, 1
	var all []broker.ContactRecord
	err := eachRecord(ctx, l, tenant, func(r *broker.ContactRecord) error {
		for name := range r.Fields {
			if name != "email" && name != "language" && len(fields) < maxColumns {
				fields[name] = true
			}
		}
		phones = min(max(phones, len(r.Phones)), 10)
		if c.Bool("json") {
			all = append(all, *r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(w, all)
		return nil
	}
	out, err := roster.NewWriter(w)
	if err != nil {
		return err
	}
	header := []string{"id", "name", "username"}
	for i := range phones {
		header = append(header, "phone"+strings.TrimSuffix(fmt.Sprint(" ", i+1), " 1"))
	}
	header = append(header, "bsuid", "email", "language", "tags", "consent", "consent_at", "consent_source", "consent_evidence", "suppressed")
	names := slices.Sorted(maps.Keys(fields))
	for _, name := range names {
		header = append(header, "field:"+name)
	}
	if err := out.Write(header); err != nil {
		return err
	}
	err = eachRecord(ctx, l, tenant, func(r *broker.ContactRecord) error {
		return out.Write(cells(r, phones, names))
	})
	return errors.Join(err, out.Flush())
}

// cells are a contact's row.
func cells(r *broker.ContactRecord, phones int, names []string) []string {
	row := []string{r.ID, r.Name, r.Username}
	for i := range phones {
		n := ""
		if i < len(r.Phones) {
			n = r.Phones[i]
		}
		row = append(row, n)
	}
	tags := strings.Join(r.Tags, "|")
	if strings.ContainsAny(tags, ",;") {
		tags += "|" // so that import does not take one for two
	}
	row = append(row, r.BSUID, r.Fields["email"], r.Fields["language"], tags)
	if k := r.Consent; k != nil {
		at := ""
		if !k.At.IsZero() {
			at = k.At.UTC().Format(time.RFC3339)
		}
		row = append(row, map[string]string{"granted": "yes", "withdrawn": "no"}[k.State], at, k.Source, k.Evidence)
	} else {
		row = append(row, "", "", "", "")
	}
	row = append(row, strings.Join(r.Suppressed, "|"))
	for _, name := range names {
		row = append(row, r.Fields[name])
	}
	return row
}
