package zohosim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

func (a *account) edit(by zohosim.Editor, id string, values map[string]any) string {
	a.t.Helper()
	id, err := a.Edit(by, "Contacts", id, values)
	if err != nil {
		a.t.Fatal(err)
	}
	return id
}

func TestQuery_SortsAndComparesTimesAndIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{})
		var ids, times []string
		for i := range 4 {
			ids = append(ids, a.edit(zohosim.Person, "", map[string]any{"Last_Name": fmt.Sprint(i)}))
			times = append(times, time.Now().UTC().Format("2006-01-02T15:04:05-07:00"))
			time.Sleep(time.Second)
		}
		a.edit(zohosim.Person, ids[0], map[string]any{"Last_Name": "later"})
		for where, want := range map[string][]string{
			"Modified_Time > '" + times[2] + "' order by Modified_Time asc":                          {ids[3], ids[0]},
			"Modified_Time >= '" + times[2] + "' order by Modified_Time desc":                        {ids[0], ids[3], ids[2]},
			"Modified_Time = '" + times[1] + "' and id > '0' order by id asc":                        {ids[1]},
			"Modified_Time < '" + strings.Replace(times[2], "+00:00", "-00:30", 1) + "' order by id": {ids[0], ids[1], ids[2], ids[3]},
			"id > '" + ids[1] + "' order by id desc":                                                 {ids[3], ids[2]},
			"Modified_Time is not null order by Modified_Time desc limit 1":                          {ids[0]},
		} {
			got := a.query("select id, Modified_Time, Created_By from Contacts where " + where)
			var list []string
			for _, d := range got.Data {
				list = append(list, d["id"].(string))
			}
			if fmt.Sprint(list) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v: %s", where, list, want, got.Body)
			}
		}
		for _, where := range []string{"Modified_Time > 'yesterday'", "id > 'x'", "Modified_Time ! '" + times[0] + "'"} {
			want(t, where, a.query("select id from Contacts where "+where), 400, "SYNTAX_ERROR")
		}
	})
}

func TestList_ReadsRecordsByID(t *testing.T) {
	a := open(t, zohosim.Options{})
	one, two := a.edit(zohosim.Person, "", map[string]any{"Last_Name": "1"}), a.edit(zohosim.Person, "", map[string]any{"Last_Name": "2"})
	a.edit(zohosim.Person, "", map[string]any{"Last_Name": "3"})
	if err := a.Tag(zohosim.Person, "Contacts", one, "vip", true); err != nil {
		t.Fatal(err)
	}
	got := a.ask("GET", "Contacts?ids="+one+","+two+",1&fields=Last_Name,Tag,Modified_By", "")
	if len(got.Data) != 2 || !strings.Contains(got.Body, `"Tag":[{"color_code":null,"id":"7000","name":"vip"}]`) || !strings.Contains(got.Body, zohosim.Person.ID) {
		t.Errorf("got %d %s", got.HTTP, got.Body)
	}
	want(t, "without fields", a.ask("GET", "Contacts?ids="+one, ""), 400, "REQUIRED_PARAM_MISSING")
	want(t, "too many fields", a.ask("GET", "Contacts?ids="+one+"&fields=id"+strings.Repeat(",Phone", 50), ""), 400, "LIMIT_EXCEEDED")
	want(t, "too many ids", a.ask("GET", "Contacts?fields=id&ids="+one+strings.Repeat(","+two, 100), ""), 400, "INVALID_DATA")
	if got := a.ask("GET", "Contacts?ids=1&fields=id", ""); got.HTTP != 204 {
		t.Errorf("nobody: %d", got.HTTP)
	}
}

