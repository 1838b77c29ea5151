package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/script"
)

// describer is a source whose CRM says what it has.
type describer struct {
	*source
	mu     sync.Mutex
	schema core.Schema
	err    error
	asked  int
}

func (d *describer) Info(ctx context.Context) (core.ConnectorInfo, error) {
	info, err := d.source.Info(ctx)
	info.Describes = true
	return info, err
}

func (d *describer) Describe(context.Context) (core.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.schema, d.err
}

func texts(names ...string) core.Schema {
	o := core.Object{Name: "contacts"}
	for _, n := range names {
		o.Properties = append(o.Properties, core.Property{Name: n, Type: core.PropertyText})
	}
	return core.Schema{Objects: []core.Object{o}}
}

// mapping gives the bridge's CRM a mapping. What it tells is asked for each minute.
func (b *bridge) mapping(schema core.Schema, suggested bool, rules ...core.MapRule) *describer {
	d := &describer{source: b.pulling(func(n int, _ string) (core.Polled, error) { return polled(n, false) }), schema: schema}
	before := b.change
	b.change = func(o *Options) {
		before(o)
		table, problems := mapping.New(rules, suggested)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		o.Tenants[0].Lanes[0].Sink, o.Tenants[0].Lanes[0].Pull, o.Tenants[0].Lanes[0].Mapping = d, time.Minute, table
	}
	return d
}

// tells has the CRM tell something once.
func (d *describer) tells(e core.Event) {
	d.source.mu.Lock()
	defer d.source.mu.Unlock()
	d.poll = func(n int, _ string) (core.Polled, error) { return polled(n, false, e) }
}

const anasPhone = "+14155550100"

func atCRM(id string, at time.Time, properties map[string]any) core.Event {
	return core.Event{ID: id, Kind: core.KindContactChanged, Time: at, Contact: &core.Contact{Phone: anasPhone}, Fields: properties}
}

// fields are the CRM properties of what a CRM got, by the event's kind and id.
func (s *sink) fields(kind core.Kind) (out []map[string]any) {
	for _, t := range s.taken() {
		if t.event.Kind == kind {
			out = append(out, t.event.Fields)
		}
	}
	return out
}

func sets(name, value string) script.Action {
	return script.Action{Type: script.ActionSetField, Name: name, Value: value}
}

