package customhttp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// segmented is a lane that takes the sim's lists for segments; list and members change
// how it asks, others what else is said of segments.
func segmented(list, members, others table) table {
	l := table{
		"path": "/lists", "rows": "data", "id": "id", "name": "name", "kind": "type", "size": "members",
		"when": table{"path": "type", "equals": "contacts"},
	}
	m := table{
		"path": "/lists/{{.segment.id}}/members", "rows": "data", "ref": "contact.id", "phone": "contact.phone", "bsuid": "contact.bsuid",
		"name": []any{"contact.first_name", "contact.last_name"}, "when": table{"path": "contact", "exists": true},
	}
	maps.Copy(l, list)
	maps.Copy(m, members)
	s := table{"list": l, "members": m}
	maps.Copy(s, others)
	return table{"idempotency": "none", "auth": table{"type": "bearer"}, "segments": s}
}

func startSegmented(t *testing.T, settings table) *bench {
	t.Helper()
	return start(t, customhttpsim.Options{Token: token}, settings, nil)
}

// people are n members of a list.
func people(n int) []customhttpsim.Member {
	list := make([]customhttpsim.Member, n)
	for i := range list {
		list[i] = customhttpsim.Member{ID: fmt.Sprint("c", i), FirstName: "Ada", LastName: fmt.Sprint(i), Phone: fmt.Sprintf("+155501%05d", i)}
	}
	return list
}

// everyone asks for the pages of a segment until there are no more.
func (b *bench) everyone(t *testing.T, segment string, cursor json.RawMessage) (all []core.Member, pages int) {
	t.Helper()
	for range 100 {
		got, err := b.connector.Members(t.Context(), b.account, segment, cursor)
		if err != nil {
			t.Fatal(err)
		}
		all, cursor = append(all, got.Members...), got.Cursor
		pages++
		if !got.More {
			return all, pages
		}
	}
	t.Fatal("it does not end")
	return nil, 0
}

// everyWay is each way of paging that the sim has, 7 rows a page.
func everyWay() map[string]table {
	return map[string]table{
		"page, fewer than asked for": {"paging": table{"type": "page", "size": 9, "total": "total"}, "query": table{"limit": "7", "page": "{{.page}}"}},
		"offset, as many as come":    {"paging": table{"type": "offset", "size": 9, "total": "total"}, "query": table{"limit": "7", "offset": "{{.offset}}"}},
		"page":                       {"paging": table{"type": "page", "size": 7}, "query": table{"limit": "{{.size}}", "page": "{{.page}}"}},
		"offset":                     {"paging": table{"type": "offset", "size": 7}, "query": table{"limit": "{{.size}}", "offset": "{{.offset}}"}},
		"cursor":                     {"paging": table{"type": "cursor", "path": "next_cursor", "size": 7}, "query": table{"limit": "{{.size}}", "cursor": "{{.cursor}}"}},
		"next_url":                   {"paging": table{"type": "next_url", "path": "next_url", "size": 7}, "query": table{"limit": "{{.size}}"}},
		"link":                       {"paging": table{"type": "next_url", "size": 7}, "query": table{"limit": "{{.size}}"}},
	}
}

