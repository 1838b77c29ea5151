package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/template"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

const waba = "102290129340398" // of the sim's first number

// meta is WhatsApp's side of the templates: the client before the imitation.
type meta struct {
	*whatsappsim.Sim
	down atomic.Bool
	lose atomic.Bool // the answers to what is made get lost
	made atomic.Int64
	seen atomic.Int64
}

func (m *meta) RoundTrip(r *http.Request) (*http.Response, error) {
	m.seen.Add(1)
	if m.down.Load() {
		return nil, errors.New("no route")
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/message_templates") {
		m.made.Add(1)
	}
	if r.Method == http.MethodPost && m.lose.Load() {
		return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody, Request: r}, nil
	}
	return w.Result(), nil
}

// withMeta gives the bridge's number an account with templates.
func (b *bridge) withMeta(o whatsappsim.Options) *meta {
	b.Helper()
	m := &meta{Sim: whatsappsim.New(o)}
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{Transport: m, OpaqueKey: testKey, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.change = func(o *Options) {
		t := &o.Tenants[0]
		t.Numbers[0].Account = waba
		t.Accounts = []Account{{ID: waba, Templates: client.Templates(whatsapp.Account{ID: waba, AccessToken: func() core.Secret { return "token" }})}}
		t.Policy = Policy{Templates: testTemplates, Sender: []string{"Acme"}}
	}
	return m
}

func (b *bridge) templates() []string {
	b.Helper()
	list, err := b.Templates(context.Background(), "acme")
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, t := range list.Templates {
		out = append(out, fmt.Sprint(t.Name, " ", t.Status, " ", t.Category, " ", t.Sends, " ", t.Waiting))
	}
	return out
}

func (b *bridge) wantTemplates(want ...string) {
	b.Helper()
	if got := b.templates(); !slices.Equal(got, want) {
		b.Errorf("templates\n%q, want\n%q", got, want)
	}
}

func TestTemplates_AreAskedForAtTheStartAtIntervalsAndWhenOneChanges(t *testing.T) {
	run(t, func(b *bridge) {
		m := b.withMeta(whatsappsim.Options{Templates: []whatsappsim.Template{
			{Name: "info", Language: "en"}, {Name: "promo", Language: "en", Category: "marketing", BodyParameters: 2},
		}})
		b.start()
		settled(time.Second)
		b.wantTemplates("info APPROVED utility yes 0", "promo APPROVED marketing yes 0")
		change := func(c whatsappsim.TemplateChange) {
			c.Silent = true
			if err := m.ChangeTemplate(c); err != nil {
				t.Fatal(err)
			}
		}
		change(whatsappsim.TemplateChange{Name: "info", Status: "PAUSED"})
		settled(6*time.Hour - 2*time.Second)
		b.wantTemplates("info APPROVED utility yes 0", "promo APPROVED marketing yes 0")
		settled(2 * time.Second)
		b.wantTemplates("info PAUSED utility held 0", "promo APPROVED marketing yes 0")
		held := b.order("k1", ana, "template info")
		settled(time.Second)
		b.wantTemplates("info PAUSED utility held 1", "promo APPROVED marketing yes 0")
		b.wantNotes(held, "WhatsApp has paused the template info (en): put off until ")
		// Several webhooks of one are one question.
		calls := m.seen.Load()
		change(whatsappsim.TemplateChange{Name: "info", Status: "APPROVED"})
		b.template("wh-1", core.TemplateChange{Name: "info", Account: waba, Quality: "YELLOW"})
		b.template("wh-2", core.TemplateChange{Name: "info", Account: waba, Quality: "GREEN"})
		settled(templateSettle)
		if n := m.seen.Load() - calls; n != 1 {
			t.Errorf("%d questions after two webhooks", n)
		}
		settled(time.Second)
		b.wantSaid("info")
		// What the account has no more is deleted, and remembered over a start.
		r := httptest.NewRequest(http.MethodDelete, "/v25.0/"+waba+"/message_templates?name=promo", nil)
		r.Header.Set("Authorization", "Bearer token")
		m.ServeHTTP(httptest.NewRecorder(), r)
		syncs, err := b.SyncTemplates(context.Background(), "acme")
		if err != nil || len(syncs) != 1 || syncs[0].Templates != 1 || !slices.Equal(syncs[0].Changed, []string{"promo/en"}) || !syncs[0].Next.Equal(syncs[0].Synced.Add(6*time.Hour)) {
			t.Errorf("%+v, %v", syncs, err)
		}
		b.stop()
		m.down.Store(true)
		b.start()
		settled(time.Second)
		b.wantTemplates("info APPROVED utility yes 0", "promo DELETED marketing no 0")
		all, _ := b.Template(context.Background(), "acme", "info", "")
		if len(all) != 1 || all[0].Definition == nil || len(all[0].History) != 5 || all[0].History[1].From != "sync" {
			t.Errorf("%+v", all)
		}
	})
}

func TestTemplates_WhatsAppOutOfReachIsSaidAndTriedAgain(t *testing.T) {
	run(t, func(b *bridge) {
		m := b.withMeta(whatsappsim.Options{})
		m.down.Store(true)
		b.start()
		settled(time.Second)
		list, _ := b.Templates(context.Background(), "acme")
		if s := list.Syncs; len(s) != 1 || !strings.Contains(s[0].Error, "not sent") || !s[0].Synced.IsZero() {
			t.Errorf("%+v", s)
		}
		if _, err := b.SyncTemplates(context.Background(), "acme"); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("on demand: %v", err)
		}
		m.down.Store(false)
		settled(3 * time.Minute)
		b.wantTemplates("hello_world APPROVED utility yes 0")
		if list, _ := b.Templates(context.Background(), "acme"); list.Syncs[0].Error != "" {
			t.Errorf("%+v", list.Syncs)
		}
	})
}

