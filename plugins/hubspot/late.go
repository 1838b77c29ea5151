package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/wabridge/wabridge/core"
)

// overtaken reports whether what the step writes may have been overtaken: a status by one that
// is further on, a message by what became of it.
func (st *step) overtaken() bool {
	if st.err != nil || !st.late || st.message == nil {
		return false
	}
	k := st.event.Kind
	return k == core.KindMessageStatus || k == core.KindMessageReceived || k == core.KindMessageSent
}

// keepFurther sees to it that late statuses replace none that is further on, and late messages
// not what was edited or taken back since. It finds messages that an earlier attempt made of a
// status, and got no further.
func (x *session) keepFurther(ctx context.Context, p *plan) {
	var late []*step
	for i := range p.steps {
		if st := &p.steps[i]; st.overtaken() {
			late = append(late, st)
		}
	}
	if len(late) == 0 {
		return
	}
	if err := x.compare(ctx, late); err != nil {
		for _, st := range late {
			st.err = err
		}
	}
}

func (x *session) compare(ctx context.Context, late []*step) *core.Error {
	keys := make([]string, len(late))
	for i, st := range late {
		keys[i] = st.message.key
	}
	slices.Sort(keys)
	names := []string{x.MessageKey, messageBody}
	if x.StatusProperty != "" {
		names = append(names, x.StatusProperty)
	}
	found, err := x.readRecords(ctx, "communications", x.MessageKey, slices.Compact(keys), names)
	if err != nil {
		if err.Vendor == "PROPERTY_DOESNT_EXIST" { // so nothing has the key
			return nil
		}
		return err
	}
	there := make(map[string]*pulled, len(found)) // by key
	for i := range found {
		there[found[i].text(x.MessageKey)] = &found[i]
	}
	var ends []end
	made := map[string]*row{} // by id: of statuses
	for _, st := range late {
		r, is := st.message, there[st.message.key]
		switch {
		case is == nil:
		case st.event.Kind != core.KindMessageStatus:
			if is.text(messageBody) != "" {
				r.drop(messageBody)
			}
		default:
			if !core.StatusValue(is.text(x.StatusProperty)).Advances(core.StatusValue(r.get(x.StatusProperty))) {
				r.drop(x.StatusProperty)
				r.drop(x.StatusErrorProperty)
			}
			if is.text(messageBody) == "" && made[is.ID] == nil { // a message is linked by its own event
				made[is.ID], ends = r, append(ends, end{ID: is.ID})
			}
		}
	}
	if len(ends) == 0 {
		return nil
	}
	all, err := x.tied(ctx, "communications", "contacts", ends)
	if err != nil {
		return err
	}
	for _, r := range made {
		r.unlinked = true
	}
	for i := range all {
		if r := made[string(all[i].From.ID)]; r != nil && len(all[i].To) > 0 {
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
