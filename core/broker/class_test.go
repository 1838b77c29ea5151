package broker

import (
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
)

func TestClassAsked_FollowsFromTheAuthor(t *testing.T) {
	for _, c := range []struct {
		said   core.Class
		author string
		want   core.Class
	}{
		{"", "", core.ClassTransaction},
		{"", "bot", core.ClassTransaction},
		{"", core.AuthorHuman, core.ClassReply},
		{core.ClassCampaign, core.AuthorHuman, core.ClassCampaign},
	} {
		if got, err := classAsked(c.said, c.author); got != c.want || err != nil {
			t.Errorf("said %q by %q: %q, %v; want %q", c.said, c.author, got, err, c.want)
		}
	}
	if _, err := classAsked("urgent", ""); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("a class that is none: %v", err)
	}
}

func TestClass_IsOnWhatIsSentAndToldOf(t *testing.T) {
	run(t, func(b *bridge) {
		b.noSync = true
		b.scripts = reply("hello")
		b.start()
		b.accept(received("wamid.1", ana, "hi"))
		settled(time.Second)
		b.order("k1", ana, "your order", func(r *SendRequest) { r.Class = core.ClassCampaign })
		settled(time.Second)
		for i, want := range []core.Class{core.ClassReply, core.ClassCampaign} {
			if got := b.wa.taken()[i].event.Class; got != want {
				t.Errorf("message %d is a %q, want %q", i, got, want)
			}
		}
		crm := b.crm.taken()
		if last := crm[len(crm)-1].event; last.Kind != core.KindMessageSent || last.Class != core.ClassCampaign {
			t.Errorf("the CRM is told of a %q of class %q", last.Kind, last.Class)
		}
	})
}
