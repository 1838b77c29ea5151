package customhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
)

var pocketbase = flag.String("pocketbase", "", "the `PROGRAM` PocketBase, as make sdk builds it")

// realServer is PocketBase, prepared as the example's README says.
type realServer struct {
	t       *testing.T
	url     string
	token   string
	account core.Account
}

func startPocketBase(t *testing.T) *realServer {
	t.Helper()
	if *pocketbase == "" {
		t.Skip("PocketBase is needed: make sdk builds it and runs this")
	}
	dir := t.TempDir()
	const user, password = "owner@example.com", "a-password-of-the-test"
	program := func(arguments ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), *pocketbase, append(arguments, "--dir", dir)...)
		cmd.Env = []string{"HOME=" + dir}
		return cmd
	}
	if out, err := program("superuser", "upsert", user, password).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free now
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	cmd := program("serve", "--http", address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s := &realServer{t: t, url: "http://" + address + "/api"}
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(r); err == nil {
			_ = resp.Body.Close()
			break
		} else if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	var signedIn struct{ Token string }
	s.must(http.MethodPost, "/collections/_superusers/auth-with-password", table{"identity": user, "password": password}, &signedIn)
	s.token = signedIn.Token
	collections, err := os.ReadFile("examples/pocketbase/collections.json")
	if err != nil {
		t.Fatal(err)
	}
	s.must(http.MethodPut, "/collections/import", table{"collections": json.RawMessage(collections)}, nil)
	s.must(http.MethodPatch, "/settings", table{"batch": table{"enabled": true, "maxRequests": 50, "timeout": 3}}, nil)

	text, err := os.ReadFile("examples/pocketbase/lane.toml")
	if err != nil {
		t.Fatal(err)
	}
	settings := lane(t, bytes.ReplaceAll(text, []byte("127.0.0.1:8090"), []byte(address)))
	for _, q := range settings["pull"].([]any) {
		q.(table)["start"] = ""
	}
	s.account = core.Account{Tenant: "acme", Lane: "pocketbase", Settings: toJSON(t, settings), Secrets: map[string]core.Secret{"token": core.Secret(s.token)}}
	return s
}

// must makes a request that is a success, as a person at the server would.
func (s *realServer) must(method, path string, body, into any) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(toJSON(s.t, body)))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode > 299 {
		s.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			s.t.Fatal(err)
		}
	}
}

// all is what a collection has, by a field.
func (s *realServer) all(collection, field string) map[string]table {
	s.t.Helper()
	var page struct{ Items []table }
	s.must(http.MethodGet, "/collections/"+collection+"/records?perPage=500&sort="+url.QueryEscape("id"), nil, &page)
	out := map[string]table{}
	for _, item := range page.Items {
		key := fmt.Sprint(item[field])
		if out[key] != nil {
			s.t.Errorf("%s %s is there twice", collection, key)
		}
		out[key] = item
	}
	return out
}

