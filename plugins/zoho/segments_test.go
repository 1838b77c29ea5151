package zoho_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

// made makes contacts as a person would, and returns their ids.
func (b *bench) made(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = b.sim.AddRecord("Contacts", map[string]any{"First_Name": "Ana", "Last_Name": strconv.Itoa(i), "Phone": fmt.Sprintf("+3460000%04d", i)})
	}
	return ids
}

func (b *bench) segments(name string) string {
	b.t.Helper()
	list, err := b.connector.Segments(b.t.Context(), b.account, name)
	if err != nil {
		b.t.Fatalf("Segments(%q): %v", name, err)
	}
	var out []string
	for _, s := range list {
		out = append(out, s.Kind+" "+s.Name+" "+s.ID)
	}
	return strings.Join(out, "\n")
}

// page asks for one page.
func (b *bench) page(segment string, cursor json.RawMessage) core.Members {
	b.t.Helper()
	page, err := b.connector.Members(b.t.Context(), b.account, segment, cursor)
	if err != nil {
		b.t.Fatalf("Members(%s): %v", segment, err)
	}
	if len(page.Members) > core.MaxMembers || len(page.Cursor) > 1<<10 {
		b.t.Errorf("a page of %d, with a cursor of %d bytes", len(page.Members), len(page.Cursor))
	}
	return page
}

// members reads a segment on from a cursor, calling between before each further page.
func (b *bench) members(segment string, cursor json.RawMessage, between func(page int)) []core.Member {
	b.t.Helper()
	var all []core.Member
	for n := 1; n < 50; n++ {
		page := b.page(segment, cursor)
		all = append(all, page.Members...)
		if !page.More {
			return all
		}
		if cursor = page.Cursor; between != nil {
			between(n)
		}
	}
	b.t.Fatal("there is no end")
	return nil
}

func refs(list []core.Member) []string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = m.ContactRef
	}
	slices.Sort(out)
	return out
}

