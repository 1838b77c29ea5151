package hubspot

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// What happens in HubSpot is found by searching for contacts that were modified,
// and told at once by HubSpot's webhooks. Both only say which contacts to look at:
// they are then read with the history of the properties that the settings name.
// The time of a property's last change makes the event's id, so that the same
// change counts once, however it was told, and a value that comes back is another.

const (
	// searchOverlap is asked for again: search sees a write only after a while.
	searchOverlap = 5 * time.Minute
	searchLimit   = 100
	// historyInputs is how many records are read at a time with their history.
	historyInputs = 50

	// sendWithin is how old a text of settings.send_property may be. It stays in the property,
	// and is read again whenever anything is written to the contact; the bridge remembers that
	// it had it for store.seen_days, which are 8 at least.
	sendWithin = 7 * 24 * time.Hour

	// hookAge is how old a webhook may be.
	hookAge = 5 * time.Minute
	// hookEvents is how many events of a webhook are looked at: HubSpot sends 100 at
	// most.
	hookEvents = 1000

	clientSecret = "client_secret"
)

var (
	_ core.Poller   = (*Connector)(nil)
	_ core.Receiver = (*Connector)(nil)
)

// watched are the properties whose changes matter; empty when nothing is taken
// from HubSpot.
func (s *settings) watched() []string {
	var names []string
	for _, name := range s.PullFields {
		names = append(names, name)
	}
	for _, name := range []string{s.PullTags, s.ConsentFrom, s.SendProperty} {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// watched adds what the lane's mapping reads.
func (x *session) watched() []string {
	names := append(x.settings.watched(), x.reads...)
	slices.Sort(names)
	return slices.Compact(names)
}

// searched is where the search is. A round of it goes by the records' ids, which do not
// change: one that is modified meanwhile moves no other to a page that was read already, and
// a search can be paged to its 10,000th result only.
type searched struct {
	// Since is when what was modified is asked for, Begun when this round began and High the
	// latest seen in it, in milliseconds; Last is the record that it came to.
	Since int64  `json:"since"`
	Begun int64  `json:"begun,omitempty"`
	High  int64  `json:"high,omitempty"`
	Last  string `json:"last,omitempty"`
	// Bin is how far what was deleted was told.
	Bin *bin `json:"bin,omitempty"`
}

// next takes note of a page; false when the round is over. What was modified after a record's
// turn is for the next round, whatever was seen since.
func (at *searched) next(page *found) (more bool, _ *core.Error) {
	for _, r := range page.Results {
		at.High = max(at.High, r.UpdatedAt.UnixMilli())
	}
	if page.Paging.Next.After == "" {
		at.Since = max(at.Since, min(at.High, at.Begun)-searchOverlap.Milliseconds())
		at.Begun, at.High, at.Last = 0, 0, ""
		return false, nil
	}
	before, _ := strconv.ParseInt(at.Last, 10, 64)
	last := ""
	if n := len(page.Results); n > 0 {
		last = page.Results[n-1].ID
	}
	if id, err := strconv.ParseInt(last, 10, 64); err != nil || id <= before {
		return false, crm.Failure(core.CodeUnavailable, "search", "HubSpot answered what comes after the record %q with %q", at.Last, crm.Clip(last, 40))
	}
	at.Last = last
	return true, nil
}

// Poll implements [core.Poller]: one page of the contacts that were modified, from
// now on when there is no cursor.
func (c *Connector) Poll(ctx context.Context, account core.Account, cursor json.RawMessage) (core.Polled, error) {
	x, err := c.open(account)
	if err != nil {
		return core.Polled{}, err
	}
	if len(x.watched()) == 0 {
		return core.Polled{Cursor: cursor}, nil
	}
	at := searched{Since: time.Now().UnixMilli()}
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return core.Polled{}, core.Errorf(core.CodeInternal, "poll", "the place reached cannot be read: %w", err)
		}
	}
	if at.Begun == 0 {
		at.Begun = time.Now().UnixMilli()
	}
	page, err := x.search(ctx, at)
	if err != nil {
		return core.Polled{}, err
	}
	ids := make([]string, 0, len(page.Results))
	for _, r := range page.Results {
		ids = append(ids, r.ID)
	}
	more, err := at.next(&page)
	if err != nil {
		return core.Polled{}, err
	}
	events, err := x.changes(ctx, ids)
	if err != nil {
		return core.Polled{}, err
	}
	if !more && x.PullDeleted {
		gone, further, err := x.deleted(ctx, &at.Bin, time.Now())
		if err != nil {
			return core.Polled{}, err
		}
		events, more = append(events, gone...), further
	}
	next, jsonErr := json.Marshal(at)
	if jsonErr != nil {
		return core.Polled{}, jsonErr
	}
	return core.Polled{Events: events, Cursor: next, More: more}, nil
}

