package zoho

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// What happens in Zoho is found by asking which records were modified, in the order
// in which they were; Zoho's notifications name records to look at sooner. Both are
// told in the same words: see told.go and outbox.go.

var (
	_ core.Poller   = (*Connector)(nil)
	_ core.Receiver = (*Connector)(nil)
)

// inboundSettings say what is taken from Zoho; all of it is left alone by default.
type inboundSettings struct {
	// PullFields says which contact field a field of Zoho's becomes.
	PullFields map[string]string `json:"pull_fields"`
	// PullTags takes over Zoho's tags.
	PullTags bool `json:"pull_tags"`
	// ConsentFrom is the field in which people in Zoho enter consent.
	ConsentFrom string `json:"consent_from"`
	// PullDeleted tells of contacts that were deleted or merged away.
	PullDeleted bool `json:"pull_deleted"`
	// History reads the timeline of a record that changed, a credit for each. Without
	// it a change is dated by the whole record, and what somebody changed just before
	// the bridge wrote is not told.
	History bool `json:"history"`
	// Notifications has Zoho call the bridge, where that can be reached.
	Notifications bool `json:"notifications"`

	// SendModule holds messages that somebody in Zoho asks for: a record is one.
	SendModule string `json:"send_module"`
	SendTo     string `json:"send_to_field"`
	// SendContact is a lookup to the contacts' module: who gets it where SendTo is
	// empty.
	SendContact  string `json:"send_contact_field"`
	SendText     string `json:"send_text_field"`
	SendTemplate string `json:"send_template_field"`
	SendLanguage string `json:"send_language_field"`
	SendParams   string `json:"send_params_field"`
	// SendAuthor is "human" or "bot": who is taken to have written them.
	SendAuthor string `json:"send_author"`
	// SendStatus is where what becomes of the message is written, SendError why it failed.
	SendStatus string `json:"send_status_field"`
	SendError  string `json:"send_error_field"`
}

func defaultInbound() inboundSettings {
	return inboundSettings{PullDeleted: true, History: true, Notifications: true, SendTo: "Phone", SendText: "Body", SendAuthor: core.AuthorHuman}
}

// check reports what is wrong; taken is the module of messages that were sent.
func (s *inboundSettings) check(taken string) *core.Error {
	names := []named{{"consent_from", s.ConsentFrom}, {"send_module", s.SendModule}, {"send_to_field", s.SendTo},
		{"send_contact_field", s.SendContact}, {"send_text_field", s.SendText},
		{"send_template_field", s.SendTemplate}, {"send_language_field", s.SendLanguage}, {"send_params_field", s.SendParams},
		{"send_status_field", s.SendStatus}, {"send_error_field", s.SendError}}
	for _, field := range slices.Sorted(maps.Keys(s.PullFields)) {
		if s.PullFields[field] == "" {
			return crm.BadSetting(settingsOp, "pull_fields."+field, "want the API name of a field")
		}
		names = append(names, named{"pull_fields." + field, s.PullFields[field]})
	}
	for _, n := range names {
		if n.name != "" && !apiName.MatchString(n.name) {
			return crm.BadSetting(settingsOp, n.setting, "want an API name: a letter, then letters, digits and _")
		}
	}
	switch {
	case s.ConsentFrom != "" && !s.History:
		return crm.BadSetting(settingsOp, "consent_from", "needs history = true: only a timeline tells when consent was given, and by whom")
	case s.SendModule != "" && s.SendModule == taken:
		return crm.BadSetting(settingsOp, "send_module", "%s holds the messages that were sent", taken)
	case s.SendModule != "" && s.SendTo == "" && s.SendContact == "":
		return crm.BadSetting(settingsOp, "send_to_field", "want this or send_contact_field")
	case s.SendModule != "" && s.SendText == "" && s.SendTemplate == "":
		return crm.BadSetting(settingsOp, "send_text_field", "want this or send_template_field")
	case s.SendTemplate != "" && s.SendLanguage == "":
		return crm.BadSetting(settingsOp, "send_language_field", "a template has a language")
	case s.SendStatus == "" && s.SendError != "":
		return crm.BadSetting(settingsOp, "send_error_field", "needs send_status_field")
	case s.SendStatus != "" && slices.Contains([]string{s.SendTo, s.SendContact, s.SendText, s.SendTemplate, s.SendLanguage, s.SendParams, s.SendError}, s.SendStatus):
		return crm.BadSetting(settingsOp, "send_status_field", "want a field of its own")
	case s.SendError != "" && slices.Contains([]string{s.SendTo, s.SendContact, s.SendText, s.SendTemplate, s.SendLanguage, s.SendParams}, s.SendError):
		return crm.BadSetting(settingsOp, "send_error_field", "want a field of its own")
	case s.SendAuthor != core.AuthorHuman && s.SendAuthor != authorBot:
		return crm.BadSetting(settingsOp, "send_author", "want %s or %s", core.AuthorHuman, authorBot)
	}
	return nil
}

