package customhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// segmentsSettings say which lists of contacts there are, to which campaigns are
// sent, and who is in one.
type segmentsSettings struct {
	// List asks the API which there are; those in Fixed are there without asking, and
	// are told first.
	List  *listSettings          `json:"list"`
	Fixed []fixedSegmentSettings `json:"fixed"`
	// Get asks for the one with the ID {{.segment.id}}; Rows leads to it, or to a list of
	// such rows as the list has. Unless set, all pages of the list are looked through.
	Get *listingSettings `json:"get"`
	// Members asks who is in one.
	Members *membersSettings `json:"members"`
}

type listSettings struct {
	// The templates see .name, too, the text that is looked for; it is "" where all are
	// asked for. An API that does not search need not be told.
	listingSettings
	// When says which rows are segments; all unless set.
	When *conditionSettings `json:"when"`
	// ID, Name, Kind and Size are paths into a row.
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
	Size string `json:"size"`
}

// fixedSegmentSettings are a segment. Name is the ID unless set.
type fixedSegmentSettings struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

type membersSettings struct {
	// The templates see .segment.id, too.
	listingSettings
	// When says which rows are members; all unless set.
	When *conditionSettings `json:"when"`
	// Ref is the path to the contact's record in a row; Phone and BSUID lead to how they
	// are reached, Name to what they are called: one path or several, put together with
	// spaces.
	Ref   string `json:"ref"`
	Name  paths  `json:"name"`
	Phone string `json:"phone"`
	BSUID string `json:"bsuid"`
}

// paths are written as a list, or as one.
type paths []string

func (q *paths) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*q = make(paths, 1)
		return json.Unmarshal(b, &(*q)[0])
	}
	return json.Unmarshal(b, (*[]string)(q))
}

// segments is a compiled [segmentsSettings].
type segments struct {
	fixed   []core.Segment
	list    *segmentList // nil when only the fixed ones are there
	get     *listing     // nil when the list is looked through
	members members
}

type segmentList struct {
	listing
	when                 condition
	id, name, kind, size path
	searches             bool // the API is told what is looked for
}

type members struct {
	listing
	when              condition
	ref, phone, bsuid path
	names             []path
}

var (
	listWords    = pagingWords("a request for segments", map[string]*word{"name": {zero: ""}})
	membersWords = pagingWords("a request for members", segmentWord)
	getWords     = &word{fields: segmentWord, only: " (a request for one segment knows .segment.id)"}
	segmentWord  = map[string]*word{"segment": {fields: map[string]*word{"id": {zero: ""}}}}
)

const (
	maxFixed       = 200                 // segments
	maxListed      = 100                 // pages of segments that are read for one question
	maxRef         = 512                 // bytes of an ID
	maxSegmentName = 500                 // bytes
	maxMembers     = 10_000              // of an answer
	membersAnswer  = 8 << 20             // bytes of it
	inSegments     = "settings.segments" // where they are said
)

func (c *planner) segments() *segments {
	const where = inSegments
	s := c.settings.Segments
	if s == nil {
		return nil
	}
	q := new(segments)
	seen := map[string]bool{}
	for i, f := range s.Fixed {
		at := fmt.Sprintf("%s.fixed[%d].id", where, i)
		if !isRef(f.ID) || seen[f.ID] {
			c.addf(at, "want an id of its own, a line of at most %d bytes", maxRef)
		}
		seen[f.ID] = true
		q.fixed = append(q.fixed, segmentOf(f.ID, f.Name, f.Kind, ""))
	}
	if len(s.Fixed) > maxFixed {
		c.addf(where+".fixed", "want %d at most", maxFixed)
	}
	if s.List == nil && len(s.Fixed) == 0 {
		c.addf(where+".list", "missing: how to ask which segments there are (or name them under %s.fixed)", where)
	}
	if s.List != nil {
		q.list = c.segmentList(where+".list", s.List)
	}
	if s.Get != nil {
		get := c.listing(where+".get", "segment", *s.Get, getWords)
		get.oneRow = true
		if q.get = &get; get.paging != "none" || s.List == nil {
			c.addf(where+".get", "is for one segment, without paging, where there is a list")
		}
		c.asksForOne(where+".get", get.op)
	}
	if s.Members == nil {
		c.addf(where+".members", "missing: how to ask who is in a segment")
		return q
	}
	q.members = c.members(where+".members", s.Members)
	return q
}

