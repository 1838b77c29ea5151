package hubspotsim_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// memberIDs pages through a list, and returns the members of each page.
func memberIDs(t *testing.T, s *hubspotsim.Sim, path string) (pages [][]string) {
	t.Helper()
	for after := ""; ; {
		a := says(t, s, "GET", path+after, "", 200)
		var got struct{ Results []struct{ RecordID string } }
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil || len(pages) > 20 {
			t.Fatalf("page %d: %v", len(pages), err)
		}
		var page []string
		for _, m := range got.Results {
			page = append(page, m.RecordID)
		}
		pages = append(pages, page)
		if a.Paging.Next.After == "" {
			return pages
		}
		after = "&after=" + a.Paging.Next.After
	}
}

func TestLists_AreMadeFilledFoundAndDeleted(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	ask(t, s, "POST", upsertContacts, inputs(row("c1", `{"firstname":"Ada"}`), row("c2", `{"firstname":"Bea"}`)))
	one, two := s.Records("contacts")[0].ID, s.Records("contacts")[1].ID
	says(t, s, "POST", "/crm/v3/lists/", `{"name":"Spring VIPs","objectTypeId":"0-1","processingType":"MANUAL"}`, 200, `"listId":"1"`, `"processingStatus":"COMPLETE"`)
	says(t, s, "POST", "/crm/lists/2026-09", `{"name":"Spring companies","objectTypeId":"companies","processingType":"DYNAMIC"}`, 200, `"listId":"2"`, `"objectTypeId":"0-2"`)
	says(t, s, "PUT", "/crm/lists/2026-03/1/memberships/add", `["`+two+`","`+one+`","77"]`, 200, `"recordsIdsAdded":["`+two+`","`+one+`"]`, `"recordIdsMissing":["77"]`)
	says(t, s, "PUT", "/crm/v3/lists/1/memberships/add", `["`+two+`"]`, 200, `"recordsIdsAdded":[]`)
	says(t, s, "GET", "/crm/lists/2026-09/1", "", 200, `"name":"Spring VIPs"`, `"size":2`)

	const search = "/crm/lists/2026-09/search"
	says(t, s, "POST", search, `{"query":"spring"}`, 200, `"total":2`, `"hs_list_size":"2"`)
	says(t, s, "POST", search, `{"query":"vip","objectTypeId":"0-1"}`, 200, `"total":1`, "Spring VIPs")
	says(t, s, "POST", search, `{"query":"ring"}`, 200, `"total":0`)
	says(t, s, "POST", search, `{"listIds":["2"]}`, 200, `"total":1`, "companies")
	says(t, s, "POST", search, `{"processingTypes":["DYNAMIC","SNAPSHOT"]}`, 200, `"total":1`, "companies")
	says(t, s, "POST", search, `{"count":1}`, 200, `"hasMore":true`, `"offset":1`, "VIPs", "!companies")
	says(t, s, "POST", search, `{"count":1,"offset":1}`, 200, `"hasMore":false`, "!VIPs", "companies")

	if got := memberIDs(t, s, "/crm/v3/lists/1/memberships?limit=1"); cmp.Diff([][]string{{one}, {two}}, got) != "" {
		t.Errorf("by id: %v", got)
	}
	if got := memberIDs(t, s, "/crm/lists/2026-09/1/memberships/join-order?limit=1"); cmp.Diff([][]string{{two}, {one}}, got) != "" {
		t.Errorf("in the order of joining: %v", got)
	}

	says(t, s, "DELETE", "/crm/lists/2026-09/1", "", 204)
	says(t, s, "GET", "/crm/lists/2026-09/1", "", 404, "OBJECT_NOT_FOUND")
	says(t, s, "GET", "/crm/v3/lists/1/memberships", "", 404, "OBJECT_NOT_FOUND", "List does not exist with ID 1")
}