// authorBot is how settings and requests name a message that no person wrote.
const authorBot = "bot"

const (
	// pullLimit is how many records of a module are looked at in one Poll. Each may
	// have maxGroups events, one about tags and one about consent; those of the outbox
	// have one, and so have binLimit that are gone: see [core.MaxPolled].
	pullLimit = 100
	maxGroups = 14
	// lookBack is asked for again until that long after the latest was seen: a write
	// becomes visible a little after the time that it bears, which is a whole second.
	lookBack = time.Minute
	// clock is how times are written, which have whole seconds in Zoho and an offset: its
	// pages show none that ends in Z.
	clock = "2006-01-02T15:04:05-07:00"
)

// reached is how far everything was told.
type reached struct {
	Contacts *place   `json:"contacts,omitempty"`
	Outbox   *place   `json:"outbox,omitempty"`
	Bin      *bin     `json:"bin,omitempty"`
	Channel  *channel `json:"channel,omitempty"`
}

// place is how far a module was read in the order of modification.
type place struct {
	// At is what was read, with ID only up to that record among those modified at At.
	At time.Time `json:"at"`
	ID string    `json:"id,omitempty"`
	// High is the latest that was ever seen, Seen when that was by our clock, of which
	// only differences count, and Began what there was at first.
	High  time.Time `json:"high"`
	Seen  time.Time `json:"seen"`
	Began time.Time `json:"began"`
}

// pulls reports whether anything of a contact is taken from Zoho.
func (x *session) pulls() bool {
	return len(x.PullFields)+len(x.also) > 0 || x.PullTags || x.ConsentFrom != ""
}

// Poll implements [core.Poller]: a page of each module, from now on when there is no
// cursor.
func (c *Connector) Poll(ctx context.Context, a core.Account, cursor json.RawMessage) (core.Polled, error) {
	x, err := c.open(a)
	if err != nil {
		return core.Polled{}, err
	}
	if !x.pulls() && x.SendModule == "" {
		return core.Polled{Cursor: cursor}, nil
	}
	var at reached
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return core.Polled{}, core.Errorf(core.CodeInternal, "poll", "the place reached cannot be read: %w", err)
		}
	}
	if err := x.reserved(); err != nil {
		return core.Polled{}, err
	}
	if at.Channel, err = x.keepChannel(ctx, a, at.Channel); err != nil {
		return core.Polled{}, err
	}
	var polled core.Polled
	pull := func(module string, p **place, tell func(context.Context, *place, []found) ([]core.Event, *core.Error)) *core.Error {
		list, more, err := x.next(ctx, module, p)
		if err != nil || len(list) == 0 {
			polled.More = polled.More || more
			return err
		}
		events, err := tell(ctx, *p, list)
		polled.Events, polled.More = append(polled.Events, events...), polled.More || more
		return err
	}
	if x.pulls() {
		err = pull(x.ContactModule, &at.Contacts, func(ctx context.Context, _ *place, list []found) ([]core.Event, *core.Error) {
			return x.changes(ctx, list)
		})
	}
	if err == nil && x.pulls() && x.PullDeleted && !polled.More {
		var gone []core.Event
		gone, polled.More, err = x.gone(ctx, &at.Bin, at.Contacts.High)
		polled.Events = append(polled.Events, gone...)
	}
	if err == nil && x.SendModule != "" {
		err = pull(x.SendModule, &at.Outbox, func(ctx context.Context, p *place, list []found) ([]core.Event, *core.Error) {
			return x.asked(ctx, ids(list), p.Began)
		})
	}
	if err != nil {
		return core.Polled{}, err
	}
	next, jsonErr := json.Marshal(at)
	if jsonErr != nil {
		return core.Polled{}, jsonErr
	}
	polled.Cursor = next
	return polled, nil
}

