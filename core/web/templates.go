package web

import (
	"context"
	"net/http"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/template"
)

// Templates is what the API asks about WhatsApp's templates.
type Templates interface {
	Templates(ctx context.Context, tenant string) (broker.TemplateList, error)
	Template(ctx context.Context, tenant, name, language string) ([]broker.TemplateStatus, error)
	SyncTemplates(ctx context.Context, tenant string) ([]broker.TemplateSync, error)
	LintTemplate(tenant string, draft template.Draft) ([]template.Problem, error)
	CreateTemplate(ctx context.Context, r broker.TemplateRequest) (broker.TemplateReceipt, error)
	EditTemplate(ctx context.Context, r broker.TemplateRequest) (broker.TemplateReceipt, error)
	DeleteTemplate(ctx context.Context, n broker.TemplateName) (broker.TemplateReceipt, error)
	UnpauseTemplate(ctx context.Context, n broker.TemplateName) (broker.TemplateReceipt, error)
}

const templatesPath = "/api/v1/templates"

func (s *Server) templates(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t); ok {
		list, err := s.o.Bridge.Templates(r.Context(), tenant)
		answerWith(w, http.StatusOK, list, err)
	}
}

func (s *Server) template(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t); ok {
		all, err := s.o.Bridge.Template(r.Context(), tenant, r.PathValue("name"), r.URL.Query().Get("language"))
		answerWith(w, http.StatusOK, all, err)
	}
}

func (s *Server) syncTemplates(w http.ResponseWriter, r *http.Request, t access.Token) {
	if tenant, ok := s.tenantOf(w, r.URL.Query().Get("tenant"), t); ok {
		syncs, err := s.o.Bridge.SyncTemplates(r.Context(), tenant)
		answerWith(w, http.StatusOK, syncs, err)
	}
}

// readTemplate reads a request that has a template.
func (s *Server) readTemplate(w http.ResponseWriter, r *http.Request, t access.Token) (broker.TemplateRequest, bool) {
	var req broker.TemplateRequest
	if !read(w, r, &req) {
		return req, false
	}
	var ok bool
	req.Tenant, ok = s.tenantOf(w, req.Tenant, t)
	return req, ok
}

func (s *Server) lintTemplate(w http.ResponseWriter, r *http.Request, t access.Token) {
	if req, ok := s.readTemplate(w, r, t); ok {
		problems, err := s.o.Bridge.LintTemplate(req.Tenant, req.Template)
		if problems == nil {
			problems = []template.Problem{}
		}
		answerWith(w, http.StatusOK, problems, err)
	}
}

func (s *Server) createTemplate(w http.ResponseWriter, r *http.Request, t access.Token) {
	if req, ok := s.readTemplate(w, r, t); ok {
		receipt, err := s.o.Bridge.CreateTemplate(r.Context(), req)
		status := http.StatusOK
		if receipt.Done == "created" {
			status = http.StatusCreated
		}
		answerWith(w, status, receipt, err)
	}
}

func (s *Server) editTemplate(w http.ResponseWriter, r *http.Request, t access.Token) {
	req, ok := s.readTemplate(w, r, t)
	if !ok {
		return
	}
	switch name := r.PathValue("name"); req.Template.Name {
	case "", name:
		req.Template.Name = name
	default:
		writeError(w, http.StatusUnprocessableEntity, "invalid", "the template has another name than the path: a name cannot be changed", "")
		return
	}
	receipt, err := s.o.Bridge.EditTemplate(r.Context(), req)
	answerWith(w, http.StatusOK, receipt, err)
}

// named does something to the template that the path and the query name.
func (s *Server) named(do func(context.Context, broker.TemplateName) (broker.TemplateReceipt, error)) func(http.ResponseWriter, *http.Request, access.Token) {
	return func(w http.ResponseWriter, r *http.Request, t access.Token) {
		q := r.URL.Query()
		if tenant, ok := s.tenantOf(w, q.Get("tenant"), t); ok {
			receipt, err := do(r.Context(), broker.TemplateName{Tenant: tenant, Account: q.Get("account"), Name: r.PathValue("name"), Language: q.Get("language")})
			answerWith(w, http.StatusOK, receipt, err)
		}
	}
}

func (s *Server) deleteTemplate(w http.ResponseWriter, r *http.Request, t access.Token) {
	s.named(s.o.Bridge.DeleteTemplate)(w, r, t)
}

func (s *Server) unpauseTemplate(w http.ResponseWriter, r *http.Request, t access.Token) {
	s.named(s.o.Bridge.UnpauseTemplate)(w, r, t)
}

// templateRoutes are the operations about templates.
func (s *Server) templateRoutes() []route {
	tenant := []param{ofTenant()}
	language := append(tenant, param{name: "language", says: "One language, such as en_US; all of them when it is left out."})
	account := append(language, param{name: "account", says: "The business account (WABA). A tenant with one needs none."})
	one := templatesPath + "/{name}"
	return []route{
		{
			method: "GET", path: templatesPath, scope: access.ReadTemplates, serve: s.templates, id: "listTemplates", query: tenant, answers: ok(broker.TemplateList{}),
			says: "WhatsApp's templates as far as the bridge was told, without what they say, and how far each account is known.",
		},
		{
			method: "GET", path: one, scope: access.ReadTemplates, serve: s.template, id: "getTemplate", query: language, answers: ok([]broker.TemplateStatus{}),
			says: "A template in its languages: what it says, and the states that it was in.",
		},
		{
			method: "POST", path: templatesPath, scope: access.WriteTemplates, serve: s.createTemplate, id: "createTemplate", body: broker.TemplateRequest{},
			answers: map[int]any{http.StatusCreated: broker.TemplateReceipt{}, http.StatusOK: broker.TemplateReceipt{}},
			says:    "Makes a template, which WhatsApp then reviews. To ask again makes no second one (200).",
		},
		{
			method: "PUT", path: one, scope: access.WriteTemplates, serve: s.editTemplate, id: "editTemplate", body: broker.TemplateRequest{}, answers: ok(broker.TemplateReceipt{}),
			says: "Replaces what a template says. WhatsApp reviews it anew, and its messages wait meanwhile.",
		},
		{
			method: "DELETE", path: one, scope: access.WriteTemplates, serve: s.deleteTemplate, id: "deleteTemplate", query: account, answers: ok(broker.TemplateReceipt{}),
			says: "Deletes a template. Its name cannot be used for 30 days, and messages that wait for it are refused.",
		},
		{
			method: "POST", path: one + "/unpause", scope: access.WriteTemplates, serve: s.unpauseTemplate, id: "unpauseTemplate", query: account, answers: ok(broker.TemplateReceipt{}),
			says: "Enables a template again that WhatsApp paused for its pace.",
		},
		{
			method: "POST", path: "/api/v1/template-sync", scope: access.WriteTemplates, serve: s.syncTemplates, id: "syncTemplates", query: tenant, answers: ok([]broker.TemplateSync{}),
			says: "Asks WhatsApp now for the templates of all of a tenant's accounts.",
		},
		{
			method: "POST", path: "/api/v1/template-lint", scope: access.ReadTemplates, serve: s.lintTemplate, id: "lintTemplate", body: broker.TemplateRequest{}, answers: ok([]template.Problem{}),
			says: "Says what WhatsApp would refuse of a template, and what a marketing template lacks.",
		},
	}
}
