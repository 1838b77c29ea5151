package broker

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/template"
)

// templateAnswer bounds how long somebody waits for WhatsApp's answer about templates.
const templateAnswer = 25 * time.Second

// TemplateRequest asks for a template to be made or edited.
type TemplateRequest struct {
	Tenant string `json:"tenant,omitempty"`
	// Account is the business account (WABA); a tenant with one needs none.
	Account  string         `json:"account,omitempty"`
	Template template.Draft `json:"template"`
}

// TemplateName names a template; of some requests, all languages of a name.
type TemplateName struct {
	Tenant   string `json:"tenant,omitempty"`
	Account  string `json:"account,omitempty"`
	Name     string `json:"name"`
	Language string `json:"language,omitempty"`
}

// TemplateReceipt says what came of a request about a template.
type TemplateReceipt struct {
	// Done is "created", "edited", "deleted" or "unpaused"; "unchanged" when it was like
	// that already.
	Done      string           `json:"done"`
	Templates []TemplateStatus `json:"templates"`
	// Problems are what Meta might not like, and has taken for now.
	Problems []template.Problem `json:"problems,omitempty"`
}

// LintTemplate says what is wrong with a template: what Meta does not take, and what
// marketing lacks.
func (b *Broker) LintTemplate(tenant string, draft template.Draft) ([]template.Problem, error) {
	t, err := b.tenantOf(tenant, "template lint")
	if err != nil {
		return nil, err
	}
	d := draft.Definition()
	return LintTemplate(&d, t.Policy.Sender), nil
}

// LintTemplate says what is wrong with a definition, for a tenant whom people know by
// some names.
func LintTemplate(d *template.Definition, sender []string) []template.Problem {
	out := template.Lint(d)
	c := consent.Template{Category: consent.ParseCategory(d.Category), Sender: sender}
	for _, part := range d.Components {
		switch strings.ToUpper(part.Type) {
		case template.Body:
			c.Body = part.Text
		case template.Footer:
			c.Footer = part.Text
		case template.Buttons:
			for _, button := range part.Buttons {
				c.Buttons = append(c.Buttons, button.Text)
			}
		}
	}
	for _, text := range consent.Lint(c) {
		what, hint, _ := strings.Cut(text, ": ")
		out = append(out, template.Problem{Text: what, Hint: hint})
	}
	return out
}

// linted returns a draft's definition, or an error that names all that is wrong with it.
func (t *tenant) linted(op string, draft *template.Draft) (template.Definition, []template.Problem, error) {
	d := draft.Definition()
	var wrong, perhaps []template.Problem
	for _, p := range LintTemplate(&d, t.Policy.Sender) {
		if p.Perhaps {
			perhaps = append(perhaps, p)
		} else {
			wrong = append(wrong, p)
		}
	}
	if len(wrong) == 0 {
		return d, perhaps, nil
	}
	var texts, hints []string
	for _, p := range wrong {
		texts = append(texts, p.Text)
		if p.Hint != "" && !slices.Contains(hints, p.Hint) {
			hints = append(hints, p.Hint)
		}
	}
	e := core.Errorf(core.CodeInvalid, op, "%s: %s", d.Name, strings.Join(texts, "; "))
	e.Hint = strings.Join(hints, "; ")
	return d, nil, e
}

// account returns the account that a request is about.
func (t *tenant) account(op, id string) (*templateSync, error) {
	switch s := t.templates.syncs[id]; {
	case len(t.templates.syncs) == 0:
		return nil, t.noAccount(op)
	case s != nil:
		return s, nil
	case id != "":
		return nil, core.Errorf(core.CodeInvalid, op, "tenant %s has no number in the account %.40q", t.ID, id)
	case len(t.Accounts) > 1:
		var ids []string
		for _, a := range t.Accounts {
			ids = append(ids, a.ID)
		}
		return nil, core.Errorf(core.CodeInvalid, op, "say which account: %s", strings.Join(ids, ", "))
	}
	return t.templates.syncs[t.Accounts[0].ID], nil
}

