package hubspotsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxUnique is how many unique properties of its own an object may have.
const maxUnique = 10

// Property is the definition of a property.
type Property struct {
	Name           string   `json:"name"`
	Label          string   `json:"label"`
	Description    string   `json:"description"`
	GroupName      string   `json:"groupName"`
	Type           string   `json:"type"`
	FieldType      string   `json:"fieldType"`
	HasUniqueValue bool     `json:"hasUniqueValue"`
	Options        []Option `json:"options"`
	ReadOnly       bool     `json:"-"`
	Defined        bool     `json:"hubspotDefined"`
	// CreatedAt and UpdatedAt are those of a property of the account's own.
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
}

// MarshalJSON writes a property as HubSpot does.
func (p *Property) MarshalJSON() ([]byte, error) {
	type plain Property
	return json.Marshal(struct {
		*plain
		Metadata map[string]bool `json:"modificationMetadata"`
	}{(*plain)(p), map[string]bool{"archivable": !p.Defined, "readOnlyDefinition": p.Defined, "readOnlyValue": p.ReadOnly}})
}

// Option is a value of an enumeration.
type Option struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

func builtin(object string) []*Property {
	text := func(names ...string) (ps []*Property) {
		for _, n := range names {
			ps = append(ps, &Property{Name: n, Label: n, Type: "string", FieldType: "text", Defined: true})
		}
		return ps
	}
	ps := []*Property{
		{Name: "hs_object_id", Type: "number", FieldType: "number", ReadOnly: true, Defined: true},
		{Name: "hs_createdate", Type: "datetime", FieldType: "date", ReadOnly: true, Defined: true},
		{Name: "hs_lastmodifieddate", Type: "datetime", FieldType: "date", ReadOnly: true, Defined: true},
		{Name: "hubspot_owner_id", Type: "number", FieldType: "number", Defined: true},
	}
	options := func(values ...string) (os []Option) {
		for _, v := range values {
			os = append(os, Option{v, v})
		}
		return os
	}
	switch object {
	case "contacts":
		ps = append(ps, text("firstname", "lastname", "phone", "mobilephone", "company", "city", "country", "jobtitle", "address", "zip", "website")...)
		ps = append(ps, &Property{Name: "email", Type: "string", FieldType: "text", HasUniqueValue: true, Defined: true},
			&Property{Name: "createdate", Type: "datetime", FieldType: "date", ReadOnly: true, Defined: true},
			&Property{Name: "hs_searchable_calculated_phone_number", Type: "string", FieldType: "text", ReadOnly: true, Defined: true},
			&Property{Name: "hs_searchable_calculated_mobile_number", Type: "string", FieldType: "text", ReadOnly: true, Defined: true},
			&Property{Name: "lastmodifieddate", Type: "datetime", FieldType: "date", ReadOnly: true, Defined: true},
			&Property{Name: "lifecyclestage", Type: "enumeration", FieldType: "select", Defined: true,
				Options: options("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist", "other")})
	case "companies":
		ps = append(ps, text("name", "domain", "phone", "city")...)
	case "tickets":
		ps = append(ps, text("subject", "content")...)
		ps = append(ps, &Property{Name: "hs_pipeline", Type: "enumeration", FieldType: "select", Defined: true, Options: options("0")},
			&Property{Name: "hs_pipeline_stage", Type: "enumeration", FieldType: "select", Defined: true, Options: options("1", "2", "3", "4")},
			&Property{Name: "hs_ticket_priority", Type: "enumeration", FieldType: "select", Defined: true, Options: options("LOW", "MEDIUM", "HIGH", "URGENT")})
	case "communications":
		ps = append(ps, text("hs_communication_body")...)
		ps = append(ps, &Property{Name: "hs_timestamp", Type: "datetime", FieldType: "date", Defined: true},
			&Property{Name: "hs_communication_channel_type", Type: "enumeration", FieldType: "select", Defined: true,
				Options: options("WHATS_APP", "LINKEDIN_MESSAGE", "SMS", "CUSTOM_CHANNEL_CONVERSATION")},
			&Property{Name: "hs_communication_logged_from", Type: "enumeration", FieldType: "select", Defined: true,
				Options: options("CRM")})
	}
	return ps
}

// validate says what is wrong with a value, "" when nothing is.
func (p *Property) validate(v string) string {
	if v == "" {
		return ""
	}
	ok := true
	switch p.Type {
	case "number":
		_, err := strconv.ParseFloat(v, 64)
		ok = err == nil
	case "bool":
		ok = v == "true" || v == "false"
	case "datetime", "date":
		_, errMillis := strconv.ParseInt(v, 10, 64)
		_, errTime := time.Parse(time.RFC3339, v)
		_, errDay := time.Parse(time.DateOnly, v)
		ok = errMillis == nil || errTime == nil || errDay == nil
	case "enumeration":
		parts := []string{v}
		if p.FieldType == "checkbox" {
			parts = strings.Split(v, ";")
		}
		for _, part := range parts {
			ok = ok && slices.ContainsFunc(p.Options, func(o Option) bool { return o.Value == part })
		}
		if !ok {
			var allowed []string
			for _, o := range p.Options {
				allowed = append(allowed, o.Value)
			}
			return fmt.Sprintf("%s was not one of the allowed options: [%s]", v, strings.Join(allowed, ", "))
		}
	}
	if !ok {
		return fmt.Sprintf("%s was not a valid %s.", v, p.Type)
	}
	return ""
}

