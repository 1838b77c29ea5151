package zohosim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
)

// Field is a field of a module, as settings/fields tells it.
type Field struct {
	Name      string `json:"api_name"`
	Type      string `json:"data_type"`
	Length    int    `json:"length,omitempty"`
	Unique    bool   `json:"-"`
	Mandatory bool   `json:"system_mandatory"`
	ReadOnly  bool   `json:"read_only"`
	Custom    bool   `json:"custom_field"`
	// Picklist are the values of a picklist; without any, all are taken.
	Picklist []string `json:"-"`
}

// state is the account's data, under one lock that is never held across I/O.
type state struct {
	opts    *Options
	mu      sync.Mutex
	modules map[string]*module
	ids     int64
	viewIDs int64
	tokens  map[string]*token
	seq     int64
	watch   watch
}

type module struct {
	name    string
	fields  []*Field
	byName  map[string]*Field
	records []*record // in order of creation
	byID    map[string]*record
	unique  map[string]map[string]*record // field, value in lower case
	views   map[string]*view
}

type record struct {
	id                string
	values            map[string]any
	created, modified time.Time
	writes            int
	history           []Write
	tags              []string
	members           []string // of a campaign
	deleted           bool
	// Who made, changed and deleted it, and all that was done to it, the oldest first.
	createdBy, modifiedBy, deletedBy Editor
	deletedAt                        time.Time
	timeline                         []entry
	// indexed is what search sees until the lag after modified has passed.
	indexed map[string]any
	locked  bool
}

func (s *state) init(o *Options) {
	s.opts, s.modules, s.ids = o, map[string]*module{}, 5_500_000_000_000
	s.viewIDs, s.tokens = 5_400_000_000_000, map[string]*token{}
	s.watch = watch{channels: map[string]*channel{}, wake: make(chan struct{}, 1)}
	text := func(name string, length int) Field {
		return Field{Name: name, Type: "text", Length: length, Custom: true}
	}
	key := func(name string) Field { f := text(name, 255); f.Unique = true; return f }
	last := Field{Name: "Last_Name", Type: "text", Length: 80, Mandatory: true}
	contacts := []Field{last, {Name: "First_Name", Type: "text", Length: 40}, {Name: "Email", Type: "email", Length: 100, Unique: true},
		{Name: "Phone", Type: "phone", Length: 50}, {Name: "Mobile", Type: "phone", Length: 30}, {Name: "Home_Phone", Type: "phone", Length: 30},
		{Name: "Mailing_City", Type: "text", Length: 100}, {Name: "Description", Type: "textarea", Length: 32000},
		{Name: "Full_Name", Type: "text", Length: 120, ReadOnly: true}}
	subject := Field{Name: "Subject", Type: "text", Length: 255, Mandatory: true}
	tasks := []Field{subject, {Name: "Due_Date", Type: "date"}, {Name: "Status", Type: "picklist", Length: 120},
		{Name: "Priority", Type: "picklist", Length: 120}, {Name: "Description", Type: "textarea", Length: 32000},
		{Name: "Who_Id", Type: "lookup"}, {Name: "Owner", Type: "ownerlookup"}}
	cases := []Field{subject, {Name: "Status", Type: "picklist", Length: 120, Mandatory: true}, {Name: "Case_Origin", Type: "picklist", Length: 120, Mandatory: true},
		{Name: "Priority", Type: "picklist", Length: 120}, {Name: "Description", Type: "textarea", Length: 32000},
		{Name: "Related_To", Type: "lookup"}, {Name: "Owner", Type: "ownerlookup"}}
	notes := []Field{{Name: "Note_Title", Type: "text", Length: 120}, {Name: "Note_Content", Type: "textarea", Length: 65535, Mandatory: true},
		{Name: "Parent_Id", Type: "lookup", Mandatory: true}}
	if !o.Bare {
		contacts = append(contacts, key("WA_Contact_ID"), text("WA_BSUID", 255), text("WA_Username", 255), text("WA_Tags", 255), text("WA_Notes", 255))
		tasks, cases = append(tasks, key("WA_Escalation_ID")), append(cases, key("WA_Escalation_ID"))
	}
	s.add("Contacts", contacts)
	s.add("Tasks", tasks)
	s.add("Cases", cases)
	s.add("Notes", notes)
	s.add(campaigns, []Field{{Name: "Campaign_Name", Type: "text", Length: 200, Mandatory: true}, {Name: "Status", Type: "picklist", Length: 120}})
	if !o.NoMessages {
		s.add("WhatsApp_Messages", []Field{{Name: "Name", Type: "text", Length: 120, Mandatory: true}, key("WA_Message_ID"),
			{Name: "Contact", Type: "lookup", Custom: true}, text("Direction", 255), {Name: "Body", Type: "textarea", Length: 32000, Custom: true},
			text("Type", 255), text("Status", 255), {Name: "Status_Time", Type: "datetime", Custom: true}, text("Status_Error", 255),
			{Name: "Message_Time", Type: "datetime", Custom: true}, {Name: "Media_URL", Type: "text", Length: 255, Custom: true}})
	}
}

