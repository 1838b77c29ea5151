package customhttpsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

type client struct {
	t   *testing.T
	sim *customhttpsim.Sim
	url string
}

func serve(t *testing.T, o customhttpsim.Options) *client {
	t.Helper()
	sim := customhttpsim.New(o)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return &client{t, sim, server.URL}
}

// try makes a request; headers are "Name: value".
func (c *client) try(ctx context.Context, method, path, body string, headers ...string) (int, string, http.Header, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(b)), resp.Header, err
}

func (c *client) want(status int, contains, method, path, body string, headers ...string) string {
	c.t.Helper()
	got, answer, _, err := c.try(c.t.Context(), method, path, body, headers...)
	if err != nil || got != status || !strings.Contains(answer, contains) {
		c.t.Errorf("%s %s %.80s: got %d %s %v, want %d %s", method, path, body, got, answer, err, status, contains)
	}
	return answer
}

const hello = `{"external_id":"w1","direction":"in","type":"text","text":"hi","sent_at":"2026-10-01T12:00:00Z","contact":{"external_id":"c1","name":"Ada"}}`

func TestSim_IsStrict(t *testing.T) {
	c := serve(t, customhttpsim.Options{})
	c.want(404, "no_such_endpoint", "GET", "/v1/nothing", "")
	c.want(404, "no_such_endpoint", "DELETE", "/v1/messages/w1", "")
	c.want(415, "media_type", "POST", "/v1/notes", `{}`, "Content-Type: text/plain")
	c.want(400, "malformed", "POST", "/v1/notes", `{"ref":"1","text":"x"} {}`)
	c.want(400, "unknown field", "POST", "/v1/notes", `{"ref":"1","txt":"x"}`)
	c.want(422, "ref is required", "POST", "/v1/notes", `{"text":"x"}`)
	c.want(422, "id and kind", "POST", "/v1/events", `{"id":"1"}`)
	c.want(400, "malformed", "POST", "/v1/events", `null`)
	c.want(413, "too_large", "POST", "/v1/events", `"`+strings.Repeat("x", 5<<20)+`"`)
	c.want(400, "no items", "POST", "/v1/messages/bulk", `{"items":[]}`)
	c.want(404, "no_such_message", "PATCH", "/v1/messages/w1", `{"status":"read"}`)
	c.want(422, "not the one in the path", "PUT", "/v1/messages/w2", hello)
	for _, missing := range []string{"external_id", "direction", "type", "text", "sent_at", "contact"} {
		var m map[string]any
		if err := json.Unmarshal([]byte(hello), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, missing)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		c.want(422, missing, "POST", "/v1/messages", string(b))
	}
	if n := len(c.sim.Records("")); n != 0 {
		t.Errorf("%d records came of refused requests", n)
	}
}

func TestSim_LetsInWhoHasTheCredentials(t *testing.T) {
	c := serve(t, customhttpsim.Options{Token: "tok", User: "u", Password: "p", Key: "k"})
	for _, ok := range []string{"Authorization: Bearer tok", "Authorization: Basic dTpw", "X-Api-Key: k"} {
		c.want(200, "demo", "GET", "/v1/me", "", ok)
	}
	c.want(200, "demo", "GET", "/v1/me?api_key=k", "")
	for _, bad := range []string{"X-None: 1", "Authorization: Bearer tox", "Authorization: tok", "Authorization: Basic dTpx", "X-Api-Key: K"} {
		c.want(401, "unauthorized", "GET", "/v1/me", "", bad)
	}
	c.want(401, "unauthorized", "GET", "/v1/me?api_key=x", "")
}

