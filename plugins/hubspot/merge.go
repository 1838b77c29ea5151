package hubspot

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// merging makes one record of two. HubSpot's own merging keeps the activities,
// associations and values of both, and cannot be undone:
// https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/contacts/merge-contacts
func (x *session) merging() *crm.Merging {
	return &crm.Merging{CRM: "HubSpot", Both: x.bothOf, Into: x.mergeInto, Key: func(ctx context.Context, record, contact string) *core.Error {
		body, _ := json.Marshal(map[string]any{"properties": map[string]string{x.ContactKey: contact}})
		if r := x.call(ctx, "contact update", http.MethodPatch, x.path("objects", "contacts/"+record), body, ignore); r != nil {
			return r.Error
		}
		return nil
	}}
}

func (x *session) mergeInto(ctx context.Context, from, to string) (record string, _ *core.Error) {
	const op = "contact merge"
	var made struct {
		ID string `json:"id"`
	}
	body, _ := json.Marshal(map[string]string{"primaryObjectId": to, "objectIdToMerge": from}) //nolint:errchkjson // texts
	r := x.call(ctx, op, http.MethodPost, x.path("objects", "contacts/merge"), body, func(b []byte) error { return crm.Decode(b, &made) })
	switch {
	case r != nil && r.notThere(): // one went just now: the next attempt sees what there is
		r.Code, r.Hint = core.CodeUnavailable, ""
		return "", r.Error
	case r != nil:
		return "", r.Error
	case made.ID == "":
		return "", crm.Failure(core.CodeUnknownOutcome, op, "the answer holds no record")
	}
	return made.ID, nil // of its own, since 2025
}

// bothOf reads the records of the contact that stays and of the one that went.
func (x *session) bothOf(ctx context.Context, e *core.Event) (kept, gone crm.Record, _ *core.Error) {
	found, err := x.readRecords(ctx, "contacts", x.ContactKey, []string{e.Contact.ID, e.Merge.Contact.ID}, []string{x.ContactKey, "createdate"})
	if err != nil {
		return kept, gone, err
	}
	for i := range found {
		switch f := &found[i]; f.text(x.ContactKey) {
		case e.Contact.ID:
			kept = crm.Record{ID: f.ID, Ours: crm.MadeFor(f.created(), e.Merge.KeptSince)}
		case e.Merge.Contact.ID:
			gone = crm.Record{ID: f.ID, Ours: crm.MadeFor(f.created(), e.Merge.Since)}
		}
	}
	return kept, gone, nil
}