// traits are what is asked of a record that was modified: enough to know what else
// to ask.
func (x *session) traits(module string) []string {
	list := []string{"id", "Modified_Time", "Created_Time", "Created_By"}
	if module == x.ContactModule {
		list = append(list, x.ContactKey)
	}
	return list
}

// next returns the next records of a module, in the order in which they were
// modified, and goes on. Records that were modified in the same second are read in
// the order of their ids, so that however many they are, and whatever is modified
// meanwhile, none is passed over.
func (x *session) next(ctx context.Context, module string, at **place) (list []found, more bool, err *core.Error) {
	p := *at
	if p == nil {
		list, err = x.queryUpTo(ctx, 1, module, "Modified_Time is not null order by Modified_Time desc", x.traits(module)...)
		if err != nil {
			return nil, false, err
		}
		p = &place{At: time.Unix(0, 0).UTC()}
		if len(list) > 0 {
			p.At = list[0].when("Modified_Time")
		}
		p.High, p.Began = p.At, p.At
		*at = p
		return nil, false, nil
	}
	second := quote(p.At.UTC().Format(clock))
	if p.ID != "" {
		list, err = x.queryUpTo(ctx, pullLimit, module, "Modified_Time = "+second+" and id > "+quote(p.ID)+" order by id asc", x.traits(module)...)
		if err != nil {
			return nil, false, err
		}
		if p.ID = ""; len(list) == pullLimit {
			p.ID = list[len(list)-1].id()
		}
		return list, true, nil
	}
	list, err = x.queryUpTo(ctx, pullLimit, module, "Modified_Time > "+second+" order by Modified_Time asc", x.traits(module)...)
	if err != nil {
		return nil, false, err
	}
	last := p.At
	if len(list) > 0 {
		last = list[len(list)-1].when("Modified_Time")
	}
	switch {
	case last.IsZero():
		return nil, false, core.Errorf(core.CodeInternal, "query "+module, "a record without Modified_Time")
	case len(list) < pullLimit:
		now := time.Now().UTC()
		if p.At = last; last.After(p.High) {
			p.High, p.Seen = last, now
		}
		if since := now.Sub(p.Seen); since >= 0 && since < lookBack {
			p.At = p.High.Add(-lookBack)
		}
		return list, false, nil
	}
	// There may be more of the last second than there was room for.
	whole := slices.IndexFunc(list, func(f found) bool { return f.when("Modified_Time").Equal(last) })
	if whole == 0 {
		p.At, p.ID = last, "0"
		return nil, true, nil
	}
	p.At = list[whole-1].when("Modified_Time")
	return list[:whole], true, nil
}

func ids(list []found) []string {
	out := make([]string, 0, len(list))
	for _, f := range list {
		if id := f.id(); recordID.MatchString(id) {
			out = append(out, id)
		}
	}
	return out
}

// when is a field's time; zero when it is none.
func (f found) when(name string) time.Time {
	at, err := time.Parse(time.RFC3339, f.text(name))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// read returns records as they are now, by id, with a credit for a hundred of them;
// those that are gone are left out.
func (x *session) read(ctx context.Context, op, module string, ids, names []string) (map[string]found, *core.Error) {
	all := map[string]found{}
	for part := range slices.Chunk(ids, maxIn) {
		// Of more fields than fit a call the rest is read with another.
		for some := range slices.Chunk(names, maxSelect) {
			var a struct {
				Data []found `json:"data"`
			}
			path := fmt.Sprintf("%s?ids=%s&fields=%s&per_page=%d", module, strings.Join(part, ","), strings.Join(some, ","), maxFound)
			if r := x.call(ctx, op, "GET", path, nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
				return nil, r.Error
			}
			for _, f := range a.Data {
				if all[f.id()] == nil {
					all[f.id()] = found{}
				}
				maps.Copy(all[f.id()], f)
			}
		}
	}
	return all, nil
}

// eventID is the ID of an event about a record.
func eventID(what, record string, of ...string) string {
	sum := sha256.Sum256([]byte(what + " " + record + " " + strconv.Quote(strings.Join(of, "\n"))))
	return hex.EncodeToString(sum[:16])
}
