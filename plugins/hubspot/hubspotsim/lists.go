package hubspotsim

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The scopes for lists. They are others than those of the records in them.
const (
	ScopeListsRead  = "crm.lists.read"
	ScopeListsWrite = "crm.lists.write"
)

// The pages of lists and of their members: see
// https://developers.hubspot.com/docs/api-reference/latest/crm/lists/guide.
const (
	maxLists       = 500
	maxMemberships = 250
)

// processingTypes are the kinds of lists: filled by hand, by a filter that is always at
// work, and by one that was once.
var processingTypes = []string{"MANUAL", "DYNAMIC", "SNAPSHOT"}

// List is a list of records of one object, which HubSpot's people know as a segment.
type List struct {
	ID               string `json:"listId"`
	Name             string `json:"name"`
	ObjectTypeID     string `json:"objectTypeId"`
	ProcessingType   string `json:"processingType"`
	ProcessingStatus string `json:"processingStatus"` // "COMPLETE", "PROCESSING", "PAUSED"
}

// segment is a List with its members. The account's lock guards it.
type segment struct {
	List
	created time.Time
	joined  int
	members []membership // by record
}

type membership struct {
	record string
	n      int // the record's id, as a number
	nth    int // in the order of joining
	at     time.Time
}

// AddList makes a list, and returns its id. It is a MANUAL one of contacts, and
// COMPLETE, unless l says otherwise; an id in l is not heeded. Its members are those of
// the ids, whether there are such records or not. A record that is deleted stays a
// member, as it does in HubSpot for a while.
func (s *Sim) AddList(l List, records ...string) string {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	made := s.state.addList(l)
	for _, id := range records {
		made.add(id)
	}
	return made.ID
}

// SetProcessing changes how far HubSpot is with a list: see [List.ProcessingStatus].
func (s *Sim) SetProcessing(id, status string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if l := s.state.segment(id); l != nil {
		l.ProcessingStatus = status
	}
}

// Join puts records into a list.
func (s *Sim) Join(id string, records ...string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if l := s.state.segment(id); l != nil {
		for _, r := range records {
			l.add(r)
		}
	}
}

// Leave takes records out of a list.
func (s *Sim) Leave(id string, records ...string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if l := s.state.segment(id); l != nil {
		l.members = slices.DeleteFunc(l.members, func(m membership) bool { return slices.Contains(records, m.record) })
	}
}

// RemoveList deletes a list.
func (s *Sim) RemoveList(id string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.segments = slices.DeleteFunc(s.state.segments, func(l *segment) bool { return l.ID == id })
}

func (s *state) addList(l List) *segment {
	s.listIDs++
	l.ID = strconv.Itoa(s.listIDs)
	l.ObjectTypeID, l.ProcessingType, l.ProcessingStatus = cmp.Or(l.ObjectTypeID, "0-1"), cmp.Or(l.ProcessingType, "MANUAL"), cmp.Or(l.ProcessingStatus, "COMPLETE")
	made := &segment{List: l, created: time.Now()}
	s.segments = append(s.segments, made)
	return made
}

