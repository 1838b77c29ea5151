package salesforcesim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// View is a list view: a filter over an object's records that people keep under a name.
type View struct {
	// Object is whose records it has, Name what people see: 40 characters at most.
	Object string `json:"object"`
	Name   string `json:"name"`
	// Where is a SOQL condition, empty for all; Mine are only the user's own records.
	Where string `json:"where,omitempty"`
	Mine  bool   `json:"mine,omitempty"`
	// Opaque is one that SOQL has no words for: it is described without a query.
	Opaque bool `json:"opaque,omitempty"`
}

// segments adds the objects of campaigns and list views.
func segments(object func(name, prefix string, fields ...Field) *table) {
	required := func(f Field) Field { f.Nillable = false; return f }
	flag := func(name string) Field { f := text(name, "boolean", 0); f.Defaulted = true; return f }
	object("Campaign", "701", required(text("Name", "string", 80)), flag("IsActive"), text("Type", "picklist", 40), text("Status", "picklist", 40),
		lookup("OwnerId", "User"), system("NumberOfContacts", "int"), system("NumberOfLeads", "int"))
	object("CampaignMember", "00v", required(lookup("CampaignId", "Campaign")), lookup("ContactId", "Contact"), lookup("LeadId", "Lead"), text("Status", "picklist", 40))
	object("ListView", "00B", system("Name", "string"), system("DeveloperName", "string"), system("SobjectType", "picklist"), system("IsSoqlCompatible", "boolean"))
}

// standardViews are those that every org has.
func (s *Sim) standardViews() {
	for _, object := range []string{"Contact", "Lead"} {
		for _, v := range []View{{Object: object, Name: "All " + object + "s"}, {Object: object, Name: "My " + object + "s", Mine: true}} {
			if _, err := s.addView(v); err != nil {
				panic(err)
			}
		}
	}
}

// AddView makes a list view as somebody at the org would, shares it with all, and returns
// its id. It panics when the view makes no sense.
func (s *Sim) AddView(v View) string {
	id, err := s.addView(v)
	if err != nil {
		panic(err)
	}
	return id
}

func (s *Sim) addView(v View) (id string, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[strings.ToLower(v.Object)]
	if t == nil || t.name == "ListView" {
		return "", fmt.Errorf("no object %q that has list views", v.Object)
	}
	if v.Name == "" || len([]rune(v.Name)) > 40 {
		return "", fmt.Errorf("a list view's name has 1 to 40 characters")
	}
	if v.Where != "" {
		q := "SELECT Id FROM " + t.name + " WHERE " + v.Where
		if parsed, err := parseSOQL(q); err != nil {
			return "", err
		} else if parsed.order != nil || parsed.offset > 0 || strings.Contains(strings.ToLower(q), " limit ") {
			return "", fmt.Errorf("a list view has a condition only")
		}
		if status, refused := s.query(q, false, maxBatch); status != http.StatusOK {
			return "", fmt.Errorf("%v", refused)
		}
	}
	s.person = true
	defer func() { s.person = false }()
	rec := s.add(s.tables["listview"])
	rec.values["name"], rec.values["sobjecttype"], rec.values["issoqlcompatible"] = v.Name, t.name, !v.Opaque
	rec.values["developername"] = strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return -1
	}, v.Name)
	rec.view = &v
	s.touch(rec)
	return rec.id, nil
}

// viewsPage is how many list views of an object are listed at once.
const viewsPage = 25