func TestRecords_HeedWhenTheyWereModified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{})
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "old"})
		time.Sleep(time.Minute)
		since := time.Now().In(time.FixedZone("", -3*3600)).Format(time.RFC3339)
		list := func(since string) answer {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/crm/v8/Contacts?fields=Last_Name&sort_by=Modified_Time&sort_order=asc", nil)
			r.Header.Set("Authorization", "Zoho-oauthtoken "+a.token)
			r.Header.Set("If-Modified-Since", since)
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			return answer{HTTP: w.Code, Body: w.Body.String()}
		}
		if got := list(since); got.HTTP != 304 || got.Body != "" {
			t.Errorf("of nothing new: %d %s", got.HTTP, got.Body)
		}
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "new"})
		if got := list(since); got.HTTP != 200 || strings.Contains(got.Body, "old") || !strings.Contains(got.Body, "new") {
			t.Errorf("got %d %s", got.HTTP, got.Body)
		}
		write := func(since string) answer {
			r := httptest.NewRequestWithContext(t.Context(), "PUT", "/crm/v8/Contacts/"+a.Records("Contacts")[0].ID, strings.NewReader(`{"data":[{"Last_Name":"mine"}]}`))
			r.Header.Set("Authorization", "Zoho-oauthtoken "+a.token)
			r.Header.Set("If-Unmodified-Since", since)
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			return answer{HTTP: w.Code, Body: w.Body.String()}
		}
		if got := write(since); got.HTTP != 200 {
			t.Errorf("of what nobody modified: %d %s", got.HTTP, got.Body)
		}
		time.Sleep(time.Minute)
		a.edit(zohosim.Person, a.Records("Contacts")[0].ID, map[string]any{"Last_Name": "theirs"})
		if got := write(since); got.HTTP != 412 || !strings.Contains(got.Body, "ALREADY_MODIFIED") || a.Records("Contacts")[0].Values["Last_Name"] != "theirs" {
			t.Errorf("over somebody's: %d %s", got.HTTP, got.Body)
		}
		if got := list("yesterday"); got.HTTP != 400 {
			t.Errorf("of an odd time: %d %s", got.HTTP, got.Body)
		}
	})
}

func TestTimeline_SaysWhoDidWhatByWhatMeans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{})
		id := a.edit(zohosim.Person, "", map[string]any{"Last_Name": "1", "Mailing_City": "Madrid"})
		time.Sleep(time.Minute)
		a.edit(zohosim.Program, id, map[string]any{"Last_Name": "2", "Mailing_City": "Madrid"})
		a.ask("PUT", "Contacts", `{"data":[{"id":"`+id+`","Mailing_City":""}]}`)
		type entry struct {
			Action, Source string
			By             struct{ ID string } `json:"done_by"`
			Fields         []struct {
				Name  string         `json:"api_name"`
				Value map[string]any `json:"_value"`
			} `json:"field_history"`
		}
		read := func(query string) (list []entry, info map[string]any) {
			var body struct {
				Timeline []entry `json:"__timeline"`
				Info     map[string]any
			}
			if err := json.Unmarshal([]byte(a.ask("GET", "Contacts/"+id+"/__timeline"+query, "").Body), &body); err != nil {
				t.Fatal(err)
			}
			return body.Timeline, body.Info
		}
		list, info := read("")
		if got := fmt.Sprint(list, info["more_records"]); got != "[{updated crm_api {5500000000000000001} [{Mailing_City map[new:<nil> old:Madrid]}]} "+
			"{updated crm_api {5500000000000000003} [{Last_Name map[new:2 old:1]}]} {added crm_ui {5500000000000000002} []}] false" {
			t.Errorf("got %s", got)
		}
		first, info := read("?per_page=2")
		rest, last := read("?page_token=" + fmt.Sprint(info["next_page_token"]))
		if len(first) != 2 || len(rest) != 1 || rest[0].Action != "added" || info["more_records"] != true || last["more_records"] != false {
			t.Errorf("in pages: %v %v, %v %v", first, info, rest, last)
		}
		want(t, "a page of none", a.ask("GET", "Contacts/"+id+"/__timeline?per_page=201", ""), 400, "INVALID_DATA")
		want(t, "a token with a size", a.ask("GET", "Contacts/"+id+"/__timeline?per_page=2&page_token=t2", ""), 400, "INVALID_DATA")
		want(t, "nobody's", a.ask("GET", "Contacts/1/__timeline", ""), 400, "INVALID_DATA")
	})
}

func TestDeleted_SaysWhoIsGoneAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{})
		one := a.edit(zohosim.Person, "", map[string]any{"Last_Name": "1", "Phone": "+34600111222"})
		two := a.edit(zohosim.Person, "", map[string]any{"Last_Name": "2"})
		three := a.edit(zohosim.Person, "", map[string]any{"Last_Name": "3", "Mailing_City": "Lyon"})
		if got := a.ask("GET", "Contacts/deleted?type=all", ""); got.HTTP != 204 {
			t.Errorf("nobody is gone: %d %s", got.HTTP, got.Body)
		}
		if err := a.Delete(zohosim.Person, "Contacts", one); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := a.Merge(zohosim.Person, "Contacts", two, three); err != nil {
			t.Fatal(err)
		}
		before := a.Stats().Credits
		got := a.ask("GET", "Contacts/deleted?type=all", "")
		if len(got.Data) != 2 || got.Data[0]["id"] != three || got.Data[1]["id"] != one || strings.Contains(got.Body, "600111222") || a.Stats().Credits != before+2 {
			t.Errorf("for %d credits: %s", a.Stats().Credits-before, got.Body)
		}
		want(t, "another kind", a.ask("GET", "Contacts/deleted?type=some", ""), 400, "INVALID_DATA")
		for _, r := range a.Records("Contacts") {
			if r.ID == two && (r.Values["Mailing_City"] != "Lyon" || r.Values["Last_Name"] != "2") {
				t.Errorf("merged into %v", r.Values)
			}
		}
	})
}