func (s *state) segment(id string) *segment {
	for _, l := range s.segments {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// add reports whether the record was no member.
func (l *segment) add(record string) bool {
	n, _ := strconv.Atoi(record)
	i, there := slices.BinarySearchFunc(l.members, n, func(m membership, n int) int { return cmp.Compare(m.n, n) })
	if !there {
		l.joined++
		l.members = slices.Insert(l.members, i, membership{record, n, l.joined, time.Now()})
	}
	return !there
}

// mergeMembers makes the record that two became a member of their lists.
func (s *state) mergeMembers(made string, of ...string) {
	for _, l := range s.segments {
		if slices.ContainsFunc(l.members, func(m membership) bool { return slices.Contains(of, m.record) }) {
			l.add(made)
		}
	}
}

// public is a list as the API shows it.
func (l *segment) public() map[string]any {
	at := stamp(l.created)
	return map[string]any{"listId": l.ID, "listVersion": 1, "name": l.Name, "objectTypeId": l.ObjectTypeID, "processingType": l.ProcessingType,
		"processingStatus": l.ProcessingStatus, "createdAt": at, "updatedAt": at, "filtersUpdatedAt": at, "createdById": "1", "updatedById": "1"}
}

// reply is what is answered once the account's lock is free: a vendorError, or what is
// asked for.
type reply struct {
	status int
	v      any
}

func wrong(e vendorError) reply {
	e.Category = cmp.Or(e.Category, "VALIDATION_ERROR")
	return reply{statusOf(&e), e}
}

// listPaths serves lists.
func (s *Sim) listPaths(c *call) {
	id, what := "", c.r.Method
	switch {
	case len(c.rest) == 1 && c.rest[0] == "search":
		what += " search"
	case len(c.rest) > 0:
		id, what = c.rest[0], strings.TrimSuffix(what+" list/"+strings.Join(c.rest[1:], "/"), "/")
	}
	serve := map[string]struct {
		scope string
		with  func(*call, *segment) reply
	}{
		"POST":                            {ScopeListsWrite, s.state.createList},
		"POST search":                     {ScopeListsRead, s.state.searchLists},
		"GET list":                        {ScopeListsRead, getList},
		"GET list/memberships":            {ScopeListsRead, func(c *call, l *segment) reply { return l.page(c, l.members, func(m membership) int { return m.n }) }},
		"GET list/memberships/join-order": {ScopeListsRead, getJoined},
		"PUT list/memberships/add":        {ScopeListsWrite, s.state.addMembers},
		"DELETE list":                     {ScopeListsWrite, s.state.deleteList},
	}[what]
	if serve.with == nil {
		c.notFound()
		return
	}
	if !s.may(c, serve.scope) {
		return
	}
	s.state.mu.Lock()
	l := s.state.segment(id)
	r := wrong(vendorError{Category: "OBJECT_NOT_FOUND", Message: "List does not exist with ID " + id + ".", Context: map[string][]string{"listId": {id}}})
	if id == "" || l != nil {
		r = serve.with(c, l)
	}
	s.state.mu.Unlock()
	switch v := r.v.(type) {
	case nil:
		c.w.WriteHeader(r.status)
	case vendorError:
		c.fail(r.status, v)
	default:
		c.answer(r.status, v)
	}
}

// readList reads a body that has no other keys.
func (c *call) readList(into any) *vendorError {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &vendorError{Message: jsonProblem(err)}
	}
	return nil
}

func badProcessing(types ...string) *vendorError {
	for _, t := range types {
		if !slices.Contains(processingTypes, t) {
			return &vendorError{SubCategory: "INVALID_PROCESSING_TYPE", Message: "Invalid processing type: " + t}
		}
	}
	return nil
}

// createList makes a list, of a name that no other one of the object has.
func (s *state) createList(c *call, _ *segment) reply {
	var l struct {
		Name           string          `json:"name"`
		ObjectTypeID   string          `json:"objectTypeId"`
		ProcessingType string          `json:"processingType"`
		Filter         json.RawMessage `json:"filterBranch"`
	}
	if e := c.readList(&l); e != nil {
		return wrong(*e)
	}
	if l.Name == "" || l.ObjectTypeID == "" || l.ProcessingType == "" {
		return wrong(vendorError{Message: "Some required fields were not set: [name, objectTypeId, processingType]"})
	}
	if tableName(l.ObjectTypeID) == "" {
		return wrong(vendorError{Message: "Unable to infer object type from: " + l.ObjectTypeID})
	}
	if e := badProcessing(l.ProcessingType); e != nil {
		return wrong(*e)
	}
	if slices.ContainsFunc(s.segments, func(have *segment) bool {
		return strings.EqualFold(have.Name, l.Name) && have.ObjectTypeID == l.ObjectTypeID
	}) {
		return wrong(vendorError{Message: "A list with the name '" + l.Name + "' already exists."})
	}
	made := s.addList(List{Name: l.Name, ObjectTypeID: s.tables[tableName(l.ObjectTypeID)].typeID, ProcessingType: l.ProcessingType})
	return reply{http.StatusOK, map[string]any{"list": made.public()}}
}

// searchLists finds lists with a word in their name for each of the query's that begins
// like it. HubSpot does not say what it finds exactly.
func (s *state) searchLists(c *call, _ *segment) reply {
	var body struct {
		Additional []string `json:"additionalProperties"`
		Count      *int     `json:"count"`
		IDs        []string `json:"listIds"`
		Object     string   `json:"objectTypeId"`
		Offset     int      `json:"offset"`
		Types      []string `json:"processingTypes"`
		Query      string   `json:"query"`
		Sort       string   `json:"sort"`
	}
	if e := c.readList(&body); e != nil {
		return wrong(*e)
	}
	count := 20
	if body.Count != nil {
		count = *body.Count
	}
	if count < 1 || count > maxLists || body.Offset < 0 {
		return wrong(vendorError{Message: fmt.Sprintf("count must be between 1 and %d, and offset not negative", maxLists)})
	}
	if e := badProcessing(body.Types...); e != nil {
		return wrong(*e)
	}
	found, total := []any{}, 0
	for _, l := range s.segments {
		if len(body.IDs) > 0 && !slices.Contains(body.IDs, l.ID) || body.Object != "" && tableName(body.Object) != tableName(l.ObjectTypeID) ||
			len(body.Types) > 0 && !slices.Contains(body.Types, l.ProcessingType) || !l.called(body.Query) {
			continue
		}
		if total++; total > body.Offset && len(found) < count {
			shown := l.public()
			shown["additionalProperties"] = map[string]string{"hs_list_size": strconv.Itoa(len(l.members)), "hs_list_reference_count": "0"}
			found = append(found, shown)
		}
	}
	next := body.Offset + len(found)
	return reply{http.StatusOK, map[string]any{"lists": found, "total": total, "offset": next, "hasMore": next < total}}
}

func (l *segment) called(query string) bool {
	words := strings.Fields(strings.ToLower(l.Name))
	for q := range strings.FieldsSeq(strings.ToLower(query)) {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, q) }) {
			return false
		}
	}
	return true
}

