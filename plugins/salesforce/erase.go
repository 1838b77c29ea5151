package salesforce

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// eraseRounds bounds how many queries one erasure makes for what is to be deleted.
const eraseRounds = 50

// erase deletes a contact, and of what points to it the messages and escalations that the
// bridge wrote. They are in the recycle bin for 15 days. What is not there any more is
// erased.
func (x *session) erase(ctx context.Context, e *core.Event) *core.Error {
	if e.Contact == nil || e.Contact.ID == "" {
		return crm.Failure(core.CodeInvalid, "erase", "the event has no contact id")
	}
	if x.Erase == "keep" {
		return nil
	}
	list, err := x.query(ctx, "contact read", "SELECT Id, "+x.ContactKey+" FROM "+x.ContactObject+" WHERE "+x.ContactKey+" IN (", []string{quoted(e.Contact.ID)}, ", ", ") LIMIT 2")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(f found) bool { return f.text(x.ContactKey) == e.Contact.ID && recordID.MatchString(f.text("Id")) })
	if i < 0 {
		return nil
	}
	id := list[i].text("Id")
	const hand = "delete the contact, its messages and its cases or tasks by hand in Salesforce"
	if x.Mode != "none" {
		err = x.removeAll(ctx, x.MessageObject, x.MessageContact, x.MessageKey, id, hand)
	}
	if err == nil && x.Escalations != "none" {
		err = x.removeAll(ctx, x.escalationObject(), x.escalationLink(), x.EscalationKey, id, hand)
	}
	if err == nil {
		err = x.remove(ctx, x.ContactObject, []string{id}, hand)
	}
	return err
}

// removeAll removes the records with a key of ours that point to a contact.
func (x *session) removeAll(ctx context.Context, object, link, key, contact, hand string) *core.Error {
	for range eraseRounds {
		list, err := x.query(ctx, "erase read", "SELECT Id FROM "+object+" WHERE "+key+" != null AND "+link+" = ", []string{quoted(contact)}, "", " ORDER BY Id LIMIT 2000")
		if err != nil || len(list) == 0 {
			return err
		}
		ids := make([]string, len(list))
		for i, f := range list {
			ids[i] = f.text("Id")
		}
		for part := range slices.Chunk(ids, maxBatch) {
			if err := x.remove(ctx, object, part, hand); err != nil {
				return err
			}
		}
	}
	return crm.Failure(core.CodeUnavailable, "erase", "the contact has very many records of %s: the next attempt goes on", object)
}

// remove puts records, [maxBatch] at most, into the recycle bin. One that is not there is
// removed. hand says what a person can do where Salesforce does not let us: that is then
// theirs to see to, as the lane has other work.
func (x *session) remove(ctx context.Context, object string, ids []string, hand string) *core.Error {
	op := object + " delete"
	var outcomes []outcome
	path := "composite/sobjects?allOrNone=false&ids=" + url.QueryEscape(strings.Join(ids, ","))
	refusedBy := func(err *core.Error) *core.Error {
		if err.Code == core.CodeInvalid || err.Code == core.CodeForbidden {
			err.Code, err.Scope = core.CodeUndeliverable, core.ScopeEvent
			err.Hint = "let the bridge's user delete records of " + object + ", or " + hand + ", then replay or resolve this"
		}
		return err
	}
	if r := x.call(ctx, op, http.MethodDelete, path, nil, func(b []byte) error { return json.Unmarshal(b, &outcomes) }); r != nil {
		return refusedBy(r.Error)
	}
	if len(outcomes) != len(ids) {
		return crm.Failure(core.CodeUnknownOutcome, op, "the answer is about %d records, not %d", len(outcomes), len(ids))
	}
	for _, o := range outcomes {
		switch {
		case o.Success, len(o.Errors) > 0 && o.Errors[0].code() == "ENTITY_IS_DELETED":
		case len(o.Errors) > 0:
			return refusedBy(x.rowError(op, o.Errors[0]))
		default:
			return crm.Failure(core.CodeUnknownOutcome, op, "the answer says nothing of a record")
		}
	}
	return nil
}
