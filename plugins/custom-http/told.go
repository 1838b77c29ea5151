package customhttp

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// maxRows is how many rows of one answer or request are looked at.
const maxRows = 1000

// eventSettings say what a row that the API tells of means. All but Kind, Level
// and Author are paths into the row.
type eventSettings struct {
	// The row is one of these when the condition holds; without one, always.
	When *conditionSettings `json:"when"`
	// Kind is "contact.changed", "contact.gone", "consent.changed" or "message.send".
	Kind string `json:"kind"`
	// ID is the change's own. Unless set it is made of the whole row, so that a
	// row that has not changed is told once.
	ID   string `json:"id"`
	Time string `json:"time"`
	// Phone and BSUID say who it is about, or who gets the message.
	Phone string `json:"phone"`
	BSUID string `json:"bsuid"`
	// Ref is the record of a contact: which one was deleted, or merged into another.
	Ref string `json:"ref"`

	// Tags leads to a list of texts, or one text with commas; Fields are by the
	// names that the bridge gives them.
	Tags   string            `json:"tags"`
	Fields map[string]string `json:"fields"`

	Level    string `json:"level"`
	State    string `json:"state"`
	Granted  []any  `json:"granted"`   // the values of State that mean yes
	Refused  []any  `json:"withdrawn"` // and those that mean no
	Evidence string `json:"evidence"`

	Text     string                `json:"text"`
	Template *sendTemplateSettings `json:"template"`
	Number   string                `json:"number"`
	Author   string                `json:"author"` // "human" or "bot"
	By       string                `json:"by"`
}

// sendTemplateSettings say which template is to be sent. Name, Language and each of
// Params are paths; one of Params may lead to a list.
type sendTemplateSettings struct {
	Name     string   `json:"name"`
	Language string   `json:"language"`
	Params   []string `json:"params"`
}

// teller is a compiled [eventSettings].
type teller struct {
	when                                   condition
	kind                                   core.Kind
	id, time, phone, bsuid, ref, tags      path
	fields                                 map[string]path
	level                                  string
	state, evidence                        path
	granted, refused                       func(any, bool) bool
	text, number, by, tplName, tplLanguage path
	tplParams                              []path
	template                               bool
	author                                 string
}

// tellers compiles what rows may mean: the first that fits is it.
func (c *planner) tellers(where string, list []eventSettings) []teller {
	if len(list) == 0 {
		c.addf(where, "missing: say what a row means, as kind, phone, …")
	}
	out := make([]teller, 0, len(list))
	for i, s := range list {
		out = append(out, c.teller(fmt.Sprintf("%s[%d]", where, i), s))
	}
	return out
}

