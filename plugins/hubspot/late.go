package hubspot

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/wabridge/wabridge/core"
)

// keepFurther sees to it that late statuses replace none that is further on, and finds
// messages that an earlier attempt made of a status, and got no further.
func (x *session) keepFurther(ctx context.Context, p *plan) {
	late := map[string]*row{}
	var keys []string
	for i := range p.steps {
		if st := &p.steps[i]; st.err == nil && st.late && st.message != nil && late[st.message.key] == nil {
			late[st.message.key] = st.message
			keys = append(keys, st.message.key)
		}
	}
	if len(late) == 0 {
		return
	}
	if err := x.compare(ctx, late, keys); err != nil {
		for i := range p.steps {
			if st := &p.steps[i]; st.err == nil && st.late && st.message != nil {
				st.err = err
			}
		}
	}
}

func (x *session) compare(ctx context.Context, late map[string]*row, keys []string) *core.Error {
	names := []string{x.MessageKey}
	if x.StatusProperty != "" {
		names = append(names, x.StatusProperty)
	}
	found, err := x.readRecords(ctx, "communications", x.MessageKey, keys, names)
	switch {
	case err != nil && err.Vendor == "PROPERTY_DOESNT_EXIST": // so nothing has the key
		return nil
	case err != nil || len(found) == 0:
		return err
	}
	records := make(map[string]*row, len(found)) // by id
	ends := make([]end, 0, len(found))
	for i := range found {
		r := late[found[i].text(x.MessageKey)]
		if r == nil {
			continue
		}
		records[found[i].ID] = r
		ends = append(ends, end{ID: found[i].ID})
		if !core.StatusValue(found[i].text(x.StatusProperty)).Advances(core.StatusValue(r.get(x.StatusProperty))) {
			r.drop(x.StatusProperty)
			r.drop(x.StatusErrorProperty)
		}
	}
	all, err := x.tied(ctx, "communications", "contacts", ends)
	if err != nil {
		return err
	}
	for _, r := range records {
		r.unlinked = true
	}
	for i := range all {
		if r := records[string(all[i].From.ID)]; r != nil && len(all[i].To) > 0 {
			r.unlinked = false
		}
	}
	return nil
}

// end is a record of which associations are asked for, from a place on.
type end struct {
	ID    string `json:"id"`
	After string `json:"after,omitempty"`
}

// endBatch is the body of a batch of them.
type endBatch struct {
	Inputs []end `json:"inputs"`
}

// tied is a page of what is associated with a record.
type tied struct {
	From struct {
		ID word `json:"id"`
	} `json:"from"`
	To []struct {
		ID json.Number `json:"toObjectId"`
	} `json:"to"`
	Paging struct{ Next struct{ After string } }
}

// tied reads what records are associated with. Those that are gone are left out, and so may
// be those with nothing.
func (x *session) tied(ctx context.Context, from, to string, of []end) ([]tied, *core.Error) {
	op := to + " read"
	var page reads[tied]
	body, _ := json.Marshal(endBatch{of}) //nolint:errchkjson // texts
	r := x.call(ctx, op, http.MethodPost, x.path("associations", from+"/"+to+"/batch/read"), body, func(b []byte) error {
		return whole(b, &page, page.whole)
	})
	if r != nil && r.notThere() {
		return nil, nil
	}
	if err := r.reading(); err != nil {
		return nil, err
	}
	return page.Results, x.unread(op, page.Errors)
}
