package salesforce_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
)

// teller is a bench that is asked what happened, as the bridge asks.
type teller struct {
	*bench
	cursor json.RawMessage
	known  map[string]bool
}

func startTelling(t testing.TB, settings string, reads ...string) *teller {
	t.Helper()
	b := start(t, salesforcesim.Options{}, settings)
	old := b.sim.Create("Case", map[string]any{"Subject": "+34600000009", "Description": "from before"})
	b.sim.Backdate("Case", old, time.Hour)
	b.account.Token.Values["user"] = salesforcesim.Integration
	b.account.Properties = reads
	tl := &teller{bench: b, known: map[string]bool{}}
	if first := tl.poll(); len(first) > 0 {
		t.Fatalf("the first time tells of %v", first)
	}
	return tl
}

// poll asks until there is no more, and returns what was not told before.
func (tl *teller) poll() (fresh []core.Event) {
	tl.t.Helper()
	for range 100 {
		polled, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
		if err != nil {
			tl.t.Fatal(err)
		}
		for _, e := range polled.Events {
			if e.ID == "" {
				tl.t.Errorf("no ID: %+v", e)
			}
			if !tl.known[e.ID] {
				fresh = append(fresh, e)
			}
			tl.known[e.ID] = true
		}
		if tl.cursor = polled.Cursor; !polled.More {
			return fresh
		}
	}
	tl.t.Fatal("there is always more")
	return nil
}