func TestSim_DropsARepeatedKeyAndRefusesADuplicate(t *testing.T) {
	c := serve(t, customhttpsim.Options{})
	first := c.want(201, `"id":"m_1"`, "POST", "/v1/messages", hello, "Idempotency-Key: a")
	if again := c.want(201, "", "POST", "/v1/messages", hello, "Idempotency-Key: a"); again != first {
		t.Errorf("again: %s, first: %s", again, first)
	}
	c.want(422, "key_reused", "POST", "/v1/messages", strings.Replace(hello, "hi", "ho", 1), "Idempotency-Key: a")
	c.want(409, `"id":"m_1"`, "POST", "/v1/messages", hello)
	c.want(409, `"duplicate"`, "POST", "/v1/messages", hello, "Idempotency-Key: b")
	c.want(200, "m_1", "PUT", "/v1/messages/w1", hello)
	c.want(200, "m_1", "PATCH", "/v1/messages/w1", `{"status":"read"}`)
	want := []customhttpsim.Record{{Object: "message", ID: "m_1", ExternalID: "w1", Writes: 3, Statuses: []string{"read"}}}
	got := c.sim.Records("message")
	for i := range got {
		got[i].Fields = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := c.sim.Stats().Replays; n != 1 {
		t.Errorf("%d replays", n)
	}
	c.want(201, "n_", "POST", "/v1/notes", `{"ref":"r","text":"x"}`)
	c.want(201, "n_", "POST", "/v1/notes", `{"ref":"r","text":"x"}`)
	if n := c.sim.Count("note")["r"]; n != 2 {
		t.Errorf("%d notes, want one for each request", n)
	}
	c.want(200, `"ok":false`, "POST", "/v1/rpc", `{"text":"x"}`)
	c.want(200, `"ok":true`, "POST", "/v1/rpc", `{"ref":"q","text":"x"}`)
}

func TestSim_TakesIDsWithASlash(t *testing.T) {
	c := serve(t, customhttpsim.Options{})
	c.want(201, "c_1", "PUT", "/v1/contacts/a%2Fb", `{"external_id":"a/b","name":"Ada"}`)
	c.want(404, "no_such_endpoint", "PUT", "/v1/contacts/a/b", `{"external_id":"a/b","name":"Ada"}`)
	if n := c.sim.Count("contact")["a/b"]; n != 1 {
		t.Errorf("%v", c.sim.Count("contact"))
	}
}

func TestSim_AnswersBulkRowByRow(t *testing.T) {
	c := serve(t, customhttpsim.Options{MaxBatch: 3})
	item := func(id string) string { return strings.Replace(hello, "w1", id, 1) }
	answer := c.want(207, "", "POST", "/v1/messages/bulk", `{"items":[`+item("w1")+`,{"external_id":"w2"},`+item("w3")+`]}`)
	want := `{"results":[{"external_id":"w1","status":201,"id":"m_1"},` +
		`{"external_id":"w2","status":422,"error":{"code":"invalid","message":"direction must be in or out"}},` +
		`{"external_id":"w3","status":201,"id":"m_2"}]}`
	if answer != want {
		t.Errorf("got %s", answer)
	}
	c.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultRow, Row: "w1", Status: 500, Code: "oops"}, customhttpsim.Fault{Kind: customhttpsim.FaultMute, Row: "w3"})
	answer = c.want(207, "", "POST", "/v1/messages/bulk", `{"items":[`+item("w1")+`,`+item("w3")+`]}`)
	if want := `{"results":[{"external_id":"w1","status":500,"error":{"code":"oops","message":"refused"}}]}`; answer != want {
		t.Errorf("got %s", answer)
	}
	if r := c.sim.Records("message"); r[0].Writes != 1 || r[1].Writes != 2 {
		t.Errorf("a refused row was written, or one left out was not: %+v", r)
	}
	c.want(413, "at most 3", "POST", "/v1/messages/bulk", `{"items":[1,2,3,4]}`)
	c.want(422, "events[1]", "POST", "/v1/events/bulk", `{"events":[{"id":"1","kind":"k"},{"id":"2"}]}`)
	if n := len(c.sim.Records("event")); n != 0 {
		t.Errorf("all or nothing wrote %d", n)
	}
	c.want(200, `"taken":1`, "POST", "/v1/events/bulk", `{"events":[{"id":"1","kind":"k"}]}`)
}

