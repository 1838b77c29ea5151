package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/web"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func simCommand() *cli.Command {
	flags := func(port string, more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:" + port, Usage: "the `ADDRESS` to listen on"},
			&cli.DurationFlag{Name: "latency", Usage: "how `LONG` each answer takes at least"},
			jsonFlag,
		}, more...)
	}
	return &cli.Command{
		Name: "sim", Usage: "run an imitation of a vendor", Action: group("sim"),
		Description: "They speak the vendors' APIs strictly, keep a ledger of what they took, and fail on demand.\n\n" +
			"Example:\n   wabridge sim whatsapp --webhook http://127.0.0.1:8080/webhooks/whatsapp",
		Subcommands: []*cli.Command{
			{
				Name: "whatsapp", Usage: "Meta's Cloud API", Action: simWhatsApp,
				Description: "Example:\n   wabridge sim whatsapp --webhook http://127.0.0.1:8080/webhooks/whatsapp --app-secret \"$(cat secrets/app-secret)\"",
				Flags: flags("8090",
					&cli.StringFlag{Name: "webhook", Usage: "the `URL` that gets webhooks"},
					&cli.StringFlag{Name: "app-secret", Usage: "signs the webhooks"},
					&cli.StringSliceFlag{Name: "access-token", Usage: "a token that may send; any when not given"},
					&cli.StringSliceFlag{Name: "number", Usage: "the `ID` of a phone number; may be repeated"},
					&cli.StringSliceFlag{Name: "new", Usage: "the `ID` of one that is to be verified and registered first; may be repeated"},
					&cli.BoolFlag{Name: "limits", Usage: "refuse more than Meta takes: a second, to one person, new people a day"},
					&cli.StringFlag{Name: "limit", Value: "TIER_UNLIMITED", Usage: "how many new people a day the numbers may write to: a `TIER` such as TIER_250"},
					&cli.StringFlag{Name: "redelivery", Usage: "for how `LONG` a webhook that fails is repeated: week or 36h; without end when not given"},
					&cli.TimestampFlag{Name: "start", Layout: time.RFC3339, Usage: "the imitation's `TIME` to begin with, such as 2026-03-01T12:00:00Z"},
					&cli.Uint64Flag{Name: "seed", Usage: "a `NUMBER` for chance: the same draws the same"},
					&cli.DurationFlag{Name: "status-delay", Value: time.Second, Usage: "the time from accepted to sent, delivered, read"},
					&cli.DurationFlag{Name: "review-delay", Usage: "how long new templates are under `REVIEW`; negative is until /_sim/templates is told"},
					&cli.BoolFlag{Name: "window", Value: true, Usage: "refuse free text to who has not written here in 24 hours; --window=false takes it"},
				),
			},
			{
				Name: "hubspot", Usage: "HubSpot's CRM API", Action: simHubSpot,
				Description: "Example:\n   wabridge sim hubspot --token pat-demo",
				Flags:       flags("8091", &cli.StringSliceFlag{Name: "token", Usage: "an access token; any when not given"}),
			},
			{
				Name: "salesforce", Usage: "a Salesforce org", Action: simSalesforce,
				Description: "Example:\n   wabridge sim salesforce --client-secret secret",
				Flags: flags("8094",
					&cli.StringFlag{Name: "client-id", Usage: "the app's consumer key; any when not given"},
					&cli.StringFlag{Name: "client-secret", Usage: "the app's secret; any when not given"},
					&cli.IntFlag{Name: "daily", Usage: "how `MANY` API requests the org may make"},
					&cli.StringFlag{Name: "pubsub", Usage: "the `ADDRESS` of the Pub/Sub API, without TLS; none when not given"},
				),
			},
			{
				Name: "custom-http", Usage: "a CRM such as companies write for themselves", Action: simCustomHTTP,
				Description: "Example:\n   wabridge sim custom-http --token secret",
				Flags:       flags("8092", &cli.StringFlag{Name: "token", Usage: "the bearer token; none needed when not given"}),
			},
			{
				Name: "zoho", Usage: "Zoho CRM, accounts server and API", Action: simZoho,
				Description: "Example:\n   wabridge sim zoho --refresh-token 1000.demo",
				Flags: flags("8093", &cli.StringFlag{Name: "refresh-token", Usage: "the refresh token; any when not given"},
					&cli.BoolFlag{Name: "bare", Usage: "without the fields and the module that an administrator makes"}),
			},
		},
	}
}

