package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/roster"
)

func (b *bridge) imports(apply bool, people ...roster.Person) []string {
	b.Helper()
	for i := range people {
		people[i].Line = i + 2
	}
	rep, err := b.ImportContacts(context.Background(), ImportRequest{
		Tenant: "acme", Run: "run1", File: "people.csv", By: "maria", Apply: apply, People: people})
	if err != nil || rep.Wait != "" {
		b.Fatalf("%+v, %v", rep, err)
	}
	var out []string
	for _, p := range rep.People {
		out = append(out, p.Outcome+": "+strings.Join(p.Notes, "; "))
	}
	return out
}

func listed(name string, numbers ...string) roster.Person {
	p := roster.Person{Name: name}
	for _, n := range numbers {
		p.Phones = append(p.Phones, roster.Phone{Number: n})
	}
	return p
}

func (b *bridge) wantImported(got []string, want ...string) {
	b.Helper()
	if len(got) != len(want) {
		b.Fatalf("%q, want %q", got, want)
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			b.Errorf("row %d: %q, want %q", i+2, got[i], w)
		}
	}
}

func TestImport_TwiceIsOnce(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(who{phone: "553196883193", bsuid: "BR.1"}.wrote("1", hour(1), "a"))
		known := b.people()[0]
		list := func() []roster.Person {
			more := listed("Bia", "+5531996883193") // with the ninth digit, WhatsApp writes without
			more.Tags, more.Fields = []string{"vip"}, map[string]string{"city": "BH"}
			again := listed("", "+34600111222", "+34600111333")
			other := listed("Carla")
			other.BSUID = "ES.9"
			return []roster.Person{more, listed("Berto", "+34600111222"), again, other}
		}
		before := fmt.Sprint(keysOf(b.people()))
		b.wantImported(b.imports(false, list()...), "changed: tagged vip; the field city; the name", "new: ", "changed: new: ", "new: ")
		if after := fmt.Sprint(keysOf(b.people())); after != before {
			t.Fatalf("a preview changed %s to %s", before, after)
		}
		b.crm.tries = nil
		b.wantImported(b.imports(true, list()...), "changed: tagged vip", "new: ", "changed: new: …33", "new: ")
		settled(time.Second)
		b.wantPeople("bsuid:BR.1 phone:+5531996883193", "bsuid:ES.9", "phone:+34600111222 phone:+34600111333")
		if got := b.crm.taken(); len(got) != 3 {
			t.Errorf("the CRM was told %v", b.crm.kinds())
		}
		p := b.people()[slices.IndexFunc(b.people(), func(p *person) bool { return p.ID == known.ID })]
		if p.Name != "Bia" || p.Profile != "Ana" || p.Phone != "+553196883193" || p.Fields["city"] != "BH" || !slices.Contains(p.Tags, "vip") {
			t.Errorf("who wrote before is now %+v", p)
		}
		b.crm.tries = nil
		b.wantImported(b.imports(true, list()...), "same: ", "same: ", "same: ", "same: ")
		settled(time.Second)
		if got := b.crm.taken(); len(got) != 0 {
			t.Errorf("the CRM was told again: %v", b.crm.kinds())
		}
		// Whoever is in the list and writes is who they are.
		b.webhooks(who{phone: "34600111333"}.wrote("2", time.Now(), "b"))
		b.wantPeople("bsuid:BR.1 phone:+5531996883193", "bsuid:ES.9", "phone:+34600111222 phone:+34600111333")
		story, err := b.Why(context.Background(), "acme", "import-run1-2")
		if err != nil || story.Steps[0].Step != "imported" || !strings.Contains(story.Steps[0].Notes[0], "line 2 of people.csv, by maria") {
			t.Errorf("%+v, %v", story, err)
		}
	})
}

func TestImport_LeavesConflictsToPeople(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.webhooks(who{phone: "34600111222"}.wrote("1", hour(1), "a"), who{bsuid: "ES.1"}.wrote("2", hour(1), "b"),
			who{phone: "34600111444", bsuid: "ES.4"}.wrote("3", hour(1), "c"))
		both := listed("x", "+34600111222")
		both.BSUID = "ES.1"
		second := listed("y", "+34600111444")
		second.BSUID = "ES.5"
		got := b.imports(true, both, second)
		b.wantImported(got, "conflict: ", "conflict: the number is ")
		if !strings.Contains(got[0], "wabridge contact merge c") || strings.Contains(got[0], "111222") {
			t.Errorf("%q", got[0])
		}
		b.wantPeople("bsuid:ES.1", "bsuid:ES.4 phone:+34600111444", "phone:+34600111222")
	})
}

