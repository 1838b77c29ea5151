package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
)

func (b *bridge) FindContacts(_ context.Context, q broker.ContactQuery) (broker.ContactPage, error) {
	b.asked = append(b.asked, q)
	return broker.ContactPage{Contacts: []broker.FoundContact{{Tenant: q.Tenant, Contact: core.Contact{ID: "c1"}}}}, nil
}

func (b *bridge) Contact(_ context.Context, tenant, who string) (broker.ContactView, error) {
	if who != "c1" && who != "+34600111222" {
		return broker.ContactView{}, core.Errorf(core.CodeInvalid, "contact", "none: %w", store.ErrNotFound)
	}
	return broker.ContactView{Tenant: tenant, Contact: core.Contact{ID: "c1"}}, nil
}

func (b *bridge) MergeContacts(_ context.Context, q broker.MergeRequest) (broker.MergeReport, error) {
	b.regroups = append(b.regroups, fmt.Sprintf("%+v", q))
	return broker.MergeReport{Survivor: q.Contact, ID: q.With, Done: !q.Preview}, nil
}

func (b *bridge) UnmergeContact(_ context.Context, q broker.UnmergeRequest) (broker.MergeReport, error) {
	b.regroups = append(b.regroups, fmt.Sprintf("%+v", q))
	return broker.MergeReport{}, &core.Error{Code: core.CodeUndeliverable, Message: "merged on", Hint: "undo that first"}
}

func TestContacts_AreMergedAndTakenApartWithinTheTokensTenant(t *testing.T) {
	b := &bridge{}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	body := `{"with":"c2","by":"ana","reason":"one voice","preview":true}`
	for _, c := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"without a token", call{method: "POST", path: "/api/v1/contacts/c1/merge", body: body}, http.StatusUnauthorized, ""},
		{"another tenant", call{method: "POST", path: "/api/v1/contacts/c1/merge", body: `{"tenant":"other","with":"c2"}`, token: tenantToken}, http.StatusNotFound, ""},
		{"unknown name", call{method: "POST", path: "/api/v1/contacts/c1/merge", body: `{"wth":"c2"}`, token: tenantToken}, http.StatusBadRequest, "wth"},
		{"merged", call{method: "POST", path: "/api/v1/contacts/c1/merge", body: body, token: tenantToken}, http.StatusOK, `"survivor": "c1"`},
		{"another tenant's merge", call{method: "POST", path: "/api/v1/contacts/c2/unmerge", body: `{"tenant":"other"}`, token: tenantToken}, http.StatusNotFound, ""},
		{"refused", call{method: "POST", path: "/api/v1/contacts/c2/unmerge", body: `{"by":"ana","reason":"two"}`, token: tenantToken}, http.StatusConflict, "undo that first"},
	} {
		w := c.call.do(t, h)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	want := []string{
		"{Tenant:acme Contact:c1 With:c2 By:ana Reason:one voice Preview:true}", "{Tenant:acme Contact:c2 By:ana Reason:two Preview:false}",
	}
	if !slices.Equal(b.regroups, want) {
		t.Errorf("asked for %q", b.regroups)
	}
}

func TestContacts_AreFoundWithinTheTokensTenant(t *testing.T) {
	b := &bridge{}
	h := New(options(b, "127.0.0.1:8080")).Handler()
	for _, c := range []struct {
		name   string
		call   call
		status int
		want   string
	}{
		{"without a token", call{method: "GET", path: "/api/v1/contacts?text=ana"}, http.StatusUnauthorized, ""},
		{"another tenant", call{method: "GET", path: "/api/v1/contacts?tenant=other", token: tenantToken}, http.StatusNotFound, ""},
		{"found", call{method: "GET", path: "/api/v1/contacts?text=ana&tag=vip&after=c0&limit=7", token: tenantToken}, http.StatusOK, `"id": "c1"`},
		{"shown", call{method: "GET", path: "/api/v1/contacts/c1", token: tenantToken}, http.StatusOK, `"tenant": "acme"`},
		{"by number", call{method: "GET", path: "/api/v1/contacts/+34600111222", token: tenantToken}, http.StatusOK, `"id": "c1"`},
		{"nobody", call{method: "GET", path: "/api/v1/contacts/c2", token: tenantToken}, http.StatusNotFound, ""},
		{"another tenant's", call{method: "GET", path: "/api/v1/contacts/c1?tenant=other", token: tenantToken}, http.StatusNotFound, ""},
	} {
		w := c.call.do(t, h)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	want := broker.ContactQuery{Tenant: "acme", Text: "ana", Tag: "vip", After: "c0", Limit: 7}
	if len(b.asked) != 1 || b.asked[0] != want {
		t.Errorf("asked %+v", b.asked)
	}
}
