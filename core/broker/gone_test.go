package broker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
)

// keepsRecords has the CRM name its record of each contact, when it makes it.
func (d *describer) keepsRecords() {
	d.do = func(c core.Delivery) core.Result { return core.Result{ContactRef: "r-" + c.Event.Contact.Phone} }
}

// wanting wants some kinds only.
type wanting struct {
	*describer
	kinds []core.Kind
}

func (c wanting) Info(ctx context.Context) (core.ConnectorInfo, error) {
	info, err := c.describer.Info(ctx)
	info.Kinds = c.kinds
	return info, err
}

func goneAtCRM(id, ref string) core.Event {
	return core.Event{ID: id, Kind: core.KindContactGone, ContactRef: ref}
}

// crmRecords are the lane's, by contact.
func (b *bridge) crmRecords() map[string]string {
	b.Helper()
	entries, err := b.store.Range(context.Background(), "acme", bucketRecords, "", 100)
	if err != nil {
		b.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		r, _ := decode[crmRecord](e.Value)
		out[e.Key[strings.Index(e.Key, " ")+1:]] = r.Ref
	}
	return out
}

// Whose record it was is known by what the connector said, and forgotten with it.
func TestGone_IsAboutWhomeverTheRecordWas(t *testing.T) {
	run(t, func(b *bridge) {
		d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
		b.start()
		settled(time.Second)
		b.accept(received("wamid.1", anasPhone, "hi"))
		settled(time.Second)
		ana := b.whoIs(anasPhone)
		told := atCRM("c1", time.Now(), map[string]any{"City": "Rome"})
		told.ContactRef = "r-7"
		d.tells(told)
		settled(2 * time.Minute)
		if diff := cmp.Diff(map[string]string{ana: "r-7"}, b.crmRecords()); diff != "" {
			t.Errorf("told by the CRM (-want +got):\n%s", diff)
		}
		for _, e := range []core.Event{goneAtCRM("g0", ""), goneAtCRM("", "r-7"), goneAtCRM("g1", strings.Repeat("r", 600))} {
			d.tells(e)
			settled(2 * time.Minute)
		}
		if diff := cmp.Diff(map[string]string{ana: "r-7"}, b.crmRecords()); diff != "" {
			t.Errorf("what says nothing changed it (-want +got):\n%s", diff)
		}
		d.tells(goneAtCRM("g2", "r-7"))
		settled(2 * time.Minute)
		if diff := cmp.Diff(map[string]string{}, b.crmRecords()); diff != "" {
			t.Errorf("gone (-want +got):\n%s", diff)
		}
		if p := b.people(); len(p) != 1 || p[0].Fields["city"] != "Rome" {
			t.Errorf("the people are %+v", p)
		}
		b.accept(received("wamid.2", anasPhone, "hi"))
		settled(time.Second)
		if got := b.crm.fields(core.KindMessageReceived); got[len(got)-1]["City"] != "Rome" {
			t.Errorf("then written: %v", got)
		}
	})
}

// Of whom is erased, no record's name is kept, whether or not the CRM can be asked.
func TestGone_NothingIsKeptOfWhoIsErased(t *testing.T) {
	for name, kinds := range map[string][]core.Kind{"asked": {core.KindMessageReceived, core.KindContactErased}, "not asked": {core.KindMessageReceived}} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
				d.keepsRecords()
				inner := b.change
				b.change = func(o *Options) { inner(o); o.Tenants[0].Lanes[0].Sink = wanting{d, kinds} }
				b.start()
				settled(time.Second)
				b.accept(received("wamid.1", anasPhone, "hi"))
				settled(time.Second)
				if len(b.crmRecords()) != 1 {
					t.Fatalf("the records are %v", b.crmRecords())
				}
				b.erase(anasPhone)
				settled(time.Hour)
				if len(b.crmRecords()) != 0 {
					t.Errorf("the records are %v", b.crmRecords())
				}
			})
		})
	}
}

// What was in a record that is gone at the CRM is written whole to the next, and not
// again to one that is there.
func TestGone_WritesWholeWhatWasInTheRecord(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = func(*core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{sets("city", "Vic")}}
		}
		d := b.mapping(texts("City"), false, core.MapRule{Field: "city", Property: "City"})
		d.keepsRecords()
		b.start()
		settled(time.Second)
		write := func(id string) { b.accept(received(id, anasPhone, "hi")); settled(time.Second) }
		write("wamid.1")
		write("wamid.2")
		ana := b.whoIs(anasPhone)
		if diff := cmp.Diff(map[string]string{ana: "r-" + anasPhone}, b.crmRecords()); diff != "" {
			t.Errorf("the records are (-want +got):\n%s", diff)
		}
		for _, e := range []core.Event{goneAtCRM("g1", "r-somebody"), goneAtCRM("g2", "r-"+anasPhone), goneAtCRM("g2", "r-"+anasPhone)} {
			d.tells(e)
			settled(2 * time.Minute)
			write("wamid." + time.Now().String())
		}
		whole := map[string]any{"City": "Vic"}
		want := []map[string]any{whole, nil, nil, whole, nil}
		if diff := cmp.Diff(want, b.crm.fields(core.KindMessageReceived)); diff != "" {
			t.Errorf("what was written (-want +got):\n%s", diff)
		}
		if n := b.ofKind(b.crm, core.KindContactGone); len(n) > 0 || len(b.people()) != 1 || len(b.dead()) > 0 {
			t.Errorf("the CRM was told %d, there are %d people and %d dead letters", len(n), len(b.people()), len(b.dead()))
		}
	})
}
