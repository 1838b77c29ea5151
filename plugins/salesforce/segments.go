package salesforce

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Segments are campaigns, whose members are contacts or leads, and list views of the
// contacts' object (see view.go). Members are read in the order of their ids, from the
// last one on. So nothing must be kept at Salesforce between two pages (it keeps ten
// queries' places for a user, for two days), there is no end at the 2,000th record, as with
// an offset, and who joins or leaves meanwhile shifts nobody out of a page.

var _ core.Segmenter = (*Connector)(nil)

const campaignPrefix, viewPrefix = "campaign", "view"

// maxSegmentName is how many characters a segment's name has at most: a campaign's 80, a
// list view's 40.
const maxSegmentName = 80

var membersLimit = strconv.Itoa(core.MaxMembers)

// source is where the segments of a kind are found.
type source struct {
	prefix, kind string // what their ids begin with; what people call them
	object, only string // with a condition, or none
	size         string // the field that says how many members one has, or none
	give         string // what the user must be given to see them
}

// campaignLink is the relationship from a campaign's members to the contacts' object, ""
// when there is none.
func (s *settings) campaignLink() string {
	for _, link := range []string{"Contact", "Lead"} {
		if strings.EqualFold(link, s.ContactObject) {
			return link
		}
	}
	return ""
}

// sources are the kinds of segments that the contacts' object has. See
// https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_campaign.htm
// and sforce_api_objects_listview.htm beside it. The REST resource of list views tells
// the same, 25 at a time, and looks for no name.
func (s *settings) sources() []source {
	views := source{
		prefix: viewPrefix, kind: "list view", object: "ListView", only: "SobjectType = " + quoted(s.ContactObject) + " AND IsSoqlCompatible = true",
		give: "read access to " + s.ContactObject,
	}
	if link := s.campaignLink(); link != "" {
		return []source{{
			prefix: campaignPrefix, kind: "campaign", object: "Campaign", size: "NumberOf" + link + "s",
			give: "read access to campaigns (an org's edition may have none); list views need none",
		}, views}
	}
	return []source{views}
}

// query asks for the segments whose name has a text in it, or whose id it is. The newest
// come first: they are left when there are too many.
func (o *source) query(name, size string, limit int) string {
	var conditions []string
	if o.only != "" {
		conditions = append(conditions, o.only)
	}
	if name != "" {
		match := "Name LIKE " + having(name)
		if prefix, id, _ := strings.Cut(name, ":"); prefix == o.prefix && recordID.MatchString(id) {
			match = "(" + match + " OR Id = " + quoted(id) + ")"
		}
		conditions = append(conditions, match)
	}
	return selects([]string{"Id", "Name", size}, o.object, conditions, "CreatedDate DESC, Id DESC", strconv.Itoa(limit))
}

// selects writes a query whose conditions hold all.
func selects(fields []string, from string, conditions []string, order, limit string) string {
	where := ""
	if len(conditions) > 0 {
		where = " WHERE " + strings.Join(conditions, " AND ")
	}
	return "SELECT " + fieldNames(fields) + " FROM " + from + where + " ORDER BY " + order + " LIMIT " + limit
}

// having makes a SOQL pattern for texts with a text in them. How a pattern means a
// backslash is not documented: any character passes for it, and what is found must be
// looked at again.
func having(text string) string {
	literal := quoted(text)
	return "'%" + strings.NewReplacer("%", `\%`, "_", `\_`, `\\`, "_").Replace(literal[1:len(literal)-1]) + "%'"
}

