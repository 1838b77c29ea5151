package salesforce

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// What happens in Salesforce is found by asking which records were modified, in the
// order in which they were, deleted ones too. What is told of them: see told.go and
// outbox.go.

var _ core.Poller = (*Connector)(nil)

// inboundSettings say what is taken from Salesforce; all of it is left alone by
// default.
type inboundSettings struct {
	// PullFields says which contact field a field of Salesforce's becomes.
	PullFields map[string]string `json:"pull_fields"`
	// PullTags is a field whose values, apart by ";", become tags.
	PullTags string `json:"pull_tags"`
	// ConsentFrom is the field in which people in Salesforce enter consent.
	ConsentFrom string `json:"consent_from"`
	// History is the object that holds what became of fields, HistoryParent its field
	// that names the record; both are told from the contacts' object.
	History       string `json:"history_object"`
	HistoryParent string `json:"history_parent"`

	// ChangeTopic is where Salesforce tells of changes at once: a channel of change
	// events. SendEvent is a platform event, each of which is a message to send.
	ChangeTopic string `json:"change_topic"`
	SendEvent   string `json:"send_event"`
	PubSubURL   string `json:"pubsub_url"`

	// SendObject holds messages that somebody in Salesforce asks for: a record is one.
	SendObject string `json:"send_object"`
	SendTo     string `json:"send_to_field"`
	// SendContact is a lookup to the contacts' object: who gets it where SendTo is
	// empty.
	SendContact  string `json:"send_contact_field"`
	SendText     string `json:"send_text_field"`
	SendTemplate string `json:"send_template_field"`
	SendLanguage string `json:"send_language_field"`
	SendParams   string `json:"send_params_field"`
	// SendAuthor is "human" or "bot": who is taken to have written them.
	SendAuthor string `json:"send_author"`
}

// authorBot is how the settings name a message that no person wrote.
const authorBot = "bot"

// inbound are the fields of records that are read, for a check of their names.
func (s *settings) inbound() (contacts, messages []need) {
	for _, field := range slices.Sorted(maps.Keys(s.PullFields)) {
		contacts = append(contacts, need{"pull_fields." + field, s.PullFields[field], aRead})
	}
	contacts = append(contacts, need{"pull_tags", s.PullTags, aRead}, need{"consent_from", s.ConsentFrom, aRead})
	if s.SendObject != "" {
		messages = []need{{"send_to_field", s.SendTo, aRead}, {"send_contact_field", s.SendContact, aRead}, {"send_text_field", s.SendText, aRead},
			{"send_template_field", s.SendTemplate, aRead}, {"send_language_field", s.SendLanguage, aRead}, {"send_params_field", s.SendParams, aRead}}
	}
	return contacts, messages
}

// checkInbound reports what is wrong with the settings of what is taken.
func (s *settings) checkInbound() (err *core.Error) {
	contacts, messages := s.inbound()
	names := slices.Concat(contacts, messages, []need{{"send_object", s.SendObject, aRead}, {"send_event", s.SendEvent, aRead}, {"history_object", s.History, aRead}, {"history_parent", s.HistoryParent, aRead}})
	for _, n := range names {
		if n.name != "" && !apiName.MatchString(n.name) {
			return crm.BadSetting(settingsOp, n.setting, "want an API name: a letter, then letters, digits and _")
		}
	}
	for _, field := range slices.Sorted(maps.Keys(s.PullFields)) {
		if s.PullFields[field] == "" {
			return crm.BadSetting(settingsOp, "pull_fields."+field, "want the API name of a field")
		}
	}
	if s.PubSubURL, err = crm.BaseURL(settingsOp, "pubsub_url", s.PubSubURL, "https://api.pubsub.salesforce.com:7443"); err != nil {
		return err
	}
	sends := s.SendObject != "" || s.SendEvent != ""
	switch {
	case s.ChangeTopic != "" && !changeTopic.MatchString(s.ChangeTopic):
		return crm.BadSetting(settingsOp, "change_topic", "want a channel such as /data/ContactChangeEvent or /data/WABridge__chn")
	case (s.History == "") != (s.HistoryParent == ""):
		return crm.BadSetting(settingsOp, "history_object", "want history_parent, too, or neither")
	case s.ConsentFrom != "" && s.History == "":
		return crm.BadSetting(settingsOp, "consent_from", "needs history_object: only the field's history tells when consent was given, and by whom")
	case s.SendObject != "" && s.Mode != "none" && s.SendObject == s.MessageObject:
		return crm.BadSetting(settingsOp, "send_object", "%s holds the messages that were sent", s.MessageObject)
	case sends && s.SendTo == "" && s.SendContact == "":
		return crm.BadSetting(settingsOp, "send_to_field", "want this or send_contact_field")
	case sends && s.SendText == "" && s.SendTemplate == "":
		return crm.BadSetting(settingsOp, "send_text_field", "want this or send_template_field")
	case s.SendTemplate != "" && s.SendLanguage == "":
		return crm.BadSetting(settingsOp, "send_language_field", "a template has a language")
	case s.SendAuthor != core.AuthorHuman && s.SendAuthor != authorBot:
		return crm.BadSetting(settingsOp, "send_author", "want %s or %s", core.AuthorHuman, authorBot)
	}
	return nil
}

