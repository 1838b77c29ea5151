package salesforcesim

import (
	"fmt"
	"net/http"
	"strings"
)

// Field describes a field of an object, in the words of describe.
type Field struct {
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Length     int      `json:"length"`
	Nillable   bool     `json:"nillable"`
	Defaulted  bool     `json:"defaultedOnCreate"`
	Createable bool     `json:"createable"`
	Updateable bool     `json:"updateable"`
	ExternalID bool     `json:"externalId"`
	Unique     bool     `json:"unique"`
	Restricted bool     `json:"restrictedPicklist"`
	Custom     bool     `json:"custom"`
	References []string `json:"referenceTo,omitempty"`
	// Picklist are the values of a picklist that is restricted.
	Picklist []string `json:"-"`
}

// text returns a text field that can be written.
func text(name, kind string, length int) Field {
	return Field{Name: name, Type: kind, Length: length, Nillable: true, Createable: true, Updateable: true, Custom: strings.HasSuffix(name, "__c")}
}

// key returns a text that is External ID and Unique.
func key(name string) Field {
	f := text(name, "string", 255)
	f.ExternalID, f.Unique = true, true
	return f
}

func lookup(name string, to ...string) Field {
	f := text(name, "reference", 18)
	f.References = to
	return f
}

func system(name, kind string) Field {
	return Field{Name: name, Type: kind, Length: 18, Defaulted: true}
}

// table is an object with its records.
type table struct {
	name, prefix string
	fields       map[string]Field // by name in lower case
	order        []string
	records      []*record
	byID         map[string]*record
	unique       map[string]map[string]*record // by field, then by value in lower case
	// tracked are the fields whose changes go to history, where parent names the record.
	tracked map[string]bool
	history *table
	parent  string
}

// newTable returns an object with the fields that all have.
func newTable(name, prefix string, fields ...Field) *table {
	t := &table{name: name, prefix: prefix, fields: map[string]Field{}, byID: map[string]*record{}, unique: map[string]map[string]*record{}}
	t.add(system("Id", "id"), system("CreatedDate", "datetime"), system("CreatedById", "reference"), system("LastModifiedDate", "datetime"),
		system("LastModifiedById", "reference"), system("SystemModstamp", "datetime"), system("IsDeleted", "boolean"))
	t.add(fields...)
	return t
}

func (t *table) add(fields ...Field) {
	for _, f := range fields {
		lower := strings.ToLower(f.Name)
		if _, ok := t.fields[lower]; !ok {
			t.order = append(t.order, lower)
		}
		t.fields[lower] = f
		if f.Unique && t.unique[lower] == nil {
			t.unique[lower] = map[string]*record{}
		}
	}
}

// tables returns the objects of a new org.
func tables(o Options) map[string]*table {
	own := func(name string) string {
		if o.Namespace != "" {
			return o.Namespace + "__" + name
		}
		return name
	}
	required := func(f Field) Field { f.Nillable = false; return f }
	all := map[string]*table{}
	object := func(name, prefix string, fields ...Field) *table {
		t := newTable(name, prefix, fields...)
		all[strings.ToLower(name)] = t
		return t
	}
	optedOut := text("HasOptedOutOfEmail", "boolean", 0)
	optedOut.Defaulted = true
	contact := object("Contact", "003", system("Name", "string"), required(text("LastName", "string", 80)), text("FirstName", "string", 40), text("Phone", "phone", 40),
		text("MobilePhone", "phone", 40), text("Email", "email", 80), text("Department", "string", 80), text("Description", "textarea", 32000),
		text("Birthdate", "date", 0), optedOut, lookup("OwnerId", "User"), system("MasterRecordId", "reference"))
	priority := text("Priority", "picklist", 40)
	escalated := object("Case", "500", text("Subject", "string", 255), text("Description", "textarea", 32000), text("Status", "picklist", 40),
		priority, text("Origin", "picklist", 40), lookup("ContactId", "Contact"), lookup("OwnerId", "User", "Group"))
	task := object("Task", "00T", text("Subject", "combobox", 255), text("Description", "textarea", 32000), text("Status", "picklist", 40), priority,
		text("ActivityDate", "date", 0), lookup("WhoId", "Contact"), lookup("OwnerId", "User", "Group"))
	lead := object("Lead", "00Q", system("Name", "string"), required(text("LastName", "string", 80)), text("FirstName", "string", 40), required(text("Company", "string", 255)),
		text("Phone", "phone", 40), text("MobilePhone", "phone", 40), text("Email", "email", 80), lookup("OwnerId", "User", "Group"))
	segments(object)
	if o.Bare {
		return all
	}
	for _, t := range []*table{contact, lead} {
		t.add(key(own("WA_Contact_Id__c")), text(own("WA_BSUID__c"), "string", 255), text(own("WA_Username__c"), "string", 255), text(own("WA_Tags__c"), "string", 255))
	}
	escalated.add(key(own("WA_Escalation_Id__c")))
	task.add(key(own("WA_Id__c")), key(own("WA_Escalation_Id__c")), text(own("WA_Direction__c"), "string", 255),
		text(own("WA_Status__c"), "string", 255), text(own("WA_Error__c"), "string", 255))
	object(own("WhatsApp_Message__c"), "a00", key(own("WA_Id__c")), lookup(own("Contact__c"), "Contact"), text(own("Body__c"), "textarea", 131072),
		text(own("Direction__c"), "string", 255), text(own("Type__c"), "string", 255), text(own("Time__c"), "datetime", 0),
		text(own("Status__c"), "string", 255), text(own("Error__c"), "string", 255))
	return all
}

// RemoveObject takes an object from the org, as it is for a user who may not see it.
func (s *Sim) RemoveObject(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tables, strings.ToLower(name))
}

// AddField adds a field to an object, or replaces it.
func (s *Sim) AddField(object string, f Field) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[strings.ToLower(object)]
	if t == nil {
		panic("no object " + object)
	}
	t.add(f)
}

// RemoveField takes a field from an object, as field-level security does.
func (s *Sim) RemoveField(object, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, lower := s.tables[strings.ToLower(object)], strings.ToLower(name)
	delete(t.fields, lower)
	delete(t.unique, lower)
	for i, n := range t.order {
		if n == lower {
			t.order = append(t.order[:i:i], t.order[i+1:]...)
			return
		}
	}
}

// Text returns a custom text field for [Sim.AddField].
func Text(name string, length int) Field { return text(name, "string", length) }

// Typed returns a custom field of a type.
func Typed(name, kind string) Field { return text(name, kind, 0) }

func (s *Sim) describe(c *call, object string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[strings.ToLower(object)]
	if t == nil {
		c.notFound()
		return
	}
	type value struct {
		Value  string `json:"value"`
		Label  string `json:"label"`
		Active bool   `json:"active"`
	}
	type shown struct {
		Field
		Label  string  `json:"label"`
		Values []value `json:"picklistValues"`
	}
	fields := make([]shown, 0, len(t.order))
	for _, name := range t.order {
		f := shown{Field: t.fields[name], Values: []value{}}
		f.Label = strings.ReplaceAll(strings.TrimSuffix(f.Name, "__c"), "_", " ")
		for _, v := range f.Picklist {
			f.Values = append(f.Values, value{v, v, true})
		}
		fields = append(fields, f)
	}
	out := t.summary()
	out["fields"] = fields
	c.answer(http.StatusOK, out)
}

// noColumn is Salesforce's error for a field that is not there.
func noColumn(t *table, name string) *apiError {
	return &apiError{ErrorCode: "INVALID_FIELD", Message: fmt.Sprintf("No such column '%s' on sobject of type %s", name, t.name)}
}
