package hubspot

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// With settings.log_messages = "inbox" messages go over a custom channel into HubSpot's
// inbox or help desk, and what agents answer there goes to WhatsApp. A channel is an
// app's; an account of it is one of the business's numbers, in one inbox:
// https://developers.hubspot.com/docs/api-reference/2026-03/conversations/custom-channels/guide

// The types of a delivery identifier that are used.
const (
	identifierPhone  = "HS_PHONE_NUMBER"
	identifierOpaque = "CHANNEL_SPECIFIC_OPAQUE_ID"
)

var digits = regexp.MustCompile(`^[0-9]{1,20}$`)

// inbox reports whether messages go to the inbox, timeline whether they go to the
// timelines of contacts.
func (s *settings) inbox() bool    { return s.LogMessages == "inbox" }
func (s *settings) timeline() bool { return s.LogMessages == "communications" }

func (s *settings) checkInbox() *core.Error {
	switch {
	case s.ClientID != "" && len(s.ClientID) > 100:
		return crm.BadSetting(settingsOp, "client_id", "want the client id of an app")
	case s.AppID != "" && !digits.MatchString(s.AppID):
		return crm.BadSetting(settingsOp, "app_id", "want an app's id: digits")
	case !slices.Contains([]string{"phone", "opaque"}, s.InboxIdentifier):
		return crm.BadSetting(settingsOp, "inbox_identifier", `want "phone" or "opaque"`)
	case !slices.Contains([]string{"conversation", "identifier"}, s.InboxThreads):
		return crm.BadSetting(settingsOp, "inbox_threads", `want "conversation" or "identifier"`)
	case s.InboxID != "" && !digits.MatchString(s.InboxID):
		return crm.BadSetting(settingsOp, "inbox_id", "want an inbox's id: digits")
	case s.ChannelID != "" && !digits.MatchString(s.ChannelID):
		return crm.BadSetting(settingsOp, "channel_id", "want a custom channel's id: digits")
	case s.inbox() && s.ChannelID == "":
		return crm.BadSetting(settingsOp, "channel_id", `log_messages = "inbox" wants the id of a custom channel: see the connector's README on how to make one`)
	}
	for number, id := range s.ChannelAccounts {
		if !digits.MatchString(number) || !digits.MatchString(id) {
			return crm.BadSetting(settingsOp, "channel_accounts", "want a table: the number's id (phone_number_id) → the channel account's id")
		}
	}
	return nil
}

// conversations returns the path of an endpoint of the inbox. Of 2026-03 are custom channels
// only, inboxes and threads come with 2026-09:
// https://developers.hubspot.com/docs/api-reference/latest/conversations/guide.
func (s *settings) conversations(area, rest string) string {
	if s.APIVersion == "v3" || s.APIVersion == "2026-03" && area == "conversations" {
		return "/conversations/v3/" + area + "/" + rest
	}
	return "/conversations/" + area + "/" + s.APIVersion + "/" + rest
}

func (s *settings) channel(rest string) string {
	return s.conversations("custom-channels", s.ChannelID+rest)
}

// identifier is where somebody is reached on the channel.
type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// identify says how a person is reached: by their phone number, which HubSpot wants in
// E.164, or by the text form of their address, which it does not look at.
func (s *settings) identify(a core.Address) identifier {
	if a.Kind == core.AddressPhone && s.InboxIdentifier == "phone" {
		return identifier{identifierPhone, a.Value}
	}
	return identifier{identifierOpaque, a.String()}
}

// address is whom an identifier means, the zero Address when it is nobody on WhatsApp.
func (i identifier) address() core.Address {
	if i.Type == identifierPhone {
		return core.Address{Kind: core.AddressPhone, Value: i.Value}
	}
	a, err := core.ParseAddress(i.Value)
	if err != nil || i.Type != identifierOpaque {
		return core.Address{}
	}
	return a
}

// channelAccount is one of the business's numbers on the channel.
type channelAccount struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Authorized bool       `json:"authorized"`
	Archived   bool       `json:"archived"`
	Identifier identifier `json:"deliveryIdentifier"`
}

// accounts remembers the channel accounts of numbers, so that not every batch has to ask:
// it may be lost at any time.
type accounts struct {
	mu    sync.Mutex
	known map[string]channelAccount
}

// maxAccounts is how many are remembered.
const maxAccounts = 1000

func (a *accounts) get(key string) (channelAccount, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.known[key]
	return found, ok
}

func (a *accounts) put(key string, found channelAccount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil || len(a.known) >= maxAccounts {
		a.known = map[string]channelAccount{}
	}
	a.known[key] = found
}

// forget has all be asked for again.
func (a *accounts) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = nil
}

// accountOf returns the channel account of a number; one that is not there is made in
// the inbox of settings.inbox_id.
func (x *session) accountOf(ctx context.Context, number string) (channelAccount, *core.Error) {
	key := strings.Join([]string{x.tenant, x.BaseURL, x.ChannelID, x.InboxID, number, x.ChannelAccounts[number]}, "\x00")
	if found, ok := x.accounts.get(key); ok {
		return found, nil
	}
	x.making.Lock() // one at a time, so that none is made twice
	defer x.making.Unlock()
	if found, ok := x.accounts.get(key); ok {
		return found, nil
	}
	found, err := x.findAccount(ctx, number)
	if err != nil {
		return found, err
	}
	if !found.Authorized || found.Archived {
		return found, inboxError("the channel account "+found.ID+" ("+found.Name+") is not connected any more",
			"connect the channel again in HubSpot's settings of the inbox, or name another account in settings.channel_accounts")
	}
	if found.Identifier.Value == "" {
		found.Identifier = identifier{identifierOpaque, number}
	}
	x.accounts.put(key, found)
	return found, nil
}