// draft is a template in the settings' form.
func draft(t *testing.T, edit ...string) template.Draft {
	t.Helper()
	raw := strings.NewReplacer(edit...).Replace(`{"name":"shipped","language":"en","category":"utility","body":"Hello {{1}}, your order is on its way to you.","examples":["Ana"]}`)
	d, err := template.ParseDraft([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTemplates_AreMadeOnceHoweverOftenOneAsks(t *testing.T) {
	run(t, func(b *bridge) {
		m := b.withMeta(whatsappsim.Options{Templates: []whatsappsim.Template{}, ReviewDelay: time.Hour})
		b.start()
		settled(time.Second)
		ctx := context.Background()
		m.lose.Store(true) // it is made, and nobody hears of it
		got, err := b.CreateTemplate(ctx, TemplateRequest{Template: draft(t)})
		if err != nil || got.Done != "created" || len(got.Templates) != 1 || got.Templates[0].Sends != "held" {
			t.Errorf("%+v, %v", got, err)
		}
		m.lose.Store(false)
		got, err = b.CreateTemplate(ctx, TemplateRequest{Template: draft(t)})
		if err != nil || got.Done != "unchanged" || m.made.Load() != 1 {
			t.Errorf("again: %+v, %v, made %d", got, err, m.made.Load())
		}
		_, err = b.CreateTemplate(ctx, TemplateRequest{Template: draft(t, "order", "parcel")})
		if core.CodeOf(err) != core.CodeUndeliverable || !strings.Contains(err.Error(), "says something else") {
			t.Errorf("another text: %v", err)
		}
		_, err = b.CreateTemplate(ctx, TemplateRequest{Template: draft(t, "Hello {{1}},", "{{1}}", "shipped", "Shipped")})
		if e := core.AsError(err); e.Code != core.CodeInvalid || !strings.Contains(e.Message, `the name "Shipped"`) || !strings.Contains(e.Message, "begins or ends with a variable") || e.Hint == "" || m.made.Load() != 1 {
			t.Errorf("bad: %+v, made %d", e, m.made.Load())
		}
		_, err = b.CreateTemplate(ctx, TemplateRequest{Template: draft(t, "utility", "marketing", "shipped", "promo")})
		if e := core.AsError(err); !strings.Contains(e.Message, "it has no way out") || !strings.Contains(e.Message, "it does not say who writes") {
			t.Errorf("marketing: %+v", e)
		}
		// What is under review waits, and goes when it is approved.
		b.order("k1", ana, "template shipped", func(r *SendRequest) {
			r.Message.Template.Components = json.RawMessage(`[{"type":"body","parameters":[{"type":"text","text":"Ana"}]}]`)
		})
		settled(time.Second)
		b.wantTemplates("shipped PENDING utility held 1")
		settled(time.Hour)
		if _, err := b.SyncTemplates(ctx, ""); err != nil {
			t.Fatal(err)
		}
		settled(time.Second)
		b.wantSaid("shipped")
	})
}

func TestTemplates_AreEditedAndDeleted(t *testing.T) {
	run(t, func(b *bridge) {
		m := b.withMeta(whatsappsim.Options{Templates: []whatsappsim.Template{{Name: "shipped", Language: "en", BodyParameters: 1}, {Name: "shipped", Language: "es", BodyParameters: 1}}, ReviewDelay: time.Hour})
		b.start()
		settled(time.Second)
		ctx := context.Background()
		if _, err := b.EditTemplate(ctx, TemplateRequest{Template: draft(t, "utility", "authentication", `"body"`, `"footer":"x","buttons":[{"type":"otp","otp_type":"copy_code"}],"header"`, `,"examples":["Ana"]`, "")}); err == nil {
			t.Error("another category of an approved one")
		}
		got, err := b.EditTemplate(ctx, TemplateRequest{Template: draft(t)})
		if err != nil || got.Done != "edited" || got.Templates[0].Status != "PENDING" {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, err := b.EditTemplate(ctx, TemplateRequest{Template: draft(t, "order", "parcel")}); !strings.Contains(fmt.Sprint(err), "is pending: WhatsApp does not let it be edited now") {
			t.Errorf("under review: %v", err)
		}
		if got, err := b.EditTemplate(ctx, TemplateRequest{Template: draft(t)}); err != nil || got.Done != "unchanged" {
			t.Errorf("the same: %+v, %v", got, err)
		}
		if _, err := b.EditTemplate(ctx, TemplateRequest{Template: draft(t, "shipped", "nobody")}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		got, err = b.DeleteTemplate(ctx, TemplateName{Name: "shipped", Language: "es"})
		if err != nil || got.Done != "deleted" || len(got.Templates) != 1 || got.Templates[0].Sends != "no" {
			t.Fatalf("%+v, %v", got, err)
		}
		b.wantTemplates("shipped PENDING utility held 0", "shipped DELETED utility no 0")
		if _, err := b.DeleteTemplate(ctx, TemplateName{Name: "shipped", Language: "es"}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("deleted again: %v", err)
		}
		settled(2 * time.Hour)
		if err := m.ChangeTemplate(whatsappsim.TemplateChange{Name: "shipped", Quality: "RED"}); err != nil {
			t.Fatal(err)
		}
		if got, err := b.UnpauseTemplate(ctx, TemplateName{Name: "shipped"}); err != nil || got.Templates[0].Status != "APPROVED" {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := b.DeleteTemplate(ctx, TemplateName{Name: "shipped", Account: "1"}); !strings.Contains(fmt.Sprint(err), "no number in the account") {
			t.Errorf("another account: %v", err)
		}
	})
}

// What does not fit the template is said to the caller at once, and in the trace of
// what a script wanted.
func TestTemplates_WhatDoesNotFitIsNotSent(t *testing.T) {
	run(t, func(b *bridge) {
		b.withMeta(whatsappsim.Options{Templates: []whatsappsim.Template{{Name: "info", Language: "en", BodyParameters: 2}}})
		one := json.RawMessage(`[{"type":"body","parameters":[{"type":"text","text":"Ana"}]}]`)
		b.scripts = func(*core.Event) script.Decision {
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Message: &core.Message{Type: core.TypeTemplate, Template: &core.Template{Name: "info", Language: "en", Components: one}}}}}
		}
		b.start()
		settled(time.Second)
		_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "k1", Message: core.Message{
			Type: core.TypeTemplate, To: to(ana), Template: &core.Template{Name: "info", Language: "en", Components: one}}})
		if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "its body has 1 parameter, and the template wants 2 parameters") {
			t.Errorf("the caller is told %v", err)
		}
		b.write("wamid.1", berto, "hola")
		b.wantNotes("wamid.1", "reply refused: template info (en): its body has 1 parameter, and the template wants 2 parameters")
		b.wantSaid()
	})
}

func TestTemplates_SettingsThatSaySomethingElseAreNamed(t *testing.T) {
	run(t, func(b *bridge) {
		b.withMeta(whatsappsim.Options{Templates: []whatsappsim.Template{{Name: "info", Language: "en", Category: "marketing", BodyParameters: 2}}})
		change := b.change
		b.change = func(o *Options) {
			change(o)
			o.Tenants[0].Policy.Templates = []Template{{Name: "info", Category: "utility", Params: []any{"name"}}}
		}
		b.start()
		settled(time.Second)
		all, err := b.Template(context.Background(), "acme", "info", "en")
		want := []string{"the settings say utility, WhatsApp has marketing", "the settings say the parameters name, WhatsApp wants the parameters 1, 2"}
		if err != nil || !slices.Equal(all[0].Differs, want) || !slices.Equal(all[0].Variables, []string{"1", "2"}) {
			t.Errorf("%+v, %v", all, err)
		}
	})
}
