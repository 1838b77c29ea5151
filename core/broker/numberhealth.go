package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// HealthAPI is what a number's sink has when WhatsApp can be asked how the number is.
type HealthAPI interface {
	Health(ctx context.Context) (whatsapp.Health, error)
}

// Fallback says by which other number of the tenant a number's messages go while it is
// in trouble.
type Fallback struct {
	// Number is the other one's id; empty is none.
	Number string
	// When are the troubles that count; nil is all of them.
	When []whatsapp.Trouble
	// BackAfter is how long the number must be well before messages go by it again; 0 is
	// half an hour.
	BackAfter time.Duration
}

// How often WhatsApp is asked how a number is.
const (
	defaultHealthEvery = time.Hour
	troubledEvery      = 5 * time.Minute
	// askSettle is how long is waited for more news after the first. News make so many
	// questions at once, and then one a minute; a person's are askApart at least.
	askSettle = time.Second
	askBurst  = 5
	askApart  = 2 * time.Second

	defaultBackAfter = 30 * time.Minute

	bucketNumbers = "numbers" // id → knownNumber
)

// knownNumber is what the bridge knows of a number, as it is stored.
type knownNumber struct {
	Health whatsapp.Health `json:"health"`
	// Asked is when WhatsApp last said how the number is, Told when it last said so by
	// itself: by a webhook, or by refusing a send.
	Asked time.Time `json:"asked,omitzero"`
	Told  time.Time `json:"told,omitzero"`
	// Trouble is what is wrong since Since, and Why WhatsApp's words.
	Trouble whatsapp.Trouble `json:"trouble,omitempty"`
	Why     string           `json:"why,omitempty"`
	Since   time.Time        `json:"since,omitzero"`
	// Away is since when messages go by the fallback, Well since when the number is well
	// again meanwhile.
	Away time.Time `json:"away,omitzero"`
	Well time.Time `json:"well,omitzero"`
}

// numberHealth is a number's lane's knowledge of its number.
type numberHealth struct {
	l        *lane
	api      HealthAPI // nil when nobody can be asked
	every    time.Duration
	fallback Fallback
	want     chan struct{} // asks for a question soon
	news     *limit.Limiter

	asking sync.Mutex // held by who asks

	mu      sync.Mutex
	known   knownNumber
	failed  string // why the last question got no answer
	next    time.Time
	here    context.Context // ends when messages begin to go elsewhere, or come back
	turn    context.CancelFunc
	noticed map[string]bool // sends of which it was noted that they stay
}

func newNumberHealth(l *lane, n Number) *numberHealth {
	setDefault(&n.HealthEvery, defaultHealthEvery)
	setDefault(&n.Fallback.BackAfter, defaultBackAfter)
	if n.Fallback.When == nil {
		n.Fallback.When = whatsapp.Troubles()
	}
	api, _ := n.Sink.(HealthAPI)
	return &numberHealth{l: l, api: api, every: n.HealthEvery, fallback: n.Fallback, want: make(chan struct{}, 1),
		news: limit.New(1.0/60, askBurst), noticed: map[string]bool{}}
}

// restore reads what was known of the tenant's numbers before.
func (t *tenant) restoreNumbers(ctx context.Context) error {
	entries, err := t.b.o.Store.Range(ctx, t.ID, bucketNumbers, "", 1000)
	if err != nil {
		return err
	}
	for _, e := range entries {
		l := t.numbers[e.Key]
		if k, ok := decode[knownNumber](e.Value); ok && l != nil {
			if l.health.fallback.Number == "" { // it had one, and has none now
				k.Away, k.Well = time.Time{}, time.Time{}
			}
			l.health.known = *k
			l.health.tell(knownNumber{}, *k)
		}
	}
	return nil
}