func (c *planner) segmentList(where string, s *listSettings) *segmentList {
	q := &segmentList{listing: c.listing(where, "segments", s.listingSettings, listWords), when: c.when(where, s.When)}
	c.turns(where, &q.listing)
	q.searches = q.op.says(".name")
	q.id, q.name = c.path(where+".id", s.ID), c.path(where+".name", s.Name)
	q.kind, q.size = c.path(where+".kind", s.Kind), c.path(where+".size", s.Size)
	if s.ID == "" {
		c.addf(where+".id", "missing: the path in a row to the segment's id")
	}
	if s.Name == "" {
		c.addf(where+".name", "missing: the path in a row to the segment's name")
	}
	return q
}

func (c *planner) members(where string, s *membersSettings) members {
	q := members{listing: c.listing(where, "members", s.listingSettings, membersWords), when: c.when(where, s.When)}
	c.turns(where, &q.listing)
	q.most, q.op.answer = maxMembers, membersAnswer // some APIs give all at once
	c.asksForOne(where, q.op)
	if q.size > core.MaxMembers {
		c.addf(where+".paging.size", "want 1 to %d", core.MaxMembers)
	}
	q.ref, q.phone, q.bsuid = c.path(where+".ref", s.Ref), c.path(where+".phone", s.Phone), c.path(where+".bsuid", s.BSUID)
	for i, name := range s.Name {
		q.names = append(q.names, c.path(fmt.Sprintf("%s.name[%d]", where, i), name))
	}
	if s.Ref == "" {
		c.addf(where+".ref", "missing: the path in a row to the contact's record")
	}
	if s.Phone == "" && s.BSUID == "" {
		c.addf(where+".phone", "missing: the path in a row to how the contact is reached")
	}
	return q
}

// asksForOne reports requests that are the same for all segments.
func (c *planner) asksForOne(where string, op *operation) {
	if !op.says(".segment") {
		c.addf(where, "does not say for which segment: put {{.segment.id}} into path, query or body")
	}
}

// turns reports pages that would be the first one for ever: who is on it would get a
// campaign as often as there are pages.
func (c *planner) turns(where string, l *listing) {
	if name := map[string]string{"page": ".page", "offset": ".offset", "cursor": ".cursor", "keyset": ".cursor"}[l.paging]; name != "" && !l.op.says(name) {
		c.addf(where+".paging.type", "the request does not say which page it wants: put {{%s}} into path, query or body", name)
	}
}

// when compiles which rows count.
func (c *planner) when(where string, s *conditionSettings) condition {
	if s == nil {
		return condition{}
	}
	q := compileCondition(*s, where+".when", c.problems)
	if !q.reading {
		c.addf(where+".when", "want a path, and one of equals, in, matches and exists")
	}
	return q
}

func (c *planner) path(where, text string) path {
	q := parsePath(text)
	q.check(where, c.problems)
	return q
}

// says reports whether a request's templates have a field in them.
func (op *operation) says(field string) bool {
	all := append([]named{{value: op.path}}, op.query...)
	if all = append(all, op.headers...); op.body != nil {
		all = append(all, named{value: op.body})
	}
	for _, t := range all {
		if !t.value.fixed() && strings.Contains(t.value.text, field) {
			return true
		}
	}
	return false
}

// isRef reports whether a text can be what the API calls something.
func isRef(s string) bool {
	return strings.TrimSpace(s) != "" && len(s) <= maxRef && utf8.ValidString(s) && !badHeaderValue(s)
}

func segmentOf(id, name, kind, size string) core.Segment {
	s := core.Segment{ID: id, Name: clip(name, maxSegmentName), Kind: clip(kind, 60)}
	if s.Name == "" {
		s.Name = id
	}
	if n, err := strconv.Atoi(size); err == nil && n > 0 {
		s.Size = n
	}
	return s
}

