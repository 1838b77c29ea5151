package hubspot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/wabridge/wabridge/core"
)

// What was deleted no search finds. HubSpot lists the contacts of its recycle bin by
// their ids, with the time when each came there, so all of them are read, now and then:
// https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/contacts/get-contacts.
// Webhooks tell at once.

const (
	binEvery = time.Hour
	binLimit = 100
	// binPages bounds a reading: of 50,000 deleted contacts those with later ids are told
	// by webhook only.
	binPages = 500
)

// bin is how far what was deleted is told, in milliseconds.
type bin struct {
	// Since is what was told, High what was seen in this reading, Next when the next one
	// begins.
	Since int64  `json:"since"`
	High  int64  `json:"high,omitempty"`
	Next  int64  `json:"next,omitempty"`
	After string `json:"after,omitempty"`
	Pages int    `json:"pages,omitempty"`
}

// deleted tells of a page of what was deleted since; at first, of what is from now on.
func (x *session) deleted(ctx context.Context, at **bin, now time.Time) (events []core.Event, more bool, _ *core.Error) {
	b := *at
	if b == nil {
		*at = &bin{Since: now.UnixMilli(), Next: now.Add(binEvery).UnixMilli()}
		return nil, false, nil
	}
	if b.After == "" && now.UnixMilli() < b.Next {
		return nil, false, nil
	}
	var page struct {
		Results []struct {
			ID string    `json:"id"`
			At time.Time `json:"archivedAt"`
		} `json:"results"`
		Paging struct{ Next struct{ After string } }
	}
	query := url.Values{"archived": {"true"}, "limit": {fmt.Sprint(binLimit)}, "properties": {"hs_object_id"}}
	if b.After != "" {
		query.Set("after", b.After)
	}
	r := x.call(ctx, "read deleted contacts", http.MethodGet, x.path("objects", "contacts")+"?"+query.Encode(), nil, func(body []byte) error {
		return whole(body, &page, func() bool { return page.Results != nil })
	})
	if err := r.reading(); err != nil {
		return nil, false, err
	}
	for _, d := range page.Results {
		if ms := d.At.UnixMilli(); d.ID != "" && ms >= b.Since {
			b.High = max(b.High, ms)
			events = append(events, goneEvent(d.ID, ms))
		}
	}
	b.Pages++
	if b.After = page.Paging.Next.After; b.After != "" && b.Pages < binPages {
		return events, true, nil
	}
	// Of what went while this was read, those with ids that were past are for the next reading.
	*at = &bin{Since: max(b.Since, b.High-binEvery.Milliseconds()), Next: now.Add(binEvery).UnixMilli()}
	return events, false, nil
}

// goneEvent tells that a record is no more, since a time in milliseconds.
func goneEvent(record string, ms int64) core.Event {
	sum := sha256.Sum256(fmt.Appendf(nil, "gone %s %d", record, ms))
	e := core.Event{ID: hex.EncodeToString(sum[:16]), Kind: core.KindContactGone, ContactRef: record, Time: time.Now().UTC()}
	if ms > 0 {
		e.Time = time.UnixMilli(ms).UTC()
	}
	return e
}