// run asks how the number is: at once, at intervals, and soon after there were news.
func (h *numberHealth) run(ctx context.Context) {
	for wait := time.Duration(0); ; {
		h.mu.Lock()
		h.next = time.Now().Add(wait).UTC()
		h.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-h.want:
			timer.Stop()
			if !pause(ctx, askSettle) || h.news.Wait(ctx, 1) != nil {
				return
			}
			select {
			case <-h.want: // these are news of before the question, too
			default:
			}
		}
		switch _, away := h.now(); {
		case h.api != nil:
			_ = h.ask(ctx)
		case away:
			h.learn(ctx, time.Now().UTC(), func(*knownNumber) {}) // it may be time to come back
		}
		wait = h.wait(time.Now())
	}
}

// wait is how long it is to the next question.
func (h *numberHealth) wait(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	wait := h.every
	if h.known.Trouble != "" || h.failed != "" {
		wait = min(wait, troubledEvery)
	}
	if !h.known.Well.IsZero() {
		wait = min(wait, max(time.Second, h.known.Well.Add(h.fallback.BackAfter).Sub(now)))
	}
	return wait
}

// soon has WhatsApp asked soon: there were news.
func (h *numberHealth) soon() {
	select {
	case h.want <- struct{}{}:
	default:
	}
}

// ask asks WhatsApp how the number is.
func (h *numberHealth) ask(ctx context.Context) error {
	h.asking.Lock()
	defer h.asking.Unlock()
	cctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	health, err := h.api.Health(cctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h.mu.Lock()
		h.failed = err.Error()
		h.mu.Unlock()
		if trouble := whatsapp.TroubleOf(core.AsError(err)); trouble != "" {
			h.saw(ctx, core.AsError(err))
		}
		return err
	}
	now := time.Now().UTC()
	h.l.t.limitsSaid(ctx, h.l, &health)
	h.learn(ctx, now, func(k *knownNumber) {
		k.Health, k.Asked = health, now
		trouble := health.Trouble()
		if k.Trouble == trouble {
			return
		}
		k.Trouble, k.Since, k.Why = trouble, now, ""
		if trouble != "" {
			k.Why = whyTrouble(&health)
		}
	})
	if health.Trouble() == "" && health.CanSend == "AVAILABLE" {
		h.l.t.wellAgain(ctx, h.id(), now)
	}
	h.mu.Lock()
	h.failed = ""
	h.mu.Unlock()
	return nil
}

// whyTrouble is what is wrong in WhatsApp's words.
func whyTrouble(health *whatsapp.Health) string {
	why := "WhatsApp says: status " + cmp.Or(health.Status, "unknown")
	if health.Quality == "RED" {
		why += ", quality RED"
	}
	if health.CanSend != "" && health.CanSend != "AVAILABLE" {
		why += ", sending " + health.CanSend
	}
	if len(health.Reasons) > 0 {
		why += ": " + health.Reasons[0]
	}
	return why
}

// saw takes up what a refused send says of the number: for certain, and before anybody
// asks.
func (h *numberHealth) saw(ctx context.Context, err *core.Error) {
	trouble := whatsapp.TroubleOf(err)
	if trouble == "" {
		return
	}
	now := time.Now().UTC()
	h.learn(ctx, now, func(k *knownNumber) {
		k.Told, k.Well = now, time.Time{}
		if k.Trouble != trouble {
			k.Trouble, k.Since, k.Why = trouble, now, err.Error()
		}
	})
	h.soon()
}

