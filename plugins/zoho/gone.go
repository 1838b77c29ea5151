package zoho

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Of a contact that was deleted, or merged into another, Zoho says the record's id and
// nothing by which the person is known: see
// https://www.zoho.com/crm/developer/docs/api/v8/get-deleted-records.html. The bridge
// knows whose it was, where Deliver or Poll told of the record.

const (
	binLimit = 200
	// binPages is how far Zoho's list is read: what was deleted at once beyond that is
	// not told.
	binPages = 10
)

// bin is how far what was deleted was told.
type bin struct {
	Since time.Time `json:"since"`
	High  time.Time `json:"high"`
	Page  int       `json:"page,omitempty"` // the next one of a list that is read
}

// gone tells of a page of what was deleted since; at first, of what is after now,
// which is by Zoho's clock.
func (x *session) gone(ctx context.Context, at **bin, now time.Time) (events []core.Event, more bool, _ *core.Error) {
	b := *at
	if b == nil {
		*at = &bin{Since: now, High: now}
		return nil, false, nil
	}
	b.Page = max(b.Page, 1)
	var a struct {
		Data []struct {
			ID string `json:"id"`
			At string `json:"deleted_time"`
		} `json:"data"`
		Info struct {
			More bool `json:"more_records"`
		} `json:"info"`
	}
	r := x.request(ctx, crm.Call{
		Op: "read deleted contacts", Cost: 2, Method: http.MethodGet, Header: http.Header{"If-Modified-Since": {b.Since.UTC().Format(clock)}},
		URL: x.api(fmt.Sprintf("%s/deleted?type=all&per_page=%d&page=%d", x.ContactModule, binLimit, b.Page)),
	}, func(body []byte) error { return crm.Decode(body, &a) })
	if r != nil {
		return nil, false, r.Error
	}
	for i, d := range a.Data {
		when, err := time.Parse(time.RFC3339, d.At)
		if err != nil || !recordID.MatchString(d.ID) || i >= binLimit {
			continue
		}
		if when.After(b.High) {
			b.High = when.UTC()
		}
		events = append(events, goneEvent(d.ID, when.UTC().Format(clock), when.UTC()))
	}
	if b.Page++; a.Info.More && b.Page <= binPages {
		return events, true, nil
	}
	b.Since, b.Page = b.High, 0
	return events, false, nil
}

func goneEvent(record, when string, at time.Time) core.Event {
	return core.Event{ID: eventID("gone", record, when), Kind: core.KindContactGone, Time: at, ContactRef: record}
}

// missing tells which of the records that a notification calls deleted are not there.
func (x *session) missing(ctx context.Context, list []string, at json.Number) ([]core.Event, *core.Error) {
	there, err := x.query(ctx, x.ContactModule, in("id", list), "id")
	if err != nil {
		return nil, err
	}
	still := map[string]bool{}
	for _, f := range there {
		still[f.id()] = true
	}
	when := time.Time{}
	if ms, err := at.Int64(); err == nil {
		when = time.UnixMilli(ms).UTC()
	}
	var events []core.Event
	for _, id := range list {
		if !still[id] {
			events = append(events, goneEvent(id, at.String(), when))
		}
	}
	return events, nil
}
