package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// A segment is one of HubSpot's lists of contacts, which HubSpot calls segments by now:
// https://developers.hubspot.com/docs/api-reference/latest/crm/lists/guide. Its members
// are ids of records, so the contacts are read by these.

const (
	contactType = "0-1"
	// scopeLists is wanted by who asks for segments, and by nothing else.
	scopeLists = "crm.lists.read"

	// listPage is how many lists HubSpot tells of at once, listPages how many times it is
	// asked: an account has 3,000 lists, unless it buys more.
	listPage  = 500
	listPages = 20
	// memberPage is of 250 at most; this many are read in two batches.
	memberPage = 2 * maxBatch
	// processingWait is after what time a list is looked at again that HubSpot is still
	// filling.
	processingWait = 30 * time.Second
)

var _ core.Segmenter = (*Connector)(nil)

var listID = regexp.MustCompile(`^[0-9]{1,20}$`)

// list is what is read of a list.
type list struct {
	ID         string `json:"listId"`
	Name       string `json:"name"`
	Object     string `json:"objectTypeId"`
	Processing string `json:"processingType"`
	Status     string `json:"processingStatus"`
	Deleted    string `json:"deletedAt"`
	Additional struct {
		Size string `json:"hs_list_size"`
	} `json:"additionalProperties"`
}

func (l *list) segment() core.Segment {
	s := core.Segment{ID: l.ID, Name: crm.Clip(l.Name, 200)}
	switch l.Processing {
	case "DYNAMIC":
		s.Kind = "active segment"
	case "MANUAL", "SNAPSHOT":
		s.Kind = "static segment"
	}
	if n, err := strconv.Atoi(l.Additional.Size); err == nil && n > 0 {
		s.Size = n
	}
	return s
}

// Segments implements [core.Segmenter]. What HubSpot's own search finds by a part of a
// name is not written down, so all lists of contacts are read: a call for each 500.
func (c *Connector) Segments(ctx context.Context, account core.Account, name string) ([]core.Segment, error) {
	x, err := c.open(account)
	if err != nil {
		return nil, err
	}
	var found []core.Segment
	seen := map[string]bool{} // a list may be told twice, when others are made or deleted meanwhile
	for page, offset := 0, 0; page < listPages; page++ {
		lists, more, err := x.lists(ctx, offset)
		if err != nil {
			return nil, err
		}
		for i := range lists {
			l := &lists[i]
			same := l.ID == name
			if l.Object != contactType || l.Deleted != "" || seen[l.ID] || !same && !strings.Contains(strings.ToLower(l.Name), strings.ToLower(name)) {
				continue
			}
			seen[l.ID] = true
			if same {
				found = slices.Insert(found, 0, l.segment())
			} else {
				found = append(found, l.segment())
			}
		}
		if offset += len(lists); !more || len(lists) == 0 {
			break
		}
	}
	return found[:min(len(found), core.MaxSegments)], nil
}

// lists reads a page of the lists of contacts. All keys that the API's specification
// requires are sent, although HubSpot takes less.
func (x *session) lists(ctx context.Context, offset int) ([]list, bool, *core.Error) {
	const op = "read segments"
	body, err := json.Marshal(map[string]any{
		"additionalProperties": []string{"hs_list_size"}, "listIds": []string{}, "processingTypes": []string{},
		"objectTypeId": contactType, "query": "", "count": listPage, "offset": offset,
	})
	if err != nil {
		return nil, false, core.Errorf(core.CodeInternal, op, "%w", err)
	}
	var answer struct {
		Lists []list `json:"lists"`
		More  bool   `json:"hasMore"`
	}
	r := x.call(ctx, op, http.MethodPost, x.path("lists", "search"), body, func(b []byte) error {
		if err := crm.Decode(b, &answer); err != nil || answer.Lists != nil {
			return err
		}
		return errNothing
	})
	return answer.Lists, answer.More, r.ofLists("")
}

// memberPlace is where the members of a list are read on.
type memberPlace struct {
	After string `json:"after"`
}

// memberships is a page of the members of a list.
type memberships struct {
	Results []struct {
		ID string `json:"recordId"`
	} `json:"results"`
	Paging struct{ Next struct{ After string } }
}

// whole reads an answer that must have its results: none would be an empty segment.
func whole(body []byte, into any, has func() bool) error {
	if err := json.Unmarshal(body, into); err != nil {
		return err
	}
	if !has() {
		return errNothing
	}
	return nil
}

var errNothing = errors.New("what was asked for is not in it")

