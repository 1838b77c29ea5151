package salesforcesim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
)

// maxSOQL is how many characters a query may have.
const maxSOQL = 100_000

// query answers a SOQL query. The caller holds the lock.
func (s *Sim) query(text string) (int, any) {
	refuse := func(code, message string) (int, any) {
		return http.StatusBadRequest, []apiError{{Message: message, ErrorCode: code}}
	}
	if len(text) > maxSOQL {
		return refuse("QUERY_TOO_COMPLICATED", "Query is either selecting too many fields or the filter conditions are too complicated.")
	}
	q, err := parseSOQL(text)
	if err != nil {
		return refuse("MALFORMED_QUERY", err.Error())
	}
	t := s.tables[strings.ToLower(q.object)]
	if t == nil {
		return refuse("INVALID_TYPE", "sObject type '"+q.object+"' is not supported.")
	}
	for _, name := range slices.Concat(q.fields, q.order, q.where.fieldsOf()) {
		f, ok := t.fields[strings.ToLower(name)]
		if !ok {
			e := noColumn(t, name)
			return refuse(e.ErrorCode, e.Message)
		}
		if f.Type == "textarea" && slices.Contains(q.where.fieldsOf(), name) {
			return refuse("INVALID_FIELD", "field '"+f.Name+"' can not be filtered in a query call")
		}
	}
	var list []*record
	for _, r := range t.records {
		if q.where.holds(r) {
			list = append(list, r)
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		for _, name := range q.order {
			a, b := fmt.Sprint(list[i].values[strings.ToLower(name)]), fmt.Sprint(list[j].values[strings.ToLower(name)])
			if a != b {
				return a < b
			}
		}
		return false
	})
	list = list[:min(len(list), q.limit)]
	records := make([]map[string]any, len(list))
	for i, r := range list {
		records[i] = map[string]any{"attributes": map[string]string{"type": t.name, "url": "/services/data/v66.0/sobjects/" + t.name + "/" + r.id}}
		for _, name := range q.fields {
			records[i][t.fields[strings.ToLower(name)].Name] = r.values[strings.ToLower(name)]
		}
	}
	return http.StatusOK, map[string]any{"totalSize": len(records), "done": true, "records": records}
}

// maxSubrequests and maxSubqueries are how many requests, and queries among them, a
// composite request may hold.
const maxSubrequests, maxSubqueries = 25, 5

// composite serves several queries in one request.
func (s *Sim) composite(c *call) {
	var request struct {
		Requests []struct {
			Method, URL string
			Ref         string `json:"referenceId"`
		} `json:"compositeRequest"`
	}
	if err := json.Unmarshal(c.body, &request); err != nil || len(request.Requests) == 0 {
		c.fail(http.StatusBadRequest, "JSON_PARSER_ERROR", "The request body is not a composite request")
		return
	}
	if len(request.Requests) > maxSubrequests || len(request.Requests) > maxSubqueries {
		c.fail(http.StatusBadRequest, "LIMIT_EXCEEDED", "Your request includes more than 25 subrequests, or more than 5 queries")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	responses := make([]map[string]any, len(request.Requests))
	refs := map[string]bool{}
	for i, r := range request.Requests {
		if r.Ref == "" || refs[r.Ref] {
			c.fail(http.StatusBadRequest, "INVALID_INPUT", "Each subrequest needs a referenceId of its own")
			return
		}
		refs[r.Ref] = true
		u, err := url.Parse(r.URL)
		status, body := http.StatusNotFound, any([]apiError{{Message: "The requested resource does not exist", ErrorCode: "NOT_FOUND"}})
		if m := dataPath.FindStringSubmatch(pathOf(u)); err == nil && m != nil && m[2] == "query" && r.Method == http.MethodGet {
			status, body = s.query(u.Query().Get("q"))
		}
		responses[i] = map[string]any{"body": body, "httpHeaders": map[string]string{}, "httpStatusCode": status, "referenceId": r.Ref}
	}
	c.answer(http.StatusOK, map[string]any{"compositeResponse": responses})
}

func pathOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Path
}
