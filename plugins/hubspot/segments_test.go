package hubspot_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// addPeople makes n contacts with numbers and returns their ids.
func (b *bench) addPeople(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		id, err := b.sim.Edit("contacts", "", map[string]string{"firstname": fmt.Sprintf("Person %d", i), "phone": fmt.Sprintf("+3460000%04d", i)})
		if err != nil {
			b.t.Fatal(err)
		}
		ids[i] = id
	}
	return ids
}

func (b *bench) members(segment string, cursor json.RawMessage) (core.Members, error) {
	return b.connector.Members(b.t.Context(), b.account, segment, cursor)
}

// allMembers pages through a segment; between is called after each page.
func (b *bench) allMembers(segment string, between func(page int)) (refs []string) {
	b.t.Helper()
	var cursor json.RawMessage
	for n := range 100 {
		page, err := b.members(segment, cursor)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(page.Members) > core.MaxMembers {
			b.t.Errorf("a page of %d", len(page.Members))
		}
		for _, m := range page.Members {
			refs = append(refs, m.ContactRef)
		}
		if cursor = page.Cursor; !page.More {
			slices.Sort(refs)
			return refs
		}
		if between != nil {
			between(n)
		}
	}
	b.t.Fatal("it does not end")
	return nil
}

func TestSegments_AreTheListsOfContacts(t *testing.T) {
	for _, version := range []string{"2026-09", "v3"} {
		b := start(t, hubspotsim.Options{}, `{"api_version":"`+version+`"}`, nil)
		people := b.addPeople(3)
		spring := b.sim.AddList(hubspotsim.List{Name: "Offspring, Spring Ünder 30", ProcessingType: "DYNAMIC"}, people...)
		b.sim.AddList(hubspotsim.List{Name: "spring companies", ObjectTypeID: "0-2"}, "2000000001")
		vips := b.sim.AddList(hubspotsim.List{Name: "VIPs"}, people[0])
		once := b.sim.AddList(hubspotsim.List{Name: "1", ProcessingType: "SNAPSHOT"})
		gone := b.sim.AddList(hubspotsim.List{Name: "spring, and gone"})
		b.sim.RemoveList(gone)
		all := map[string]core.Segment{
			spring: {ID: spring, Name: "Offspring, Spring Ünder 30", Kind: "active segment", Size: 3},
			vips:   {ID: vips, Name: "VIPs", Kind: "static segment", Size: 1},
			once:   {ID: once, Name: "1", Kind: "static segment"},
		}
		for name, want := range map[string][]string{"": {spring, vips, once}, "SPRING": {spring}, "üND": {spring}, "vip": {vips}, vips: {vips, spring}, spring: {spring, once}, "nobody": nil, gone: nil} {
			b.clear()
			got, err := b.connector.Segments(t.Context(), b.account, name)
			if err != nil {
				t.Fatal(err)
			}
			var segments []core.Segment
			for _, id := range want {
				segments = append(segments, all[id])
			}
			if diff := cmp.Diff(segments, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", name, diff)
			}
			path := map[string]string{"2026-09": "POST /crm/lists/2026-09/search", "v3": "POST /crm/v3/lists/search"}[version]
			if calls := b.calls(); len(calls) != 1 || calls[0] != path {
				t.Errorf("%q: it asked %v", name, calls)
			}
		}
		// What the API's specification requires is there, although HubSpot does without.
		var body map[string]any
		if err := json.Unmarshal(b.served.Requests()[0].Body, &body); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"additionalProperties", "listIds", "offset", "processingTypes"} {
			if body[key] == nil {
				t.Errorf("the search has no %s: %v", key, body)
			}
		}
	}
}

func TestSegments_ArePagedAndBounded(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	for i := range 1203 {
		b.sim.AddList(hubspotsim.List{Name: fmt.Sprintf("List no. %d", i)})
	}
	got, err := b.connector.Segments(t.Context(), b.account, "")
	if err != nil || len(got) != core.MaxSegments || len(b.calls()) != 3 {
		t.Errorf("%d segments of %d calls, %v", len(got), len(b.calls()), err)
	}
	last, err := b.connector.Segments(t.Context(), b.account, "1202")
	if err != nil || len(last) != 2 || last[0].ID != "1202" || last[1].Name != "List no. 1202" {
		t.Errorf("the one with the id, and that with the name: %+v, %v", last, err)
	}
}