func (x *session) findAccount(ctx context.Context, number string) (found channelAccount, _ *core.Error) {
	const op = "channel account"
	read := func(b []byte) error { return crm.Decode(b, &found) }
	if id := x.ChannelAccounts[number]; id != "" {
		if r := x.call(ctx, op, http.MethodGet, x.channel("/channel-accounts/"+id), nil, read); r != nil {
			return found, x.inboxRefused(r, "settings.channel_accounts")
		}
		return found, nil
	}
	if number == "" {
		return found, crm.Failure(core.CodeInvalid, op, "the event says no number")
	}
	all, err := x.listAccounts(ctx, url.Values{"deliveryIdentifierType": {identifierOpaque}, "deliveryIdentifierValue": {number}, "limit": {"100"}})
	if err != nil {
		return found, err
	}
	for _, a := range all {
		if !a.Archived && a.Identifier == (identifier{identifierOpaque, number}) {
			return a, nil
		}
	}
	if x.InboxID == "" {
		return found, x.noInbox(ctx, "the number "+number+" has no account on the channel")
	}
	body, _ := json.Marshal(map[string]any{ //nolint:errchkjson // texts
		"authorized": true, "inboxId": x.InboxID, "name": "WhatsApp " + number, "deliveryIdentifier": identifier{identifierOpaque, number},
	})
	if r := x.call(ctx, op, http.MethodPost, x.channel("/channel-accounts"), body, read); r != nil {
		return found, x.inboxRefused(r, "settings.inbox_id, and whether the channel's deliveryIdentifierTypes have "+identifierOpaque)
	}
	if found.ID == "" {
		return found, crm.Failure(core.CodeUnavailable, op, "the answer holds no account")
	}
	return found, nil
}

func (x *session) listAccounts(ctx context.Context, query url.Values) (all []channelAccount, _ *core.Error) {
	r := x.call(ctx, "channel accounts", http.MethodGet, x.channel("/channel-accounts?"+query.Encode()), nil, func(b []byte) error {
		var page struct {
			Results []channelAccount `json:"results"`
		}
		err := whole(b, &page, func() bool { return page.Results != nil })
		all = page.Results
		return err
	})
	if r != nil {
		return nil, x.inboxRefused(r, "settings.channel_id: the channel must be one of the app that the token is of")
	}
	return all, nil
}

// inboxRefused says that what a setting names is not there, or is not taken: no event is
// to blame, so the lane waits.
func (x *session) inboxRefused(r *refusal, look string) *core.Error {
	switch {
	case r.status == http.StatusNotFound || r.Code == core.CodeInvalid:
		r.Code, r.Scope, r.Hint = core.CodeForbidden, core.ScopeLane, "look at "+look
	case r.Code == core.CodeUnknownOutcome: // asked again, it is found
		r.Code = core.CodeUnavailable
	}
	return r.Error
}

func inboxError(message, hint string) *core.Error {
	return &core.Error{Code: core.CodeForbidden, Op: "check inbox", Source: core.SourcePlugin, Scope: core.ScopeLane, Message: message, Hint: hint}
}

// noInbox says which inboxes there are, as far as the token may know.
func (x *session) noInbox(ctx context.Context, why string) *core.Error {
	hint := "set settings.inbox_id: an inbox's id is in the address of its settings in HubSpot"
	var page struct {
		Results []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"results"`
	}
	read := func(b []byte) error { return json.Unmarshal(b, &page) }
	if x.call(ctx, "inboxes", http.MethodGet, x.conversations("conversations", "inboxes"), nil, read) == nil && len(page.Results) > 0 {
		var have []string
		for _, i := range page.Results[:min(len(page.Results), 20)] {
			have = append(have, fmt.Sprintf("%s (%s)", i.ID, crm.VendorText(i.Name)))
		}
		hint = "set settings.inbox_id, to one of " + strings.Join(have, ", ")
	}
	return inboxError(why, hint)
}

// prepareInbox proves that the channel and its accounts are there, and that the channel
// tells this bridge what agents write.
func (x *session) prepareInbox(ctx context.Context, account core.Account) *core.Error {
	if account.Secrets[clientSecret] == "" {
		return inboxError("no "+clientSecret, "set the secret "+clientSecret+": the app's client secret, which signs what HubSpot tells of agents' answers")
	}
	if _, err := x.listAccounts(ctx, url.Values{"limit": {"1"}}); err != nil {
		return err
	}
	if x.InboxID == "" && len(x.ChannelAccounts) == 0 {
		return x.noInbox(ctx, "no inbox is named")
	}
	for number := range x.ChannelAccounts {
		if _, err := x.accountOf(ctx, number); err != nil {
			return err
		}
	}
	if account.WebhookURL == "" {
		return nil // `wabridge check` does not know it
	}
	// Who may read a channel by an access token is not documented: where it cannot be
	// read, it is not looked at.
	var channel struct {
		WebhookURL string `json:"webhookUrl"`
	}
	if x.call(ctx, "channel", http.MethodGet, x.channel(""), nil, func(b []byte) error { return crm.Decode(b, &channel) }) != nil {
		return nil
	}
	if told, _, _ := strings.Cut(channel.WebhookURL, "?"); told != account.WebhookURL {
		return inboxError("the channel's webhookUrl is "+cmp.Or(crm.VendorText(channel.WebhookURL), "not set")+": agents' answers would not come here",
			"set it to "+account.WebhookURL+" with the app's developer key: see the connector's README")
	}
	return nil
}
