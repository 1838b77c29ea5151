package zohosim

import (
	"cmp"
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Records are listed in pages, by number among the first of them, by a token as far
// as tokens go: https://www.zoho.com/crm/developer/docs/api/v8/get-records.html and
// v8.0/record in https://github.com/zoho/crm-oas.
const (
	maxPage     = 200
	maxNumbered = 2_000
	maxTokened  = 100_000
	tokenLife   = 24 * time.Hour
	// maxTokens is how many tokens are remembered; Zoho says nothing of that.
	maxTokens = 1_000
)

// token is where a list goes on, for whoever asks the same question.
type token struct {
	asked string // all parameters but the token
	after *record
	page  int
	until time.Time
}

// ordering is the order of a list; records that are alike go by id.
type ordering struct {
	by   string
	desc bool
	// unsaid is that of campaigns' members, of which an answer does not tell.
	unsaid bool
}

func (o ordering) compare(a, b *record) int {
	var n int
	switch o.by {
	case "id", "Modified_Time", "Created_Time":
		n = cmp.Compare(a.number(o.by), b.number(o.by))
	default:
		n = strings.Compare(strings.ToLower(text(a.values[o.by])), strings.ToLower(text(b.values[o.by])))
	}
	if n = cmp.Or(n, cmp.Compare(a.number("id"), b.number("id"))); o.desc {
		return -n
	}
	return n
}

// badParam is what is wrong with a parameter.
func badParam(name string) *answered {
	a := failure("INVALID_DATA", "invalid data", map[string]any{"param_name": name})
	return &a
}

// either refuses parameters that cannot be given together.
func either(q url.Values, names ...string) *answered {
	given := []map[string]string{}
	for _, name := range names {
		if q.Has(name) {
			given = append(given, map[string]string{"param_name": name})
		}
	}
	if len(given) < 2 {
		return nil
	}
	a := failure("AMBIGUITY_DURING_PROCESSING", "Ambiguity while processing the request", map[string]any{"ambiguity_due_to": given})
	return &a
}

// list serves the records of a module: all, those of ?ids= or those of a view; of these
// those that were modified since the time in If-Modified-Since, where it is given.
func (s *Sim) list(c *call) {
	m := s.module(c, c.path[0])
	if m == nil {
		return
	}
	var since time.Time
	if v := c.r.Header.Get(modifiedSince); v != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, v); err != nil {
			c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"header_name": modifiedSince}))
			return
		}
	}
	s.pages(c, func(q url.Values) ([]*record, ordering, *answered) {
		list, order, wrong := m.chosen(q)
		return slices.DeleteFunc(slices.Clone(list), func(r *record) bool { return r != nil && r.modified.Before(since) }), order, wrong
	})
}

// modifiedSince is the header that leaves out what was modified before.
const modifiedSince = "If-Modified-Since"

// chosen are the records that a list is of. The caller holds the lock.
func (m *module) chosen(q url.Values) ([]*record, ordering, *answered) {
	order := ordering{by: "id", desc: true}
	if by := q.Get("sort_by"); by != "" {
		if !slices.Contains([]string{"id", "Created_Time", "Modified_Time"}, by) {
			return nil, order, badParam("sort_by")
		}
		order = ordering{by: by, desc: q.Get("sort_order") != "asc"}
	}
	if wrong := either(q, "cvid", "sort_by"); wrong != nil {
		return nil, order, wrong
	}
	switch {
	case q.Has("ids"):
		ids := strings.Split(q.Get("ids"), ",")
		if len(ids) > maxRows {
			return nil, order, badParam("ids")
		}
		return m.those(ids), order, nil
	case q.Has("cvid"):
		v := m.views[q.Get("cvid")]
		if v == nil {
			return nil, order, badParam("cvid")
		}
		return v.records(m), v.order(), nil
	}
	return m.records, order, nil
}

// pages answers with a page of the records that choose returns. It calls choose with
// the lock held; records that are nil, deleted or there twice are left out.
func (s *Sim) pages(c *call, choose func(url.Values) ([]*record, ordering, *answered)) {
	s.state.mu.Lock()
	status, answer := s.state.page(c.r.URL.Query(), choose)
	s.state.mu.Unlock()
	switch {
	case status != http.StatusNoContent:
		c.answer(status, answer)
	case c.r.Header.Get(modifiedSince) != "":
		c.status = http.StatusNotModified
		c.w.WriteHeader(http.StatusNotModified)
	default:
		c.nothing()
	}
}