func TestMapping_WritesWhatIsKnownWithEachEvent(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = func(*core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{sets("city", "Vic"), says("hello")}, Fields: map[string]any{"name2": "by the script", "extra": "x"}}
		}
		b.mapping(texts("city", "count", "last", "name", "name2", "out"), false,
			core.MapRule{Field: "city", Property: "city"}, core.MapRule{Field: "messages_in", Property: "count"}, core.MapRule{Field: "messages_out", Property: "out"},
			core.MapRule{Field: "name", Property: "name"}, core.MapRule{Field: "name", Property: "name2"}, core.MapRule{Field: "company", Property: "compny"})
		b.start()
		settled(time.Second)
		b.accept(received("wamid.1", anasPhone, "hi"))
		settled(time.Second)
		b.accept(received("wamid.2", anasPhone, "hi again"))
		settled(time.Second)
		want := []map[string]any{
			{"city": "Vic", "count": "1", "out": "0", "name": "Ana", "name2": "by the script", "extra": "x"},
			{"count": "2", "out": "1", "name": "Ana", "name2": "by the script", "extra": "x"},
		}
		if diff := cmp.Diff(want, b.crm.fields(core.KindMessageReceived)); diff != "" {
			t.Errorf("what came (-want +got):\n%s", diff)
		}
		sent := b.crm.fields(core.KindMessageSent)
		if len(sent) != 2 || sent[0]["out"] != "1" || sent[0]["name"] != "Ana" || sent[0]["city"] != nil {
			t.Errorf("what was sent: %v, want what the bridge alone knows, as it was then", sent)
		}
		if n := len(b.dead()); n > 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestMapping_GoesBothWaysWithoutEcho(t *testing.T) {
	run(t, func(b *bridge) {
		other := &sink{}
		d := b.mapping(texts("City", "Mail"), false, core.MapRule{Field: "city", Property: "City"}, core.MapRule{Field: "email", Property: "Mail"})
		inner := b.change
		b.change = func(o *Options) {
			inner(o)
			table, _ := mapping.New([]core.MapRule{{Field: "city", Property: "Town"}}, false)
			o.Tenants[0].Lanes = append(o.Tenants[0].Lanes, Lane{Name: "other", Connector: "test", Sink: other, MaxBatch: 10, Mapping: table})
		}
		b.start()
		b.accept(received("wamid.1", anasPhone, "hi"))
		settled(time.Second)
		d.tells(atCRM("v1", time.Now(), map[string]any{"City": "Tainan", "Mail": "nobody"}))
		settled(2 * time.Minute)
		got, err := b.Contact(b.Context(), "acme", anasPhone)
		if err != nil || got.Fields["city"] != "Tainan" || got.Fields["email"] != "" {
			t.Errorf("the contact is %+v, %v", got, err)
		}
		if f := other.fields(core.KindContactChanged); len(f) != 1 || !cmp.Equal(f[0], map[string]any{"Town": "Tainan"}) {
			t.Errorf("the other CRM got %v: want its own property", f)
		}
		if f := b.crm.fields(core.KindContactChanged); len(f) != 0 {
			t.Errorf("the CRM that said so got %v", f)
		}
		d.tells(atCRM("v1 again", time.Now(), map[string]any{"City": "Tainan", "Mail": "nobody"}))
		settled(2 * time.Minute)
		if n, m := len(b.crm.fields(core.KindContactChanged)), len(other.fields(core.KindContactChanged)); n != 0 || m != 1 {
			t.Errorf("told again what is known, they got %d and %d changes", n, m)
		}
	})
}

func TestMapping_WritesBackWhatCountsHere(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = func(*core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{sets("city", "Vic")}}
		}
		d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City", Conflict: "whatsapp"})
		b.start()
		settled(time.Second)
		b.accept(received("wamid.1", anasPhone, "hi"))
		settled(time.Second)
		d.tells(atCRM("v1", time.Now().Add(time.Second), map[string]any{"City": "Tainan"}))
		settled(2 * time.Minute)
		got, _ := b.Contact(b.Context(), "acme", anasPhone)
		f := b.crm.fields(core.KindContactChanged)
		if got.Fields["city"] != "Vic" || len(f) == 0 || !cmp.Equal(f[len(f)-1], map[string]any{"City": "Vic"}) {
			t.Errorf("the city is %q, the CRM got %v", got.Fields["city"], f)
		}
	})
}

func TestMapping_LeavesTheSayToTheCRM(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = func(*core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{sets("city", "Vic")}}
		}
		d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City", Conflict: "crm"})
		d.tells(atCRM("v1", time.Now(), map[string]any{"City": "Tainan"}))
		b.start()
		settled(2 * time.Minute)
		b.accept(received("wamid.1", anasPhone, "hi"))
		settled(time.Second)
		got, _ := b.Contact(b.Context(), "acme", anasPhone)
		if got.Fields["city"] != "Tainan" || len(b.crm.fields(core.KindContactChanged)) > 0 {
			t.Errorf("the city is %q, the CRM got %v", got.Fields["city"], b.crm.fields(core.KindContactChanged))
		}
		if notes := b.notes("wamid.1"); !strings.Contains(notes, "a CRM has the say") {
			t.Errorf("why: %s", notes)
		}
	})
}