func TestSegments_AreViewsAndCampaigns(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	winter := "view:" + b.sim.AddView("Contacts", zohosim.View{Name: "Winter", Label: "Invierno 50%", Members: []string{}})
	b.sim.AddView("Tasks", zohosim.View{Name: "Winter's tasks"})
	fair := "campaign:" + b.sim.AddCampaign("Winter\t fair, O'Neil's")
	b.sim.AddCampaign("Summer")
	b.clear()
	for name, want := range map[string]string{
		"wInTeR":           "campaign Winter fair, O'Neil's " + fair,
		"INV":              "view Invierno 50% " + winter,
		"r fair, o":        "campaign Winter fair, O'Neil's " + fair,
		"0%":               "view Invierno 50% " + winter,
		"o'neil":           "campaign Winter fair, O'Neil's " + fair,
		winter:             "view Invierno 50% " + winter,
		fair:               "campaign Winter fair, O'Neil's " + fair,
		"campaign:1":       "",
		"nobody's":         "",
		`\`:                "",
		"Winter's tasks":   "",
		"' or id > '1":     "",
		"all contacts":     "view All Contacts view:5400000000001000",
		"view:54000000000": "",
	} {
		if got := b.segments(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	if got := strings.Count(b.segments(""), "\n"); got != 3 {
		t.Errorf("all are %s", b.segments(""))
	}
}

func TestSegments_LookThroughMoreThanAPage(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	for i := range 450 {
		b.sim.AddView("Contacts", zohosim.View{Name: fmt.Sprintf("v%03d", i)})
		b.sim.AddCampaign(fmt.Sprintf("k%03d", i))
	}
	if n := strings.Count(b.segments(""), "\n") + 1; n != 901 {
		t.Errorf("all are %d", n)
	}
	if got := b.segments("449"); !strings.HasPrefix(got, "view v449 ") || !strings.Contains(got, "campaign k449 ") {
		t.Errorf("the last: %q", got)
	}
	for i := range 200 {
		b.sim.AddView("Contacts", zohosim.View{Name: fmt.Sprintf("w%03d", i)})
	}
	if n := strings.Count(b.segments(""), "\n") + 1; n != core.MaxSegments {
		t.Errorf("of 1101 there are %d", n)
	}
}

func TestMembers_SayWhoTheyAre(t *testing.T) {
	b := start(t, zohosim.Options{}, `{"region":"ES"}`, nil)
	b.done(&core.Event{ID: "n1", Kind: core.KindContactChanged, Tenant: "acme", Time: noon, Contact: &core.Contact{ID: "c1", Phone: "+34600111222"}},
		&core.Event{ID: "n2", Kind: core.KindContactChanged, Tenant: "acme", Time: noon, Contact: &core.Contact{ID: "c2", BSUID: "ES.abc", Username: "@bea"}},
		&core.Event{ID: "n3", Kind: core.KindContactChanged, Tenant: "acme", Time: noon, Contact: &core.Contact{ID: "c3", BSUID: "ES.def"}})
	for _, values := range []map[string]any{
		{"First_Name": "Zoë \u202e", "Last_Name": "O'Brien \"Ñ\" 李\t😀", "Phone": "call the office", "Mobile": "600 333 444"},
		{"Last_Name": "Nobody"},
		{"Last_Name": "Odd", "Phone": "12"},
	} {
		b.sim.AddRecord("Contacts", values)
	}
	var got []string
	for _, m := range b.members("view:5400000000001000", nil, nil) {
		got = append(got, fmt.Sprintf("%s|%s|%s", m.Contact.Name, m.Contact.Phone, m.Contact.BSUID))
		if m.ContactRef == "" {
			t.Errorf("%+v has no record", m)
		}
	}
	want := []string{"Odd|12|", "Nobody||", "Zoë \u202e O'Brien \"Ñ\" 李 😀|+34600333444|", "||ES.def", "||ES.abc", "|+34600111222|"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMembers_ComeOnceWhateverHappensBetweenThePages(t *testing.T) {
	b := start(t, zohosim.Options{TokenLife: time.Hour}, "", nil)
	ids := b.made(450)
	view := "view:" + b.sim.AddView("Contacts", zohosim.View{Name: "most", Members: ids[5:]})
	b.clear()
	var all []string
	list := b.members(view, nil, func(page int) {
		switch page {
		case 1: // of those that were told the first and the last are deleted, and two that were not
			for _, id := range []string{ids[449], ids[250], ids[100], ids[5]} {
				if err := b.sim.Delete(zohosim.Person, "Contacts", id); err != nil {
					t.Fatal(err)
				}
			}
		case 2: // the token is refused in the middle, and another asks again
			b.sim.ExpireTokens()
			_, err := b.connector.Members(t.Context(), b.account, view, json.RawMessage(`{"token":"x","after":"1"}`))
			if e := core.AsError(err); e == nil || e.Code != core.CodeUnauthenticated {
				t.Errorf("got %v", err)
			}
			token, err := b.connector.Authorize(t.Context(), b.account)
			if err != nil {
				t.Fatal(err)
			}
			b.account.Token = &token
		}
	})
	all = refs(list)
	want := slices.Concat(ids[6:100], ids[101:])
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("%d members, want %d", len(all), len(want))
	}
	if got := strings.Join(b.calls()[1:2], ""); !strings.Contains(got, "GET /crm/v8/Contacts?cvid="+strings.TrimPrefix(view, "view:")+
		"&fields=Phone,WA_BSUID,Full_Name,WA_Username,WA_Contact_ID,Mobile&per_page=200") {
		t.Errorf("the first call was %s", got)
	}
}

func TestMembers_OfACampaignAreItsContacts(t *testing.T) {
	for _, o := range []zohosim.Options{{}, {NumberedMembers: true}} {
		b := start(t, o, "", nil)
		ids := b.made(601)
		got, want := refs(b.members("campaign:"+b.sim.AddCampaign("Fair", ids[1:]...), nil, nil)), slices.Sorted(slices.Values(ids[1:]))
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d members, want %d", o, len(got), len(want))
		}
	}
	b := start(t, zohosim.Options{}, "", nil)
	if list := b.members("campaign:"+b.sim.AddCampaign("Nobody's"), nil, nil); len(list) != 0 {
		t.Errorf("of nobody: %v", list)
	}
}

func TestMembers_GoOnAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, zohosim.Options{TokenLife: 100 * time.Hour}, "", nil)
		ids := b.made(700)
		later := 0
		for _, view := range []zohosim.View{{Name: "the newest first"}, {Name: "the oldest first", Ascending: true}} {
			list := b.members("view:"+b.sim.AddView("Contacts", view), nil, func(page int) {
				if page == 2 {
					time.Sleep(24 * time.Hour)
					// Whoever joins at the list's beginning is not met, nor who leaves missed.
					for _, id := range []string{ids[later], ids[699-later]} {
						if err := b.sim.Delete(zohosim.Person, "Contacts", id); err != nil {
							t.Fatal(err)
						}
					}
					later++
					b.clear()
				}
			})
			got := refs(list)
			if n := len(slices.Compact(slices.Clone(got))); n != len(got) || n != 701-2*later {
				t.Errorf("%s: %d members, %d of them different", view.Name, len(got), n)
			}
			for _, id := range ids[10:690] {
				if !slices.Contains(got, id) {
					t.Errorf("%s: %s was left out", view.Name, id)
				}
			}
			if n := len(b.calls()); n != 6 { // the fields, the token that is over, then all four pages
				t.Errorf("%s: %d calls: %s", view.Name, n, b.calls())
			}
		}
		sorted := "view:" + b.sim.AddView("Contacts", zohosim.View{Name: "by name", SortBy: "Last_Name", Ascending: true})
		first := b.page(sorted, nil)
		time.Sleep(24*time.Hour - time.Second)
		if list := b.members(sorted, first.Cursor, nil); len(list)+len(first.Members) != 696 {
			t.Errorf("%d and %d members by name", len(first.Members), len(list))
		}
		time.Sleep(time.Second)
		if _, err := b.connector.Members(t.Context(), b.account, sorted, first.Cursor); core.AsError(err) == nil ||
			core.AsError(err).Code != core.CodeInvalid || !strings.Contains(err.Error(), "sorted by id") || core.AsError(err).Hint != "plan the campaign again" {
			t.Errorf("got %v", err)
		}
	})
}

func TestMembers_SayWhatIsWrong(t *testing.T) {
	b := start(t, zohosim.Options{}, "", nil)
	gone := b.sim.AddView("Contacts", zohosim.View{Name: "gone"})
	b.sim.RemoveView("Contacts", gone)
	for segment, wants := range map[string]string{
		"view:" + gone: "Zoho has no view " + gone, "campaign:1": "Zoho has no campaign 1: The record does not exist",
		"view:1&x=2": "no segment", "": "no segment", gone: "no segment", "list:1": "no segment",
	} {
		_, err := b.connector.Members(t.Context(), b.account, segment, nil)
		if e := core.AsError(err); e == nil || e.Code != core.CodeInvalid || !strings.Contains(err.Error(), wants) || strings.Contains(e.Hint, "mapToCRM") {
			t.Errorf("%q: got %v (%+v)", segment, err, e)
		}
	}
	b.made(1)
	_, err := b.connector.Members(t.Context(), b.account, "view:5400000000001000", json.RawMessage(`{"token":"x","after":"1","order":"asc"}`))
	if e := core.AsError(err); e == nil || e.Code != core.CodeInvalid || !strings.Contains(err.Error(), "another one now") {
		t.Errorf("in another order than before: %v", err)
	}
	deals := start(t, zohosim.Options{}, `{"contact_module":"People"}`, nil)
	if _, err := deals.connector.Members(t.Context(), deals.account, "campaign:1", nil); core.AsError(err) == nil || core.AsError(err).Code != core.CodeInvalid {
		t.Errorf("a campaign of a module of one's own: %v", err)
	}
	fresh := start(t, zohosim.Options{}, `{"phone_field":"Telephone"}`, nil)
	if _, err := fresh.connector.Members(t.Context(), fresh.account, "view:5400000000001000", nil); core.AsError(err) == nil ||
		core.AsError(err).Code != core.CodeForbidden || !strings.Contains(core.AsError(err).Hint, "phone_field") {
		t.Errorf("without the field of numbers: %v", err)
	}
}

func TestMembers_EndWithAWordWhereZohoStops(t *testing.T) {
	b := start(t, zohosim.Options{TokenRecords: 400}, "", nil)
	b.made(401)
	cursor := b.page("view:5400000000001000", nil).Cursor
	cursor = b.page("view:5400000000001000", cursor).Cursor
	_, err := b.connector.Members(t.Context(), b.account, "view:5400000000001000", cursor)
	if e := core.AsError(err); e == nil || e.Code != core.CodeInvalid || e.Vendor != "PAGINATION_LIMIT_EXCEEDED" || !strings.Contains(e.Hint, "make views") {
		t.Errorf("got %v", err)
	}
	odd := start(t, zohosim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/fields") {
			_, _ = w.Write([]byte(`{"fields":[{"api_name":"Phone"}]}`))
			return
		}
		_, _ = w.Write([]byte(`{"data":[{"id":"1"}],"info":{"more_records":true,"next_page_token":null}}`))
	}))
	odd.page("view:1", json.RawMessage(`{"page":499}`))
	if _, err := odd.connector.Members(t.Context(), odd.account, "view:1", json.RawMessage(`{"page":500}`)); core.AsError(err) == nil || core.AsError(err).Code != core.CodeUnavailable {
		t.Errorf("more and more: %v", err)
	}
	numbered := start(t, zohosim.Options{NumberedMembers: true}, "", nil)
	fair := "campaign:" + numbered.sim.AddCampaign("Fair", numbered.made(2001)...)
	last := numbered.page(fair, json.RawMessage(`{"page":10}`))
	if _, err := numbered.connector.Members(t.Context(), numbered.account, fair, last.Cursor); core.AsError(err) == nil || core.AsError(err).Code != core.CodeInvalid ||
		!strings.Contains(core.AsError(err).Hint, "make views") {
		t.Errorf("the 2,001st member: %v", err)
	}
}

func TestSegments_WantScopesThatNothingElseDoes(t *testing.T) {
	few := []string{zohosim.ScopeContacts, zohosim.ScopeCustom, zohosim.ScopeTasks, zohosim.ScopeCOQL, zohosim.ScopeFields}
	forbidden := func(err error, scope string) {
		t.Helper()
		if e := core.AsError(err); e == nil || e.Code != core.CodeForbidden || !strings.Contains(e.Hint, scope) {
			t.Errorf("got %v, want the scope %s", err, scope)
		}
	}
	b := start(t, zohosim.Options{Scopes: few}, "", nil).mustCheck()
	b.done(received(1))
	_, err := b.connector.Segments(t.Context(), b.account, "")
	forbidden(err, "ZohoCRM.settings.custom_views.READ")

	// A view can be read without, and the others are listed where campaigns are not for this token.
	b = start(t, zohosim.Options{Scopes: append(few, "ZohoCRM.settings.ALL")}, "", nil)
	fair := b.sim.AddCampaign("Fair", b.made(1)...)
	if got := b.segments(""); got != "view All Contacts view:5400000000001000" {
		t.Errorf("got %q", got)
	}
	if n := len(b.members("view:5400000000001000", nil, nil)); n != 1 {
		t.Errorf("%d members", n)
	}
	_, err = b.connector.Segments(t.Context(), b.account, "campaign:"+fair)
	forbidden(err, "ZohoCRM.modules.campaigns.READ")
	_, err = b.connector.Members(t.Context(), b.account, "campaign:"+fair, nil)
	forbidden(err, "ZohoCRM.modules.campaigns.READ")
}

func TestMembers_LeaveTheReserveOfCredits(t *testing.T) {
	b := start(t, zohosim.Options{Credits: 40}, `{"credits_reserve":30}`, nil)
	b.made(1)
	var err error
	for range 30 {
		if _, err = b.connector.Members(t.Context(), b.account, "view:5400000000001000", nil); err != nil {
			break
		}
	}
	if e := core.AsError(err); e == nil || e.Code != core.CodeRateLimited || e.RetryAfter <= 0 || b.sim.Stats().Credits != 20 {
		t.Errorf("after %d credits: %v", b.sim.Stats().Credits, err)
	}
}
