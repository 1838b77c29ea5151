package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// maxRounds bounds how many pages of communications one erasure reads: 500 at
// least in each.
const maxRounds = 200

// erase erases a contact and what is logged of its messages. What is not there
// any more is erased.
func (x *session) erase(ctx context.Context, st *step) {
	if st.event.Contact == nil || st.event.Contact.ID == "" {
		st.err = crm.Failure(core.CodeInvalid, "erase", "the event has no contact id")
		return
	}
	if x.Erase == "keep" {
		return
	}
	id, err := x.recordOf(ctx, st.event.Contact.ID)
	if err != nil || id == "" {
		st.err = err
		return
	}
	if st.err = x.eraseTied(ctx, id, "communications"); st.err != nil {
		return
	}
	if x.Escalations == "tickets" {
		if st.err = x.eraseTied(ctx, id, "tickets"); st.err != nil {
			return
		}
	}
	if x.inbox() {
		if st.err = x.eraseThreads(ctx, id); st.err != nil {
			return
		}
	}
	if x.Erase == "archive" {
		st.err = x.gone(x.call(ctx, "contact archive", http.MethodDelete, x.path("objects", "contacts/"+id), nil, ignore))
		return
	}
	body, _ := json.Marshal(map[string]string{"objectId": id}) //nolint:errchkjson // texts
	st.err = x.gone(x.call(ctx, "contact erase", http.MethodPost, x.path("objects", "contacts/gdpr-delete"), body, ignore))
}

// gone takes what is not there for what was erased. Where HubSpot does not let us
// erase, a person has to: the lane has other work.
func (x *session) gone(r *refusal) *core.Error {
	switch {
	case r == nil, r.notThere():
		return nil
	case r.Code == core.CodeForbidden:
		r.Code, r.Scope = core.CodeUndeliverable, core.ScopeEvent
		if r.Hint != "" {
			r.Hint += ", or "
		}
		r.Hint += `set settings.erase to "archive", and replay this; or delete the contact by hand in HubSpot, and resolve it`
	}
	return r.Error
}

func (r *refusal) notThere() bool {
	return r.status == http.StatusNotFound && r.answer.Category == "OBJECT_NOT_FOUND"
}

// recordOf finds the record of a contact by its key, "" when there is none.
func (x *session) recordOf(ctx context.Context, contact string) (string, *core.Error) {
	var found struct {
		ID string `json:"id"`
	}
	path := x.path("objects", "contacts/"+url.PathEscape(contact)) + "?idProperty=" + url.QueryEscape(x.ContactKey)
	r := x.call(ctx, "contact read", http.MethodGet, path, nil, func(b []byte) error { return crm.Decode(b, &found) })
	switch {
	case r != nil && r.notThere():
		return "", nil
	case r != nil:
		return "", r.reading()
	case found.ID == "":
		return "", crm.Failure(core.CodeUnavailable, "contact read", "the answer holds no record")
	}
	return found.ID, nil
}

// eraseTied archives a contact's communications over WhatsApp, or the tickets of their
// escalations: GDPR deletion takes the contact along, and nobody says with what. What others
// logged or opened is theirs to see to.
func (x *session) eraseTied(ctx context.Context, contact, object string) *core.Error {
	mark, ours := "hs_communication_channel_type", func(v string) bool { return v == channelType }
	if object == "tickets" {
		mark, ours = x.TicketKey, func(v string) bool { return v != "" }
	}
	from := end{ID: contact}
	for range maxRounds {
		page, err := x.tied(ctx, "contacts", object, []end{from})
		if err != nil {
			return err
		}
		var ids []string
		from.After = ""
		for _, res := range page {
			from.After = res.Paging.Next.After
			for _, to := range res.To {
				ids = append(ids, to.ID.String())
			}
		}
		for ids := range slices.Chunk(ids, maxBatch) {
			found, err := x.readRecords(ctx, object, "", ids, []string{mark})
			if err != nil {
				return err
			}
			var gone []end
			for i := range found {
				if ours(found[i].text(mark)) {
					gone = append(gone, end{ID: found[i].ID})
				}
			}
			if len(gone) == 0 {
				continue
			}
			body, _ := json.Marshal(endBatch{gone}) //nolint:errchkjson // texts
			if r := x.call(ctx, object+" archive", http.MethodPost, x.path("objects", object+"/batch/archive"), body, ignore); r != nil && !r.notThere() {
				return r.Error
			}
		}
		if from.After == "" {
			return nil
		}
	}
	return &core.Error{Code: core.CodeUnavailable, Op: "erase", Source: core.SourcePlugin, Message: "the contact has very many " + object + ": the next attempt goes on"}
}

// eraseThreads puts a contact's threads on the channel into the recycle bin, from which
// they go for good after 30 days. See
// https://developers.hubspot.com/docs/api-reference/legacy/conversations/conversations/threads/delete-conversation.
func (x *session) eraseThreads(ctx context.Context, contact string) *core.Error {
	var ours []string
	for _, status := range []string{"OPEN", "CLOSED"} {
		query := url.Values{"associatedContactId": {contact}, "threadStatus": {status}, "limit": {"100"}}
		for range maxRounds {
			var page struct {
				Results []struct {
					ID      string `json:"id"`
					Channel word   `json:"originalChannelId"`
				} `json:"results"`
				Paging struct{ Next struct{ After string } }
			}
			r := x.call(ctx, "threads read", http.MethodGet, x.conversations("conversations", "threads")+"?"+query.Encode(), nil, func(b []byte) error {
				return whole(b, &page, func() bool { return page.Results != nil })
			})
			if r.reading() != nil {
				return x.gone(r)
			}
			for _, t := range page.Results {
				if string(t.Channel) == x.ChannelID {
					ours = append(ours, t.ID)
				}
			}
			if page.Paging.Next.After == "" {
				break
			}
			query.Set("after", page.Paging.Next.After)
		}
	}
	for _, id := range ours {
		if err := x.gone(x.call(ctx, "thread archive", http.MethodDelete, x.conversations("conversations", "threads/"+url.PathEscape(id)), nil, ignore)); err != nil {
			return err
		}
	}
	return nil
}
