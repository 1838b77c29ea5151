package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
)

// Policy is what holds whatever a script says.
type Policy struct {
	// ReplyCap is how many automatic replies a person gets at most within
	// ReplyWindow, from all of the tenant's numbers.
	ReplyCap int `koanf:"reply_cap"`
	// DetectLoops hands a conversation over in which a machine seems to answer.
	DetectLoops bool          `koanf:"detect_loops"`
	ReplyWindow time.Duration `koanf:"reply_window"`
	// HumanFor is how long the bot keeps silent after a person wrote, or a
	// hand-over.
	HumanFor time.Duration `koanf:"human_for"`
	// Reads are what the script is asked about beside messages: "reactions", "edits",
	// "revokes", "groups".
	Reads []string `koanf:"reads"`
	// KeepRevoked leaves the text of a message that was taken back in the CRMs.
	KeepRevoked bool `koanf:"keep_revoked"`
	// RetryUnknown are the classes of messages ("reply", "transaction", "campaign") that
	// are sent once more when it stays unknown whether they were sent.
	RetryUnknown []string `koanf:"retry_unknown"`
	// AwaitFor is how long a message waits at most for the one before it to be sent or
	// delivered, where that one asks for it.
	AwaitFor time.Duration `koanf:"await_for"`
	// OutsideWindow is the template that texts go out as when the window is closed.
	OutsideWindow OutsideWindow `koanf:"outside_window"`
	// MinConfidence is how sure a script must be of a reply that says how sure it
	// is; what is less sure is handed over.
	MinConfidence float64 `koanf:"min_confidence"`
	// QuietHours, like "21:00-08:00" in the recipient's time, put off what the
	// business begins; Zone is the time of recipients whose country does not tell.
	QuietHours string `koanf:"quiet_hours"`
	Zone       string `koanf:"zone"`
	// Stop is what a person's STOP ends: "all" or "marketing".
	Stop string `koanf:"stop"`
	// DoubleOptIn has the person confirm each consent to marketing.
	DoubleOptIn bool `koanf:"double_opt_in"`
	// ConfirmWithin is how long they have for it.
	ConfirmWithin time.Duration `koanf:"confirm_within"`
	// OptOutWords and OptInWords are whole messages beside those that ship,
	// HumanWords those that ask for a person.
	OptOutWords []string `koanf:"opt_out_words"`
	OptInWords  []string `koanf:"opt_in_words"`
	HumanWords  []string `koanf:"human_words"`
	// Texts are the bridge's own, by language.
	Texts map[string]consent.Texts `koanf:"texts"`
}

// OutsideWindow names a template, and the values of its body's variables: {text} stands
// for the text, {name} for the person's name.
type OutsideWindow struct {
	Template string   `koanf:"template"`
	Language string   `koanf:"language"`
	Params   []string `koanf:"params"`
}

// MessageTemplate is a template of the tenant's account at WhatsApp.
type MessageTemplate struct {
	Name     string `koanf:"name"`
	Language string `koanf:"language"`
	// Category is "marketing", "utility" or "authentication"; what WhatsApp says
	// later comes before it.
	Category string `koanf:"category"`
	// Params are the names of the parameters, or how many there are.
	Params any `koanf:"params"`
	// Topics are what suppressions of a topic are about.
	Topics []string `koanf:"topics"`
	// Body, Footer and Buttons are the template's texts, to be linted.
	Body    string   `koanf:"body"`
	Footer  string   `koanf:"footer"`
	Buttons []string `koanf:"buttons"`
}

// Sender returns the names by which the tenant's messages say who writes.
func (t *Tenant) Sender() []string { return append([]string{t.Name}, t.SenderNames...) }

// Lint says what is wrong with a template: one line for each mistake.
func (t *Tenant) Lint(tpl MessageTemplate) []string {
	return consent.Lint(consent.Template{
		Category: consent.ParseCategory(tpl.Category), Body: tpl.Body, Footer: tpl.Footer, Buttons: tpl.Buttons, Sender: t.Sender(),
	})
}

// Words are the whole messages that mean something to the tenant.
func (p *Policy) Words() consent.Words {
	return consent.NewWords(map[consent.Intent][]string{
		consent.StopAll: p.OptOutWords, consent.Subscribe: p.OptInWords, consent.HumanPlease: p.HumanWords,
	})
}

const maxPolicyWords = 200