// listViews serves the list views of an object, one of them, or its description. Path is
// the object, the view's id and /describe.
func (s *Sim) listViews(c *call, path []string) {
	if c.r.Method != http.MethodGet {
		c.methodNotAllowed("HEAD,GET")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, views := s.tables[strings.ToLower(path[1])], s.tables["listview"]
	if t == nil || views == nil {
		c.notFound()
		return
	}
	if id := path[2]; id != "" {
		rec := views.byID[id]
		switch {
		case rec == nil || rec.values["sobjecttype"] != t.name:
			c.absent()
		case path[3] == "":
			c.answer(http.StatusOK, rec.viewSummary(t))
		default:
			c.answer(http.StatusOK, rec.viewDescription(t))
		}
		return
	}
	all := []map[string]any{}
	for _, rec := range views.records {
		if rec.values["sobjecttype"] == t.name && rec.values["isdeleted"] != true {
			all = append(all, rec.viewSummary(t))
		}
	}
	from, _ := strconv.Atoi(c.r.URL.Query().Get("offset"))
	from = min(max(from, 0), len(all))
	to := min(from+viewsPage, len(all))
	out := map[string]any{"done": to == len(all), "listviews": all[from:to], "nextRecordsUrl": nil, "size": to - from, "sobjectType": t.name}
	if to < len(all) {
		out["nextRecordsUrl"] = fmt.Sprintf("/services/data/v%d.0/sobjects/%s/listviews?offset=%d", newest, t.name, to)
	}
	c.answer(http.StatusOK, out)
}

func (r *record) viewSummary(t *table) map[string]any {
	base := fmt.Sprintf("/services/data/v%d.0/sobjects/%s/listviews/%s", newest, t.name, r.id)
	return map[string]any{"id": r.id, "label": r.values["name"], "developerName": r.values["developername"], "soqlCompatible": r.values["issoqlcompatible"],
		"url": base, "describeUrl": base + "/describe", "resultsUrl": base + "/results"}
}

// viewDescription has the query that Salesforce makes of a view: with labels and names of
// owners among its fields, which nobody needs who wants to know the records.
func (r *record) viewDescription(t *table) map[string]any {
	query, scope := "SELECT Name, Phone, toLabel(Salutation), Owner.Alias, Id, CreatedDate, LastModifiedDate, SystemModstamp FROM "+t.name, "everything"
	if r.view.Mine {
		scope = "mine"
		query += " USING SCOPE mine"
	}
	if r.view.Where != "" {
		query += " WHERE " + r.view.Where
	}
	columns := []map[string]any{
		{"fieldNameOrPath": "Name", "label": "Name", "selectListItem": "Name", "type": "string", "hidden": false, "sortable": true, "sortDirection": "ascending", "sortIndex": 0,
			"ascendingLabel": "Z-A", "descendingLabel": "A-Z"},
		{"fieldNameOrPath": "Id", "label": "ID", "selectListItem": "Id", "type": "id", "hidden": true, "sortable": false, "sortDirection": nil, "sortIndex": nil,
			"ascendingLabel": nil, "descendingLabel": nil},
	}
	order := []map[string]string{
		{"fieldNameOrPath": "Name", "nullsPosition": "first", "sortDirection": "ascending"}, {"fieldNameOrPath": "Id", "nullsPosition": "first", "sortDirection": "ascending"}}
	out := map[string]any{"columns": columns, "id": r.id[:15], "orderBy": order, "scope": scope, "sobjectType": t.name,
		"query": query + " ORDER BY Name ASC NULLS FIRST, Id ASC NULLS FIRST"}
	if r.view.Opaque {
		out["query"] = nil
	}
	return out
}

// enrol says what is wrong with a new member of a campaign. The caller holds the lock.
func (s *Sim) enrol(t *table, values map[string]any) *rowError {
	who := "contactid"
	if values[who] == nil {
		who = "leadid"
	}
	if values[who] == nil {
		return &rowError{StatusCode: "REQUIRED_FIELD_MISSING", Message: "Required fields are missing: [ContactId]", Fields: []string{"ContactId"}}
	}
	if slices.ContainsFunc(t.records, func(r *record) bool {
		return r.values["isdeleted"] != true && r.values["campaignid"] == values["campaignid"] && r.values[who] == values[who]
	}) {
		return &rowError{StatusCode: "DUPLICATE_VALUE", Message: "Already a campaign member.", Fields: []string{}}
	}
	return nil
}

// count says how many members each campaign has. The caller holds the lock.
func (s *Sim) count(campaigns *table) {
	for _, rec := range campaigns.records {
		rec.values["numberofcontacts"], rec.values["numberofleads"] = 0.0, 0.0
	}
	members := s.tables["campaignmember"]
	if members == nil {
		return
	}
	for _, m := range members.records {
		id, _ := m.values["campaignid"].(string)
		campaign, field := campaigns.byID[id], "numberofleads"
		if campaign == nil || m.values["isdeleted"] == true {
			continue
		}
		if m.values["contactid"] != nil {
			field = "numberofcontacts"
		}
		n, _ := campaign.values[field].(float64)
		campaign.values[field] = n + 1
	}
}

// withdraw removes the memberships of a record that is removed: who is deleted is in no
// campaign, and a campaign that is deleted has no members. The caller holds the lock.
func (s *Sim) withdraw(t *table, rec *record) {
	members := s.tables["campaignmember"]
	of := map[string]string{"Contact": "contactid", "Lead": "leadid", "Campaign": "campaignid"}[t.name]
	if members == nil || of == "" {
		return
	}
	for _, m := range members.records {
		if m.values[of] == rec.id && m.values["isdeleted"] != true {
			s.remove(members, m)
		}
	}
}