// found is a page of a search.
type found struct {
	Results []struct {
		ID        string    `json:"id"`
		UpdatedAt time.Time `json:"updatedAt"`
	} `json:"results"`
	Paging struct {
		Next struct {
			After string `json:"after"`
		} `json:"next"`
	} `json:"paging"`
}

// search asks for contacts modified since; all five keys are sent, as the API's
// specification requires.
func (x *session) search(ctx context.Context, at searched) (page found, _ *core.Error) {
	const op = "search"
	filters := []map[string]string{{"propertyName": "lastmodifieddate", "operator": "GTE", "value": strconv.FormatInt(at.Since, 10)}}
	if at.Last != "" {
		filters = append(filters, map[string]string{"propertyName": "hs_object_id", "operator": "GT", "value": at.Last})
	}
	body, err := json.Marshal(map[string]any{
		"filterGroups": []any{map[string]any{"filters": filters}},
		"sorts":        []any{map[string]string{"propertyName": "hs_object_id", "direction": "ASCENDING"}},
		"properties":   []string{"hs_object_id"}, "limit": searchLimit, "after": "0",
	})
	if err != nil {
		return page, core.Errorf(core.CodeInternal, op, "%w", err)
	}
	r := x.call(ctx, op, http.MethodPost, x.path("objects", "contacts/search"), body, func(b []byte) error {
		return whole(b, &page, func() bool { return page.Results != nil })
	})
	return page, r.reading()
}

// version is a value that a property had.
type version struct {
	Value     string    `json:"value"`
	Timestamp time.Time `json:"timestamp"`
	// SourceType is who set it: "CRM_UI", "INTEGRATION", "IMPORT", …; SourceID which
	// of them.
	SourceType string `json:"sourceType"`
	SourceID   string `json:"sourceId"`
}

// own reports whether it was the account's own app that set it, as far as HubSpot and
// settings.app_id say.
func (x *session) own(v version) bool {
	return x.AppID != "" && v.SourceType == integration && v.SourceID == x.AppID
}

// integration is HubSpot's word for apps, where it says who changed something.
const integration = "INTEGRATION"

// pulled is a contact as it is read.
type pulled struct {
	ID         string               `json:"id"`
	Properties map[string]*string   `json:"properties"`
	History    map[string][]version `json:"propertiesWithHistory"`
}

func (p *pulled) text(name string) string {
	if v := p.Properties[name]; v != nil {
		return *v
	}
	return ""
}

// changed returns the last change of a property; the zero version when it never
// had a value.
func (p *pulled) changed(name string) (last version) {
	for _, v := range p.History[name] {
		if v.Timestamp.After(last.Timestamp) {
			last = v
		}
	}
	return last
}

// changes reads contacts and tells what is to be known of them.
func (x *session) changes(ctx context.Context, ids []string) (events []core.Event, _ *core.Error) {
	slices.Sort(ids)
	watched := x.watched()
	names := append(x.addresses(), x.ContactKey)
	names = append(names, watched...)
	slices.Sort(names)
	found, err := x.readRecords(ctx, "contacts", "", slices.Compact(ids), slices.Compact(names), watched...)
	if err != nil {
		return nil, err
	}
	for i := range found {
		events = append(events, x.told(&found[i])...)
	}
	return events, nil
}

// addresses are the properties by which the bridge knows somebody.
func (x *session) addresses() []string {
	return slices.DeleteFunc([]string{x.PhoneProperty, "mobilephone", x.BSUIDProperty}, func(name string) bool { return name == "" })
}

// who is somebody by these.
func (x *session) who(p *pulled) core.Contact {
	return core.Contact{Phone: cmp.Or(p.text(x.PhoneProperty), p.text("mobilephone")), BSUID: p.text(x.BSUIDProperty)}
}