func (s *state) add(name string, fields []Field) {
	m := &module{name: name, byName: map[string]*Field{}, byID: map[string]*record{}, unique: map[string]map[string]*record{}, views: map[string]*view{}}
	for _, f := range fields {
		m.put(f)
	}
	s.modules[name] = m
	s.addView(m, View{Name: "All " + strings.ReplaceAll(name, "_", " "), System: "ALLVIEWS"})
}

func (m *module) put(f Field) {
	if m.byName[f.Name] != nil {
		m.fields = slices.DeleteFunc(m.fields, func(g *Field) bool { return g.Name == f.Name })
	}
	m.fields, m.byName[f.Name] = append(m.fields, &f), &f
	if f.Unique {
		m.unique[f.Name] = map[string]*record{}
	}
}

// AddModule makes a custom module with a mandatory Name.
func (s *Sim) AddModule(name string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.add(name, []Field{{Name: "Name", Type: "text", Length: 120, Mandatory: true}})
}

// AddField makes a field, or replaces it.
func (s *Sim) AddField(module string, f Field) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.modules[module].put(f)
}

// RemoveField deletes a field of a module.
func (s *Sim) RemoveField(module, name string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m := s.state.modules[module]
	delete(m.byName, name)
	delete(m.unique, name)
	m.fields = slices.DeleteFunc(m.fields, func(f *Field) bool { return f.Name == name })
}

// AddRecord makes a record as a person would, and returns its id.
func (s *Sim) AddRecord(module string, values map[string]any) string {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.create(s.state.modules[module], values, time.Now(), Person).id
}

// Lock locks a record: writes to it are refused.
func (s *Sim) Lock(module, id string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.modules[module].byID[id].locked = true
}

// check reports what is wrong with writing values to a record (nil: a new one). The
// caller holds the lock.
func (m *module) check(r *record, values map[string]any, at string) *answered {
	bad := func(code, name, message string, more map[string]any) *answered {
		details := map[string]any{"api_name": name, "json_path": at + "." + name}
		maps.Copy(details, more)
		a := failure(code, message, details)
		return &a
	}
	if r != nil && r.locked {
		a := failure("RECORD_LOCKED", "the record is locked", map[string]any{"id": r.id})
		return &a
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f, v := m.byName[name], values[name]
		if f == nil || f.ReadOnly {
			continue // silently, as Zoho does
		}
		if want := f.refuses(v); want != "" {
			return bad("INVALID_DATA", name, "invalid data", map[string]any{"expected_data_type": want})
		}
		if t, ok := v.(string); ok && f.Length > 0 && len(utf16.Encode([]rune(t))) > f.Length {
			return bad("INVALID_DATA", name, "invalid data", map[string]any{"maximum_length": f.Length})
		}
		if f.Unique && v != nil && v != "" {
			if other := m.unique[name][fold(v)]; other != nil && other != r {
				return bad("DUPLICATE_DATA", name, "duplicate data", map[string]any{"id": other.id, "duplicate_record": map[string]any{"id": other.id}})
			}
		}
	}
	for _, f := range m.fields {
		v, given := values[f.Name]
		if f.Mandatory && (v == nil || v == "") && (given || r == nil) {
			return bad("MANDATORY_NOT_FOUND", f.Name, "required field not found", nil)
		}
	}
	return nil
}

