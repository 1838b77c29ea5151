package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/access"
)

const tokensPath = "/api/v1/tokens" //nolint:gosec // a path

func tokenCommand() *cli.Command {
	flags := []cli.Flag{tenantFlag, configFlag, setFlag, urlFlag, jsonFlag}
	command := func(name, args, usage, example string, action cli.ActionFunc, more ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args, Action: action, Flags: slices.Concat(more, flags),
			Description: "Example:\n   wabridge token " + name + " " + example,
		}
	}
	scopes := make([]string, 0, len(access.Scopes()))
	for _, s := range access.Scopes() {
		scopes = append(scopes, string(s))
	}
	return &cli.Command{
		Name: "token", Usage: "who may use the API, and for what", Action: group("token"),
		Description: "Tokens of [[web.api_tokens]] may do everything and are not listed here.\nExample:\n   wabridge token new zapier --tenant demo --scope messages:send --scope subscriptions:write",
		Subcommands: []*cli.Command{
			command("new", "NAME", "make one, and show it once", "zapier --tenant demo --scope messages:send --for 8760h", newToken,
				&cli.StringSliceFlag{Name: "scope", Usage: "what it is good for, may be repeated: `SCOPE` is one of " + strings.Join(scopes, ", ")},
				&cli.DurationFlag{Name: "for", Usage: "how `LONG` it is good; for ever unless given"}),
			command("list", "", "those that were made", "--tenant demo", listTokens),
			command("revoke", "ID", "end one at once", "abcdefghijkl", revokeToken),
		},
	}
}

func newToken(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("token new: want one NAME, to know it by")
	}
	r := access.Request{Name: c.Args().First(), Tenant: c.String("tenant"), Scopes: words[access.Scope](c.StringSlice("scope"))}
	if d := c.Duration("for"); d > 0 {
		r.Expires = time.Now().Add(d).UTC().Truncate(time.Second)
	}
	var n access.NewToken
	if err := callBridge(c, request{method: http.MethodPost, path: tokensPath, body: r}, &n); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, n)
		return nil
	}
	fmt.Fprintf(c.App.Writer, "%s, for %s: %s\nit is not shown again: %s\n", n.ID, or(printable(n.Tenant), "all tenants"), scopesOf(&n.Token), n.Secret)
	return nil
}

func scopesOf(t *access.Token) string {
	texts := make([]string, len(t.Scopes))
	for i, s := range t.Scopes {
		texts[i] = string(s)
	}
	return strings.Join(texts, ",")
}

func listTokens(c *cli.Context) error {
	var all []access.Token
	if err := callBridge(c, request{method: http.MethodGet, path: tokensPath, query: values("tenant", c.String("tenant"))}, &all); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, all)
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(c.App.Writer, "none were made: there are those of the configuration only")
		return nil
	}
	t := newTable(c.App.Writer, "ID", "NAME", "TENANT", "SCOPES", "MADE", "BY", "LAST USED", "EXPIRES")
	for i := range all {
		k := &all[i]
		expires := "never"
		if !k.Expires.IsZero() {
			expires = "in " + span(time.Until(k.Expires))
		}
		t.row(k.ID, k.Name, or(k.Tenant, "all"), scopesOf(k), ago(k.Created), k.By, ago(k.LastUsed), expires)
	}
	t.flush()
	return nil
}

func revokeToken(c *cli.Context) error {
	if c.NArg() != 1 {
		return misused("token revoke: want one ID, as wabridge token list prints it")
	}
	var gone struct {
		Removed string `json:"removed"`
	}
	if err := callBridge(c, request{method: http.MethodDelete, path: tokensPath + "/" + url.PathEscape(c.Args().First())}, &gone); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, gone)
		return nil
	}
	fmt.Fprintln(c.App.Writer, gone.Removed, "is revoked")
	return nil
}
