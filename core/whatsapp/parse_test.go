package whatsapp

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wabridge/wabridge/core"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenBodies returns the bodies of testdata/webhook, by name.
func goldenBodies(t testing.TB) map[string]*txtar.Archive {
	t.Helper()
	files, err := filepath.Glob("testdata/webhook/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	all := map[string]*txtar.Archive{}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Files) != 2 || a.Files[0].Name != "body.json" || a.Files[1].Name != "updates" {
			t.Fatalf("%s: want body.json and updates", file)
		}
		all[file] = a
	}
	return all
}

// TestParse_Golden holds the events of webhooks still: each testdata/webhook/*.txtar
// has a body and the updates that come of it.
func TestParse_Golden(t *testing.T) {
	for file, a := range goldenBodies(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			body := a.Files[0].Data
			updates, err := Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			got := printed(t, updates)
			if *update {
				a.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[1].Data), got); diff != "" {
				t.Errorf("updates (-want +got; -update rewrites):\n%s", diff)
			}
			// White space in a body is no difference.
			var compact bytes.Buffer
			if err := json.Compact(&compact, body); err != nil {
				t.Fatal(err)
			}
			again, err := Parse(compact.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			for i := range again {
				if strings.HasPrefix(again[i].Event.ID, "wh-") {
					again[i].Event.ID = updates[i].Event.ID // a hash of the bytes
					if m := again[i].Event.Message; m != nil && strings.HasPrefix(m.ID, "wh-") {
						m.ID = updates[i].Event.ID
					}
				}
			}
			if diff := cmp.Diff(got, printed(t, again)); diff != "" {
				t.Errorf("updates of the compact body (-want +got):\n%s", diff)
			}
		})
	}
}

// printed prints updates for people, raws on one line.
func printed(t *testing.T, updates []Update) string {
	t.Helper()
	var b strings.Builder
	for _, u := range updates {
		raw := u.Event.Raw
		u.Event.Raw = nil
		event, err := json.MarshalIndent(u.Event, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("  \"tenant\": \"\",\n", "", "  \"accepted\": \"0001-01-01T00:00:00Z\",\n", "").Replace(string(event))
		fmt.Fprintf(&b, "number %q waba %q\n%s\n", u.Number, u.WABA, text)
		if raw != nil {
			var compact bytes.Buffer
			if err := json.Compact(&compact, raw); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "raw %s\n", &compact)
		}
	}
	return b.String()
}

func TestParse_TheTwoWaysAgree(t *testing.T) {
	known := 0
	for file, a := range goldenBodies(t) {
		body := a.Files[0].Data
		var e envelope
		if decodeStrict(body, &e) != nil {
			continue
		}
		fast, ok := parseKnown(&e)
		if !ok {
			continue
		}
		known++
		if diff := cmp.Diff(fast, parseWithCare(body)); diff != "" {
			t.Errorf("%s (-at once +with care):\n%s", file, diff)
		}
	}
	if known < 8 {
		t.Errorf("%d bodies are known in every field: does decoding at once still work?", known)
	}
}

func TestParse_RefusesOnlyWhatIsNotJSON(t *testing.T) {
	for _, body := range []string{"", "{", "hello", `{"entry":[]}}`, `{"entry":[]} {}`, "{\"entry\":[\x00]}", "<html>", `{"entry":[{"id":1e}]}`} {
		updates, err := Parse([]byte(body))
		if core.CodeOf(err) != core.CodeInvalid || updates != nil {
			t.Errorf("Parse(%q) = %v, %v; want CodeInvalid", body, updates, err)
		}
	}
	for body, want := range map[string]int{
		`{}`: 0, ` {"entry": null } `: 0, `null`: 0, `{"object":"x"}`: 0, `[]`: 1, `"text"`: 1, `5`: 1, `{"entry":{}}`: 1,
		`{"entry":[{}]}`: 1, `{"entry":[{"changes":[{}]}]}`: 1, `{"entry":[null]}`: 0, `{"entry":[{"changes":[null]}]}`: 0,
		`{"entry":[{"changes":[{"field":"messages","value":{"messages":[null]}}]}]}`: 1,
	} {
		updates, err := Parse([]byte(body))
		if err != nil || len(updates) != want {
			t.Errorf("Parse(%s) = %d updates, %v; want %d", body, len(updates), err, want)
		}
		for _, u := range updates {
			if u.Event.Kind != core.KindUnknown || len(u.Event.Raw) == 0 {
				t.Errorf("Parse(%s): kind %s, raw %s; want unknown, with raw", body, u.Event.Kind, u.Event.Raw)
			}
		}
	}
}