// told makes events of a contact; none when it cannot be anybody on WhatsApp.
func (x *session) told(p *pulled) (events []core.Event) {
	who := x.who(p)
	if who.Phone == "" && who.BSUID == "" {
		return nil
	}
	id := func(what string, at time.Time) string {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", what, p.ID, at.UnixMilli()))
		return hex.EncodeToString(sum[:16])
	}
	change := core.Event{Kind: core.KindContactChanged, ContactRef: p.ID, Fields: map[string]any{"hs_object_id": p.ID}}
	contact := who
	for field, name := range x.PullFields {
		if x.own(p.changed(name)) {
			continue
		}
		if contact.Fields == nil {
			contact.Fields = map[string]string{}
		}
		contact.Fields[field] = p.text(name)
		change.Fields[name] = p.text(name)
		if at := p.changed(name).Timestamp; at.After(change.Time) {
			change.Time = at
		}
	}
	if x.PullTags != "" && !x.own(p.changed(x.PullTags)) {
		for tag := range strings.SplitSeq(p.text(x.PullTags), ";") {
			if tag = strings.TrimSpace(tag); tag != "" {
				contact.Tags = append(contact.Tags, tag)
			}
		}
		if at := p.changed(x.PullTags).Timestamp; at.After(change.Time) {
			change.Time = at
		}
	}
	for _, name := range x.reads {
		if _, there := p.Properties[name]; !there || x.own(p.changed(name)) {
			continue // HubSpot has no such property, or it is as the bridge wrote it
		}
		change.Fields[name] = p.text(name)
		if at := p.changed(name).Timestamp; !at.IsZero() {
			if change.Changed == nil {
				change.Changed = map[string]time.Time{}
			}
			change.Changed[name] = at
			if at.After(change.Time) {
				change.Time = at
			}
		}
	}
	if !change.Time.IsZero() {
		change.ID, change.Contact = id("contact", change.Time), &contact
		events = append(events, change)
	}
	if e, ok := x.consent(p, who); ok {
		e.ID = id("consent", e.Time)
		events = append(events, e)
	}
	if last := p.changed(x.SendProperty); x.asksToSend(p, last) {
		to := core.Address{Kind: core.AddressPhone, Value: who.Phone}
		if who.Phone == "" {
			to = core.Address{Kind: core.AddressBSUID, Value: who.BSUID}
		}
		events = append(events, core.Event{
			ID: id("send", last.Timestamp), Kind: core.KindMessageSend, Time: last.Timestamp, Author: core.AuthorHuman, By: crm.Clip(last.SourceID, 100),
			Message: &core.Message{Type: core.TypeText, Text: last.Value, To: to},
		})
	}
	return events
}

// asksToSend reports whether the last change of settings.send_property is a text to send.
func (x *session) asksToSend(p *pulled, last version) bool {
	return x.SendProperty != "" && !x.own(last) && time.Since(last.Timestamp) < sendWithin &&
		strings.TrimSpace(last.Value) != "" && last.Value == p.text(x.SendProperty)
}

// The values of settings.consent_from that mean yes and no, in lower case.
var (
	consentYes = []string{"granted", "yes", "true", "1", "opted_in", "opted in"}
	consentNo  = []string{"withdrawn", "no", "false", "0", "opted_out", "opted out"}
)

// consent tells what a person at HubSpot entered about the contact's consent. What
// an integration wrote, ours too, is none.
func (x *session) consent(p *pulled, who core.Contact) (core.Event, bool) {
	if x.ConsentFrom == "" {
		return core.Event{}, false
	}
	last := p.changed(x.ConsentFrom)
	said := strings.ToLower(strings.TrimSpace(last.Value))
	var state string
	switch {
	case last.SourceType == integration || last.Value != p.text(x.ConsentFrom):
		return core.Event{}, false
	case slices.Contains(consentYes, said):
		state = "granted"
	case slices.Contains(consentNo, said):
		state = "withdrawn"
	default:
		return core.Event{}, false
	}
	return core.Event{
		Kind: core.KindConsentChanged, Time: last.Timestamp, Contact: &who,
		Consent: &core.Consent{Level: "marketing", State: state, By: crm.Clip(last.SourceID, 100), Evidence: crm.Clip(fmt.Sprintf(
			"HubSpot contact %s: %s was set to %q (%s)", p.ID, x.ConsentFrom, last.Value, last.SourceType), 400)},
	}, true
}