// The example works with the real server, through the plugin's own process.
func TestPocketBase_TakesWhatTheExampleWrites(t *testing.T) {
	s := startPocketBase(t)
	launch := plugin.Self("connectortest-plugin", "undeclared")
	launch.Memory = -1
	var account atomic.Pointer[core.Account]
	account.Store(&s.account)
	host := plugin.NewHost(plugin.HostOptions{
		Name: "custom-http", Tenant: "acme", Lane: "pocketbase", Launch: launch, CrashBudget: 2, Log: slog.New(slog.DiscardHandler),
		Account: func() core.Account { return *account.Load() },
	})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = host.Run(ctx) }()
	defer func() { stop(); <-stopped }()
	if err := host.Check(ctx); err != nil {
		t.Fatal(err)
	}
	deliver := func(events ...*core.Event) map[string]*core.Error {
		t.Helper()
		batch := make([]core.Delivery, len(events))
		for i, e := range events {
			batch[i] = core.Delivery{Event: e, Data: toJSON(t, e), Attempt: 1}
		}
		out := map[string]*core.Error{}
		for _, r := range host.Deliver(ctx, batch) {
			out[r.ID] = r.Err
		}
		return out
	}
	done := func(events ...*core.Event) {
		t.Helper()
		for id, err := range deliver(events...) {
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
		}
	}
	one, two := received(1), received(2)
	for i, e := range []*core.Event{one, two} {
		e.Contact.ID = fmt.Sprintf("c00%dperson", i+1)
		e.Contact.Phone = fmt.Sprintf("+3460011122%d", i+1)
	}
	follow := func(id string, kind core.Kind, change func(e *core.Event)) *core.Event {
		e := &core.Event{ID: id, Kind: kind, Tenant: "acme", Number: one.Number, Time: one.Time, Source: "bridge", Contact: one.Contact}
		change(e)
		return e
	}
	const wamid = "wamid.HBgLOUT=="
	answer := follow("sent-1", core.KindMessageSent, func(e *core.Event) {
		e.Message = &core.Message{ID: wamid, Direction: core.Outbound, Type: core.TypeText, Text: `It is "on" its way, {{.}}`}
	})
	status := func(v core.StatusValue) *core.Event {
		return follow("status-"+string(v), core.KindMessageStatus, func(e *core.Event) { e.Status = &core.Status{MessageID: wamid, Value: v} })
	}
	done(one, two)
	done(one, two) // twice is once
	done(answer)
	done(status(core.StatusDelivered))
	done(status(core.StatusRead))
	done(follow("status-x", core.KindMessageStatus, func(e *core.Event) { e.Status = &core.Status{MessageID: "wamid.never", Value: core.StatusRead} }))
	done(follow("consent", core.KindConsentChanged, func(e *core.Event) { e.Consent = &core.Consent{Marketing: "granted", Suppressed: []string{"stop"}} }))
	done(follow("merge", core.KindContactMerged, func(e *core.Event) { e.Merge = &core.ContactMerge{Contact: *two.Contact} }))

	contacts, messages := s.all("contacts", "id"), s.all("messages", "wamid")
	if c := contacts[one.Contact.ID]; len(contacts) != 2 || c["phone"] != one.Contact.Phone || c["marketing"] != "granted" || c["suppressed"] != "stop" || c["name"] != one.Contact.Name {
		t.Errorf("the contacts are %v", contacts)
	}
	if contacts[two.Contact.ID]["merged_into"] != one.Contact.ID {
		t.Errorf("the one that went is %v", contacts[two.Contact.ID])
	}
	if m := messages[wamid]; len(messages) != 3 || m["status"] != "read" || m["text"] != answer.Message.Text || m["contact"] != one.Contact.ID || m["direction"] != "out" {
		t.Errorf("the messages are %v", messages)
	}
	// One that cannot be is refused alone, with the server's word.
	odd := received(3)
	odd.Contact.ID = "Not An Id"
	three := received(4)
	three.Contact.ID = "c004person"
	if got := deliver(odd, three); got[odd.ID] == nil || got[odd.ID].Code != core.CodeInvalid || !strings.Contains(got[odd.ID].Message, "Failed to create record") || got[three.ID] != nil {
		t.Errorf("a row that cannot be: %v", got)
	}

	// What people change comes back, each once.
	cursor := json.RawMessage(nil)
	tell := func() (out []core.Event) {
		t.Helper()
		for more := true; more; {
			p, err := host.Poll(ctx, cursor)
			if err != nil {
				t.Fatal(err)
			}
			out, cursor, more = append(out, p.Events...), p.Cursor, p.More
		}
		return out
	}
	seen := map[string]bool{}
	for _, e := range tell() {
		seen[e.ID] = true
	}
	s.must(http.MethodPatch, "/collections/contacts/records/"+one.Contact.ID, table{"city": "Vic", "tags": []string{"vip"}}, nil)
	s.must(http.MethodPost, "/collections/outbox/records", table{"phone": "+34600111221", "text": "Come by!", "by": "Olga"}, nil)
	var told []core.Event
	for _, e := range tell() {
		if !seen[e.ID] {
			told = append(told, e)
			seen[e.ID] = true
		}
	}
	if len(told) != 2 || told[0].Kind != core.KindContactChanged || told[0].Contact.Phone != one.Contact.Phone || told[0].Contact.Fields["city"] != "Vic" || told[0].Time.IsZero() ||
		told[1].Kind != core.KindMessageSend || told[1].Message.Text != "Come by!" || told[1].Author != core.AuthorHuman || told[1].By != "Olga" {
		t.Errorf("told: %+v", told)
	}
	for _, e := range tell() {
		if !seen[e.ID] {
			t.Errorf("told anew: %+v", e)
		}
	}
	s.showsSegments(ctx, host, one.Contact.ID, two.Contact.ID)
	list := fmt.Sprint(s.all("contacts", "id")["p0000"]["lists"].([]any)[0])
	s.must(http.MethodPatch, "/collections/contacts/records/"+one.Contact.ID, table{"lists": []string{list}}, nil)
	done(one) // who writes stays on the list
	if c := s.all("contacts", "id")[one.Contact.ID]; fmt.Sprint(c["lists"]) != "["+list+"]" {
		t.Errorf("who wrote is on %v", c["lists"])
	}
	done(follow("erase", core.KindContactErased, func(*core.Event) {}))
	if left := s.all("messages", "wamid"); left[wamid] != nil || len(left) != 2 {
		t.Errorf("erased, there are %v", left)
	}
	over := s.account
	over.Secrets = map[string]core.Secret{"token": "a-token-that-is-over"}
	account.Store(&over)
	for _, e := range []*core.Event{one, status(core.StatusRead)} {
		if err := deliver(e)[e.ID]; err == nil || err.Code != core.CodeUnauthenticated {
			t.Errorf("a token that is over: %v", err)
		}
	}
}