func TestSim_MisbehavesOnDemand(t *testing.T) {
	note := `{"ref":"r","text":"x"}`
	for _, f := range []struct {
		fault   customhttpsim.Fault
		status  int // 0: the connection ends
		written int
	}{
		{customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 503, Body: "no", Header: map[string]string{"Retry-After": "3"}}, 503, 0},
		{customhttpsim.Fault{Kind: customhttpsim.FaultGarbage}, 200, 0},
		{customhttpsim.Fault{Kind: customhttpsim.FaultSlow, Delay: time.Millisecond}, 201, 1},
		{customhttpsim.Fault{Kind: customhttpsim.FaultDrop}, 0, 0},
		{customhttpsim.Fault{Kind: customhttpsim.FaultLost}, 0, 1},
		{customhttpsim.Fault{Kind: customhttpsim.FaultCut}, 0, 1},
		{customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 503, Match: "/messages"}, 201, 1},
		{customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 503, Skip: 1}, 201, 1},
		{customhttpsim.Fault{Kind: customhttpsim.FaultStatus, Status: 503, For: time.Nanosecond}, 201, 1},
	} {
		c := serve(t, customhttpsim.Options{})
		f.fault.Count = 1
		c.sim.Inject(f.fault)
		status, _, header, err := c.try(t.Context(), "POST", "/v1/notes", note)
		if f.status == 0 && err == nil || f.status != 0 && (err != nil || status != f.status) {
			t.Errorf("%+v: got %d, %v", f.fault, status, err)
		}
		if len(f.fault.Header) > 0 && header.Get("Retry-After") != "3" {
			t.Errorf("headers %v", header)
		}
		if n := len(c.sim.Records("note")); n != f.written {
			t.Errorf("%+v: %d written, want %d", f.fault, n, f.written)
		}
		c.sim.Heal()
		c.want(201, "", "POST", "/v1/notes", note) // it was for one request
	}

	c := serve(t, customhttpsim.Options{})
	c.sim.Inject(customhttpsim.Fault{Kind: customhttpsim.FaultHang})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, _, err := c.try(ctx, "POST", "/v1/notes", note); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hanging: %v", err)
	}
}

func TestSim_IsSteeredFromOutside(t *testing.T) {
	c := serve(t, customhttpsim.Options{Token: "tok"})
	c.want(200, `"kind":"status"`, "POST", "/_sim/faults", `{"kind":"status","status":503,"count":2}`)
	c.want(400, "unknown field", "POST", "/_sim/faults", `[{"knd":"status"}]`)
	c.want(503, "", "GET", "/v1/me", "", "Authorization: Bearer tok")
	c.want(200, `"count":2`, "GET", "/_sim/faults", "")
	c.want(200, "[]", "DELETE", "/_sim/faults", "")
	c.want(200, "[]", "GET", "/_sim/faults", "")
	c.want(204, "", "POST", "/_sim/latency?d=1ms", "")
	c.want(400, "want", "POST", "/_sim/latency?d=x", "")
	c.want(201, "", "POST", "/v1/notes", `{"ref":"r","text":"x"}`, "Authorization: Bearer tok")
	c.want(200, `"external_id":"r"`, "GET", "/_sim/ledger", "")
	c.want(200, `"path":"/v1/notes"`, "GET", "/_sim/requests", "")
	c.want(404, "", "GET", "/_sim/nothing", "")
	var stats customhttpsim.Stats
	if err := json.Unmarshal([]byte(c.want(200, "", "GET", "/_sim/stats", "")), &stats); err != nil {
		t.Fatal(err)
	}
	want := customhttpsim.Stats{
		Requests: map[string]int{"GET /v1/me": 1, "POST /v1/notes": 1}, Statuses: map[int]int{503: 1, 201: 1},
		Faults: map[string]int{"status": 1}, InFlight: 1,
	}
	if diff := cmp.Diff(want, stats); diff != "" {
		t.Error(diff)
	}
}

func TestSim_ListsWhatChangedStrictly(t *testing.T) {
	c := serve(t, customhttpsim.Options{})
	for i := range 3 {
		c.sim.Change(customhttpsim.Entry{ID: string(rune('a' + i)), Type: "contact", Phone: "+1555010010" + string(rune('0'+i))})
	}
	first := c.want(200, `"next_cursor":"after-2"`, "GET", "/v1/changes?limit=2", "")
	if strings.Contains(first, `"id":"c"`) {
		t.Errorf("the first page has the third: %s", first)
	}
	for _, way := range []string{"page=2", "offset=2", "cursor=after-2"} {
		if rest := c.want(200, `"id":"c"`, "GET", "/v1/changes?limit=2&"+way, ""); strings.Contains(rest, `"id":"b"`) || strings.Contains(rest, "next") {
			t.Errorf("%s: %s", way, rest)
		}
	}
	c.want(200, `"total":0`, "GET", "/v1/changes?updated_after=2999-01-01T00:00:00Z", "")
	c.sim.Change(customhttpsim.Entry{ID: "a", Type: "contact"})
	c.want(200, `"total":3`, "GET", "/v1/changes?limit=3", "")
	for _, bad := range []string{"limit=0", "limit=101", "page=x", "cursor=c", "updated_after=today", "colour=red"} {
		c.want(400, "parameter", "GET", "/v1/changes?"+bad, "")
	}
}

