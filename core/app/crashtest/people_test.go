//go:build linux && !race

package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// A bridge that is killed while it merges two contacts, or takes them apart, has
// done so when it is started again, or not: nothing in between.
func TestCrash_MergesAreWholeOrNotAtAll(t *testing.T) {
	bin := build(t)
	for _, step := range []string{"identity-before-commit", "identity-after-commit"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, bin, filepath.Join(t.TempDir(), "data"))
			b := w.start()
			b.ready()
			w.wa.Receive(whatsappsim.Inbound{From: "34600111222", Name: "Ana", Text: "Ask one"},
				whatsappsim.Inbound{From: "886912345678", Name: "Bo", Text: "Ask two"}, whatsappsim.Inbound{From: "886912345678", Name: "Bo", Text: "three"})
			ana, bo := "+34600111222", "+886912345678"
			if !await(20*time.Second, func() bool { return w.contact(ana).ID != "" && w.contact(bo).ID != "" && w.waiting() == 0 }) {
				t.Fatalf("nobody came: %s", b.log)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := w.wa.Wait(ctx); err != nil { // statuses, which say people's names
				t.Fatal(err)
			}
			if !await(20*time.Second, func() bool { return w.waiting() == 0 }) {
				t.Fatal("events wait")
			}
			a, o := w.contact(ana), w.contact(bo)
			apart := w.both(a.ID, o.ID)
			b.kill()

			merge := map[string]any{"with": o.ID, "by": "crash", "reason": "a test"}
			w.diesAt(step, a.ID+"/merge", merge)
			b = w.start()
			b.ready()
			done := w.contact(o.ID).MergedInto != ""
			if want := step == "identity-after-commit"; done != want {
				t.Errorf("merged: %v, want %v", done, want)
			}
			if !done {
				if now := w.both(a.ID, o.ID); now != apart {
					t.Errorf("they are\n%s\nand were\n%s", now, apart)
				}
				w.post(a.ID+"/merge", merge)
			}
			if one := w.contact(ana); one.ID != a.ID || w.contact(bo).ID != a.ID || one.Conversations[0].In != 3 || len(one.Merges) != 1 {
				t.Errorf("merged they are %+v", one)
			}
			one := w.both(a.ID, o.ID)
			b.kill()

			w.diesAt(step, o.ID+"/unmerge", map[string]any{"by": "crash", "reason": "a test"})
			b = w.start()
			b.ready()
			now := w.both(a.ID, o.ID)
			if step == "identity-before-commit" {
				if now != one {
					t.Errorf("they are\n%s\nand were\n%s", now, one)
				}
			} else if was := w.withApart(apart, a.ID, o.ID); now != was || w.contact(bo).ID != o.ID {
				t.Errorf("they are\n%s\nand were\n%s", now, was)
			}
			if err := b.stop(); err != nil {
				t.Error(err)
			}
			if err := w.sound(); err != nil {
				t.Error(err)
			}
		})
	}
}

// contact is what the bridge knows of somebody; zero when that is nothing.
func (w *world) contact(who string) (v broker.ContactView) {
	if w.api("/api/v1/contacts/"+url.PathEscape(who), &v) != nil {
		return broker.ContactView{}
	}
	return v
}

// both is what is known of two contacts, as text: without what CRMs call them,
// which comes whenever the CRM has answered.
func (w *world) both(a, b string) string {
	w.t.Helper()
	views := []broker.ContactView{w.contact(a), w.contact(b)}
	for i := range views {
		views[i].Identities = slices.DeleteFunc(views[i].Identities, func(i broker.Identity) bool { return i.Kind == "record" })
	}
	text, err := json.MarshalIndent(views, "", " ")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// withApart is what both returned, with that each is not the other.
func (w *world) withApart(text, a, b string) string {
	w.t.Helper()
	var views []broker.ContactView
	if err := json.Unmarshal([]byte(text), &views); err != nil {
		w.t.Fatal(err)
	}
	views[0].Apart, views[1].Apart = []string{b}, []string{a}
	out, err := json.MarshalIndent(views, "", " ")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(out)
}

// diesAt starts a bridge that kills itself at a step, and asks it for something.
func (w *world) diesAt(step, path string, body any) {
	w.t.Helper()
	b := w.start("WABRIDGE_FAILPOINT=" + step + ":1")
	b.ready()
	if err := w.ask(path, body); err == nil {
		w.t.Errorf("%s was answered", path)
	}
	if !await(10*time.Second, b.gone) || !b.killedItself() {
		w.t.Fatalf("the bridge did not die at %s:\n%s", step, b.log)
	}
}

func (w *world) post(path string, body any) {
	w.t.Helper()
	if err := w.ask(path, body); err != nil {
		w.t.Fatal(err)
	}
}

// ask posts something about a contact.
func (w *world) ask(path string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.url+"/api/v1/contacts/"+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+apiToken)
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}