// Webhook implements [core.Receiver]: HubSpot's signature v3 over the address as
// HubSpot called it. See
// https://developers.hubspot.com/docs/api/webhooks/validating-requests.
func (c *Connector) Webhook(ctx context.Context, account core.Account, r core.WebhookRequest) (core.WebhookAnswer, error) {
	x, err := c.open(account)
	if err != nil {
		return core.WebhookAnswer{}, err
	}
	secret := account.Secrets[clientSecret].Reveal()
	single := x.inbox() && bytes.HasPrefix(bytes.TrimSpace(r.Body), []byte("{"))
	if secret == "" {
		return core.WebhookAnswer{}, &core.Error{Code: core.CodeUnauthenticated, Op: "webhook", Source: core.SourcePlugin,
			Message: "no " + clientSecret, Hint: "set the secret " + clientSecret + ": the app's client secret, which signs webhooks"}
	}
	why := func() string { return unsigned(r, secret, time.Now()) }
	if single {
		if why := unproven(r, account, why); why != "" {
			return core.WebhookAnswer{}, core.Errorf(core.CodeUnauthenticated, "webhook", "%s", why)
		}
		return x.fromChannel(ctx, r.Body)
	}
	if why := why(); why != "" {
		return core.WebhookAnswer{}, core.Errorf(core.CodeUnauthenticated, "webhook", "%s", why)
	}
	var told []hooked
	if err := crm.Decode(r.Body, &told); err != nil || len(told) > hookEvents {
		return core.WebhookAnswer{}, core.Errorf(core.CodeInvalid, "webhook", "not a list of at most %d events", hookEvents)
	}
	watched := append(x.watched(), x.PhoneProperty, "mobilephone")
	var ids []string
	var gone []core.Event
	for i := range told {
		t := &told[i]
		if !t.ofContact() || t.PropertyName != "" && x.own(version{SourceType: t.Source, SourceID: string(t.SourceID)}) || t.ObjectID == "" || t.PropertyName != "" && !slices.Contains(watched, t.PropertyName) {
			continue
		}
		lost, stays := t.records()
		for _, id := range lost {
			gone = append(gone, goneEvent(id, t.OccurredAt))
		}
		ids = append(ids, stays...)
	}
	if len(x.watched()) == 0 {
		ids = nil
	}
	events, err := x.changes(ctx, ids)
	if err != nil {
		if err.Code == core.CodeUnauthenticated || err.Code == core.CodeInvalid {
			// It is our token that is refused, not the request: HubSpot shall call again.
			err.Code = core.CodeUnavailable
		}
		return core.WebhookAnswer{}, err
	}
	return core.WebhookAnswer{Events: append(gone, events...)}, nil
}

// hooked is an event of a webhook.
type hooked struct {
	SubscriptionType string      `json:"subscriptionType"`
	ObjectType       string      `json:"objectTypeId"`
	ObjectID         json.Number `json:"objectId"`
	PropertyName     string      `json:"propertyName"`
	OccurredAt       int64       `json:"occurredAt"`
	Source           string      `json:"changeSource"`
	SourceID         word        `json:"sourceId"`
	// Of a merge: the record that was kept, those merged into it, and what it is called
	// since, where that is another.
	Primary json.Number   `json:"primaryObjectId"`
	Merged  []json.Number `json:"mergedObjectIds"`
	New     json.Number   `json:"newObjectId"`
}

// ofContact reports whether it is about a contact. Subscriptions to object.… are of all kinds
// of records, whose ids may be alike: https://developers.hubspot.com/changelog/public-beta-generic-webhook-subscriptions.
func (t *hooked) ofContact() bool {
	return strings.HasPrefix(t.SubscriptionType, "contact.") || strings.HasPrefix(t.SubscriptionType, "object.") && t.ObjectType == contactType
}

// records are those that are gone since, and those to be read.
func (t *hooked) records() (gone, stays []string) {
	switch {
	case strings.HasSuffix(t.SubscriptionType, "eletion"): // deletion, privacyDeletion
		return []string{t.ObjectID.String()}, nil
	case !strings.HasSuffix(t.SubscriptionType, ".merge"):
		return nil, []string{t.ObjectID.String()}
	}
	survivor := cmp.Or(t.New, t.Primary, t.ObjectID)
	for _, id := range append([]json.Number{t.Primary, t.ObjectID}, t.Merged...) {
		if id != "" && id != survivor && !slices.Contains(gone, id.String()) {
			gone = append(gone, id.String())
		}
	}
	return gone, []string{survivor.String()}
}

// unsigned says why a request is not HubSpot's, or "".
func unsigned(r core.WebhookRequest, secret string, now time.Time) string {
	at := r.Get("X-Hubspot-Request-Timestamp")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return "no X-HubSpot-Request-Timestamp"
	}
	if age := now.Sub(time.UnixMilli(ms)); age > hookAge || age < -hookAge {
		return "the request is too old, or one of the clocks is wrong"
	}
	signature, err := base64.StdEncoding.DecodeString(r.Get("X-Hubspot-Signature-V3"))
	if err != nil || len(signature) == 0 {
		return "no X-HubSpot-Signature-v3"
	}
	mac := hmac.New(sha256.New, []byte(secret))
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL), r.Body, []byte(at)} {
		_, _ = mac.Write(part)
	}
	if !hmac.Equal(mac.Sum(nil), signature) {
		return "the signature is not of the secret " + clientSecret + " and of what came: look at web.public_url, which is signed, too"
	}
	return ""
}
