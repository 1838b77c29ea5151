package salesforcesim

import (
	"fmt"
	"maps"
	"strings"
)

// relationship returns the field and the object that a relationship's name means:
// Contact for ContactId, Contact__r for Contact__c. Nil where there is none to an
// object of the org. The caller holds the lock.
func (s *Sim) relationship(t *table, name string) (Field, *table) {
	lower := strings.ToLower(name)
	id := lower + "id"
	if custom, ok := strings.CutSuffix(lower, "__r"); ok {
		id = custom + "__c"
	}
	f := t.fields[id]
	for _, object := range f.References {
		if to := s.tables[strings.ToLower(object)]; to != nil {
			return f, to
		}
	}
	return Field{}, nil
}

// related shows a field of the record that another refers to, as Relation.Field asks
// for it, in the answer out.
func (s *Sim) related(t *table, rec *record, path string, out map[string]any) *apiError {
	name, field, _ := strings.Cut(path, ".")
	f, to := s.relationship(t, name)
	if to == nil {
		return &apiError{ErrorCode: "INVALID_FIELD", Message: "Didn't understand relationship '" + name + "' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name."}
	}
	id, _ := rec.values[strings.ToLower(f.Name)].(string)
	other := to.get(id)
	if other == nil {
		other = &record{} // its fields are looked at all the same
	}
	shown, wrong := to.shown(other, []string{field})
	if wrong != nil {
		return wrong
	}
	label := strings.TrimSuffix(f.Name, "Id")
	if custom, ok := strings.CutSuffix(f.Name, "__c"); ok {
		label = custom + "__r"
	}
	switch have, _ := out[label].(map[string]any); {
	case other.id == "":
		out[label] = nil
	case have == nil:
		out[label] = shown
	default:
		maps.Copy(have, shown)
	}
	return nil
}

// refer reads a reference by an external id, {"Contact__r": {"Key__c": "1"}}, into
// the field that holds it. What it means may be nobody: that is the row's error.
func (s *Sim) refer(r *row, name string, v any) *apiError {
	f, to := s.relationship(r.t, name)
	key, _ := v.(map[string]any)
	if to == nil || key == nil {
		return noColumn(r.t, name)
	}
	for external, value := range key {
		if external == "attributes" {
			continue
		}
		e, ok := to.fields[strings.ToLower(external)]
		if !ok || !e.ExternalID {
			return &apiError{ErrorCode: "INVALID_FIELD", Message: fmt.Sprintf("Field name provided, %s is not an External ID or indexed field for %s", external, to.name)}
		}
		text, _ := value.(string)
		rec := to.unique[strings.ToLower(external)][strings.ToLower(text)]
		if rec == nil {
			r.wrong = &rowError{StatusCode: "INVALID_FIELD", Message: fmt.Sprintf("Foreign key external ID: %s not found for field %s in entity %s", text, e.Name, to.name), Fields: []string{}}
			return nil
		}
		r.values[strings.ToLower(f.Name)] = rec.id
	}
	return nil
}
