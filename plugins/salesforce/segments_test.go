package salesforce_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// campaign makes a campaign of contacts, or of leads.
func (b *bench) campaign(name string, members ...string) (id string) {
	id = b.sim.Create("Campaign", map[string]any{"Name": name})
	for _, who := range members {
		field := "ContactId"
		if strings.HasPrefix(who, "00Q") {
			field = "LeadId"
		}
		b.sim.Create("CampaignMember", map[string]any{"CampaignId": id, field: who})
	}
	return id
}

// segments returns the names of the segments that are found by a text, without those
// that every org has.
func (b *bench) segments(text string) (names []string) {
	b.t.Helper()
	list, err := b.connector.Segments(b.t.Context(), b.account, text)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, seg := range list {
		if text != "" || !strings.HasSuffix(seg.Name, " Contacts") {
			names = append(names, seg.Name)
		}
	}
	slices.Sort(names)
	return names
}

// members reads all of a segment. Between two pages it does what between says, and goes
// on in another process.
func (b *bench) members(segment string, between func(page int)) (all []core.Member, pages int) {
	b.t.Helper()
	var cursor json.RawMessage
	for pages = 1; pages < 100; pages++ {
		page, err := b.connector.Members(b.t.Context(), b.account, segment, cursor)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(page.Members) > core.MaxMembers {
			b.t.Fatalf("a page of %d", len(page.Members))
		}
		all = append(all, page.Members...)
		if !page.More {
			return all, pages
		}
		cursor = slices.Clone(page.Cursor)
		if between != nil {
			between(pages)
		}
		b.connector.CloseIdleConnections()
		b.connector = &salesforce.Connector{DialContext: b.served.DialContext}
		b.t.Cleanup(b.connector.CloseIdleConnections)
	}
	b.t.Fatal("there is always more")
	return nil, 0
}

func (b *bench) wantNoMembers(segment string, code core.Code, parts ...string) {
	b.t.Helper()
	_, err := b.connector.Members(b.t.Context(), b.account, segment, nil)
	e := core.AsError(err)
	if e == nil || e.Code != code {
		b.t.Fatalf("%s: got %v, want %s", segment, err, code)
	}
	for _, part := range parts {
		if !strings.Contains(e.Error()+" "+e.Hint, part) {
			b.t.Errorf("%s: %v (%s) lacks %q", segment, e, e.Hint, part)
		}
	}
}

