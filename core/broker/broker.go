// Package broker is the engine of the bridge. Events are accepted (stored, then
// answered), decided one at a time within each conversation, delivered to their
// sinks by lanes, and settled. A script decides but never acts; a plugin acts
// but never remembers; only the broker remembers.
//
// A Broker keeps nothing in memory that it could not lose: what it must know
// after a crash is in the store, in the same settlement as the step that made
// it true.
package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/rate"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// Scripts decides: it is *script.Engine. One Decision per call, in order.
type Scripts interface {
	Version(tenant string) (script.Version, bool)
	Decide(ctx context.Context, tenant string, calls []script.Call) []script.Decision
}

// Informer is what a sink has when it learns its limits only once it runs: a
// plugin's host. The lane asks before its first delivery.
type Informer interface {
	Info(ctx context.Context) (core.ConnectorInfo, error)
}

// Checker is what a sink has when it can prove its credentials without writing
// anything. A paused lane asks it before it delivers again, and a lane to a CRM before
// it gives up an event that alone fails.
type Checker interface {
	Check(ctx context.Context) error
}

// Options make a Broker.
type Options struct {
	Store store.Store
	// Scripts may be nil: then no tenant has a script.
	Scripts Scripts
	Tenants []Tenant
	// OpaqueKey authenticates biz_opaque_callback_data.
	OpaqueKey []byte
	// MaxQueue is how many undecided events a tenant may have before new ones
	// are refused; 0 is 200,000.
	MaxQueue int
	// UnknownWait is how long a send with unknown outcome waits for its status
	// before a person must decide; 0 is two minutes.
	UnknownWait time.Duration
	// IntentRetention is how long sends are remembered, to place their
	// statuses; 0 is 30 days.
	IntentRetention time.Duration
	// TenantInfo describes a tenant's script for the pages; may be nil.
	TenantInfo func(tenant string) TenantInfo
	// Sealer keeps the secrets of subscriptions, Subscriber makes their sinks, or says
	// what is wrong with a URL; without them there are mailboxes only.
	Sealer     Sealer
	Subscriber func(SubscriberOptions) (Subscriber, error)
	// Busy reports whether the machine has so much to do that CRM lanes should not make
	// more calls at once; may be nil.
	Busy func() bool
	// Media is what is done with files; nil leaves them at WhatsApp.
	Media *MediaOptions
	// Failpoint is called at named steps, for crash tests; may be nil.
	Failpoint func(name string)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Tenant is one business on the bridge.
type Tenant struct {
	ID      string
	Name    string
	Numbers []Number
	Lanes   []Lane
	// Accounts are the business accounts that its numbers are in, as far as their
	// templates can be asked for.
	Accounts []Account
	// Region is the country (ISO 3166) of phone numbers that people write without
	// their country's code; may be empty.
	Region string
	// Settings are handed to the tenant's script as context.settings.
	Settings map[string]any
	// Plan says who answers escalations; nil is one team without members, Team.
	Plan *escalation.Plan
	// Team is who an escalation goes to when it names nobody, without a Plan.
	Team string
	// Targets are where teams are told of escalations, beside the inbox and the
	// CRMs.
	Targets []Target
	// ReplyCap is how many automatic replies a conversation may get within
	// ReplyWindow; 0 is 10 in 10 minutes.
	ReplyCap    int
	ReplyWindow time.Duration
	// Limits bound what its numbers send together.
	Limits Limits
	// HumanFor is how long the bot keeps silent after an escalation; 0 is 24
	// hours.
	HumanFor time.Duration
	// Policy is what holds whatever a script says.
	Policy Policy
	// Rates are what WhatsApp charges; may be nil.
	Rates *rate.Book
	// DeadAfter is how long a person has to settle a dead letter; 0 is 24 hours.
	DeadAfter time.Duration
	// NoRecord keeps no record of what the script is asked and answers.
	NoRecord bool
}

// Number is a business phone number: a sink for messages.
type Number struct {
	ID   string // phone_number_id
	Sink core.Sink
	// Media fetches and uploads its files; may be nil.
	Media MediaAPI
	// Account is the id of the business account (WABA) that it is in; "" when it is
	// not known.
	Account string
	// Display is the number as people write it: by it WhatsApp names it when its
	// throughput changes.
	Display string
	// Rate is the number's throughput, messages per second; 0 is 80, or what WhatsApp
	// says of it.
	Rate float64
	// HealthEvery is how often WhatsApp is asked how the number is, where the sink is a
	// [HealthAPI]; 0 is an hour. In trouble it is asked every five minutes.
	HealthEvery time.Duration
	Fallback    Fallback
	// MaxInFlight bounds the sends at once; 0 is 512.
	MaxInFlight int
	Retry       []time.Duration
}

// Target is where teams are told of escalations.
type Target struct {
	Name string
	// Kind is what it is, for people: "webhook", "email".
	Kind string
	Sink core.Sink
	// Retry are the waits before further attempts, as for a Lane.
	Retry []time.Duration
}

// Lane is a CRM account: a sink for what happened.
type Lane struct {
	Name string
	// Connector is the connector's name, for people.
	Connector string
	Sink      core.Sink
	// MaxBatch, Rate and Idempotency override what the connector says, where
	// they are not zero. MaxBatch can only lower it.
	MaxBatch    int
	Rate        float64 // calls per second
	Idempotency core.Idempotency
	// SearchDelay replaces the connector's, where it is not 0.
	SearchDelay time.Duration
	// Budgets replace what the connector says of those of the same names.
	Budgets []core.Budget
	// Account, unless it is empty, is shared by those lanes of the tenant and connector that
	// name it: what they spend is paid from the same budgets, those of the first of them.
	Account string
	// MaxInFlight bounds the calls at once; 0 is 64.
	MaxInFlight int
	// Linger is how long a batch gathers while others are in flight; 0 is 20 ms.
	Linger time.Duration
	// Retry are the waits before the second, third, … attempt; nil is 1 s, 30 s.
	// When they are used up, the delivery becomes a dead letter.
	Retry []time.Duration
	// Pull is how often the CRM is asked what happened there, where the sink is a
	// [Poller]; 0 is never.
	Pull time.Duration
	// Mapping says which of the contact's fields are which of the CRM's properties;
	// may be nil. The lane tells it what the CRM has, where the sink is a [Describer].
	Mapping *mapping.Table
}

// Names of queues and buckets.
const (
	queueDecide     = "decide"
	queueQuarantine = "quarantine"
	bucketAlias     = "alias"
	bucketPeople    = "people"
	bucketMerges    = "merges" // contacts that went, and how they were
	bucketIntents   = "intents"
	bucketSchemas   = "schemas" // <lane> → what its CRM last said that it has, as far as the mapping looks at it
)

func queueOf(tenant, name string) store.QueueID { return store.QueueID{Tenant: tenant, Name: name} }

// Broker is the engine. All methods may be called concurrently.
type Broker struct {
	o       Options
	log     *slog.Logger
	m       *metrics
	tenants map[string]*tenant
	numbers map[string]*tenant // by phone_number_id
	// portfolios are the people that each has written to, by name.
	portfolios map[string]*limit.People
	started    time.Time
	rate       minute
	totals     totals
	ready      atomic.Bool
	overdue    atomic.Int64
	strange    atomic.Int64 // when the log last told of a number that no tenant has, in Unix nanoseconds
}

type tenant struct {
	Tenant
	b         *Broker
	queue     store.QueueID
	depth     atomic.Int64 // undecided events
	waiting   atomic.Int64 // events that are to be decided later
	aliases   aliases
	templates templates
	locks     contactLocks
	undone    atomic.Uint64 // merges taken back since the start
	erasures  erasures
	numbers   map[string]*lane
	crm       []*lane
	desk      *desk
	targets   map[string]*lane // by their names
	maps      bool             // a lane has a mapping

	subscriptions subscriptions
	campaigns     campaigns
	pace          pace
	overheard     overheard
	alarms        alarms
	mediaRate     *limit.Limiter // of files that are fetched, in KiB; nil is no limit
}

// New makes a Broker; Run runs it.
func New(o Options) (*Broker, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	setDefault(&o.MaxQueue, 200_000)
	setDefault(&o.UnknownWait, 2*time.Minute)
	setDefault(&o.IntentRetention, 30*24*time.Hour)
	if o.Media != nil {
		own := *o.Media
		own.setDefaults()
		o.Media = &own
	}
	b := &Broker{
		o: o, log: o.Log, started: time.Now(),
		tenants: map[string]*tenant{}, numbers: map[string]*tenant{}, portfolios: map[string]*limit.People{},
	}
	for _, cfg := range o.Tenants {
		if err := b.addTenant(cfg); err != nil {
			return nil, err
		}
	}
	b.m = newMetrics(o.Registerer, b)
	for _, t := range b.tenants {
		if err := t.restore(); err != nil {
			return nil, err
		}
	}
	if err := b.restorePeople(context.Background()); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Broker) addTenant(cfg Tenant) error {
	setDefault(&cfg.ReplyCap, 10)
	setDefault(&cfg.ReplyWindow, 10*time.Minute)
	setDefault(&cfg.HumanFor, 24*time.Hour)
	setDefault(&cfg.DeadAfter, 24*time.Hour)
	setDefault(&cfg.Policy.ConfirmWithin, defaultConfirmWithin)
	setDefault(&cfg.Policy.AwaitFor, 2*time.Minute)
	if b.tenants[cfg.ID] != nil || !core.TenantPattern.MatchString(cfg.ID) {
		return core.Errorf(core.CodeInvalid, "broker", "tenant %q: not a free tenant id", cfg.ID)
	}
	t := &tenant{Tenant: cfg, b: b, queue: queueOf(cfg.ID, queueDecide), numbers: map[string]*lane{}, pace: b.newPace(cfg.ID, cfg.Limits), alarms: newAlarms()}
	if o := b.o.Media; o != nil && o.Rate > 0 {
		t.mediaRate = limit.New(float64(o.Rate)/1024, 2*pacedRead)
	}
	t.erasures.begun = make(chan struct{}, 1)
	t.templates.init(t)
	b.tenants[cfg.ID] = t
	for _, n := range cfg.Numbers {
		if b.numbers[n.ID] != nil {
			return core.Errorf(core.CodeInvalid, "broker", "number %s belongs to two tenants", n.ID)
		}
		b.numbers[n.ID] = t
		t.numbers[n.ID] = newNumberLane(t, n)
	}
	for _, n := range cfg.Numbers {
		if by := n.Fallback.Number; by != "" && (t.numbers[by] == nil || by == n.ID) {
			return core.Errorf(core.CodeInvalid, "broker", "number %s: the fallback %q is no other number of the tenant", n.ID, by)
		}
	}
	shared := map[string]*purse{}
	for _, c := range cfg.Lanes {
		l := newCRMLane(t, c)
		if of := c.Connector + " " + c.Account; c.Account != "" {
			if shared[of] == nil {
				shared[of] = l.purse
			}
			l.purse = shared[of]
		}
		t.crm = append(t.crm, l)
		t.maps = t.maps || c.Mapping != nil
	}
	t.desk, t.targets = newDesk(), map[string]*lane{}
	for _, g := range cfg.Targets {
		l := newCRMLane(t, Lane{Name: g.Name, Connector: g.Kind, Sink: g.Sink, Retry: g.Retry})
		l.name = targetQueue(g.Name)
		l.queue = queueOf(t.ID, l.name)
		t.targets[g.Name] = l
	}
	if t.Plan == nil {
		t.Plan, _ = escalation.NewPlan(escalation.Settings{Team: t.Team})
	}
	return nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Run runs the engine until ctx ends, then lets the deliveries in flight end
// (bounded by their own deadlines) and returns. The store must be running, and
// go on running until Run has returned.
func (b *Broker) Run(ctx context.Context) error {
	if err := b.requeueQuarantine(ctx); err != nil {
		return err
	}
	b.tellUnserved()
	var wg sync.WaitGroup
	run := func(f func(context.Context)) { wg.Go(func() { f(ctx) }) }
	for _, t := range b.tenants {
		run(t.decideLoop)
		run(t.decideLoop)
		run(t.timersLoop)
		run(t.eraseLoop)
		run(t.tallyLoop)
		run(t.campaignsLoop)
		run(t.campaignsSweepLoop)
		run(t.subscriptionsLoop)
		run(t.templatesLoop)
		run(t.mediaLoop)
		run(t.mediaSweepLoop)
		for _, l := range t.lanes() {
			run(l.run)
			if l.health != nil {
				run(l.health.run)
			}
		}
	}
	run(b.watchDead)
	b.ready.Store(true)
	defer b.ready.Store(false)
	wg.Wait()
	return ctx.Err()
}

// restore reads what must be known of the tenant before the first event comes:
// how much is undecided, and which sends were begun.
func (t *tenant) restore() error {
	if err := t.templates.restore(t); err != nil {
		return err
	}
	for _, q := range t.b.o.Store.Stats().Queues {
		switch q.Queue {
		case t.queue:
			t.depth.Store(int64(q.Depth))
		case queueOf(t.ID, queueTimers):
			t.waiting.Store(int64(q.Depth))
		}
	}
	if err := t.restoreNumbers(context.Background()); err != nil {
		return err
	}
	if err := t.restoreLimits(context.Background()); err != nil {
		return err
	}
	if err := t.restoreAlarms(context.Background()); err != nil {
		return err
	}
	if err := t.restoreSubscriptions(context.Background()); err != nil {
		return err
	}
	if err := t.restoreCampaigns(context.Background()); err != nil {
		return err
	}
	if err := t.desk.restore(context.Background(), t.b.o.Store, t.ID); err != nil {
		return err
	}
	for _, l := range t.numbers {
		if err := l.restore(); err != nil {
			return err
		}
		if err := l.restoreAwaits(context.Background()); err != nil {
			return err
		}
	}
	if err := t.overhearWaiting(context.Background()); err != nil {
		return err
	}
	for _, l := range t.crm {
		if err := l.restoreSchema(); err != nil {
			return err
		}
		if err := l.restoreNames(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

// lanes are those of the configuration: see allLanes.
func (t *tenant) lanes() []*lane {
	out := make([]*lane, 0, len(t.numbers)+len(t.crm))
	for _, n := range t.Numbers {
		out = append(out, t.numbers[n.ID])
	}
	out = append(out, t.crm...)
	for _, g := range t.Targets {
		out = append(out, t.targets[g.Name])
	}
	return out
}

// allLanes are those of the configuration and those of subscriptions.
func (t *tenant) allLanes() []*lane {
	out := t.lanes()
	for _, s := range t.subscriptions.live() {
		if s.lane != nil {
			out = append(out, s.lane)
		}
	}
	return out
}

// Ready reports why the bridge cannot take events now, or nil.
func (b *Broker) Ready() error {
	if !b.ready.Load() {
		return core.Errorf(core.CodeUnavailable, "ready", "starting or stopping")
	}
	if b.o.Store.Stats().Full {
		return core.Errorf(core.CodeUnavailable, "ready", "the disk is full: new events are refused until there is room")
	}
	return nil
}

func (b *Broker) failpoint(name string) {
	if b.o.Failpoint != nil {
		b.o.Failpoint(name)
	}
}

// settle settles, and treats a store that gave up as the end: the process is
// about to exit, so there is nobody to tell.
func (b *Broker) settle(ctx context.Context, s store.Settlement) (store.Outcome, error) {
	out, err := b.o.Store.Settle(ctx, s)
	if err != nil && !errors.Is(err, store.ErrFull) && ctx.Err() == nil {
		b.log.Error("settle", "error", err)
	}
	if err == nil {
		for _, it := range s.Add {
			if it.Queue.Name == queueTimers {
				b.tenants[it.Queue.Tenant].waiting.Add(1)
			}
		}
	}
	return out, err
}