func simWhatsApp(c *cli.Context) error {
	o := whatsappsim.Options{
		WebhookURL: c.String("webhook"), AppSecret: c.String("app-secret"), AccessTokens: c.StringSlice("access-token"),
		StatusDelay: c.Duration("status-delay"), EnforceWindow: c.Bool("window"), ReviewDelay: c.Duration("review-delay"),
		Redelivery: whatsappsim.Redelivery(c.String("redelivery")), EnforceLimits: c.Bool("limits"), Seed: c.Uint64("seed"),
	}
	for i, id := range c.StringSlice("number") {
		o.Numbers = append(o.Numbers, whatsappsim.Number{ID: id, DisplayNumber: fmt.Sprintf("1555010%04d", i+1), WABA: "200000000000000"})
	}
	for i, id := range c.StringSlice("new") {
		o.Numbers = append(o.Numbers, whatsappsim.Number{ID: id, DisplayNumber: fmt.Sprintf("1555011%04d", i+1), WABA: "200000000000000", New: true})
	}
	for i := range o.Numbers {
		o.Numbers[i].Limit = c.String("limit")
	}
	if o.Redelivery != "" && o.Redelivery != whatsappsim.RedeliverWeek && o.Redelivery != whatsappsim.Redeliver36h {
		return misused("--redelivery %s: want week or 36h", o.Redelivery)
	}
	if start := c.Timestamp("start"); start != nil {
		o.Start = *start
	}
	if d := c.Duration("latency"); d > 0 {
		o.Latency = func() time.Duration { return d }
	}
	sim := whatsappsim.New(o)
	return runSim(c, sim, sim.Run, []string{
		`curl %[1]s/_sim/receive -d '{"from":"+15550100123","name":"Ann","text":"Hello"}'   # a customer writes`,
		`open %[1]s/ in a browser                                  # and chat as a customer`,
		`curl %[1]s/_sim/messages                                  # what customers got`,
		`curl %[1]s/_sim/templates -d '{"name":"hello_world","quality":"RED"}'   # a template is paused`,
		`curl %[1]s/_sim/numbers -d '{"status":"BANNED"}'          # the number is banned; CONNECTED ends it`,
		`curl %[1]s/_sim/clock -d '{"advance":"25h"}'              # a day later`,
		`curl %[1]s/_sim/fail -d '{"do":"error","code":131000}'    # sends fail; -X DELETE ends it`,
	})
}

func simHubSpot(c *cli.Context) error {
	sim := hubspotsim.New(hubspotsim.Options{Tokens: c.StringSlice("token"), Latency: c.Duration("latency")})
	return runSim(c, sim, nil, []string{
		`curl "%[1]s/_sim/ledger?object=contacts"                       # what it holds`,
		`curl %[1]s/_sim/faults -d '{"kind":"status","status":503}'     # an outage; -X DELETE ends it`,
		`curl %[1]s/_sim/stats`,
	})
}

func simZoho(c *cli.Context) error {
	sim := zohosim.New(zohosim.Options{
		RefreshToken: c.String("refresh-token"), Latency: c.Duration("latency"), TokensIn10Min: 10,
		Bare: c.Bool("bare"), NoMessages: c.Bool("bare"), Concurrency: 20, SubConcurrency: 10,
	})
	if !c.Bool("bare") { // made by hand, too, where somebody wants it
		sim.AddModule("WhatsApp_Outbox")
		sim.AddField("WhatsApp_Outbox", zohosim.Field{Name: "Phone", Type: "phone", Length: 50, Custom: true})
		sim.AddField("WhatsApp_Outbox", zohosim.Field{Name: "Body", Type: "textarea", Length: 4096, Custom: true})
	}
	notify := func(ctx context.Context) error {
		sim.Run(ctx, &http.Client{Timeout: 10 * time.Second})
		return nil
	}
	return runSim(c, sim, notify, []string{
		`# the lane's settings: api_url = "%[1]s", accounts_url = "%[1]s"`,
		`curl "%[1]s/_sim/edit?module=Contacts" -d '{"Last_Name":"Ana","Phone":"+34600111222"}'   # somebody makes a contact`,
		`curl "%[1]s/_sim/edit?module=WhatsApp_Outbox" -d '{"Name":"1","Phone":"+34600111222","Body":"Hello"}'   # and asks for a message`,
		`curl "%[1]s/_sim/ledger?module=WhatsApp_Messages"              # what it holds`,
		`curl %[1]s/_sim/faults -d '{"kind":"status","status":503}'     # an outage; -X DELETE ends it`,
		`curl %[1]s/_sim/stats`,
	})
}