func TestParse_DerivesTheSameIDsEachTime(t *testing.T) {
	ids := map[string]string{}
	for file, a := range goldenBodies(t) {
		first, _ := Parse(a.Files[0].Data)
		second, _ := Parse(a.Files[0].Data)
		for i := range first {
			id := first[i].Event.ID
			if id != second[i].Event.ID {
				t.Errorf("%s: %q, then %q", file, id, second[i].Event.ID)
			}
			if strings.HasPrefix(id, "wh-") && ids[id] != "" {
				t.Errorf("%s and %s share the id %s", file, ids[id], id)
			}
			if core.RootID(id) != id {
				t.Errorf("%s: id %q reads as one that follows from another", file, id)
			}
			ids[id] = file
		}
	}
	change := `{"entry":[{"id":"1","time":%d,"changes":[{"field":"security","value":{"event":"PIN_CHANGED"}}]}]}`
	a, _ := Parse(fmt.Appendf(nil, change, 1780000000))
	b, _ := Parse(fmt.Appendf(nil, change, 1780000001))
	if a[0].Event.ID == b[0].Event.ID {
		t.Errorf("the same change at another time has the same id %s", a[0].Event.ID)
	}
}

func TestParse_TakesAThousandUpdatesInOneBody(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"object":"whatsapp_business_account","entry":[`)
	for entry := range 10 {
		if entry > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"waba%d","changes":[`, entry)
		for change := range 10 {
			if change > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"field":"messages","value":{"metadata":{"phone_number_id":"n%d"},"statuses":[`, change)
			for status := range 10 {
				if status > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, `{"id":"wamid.%d.%d.%d","status":"sent","timestamp":"1780000000","recipient_id":"34600111222"}`, entry, change, status)
			}
			b.WriteString(`]}}`)
		}
		b.WriteString(`]}`)
	}
	b.WriteString(`]}`)
	updates, err := Parse([]byte(b.String()))
	if err != nil || len(updates) != 1000 {
		t.Fatalf("%d updates, %v", len(updates), err)
	}
	last := updates[999]
	if last.WABA != "waba9" || last.Number != "n9" || last.Event.ID != "wamid.9.9.9/sent" {
		t.Errorf("last = %s %s %s", last.WABA, last.Number, last.Event.ID)
	}
}

func TestParse_BoundsTheEventsOfOneBody(t *testing.T) {
	body := []byte(`{"entry":[{"changes":[` + strings.Repeat(`{},`, maxUpdates) + `{}]}]}`)
	updates, err := Parse(body)
	if err != nil || len(updates) != 1 || len(updates[0].Event.Raw) != len(body) {
		t.Errorf("%d updates, %v; want one with all of the body", len(updates), err)
	}
}

func TestFlexTime_TakesSecondsAndMillisecondsInAnyForm(t *testing.T) {
	want := time.Unix(1780000000, 0).UTC()
	for in, want := range map[string]time.Time{
		`"1780000000"`: want, `1780000000`: want, `1780000000000`: want, `"1780000000000"`: want,
		`"soon"`: {}, `null`: {}, `{}`: {}, `-5`: {}, `0`: {}, `1.5`: {}, `1e400`: {}, `99999999999999999999`: {}, `""`: {},
	} {
		var got flexTime
		if err := json.Unmarshal([]byte(in), &got); err != nil || !got.Equal(want) {
			t.Errorf("%s = %v, %v; want %v", in, got.Time, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, a := range goldenBodies(f) {
		f.Add(a.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		updates, err := Parse(body)
		if (err == nil) != json.Valid(body) {
			t.Fatalf("Parse: %v, but json.Valid = %v", err, json.Valid(body))
		}
		again, _ := Parse(body)
		if diff := cmp.Diff(updates, again); diff != "" {
			t.Fatalf("another result the second time:\n%s", diff)
		}
		for _, u := range updates {
			e := u.Event
			if e.Contact != nil && e.Contact.Phone != "" {
				if a := (core.Address{Kind: core.AddressPhone, Value: e.Contact.Phone}); a.Validate() != nil {
					t.Errorf("phone number %q", e.Contact.Phone)
				}
			}
			if e.ID == "" || core.RootID(e.ID) != e.ID || len(e.ID) > 2*maxMessageID {
				t.Errorf("id %q", e.ID)
			}
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatalf("the event cannot be stored: %v", err)
			}
			var stored core.Event
			if err := json.Unmarshal(data, &stored); err != nil {
				t.Fatalf("the event cannot be read back: %v\n%s", err, data)
			}
			switch e.Kind {
			case core.KindMessageReceived:
				if e.Message == nil || e.Contact == nil || e.Message.ID != e.ID {
					t.Errorf("a message without itself, its author or its id: %s", data)
				}
			case core.KindMessageStatus:
				if e.Status == nil || !core.StatusAccepted.Advances(e.Status.Value) {
					t.Errorf("a status that is none: %s", data)
				}
			case core.KindMessageSent:
				if e.Message == nil || e.Contact == nil || e.Message.Direction != core.Outbound {
					t.Errorf("an echo that is nobody's: %s", data)
				}
				if human := e.Author == core.AuthorHuman; human != (e.Source == "phone" || e.Source == SourceHistory) || !human && e.Source != SourceStandby {
					t.Errorf("an echo of source %q by %q", e.Source, e.Author)
				}
			case core.KindMessageEdited, core.KindMessageRevoked:
				if e.Message == nil || e.Contact == nil || !usableID(e.Message.ID) || e.Message.Direction == "" {
					t.Errorf("a change of no message: %s", data)
				}
				if e.Kind == core.KindMessageRevoked && e.Message.Text != "" {
					t.Errorf("a message that was taken back, with its text: %s", data)
				}
			case core.KindThreadMoved:
				if e.Contact == nil || e.Number == "" {
					t.Errorf("a thread of nobody: %s", data)
				}
			case core.KindGroupChanged:
				if e.GroupChange == nil || e.Group == "" {
					t.Errorf("a change of no group: %s", data)
				}
			case core.KindAccountChanged:
				c := e.AccountChange
				if c == nil || c.Field == "" || c.Text == "" || len(e.Raw) == 0 || (c.Alarm != "" || c.Over || c.Stops != nil) && c.About == "" {
					t.Errorf("a change of an account that says nothing: %s", data)
				}
			case core.KindLimitChanged:
				if e.LimitChange == nil || e.LimitChange.PeoplePerDay == 0 && e.LimitChange.MessagesPerSecond == 0 {
					t.Errorf("a limit without one: %s", data)
				}
			case core.KindConsentChanged:
				if e.Consent == nil || e.Contact == nil || e.Consent.State == "" || e.Time.IsZero() {
					t.Errorf("a preference without its choice, its person or its time: %s", data)
				}
			case core.KindTemplateChanged:
				if e.TemplateChange == nil || e.TemplateChange.Name == "" {
					t.Errorf("a template without a name: %s", data)
				}
			case core.KindUnknown:
				if len(e.Raw) == 0 {
					t.Errorf("something unknown that is lost: %s", data)
				}
			default:
				t.Errorf("kind %s", e.Kind)
			}
		}
	})
}
