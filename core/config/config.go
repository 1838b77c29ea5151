// Package config reads the bridge's settings into one checked [Config]:
// wabridge.toml, one folder per tenant, WABRIDGE_ environment variables and
// flags, the later ones winning.
//
// A Config that [Load] returned is complete and consistent: defaults are filled
// in, secrets are looked up, paths are absolute. What is wrong is reported all
// at once, one line for each problem (see [Error]); values of secrets are in
// none of them.
//
// A secret is written as its value, as "env:NAME", or as "file:PATH" (relative
// to the file that says so). Such a file must not be readable by everyone.
package config

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/rate"
)

// Config is everything that is configured. It is not changed after Load.
type Config struct {
	// File is the absolute path of wabridge.toml, Dir the folder it is in.
	File string `koanf:"-"`
	Dir  string `koanf:"-"`
	// DataDir is the folder of the store. One bridge at a time uses it.
	DataDir string `koanf:"data_dir"`
	// DeadLetterDeadline is how long a person has to settle a dead letter.
	DeadLetterDeadline time.Duration `koanf:"dead_letter_deadline"`

	Web      Web      `koanf:"web"`
	Log      Log      `koanf:"log"`
	Store    Store    `koanf:"store"`
	WhatsApp WhatsApp `koanf:"whatsapp"`
	Media    Media    `koanf:"media"`
	Script   Script   `koanf:"script"`
	// Subscriptions are made by the API: this is what holds for all of them.
	Subscriptions Subscriptions `koanf:"subscriptions"`
	// Plugins are the connectors that are not built in, by name.
	Plugins map[string]Plugin `koanf:"plugins"`

	// Tenants are sorted by ID. They come from <Dir>/tenants/<id>/tenant.toml.
	Tenants []Tenant `koanf:"-"`
}

// Web is the HTTP side: webhooks, API, metrics and the live page.
type Web struct {
	// Listen is host:port. Other than on loopback, API tokens are required.
	Listen string `koanf:"listen"`
	// PublicURL is how Meta and CRMs reach the bridge, without a trailing
	// slash; may be empty.
	PublicURL string `koanf:"public_url"`
	// TrustedProxies are the addresses, and networks (10.0.0.0/8), of proxies that say in
	// X-Forwarded-For from where a CRM called.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// MaxInFlight is how many webhook requests are worked on at once; the
	// others wait.
	MaxInFlight int `koanf:"max_in_flight"`
	// APITokens may be empty: then the API refuses every call.
	APITokens []APIToken `koanf:"api_tokens"`
}