// What a search tells of beside what it was asked for, and what comes twice as its pages
// shift, is left out.
func TestSegments_LeaveOutWhatIsNone(t *testing.T) {
	const list = `{"listId":%q,"name":"List %s","objectTypeId":%q,"processingType":"NEW","deletedAt":%s,"additionalProperties":{"hs_list_size":%s}}`
	one, two := fmt.Sprintf(list, "1", "1", "0-1", "null", `"a few"`), fmt.Sprintf(list, "2", "2", "0-1", "null", `"7"`)
	companies, deleted := fmt.Sprintf(list, "3", "3", "0-2", "null", "null"), fmt.Sprintf(list, "4", "4", "0-1", `"2026-01-01T00:00:00Z"`, "null")
	b := start(t, hubspotsim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Offset int }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		pages := map[int]string{0: `[` + one + `,` + companies + `,` + deleted + `]`, 3: `[` + one + `,` + two + `]`}
		fmt.Fprintf(w, `{"lists":%s,"hasMore":%t}`, pages[asked.Offset], asked.Offset == 0)
	}))
	got, err := b.connector.Segments(t.Context(), b.account, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]core.Segment{{ID: "1", Name: "List 1"}, {ID: "2", Name: "List 2", Size: 7}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMembers_AreTheContactsOfAList(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	for name, properties := range map[string]map[string]string{
		"1 both names":                      {"firstname": " Ana ", "lastname": "García", "phone": "+34 600 111 222", "mobilephone": "+34600999999"},
		"2 a mobile only":                   {"firstname": "Bea", "mobilephone": "600 333 444"},
		"3 no number":                       {"firstname": "Cid", "email": "cid@example.com"},
		"4 a BSUID only":                    {"lastname": "Díaz", "wa_bsuid": "ES.12345"},
		"5 the bridge wrote the first name": {"firstname": "Eva Pérez", "lastname": "Pérez", "phone": "+34600555666"},
		"6 a number stands in for the name": {"firstname": "+34600777888", "phone": "+34600777888"},
		"7 neither name":                    {"email": "f@example.com", "phone": "call me"},
	} {
		id, err := b.sim.Edit("contacts", "", properties)
		if err != nil {
			t.Fatal(err)
		}
		list := b.sim.AddList(hubspotsim.List{Name: name}, id)
		want := map[byte]core.Contact{
			'1': {Name: "Ana García", Phone: "+34 600 111 222"}, '2': {Name: "Bea", Phone: "600 333 444"}, '3': {Name: "Cid"}, '4': {Name: "Díaz", BSUID: "ES.12345"},
			'5': {Name: "Eva Pérez", Phone: "+34600555666"}, '6': {Phone: "+34600777888"}, '7': {Phone: "call me"},
		}[name[0]]
		got, err := b.members(list, nil)
		if err != nil || got.More {
			t.Fatal(err, got.More)
		}
		if diff := cmp.Diff([]core.Member{{ContactRef: id, Contact: want}}, got.Members); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMembers_ComeInPages(t *testing.T) {
	for _, version := range []string{"2026-09", "v3"} {
		b := start(t, hubspotsim.Options{}, `{"api_version":"`+version+`"}`, nil)
		people := b.addPeople(701)
		list := b.sim.AddList(hubspotsim.List{Name: "All"}, people...)
		ctx, meter := core.WithMeter(t.Context())
		if _, err := b.connector.Members(ctx, b.account, list, nil); err != nil {
			t.Fatal(err)
		}
		if spent, _ := meter.Spent(); spent["api"] != 4 || len(b.calls()) != 4 {
			t.Errorf("a page cost %v, of %v", spent, b.calls())
		}
		b.clear()
		slices.Sort(people)
		if diff := cmp.Diff(people, b.allMembers(list, nil)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := len(b.calls()); n != 1+4+8 { // the list; four pages; 701 people in batches
			t.Errorf("%d calls: %v", n, b.calls())
		}
	}
}

// Records are deleted and merged, and people join and leave, while a campaign is planned.
func TestMembers_ChangeMeanwhile(t *testing.T) {
	b := start(t, hubspotsim.Options{}, `{"api_version":"v3"}`, nil) // which says of a batch of which some are gone that it is 207
	people := b.addPeople(450)
	list := b.sim.AddList(hubspotsim.List{Name: "All"}, people...)
	gone := []string{people[0], people[210], people[440]}
	for _, id := range gone[:2] {
		if err := b.sim.Delete("contacts", id); err != nil {
			t.Fatal(err)
		}
	}
	got := b.allMembers(list, func(page int) {
		if page == 0 {
			b.sim.Leave(list, people[50], people[300])
			gone = append(gone, people[300])
			if err := b.sim.Delete("contacts", people[440]); err != nil {
				t.Fatal(err)
			}
			late := b.addPeople(1)[0]
			b.sim.Join(list, late)
			people = append(people, late)
		}
	})
	people = slices.DeleteFunc(people, func(id string) bool { return slices.Contains(gone, id) })
	slices.Sort(people)
	if diff := cmp.Diff(people, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	empty := b.sim.AddList(hubspotsim.List{Name: "Empty"})
	if got := b.allMembers(empty, nil); got != nil {
		t.Errorf("an empty one has %v", got)
	}
	b.sim.Join(empty, gone[0])
	if got := b.allMembers(empty, nil); got != nil {
		t.Errorf("one of a deleted record has %v", got)
	}
}

func TestMembers_SayWhatIsWrongWithASegment(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil)
	people := b.addPeople(201)
	companies := b.sim.AddList(hubspotsim.List{Name: "Companies", ObjectTypeID: "0-2"}, people...)
	filling := b.sim.AddList(hubspotsim.List{Name: "New", ProcessingType: "DYNAMIC", ProcessingStatus: "PROCESSING"}, people[0])
	all := b.sim.AddList(hubspotsim.List{Name: "All"}, people...)
	for segment, want := range map[string]struct {
		code core.Code
		text string
	}{
		"99": {core.CodeInvalid, `no segment "99"`}, "VIPs": {core.CodeInvalid, `no segment "VIPs"`}, "": {core.CodeInvalid, "no segment"},
		"1/../2": {core.CodeInvalid, "no segment"}, companies: {core.CodeInvalid, "not one of contacts"}, filling: {core.CodeUnavailable, "still finding out"},
	} {
		_, err := b.members(segment, nil)
		if core.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%q: %v, want %s: %s", segment, err, want.code, want.text)
		}
		if e := core.AsError(err); strings.Contains(e.Hint, "mapToCRM") || strings.Contains(e.Hint, "base_url") {
			t.Errorf("%q: the hint is %q", segment, e.Hint)
		}
	}
	b.sim.SetProcessing(filling, "COMPLETE")
	if got := b.allMembers(filling, nil); len(got) != 1 {
		t.Errorf("a complete one has %v", got)
	}
	first, err := b.members(all, nil)
	if err != nil || !first.More {
		t.Fatal(err, first.More)
	}
	b.sim.RemoveList(all)
	if _, err := b.members(all, first.Cursor); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("deleted meanwhile: %v", err)
	}
	if _, err := b.members(filling, json.RawMessage(`7`)); core.CodeOf(err) != core.CodeInternal {
		t.Errorf("a cursor that is none: %v", err)
	}
}

// Whoever never asks for segments needs no scope for them.
func TestSegments_NameTheScopeThatTheTokenLacks(t *testing.T) {
	b := start(t, hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead, hubspotsim.ScopeWrite, hubspotsim.ScopeSchemaRead, hubspotsim.ScopeSchemaWrite}}, "", nil).mustCheck()
	list := b.sim.AddList(hubspotsim.List{Name: "All"}, b.addPeople(1)...)
	_, err := b.connector.Segments(t.Context(), b.account, "")
	_, again := b.members(list, nil)
	b.sim.Inject(hubspotsim.Fault{Kind: hubspotsim.FaultStatus, Match: "/lists", Status: 403, Category: "MISSING_SCOPES", Message: "no", Count: 1})
	_, unnamed := b.members(list, nil)
	for _, err := range []error{err, again, unnamed} {
		if e := core.AsError(err); e == nil || e.Code != core.CodeForbidden || e.Hint != "give the token the scope crm.lists.read" {
			t.Errorf("got %+v", e)
		}
	}
	wantCodes(t, b.deliver(received(1)), map[string]core.Code{"wamid.IN001": ""})
}