// Members implements [core.Segmenter].
func (c *Connector) Members(ctx context.Context, account core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	const op = "read a segment"
	x, err := c.open(account)
	if err != nil {
		return core.Members{}, err
	}
	if !listID.MatchString(segment) {
		return core.Members{}, noList(op, segment)
	}
	var at memberPlace
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return core.Members{}, core.Errorf(core.CodeInternal, op, "the place reached cannot be read: %w", err)
		}
	}
	if at.After == "" {
		// Members are ids, and those of companies may be those of contacts, too.
		if err := x.ofContacts(ctx, segment); err != nil {
			return core.Members{}, err
		}
	}
	var page memberships
	query := url.Values{"limit": {strconv.Itoa(memberPage)}}
	if at.After != "" {
		query.Set("after", at.After)
	}
	r := x.call(ctx, op, http.MethodGet, x.path("lists", segment+"/memberships?"+query.Encode()), nil, func(b []byte) error { return whole(b, &page, func() bool { return page.Results != nil }) })
	if err := r.ofLists(segment); err != nil {
		return core.Members{}, err
	}
	after := page.Paging.Next.After
	if after != "" && after == at.After {
		return core.Members{}, crm.Failure(core.CodeUnavailable, op, "HubSpot answered the page after %q with itself", crm.Clip(after, 40))
	}
	ids := make([]string, len(page.Results))
	for i := range page.Results {
		ids[i] = page.Results[i].ID
	}
	members, err := x.members(ctx, ids)
	if err != nil {
		return core.Members{}, err
	}
	next, jsonErr := json.Marshal(memberPlace{After: after})
	if jsonErr != nil {
		return core.Members{}, jsonErr
	}
	return core.Members{Members: members, Cursor: next, More: after != ""}, nil
}

// ofContacts reports what is wrong with a list as one of contacts that is complete.
func (x *session) ofContacts(ctx context.Context, id string) *core.Error {
	const op = "look at a segment"
	var answer struct {
		List list `json:"list"`
	}
	r := x.call(ctx, op, http.MethodGet, x.path("lists", id), nil, func(b []byte) error {
		if err := crm.Decode(b, &answer); err != nil || answer.List.Object != "" {
			return err
		}
		return errNothing
	})
	if err := r.ofLists(id); err != nil {
		return err
	}
	switch l := &answer.List; {
	case l.Deleted != "":
		return noList(op, id)
	case l.Object != contactType:
		err := crm.Failure(core.CodeInvalid, op, "segment %s of HubSpot is not one of contacts, but of objects of the type %s", id, crm.Clip(l.Object, 40))
		err.Hint = "choose a segment of contacts"
		return err
	case l.Status == "PROCESSING":
		err := crm.Failure(core.CodeUnavailable, op, "HubSpot is still finding out who is in segment %s", id)
		err.RetryAfter = processingWait
		return err
	}
	return nil
}

// members reads contacts. Those that are gone are left out.
func (x *session) members(ctx context.Context, ids []string) (members []core.Member, _ *core.Error) {
	names := append(x.addresses(), "firstname", "lastname", x.NameProperty)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	slices.Sort(ids)
	found, err := x.readRecords(ctx, "contacts", "", slices.Compact(ids), slices.Compact(names))
	if err != nil {
		return nil, err
	}
	for i := range found {
		p := &found[i]
		who := x.who(p)
		who.Name = x.fullName(p)
		members = append(members, core.Member{ContactRef: p.ID, Contact: who})
	}
	return members, nil
}

// fullName is what HubSpot calls somebody. What the bridge wrote as the first name is the
// whole one already, or stands in for a name and is none: see [crm.Name].
func (x *session) fullName(p *pulled) string {
	first, last := strings.TrimSpace(p.text("firstname")), strings.TrimSpace(p.text("lastname"))
	if first == "" && last == "" {
		first = strings.TrimSpace(p.text(x.NameProperty))
	}
	if first == x.who(p).Phone {
		first = ""
	}
	if last == "" || strings.HasSuffix(strings.ToLower(first), " "+strings.ToLower(last)) {
		return first
	}
	return strings.TrimSpace(first + " " + last)
}

// reading is the error of a call that only reads: what became of it does not matter.
func (r *refusal) reading() *core.Error {
	if r == nil {
		return nil
	}
	if r.Code == core.CodeUnknownOutcome {
		r.Code = core.CodeUnavailable
	}
	return r.Error
}

// ofLists is the error of a call about lists, or about the one with an id.
func (r *refusal) ofLists(id string) *core.Error {
	err := r.reading()
	switch {
	case err == nil:
	case r.answer.Category == "MISSING_SCOPES": // it names several, of which one will do, or none
		err.Hint = "give the token the scope " + scopeLists
	case r.status == http.StatusNotFound && id != "" && r.answer.Category != "":
		return noList(err.Op, id)
	case err.Code == core.CodeInvalid:
		err.Hint = "" // it would be about events
	}
	return err
}

func noList(op, id string) *core.Error {
	err := crm.Failure(core.CodeInvalid, op, "HubSpot has no segment %q", crm.Clip(id, 40))
	err.Hint = "choose another: it was deleted, or this is not its id"
	return err
}
