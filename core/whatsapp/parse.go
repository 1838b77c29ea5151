package whatsapp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"

	"github.com/wabridge/wabridge/core"
)

// Update is one thing that a webhook tells.
type Update struct {
	// Number is the phone_number_id that it is about; empty for what is about an
	// account.
	Number string
	// WABA is the id of the business account.
	WABA string
	// Event is what becomes of it. Its Tenant, Conversation, Contact.ID and
	// Accepted are for the broker to fill in; its Time is zero when Meta does not
	// say. Raw is set when there is more to it than the event holds.
	Event core.Event
}

// maxUpdates bounds the events made of one body. Meta sends up to 1,000.
const maxUpdates = 10_000

// Parse reads a webhook's body. It fails only when the body is not JSON: whatever
// is of unknown type or shape becomes an event with the JSON as it came, so that
// nothing is lost that Meta thinks of next.
//
// It makes one update for each message, status and error, and one for each change
// of another field. An update's event has an ID derived from its source, the same
// each time that Meta repeats it: the wamid; for a status also the status and, in
// groups, the participant; otherwise "wh-" and a hash.
func Parse(body []byte) ([]Update, error) {
	// Nearly all bodies are of messages and statuses that are known in every
	// field. These are decoded once. Any other is taken apart with care, which
	// takes several times as long, and keeps what is not known.
	var known envelope
	err := decodeStrict(body, &known)
	if err == nil {
		if updates, ok := parseKnown(&known); ok {
			return updates, nil
		}
	} else if !json.Valid(body) {
		return nil, core.Errorf(core.CodeInvalid, "webhook", "body: %w", err)
	}
	updates := parseWithCare(body)
	if len(updates) > maxUpdates {
		updates = []Update{unknownBody(body)}
	}
	return updates, nil
}

// decodeStrict decodes b into v as far as it fits. The error is nil only when all
// of it did.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return core.Errorf(core.CodeInvalid, "webhook", "there is more after the JSON value")
	}
	return nil
}

// parseKnown makes the updates of a body without unknown fields; false when some
// of it is not modelled all the same.
func parseKnown(e *envelope) ([]Update, bool) {
	n := 0
	for i := range e.Entry {
		for j := range e.Entry[i].Changes {
			c := &e.Entry[i].Changes[j]
			if c.Field != fieldMessages || len(c.Value.Errors) > 0 || len(c.Value.Messages)+len(c.Value.Statuses) == 0 {
				return nil, false
			}
			n += len(c.Value.Messages) + len(c.Value.Statuses)
		}
	}
	if n == 0 || n > maxUpdates {
		return nil, n == 0 && len(e.Entry) == 0
	}
	updates := make([]Update, 0, n)
	for i := range e.Entry {
		for j := range e.Entry[i].Changes {
			v := &e.Entry[i].Changes[j].Value
			o := origin{entry: &e.Entry[i], number: string(v.Metadata.NumberID), contacts: v.Contacts, only: len(v.Messages)+len(v.Statuses) == 1}
			for k := range v.Messages {
				if !v.Messages[k].modelled() {
					return nil, false
				}
				updates = append(updates, o.message(&v.Messages[k], nil))
			}
			for k := range v.Statuses {
				if !v.Statuses[k].modelled() {
					return nil, false
				}
				updates = append(updates, o.status(&v.Statuses[k], nil))
			}
		}
	}
	return updates, true
}

const fieldMessages = "messages"

// origin is where in a body an update came from.
type origin struct {
	entry    *entry
	number   string
	display  string
	contacts []profile
	only     bool // the value holds one message or status
}

func (o *origin) waba() string { return string(o.entry.ID) }

// update wraps an event of the origin.
func (o *origin) update(e core.Event) Update {
	e.Number, e.Source = o.number, "whatsapp"
	return Update{Number: o.number, WABA: o.waba(), Event: e}
}

// unknown makes an update of what is not understood: raw is all of it, and of is
// the part that makes it what it is.
func (o *origin) unknown(field string, of, raw []byte) Update {
	var t flexTime
	_ = t.UnmarshalJSON(o.entry.Time)
	return o.update(core.Event{
		ID: hashID(o.waba(), field, of, o.entry.Time), Kind: core.KindUnknown, Time: t.Time, Raw: slices.Clone(raw),
	})
}

// hashID derives an ID from what the webhook says.
func hashID(waba, field string, value, when []byte) string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(waba), []byte(field), value, when} {
		sum := sha256.Sum256(part) // of fixed length, so that the parts cannot shift
		_, _ = h.Write(sum[:])
	}
	return "wh-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// parseWithCare takes a body apart, each part on its own, so that one that is odd
