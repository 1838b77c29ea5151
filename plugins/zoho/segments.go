package zoho

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/crm"
)

// Segments are the views of the contacts' module, and Zoho's campaigns, whose members
// contacts or leads are. See the pages custom-view-meta.html, get-records.html and
// get-related-records.html below https://www.zoho.com/crm/developer/docs/api/v8/.

var _ core.Segmenter = (*Connector)(nil)

// The kinds of segments, which begin their IDs: "view:5500000000001".
const (
	kindView     = "view"
	kindCampaign = "campaign"
)

const (
	// segmentPage is how many views, campaigns or members come with a call.
	segmentPage = 200
	// viewPages and campaignPages bound how many are looked through for a name.
	viewPages, campaignPages = 25, 5
	// maxLike is how much of a name a query looks for, in bytes.
	maxLike = 100
)

// Segments implements [core.Segmenter].
func (c *Connector) Segments(ctx context.Context, a core.Account, name string) ([]core.Segment, error) {
	x, err := c.open(a)
	if err != nil {
		return nil, err
	}
	list, err := x.views(ctx, name)
	if err != nil {
		return nil, err
	}
	more, err := x.campaigns(ctx, name)
	if err != nil {
		return nil, err
	}
	list = append(list, more...)
	return list[:min(len(list), core.MaxSegments)], nil
}

// isWanted reports whether a segment is asked for, by its ID or by a part of its name.
func isWanted(s core.Segment, wanted string) bool {
	return wanted == s.ID || strings.Contains(strings.ToLower(s.Name), strings.ToLower(wanted))
}

// views returns the views of the contacts' module that are wanted.
func (x *session) views(ctx context.Context, wanted string) ([]core.Segment, *core.Error) {
	var list []core.Segment
	for page := 1; page <= viewPages && len(list) < core.MaxSegments; page++ {
		var a struct {
			Views []struct {
				ID    string `json:"id"`
				Name  string `json:"name"`
				Label string `json:"display_value"` // in the language of the token's user
			} `json:"custom_views"`
			Info struct {
				More bool `json:"more_records"`
			} `json:"info"`
		}
		path := fmt.Sprintf("settings/custom_views?module=%s&page=%d&per_page=%d", x.ContactModule, page, segmentPage)
		if r := x.call(ctx, "list views", http.MethodGet, path, nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
			return nil, r.Error
		}
		for _, v := range a.Views {
			s := core.Segment{ID: kindView + ":" + v.ID, Name: nameOf(v.Label, v.Name, v.ID), Kind: kindView}
			if recordID.MatchString(v.ID) && isWanted(s, wanted) {
				list = append(list, s)
			}
		}
		if !a.Info.More {
			break
		}
	}
	return list, nil
}

// nameOf is the first name that there is.
func nameOf(names ...string) string {
	for _, name := range names {
		if name = tidy(name); name != "" {
			return crm.Clip(name, 200)
		}
	}
	return ""
}

// hasCampaigns reports whether what contacts are here can be members of campaigns.
func (x *session) hasCampaigns() bool {
	return slices.Contains([]string{"Contacts", "Leads"}, x.ContactModule)
}

// campaigns returns the campaigns that are wanted, the newest first; none where the
// token may not see them, unless one is asked for by its ID.
func (x *session) campaigns(ctx context.Context, wanted string) ([]core.Segment, *core.Error) {
	if !x.hasCampaigns() {
		return nil, nil
	}
	kind, id, _ := strings.Cut(wanted, ":")
	byID := kind == kindCampaign && recordID.MatchString(id)
	where := "id is not null"
	if word := longest(wanted); word != "" {
		where = "Campaign_Name like " + quote("%"+word+"%")
	}
	if byID {
		where = anyOf([]string{where, "id = " + quote(id)})
	}
	var list []core.Segment
	for last, page := "", 0; page < campaignPages && len(list) < core.MaxSegments; page++ {
		text := where
		if last != "" {
			text = "(" + where + ") and id < " + quote(last)
		}
		found, err := x.queryUpTo(ctx, segmentPage, "Campaigns", text+" order by id desc", "id", "Campaign_Name")
		switch {
		case err != nil && err.Code == core.CodeForbidden && !byID:
			return nil, nil
		case err != nil:
			return nil, err
		}
		for _, f := range found {
			s := core.Segment{ID: kindCampaign + ":" + f.id(), Name: nameOf(f.text("Campaign_Name"), f.id()), Kind: kindCampaign}
			if recordID.MatchString(f.id()) && isWanted(s, wanted) {
				list = append(list, s)
			}
		}
		if len(found) < segmentPage {
			break
		}
		last = found[len(found)-1].id()
	}
	return list, nil
}

