package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/template"
)

const bucketTemplates = "templates" // [<account>/]<name>/<language> → knownTemplate

// Template is a template as the tenant's settings have it.
type Template struct {
	Name     string
	Language string // "" is all
	Category consent.Category
	// Topics are what suppressions of a topic are about.
	Topics []string
	// Params are the names of the body's parameters, or how many there are; nil when
	// the settings do not say.
	Params any
}

// templates knows the tenant's templates. What WhatsApp says comes before what is
// configured: the category is Meta's, and Meta changes it.
type templates struct {
	mu   sync.Mutex
	told map[string]*knownTemplate // by templateKey; a value is never changed, but replaced
	// accounts are the business accounts, by their numbers.
	accounts map[string]string
	// touched are keys that events changed since the last sync.
	touched map[string]bool

	syncs map[string]*templateSync // by account: those whose templates can be asked for
	// released are keys of templates whose sends need not wait any more, or must be
	// looked at again.
	released chan string
}

// knownTemplate is what WhatsApp told of a template, by events and when it was
// asked.
type knownTemplate struct {
	core.TemplateChange
	// Since is when the status became what it is.
	Since time.Time `json:"since,omitzero"`
	// HeldUntil is when its sends go again that wait because WhatsApp dropped one of them,
	// unless it says something else of the template before; HeldSince is when it began to.
	HeldUntil time.Time `json:"held_until,omitzero"`
	HeldSince time.Time `json:"held_since,omitzero"`
	// Definition is what the template says; nil when WhatsApp was not asked.
	Definition *template.Definition `json:"definition,omitempty"`
	// Synced is when WhatsApp last listed it.
	Synced  time.Time      `json:"synced,omitzero"`
	History []TemplateStep `json:"history,omitempty"`
}

// Bounds of what is remembered; an account has 6,000 templates at most.
const (
	maxTemplates     = 20_000
	maxTemplateSteps = 50 // the latest
)

func templateKey(account, name, language string) string {
	key := name + "/" + language
	if account != "" {
		key = account + "/" + key
	}
	return key
}

// statusDeleted is what the bridge calls a template that the account has no more.
const statusDeleted = "DELETED"

func (r *templates) init(t *tenant) {
	r.touched, r.accounts = map[string]bool{}, map[string]string{}
	r.syncs, r.released = map[string]*templateSync{}, make(chan string, 64)
	for _, n := range t.Numbers {
		r.accounts[n.ID] = n.Account
	}
	for _, a := range t.Accounts {
		r.syncs[a.ID] = newTemplateSync(t, a)
	}
}

// restore reads what WhatsApp said before.
func (r *templates) restore(t *tenant) (err error) {
	r.told, err = toldBefore(context.Background(), t.b.o.Store, t.ID)
	return err
}

// toldBefore is what is stored of a tenant's templates, by key.
func toldBefore(ctx context.Context, s store.Store, tenant string) (map[string]*knownTemplate, error) {
	out := map[string]*knownTemplate{}
	for after := ""; ; {
		const page = 500
		entries, err := s.Range(ctx, tenant, bucketTemplates, after, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			var c knownTemplate
			if json.Unmarshal(e.Value, &c) == nil {
				out[e.Key] = &c
			}
			after = e.Key
		}
		if len(entries) < page {
			return out, nil
		}
	}
}

