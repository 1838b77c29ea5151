package broker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/template"
)

// Account is a WhatsApp business account whose templates can be asked for.
type Account struct {
	ID        string // WABA
	Templates TemplateAPI
	// Every is how often they are asked for, beside when WhatsApp says that one has
	// changed; 0 is six hours.
	Every time.Duration
}

// TemplateAPI is how WhatsApp is asked about the templates of one account. Errors
// are *core.Error; with core.CodeUnknownOutcome it may have been done.
type TemplateAPI interface {
	List(ctx context.Context) ([]template.Told, error)
	// Find returns the templates of a name, in all languages.
	Find(ctx context.Context, name string) ([]template.Told, error)
	Create(ctx context.Context, d template.Definition) (template.Told, error)
	// Edit replaces the components, and the category unless it is "".
	Edit(ctx context.Context, id, category string, d template.Definition) error
	// Delete deletes one, or with an empty id all languages of a name.
	Delete(ctx context.Context, name, id string) error
	// Unpause enables one again that WhatsApp paused for its pace.
	Unpause(ctx context.Context, id string) error
}

const (
	defaultTemplateSync = 6 * time.Hour
	// templateSettle is how long a sync waits for more changes after the first, and
	// templateRetry how long at first after one that failed.
	templateSettle = 5 * time.Second
	templateRetry  = time.Minute
	// maxTemplateNames is how many are asked for one by one: more are asked for all
	// together.
	maxTemplateNames = 10
)

// templateSync keeps the templates of one account up to date.
type templateSync struct {
	t    *tenant
	api  TemplateAPI
	id   string
	each time.Duration
	want chan struct{} // asks for a sync soon
	now  chan struct{} // asks for one now

	busy chan struct{} // has a place for the one who asks WhatsApp

	mu    sync.Mutex
	names map[string]bool // of templates that are to be asked for
	last  TemplateSync
	begun time.Time     // the last one that is over
	over  chan struct{} // closed, and replaced, when one is
	err   error         // what came of it
}

func newTemplateSync(t *tenant, a Account) *templateSync {
	setDefault(&a.Every, defaultTemplateSync)
	return &templateSync{t: t, api: a.Templates, id: a.ID, each: a.Every, want: make(chan struct{}, 1), now: make(chan struct{}, 1),
		busy: make(chan struct{}, 1), over: make(chan struct{}), last: TemplateSync{Tenant: t.ID, Account: a.ID}}
}

// TemplateSync is how far the bridge knows the templates of an account.
type TemplateSync struct {
	Tenant  string `json:"tenant"`
	Account string `json:"account"`
	// Synced is when WhatsApp last listed them all, Next when it is asked again.
	Synced time.Time `json:"synced,omitzero"`
	Next   time.Time `json:"next,omitzero"`
	// Templates is how many there are, Changed those in which the last sync found
	// something new, as <name>/<language>, at most 100.
	Templates int      `json:"templates"`
	Changed   []string `json:"changed,omitempty"`
	// Error is why the last attempt failed.
	Error string `json:"error,omitempty"`
}

func (s *templateSync) status() TemplateSync {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// templatesLoop asks for the tenant's templates when it starts, at intervals and when
// something has changed, and lets sends go that need not wait any more.
func (t *tenant) templatesLoop(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range t.templates.syncs {
		wg.Go(func() { s.run(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-t.templates.released:
			t.release(ctx, t.templates.allReleased(key))
		}
	}
}

func (s *templateSync) run(ctx context.Context) {
	failures := 0
	for due := time.Now(); ; {
		s.mu.Lock()
		s.last.Next = due.UTC()
		s.mu.Unlock()
		if all := s.wait(ctx, due); !all && s.syncSome(ctx, s.some()) == nil {
			continue // the rest when it is due
		}
		err, wait := s.sync(ctx), s.each
		switch e := core.AsError(err); {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = max(e.RetryAfter, min(s.each, templateRetry<<min(failures, 10)))
			failures++
			s.t.b.log.Warn("the templates could not be asked for", "tenant", s.t.ID, "account", s.id, "error", e)
		default:
			failures = 0
		}
		due = time.Now().Add(wait)
	}
}

// pause waits, and reports whether it did to the end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// wait waits until something is to be asked for, and says whether that is all; if not,
// it is what some names. When ctx ends, it returns.
func (s *templateSync) wait(ctx context.Context, due time.Time) (all bool) {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-timer.C:
		return true
	case <-s.now:
		return true
	case <-s.want:
	}
	settle := time.NewTimer(templateSettle)
	defer settle.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-s.now:
		return true
	case <-settle.C:
		return false
	}
}

// some are the names that are to be asked for; nil is all.
func (s *templateSync) some() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.names))
	s.names = nil
	if len(names) > maxTemplateNames {
		return nil
	}
	return names
}