func getList(_ *call, l *segment) reply {
	shown := l.public()
	shown["size"] = len(l.members)
	return reply{http.StatusOK, map[string]any{"list": shown}}
}

func getJoined(c *call, l *segment) reply {
	members := slices.SortedFunc(slices.Values(l.members), func(a, b membership) int { return cmp.Compare(a.nth, b.nth) })
	return l.page(c, members, func(m membership) int { return m.nth })
}

// page is a page of members in the order of their place. To page backwards (before) is
// not imitated.
func (l *segment) page(c *call, members []membership, place func(membership) int) reply {
	q := c.r.URL.Query()
	limit, after := 100, 0
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxMemberships {
			return wrong(vendorError{Message: fmt.Sprintf("limit must be between 1 and %d", maxMemberships)})
		}
		limit = n
	}
	if text := q.Get("after"); text != "" {
		token, err := base64.StdEncoding.DecodeString(text)
		if after, _ = strconv.Atoi(string(token)); err != nil || after < 1 {
			return wrong(vendorError{Message: "Invalid value for after: " + text})
		}
	}
	if q.Has("before") {
		return wrong(vendorError{Message: "before is not imitated"})
	}
	results := []any{}
	answer := map[string]any{"total": len(members)}
	for _, m := range members {
		if place(m) <= after {
			continue
		}
		if len(results) == limit {
			answer["paging"] = map[string]any{"next": map[string]string{"after": base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(after)))}}
			break
		}
		after = place(m)
		results = append(results, map[string]string{"recordId": m.record, "membershipTimestamp": stamp(m.at)})
	}
	answer["results"] = results
	return reply{http.StatusOK, answer}
}

// addMembers puts records into a list that is not filled by a filter.
func (s *state) addMembers(c *call, l *segment) reply {
	var ids []string
	if e := c.readList(&ids); e != nil {
		return wrong(*e)
	}
	if l.ProcessingType == "DYNAMIC" {
		return wrong(vendorError{Message: "Records cannot be added to a list with the processing type DYNAMIC."})
	}
	added, missing := []string{}, []string{}
	for _, id := range ids {
		if s.tables[tableName(l.ObjectTypeID)].live(id) == nil {
			missing = append(missing, id)
		} else if l.add(id) {
			added = append(added, id)
		}
	}
	return reply{http.StatusOK, map[string]any{"recordsIdsAdded": added, "recordIdsRemoved": []string{}, "recordIdsMissing": missing}}
}

func (s *state) deleteList(_ *call, l *segment) reply {
	s.segments = slices.DeleteFunc(s.segments, func(have *segment) bool { return have == l })
	return reply{status: http.StatusNoContent}
}