// templateChanged takes over what WhatsApp says of a template.
func (t *tenant) templateChanged(u *turn) {
	u.tell = nil
	c := u.e.TemplateChange
	if c == nil || c.Name == "" || len(c.Name)+len(c.Language) > 600 {
		u.note("the event names no template")
		return
	}
	r := &t.templates
	r.mu.Lock()
	defer r.mu.Unlock()
	key := templateKey(c.Account, c.Name, c.Language)
	was := r.told[key]
	if was == nil && len(r.told) >= maxTemplates {
		u.note("too many templates: not remembered")
		return
	}
	if was == nil {
		was = &knownTemplate{}
	}
	next := was.with(c, u.e.Time, "webhook")
	r.told[key], r.touched[key] = next, true
	u.s.Put = append(u.s.Put, store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketTemplates, Key: key}, Value: mustJSON(next)})
	if c.Status != "" && c.Status != was.Status {
		u.note("WhatsApp has " + c.Name + " (" + c.Language + ") as " + strings.ToLower(c.Status) + forReason(c.Reason))
	}
	if was := t.configured(c.Name, c.Language); next.Category != "" && was != nil && string(was.Category) != next.Category {
		u.note("WhatsApp has " + c.Name + " in the category " + next.Category + ", the settings in " + string(was.Category) + ": WhatsApp's counts")
	}
	u.afterwards(func(stored bool) {
		if stored {
			t.templateTold(key, was, next)
		}
	})
}

func forReason(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// with is what is known once WhatsApp has told more.
func (k *knownTemplate) with(c *core.TemplateChange, at time.Time, from string) *knownTemplate {
	next := *k
	next.TemplateChange = *c
	if next.Category == "" { // a status alone
		next.Category, next.Next, next.NextAt = k.Category, k.Next, k.NextAt
	}
	if next.Next == "" && next.Category == k.Category && at.Before(k.NextAt) { // what was announced is still to come
		next.Next, next.NextAt = k.Next, k.NextAt
	}
	next.Status = cmp.Or(next.Status, k.Status) // a category alone
	next.Quality = cmp.Or(next.Quality, k.Quality)
	next.ID = cmp.Or(next.ID, k.ID)
	next.Account = cmp.Or(next.Account, k.Account)
	if c.Status == "" || c.Status == k.Status {
		next.Reason = cmp.Or(c.Reason, k.Reason)
	}
	if next.Status != k.Status {
		next.Since = at.UTC()
	}
	if next.Status != k.Status || c.Status != "" && from == "webhook" && !at.Before(k.HeldUntil.Add(-mostHold)) {
		next.HeldUntil, next.HeldSince = time.Time{}, time.Time{}
	}
	if next.Status == k.Status && next.Category == k.Category && next.Quality == k.Quality && next.Reason == k.Reason && next.Next == k.Next {
		return &next
	}
	steps := append([]TemplateStep(nil), k.History...)
	steps = append(steps, TemplateStep{
		At: at.UTC(), From: from, Status: next.Status, Category: next.Category, Next: next.Next, NextAt: next.NextAt, Quality: next.Quality, Reason: next.Reason,
	})
	next.History = steps[max(0, len(steps)-maxTemplateSteps):]
	return &next
}

func (t *tenant) configured(name, language string) *Template {
	return configured(t.Policy.Templates, name, language)
}

func configured(all []Template, name, language string) *Template {
	for i := range all {
		if c := &all[i]; c.Name == name && (c.Language == language || c.Language == "" || language == "") {
			return c
		}
	}
	return nil
}

// category is the current one of a template that a number sends, and the topics it
// is about. Of a template that nobody told of, it is marketing: the strictest.
func (t *tenant) category(number string, tpl *core.Template, now time.Time) (consent.Category, []string) {
	category, topics := consent.CategoryMarketing, []string(nil)
	if c := t.configured(tpl.Name, tpl.Language); c != nil {
		category, topics = c.Category, c.Topics
	}
	told := t.templates.of(number, tpl)
	if told.Category != "" {
		category = consent.ParseCategory(told.Category)
	}
	if told.Next != "" && !now.Before(told.NextAt) {
		category = consent.ParseCategory(told.Next)
	}
	return category, topics
}

var nothingTold knownTemplate

// of is what WhatsApp told of a template of the account that a number is in.
func (r *templates) of(number string, tpl *core.Template) *knownTemplate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if account := r.accounts[number]; account != "" {
		if k := r.told[templateKey(account, tpl.Name, tpl.Language)]; k != nil {
			return k
		}
	}
	if k := r.told[templateKey("", tpl.Name, tpl.Language)]; k != nil { // nobody said of which account
		return k
	}
	return &nothingTold
}