func TestLists_RefuseWhatHubSpotRefuses(t *testing.T) {
	s := hubspotsim.New(hubspotsim.Options{})
	s.AddList(hubspotsim.List{Name: "Active", ProcessingType: "DYNAMIC"}, "1001")
	const lists = "/crm/lists/2026-09"
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"POST", lists, `{"name":"x","objectTypeId":"0-1"}`, 400, "processingType"},
		{"POST", lists, `{"name":"x","objectTypeId":"0-1","processingType":"STATIC"}`, 400, "INVALID_PROCESSING_TYPE"},
		{"POST", lists, `{"name":"x","objectTypeId":"0-99","processingType":"MANUAL"}`, 400, "0-99"},
		{"POST", lists, `{"name":"active","objectTypeId":"0-1","processingType":"MANUAL"}`, 400, "already exists"},
		{"POST", lists, `{"name":"x","objectType":"0-1"}`, 400, "objectType"},
		{"POST", lists + "/search", `{"count":501}`, 400, "count"},
		{"POST", lists + "/search", `{"count":0}`, 400, "count"},
		{"POST", lists + "/search", `{"offset":-1}`, 400, "offset"},
		{"POST", lists + "/search", `{"offset":"0"}`, 400, "offset"},
		{"POST", lists + "/search", `{"limit":10}`, 400, "limit"},
		{"POST", lists + "/search", `{"processingTypes":["ACTIVE"]}`, 400, "INVALID_PROCESSING_TYPE"},
		{"POST", lists + "/search", ``, 400, "JSON"},
		{"GET", lists + "/1/memberships?limit=251", "", 400, "limit"},
		{"GET", lists + "/1/memberships?limit=0", "", 400, "limit"},
		{"GET", lists + "/1/memberships?limit=many", "", 400, "limit"},
		{"GET", lists + "/1/memberships?after=1001", "", 400, "after"},
		{"GET", lists + "/1/memberships/by-name", "", 404, "OBJECT_NOT_FOUND"},
		{"GET", lists + "/9", "", 404, "OBJECT_NOT_FOUND"},
		{"PUT", lists + "/1/memberships/add", `["1001"]`, 400, "DYNAMIC"},
		{"PUT", lists + "/9/memberships/add", `["1001"]`, 404, "OBJECT_NOT_FOUND"},
		{"DELETE", lists + "/9", "", 404, "OBJECT_NOT_FOUND"},
		{"GET", "/crm/v3/lists", "", 404, "OBJECT_NOT_FOUND"},
		{"GET", "/crm/lists", "", 404, "OBJECT_NOT_FOUND"},
		{"GET", "/crm/v3/objects", "", 404, "OBJECT_NOT_FOUND"},
	} {
		says(t, s, c.method, c.path, c.body, c.status, c.text)
	}
	if got := memberIDs(t, s, lists+"/1/memberships?limit=250"); len(got) != 1 || len(got[0]) != 1 {
		t.Errorf("the members are %v", got)
	}
}

func TestLists_HaveScopesOfTheirOwn(t *testing.T) {
	s := hubspotsim.New(hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead, hubspotsim.ScopeWrite, hubspotsim.ScopeListsRead}})
	s.AddList(hubspotsim.List{Name: "VIPs"})
	says(t, s, "GET", "/crm/v3/lists/1", "", 200)
	says(t, s, "POST", "/crm/v3/lists", `{}`, 403, "MISSING_SCOPES", hubspotsim.ScopeListsWrite)
	s = hubspotsim.New(hubspotsim.Options{Scopes: []string{hubspotsim.ScopeRead}})
	says(t, s, "POST", "/crm/v3/lists/search", `{}`, 403, "MISSING_SCOPES", hubspotsim.ScopeListsRead)
	says(t, s, "GET", "/crm/v3/lists/9/memberships", "", 403, hubspotsim.ScopeListsRead)
}

func TestLists_AreSearchedFromTheOrdinaryBudget(t *testing.T) {
	s := hubspotsim.New(hubspotsim.Options{SearchSecondly: 1, TenSecondly: 3})
	for range 3 {
		says(t, s, "POST", "/crm/v3/lists/search", `{}`, 200)
	}
	if a := says(t, s, "POST", "/crm/v3/lists/search", `{}`, 429); a.PolicyName != "TEN_SECONDLY_ROLLING" {
		t.Errorf("it is refused by %s", a.PolicyName)
	}
}

func TestLists_KeepWhoIsDeletedAndGetWhatTwoBecame(t *testing.T) {
	s := prepared(t, hubspotsim.Options{})
	ask(t, s, "POST", upsertContacts, inputs(row("c1", `{"firstname":"Ada"}`), row("c2", `{"firstname":"Bea"}`), row("c3", `{"firstname":"Cora"}`)))
	var ids []string
	for _, r := range s.Records("contacts") {
		ids = append(ids, r.ID)
	}
	list := s.AddList(hubspotsim.List{Name: "All"}, ids[0], ids[2])
	if err := s.Delete("contacts", ids[2]); err != nil {
		t.Fatal(err)
	}
	says(t, s, "POST", "/crm/objects/2026-09/contacts/merge", fmt.Sprintf(`{"primaryObjectId":%q,"objectIdToMerge":%q}`, ids[0], ids[1]), 200)
	made := s.Records("contacts")[3].ID
	want := []string{ids[0], ids[2], made}
	if got := slices.Concat(memberIDs(t, s, "/crm/v3/lists/"+list+"/memberships?limit=2")...); cmp.Diff(want, got) != "" {
		t.Errorf("the members are %v, want %v", got, want)
	}
	s.Leave(list, ids[0], ids[2])
	if got := memberIDs(t, s, "/crm/v3/lists/"+list+"/memberships?limit=2"); strings.Join(got[0], " ") != made {
		t.Errorf("the members are %v, want %s", got, made)
	}
}
