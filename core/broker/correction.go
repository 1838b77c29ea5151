package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// Corrections are events like others: accepted once, decided in the order of their
// conversation, told to the CRMs by their lanes. Whether something still is as it
// was written is found out when the correction is decided, while nobody else
// changes the contact.

const (
	bucketCorrections = "corrections" // id of a correction → when it was made
	sourceCorrection  = "correction"

	// MaxCorrections is how many contacts a request may name.
	MaxCorrections       = 100
	maxCorrectionChanges = 500 // of a contact
	maxCorrectionValue   = 16 << 10
)

// CorrectionRequest asks for what a version of the script wrote to be made what
// another would have written.
type CorrectionRequest struct {
	Tenant string `json:"tenant"`
	// From is the version that wrote, To the other.
	From string `json:"from"`
	To   string `json:"to"`
	// DryRun changes nothing, and only says what would be left alone.
	DryRun   bool                `json:"dry_run,omitempty"`
	Contacts []ContactCorrection `json:"contacts"`
}

// ContactCorrection is what is to be corrected of a contact.
type ContactCorrection struct {
	Contact string `json:"contact"`
	// Number is the business number of the conversation in whose order this goes.
	Number  string        `json:"number,omitempty"`
	Changes []core.Change `json:"changes"`
}

// CorrectionReceipt says what becomes of a ContactCorrection.
type CorrectionReceipt struct {
	// ID is the event's. It follows from what is corrected, so that the same is
	// corrected once.
	ID string `json:"id"`
	// Done says that this was corrected, or asked for, before.
	Done bool `json:"done,omitempty"`
	// Left are the changes that are not made, each with the reason; by their place.
	Left map[int]string `json:"left,omitempty"`
}

// Correct accepts corrections. Each is made once, however often it is asked for.
func (b *Broker) Correct(ctx context.Context, r CorrectionRequest) ([]CorrectionReceipt, error) {
	t := b.tenants[r.Tenant]
	if t == nil {
		return nil, noTenant("correct", r.Tenant)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	out, err := JudgeCorrections(ctx, b.o.Store, r)
	if err != nil || r.DryRun {
		return out, err
	}
	var events []core.Event
	var of []int
	for i, c := range r.Contacts {
		if out[i].Done || len(out[i].Left) == len(c.Changes) {
			continue
		}
		if t.numbers[c.Number] == nil {
			c.Number = ""
		}
		e := core.Event{
			ID: out[i].ID, Kind: core.KindCorrection, Tenant: t.ID, Number: c.Number, Source: sourceCorrection, Time: time.Now().UTC(),
			Contact: &core.Contact{ID: c.Contact}, Correction: &core.Correction{From: r.From, To: r.To, Changes: c.Changes},
		}
		if c.Number != "" {
			e.Conversation = core.ConversationID(c.Number, c.Contact)
		}
		events, of = append(events, e), append(of, i)
	}
	if len(events) == 0 {
		return out, nil
	}
	done, err := b.accept(ctx, events, store.Settlement{})
	if err != nil {
		return nil, err
	}
	for i, place := range of {
		out[place].Done = i < len(done.Added) && !done.Added[i]
	}
	return out, nil
}

func (r *CorrectionRequest) check() error {
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeInvalid, "correct", format, args...)
	}
	if r.From == "" || r.To == "" || len(r.From) > 64 || len(r.To) > 64 || r.From == r.To {
		return bad("from and to are the hashes of two versions")
	}
	if len(r.Contacts) == 0 || len(r.Contacts) > MaxCorrections {
		return bad("contacts: want 1 to %d", MaxCorrections)
	}
	for _, c := range r.Contacts {
		if c.Contact == "" || len(c.Contact) > 100 || len(c.Changes) == 0 || len(c.Changes) > maxCorrectionChanges {
			return bad("each of contacts has a contact's id and 1 to %d changes", maxCorrectionChanges)
		}
		for _, ch := range c.Changes {
			if err := checkChange(&ch); err != nil {
				return bad("%v", err)
			}
		}
	}
	return nil
}

