package broker

import (
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/escalation"
	"github.com/wabridge/wabridge/core/phrase"
	"github.com/wabridge/wabridge/core/script"
)

// beforeScript is what the policy makes of a message before the script sees it:
// who writes has a relation with the business, whole messages such as STOP are
// obeyed, a person that was asked for is sent for, and two machines that answer
// each other are stopped. A script can neither miss nor undo it.
func (t *tenant) beforeScript(u *turn) {
	if _, known := u.person.Consent.Levels[consent.Transactional]; !known {
		t.enter(u, consent.Entry{Source: consent.FirstContact, Level: consent.Transactional, State: consent.Granted}, consent.Details{Evidence: "the person wrote"})
	}
	m := u.e.Message
	if m == nil {
		return
	}
	var said consent.Said
	source := consent.Word
	switch {
	case m.Reply != nil && (m.Type == core.TypeButton || m.Type == core.TypeInteractive):
		said, source = t.Policy.Words.Button(m.Reply.ID, m.Reply.Title, t.languageOf(u, "")), consent.Button
	case m.Type == core.TypeText:
		said = t.Policy.Words.Message(m.Text, t.languageOf(u, ""))
	}
	if said.Intent != "" && t.obey(u, said, source) {
		u.hooks &^= script.OnMessage
	}
	if u.conv.Standby {
		u.request = false // the app that has the conversation gets one
		return
	}
	t.watchLoop(u)
	t.countUnattended(u)
}

// obey does what whole-message words say, and reports whether that is all there
// is to the message: then the script is not asked what to answer.
func (t *tenant) obey(u *turn, said consent.Said, source consent.Source) bool {
	c := &u.person.Consent
	texts := consent.TextsFor(t.Policy.Texts, t.languageOf(u, said.Language))
	d := consent.Details{Evidence: clip(u.e.Message.Text, 200), Language: said.Language}
	if source == consent.Button && u.e.Message.Reply.ID != "" {
		d.Evidence = clip("button "+u.e.Message.Reply.ID+": "+u.e.Message.Text, 200)
	}
	enter := func(e consent.Entry) bool {
		e.Source = source
		return t.enter(u, e, d)
	}
	marketing := func(s consent.State) consent.Entry { return consent.Entry{Level: consent.Marketing, State: s} }
	stop := consent.Entry{Reason: consent.Stop, Scope: consent.ScopeAll}
	lifted := stop
	lifted.Lifted = true
	switch said.Intent {
	case consent.StopAll:
		answer := enter(marketing(consent.Withdrawn))
		text := texts.StopMarketing
		if !t.Policy.StopMarketingOnly {
			answer, text = enter(stop) || answer, texts.Stop
		}
		t.answerOnce(u, answer, text).stop = true
		return true
	case consent.StopMarketing:
		t.answerOnce(u, enter(marketing(consent.Withdrawn)), texts.StopMarketing).stop = true
		return true
	case consent.Start:
		if !c.StoppedByWord() {
			return false // to them it is a word like others
		}
		back := c.Stopped() && enter(lifted)
		t.grant(u, enter, texts, back)
		return true
	case consent.Subscribe:
		back := c.Stopped() && enter(lifted)
		t.grant(u, enter, texts, back)
		return true
	case consent.Confirm:
		if !t.questionIsOpen(u) {
			if put := u.person.Question; !put.IsZero() && c.Levels[consent.Marketing].State == consent.Asked {
				u.note("no answer any more: the question of " + put.Format(time.DateOnly) + " was open for " + t.Policy.ConfirmWithin.String() + " (confirm_within)")
			}
			return false
		}
		t.answerOnce(u, enter(marketing(consent.Granted)), texts.Start)
		return true
	case consent.HumanPlease:
		u.request = true
	}
	return false
}

