package app

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/redecide"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/versions"
)

const (
	// shadowQueue bounds the batches that a shadow may be behind; what does not fit
	// is not asked about, and counted.
	shadowQueue = 32
	// shadowSave is how often what was seen is written down: a killed bridge forgets
	// that much.
	shadowSave = 2 * time.Second
)

const eventHooks = script.OnMessage | script.OnStatus | script.OnTimer | script.OnContactChange

// ShadowReport is what was seen of a version in the shadow.
type ShadowReport struct {
	Version string `json:"version"`
	// Skipped is how many events it was not asked about: it was too slow.
	Skipped int `json:"skipped"`
	// Slowest is the longest that one event took, in milliseconds.
	Slowest float64 `json:"slowest_ms"`
	// Error says why it does not decide, or was not put to work.
	Error string `json:"error,omitempty"`
	redecide.Report
}

// shadows has a second version of a tenant's script decide what the first one
// decides, after it, in processes of its own that come last for the CPU. Nobody
// waits for it, and what it decides is counted and thrown away.
//
// It stands between the broker and the engine that decides.
type shadows struct {
	live, engine *script.Engine
	log          *slog.Logger
	tenants      map[string]*shadow // not changed after newShadows
}

// shadow is one tenant's.
type shadow struct {
	id      string
	place   string // the script at work
	archive versions.Archive
	work    chan shadowBatch

	mu      sync.Mutex
	stamp   string // of what was tried last
	plan    versions.Shadow
	hooks   script.Hooks // not 0: it decides
	counter *redecide.Counter
	seen    ShadowReport // without the counter's
	changed bool         // since it was saved
}

type shadowBatch struct {
	version string
	calls   []script.Call
	live    []script.Decision
}

func newShadows(live, engine *script.Engine, tenants []config.Tenant, log *slog.Logger) *shadows {
	s := &shadows{live: live, engine: engine, log: log, tenants: map[string]*shadow{}}
	for _, t := range tenants {
		if t.Script != "" {
			s.tenants[t.ID] = &shadow{id: t.ID, place: t.Script, archive: versions.Of(t.Dir), work: make(chan shadowBatch, shadowQueue)}
		}
	}
	return s
}

// Version is the live one's, which is asked about what either has hooks for.
func (s *shadows) Version(tenant string) (script.Version, bool) {
	v, ok := s.live.Version(tenant)
	if t := s.tenants[tenant]; ok && t != nil {
		t.mu.Lock()
		v.Hooks |= t.hooks & eventHooks
		t.mu.Unlock()
	}
	return v, ok
}

// Decide has the live version decide, and offers the same to the one in the shadow.
func (s *shadows) Decide(ctx context.Context, tenant string, calls []script.Call) []script.Decision {
	out := s.live.Decide(ctx, tenant, calls)
	if t := s.tenants[tenant]; t != nil {
		t.offer(calls, out)
	}
	return out
}

// offer hands a batch on without waiting.
func (t *shadow) offer(calls []script.Call, live []script.Decision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hooks == 0 {
		return
	}
	b := shadowBatch{version: t.plan.Hash}
	for i, c := range calls {
		if c.Hooks&eventHooks == 0 || live[i].Err != nil && live[i].Err.Code == core.CodeUnavailable {
			continue
		}
		c.Event, c.Context = bytes.Clone(c.Event), bytes.Clone(c.Context)
		b.calls, b.live = append(b.calls, c), append(b.live, live[i])
	}
	if len(b.calls) == 0 {
		return
	}
	select {
	case t.work <- b:
	default:
		t.seen.Skipped += len(b.calls)
		t.changed = true
	}
}

// Run owns the shadows until ctx ends.
func (s *shadows) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := s.engine.Run(ctx); err != nil {
			s.log.Error("the shadows' engine ended", "error", err)
		}
	})
	for _, t := range s.tenants {
		wg.Go(func() { s.decide(ctx, t) })
	}
	s.tend(ctx)
	return nil
}

// decide asks the shadow about what it is offered.
func (s *shadows) decide(ctx context.Context, t *shadow) {
	for {
		var b shadowBatch
		select {
		case <-ctx.Done():
			return
		case b = <-t.work:
		}
		out := s.engine.Decide(ctx, t.id, b.calls)
		if ctx.Err() != nil {
			return
		}
		t.count(&b, out)
	}
}

func (t *shadow) count(b *shadowBatch, out []script.Decision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hooks == 0 || t.plan.Hash != b.version {
		return // another one by now
	}
	t.changed = true
	for i := range out {
		var e struct{ Kind core.Kind }
		_ = json.Unmarshal(b.calls[i].Event, &e)
		p, err := redecide.PairOf(&b.calls[i], e.Kind, &b.live[i], &out[i])
		if err != nil {
			t.seen.Skipped++
			continue
		}
		t.seen.Slowest = max(t.seen.Slowest, float64(out[i].Ran.Microseconds())/1000)
		t.counter.Add(p)
	}
}

