package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
)

const subscriptionsPath = "/api/v1/subscriptions"

func subscriptionCommand() *cli.Command {
	flags := []cli.Flag{tenantFlag, configFlag, setFlag, urlFlag, jsonFlag}
	what := []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "a `NAME` for people"},
		&cli.StringSliceFlag{Name: "kind", Usage: "a `KIND` of events, may be repeated; all that CRMs get unless given"},
		&cli.StringSliceFlag{Name: "number", Usage: "only of this business number (`phone_number_id`), may be repeated"},
		&cli.StringSliceFlag{Name: "type", Usage: "only messages of this `TYPE`, such as text; may be repeated"},
		&cli.StringSliceFlag{Name: "status", Usage: "of statuses only this `STATUS`, such as failed; may be repeated"},
		&cli.IntFlag{Name: "batch", Usage: "up to `N` events in a call; 1 is one event for each"},
	}
	command := func(name, args, usage, example string, action cli.ActionFunc, more ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args, Action: action, Flags: slices.Concat(more, flags),
			Description: "Example:\n   wabridge subscription " + name + " " + example,
		}
	}
	const id = "sub-abcdefghijkl"
	return &cli.Command{
		Name: "subscription", Usage: "who is told of what happens, by HTTP", Action: group("subscription"),
		Description: "Example:\n   wabridge subscription add https://hooks.example.com/whatsapp --kind message.received",
		Subcommands: []*cli.Command{
			command("list", "", "who is told of what", "--tenant demo", listSubscriptions),
			command("add", "[URL]", "tell an endpoint; without one, keep a mailbox to look into", "https://hooks.example.com/whatsapp --kind message.received", addSubscription, what...),
			command("change", "ID", "tell of something else, or elsewhere", id+" --kind message.status --status failed", changeSubscription,
				append(what, &cli.StringFlag{Name: "to", Usage: "the endpoint, from now on: `URL`"})...),
			command("pause", "ID", "tell of nothing until it is resumed", id, setSubscription(broker.SubscriptionPaused)),
			command("resume", "ID", "tell again, of what happens from now on", id, setSubscription(broker.SubscriptionActive)),
			command("remove", "ID", "tell of nothing any more, and drop what waits", id, removeSubscription),
			command("rotate", "ID", "make another secret", id+" --overlap 24h", rotateSubscription,
				&cli.DurationFlag{Name: "overlap", Value: 24 * time.Hour, Usage: "how `LONG` the old one signs, too"}),
			command("test", "ID", "call the endpoint now, and say what it answers", id, testSubscription),
		},
	}
}

// askSubscription makes a call about the subscription that the arguments name.
func askSubscription(c *cli.Context, method, below string, body, out any) error {
	if c.NArg() != 1 {
		return misused("%s: want one ID, as wabridge subscription list prints it", c.Command.FullName())
	}
	return callBridge(c, request{
		method: method, path: subscriptionsPath + "/" + url.PathEscape(c.Args().First()) + below, query: values("tenant", c.String("tenant")), body: body,
	}, out)
}

// callBridge makes a call to the bridge of the configuration.
func callBridge(c *cli.Context, r request, out any) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	return newClient(c, cfg).call(c.Context, r, out)
}

func listSubscriptions(c *cli.Context) error {
	var all []broker.Subscription
	if err := callBridge(c, request{method: http.MethodGet, path: subscriptionsPath, query: values("tenant", c.String("tenant"))}, &all); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, all)
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(c.App.Writer, "nobody is told of anything")
		return nil
	}
	t := newTable(c.App.Writer, "ID", "TENANT", "STATE", "SINCE", "NAME", "WHERE", "KINDS", "WHY")
	for i := range all {
		s := &all[i]
		t.row(s.ID, s.Tenant, s.State, ago(s.Since), or(s.Name, "-"), endpoint(s), kindsOf(s), s.Why)
	}
	t.flush()
	return nil
}

// endpoint says where a subscription leads, without the path, which may be a secret.
func endpoint(s *broker.Subscription) string {
	u, err := url.Parse(s.URL)
	if s.URL == "" || err != nil {
		return "mailbox"
	}
	return u.Scheme + "://" + u.Host
}

func kindsOf(s *broker.Subscription) string {
	if len(s.Kinds) == 0 {
		return "all"
	}
	texts := make([]string, len(s.Kinds))
	for i, k := range s.Kinds {
		texts[i] = string(k)
	}
	return strings.Join(texts, ",")
}