func TestMembers_ReadsAllPagesInEveryWay(t *testing.T) {
	for name, way := range everyWay() {
		t.Run(name, func(t *testing.T) {
			b := startSegmented(t, segmented(way, way, nil))
			for i := range 15 { // the one that is asked for is on the third page
				b.sim.SetList(customhttpsim.List{ID: fmt.Sprint(i), Name: fmt.Sprint("list ", i), Type: "contacts"})
			}
			list := people(23)
			list[3].Phone = ""                                              // a member nevertheless
			list[8] = customhttpsim.Member{ID: "c8", BSUID: "US.13491208"}  // without a name, too
			list[21].ID = ""                                                // the contact was deleted: when leaves it out
			list[22].FirstName, list[22].Phone = "  ", "call her at night!" // the bridge says so
			b.sim.SetList(customhttpsim.List{ID: "14", Name: "VIP", Type: "contacts", Members: list})
			got, pages := b.everyone(t, "14", nil)
			var want []core.Member
			for i, m := range list {
				if i != 21 {
					want = append(want, core.Member{ContactRef: m.ID, Contact: core.Contact{
						Name: strings.TrimSpace(m.FirstName + " " + m.LastName), Phone: m.Phone, BSUID: m.BSUID}})
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || pages != 4 {
				t.Errorf("%d pages; (-want +got):\n%s", pages, diff)
			}
		})
	}
}

func TestSegments_AreFoundByPartOfTheirNameAndByID(t *testing.T) {
	searching := table{"query": table{"limit": "{{.size}}", "cursor": "{{.cursor}}", "search": "{{.name}}"}}
	get := table{"get": table{"path": "/lists/{{.segment.id}}", "rows": "data"}}
	ways := map[string]table{"searched": segmented(nil, nil, nil), "got": segmented(nil, nil, get), "searched and got": segmented(nil, nil, get)}
	for name, way := range everyWay() {
		ways[name] = segmented(way, nil, nil)
	}
	for _, name := range []string{"searched", "searched and got"} {
		list := ways[name]["segments"].(table)["list"].(table)
		maps.Copy(list, everyWay()["cursor"])
		maps.Copy(list, searching)
	}
	ways["got"]["segments"].(table)["list"].(table)["paging"] = table{"type": "next_url", "size": 7}
	for name, settings := range ways {
		t.Run(name, func(t *testing.T) {
			settings["segments"].(table)["fixed"] = []any{table{"id": "all", "name": "Everybody", "kind": "view"}, table{"id": "9"}}
			b := startSegmented(t, settings)
			for i := range 30 {
				b.sim.SetList(customhttpsim.List{ID: fmt.Sprint(i), Name: fmt.Sprintf("List %02d", i), Type: "contacts", Members: people(i)})
			}
			b.sim.SetList(customhttpsim.List{ID: "firms", Name: "List of firms", Type: "companies"})
			list := func(i int) core.Segment {
				return core.Segment{ID: fmt.Sprint(i), Name: fmt.Sprintf("List %02d", i), Kind: "contacts", Size: i}
			}
			fixed := []core.Segment{{ID: "all", Name: "Everybody", Kind: "view"}, {ID: "9", Name: "9"}}
			everything := slices.Clone(fixed)
			for i := range 30 {
				if i != 9 { // the fixed one is that
					everything = append(everything, list(i))
				}
			}
			for text, want := range map[string][]core.Segment{
				"":         everything,
				"lisT 1":   {list(10), list(11), list(12), list(13), list(14), list(15), list(16), list(17), list(18), list(19)},
				"27":       {list(27)}, // by both
				"13":       {list(13)},
				"3":        {list(3), list(13), list(23)}, // the one with the ID first
				"every":    {fixed[0]},
				"all":      {fixed[0]},
				"firms":    nil,
				"nothing":  nil,
				"a/../b?x": nil,
			} {
				got, err := b.connector.Segments(t.Context(), b.account, text)
				if err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%q (-want +got):\n%s", text, diff)
				}
			}
		})
	}
}

func TestMembers_GoOnAtTheSamePageAfterAFault(t *testing.T) {
	b := startSegmented(t, segmented(nil, everyWay()["page"], nil))
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: people(20)})
	first, err := b.connector.Members(t.Context(), b.account, "7", nil)
	if err != nil || len(first.Members) != 7 || !first.More {
		t.Fatalf("%+v, %v", first, err)
	}
	status := func(code int) customhttpsim.Fault {
		return customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: code, Header: map[string]string{"Retry-After": "17"}}
	}
	for _, c := range []struct {
		fault customhttpsim.Fault
		want  core.Code
		wait  time.Duration
		// passes by itself: no setting is to be changed.
		passes bool
	}{
		{status(429), core.CodeRateLimited, 17 * time.Second, true},
		{status(401), core.CodeUnauthenticated, 0, false},
		{status(403), core.CodeForbidden, 0, false},
		{status(500), core.CodeUnavailable, 17 * time.Second, true},
		{status(503), core.CodeUnavailable, 17 * time.Second, true},
		{status(302), core.CodeForbidden, 0, false},
		{customhttpsim.Fault{Kind: customhttpsim.FaultCut}, core.CodeUnavailable, 0, false},
		{customhttpsim.Fault{Kind: customhttpsim.FaultLost}, core.CodeUnavailable, 0, true},
		{customhttpsim.Fault{Kind: customhttpsim.FaultDrop}, core.CodeUnavailable, 0, true},
	} {
		b.sim.Inject(c.fault)
		got, err := b.connector.Members(t.Context(), b.account, "7", first.Cursor)
		e := core.AsError(err)
		if e == nil || e.Code != c.want || e.RetryAfter != c.wait || (e.Hint == "") != c.passes || got.Cursor != nil || strings.Contains(e.Error(), token) {
			t.Errorf("%+v: got %+v, %v", c.fault, got, err)
		}
		// The same while it is looked for.
		if _, err := b.connector.Members(t.Context(), b.account, "7", nil); core.CodeOf(err) != c.want {
			t.Errorf("%+v, at first: got %v", c.fault, err)
		}
		if _, err := b.connector.Segments(t.Context(), b.account, ""); core.CodeOf(err) != c.want {
			t.Errorf("%+v: segments: got %v", c.fault, err)
		}
		b.sim.Heal()
	}
	if rest, _ := b.everyone(t, "7", first.Cursor); len(rest) != 13 || rest[0].ContactRef != "c7" {
		t.Errorf("%d were told after it, want 13: %+v", len(rest), rest)
	}
}

