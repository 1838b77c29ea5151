package zoho

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// A record's timeline says when each field was last changed, by whom and by what
// means: see https://www.zoho.com/crm/developer/docs/api/v8/timeline-of-a-record.html.
// What was changed together is one event, whose ID is made of that change: however
// it is found, it counts once, and a value that comes back is another. What the
// bridge wrote is known by its user, unless that user was at the screen.

// edit is the last change of a field.
type edit struct {
	id     string // of the entry in the timeline; "" when the record was made with it
	at     time.Time
	user   string // the id of who did it
	name   string
	source string
	value  any // what it became, where the timeline says so
}

const (
	// atScreen is the source of what people do in Zoho's own pages.
	atScreen = "crm_ui"
	// timelinePages is how far back a timeline is read, in pages of timelinePage.
	timelinePages = 3
	timelinePage  = 200
	// reading is how many timelines are read at once; all calls wait for a turn, too.
	reading = 8
)

// userID is the user whose token it is: as Zoho said of what was written last, else asked
// for once in a process.
func (x *session) userID(ctx context.Context) (string, *core.Error) {
	x.known.mu.Lock()
	id := x.known.user
	x.known.mu.Unlock()
	if id != "" {
		return id, nil
	}
	var a struct {
		Users []struct {
			ID string `json:"id"`
		} `json:"users"`
	}
	if r := x.call(ctx, "read user", "GET", "users?type=CurrentUser", nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
		return "", r.Error
	}
	if len(a.Users) != 1 || a.Users[0].ID == "" {
		return "", crm.Failure(core.CodeUnavailable, "read user", "Zoho does not say whose token it is")
	}
	x.isUser(a.Users[0].ID)
	return a.Users[0].ID, nil
}

// isUser takes note of the user whose token it is.
func (x *session) isUser(id string) {
	if id == "" {
		return
	}
	x.known.mu.Lock()
	x.known.user = id
	x.known.mu.Unlock()
}

