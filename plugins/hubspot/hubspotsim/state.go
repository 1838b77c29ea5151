package hubspotsim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf16"
)

// state is the account's data: everything is under one lock, which is held for
// microseconds a row and never across I/O.
type state struct {
	opts   *Options
	delay  atomic.Int64
	mu     sync.Mutex
	tables map[string]*table
	seq    int64
	by     string // who writes, unless it is the API

	kept map[string]string // how search knows numbers, as they were written

	segments []*segment // in order of creation
	listIDs  int
}

// table is the records of one object.
type table struct {
	name, typeID string
	ids          int // the ids count from here
	properties   map[string]*Property
	groups       []group
	records      []*record // in order of creation
	byID         map[string]*record
	unique       map[string]map[string]*record // property, value
}

// record is one record. Its values are pairs rather than a map: there may be
// hundreds of thousands.
type record struct {
	id               string
	values           []value
	created, updated time.Time
	createSeq        int64
	updateSeq        int64
	writes           int
	history          []Write
	associated       map[string][]string
	archived         bool
	erased           bool   // for good
	merged           string // the record that it is now, unless empty
	// indexed is what search sees until the lag after stale has passed.
	indexed []value
	stale   time.Time
}

type value struct {
	p *Property
	v string
}

func (s *state) init(o *Options) {
	s.opts = o
	s.delay.Store(int64(o.Latency))
	s.tables = map[string]*table{}
	for name, o := range map[string]struct {
		typeID string
		ids    int
	}{"contacts": {"0-1", 1000}, "companies": {"0-2", 2_000_000_000}, "communications": {"0-18", 3_000_000_000}, "tickets": {"0-5", 4_000_000_000}} {
		t := &table{name: name, typeID: o.typeID, ids: o.ids, properties: map[string]*Property{}, byID: map[string]*record{},
			unique: map[string]map[string]*record{}, groups: []group{{Name: singular(name) + "information", Label: "Information"}}}
		for _, p := range builtin(name) {
			t.add(p)
		}
		s.tables[name] = t
	}
}

func (s *state) latency() time.Duration { return time.Duration(s.delay.Load()) }

func (t *table) add(p *Property) {
	t.properties[p.Name] = p
	if p.HasUniqueValue {
		t.unique[p.Name] = map[string]*record{}
	}
}

// tableName returns the object that a path or an id names, "" when there is none.
func tableName(s string) string {
	switch strings.ToLower(s) {
	case "contacts", "contact", "0-1":
		return "contacts"
	case "companies", "company", "0-2":
		return "companies"
	case "communications", "communication", "0-18":
		return "communications"
	case "tickets", "ticket", "0-5":
		return "tickets"
	}
	return ""
}

// maxValue is how many characters a value may have.
const maxValue = 65_536

// page copies records for the ledger.
func (s *state) page(object string, from, n int) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[object]
	if t == nil || from >= len(t.records) {
		return nil
	}
	page := make([]Record, 0, n)
	for _, r := range t.records[from:min(from+n, len(t.records))] {
		out := Record{ID: r.id, Properties: make(map[string]string, len(r.values)), Created: r.createSeq, Updated: r.updateSeq,
			Writes: r.writes, History: slices.Clone(r.history), Archived: r.archived, Erased: r.erased}
		for _, v := range r.values {
			out.Properties[v.p.Name] = v.v
		}
		if len(r.associated) > 0 {
			out.Associated = make(map[string][]string, len(r.associated))
			for k, ids := range r.associated {
				out.Associated[k] = slices.Clone(ids)
			}
		}
		page = append(page, out)
	}
	return page
}