// Proxies are the networks of TrustedProxies; those that are none are left out.
func (w *Web) Proxies() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range w.TrustedProxies {
		if p, err := network(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// network reads an address, or a network such as 10.0.0.0/8.
func network(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		ip = ip.Unmap()
		return ip.Prefix(ip.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() { // who calls over IPv4 is taken for that
		err = errors.New("an IPv4 network is written as such")
	}
	return p, err
}

// APIToken lets its bearer use the API.
type APIToken struct {
	// Name is for logs.
	Name string `koanf:"name"`
	// Tenant limits the token to one tenant; empty is all of them.
	Tenant string      `koanf:"tenant"`
	Token  core.Secret `koanf:"token"`
}

// Subscriptions are calls to endpoints that the API named.
type Subscriptions struct {
	// AllowPrivate lets them be in a private network, and plain http.
	AllowPrivate bool `koanf:"allow_private"`
}

// Log is what is logged, to standard error.
type Log struct {
	Level  string `koanf:"level"`  // "debug", "info", "warn" or "error"
	Format string `koanf:"format"` // "text" or "json"
}

// Store is the place where the bridge remembers.
type Store struct {
	// MaxSize is where the hot file stops growing: new events are refused.
	MaxSize Size `koanf:"max_size"`
	// BallastSize is reserved on disk, and given up to finish what is already
	// inside when the disk is full.
	BallastSize Size `koanf:"ballast_size"`
	// MinFree is how much free disk is needed to take new events.
	MinFree Size `koanf:"min_free"`
	// SeenDays is how long ids are remembered, to drop what comes twice.
	SeenDays int `koanf:"seen_days"`
	// HistoryDays is how long the history of each event is kept.
	HistoryDays int `koanf:"history_days"`
}

// WhatsApp is what all numbers share: the Meta app and its API.
type WhatsApp struct {
	// BaseURL is the Graph API's, without a trailing slash.
	BaseURL    string `koanf:"base_url"`
	APIVersion string `koanf:"api_version"`
	// VerifyToken is what Meta repeats when a webhook is set up.
	VerifyToken core.Secret `koanf:"verify_token"`
	// AppSecrets sign webhooks; more than one while they are rotated.
	AppSecrets []core.Secret `koanf:"app_secrets"`
	// Timeout is the total deadline of one call.
	Timeout time.Duration `koanf:"timeout"`
	// UnknownWait is how long a message with an unknown outcome waits for its
	// status webhook before a person is asked.
	UnknownWait time.Duration `koanf:"unknown_wait"`
	// TemplateSync is how often each business account is asked for its templates, beside
	// when Meta says that one has changed.
	TemplateSync time.Duration `koanf:"template_sync"`
	// ManagementCallsPerHour is how many calls about its templates an account may make
	// in an hour, TemplateCreationsPerHour how many new ones there may be.
	ManagementCallsPerHour   int `koanf:"management_calls_per_hour"`
	TemplateCreationsPerHour int `koanf:"template_creations_per_hour"`
	// HealthEvery is how often Meta is asked how each number is, beside when it tells of
	// something.
	HealthEvery time.Duration `koanf:"health_every"`
	// MediaHosts are where Meta has files, beside where the Graph API is, and what is
	// below them: who is there gets the numbers' tokens.
	MediaHosts []string `koanf:"media_hosts"`
}

// Media is what is done with the files of messages.
type Media struct {
	// Fetch is whether they are fetched from WhatsApp, where they are gone after a week.
	Fetch bool `koanf:"fetch"`
	// KeepDays is how long they are kept. LinkDays is how long an address of one is good;
	// 0 is as long as the file is kept.
	KeepDays int `koanf:"keep_days"`
	LinkDays int `koanf:"link_days"`
	// MaxSize is the largest one that is, Types are patterns of those that are, such as
	// "image/*"; empty is all.
	MaxSize Size     `koanf:"max_size"`
	Types   []string `koanf:"types"`
	// AtOnce is how many of a tenant are fetched at once, Rate how many bytes of a tenant's
	// in a second; 0 is no limit.
	AtOnce int  `koanf:"at_once"`
	Rate   Size `koanf:"rate"`
}

// Script bounds what a tenant's script may use for one event.
type Script struct {
	// Soft is when a hook is interrupted, Hard when its worker is killed.
	Soft time.Duration `koanf:"soft"`
	Hard time.Duration `koanf:"hard"`
	// Memory is what one worker process may use.
	Memory Size `koanf:"memory"`
}

// Plugin is a connector that is not built in.
type Plugin struct {
	// Path is the absolute path of the executable, or of a folder with a manifest.
	Path string `koanf:"path"`
	// SHA256 is what the file, or the manifest, must hash to, in lower-case hexadecimal.
	SHA256 string `koanf:"sha256"`
	// Attach is the absolute path of a file by which a process that its author started
	// is used instead, for development.
	Attach string `koanf:"attach"`
	// Installed: it is in the lock of the data folder, not in the configuration.
	// Disabled, in the lock, means that it does not run.
	Installed bool `koanf:"-"`
	Disabled  bool `koanf:"-"`
}

// Tenant is one business: tenants/<id>/tenant.toml.
type Tenant struct {
	// ID is the name of the folder, Dir its absolute path.
	ID  string `koanf:"-"`
	Dir string `koanf:"-"`

	// Name is for people.
	Name string `koanf:"name"`
	// Script is the absolute path of the script; empty when the tenant has
	// none. Unless configured it is script.ts or script.js in Dir, if there.
	Script string `koanf:"script"`
	// Region is the country of phone numbers that are written without their
	// country's code; empty for none.
	Region string `koanf:"region"`
	// Record keeps what the script is asked and answers, for `wabridge script`.
	Record bool `koanf:"record"`
	// Settings are what the script sees as context.settings.
	Settings map[string]any `koanf:"settings"`
	// Escalation says who takes over from the bot.
	Escalation Escalation `koanf:"escalation"`
	Limits     Limits     `koanf:"limits"`
	Policy     Policy     `koanf:"policy"`
	// Templates are those that the tenant sends. SenderNames are the names, beside
	// Name, by which marketing templates say who writes.
	Templates   []MessageTemplate `koanf:"templates"`
	SenderNames []string          `koanf:"sender_names"`
	// Names are those that a script may use although nothing uses them yet.
	Names Names `koanf:"names"`
	// Rates are what WhatsApp charges, by date. Book is what their files say, nil when
	// there are none.
	Rates []RateCard `koanf:"rates"`
	Book  *rate.Book `koanf:"-"`

	Numbers []Number `koanf:"numbers"`
	Lanes   []Lane   `koanf:"lanes"`

	// Who answers, when, and where they are told.
	Teams     []escalation.Team             `koanf:"teams"`
	Calendars []escalation.CalendarSettings `koanf:"calendars"`
	Targets   []Target                      `koanf:"targets"`
}

// Names are a tenant's own words, for the types that scripts are written by.
type Names struct {
	Fields []string `koanf:"fields"`
	Tags   []string `koanf:"tags"`
	Timers []string `koanf:"timers"`
	Topics []string `koanf:"topics"`
}

// Number is a business phone number at WhatsApp.
type Number struct {
	// ID is the phone_number_id, WABA the business account's id: with it, its templates
	// are asked for, by the number's AccessToken.
	ID   string `koanf:"id"`
	WABA string `koanf:"waba"`
	// Display is the number as people write it.
	Display     string      `koanf:"display"`
	AccessToken core.Secret `koanf:"access_token"`
	// Rate is in messages per second.
	Rate float64 `koanf:"rate"`
	// Retry, one wait per further attempt, as for a Lane.
	Retry []time.Duration `koanf:"retry"`
	// MaxInFlight is how many calls run at once; 0 adapts to the latency.
	MaxInFlight int `koanf:"max_in_flight"`
	// Fallback is the id of another number of the tenant: messages go by it while this
	// one is in trouble. FallbackWhen are the troubles that count ("banned",
	// "unregistered", "restricted", "flagged"), all of them when it is empty.
	// FallbackBackAfter is how long the number must be well before they come back; 0 is
	// half an hour.
	Fallback          string        `koanf:"fallback"`
	FallbackWhen      []string      `koanf:"fallback_when"`
	FallbackBackAfter time.Duration `koanf:"fallback_back_after"`
}

// Limits bound what a tenant's numbers send together; 0 is no limit.
type Limits struct {
	// PeoplePerDay is WhatsApp's messaging limit: how many different people may be
	// written to in a moving day who have not written within theirs. 0 is what WhatsApp
	// says by webhook.
	PeoplePerDay int `koanf:"people_per_day"`
	// Portfolio names the portfolio at Meta, for tenants that share one: what is said of its
	// people a day then counts for all of them.
	Portfolio string `koanf:"portfolio"`
	// MessagesPerMinute is the tenant's plan.
	MessagesPerMinute int `koanf:"messages_per_minute"`
}

// Lane is a tenant's account at a CRM.
type Lane struct {
	// Name is unique within the tenant; the connector's unless configured.
	Name string `koanf:"name"`
	// Connector is the name of a built-in connector or of one in
	// Config.Plugins.
	Connector string `koanf:"connector"`
	// Settings is a JSON object: the settings table, checked by the connector.
	Settings json.RawMessage        `koanf:"settings"`
	Secrets  map[string]core.Secret `koanf:"secrets"`
	// Retry is how long to wait before the second, third, … attempt; after the
	// last the delivery becomes a dead letter. Empty, but not nil: no retries.
	Retry []time.Duration `koanf:"retry"`
	// Rate is in calls per second; 0 is the connector's own.
	Rate float64 `koanf:"rate"`
	// Budgets are how many calls of a kind the CRM bears from the account, in the place
	// of what the connector says of those of the same names.
	Budgets []Budget `koanf:"budgets"`
	// Account names the CRM account where several lanes of the tenant are at one: those of
	// one connector and name have one budget of each kind together. Empty is one's own.
	Account string `koanf:"account"`
	// MaxInFlight is how many calls run at once; 0 adapts to the latency.
	MaxInFlight int `koanf:"max_in_flight"`
	// MaxBatch is how many events go in one call; 0 is the connector's own.
	MaxBatch int `koanf:"max_batch"`
	// Linger is how long a batch may wait to fill while others are in flight.
	Linger time.Duration `koanf:"linger"`
	// Idempotency, when set, replaces what the connector says of itself.
	Idempotency core.Idempotency `koanf:"idempotency"`
	// SearchDelay is after what time the CRM's search sees what was made, where the lane
	// looks before it writes; 0 is the connector's own.
	SearchDelay time.Duration `koanf:"search_delay"`
	// Pull is how often the CRM is asked what happened there, where the connector
	// can be; 0 is never.
	Pull time.Duration `koanf:"pull"`
	// Mapping is "default" for the connector's suggestions, or empty; Map are rules
	// of the owner's, which go before them.
	Mapping string         `koanf:"mapping"`
	Map     []core.MapRule `koanf:"map"`
}

// Budget is so many calls of a kind in some time: see [core.Budget].
type Budget struct {
	Name  string        `koanf:"name"`
	Calls int           `koanf:"calls"`
	Per   time.Duration `koanf:"per"`
}

// Default returns the settings before any file is read.
func Default() *Config {
	return &Config{
		DataDir: "data", DeadLetterDeadline: 24 * time.Hour,
		Web: Web{Listen: "127.0.0.1:8080", TrustedProxies: []string{}, MaxInFlight: 256},
		Log: Log{Level: "info", Format: "text"},
		Store: Store{MaxSize: 8 * GiB, BallastSize: 64 * MiB, MinFree: 256 * MiB,
			SeenDays: 8, HistoryDays: 90},
		WhatsApp: WhatsApp{BaseURL: "https://graph.facebook.com", APIVersion: "v25.0",
			Timeout: 30 * time.Second, UnknownWait: 120 * time.Second, HealthEvery: time.Hour,
			TemplateSync: 6 * time.Hour, ManagementCallsPerHour: 200, TemplateCreationsPerHour: 100,
			MediaHosts: []string{"lookaside.fbsbx.com", "fbcdn.net", "whatsapp.net", "graph.facebook.com"}},
		Media:  Media{Fetch: true, KeepDays: 90, MaxSize: 100 * MiB, Types: []string{}, AtOnce: 4},
		Script: Script{Soft: 50 * time.Millisecond, Hard: 250 * time.Millisecond, Memory: 128 * MiB},
	}
}

// defaultTenant returns a tenant's settings before its file is read.
func defaultTenant() Tenant {
	return Tenant{Record: true, Escalation: Escalation{Team: "support", HandOver: escalation.DefaultHandOver, AfterMessages: 6},
		Policy: Policy{DetectLoops: true, ReplyCap: 10, ReplyWindow: 10 * time.Minute, HumanFor: 24 * time.Hour, ConfirmWithin: 7 * 24 * time.Hour,
			AwaitFor: 2 * time.Minute, Stop: "all"}}
}

// defaultRetry is what a number and a lane do unless told otherwise.
var defaultRetry = []any{"1s", "30s"}

// elementDefaults are the settings of a list's elements that do not say them.
var elementDefaults = map[reflect.Type]map[string]any{
	reflect.TypeFor[Number](): {"rate": 80.0, "retry": defaultRetry},
	reflect.TypeFor[Lane]():   {"retry": defaultRetry, "linger": "20ms", "pull": "15m", "settings": map[string]any{}},
}
