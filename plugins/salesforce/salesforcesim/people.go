package salesforcesim

import (
	"fmt"
	"strings"
	"time"
)

// The users of the org: the one that tokens are for, somebody who works there, and to
// whom its rules give cases and leads.
const (
	Integration = "005000000000simAAA"
	Person      = "005000000000perAAA"
	Assigned    = "005000000000rulAAA"
)

// actor is who does what is being done. The caller holds the lock.
func (s *Sim) actor() string {
	if s.person {
		return Person
	}
	return Integration
}

// touch notes when a record was changed, and by whom. The caller holds the lock.
func (s *Sim) touch(rec *record) {
	rec.values["systemmodstamp"], rec.values["lastmodifieddate"] = now(), now()
	rec.values["lastmodifiedbyid"] = s.actor()
}

// Track has the org keep the history of fields of an object, as its administrator
// does: in ContactHistory, in Thing__History for Thing__c.
func (s *Sim) Track(object string, fields ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[strings.ToLower(object)]
	history, parent := t.name+"History", t.name+"Id"
	if name, custom := strings.CutSuffix(t.name, "__c"); custom {
		history, parent = name+"__History", "ParentId"
	}
	kept := s.tables[strings.ToLower(history)]
	if kept == nil {
		kept = newTable(history, "017", lookup(parent, t.name), system("Field", "picklist"), system("OldValue", "anyType"), system("NewValue", "anyType"))
		s.tables[strings.ToLower(history)] = kept
	}
	t.history, t.parent = kept, strings.ToLower(parent)
	if t.tracked == nil {
		t.tracked = map[string]bool{}
	}
	for _, name := range fields {
		t.tracked[strings.ToLower(name)] = true
	}
}

// track notes a change of a field. The caller holds the lock.
func (s *Sim) track(t *table, rec *record, name string, v any) {
	if !t.tracked[name] {
		return
	}
	e := s.add(t.history)
	e.values[t.parent], e.values["field"], e.values["oldvalue"], e.values["newvalue"] = rec.id, t.fields[name].Name, rec.values[name], v
}

// asPerson does something as somebody at the org would. It panics when the org's
// rules refuse it.
func (s *Sim) asPerson(do func() *rowError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.person = true
	defer func() { s.person = false }()
	if err := do(); err != nil {
		panic(err.Message)
	}
}

// Create makes a record as somebody at the org would, and returns its id. It panics
// when the org's rules refuse it.
func (s *Sim) Create(object string, fields map[string]any) (id string) {
	s.asPerson(func() (wrong *rowError) { id, _, wrong = s.write(s.rowOf(object, "", fields), true); return wrong })
	return id
}

// Edit changes a record as somebody at the org would.
func (s *Sim) Edit(object, id string, fields map[string]any) {
	s.asPerson(func() *rowError { _, _, wrong := s.write(s.rowOf(object, id, fields), true); return wrong })
}

// Delete puts a record into the bin as somebody at the org would.
func (s *Sim) Delete(object, id string) {
	s.asPerson(func() *rowError {
		t := s.tables[strings.ToLower(object)]
		rec := t.byID[id]
		if rec == nil {
			return &rowError{Message: "entity is deleted"}
		}
		s.remove(t, rec)
		return nil
	})
}

// Merge merges a contact into another, which stays, as somebody at the org would:
// the other is deleted, and its MasterRecordId says what it became.
func (s *Sim) Merge(master, loser string) {
	s.asPerson(func() *rowError {
		t := s.tables["contact"]
		from, to := t.byID[loser], t.byID[master]
		if from == nil || to == nil || from == to {
			return &rowError{Message: "invalid merge"}
		}
		s.remove(t, from)
		from.values["masterrecordid"] = to.id
		s.touch(to)
		return nil
	})
}

// rowOf is a write of one record: a new one when id is empty.
func (s *Sim) rowOf(object, id string, fields map[string]any) row {
	r := row{t: s.tables[strings.ToLower(object)], key: id, create: id == "", values: map[string]any{}}
	if r.t == nil {
		panic("no object " + object)
	}
	for name, v := range fields {
		f, ok := r.t.fields[strings.ToLower(name)]
		if !ok {
			panic(fmt.Sprintf("no field %s on %s", name, object))
		}
		r.values[strings.ToLower(f.Name)] = v
	}
	return r
}

// timed reads a text as a time, as Salesforce or a query writes it.
func timed(text string) (time.Time, bool) {
	for _, layout := range []string{stampLayout, time.RFC3339Nano} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// Backdate has a record bear earlier times than when it became visible, as one that a long transaction wrote does.
func (s *Sim) Backdate(object, id string, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.tables[strings.ToLower(object)].byID[id]
	for _, name := range []string{"createddate", "lastmodifieddate", "systemmodstamp"} {
		text, _ := rec.values[name].(string)
		if at, ok := timed(text); ok {
			rec.values[name] = at.Add(-by).Format(stampLayout)
		}
	}
}