func (c *planner) teller(where string, s eventSettings) teller {
	t := teller{kind: core.Kind(s.Kind), level: s.Level, author: s.Author, fields: map[string]path{}}
	if s.When != nil {
		if t.when = compileCondition(*s.When, where+".when", c.problems); !t.when.reading {
			c.addf(where+".when", "want a path, and one of equals, in, matches and exists")
		}
	}
	at := func(name, text string) path {
		q := parsePath(text)
		q.check(where+"."+name, c.problems)
		return q
	}
	t.id, t.time, t.phone, t.bsuid, t.ref = at("id", s.ID), at("time", s.Time), at("phone", s.Phone), at("bsuid", s.BSUID), at("ref", s.Ref)
	if t.kind == core.KindContactGone {
		if s.Ref == "" || s.Phone != "" || s.BSUID != "" {
			c.addf(where+".ref", "want the path to the record that is gone, and no phone or bsuid: the bridge knows whose it was")
		}
	} else if s.Phone == "" && s.BSUID == "" {
		c.addf(where+".phone", "missing: the path to who it is about")
	}
	only := func(kind core.Kind, names map[string]bool) {
		for _, name := range sortedKeys(names) {
			if names[name] && t.kind != kind {
				c.addf(where+"."+name, "is for kind = %q", kind)
			}
		}
	}
	only(core.KindContactChanged, map[string]bool{"tags": s.Tags != "", "fields": len(s.Fields) > 0})
	only(core.KindConsentChanged, map[string]bool{"level": s.Level != "", "state": s.State != "", "granted": s.Granted != nil, "withdrawn": s.Refused != nil, "evidence": s.Evidence != ""})
	only(core.KindMessageSend, map[string]bool{"text": s.Text != "", "template": s.Template != nil, "number": s.Number != "", "author": s.Author != "", "by": s.By != ""})
	if s.Ref != "" && t.kind != core.KindContactChanged && t.kind != core.KindContactGone {
		c.addf(where+".ref", "is for kind = %q and %q", core.KindContactChanged, core.KindContactGone)
	}
	switch t.kind {
	case core.KindContactGone:
	case core.KindContactChanged:
		t.tags = at("tags", s.Tags)
		for _, name := range sortedKeys(s.Fields) {
			t.fields[name] = at("fields."+quoteKey(name), s.Fields[name])
		}
	case core.KindConsentChanged:
		t.level, t.state, t.evidence = cmp.Or(s.Level, "marketing"), at("state", s.State), at("evidence", s.Evidence)
		t.granted, t.refused = isOneOf(s.Granted, where+".granted", c.problems), isOneOf(s.Refused, where+".withdrawn", c.problems)
		if s.State == "" || len(s.Granted)+len(s.Refused) == 0 {
			c.addf(where+".state", "want the path to the state, and under granted and withdrawn which values mean what")
		}
	case core.KindMessageSend:
		t.text, t.number, t.by = at("text", s.Text), at("number", s.Number), at("by", s.By)
		if t.author = cmp.Or(s.Author, "bot"); t.author != core.AuthorHuman && t.author != "bot" {
			c.addf(where+".author", `want "human" or "bot"`)
		}
		if (s.Text == "") == (s.Template == nil) {
			c.addf(where, "want one of text and template")
		}
		if s.ID == "" {
			c.addf(where+".id", "missing: without the request's own id it would be sent again whenever its row changes")
		}
		if tpl := s.Template; tpl != nil {
			t.template = true
			t.tplName, t.tplLanguage = at("template.name", tpl.Name), at("template.language", tpl.Language)
			for i, p := range tpl.Params {
				t.tplParams = append(t.tplParams, at(fmt.Sprintf("template.params[%d]", i), p))
			}
			if tpl.Name == "" || tpl.Language == "" {
				c.addf(where+".template", "want the paths to name and language")
			}
		}
	default:
		c.addf(where+".kind", "want one of %s, %s, %s and %s", core.KindContactChanged, core.KindContactGone, core.KindConsentChanged, core.KindMessageSend)
	}
	return t
}

// tell makes events of the rows. A row that means nothing is left out, and so is one that
// asks for a message and has no id by which it would be sent once.
func (p *plan) tell(tellers []teller, rows []any) []core.Event {
	var events []core.Event
	without := 0
	for _, row := range rows {
		i := slices.IndexFunc(tellers, func(t teller) bool { return t.when.holds(row) })
		if i < 0 {
			continue
		}
		switch e, ok := tellers[i].event(row); {
		case ok:
			events = append(events, e)
		case e.Kind == core.KindMessageSend:
			without++
		}
	}
	if without > 0 {
		p.log.Warn("requests to send were left out: their rows have no id by which they would be sent once",
			"rows", without, "hint", "look at id of the event message.send, in pull or webhook")
	}
	return events
}

