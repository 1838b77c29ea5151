package core

import "context"

// Describer is a Connector that can say what the CRM's records hold: what the
// mapping of a lane is checked against, and fitted to.
type Describer interface {
	Connector
	// Describe returns the properties of the records that Deliver writes. Errors
	// are those of Check. It is called when a lane with a mapping starts, now and
	// then afterwards, and by `wabridge mapping`.
	Describe(ctx context.Context, account Account) (Schema, error)
}

// MaxProperties is how many properties a Schema may have, of all objects together.
const MaxProperties = 5000

// Schema is what a CRM's records hold.
type Schema struct {
	// Objects are the kinds of records; the first is that of contacts.
	Objects []Object `json:"objects"`
	// Mapping is what the connector suggests for contacts, used where the lane says
	// mapping = "default". Rules whose property does not exist are left out.
	Mapping []MapRule `json:"mapping,omitempty"`
}

// Object is a kind of record.
type Object struct {
	// Name is the CRM's own: "contacts", "Contact".
	Name       string     `json:"name"`
	Properties []Property `json:"properties"`
}

// Property is one value of a record.
type Property struct {
	// Name is the one that Event.Fields has, Label what people see.
	Name  string       `json:"name"`
	Label string       `json:"label,omitempty"`
	Type  PropertyType `json:"type"`
	// Length is how many characters a text may have; 0 when the CRM does not say.
	Length int `json:"length,omitempty"`
	// Required says that a record cannot be without it, ReadOnly that it cannot be
	// written, Unique that no two records may have the same value.
	Required bool `json:"required,omitempty"`
	ReadOnly bool `json:"read_only,omitempty"`
	Unique   bool `json:"unique,omitempty"`
	// Values are those that a choice may have.
	Values []string `json:"values,omitempty"`
}

// PropertyType is what a property takes.
type PropertyType string

// The types of properties. A text may be written to PropertyOther: what becomes of
// it the CRM says.
const (
	PropertyText    PropertyType = "text"
	PropertyNumber  PropertyType = "number"
	PropertyBool    PropertyType = "bool"
	PropertyDate    PropertyType = "date"
	PropertyTime    PropertyType = "time"
	PropertyChoice  PropertyType = "choice"  // one of Values
	PropertyChoices PropertyType = "choices" // any of Values, joined by ";"
	PropertyOther   PropertyType = "other"
)

// MapRule says how one of the bridge's fields and one CRM property stand to each
// other: see package mapping for the fields and what the words mean.
type MapRule struct {
	Field    string `json:"field" koanf:"field"`
	Property string `json:"property" koanf:"property"`
	// Direction is "to" the CRM, "from" it, or "both"; "" is what the field allows.
	Direction string `json:"direction,omitempty" koanf:"direction"`
	// Conflict says which value counts when both sides have changed it: "newest",
	// "crm" or "whatsapp"; "" is "newest".
	Conflict string `json:"conflict,omitempty" koanf:"conflict"`
	// Type is what a field of scripts holds: "text" unless set, "number", "bool",
	// "date" or "time". The other fields have theirs.
	Type string `json:"type,omitempty" koanf:"type"`
	// Default is written while the bridge knows no value.
	Default string `json:"default,omitempty" koanf:"default"`
	// Transform are steps on the way to the CRM, in order: "trim", "upper",
	// "lower", "digits", "number".
	Transform []string `json:"transform,omitempty" koanf:"transform"`
	// Format is how dates and times are written: "date", "time", "seconds",
	// "milliseconds", or a pattern such as "DD.MM.YYYY hh:mm".
	Format string `json:"format,omitempty" koanf:"format"`
	// Separator joins lists; ";" unless set.
	Separator string `json:"separator,omitempty" koanf:"separator"`
	// Length is how many characters are written at most; 0 is what the CRM takes.
	Length int `json:"length,omitempty" koanf:"length"`
	// Values translates single values, ours to the CRM's, and back.
	Values map[string]string `json:"values,omitempty" koanf:"values"`
}

// Property returns a property of the contacts' object by its name, nil when there
// is none.
func (s *Schema) Property(name string) *Property {
	if len(s.Objects) == 0 {
		return nil
	}
	properties := s.Objects[0].Properties
	for i := range properties {
		if properties[i].Name == name {
			return &properties[i]
		}
	}
	return nil
}