var changeTopic = regexp.MustCompile(`^/data/[A-Za-z][A-Za-z0-9_]{0,79}$`)

// pulls reports whether anything of a contact is taken from Salesforce.
func (x *session) pulls() bool {
	return len(x.PullFields)+len(x.reads) > 0 || x.PullTags != "" || x.ConsentFrom != ""
}

// reached is how far everything was told.
type reached struct {
	Contacts *place `json:"contacts,omitempty"`
	Outbox   *place `json:"outbox,omitempty"`
	// Topics is how far each was read, and Pulled when was last asked what was modified,
	// to the end; both only where topics are listened to.
	Topics map[string]spot `json:"topics,omitempty"`
	Pulled time.Time       `json:"pulled,omitzero"`
}

// Poll implements [core.Poller]: a page of the contacts and one of the messages to
// send, from now on when there is no cursor; then it listens, where there is
// something to listen to.
func (c *Connector) Poll(ctx context.Context, account core.Account, cursor json.RawMessage) (core.Polled, error) {
	x, err := c.open(account)
	if err != nil {
		return core.Polled{}, err
	}
	listens := len(x.topics()) > 0
	if !x.pulls() && x.SendObject == "" && !listens {
		return core.Polled{Cursor: cursor}, nil
	}
	var at reached
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return core.Polled{}, core.Errorf(core.CodeInternal, "poll", "the place reached cannot be read: %w", err)
		}
	}
	for _, topic := range x.topics() {
		if _, known := at.Topics[topic]; !known {
			if at.Topics == nil {
				at.Topics = map[string]spot{}
			}
			at.Topics[topic] = spot{Began: time.Now().UTC().Truncate(time.Millisecond)}
			at.Pulled = time.Time{}
		}
	}
	var polled core.Polled
	if now := time.Now().UTC(); listens && now.Sub(at.Pulled) < pullEvery && !now.Before(at.Pulled) {
		if polled.Events, err = x.hear(ctx, &at); err != nil {
			return core.Polled{}, err
		}
		polled.More = at.Pulled.IsZero()
		return ends(polled, at, true)
	}
	at.Pulled = time.Time{}
	x.watchEvents(ctx)
	for _, pull := range []struct {
		wanted bool
		object string
		at     **place
		names  func(context.Context) ([]string, *core.Error)
		tell   func(context.Context, *place, []found) ([]core.Event, *core.Error)
	}{
		{x.pulls(), x.ContactObject, &at.Contacts, x.contactNames, x.changes},
		{x.SendObject != "", x.SendObject, &at.Outbox, x.outboxNames, x.asked},
	} {
		if !pull.wanted {
			continue
		}
		names, err := pull.names(ctx)
		if err != nil {
			return core.Polled{}, err
		}
		list, next, err := x.modified(ctx, pull.object, *pull.at, names)
		if err != nil {
			return core.Polled{}, err
		}
		if len(list) > 0 {
			events, err := pull.tell(ctx, *pull.at, list)
			if err != nil {
				return core.Polled{}, err
			}
			polled.Events = append(polled.Events, events...)
		}
		*pull.at = next
		polled.More = polled.More || next.ID != ""
	}
	if listens && !polled.More {
		at.Pulled, polled.More = time.Now().UTC(), true // it listens from the next call on
	}
	return ends(polled, at, false)
}

