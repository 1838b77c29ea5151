package connectortest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// checkUnknown gives a setting that there is not: whoever mistypes the name of one must
// be told, as the connector would go on without it.
func checkUnknown(ctx context.Context, p *probe) {
	const unknown = "no_such_setting"
	var settings map[string]any
	if err := json.Unmarshal(p.Account.Settings, &settings); err != nil {
		p.failf("the target's settings are no object: %v", err)
		return
	}
	if settings == nil {
		settings = map[string]any{}
	}
	settings[unknown] = "x"
	account := p.Account
	var err error
	if account.Settings, err = json.Marshal(settings); err != nil {
		p.failf("%v", err)
		return
	}
	err = p.Connector.Check(ctx, account)
	p.see(err)
	switch e := core.AsError(err); {
	case err == nil:
		p.failf("Check finds nothing wrong with the setting %s", unknown)
	case core.CodeOf(err) != core.CodeInvalid || !strings.Contains(e.Error()+e.Hint, unknown):
		p.failf("want invalid, and the name %s, got %s: %v", unknown, core.CodeOf(err), err)
	}
}

// deliverWhole delivers the longest text that WhatsApp brings: 4096 characters, see
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages.
func deliverWhole(ctx context.Context, p *probe) {
	if p.Texts == nil {
		p.skip("the target has no Texts")
		return
	}
	e := p.event()
	var text strings.Builder
	for n := 1; text.Len() < 4050; n++ {
		fmt.Fprintf(&text, "word%d ", n)
	}
	text.WriteString("größer שלום 🙂 the end.")
	e.Message.Text = text.String()
	b := batch(e)
	p.mustDeliver(ctx, b)
	got := p.Texts()[e.ID]
	if !strings.Contains(got, e.Message.Text) {
		p.failf("of a text of %d bytes the CRM has %d, which end with %q: want all of it, or Deliver to say invalid",
			len(e.Message.Text), len(got), got[max(0, len(got)-30):])
	}
}

// failWait is how long the CRM says that it wants no more requests.
const failWait = 7 * time.Second

// errorsStatuses has the CRM answer with statuses that say nothing about the event: none
// of them may become a dead letter.
func errorsStatuses(ctx context.Context, p *probe) {
	if p.Fail == nil {
		p.skip("the target has no Fail")
		return
	}
	for _, status := range []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		b := batch(p.events(min(2, p.max()))...)
		p.Fail(status)
		short, cancel := context.WithTimeout(ctx, failWait)
		began := time.Now()
		results := p.deliver(short, p.Account, b)
		took := time.Since(began)
		cancel()
		p.Fail(0)
		if took > failWait+prompt {
			p.failf("%d: Deliver took %v with a deadline of %v", status, took, failWait)
		}
		for _, d := range b {
			p.wantOf(status, results[d.Event.ID].Err)
		}
		if status != http.StatusTooManyRequests { // after that it may wait
			p.mustDeliver(ctx, b)
			p.wantOnce(b)
		}
	}
}

// wantOf wants an error to be what the CRM's status says.
func (p *probe) wantOf(status int, err *core.Error) {
	switch code := core.CodeOf(asError(err)); {
	case err == nil:
		p.failf("%d: done, though the CRM took nothing", status)
	case status != http.StatusTooManyRequests && code != core.CodeUnavailable && code != core.CodeUnknownOutcome:
		p.failf("%d: want unavailable (or unknown_outcome, where it may have been done), got %s: %v", status, code, err)
	case status == http.StatusTooManyRequests && code != core.CodeRateLimited:
		p.failf("429: want rate_limited, got %s: %v", code, err)
	case status == http.StatusTooManyRequests && (err.RetryAfter < failWait-2*time.Second || err.RetryAfter > 10*failWait):
		p.failf("429: Retry-After is %v, the error says %v: the bridge waits as long as the error says", failWait, err.RetryAfter)
	}
}