// CreateTemplate makes a template. To ask twice makes it once: what is there already
// and says the same is an answer, what says something else an error. When it is not
// known what came of it (core.CodeUnknownOutcome), ask again.
func (b *Broker) CreateTemplate(ctx context.Context, r TemplateRequest) (TemplateReceipt, error) {
	const op = "template create"
	return b.withDraft(ctx, op, r, func(ctx context.Context, s *templateSync, d template.Definition, there []template.Told) (string, []template.Told, error) {
		done := "unchanged"
		if len(there) == 0 {
			done = "created"
			made, err := s.api.Create(ctx, d)
			switch {
			case core.CodeOf(err) == core.CodeUnknownOutcome:
				if there, _ = s.find(ctx, d.Name, d.Language); len(there) == 0 {
					e := *core.AsError(err)
					e.Hint = "ask again: it is looked for first, and not made twice"
					return "", nil, &e
				}
			case err != nil:
				return "", nil, err
			default:
				there = []template.Told{made}
			}
		}
		if !template.Same(&there[0].Definition, &d) {
			e := core.Errorf(core.CodeUndeliverable, op, "%s (%s) is there already, and says something else", d.Name, d.Language)
			e.Hint = "edit it, or take another name: `wabridge template edit`"
			return "", nil, e
		}
		return done, there, nil
	})
}

// find asks WhatsApp for a template, for all languages if that is "".
func (s *templateSync) find(ctx context.Context, name, language string) ([]template.Told, error) {
	all, err := s.api.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t template.Told) bool { return language != "" && t.Language != language }), nil
}

// receipt takes over what WhatsApp says now, and shows it. The caller has entered.
func (s *templateSync) receipt(ctx context.Context, done string, all []template.Told, problems []template.Problem) (TemplateReceipt, error) {
	// Since WhatsApp was asked already, what it said is to be kept.
	ctx = context.WithoutCancel(ctx)
	if err := s.takeOver(ctx, all, time.Now().UTC(), false); err != nil {
		return TemplateReceipt{}, err
	}
	out := TemplateReceipt{Done: done, Templates: []TemplateStatus{}, Problems: problems}
	known := s.t.templates.all()
	for _, told := range all {
		if k := known[templateKey(s.id, told.Name, told.Language)]; k != nil {
			out.Templates = append(out.Templates, k.view(s.t.ID, s.t.Policy.Templates, 0))
		}
	}
	return out, nil
}

// EditTemplate replaces what a template says. WhatsApp then looks at it anew, and its
// messages wait meanwhile.
func (b *Broker) EditTemplate(ctx context.Context, r TemplateRequest) (TemplateReceipt, error) {
	const op = "template edit"
	return b.withDraft(ctx, op, r, func(ctx context.Context, s *templateSync, d template.Definition, there []template.Told) (string, []template.Told, error) {
		if len(there) == 0 {
			return "", nil, noTemplate(op, d.Name, d.Language)
		}
		now, category := &there[0], ""
		if now.Category != d.Category {
			category = d.Category
		}
		refuse := func(hint, format string, args ...any) (string, []template.Told, error) {
			e := core.Errorf(core.CodeUndeliverable, op, format, args...)
			e.Hint = hint
			return "", nil, e
		}
		switch {
		case template.Same(&now.Definition, &d) && category == "" && (d.TTL == 0 || d.TTL == now.TTL):
			return "unchanged", there, nil
		case !slices.Contains([]string{"APPROVED", "REJECTED", "PAUSED"}, now.Status):
			return refuse("wait until it is approved, rejected or paused", "%s (%s) is %s: WhatsApp does not let it be edited now", d.Name, d.Language, strings.ToLower(now.Status))
		case now.Status == "APPROVED" && category != "":
			return refuse("leave the category as it is, or make another template", "%s (%s) is approved as %s: its category cannot be changed to %s", d.Name, d.Language, now.Category, category)
		case now.Named() != d.Named():
			return refuse("make another template", "%s (%s) counts its variables or names them, and that cannot be changed", d.Name, d.Language)
		}
		if err := s.api.Edit(ctx, now.ID, category, d); err != nil {
			return "", nil, err
		}
		there, err := s.find(ctx, d.Name, d.Language)
		if err != nil || len(there) == 0 { // it was done all the same
			s.t.templates.kick(s.id, d.Name)
			now.Components, now.Category, now.Status = d.Components, cmp.Or(category, now.Category), "PENDING"
			there = []template.Told{*now}
		}
		return "edited", there, nil
	})
}