func (t *teller) event(row any) (core.Event, bool) {
	e := core.Event{Kind: t.kind, ID: t.id.text(row), Contact: &core.Contact{Phone: t.phone.text(row), BSUID: t.bsuid.text(row)}}
	if e.ID == "" && t.kind == core.KindMessageSend {
		return e, false
	}
	if e.ID == "" {
		data, err := json.Marshal(row) // keys in order
		if err != nil {
			return e, false
		}
		sum := sha256.Sum256(data)
		e.ID = hex.EncodeToString(sum[:16])
	}
	e.Time = timeOf(t.time.text(row))
	switch t.kind {
	case core.KindContactGone:
		e.Contact, e.ContactRef = nil, t.ref.text(row)
		return e, e.ContactRef != ""
	case core.KindContactChanged:
		e.ContactRef = t.ref.text(row)
		e.Contact.Tags = textsOf(t.tags, row)
		for name, q := range t.fields {
			v, found := q.find(row)
			text, ok := textOf(v)
			if !found || v != nil && !ok {
				continue // not told; null takes the field away
			}
			if e.Contact.Fields == nil {
				e.Contact.Fields = map[string]string{}
			}
			e.Contact.Fields[name] = text
		}
		e.Fields = scalars(row)
	case core.KindConsentChanged:
		e.Consent = &core.Consent{Level: t.level, Evidence: t.evidence.text(row)}
		switch v, found := t.state.find(row); {
		case t.granted(v, found):
			e.Consent.State = "granted"
		case t.refused(v, found):
			e.Consent.State = "withdrawn"
		default:
			return e, false
		}
	case core.KindMessageSend:
		e.Number, e.Author, e.By = t.number.text(row), t.author, t.by.text(row)
		if e.Author == "bot" {
			e.Author = ""
		}
		m := &core.Message{Type: core.TypeText, Text: t.text.text(row), To: core.Address{Kind: core.AddressPhone, Value: e.Contact.Phone}}
		if e.Contact.Phone == "" {
			m.To = core.Address{Kind: core.AddressBSUID, Value: e.Contact.BSUID}
		}
		if t.template {
			m.Type, m.Text = core.TypeTemplate, ""
			m.Template = t.templateOf(row)
		}
		e.Message, e.Contact = m, nil
	}
	return e, true
}

// templateOf is the template that a row asks for, in the Cloud API's form.
func (t *teller) templateOf(row any) *core.Template {
	tpl := &core.Template{Name: t.tplName.text(row), Language: t.tplLanguage.text(row)}
	var texts []string
	for _, q := range t.tplParams {
		texts = append(texts, textsOf(q, row)...)
	}
	if len(texts) > 0 {
		type parameter struct {
			Type string `json:"type"`
			Text string `json:"text"`
		}
		params := make([]parameter, len(texts))
		for i, text := range texts {
			params[i] = parameter{"text", text}
		}
		data, err := json.Marshal([]any{map[string]any{"type": "body", "parameters": params}})
		if err == nil {
			tpl.Components = data
		}
	}
	return tpl
}

// textsOf returns the texts of a list, or of one text with commas.
func textsOf(q path, row any) []string {
	if q == nil {
		return nil
	}
	v, _ := q.find(row)
	var out []string
	if list, ok := v.([]any); ok {
		for _, one := range list {
			if text, ok := textOf(one); ok {
				out = append(out, text)
			}
		}
		return out
	}
	text, _ := textOf(v)
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// scalars are the texts, numbers and booleans of a row, for the tenant's script.
func scalars(row any) map[string]any {
	table, ok := row.(map[string]any)
	if !ok {
		return nil
	}
	out := map[string]any{}
	for name, v := range table {
		if text, ok := textOf(v); ok && len(text) <= 4096 && len(out) < 200 {
			out[name] = v
		}
	}
	return out
}

// timeOf reads a time as APIs write it; zero when it is none.
func timeOf(text string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	n, ok := readUnix(text)
	switch {
	case !ok || n <= 0:
		return time.Time{}
	case n > 1e11: // milliseconds: seconds would be of another millennium
		return time.UnixMilli(int64(n)).UTC()
	}
	return time.Unix(int64(n), 0).UTC()
}

// readUnix reads a number of seconds or milliseconds, which may have a fraction.
func readUnix(text string) (float64, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && math.Abs(n) < 9e15 // and so no NaN
}