// watched are the fields whose changes matter: those of the settings and of the
// lane's mapping that there are.
func (x *session) watched(fs *fields) []string {
	var names []string
	for _, name := range append(slices.Collect(maps.Values(x.PullFields)), append(slices.Clone(x.also), x.ConsentFrom)...) {
		if fs.byName[name] != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// identity are the fields that say who a contact is.
func (x *session) identity() []string {
	names := append([]string{x.PhoneField, x.BSUIDField}, x.AdoptFields...)
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// phone is the first number of a contact that there is.
func (x *session) phone(r found) string {
	for _, name := range x.identity() {
		if v := r.text(name); name != x.BSUIDField && v != "" {
			return v
		}
	}
	return ""
}

// changes tells what is to be known of contacts, given their traits.
func (x *session) changes(ctx context.Context, list []found) ([]core.Event, *core.Error) {
	fs, err := x.fieldsOf(ctx, x.ContactModule, slices.Collect(maps.Values(x.PullFields))...)
	if err != nil {
		return nil, err
	}
	for _, n := range x.inboundFields() {
		if err := fs.lacking(n); err != nil {
			return nil, err
		}
	}
	own, err := x.userID(ctx)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(f found) bool {
		made := x.made(f)
		return made.ours(own) && made.at.Equal(f.when("Modified_Time")) // and nobody touched it since
	})
	names := x.watched(fs)
	histories, err := x.histories(ctx, list, names)
	if err != nil {
		return nil, err
	}
	// The values are read after the timelines: what is changed in between is told as
	// the change before it, and once more, as what it is, the next time.
	also := append(slices.Clone(names), x.identity()...)
	also = append(also, x.ContactKey, "Modified_Time", "Modified_By", "Tag")
	if x.TagsField != "" {
		also = append(also, x.TagsField)
	}
	slices.Sort(also)
	records, err := x.read(ctx, "read contacts", x.ContactModule, ids(list), slices.Compact(also))
	if err != nil {
		return nil, err
	}
	var events []core.Event
	for _, f := range list {
		if r := records[f.id()]; r != nil {
			events = append(events, x.told(f, r, histories[f.id()], names, own)...)
		}
	}
	return events, nil
}

// inboundFields are the fields of contacts that the settings want read.
func (s *settings) inboundFields() []named {
	list := []named{{"consent_from", s.ConsentFrom}}
	for _, field := range slices.Sorted(maps.Keys(s.PullFields)) {
		list = append(list, named{"pull_fields." + field, s.PullFields[field]})
	}
	return list
}

// histories returns the last change of each field of each record.
func (x *session) histories(ctx context.Context, list []found, names []string) (map[string]map[string]edit, *core.Error) {
	all := make(map[string]map[string]edit, len(list))
	var mu sync.Mutex
	var failed *core.Error
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := make(chan struct{}, reading)
	for _, f := range list {
		made := x.made(f)
		if len(names) == 0 || !x.History || made.at.Equal(f.when("Modified_Time")) {
			mu.Lock()
			all[f.id()] = each(names, made) // nobody has changed it since
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			h, err := x.history(ctx, f.id(), names, made)
			mu.Lock()
			defer mu.Unlock()
			if all[f.id()] = h; err != nil && failed == nil {
				failed = err
				cancel()
			}
		})
	}
	group.Wait()
	return all, failed
}

// made is how a record came to be. What bears our key and was made by our user was
// made by the bridge; our user may make others at the screen.
func (x *session) made(f found) edit {
	by, _ := f["Created_By"].(map[string]any)
	e := edit{at: f.when("Created_Time"), user: plain(by["id"]), name: plain(by["name"])}
	if f.text(x.ContactKey) == "" {
		e.source = atScreen
	}
	return e
}

func each(names []string, e edit) map[string]edit {
	all := make(map[string]edit, len(names))
	for _, name := range names {
		all[name] = e
	}
	return all
}

// history reads a record's timeline back to where all fields are found, or its
// beginning. A field that is not among the latest entries of a long one is left out:
// it was told long ago.
func (x *session) history(ctx context.Context, id string, names []string, made edit) (map[string]edit, *core.Error) {
	last := make(map[string]edit, len(names))
	path := fmt.Sprintf("%s/%s/__timeline?per_page=%d", x.ContactModule, id, timelinePage)
	for range timelinePages {
		var a struct {
			Timeline []struct {
				ID     string `json:"id"`
				Action string `json:"action"`
				At     string `json:"audited_time"`
				Source string `json:"source"`
				By     struct {
					ID   string `json:"id"`
					Name string `json:"name"`
				} `json:"done_by"`
				// Record is set for what happened to a related one.
				Record *struct {
					ID string `json:"id"`
				} `json:"record"`
				Fields []struct {
					Name  string `json:"api_name"`
					Value struct {
						New any `json:"new"`
					} `json:"_value"`
				} `json:"field_history"`
			} `json:"__timeline"`
			Info struct {
				More bool   `json:"more_records"`
				Next string `json:"next_page_token"`
			} `json:"info"`
		}
		r := x.call(ctx, "read timeline of contact", "GET", path, nil, func(b []byte) error { return crm.Decode(b, &a) })
		if r != nil {
			if r.Code == core.CodeInvalid {
				return nil, nil // it was deleted just now
			}
			return nil, r.Error
		}
		for _, e := range a.Timeline {
			if e.Record != nil && e.Record.ID != "" && e.Record.ID != id {
				continue
			}
			at, err := time.Parse(time.RFC3339, e.At)
			if err != nil {
				continue
			}
			if e.Action == "added" && e.Source != "" {
				made.source = e.Source
			}
			for _, f := range e.Fields {
				// They come with the newest first.
				if _, known := last[f.Name]; !known && slices.Contains(names, f.Name) {
					last[f.Name] = edit{cmp.Or(e.ID, e.At), at.UTC(), e.By.ID, e.By.Name, e.Source, f.Value.New}
				}
			}
		}
		switch {
		case len(last) == len(names):
			return last, nil
		case !a.Info.More || a.Info.Next == "":
			for _, name := range names {
				if _, known := last[name]; !known {
					last[name] = made
				}
			}
			return last, nil
		}
		path = fmt.Sprintf("%s/%s/__timeline?page_token=%s", x.ContactModule, id, tokenText(a.Info.Next))
	}
	return last, nil
}

// tokenText keeps of a page's token what may stand in an address.
func tokenText(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`&#?%+"`, r) {
			return -1
		}
		return r
	}, s)
}

// told makes events of a contact, from its traits, its values and their history;
// none when it cannot be anybody on WhatsApp.
func (x *session) told(traits, r found, history map[string]edit, names []string, own string) []core.Event {
	who := core.Contact{BSUID: r.text(x.BSUIDField), Phone: x.phone(r)}
	if who.Phone == "" && who.BSUID == "" {
		return nil
	}
	id := traits.id()
	by, _ := r["Modified_By"].(map[string]any)
	last := edit{at: r.when("Modified_Time"), user: plain(by["id"]), name: plain(by["name"])}
	if !x.History {
		history = each(names, last)
	}
	var events []core.Event
	for _, g := range groups(names, history, own) {
		e := core.Event{ID: eventID("contact", id, g.edit.id, g.edit.at.Format(clock)), Kind: core.KindContactChanged, Time: g.edit.at,
			ContactRef: id, Fields: map[string]any{"id": id}}
		contact := who
		for _, name := range g.names {
			switch v := r[name].(type) {
			case nil, map[string]any:
				e.Fields[name] = plain(v)
			default:
				e.Fields[name] = v
			}
		}
		for field, name := range x.PullFields {
			if _, changed := e.Fields[name]; changed {
				if contact.Fields == nil {
					contact.Fields = map[string]string{}
				}
				contact.Fields[field] = r.text(name)
			}
		}
		e.Contact = &contact
		if len(g.names) > 1 || g.names[0] != x.ConsentFrom || x.mapped(x.ConsentFrom) {
			events = append(events, e)
		}
	}
	if e, ok := x.toldTags(r, who, last, own); ok {
		events = append(events, e)
	}
	if e, ok := x.toldConsent(r, who, history[x.ConsentFrom], own); ok {
		events = append(events, e)
	}
	slices.SortStableFunc(events, func(a, b core.Event) int { return a.Time.Compare(b.Time) })
	return events
}