func TestImport_NeverWeakensAnOptOut(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		b.start()
		yes := func(number string) roster.Person {
			p := listed("", number)
			p.Consent = &roster.Consent{State: "granted", Source: "form", Evidence: "box ticked", At: time.Now()}
			return p
		}
		no := listed("", "+34600111333")
		no.Consent = &roster.Consent{State: "withdrawn"}
		bare := yes("+34600111444")
		bare.Consent.Evidence = ""
		b.write("wamid.1", ana, "STOP")
		b.change1("k", berto, core.Consent{Level: "marketing", State: "withdrawn"})
		settled(time.Hour)
		const fresh = "+34600111555"
		list := []roster.Person{yes(ana), yes(berto), no, bare, yes(fresh)}
		b.wantImported(b.imports(true, list...), "the consent is not taken: suppressed", "the consent is not taken: marketing consent was withdrawn",
			"marketing consent withdrawn", "needs a source and evidence", "marketing consent granted")
		settled(time.Second)
		for _, who := range []string{ana, berto, "+34600111333", "+34600111444"} {
			if st, err := b.Consent(context.Background(), "acme", who); err != nil || st.MayMarket {
				t.Errorf("%+v, %v", st, err)
			}
		}
		proof, err := b.ProveConsent(context.Background(), "acme", fresh)
		if err != nil || !proof.Whole || !proof.Status.MayMarket || len(proof.Entries) != 1 || proof.Entries[0].Source != consent.File ||
			proof.Entries[0].Details.Evidence != "form: box ticked" || proof.Entries[0].Details.By != "maria" {
			t.Errorf("%+v, %v", proof, err)
		}
		b.imports(true, list...)
		if again, err := b.ProveConsent(context.Background(), "acme", fresh); err != nil || len(again.Entries) != 1 {
			t.Errorf("again: %d entries, %v", len(again.Entries), err)
		}
		// Nor does erasing and importing again.
		if e := b.erase(ana); e.State != ErasureDone {
			t.Fatalf("%+v", e)
		}
		b.wantImported(b.imports(true, yes(ana)), "new: ")
		if st, err := b.Consent(context.Background(), "acme", ana); err != nil || st.MayMarket || len(st.Suppressed) != 1 {
			t.Errorf("erased and back: %+v, %v", st, err)
		}
		// With a double opt-in nobody is entered by a list.
		b.stop()
		b.withPolicy(Policy{DoubleOptIn: true})
		b.start()
		b.wantImported(b.imports(true, yes("+34600111666")), "double_opt_in")
	})
}

func TestImport_WaitsForACRMThatHasMuchToDo(t *testing.T) {
	run(t, func(b *bridge) {
		b.crm.do = func(core.Delivery) core.Result {
			return core.Result{Err: core.Errorf(core.CodeUnavailable, "write", "down")}
		}
		b.start()
		var rep ImportReport
		n := 0
		for ; rep.Wait == "" && n < 20; n++ {
			var people []roster.Person
			for i := range MaxImport {
				people = append(people, listed("", fmt.Sprintf("+3460%02d%05d", n, i)))
			}
			var err error
			rep, err = b.ImportContacts(context.Background(), ImportRequest{Tenant: "acme", Run: "r", By: "maria", Apply: true, People: people})
			if err != nil {
				t.Fatal(err)
			}
		}
		if n != 6 || !strings.Contains(rep.Wait, "crm/crm") || len(rep.People) != 0 {
			t.Errorf("after %d batches: %+v", n, rep.Wait)
		}
		quiet, err := b.ImportContacts(context.Background(), ImportRequest{
			Tenant: "acme", Run: "r", By: "maria", Apply: true, Quiet: true, People: []roster.Person{listed("", "+34699999999")}})
		if err != nil || len(quiet.People) != 1 {
			t.Errorf("%+v, %v", quiet, err)
		}
	})
}