func checkChange(c *core.Change) error {
	if len(c.Name) > 200 || (c.Name == "") != (c.What == core.CorrectEscalation) {
		return fmt.Errorf("%.20q needs a name of at most 200 bytes, an escalation has none", c.What)
	}
	texts, bools := 0, 0
	for _, v := range []any{c.Was, c.Want} {
		data, err := json.Marshal(v)
		if err != nil || len(data) > maxCorrectionValue {
			return fmt.Errorf("%.40q: a value has more than %d KiB", c.Name, maxCorrectionValue>>10)
		}
		switch v.(type) {
		case string:
			texts++
		case bool:
			bools++
		}
	}
	switch c.What {
	case core.CorrectTag:
		if bools != 2 {
			return fmt.Errorf("tag %.40q: was and want are true or false", c.Name)
		}
	case core.CorrectField, core.CorrectEscalation:
		if texts != 2 {
			return fmt.Errorf("%s %.40q: was and want are texts", c.What, c.Name)
		}
	case core.CorrectCRM:
	default:
		return fmt.Errorf("%.20q is none of tag, field, crm and escalation", c.What)
	}
	return nil
}

// correctionID follows from what is corrected.
func correctionID(r *CorrectionRequest, c *ContactCorrection) string {
	sum := sha256.Sum256(mustJSON([]any{r.Tenant, r.From, r.To, c.Contact, c.Changes}))
	return "fix-" + hex.EncodeToString(sum[:16])
}

func correctionKey(tenant, id string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketCorrections, Key: id}
}

// JudgeCorrections says what would become of corrections, from the store alone.
func JudgeCorrections(ctx context.Context, s store.Store, r CorrectionRequest) ([]CorrectionReceipt, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	look := &tenant{Tenant: Tenant{ID: r.Tenant}, b: &Broker{o: Options{Store: s}}}
	out := make([]CorrectionReceipt, len(r.Contacts))
	for i := range r.Contacts {
		c := &r.Contacts[i]
		out[i].ID = correctionID(&r, c)
		home, _, err := look.survivor(ctx, c.Contact)
		if err != nil {
			return nil, err
		}
		values, err := s.Get(ctx, correctionKey(r.Tenant, out[i].ID), contactKey(r.Tenant, home), conversationKey(r.Tenant, home, c.Number))
		if err != nil {
			return nil, err
		}
		conv, _ := decode[conversation](values[2])
		out[i].Done = values[0] != nil
		out[i].Left = judge(personOf(values[1]), conv, c.Changes)
	}
	return out, nil
}

// judge says which changes must not be made, and why: what is not any longer as it
// was written was changed since, by a person, a CRM or another decision.
func judge(p *person, conv *conversation, changes []core.Change) map[int]string {
	left := map[int]string{}
	for i, c := range changes {
		why := ""
		switch {
		case p.ID == "":
			why = "the contact is gone"
		case c.What == core.CorrectTag:
			if slices.Contains(p.Tags, c.Name) == c.Want {
				why = leftSame
			}
		case c.What == core.CorrectField:
			switch p.Fields[c.Name] {
			case c.Want:
				why = leftSame
			case c.Was:
			default:
				why = "it was changed since"
			}
		case c.What == core.CorrectCRM:
			if at, ok := p.AtCRM[c.Name]; ok && at.At.After(c.At) && at.Sum != sumOf(c.Was) {
				why = "the CRM changed it since"
			}
		case c.What == core.CorrectEscalation:
			if open := conv.Escalation; open != nil && open.Reason != c.Was {
				why = "another escalation is open"
			}
		}
		if why != "" {
			left[i] = why
		}
	}
	return left
}

