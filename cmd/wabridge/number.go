package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/whatsapp"
)

const numbersPath = "/api/v1/numbers"

func numberCommand() *cli.Command {
	number := &cli.StringFlag{Name: "number", Usage: "the number's `ID` (phone_number_id); needs not be said where there is one"}
	pin := &cli.StringFlag{Name: "pin-file", Usage: "the `FILE` that the PIN is in, - for standard input; it is asked for unless given"}
	command := func(name, args, usage, example string, action cli.ActionFunc, more ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args, Action: action, Flags: slices.Concat(more, []cli.Flag{number, tenantFlag, configFlag, setFlag, jsonFlag}),
			Description: "Example:\n   wabridge number " + strings.TrimSpace(name+" "+example),
		}
	}
	return &cli.Command{
		Name: "number", Usage: "business numbers: how they are, and taking them into service", Action: group("number"),
		Description: "list and show ask the running bridge; the others ask Meta, with the number's access_token of the configuration.\n\n" +
			"Example, a new number:\n   wabridge number request-code --by sms\n   wabridge number verify 123456\n   wabridge number register",
		Subcommands: []*cli.Command{
			command("list", "", "how the numbers are, and by which messages go", "--tenant demo", listNumbers, urlFlag),
			command("show", "", "all that is known of one", "--number 106540352242922 --fresh", showNumber, urlFlag,
				&cli.BoolFlag{Name: "fresh", Usage: "have WhatsApp asked first"}),
			command("request-code", "", "have a code told to the number's telephone", "--by voice --language pt_BR", requestCode,
				&cli.StringFlag{Name: "by", Value: "sms", Usage: "sms or voice: the `WAY`"},
				&cli.StringFlag{Name: "language", Value: "en", Usage: "the `LANGUAGE` of what is told, such as en or pt_BR"}),
			command("verify", "CODE", "say the code that came", "123456", verifyNumber),
			command("register", "", "take the number into service, with its two-step PIN", "--pin-file pin.txt", registerNumber, pin,
				&cli.StringFlag{Name: "region", Usage: "the `COUNTRY` that Meta shall keep its messages in, such as DE"}),
			command("deregister", "", "take it out of service; it is not deleted", "--number 106540352242922 --yes", deregisterNumber,
				&cli.BoolFlag{Name: "yes", Usage: "do not ask"}),
			command("pin", "", "set another two-step PIN", "--pin-file pin.txt", setPIN, pin),
			{
				Name: "profile", Usage: "what people see of the business", Action: group("number profile"),
				Description: "Example:\n   wabridge number profile set about=\"Open from 9 to 5\" websites=https://example.com",
				Subcommands: []*cli.Command{
					command("show", "", "the profile", "", showProfile),
					command("set", "NAME=VALUE…", "change some of "+strings.Join(whatsapp.ProfileFields(), ", "), `about="Open from 9 to 5"`, setProfile),
				},
			},
		},
	}
}

func listNumbers(c *cli.Context) error {
	var all []broker.NumberStatus
	if err := callBridge(c, request{method: http.MethodGet, path: numbersPath, query: values("tenant", c.String("tenant"))}, &all); err != nil {
		return err
	}
	if id := c.String("number"); id != "" {
		all = slices.DeleteFunc(all, func(n broker.NumberStatus) bool { return n.Number != id })
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, all)
		return nil
	}
	t := newTable(c.App.Writer, "NUMBER", "DISPLAY", "TENANT", "STATUS", "QUALITY", "LIMIT", "THROUGHPUT", "NAME", "ASKED", "TROUBLE", "GOES BY")
	for i := range all {
		n := &all[i]
		h := &n.Health
		trouble := "-"
		if n.Trouble != "" {
			trouble = string(n.Trouble) + " since " + ago(n.Since)
		}
		asked := ago(n.Asked)
		if n.AskError != "" {
			asked += ", then failed"
		}
		t.row(n.Number, or(h.DisplayNumber, "-"), n.Tenant, or(h.Status, "-"), or(h.Quality, "-"), or(h.Limit, "-"), or(h.Throughput, "-"), or(h.NameStatus, "-"),
			asked, trouble, or(n.GoesBy, "itself"))
	}
	t.flush()
	return nil
}

