package web

import (
	"context"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/campaign"
	"github.com/wabridge/wabridge/core/store"
)

func (b *bridge) NewCampaign(_ context.Context, r broker.CampaignRequest) (broker.Campaign, error) {
	return broker.Campaign{CampaignRequest: r, State: campaign.Draft}, nil
}

func (b *bridge) Campaigns(tenant string) []broker.Campaign {
	return []broker.Campaign{{CampaignRequest: broker.CampaignRequest{Tenant: tenant, Name: "spring"}}}
}

func (b *bridge) Campaign(tenant, name string) (broker.Campaign, error) {
	if tenant != "acme" || name != "spring" {
		return broker.Campaign{}, core.Errorf(core.CodeInvalid, "campaign", "none: %w", store.ErrNotFound)
	}
	return b.Campaigns(tenant)[0], nil
}

func (b *bridge) AddToCampaign(_ context.Context, name string, r broker.CampaignEntries) (broker.CampaignListed, error) {
	_, err := b.Campaign(r.Tenant, name)
	return broker.CampaignListed{Rows: len(r.People)}, err
}

func (b *bridge) CampaignRows(_ context.Context, q broker.CampaignRows) (broker.CampaignRowPage, error) {
	_, err := b.Campaign(q.Tenant, q.Name)
	return broker.CampaignRowPage{Rows: []campaign.Row{{N: q.After + 1, State: campaign.RowState(q.State)}}, Next: q.Limit}, err
}

func (b *bridge) SetCampaign(_ context.Context, tenant, name, what, by, why string) (broker.Campaign, error) {
	c, err := b.Campaign(tenant, name)
	c.SetBy, c.Why = by, what+" "+why
	return c, err
}

func (b *bridge) Segments(_ context.Context, q broker.SegmentQuery) (broker.SegmentList, error) {
	if q.Lane == "zoho" {
		return broker.SegmentList{}, core.Errorf(core.CodeUnavailable, "segments", "the lane zoho is down")
	}
	return broker.SegmentList{Lane: "hubspot", Segments: []core.Segment{{ID: "12", Name: q.Tenant + " " + q.Name, Kind: "static list", Size: 3}}}, nil
}

func TestCampaigns_AreTheTenantsOwn(t *testing.T) {
	h := New(options(&bridge{}, "127.0.0.1:8080")).Handler()
	for _, c := range []struct {
		call
		code int
		want string
	}{
		{call{method: "POST", path: campaignsPath, body: `{"tenant":"acme","name":"spring","template":{"name":"info","language":"en"},"first":{"percent":5}}`, token: tenantToken}, 201, `"by": "token acme"`},
		{call{method: "POST", path: campaignsPath, body: `{"tenant":"other","name":"spring"}`, token: tenantToken}, 404, "no such tenant"},
		{call{method: "POST", path: campaignsPath, body: `{"state":"running"}`, token: tenantToken}, 400, "unknown field"},
		{call{method: "POST", path: campaignsPath, body: `{"name":"spring","segment":{"lane":"hubspot","name":"Spring buyers"}}`, token: tenantToken}, 201, `"name": "Spring buyers"`},
		{call{method: "GET", path: "/api/v1/segments?name=Spring", token: tenantToken}, 200, `"name": "acme Spring"`},
		{call{method: "GET", path: "/api/v1/segments?lane=zoho", token: tenantToken}, 503, "the lane zoho is down"},
		{call{method: "GET", path: "/api/v1/segments?tenant=other", token: tenantToken}, 404, "no such tenant"},
		{call{method: "GET", path: campaignsPath + "/spring", token: tenantToken}, 200, `"name": "spring"`},
		{call{method: "GET", path: campaignsPath + "/autumn", token: tenantToken}, 404, "none"},
		{call{method: "GET", path: campaignsPath + "/spring/rows?state=failed&after=41&limit=7", token: tenantToken}, 200, `"n": 42`},
		{call{method: "POST", path: campaignsPath + "/spring/people", body: `{"people":[{"line":2,"phones":[{"number":"+34600111222"}],"columns":{"Code":"x"}}]}`, token: tenantToken}, 200, `"rows": 1`},
		{call{method: "POST", path: campaignsPath + "/spring/start", body: `{}`, token: tenantToken}, 200, `"set_by": "token acme"`},
		{call{method: "POST", path: campaignsPath + "/spring/pause", body: `{"by":"maria","why":"look"}`, token: tenantToken}, 200, `"why": "pause look"`},
		{call{method: "POST", path: campaignsPath + "/spring/start", body: `{}`}, 401, "a token is needed"},
	} {
		got := c.do(t, h)
		if got.Code != c.code || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.Code, got.Body)
		}
	}
}
