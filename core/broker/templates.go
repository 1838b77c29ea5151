package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
)

const bucketTemplates = "templates" // <name>/<language> → core.TemplateChange

// Template is a template as the tenant's settings have it.
type Template struct {
	Name     string
	Language string // "" is all
	Category consent.Category
	// Topics are what suppressions of a topic are about.
	Topics []string
}

// templates knows the category of a tenant's templates. What WhatsApp says comes
// before what is configured: the category is Meta's, and Meta changes it.
type templates struct {
	mu   sync.Mutex
	told map[string]core.TemplateChange // by name/language
}

// maxTemplates bounds what is remembered; an account has 6,000 at most.
const maxTemplates = 20_000

func templateKey(name, language string) string { return name + "/" + language }

// restore reads what WhatsApp said before.
func (r *templates) restore(t *tenant) error {
	r.told = map[string]core.TemplateChange{}
	for after := ""; ; {
		const page = 500
		entries, err := t.b.o.Store.Range(context.Background(), t.ID, bucketTemplates, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			var c core.TemplateChange
			if json.Unmarshal(e.Value, &c) == nil {
				r.told[e.Key] = c
			}
			after = e.Key
		}
		if len(entries) < page {
			return nil
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
	t.templates.mu.Lock()
	defer t.templates.mu.Unlock()
	key := templateKey(c.Name, c.Language)
	now, known := t.templates.told[key]
	next := *c
	if next.Category == "" { // a status alone
		next.Category, next.Next, next.NextAt = now.Category, now.Next, now.NextAt
	}
	next.Status = or(next.Status, now.Status) // a category alone
	if !known && len(t.templates.told) >= maxTemplates {
		u.note("too many templates: not remembered")
		return
	}
	t.templates.told[key] = next
	u.s.Put = append(u.s.Put, store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketTemplates, Key: key}, Value: mustJSON(next)})
	if c.Status != "" && c.Status != now.Status {
		u.note("WhatsApp has " + c.Name + " (" + c.Language + ") as " + strings.ToLower(c.Status))
	}
	if was := t.configured(c.Name, c.Language); next.Category != "" && was != nil && string(was.Category) != next.Category {
		u.note("WhatsApp has " + c.Name + " in the category " + next.Category + ", the settings in " + string(was.Category) + ": WhatsApp's counts")
	}
}

func (t *tenant) configured(name, language string) *Template {
	for i := range t.Policy.Templates {
		if c := &t.Policy.Templates[i]; c.Name == name && (c.Language == language || c.Language == "" || language == "") {
			return c
		}
	}
	return nil
}

// category is a template's current one, and the topics it is about. Of a template
// that nobody told of, it is marketing: the strictest.
func (t *tenant) category(tpl *core.Template, now time.Time) (consent.Category, []string) {
	category, topics := consent.CategoryMarketing, []string(nil)
	if c := t.configured(tpl.Name, tpl.Language); c != nil {
		category, topics = c.Category, c.Topics
	}
	told := t.templates.of(tpl)
	if told.Category != "" {
		category = consent.ParseCategory(told.Category)
	}
	if told.Next != "" && !now.Before(told.NextAt) {
		category = consent.ParseCategory(told.Next)
	}
	return category, topics
}

// of is what WhatsApp told of a template.
func (r *templates) of(tpl *core.Template) core.TemplateChange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told[templateKey(tpl.Name, tpl.Language)]
}

// ended says why WhatsApp sends nothing with a template any more, or "". What it
// has not told of is its business.
func (r *templates) ended(m *core.Message) string {
	if m.Type != core.TypeTemplate || m.Template == nil {
		return ""
	}
	switch status := r.of(m.Template).Status; status {
	case "REJECTED", "DISABLED", "DELETED":
		return fmt.Sprintf("WhatsApp has the template %s (%s) as %s: it sends nothing with it", m.Template.Name, m.Template.Language, strings.ToLower(status))
	}
	return ""
}

// A template that WhatsApp pauses, for some hours, holds its sends. They are looked
// at again after a quarter of the time that they have waited.
const (
	leastHold = time.Minute
	mostHold  = time.Hour
)

// holds says until when a send is put off because its template is paused, or, once
// it has waited for as long as a dead letter would, why it is refused.
func (t *tenant) holds(u *turn, m *core.Message) (until time.Time, why string) {
	if m.Type != core.TypeTemplate || m.Template == nil || t.templates.of(m.Template).Status != "PAUSED" {
		return time.Time{}, ""
	}
	now, since := u.step.Time, u.step.Time
	if u.e.Kind == core.KindMessageSend {
		since = u.e.Time
	}
	paused := fmt.Sprintf("WhatsApp has paused the template %s (%s)", m.Template.Name, m.Template.Language)
	deadline := since.Add(t.DeadAfter)
	if !now.Before(deadline) {
		return time.Time{}, fmt.Sprintf("%s, and had not enabled it again after %s (dead_letter_deadline)", paused, t.DeadAfter)
	}
	until = now.Add(min(max(now.Sub(since)/4, leastHold), mostHold))
	if until.After(deadline) {
		until = deadline
	}
	u.note(paused + ": put off until " + until.UTC().Format(time.RFC3339))
	return until, ""
}
