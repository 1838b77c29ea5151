package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin"
)

// prompt is how soon a call must be back when its context has ended.
const prompt = 2 * time.Second

var rules = []rule{
	{"info/valid", "Info has a name, a batch size of 1 to 1000 and says what a repeated event does", infoValid},
	{"info/constant", "Info always answers the same", infoConstant},
	{"check/good", "Check finds nothing wrong with an account that works", checkGood},
	{"check/settings", "Check's error for a bad setting is invalid and names the setting", checkSettings},
	{"check/unknown", "a setting that does not exist is invalid, and Check names it: else a mistyped one is lost", checkUnknown},
	{"check/secrets", "secrets that the CRM refuses are unauthenticated (or forbidden), in Check and in Deliver", checkSecrets},
	{"check/stalled", "when the CRM does not answer, Check says so in time", checkStalled},
	{"deliver/empty", "an empty batch has no results", deliverEmpty},
	{"deliver/one-result", "each event has exactly one result, found by its id", deliverOneResult},
	{"deliver/full", "a batch of MaxBatch events is taken", deliverFull},
	{"deliver/kinds", "every kind of event that a CRM gets is done", deliverKinds},
	{"deliver/amended", "what becomes of a message is written to the record that the message has", deliverAmended},
	{"deliver/unknown", "kinds and message types that nobody knows yet are done at once", deliverUnknown},
	{"deliver/bsuid", "people without a phone number are people", deliverBSUID},
	{"deliver/hostile", "no text harms: an event is done, or refused as invalid, and its neighbours are done", deliverHostile},
	{"deliver/whole", "the longest text that WhatsApp brings (4096 characters) is written as a whole", deliverWhole},
	{"deliver/again", "the same events again are harmless, as Info.Idempotency promises, at the same time too", deliverAgain},
	{"deliver/replaced", "the same events again are harmless to another process of the plugin, too: it keeps nothing", deliverReplaced},
	{"deliver/merged", "a merge of two contacts is done, or left to a person, however often it comes, and loses nothing", deliverMerged},
	{"deliver/concurrent", "many calls at once do not disturb each other", deliverConcurrent},
	{"deliver/cancelled", "a call returns promptly when its context has ended", deliverCancelled},
	{"deliver/stalled", "when the CRM does not answer in time the outcome is unknown or unavailable, and a later attempt works", deliverStalled},
	{"poll/sound", "Poll tells of changes that a CRM may tell of, as often as it is asked the same, and goes on", pollSound},
	{"poll/properties", "Poll leaves out properties of the lane's mapping that the CRM does not have", pollProperties},
	{"webhook/forged", "a request that the CRM did not sign is unauthenticated and tells of nothing", webhookForged},
	{"describe/sound", "Describe names properties once each, with types that exist, and suggests rules that can be", describeSound},
	{"segments/sound", "Segments have IDs of their own and names, and are found by a part of the name in any case, or by the ID", segmentsSound},
	{"segments/members", "Members of a segment come in pages that end, each once, and the same when a page is asked for again", segmentsMembers},
	{"segments/unknown", "Members of a segment that does not exist are invalid", segmentsUnknown},
	{"errors/statuses", "no fault of the CRM's own (500, 502, 503, 429) is the event's: it is tried again, after 429 when the CRM says", errorsStatuses},
	{"errors/codes", "every error has a code of the closed set and one line of text", errorsCodes},
	{"errors/private", "no secret and no phone number is in any result or error", errorsPrivate},
}

func infoValid(_ context.Context, p *probe) {
	if err := plugin.ValidateInfo(p.Connector.Info()); err != nil {
		p.failf("%v", err)
	}
}

func infoConstant(_ context.Context, p *probe) {
	if a, b := p.Connector.Info(), p.Connector.Info(); !reflect.DeepEqual(a, b) {
		p.failf("first %+v, then %+v", a, b)
	}
}

func checkGood(ctx context.Context, p *probe) {
	for _, name := range p.Connector.Info().Secrets {
		if _, ok := p.Account.Secrets[name]; !ok {
			p.failf("Info asks for the secret %q, which the target's account does not have", name)
		}
	}
	if err := p.Connector.Check(ctx, p.Account); err != nil {
		p.see(err)
		p.failf("got %v", err)
	}
}