func TestMapping_LetsTheScriptHaveTheLastWord(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
		inner := b.change
		b.change = func(o *Options) {
			inner(o)
			o.Scripts = hooked{scripts(func(e *core.Event) script.Decision {
				if e.Kind != core.KindContactChanged {
					return script.Decision{}
				}
				return script.Decision{Changes: []script.Action{sets("city", fmt.Sprint(e.Fields["City"], "!"))}}
			}), script.MapFromCRM}
		}
		d.tells(atCRM("v1", time.Now(), map[string]any{"City": "Tainan"}))
		b.start()
		settled(5 * time.Minute)
		got, _ := b.Contact(b.Context(), "acme", anasPhone)
		f := b.crm.fields(core.KindContactChanged)
		if got.Fields["city"] != "Tainan!" || len(f) != 1 || !cmp.Equal(f[0], map[string]any{"City": "Tainan!"}) {
			t.Errorf("the city is %q, the CRM got %v", got.Fields["city"], f)
		}
	})
}

func TestMapping_TakesConsentByTheRulesOfConsent(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("OptIn", "Why"), false, core.MapRule{Field: "marketing_consent", Property: "OptIn", Values: map[string]string{"granted": "Yes", "withdrawn": "No"}},
			core.MapRule{Field: "suppressed", Property: "Why"})
		b.start()
		settled(time.Second)
		told := 0
		says := func(v string) string {
			told++
			d.tells(atCRM(fmt.Sprint("v", told), time.Now(), map[string]any{"OptIn": v}))
			settled(2 * time.Minute)
			got, err := b.Contact(b.Context(), "acme", anasPhone)
			if err != nil {
				t.Fatal(err)
			}
			return string(got.Consent.Levels["marketing"].State)
		}
		if got := says("Yes"); got != "granted" {
			t.Errorf("the CRM's yes is %q", got)
		}
		b.accept(received("wamid.1", anasPhone, "STOP"))
		settled(time.Second)
		came := b.crm.fields(core.KindMessageReceived)
		if len(came) != 1 || !cmp.Equal(came[0], map[string]any{"OptIn": "No", "Why": "stop"}) {
			t.Errorf("with the STOP the CRM was told %v", came)
		}
		if got := says("Yes"); got != "withdrawn" {
			t.Errorf("after STOP the CRM's yes makes it %q", got)
		}
	})
}

func TestMapping_IsFittedToWhatTheCRMHas(t *testing.T) {
	run(t, func(b *bridge) {
		schema := texts("City")
		schema.Objects[0].Properties[0].Length = 3
		schema.Mapping = []core.MapRule{{Field: "name", Property: "City"}, {Field: "messages_in", Property: "count"}}
		d := b.mapping(core.Schema{}, true)
		d.err = core.Errorf(core.CodeUnavailable, "describe", "down")
		b.start()
		settled(time.Second)
		b.accept(received("wamid.1", "+14155550101", "hi"))
		settled(time.Second)
		if f := b.crm.fields(core.KindMessageReceived); len(f) != 1 || len(f[0]) > 0 {
			t.Errorf("before it is known what the CRM has, it got %v", f)
		}
		d.mu.Lock()
		d.schema, d.err = schema, nil
		d.mu.Unlock()
		settled(describeRetry)
		b.accept(received("wamid.2", "+14155550101", "hi"))
		settled(time.Second)
		if f := b.crm.fields(core.KindMessageReceived); !cmp.Equal(f[1], map[string]any{"City": "Ana"}) {
			t.Errorf("it got %v: want what is there, as long as it may be", f[1])
		}
		d.mu.Lock()
		d.err = core.Errorf(core.CodeUnavailable, "describe", "down")
		d.mu.Unlock()
		b.stop()
		b.start()
		b.accept(received("wamid.3", "+14155550101", "hi"))
		settled(time.Second)
		if f := b.crm.fields(core.KindMessageReceived); len(f) != 3 || !cmp.Equal(f[2], map[string]any{"City": "Ana"}) {
			t.Errorf("after a restart while the CRM is down it got %v", f)
		}
		d.mu.Lock()
		asked := d.asked
		d.err, d.schema.Objects[0].Properties = nil, append(slices.Clone(schema.Objects[0].Properties), core.Property{Name: "count", Type: core.PropertyNumber})
		d.mu.Unlock()
		settled(describeRetry)
		b.accept(received("wamid.4", "+14155550101", "hi"))
		settled(time.Second)
		if f := b.crm.fields(core.KindMessageReceived); f[3]["count"] != 4.0 {
			t.Errorf("with a new property it got %v", f[3])
		}
		settled(describeEvery - time.Minute)
		d.mu.Lock()
		if d.asked != asked+1 {
			t.Errorf("asked %d times within an hour", d.asked-asked)
		}
		d.mu.Unlock()
	})
}

