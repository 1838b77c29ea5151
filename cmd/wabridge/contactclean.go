package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/roster"
)

func contactCleanCommand() *cli.Command {
	return &cli.Command{
		Name: "clean", Usage: "say what is wrong with the contacts there are", Action: cleanContacts,
		Description: "Numbers that cannot be, landlines, numbers to which WhatsApp could not deliver, contacts that nobody can be\n" +
			"reached by, and contacts that may be one person, and why. Nothing changes without --apply, which tags the people\n" +
			"whose numbers get nothing with " + roster.DisabledTag + "; nobody is deleted, nobody merged.\n\n" +
			"Example:\n   wabridge contact clean",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "apply", Usage: "tag those whose numbers get nothing"},
			byFlag("does it"),
			tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
		},
	}
}

func (s *stored) ContactRecords(ctx context.Context, tenant, after string, limit int) (broker.ContactRecords, error) {
	return broker.RecordsOf(ctx, s.store, tenant, after, limit)
}

func (cl *client) ContactRecords(ctx context.Context, tenant, after string, limit int) (out broker.ContactRecords, err error) {
	q := values("tenant", tenant, "after", after, "limit", fmt.Sprint(limit))
	err = cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/contact-records", query: q}, &out)
	return out, err
}

// eachRecord calls f for every contact of a tenant.
func eachRecord(ctx context.Context, l looker, tenant string, f func(*broker.ContactRecord) error) error {
	for after := ""; ; {
		page, err := l.ContactRecords(ctx, tenant, after, pageSize)
		if err != nil {
			return err
		}
		for i := range page.Contacts {
			if err := f(&page.Contacts[i]); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// contactFinding is what is said of one contact.
type contactFinding struct {
	Contact string `json:"contact"`
	Note    string `json:"note"`
}

type cleanReport struct {
	Contacts int              `json:"contacts"`
	Nobody   []contactFinding `json:"without_identity"`
	Invalid  []contactFinding `json:"invalid"`
	Disabled []contactFinding `json:"disabled"`
	// Duplicates are contacts that may be one person.
	Duplicates []contactFinding `json:"duplicates"`
	// Tagged is how many were tagged, or would be.
	Tagged  int  `json:"tagged"`
	Applied bool `json:"applied"`

	tag []json.RawMessage
}

// same gathers contacts that share something.
type same map[string][]string

func (s same) add(value, id string) {
	if value != "" && len(s) < 1_000_000 {
		s[value] = append(s[value], id)
	}
}

func cleanContacts(c *cli.Context) error {
	if c.Args().Present() {
		return misused("contact clean: no arguments, only flags")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	var r cleanReport
	err = look(c, func(ctx context.Context, l looker) error {
		r = cleanReport{Nobody: []contactFinding{}, Invalid: []contactFinding{}, Disabled: []contactFinding{}, Duplicates: []contactFinding{}}
		emails, parents := same{}, same{}
		err := eachRecord(ctx, l, tenant, func(rec *broker.ContactRecord) error {
			r.look(rec)
			emails.add(strings.ToLower(rec.Fields["email"]), rec.ID)
			parents.add(rec.ParentBSUID, rec.ID)
			return nil
		})
		r.alike(emails, "have the same e-mail address")
		r.alike(parents, "have the same user id across businesses")
		return err
	})
	if err != nil {
		return err
	}
	if c.Bool("apply") && len(r.tag) > 0 {
		if err := r.apply(c, tenant); err != nil {
			return err
		}
	}
	r.Applied = c.Bool("apply")
	if c.Bool("json") {
		printJSON(c.App.Writer, r)
		return nil
	}
	r.print(c)
	return nil
}

func (r *cleanReport) look(rec *broker.ContactRecord) {
	r.Contacts++
	if len(rec.Phones) == 0 && rec.BSUID == "" {
		r.Nobody = append(r.Nobody, contactFinding{rec.ID, "has neither a phone number nor a user id: nobody can be reached by it"})
		return
	}
	disabled := ""
	for _, n := range rec.Phones {
		why := contact.WhyNot(n, "")
		p, err := contact.ParsePhone(n, "")
		switch {
		case why != "":
			r.Invalid = append(r.Invalid, contactFinding{rec.ID, core.MaskAddress(n) + ": " + why})
			disabled = why
		case err == nil && p.Line() == contact.LineLandline:
			disabled = "is a landline's"
		}
	}
	if at := rec.Undeliverable; !at.IsZero() {
		disabled = "got nothing from WhatsApp on " + at.Local().Format(time.DateOnly)
	}
	if disabled == "" {
		return
	}
	r.Disabled = append(r.Disabled, contactFinding{rec.ID, "the number " + core.MaskAddress(rec.Phone) + " " + disabled})
	if slices.Contains(rec.Tags, roster.DisabledTag) {
		return
	}
	p := roster.Person{BSUID: rec.BSUID, Tags: []string{roster.DisabledTag}}
	for _, n := range rec.Phones {
		p.Phones = append(p.Phones, roster.Phone{Number: n})
	}
	if data, err := json.Marshal(p); err == nil {
		r.tag = append(r.tag, data)
		r.Tagged++
	}
}

func (r *cleanReport) alike(s same, why string) {
	for _, value := range slices.Sorted(maps.Keys(s)) {
		if ids := s[value]; len(ids) > 1 {
			r.Duplicates = append(r.Duplicates, contactFinding{ids[0], fmt.Sprintf("and %s %s: if they are one person, wabridge contact merge %s %s",
				strings.Join(ids[1:], ", "), why, ids[0], ids[1])})
		}
	}
}

// apply tags people whose numbers get nothing.
func (r *cleanReport) apply(c *cli.Context, tenant string) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	im := &importer{c: c, cl: newClient(c, cfg), bar: newProgress(c.App.ErrWriter)}
	im.request = broker.ImportRequest{
		Tenant: tenant, By: c.String("by"), File: "contact clean", Apply: true, Run: "clean" + time.Now().UTC().Format("20060102150405"),
	}
	for part := range slices.Chunk(r.tag, broker.MaxImport) {
		if err := im.send(part, nil); err != nil {
			return err
		}
	}
	r.Tagged = im.rep.Changed.Count
	return nil
}

func (r *cleanReport) print(c *cli.Context) {
	w := c.App.Writer
	fmt.Fprintf(w, "%d contacts\n", r.Contacts)
	for _, part := range []struct {
		what string
		list []contactFinding
	}{
		{"have no identity", r.Nobody}, {"numbers cannot be", r.Invalid}, {"have numbers that get nothing, as far as anybody can tell", r.Disabled},
		{"may be the same people", r.Duplicates},
	} {
		if len(part.list) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%d %s\n", len(part.list), part.what)
		for _, f := range part.list[:min(len(part.list), shownNotes)] {
			fmt.Fprintf(w, "  %s %s\n", f.Contact, printable(f.Note))
		}
		if n := len(part.list) - shownNotes; n > 0 {
			fmt.Fprintf(w, "  … and %d more: see --json\n", n)
		}
	}
	switch {
	case r.Applied:
		fmt.Fprintf(w, "\n%d were tagged %s\n", r.Tagged, roster.DisabledTag)
	case r.Tagged > 0:
		fmt.Fprintf(w, "\n%d would be tagged %s. Nothing was changed: say --apply\n", r.Tagged, roster.DisabledTag)
	}
}