func checkSettings(ctx context.Context, p *probe) {
	if len(p.BadSettings) == 0 {
		p.skip("the target has no BadSettings")
	}
	for _, setting := range slices.Sorted(maps.Keys(p.BadSettings)) {
		account := p.Account
		account.Settings = p.BadSettings[setting]
		err := p.Connector.Check(ctx, account)
		if err == nil {
			p.failf("%s: want an error for the settings %s", setting, account.Settings)
			continue
		}
		p.see(err)
		if core.CodeOf(err) != core.CodeInvalid {
			p.failf("%s: want code invalid, got %s: %v", setting, core.CodeOf(err), err)
		}
		if e := core.AsError(err); !strings.Contains(e.Error()+e.Hint, setting) {
			p.failf("%s: neither the message %q nor the hint %q names the setting", setting, e.Error(), e.Hint)
		}
	}
}

func checkSecrets(ctx context.Context, p *probe) {
	if len(p.BadSecrets) == 0 {
		p.skip("the target has no BadSecrets")
		return
	}
	refused := func(c core.Code) bool { return c == core.CodeUnauthenticated || c == core.CodeForbidden }
	account := p.Account
	account.Secrets = p.BadSecrets
	err := p.Connector.Check(ctx, account)
	p.see(err)
	if !refused(core.CodeOf(err)) {
		p.failf("Check: want unauthenticated or forbidden, got %q: %v", core.CodeOf(err), err)
	}
	for id, r := range p.deliver(ctx, account, batch(p.events(2)...)) {
		switch {
		case r.Err == nil:
			p.failf("Deliver: %s is done with refused secrets", id)
		case !refused(r.Err.Code):
			p.failf("Deliver: %s: want unauthenticated or forbidden, got %s: %v", id, r.Err.Code, r.Err)
		}
	}
	// The connector keeps nothing: the good secrets work right after.
	p.mustDeliver(ctx, batch(p.event()))
}

// stallFor is how long the CRM does not answer.
const stallFor = 300 * time.Millisecond

func checkStalled(ctx context.Context, p *probe) {
	if p.Stall == nil {
		p.skip("the target has no Stall")
		return
	}
	p.Stall(true)
	short, cancel := context.WithTimeout(ctx, stallFor)
	began := time.Now()
	err := p.Connector.Check(short, p.Account)
	took := time.Since(began)
	cancel()
	p.Stall(false)
	p.see(err)
	if took > stallFor+prompt {
		p.failf("Check took %v with a deadline of %v", took, stallFor)
	}
	if code := core.CodeOf(err); code != core.CodeUnavailable && code != core.CodeUnknownOutcome {
		p.failf("want unavailable or unknown_outcome, got %v", err)
	}
}

func deliverEmpty(ctx context.Context, p *probe) {
	for _, b := range [][]core.Delivery{nil, {}} {
		if got := p.Connector.Deliver(ctx, p.Account, b); len(got) != 0 {
			p.failf("got %d results for no events", len(got))
		}
	}
}

func deliverOneResult(ctx context.Context, p *probe) {
	for _, n := range []int{1, 2, 7} {
		p.mustDeliver(ctx, batch(p.events(min(n, p.max()))...))
	}
}

func (p *probe) max() int { return max(1, min(p.Connector.Info().MaxBatch, 1000)) }

func deliverFull(ctx context.Context, p *probe) {
	b := batch(p.events(p.max())...)
	p.mustDeliver(ctx, b)
	p.wantOnce(b)
}