// refuses returns the type that a field wants instead of v, "" when v will do.
func (f *Field) refuses(v any) string {
	ok := true
	switch v := v.(type) {
	case nil:
	case string:
		switch f.Type {
		case "integer", "double", "currency", "boolean", "lookup", "ownerlookup", "multiselectpicklist":
			ok = false
		case "date":
			_, err := time.Parse(time.DateOnly, v)
			ok = err == nil
		case "datetime":
			_, err := time.Parse(time.RFC3339, v) // with Z too: Zoho's own client sends that
			ok = err == nil && !strings.Contains(v, ".")
		case "email":
			ok = v == "" || strings.Contains(v, "@")
		case "phone":
			ok = strings.Trim(v, "+0123456789 ()-.") == ""
		}
	case float64:
		ok = f.Type == "double" || f.Type == "currency" || f.Type == "integer" && v == float64(int64(v))
	case bool:
		ok = f.Type == "boolean"
	case []any:
		ok = f.Type == "multiselectpicklist"
	case map[string]any:
		id, _ := v["id"].(string)
		ok = (f.Type == "lookup" || f.Type == "ownerlookup") && id != ""
	}
	if ok {
		return ""
	}
	switch f.Type {
	case "integer", "double", "currency", "boolean", "date", "datetime", "email", "phone":
		return f.Type
	case "lookup", "ownerlookup":
		return "jsonobject"
	case "multiselectpicklist":
		return "jsonarray"
	}
	return "text"
}

// fold is how unique values are compared.
func fold(v any) string { s, _ := v.(string); return strings.ToLower(s) }

func (s *state) create(m *module, values map[string]any, now time.Time, by Editor) *record {
	s.ids++
	r := &record{id: strconv.FormatInt(s.ids, 10) + "000", values: map[string]any{}, created: now, createdBy: by}
	m.records, m.byID[r.id] = append(m.records, r), r
	s.put(m, r, values, now)
	r.did("added", now, by, nil)
	s.notify(m, r, "insert", nil)
	return r
}

// set writes values that were checked. The caller holds the lock.
func (s *state) set(m *module, r *record, values map[string]any, now time.Time, by Editor) {
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if f := m.byName[name]; f != nil && !f.ReadOnly && text(r.values[name]) != text(values[name]) {
			changes = append(changes, change{name, text(r.values[name]), text(values[name])})
		}
	}
	s.put(m, r, values, now)
	r.did("updated", now, by, changes)
	s.notify(m, r, "update", changes)
}

func (s *state) put(m *module, r *record, values map[string]any, now time.Time) {
	s.seq++
	if now.Sub(r.modified) >= s.opts.SearchLag {
		r.indexed = maps.Clone(r.values)
		if r.writes == 0 {
			r.indexed = nil
		}
	}
	r.modified = now
	r.writes++
	for name, v := range values {
		f := m.byName[name]
		if f == nil || f.ReadOnly {
			continue
		}
		if f.Unique {
			if old, ok := r.values[name]; ok && m.unique[name][fold(old)] == r {
				delete(m.unique[name], fold(old))
			}
			if v != nil && v != "" {
				m.unique[name][fold(v)] = r
			}
		}
		r.values[name] = v
		if slices.Contains(s.opts.History, name) {
			r.history = append(r.history, Write{name, text(v), s.seq})
		}
	}
}

// text is a value as the ledger tells it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = text(v[i])
		}
		return strings.Join(parts, ";")
	case map[string]any:
		return text(v["id"])
	case Editor:
		return v.ID
	}
	return ""
}

func itoa(n int) string { return strconv.Itoa(n) }
