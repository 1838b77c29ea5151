package broker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// WhatsApp says in its answer to a send, or later in a status, that it does not send with a
// template. That holds for what else is to be sent with it: so it waits, or is refused, and
// is not tried one by one.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes

const (
	// codeTemplatePaused is WhatsApp's error for a template that is paused, and for a message
	// that it drops because it paces the template.
	codeTemplatePaused = "132015"
	// codeTemplateDisabled is its error for a template that it has disabled for good.
	codeTemplateDisabled = "132016"
)

// refusedAt takes note of what a code says of a template, at a time: that it is held until
// then, or disabled. What WhatsApp has told of it since counts more. It returns the put, to be
// stored with what follows, and the words; nil when nothing is new.
func (t *tenant) refusedAt(number string, tpl *core.Template, code, from string, at, until time.Time) (put *store.Put, note string) {
	r := &t.templates
	key := r.keyOf(&core.Event{Kind: core.KindMessageSend, Number: number, Message: &core.Message{Template: tpl}})
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.told[key]
	if was == nil {
		if len(r.told) >= maxTemplates {
			return nil, ""
		}
		was = &knownTemplate{TemplateChange: core.TemplateChange{Name: tpl.Name, Language: tpl.Language, Account: r.accounts[number]}}
	}
	next := was
	switch {
	case !was.Since.Before(at):
	case code == codeTemplatePaused && until.After(was.HeldUntil):
		held := *was
		if at.Sub(was.HeldUntil) > mostHold {
			held.HeldSince = at.UTC()
		}
		held.HeldUntil = until.UTC()
		next = &held
		note = fmt.Sprintf("WhatsApp does not send with the template %s (%s) now: its messages are put off, until %s at the latest", tpl.Name, tpl.Language, held.HeldUntil.Format(time.RFC3339))
	case code == codeTemplateDisabled:
		next = was.with(&core.TemplateChange{Name: tpl.Name, Language: tpl.Language, Status: "DISABLED", Account: was.Account}, at, from)
		note = "WhatsApp has disabled the template " + tpl.Name + " (" + tpl.Language + "): it sends nothing with it any more"
	}
	if next == was {
		return nil, ""
	}
	r.told[key], r.touched[key] = next, true
	return &store.Put{Key: store.Key{Tenant: t.ID, Bucket: bucketTemplates, Key: key}, Value: mustJSON(next)}, note
}

// templateFailed takes note that WhatsApp did not deliver a message because of its template:
// it holds the template's other messages, or refuses them, and is asked how the template is.
func (t *tenant) templateFailed(u *turn, in *intent, code string) {
	name, language, _ := strings.Cut(in.Template, "/")
	until := u.e.Time.Add(mostHold)
	if code != codeTemplatePaused || u.step.Time.Before(until) { // else it is of this morning
		put, note := t.refusedAt(in.Number, &core.Template{Name: name, Language: language}, code, "webhook", u.e.Time, until)
		if put != nil {
			u.s.Put = append(u.s.Put, *put)
			u.note(note)
		}
	}
	u.afterwards(func(stored bool) {
		if stored {
			t.templates.kick(t.templates.accounts[in.Number], name)
		}
	})
}

// templateRefused takes note of an answer about a template: it holds the template's other
// messages, or refuses them, and WhatsApp is asked how the template is. It reports whether the
// send is only put off.
//
// Nobody may ever say that the template is good again. So its messages go again after a
// minute, and each time that WhatsApp refuses one then, after twice as long.
func (l *lane) templateRefused(s *store.Settlement, d store.Delivery, e *core.Event, err *core.Error, now time.Time, step *Step) bool {
	if err == nil || !strings.HasPrefix(err.Vendor, "1320") || e.Message == nil || e.Message.Template == nil {
		return false
	}
	l.t.templates.kick(l.t.templates.accounts[e.Number], e.Message.Template.Name)
	code, _, _ := strings.Cut(err.Vendor, "/")
	k := l.t.templates.of(e.Number, e.Message.Template)
	if k.onHold(now) == "" {
		since := k.HeldSince
		if now.Sub(k.HeldUntil) > mostHold {
			since = now
		}
		until := now.Add(min(max(now.Sub(since), leastHold), mostHold))
		if put, note := l.t.refusedAt(e.Number, e.Message.Template, code, "answer", now, until); put != nil {
			s.Put = append(s.Put, *put)
			step.Notes = append(step.Notes, note)
		}
		k = l.t.templates.of(e.Number, e.Message.Template)
	}
	deadline := e.Time.Add(l.t.DeadAfter)
	if code != codeTemplatePaused || !now.Before(deadline) {
		return false
	}
	until := k.lookAt(e.Time, now, deadline)
	step.Step, step.Until, step.Limit = "retry", until, LimitTemplate
	step.Notes = append(step.Notes, "WhatsApp does not send with the template now: put off until "+until.Format(time.RFC3339))
	s.Ack = append(s.Ack, d)
	l.t.later(s, e, until)
	return true
}

// heldByTemplate takes out of a batch what waits because WhatsApp does not send with its
// template now. It is decided anew when the template may be sent again, or has had its time.
func (l *lane) heldByTemplate(ctx context.Context, ds []store.Delivery) []store.Delivery {
	now := time.Now().UTC()
	var s store.Settlement
	may := ds[:0:0]
	for _, d := range ds {
		e := eventOf(d)
		if e.Message == nil || e.Message.Type != core.TypeTemplate || e.Message.Template == nil || len(d.Mark) > 0 {
			may = append(may, d)
			continue
		}
		k := l.t.templates.of(e.Number, e.Message.Template)
		held := k.held(e.Message.Template, now)
		if held == "" {
			may = append(may, d)
			continue
		}
		l.putOff(&s, d, e, now, k.lookAt(e.Time, now, e.Time.Add(l.t.DeadAfter)), LimitTemplate, held)
	}
	if len(s.Ack) == 0 {
		return ds
	}
	if _, err := l.b.settle(ctx, s); err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	return may
}
