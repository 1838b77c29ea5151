package customhttp_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/custom-http/customhttpsim"
)

// keyset are settings whose one segment is everybody, by pages that begin after the last
// row of the page before.
func keyset(paging, query table) table {
	q := table{"after_id": "{{.cursor}}"}
	maps.Copy(q, query)
	paging["type"] = "keyset"
	return table{"idempotency": "none", "segments": table{"fixed": []any{table{"id": "all"}}, "members": table{
		"path": "/contacts", "query": q, "headers": table{"X-Segment": "{{.segment.id}}"}, "rows": "data", "ref": "id", "phone": "phone", "paging": paging,
	}}}
}

func TestKeyset_BeginsAfterTheLastRow(t *testing.T) {
	for name, c := range map[string]struct {
		people, asked int
		paging, query table
	}{
		"until an empty page, however many come": {23, 5, table{"path": "id"}, table{"limit": "7"}},
		"until a page of fewer":                  {23, 4, table{"path": "id", "size": 7}, table{"limit": "{{.size}}"}},
		"a last page that is full":               {21, 4, table{"path": "id", "size": 7}, table{"limit": "{{.size}}"}},
		"as many pages as there may be":          {20, 3, table{"path": "id", "size": 7, "max_pages": 3}, table{"limit": "{{.size}}"}},
		"nobody":                                 {0, 1, table{"path": "id"}, nil},
	} {
		b := start(t, customhttpsim.Options{}, keyset(c.paging, c.query), nil)
		for i := range c.people {
			b.sim.AddContact(fmt.Sprintf("+4915112345%03d", i), "")
		}
		got, _ := b.everyone(t, "all", nil)
		refs := map[string]bool{}
		for _, m := range got {
			refs[m.ContactRef] = true
		}
		if len(got) != c.people || len(refs) != c.people || b.asked() != c.asked {
			t.Errorf("%s: %d members, %d different, by %d requests", name, len(got), len(refs), b.asked())
		}
	}
}

func TestKeyset_SaysWhatIsWrong(t *testing.T) {
	row := `{"id":"7","phone":"+4915112345001"}`
	for want, c := range map[string]struct {
		answer string
		paging table
	}{
		"its pages do not end":                    {`{"data":[` + row + `]}`, table{"path": "id"}}, // at or after, where after is meant
		"does not say what the next page":         {`{"data":[` + row + `]}`, table{"path": "key"}},
		"its pages do not end: 1 were read":       {`{"data":[` + row + `]}`, table{"path": "id", "max_pages": 1}},
		"paging.path: missing":                    {``, table{}},
		"paging.max_pages: want 1 to 10000":       {``, table{"path": "id", "max_pages": 10_001}},
		"is for page and offset: with others the": {``, table{"path": "id", "total": "total"}},
	} {
		b := start(t, customhttpsim.Options{}, keyset(c.paging, nil), endless(c.answer))
		var err error
		at := core.Members{}
		for range 3 {
			if at, err = b.connector.Members(t.Context(), b.account, "all", at.Cursor); err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