var _ core.Segmenter = (*Connector)(nil)

// Segments implements [core.Segmenter]: those of settings.segments.fixed, then what
// settings.segments.list asks for, page by page.
func (c *Connector) Segments(ctx context.Context, account core.Account, name string) ([]core.Segment, error) {
	x, err := c.open(account)
	if err != nil {
		return nil, err
	}
	if x.segments == nil {
		return nil, noSegments("segments")
	}
	// An API that searches may look at names only, and one with an answer for one ID has
	// that at once.
	asked := x.segments.get != nil || x.segments.list != nil && x.segments.list.searches
	var found []core.Segment
	var exact *core.Segment // has the ID
	seen, part := map[string]bool{}, strings.ToLower(name)
	err = x.eachSegment(ctx, name, func(s core.Segment) bool {
		switch {
		case seen[s.ID]:
		case s.ID == name:
			exact = &s
		case len(found) < core.MaxSegments && strings.Contains(strings.ToLower(s.Name), part):
			found = append(found, s)
		}
		seen[s.ID] = true
		return len(found) < core.MaxSegments || name != "" && exact == nil && !asked
	})
	if err == nil && exact == nil && name != "" && asked && isRef(name) {
		if exact, err = x.segment(ctx, name); err != nil && err.Code == core.CodeInvalid {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	if exact != nil {
		found = append([]core.Segment{*exact}, found[:min(len(found), core.MaxSegments-1)]...)
	}
	return found, nil
}

// segment finds the one with an ID. Where there is none it is nil, or the API's word is
// an error with CodeInvalid.
func (x *session) segment(ctx context.Context, id string) (found *core.Segment, err *core.Error) {
	tell := func(s core.Segment) bool {
		if s.ID == id {
			found = &s
		}
		return found == nil
	}
	get := x.segments.get
	if get == nil {
		if err = x.eachSegment(ctx, "", tell); err != nil && err.Code == core.CodeInvalid {
			err.Code = core.CodeForbidden // it is the list that there is not
		}
		return found, err
	}
	if !x.fixed(tell) {
		return found, nil
	}
	rows, err := x.ask(ctx, get, ofSegment(id), new(pageAt))
	if err != nil {
		return nil, pointTo(err, get.op)
	}
	_, err = x.tellRows(rows, get.op, tell)
	return found, err
}

// ofSegment is what the requests for a segment see.
func ofSegment(id string) map[string]any {
	return map[string]any{"segment": map[string]any{"id": id}}
}

// eachSegment tells of those that the API finds by a name, as long as more are wanted.
func (x *session) eachSegment(ctx context.Context, name string, tell func(core.Segment) (more bool)) *core.Error {
	q := x.segments.list
	if !x.fixed(tell) || q == nil {
		return nil
	}
	var at pageAt
	for range maxListed {
		rows, err := x.ask(ctx, &q.listing, map[string]any{"name": name}, &at)
		if err != nil {
			return pointTo(err, q.op)
		}
		if more, err := x.tellRows(rows, q.op, tell); err != nil || !more || at.Pages == 0 {
			return err
		}
	}
	return &core.Error{Code: core.CodeForbidden, Op: q.op.kind, Source: core.SourceVendor,
		Message: fmt.Sprintf("there are more than %d pages of segments", maxListed),
		Hint:    "raise paging.size in " + q.op.name + ", and set " + inSegments + ".get"}
}

// fixed tells of the fixed ones.
func (x *session) fixed(tell func(core.Segment) (more bool)) (more bool) {
	for _, s := range x.segments.fixed {
		if !tell(s) {
			return false
		}
	}
	return true
}

// tellRows tells of the segments that an answer has.
func (x *session) tellRows(rows []any, op *operation, tell func(core.Segment) (more bool)) (more bool, err *core.Error) {
	q := x.segments.list
	for i, row := range rows {
		if !q.when.holds(row) {
			continue
		}
		id := q.id.text(row)
		if !isRef(id) {
			return false, nobody(op, "id", i)
		}
		if !tell(segmentOf(id, q.name.text(row), q.kind.text(row), q.size.text(row))) {
			return false, nil
		}
	}
	return true, nil
}

// nobody is the error of a row that does not say what it is about: the path to it is
// wrong, or the row is to be left out.
func nobody(op *operation, name string, row int) *core.Error {
	return &core.Error{Code: core.CodeForbidden, Op: op.kind, Source: core.SourceVendor,
		Message: fmt.Sprintf("row %d has no %s", row, name), Hint: fmt.Sprintf("look at %s in %s; when leaves rows out", name, op.name)}
}

// pointTo adds to an error what to look at.
func pointTo(err *core.Error, op *operation) *core.Error {
	if err.Hint == "" && (err.Code == core.CodeInvalid || err.Code == core.CodeForbidden) { // otherwise they are not to blame
		err.Hint = "look at " + op.name
	}
	return err
}

// memberAt is how far the members were told.
type memberAt struct {
	pageAt
	// Skip are the rows of the page that were told: an API may give more of them at once
	// than are told at once.
	Skip int `json:"skip,omitempty"`
}

// Members implements [core.Segmenter]: a page of what settings.segments.members asks
// for. Before the first, it makes sure that there is such a segment: some APIs answer
// with nobody, or with everybody, where there is none.
func (c *Connector) Members(ctx context.Context, account core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	x, err := c.open(account)
	if err != nil {
		return core.Members{}, err
	}
	if x.segments == nil {
		return core.Members{}, noSegments("members")
	}
	var at memberAt
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return core.Members{}, core.Errorf(core.CodeInternal, "members", "the place reached cannot be read: %w", err)
		}
	} else if err := x.mustExist(ctx, segment); err != nil {
		return core.Members{}, err
	}
	q, from := &x.segments.members, at
	rows, err := x.ask(ctx, &q.listing, ofSegment(segment), &at.pageAt)
	if err != nil && len(cursor) > 0 && slices.Contains([]string{"404", "410"}, err.Vendor) { // it was there
		return core.Members{}, gone(x)
	}
	if err != nil {
		return core.Members{}, pointTo(err, q.op)
	}
	var page core.Members
	page.More, at.Skip = at.Pages > 0, 0
	skipped := max(0, min(from.Skip, len(rows)))
	if rows = rows[skipped:]; len(rows) > core.MaxMembers {
		rows = rows[:core.MaxMembers]
		page.More, at = true, memberAt{from.pageAt, skipped + core.MaxMembers}
	}
	for i, row := range rows {
		if !q.when.holds(row) {
			continue
		}
		m := q.member(row)
		if !isRef(m.ContactRef) {
			return core.Members{}, nobody(q.op, "ref", skipped+i)
		}
		page.Members = append(page.Members, m)
	}
	if page.More {
		var jsonErr error
		if page.Cursor, jsonErr = json.Marshal(at); jsonErr != nil {
			return core.Members{}, jsonErr
		}
	}
	return page, nil
}

func noSegments(op string) *core.Error {
	return &core.Error{Code: core.CodeInvalid, Op: op, Source: core.SourcePlugin,
		Message: "the settings say nothing of segments", Hint: "set " + inSegments + " (list or fixed, and members) in the lane's settings"}
}

func (x *session) mustExist(ctx context.Context, segment string) *core.Error {
	found, err := x.segment(ctx, segment)
	if err == nil && found == nil {
		return gone(x)
	}
	return err
}

func gone(x *session) *core.Error {
	err := &core.Error{Code: core.CodeInvalid, Op: "members", Source: core.SourcePlugin, Message: "there is no such segment (any more)"}
	if err.Hint = "look at the segments that there are"; x.segments.list == nil {
		err.Hint = "look at " + inSegments + ".fixed"
	}
	return err
}

func (q *members) member(row any) core.Member {
	m := core.Member{ContactRef: q.ref.text(row), Contact: core.Contact{Phone: q.phone.text(row), BSUID: q.bsuid.text(row)}}
	var names []string
	for _, name := range q.names {
		if text := strings.TrimSpace(name.text(row)); text != "" {
			names = append(names, text)
		}
	}
	m.Contact.Name = strings.Join(names, " ")
	return m
}
