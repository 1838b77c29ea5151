package web

import (
	"context"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/template"
)

func aTemplate(tenant, name, language string) broker.TemplateStatus {
	d := template.Definition{Name: name, Language: language, Category: "utility", Components: []template.Component{{Type: "BODY", Text: "Hello {{1}}, there"}}}
	return broker.TemplateStatus{
		Tenant: tenant, TemplateChange: core.TemplateChange{Name: name, Language: language, Status: "PAUSED", Reason: "FIRST_PAUSE"}, Sends: "held", Definition: &d,
		History: []broker.TemplateStep{{From: "webhook", Status: "PAUSED"}},
	}
}

func (b *bridge) Templates(_ context.Context, tenant string) (broker.TemplateList, error) {
	return broker.TemplateList{Templates: []broker.TemplateStatus{aTemplate(tenant, "info", "en")}, Syncs: []broker.TemplateSync{{Tenant: tenant, Account: "1"}}}, nil
}

func (b *bridge) Template(_ context.Context, tenant, name, language string) ([]broker.TemplateStatus, error) {
	if name != "info" {
		return nil, core.Errorf(core.CodeInvalid, "template", "none: %w", store.ErrNotFound)
	}
	return []broker.TemplateStatus{aTemplate(tenant, name, language)}, nil
}

func (b *bridge) SyncTemplates(_ context.Context, tenant string) ([]broker.TemplateSync, error) {
	return []broker.TemplateSync{{Tenant: tenant, Account: "1", Changed: []string{"info/en"}}}, nil
}

func (b *bridge) LintTemplate(_ string, d template.Draft) ([]template.Problem, error) {
	def := d.Definition()
	return template.Lint(&def), nil
}

func (b *bridge) CreateTemplate(_ context.Context, r broker.TemplateRequest) (broker.TemplateReceipt, error) {
	done := "created"
	if r.Template.Name == "there" {
		done = "unchanged"
	}
	return broker.TemplateReceipt{Done: done, Templates: []broker.TemplateStatus{aTemplate(r.Tenant, r.Template.Name, r.Template.Language)}}, nil
}

func (b *bridge) EditTemplate(_ context.Context, r broker.TemplateRequest) (broker.TemplateReceipt, error) {
	return broker.TemplateReceipt{Done: "edited " + r.Template.Name, Templates: []broker.TemplateStatus{}}, nil
}

func (b *bridge) DeleteTemplate(_ context.Context, n broker.TemplateName) (broker.TemplateReceipt, error) {
	return broker.TemplateReceipt{Done: "deleted " + n.Tenant + n.Account + n.Name + n.Language, Templates: []broker.TemplateStatus{}}, nil
}

func (b *bridge) UnpauseTemplate(_ context.Context, n broker.TemplateName) (broker.TemplateReceipt, error) {
	return broker.TemplateReceipt{Done: "unpaused " + n.Name, Templates: []broker.TemplateStatus{}}, nil
}

func TestTemplates_AreServed(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	const hello = `{"template":{"name":"hello","language":"es","category":"utility","header":"Hi","body":"Hola {{1}}, aquí estamos","examples":["Ana"],"buttons":["A",{"text":"B","phone":"+34600111222"}]}}`
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", templatesPath, "", 200, `"reason": "FIRST_PAUSE"`},
		{"GET", templatesPath + "/info?language=en", "", 200, `"text": "Hello {{1}}, there"`},
		{"GET", templatesPath + "/nobody", "", 404, "none"},
		{"POST", templatesPath, hello, 201, `"done": "created"`},
		{"POST", templatesPath, strings.Replace(hello, `"hello"`, `"there"`, 1), 200, `"done": "unchanged"`},
		{"POST", templatesPath, `{"template":{"nam":"x"}}`, 400, "unknown field"},
		{"POST", templatesPath, `{"template":{"examples":7}}`, 400, "want a list of texts"},
		{"PUT", templatesPath + "/hello", strings.Replace(hello, `"name":"hello",`, "", 1), 200, `"done": "edited hello"`},
		{"PUT", templatesPath + "/other", hello, 422, "a name cannot be changed"},
		{"DELETE", templatesPath + "/hello?language=es&account=9", "", 200, `"done": "deleted acme9helloes"`},
		{"POST", templatesPath + "/hello/unpause", "", 200, `"done": "unpaused hello"`},
		{"POST", "/api/v1/template-sync", "", 200, `"info/en"`},
		{"POST", "/api/v1/template-lint", strings.Replace(hello, "Hola {{1}}", "{{1}}", 1), 200, "begins or ends with a variable"},
		{"POST", "/api/v1/template-lint", hello, 200, "[]"},
	} {
		got := call{method: test.method, path: test.path, body: test.body, token: ownerToken}.do(t, h)
		if got.Code != test.status || !strings.Contains(got.Body.String(), test.want) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", test.method, test.path, test.body, got.Code, got.Body, test.status, test.want)
		}
	}
}