// crmChange is when a property was changed at a CRM, and the hash of what to: enough
// to know it again.
type crmChange struct {
	At  time.Time `json:"at"`
	Sum string    `json:"sum"`
}

const maxAtCRM = 200

// toldByCRM takes note of properties that were changed at a CRM.
func (u *turn) toldByCRM() {
	e := u.e
	if len(e.Fields) == 0 || e.Source == sourceCorrection || e.Source == "script" {
		return
	}
	for name, v := range e.Fields {
		if _, known := u.person.AtCRM[name]; !known && len(u.person.AtCRM) >= maxAtCRM {
			continue
		}
		if u.person.AtCRM == nil {
			u.person.AtCRM = map[string]crmChange{}
		}
		u.person.AtCRM[name], u.contactChanged = crmChange{At: e.Time, Sum: sumOf(v)}, true
	}
}

// sumOf is the same for what a CRM shows alike: 9 and "9", nothing and "".
func sumOf(v any) string {
	text := fmt.Sprint(v)
	if v == nil {
		text = ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

const leftSame = "it is so already"

// ofNobody reports whether the turn is a correction of somebody who is gone, and
// must not bring them back.
func (u *turn) ofNobody() bool { return u.e.Kind == core.KindCorrection && u.person.ID == "" }

// corrects makes a correction, as far as it still applies.
func (t *tenant) corrects(u *turn) {
	c := u.e.Correction
	if c == nil {
		u.note("the event has no correction")
		return
	}
	left := judge(u.person, u.conv, c.Changes)
	tell, fields, gone := false, map[string]any{}, map[string]string{}
	var escalation *core.Escalation
	for i, ch := range c.Changes {
		if why := left[i]; why != "" {
			u.note(changeName(&ch) + ": left alone, " + why)
			continue
		}
		tell = true
		u.note(fmt.Sprintf("%s: %s, as version %s would have it", changeName(&ch), changeText(&ch), c.To))
		switch ch.What {
		case core.CorrectTag:
			if ch.Want == true {
				addTag(u.contact, ch.Name)
			} else {
				removeTag(u.contact, ch.Name)
			}
			u.contactChanged = true
		case core.CorrectField:
			want, _ := ch.Want.(string)
			setField(u.contact, ch.Name, want)
			t.mark(u.person, ch.Name, sourceCorrection, u.step.Time)
			if u.contactChanged = true; want == "" {
				gone[ch.Name] = ""
			}
		case core.CorrectCRM:
			fields[ch.Name] = ch.Want
		case core.CorrectEscalation:
			want, _ := ch.Want.(string)
			escalation = &core.Escalation{Reason: want}
		}
	}
	if u.person.ID == "" {
		return
	}
	u.s.Put = append(u.s.Put, store.Put{Key: correctionKey(t.ID, u.e.ID), Value: []byte(u.step.Time.Format(time.RFC3339))})
	if tell {
		u.corrected = u.follow(core.KindContactChanged)
		u.corrected.Source, u.corrected.Escalation = sourceCorrection, escalation
		if len(fields) > 0 {
			u.corrected.Fields = fields
		}
		if len(gone) > 0 { // CRMs clear what is empty, and keep what is not mentioned
			known := *u.contact
			known.Fields = maps.Clone(known.Fields)
			if known.Fields == nil {
				known.Fields = map[string]string{}
			}
			maps.Copy(known.Fields, gone)
			u.corrected.Contact = &known
		}
	}
}

func changeName(c *core.Change) string {
	switch c.What {
	case core.CorrectCRM:
		return fmt.Sprintf("CRM property %q", c.Name)
	case core.CorrectEscalation:
		return "escalation at the CRM"
	}
	return fmt.Sprintf("%s %q", c.What, c.Name)
}

// changeText says what becomes of it. Values may be about people: they are not in
// it.
func changeText(c *core.Change) string {
	switch c.Want {
	case false, nil, "":
		return "removed"
	case true:
		return "added"
	}
	return "set"
}
