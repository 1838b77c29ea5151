package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
)

// found are the IDs that a query finds, over all pages, and by what.
func (b *bridge) found(q ContactQuery) (ids []string, by string) {
	b.Helper()
	q.Tenant = "acme"
	for {
		page, err := b.FindContacts(context.Background(), q)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range page.Contacts {
			ids, by = append(ids, c.ID), c.By
		}
		if q.After = page.Next; q.After == "" {
			return ids, by
		}
	}
}

// whoIs is the ID of the contact that a number or user id leads to.
func (b *bridge) whoIs(who string) string {
	b.Helper()
	v, err := b.Contact(context.Background(), "acme", who)
	if err != nil {
		b.Fatal(err)
	}
	return v.ID
}

func TestFindContacts_ByWhateverIsKnownOfThem(t *testing.T) {
	run(t, func(b *bridge) {
		b.change = func(o *Options) { o.Tenants[0].Region = "TW" }
		b.scripts = func(e *core.Event) script.Decision {
			return script.Decision{Version: "v1", Actions: []script.Action{{Type: script.ActionTag, Tag: e.Message.Text}}}
		}
		b.crm.do = func(d core.Delivery) core.Result { return core.Result{Ref: "record-" + d.Event.Contact.ID} }
		b.start()
		b.webhooks(who{"886912345678", "TW.1", ""}.wrote("wamid.1", hour(1), "vip"), who{phone: "5215512345678"}.wrote("wamid.2", hour(2), "vip"),
			who{bsuid: "US.7"}.wrote("wamid.3", hour(3), "other"))
		v, err := b.Contact(context.Background(), "acme", "TW.1")
		if r := v.Identities[len(v.Identities)-1]; err != nil || r.Kind != "record" || r.Value != "record-"+v.ID || r.Source != "crm/crm" || r.First.IsZero() {
			b.Errorf("known by %+v, %v", v.Identities, err)
		}
		tw, mx, us := b.whoIs("bsuid:TW.1"), b.whoIs("+525512345678"), b.whoIs("US.7")
		for _, c := range []struct {
			q    ContactQuery
			want []string
			by   string
		}{
			{ContactQuery{Text: "0912-345-678"}, []string{tw}, "phone"},
			{ContactQuery{Text: "+886 912 345 678"}, []string{tw}, "phone"},
			{ContactQuery{Text: "phone:+886912345678"}, []string{tw}, "phone"},
			{ContactQuery{Text: "+52 55 1234 5678"}, []string{mx}, "phone"},
			{ContactQuery{Text: "TW.1"}, []string{tw}, "bsuid"},
			{ContactQuery{Text: us}, []string{us}, "id"},
			{ContactQuery{Text: "wamid.3"}, []string{us}, "record"},
			{ContactQuery{Text: "record-" + mx}, []string{mx}, "record"},
			{ContactQuery{Text: "record-" + mx, Tag: "other"}, nil, ""},
			{ContactQuery{Text: "AN"}, []string{tw, mx, us}, "name"},
			{ContactQuery{Text: "an", Limit: 1}, []string{tw, mx, us}, "name"},
			{ContactQuery{Text: "@Ana"}, []string{tw, mx, us}, "username"},
			{ContactQuery{Tag: "vip"}, []string{tw, mx}, "tag"},
			{ContactQuery{Text: "an", Tag: "other"}, []string{us}, "name"},
			{ContactQuery{}, []string{tw, mx, us}, ""},
			{ContactQuery{Text: "0987-654-321"}, nil, ""},
			{ContactQuery{Text: "nobody"}, nil, ""},
			{ContactQuery{Text: us + "/" + number}, nil, ""},
		} {
			slices.Sort(c.want)
			if got, by := b.found(c.q); !slices.Equal(got, c.want) || by != c.by {
				b.Errorf("%+v finds %q by %q, want %q by %q", c.q, got, by, c.want, c.by)
			}
		}
		if _, err := b.FindContacts(context.Background(), ContactQuery{Tenant: "other"}); core.CodeOf(err) != core.CodeInvalid {
			b.Errorf("another tenant: %v", err)
		}
	})
}

func TestContact_IsAllThatIsKnown(t *testing.T) {
	run(t, func(b *bridge) {
		b.scripts = escalates
		b.start()
		b.webhooks(who{phone: "886912345678"}.wrote("1", time.Now(), "returns"), who{bsuid: "TW.1"}.wrote("2", time.Now(), "returns"),
			who{"886912345678", "TW.1", ""}.wrote("3", time.Now(), "returns"))
		v, err := b.Contact(context.Background(), "acme", "bsuid:TW.1")
		if err != nil {
			b.Fatal(err)
		}
		if len(v.Identities) != 3 || v.Identities[0].Kind != "bsuid" || v.Identities[1].Value != "+886912345678" || v.Identities[1].Source != "whatsapp" ||
			v.Identities[1].First.IsZero() || v.Identities[2].Kind != "username" || v.Since.IsZero() {
			b.Errorf("known by %+v", v.Identities)
		}
		if len(v.Conversations) != 1 || v.Conversations[0].In != 3 || v.Conversations[0].Escalation == "" || v.Consent.Contact != v.ID {
			b.Errorf("conversations %+v, consent %+v", v.Conversations, v.Consent)
		}
		if len(v.Merges) != 1 || v.Merges[0].Survivor != v.ID || v.Merges[0].By != "webhook" || v.Merges[0].Event != "3" {
			b.Fatalf("merges %+v", v.Merges)
		}
		gone, err := b.Contact(context.Background(), "acme", v.Merges[0].ID)
		if err != nil || gone.MergedInto != v.ID || len(gone.Merges) != 1 {
			b.Errorf("the other is %+v, %v", gone, err)
		}
		for _, who := range []string{"", "c", v.ID + "/" + number, "+886900000000"} {
			if _, err := b.Contact(context.Background(), "acme", who); !errors.Is(err, store.ErrNotFound) || strings.Contains(err.Error(), "900000") {
				b.Errorf("%q: %v", who, err)
			}
		}
	})
}