// longest returns the longest word of a name that a query can ask for. The rest of
// the name is compared here.
func longest(name string) string {
	var word string
	for w := range strings.FieldsSeq(name) {
		if len(w) > len(word) && !strings.ContainsAny(w, `%\`) {
			word = w
		}
	}
	return crm.Clip(word, maxLike)
}

// bookmark is where the next page of members begins. Zoho's token lives for a day and
// is bound to the fields that are asked for; where Zoho lists by id, the place is
// found again without it.
type bookmark struct {
	Token string `json:"token,omitempty"`
	// Page is the next page's number, where Zoho gives no token: of campaigns' members
	// its pages know none, its specification does.
	Page int `json:"page,omitempty"`
	// After is the last member that was told, Order how ids go: "asc" or "desc"; ""
	// where Zoho lists by something else.
	After string `json:"after"`
	Order string `json:"order,omitempty"`
	// Again says that the list is read from its beginning, up to After for nothing.
	Again bool `json:"again,omitempty"`
}

// maxToken bounds what is kept of Zoho's token, maxPages how many pages are counted.
const (
	maxToken = 4 << 10
	maxPages = 500
)

// memberPage is a page of members as Zoho tells it.
type memberPage struct {
	Data []found `json:"data"`
	Info struct {
		More   *bool  `json:"more_records"`
		Next   string `json:"next_page_token"`
		SortBy string `json:"sort_by"`
		Order  string `json:"sort_order"`
	} `json:"info"`
}

// order is how the ids of the page go; "" when it is by something else.
func (p *memberPage) order() string {
	if p.Info.SortBy != "id" || p.Info.Order != "asc" && p.Info.Order != "desc" {
		return ""
	}
	for i := range len(p.Data) - 1 {
		if !isBeyond(p.Data[i+1].id(), p.Data[i].id(), p.Info.Order) {
			return ""
		}
	}
	return p.Info.Order
}

// isBeyond reports whether an id comes after another. Both are digits.
func isBeyond(id, other, order string) bool {
	less := len(id) < len(other) || len(id) == len(other) && id < other
	return id != other && less == (order == "desc")
}

// Members implements [core.Segmenter]. A page costs a credit.
func (c *Connector) Members(ctx context.Context, a core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	x, err := c.open(a)
	if err != nil {
		return core.Members{}, err
	}
	kind, id, _ := strings.Cut(segment, ":")
	if !recordID.MatchString(id) || kind != kindView && (kind != kindCampaign || !x.hasCampaigns()) {
		return core.Members{}, crm.Failure(core.CodeInvalid, "read segment", "%s has no segment %q", x.ContactModule, crm.Clip(segment, 100))
	}
	var at bookmark
	if len(cursor) > 0 {
		if err := json.Unmarshal(cursor, &at); err != nil {
			return core.Members{}, core.Errorf(core.CodeInternal, "read segment", "the place reached cannot be read: %w", err)
		}
	}
	if err := x.reserved(); err != nil {
		return core.Members{}, err
	}
	fs, err := x.fieldsOf(ctx, x.ContactModule, cmp.Or(x.PhoneField, x.ContactKey))
	if err == nil {
		err = fs.lacking(named{"phone_field", x.PhoneField})
	}
	if err != nil {
		return core.Members{}, err
	}
	list, next, err := x.members(ctx, kind, id, x.person(fs), at)
	if err != nil {
		return core.Members{}, err
	}
	page := core.Members{Members: list, More: next != nil}
	if next != nil {
		page.Cursor, _ = json.Marshal(next) //nolint:errchkjson // texts
	}
	return page, nil
}

// members reads the page at a bookmark, and says where the next one is; nil when there
// is none.
func (x *session) members(ctx context.Context, kind, id string, names []string, at bookmark) ([]core.Member, *bookmark, *core.Error) {
	p, r := x.memberPage(ctx, kind, id, names, at)
	if r != nil && at.Token != "" && at.Order != "" && isExpired(r) {
		at.Token, at.Again = "", true
		p, r = x.memberPage(ctx, kind, id, names, at)
	}
	if r != nil {
		return nil, nil, x.noMembers(r, kind, id)
	}
	if len(p.Data) > 0 && p.Info.More == nil { // else a part of them would be taken for all
		return nil, nil, crm.Failure(core.CodeUnavailable, "read segment", "Zoho does not say whether there are more members")
	}
	order := p.order()
	if at.Again && len(p.Data) > 0 && order != at.Order {
		return nil, nil, lostPlace("its order is another one now")
	}
	next := bookmark{Token: p.Info.Next, After: at.After, Order: order, Again: at.Again}
	var list []core.Member
	for _, f := range p.Data {
		if !recordID.MatchString(f.id()) || next.Again && !isBeyond(f.id(), next.After, order) {
			continue
		}
		next.After, next.Again = f.id(), false
		list = append(list, x.member(f))
	}
	switch {
	case p.Info.More == nil || !*p.Info.More:
		return list, nil, nil
	case next.Token == "":
		next.Page = max(at.Page, 1) + 1
	}
	if next.Page > maxPages || len(next.Token) > maxToken {
		return nil, nil, crm.Failure(core.CodeUnavailable, "read segment", "Zoho has more members and does not say where")
	}
	return list, &next, nil
}

// memberPage asks for the page at a bookmark. The parameters must be those of the call
// that gave its token.
func (x *session) memberPage(ctx context.Context, kind, id string, names []string, at bookmark) (*memberPage, *refusal) {
	op, path := "read contacts of view", fmt.Sprintf("%s?cvid=%s&", x.ContactModule, id)
	if kind == kindCampaign {
		op, path = "read campaign", fmt.Sprintf("Campaigns/%s/%s?", id, x.ContactModule)
	}
	path += fmt.Sprintf("fields=%s&per_page=%d", strings.Join(names, ","), segmentPage)
	switch {
	case at.Token != "":
		path += "&page_token=" + url.QueryEscape(at.Token)
	case at.Page > 1:
		path += fmt.Sprintf("&page=%d", at.Page)
	}
	var p memberPage
	r := x.call(ctx, op, http.MethodGet, path, nil, func(b []byte) error { return crm.Decode(b, &p) })
	return &p, r
}

// isExpired reports whether Zoho does not know a page's token any more.
func isExpired(r *refusal) bool {
	return r.outcome.Code == "EXPIRED_VALUE" || r.outcome.Code == "TOKEN_BOUND_DATA_MISMATCH"
}

// lostPlace says that a list cannot be read on.
func lostPlace(why string) *core.Error {
	e := crm.Failure(core.CodeInvalid, "read segment", "Zoho keeps the place in a list for a day, which is over, and it cannot be found again: %s", why)
	e.Hint = "plan the campaign again"
	return e
}

// noMembers explains why Zoho tells no members.
func (x *session) noMembers(r *refusal, kind, id string) *core.Error {
	e := r.Error
	switch o := &r.outcome; {
	case isExpired(r):
		return lostPlace("Zoho does not say that it is sorted by id")
	case o.Code == "PAGINATION_LIMIT_EXCEEDED", o.Code == "DISCRETE_PAGINATION_LIMIT_EXCEEDED":
		e.Code, e.Hint = core.CodeInvalid, "Zoho tells no more members of this "+kind+": make views that have no more each"
	case o.Code == "INVALID_DATA" && (kind == kindCampaign || o.Details.Param == "cvid"):
		e.Code, e.Message = core.CodeInvalid, fmt.Sprintf("Zoho has no %s %s: %s", kind, id, crm.VendorText(o.Message))
		e.Hint = "see which there are: it may have been deleted, or not be shared with the user whose refresh token it is"
	case e.Code == core.CodeInvalid: // the call is ours, and wrong
		e.Code, e.Scope, e.Hint = core.CodeForbidden, core.ScopeLane, "look at the fields and modules that the settings name"
	}
	return e
}

// person are the fields that say who a member is; those that there are.
func (x *session) person(fs *fields) []string {
	name := x.NameField
	if name == "Last_Name" && fs.byName[fullName] != nil {
		name = fullName
	}
	var names []string
	for _, n := range append([]string{x.PhoneField, x.BSUIDField, name, x.UsernameField, x.ContactKey}, x.AdoptFields...) {
		if fs.byName[n] != nil && !slices.Contains(names, n) && len(names) < maxSelect {
			names = append(names, n)
		}
	}
	return names
}

// fullName is Zoho's own field of first and last name.
const fullName = "Full_Name"

// member is a record as somebody who may be written to. What the bridge wrote where
// no name was known is none.
func (x *session) member(f found) core.Member {
	who := core.Contact{BSUID: f.text(x.BSUIDField), Phone: x.phone(f), Name: nameOf(f.text(fullName), f.text(x.NameField))}
	for _, name := range append([]string{x.PhoneField}, x.AdoptFields...) {
		if number, err := contact.ParsePhone(f.text(name), x.Region); err == nil {
			who.Phone = number.Address().Value
			break
		}
	}
	if _, err := contact.ParsePhone(who.Name, x.Region); err == nil || who.Name == f.text(x.UsernameField) || who.Name == crm.Name(&core.Contact{ID: f.text(x.ContactKey)}) {
		who.Name = ""
	}
	return core.Member{ContactRef: f.id(), Contact: who}
}