// learn changes what is known, lets messages go elsewhere or come back by the rule, and
// stores it.
func (h *numberHealth) learn(ctx context.Context, now time.Time, change func(*knownNumber)) {
	h.mu.Lock()
	before := h.known
	change(&h.known)
	k := &h.known
	counts := k.Trouble != "" && slices.Contains(h.fallback.When, k.Trouble)
	switch {
	case h.fallback.Number == "":
	case counts && k.Away.IsZero():
		k.Away, k.Well = now, time.Time{}
	case counts:
		k.Well = time.Time{}
	case !k.Away.IsZero() && k.Well.IsZero():
		k.Well = now
	case !k.Away.IsZero() && now.Sub(k.Well) >= h.fallback.BackAfter:
		k.Away, k.Well = time.Time{}, time.Time{}
	}
	after := *k
	if before.Away.IsZero() != after.Away.IsZero() {
		clear(h.noticed)
		if h.turn != nil {
			h.turn()
			h.here, h.turn = nil, nil
		}
	}
	h.mu.Unlock()
	h.tell(before, after)
	if _, err := h.l.b.settle(ctx, store.Settlement{Lazy: true, Put: []store.Put{{
		Key: store.Key{Tenant: h.l.t.ID, Bucket: bucketNumbers, Key: h.id()}, Value: mustJSON(after),
	}}}); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrFull) {
		h.l.b.log.Warn("what is known of a number was not stored", "tenant", h.l.t.ID, "number", h.id(), "error", err)
	}
}

// tell logs what people should know, and keeps the metric.
func (h *numberHealth) tell(before, after knownNumber) {
	log, id := h.l.b.log, h.id()
	if before.Trouble != after.Trouble {
		if before.Trouble != "" {
			h.l.b.m.trouble.DeleteLabelValues(h.l.t.ID, id, string(before.Trouble))
		}
		if after.Trouble == "" {
			log.Info("a number is well again", "tenant", h.l.t.ID, "number", id)
		} else {
			h.l.b.m.trouble.WithLabelValues(h.l.t.ID, id, string(after.Trouble)).Set(1)
			log.Error("a number is in trouble: see `wabridge number list`", "tenant", h.l.t.ID, "number", id, "trouble", after.Trouble, "why", after.Why)
		}
	}
	switch {
	case before.Away.IsZero() && !after.Away.IsZero():
		log.Error("its messages go by the fallback", "tenant", h.l.t.ID, "number", id, "fallback", h.fallback.Number, "trouble", after.Trouble)
	case !before.Away.IsZero() && after.Away.IsZero():
		log.Info("its messages go by the number itself again", "tenant", h.l.t.ID, "number", id)
	}
}

func (h *numberHealth) id() string { return h.l.number() }