func TestSegments_AreFoundByWhatIsInTheirNames(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	odd := []string{`50% off`, `50 off`, `a_b`, `axb`, `it's "new"`, `its new`, `back\slash`, `backslash`, `ÜBER`, `Über`}
	for i, name := range odd {
		if i%2 == 0 {
			b.campaign(name)
		} else {
			b.sim.AddView(salesforcesim.View{Object: "Contact", Name: name})
		}
	}
	b.sim.AddView(salesforcesim.View{Object: "Lead", Name: "of leads"})
	b.sim.AddView(salesforcesim.View{Object: "Contact", Name: "opaque", Opaque: true})
	gone := b.campaign("gone")
	b.sim.Delete("Campaign", gone)
	for text, want := range map[string][]string{
		"": odd, "50%": {"50% off"}, "50": {"50 off", "50% off"}, "_": {"a_b"}, "%": {"50% off"}, `it's "N`: {`it's "new"`}, `k\s`: {`back\slash`}, `\`: {`back\slash`},
		" über ": {"ÜBER", "Über"}, "ALL CONT": {"All Contacts"}, `' OR Name LIKE '%`: nil, "nothing": nil, strings.Repeat("x", 81): nil,
	} {
		slices.Sort(want)
		if diff := cmp.Diff(want, b.segments(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	ana := b.sim.Create("Contact", map[string]any{"LastName": "Ana"})
	id := b.campaign("Spring", ana)
	view := b.sim.AddView(salesforcesim.View{Object: "Contact", Name: "VIPs"})
	b.clear()
	for text, want := range map[string][]core.Segment{
		"spring":                       {{ID: "campaign:" + id, Name: "Spring", Kind: "campaign", Size: 1}},
		"campaign:" + id:               {{ID: "campaign:" + id, Name: "Spring", Kind: "campaign", Size: 1}},
		"view:" + view:                 {{ID: "view:" + view, Name: "VIPs", Kind: "list view"}},
		"view:" + id:                   {},
		"campaign:701000000000999AAA":  {},
		"campaign:" + gone:             {},
		"campaign:' OR Name LIKE '%":   {},
		"campaign:701' OR Name != 'a'": {},
	} {
		got, err := b.connector.Segments(t.Context(), b.account, text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	if n := len(b.calls()); n != 8 {
		t.Errorf("%d requests for 8 questions: %q", n, b.calls())
	}
}

func TestSegments_AreNotTooMany(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	for i := range core.MaxSegments/2 + 1 {
		b.campaign(fmt.Sprint("c", i))
	}
	b.sim.Backdate("Campaign", b.sim.Records("Campaign")[7].ID, 1e9)
	got := b.segments("")
	if len(got) != core.MaxSegments/2 || slices.Contains(got, "c7") {
		t.Errorf("%d, the oldest among them: %v", len(got), slices.Contains(got, "c7"))
	}
}

// Of a campaign with more than two pages each member comes once, whoever leaves
// meanwhile and however few Salesforce gives at once.
func TestMembers_OfACampaign(t *testing.T) {
	const n = 2*core.MaxMembers + 101
	for _, o := range []salesforcesim.Options{{}, {QueryPage: 200}} {
		b := start(t, o, "")
		ids := make([]string, n)
		for i := range ids {
			ids[i] = b.sim.Create("Contact", map[string]any{"FirstName": "P", "LastName": fmt.Sprint("n", i), "Phone": fmt.Sprintf(" +34600%06d", i)})
		}
		b.sim.Edit("Contact", ids[0], map[string]any{"MobilePhone": "(600) 12 34 56", "WA_BSUID__c": "ES.1"})
		b.sim.Edit("Contact", ids[1], map[string]any{"Phone": nil, "FirstName": nil, "LastName": "+34600000001"})
		id := b.campaign("all", ids...)
		b.campaign("others", b.sim.Create("Contact", map[string]any{"LastName": "Other"}), b.sim.Create("Lead", map[string]any{"LastName": "L", "Company": "C"}))
		b.sim.Create("CampaignMember", map[string]any{"CampaignId": id, "LeadId": b.sim.Create("Lead", map[string]any{"LastName": "M", "Company": "C"})})
		b.clear()
		got, pages := b.members("campaign:"+id, func(page int) {
			if page == 1 {
				b.sim.Delete("Contact", ids[0])   // was read
				b.sim.Delete("Contact", ids[n-1]) // was not
				b.sim.Inject(salesforcesim.Fault{Kind: salesforcesim.FaultStatus, Status: 401, Code: "INVALID_SESSION_ID", Message: "Session expired or invalid", Count: 1})
				b.wantNoMembers("campaign:"+id, core.CodeUnauthenticated)
			}
		})
		if want := map[int]int{0: 3, 200: 6}[o.QueryPage]; pages != want || len(b.calls()) != want+1 {
			t.Errorf("%d pages by %d requests, want %d and one that is refused", pages, len(b.calls()), want)
		}
		seen := map[string]bool{}
		for _, m := range got {
			if seen[m.ContactRef] {
				t.Errorf("%s comes twice", m.ContactRef)
			}
			seen[m.ContactRef] = true
		}
		if len(got) != n-1 || seen[ids[n-1]] {
			t.Errorf("%d members of %d", len(got), n-1)
		}
		want := []core.Member{
			{ContactRef: ids[0], Contact: core.Contact{Name: "P n0", Phone: "(600) 12 34 56", BSUID: "ES.1"}},
			{ContactRef: ids[1]}, // neither number nor name
			{ContactRef: ids[2], Contact: core.Contact{Name: "P n2", Phone: "+34600000002"}},
		}
		if diff := cmp.Diff(want, got[:3]); diff != "" {
			t.Errorf("members (-want +got):\n%s", diff)
		}
	}
}

func TestMembers_OfAListView(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	const n = 2*core.MaxMembers + 1
	ids := map[string]bool{}
	for i := range n {
		fields := map[string]any{"LastName": fmt.Sprint("n", i), "Department": "O'Hara (R&D)", "Phone": fmt.Sprintf("+34600%06d", i)}
		ids[b.sim.Create("Contact", fields)] = true
		fields["Department"] = "Other"
		b.sim.Create("Contact", fields)
	}
	id := b.sim.AddView(salesforcesim.View{Object: "Contact", Name: "R&D", Where: `Department = 'Nobody' OR (Department = 'O\'Hara (R&D)' AND Phone != null)`})
	b.clear()
	got, pages := b.members("view:"+id, func(page int) {
		if page == 1 { // the first of the view moves to its end
			b.sim.Edit("Contact", b.sim.Records("Contact")[0].ID, map[string]any{"LastName": "zzz"})
		}
	})
	for _, m := range got {
		if !ids[m.ContactRef] {
			t.Errorf("%s is in it, or comes twice", m.ContactRef)
		}
		delete(ids, m.ContactRef)
	}
	if len(ids) > 0 || pages != 3 || len(b.calls()) != 6 {
		t.Errorf("%d were not told; %d pages by %d requests", len(ids), pages, len(b.calls()))
	}
	mine := b.sim.Create("Contact", map[string]any{"LastName": "Mine", "OwnerId": salesforcesim.Integration})
	list, err := b.connector.Segments(t.Context(), b.account, "My Contacts")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if got, _ := b.members(list[0].ID, nil); len(got) != 1 || got[0].ContactRef != mine || got[0].Contact.Name != "Mine" {
		t.Errorf("got %+v, want the one who is the user's", got)
	}
	if got, _ := b.members("view:"+b.sim.AddView(salesforcesim.View{Object: "Contact", Name: "None", Where: "Id = null"}), nil); len(got) != 0 {
		t.Errorf("got %+v of a view that has nobody", got)
	}
}

func TestMembers_OfWhatIsNoSegment(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	id := b.campaign("short", b.sim.Create("Contact", map[string]any{"LastName": "A"}))
	view := b.sim.AddView(salesforcesim.View{Object: "Lead", Name: "of leads"})
	for _, segment := range []string{
		"", "spring", id, "campaign:", "campaign:701", "campaign:701000000000999AAA", "campaign:701000000000001'AA", "list:" + id, "view:" + id,
		"view:00B000000000999EAA", "view:../../../query?q=1", "view:" + view, "campaign:" + view, strings.Repeat("campaign:", 1000),
	} {
		b.wantNoMembers(segment, core.CodeInvalid, "there is no segment")
	}
	b.wantNoMembers("view:"+b.sim.AddView(salesforcesim.View{Object: "Contact", Name: "Odd", Opaque: true}), core.CodeInvalid, "has no query", "make a list view")
	for _, cursor := range []string{`{`, `{"after":"' OR Id != '"}`, `[]`} {
		if _, err := b.connector.Members(t.Context(), b.account, "campaign:"+id, json.RawMessage(cursor)); core.CodeOf(err) != core.CodeInternal {
			t.Errorf("cursor %s: got %v", cursor, err)
		}
	}
	b.sim.Delete("Campaign", id)
	b.wantNoMembers("campaign:"+id, core.CodeInvalid, "there is no segment")
}

// A list of those who are meant needs no campaigns: an org or a user without them still
// has list views.
func TestSegments_WithoutCampaigns(t *testing.T) {
	b := start(t, salesforcesim.Options{}, "")
	id := b.campaign("Spring", b.sim.Create("Contact", map[string]any{"LastName": "A"}))
	b.sim.RemoveField("Campaign", "NumberOfContacts")
	if got, err := b.connector.Segments(t.Context(), b.account, "spring"); err != nil || len(got) != 1 || got[0].Size != 0 {
		t.Errorf("without the number of contacts: %+v %v", got, err)
	}
	b.sim.RemoveObject("CampaignMember")
	b.wantNoMembers("campaign:"+id, core.CodeForbidden, "'CampaignMember'", "read access to campaigns")
	b.sim.RemoveObject("Campaign")
	b.wantNoMembers("campaign:"+id, core.CodeForbidden, "'Campaign'", "read access to campaigns")
	if diff := cmp.Diff([]string{"All Contacts", "My Contacts"}, b.segments("contacts")); diff != "" {
		t.Error(diff)
	}
	_, err := b.connector.Segments(t.Context(), b.account, "spring")
	if e := core.AsError(err); e == nil || e.Code != core.CodeForbidden || !strings.Contains(e.Hint, "read access to campaigns") {
		t.Errorf("got %v, want what is missing", err)
	}
	if got := b.segments("view:00B000000000999EAA"); got != nil {
		t.Errorf("got %v for a list view that is not there", got)
	}
	if err := b.connector.Check(t.Context(), b.account); err != nil {
		t.Errorf("the check wants campaigns: %v", err)
	}
	b.sim.RemoveField("Contact", "WA_BSUID__c")
	view, err := b.connector.Segments(t.Context(), b.account, "all c")
	if err != nil {
		t.Fatal(err)
	}
	b.wantNoMembers(view[0].ID, core.CodeForbidden, "settings.bsuid_field")
}

func TestSegments_FailAsTheCheckDoes(t *testing.T) {
	for code, fault := range map[core.Code]salesforcesim.Fault{
		core.CodeUnauthenticated: {Kind: salesforcesim.FaultStatus, Status: 401, Code: "INVALID_SESSION_ID", Message: "Session expired or invalid"},
		core.CodeUnavailable:     {Kind: salesforcesim.FaultGarbage},
		core.CodeRateLimited:     {Kind: salesforcesim.FaultStatus, Status: 403, Code: "REQUEST_LIMIT_EXCEEDED", Message: "TotalRequests Limit exceeded."},
	} {
		b := start(t, salesforcesim.Options{}, "")
		view, err := b.connector.Segments(t.Context(), b.account, "all c")
		if err != nil {
			t.Fatal(err)
		}
		id := b.campaign("x")
		b.sim.Inject(fault)
		if _, err := b.connector.Segments(t.Context(), b.account, ""); core.CodeOf(err) != code {
			t.Errorf("segments: got %v, want %s", err, code)
		}
		b.wantNoMembers("campaign:"+id, code)
		b.wantNoMembers(view[0].ID, code)
	}
}

func TestSegments_OfLeads(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"contact_object":"lead","bsuid_field":"","mode":"none","escalations":"none","on_create":{"Company":"-"}}`)
	if err := b.connector.Check(t.Context(), b.account); err != nil {
		t.Fatal(err)
	}
	ann := b.sim.Create("Lead", map[string]any{"FirstName": "Ann", "LastName": "B", "Company": "C", "MobilePhone": "+34600000001"})
	won := b.sim.Create("Lead", map[string]any{"LastName": "Won", "Company": "C"})
	bob := b.sim.Create("Contact", map[string]any{"LastName": "Bob"})
	id := b.campaign("all", ann, bob, won)
	b.sim.Edit("CampaignMember", b.sim.Records("CampaignMember")[2].ID, map[string]any{"ContactId": b.sim.Create("Contact", map[string]any{"LastName": "Won"})})
	want := []core.Member{{ContactRef: ann, Contact: core.Contact{Name: "Ann B", Phone: "+34600000001"}}}
	got, _ := b.members("campaign:"+id, nil)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	list, err := b.connector.Segments(t.Context(), b.account, "all")
	if err != nil || len(list) != 2 || list[0].Size != 1 || list[1].Name != "All Leads" {
		t.Fatalf("%+v %v", list, err)
	}
	if got, _ := b.members(list[1].ID, nil); len(got) != 2 || got[0].ContactRef != ann {
		t.Errorf("got %+v", got)
	}
}

func TestSegments_OfAnObjectOfTheOrgs(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"contact_object":"WhatsApp_Message__c","name_field":"Type__c","phone_field":"Direction__c","bsuid_field":"","adopt_by":[],"mode":"none"}`)
	campaign := b.campaign("x")
	id := b.sim.AddView(salesforcesim.View{Object: "WhatsApp_Message__c", Name: "Patients", Where: "Direction__c LIKE '+34%'"})
	patient := b.sim.Create("WhatsApp_Message__c", map[string]any{"WA_Id__c": "1", "Type__c": "Ana", "Direction__c": "+34600000001"})
	b.sim.Create("WhatsApp_Message__c", map[string]any{"WA_Id__c": "2", "Type__c": "Bob", "Direction__c": "+49"})
	list, err := b.connector.Segments(t.Context(), b.account, "")
	if diff := cmp.Diff([]core.Segment{{ID: "view:" + id, Name: "Patients", Kind: "list view"}}, list); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got, _ := b.members("view:"+id, nil)
	if diff := cmp.Diff([]core.Member{{ContactRef: patient, Contact: core.Contact{Name: "Ana", Phone: "+34600000001"}}}, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	b.wantNoMembers("campaign:"+campaign, core.CodeInvalid, "there is no segment")
}

// Salesforce's own objects have the whole name in a field, whatever is written: accounts
// that are persons, for one.
func TestMembers_HaveTheirWholeNames(t *testing.T) {
	b := start(t, salesforcesim.Options{}, `{"contact_object":"Case","name_field":"Subject","phone_field":"Origin","bsuid_field":"","adopt_by":[],"mode":"none"}`)
	b.sim.AddField("Case", salesforcesim.Text("Name", 80))
	b.sim.Create("Case", map[string]any{"Name": "Ana García", "Subject": "García", "Origin": "+34600000001"})
	got, _ := b.members("view:"+b.sim.AddView(salesforcesim.View{Object: "Case", Name: "All"}), nil)
	if len(got) != 1 || got[0].Contact.Name != "Ana García" || got[0].Contact.Phone != "+34600000001" {
		t.Errorf("got %+v", got)
	}
}
