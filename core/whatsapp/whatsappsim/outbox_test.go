package whatsappsim_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func TestSim_MovesMessagesThroughTheirStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{StatusDelay: time.Second, Seed: 1})
		s.Receive(whatsappsim.Inbound{BSUID: "GB.42", ParentBSUID: "GB.ENT.43", Name: "Sam", Username: "@sam", Text: "hi"})
		synctest.Wait()
		b.posts = nil
		began := time.Now()
		sam := read(t, send(s, `{"messaging_product":"whatsapp","recipient":"GB.42","biz_opaque_callback_data":"mine","text":{"body":"x"}}`)).Messages[0]["id"]
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"sent " + sam, "delivered " + sam, "read " + sam}, b.told(t)); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		for i, p := range b.posts {
			if got, want := p.at.Sub(began), time.Duration(i+1)*time.Second; got != want {
				t.Errorf("status %d came after %v, want %v", i, got, want)
			}
			if got := whatsappsim.Sign("secret", p.body); got != p.signature {
				t.Errorf("signature %s, want %s", p.signature, got)
			}
		}
		v := values(t, b.posts[0].body)[0]
		wantStatus := map[string]any{
			"id": sam, "status": "sent", "timestamp": fmt.Sprint(began.Unix() + 1), "recipient_user_id": "GB.42",
			"recipient_parent_user_id": "GB.ENT.43", "biz_opaque_callback_data": "mine",
			"pricing": map[string]any{"billable": false, "pricing_model": "PMP", "type": "free_customer_service", "category": "service"},
		}
		wantContact := map[string]any{"profile": map[string]any{"name": "Sam"}, "user_id": "GB.42", "parent_user_id": "GB.ENT.43"}
		if diff := cmp.Diff([]map[string]any{wantStatus}, v.Statuses); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]map[string]any{wantContact}, v.Contacts); diff != "" {
			t.Errorf("contacts of sent (-want +got):\n%s", diff)
		}
		wantContact["profile"] = map[string]any{"name": "Sam", "username": "@sam"}
		v = values(t, b.posts[2].body)[0]
		if diff := cmp.Diff([]map[string]any{wantContact}, v.Contacts); diff != "" {
			t.Errorf("contacts of read (-want +got):\n%s", diff)
		}
		if v.Statuses[0]["pricing"] != nil {
			t.Errorf("pricing comes a third time: %v", v.Statuses[0])
		}
		if got := s.Ledger().Sends[0].Status; got != "read" {
			t.Errorf("the ledger says %s", got)
		}

		b.posts = nil
		s.Fail(whatsappsim.Rule{Do: whatsappsim.DoFail, Code: 131049, Count: 1})
		failed := read(t, send(s, text(""))).Messages[0]["id"]
		reaction := read(t, send(s, `{"messaging_product":"whatsapp","to":"+34600111222","type":"reaction","reaction":{"message_id":"w","emoji":"x"}}`)).Messages[0]["id"]
		digits := read(t, send(s, `{"messaging_product":"whatsapp","to":"US.13491208655302741918","text":{"body":"x"}}`)).Messages[0]["id"]
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"failed " + failed, "sent " + reaction, "failed " + digits}, b.told(t)); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		v = values(t, b.posts[0].body)[0]
		if st := v.Statuses[0]; len(v.Contacts) != 0 || st["recipient_user_id"] != nil || st["recipient_id"] != "34600111222" ||
			!strings.Contains(fmt.Sprint(st["errors"]), "131049") {
			t.Errorf("a failure tells %v and of %v", st, v.Contacts)
		}
	})
}

func TestSim_GathersStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{StatusDelay: 10 * time.Millisecond, BatchStatuses: time.Second})
		for range 700 {
			send(s, text(""))
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(b.told(t)); n != 2100 {
			t.Errorf("%d statuses, want 2100", n)
		}
		sizes := make([]int, 0, len(b.posts))
		for _, p := range b.posts {
			n := 0
			for _, v := range values(t, p.body) {
				n += len(v.Statuses)
			}
			sizes = append(sizes, n)
		}
		if diff := cmp.Diff([]int{1000, 1000, 100}, sizes); diff != "" {
			t.Errorf("statuses by webhook (-want +got):\n%s", diff)
		}
	})
}

func TestSim_RepeatsWebhooksUntilTheyAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{answer: func(n int) int {
			if status := map[int]int{1: 503, 2: 500, 3: 202, 4: 404}[n]; status != 0 {
				return status
			}
			return 200
		}}
		s := start(t, b, whatsappsim.Options{RetryMin: time.Second, RetryMax: 3 * time.Second})
		began := time.Now()
		id := s.Receive(whatsappsim.Inbound{From: "34600111222", Text: "hi"})[0]
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		var after []time.Duration
		for _, p := range b.posts {
			after = append(after, p.at.Sub(began)/time.Second)
			if !bytes.Equal(p.body, b.posts[0].body) {
				t.Error("repeated with another body")
			}
		}
		if diff := cmp.Diff([]time.Duration{0, 1, 3, 6, 9}, after); diff != "" {
			t.Errorf("posted after seconds (-want +got):\n%s", diff)
		}
		u := s.Ledger().Updates[0]
		if u.ID != id || u.From != "34600111222" || u.Posts != 5 || u.Acks != 1 || !u.Posted.Equal(began) || !u.Acked.Equal(began.Add(9*time.Second)) {
			t.Errorf("ledger: %+v", u)
		}
		if st := s.Stats(); st.Posts != 5 || st.Refused != 4 || st.Acked != 1 || st.Pending != 0 {
			t.Errorf("stats: %+v", st)
		}
	})
}