func simSalesforce(c *cli.Context) error {
	sim := salesforcesim.New(salesforcesim.Options{
		ClientID: c.String("client-id"), ClientSecret: c.String("client-secret"), Daily: c.Int("daily"), Latency: c.Duration("latency"),
	})
	sim.Topic("/event/WhatsApp_Outbound__e", "Phone__c", "Body__c")
	sim.Topic("/data/ContactChangeEvent")
	var events func(context.Context) error
	try := []string{`# the lane's settings: login_url = "%[1]s", instance_host = its host and port`}
	if address := c.String("pubsub"); address != "" {
		ln, err := listen(c.Context, address)
		if err != nil {
			return err
		}
		events = func(ctx context.Context) error { return sim.RunPubSub(ctx, ln) }
		try = append(try,
			`#   and pubsub_url = "http://`+ln.Addr().String()+`", send_event = "WhatsApp_Outbound__e", change_topic = "/data/ContactChangeEvent"`,
			`curl "%[1]s/_sim/publish?event=WhatsApp_Outbound__e" -d '{"Phone__c":"+34600111222","Body__c":"Hello"}'   # somebody wants a message sent`)
	}
	return runSim(c, sim, events, append(try, []string{
		`curl "%[1]s/_sim/ledger?object=WhatsApp_Message__c"             # what it holds`,
		`curl %[1]s/_sim/faults -d '{"kind":"row","code":"UNABLE_TO_LOCK_ROW"}'   # locked rows; -X DELETE ends it`,
		`curl -X POST %[1]s/_sim/revoke                                 # all access tokens end`,
	}...))
}

func simCustomHTTP(c *cli.Context) error {
	sim := customhttpsim.New(customhttpsim.Options{Token: c.String("token"), Latency: c.Duration("latency")})
	return runSim(c, sim, nil, []string{
		`curl %[1]s/_sim/ledger                                         # what it holds`,
		`curl %[1]s/_sim/faults -d '{"kind":"status","status":503}'     # an outage; -X DELETE ends it`,
		`curl %[1]s/_sim/stats`,
	})
}

// runSim serves an imitation until a signal; run is its own work, if any.
func runSim(c *cli.Context, h http.Handler, run func(context.Context) error, try []string) error {
	if c.NArg() > 0 {
		return misused("sim: no arguments, only flags")
	}
	ln, err := listen(c.Context, c.String("listen"))
	if err != nil {
		return err
	}
	base := "http://" + ln.Addr().String()
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]string{"name": c.Command.Name, "url": base})
	} else {
		fmt.Fprintf(c.App.Writer, "%s, imitated: %s\n\nTry:\n", c.Command.Name, base)
		for _, line := range try {
			fmt.Fprintln(c.App.Writer, "  ", strings.ReplaceAll(line, "%[1]s", base)) // not each line has it
		}
	}
	return untilSignal(c.Context, c.App.ErrWriter, func(ctx context.Context) error {
		return serve(ctx, ln, h, run)
	})
}

// listen opens an address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: %w: stop the program that has it, or choose another with --listen", address, web.ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return ln, nil
}

// serve serves h on ln, and does run, until ctx ends.
func serve(ctx context.Context, ln net.Listener, h http.Handler, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	ran := make(chan error, 1)
	go func() {
		defer cancel()
		if run == nil {
			<-ctx.Done()
			ran <- nil
			return
		}
		ran <- run(ctx)
	}()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		// Requests may be hanging on purpose: they are not waited for.
		_ = s.Close()
	}()
	err := s.Serve(ln)
	cancel()
	<-closed
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if ranErr := <-ran; ranErr != nil && !errors.Is(ranErr, context.Canceled) {
		err = errors.Join(err, ranErr)
	}
	return err
}