func TestSim_ListsListsAndTheirMembersStrictly(t *testing.T) {
	c := serve(t, customhttpsim.Options{})
	members := []customhttpsim.Member{{ID: "1", FirstName: "Ada", Phone: "+15550100001"}, {ID: "2"}, {}}
	for _, l := range []customhttpsim.List{
		{ID: "7", Name: "Very important", Type: "contacts", Members: members}, {ID: "a/b?c", Name: "Odd", Type: "contacts", Members: members[:1]},
		{ID: "f", Name: "Firms of importance", Type: "companies"},
	} {
		c.sim.SetList(l)
	}
	c.want(200, `"total":3`, "GET", "/v1/lists", "")
	c.want(200, `{"id":"7","name":"Very important","type":"contacts","members":3}`, "GET", "/v1/lists?search=VERY", "")
	next := c.want(200, `"next_url":"/v1/lists?limit=1\u0026offset=1\u0026search=import"`, "GET", "/v1/lists?search=import&limit=1", "")
	if !strings.Contains(next, `"total":2`) {
		t.Error(next)
	}
	c.want(200, `{"data":{"id":"a/b?c"`, "GET", "/v1/lists/a%2Fb%3Fc", "")
	c.want(200, `"total":1`, "GET", "/v1/lists/a%2Fb%3Fc/members", "")
	c.want(200, `{"data":[{"contact":{"id":"2","first_name":"","last_name":""}},{"contact":null}],"total":3}`, "GET", "/v1/lists/7/members?limit=2&offset=1", "")
	c.want(404, "no_such_list", "GET", "/v1/lists/8", "")
	c.want(404, "no_such_list", "GET", "/v1/lists/8/members", "")
	c.want(404, "no_such_endpoint", "GET", "/v1/lists/a/b", "")
	c.want(404, "no_such_endpoint", "GET", "/v1/lists/a/b/members", "")
	c.want(404, "no_such_endpoint", "POST", "/v1/lists", "{}")
	c.want(404, "no_such_endpoint", "PUT", "/v1/messages/w1/members", "{}")
	c.want(400, "unknown_parameter", "GET", "/v1/lists?name=x", "")
	c.want(400, "unknown_parameter", "GET", "/v1/lists/7/members?search=x", "")
	c.want(200, `"id":"2"`, "GET", "/v1/members?list=7", "")
	c.want(200, "[]", "GET", "/v1/members?list=8", "")
	c.want(400, "unknown_parameter", "GET", "/v1/members", "")
	c.want(400, "unknown_parameter", "GET", "/v1/members?list=7&limit=5", "")
	c.sim.SetList(customhttpsim.List{ID: "7", Name: "New"})
	c.want(200, `"name":"New"`, "GET", "/v1/lists/7", "")
	c.want(204, "", "POST", "/_sim/lists", `[{"id":"7","name":"Newer","type":"contacts","members":[{"id":"1","first_name":"Ada"}]},{"id":"8","name":"x","type":"contacts"}]`)
	c.want(204, "", "POST", "/_sim/lists", `{"id":"9","name":"Nine","type":"contacts"}`)
	c.want(200, `"members":1`, "GET", "/v1/lists?search=newer", "")
	c.want(400, "unknown field", "POST", "/_sim/lists", `{"id":"9","naem":"Nine"}`)
	c.want(400, "has id, name and type", "POST", "/_sim/lists", `{"id":"9"}`)
	c.want(200, `"total":5`, "GET", "/v1/lists", "")
	c.sim.RemoveList("7")
	c.want(404, "no_such_list", "GET", "/v1/lists/7", "")
}