// definition returns what WhatsApp has as the template that a number sends, nil
// when it is not known. It must not be changed.
func (t *tenant) definition(number string, tpl *core.Template) *template.Definition {
	return t.templates.of(number, tpl).Definition
}

// misfit says why WhatsApp would refuse the message for its template's parameters,
// or nil; so far as it is known what the template asks for.
func (t *tenant) misfit(number string, m *core.Message) error {
	if m.Type != core.TypeTemplate || m.Template == nil {
		return nil
	}
	if d := t.definition(number, m.Template); d != nil {
		return d.Check(m.TemplateComponents())
	}
	return nil
}

// ended says why WhatsApp sends nothing with a template any more, or "". What it
// has not told of is its business.
func (r *templates) ended(number string, m *core.Message) string {
	if m.Type != core.TypeTemplate || m.Template == nil {
		return ""
	}
	return r.of(number, m.Template).ended(m)
}

func (k *knownTemplate) ended(m *core.Message) string {
	switch k.Status {
	case "REJECTED", "DISABLED", statusDeleted, "PENDING_DELETION", "ARCHIVED":
		return fmt.Sprintf("WhatsApp has the template %s (%s) as %s%s: it sends nothing with it", m.Template.Name, m.Template.Language, strings.ToLower(k.Status), forReason(k.Reason))
	}
	return ""
}

// A template that WhatsApp pauses, for some hours, or looks at, for a day, holds its
// sends. They are looked at again after a quarter of the time that they have waited.
const (
	leastHold = time.Minute
	mostHold  = time.Hour
)

// onHold says in which state a template is that may be sent again, "" when it may
// be now.
func (k *knownTemplate) onHold(now time.Time) string {
	switch k.Status {
	case "PAUSED":
		return "WhatsApp has paused"
	case "PENDING", "IN_APPEAL":
		return "WhatsApp has not yet approved"
	case "LIMIT_EXCEEDED", "LOCKED":
		return "WhatsApp has locked"
	}
	if now.Before(k.HeldUntil) {
		return "WhatsApp dropped a message with"
	}
	return ""
}

// lookAt is when a send that waits since a time is looked at again.
func (k *knownTemplate) lookAt(since, now, deadline time.Time) time.Time {
	at := now.Add(min(max(now.Sub(since)/4, leastHold), mostHold))
	if now.Before(k.HeldUntil) {
		at = k.HeldUntil
	}
	if at.After(deadline) {
		at = deadline
	}
	return at.UTC()
}

// held says what holds the sends of a template, if anything does.
func (k *knownTemplate) held(tpl *core.Template, now time.Time) string {
	state := k.onHold(now)
	if state == "" {
		return ""
	}
	return fmt.Sprintf("%s the template %s (%s)%s", state, tpl.Name, tpl.Language, forReason(k.Reason))
}

// holds says until when a send is put off because its template may not be sent now,
// or, once it has waited for as long as a dead letter would, why it is refused.
func (t *tenant) holds(u *turn, m *core.Message) (until time.Time, why string) {
	if m.Type != core.TypeTemplate || m.Template == nil {
		return time.Time{}, ""
	}
	k := t.templates.of(u.e.Number, m.Template)
	held := k.held(m.Template, u.step.Time)
	if held == "" {
		return time.Time{}, ""
	}
	now, since := u.step.Time, u.step.Time
	if u.e.Kind == core.KindMessageSend {
		since = u.e.Time
	}
	deadline := since.Add(t.DeadAfter)
	if !now.Before(deadline) {
		return time.Time{}, fmt.Sprintf("%s, and had not enabled it again after %s (dead_letter_deadline)", held, t.DeadAfter)
	}
	until = k.lookAt(since, now, deadline)
	if u.e.Kind == core.KindMessageSend { // the step is this message's own
		u.step.Until, u.step.Limit = until, LimitTemplate
	}
	u.note(held + ": put off until " + until.Format(time.RFC3339))
	return until, ""
}