func showNumber(c *cli.Context) error {
	id, err := numberOf(c)
	if err != nil {
		return err
	}
	query := values("tenant", c.String("tenant"))
	if c.Bool("fresh") {
		query.Set("fresh", "true")
	}
	var n broker.NumberStatus
	if err := callBridge(c, request{method: http.MethodGet, path: numbersPath + "/" + url.PathEscape(id), query: query}, &n); err != nil {
		return err
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, n)
		return nil
	}
	say := func(name, format string, args ...any) {
		fmt.Fprintf(c.App.Writer, "%-13s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	h := &n.Health
	say("number", "%s, tenant %s, %s", n.Number, n.Tenant, or(h.DisplayNumber, "its display number is not known yet"))
	say("name", "%s (%s)", or(h.VerifiedName, "-"), or(h.NameStatus, "-"))
	say("status", "%s, %s", or(h.Status, "-"), or(h.Verification, "-"))
	say("quality", "%s", or(h.Quality, "-"))
	say("limit", "%s", or(h.Limit, "-"))
	say("throughput", "%s", or(h.Throughput, "-"))
	say("sending", "%s", or(h.CanSend, "-"))
	for _, why := range h.Reasons {
		say("", "%s", why)
	}
	say("asked", "%s; next in %s", ago(n.Asked), span(time.Until(n.Next)))
	if n.AskError != "" {
		say("", "the last question failed: %s", n.AskError)
	}
	if n.Trouble != "" {
		say("trouble", "%s since %s: %s", n.Trouble, ago(n.Since), n.Why)
	}
	if n.Fallback != "" {
		say("fallback", "%s, when %s", n.Fallback, joined(n.FallbackWhen))
	}
	if n.GoesBy != "" {
		say("goes by", "%s since %s", n.GoesBy, ago(n.Away))
	}
	if !n.BackAt.IsZero() {
		say("comes back", "in %s, if it stays well", span(time.Until(n.BackAt)))
	}
	say("lane", "%s, %d waiting", n.State, n.Waiting)
	return nil
}

func joined[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

// numberOf is the number that a command is about.
func numberOf(c *cli.Context) (string, error) {
	cfg, err := load(c)
	if err != nil {
		return "", err
	}
	_, n, err := configuredNumber(c, cfg)
	return n.ID, err
}

func configuredNumber(c *cli.Context, cfg *config.Config) (config.Tenant, config.Number, error) {
	var tenant config.Tenant
	var number config.Number
	found := 0
	for _, t := range cfg.Tenants {
		for _, n := range t.Numbers {
			if (c.String("tenant") == "" || c.String("tenant") == t.ID) && (c.String("number") == "" || c.String("number") == n.ID) {
				tenant, number = t, n
				found++
			}
		}
	}
	switch {
	case found == 1:
		return tenant, number, nil
	case found > 1:
		return tenant, number, misused("%s: there are %d numbers: say which, with --number", c.Command.FullName(), found)
	}
	return tenant, number, fail(exitNotFound, "%s: the configuration has no such number", c.Command.FullName())
}

// manage lets f manage the number that a command is about, and says what was done.
func manage(c *cli.Context, args int, done string, f func(context.Context, *whatsapp.Manager) error) error {
	if c.NArg() != args {
		return misused("%s: want %d arguments, see --help", c.Command.FullName(), args)
	}
	return withManager(c, func(ctx context.Context, m *whatsapp.Manager, id string) error {
		if err := f(ctx, m); err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, map[string]any{"number": id, "done": true})
			return nil
		}
		fmt.Fprintf(c.App.Writer, "number %s %s\n", id, done)
		return nil
	})
}

func withManager(c *cli.Context, f func(ctx context.Context, m *whatsapp.Manager, id string) error) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	t, n, err := configuredNumber(c, cfg)
	if err != nil {
		return err
	}
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{
		BaseURL: cfg.WhatsApp.BaseURL, APIVersion: cfg.WhatsApp.APIVersion, Timeout: cfg.WhatsApp.Timeout,
		Transport: whatsapp.NewTransport(), OpaqueKey: []byte(rand.Text()), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, onlineTimeout)
	defer cancel()
	m := client.Manager(whatsapp.Number{Tenant: t.ID, ID: n.ID, AccessToken: func() core.Secret { return n.AccessToken }})
	if err := f(ctx, m, n.ID); err != nil {
		if e := core.AsError(err); e.Source == core.SourceVendor || e.Code != core.CodeInvalid {
			return &exitError{code: vendorRefusal(e), message: err.Error(), hint: hintOf(err), err: err}
		}
		return &exitError{code: exitUsage, message: err.Error(), hint: hintOf(err), err: err}
	}
	return nil
}