// Segments implements [core.Segmenter]. Of each kind it returns the newest, when there
// are too many. A kind that the user may not see is left out, unless there is nothing
// else to be returned.
func (c *Connector) Segments(ctx context.Context, account core.Account, name string) ([]core.Segment, error) {
	x, err := c.open(account)
	if err != nil {
		return nil, err
	}
	if name = strings.TrimSpace(name); utf8.RuneCountInString(name) > maxSegmentName {
		return nil, nil
	}
	const op = "segments read"
	sources := x.sources()
	limit := core.MaxSegments / len(sources)
	queries := make([]string, len(sources))
	for i, o := range sources {
		queries[i] = o.query(name, o.size, limit)
	}
	pages, err := x.pages(ctx, op, queries)
	if err != nil {
		return nil, reading(err, "")
	}
	segments := []core.Segment{}
	var unseen *core.Error
	for i, p := range pages {
		o := sources[i]
		if p.err != nil && p.err.Vendor == "INVALID_FIELD" && o.size != "" { // the user may not see that field: it is a nicety
			again, err := x.pages(ctx, op, []string{o.query(name, "", limit)})
			if err != nil {
				return nil, reading(err, "")
			}
			p = again[0]
		}
		if p.err != nil {
			err := reading(p.err, o.give)
			if err.Code != core.CodeForbidden {
				return nil, err
			}
			if unseen == nil && !strings.HasPrefix(name, viewPrefix+":") {
				unseen = err
			}
			continue
		}
		for _, f := range p.records {
			seg := core.Segment{ID: o.prefix + ":" + f.text("Id"), Name: f.text("Name"), Kind: o.kind}
			if strings.Contains(name, `\`) && !strings.Contains(strings.ToLower(seg.Name), strings.ToLower(name)) {
				continue
			}
			if n, ok := f.value(o.size); ok {
				seg.Size, _ = strconv.Atoi(n)
			}
			segments = append(segments, seg)
		}
	}
	if len(segments) == 0 && unseen != nil {
		return nil, unseen
	}
	return segments, nil
}

// membersCursor is how far a segment's members were read: to the one with that id.
type membersCursor struct {
	After string `json:"after"`
}

// Members implements [core.Segmenter].
func (c *Connector) Members(ctx context.Context, account core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	x, err := c.open(account)
	if err != nil {
		return core.Members{}, err
	}
	var at membersCursor
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil || !recordID.MatchString(at.After) {
			return core.Members{}, core.Errorf(core.CodeInternal, segmentOp, "the place reached cannot be read")
		}
	}
	prefix, id, _ := strings.Cut(segment, ":")
	var list page
	var whoOf func(found) (ref string, _ found)
	switch link := x.campaignLink(); {
	case !recordID.MatchString(id):
		return core.Members{}, noSegment(segment)
	case prefix == campaignPrefix && link != "":
		list, err = x.campaignMembers(ctx, segment, id, at.After)
		whoOf = func(f found) (string, found) { return f.text(link + "Id"), f.related(link) }
	case prefix == viewPrefix:
		list, err = x.viewMembers(ctx, segment, id, at.After)
		whoOf = func(f found) (string, found) { return f.text("Id"), f }
	default:
		return core.Members{}, noSegment(segment)
	}
	if err != nil {
		return core.Members{}, err
	}
	members := core.Members{Members: make([]core.Member, 0, len(list.records))}
	for _, f := range list.records {
		ref, who := whoOf(f)
		members.Members = append(members.Members, x.member(ref, who))
		at.After = f.text("Id")
	}
	// Salesforce may give fewer records than were asked for, and say that there are more.
	members.More = len(list.records) == core.MaxMembers || len(list.records) > 0 && !list.whole
	members.Cursor, _ = json.Marshal(at) //nolint:errchkjson // a text
	return members, nil
}

const segmentOp = "segment read"

func noSegment(segment string) *core.Error {
	return &core.Error{Code: core.CodeInvalid, Op: segmentOp, Source: core.SourceVendor, Vendor: "NOT_FOUND",
		Message: "there is no segment " + strconv.Quote(crm.Clip(segment, 60)) + " that the bridge's user may see",
		Hint:    `want the id of a campaign ("campaign:701…") or of a list view of the contacts' object ("view:00B…")`}
}

// campaignMembers reads a page of a campaign's members after a member's id. A lead that
// was converted is a contact's member. See
// https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_campaignmember.htm.
func (x *session) campaignMembers(ctx context.Context, segment, id, after string) (page, *core.Error) {
	link := x.campaignLink()
	fields := []string{"Id", link + "Id"}
	for _, name := range x.memberNames() {
		if name != "" {
			fields = append(fields, link+"."+name)
		}
	}
	conditions := []string{"CampaignId = " + quoted(id), link + "Id != null"}
	if link == "Lead" {
		conditions = append(conditions, "ContactId = null")
	}
	if after != "" {
		conditions = append(conditions, "Id > "+quoted(after))
	}
	pages, err := x.pages(ctx, segmentOp, []string{
		selects([]string{"Id"}, "Campaign", []string{"Id = " + quoted(id)}, "Id", "1"),
		selects(fields, "CampaignMember", conditions, "Id", membersLimit),
	})
	if err != nil {
		return page{}, reading(err, "")
	}
	for _, p := range pages {
		if p.err != nil {
			return page{}, reading(p.err, x.sources()[0].give)
		}
	}
	if len(pages[0].records) == 0 { // without it there are no members, either
		return page{}, noSegment(segment)
	}
	return pages[1], nil
}

// viewMembers reads a page of the records that a list view has, after an id.
func (x *session) viewMembers(ctx context.Context, segment, id, after string) (page, *core.Error) {
	var answer struct {
		Query string `json:"query"`
	}
	give := "read access to " + x.ContactObject
	path := "sobjects/" + x.ContactObject + "/listviews/" + id + "/describe"
	if r := x.call(ctx, segmentOp, http.MethodGet, path, nil, func(b []byte) error { return crm.Decode(b, &answer) }); r != nil {
		if r.status == http.StatusNotFound {
			return page{}, noSegment(segment)
		}
		return page{}, reading(r.Error, give)
	}
	v, ok := readView(answer.Query)
	if !ok || !strings.EqualFold(v.object, x.ContactObject) {
		return page{}, &core.Error{Code: core.CodeInvalid, Op: segmentOp, Source: core.SourcePlugin,
			Message: "the list view has no query that says which records of " + x.ContactObject + " it has",
			Hint:    "make a list view in Salesforce that has a filter only, or a campaign of those who are meant"}
	}
	var conditions []string
	if v.where != "" {
		conditions = append(conditions, "("+v.where+")")
	}
	if after != "" {
		conditions = append(conditions, "Id > "+quoted(after))
	}
	pages, err := x.pages(ctx, segmentOp, []string{selects(append([]string{"Id"}, x.memberNames()...), v.from(), conditions, "Id", membersLimit)})
	if err == nil {
		err = pages[0].err
	}
	if err != nil {
		return page{}, reading(err, give)
	}
	return pages[0], nil
}

// memberNames are the fields that say who a member is.
func (x *session) memberNames() []string { return append(x.identity(), x.fullName()) }

// fullName is the field with somebody's whole name. In an object of the org's own, the
// field of that name may hold a number that counts its records.
func (x *session) fullName() string {
	if strings.HasSuffix(strings.ToLower(x.ContactObject), "__c") {
		return x.NameField
	}
	return "Name"
}

// member makes a member of a contact's record, which is nil when the user may not see it.
func (x *session) member(ref string, f found) core.Member {
	who, _ := x.who(f)
	// What was written where a name was required, a number, is none.
	if name := strings.TrimSpace(f.text(x.fullName())); strings.ContainsFunc(name, unicode.IsLetter) && name != who.BSUID {
		who.Name = name
	}
	return core.Member{ContactRef: ref, Contact: who}
}

// related is a record that a record refers to, nil when there is none.
func (f found) related(name string) found {
	var other found
	for have, raw := range f {
		if strings.EqualFold(have, name) && json.Unmarshal(raw, &other) == nil {
			return other
		}
	}
	return nil
}

// hidden are the codes of questions about what there is not, for this user.
var hidden = []string{"INVALID_TYPE", "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "INVALID_FIELD"}

// reading makes an error fit for a question, which changes nothing. Give is what the
// user must be given where that is not to be seen which was asked for.
func reading(err *core.Error, give string) *core.Error {
	switch {
	case slices.Contains(hidden, err.Vendor) && err.Code == core.CodeInvalid:
		err.Code = core.CodeForbidden
		err.Hint = "give the user's permission set in Salesforce " + give
	case err.Code == core.CodeInvalid:
		err.Hint = "look at the segment in Salesforce, or take another"
	case err.Code == core.CodeUnknownOutcome:
		err.Code = core.CodeUnavailable
	}
	return err
}