// mapped reports whether a field is more than the one that consent comes from.
func (x *session) mapped(name string) bool {
	return slices.Contains(x.also, name) || slices.Contains(slices.Collect(maps.Values(x.PullFields)), name)
}

// group are fields that were changed together.
type group struct {
	edit  edit
	names []string
}

// groups puts fields together that others changed together, the newest first; what
// is beyond maxGroups belongs to the last.
func groups(names []string, history map[string]edit, own string) []group {
	var list []group
	for _, name := range names {
		e, known := history[name]
		if !known || e.ours(own) || e.at.IsZero() {
			continue
		}
		i := slices.IndexFunc(list, func(g group) bool { return g.edit.id == e.id && g.edit.at.Equal(e.at) })
		if i < 0 {
			i, list = len(list), append(list, group{edit: e})
		}
		list[i].names = append(list[i].names, name)
	}
	slices.SortStableFunc(list, func(a, b group) int { return b.edit.at.Compare(a.edit.at) })
	for i := maxGroups; i < len(list); i++ {
		list[maxGroups-1].names = append(list[maxGroups-1].names, list[i].names...)
	}
	return list[:min(len(list), maxGroups)]
}

// ours reports whether the bridge did it.
func (e edit) ours(own string) bool { return e.user == own && e.source != atScreen }

// toldTags tells of the tags that the bridge does not know. Timelines do not say
// when a tag was given: it is dated by the record, whose own writes are left out.
func (x *session) toldTags(r found, who core.Contact, last edit, own string) (core.Event, bool) {
	if !x.PullTags || last.at.IsZero() {
		return core.Event{}, false
	}
	known := strings.Split(r.text(x.TagsField), ";")
	list, _ := r["Tag"].([]any)
	for _, v := range list {
		tag, _ := v.(map[string]any)
		if name := strings.TrimSpace(plain(tag["name"])); name != "" && !isOne(known, name) && len(who.Tags) < maxTags {
			who.Tags = append(who.Tags, name)
		}
	}
	if len(who.Tags) == 0 {
		return core.Event{}, false
	}
	slices.Sort(who.Tags)
	when := last.at.Format(clock)
	if last.user == own {
		when = ""
	}
	return core.Event{ID: eventID("tags", r.id(), append([]string{when}, who.Tags...)...), Kind: core.KindContactChanged, Time: last.at, Contact: &who,
		ContactRef: r.id(), Fields: map[string]any{"id": r.id()}}, true
}

// maxTags is how many tags of a record are looked at.
const maxTags = 100

// isOne reports whether a tag of Zoho's is one of ours, which may have been cut.
func isOne(ours []string, tag string) bool {
	return slices.ContainsFunc(ours, func(t string) bool {
		if cut := []rune(t); len(cut) > maxTag {
			t = string(cut[:maxTag])
		}
		return strings.EqualFold(strings.TrimSpace(t), tag)
	})
}

// The values of settings.consent_from that mean yes and no, in lower case.
var (
	consentYes = []string{"granted", "yes", "true", "1", "opted_in", "opted in"}
	consentNo  = []string{"withdrawn", "no", "false", "0", "opted_out", "opted out"}
)

// toldConsent tells what somebody in Zoho entered about the contact's consent. What
// the bridge wrote is none, and neither is what came with a change that the
// timeline does not show yet.
func (x *session) toldConsent(r found, who core.Contact, e edit, own string) (core.Event, bool) {
	if x.ConsentFrom == "" || e.at.IsZero() || e.ours(own) {
		return core.Event{}, false
	}
	state := consentState(r.text(x.ConsentFrom))
	if was := consentState(plain(e.value)); state == "" || was != "" && was != state {
		return core.Event{}, false
	}
	return core.Event{
		ID: eventID("consent", r.id(), e.id, e.at.Format(clock)), Kind: core.KindConsentChanged, Time: e.at, Contact: &who,
		Consent: &core.Consent{Level: "marketing", State: state, By: crm.Clip(cmp.Or(e.name, e.user), 100), Evidence: crm.Clip(fmt.Sprintf(
			"Zoho contact %s: %s was set to %q (%s)", r.id(), x.ConsentFrom, r.text(x.ConsentFrom), cmp.Or(e.source, "the record was made with it")), 400)},
	}, true
}

func consentState(value string) string {
	switch said := strings.ToLower(strings.TrimSpace(value)); {
	case slices.Contains(consentYes, said):
		return "granted"
	case slices.Contains(consentNo, said):
		return "withdrawn"
	}
	return ""
}