// vendorRefusal is the exit code for what Meta said to a person: what it refused is
// refused, whoever is to blame.
func vendorRefusal(e *core.Error) int {
	if e.Code == core.CodeUnavailable || e.Code == core.CodeUnknownOutcome {
		return exitUnreachable
	}
	return exitRefused
}

func requestCode(c *cli.Context) error {
	by := c.String("by")
	return manage(c, 0, "is told a code by "+by+": say it with wabridge number verify CODE", func(ctx context.Context, m *whatsapp.Manager) error {
		return m.RequestCode(ctx, whatsapp.CodeBy(by), c.String("language"))
	})
}

func verifyNumber(c *cli.Context) error {
	return manage(c, 1, "is verified: go on with wabridge number register", func(ctx context.Context, m *whatsapp.Manager) error {
		return m.Verify(ctx, c.Args().First())
	})
}

func registerNumber(c *cli.Context) error {
	pin, err := readPIN(c)
	if err != nil {
		return err
	}
	return manage(c, 0, "is registered", func(ctx context.Context, m *whatsapp.Manager) error {
		return m.Register(ctx, pin, c.String("region"))
	})
}

func deregisterNumber(c *cli.Context) error {
	if err := confirmed(c, "take the number out of service: it sends and gets nothing until it is registered again"); err != nil {
		return err
	}
	return manage(c, 0, "is deregistered", func(ctx context.Context, m *whatsapp.Manager) error { return m.Deregister(ctx) })
}

func setPIN(c *cli.Context) error {
	pin, err := readPIN(c)
	if err != nil {
		return err
	}
	return manage(c, 0, "has another PIN", func(ctx context.Context, m *whatsapp.Manager) error { return m.SetPIN(ctx, pin) })
}

// maxPIN bounds what is read of a file with a PIN.
const maxPIN = 64

// readPIN reads a PIN from where nobody sees it: never from the arguments, which other
// users of the machine and the shell's history have.
func readPIN(c *cli.Context) (core.Secret, error) {
	var data []byte
	var err error
	switch path := c.String("pin-file"); path {
	case "":
		in := int(os.Stdin.Fd())
		if !term.IsTerminal(in) {
			return "", misused("%s: no PIN: say --pin-file FILE, or --pin-file - for standard input", c.Command.FullName())
		}
		fmt.Fprint(c.App.ErrWriter, "PIN: ")
		data, err = term.ReadPassword(in)
		fmt.Fprintln(c.App.ErrWriter)
	case "-":
		data, err = io.ReadAll(io.LimitReader(os.Stdin, maxPIN))
	default:
		var f *os.File
		if f, err = os.Open(path); err == nil {
			data, err = io.ReadAll(io.LimitReader(f, maxPIN))
			_ = f.Close()
		}
	}
	if err != nil {
		return "", fail(exitUsage, "%s: the PIN: %w", c.Command.FullName(), err)
	}
	return core.Secret(strings.TrimSpace(string(data))), nil
}

func showProfile(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("number profile show: no arguments, only flags")
	}
	return withManager(c, func(ctx context.Context, m *whatsapp.Manager, _ string) error {
		p, err := m.BusinessProfile(ctx)
		if err != nil {
			return err
		}
		if c.Bool("json") {
			printJSON(c.App.Writer, p)
			return nil
		}
		for _, line := range [][2]string{{"about", p.About}, {"description", p.Description}, {"address", p.Address}, {"email", p.Email},
			{"websites", strings.Join(p.Websites, " ")}, {"vertical", p.Vertical}, {"picture", p.Picture}} {
			fmt.Fprintf(c.App.Writer, "%-12s %s\n", line[0], or(printable(line[1]), "-"))
		}
		return nil
	})
}

func setProfile(c *cli.Context) error {
	change := map[string]string{}
	for _, arg := range c.Args().Slice() {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return misused("number profile set: %q: want NAME=VALUE, such as about=Hello", arg)
		}
		change[name] = value
	}
	return manage(c, c.NArg(), "has another profile", func(ctx context.Context, m *whatsapp.Manager) error {
		return m.SetBusinessProfile(ctx, change)
	})
}
