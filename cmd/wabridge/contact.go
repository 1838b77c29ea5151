package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
)

const contactsPath = "/api/v1/contacts"

func contactCommand() *cli.Command {
	return &cli.Command{
		Name: "contact", Usage: "the people whom the bridge knows", Action: group("contact"),
		Description: "A person is named by the contact's ID, by a phone number as people write it, or by a user id.\n\n" +
			"Examples:\n   wabridge contact find 0912-345-678\n   wabridge contact show cxvfacp7jf7aviuu3",
		Subcommands: []*cli.Command{
			contactFindCommand(),
			contactShowCommand(),
			contactMergeCommand(),
			contactUnmergeCommand(),
			contactImportCommand(),
			contactCleanCommand(),
			contactExportCommand(),
			contactEraseCommand(),
		},
	}
}

// fullFlag is for who must see whole numbers.
var fullFlag = &cli.BoolFlag{Name: "full", Usage: "do not mask phone numbers and user ids"}

func contactFindCommand() *cli.Command {
	return &cli.Command{
		Name: "find", Usage: "find people", ArgsUsage: "[TEXT]", Action: findContacts,
		Description: "TEXT is a phone number in any spelling (those without a country's code are of the tenant's region), a user\n" +
			"id, a contact's ID, a CRM's record, a message's id; or else a part of a name or username.\n" +
			"--json has whole numbers. Exits with 9 when there is nobody.\n\n" +
			"Examples:\n   wabridge contact find 0912-345-678\n   wabridge contact find --tag vip",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "tag", Usage: "only those with the `TAG`"},
			&cli.IntFlag{Name: "limit", Value: 50, Usage: "at most `N`"},
			fullFlag, tenantFlag, configFlag, setFlag, urlFlag, jsonFlag,
		},
	}
}

func contactShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "all that is known of one person", ArgsUsage: "CONTACT", Action: showContact,
		Description: "--json has whole numbers.\n\nExample:\n   wabridge contact show +34600111222",
		Flags:       []cli.Flag{fullFlag, tenantFlag, configFlag, setFlag, urlFlag, jsonFlag},
	}
}

func (s *stored) FindContacts(ctx context.Context, q broker.ContactQuery) (broker.ContactPage, error) {
	q.Region = s.region(q.Tenant)
	return broker.FindContacts(ctx, s.store, q)
}

func (s *stored) Contact(ctx context.Context, tenant, who string) (broker.ContactView, error) {
	return broker.ContactOf(ctx, s.store, tenant, who, s.region(tenant))
}

func (s *stored) region(tenant string) string {
	for _, t := range s.cfg.Tenants {
		if t.ID == tenant {
			return t.Region
		}
	}
	return ""
}

func (cl *client) FindContacts(ctx context.Context, q broker.ContactQuery) (out broker.ContactPage, err error) {
	v := values("tenant", q.Tenant, "text", q.Text, "tag", q.Tag, "after", q.After, "limit", strconv.Itoa(q.Limit))
	err = cl.call(ctx, request{method: http.MethodGet, path: contactsPath, query: v}, &out)
	return out, err
}

func (cl *client) Contact(ctx context.Context, tenant, who string) (out broker.ContactView, err error) {
	err = cl.call(ctx, request{method: http.MethodGet, path: contactPath(who), query: values("tenant", tenant)}, &out)
	return out, err
}

func contactPath(who string) string { return contactsPath + "/" + url.PathEscape(who) }

// theTenant is the tenant of a command that is about one.
func theTenant(c *cli.Context) (string, error) {
	cfg, err := load(c)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, t := range cfg.Tenants {
		ids = append(ids, t.ID)
	}
	return tenantOf(c, ids)
}

// notThere gives an error about what is not there its exit code.
func notThere(err error) error {
	if isNotFound(err) {
		return &exitError{code: exitNotFound, message: err.Error(), hint: hintOf(err), err: err}
	}
	return err
}