func deliverKinds(ctx context.Context, p *probe) {
	var events []*core.Event
	for _, k := range kinds {
		if (k == core.KindContactErased || k == core.KindContactMerged) && !slices.Contains(p.Connector.Info().Kinds, k) {
			continue // asked of those only that say so
		}
		e := p.event()
		if k != core.KindMessageReceived {
			e = follow(e, k)
		}
		events = append(events, e)
	}
	for _, types := range []core.MessageType{core.TypeImage, core.TypeLocation, core.TypeReaction, core.TypeInteractive} {
		e := p.event()
		m := e.Message
		switch m.Type = types; types {
		case core.TypeImage:
			m.Text, m.Media = "the parcel", &core.Media{ID: "1479537139650973", MIMEType: "image/jpeg", SHA256: "4xKJ"}
		case core.TypeLocation:
			m.Text, m.Location = "", &core.Location{Latitude: 45.76, Longitude: 4.83}
		case core.TypeReaction:
			m.Text, m.Reaction = "", &core.Reaction{MessageID: "wamid.before"}
		case core.TypeInteractive:
			m.Text, m.Reply = "Yes", &core.Reply{Kind: "button", ID: "yes", Title: "Yes"}
		}
		events = append(events, e)
	}
	failed := follow(p.event(), core.KindMessageStatus)
	failed.Status.Value, failed.Status.Errors = core.StatusFailed, []core.StatusError{{Code: 131026, Title: "Message undeliverable"}}
	events = append(events, failed)
	for part := range slices.Chunk(events, p.max()) {
		p.mustDeliver(ctx, batch(part...))
	}
}

// deliverAmended delivers a message, then where its file is, that it was changed, and that
// it was taken back: that is one record, or as many as the message alone has.
func deliverAmended(ctx context.Context, p *probe) {
	kinds := p.Connector.Info().Kinds
	if p.Connector.Info().Idempotency == core.IdempotencySearch || len(kinds) > 0 && !slices.Contains(kinds, core.KindMessageEdited) {
		p.skip("the connector has no use for edits, or a search sees what it made later only")
		return
	}
	first := p.event()
	b := batch(first)
	p.mustDeliver(ctx, b)
	for n, kind := range []core.Kind{core.KindMessageMedia, core.KindMessageEdited, core.KindMessageRevoked} {
		e := *first
		m := *first.Message
		e.Message = &m
		follow(&e, kind).ID = core.FollowID(first.ID, n+1)
		p.mustDeliver(ctx, batch(&e))
	}
	p.wantOnce(b)
}

func deliverUnknown(ctx context.Context, p *probe) {
	future := follow(p.event(), "hologram.opened")
	future.Message = nil
	bare := &core.Event{ID: p.event().ID, Kind: core.KindUnknown, Tenant: p.Account.Tenant}
	odd := p.event()
	odd.Message = &core.Message{ID: odd.ID, Direction: core.Inbound, Type: "hologram"}
	odd.Raw = json.RawMessage(`{"type":"hologram"}`)
	for _, e := range []*core.Event{future, bare, odd} {
		p.mustDeliver(ctx, batch(e))
	}
}

func deliverBSUID(ctx context.Context, p *probe) {
	e := p.event()
	e.Contact.Phone, e.Contact.BSUID, e.Contact.Username = "", sampleBSUID, "conformance"
	nameless := p.event()
	nameless.Contact.Phone, nameless.Contact.BSUID, nameless.Contact.Name = "", sampleBSUID+"9", ""
	both := p.event()
	both.Contact.Phone, both.Contact.BSUID = samplePhone, sampleBSUID+"8"
	for part := range slices.Chunk([]*core.Event{e, nameless, both}, p.max()) {
		p.mustDeliver(ctx, batch(part...))
	}
}

func deliverHostile(ctx context.Context, p *probe) {
	for _, what := range slices.Sorted(maps.Keys(hostile)) {
		e := p.event()
		e.Message.Text, e.Contact.Name = hostile[what], hostile[what]
		e.Fields = map[string]any{"note": hostile[what]}
		events := []*core.Event{e}
		var neighbour *core.Event
		if p.max() > 1 {
			neighbour = p.event()
			events = append(events, neighbour)
		}
		results := p.deliver(ctx, p.Account, batch(events...))
		if err := results[e.ID].Err; err != nil && err.Code != core.CodeInvalid {
			p.failf("%s: want done or invalid, got %s: %v", what, err.Code, err)
		}
		if neighbour != nil && results[neighbour.ID].Err != nil {
			p.failf("%s: its neighbour in the batch is not done: %v", what, results[neighbour.ID].Err)
		}
	}
}