// brief says what events say.
func brief(events []core.Event) []string {
	var lines []string
	for _, e := range events {
		line := string(e.Kind)
		if c := e.Contact; c != nil {
			line += fmt.Sprintf(" %s %v %v", c.Phone, c.Fields, c.Tags)
		}
		if e.Consent != nil {
			line += " " + e.Consent.State + " by " + e.Consent.By
		}
		if m := e.Message; m != nil {
			line += fmt.Sprintf(" to %s: %s %s", m.To.Value, m.Text, e.Author)
			if m.Template != nil {
				line += fmt.Sprintf("%s/%s %s", m.Template.Name, m.Template.Language, m.Template.Components)
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func (tl *teller) wants(what string, want ...string) []core.Event {
	tl.t.Helper()
	got := tl.poll()
	if diff := cmp.Diff(want, brief(got)); diff != "" {
		tl.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	return got
}

const pulling = `{"pull_fields":{"department":"Department"},"pull_tags":"WA_Tags__c","tags_field":""}`

func TestPoll_TellsWhatPeopleChangedAndWhoIsGone(t *testing.T) {
	tl := startTelling(t, pulling, "Email", "Nothing__c")
	ana := tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000001", "WA_Tags__c": "vip; new", "Email": "a@x.example"})
	nobody := tl.sim.Create("Contact", map[string]any{"LastName": "Nobody"})
	got := tl.wants("created", "contact.changed +34600000001 map[department:] [vip new]")
	if diff := cmp.Diff(map[string]any{"Id": ana, "Department": "", "Email": "a@x.example"}, got[0].Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if got[0].ContactRef != ana || time.Since(got[0].Time) > time.Minute {
		t.Errorf("of %q at %v", got[0].ContactRef, got[0].Time)
	}
	tl.wants("nothing happened")
	bob := tl.sim.Create("Contact", map[string]any{"LastName": "Bob", "Phone": "+34600000002", "Department": "Toys"})
	tl.sim.Merge(ana, bob)
	tl.sim.Delete("Contact", nobody)
	tl.poll()
	gone := map[string]bool{}
	for _, e := range tl.again() {
		if e.Kind == core.KindContactGone {
			gone[e.ContactRef] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{bob: true, nobody: true}, gone); diff != "" {
		t.Errorf("gone (-want +got):\n%s", diff)
	}
}

// again asks the same again: for minutes all is told, should the bridge want it.
func (tl *teller) again() []core.Event {
	polled, err := tl.connector.Poll(tl.t.Context(), tl.account, tl.cursor)
	if err != nil {
		tl.t.Fatal(err)
	}
	return polled.Events
}

// What the bridge wrote is no news; what somebody changed before it wrote is, where
// the org keeps the history.
func TestPoll_LeavesOutWhatTheBridgeWrote(t *testing.T) {
	tl := startTelling(t, pulling)
	tl.mustDeliver(received(1))
	tl.wants("its own")
	id := tl.sim.Records("Contact")[0].ID
	for _, tracked := range []bool{false, true} {
		want := []string(nil)
		if tracked {
			tl.sim.Track("Contact", "Department")
			want = []string{"contact.changed +34600000001 map[department:Toys true] []"}
		}
		tl.sim.Edit("Contact", id, map[string]any{"Department": fmt.Sprint("Toys ", tracked)})
		e := received(1)
		e.Message.ID += fmt.Sprint(tracked)
		tl.mustDeliver(e)
		tl.wants(fmt.Sprint("hidden by a write of its own, tracked: ", tracked), want...)
	}
}

// However many are modified in one second, and however late one becomes visible,
// each is told of.
func TestPoll_PassesNobodyOver(t *testing.T) {
	tl := startTelling(t, pulling)
	for i := range 1234 {
		tl.sim.Create("Contact", map[string]any{"LastName": "A", "MobilePhone": fmt.Sprintf("+34600%06d", i)})
	}
	if got := tl.poll(); len(got) != 1234 {
		t.Errorf("%d of 1234 were told", len(got))
	}
	late := tl.sim.Create("Contact", map[string]any{"LastName": "Late", "MobilePhone": "+34611111111"})
	tl.sim.Backdate("Contact", late, 2*time.Minute)
	// Nothing is older than what there was at first: that was before these minutes.
	tl.cursor = json.RawMessage(strings.ReplaceAll(string(tl.cursor), `"began":"1970`, `"began":"1969`))
	tl.wants("late", "contact.changed +34611111111 map[department:] []")
}

func TestPoll_TellsOfConsentThatPeopleEntered(t *testing.T) {
	tl := startTelling(t, `{"consent_from":"Department"}`)
	tl.sim.Track("Contact", "Department")
	ana := tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000001", "Department": "yes"})
	by := " map[] [] "
	tl.wants("made with it", "consent.changed +34600000001"+by+"granted by "+salesforcesim.Person)
	tl.sim.Edit("Contact", ana, map[string]any{"Department": "No"})
	tl.wants("changed", "consent.changed +34600000001"+by+"withdrawn by "+salesforcesim.Person)
	tl.sim.Edit("Contact", ana, map[string]any{"FirstName": "A."})
	tl.wants("something else changed")
	tl.sim.Edit("Contact", ana, map[string]any{"Department": "perhaps"})
	tl.wants("neither")
	known := received(1)
	known.Fields = map[string]any{"Department": "granted"}
	tl.mustDeliver(known)
	tl.wants("the bridge's own word")
}

func TestPoll_SendsWhatPeopleAskFor(t *testing.T) {
	fields := `{"send_object":"Case","send_to_field":"Subject","send_contact_field":"ContactId","send_text_field":"Description",` +
		`"send_template_field":"Origin","send_language_field":"Priority","send_params_field":"Status","escalations":"none"}`
	tl := startTelling(t, fields)
	ana := tl.sim.Create("Contact", map[string]any{"LastName": "Ana", "MobilePhone": "+34600000001"})
	tl.sim.Create("Case", map[string]any{"Subject": "+34600000002", "Description": "hello"})
	tl.sim.Create("Case", map[string]any{"ContactId": ana, "Origin": "offer", "Priority": "es", "Status": "Ana\r\n5 %"})
	draft := tl.sim.Create("Case", map[string]any{"ContactId": ana})
	tl.wants("two",
		`message.send to +34600000001:  humanoffer/es [{"parameters":[{"text":"Ana","type":"text"},{"text":"5 %","type":"text"}],"type":"body"}]`,
		`message.send to +34600000002: hello human`)
	tl.sim.Edit("Case", draft, map[string]any{"Description": "now"})
	tl.wants("it has a text now", `message.send to +34600000001: now human`)
	tl.sim.Edit("Case", draft, map[string]any{"Description": "changed"})
	tl.wants("a message is sent once")
	tl.sim.Edit("Case", tl.sim.Records("Case")[0].ID, map[string]any{"Description": "changed"})
	tl.wants("what was there before is not sent")
}

// The bridge knows for eight days what it was told: what is older than a week is sent no
// more, also when it was changed before the bridge was down for long.
func TestPoll_SendsNothingThatIsOlderThanAWeek(t *testing.T) {
	tl := startTelling(t, `{"send_object":"Case","send_to_field":"Subject","send_text_field":"Description","escalations":"none"}`)
	for text, age := range map[string]time.Duration{"in time": 7*24*time.Hour - time.Minute, "too old": 7*24*time.Hour + time.Minute} {
		id := tl.sim.Create("Case", map[string]any{"Subject": "+34600000002", "Description": text})
		tl.sim.Backdate("Case", id, age)
	}
	tl.cursor = json.RawMessage(`{"outbox":{"at":"1970-01-01T00:00:00Z","high":"1970-01-01T00:00:00Z","seen":"1970-01-01T00:00:00Z","began":"1970-01-01T00:00:00Z"}}`)
	var told []string
	for _, e := range tl.poll() {
		told = append(told, e.Message.Text)
	}
	slices.Sort(told)
	if want := []string{"from before", "in time"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestPoll_SaysThatTooManyFieldsAreRead(t *testing.T) {
	fields := map[string]string{}
	for n := range 400 {
		fields[fmt.Sprint("f", n)] = fmt.Sprintf("%s%03d__c", strings.Repeat("N", 70), n)
	}
	settings, _ := json.Marshal(map[string]any{"pull_fields": fields})
	b := start(t, salesforcesim.Options{}, string(settings))
	for _, name := range fields {
		b.sim.AddField("Contact", salesforcesim.Text(name, 80))
	}
	first, err := b.connector.Poll(t.Context(), b.account, nil) // asks for no fields
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.connector.Poll(t.Context(), b.account, first.Cursor)
	if e := core.AsError(err); e == nil || e.Code != core.CodeForbidden || e.Holds() != core.ScopeLane || !strings.Contains(e.Hint, "settings.pull_fields") {
		t.Errorf("got %+v, want forbidden for the lane, naming pull_fields", e)
	}
}

// However much was changed at once, no consent is missed.
func TestPoll_TellsOfAllConsentThatWasEnteredAtOnce(t *testing.T) {
	const people = 420
	tl := startTelling(t, `{"consent_from":"Department","pull_fields":{"a":"Description","b":"Email","c":"FirstName","d":"Phone"}}`)
	tl.sim.Track("Contact", "Department", "Description", "Email", "FirstName", "Phone")
	ids := make([]string, people)
	for i := range ids {
		ids[i] = tl.sim.Create("Contact", map[string]any{"LastName": "N", "MobilePhone": fmt.Sprintf("+34600000%03d", i)})
	}
	tl.poll()
	for _, id := range ids {
		for _, field := range []map[string]any{{"Department": "opted_out"}, {"Description": "x"}, {"Email": "x@x.example"}, {"FirstName": "x"}, {"Phone": "1"}} {
			tl.sim.Edit("Contact", id, field)
		}
	}
	n := 0
	for _, e := range tl.poll() {
		if e.Kind == core.KindConsentChanged && e.Consent.State == "withdrawn" {
			n++
		}
	}
	if n != people {
		t.Errorf("%d people withdrew, %d are told of", people, n)
	}
}

// Salesforce writes numbers as Java does.
func TestPoll_TellsNumbersAsPeopleWriteThem(t *testing.T) {
	tl := startTelling(t, `{"pull_fields":{"score":"Score__c"}}`)
	tl.sim.AddField("Contact", salesforcesim.Typed("Score__c", "double"))
	for i, n := range []float64{12, 12_345_678, 0.5, 0, -1e-7} {
		tl.sim.Create("Contact", map[string]any{"LastName": "N", "MobilePhone": fmt.Sprint("+3460000000", i), "Score__c": n})
	}
	tl.wants("numbers", "contact.changed +34600000000 map[score:12] []", "contact.changed +34600000001 map[score:12345678] []", "contact.changed +34600000002 map[score:0.5] []",
		"contact.changed +34600000003 map[score:0] []", "contact.changed +34600000004 map[score:-0.0000001] []")
}

func TestPoll_NothingIsAskedUnlessTheSettingsSaySo(t *testing.T) {
	tl := startTelling(t, "")
	if n := len(tl.calls()); n != 0 || tl.cursor != nil {
		t.Errorf("%d calls, cursor %s", n, tl.cursor)
	}
}