// grant takes the person's word for marketing, or asks for the second half of
// it. back says that they were stopped until now.
func (t *tenant) grant(u *turn, enter func(consent.Entry) bool, texts consent.Texts, back bool) {
	if t.Policy.DoubleOptIn {
		switch {
		case u.person.Consent.Levels[consent.Marketing].State == consent.Granted:
			u.note("they agreed already: no answer")
		case t.isAsked(u, func() bool { return enter(consent.Entry{Level: consent.Marketing, State: consent.Asked}) }), back:
			t.question(u, texts)
		default:
			u.note("asked already: no answer")
		}
		return
	}
	t.answerOnce(u, enter(consent.Entry{Level: consent.Marketing, State: consent.Granted}) || back, texts.Start)
}

// answerOnce says the bridge's own text, where something changed: who writes STOP
// again gets silence.
func (t *tenant) answerOnce(u *turn, changed bool, text string) *send {
	if !changed {
		u.note("nothing changed by it: no answer")
		return &send{}
	}
	return t.says(u, text)
}

// says proposes a text of the bridge's own.
func (t *tenant) says(u *turn, text string) *send {
	if text == "" {
		return &send{}
	}
	return t.proposeOwn(u, &core.Message{Type: core.TypeText, Text: text})
}

// proposeOwn proposes a message of the bridge's own.
func (t *tenant) proposeOwn(u *turn, m *core.Message) *send {
	p := &send{own: true, message: m}
	if u.contact.Address() != (core.Address{}) && u.e.Number != "" {
		m.Direction, m.To = core.Outbound, u.contact.Address()
		u.sends = append(u.sends, p)
	}
	return p
}

// languageOf is the language to answer in: that of the words, unless they are
// English, which everybody writes; else that of the conversation; else what the
// contact's country mostly speaks. It is the country's where that is a language
// which is not told from others in what people write. What somebody said that the
// person speaks, among the contact's fields, goes before the country.
func (t *tenant) languageOf(u *turn, words string) string {
	country := consent.LanguageOf(u.contact.Address())
	if said, _, _ := strings.Cut(strings.ToLower(u.contact.Fields["language"]), "-"); len(said) == 2 {
		country = said
	}
	switch {
	case words != "" && words != "en":
		return words
	case country != "" && !slices.Contains(phrase.Languages, country):
		return country
	case u.conv.Language != "":
		return u.conv.Language
	}
	return or(words, country)
}

// watchLoop looks whether a machine answers the bridge.
func (t *tenant) watchLoop(u *turn) {
	if t.Policy.NoLoops {
		return
	}
	m, reply := u.e.Message, u.conv.LastReply
	if m.Type != core.TypeText || u.human || reply.IsZero() || reply.Equal(u.conv.Answered) {
		return
	}
	after := u.e.Time.Sub(reply.Truncate(time.Second)) // WhatsApp's times are in seconds
	if after < 0 || after > loopPause {
		return
	}
	u.conv.Answered = reply
	u.conv.Exchanges = consent.Remember(u.conv.Exchanges, consent.NewExchange(m.Text, u.e.Time.UTC(), after))
	if why := consent.Loop(u.conv.Exchanges); why != "" {
		u.loop, u.conv.Exchanges = why, nil
		u.hooks &^= script.OnMessage
		u.proposeHandOver(handOverOn(escalation.TopicLoop, why))
	}
}

// loopPause is how long after an automatic reply a message may be an answer to
// it.
const loopPause = time.Hour

// countUnattended counts the messages of a conversation since a person last wrote
// in it, and hands it over when they are many.
func (t *tenant) countUnattended(u *turn) {
	if u.human || u.silentFor > window { // a conversation of its own
		u.conv.Unattended = 0
	}
	if t.Policy.AfterMessages <= 0 || u.human {
		return
	}
	if u.conv.Unattended++; u.conv.Unattended >= t.Policy.AfterMessages && u.loop == "" {
		u.conv.Unattended = 0
		u.proposeHandOver(handOverOn("messages", "the conversation goes on without a person"))
	}
}

// requested sees to it that a person who asks for a person gets one, whatever the
// script made of it.
func (t *tenant) requested(u *turn) {
	if !u.request || u.human {
		return
	}
	for _, p := range u.handOvers {
		if p.Topic == "request" {
			return
		}
	}
	u.proposeHandOver(handOverOn("request", "the person asks for a person"))
}