func deliverAgain(ctx context.Context, p *probe) {
	info := p.Connector.Info()
	if info.Idempotency == core.IdempotencySearch {
		againLater(ctx, p, info.SearchDelay)
		return
	}
	if !info.Idempotency.Safe() {
		p.skip("Info.Idempotency promises nothing")
		return
	}
	b := batch(p.events(min(5, p.max()))...)
	p.mustDeliver(ctx, b)
	for i := range b {
		b[i].Attempt++
	}
	p.mustDeliver(ctx, b)
	p.wantOnce(b)

	// A call that was given up may still be at work when the next begins. What
	// gets in each other's way may fail, for now.
	b = batch(p.events(min(5, p.max()))...)
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() { p.deliver(ctx, p.Account, reread(b)) })
	}
	calls.Wait()
	p.mustDeliver(ctx, b)
	p.wantOnce(b)
	if p.Records == nil {
		p.skip("the target has no Records: only the results were looked at")
	}
}

// againLater is for connectors that look first: the same events once more when a
// search sees them, with what is known of their contacts and without.
func againLater(ctx context.Context, p *probe, delay time.Duration) {
	if !soonFound(p, delay) {
		return
	}
	b := batch(p.events(min(5, p.max()))...)
	results := p.deliver(ctx, p.Account, b)
	for range 2 {
		if !pause(ctx, delay) {
			return
		}
		p.mustDeliver(ctx, b)
		p.wantOnce(b)
		for i := range b {
			b[i].Attempt, b[i].ContactRef = b[i].Attempt+1, results[b[i].Event.ID].ContactRef
		}
	}
}

// soonFound reports whether a test can wait for a search to see what was made, or skips.
func soonFound(p *probe, delay time.Duration) bool {
	const patience = 5 * time.Second
	if delay <= 0 || delay > patience {
		p.skip(fmt.Sprintf("a search sees what was made only after %v: give the connector a SearchDelay of at most %v for this test", delay, patience))
		return false
	}
	return true
}

// pause waits, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// wantOnce checks that each event is in the CRM once, if that is known.
func (p *probe) wantOnce(b []core.Delivery) {
	if p.Records == nil {
		return
	}
	records := p.Records()
	for _, d := range b {
		if got := records[d.Event.ID]; got != 1 {
			p.failf("%s is in the CRM %d times, want 1", d.Event.ID, got)
		}
	}
}

func deliverConcurrent(ctx context.Context, p *probe) {
	var calls sync.WaitGroup
	for range 16 {
		b := batch(p.events(min(3, p.max()))...)
		calls.Go(func() {
			p.mustDeliver(ctx, b)
			p.wantOnce(b)
		})
	}
	calls.Wait()
}

func deliverCancelled(ctx context.Context, p *probe) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	b := batch(p.events(min(3, p.max()))...)
	began := time.Now()
	p.deliver(ended, p.Account, b)
	if took := time.Since(began); took > prompt {
		p.failf("Deliver took %v with a context that had ended", took)
	}
	began = time.Now()
	p.see(p.Connector.Check(ended, p.Account))
	if took := time.Since(began); took > prompt {
		p.failf("Check took %v with a context that had ended", took)
	}
}

func deliverStalled(ctx context.Context, p *probe) {
	if p.Stall == nil {
		p.skip("the target has no Stall")
		return
	}
	b := batch(p.events(min(3, p.max()))...)
	p.Stall(true)
	short, cancel := context.WithTimeout(ctx, stallFor)
	began := time.Now()
	results := p.deliver(short, p.Account, b)
	took := time.Since(began)
	cancel()
	p.Stall(false)
	if took > stallFor+prompt {
		p.failf("Deliver took %v with a deadline of %v", took, stallFor)
	}
	for id, r := range results {
		switch core.CodeOf(asError(r.Err)) {
		case core.CodeUnknownOutcome, core.CodeUnavailable:
		default:
			p.failf("%s: want unknown_outcome or unavailable, got %v", id, r.Err)
		}
	}
	if p.Connector.Info().Idempotency.Safe() {
		p.mustDeliver(ctx, b)
		p.wantOnce(b)
	}
}

// withToken is the account as the bridge hands it to a call.
func (p *probe) withToken(ctx context.Context) (core.Account, error) {
	a := p.Account
	if p.signedIn == nil {
		return a, nil
	}
	var err error
	a.Token, err = p.signedIn.token(ctx, a)
	return a, err
}