// checkPolicy checks what holds whatever a script says.
func (d *document) checkPolicy(t *Tenant) {
	p := &t.Policy
	d.between("policy.reply_cap", p.ReplyCap, 1, 1000)
	d.positive("policy.reply_window", p.ReplyWindow, 24*time.Hour)
	d.positive("policy.human_for", p.HumanFor, 30*24*time.Hour)
	d.positive("policy.confirm_within", p.ConfirmWithin, 90*24*time.Hour)
	d.positive("policy.await_for", p.AwaitFor, time.Hour)
	if p.MinConfidence < 0 || p.MinConfidence > 1 {
		d.problem("policy.min_confidence", "%v is not between 0 and 1", p.MinConfidence)
	}
	if _, err := consent.ParseQuietHours(p.QuietHours); err != nil {
		d.problem("policy.quiet_hours", "%v", err)
	}
	if _, err := time.LoadLocation(p.Zone); err != nil {
		d.problem("policy.zone", "%q is no time zone, like Europe/Madrid", p.Zone)
	}
	for i, r := range p.Reads {
		d.oneOf(fmt.Sprintf("policy.reads[%d]", i), r, "reactions", "edits", "revokes", "groups")
	}
	d.oneOf("policy.stop", p.Stop, "all", "marketing")
	for _, w := range []struct {
		key   string
		words []string
	}{{"opt_out_words", p.OptOutWords}, {"opt_in_words", p.OptInWords}, {"human_words", p.HumanWords}} {
		if len(w.words) > maxPolicyWords {
			d.problem("policy."+w.key, "%d words are too many: at most %d", len(w.words), maxPolicyWords)
		}
		for i, word := range w.words {
			if f := consent.Fold(word); f == "" || len(f) > 64 {
				d.problem(fmt.Sprintf("policy.%s[%d]", w.key, i), "%q is no whole message of 1 to 64 letters", word)
			}
		}
	}
	for language, texts := range p.Texts {
		for _, text := range []string{texts.Stop, texts.StopMarketing, texts.Start, texts.Ask} {
			if len(text) > 4096 {
				d.problem("policy.texts."+language, "a text is longer than a message can be")
			}
		}
		if name, in, ok := strings.Cut(texts.AskTemplate, "/"); texts.AskTemplate != "" && (!ok || name == "" || in == "") {
			d.problem("policy.texts."+language+".ask_template", "%q is no template: write its name and language, like ask_offers/es", texts.AskTemplate)
		}
	}
	for i, class := range p.RetryUnknown {
		d.oneOf(fmt.Sprintf("policy.retry_unknown[%d]", i), class, string(core.ClassReply), string(core.ClassTransaction), string(core.ClassCampaign))
	}
	if o := p.OutsideWindow; o.Template == "" && (o.Language != "" || len(o.Params) > 0) {
		d.problem("policy.outside_window.template", "is missing: which template goes instead of a text")
	} else if o.Template != "" && o.Language == "" {
		d.problem("policy.outside_window.language", "is missing: the template's, like en_US")
	}
	if n := len(p.OutsideWindow.Params); n > 100 {
		d.problem("policy.outside_window.params", "%d are too many: at most 100", n)
	}
	d.checkHumanPath(t)
	seen := map[string]bool{}
	for i := range t.Templates {
		tpl, key := &t.Templates[i], fmt.Sprintf("templates[%d]", i)
		if tpl.Name == "" {
			d.problem(key+".name", "is missing")
		}
		if id := tpl.Name + "/" + tpl.Language; seen[id] {
			d.problem(key+".name", "the template %s is here twice", id)
		} else {
			seen[id] = true
		}
		if tpl.Category == "" {
			d.problem(key+".category", "is missing: marketing, utility or authentication")
		} else {
			d.oneOf(key+".category", tpl.Category, string(consent.CategoryMarketing), string(consent.CategoryUtility), string(consent.CategoryAuthentication))
		}
		for j, topic := range tpl.Topics {
			if !core.TenantPattern.MatchString(topic) {
				d.problem(fmt.Sprintf("%s.topics[%d]", key, j), "a topic is at most 40 of a-z, 0-9 and -, the first not a -")
			}
		}
		d.checkParams(key, tpl.Params)
	}
}

// checkHumanPath refuses automatic answers that lead to no person: WhatsApp's
// Business Messaging Policy requires a way to one.
func (d *document) checkHumanPath(t *Tenant) {
	if t.Script != "" && t.Escalation.Team == "" && len(t.Teams) == 0 {
		d.problem("escalation.team", "is empty, but the script answers: WhatsApp requires a way to a person. Name the team that takes over")
	}
}

// checkParams checks a template's parameters: a number of them, or their names.
func (d *document) checkParams(key string, params any) {
	switch v := params.(type) {
	case nil:
	case int64:
		d.between(key+".params", int(v), 0, 100)
	case int:
		d.between(key+".params", v, 0, 100)
	case []any:
		for i, n := range v {
			if name, ok := n.(string); !ok || name == "" {
				d.problem(fmt.Sprintf("%s.params[%d]", key, i), "is no name")
			}
		}
	default:
		d.problem(key+".params", "is how many parameters there are, or a list of their names")
	}
}