func TestUsers_TellsWhoseTokenItIs(t *testing.T) {
	a := open(t, zohosim.Options{})
	if got := a.ask("GET", "users?type=CurrentUser", ""); !strings.Contains(got.Body, `"id":"`+zohosim.Own.ID+`"`) {
		t.Errorf("got %s", got.Body)
	}
	want(t, "all", a.ask("GET", "users", ""), 400, "INVALID_DATA")
	want(t, "without the scope", open(t, zohosim.Options{Scopes: []string{zohosim.ScopeCOQL}}).ask("GET", "users?type=CurrentUser", ""), 401, "OAUTH_SCOPE_MISMATCH")
}

// hook is a receiver of notifications.
type hook struct {
	mu     sync.Mutex
	bodies []string
	status int
}

// RoundTrip implements [http.RoundTripper].
func (h *hook) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies = append(h.bodies, r.URL.String()+" "+string(body))
	if h.status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: h.status, Body: http.NoBody}, err
}

func (h *hook) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.bodies
	h.bodies = nil
	return list
}

func (a *account) hooked(t *testing.T) *hook {
	h := &hook{status: 200}
	done := make(chan struct{})
	go func() { defer close(done); a.Run(t.Context(), &http.Client{Transport: h}) }()
	t.Cleanup(func() { <-done })
	return h
}

func watchBody(fields string) string { return `{"watch":[{` + fields + `}]}` }

func TestWatch_TellsUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{TokenLife: 30 * 24 * time.Hour})
		h := a.hooked(t)
		expiry := time.Now().Add(7 * 24 * time.Hour).Format(time.RFC3339)
		body := watchBody(`"channel_id":"7001","events":["Contacts.create","Contacts.edit"],"token":"tok","notify_url":"https://b.example/x","channel_expiry":"` + expiry + `"`)
		want(t, "renewing what is not there", a.ask("PUT", "actions/watch", body), 400, "")
		if got := a.ask("PUT", "actions/watch", body); !strings.Contains(got.Body, "NOT_SUBSCRIBED") {
			t.Errorf("got %s", got.Body)
		}
		if got := a.ask("POST", "actions/watch", body); got.HTTP != 201 || !strings.Contains(got.Body, `"resource_name":"Contacts"`) {
			t.Errorf("got %d %s", got.HTTP, got.Body)
		}
		id := a.edit(zohosim.Person, "", map[string]any{"Last_Name": "1"})
		a.edit(zohosim.Person, id, map[string]any{"Last_Name": "2"})
		if err := a.Delete(zohosim.Person, "Contacts", id); err != nil { // nobody asked for it
			t.Fatal(err)
		}
		list := h.take()
		if len(list) != 2 || !strings.Contains(strings.Join(list, ""), `"operation":"insert"`) ||
			!strings.Contains(strings.Join(list, ""), `"affected_fields":[{"`+id+`":["Last_Name"]}]`) || !strings.Contains(list[0], `"token":"tok"`) {
			t.Errorf("got %v", list)
		}
		if got := a.ask("GET", "actions/watch?channel_id=7001", ""); !strings.Contains(got.Body, "Contacts.edit") {
			t.Errorf("got %s", got.Body)
		}
		time.Sleep(7*24*time.Hour - time.Second)
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "in time"})
		time.Sleep(time.Second)
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "too late"})
		if list := h.take(); len(list) != 1 {
			t.Errorf("around the end %d came", len(list))
		}
		if got := a.ask("GET", "actions/watch?channel_id=7001", ""); got.HTTP != 204 {
			t.Errorf("it is not forgotten: %s", got.Body)
		}
		// Without an end, or with one too far, it lives for an hour.
		for _, expiry := range []string{"", `,"channel_expiry":"` + time.Now().Add(8*24*time.Hour).Format(time.RFC3339) + `"`} {
			a.ask("POST", "actions/watch", watchBody(`"channel_id":7002,"events":["Contacts.all"],"notify_url":"https://b.example/x"`+expiry))
			if got := a.Channels(); len(got) != 1 || time.Until(got[0].Expires) != time.Hour {
				t.Errorf("%s: %v", expiry, got)
			}
		}
		changed := watchBody(`"channel_id":7002,"events":["Contacts.delete"]`)
		if got := a.ask("PATCH", "actions/watch", changed); got.HTTP != 200 || strings.Join(a.Channels()[0].Events, "") != "Contacts.delete" || time.Until(a.Channels()[0].Expires) != time.Hour {
			t.Errorf("got %d %s", got.HTTP, got.Body)
		}
		if got := a.ask("PATCH", "actions/watch", watchBody(`"channel_id":7003,"channel_expiry":"2030-01-01T00:00:00+00:00"`)); got.HTTP != 400 || !strings.Contains(got.Body, "NOT_SUBSCRIBED") {
			t.Errorf("got %d %s", got.HTTP, got.Body)
		}
		if got := a.ask("DELETE", "actions/watch?channel_ids=7002", ""); got.HTTP != 200 || len(a.Channels()) != 0 {
			t.Errorf("got %d %s", got.HTTP, got.Body)
		}
	})
}