// A page that failed, wherever in it, is asked for again with the same cursor.
func TestMembers_GoOnAfterTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, hubspotsim.Options{ClientID: "app", ClientSecret: appSecret, RefreshTokens: []string{"refresh"}}, `{"client_id":"app"}`, nil)
		b.account.Secrets = map[string]core.Secret{"refresh_token": "refresh", "client_secret": appSecret}
		renew := func() {
			got, err := b.connector.Authorize(t.Context(), b.account)
			if err != nil {
				t.Fatal(err)
			}
			b.account.Token = &got
		}
		renew()
		people := b.addPeople(350)
		list := b.sim.AddList(hubspotsim.List{Name: "All"}, people...)
		first, err := b.members(list, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Minute)
		if _, err := b.members(list, first.Cursor); core.CodeOf(err) != core.CodeUnauthenticated {
			t.Errorf("with a token that is over: %v", err)
		}
		renew()
		for _, c := range []struct {
			fault hubspotsim.Fault
			code  core.Code
		}{
			{hubspotsim.Fault{Match: "/memberships", Kind: hubspotsim.FaultStatus, Status: 429, Policy: "TEN_SECONDLY_ROLLING"}, core.CodeRateLimited},
			{hubspotsim.Fault{Match: "/batch/read", Kind: hubspotsim.FaultStatus, Status: 429, Skip: 1, Policy: "TEN_SECONDLY_ROLLING"}, core.CodeRateLimited},
			{hubspotsim.Fault{Match: "/batch/read", Kind: hubspotsim.FaultStatus, Status: 401, Skip: 1}, core.CodeUnauthenticated},
			{hubspotsim.Fault{Match: "/batch/read", Kind: hubspotsim.FaultStatus, Status: 503, Skip: 1}, core.CodeUnavailable},
			{hubspotsim.Fault{Match: "/batch/read", Kind: hubspotsim.FaultDrop}, core.CodeUnavailable},
			{hubspotsim.Fault{Match: "/batch/read", Kind: hubspotsim.FaultHang}, core.CodeUnavailable},
			{hubspotsim.Fault{Match: "/memberships", Kind: hubspotsim.FaultGarbage}, core.CodeUnavailable},
		} {
			b.sim.Inject(c.fault)
			got, err := b.members(list, first.Cursor)
			b.sim.Heal()
			if e := core.AsError(err); e == nil || e.Code != c.code || len(got.Members) != 0 || c.code == core.CodeRateLimited && e.RetryAfter != 10*time.Second {
				t.Errorf("%+v: %+v, %d members", c.fault, e, len(got.Members))
			}
		}
		rest, err := b.members(list, first.Cursor)
		if err != nil || rest.More {
			t.Fatal(err, rest.More)
		}
		var got []string
		for _, m := range append(first.Members, rest.Members...) {
			got = append(got, m.ContactRef)
		}
		slices.Sort(got)
		slices.Sort(people)
		if diff := cmp.Diff(people, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// An answer that leaves somebody out, or goes round in circles, is none.
func TestMembers_AreNotGuessed(t *testing.T) {
	for name, c := range map[string]struct{ page, read string }{
		"a row failed":           {`{"results":[{"recordId":"7"}]}`, `{"status":"COMPLETE","results":[],"numErrors":1,"errors":[{"status":"error","category":"INTERNAL_ERROR","message":"try again"}]}`},
		"the same page again":    {`{"results":[{"recordId":"7"}],"paging":{"next":{"after":"abc"}}}`, `{"results":[{"id":"7","properties":{}}]}`},
		"ids of another form":    {`{"results":[7]}`, `{"results":[{"id":"7","properties":{}}]}`},
		"contacts of another":    {`{"results":[{"recordId":"7"}]}`, `{"results":["7"]}`},
		"no results":             {`{"total":3}`, `{"results":[]}`},
		"no results of contacts": {`{"results":[{"recordId":"7"}]}`, `{"status":"PENDING"}`},
	} {
		b := start(t, hubspotsim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text := c.page
			if r.Method == http.MethodPost {
				text = c.read
			}
			fmt.Fprint(w, text)
		}))
		if got, err := b.members("1", json.RawMessage(`{"after":"abc"}`)); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