func pollSound(ctx context.Context, p *probe) {
	if p.poller == nil {
		p.skip("the connector has no Poll")
		return
	}
	account, err := p.withToken(ctx)
	if err != nil {
		p.failf("no token: %v", err)
		return
	}
	var cursor json.RawMessage
	for range 20 {
		first, err := p.poller.Poll(ctx, account, cursor)
		p.see(err)
		if err != nil {
			p.failf("Poll: %v", err)
			return
		}
		again, err := p.poller.Poll(ctx, account, cursor)
		p.see(err)
		ids := map[string]bool{}
		for _, e := range again.Events {
			ids[e.ID] = true
		}
		if len(first.Events) > core.MaxPolled {
			p.failf("%d events at once, want at most %d", len(first.Events), core.MaxPolled)
		}
		for _, e := range first.Events {
			switch {
			case e.ID == "":
				p.failf("an event without an ID")
			case err == nil && !ids[e.ID]:
				p.failf("asked the same again, it does not tell of %s again", e.ID)
			case !slices.Contains([]core.Kind{core.KindContactChanged, core.KindContactGone, core.KindConsentChanged, core.KindMessageSend}, e.Kind):
				p.failf("%s: events of kind %s do not come from a CRM", e.ID, e.Kind)
			}
		}
		if first.More && string(first.Cursor) == string(cursor) {
			p.failf("there is more, but the cursor does not go on")
			return
		}
		if cursor = first.Cursor; !first.More {
			return
		}
	}
}

func webhookForged(ctx context.Context, p *probe) {
	if p.receiver == nil {
		p.skip("the connector has no Webhook")
		return
	}
	account, err := p.withToken(ctx)
	if err != nil {
		p.failf("no token: %v", err)
		return
	}
	for what, r := range map[string]core.WebhookRequest{
		"a POST without a signature": {Method: "POST", Body: []byte(`{"event":"contact.changed","phone":"` + samplePhone + `"}`)},
		"a GET":                      {Method: "GET"},
		"a guessed signature": {Method: "POST", Body: []byte(`[]`), Header: map[string][]string{
			"Authorization": {"Bearer guess"}, "X-Signature": {"sha256=00"}, "X-Hub-Signature-256": {"sha256=00"},
		}},
	} {
		r.URL = "https://bridge.example.com/webhooks/crm/" + p.Account.Tenant + "/" + p.Account.Lane
		answer, err := p.receiver.Webhook(ctx, account, r)
		p.see(err)
		if core.CodeOf(err) != core.CodeUnauthenticated && core.CodeOf(err) != core.CodeForbidden || len(answer.Events) > 0 {
			p.failf("%s: want unauthenticated, got %+v, %v", what, answer, err)
		}
	}
}

func asError(e *core.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func errorsCodes(_ context.Context, p *probe) {
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	for _, e := range p.errs {
		switch {
		case !slices.Contains(core.Codes(), e.Code):
			p.failf("code %q of %q does not exist", e.Code, e)
		case strings.TrimSpace(e.Message) == "":
			p.failf("an error with code %s has no message", e.Code)
		case !utf8.ValidString(e.Message), strings.ContainsFunc(e.Message, unicode.IsControl):
			p.failf("the message %q is not one line of text", e.Message)
		case e.RetryAfter < 0:
			p.failf("RetryAfter of %q is negative", e)
		}
	}
}

func errorsPrivate(_ context.Context, p *probe) {
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	check := func(what, text string) {
		for _, secrets := range append([]map[string]core.Secret{p.Account.Secrets, p.BadSecrets}, p.tokens...) {
			for name, s := range secrets {
				if len(s) >= 4 && strings.Contains(text, s.Reveal()) {
					p.failf("the secret %q is in %s: %s", name, what, strings.ReplaceAll(text, s.Reveal(), "[secret]"))
				}
			}
		}
		if strings.Contains(text, "1202555") {
			p.failf("a phone number is in %s: %q", what, text)
		}
	}
	for _, text := range p.texts {
		check("a result or error", text)
	}
	for _, e := range p.errs {
		for cause := errors.Unwrap(error(e)); cause != nil; cause = errors.Unwrap(cause) {
			check("the cause of an error", cause.Error())
		}
	}
}