// Some APIs have no page after the last, which they say with an error.
func TestMembers_EndWhereARuleSaysSo(t *testing.T) {
	way := everyWay()["page"]
	way["errors"] = []any{table{"status": []any{404}, "contains": "Invalid page", "then": "ignore"}}
	b := startSegmented(t, segmented(nil, way, nil))
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: people(14)})
	b.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Match: "/members", Skip: 2, Status: 404, Body: "Invalid page."})
	if got, pages := b.everyone(t, "7", nil); len(got) != 14 || pages != 3 {
		t.Errorf("%d members on %d pages", len(got), pages)
	}
}

func TestMembers_OfNoSegmentAreInvalid(t *testing.T) {
	get := table{"get": table{"path": "/lists/{{.segment.id}}", "rows": "data"}}
	// An API that answers with nobody where there is no such list.
	nobody := table{"path": "/members", "query": table{"list": "{{.segment.id}}"}, "rows": "", "ref": "id", "phone": "phone", "when": nil, "name": "first_name"}
	for name, settings := range map[string]table{
		"listed": segmented(nil, nil, nil),
		"got":    segmented(nil, nil, get),
		"silent": segmented(nil, nobody, nil),
		"fixed":  segmented(nil, nobody, table{"list": nil, "fixed": []any{table{"id": "7"}}}),
	} {
		t.Run(name, func(t *testing.T) {
			b := startSegmented(t, settings)
			b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: people(5)})
			b.sim.SetList(customhttpsim.List{ID: "firms", Name: "Firms", Type: "companies", Members: people(1)})
			if got, pages := b.everyone(t, "7", nil); len(got) != 5 || pages != 1 {
				t.Errorf("%d members on %d pages", len(got), pages)
			}
			for _, id := range []string{"8", "firms", "VIP", "a/../b?x", ".."} {
				got, err := b.connector.Members(t.Context(), b.account, id, nil)
				e := core.AsError(err)
				if core.CodeOf(err) != core.CodeInvalid || e.Hint == "" || len(got.Members) > 0 || name == "got" && id == "8" && !strings.Contains(e.Message, "there is no such list") {
					t.Errorf("%s: got %+v, %v", id, got, err)
				}
			}
			for _, r := range b.sim.Requests() {
				if strings.HasSuffix(r.Path, "/members") && !strings.Contains(r.Path+r.Query, "7") {
					t.Errorf("it asked who is in %s?%s", r.Path, r.Query)
				}
			}
		})
	}
	t.Run("fixed, of an API that does not know it", func(t *testing.T) {
		b := startSegmented(t, segmented(nil, nobody, table{"get": get["get"], "fixed": []any{table{"id": "all"}}}))
		if got, _ := b.everyone(t, "all", nil); len(got) != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("gone meanwhile", func(t *testing.T) {
		b := startSegmented(t, segmented(nil, everyWay()["cursor"], nil))
		b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: people(20)})
		first, err := b.connector.Members(t.Context(), b.account, "7", nil)
		if err != nil {
			t.Fatal(err)
		}
		b.sim.RemoveList("7")
		if _, err := b.connector.Members(t.Context(), b.account, "7", first.Cursor); core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "no such segment (any more)") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no segments", func(t *testing.T) {
		b := startSegmented(t, notes("none", nil))
		_, err := b.connector.Segments(t.Context(), b.account, "")
		_, membersErr := b.connector.Members(t.Context(), b.account, "7", nil)
		for _, err := range []error{err, membersErr} {
			if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(core.AsError(err).Hint, "settings.segments") {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("no list of them", func(t *testing.T) { // is not that the segment is gone
		b := startSegmented(t, segmented(table{"path": "/lits"}, nil, nil))
		_, err := b.connector.Members(t.Context(), b.account, "7", nil)
		if e := core.AsError(err); core.CodeOf(err) != core.CodeForbidden || !strings.Contains(e.Hint, "settings.segments.list") {
			t.Errorf("got %v", err)
		}
	})
}

func TestMembers_AreOfTheSegmentWhateverItsID(t *testing.T) {
	odd := []string{"a/b?x=1#y", "50%", "ü & ö", `"quoted"`, "%2e%2e", "a b+c", "..."}
	for name, members := range map[string]table{
		"path":  nil,
		"query": {"path": "/members", "query": table{"list": "{{.segment.id}}"}, "rows": "", "ref": "id", "phone": "phone", "when": nil, "name": "first_name"},
	} {
		b := startSegmented(t, segmented(nil, members, nil))
		for i, id := range append(odd, "a/../b?x", "..", "b", "a") {
			b.sim.SetList(customhttpsim.List{ID: id, Name: id, Type: "contacts", Members: people(i + 1)})
		}
		for i, id := range odd {
			if got, _ := b.everyone(t, id, nil); len(got) != i+1 {
				t.Errorf("%s: %q: %d members, want %d", name, id, len(got), i+1)
			}
		}
		if members != nil {
			continue
		}
		// What servers resolve is asked of none.
		for _, id := range []string{"a/../b?x", ".."} {
			before := len(b.sim.Requests())
			_, err := b.connector.Members(t.Context(), b.account, id, nil)
			if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "settings.segments.members.path") {
				t.Errorf("%s: got %v", id, err)
			}
			for _, r := range b.sim.Requests()[before:] {
				if r.Path != "/v1/lists" {
					t.Errorf("%s: it asked %s", id, r.Path)
				}
			}
		}
	}
}

func TestMembers_ComeInPartsWhereTheAPIGivesAllAtOnce(t *testing.T) {
	b := startSegmented(t, segmented(nil, table{"path": "/members", "query": table{"list": "{{.segment.id}}"}, "rows": "", "ref": "id",
		"phone": "phone", "name": "first_name", "when": nil}, nil))
	list := people(1200)
	for i := range list { // more than other answers may be
		list[i].FirstName = strings.Repeat("Ada ", 250)
	}
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: list})
	got, pages := b.everyone(t, "7", nil)
	refs := map[string]bool{}
	for _, m := range got {
		refs[m.ContactRef] = true
	}
	if len(got) != 1200 || len(refs) != 1200 || pages != 3 {
		t.Errorf("%d members, %d of them different, on %d pages", len(got), len(refs), pages)
	}
	// Fewer than were told already.
	cursor := json.RawMessage(`{"skip":500}`)
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: list[:300]})
	if got, err := b.connector.Members(t.Context(), b.account, "7", cursor); err != nil || got.More || len(got.Members) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: people(10_001)})
	if _, err := b.connector.Members(t.Context(), b.account, "7", nil); err == nil || !strings.Contains(err.Error(), "10001 rows, at most 10000 are read") {
		t.Errorf("got %v", err)
	}
}

