package broker

import (
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
)

// A double opt-in takes two words: somebody says that the person agrees, the bridge
// asks them, and their "yes" within Policy.ConfirmWithin is what counts. Until then
// the consent is asked for, and allows nothing. An answer that comes later is a
// word like others; who agrees anew is asked anew.

const defaultConfirmWithin = 7 * 24 * time.Hour

// questionIsOpen reports whether a "yes" of the turn's time would be an answer: not
// where the question could not be put.
func (t *tenant) questionIsOpen(u *turn) bool {
	put := u.person.Question
	return u.person.Consent.Levels[consent.Marketing].State == consent.Asked &&
		!put.IsZero() && !u.e.Time.After(put.Add(t.Policy.ConfirmWithin))
}

// isAsked enters that the person is to be asked, and reports whether they are: not
// while a question is open.
func (t *tenant) isAsked(u *turn, enter func() bool) bool {
	was, open := u.person.Consent.Levels[consent.Marketing].Entry, t.questionIsOpen(u)
	return enter() || !open && u.person.Consent.Levels[consent.Marketing].Entry != was
}

// question asks the person whether they agree: with a text while they may be sent
// one, else with the template that the texts name.
func (t *tenant) question(u *turn, texts consent.Texts) {
	u.person.Question, u.contactChanged = time.Time{}, true // none is open that was put before
	name, language, hasTemplate := strings.Cut(texts.AskTemplate, "/")
	why := u.person.Consent.Suppresses(consent.Outgoing{Marketing: true})
	switch {
	case why == "" && u.person.Consent.StoppedAtMeta():
		why = "they stopped marketing in WhatsApp"
	case why == "" && u.step.Time.Sub(u.conv.LastIn) < window:
		u.person.Question = u.step.Time
		t.says(u, texts.Ask)
		return
	case why == "" && hasTemplate:
		u.person.Question = u.step.Time
		t.proposeOwn(u, &core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: name, Language: language}})
		return
	case why == "":
		why = "the 24-hour window is closed, and no ask_template is named (policy.texts)"
	}
	u.note("not asked whether they agree: " + why)
}