// tend starts, ends and saves shadows.
func (s *shadows) tend(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for saved := time.Now(); ; {
		last := ctx.Err() != nil
		save := last || time.Since(saved) >= shadowSave
		for _, t := range s.tenants {
			if !last {
				s.look(ctx, t)
			}
			if save {
				t.save(s.log)
			}
		}
		if last {
			return
		}
		if save {
			saved = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// look takes up a shadow that is new, and ends one whose time is over.
func (s *shadows) look(ctx context.Context, t *shadow) {
	plan, stamp, ok, err := t.archive.Shadow()
	if err != nil {
		s.log.Error("the shadow cannot be read", "tenant", t.id, "error", err)
		ok = false
	}
	t.mu.Lock()
	same, now := stamp == t.stamp, t.hooks != 0
	t.mu.Unlock()
	switch {
	case !ok || !plan.Ended.IsZero():
		if now {
			s.end(t)
		}
	case !same:
		s.begin(ctx, t, plan, stamp)
	case now && !time.Now().Before(plan.Until):
		s.over(t, plan)
	}
}

func (s *shadows) begin(ctx context.Context, t *shadow, plan versions.Shadow, stamp string) {
	src := script.Source{Name: plan.Name, Code: plan.Files[plan.Name], Files: map[string][]byte{}}
	for name, data := range plan.Files {
		if name != plan.Name {
			src.Files[name] = data
		}
	}
	v, err := s.engine.Load(ctx, t.id, src)
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stamp, t.plan, t.hooks, t.counter = stamp, plan, v.Hooks, redecide.NewCounter()
	var had ShadowReport
	if t.archive.Report(&had) && had.Version == plan.Hash {
		t.counter = redecide.CounterOf(&had.Report) // the bridge was started anew
	}
	had.Version, had.Report, had.Error = plan.Hash, redecide.Report{}, ""
	t.seen, t.changed = had, true
	if err != nil {
		t.hooks, t.seen.Error = 0, err.Error()
		s.log.Error("the shadow is refused", "tenant", t.id, "version", plan.Hash, "error", err)
		return
	}
	s.log.Info("a version decides in the shadow", "tenant", t.id, "version", plan.Hash, "until", plan.Until, "then", plan.Then)
}

// end stops asking.
func (s *shadows) end(t *shadow) {
	t.save(s.log)
	t.mu.Lock()
	hash := t.plan.Hash
	t.hooks, t.stamp = 0, ""
	t.mu.Unlock()
	s.engine.Unload(t.id)
	s.log.Info("the shadow is over", "tenant", t.id, "version", hash)
}

// over ends a shadow whose time is over, and puts it to work if that was asked for
// and nothing speaks against it.
func (s *shadows) over(t *shadow, plan versions.Shadow) {
	s.end(t)
	t.mu.Lock()
	r := t.counter.Report()
	if plan.Then == versions.ThenDeploy {
		t.seen.Error = against(r, t.seen.Skipped)
	}
	why := t.seen.Error
	t.changed = true
	t.mu.Unlock()
	t.save(s.log)
	if plan.Then == versions.ThenDeploy && why == "" {
		err := t.deploy(plan)
		if err == nil {
			s.log.Info("the shadow is put to work", "tenant", t.id, "version", plan.Hash)
			return
		}
		why = err.Error()
		t.mu.Lock()
		t.seen.Error, t.changed = why, true
		t.mu.Unlock()
		t.save(s.log)
	}
	if why != "" {
		s.log.Warn("the shadow is not put to work", "tenant", t.id, "version", plan.Hash, "why", why)
	}
	if err := t.archive.ShadowOver(plan.Hash, time.Now()); err != nil {
		s.log.Error("the shadow's end cannot be noted", "tenant", t.id, "error", err)
	}
}

// against says why a version should not be put to work without anybody looking.
func against(r *redecide.Report, skipped int) string {
	switch {
	case r.New.Failed > r.Old.Failed:
		return "it failed more often than the version at work"
	case r.Decisions == 0:
		return "there was nothing to decide"
	case skipped > r.Decisions/10:
		return "it was too slow to be asked about everything"
	}
	return ""
}

// deploy puts the version in the place of the one at work.
func (t *shadow) deploy(plan versions.Shadow) error {
	if filepath.Base(t.place) != plan.Name {
		return core.Errorf(core.CodeInvalid, "deploy", "the tenant's script is %s, not %s", filepath.Base(t.place), plan.Name)
	}
	var before []string
	if old, err := script.ReadSource(t.place); err == nil {
		for name := range old.Files {
			before = append(before, name)
		}
	}
	if err := t.archive.Keep(plan.Version, time.Now()); err != nil {
		return err
	}
	if err := t.archive.Swap(plan.Hash, filepath.Dir(t.place), before); err != nil {
		return err
	}
	return t.archive.EndShadow()
}

// report is what was seen so far.
func (t *shadow) report() ShadowReport {
	r := t.seen
	if t.counter != nil {
		r.Report = *t.counter.Report()
	}
	for i, g := range r.Groups { // what people wrote is in the history alone
		g.Examples = slices.Clone(g.Examples)
		for j := range g.Examples {
			g.Examples[j].Who, g.Examples[j].Text = "", ""
		}
		r.Groups[i] = g
	}
	return r
}

func (t *shadow) save(log *slog.Logger) {
	t.mu.Lock()
	changed, r := t.changed, t.report()
	t.changed = false
	t.mu.Unlock()
	if !changed {
		return
	}
	if err := t.archive.KeepReport(r); err != nil {
		log.Warn("what was seen of the shadow cannot be saved", "tenant", t.id, "error", err)
	}
}

// info describes a tenant's shadow for people; nil when there is none.
func (s *shadows) info(tenant string) *broker.ShadowInfo {
	t := s.tenants[tenant]
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hooks == 0 {
		return nil
	}
	r := t.counter.Report()
	return &broker.ShadowInfo{Version: t.plan.Hash, Until: t.plan.Until, Decided: r.Decisions, Changed: r.Changed, Failed: r.New.Failed}
}