func (p *Property) invalidCode() string {
	switch p.Type {
	case "enumeration":
		return "INVALID_OPTION"
	case "number":
		return "INVALID_INTEGER"
	case "bool":
		return "INVALID_BOOLEAN"
	}
	return "INVALID_DATE"
}

// fieldTypes are those that HubSpot takes for a type.
var fieldTypes = map[string][]string{
	"string":      {"text", "textarea", "html", "phonenumber", "file"},
	"number":      {"number"},
	"bool":        {"booleancheckbox"},
	"datetime":    {"date"},
	"date":        {"date"},
	"enumeration": {"select", "radio", "checkbox", "booleancheckbox"},
}

var newName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// properties serves the properties of an object: list, get, create, and groups.
func (s *Sim) properties(c *call) {
	object := tableName(c.rest[0])
	if object == "" {
		c.invalid("Unable to infer object type from: " + c.rest[0])
		return
	}
	t := s.state.tables[object]
	switch rest := c.rest[1:]; {
	case len(rest) >= 1 && rest[0] == "groups":
		s.groups(c, t, rest[1:])
	case len(rest) == 2 && rest[0] == "batch" && c.r.Method == http.MethodPost:
		s.propertyBatch(c, t, rest[1])
	case c.r.Method == http.MethodGet && len(rest) <= 1:
		if !s.may(c, ScopeSchemaRead) {
			return
		}
		s.readProperties(c, t, rest)
	case c.r.Method == http.MethodPatch && len(rest) == 1:
		if s.may(c, ScopeSchemaWrite) {
			s.updateProperty(c, t, rest[0])
		}
	case c.r.Method == http.MethodDelete && len(rest) == 1:
		if s.may(c, ScopeSchemaWrite) {
			if e := s.archiveProperty(t, rest[0]); e != nil {
				c.fail(statusOf(e), *e)
				return
			}
			c.w.WriteHeader(http.StatusNoContent)
		}
	case c.r.Method == http.MethodPost && len(rest) == 0:
		if s.may(c, ScopeSchemaWrite) {
			s.createProperty(c, t)
		}
	default:
		c.notFound()
	}
}

func (s *Sim) readProperties(c *call, t *table, rest []string) {
	s.state.mu.Lock()
	results := make([]*Property, 0, len(t.properties))
	for name, p := range t.properties {
		if len(rest) == 0 || rest[0] == name {
			shown := *p // it may be changed meanwhile
			results = append(results, &shown)
		}
	}
	s.state.mu.Unlock()
	switch {
	case len(rest) == 0:
		slices.SortFunc(results, func(a, b *Property) int { return strings.Compare(a.Name, b.Name) })
		c.answer(http.StatusOK, map[string]any{"results": results})
	case len(results) == 0:
		c.fail(http.StatusNotFound, *noProperty(rest[0]))
	default:
		c.answer(http.StatusOK, results[0])
	}
}

func (s *Sim) createProperty(c *call, t *table) {
	p := &Property{Options: []Option{}}
	if err := json.Unmarshal(c.body, p); err != nil {
		c.badJSON(err)
		return
	}
	if missing := p.lacks(); missing != "" {
		c.invalid("Some required fields were not set: [" + missing + "]")
		return
	}
	if status, e := s.defineProperty(t, p); status != http.StatusCreated {
		c.fail(status, e)
		return
	}
	c.answer(http.StatusCreated, p)
}

// lacks returns the name of a field that a new property must have and has not.
func (p *Property) lacks() string {
	for _, field := range []struct{ name, v string }{
		{"name", p.Name}, {"label", p.Label}, {"groupName", p.GroupName}, {"type", p.Type}, {"fieldType", p.FieldType},
	} {
		if field.v == "" {
			return field.name
		}
	}
	return ""
}

func (s *Sim) defineProperty(t *table, p *Property) (int, vendorError) {
	refuse := func(format string, args ...any) (int, vendorError) {
		return http.StatusBadRequest, vendorError{Category: "VALIDATION_ERROR", Message: fmt.Sprintf(format, args...)}
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	unique := 0
	for _, have := range t.properties {
		if have.HasUniqueValue && !have.Defined {
			unique++
		}
	}
	switch {
	case !newName.MatchString(p.Name):
		return refuse("Property name must be lowercase, begin with a letter and hold only letters, digits and underscores: %s", p.Name)
	case !slices.Contains(fieldTypes[p.Type], p.FieldType):
		return refuse("Invalid fieldType %q for type %q", p.FieldType, p.Type)
	case !slices.ContainsFunc(t.groups, func(g group) bool { return g.Name == p.GroupName }):
		return refuse("Property group %s does not exist", p.GroupName)
	case t.properties[p.Name] != nil:
		return http.StatusConflict, vendorError{Category: "OBJECT_ALREADY_EXISTS", Message: fmt.Sprintf("A property named '%s' already exists.", p.Name)}
	case p.HasUniqueValue && unique >= maxUnique:
		return refuse("Object type %s has reached the limit of %d unique properties", t.typeID, maxUnique)
	case p.HasUniqueValue && t.name == "communications" && s.opts.NoUniqueActivities:
		return refuse("Unique properties are not supported for object type %s", t.typeID)
	}
	p.Defined, p.CreatedAt, p.UpdatedAt = false, time.Now().UTC(), time.Now().UTC()
	t.add(p)
	return http.StatusCreated, vendorError{}
}

// AddProperty defines a property, as an administrator does by hand. It replaces one
// of that name.
func (s *Sim) AddProperty(object string, p Property) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.tables[object].add(&p)
}

// RemoveProperty deletes the definition of a property, as an administrator may.
func (s *Sim) RemoveProperty(object, name string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.tables[object].remove(name)
}
