package salesforcesim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxSOQL is how many characters a query may have.
const maxSOQL = 100_000

// The sizes of a query's page.
const minBatch, maxBatch = 200, 2000

// batchSize reads how many records a page shall have.
func batchSize(h http.Header) int {
	_, text, _ := strings.Cut(h.Get("Sforce-Query-Options"), "batchSize=")
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && n >= minBatch && n <= maxBatch {
		return n
	}
	return maxBatch
}

// query answers a SOQL query with its first page; binned finds deleted records too.
// The caller holds the lock.
func (s *Sim) query(text string, binned bool, batch int) (int, any) {
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
	var own, related []string
	for _, name := range q.fields {
		if !strings.Contains(name, ".") {
			own = append(own, name)
		} else if err := s.related(t, &record{}, name, map[string]any{}); err != nil {
			return refuse(err.ErrorCode, err.Message)
		} else {
			related = append(related, name)
		}
	}
	names := slices.Concat(own, q.where.fieldsOf())
	for _, o := range q.order {
		names = append(names, o.field)
	}
	for _, name := range names {
		f, ok := t.fields[strings.ToLower(name)]
		if !ok {
			e := noColumn(t, name)
			return refuse(e.ErrorCode, e.Message)
		}
		if f.Type == "textarea" && slices.Contains(q.where.fieldsOf(), name) {
			return refuse("INVALID_FIELD", "field '"+f.Name+"' can not be filtered in a query call")
		}
	}
	if q.where != nil {
		if wrong := q.where.misfits(t); strings.HasPrefix(wrong, "invalid ID") {
			return refuse("INVALID_QUERY_FILTER_OPERATOR", wrong)
		} else if wrong != "" {
			return refuse("INVALID_FIELD", wrong)
		}
	}
	if t.name == "Campaign" {
		s.count(t)
	}
	var list []*record
	for _, r := range t.records {
		if (binned || r.values["isdeleted"] != true) && q.where.holds(r) && (!q.mine || owner(r) == Integration) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b *record) int {
		for _, o := range q.order {
			if n := o.compare(a, b); n != 0 {
				return n
			}
		}
		return 0
	})
	list = list[min(q.offset, len(list)):]
	list = list[:min(len(list), q.limit)]
	if q.count {
		return http.StatusOK, map[string]any{"totalSize": len(list), "done": true, "records": []any{}}
	}
	records := make([]map[string]any, len(list))
	for i, r := range list {
		records[i], _ = t.shown(r, own) // the names were looked at
		for _, name := range related {
			_ = s.related(t, r, name, records[i])
		}
	}
	s.serial++
	if s.opts.QueryPage > 0 {
		batch = min(batch, s.opts.QueryPage)
	}
	return http.StatusOK, s.page(&cursor{id: fmt.Sprintf("01g%012dAAA", s.serial), records: records, batch: batch}, 0)
}

// owner is whose a record is: its maker's, unless it was given to somebody.
func owner(r *record) any {
	if r.values["ownerid"] != nil {
		return r.values["ownerid"]
	}
	return r.values["createdbyid"]
}

// compare orders two records; nulls are first unless they are told to be last.
func (o ordering) compare(a, b *record) int {
	x, y := a.values[strings.ToLower(o.field)], b.values[strings.ToLower(o.field)]
	if x == nil || y == nil {
		n := 0
		switch {
		case x == nil && y != nil:
			n = -1
		case x != nil:
			n = 1
		}
		if o.nullsLast {
			n = -n
		}
		return n
	}
	n := strings.Compare(strings.ToLower(fmt.Sprint(x)), strings.ToLower(fmt.Sprint(y)))
	if f, ok := x.(float64); ok {
		g, _ := y.(float64)
		n = cmp.Compare(f, g)
	}
	if o.down {
		return -n
	}
	return n
}

// cursor is an answer of which pages are left.
type cursor struct {
	id      string
	records []map[string]any
	batch   int
}

// maxCursors is how many cursors are kept.
const maxCursors = 10

// page answers with the records from a place on. The caller holds the lock.
func (s *Sim) page(k *cursor, from int) map[string]any {
	to := min(from+k.batch, len(k.records))
	out := map[string]any{"totalSize": len(k.records), "done": to == len(k.records), "records": k.records[from:to]}
	if to == len(k.records) {
		return out
	}
	if !slices.Contains(s.cursors, k) {
		if s.cursors = append(s.cursors, k); len(s.cursors) > maxCursors {
			s.cursors = s.cursors[1:]
		}
	}
	out["nextRecordsUrl"] = fmt.Sprintf("/services/data/v%d.0/query/%s-%d", newest, k.id, to)
	return out
}

// more answers with a further page: its locator is a cursor's id and a place.
func (s *Sim) more(locator string) (int, any) {
	id, place, _ := strings.Cut(locator, "-")
	from, err := strconv.Atoi(place)
	i := slices.IndexFunc(s.cursors, func(k *cursor) bool { return k.id == id })
	if err != nil || i < 0 || from < 0 || from > len(s.cursors[i].records) {
		return http.StatusBadRequest, []apiError{{Message: "invalid query locator", ErrorCode: "INVALID_QUERY_LOCATOR"}}
	}
	return http.StatusOK, s.page(s.cursors[i], from)
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
			status, body = s.query(u.Query().Get("q"), false, maxBatch)
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