func TestSegments_AreAThousandAtMost(t *testing.T) {
	b := startSegmented(t, segmented(table{"paging": table{"type": "next_url", "size": 100}, "query": table{"limit": "{{.size}}"}}, nil, nil))
	for i := range 1300 {
		b.sim.SetList(customhttpsim.List{ID: fmt.Sprint("l", i), Name: fmt.Sprintf("list of l%d", i), Type: "contacts"})
	}
	for text, want := range map[string]int{"": 1000, "l1250": 1, "list": 1000} {
		if got, err := b.connector.Segments(t.Context(), b.account, text); err != nil || len(got) != want {
			t.Errorf("%q: %d, want %d; %v", text, len(got), want, err)
		}
	}
	// A name that is an ID, beyond as many that have it in their names.
	for i := range 1100 {
		b.sim.SetList(customhttpsim.List{ID: fmt.Sprint("l", i), Name: fmt.Sprint("not l1200, but ", i), Type: "contacts"})
	}
	if got, err := b.connector.Segments(t.Context(), b.account, "l1200"); err != nil || len(got) != 1000 || got[0].ID != "l1200" {
		t.Errorf("%d segments: %v", len(got), err)
	}
}

// endless answers every request with the same page.
func endless(page string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) })
}

func TestSegments_SayWhatIsWrongWithAnAnswer(t *testing.T) {
	row := `{"id":"7","name":"VIP","type":"contacts","members":3}`
	for name, c := range map[string]struct {
		answer string
		change table
		want   string
		hint   string
	}{
		"pages that do not end":      {answer: `{"data":[` + row + `],"next_cursor":"x"}`, change: everyWay()["cursor"], want: "its pages do not end: 2 were read"},
		"very many pages":            {answer: `{"data":[` + strings.Repeat(row+",", 6) + row + `]}`, change: everyWay()["page"], want: "more than 100 pages of segments"},
		"a row without an id":        {answer: `{"data":[` + row + `,{"type":"contacts"}]}`, want: "row 1 has no id"},
		"an id of more than a line":  {answer: `{"data":[{"id":"a\nb","type":"contacts"}]}`, want: "row 0 has no id"},
		"no list":                    {answer: `{"data":{"a":1}}`, want: "there is no list of rows"},
		"no JSON":                    {answer: `<html>`, want: "no whole JSON"},
		"no number of all rows":      {answer: `{"data":[` + row + `],"total":"many"}`, change: everyWay()["offset, as many as come"], want: "no number of all rows"},
		"a body that says no":        {answer: `{"ok":false}`, change: table{"response": table{"ok": table{"path": "ok", "equals": true}}}, want: "answered 200", hint: "settings.errors"},
		"a next page somewhere else": {answer: `{"data":[` + row + `],"next_url":"https://evil.example/"}`, change: everyWay()["next_url"], want: "elsewhere than at settings.base_url"},
	} {
		if c.hint == "" {
			c.hint = "settings.segments.list"
		}
		b := start(t, customhttpsim.Options{}, segmented(c.change, nil, nil), endless(c.answer))
		_, err := b.connector.Segments(t.Context(), b.account, "")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(core.AsError(err).Hint, c.hint) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	// More are counted than there are: some went meanwhile.
	fewer := start(t, customhttpsim.Options{}, segmented(everyWay()["offset, as many as come"], nil, nil), endless(`{"data":[],"total":50}`))
	if got, err := fewer.connector.Segments(t.Context(), fewer.account, ""); err != nil || len(got) > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	// A member whose row says of no record is not lost silently.
	b := startSegmented(t, segmented(nil, table{"when": nil}, nil))
	list := people(3)
	list[1].ID = ""
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: list})
	_, err := b.connector.Members(t.Context(), b.account, "7", nil)
	if err == nil || !strings.Contains(err.Error(), "row 1 has no ref") || core.CodeOf(err) != core.CodeForbidden {
		t.Errorf("got %v", err)
	}
	if _, err := b.connector.Members(t.Context(), b.account, "7", json.RawMessage(`[]`)); core.CodeOf(err) != core.CodeInternal {
		t.Errorf("a cursor that is none: %v", err)
	}
}