// What a CRM tells before it is known what it has is not lost for the mapping: it waits,
// unless the CRM will not say what it has.
func TestMapping_WaitsForWhatTheCRMHas(t *testing.T) {
	for _, test := range []struct {
		code  core.Code
		waits bool
	}{{core.CodeUnavailable, true}, {core.CodeUnauthenticated, true}, {core.CodeForbidden, false}} {
		run(t, func(b *bridge) {
			d := b.mapping(texts("lang"), false, core.MapRule{Field: "language", Property: "lang"})
			d.err = core.Errorf(test.code, "describe", "not now")
			d.tells(atCRM("v1", time.Now(), map[string]any{"lang": "pt_BR"}))
			b.start()
			settled(5 * time.Minute)
			if known := len(b.people()) > 0; known == test.waits {
				t.Errorf("%s: the contact is known: %v", test.code, known)
			}
			d.mu.Lock()
			d.err = nil
			d.mu.Unlock()
			settled(2 * describeRetry)
			if all := b.people(); test.waits && (len(all) != 1 || all[0].Fields["language"] == "") {
				t.Errorf("%s: the language is not known: %+v", test.code, all)
			}
		})
	}
}

// So does what a CRM says by calling the bridge: its call is not read before; when that takes
// too long, it is told to call again.
func TestMapping_WaitsForWhatTheCRMHasWhenItCalls(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("lang"), false, core.MapRule{Field: "language", Property: "lang"})
		d.err = core.Errorf(core.CodeUnavailable, "describe", "not now")
		reads := 0
		d.hook = func(core.WebhookRequest) (core.WebhookAnswer, error) {
			reads++
			return core.WebhookAnswer{Status: 200, Events: []core.Event{atCRM("v1", time.Now(), map[string]any{"lang": "pt_BR"})}}, nil
		}
		b.start()
		settled(time.Second)
		calls := func() error {
			_, err := b.CRMWebhook(b.Context(), "acme", "crm", core.WebhookRequest{Body: []byte("x")})
			return err
		}
		if err := calls(); core.CodeOf(err) != core.CodeUnavailable || reads > 0 {
			t.Errorf("while it is not known what the CRM has: %v, read %d times", err, reads)
		}
		d.mu.Lock()
		d.err = nil
		d.mu.Unlock()
		if err := calls(); err != nil || reads != 1 {
			t.Errorf("%v, read %d times", err, reads)
		}
		settled(time.Second)
		if all := b.people(); len(all) != 1 || all[0].Fields["language"] == "" {
			t.Errorf("the language is not known: %+v", all)
		}
	})
}

// What a CRM says of a person's language and time zone is used.
func TestMapping_TellsWhichLanguageAndTimeZone(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("lang", "zone"), false, core.MapRule{Field: "language", Property: "lang"}, core.MapRule{Field: "time_zone", Property: "zone"})
		d.tells(atCRM("v1", time.Now(), map[string]any{"lang": "pt_BR", "zone": "Asia/Tokyo"}))
		b.start()
		settled(2 * time.Minute)
		b.accept(received("wamid.1", anasPhone, "stop"))
		settled(time.Second)
		said := b.wa.taken()
		if want := consent.TextsFor(nil, "pt").Stop; len(said) != 1 || said[0].event.Message.Text != want {
			t.Errorf("said %+v, want %q", said, want)
		}
		zones := b.tenants["acme"].zones(&core.Contact{Phone: anasPhone, Fields: map[string]string{"time_zone": "Asia/Tokyo"}})
		if len(zones) != 1 || zones[0].String() != "Asia/Tokyo" {
			t.Errorf("the person may be in %v", zones)
		}
	})
}