func TestSim_FindsContactsAsTheyAreWritten(t *testing.T) {
	c := serve(t, customhttpsim.Options{})
	id := c.sim.AddContact("0151 123-45", "US.1")
	c.want(200, `"id":"`+id+`"`, "GET", "/v1/contacts?phone=0151+123-45", "")
	c.want(200, `"id":"`+id+`"`, "GET", "/v1/contacts?phone=1,0151+123-45", "")
	c.want(200, `"total":0`, "GET", "/v1/contacts?phone=015112345", "")
	c.want(200, `"total":1`, "GET", "/v1/contacts?phone_like=%251%255%251%251%252%253%254%255%25", "")
	c.want(200, `"total":0`, "GET", "/v1/contacts?phone_like=%251%255%251%251%252%253%254%255%256%25", "")
	c.want(200, `"total":1`, "GET", "/v1/contacts?bsuid=US.1", "")
	c.want(400, "unknown_parameter", "GET", "/v1/contacts?mobile=1", "")
	c.want(404, "not_found", "PUT", "/v1/contacts/id:c_9", `{"external_id":"a","name":"Ada"}`)
	c.want(422, "external_id is missing", "PUT", "/v1/contacts/id:"+id, `{"name":"Ada"}`)
	c.want(200, `"id":"`+id+`"`, "PUT", "/v1/contacts/id:"+id, `{"external_id":"a","name":"Ada","phone":"1"}`)
	c.want(422, "not the contact's", "PUT", "/v1/contacts/id:"+id, `{"external_id":"b","name":"Ada"}`)
	c.want(200, `"id":"`+id+`"`, "PUT", "/v1/contacts/a", `{"external_id":"a","name":"Ada"}`)
	other := c.sim.AddContact("2", "")
	c.want(409, "duplicate", "PUT", "/v1/contacts/id:"+other, `{"external_id":"a","name":"Ada"}`)
	c.want(200, `"id":"`+other+`"`, "GET", "/v1/contacts?after_id="+id, "")
	c.want(400, "bad_parameter", "GET", "/v1/contacts?after_id=c_9", "")
}

func TestSim_SaysWhatIsLeftOfItsQuota(t *testing.T) {
	c := serve(t, customhttpsim.Options{Quota: 2, QuotaPer: time.Hour})
	for _, want := range []struct {
		status int
		left   string
	}{{200, "1"}, {200, "0"}, {429, "0"}} {
		status, _, h, err := c.try(t.Context(), "GET", "/v1/me", "")
		if err != nil || status != want.status || h.Get("X-RateLimit-Remaining") != want.left || h.Get("X-RateLimit-Reset") == "" || (h.Get("Retry-After") != "") != (status == 429) {
			t.Errorf("got %d, %v, %v", status, h, err)
		}
	}
}

func TestToken_IsGivenToTheAppAndARefreshTokenIsGoodOnce(t *testing.T) {
	c := serve(t, customhttpsim.Options{ClientID: "app", ClientSecret: "s1", RefreshToken: "r1"})
	const path, form = "/oauth/token", "Content-Type: application/x-www-form-urlencoded"
	ask := func(status int, contains, body string, headers ...string) {
		t.Helper()
		c.want(status, contains, http.MethodPost, path, body, append(headers, form)...)
	}
	c.want(400, "want a form", http.MethodPost, path, "grant_type=client_credentials")
	ask(401, "invalid_client", "grant_type=client_credentials&client_id=app&client_secret=s2")
	ask(400, "unsupported_grant_type", "grant_type=password&client_id=app&client_secret=s1")
	ask(400, "wants one value", "grant_type=client_credentials&client_id=app&client_secret=s1&scope=")
	ask(400, "says twice", "grant_type=client_credentials&client_secret=s1", "Authorization: Basic YXBwOnMx")
	ask(200, "access-token-0001", "grant_type=client_credentials", "Authorization: Basic YXBwOnMx")
	ask(200, "refresh-after-0002", "grant_type=refresh_token&refresh_token=r1&client_id=app&client_secret=s1")
	ask(400, "invalid_grant", "grant_type=refresh_token&refresh_token=r1&client_id=app&client_secret=s1")
	c.want(401, "unauthorized", http.MethodGet, "/v1/me", "", "Authorization: Bearer access-token-0001")
	c.want(200, "demo", http.MethodGet, "/v1/me", "", "Authorization: Bearer access-token-0002")
}
