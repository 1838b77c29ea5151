package hubspot

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/crm"
)

// Of whom the bridge does not know a record yet one is looked for, once: by the key, and
// where there is none, the record that HubSpot told of, then one that has the number. What
// is found so is read again before it is taken, since a search knows a record as it was.
//
// HubSpot keeps of the two standard phone properties what it can search by, however they are
// written: the number without the country's code. See
// https://developers.hubspot.com/docs/api-reference/search/guide.

const (
	// adoptGroups is how many filter groups a search may have.
	adoptGroups = 5
	// searchBody is how many characters a search's body may have.
	searchBody = 3000
	// adoptHits is how many records a search returns, and adoptPages how often more are
	// asked for: there are few with the same number.
	adoptHits, adoptPages = 200, 5
)

// putContacts writes contacts, those first looked for of whom no record is known.
func (x *session) putContacts(ctx context.Context, rs []*row) {
	x.find(ctx, pick(rs, func(r *row) bool { return !r.known }))
	x.write(ctx, x.contacts(), pick(rs, func(r *row) bool { return r.err == nil }))
}

// recordID is the form of a record's id.
var recordID = regexp.MustCompile(`^[0-9]{1,20}$`)

// find looks for the records of contacts. Whoever cannot be looked for now is not written.
func (x *session) find(ctx context.Context, rs []*row) {
	fail := func(rs []*row, err *core.Error) {
		for _, r := range rs {
			r.err = err
		}
	}
	for rs := range slices.Chunk(rs, maxBatch) {
		byKey := make(map[string]*row, len(rs))
		keys := make([]string, len(rs))
		for i, r := range rs {
			keys[i], byKey[r.key] = r.key, r
		}
		found, err := x.readRecords(ctx, "contacts", x.ContactKey, keys, x.looked())
		if err != nil && err.Vendor == "PROPERTY_DOESNT_EXIST" && x.CreateProperties {
			err = x.prepare(ctx, x.contacts()) // Check never ran here: nobody has the key
		}
		if err != nil {
			fail(rs, err)
			continue
		}
		for i := range found {
			if r := byKey[found[i].text(x.ContactKey)]; r != nil {
				x.has(r, &found[i])
				delete(byKey, r.key)
			}
		}
		strangers := pick(rs, func(r *row) bool { return byKey[r.key] == r })
		if err := x.adoptFrom(ctx, strangers); err != nil {
			fail(strangers, err)
			continue
		}
		for _, r := range strangers {
			r.fresh = r.record == ""
		}
	}
}

// readRecords reads records of an object by their ids, or by a property with unique values,
// with the values that the properties named last had before. Those that are gone are left out.
func (x *session) readRecords(ctx context.Context, object, by string, ids, names []string, history ...string) (all []pulled, _ *core.Error) {
	op := "read " + object
	size := maxBatch
	if len(history) > 0 {
		size = historyInputs
	}
	for part := range slices.Chunk(ids, size) {
		inputs := make([]map[string]string, len(part))
		for i, id := range part {
			inputs[i] = map[string]string{"id": id}
		}
		asked := map[string]any{"inputs": inputs, "properties": names, "propertiesWithHistory": append([]string{}, history...)}
		if by != "" {
			asked["idProperty"] = by
		}
		body, jsonErr := json.Marshal(asked)
		if jsonErr != nil {
			return nil, core.Errorf(core.CodeInternal, op, "%w", jsonErr)
		}
		var answer reads[pulled]
		r := x.call(ctx, op, http.MethodPost, x.path("objects", object+"/batch/read"), body, func(b []byte) error {
			return whole(b, &answer, answer.whole)
		})
		if r != nil && r.answer.Category == "OBJECT_NOT_FOUND" {
			continue // none of them is there
		}
		err := r.reading()
		if err == nil {
			err = x.unread(op, answer.Errors)
		}
		if err != nil {
			if err.Code == core.CodeInvalid { // that is not to be written, but to be read
				err.Code, err.Hint = core.CodeUnavailable, ""
			}
			return nil, err
		}
		all = append(all, answer.Results...)
	}
	return all, nil
}