// withDraft does something with a draft that nothing is wrong with, and with what WhatsApp
// has under its name and language.
func (b *Broker) withDraft(ctx context.Context, op string, r TemplateRequest,
	do func(ctx context.Context, s *templateSync, d template.Definition, there []template.Told) (done string, now []template.Told, err error),
) (TemplateReceipt, error) {
	t, err := b.tenantOf(r.Tenant, op)
	if err != nil {
		return TemplateReceipt{}, err
	}
	s, err := t.account(op, r.Account)
	if err != nil {
		return TemplateReceipt{}, err
	}
	d, perhaps, err := t.linted(op, &r.Template)
	if err != nil {
		return TemplateReceipt{}, err
	}
	return s.change(ctx, d.Name, d.Language, perhaps, func(ctx context.Context, there []template.Told) (string, []template.Told, error) {
		return do(ctx, s, d, there)
	})
}

// change changes something about a template while nobody else asks WhatsApp about the
// account, and shows what there is then. do gets what there is before.
func (s *templateSync) change(ctx context.Context, name, language string, problems []template.Problem,
	do func(ctx context.Context, there []template.Told) (done string, now []template.Told, err error),
) (TemplateReceipt, error) {
	ctx, cancel := context.WithTimeout(ctx, templateAnswer)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return TemplateReceipt{}, err
	}
	defer s.leave()
	there, err := s.find(ctx, name, language)
	if err != nil {
		return TemplateReceipt{}, err
	}
	done, there, err := do(ctx, there)
	if err != nil {
		return TemplateReceipt{}, err
	}
	return s.receipt(ctx, done, there, problems)
}

func noTemplate(op, name, language string) error {
	return core.Errorf(core.CodeInvalid, op, "WhatsApp has no template %.100q%s: %w", name, in(language), store.ErrNotFound)
}

// DeleteTemplate deletes a template, or all languages of a name. Its name cannot be
// used for 30 days, and messages that wait for it are refused.
func (b *Broker) DeleteTemplate(ctx context.Context, n TemplateName) (TemplateReceipt, error) {
	return b.withTemplate(ctx, "template delete", "deleted", n, func(ctx context.Context, s *templateSync, there []template.Told) error {
		id := ""
		if n.Language != "" {
			id = there[0].ID
		}
		if err := s.api.Delete(ctx, n.Name, id); err != nil {
			return err
		}
		for i := range there {
			there[i].Status, there[i].Reason = statusDeleted, ""
		}
		return nil
	})
}

// UnpauseTemplate enables a template again that WhatsApp paused for its pace.
func (b *Broker) UnpauseTemplate(ctx context.Context, n TemplateName) (TemplateReceipt, error) {
	return b.withTemplate(ctx, "template unpause", "unpaused", n, func(ctx context.Context, s *templateSync, there []template.Told) error {
		for i := range there {
			if there[i].Status != "PAUSED" {
				continue
			}
			if err := s.api.Unpause(ctx, there[i].ID); err != nil {
				return err
			}
			there[i].Status, there[i].Reason = "APPROVED", ""
		}
		return nil
	})
}

// withTemplate does something to a template that is there.
func (b *Broker) withTemplate(ctx context.Context, op, done string, n TemplateName, do func(context.Context, *templateSync, []template.Told) error) (TemplateReceipt, error) {
	t, err := b.tenantOf(n.Tenant, op)
	if err != nil {
		return TemplateReceipt{}, err
	}
	s, err := t.account(op, n.Account)
	if err != nil {
		return TemplateReceipt{}, err
	}
	return s.change(ctx, n.Name, n.Language, nil, func(ctx context.Context, there []template.Told) (string, []template.Told, error) {
		if len(there) == 0 {
			return "", nil, noTemplate(op, n.Name, n.Language)
		}
		return done, there, do(ctx, s, there)
	})
}
