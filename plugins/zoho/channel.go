package zoho

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Zoho's notifications come by a channel that lives for a week at most, and that it
// forgets without a word: see
// https://www.zoho.com/crm/developer/docs/api/v8/notifications/enable.html. They are
// not signed; they bear the channel's token, which is made of the client's secret,
// and say only which records to read. What is lost with a channel the next pull
// finds all the same.

const (
	// channelLife is a little less than Zoho allows: beyond that it gives an hour.
	channelLife = 7*24*time.Hour - time.Hour
	// channelCheck is how often a channel is renewed, by which one that is lost shows.
	channelCheck = time.Hour
	// unheardFor is how long Zoho is not asked again for a channel that it refused.
	unheardFor = 15 * time.Minute
	// hookIDs is how many records of a notification are read; the rest is found by the
	// next pull.
	hookIDs = 100

	clientSecret  = "client_secret"
	webhookSecret = "webhook_secret"
	// minSecret is how long a secret that is sent as it is must be.
	minSecret = 16
)

// channel is what is known of the account's channel.
type channel struct {
	ID     string    `json:"id"`
	Events []string  `json:"events"`
	Next   time.Time `json:"next"` // when to renew it
}

// channelID is the account's channel: a positive number of fifteen digits, another
// one for each place that is called.
func channelID(a core.Account) string {
	sum := sha256.Sum256([]byte("channel\x00" + a.Tenant + "\x00" + a.Lane + "\x00" + a.WebhookURL))
	return strconv.FormatUint(1e14+binary.BigEndian.Uint64(sum[:])%9e14, 10)
}

// channelToken is what the channel's notifications bear: at most 50 characters.
func channelToken(a core.Account) string {
	mac := hmac.New(sha256.New, []byte(a.Secrets[clientSecret].Reveal()))
	mac.Write([]byte("channel\x00" + a.Tenant + "\x00" + a.Lane))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

// channelEvents are what the channel is to tell of.
func (x *session) channelEvents() []string {
	var events []string
	if x.pulls() {
		events = append(events, x.ContactModule+".create", x.ContactModule+".edit")
		if x.PullDeleted {
			events = append(events, x.ContactModule+".delete")
		}
	}
	if x.SendModule != "" {
		events = append(events, x.SendModule+".create")
	}
	return events
}

// callable reports whether Zoho can call an address: it wants https, and may be on
// this machine only as an imitation.
func callable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && u.Hostname() == "127.0.0.1")
}

// keepChannel sees to it that there is a channel, and returns what is then known of
// it. When Zoho refuses, that is an error now and then; in between everything else
// goes on.
func (x *session) keepChannel(ctx context.Context, a core.Account, have *channel) (*channel, *core.Error) {
	if !x.Notifications || !callable(a.WebhookURL) {
		return nil, nil
	}
	id, events, now := channelID(a), x.channelEvents(), time.Now().UTC()
	if have != nil && have.ID == id && slices.Equal(have.Events, events) && now.Before(have.Next) && have.Next.Sub(now) <= channelCheck {
		return have, nil
	}
	x.known.mu.Lock()
	refused := x.known.unheard
	x.known.mu.Unlock()
	if now.Sub(refused) < unheardFor {
		return have, nil
	}
	next, err := x.renew(ctx, a, id, events, now)
	x.known.mu.Lock()
	defer x.known.mu.Unlock()
	if err != nil {
		x.known.unheard = now
		if err.Code == core.CodeForbidden && err.Vendor == "OAUTH_SCOPE_MISMATCH" {
			err.Hint += "; or set settings.notifications = false"
		}
		return nil, err
	}
	x.known.unheard = time.Time{}
	return &channel{ID: id, Events: events, Next: next}, nil
}

// renew replaces the channel, or makes it where Zoho does not know it, and returns
// when to do so again.
func (x *session) renew(ctx context.Context, a core.Account, id string, events []string, now time.Time) (time.Time, *core.Error) {
	body, jsonErr := json.Marshal(map[string]any{"watch": []any{map[string]any{
		"channel_id": id, "events": events, "channel_expiry": now.Add(channelLife).Format(clock), "token": channelToken(a),
		"notify_url": a.WebhookURL, "return_affected_field_values": false, "notify_on_related_action": false,
	}}})
	if jsonErr != nil {
		return time.Time{}, core.Errorf(core.CodeInternal, "watch", "%w", jsonErr)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost} {
		var answer struct {
			Watch []struct {
				outcome
				Details struct {
					Events []struct {
						Expiry string `json:"channel_expiry"`
					} `json:"events"`
				} `json:"details"`
			} `json:"watch"`
		}
		r := x.call(ctx, "watch", method, "actions/watch", body, func(b []byte) error { return crm.Decode(b, &answer) })
		var o *outcome
		switch {
		case r == nil && len(answer.Watch) == 1:
			o = &answer.Watch[0].outcome
		case r == nil:
			return time.Time{}, crm.Failure(core.CodeUnavailable, "watch", "Zoho does not say what became of the channel")
		default:
			o = &r.outcome
		}
		switch {
		case o.Code == "NOT_SUBSCRIBED" && method == http.MethodPut:
			continue
		case r != nil:
			return time.Time{}, r.Error
		case o.Status == "error":
			err := x.rowError("watch", o)
			err.Code, err.Scope, err.Hint = core.CodeForbidden, core.ScopeLane, "look at web.public_url, or set settings.notifications = false"
			return time.Time{}, err
		}
		wait := channelCheck
		for _, e := range answer.Watch[0].Details.Events {
			if at, err := time.Parse(time.RFC3339, e.Expiry); err == nil && at.Sub(now) < 2*channelCheck {
				wait = max(at.Sub(now)/2, time.Minute) // our clock differs from Zoho's
			}
		}
		return now.Add(wait), nil
	}
	return time.Time{}, crm.Failure(core.CodeUnavailable, "watch", "the channel was there and was not")
}

