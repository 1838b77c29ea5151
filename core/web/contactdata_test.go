package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
)

func (b *bridge) EraseContact(_ context.Context, r broker.EraseRequest) (broker.Erasure, error) {
	if r.Contact != "c1" {
		return broker.Erasure{}, core.Errorf(core.CodeInvalid, "contact", "none: %w", store.ErrNotFound)
	}
	b.erased = append(b.erased, r)
	state := broker.ErasureTelling
	if r.Reason == "quick" {
		state = broker.ErasureDone
	}
	return broker.Erasure{ID: "erasure-1", Tenant: r.Tenant, State: state}, nil
}

func (b *bridge) Erasure(_ context.Context, tenant, id string) (broker.Erasure, error) {
	if tenant != "acme" || id != "erasure-1" {
		return broker.Erasure{}, core.Errorf(core.CodeInvalid, "erase", "none: %w", store.ErrNotFound)
	}
	return broker.Erasure{ID: id, Tenant: tenant, State: broker.ErasureDone}, nil
}

func TestErase_IsWithinTheTokensTenant(t *testing.T) {
	b := &bridge{}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	const path = "/api/v1/contacts/erase"
	for _, c := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"without a token", call{method: "POST", path: path, body: `{"contact":"c1"}`}, http.StatusUnauthorized, ""},
		{"another tenant", call{method: "POST", path: path, body: `{"tenant":"other","contact":"c1"}`, token: tenantToken}, http.StatusNotFound, ""},
		{"unknown name", call{method: "POST", path: path, body: `{"who":"c1"}`, token: tenantToken}, http.StatusBadRequest, "who"},
		{"nobody", call{method: "POST", path: path, body: `{"contact":"c2"}`, token: tenantToken}, http.StatusNotFound, ""},
		{"begun", call{method: "POST", path: path, body: `{"contact":"c1","reason":"r","by":"maria"}`, token: tenantToken}, http.StatusAccepted, "telling"},
		{"done", call{method: "POST", path: path, body: `{"contact":"c1","reason":"quick","by":"maria"}`, token: tenantToken}, http.StatusOK, "done"},
		{"preview", call{method: "POST", path: path, body: `{"contact":"c1","preview":true}`, token: tenantToken}, http.StatusOK, "erasure-1"},
		{"later", call{method: "GET", path: "/api/v1/erasures/erasure-1", token: tenantToken}, http.StatusOK, "done"},
		{"of another", call{method: "GET", path: "/api/v1/erasures/erasure-1?tenant=other", token: ownerToken}, http.StatusNotFound, ""},
	} {
		w := c.call.do(t, h)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if len(b.erased) != 3 || b.erased[0].Tenant != "acme" || b.erased[0].By != "maria" || !b.erased[2].Preview {
		t.Errorf("asked for %+v", b.erased)
	}
}

func (b *bridge) ExportContact(_ context.Context, tenant, who string) (broker.ContactExport, error) {
	if who != "c1" {
		return broker.ContactExport{}, core.Errorf(core.CodeInvalid, "contact", "none: %w", store.ErrNotFound)
	}
	return broker.ContactExport{Tenant: tenant}, nil
}

func (b *bridge) ContactRecords(_ context.Context, tenant, after string, _ int) (broker.ContactRecords, error) {
	return broker.ContactRecords{Contacts: []broker.ContactRecord{{Contact: core.Contact{ID: tenant + after}}}}, nil
}

func (b *bridge) ImportContacts(_ context.Context, r broker.ImportRequest) (broker.ImportReport, error) {
	b.imported = append(b.imported, r)
	return broker.ImportReport{People: []broker.ImportResult{{Line: r.People[0].Line, Outcome: broker.ImportNew}}}, nil
}

func TestContactData_IsWithinTheTokensTenant(t *testing.T) {
	b := &bridge{}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	list := `{"run":"r1","by":"maria","apply":true,"people":[{"line":7,"name":"Ana","phones":[{"number":"+886912345678"}]}]}`
	for _, c := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"export without a token", call{method: "GET", path: "/api/v1/contact-export?contact=c1"}, http.StatusUnauthorized, ""},
		{"export", call{method: "GET", path: "/api/v1/contact-export?contact=c1", token: tenantToken}, http.StatusOK, `"tenant": "acme"`},
		{"export of nobody", call{method: "GET", path: "/api/v1/contact-export?contact=c2", token: tenantToken}, http.StatusNotFound, ""},
		{"export from another", call{method: "GET", path: "/api/v1/contact-export?contact=c1&tenant=other", token: tenantToken}, http.StatusNotFound, ""},
		{"records", call{method: "GET", path: "/api/v1/contact-records?after=c7", token: tenantToken}, http.StatusOK, `"id": "acmec7"`},
		{"import", call{method: "POST", path: "/api/v1/contacts/import", body: list, token: tenantToken}, http.StatusOK, `"outcome": "new"`},
		{"import to another", call{method: "POST", path: "/api/v1/contacts/import", body: `{"tenant":"other"}`, token: tenantToken}, http.StatusNotFound, ""},
		{"import of something else", call{method: "POST", path: "/api/v1/contacts/import", body: `{"rows":[]}`, token: tenantToken}, http.StatusBadRequest, "rows"},
	} {
		w := c.call.do(t, h)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	if len(b.imported) != 1 || b.imported[0].Tenant != "acme" || !b.imported[0].Apply || b.imported[0].People[0].Phones[0].Number != "+886912345678" {
		t.Errorf("imported %+v", b.imported)
	}
}