// does no harm to another. The body is valid JSON.
func parseWithCare(body []byte) []Update {
	var top struct {
		Entry json.RawMessage `json:"entry"`
	}
	err := json.Unmarshal(body, &top)
	entries, ok := elements(top.Entry)
	if err != nil || !ok || (len(top.Entry) == 0 && !isEmpty(body)) {
		return []Update{unknownBody(body)}
	}
	var updates []Update
	for _, raw := range entries {
		updates = parseEntry(updates, raw)
	}
	return updates
}

func unknownBody(body []byte) Update {
	o := origin{entry: &entry{}}
	return o.unknown("body", body, body)
}

// rawEntry is an entry that is not taken apart.
type rawEntry struct {
	ID      flexID            `json:"id,omitempty"`
	Time    json.RawMessage   `json:"time,omitempty"`
	Changes []json.RawMessage `json:"changes"`
}

// parseEntry appends the updates of one entry.
func parseEntry(updates []Update, raw []byte) []Update {
	var e rawEntry
	_ = json.Unmarshal(raw, &e) // as far as it can be read
	o := origin{entry: &entry{ID: e.ID, Time: e.Time}}
	if len(e.Changes) == 0 {
		return append(updates, o.unknown("entry", raw, raw))
	}
	for _, c := range e.Changes {
		if isNull(c) {
			continue
		}
		alone := raw
		if len(e.Changes) > 1 {
			// What is not understood keeps what it says of account, time and field,
			// in Meta's own form.
			if b, err := json.Marshal(rawEntry{e.ID, e.Time, []json.RawMessage{c}}); err == nil {
				alone = b
			}
		}
		own := o // each change sets a number of its own
		updates = own.parseChange(updates, c, alone)
	}
	return updates
}

func isNull(raw []byte) bool { return string(raw) == "null" }

// isEmpty reports whether raw is an object or array without contents.
func isEmpty(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) >= 2 && len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
}

// parseChange appends the updates of one change; alone is the entry with no other.
// It changes o.
func (o *origin) parseChange(updates []Update, raw, alone []byte) []Update {
	var c struct {
		Field string          `json:"field"`
		Value json.RawMessage `json:"value"`
	}
	_ = json.Unmarshal(raw, &c) // as far as it can be read
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(c.Value, &fields); err != nil {
		return append(updates, o.unknown(c.Field, raw, alone))
	}
	var m metadata
	_ = json.Unmarshal(fields["metadata"], &m)
	o.number, o.display = string(m.NumberID), m.Display
	if read, ok := o.parseOther(c.Field, c.Value, fields); ok {
		return append(updates, read...)
	}
	if c.Field != fieldMessages && (c.Field != "" || (fields["messages"] == nil && fields["statuses"] == nil)) {
		return append(updates, o.unknown(c.Field, c.Value, alone))
	}
	before := len(updates)
	updates = o.parseValue(updates, fields)
	if len(updates) == before {
		updates = append(updates, o.unknown(c.Field, c.Value, alone))
	}
	return updates
}

// parseValue appends the updates of a value of the field "messages".
func (o *origin) parseValue(updates []Update, fields map[string]json.RawMessage) []Update {
	messages, messagesOK := elements(fields["messages"])
	statuses, statusesOK := elements(fields["statuses"])
	errs, errsOK := elements(fields["errors"])
	contacts, _ := elements(fields["contacts"])
	o.only = len(messages)+len(statuses) == 1
	o.contacts = make([]profile, len(contacts))
	for i, raw := range contacts {
		_ = json.Unmarshal(raw, &o.contacts[i]) // as far as it can be read
	}
	for _, raw := range messages {
		var m message
		if err := decodeStrict(raw, &m); err == nil && m.modelled() {
			raw = nil
		}
		updates = append(updates, o.message(&m, raw))
	}
	for _, raw := range statuses {
		var s status
		if err := decodeStrict(raw, &s); err == nil && s.modelled() {
			raw = nil
		}
		updates = append(updates, o.status(&s, raw))
	}
	for _, raw := range errs {
		if u, ok := o.valueError(raw); ok {
			updates = append(updates, u)
			continue
		}
		updates = append(updates, o.unknown("errors", raw, raw))
	}
	for _, name := range sortedKeys(fields) {
		raw := fields[name]
		switch name {
		case "messages":
			if messagesOK {
				continue
			}
		case "statuses":
			if statusesOK {
				continue
			}
		case "errors":
			if errsOK {
				continue
			}
		case "messaging_product", "metadata", "contacts":
			continue
		default:
			if !happens(raw) { // else it is something new beside the messages
				continue
			}
		}
		updates = append(updates, o.unknown(name, raw, raw))
	}
	return updates
}

// elements returns those of an array, without nulls; false when it is something
// else. What is not there at all has none.
func elements(raw json.RawMessage) ([]json.RawMessage, bool) {
	if len(raw) == 0 || isNull(raw) {
		return nil, true
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, false
	}
	return slices.DeleteFunc(list, func(e json.RawMessage) bool { return isNull(e) }), true
}

func sortedKeys(m map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
