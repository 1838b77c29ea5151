package zohosim

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// View is a custom view of a module: some of its records, in an order.
type View struct {
	Name string `json:"name"`
	// Label is what people read; empty is Name. System is what Zoho calls a view that
	// it made itself.
	Label  string `json:"label,omitempty"`
	System string `json:"system,omitempty"`
	// Members are the ids of the records that fulfil its criteria; nil is no criteria:
	// all records are in it.
	Members []string `json:"members"`
	// SortBy is a field, empty for id; Ascending puts the least first.
	SortBy    string `json:"sort_by,omitempty"`
	Ascending bool   `json:"ascending,omitempty"`
}

type view struct {
	View
	id   string
	made time.Time
}

func (v *view) order() ordering { return ordering{by: cmp.Or(v.SortBy, "id"), desc: !v.Ascending} }

// records returns a view's. The caller holds the lock.
func (v *view) records(m *module) []*record {
	if v.Members == nil {
		return m.records
	}
	return m.those(v.Members)
}

// those returns the records of ids; nil stands for one that there is not.
func (m *module) those(ids []string) []*record {
	list := make([]*record, len(ids))
	for i, id := range ids {
		list[i] = m.byID[id]
	}
	return list
}

// addView makes a view, whose ids are none of records. The caller holds the lock.
func (s *state) addView(m *module, v View) string {
	s.viewIDs++
	id := strconv.FormatInt(s.viewIDs, 10) + "000"
	m.views[id] = &view{View: v, id: id, made: time.Now()}
	return id
}

// AddView makes a view of a module, as a person would, and returns its id.
func (s *Sim) AddView(module string, v View) string {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.addView(s.state.modules[module], v)
}

// RemoveView deletes a view of a module.
func (s *Sim) RemoveView(module, id string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	delete(s.state.modules[module].views, id)
}

// AddCampaign makes a campaign with members, ids of contacts, and returns its id.
func (s *Sim) AddCampaign(name string, members ...string) string {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	r := s.state.create(s.state.modules[campaigns], map[string]any{"Campaign_Name": name}, time.Now(), Person)
	r.members = members
	return r.id
}

// campaigns is the module whose records have contacts and leads as members.
const campaigns = "Campaigns"

// views serves settings/custom_views: https://www.zoho.com/crm/developer/docs/api/v8/custom-view-meta.html.
func (s *Sim) views(c *call) {
	if !s.may(c, ScopeViews) {
		return
	}
	q := c.r.URL.Query()
	if q.Get("module") == "" {
		c.fail(http.StatusBadRequest, failure("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", map[string]any{"param_name": "module"}))
		return
	}
	size, sizeErr := strconv.Atoi(cmp.Or(q.Get("per_page"), "200"))
	page, pageErr := strconv.Atoi(cmp.Or(q.Get("page"), "1"))
	switch {
	case sizeErr != nil || size < 1 || size > maxPage:
		c.fail(http.StatusBadRequest, *badParam("per_page"))
		return
	case pageErr != nil || page < 1:
		c.fail(http.StatusBadRequest, *badParam("page"))
		return
	}
	s.state.mu.Lock()
	m := s.state.modules[q.Get("module")]
	if m == nil {
		s.state.mu.Unlock()
		c.fail(http.StatusBadRequest, failure("INVALID_MODULE", "the module name given seems to be invalid", nil))
		return
	}
	keys := sortedKeys(m.views)
	shown := []map[string]any{}
	for _, id := range keys[min((page-1)*size, len(keys)):min(page*size, len(keys))] {
		shown = append(shown, m.views[id].shown())
	}
	s.state.mu.Unlock()
	if len(shown) == 0 {
		c.nothing()
		return
	}
	c.answer(http.StatusOK, map[string]any{"custom_views": shown, "info": map[string]any{"per_page": size, "page": page, "count": len(shown),
		"more_records": page*size < len(keys), "default": keys[0], "translation": map[string]string{"public_views": "Public Views",
			"other_users_views": "Other User's Views", "shared_with_me": "Shared With Me", "created_by_me": "Created By Me"}}})
}

func (v *view) shown() map[string]any {
	out := map[string]any{"id": v.id, "name": v.Name, "display_value": cmp.Or(v.Label, v.Name), "system_name": empty(v.System), "system_defined": v.System != "",
		"default": false, "locked": false, "favorite": nil, "category": "shared_with_me", "access_type": "public",
		"created_time": stamp(v.made), "created_by": Person, "modified_time": nil, "modified_by": nil, "last_accessed_time": nil}
	if v.System != "" {
		out["category"], out["created_time"], out["created_by"] = "public_views", nil, nil
	}
	return out
}

// related serves the members of a campaign:
// https://www.zoho.com/crm/developer/docs/api/v8/get-related-records.html.
func (s *Sim) related(c *call) {
	m := s.module(c, campaigns)
	if m == nil {
		return
	}
	s.state.mu.Lock()
	of, r := s.state.modules[c.path[2]], m.byID[c.path[1]]
	s.state.mu.Unlock()
	switch {
	case of == nil || !slices.Contains([]string{"Contacts", "Leads"}, of.name):
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "the relation name given seems to be invalid", map[string]any{"resource_path_index": 2}))
		return
	case r == nil || r.deleted:
		c.fail(http.StatusNotFound, failure("INVALID_DATA", "The record does not exist", nil))
		return
	case !s.may(c, scopeOf(of.name)):
		return
	}
	s.pages(c, func(url.Values) ([]*record, ordering, *answered) {
		return of.those(r.members), ordering{by: "id", desc: true, unsaid: true}, nil
	})
}

// makeView serves POST /_sim/view, and makeCampaign POST /_sim/campaign.
func (s *Sim) makeView(w http.ResponseWriter, r *http.Request) (string, error) {
	var v View
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&v); err != nil || v.Name == "" {
		return "", errors.New(`want a JSON object such as {"name":"Winter","members":["5500000000001000"]}`)
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	m, _, err := s.state.find(r.URL.Query().Get("module"), "")
	if err != nil {
		return "", err
	}
	return s.state.addView(m, v), nil
}

func (s *Sim) makeCampaign(w http.ResponseWriter, r *http.Request) (string, error) {
	var members []string
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&members)
	name := strings.TrimSpace(r.URL.Query().Get("name"))
	if err != nil || name == "" {
		return "", errors.New("want ?name= and a JSON list of contacts' ids")
	}
	return s.AddCampaign(name, members...), nil
}