// ends gives an answer its cursor.
func ends(polled core.Polled, at reached, watching bool) (core.Polled, error) {
	next, err := json.Marshal(at)
	if err != nil {
		return core.Polled{}, err
	}
	polled.Cursor, polled.Watching = next, watching
	return polled, nil
}

const (
	// pullLimit is how many records of an object are looked at in one Poll. Each has
	// two events at most: see [core.MaxPolled].
	pullLimit = 500
	// lookBack is asked for again until that long after the latest was seen: a long
	// transaction becomes visible minutes after the time that its records bear.
	lookBack = 3 * time.Minute
)

// place is how far an object was read in the order of modification.
type place struct {
	// At is what was read, all of it; with ID what was read of a round that is not at
	// its end: up to that record among those modified at At.
	At time.Time `json:"at"`
	ID string    `json:"id,omitempty"`
	// High is the latest that was ever seen, Seen when that was by our clock, of which
	// only differences count, and Began what there was at first.
	High  time.Time `json:"high"`
	Seen  time.Time `json:"seen"`
	Began time.Time `json:"began"`
}

// moment is how a query writes a time.
func moment(t time.Time) string { return t.UTC().Format(stamp) }

// modified returns the next records of an object in the order in which they were
// modified, deleted ones too, and the place after them. It has an ID when there may be
// more. Records that were modified at the same time are read in the order of their
// ids, so that however many they are, none is passed over.
func (x *session) modified(ctx context.Context, object string, p *place, names []string) ([]found, *place, *core.Error) {
	if p == nil {
		list, _, err := x.queryAll(ctx, object, "SELECT SystemModstamp FROM "+object+" ORDER BY SystemModstamp DESC LIMIT 1")
		if err != nil {
			return nil, nil, err
		}
		p = &place{At: time.Unix(0, 0).UTC()}
		if len(list) > 0 {
			if p.At, err = list[0].stamp("SystemModstamp"); err != nil {
				return nil, nil, err
			}
		}
		// More may be modified in the same second.
		p.High, p.Began, p.At = p.At, p.At, p.At.Add(-time.Second)
		return nil, p, nil
	}
	after := "SystemModstamp > " + moment(p.At)
	if p.ID != "" {
		after = "(" + after + " OR (SystemModstamp = " + moment(p.At) + " AND Id > " + quoted(p.ID) + "))"
	}
	names = append([]string{"Id", "SystemModstamp", "IsDeleted", "CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById"}, names...)
	list, whole, err := x.queryAll(ctx, object, "SELECT "+fieldNames(names)+" FROM "+object+" WHERE "+after+
		" ORDER BY SystemModstamp, Id LIMIT "+limitText)
	if err != nil {
		return nil, nil, err
	}
	next, now := *p, time.Now().UTC()
	next.ID = ""
	if len(list) > 0 {
		last := list[len(list)-1]
		if next.At, err = last.stamp("SystemModstamp"); err != nil {
			return nil, nil, err
		}
		if next.At.After(next.High) {
			next.High, next.Seen = next.At, now
		}
		if len(list) == pullLimit || !whole {
			next.ID = last.text("Id")
			return list, &next, nil
		}
	}
	// This round is at its end. The next begins a little before it, for a while.
	if next.At = next.High; now.Sub(next.Seen) < lookBack {
		next.At = next.High.Add(-lookBack)
	}
	next.At = later(next.At, next.Began.Add(-time.Second))
	return list, &next, nil
}