// What was agreed on is about the record of one contact: a merge does not take it
// over.
func TestMapping_SurvivesAMerge(t *testing.T) {
	a := &person{Contact: core.Contact{ID: "a", Phone: "+14155550100", Fields: map[string]string{"city": "Vic"}}, Set: map[string]mapping.Mark{"city": {By: "script"}}}
	b := &person{Contact: core.Contact{ID: "b", BSUID: "US.1", Fields: map[string]string{"email": "a@b.example", "city": "Jaca"}},
		Set: map[string]mapping.Mark{"email": {By: "crm"}, "city": {By: "crm"}}, Agreed: map[string]map[string]mapping.Agreed{"crm": {"Mail": {Sum: "x"}}}}
	got := joinPeople(a, b)
	if got.Fields["city"] != "Vic" || got.Set["city"].By != "script" || got.Set["email"].By != "crm" || len(got.Agreed) > 0 {
		t.Errorf("joined: %+v %+v %+v", got.Fields, got.Set, got.Agreed)
	}
}

// A property that the CRM does not take costs no message, and is looked at soon.
func TestMapping_FailsNoMessage(t *testing.T) {
	run(t, func(b *bridge) {
		b.crm.do = func(d core.Delivery) core.Result {
			e := d.Event
			if _, gone := e.Fields["count"]; gone || e.Message != nil && e.Message.Text == "odd" {
				return core.Result{Err: core.Errorf(core.CodeInvalid, "write", "no property count")}
			}
			return core.Result{}
		}
		d := b.mapping(texts("count", "own"), false, core.MapRule{Field: "messages_in", Property: "count"})
		b.scripts = func(*core.Event) script.Decision { return script.Decision{Fields: map[string]any{"own": "x"}} }
		b.start()
		settled(time.Second)
		d.mu.Lock()
		d.schema = texts("own")
		d.mu.Unlock()
		b.accept(received("wamid.1", anasPhone, "hi"), received("wamid.2", "+14155550102", "odd"))
		settled(time.Second)
		dead := b.dead()
		if len(dead) != 1 || !strings.Contains(string(dead[0].Event), "wamid.2") {
			t.Errorf("dead letters: %+v", dead)
		}
		if notes := b.notes("wamid.1"); !strings.Contains(notes, "without the properties of the mapping, which the CRM refuses: write: no property count") {
			t.Errorf("why: %s", notes)
		}
		got := b.crm.fields(core.KindMessageReceived)
		if last := got[len(got)-1]; len(got) != 4 || !cmp.Equal(last, map[string]any{"own": "x"}) {
			t.Errorf("it got %v", got)
		}
		settled(describeRetry)
		b.accept(received("wamid.3", anasPhone, "hi"))
		settled(time.Second)
		if got := b.crm.fields(core.KindMessageReceived); len(got) != 5 {
			t.Errorf("after it was asked what it has, it got %v: want one attempt", got)
		}
	})
}

// Subscriptions are told of what was sent, whether or not a CRM has a mapping.
func TestMapping_LeavesSubscriptionsWhatTheyAreToldOf(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
		b.start()
		s := b.subscribe(SubscriptionRequest{Kinds: []core.Kind{core.KindMessageSent}})
		id := b.order("k1", ana, "hello")
		settled(time.Second)
		page, err := b.Mailbox(t.Context(), "acme", s.ID, "", 10)
		if err != nil || len(page.Events) != 1 || !strings.Contains(string(page.Events[0]), id+"#1") {
			t.Errorf("the mailbox has %s, %v", page.Events, err)
		}
	})
}