func TestWatch_RefusesWhatZohoRefuses(t *testing.T) {
	a := open(t, zohosim.Options{})
	for what, fields := range map[string]string{
		"no channel":        `"events":["Contacts.all"],"notify_url":"https://b.example/x"`,
		"a word as channel": `"channel_id":"mine","events":["Contacts.all"],"notify_url":"https://b.example/x"`,
		"no events":         `"channel_id":"7","events":[],"notify_url":"https://b.example/x"`,
		"an odd event":      `"channel_id":"7","events":["Contacts.change"],"notify_url":"https://b.example/x"`,
		"no such module":    `"channel_id":"7","events":["People.all"],"notify_url":"https://b.example/x"`,
		"plain http":        `"channel_id":"7","events":["Contacts.all"],"notify_url":"http://b.example/x"`,
		"nowhere":           `"channel_id":"7","events":["Contacts.all"]`,
		"a long token":      `"channel_id":"7","events":["Contacts.all"],"notify_url":"https://b.example/x","token":"` + strings.Repeat("x", 51) + `"`,
		"ended already":     `"channel_id":"7","events":["Contacts.all"],"notify_url":"https://b.example/x","channel_expiry":"2001-01-01T00:00:00+00:00"`,
	} {
		if got := a.ask("POST", "actions/watch", watchBody(fields)); got.HTTP != 400 || !strings.Contains(got.Body, "INVALID_DATA") {
			t.Errorf("%s: %d %s", what, got.HTTP, got.Body)
		}
	}
	want(t, "none at all", a.ask("POST", "actions/watch", `{}`), 400, "INVALID_DATA")
	want(t, "without the scope", open(t, zohosim.Options{Scopes: []string{zohosim.ScopeCOQL}}).ask("POST", "actions/watch", `{}`), 401, "OAUTH_SCOPE_MISMATCH")
}

func TestWatch_SendsAgainOrTwiceWhereItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, zohosim.Options{NotifyTries: 3, NotifyWait: time.Second, NotifyTwice: true})
		h := a.hooked(t)
		h.status = 503
		a.ask("POST", "actions/watch", watchBody(`"channel_id":"7","events":["Contacts.all"],"notify_url":"https://b.example/x"`))
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "1"})
		time.Sleep(time.Minute)
		if n := len(h.take()); n != 6 || a.Stats().Notified[503] != 6 {
			t.Errorf("%d came, counted %v", n, a.Stats().Notified)
		}
		h.status = 0
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "away"})
		time.Sleep(time.Minute)
		if n := len(h.take()); n != 6 || a.Stats().Notified[0] != 6 {
			t.Errorf("%d came to nobody, counted %v", n, a.Stats().Notified)
		}
		h.status = 200
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "2"})
		if n := len(h.take()); n != 2 {
			t.Errorf("%d came", n)
		}
		a.LoseChannels()
		a.edit(zohosim.Person, "", map[string]any{"Last_Name": "3"})
		if n := len(h.take()); n != 0 {
			t.Errorf("%d came of a channel that is lost", n)
		}
	})
}