func TestImport_RefusesWhatNoListHas(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		for name, r := range map[string]ImportRequest{
			"no tenant": {Tenant: "x", Run: "r", By: "m"}, "no run": {Tenant: "acme", By: "m"}, "a run with a sign": {Tenant: "acme", By: "m", Run: "a#1"}, "nobody's": {Tenant: "acme", Run: "r"},
			"a person without a key": {Tenant: "acme", Run: "r", By: "m", People: []roster.Person{{Name: "x"}}},
			"a number that is none":  {Tenant: "acme", Run: "r", By: "m", People: []roster.Person{listed("", "0912345678")}},
			"too many":               {Tenant: "acme", Run: "r", By: "m", People: make([]roster.Person, MaxImport+1)},
			"a state that is none": {Tenant: "acme", Run: "r", By: "m", People: []roster.Person{
				{Phones: []roster.Phone{{Number: ana}}, Consent: &roster.Consent{State: "maybe"}}}},
		} {
			if _, err := b.ImportContacts(context.Background(), r); core.CodeOf(err) != core.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A number that WhatsApp cannot deliver to is marked, until it can.
func TestImport_KnowsNumbersThatGetNothing(t *testing.T) {
	run(t, func(b *bridge) {
		b.start()
		b.write("wamid.1", ana, "hi")
		b.order("k", ana, "hello")
		settled(2 * time.Second)
		failed := statusOf("x", "wamid.out.1", core.StatusFailed)
		failed.Contact, failed.Status.Opaque = &core.Contact{Phone: ana}, ""
		failed.Status.Errors = []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
		b.accept(failed)
		settled(2 * time.Second)
		recs, err := b.ContactRecords(context.Background(), "acme", "", 10)
		if err != nil || len(recs.Contacts) != 1 || recs.Contacts[0].Undeliverable.IsZero() {
			t.Fatalf("%+v, %v", recs, err)
		}
		b.wantImported(b.imports(true, listed("", ana)), "changed: WhatsApp could not deliver to this number on 2000-01-01; tagged "+roster.DisabledTag)
		b.write("wamid.2", ana, "I am here")
		if recs, err = b.ContactRecords(context.Background(), "acme", "", 10); err != nil || !recs.Contacts[0].Undeliverable.IsZero() {
			t.Errorf("%+v, %v", recs, err)
		}
	})
}

func TestExport_HasAllThatIsHeld(t *testing.T) {
	run(t, func(b *bridge) {
		chatty(b)
		b.crm.do = func(core.Delivery) core.Result { return core.Result{Ref: "crm-77"} }
		b.start()
		b.write("wamid.a1", ana, "my secret order")
		b.write("wamid.b1", berto, "not mine")
		b.write("wamid.a2", ana, "subscribe")
		b.crm.do = func(core.Delivery) core.Result {
			return core.Result{Err: core.Errorf(core.CodeInvalid, "write", "no")}
		}
		b.write("wamid.a3", ana, "my secret dead letter")
		x, err := b.ExportContact(context.Background(), "acme", ana)
		if err != nil {
			t.Fatal(err)
		}
		all := string(mustJSON(x))
		for _, want := range []string{"my secret order", "my secret dead letter", "Elm Street", "crm-77", ana, `"evidence":"subscribe"`} {
			if !strings.Contains(all, want) {
				t.Errorf("the export is without %q", want)
			}
		}
		if strings.Contains(all, "not mine") || strings.Contains(all, berto) {
			t.Error("the export has another person's")
		}
		if len(x.Contacts) != 1 || len(x.Conversations) != 1 || len(x.Escalations) != 1 || len(x.DeadLetters) == 0 || len(x.Messages) == 0 ||
			len(x.History) == 0 || len(x.Records) != 1 || len(x.Consent) < 2 || x.Truncated {
			t.Errorf("%d contacts, %d conversations, %d escalations, %d dead, %d messages, %d steps, %d records, %d consents", len(x.Contacts),
				len(x.Conversations), len(x.Escalations), len(x.DeadLetters), len(x.Messages), len(x.History), len(x.Records), len(x.Consent))
		}
		recs, err := b.ContactRecords(context.Background(), "acme", "", 1)
		if err != nil || len(recs.Contacts) != 1 || recs.Next == "" {
			t.Fatalf("%+v, %v", recs, err)
		}
		rest, err := b.ContactRecords(context.Background(), "acme", recs.Next, 1)
		if err != nil || len(rest.Contacts) != 1 || rest.Next != "" || rest.Contacts[0].ID == recs.Contacts[0].ID {
			t.Errorf("%+v, %v", rest, err)
		}
	})
}