func filterOf(c *cli.Context) broker.SubscriptionFilter {
	return broker.SubscriptionFilter{
		Numbers: c.StringSlice("number"), Types: words[core.MessageType](c.StringSlice("type")), Statuses: words[core.StatusValue](c.StringSlice("status")),
	}
}

func words[T ~string](texts []string) []T {
	out := make([]T, len(texts))
	for i, text := range texts {
		out[i] = T(text)
	}
	return out
}

func addSubscription(c *cli.Context) error {
	if c.NArg() > 1 {
		return misused("subscription add: want one URL, or none for a mailbox")
	}
	var n broker.NewSubscription
	err := callBridge(c, request{method: http.MethodPost, path: subscriptionsPath, body: broker.SubscriptionRequest{
		Tenant: c.String("tenant"), Name: c.String("name"), URL: c.Args().First(), Kinds: words[core.Kind](c.StringSlice("kind")),
		Filter: filterOf(c), Batch: c.Int("batch"),
	}}, &n)
	if err != nil {
		return err
	}
	return printSecret(c, &n, "is told of "+kindsOf(&n.Subscription))
}

// printSecret shows a subscription's secret, for the only time.
func printSecret(c *cli.Context, n *broker.NewSubscription, what string) error {
	w := c.App.Writer
	if c.Bool("json") {
		printJSON(w, n)
		return nil
	}
	fmt.Fprintf(w, "%s, tenant %s: %s %s\n", n.ID, printable(n.Tenant), endpoint(&n.Subscription), what)
	if n.Secret == "" {
		fmt.Fprintf(w, "look into it: GET %s/%s/events\n", subscriptionsPath, n.ID)
		return nil
	}
	fmt.Fprintf(w, "its secret, which is not shown again: %s\n", n.Secret)
	return nil
}

func changeSubscription(c *cli.Context) error {
	var change broker.SubscriptionChange
	if c.IsSet("name") {
		name := c.String("name")
		change.Name = &name
	}
	if c.IsSet("to") {
		to := c.String("to")
		change.URL = &to
	}
	if c.IsSet("kind") {
		kinds := words[core.Kind](c.StringSlice("kind"))
		change.Kinds = &kinds
	}
	if c.IsSet("batch") {
		batch := c.Int("batch")
		change.Batch = &batch
	}
	if c.IsSet("number") || c.IsSet("type") || c.IsSet("status") {
		f := filterOf(c)
		change.Filter = &f
	}
	return patchSubscription(c, change)
}

func setSubscription(state string) cli.ActionFunc {
	return func(c *cli.Context) error { return patchSubscription(c, broker.SubscriptionChange{State: &state}) }
}

func patchSubscription(c *cli.Context, change broker.SubscriptionChange) error {
	var s broker.Subscription
	if err := askSubscription(c, http.MethodPatch, "", change, &s); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, s)
		return nil
	}
	fmt.Fprintf(c.App.Writer, "%s is %s: %s is told of %s\n", s.ID, s.State, endpoint(&s), kindsOf(&s))
	return nil
}

func removeSubscription(c *cli.Context) error {
	var gone struct {
		Removed string `json:"removed"`
	}
	if err := askSubscription(c, http.MethodDelete, "", nil, &gone); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, gone)
		return nil
	}
	fmt.Fprintln(c.App.Writer, gone.Removed, "is removed")
	return nil
}

func rotateSubscription(c *cli.Context) error {
	var n broker.NewSubscription
	if err := askSubscription(c, http.MethodPost, "/rotate", map[string]string{"overlap": c.Duration("overlap").String()}, &n); err != nil {
		return err
	}
	what := "has another secret at once"
	if !n.OldSecretUntil.IsZero() {
		what = "is signed for by the old secret, too, until " + n.OldSecretUntil.Format(time.RFC3339)
	}
	return printSecret(c, &n, what)
}

func testSubscription(c *cli.Context) error {
	var came broker.SubscriptionTest
	if err := askSubscription(c, http.MethodPost, "/test", nil, &came); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, came)
	}
	if came.Error != nil {
		return &exitError{code: exitUnreachable, message: came.Error.Error(), hint: came.Error.Hint}
	}
	if !c.Bool("json") {
		fmt.Fprintf(c.App.Writer, "it answered %d after %.0f ms\n", came.Status, came.Took)
	}
	return nil
}