func findContacts(c *cli.Context) error {
	want := c.Int("limit")
	if c.NArg() > 1 || want < 1 {
		return misused("contact find: want one text, and a --limit of 1 or more")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	var found []broker.FoundContact
	more := false
	err = look(c, func(ctx context.Context, l looker) error {
		found, more = []broker.FoundContact{}, false
		for q := (broker.ContactQuery{Tenant: tenant, Text: c.Args().First(), Tag: c.String("tag")}); ; {
			q.Limit = min(want-len(found), pageSize)
			page, err := l.FindContacts(ctx, q)
			if err != nil {
				return err
			}
			found = append(found, page.Contacts...)
			if q.After = page.Next; q.After == "" || len(found) >= want {
				more = q.After != ""
				return nil
			}
		}
	})
	switch {
	case err != nil:
		return notThere(err)
	case c.Bool("json"):
		printJSON(c.App.Writer, found)
	case len(found) > 0:
		printFound(c, found, more)
	}
	if len(found) == 0 {
		return fail(exitNotFound, "nobody is found")
	}
	return nil
}

func printFound(c *cli.Context, found []broker.FoundContact, more bool) {
	t := newTable(c.App.Writer, "ID", "NAME", "USERNAME", "PHONE", "USER ID", "TAGS", "FOUND BY")
	for i := range found {
		f := &found[i]
		t.row(f.ID, clip(f.Name, 40), f.Username, masked(c, f.Phone), masked(c, f.BSUID), clip(strings.Join(f.Tags, " "), 40), f.By)
	}
	t.flush()
	if more {
		fmt.Fprintln(c.App.Writer, "there may be more: see --limit")
	}
}

// masked hides most of an address, unless --full says otherwise.
func masked(c *cli.Context, address string) string {
	if address == "" || c.Bool("full") {
		return address
	}
	return core.MaskAddress(address)
}

func showContact(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("contact show: want one contact: its ID, a phone number or a user id")
	}
	tenant, err := theTenant(c)
	if err != nil {
		return err
	}
	return notThere(look(c, func(ctx context.Context, l looker) error {
		v, err := l.Contact(ctx, tenant, c.Args().First())
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, v)
			return nil
		}
		printContact(c, &v)
		return nil
	}))
}

func printContact(c *cli.Context, v *broker.ContactView) {
	w := c.App.Writer
	fmt.Fprintf(w, "%s %s, tenant %s\n", v.ID, printable(v.Name), v.Tenant)
	if !v.Since.IsZero() {
		fmt.Fprintln(w, "known since", moment(v.Since))
	}
	if v.NamedBy != "" {
		fmt.Fprintf(w, "named by %s; on WhatsApp: %s\n", printable(v.NamedBy), or(printable(v.Profile), "not known"))
	}
	for _, m := range v.Merges {
		printMerge(w, v.ID, m)
	}
	if v.MergedInto != "" {
		fmt.Fprintf(w, "all that is known of the person: wabridge contact show %s\n", v.MergedInto)
		return
	}
	for _, id := range v.Apart {
		fmt.Fprintf(w, "is not %s: they were taken apart\n", id)
	}
	fmt.Fprintln(w)
	t := newTable(w, "KNOWN BY", "", "FROM", "FIRST", "LAST", "AS GIVEN")
	for _, i := range v.Identities {
		value := i.Value
		if i.Kind != "username" && i.Kind != "record" {
			value = masked(c, value)
		}
		t.row(i.Kind, value, i.Source, moment(i.First), moment(i.Last), masked(c, i.Raw))
	}
	t.flush()
	if len(v.Tags) > 0 {
		fmt.Fprintln(w, "\ntags:", printable(strings.Join(v.Tags, ", ")))
	}
	fmt.Fprintln(w)
	printConsent(w, v.Consent)
	if len(v.Conversations) == 0 {
		return
	}
	fmt.Fprintln(w)
	t = newTable(w, "CONVERSATION", "IN", "OUT", "LAST IN", "LAST OUT", "WHO ANSWERS", "ESCALATION")
	for _, k := range v.Conversations {
		who := "the bot"
		if time.Now().Before(k.HumanUntil) {
			who = "a person, until " + moment(k.HumanUntil)
		}
		t.row(k.ID, k.In, k.Out, moment(k.LastIn), moment(k.LastOut), who, k.Escalation)
	}
	t.flush()
}

func printMerge(w io.Writer, id string, m broker.Merge) {
	by := "by " + printable(m.By)
	if m.By == "webhook" {
		by = "by what WhatsApp says"
	}
	if m.ID == id {
		fmt.Fprintf(w, "merged into %s on %s %s: %s\n", m.Survivor, moment(m.At), by, printable(m.Reason))
		return
	}
	fmt.Fprintf(w, "%s was merged into it on %s %s: %s\n", m.ID, moment(m.At), by, printable(m.Reason))
}

// moment is a time as a person reads it; "–" for never.
func moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Local().Format(time.DateTime)
}