func TestSim_IsUnrulyOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{Webhooks: whatsappsim.Webhooks{Double: .5, Reorder: .5, DropStatus: .5, Escape: .5}, Seed: 3})
		var want []string
		for i := range 200 {
			want = append(want, "message "+s.Receive(whatsappsim.Inbound{From: fmt.Sprintf("34600%06d", i), Text: "ñ/👋"})[0])
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := b.told(t)
		distinct := slices.Compact(slices.Sorted(slices.Values(got)))
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), distinct); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		if n := len(got) - len(want); n < 70 || n > 130 {
			t.Errorf("%d came twice, want about 100 of 200", n)
		}
		first := make([]string, 0, len(want)) // in the order in which they came
		for _, id := range got {
			if !slices.Contains(first, id) {
				first = append(first, id)
			}
		}
		if slices.Equal(first, want) {
			t.Error("they came in order")
		}
		escaped := 0
		for _, p := range b.posts {
			if bytes.Contains(p.body, []byte(`\u00f1\/\ud83d\udc4b`)) {
				escaped++
			} else if !bytes.Contains(p.body, []byte(`ñ/👋`)) {
				t.Fatalf("body %s", p.body)
			}
			if p.signature != whatsappsim.Sign("secret", p.body) {
				t.Error("not signed as it is sent")
			}
		}
		if share := float64(escaped) / float64(len(b.posts)); share < .35 || share > .65 {
			t.Errorf("%d of %d were escaped, want about half", escaped, len(b.posts))
		}
		s.SetWebhooks(whatsappsim.Webhooks{DropStatus: .5})
		b.posts = nil
		for range 100 {
			send(s, text(""))
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(b.told(t)); n < 110 || n > 190 {
			t.Errorf("%d of 300 statuses came, want about half", n)
		}
	})
}

func TestSim_BatchesAccountsAndNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{Numbers: []whatsappsim.Number{
			{ID: "1", DisplayNumber: "34910000001", WABA: "A"}, {ID: "2", DisplayNumber: "34910000002", WABA: "A"}, {ID: "3", DisplayNumber: "4930000003", WABA: "B"},
		}})
		var batch []whatsappsim.Inbound
		for i := range 1500 {
			batch = append(batch, whatsappsim.Inbound{Number: fmt.Sprint(i%3 + 1), From: fmt.Sprintf("34600%06d", i%10), Text: "x"})
		}
		ids := s.ReceiveBatch(batch...)
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(b.posts) != 2 || len(ids) != 1500 || len(b.told(t)) != 1500 {
			t.Fatalf("%d webhooks with %d messages, want 2 with 1500", len(b.posts), len(b.told(t)))
		}
		got := map[string]int{}
		for _, v := range values(t, b.posts[0].body) {
			got[v.Metadata["phone_number_id"]] += len(v.Messages)
			if len(v.Contacts) != 10 {
				t.Errorf("%d contacts, want each of 10 once", len(v.Contacts))
			}
		}
		if diff := cmp.Diff(map[string]int{"1": 334, "2": 333, "3": 333}, got); diff != "" {
			t.Errorf("messages by number (-want +got):\n%s", diff)
		}
		for _, u := range s.Ledger().Updates {
			if u.Acked.IsZero() || u.Acks != 1 {
				t.Fatalf("%+v is not acknowledged once", u)
			}
		}
	})
}

func TestWebhooks_TellOfTheFourKindsOfPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{}
		s := start(t, b, whatsappsim.Options{})
		s.Receive(
			whatsappsim.Inbound{From: "34600111222", Text: "no username"},
			whatsappsim.Inbound{BSUID: "GB.42", Username: "@sam", Text: "username, no phone"},
			whatsappsim.Inbound{From: "34600111223", BSUID: "ES.2", Username: "@eva", Text: "username and phone"},
			whatsappsim.Inbound{BSUID: "GB.42", ParentBSUID: "GB.ENT.43", Username: "@sam", Text: "parent"},
		)
		synctest.Wait()
		var got []string
		for _, p := range b.posts {
			v := values(t, p.body)[0]
			keys := slices.Concat(slices.Sorted(maps.Keys(v.Contacts[0])), []string{"|"}, slices.Sorted(maps.Keys(v.Messages[0])))
			got = append(got, strings.Join(keys, " "))
		}
		want := []string{
			"profile user_id wa_id | from from_user_id id text timestamp type",
			"profile user_id | from_user_id id text timestamp type",
			"profile user_id wa_id | from from_user_id id text timestamp type",
			"parent_user_id profile user_id | from_parent_user_id from_user_id id text timestamp type",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	})
}

func TestSim_ForgetsNothingWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{answer: func(int) int { return 503 }}
		s := whatsappsim.New(whatsappsim.Options{Client: b, WebhookURL: "http://bridge.example", Concurrency: 1})
		s.Receive(whatsappsim.Inbound{From: "34600111222", Text: "x"})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
		if got := s.Stats().Pending; got != 1 {
			t.Errorf("pending: %d, want 1", got)
		}
		ended, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Wait(ended); err == nil {
			t.Error("Wait: nothing to wait for?")
		}
		b.answer = nil
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { _ = s.Wait(ctx); cancel() }()
		_ = s.Run(ctx)
		if got := s.Stats(); got.Pending != 0 || got.Acked != 1 {
			t.Errorf("after another Run: %+v", got)
		}
	})
}
