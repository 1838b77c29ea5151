package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// merge makes one record of those of two contacts that became one. HubSpot's own
// merging keeps the activities, associations and values of both, and cannot be undone:
// https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/contacts/merge-contacts
func (x *session) merge(ctx context.Context, e *core.Event) (record string, _ *core.Error) {
	if e.Merge == nil || e.Contact == nil || e.Contact.ID == "" || e.Merge.Contact.ID == "" {
		return "", crm.Failure(core.CodeInvalid, "merge", "the event does not say which contacts")
	}
	if x.OnMerge == "keep" {
		return "", nil
	}
	kept, gone, err := x.bothOf(ctx, e)
	if err != nil {
		return "", err
	}
	stays, goes, err := crm.OneOf(x.OnMerge, "HubSpot", kept, gone)
	if err != nil || stays == "" {
		return "", err
	}
	record = stays
	if goes != "" {
		var made struct {
			ID string `json:"id"`
		}
		body, _ := json.Marshal(map[string]string{"primaryObjectId": stays, "objectIdToMerge": goes}) //nolint:errchkjson // texts
		r := x.call(ctx, "contact merge", http.MethodPost, x.path("objects", "contacts/merge"), body, func(b []byte) error { return crm.Decode(b, &made) })
		switch {
		case r != nil && r.notThere(): // one went just now: the next attempt sees what there is
			r.Code, r.Hint = core.CodeUnavailable, ""
			return "", r.Error
		case r != nil:
			return "", r.Error
		case made.ID == "":
			return "", crm.Failure(core.CodeUnknownOutcome, "contact merge", "the answer holds no record")
		}
		record = made.ID // of its own, since 2025
	}
	if stays == kept.ID {
		return record, nil
	}
	body, _ := json.Marshal(map[string]any{"properties": map[string]string{x.ContactKey: e.Contact.ID}}) //nolint:errchkjson // texts
	if r := x.call(ctx, "contact update", http.MethodPatch, x.path("objects", "contacts/"+record), body, ignore); r != nil {
		return "", r.Error
	}
	return record, nil
}

// bothOf reads the records of the contact that stays and of the one that went.
func (x *session) bothOf(ctx context.Context, e *core.Event) (kept, gone crm.Record, _ *core.Error) {
	body, _ := json.Marshal(map[string]any{ //nolint:errchkjson // texts
		"idProperty": x.ContactKey, "properties": []string{x.ContactKey}, "propertiesWithHistory": []string{},
		"inputs": []map[string]string{{"id": e.Contact.ID}, {"id": e.Merge.Contact.ID}},
	})
	var found struct {
		Results []struct {
			ID         string             `json:"id"`
			Created    time.Time          `json:"createdAt"`
			Properties map[string]*string `json:"properties"`
		} `json:"results"`
	}
	r := x.call(ctx, "contact read", http.MethodPost, x.path("objects", "contacts/batch/read"), body, func(b []byte) error { return crm.Decode(b, &found) })
	if r != nil && !r.notThere() {
		return kept, gone, r.Error
	}
	for _, f := range found.Results {
		key := f.Properties[x.ContactKey]
		switch {
		case key == nil:
		case *key == e.Contact.ID:
			kept = crm.Record{ID: f.ID, Ours: crm.MadeFor(f.Created, e.Merge.KeptSince)}
		case *key == e.Merge.Contact.ID:
			gone = crm.Record{ID: f.ID, Ours: crm.MadeFor(f.Created, e.Merge.Since)}
		}
	}
	return kept, gone, nil
}