// showsSegments puts people on lists at the server, and asks the connector for them.
func (s *realServer) showsSegments(ctx context.Context, host *plugin.Host, yes, merged string) {
	s.t.Helper()
	add := func(collection string, record table) string {
		var made struct{ ID string }
		s.must(http.MethodPost, "/collections/"+collection+"/records", record, &made)
		return made.ID
	}
	vip, empty := add("lists", table{"name": "Very important"}), add("lists", table{"name": "Nobody"})
	const people = 450 // on three pages
	for i := range people {
		phone := fmt.Sprintf("+3460%07d", i)
		if i == 7 {
			phone = ""
		}
		add("contacts", table{"id": fmt.Sprintf("p%04d", i), "name": "Ada", "phone": phone, "lists": []string{vip}})
	}
	s.must(http.MethodPatch, "/collections/contacts/records/"+merged, table{"lists": []string{vip}}, nil) // is another's now
	for name, want := range map[string]int{"": 3, "IMPORTANT": 1, vip: 1, "yes to": 1, "nothing": 0} {
		if found, err := host.Segments(ctx, name); err != nil || len(found) != want {
			s.t.Errorf("%q: %+v, %v", name, found, err)
		}
	}
	everyone := func(segment string) (all []core.Member) {
		s.t.Helper()
		cursor := json.RawMessage(nil)
		for more := true; more; {
			page, err := host.Members(ctx, segment, cursor)
			if err != nil {
				s.t.Fatal(err)
			}
			all, cursor, more = append(all, page.Members...), page.Cursor, page.More
		}
		return all
	}
	all := everyone(vip)
	if len(all) != people || all[7].ContactRef != "p0007" || all[7].Contact.Name != "Ada" || all[7].Contact.Phone != "" || all[449].Contact.Phone != "+34600000449" {
		s.t.Errorf("%d members: %+v", len(all), all[:min(len(all), 10)])
	}
	if all := everyone("marketing"); len(all) != 1 || all[0].ContactRef != yes {
		s.t.Errorf("who said yes: %+v", all)
	}
	if all := everyone(empty); len(all) != 0 {
		s.t.Errorf("an empty list has %d members", len(all))
	}
	for _, unknown := range []string{"nosuchlist00001", `x" || id != "`, "a/../b?x"} {
		if page, err := host.Members(ctx, unknown, nil); core.CodeOf(err) != core.CodeInvalid {
			s.t.Errorf("%s: %d members, %v", unknown, len(page.Members), err)
		}
	}
}