func TestSegments_TakeNoteOfEachRequest(t *testing.T) {
	b := startSegmented(t, segmented(everyWay()["cursor"], everyWay()["cursor"], nil))
	b.sim.SetList(customhttpsim.List{ID: "7", Name: "VIP", Type: "contacts", Members: people(20)})
	ctx, meter := core.WithMeter(t.Context())
	if _, err := b.connector.Members(ctx, b.account, "7", nil); err != nil {
		t.Fatal(err)
	}
	if spent, _ := meter.Spent(); spent["requests"] != 2 { // is it there, and who is in it
		t.Errorf("%d requests were taken note of, want 2", spent["requests"])
	}
}

func TestCheck_NamesWhatIsWrongWithSegments(t *testing.T) {
	for _, c := range []struct {
		list, members, others table
		want                  string
	}{
		{others: table{"list": nil}, want: "settings.segments.list: missing"},
		{others: table{"members": nil}, want: "settings.segments.members: missing"},
		{others: table{"lists": table{}}, want: "settings.segments.lists: unknown setting, did you mean list?"},
		{others: table{"fixed": []any{table{"id": "a"}, table{"id": "a"}}}, want: "settings.segments.fixed[1].id: want an id of its own"},
		{others: table{"fixed": []any{table{"name": "a"}}}, want: "settings.segments.fixed[0].id: want an id of its own"},
		{others: table{"get": table{"path": "/lists"}}, want: "settings.segments.get: does not say for which segment"},
		{others: table{"get": table{"path": "/{{.segment.id}}", "paging": table{"type": "next_url"}}}, want: "settings.segments.get: is for one segment"},
		{others: table{"get": table{"path": "/{{.segment.key}}"}}, want: "settings.segments.get.path: unknown field .segment.key"},
		{list: table{"id": ""}, want: "settings.segments.list.id: missing"},
		{list: table{"name": ""}, want: "settings.segments.list.name: missing"},
		{list: table{"kind": "a..b"}, want: "settings.segments.list.kind: want names separated by single dots"},
		{list: table{"path": 5}, want: "settings.segments.list.path: want a text, not number"},
		{others: table{"get": table{"path": "/{{.id}}"}}, want: "settings.segments.get.path: unknown field .id (a request for one segment knows .segment.id)"},
		{list: table{"path": "/{{.segment.id}}"}, want: "settings.segments.list.path: unknown field .segment (a request for segments knows .name, .page, .offset, .cursor and .size)"},
		{list: table{"when": table{"path": "x"}}, want: "settings.segments.list.when: path needs one of equals"},
		{list: table{"when": table{}}, want: "settings.segments.list.when: want a path"},
		{list: table{"paging": table{"type": "page"}}, want: "settings.segments.list.paging.type: the request does not say which page it wants: put {{.page}}"},
		{members: table{"paging": table{"type": "offset"}}, want: "settings.segments.members.paging.type: the request does not say which page it wants: put {{.offset}}"},
		{members: table{"paging": table{"type": "cursor"}}, want: "settings.segments.members.paging.path: missing"},
		{members: table{"paging": table{"type": "next_url", "total": "total"}}, want: "settings.segments.members.paging.total: is for page and offset"},
		{members: table{"paging": table{"size": 501}}, want: "settings.segments.members.paging.size: want 1 to 500"},
		{members: table{"path": "/members"}, want: "settings.segments.members: does not say for which segment"},
		{members: table{"ref": ""}, want: "settings.segments.members.ref: missing"},
		{members: table{"phone": "", "bsuid": ""}, want: "settings.segments.members.phone: missing"},
		{members: table{"name": []any{"a", "b."}}, want: "settings.segments.members.name[1]: want names"},
		{members: table{"name": 5}, want: "settings.segments.members.name: want a list, not number"},
		{members: table{"errors": []any{table{"status": []any{404}, "then": "gone"}}}, want: "settings.segments.members.errors[0].then: want one of"},
	} {
		s := good()
		s["segments"] = segmented(c.list, c.members, c.others)["segments"]
		err := check(toJSON(t, s), secrets())
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	// Segments are enough of a lane.
	s := good()
	delete(s, "operations")
	s["segments"] = segmented(nil, nil, nil)["segments"]
	if err := check(toJSON(t, s), secrets()); err != nil {
		t.Error(err)
	}
}

func TestRender_ShowsHowSegmentsAreAskedFor(t *testing.T) {
	settings := good()
	settings["auth"] = table{"type": "api_key", "in": "query", "name": "key"}
	settings["segments"] = segmented(table{"query": table{"q": "{{.name}}"}}, table{"method": "POST", "path": "/search",
		"body": `{"list": {{.segment.id}}, "from": {{.offset}}}`, "paging": table{"type": "offset"}}, nil)["segments"]
	r, err := customhttp.RenderSegments(toJSON(t, settings), "a&b")
	if err != nil || r.Method != http.MethodGet || r.URL != "https://crm.example.com/lists?key="+url.QueryEscape("[secret]")+"&q=a%26b" {
		t.Errorf("got %+v, %v", r, err)
	}
	r, err = customhttp.RenderMembers(toJSON(t, settings), `7", "x": "`)
	if err != nil || r.Method != http.MethodPost || string(r.Body) != `{"list": "7\", \"x\": \"", "from": 0}` || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %+v, %s, %v", r, r.Body, err)
	}
	for name, change := range map[string]table{"none": nil, "fixed": segmented(nil, nil, table{"list": nil, "fixed": []any{table{"id": "a"}}})["segments"].(table)} {
		if settings["segments"] = change; change == nil {
			delete(settings, "segments")
		}
		if r, err := customhttp.RenderSegments(toJSON(t, settings), ""); err != nil || r.Method != "" {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	var e *core.Error
	if _, err := customhttp.RenderMembers(json.RawMessage(`{}`), "7"); !errors.As(err, &e) || e.Code != core.CodeInvalid {
		t.Errorf("got %v", err)
	}
}