// check reports what is wrong with writing properties to a record (nil: a new one).
// The caller holds the lock.
func (s *state) check(t *table, r *record, properties pairs, version string) *vendorError {
	for _, in := range properties {
		name, v := in.name, in.value
		p := t.properties[name]
		switch {
		case p == nil:
			return badValue("PROPERTY_DOESNT_EXIST", name, fmt.Sprintf("Property %q does not exist", name))
		case p.ReadOnly:
			return badValue("READ_ONLY_VALUE", name, fmt.Sprintf("%q is a read only property; its value cannot be set.", name))
		case len(v) > maxValue && len(utf16.Encode([]rune(v))) > maxValue:
			return badValue("INVALID_LENGTH", name, fmt.Sprintf("%q is too long: max %d characters", name, maxValue))
		}
		if v != "" && name == "email" && !plausible(v) {
			return badValue("INVALID_EMAIL", name, fmt.Sprintf("Email address %s is invalid", v))
		}
		if message := p.validate(v); message != "" {
			return badValue(p.invalidCode(), name, message)
		}
		if !p.HasUniqueValue || v == "" {
			continue
		}
		if name == "email" {
			v = strings.ToLower(v)
		}
		if other := t.unique[name][v]; other != nil && other != r {
			if name == "email" {
				return &vendorError{Status: "error", Category: "CONFLICT", Message: "Contact already exists. Existing ID: " + other.id,
					Context: map[string][]string{"existingId": {other.id}}}
			}
			return badValue("CONFLICTING_UNIQUE_VALUE", name, fmt.Sprintf("%s already has that value for %q.", other.id, name))
		}
	}
	if r != nil {
		return nil
	}
	var required []string
	switch t.name {
	case "contacts":
		if properties.get("email") == "" && properties.get("firstname") == "" && properties.get("lastname") == "" {
			return &vendorError{Status: "error", Category: "VALIDATION_ERROR",
				Message: "Error creating CONTACT. At least one of the following properties is required: email, firstname, lastname"}
		}
	case "communications":
		required = []string{"hs_communication_channel_type", "hs_communication_logged_from", "hs_timestamp"}
	case "tickets":
		required = []string{"subject", "hs_pipeline_stage"}
	}
	if version == "2026-09" {
		required = append(required, s.opts.Required[t.name]...)
	}
	for _, name := range required {
		if properties.get(name) == "" {
			return &vendorError{Status: "error", Category: "VALIDATION_ERROR",
				Message: fmt.Sprintf("Error creating %s. Some required properties were not set: [%s]", strings.ToUpper(t.typeID), name),
				Context: map[string][]string{"properties": {name}}}
		}
	}
	return nil
}

// plausible says whether HubSpot takes a text for an e-mail address.
func plausible(v string) bool {
	name, domain, ok := strings.Cut(v, "@")
	return ok && name != "" && strings.Contains(strings.Trim(domain, "."), ".") && !strings.ContainsAny(v, " \t\n")
}

// badValue is HubSpot's error for a property: JSON in a text.
func badValue(code, name, message string) *vendorError {
	return &vendorError{Status: "error", Category: "VALIDATION_ERROR", Message: fmt.Sprintf(
		`Property values were not valid: [{"isValid":false,"message":%q,"error":%q,"name":%q,"localizedErrorMessage":%q,"portalId":1}]`,
		message, code, name, message)}
}

// create makes a record; the caller holds the lock and has checked.
func (s *state) create(t *table, properties pairs, now time.Time) *record {
	s.seq++
	r := &record{id: strconv.Itoa(t.ids + len(t.records) + 1), created: now, createSeq: s.seq}
	t.records = append(t.records, r)
	t.byID[r.id] = r
	if s.opts.SearchLag > 0 {
		r.stale = now
	}
	s.put(t, r, properties, now)
	if s.opts.Created != nil {
		for _, v := range r.values {
			if v.p.HasUniqueValue {
				s.opts.Created(t.name, v.v)
				break
			}
		}
	}
	return r
}

// write changes a record; the caller holds the lock and has checked.
func (s *state) write(t *table, r *record, properties pairs, now time.Time) {
	s.seq++
	if s.opts.SearchLag > 0 && now.Sub(r.stale) >= s.opts.SearchLag {
		r.indexed, r.stale = slices.Clone(r.values), now
	}
	s.put(t, r, properties, now)
}

func (s *state) put(t *table, r *record, properties pairs, now time.Time) {
	r.updated, r.updateSeq = now, s.seq
	r.writes++
	if r.values == nil {
		r.values = make([]value, 0, len(properties))
	}
	for _, in := range properties {
		name, v := in.name, in.value
		if name == "email" {
			v = strings.ToLower(v)
		}
		p := t.properties[name]
		i := slices.IndexFunc(r.values, func(have value) bool { return have.p == p })
		if p.HasUniqueValue {
			if i >= 0 && r.values[i].v != v {
				delete(t.unique[name], r.values[i].v)
			}
			if v != "" {
				t.unique[name][v] = r
			}
		}
		if i >= 0 {
			r.values[i].v = v
		} else {
			r.values = append(r.values, value{p, v})
		}
		if slices.Contains(s.opts.History, name) {
			r.history = append(r.history, Write{Property: name, Value: v, Seq: s.seq, at: now, source: cmp.Or(s.by, "INTEGRATION")})
		}
	}
}

// archive hides a record; its unique values are free again.
func (s *state) archive(t *table, r *record) {
	s.seq++
	r.archived, r.updateSeq, r.updated = true, s.seq, time.Now()
	for _, v := range r.values {
		if v.p.HasUniqueValue && t.unique[v.p.Name][v.v] == r {
			delete(t.unique[v.p.Name], v.v)
		}
	}
}

// live returns a record by id, nil when there is none or it is archived.
func (t *table) live(id string) *record {
	if r := t.byID[id]; r != nil && !r.archived {
		return r
	}
	return nil
}