// looked are the properties by which a record is known.
func (x *session) looked() []string {
	names := append(x.numbered(), x.BSUIDProperty, x.ContactKey, "createdate", "firstname", "lastname", x.NameProperty)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// numbered are the properties that hold numbers.
func (x *session) numbered() []string {
	names := []string{x.PhoneProperty, "mobilephone"}
	for _, name := range x.AdoptBy {
		if !strings.HasPrefix(name, searchable) {
			names = append(names, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// has notes what the record of a contact has: a name that is there stays, unless it only
// stands in for one.
func (x *session) has(r *row, p *pulled) {
	if len(r.onCreate) == 0 || x.NameProperty == "" {
		return
	}
	is := strings.TrimSpace(p.text(x.NameProperty))
	nobody := core.Contact{ID: r.who.ID}
	standsIn := slices.Contains([]string{r.who.Phone, r.who.Username, x.who(p).Phone, crm.Name(&nobody)}, is)
	if is == "" {
		standsIn = p.text("firstname") == "" && p.text("lastname") == ""
	}
	if r.called != "" && standsIn {
		r.set(x.NameProperty, clip(r.called))
		r.onCreate = nil
	}
}

// adoptFrom gives rows that have no record by their key one that is theirs all the same.
func (x *session) adoptFrom(ctx context.Context, rs []*row) *core.Error {
	var ids []string
	for _, r := range rs {
		if recordID.MatchString(r.told) {
			ids = append(ids, r.told)
		}
	}
	hits, err := x.byNumber(ctx, rs)
	if err != nil {
		return err
	}
	if ids = append(ids, hits...); len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	found, err := x.readRecords(ctx, "contacts", "", slices.Compact(ids), x.looked())
	if err != nil {
		return err
	}
	slices.SortStableFunc(found, func(a, b pulled) int { return a.created().Compare(b.created()) }) // the oldest counts
	owners := x.owners(rs, found)
	taken := map[string]bool{}
	take := func(r *row, p *pulled) {
		if key := p.text(x.ContactKey); r.record == "" && !taken[p.ID] && (key == "" || key == r.key) {
			r.record, taken[p.ID] = p.ID, true
			x.has(r, p)
			r.onCreate = nil
		}
	}
	for i := range found {
		for _, r := range owners[i] {
			if r.told == found[i].ID {
				take(r, &found[i])
			}
		}
	}
	for i := range found {
		for _, r := range owners[i] {
			take(r, &found[i])
		}
	}
	return nil
}

func (p *pulled) created() time.Time {
	at, err := time.Parse(time.RFC3339, p.text("createdate"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// owners returns, of each record, the rows whose contacts have a number or the user id that
// it has.
func (x *session) owners(rs []*row, found []pulled) [][]*row {
	byNumber, byUser := map[contact.Key][]*row{}, map[string][]*row{}
	all := make([]core.Address, len(rs))
	for i, r := range rs {
		all[i] = r.number()
		if key := contact.KeyOf(all[i]); !key.IsZero() {
			byNumber[key] = append(byNumber[key], r)
		}
		if r.who.BSUID != "" {
			byUser[r.who.BSUID] = append(byUser[r.who.BSUID], r)
		}
	}
	countries := contact.Countries(all)
	owners := make([][]*row, len(found))
	for i := range found {
		p := &found[i]
		if x.BSUIDProperty != "" {
			owners[i] = append(owners[i], byUser[p.text(x.BSUIDProperty)]...)
		}
		for _, name := range x.numbered() {
			if text := p.text(name); text != "" && len(text) <= 100 {
				for _, key := range contact.Readings(text, countries) {
					owners[i] = append(owners[i], byNumber[key]...)
				}
			}
		}
	}
	return owners
}

// number is the address that a row's number is; the zero one when it has none.
func (r *row) number() core.Address { return contact.Number(r.who.Phone) }

// numbers are the forms of a row's number that a search finds: as HubSpot keeps numbers for
// searches (those of which it does not see the country's code with that), and as one is
// written with nothing between the digits.
type numbers struct{ kept, plain []string }

func numbersOf(r *row) (n numbers) {
	for _, one := range contact.MatchSet(r.number()) {
		if one.Kind != core.AddressPhone {
			continue
		}
		digits := strings.TrimPrefix(one.Value, "+")
		n.kept = append(n.kept, contact.Significant(one), digits)
		n.plain = append(n.plain, one.Value)
	}
	return n
}

// byNumber searches for the rows' numbers, as many at a time as a search takes, and returns
// the ids of what may be theirs.
func (x *session) byNumber(ctx context.Context, rs []*row) (ids []string, _ *core.Error) {
	if len(x.AdoptBy) == 0 {
		return nil, nil
	}
	var now numbers
	ask := func() *core.Error {
		if len(now.plain) == 0 {
			return nil
		}
		hits, err := x.searchNumbers(ctx, now)
		ids, now = append(ids, hits...), numbers{}
		return err
	}
	for _, r := range rs {
		n := numbersOf(r)
		with := numbers{append(slices.Clone(now.kept), n.kept...), append(slices.Clone(now.plain), n.plain...)}
		if len(x.searchFor(with, "")) > searchBody {
			if err := ask(); err != nil {
				return nil, err
			}
			with = n
		}
		now = with
	}
	return ids, ask()
}

// searchable begins the names of the properties that HubSpot keeps for searches.
const searchable = "hs_searchable_"

func (x *session) searchFor(n numbers, after string) []byte {
	type filter struct {
		Property string   `json:"propertyName"`
		Operator string   `json:"operator"`
		Values   []string `json:"values"`
	}
	type group struct {
		Filters []filter `json:"filters"`
	}
	var groups []group
	for _, name := range x.AdoptBy {
		values := n.plain
		if strings.HasPrefix(name, searchable) {
			values = n.kept
		}
		groups = append(groups, group{[]filter{{name, "IN", values}}})
	}
	body, _ := json.Marshal(map[string]any{ //nolint:errchkjson // texts
		"filterGroups": groups, "properties": []string{x.ContactKey}, "sorts": []map[string]string{{"propertyName": "createdate", "direction": "ASCENDING"}},
		"limit": adoptHits, "after": cmp.Or(after, "0"),
	})
	return body
}

func (x *session) searchNumbers(ctx context.Context, n numbers) (ids []string, _ *core.Error) {
	for page, after := 0, ""; page < adoptPages; page++ {
		var answer found
		r := x.call(ctx, "contact search", http.MethodPost, x.path("objects", "contacts/search"), x.searchFor(n, after), func(b []byte) error {
			return whole(b, &answer, func() bool { return answer.Results != nil })
		})
		if err := r.reading(); err != nil {
			if err.Code == core.CodeInvalid {
				err.Code, err.Scope, err.Hint = core.CodeForbidden, core.ScopeLane, "look at settings.adopt_by: HubSpot does not search by these properties; empty, no record is adopted by its number"
			}
			return nil, err
		}
		for _, hit := range answer.Results {
			ids = append(ids, hit.ID)
		}
		if after = answer.Paging.Next.After; after == "" {
			break
		}
	}
	return ids, nil
}
