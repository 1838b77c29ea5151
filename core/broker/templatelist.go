package broker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/template"
)

// TemplateStep is one state that a template was in.
type TemplateStep struct {
	// At is when WhatsApp said so, From how the bridge knows: "webhook", "sync" or the "answer" to a send.
	At       time.Time `json:"at"`
	From     string    `json:"from"`
	Status   string    `json:"status,omitempty"`
	Category string    `json:"category,omitempty"`
	// Next is the category that was announced, NextAt when it takes effect.
	Next    string    `json:"next,omitempty"`
	NextAt  time.Time `json:"next_at,omitzero"`
	Quality string    `json:"quality,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// TemplateStatus is a template as WhatsApp has it, as far as the bridge was told.
type TemplateStatus struct {
	Tenant string `json:"tenant"`
	core.TemplateChange
	// Since is when the status became what it is.
	Since time.Time `json:"since,omitzero"`
	// Sends says what becomes of its messages now: "yes", "held" until WhatsApp allows
	// them again, or "no".
	Sends string `json:"sends"`
	// Waiting is how many messages are put off: those of people's nights, too.
	Waiting int `json:"waiting,omitempty"`
	// Definition is what it says; it is left out of lists, and where WhatsApp was not
	// asked.
	Definition *template.Definition `json:"definition,omitempty"`
	// Variables are those of the body: a message has a value for each.
	Variables []string `json:"variables,omitempty"`
	// Differs says where the settings say something else: WhatsApp's word counts.
	Differs []string `json:"differs,omitempty"`
	// Synced is when WhatsApp last listed it.
	Synced time.Time `json:"synced,omitzero"`
	// History are the states that it was in, the oldest first, at most 50; it is left
	// out of lists.
	History []TemplateStep `json:"history,omitempty"`
}

// TemplateList is what is known of a tenant's templates, by account and name.
type TemplateList struct {
	Templates []TemplateStatus `json:"templates"`
	// Syncs say how far each account's are known.
	Syncs []TemplateSync `json:"syncs"`
}

// Templates lists the templates of a tenant, "" for the only one.
func (b *Broker) Templates(ctx context.Context, tenant string) (TemplateList, error) {
	t, err := b.tenantOf(tenant, "templates")
	if err != nil {
		return TemplateList{}, err
	}
	out := TemplateList{Templates: []TemplateStatus{}, Syncs: []TemplateSync{}}
	waiting, err := t.templates.waiting(ctx, t)
	if err != nil {
		return out, err
	}
	out.Templates = listOf(t.templates.all(), t.ID, t.Policy.Templates, waiting)
	for _, s := range t.templates.syncs {
		out.Syncs = append(out.Syncs, s.status())
	}
	slices.SortFunc(out.Syncs, func(a, b TemplateSync) int { return cmp.Compare(a.Account, b.Account) })
	return out, nil
}

// Template returns all that is known of a template: its languages, or with a language
// that one. None is store.ErrNotFound.
func (b *Broker) Template(ctx context.Context, tenant, name, language string) ([]TemplateStatus, error) {
	t, err := b.tenantOf(tenant, "template")
	if err != nil {
		return nil, err
	}
	waiting, err := t.templates.waiting(ctx, t)
	if err != nil {
		return nil, err
	}
	return detailsOf(t.templates.all(), t.ID, t.Policy.Templates, waiting, name, language)
}

// StoredTemplates lists the templates of a tenant with these settings from the store
// alone, without how many messages wait: for a bridge that does not run.
func StoredTemplates(ctx context.Context, s store.Store, tenant string, settings []Template) (TemplateList, error) {
	told, err := toldBefore(ctx, s, tenant)
	return TemplateList{Templates: listOf(told, tenant, settings, nil), Syncs: []TemplateSync{}}, err
}

// StoredTemplate tells of one in the same way: see [Broker.Template].
func StoredTemplate(ctx context.Context, s store.Store, tenant string, settings []Template, name, language string) ([]TemplateStatus, error) {
	told, err := toldBefore(ctx, s, tenant)
	if err != nil {
		return nil, err
	}
	return detailsOf(told, tenant, settings, nil, name, language)
}

// listOf are templates for a list.
func listOf(told map[string]*knownTemplate, tenant string, settings []Template, waiting map[string]int) []TemplateStatus {
	out := []TemplateStatus{}
	for key, k := range told {
		v := k.view(tenant, settings, waiting[key])
		v.Definition, v.History = nil, nil
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b TemplateStatus) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Language, b.Language))
	})
	return out
}

// detailsOf is all of the templates of a name.
func detailsOf(told map[string]*knownTemplate, tenant string, settings []Template, waiting map[string]int, name, language string) ([]TemplateStatus, error) {
	var out []TemplateStatus
	for key, k := range told {
		if k.Name == name && (language == "" || k.Language == language) {
			out = append(out, k.view(tenant, settings, waiting[key]))
		}
	}
	if len(out) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "template", "WhatsApp has told of no template %.100q%s: %w", name, in(language), store.ErrNotFound)
	}
	slices.SortFunc(out, func(a, b TemplateStatus) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Language, b.Language))
	})
	return out, nil
}

func in(language string) string {
	if language == "" {
		return ""
	}
	return " in " + language
}

// tenantOf returns a tenant, for "" the only one.
func (b *Broker) tenantOf(id, op string) (*tenant, error) {
	if id == "" && len(b.tenants) == 1 {
		for _, t := range b.tenants {
			return t, nil
		}
	}
	if t := b.tenants[id]; t != nil {
		return t, nil
	}
	if id == "" {
		return nil, noTenant(op, id)
	}
	return nil, core.Errorf(core.CodeInvalid, op, "no tenant %q: %w", id, store.ErrNotFound)
}

// noTenant says that there is none of this id, or that one must be named.
func noTenant(op, id string) *core.Error {
	if id == "" {
		return core.Errorf(core.CodeInvalid, op, "say which tenant (--tenant, or the field tenant): there are several")
	}
	return core.Errorf(core.CodeInvalid, op, "no tenant %.60q", id)
}

// all returns what is known, by key.
func (r *templates) all() map[string]*knownTemplate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.told)
}

// waiting counts the messages that are put off, by the keys of their templates.
func (r *templates) waiting(ctx context.Context, t *tenant) (map[string]int, error) {
	out := map[string]int{}
	err := t.eachWaiting(ctx, func(ds []store.Delivery) error {
		for _, d := range ds {
			if key := r.keyOf(eventOf(d)); key != "" {
				out[key]++
			}
		}
		return nil
	})
	return out, err
}

// view shows a template beside what settings say.
func (k *knownTemplate) view(tenant string, settings []Template, waiting int) TemplateStatus {
	v := TemplateStatus{
		Tenant: tenant, TemplateChange: k.TemplateChange, Since: k.Since, Sends: "yes", Waiting: waiting, Definition: k.Definition,
		Synced: k.Synced, History: k.History,
	}
	m := &core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: k.Name, Language: k.Language}}
	switch {
	case k.ended(m) != "":
		v.Sends = "no"
	case k.onHold(time.Now()) != "":
		v.Sends = "held"
	}
	if k.Definition != nil {
		v.Variables = k.Definition.Variables()
	}
	if c := configured(settings, k.Name, k.Language); c != nil {
		v.Differs = k.differs(c)
	}
	return v
}

// differs says where the settings say something else than WhatsApp.
func (k *knownTemplate) differs(c *Template) []string {
	var out []string
	if k.Category != "" && consent.ParseCategory(k.Category) != c.Category {
		out = append(out, fmt.Sprintf("the settings say %s, WhatsApp has %s", c.Category, k.Category))
	}
	if k.Definition == nil || c.Params == nil {
		return out
	}
	want, have := k.Definition.Variables(), paramNames(c.Params)
	if len(want) != len(have) || k.Definition.Named() && !sameNames(want, have) {
		out = append(out, fmt.Sprintf("the settings say %s, WhatsApp wants %s", paramWords(have), paramWords(want)))
	}
	return out
}

// paramNames are the parameters that settings name or count.
func paramNames(params any) []string {
	var n int
	switch v := params.(type) {
	case []any:
		out := make([]string, len(v))
		for i, name := range v {
			out[i], _ = name.(string)
		}
		return out
	case int64:
		n = int(v)
	case int:
		n = v
	}
	out := make([]string, min(max(n, 0), 100))
	for i := range out {
		out[i] = fmt.Sprint(i + 1)
	}
	return out
}

func sameNames(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

func paramWords(names []string) string {
	if len(names) == 0 {
		return "no parameters"
	}
	return "the parameters " + strings.Join(names, ", ")
}

// SyncTemplates asks WhatsApp now for the templates of all of a tenant's accounts.
func (b *Broker) SyncTemplates(ctx context.Context, tenant string) ([]TemplateSync, error) {
	t, err := b.tenantOf(tenant, "template sync")
	if err != nil {
		return nil, err
	}
	if len(t.templates.syncs) == 0 {
		return nil, t.noAccount("template sync")
	}
	ctx, cancel := context.WithTimeout(ctx, templateAnswer)
	defer cancel()
	out := []TemplateSync{}
	for _, a := range t.Accounts {
		s, err := t.templates.syncs[a.ID].ask(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (t *tenant) noAccount(op string) error {
	e := core.Errorf(core.CodeInvalid, op, "tenant %s: the business account (WABA) of its numbers is not known", t.ID)
	e.Hint = "set waba, and an access_token with whatsapp_business_management, at one of its [[numbers]]"
	return e
}
