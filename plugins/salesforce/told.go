package salesforce

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// A record says when it was last modified and by whom, not which of its fields. Where
// the org tracks a field's history, that says when it changed: a change which the
// bridge's own write followed is not missed, and consent has a time. What the bridge
// wrote last, by its user, is no news otherwise.

var limitText = strconv.Itoa(pullLimit)

// fieldNames lists fields for a query, each once however it is written.
func fieldNames(names []string) string {
	var list []string
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(list, func(have string) bool { return strings.EqualFold(have, name) }) {
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

// queryAll asks one query, which finds deleted records too; whole is false when
// Salesforce has more of its answer.
func (x *session) queryAll(ctx context.Context, object, soql string) (list []found, whole bool, _ *core.Error) {
	var a answered
	if r := x.call(ctx, "query "+object, http.MethodGet, "queryAll?q="+url.QueryEscape(soql), nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
		if r.Code == core.CodeUnknownOutcome || r.Code == core.CodeInvalid {
			r.Code = core.CodeUnavailable // nothing was changed
		}
		return nil, false, r.Error
	}
	p, err := a.page("query " + object)
	return p.records, p.whole, err
}

// stamp reads a field's time.
func (f found) stamp(field string) (time.Time, *core.Error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999-0700", time.RFC3339Nano} {
		if at, err := time.Parse(layout, f.text(field)); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, crm.Failure(core.CodeUnavailable, "query", "a record has no %s that is a time", field)
}

// is reads a field that is true or false.
func (f found) is(field string) bool {
	for name, raw := range f {
		if strings.EqualFold(name, field) {
			return string(raw) == "true"
		}
	}
	return false
}

// value is a field's value as a text; numbers and booleans as a script of the bridge's
// writes them: Salesforce writes 12 as 12.0, and 12 million as 1.2E7.
func (f found) value(field string) (string, bool) {
	for name, raw := range f {
		if !strings.EqualFold(name, field) {
			continue
		}
		var text string
		switch {
		case string(raw) == "null":
			return "", true
		case json.Unmarshal(raw, &text) == nil:
			return text, true
		case bytes.ContainsAny(raw, ".E"):
			if n, err := strconv.ParseFloat(string(raw), 64); err == nil {
				return strconv.FormatFloat(n, 'f', -1, 64), true
			}
		}
		return string(raw), true
	}
	return "", false
}

// identity are the fields that say who a contact is.
func (x *session) identity() []string {
	return append([]string{x.PhoneField, x.BSUIDField}, x.AdoptBy...)
}

// watched are the fields whose changes matter.
func (x *session) watched() []string {
	names := append([]string{x.PullTags, x.ConsentFrom}, x.reads...)
	for _, name := range x.PullFields {
		names = append(names, name)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// contactNames are the fields that are read of contacts. Of the mapping's those that
// there are.
func (x *session) contactNames(ctx context.Context) ([]string, *core.Error) {
	if len(x.reads) > 0 {
		s, r := x.describe(ctx, x.ContactObject, schemaLife)
		if r != nil {
			return nil, r.Error
		}
		x.reads = slices.DeleteFunc(slices.Clone(x.reads), func(name string) bool { _, ok := s.fields[strings.ToLower(name)]; return !ok })
	}
	return append(x.identity(), x.watched()...), nil
}

// who says who a contact is, false when it cannot be anybody on WhatsApp.
func (x *session) who(f found) (core.Contact, bool) {
	c := core.Contact{BSUID: f.text(x.BSUIDField)}
	for _, name := range append([]string{x.PhoneField}, x.AdoptBy...) {
		c.Phone = cmp.Or(c.Phone, strings.TrimSpace(f.text(name)))
	}
	return c, c.Phone != "" || c.BSUID != ""
}

// eventID is the ID of an event about a record.
func eventID(what, record string, of string) string {
	sum := sha256.Sum256([]byte(what + " " + record + " " + of))
	return hex.EncodeToString(sum[:16])
}

// changes tells what became of contacts since a place.
func (x *session) changes(ctx context.Context, since *place, list []found) ([]core.Event, *core.Error) {
	var ids []string
	for _, f := range list {
		if id := f.text("Id"); !f.is("IsDeleted") && recordID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	history, err := x.history(ctx, ids, since.At)
	if err != nil {
		return nil, err
	}
	var events []core.Event
	for _, f := range list {
		told, err := x.told(f, history[f.text("Id")])
		if err != nil {
			return nil, err
		}
		events = append(events, told...)
	}
	return events, nil
}

// told makes events of a contact, given the last changes of its fields.
func (x *session) told(f found, history map[string]edit) (events []core.Event, _ *core.Error) {
	id := f.text("Id")
	at, err := f.stamp("SystemModstamp")
	if err != nil {
		return nil, err
	}
	if f.is("IsDeleted") { // a merge deletes the record that is merged into another
		return []core.Event{{ID: eventID("gone", id, ""), Kind: core.KindContactGone, Time: at, ContactRef: id}}, nil
	}
	who, ok := x.who(f)
	if !ok {
		return nil, nil
	}
	ours := x.user != "" && sameRecord(f.text("LastModifiedById"), x.user)
	change := core.Event{Kind: core.KindContactChanged, ContactRef: id, Fields: map[string]any{"Id": id}}
	if !ours {
		change.Time = at
	}
	contact := who
	var mine []string // fields that are as the bridge wrote them, or of which that is all that is known
	for _, name := range x.watched() {
		e, tracked := history[strings.ToLower(name)]
		switch {
		case tracked && !e.ours:
			if ours && name != x.ConsentFrom {
				change.Time = later(change.Time, e.at)
			}
			if change.Changed == nil {
				change.Changed = map[string]time.Time{}
			}
			change.Changed[name] = e.at
		case tracked || ours:
			mine = append(mine, name)
		}
	}
	for field, name := range x.PullFields {
		if slices.Contains(mine, name) {
			continue
		}
		if contact.Fields == nil {
			contact.Fields = map[string]string{}
		}
		contact.Fields[field], _ = f.value(name)
		change.Fields[name] = contact.Fields[field]
	}
	if x.PullTags != "" && !slices.Contains(mine, x.PullTags) {
		for tag := range strings.SplitSeq(f.text(x.PullTags), ";") {
			if tag = strings.TrimSpace(tag); tag != "" {
				contact.Tags = append(contact.Tags, tag)
			}
		}
	}
	for _, name := range x.reads {
		if text, ok := f.value(name); ok && !slices.Contains(mine, name) {
			change.Fields[name] = text
		}
	}
	if !change.Time.IsZero() && len(x.PullFields)+len(x.reads)+len(x.PullTags) > 0 {
		change.ID, change.Contact = eventID("contact", id, moment(change.Time)), &contact
		events = append(events, change)
	}
	if e, ok := x.consent(f, who, history); ok {
		events = append(events, e)
	}
	return events, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sameRecord compares ids, of which the last three of eighteen characters say no more.
func sameRecord(a, b string) bool {
	return len(a) >= 15 && len(b) >= 15 && a[:15] == b[:15]
}

// edit is the last change of a field.
type edit struct {
	id   string // of the entry in the history
	at   time.Time
	user string
	ours bool
}

// history returns when fields of contacts were changed last since a place, by record
// and by field in lower case. Fields that the org does not track have none.
func (x *session) history(ctx context.Context, ids []string, since time.Time) (map[string]map[string]edit, *core.Error) {
	fields := x.watched()
	if x.History == "" || len(ids) == 0 || len(fields) == 0 {
		return nil, nil
	}
	for i := range fields {
		fields[i] = quoted(fields[i])
	}
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = quoted(id)
	}
	rows, err := x.query(ctx, "read history", "SELECT Id, "+x.HistoryParent+", Field, CreatedDate, CreatedById FROM "+x.History+
		" WHERE CreatedDate >= "+moment(since.Add(-lookBack))+" AND Field IN ("+strings.Join(fields, ", ")+") AND "+x.HistoryParent+" IN (",
		parts, ", ", ") ORDER BY CreatedDate DESC, Id DESC LIMIT 10000")
	if err != nil {
		switch {
		case err.Vendor == "INVALID_TYPE" && x.ConsentFrom == "": // the object's history is not kept
			return nil, nil
		case err.Vendor == "INVALID_TYPE" || err.Vendor == "INVALID_FIELD":
			err.Code, err.Scope = core.CodeForbidden, core.ScopeLane
			err.Hint = "turn on field history tracking for " + x.ContactObject + " in Setup, Object Manager, or look at settings.history_object and settings.history_parent"
		case err.Code == core.CodeInvalid || err.Code == core.CodeUnknownOutcome:
			err.Code = core.CodeUnavailable
		}
		return nil, err
	}
	all := map[string]map[string]edit{}
	for _, f := range rows {
		at, err := f.stamp("CreatedDate")
		if err != nil {
			return nil, err
		}
		of := f.text(x.HistoryParent)
		if all[of] == nil {
			all[of] = map[string]edit{}
		}
		user, field := f.text("CreatedById"), strings.ToLower(f.text("Field"))
		if _, newer := all[of][field]; !newer {
			all[of][field] = edit{id: f.text("Id"), at: at, user: user, ours: x.user != "" && sameRecord(user, x.user)}
		}
	}
	return all, nil
}

// The values of settings.consent_from that mean yes and no, in lower case.
var (
	consentYes = []string{"granted", "yes", "true", "1", "opted_in", "opted in"}
	consentNo  = []string{"withdrawn", "no", "false", "0", "opted_out", "opted out"}
)

// consent tells what somebody in Salesforce entered about the contact's consent: by
// the field's history, or by the record's creation, after which the history begins.
func (x *session) consent(f found, who core.Contact, history map[string]edit) (core.Event, bool) {
	if x.ConsentFrom == "" {
		return core.Event{}, false
	}
	last, tracked := history[strings.ToLower(x.ConsentFrom)]
	if !tracked {
		made, err := f.stamp("CreatedDate")
		modified, err2 := f.stamp("LastModifiedDate")
		if err != nil || err2 != nil || !made.Equal(modified) {
			return core.Event{}, false // it was something else that was changed
		}
		user := f.text("CreatedById")
		last = edit{at: made, user: user, ours: x.user != "" && sameRecord(user, x.user)}
	}
	said, _ := f.value(x.ConsentFrom)
	said = strings.TrimSpace(said)
	state := ""
	switch value := strings.ToLower(said); {
	case slices.Contains(consentYes, value):
		state = "granted"
	case slices.Contains(consentNo, value):
		state = "withdrawn"
	}
	if state == "" || last.ours {
		return core.Event{}, false
	}
	id := f.text("Id")
	return core.Event{
		ID: eventID("consent", id, last.id+" "+moment(last.at)), Kind: core.KindConsentChanged, Time: last.at, Contact: &who,
		Consent: &core.Consent{Level: "marketing", State: state, By: crm.Clip(last.user, 100), Evidence: crm.Clip(fmt.Sprintf(
			"Salesforce %s %s: %s was set to %q by %s", x.ContactObject, id, x.ConsentFrom, said, last.user), 400)},
	}, true
}
