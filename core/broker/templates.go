package broker

import (
	"context"
	"encoding/json"
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
	if !known && len(t.templates.told) >= maxTemplates {
		u.note("too many templates: not remembered")
		return
	}
	t.templates.told[key] = next
	u.s.Put = append(u.s.Put, store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketTemplates, Key: key}, Value: mustJSON(next)})
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
	t.templates.mu.Lock()
	told := t.templates.told[templateKey(tpl.Name, tpl.Language)]
	t.templates.mu.Unlock()
	if told.Category != "" {
		category = consent.ParseCategory(told.Category)
	}
	if told.Next != "" && !now.Before(told.NextAt) {
		category = consent.ParseCategory(told.Next)
	}
	return category, topics
}