// stay is a context that ends when messages begin to go elsewhere, or come back.
func (h *numberHealth) stay(ctx context.Context) context.Context {
	if h.fallback.Number == "" {
		return ctx
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.here == nil {
		h.here, h.turn = context.WithCancel(ctx)
	}
	return h.here
}

// now returns what is known, and whether messages go elsewhere.
func (h *numberHealth) now() (knownNumber, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known, !h.known.Away.IsZero()
}

// limitsSaid takes over what WhatsApp says that the number, and the business, may.
func (t *tenant) limitsSaid(ctx context.Context, l *lane, health *whatsapp.Health) {
	var s store.Settlement
	say := func(key string, n float64) {
		if n == 0 {
			return
		}
		k := store.Key{Tenant: t.ID, Bucket: bucketLimits, Key: key}
		if values, err := t.b.o.Store.Get(ctx, k); err == nil {
			var was float64
			if json.Unmarshal(values[0], &was) == nil && was == n {
				return
			}
		}
		s.Put = append(s.Put, store.Put{Key: k, Value: mustJSON(n)})
		t.told(key, n)
	}
	say(keyPeople, float64(health.PeoplePerDay))
	say(l.number(), health.MessagesPerSecond)
	if len(s.Put) > 0 {
		s.Lazy = true
		_, _ = t.b.settle(ctx, s) // else it is said again
	}
}

// AskNumbers has WhatsApp asked soon how a tenant's numbers are: it told of something
// that may change that.
func (b *Broker) AskNumbers(tenant string) {
	if t := b.tenants[tenant]; t != nil {
		for _, l := range t.numbers {
			l.health.soon()
		}
	}
}

// NumberStatus describes a business number at one moment.
type NumberStatus struct {
	Tenant string `json:"tenant"`
	Number string `json:"number"` // phone_number_id
	// Health is how WhatsApp last said that it is, at Asked. AskError is why a later
	// question got no answer, Next when it is asked again, Told when WhatsApp last told of
	// trouble by itself.
	Health   whatsapp.Health `json:"health"`
	Asked    time.Time       `json:"asked,omitzero"`
	AskError string          `json:"ask_error,omitempty"`
	Next     time.Time       `json:"next,omitzero"`
	Told     time.Time       `json:"told,omitzero"`
	// Trouble is "banned", "restricted", "flagged" or "unregistered", since Since, Why in
	// WhatsApp's words; empty when all is well.
	Trouble whatsapp.Trouble `json:"trouble,omitempty"`
	Since   time.Time        `json:"since,omitzero"`
	Why     string           `json:"why,omitempty"`
	// Fallback is the number that messages go by when this one is in one of the troubles
	// FallbackWhen; GoesBy is set, since Away, while they do. BackAt is when they come
	// back if the number stays as well as it is.
	Fallback     string             `json:"fallback,omitempty"`
	FallbackWhen []whatsapp.Trouble `json:"fallback_when,omitempty"`
	GoesBy       string             `json:"goes_by,omitempty"`
	Away         time.Time          `json:"away,omitzero"`
	BackAt       time.Time          `json:"back_at,omitzero"`
	// State is that of its lane, Waiting how many messages wait there.
	State   LaneState `json:"state"`
	Waiting int       `json:"waiting"`
}

func (h *numberHealth) status() NumberStatus {
	h.mu.Lock()
	k := h.known
	s := NumberStatus{Tenant: h.l.t.ID, Number: h.id(), Health: k.Health, Asked: k.Asked, AskError: h.failed, Told: k.Told,
		Trouble: k.Trouble, Since: k.Since, Why: k.Why, Fallback: h.fallback.Number, Away: k.Away}
	if h.api != nil {
		s.Next = h.next
	}
	h.mu.Unlock()
	s.Health.DisplayNumber = cmp.Or(s.Health.DisplayNumber, h.l.display)
	if s.Fallback != "" {
		s.FallbackWhen = h.fallback.When
	}
	if !k.Away.IsZero() {
		s.GoesBy = s.Fallback
	}
	if !k.Well.IsZero() {
		s.BackAt = k.Well.Add(h.fallback.BackAfter)
	}
	var lane LaneStatus
	h.l.gate.status(&lane)
	s.State = lane.State
	return s
}

// Numbers returns how the numbers of a tenant are, of all tenants for "", in the order of
// the configuration.
func (b *Broker) Numbers(tenant string) []NumberStatus {
	depth := map[store.QueueID]int{}
	for _, q := range b.o.Store.Stats().Queues {
		depth[q.Queue] = q.Depth
	}
	out := []NumberStatus{}
	for _, cfg := range b.o.Tenants {
		if t := b.tenants[cfg.ID]; tenant == "" || tenant == t.ID {
			for _, n := range t.Numbers {
				s := t.numbers[n.ID].health.status()
				s.Waiting = depth[t.numbers[n.ID].queue]
				out = append(out, s)
			}
		}
	}
	return out
}

// Number returns how a number is; with fresh, after WhatsApp was asked, at most every two
// seconds.
func (b *Broker) Number(ctx context.Context, tenant, number string, fresh bool) (NumberStatus, error) {
	t := b.numbers[number]
	if t == nil || tenant != "" && t.ID != tenant {
		return NumberStatus{}, core.Errorf(core.CodeInvalid, "number", "no tenant has the number %q: %w", number, store.ErrNotFound)
	}
	h := t.numbers[number].health
	if known, _ := h.now(); fresh && h.api != nil && time.Since(known.Asked) >= askApart {
		if err := h.ask(ctx); err != nil {
			return NumberStatus{}, fmt.Errorf("number %s: %w", number, err)
		}
	}
	s := h.status()
	for _, q := range b.o.Store.Stats().Queues {
		if q.Queue == h.l.queue {
			s.Waiting = q.Depth
		}
	}
	return s, nil
}