// syncSome asks for the templates of some names.
func (s *templateSync) syncSome(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return core.Errorf(core.CodeInvalid, "templates", "too many to ask for one by one")
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	for _, name := range names {
		asked := time.Now().UTC()
		all, err := s.api.Find(ctx, name)
		if err == nil {
			err = s.takeOver(ctx, all, asked, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// kick has an account's templates of a name asked for soon.
func (r *templates) kick(account, name string) {
	for id, s := range r.syncs {
		if account != "" && id != account {
			continue
		}
		s.mu.Lock()
		if s.names == nil {
			s.names = map[string]bool{}
		}
		if len(s.names) <= maxTemplateNames {
			s.names[name] = true
		}
		s.mu.Unlock()
		select {
		case s.want <- struct{}{}:
		default:
		}
	}
}

// enter waits until nobody else asks WhatsApp about the account.
func (s *templateSync) enter(ctx context.Context) error {
	select {
	case s.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		e := core.Errorf(core.CodeUnavailable, "templates", "WhatsApp is being asked about the templates of account %s", s.id)
		e.Hint = "try again in a minute"
		return e
	}
}

func (s *templateSync) leave() { <-s.busy }

// sync asks for all templates of the account, and takes them over.
func (s *templateSync) sync(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	asked := time.Now().UTC()
	all, err := s.api.List(ctx)
	if err == nil {
		err = s.takeOver(ctx, all, asked, true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Error, s.err, s.begun = "", err, asked
	if err != nil {
		s.last.Error = core.AsError(err).Error()
	}
	close(s.over)
	s.over = make(chan struct{})
	return err
}

// ask has the templates asked for now, and waits for what comes of it.
func (s *templateSync) ask(ctx context.Context) (TemplateSync, error) {
	since := time.Now().UTC()
	for {
		s.mu.Lock()
		last, begun, over, err := s.last, s.begun, s.over, s.err
		s.mu.Unlock()
		if !begun.Before(since) {
			return last, err
		}
		select {
		case s.now <- struct{}{}:
		default:
		}
		select {
		case <-over:
		case <-ctx.Done():
			e := core.Errorf(core.CodeUnavailable, "template sync", "WhatsApp's list of account %s takes long", s.id)
			e.Hint = "it goes on: see `wabridge template list`"
			return last, e
		}
	}
}

// takeOver takes over what WhatsApp listed, whole or not: of a whole list, what is not
// in it is gone.
func (s *templateSync) takeOver(ctx context.Context, all []template.Told, asked time.Time, whole bool) error {
	type change struct {
		key       string
		was, next *knownTemplate
	}
	var puts []store.Put
	var changes []change
	r := &s.t.templates
	r.mu.Lock()
	keep := func(key string, was, next *knownTemplate) {
		if was == nil {
			was = &nothingTold
		}
		again := r.touched[key] // an event's own put may come after ours
		delete(r.touched, key)
		r.told[key] = next
		switch {
		case differs(was, next):
			changes = append(changes, change{key, was, next})
		case !again:
			return
		}
		puts = append(puts, store.Put{Key: store.Key{Tenant: s.t.ID, Bucket: bucketTemplates, Key: key}, Value: mustJSON(next)})
	}
	listed := map[string]bool{}
	for i := range all {
		d := &all[i]
		if d.Name == "" || len(d.Name)+len(d.Language) > 600 || len(listed) >= maxTemplates {
			continue
		}
		key := templateKey(s.id, d.Name, d.Language)
		listed[key] = true
		was := r.told[key]
		if was == nil { // perhaps something was told before the account was known
			was = r.told[templateKey("", d.Name, d.Language)]
		}
		if was == nil {
			was = &nothingTold
		}
		next := was.with(&core.TemplateChange{
			Name: d.Name, Language: d.Language, Category: d.Category, Status: d.Status, Quality: d.Quality, Reason: d.Reason, ID: d.ID, Account: s.id,
		}, asked, "sync")
		next.Definition, next.Synced = &d.Definition, asked
		keep(key, r.told[key], next)
	}
	if whole {
		for key, was := range r.told {
			if was.Account != s.id || listed[key] || was.Status == statusDeleted || was.Since.After(asked) {
				continue
			}
			next := was.with(&core.TemplateChange{Name: was.Name, Language: was.Language, Status: statusDeleted}, asked, "sync")
			keep(key, was, next)
		}
	}
	r.mu.Unlock()

	for page := range slices.Chunk(puts, 500) {
		if _, err := s.t.b.settle(ctx, store.Settlement{Put: page}); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if c.was.Status != c.next.Status && c.was.Status != "" {
			s.t.b.log.Info("WhatsApp has a template in another state", "tenant", s.t.ID, "account", s.id, "template", c.next.Name, "language", c.next.Language,
				"status", c.next.Status, "reason", c.next.Reason)
		}
		s.t.templateStands(c.key, c.was, c.next)
	}
	if whole {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last.Synced, s.last.Next, s.last.Templates, s.last.Changed = asked, asked.Add(s.each), len(listed), nil
		for _, c := range changes {
			if len(s.last.Changed) < 100 {
				s.last.Changed = append(s.last.Changed, c.next.Name+"/"+c.next.Language)
			}
		}
		slices.Sort(s.last.Changed)
	}
	return nil
}

// differs reports whether there is something new in what is known, beside that
// WhatsApp was asked again.
func differs(a, b *knownTemplate) bool {
	x, y := *a, *b
	x.Synced, y.Synced = time.Time{}, time.Time{}
	return string(mustJSON(x)) != string(mustJSON(y))
}

// templateTold does what follows from an event about a template.
func (t *tenant) templateTold(key string, was, next *knownTemplate) {
	t.templates.kick(next.Account, next.Name)
	t.templateStands(key, was, next)
}

// templateStands has the sends of a template looked at again whose state or category
// has changed: they may go now, or may not any more.
func (t *tenant) templateStands(key string, was, next *knownTemplate) {
	now := time.Now()
	free := was.onHold(now) != "" && next.onHold(now) == ""
	moved := was.Category != "" && was.Category != next.Category
	if !free && !moved {
		return
	}
	select {
	case t.templates.released <- key:
	default: // they are looked at when their time has come
	}
}

// Bounds of one release: what is not found is looked at when its time has come.
const (
	releasePage  = 500
	releasePages = 100
)

// allReleased are the keys that there are to release, the first among them.
func (r *templates) allReleased(first string) map[string]bool {
	all := map[string]bool{first: true}
	for {
		select {
		case key := <-r.released:
			all[key] = true
		default:
			return all
		}
	}
}

// release has the sends that wait with some templates decided now.
func (t *tenant) release(ctx context.Context, keys map[string]bool) {
	_ = t.eachWaiting(ctx, func(ds []store.Delivery) error {
		var s store.Settlement
		for _, d := range ds {
			e := eventOf(d)
			if !keys[t.templates.keyOf(e)] {
				continue
			}
			s.Drop = append(s.Drop, d)
			s.Add = append(s.Add, store.Item{Queue: t.queue, ID: d.ID, Order: e.Conversation, Class: classOf(e), Data: d.Data, Value: e})
		}
		if len(s.Add) == 0 {
			return nil
		}
		if _, err := t.b.settle(ctx, s); err != nil { // one of them is due just now: the others come later
			return err
		}
		t.depth.Add(int64(len(s.Add)))
		t.waiting.Add(-int64(len(s.Add)))
		return nil
	})
}

// eachWaiting looks at what waits for its time, a page at a time.
func (t *tenant) eachWaiting(ctx context.Context, look func([]store.Delivery) error) error {
	after := uint64(0)
	for range releasePages {
		ds, err := t.b.o.Store.Peek(ctx, queueOf(t.ID, queueTimers), after, releasePage)
		if err != nil || len(ds) == 0 {
			return err
		}
		if err := look(ds); err != nil {
			return err
		}
		after = ds[len(ds)-1].Seq
	}
	return nil
}

// keyOf is the key of what is known of the template that an event sends, "" when it
// sends none.
func (r *templates) keyOf(e *core.Event) string {
	if e == nil || e.Kind != core.KindMessageSend || e.Message == nil || e.Message.Template == nil {
		return ""
	}
	m := e.Message.Template
	r.mu.Lock()
	defer r.mu.Unlock()
	key := templateKey(r.accounts[e.Number], m.Name, m.Language)
	if r.told[key] == nil {
		key = templateKey("", m.Name, m.Language)
	}
	return key
}