func (s *state) page(q url.Values, choose func(url.Values) ([]*record, ordering, *answered)) (int, any) {
	refuse := func(a *answered) (int, any) { return http.StatusBadRequest, a }
	fail := func(code, message string, details map[string]any) (int, any) {
		a := failure(code, message, details)
		return refuse(&a)
	}
	names := strings.Split(q.Get("fields"), ",")
	size, sizeErr := strconv.Atoi(cmp.Or(q.Get("per_page"), "200"))
	page, pageErr := strconv.Atoi(cmp.Or(q.Get("page"), "1"))
	switch {
	case names[0] == "":
		return fail("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", map[string]any{"param_name": "fields"})
	case len(names) > maxFields:
		return fail("LIMIT_EXCEEDED", "limit exceeded", map[string]any{"limit": maxFields, "param_name": "fields"})
	case sizeErr != nil || size < 1 || size > maxPage:
		return refuse(badParam("per_page"))
	case pageErr != nil || page < 1:
		return refuse(badParam("page"))
	case page*size > maxNumbered:
		return fail("DISCRETE_PAGINATION_LIMIT_EXCEEDED", "You can only get the first 2000 records without using page_token param", map[string]any{"limit": maxNumbered})
	}
	if wrong := either(q, "page", "page_token"); wrong != nil {
		return refuse(wrong)
	}
	var from *record
	key := q.Get("page_token")
	q.Del("page_token")
	asked := q.Encode()
	if key != "" {
		t := s.tokens[key]
		switch {
		case t == nil || t.asked != asked:
			return fail("TOKEN_BOUND_DATA_MISMATCH", "The page_token given seems to be invalid or input param is added or altered or deleted", map[string]any{"param_name": "page_token"})
		case !time.Now().Before(t.until):
			return fail("EXPIRED_VALUE", "Page token expired", map[string]any{"api_name": "page_token", "json_path": "$.query.page_token"})
		case t.page*size > cmp.Or(s.opts.TokenRecords, maxTokened):
			return fail("PAGINATION_LIMIT_EXCEEDED", "You can only get upto 100000 records using page_token param", map[string]any{"param_name": "page_token"})
		}
		from, page = t.after, t.page
	}
	list, order, wrong := choose(q)
	if wrong != nil {
		return refuse(wrong)
	}
	list = slices.DeleteFunc(slices.Clone(list), func(r *record) bool { return r == nil || r.deleted })
	slices.SortFunc(list, order.compare)
	list = slices.Compact(list)
	if from != nil {
		first := slices.IndexFunc(list, func(r *record) bool { return order.compare(r, from) > 0 })
		if first < 0 {
			first = len(list)
		}
		list = list[first:]
	} else {
		list = list[min((page-1)*size, len(list)):]
	}
	if len(list) == 0 {
		return http.StatusNoContent, nil
	}
	more := len(list) > size
	list = list[:min(size, len(list))]
	data := make([]map[string]any, len(list))
	for i, r := range list {
		data[i] = r.shown(names)
	}
	info := map[string]any{"per_page": size, "count": len(data), "page": page, "more_records": more}
	if order.unsaid && s.opts.NumberedMembers {
		return http.StatusOK, map[string]any{"data": data, "info": info}
	}
	for _, name := range []string{"next_page_token", "previous_page_token", "page_token_expiry"} {
		info[name] = nil
	}
	if !order.unsaid {
		info["call"], info["email"], info["sort_by"] = false, false, order.by
		info["sort_order"] = map[bool]string{true: "desc", false: "asc"}[order.desc]
	}
	if more {
		q.Del("page")
		t := &token{asked: q.Encode(), after: list[len(list)-1], page: page + 1, until: time.Now().Add(tokenLife)}
		info["next_page_token"], info["page_token_expiry"] = s.give(t), stamp(t.until)
	}
	return http.StatusOK, map[string]any{"data": data, "info": info}
}

// give makes a token; the one that ends soonest goes where there are too many.
func (s *state) give(t *token) string {
	if len(s.tokens) >= maxTokens {
		delete(s.tokens, slices.MinFunc(slices.Collect(maps.Keys(s.tokens)), func(a, b string) int {
			return s.tokens[a].until.Compare(s.tokens[b].until)
		}))
	}
	key := strings.ToLower(rand.Text())
	s.tokens[key] = t
	return key
}
