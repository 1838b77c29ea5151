package hubspotsim_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

const hook = "https://bridge.example/hook?secret=s"

// channelAt has an account with a channel, and an account of the channel, in each family
// of paths.
func channelAt(t *testing.T, o hubspotsim.Options, model string) (s *hubspotsim.Sim, path, account string) {
	t.Helper()
	s = hubspotsim.New(o)
	channel := s.AddChannel(hubspotsim.Channel{Name: "WhatsApp", WebhookURL: hook, Capabilities: hubspotsim.Capabilities{
		DeliveryIdentifierTypes: []string{hubspotsim.IdentifierPhone, hubspotsim.IdentifierOpaque}, ThreadingModel: model, AllowOutgoingMessages: true,
	}})
	path = "/conversations/custom-channels/2026-09/" + channel
	a := ask(t, s, "POST", path+"/channel-accounts",
		`{"authorized":true,"inboxId":"71","name":"WhatsApp","deliveryIdentifier":{"type":"CHANNEL_SPECIFIC_OPAQUE_ID","value":"100"}}`)
	if a.Status != 201 || a.ID == "" {
		t.Fatalf("the account: %s", a.Body)
	}
	return s, path, a.ID
}

// message is one to publish, with changes: a nil takes the field away.
func message(account string, changes map[string]any) string {
	m := map[string]any{
		"text": "hi", "timestamp": "2026-11-01T10:00:00.000Z", "messageDirection": "INCOMING", "channelAccountId": account, "attachments": []any{},
		"senders":             []any{map[string]any{"name": "Ana", "deliveryIdentifier": map[string]any{"type": "HS_PHONE_NUMBER", "value": "+34600111222"}}},
		"recipients":          []any{map[string]any{"deliveryIdentifier": map[string]any{"type": "CHANNEL_SPECIFIC_OPAQUE_ID", "value": "100"}}},
		"integrationThreadId": "100:ana", "integrationIdempotencyId": "wamid.1",
	}
	for name, v := range changes {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestInbox_PublishesOnceWhatIsRepeated(t *testing.T) {
	s, path, account := channelAt(t, hubspotsim.Options{}, "")
	older := strings.Replace(path, "/custom-channels/2026-09", "/v3/custom-channels", 1)
	first := ask(t, s, "POST", path+"/messages", message(account, nil))
	again := ask(t, s, "POST", older+"/messages", message(account, map[string]any{"text": "another text"}))
	other := ask(t, s, "POST", path+"/messages", message(account, map[string]any{"integrationIdempotencyId": "wamid.2"}))
	if first.Status != 201 || again.Status != 201 || first.ID == "" || again.ID != first.ID || other.ID == first.ID {
		t.Errorf("published %s, again %s, another %s", first.Body, again.Body, other.Body)
	}
	all := s.InboxMessages()
	if len(all) != 2 || all[0].Text != "hi" || all[0].Published != 2 || all[0].Thread != all[1].Thread || all[0].IntegrationThread != "100:ana" {
		t.Errorf("the inbox has %+v", all)
	}
	if got := ask(t, s, "GET", path+"/messages/"+first.ID, ""); got.Status != 200 || got.ID != first.ID || !strings.Contains(got.Body, `"direction":"INCOMING"`) {
		t.Errorf("got %s", got.Body)
	}
}

func TestInbox_RefusesWhatIsNotWhole(t *testing.T) {
	s, path, account := channelAt(t, hubspotsim.Options{}, "")
	gone := ask(t, s, "POST", path+"/channel-accounts", `{"authorized":true,"inboxId":"72","name":"Other"}`).ID
	s.Disconnect(gone, true)
	phone := func(v string) []any {
		return []any{map[string]any{"deliveryIdentifier": map[string]any{"type": "HS_PHONE_NUMBER", "value": v}}}
	}
	for name, c := range map[string]struct {
		changes map[string]any
		status  int
	}{
		"no text":            {map[string]any{"text": nil}, 400},
		"an empty text":      {map[string]any{"text": ""}, 400},
		"no attachments":     {map[string]any{"attachments": nil}, 400},
		"no time":            {map[string]any{"timestamp": nil}, 400},
		"milliseconds":       {map[string]any{"timestamp": "1700000000000"}, 400},
		"no senders":         {map[string]any{"senders": []any{}}, 400},
		"no recipients":      {map[string]any{"recipients": nil}, 400},
		"no direction":       {map[string]any{"messageDirection": nil}, 400},
		"another direction":  {map[string]any{"messageDirection": "IN"}, 400},
		"no account":         {map[string]any{"channelAccountId": nil}, 400},
		"an unknown account": {map[string]any{"channelAccountId": "999"}, 400},
		"one disconnected":   {map[string]any{"channelAccountId": gone}, 400},
		"no thread":          {map[string]any{"integrationThreadId": nil}, 400},
		"not E.164":          {map[string]any{"senders": phone("600 111 222")}, 400},
		"an e-mail address":  {map[string]any{"senders": []any{map[string]any{"deliveryIdentifier": map[string]any{"type": "HS_EMAIL_ADDRESS", "value": "a@b.example"}}}}, 400},
		"nobody":             {map[string]any{"senders": []any{map[string]any{"name": "Ana"}}}, 400},
		"another business":   {map[string]any{"recipients": phone("+34600111222")}, 400},
		"a key it lacks":     {map[string]any{"idempotencyId": "x"}, 400},
		"an unknown contact": {map[string]any{"associateWithContactId": 12}, 404},
	} {
		if a := ask(t, s, "POST", path+"/messages", message(account, c.changes)); a.Status != c.status || a.Message == "" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if a := ask(t, s, "POST", "/conversations/custom-channels/2026-09/77/messages", message(account, nil)); a.Status != 404 {
		t.Errorf("an unknown channel: %s", a.Body)
	}
	if n := len(s.InboxMessages()); n != 0 {
		t.Errorf("the inbox has %d messages", n)
	}
	s, path, account = channelAt(t, hubspotsim.Options{}, hubspotsim.ThreadsByIdentifier)
	if a := ask(t, s, "POST", path+"/messages", message(account, nil)); a.Status != 400 {
		t.Errorf("a thread of ours where HubSpot makes them: %s", a.Body)
	}
	if a := ask(t, s, "POST", path+"/messages", message(account, map[string]any{"integrationThreadId": nil})); a.Status != 201 {
		t.Errorf("no thread where HubSpot makes them: %s", a.Body)
	}
	s, path, account = channelAt(t, hubspotsim.Options{Scopes: []string{hubspotsim.ScopeChannelWrite}}, "")
	if a := ask(t, s, "GET", path+"/channel-accounts", ""); a.Status != 403 || !strings.Contains(a.Body, hubspotsim.ScopeChannelRead) {
		t.Errorf("without the scope: %s", a.Body)
	}
	if a := ask(t, s, "POST", path+"/messages", message(account, nil)); a.Status != 201 {
		t.Errorf("with the scope: %s", a.Body)
	}
}

func TestInbox_TakesStatusesOfOutgoingMessagesOnly(t *testing.T) {
	s, path, account := channelAt(t, hubspotsim.Options{}, "")
	in := ask(t, s, "POST", path+"/messages", message(account, nil))
	body := message(account, map[string]any{"messageDirection": "OUTGOING", "integrationIdempotencyId": "wamid.2"})
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	m["senders"], m["recipients"] = m["recipients"], m["senders"]
	swapped, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := ask(t, s, "POST", path+"/messages", string(swapped))
	for i, c := range []struct {
		id, body string
		status   int
	}{
		{out.ID, `{"statusType":"READ"}`, 200},
		{out.ID, `{"statusType":"FAILED","errorMessage":"not on WhatsApp"}`, 200},
		{out.ID, `{"statusType":"DELIVERED"}`, 400},
		{out.ID, `{}`, 400},
		{out.ID, `{"status":"READ"}`, 400},
		{in.ID, `{"statusType":"READ"}`, 400},
		{"1", `{"statusType":"READ"}`, 404},
	} {
		if a := ask(t, s, "PATCH", path+"/messages/"+c.id, c.body); a.Status != c.status {
			t.Errorf("%d: %d %s", i, a.Status, a.Body)
		}
	}
	last := s.InboxMessages()[1]
	if fmt.Sprint(last.Statuses) != "[READ FAILED]" || last.Failure != "not on WhatsApp" {
		t.Errorf("the message is %+v", last)
	}
}

func TestInbox_FindsAccountsAndInboxes(t *testing.T) {
	s, path, account := channelAt(t, hubspotsim.Options{}, "")
	for query, want := range map[string]int{
		"": 1, "?deliveryIdentifierValue=100": 1, "?deliveryIdentifierValue=200": 0, "?archived=true": 0,
		"?deliveryIdentifierType=HS_PHONE_NUMBER&deliveryIdentifierValue=100": 0,
	} {
		if a := ask(t, s, "GET", path+"/channel-accounts"+query, ""); a.Status != 200 || a.Total != want {
			t.Errorf("%s: %s", query, a.Body)
		}
	}
	if a := ask(t, s, "GET", path+"/channel-accounts/"+account, ""); a.ID != account {
		t.Errorf("got %s", a.Body)
	}
	for _, bad := range []string{`{"inboxId":"71","name":"x"}`, `{"authorized":true,"inboxId":"1","name":"x"}`,
		`{"authorized":true,"inboxId":"71","name":"x","deliveryIdentifier":{"type":"HS_EMAIL_ADDRESS","value":"a@b.example"}}`} {
		if a := ask(t, s, "POST", path+"/channel-accounts", bad); a.Status != 400 {
			t.Errorf("%s: %s", bad, a.Body)
		}
	}
	for _, p := range []string{"/conversations/v3/conversations/inboxes", "/conversations/conversations/2026-09/inboxes"} {
		if a := ask(t, s, "GET", p, ""); a.Status != 200 || a.Total != 2 {
			t.Errorf("%s: %s", p, a.Body)
		}
	}
}

func TestInbox_TellsWhatAgentsWriteSigned(t *testing.T) {
	s, path, account := channelAt(t, hubspotsim.Options{}, "")
	ask(t, s, "POST", path+"/messages", message(account, nil))
	id, err := s.Answer(s.InboxMessages()[0].Thread, hubspotsim.Answer{Text: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Tell(t.Context(), id, "shh")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("shh"))
	fmt.Fprint(mac, "POST", hook, string(body), r.Header.Get("X-HubSpot-Request-Timestamp"))
	if got := r.Header.Get("X-HubSpot-Signature-v3"); got != base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		t.Errorf("signed %q", got)
	}
	var told struct {
		Type    string
		Threads []string `json:"channelIntegrationThreadIds"`
		Message struct {
			ID, Text   string
			Recipients []struct {
				Identifier hubspotsim.Identifier `json:"deliveryIdentifier"`
			}
		}
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&told); err != nil {
		t.Fatal(err)
	}
	if told.Type != "OUTGOING_CHANNEL_MESSAGE_CREATED" || told.Message.ID != id || told.Message.Text != "hello" || fmt.Sprint(told.Threads) != "[100:ana]" ||
		told.Message.Recipients[0].Identifier != (hubspotsim.Identifier{Type: "HS_PHONE_NUMBER", Value: "+34600111222"}) {
		t.Errorf("told %s", body)
	}
	if _, err := s.Answer("1", hubspotsim.Answer{Text: "x"}); err == nil {
		t.Error("an answer in a thread that is not there")
	}
	if r, err := s.Tell(t.Context(), id, ""); err != nil || r.Header.Get("X-HubSpot-Signature-v3") != "" {
		t.Errorf("without a secret: %v %v", err, r)
	}
}

func TestInbox_ListsAndArchivesTheThreadsOfAContact(t *testing.T) {
	s, path, account := channelAt(t, hubspotsim.Options{}, "")
	ana := ask(t, s, "POST", "/crm/objects/2026-09/contacts", `{"properties":{"firstname":"Ana"},"associations":[]}`).ID
	var id int
	if _, err := fmt.Sscan(ana, &id); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		ask(t, s, "POST", path+"/messages", message(account, map[string]any{
			"associateWithContactId": id, "integrationThreadId": fmt.Sprint(i), "integrationIdempotencyId": fmt.Sprint(i)}))
	}
	const threads = "/conversations/conversations/2026-09/threads"
	list := func(query string) (ids []string, after string) {
		a := ask(t, s, "GET", threads+"?"+query, "")
		for _, r := range a.Results {
			ids = append(ids, r.ID)
		}
		return ids, a.Paging.Next.After
	}
	s.Close(s.InboxMessages()[0].Thread)
	of := "associatedContactId=" + ana
	open, after := list(of + "&threadStatus=OPEN&limit=1")
	rest, end := list(of + "&threadStatus=OPEN&limit=1&after=" + after)
	closed, _ := list(of + "&threadStatus=CLOSED&limit=10")
	if len(open) != 1 || len(rest) != 1 || open[0] == rest[0] || end != "" || len(closed) != 1 || closed[0] != s.InboxMessages()[0].Thread {
		t.Errorf("the threads are %q, %q, %q", open, rest, closed)
	}
	for _, bad := range []string{of + "&limit=10", of + "&threadStatus=OPEN&limit=501", "threadStatus=OPEN&limit=10"} {
		if a := ask(t, s, "GET", threads+"?"+bad, ""); a.Status != 400 {
			t.Errorf("%s: %s", bad, a.Body)
		}
	}
	if a := ask(t, s, "DELETE", threads+"/"+closed[0], ""); a.Status != 204 || !s.InboxMessages()[0].Archived || s.InboxMessages()[1].Archived {
		t.Errorf("archived: %d, %+v", a.Status, s.InboxMessages())
	}
	if a := ask(t, s, "DELETE", threads+"/1", ""); a.Status != 404 {
		t.Errorf("one that is not there: %s", a.Body)
	}
	if closed, _ = list(of + "&threadStatus=CLOSED&limit=10"); len(closed) != 0 {
		t.Errorf("still there: %q", closed)
	}
}