// Webhook implements [core.Receiver]: a notification of the account's channel, or
// the request of a workflow, which bears the secret webhook_secret.
func (c *Connector) Webhook(ctx context.Context, a core.Account, r core.WebhookRequest) (core.WebhookAnswer, error) {
	no := func(why, hint string) (core.WebhookAnswer, error) {
		return core.WebhookAnswer{}, &core.Error{Code: core.CodeUnauthenticated, Op: "webhook", Source: core.SourcePlugin, Message: why, Hint: hint}
	}
	if bearer, ok := strings.CutPrefix(r.Get("Authorization"), "Bearer "); ok {
		secret := a.Secrets[webhookSecret].Reveal()
		switch {
		case len(secret) < minSecret:
			return no("no "+webhookSecret, "set the secret "+webhookSecret+", of at least 16 characters, and have the workflow send it")
		case !same(bearer, secret):
			return no("not the secret "+webhookSecret, "look at the header Authorization of the workflow's webhook")
		}
		return workflow(r.Get("Content-Type"), r.Body)
	}
	var n notification
	if err := json.Unmarshal(r.Body, &n); err != nil || a.Secrets[clientSecret] == "" || !same(n.Token, channelToken(a)) || strings.Trim(string(n.Channel), `"`) != channelID(a) {
		return no("neither this lane's channel nor a workflow with its secret", "")
	}
	x, err := c.open(a)
	if err != nil {
		return core.WebhookAnswer{}, later(err)
	}
	events, err := x.notified(ctx, &n)
	if err != nil {
		return core.WebhookAnswer{}, later(err)
	}
	return core.WebhookAnswer{Events: events}, nil
}

// same compares in constant time.
func same(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return hmac.Equal(a[:], b[:])
}

// later is the error of a request that was good, whatever is wrong with ours.
func later(err *core.Error) *core.Error {
	if err.Code != core.CodeRateLimited {
		err.Code = core.CodeUnavailable
	}
	return err
}

// notification is what Zoho posts, as far as it is looked at.
type notification struct {
	Channel   json.RawMessage `json:"channel_id"` // a number, or a text
	Token     string          `json:"token"`
	At        json.Number     `json:"server_time"`
	Module    string          `json:"module"`
	Operation string          `json:"operation"`
	IDs       []word          `json:"ids"`
	// Affected are the fields that were changed, by record; not always there.
	Affected []map[string][]string `json:"affected_fields"`
}

// notified reads the records that a notification names.
func (x *session) notified(ctx context.Context, n *notification) ([]core.Event, *core.Error) {
	if err := x.reserved(); err != nil {
		return nil, err // the next pull finds it, when there are credits again
	}
	var list []string
	for _, w := range n.IDs {
		if id := string(w); recordID.MatchString(id) && len(list) < hookIDs && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	switch {
	case n.Module == x.SendModule && x.SendModule != "" && n.Operation == "insert" && len(list) > 0:
		return x.asked(ctx, list, time.Time{})
	case n.Module == x.ContactModule && x.pulls() && n.Operation == "delete":
		if !x.PullDeleted || len(list) == 0 {
			return nil, nil
		}
		return x.missing(ctx, list, n.At)
	case n.Module == x.ContactModule && x.pulls():
		if list = slices.DeleteFunc(list, func(id string) bool { return !x.matters(id, n) }); len(list) == 0 {
			return nil, nil
		}
		records, err := x.query(ctx, x.ContactModule, in("id", list), x.traits(x.ContactModule)...)
		if err != nil {
			return nil, err
		}
		return x.changes(ctx, records)
	}
	return nil, nil
}

// matters reports whether anything of a record was changed that is taken over.
func (x *session) matters(id string, n *notification) bool {
	told := false
	for _, affected := range n.Affected {
		for _, name := range affected[id] {
			told = true
			if x.mapped(name) || name == x.ConsentFrom || name == "Tag" && x.PullTags || slices.Contains(x.identity(), name) {
				return true
			}
		}
	}
	return !told
}
