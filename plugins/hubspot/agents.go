package hubspot

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// HubSpot tells a channel's webhookUrl what agents write, an event a request. What is
// signed and how often it is told again is not documented to the end: a signature that is
// there must be right, and where there is none the address must hold the secret
// hook_secret; a message counts once, by its id.

const hookSecret = "hook_secret"

// word is a text or a number.
type word string

func (w *word) UnmarshalJSON(b []byte) error {
	var n json.Number
	if json.Unmarshal(b, &n) == nil {
		*w = word(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return nil //nolint:nilerr // of another form: as if it were not there
	}
	*w = word(s)
	return nil
}

// UnmarshalJSON takes the bare value, too.
func (i *identifier) UnmarshalJSON(b []byte) error {
	type plain identifier
	var s string
	if json.Unmarshal(b, &s) != nil {
		return json.Unmarshal(b, (*plain)(i))
	}
	if *i = (identifier{identifierOpaque, s}); strings.HasPrefix(s, "+") {
		i.Type = identifierPhone
	}
	return nil
}

// channelEvent is what a channel's webhook tells.
type channelEvent struct {
	Type    string `json:"type"`
	Channel word   `json:"channelId"`
	Threads []word `json:"channelIntegrationThreadIds"`
	Message struct {
		ID        word   `json:"id"`
		Account   word   `json:"channelAccountId"`
		Created   string `json:"createdAt"`
		CreatedBy string `json:"createdBy"`
		Direction string `json:"direction"`
		Text      string `json:"text"`
		Client    struct {
			Type string `json:"clientType"`
			App  word   `json:"integrationAppId"`
		} `json:"client"`
		Senders []struct {
			Name    string `json:"name"`
			ActorID string `json:"actorId"`
		} `json:"senders"`
		Recipients []struct {
			Identifier identifier `json:"deliveryIdentifier"`
		} `json:"recipients"`
		Attachments []struct {
			Type string `json:"type"`
			Name string `json:"name"`
			URL  string `json:"url"`
		} `json:"attachments"`
	} `json:"message"`
}

// fromChannel reads a request of the channel's, which has been verified.
func (x *session) fromChannel(ctx context.Context, body []byte) (core.WebhookAnswer, error) {
	var told channelEvent
	if err := crm.Decode(body, &told); err != nil {
		return core.WebhookAnswer{}, core.Errorf(core.CodeInvalid, "webhook", "not an event of a custom channel: %v", err)
	}
	m := &told.Message
	switch {
	case strings.HasPrefix(told.Type, "CHANNEL_ACCOUNT_"):
		x.accounts.forget()
		return core.WebhookAnswer{}, nil
	case told.Type != "OUTGOING_CHANNEL_MESSAGE_CREATED" || m.Direction == "INCOMING" || x.published(&told):
		return core.WebhookAnswer{}, nil
	case told.Channel != "" && string(told.Channel) != x.ChannelID:
		return core.WebhookAnswer{}, core.Errorf(core.CodeInvalid, "webhook", "an event of the channel %s: settings.channel_id is another", crm.VendorText(string(told.Channel)))
	case m.ID == "":
		return core.WebhookAnswer{}, core.Errorf(core.CodeInvalid, "webhook", "a message without an id")
	}
	sends, why := x.answers(&told)
	if why == "" {
		return core.WebhookAnswer{Events: sends}, nil
	}
	// Whoever wrote it is told that it went nowhere.
	p := &post{ref: messageRef{id: string(m.ID)}, status: "FAILED", reason: why}
	if err := x.postOne(ctx, &step{post: p, event: &core.Event{}}); err != nil {
		if err.Code != core.CodeRateLimited {
			err.Code = core.CodeUnavailable // it is our token that is refused, not the request: HubSpot shall call again
		}
		return core.WebhookAnswer{}, err
	}
	return core.WebhookAnswer{}, nil
}

// published reports whether the API published the message, as far as that can be told:
// such a one is the bridge's own, unless it is of another app.
func (x *session) published(told *channelEvent) bool {
	m := &told.Message
	app, integration := string(m.Client.App), m.Client.Type == "INTEGRATION"
	if m.Client.Type == "" {
		app, integration = strings.CutPrefix(m.CreatedBy, "I-")
	}
	return integration && (x.AppID == "" || app == "" || app == x.AppID)
}

// answers makes messages to send of one that an agent wrote: one, or more when it holds
// files. Why says why it cannot be sent.
func (x *session) answers(told *channelEvent) (sends []core.Event, why string) {
	m := &told.Message
	var to core.Address
	for _, r := range m.Recipients {
		if to == (core.Address{}) {
			to = r.Identifier.address()
		}
	}
	if to == (core.Address{}) {
		return nil, "This person has no WhatsApp address."
	}
	ref := messageRef{id: string(m.ID)}
	base := core.Event{Kind: core.KindMessageSend, Time: inboxTime(m.Created), Author: core.AuthorHuman, By: crm.Clip(m.CreatedBy, 100), Number: x.numberOf(told)}
	for _, s := range m.Senders {
		if name := s.Name; name != "" {
			base.By = crm.Clip(name, 100)
		}
	}
	add := func(msg core.Message) {
		e := base
		msg.To = to
		e.ID, e.MessageRef, e.Message = "inbox "+ref.id, ref.String(), &msg
		if n := len(sends); n > 0 {
			e.ID += "/" + strconv.Itoa(n)
			e.MessageRef = messageRef{id: ref.id, part: true}.String()
		}
		sends = append(sends, e)
	}
	text := strings.TrimSpace(m.Text)
	for _, f := range m.Attachments {
		if f.Type != "" && f.Type != "FILE" {
			continue
		}
		u, err := url.Parse(f.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, "The file cannot be fetched: HubSpot gives no public address of it."
		}
		file := core.Message{Type: typeOfFile(f.Name, u.Path), Media: &core.Media{Link: f.URL, Filename: crm.Clip(f.Name, 200)}}
		if len(sends) == 0 && file.Type != core.TypeAudio {
			file.Text, text = text, "" // its caption
		} else if len(sends) == 0 && text != "" {
			add(core.Message{Type: core.TypeText, Text: text})
			text = ""
		}
		add(file)
	}
	if text != "" {
		add(core.Message{Type: core.TypeText, Text: text})
	}
	if len(sends) == 0 {
		return nil, "There is nothing in it that can be sent."
	}
	return sends, ""
}

// typeOfFile tells by its name what WhatsApp shows a file as.
func typeOfFile(names ...string) core.MessageType {
	for _, name := range names {
		switch strings.ToLower(path.Ext(name)) {
		case ".jpg", ".jpeg", ".png":
			return core.TypeImage
		case ".mp4", ".3gp":
			return core.TypeVideo
		case ".mp3", ".aac", ".m4a", ".amr", ".ogg":
			return core.TypeAudio
		}
	}
	return core.TypeDocument
}

// numberOf is the number that a thread is with, "" when that cannot be told without
// asking: the bridge then takes the only one.
func (x *session) numberOf(told *channelEvent) string {
	for _, thread := range told.Threads {
		if number, _, ok := strings.Cut(string(thread), ":"); ok && digits.MatchString(number) {
			return number
		}
	}
	for number, id := range x.ChannelAccounts {
		if id == string(told.Message.Account) {
			return number
		}
	}
	return ""
}

// unproven says why a request is not of the channel, or "".
func unproven(r core.WebhookRequest, account core.Account, unsigned func() string) string {
	if r.Get("X-Hubspot-Signature-V3") != "" {
		return unsigned()
	}
	secret := account.Secrets[hookSecret].Reveal()
	u, err := url.Parse(r.URL)
	switch {
	case secret == "" || err != nil:
		return "no X-HubSpot-Signature-v3; without one the secret " + hookSecret + " must be set, and be in the channel's webhookUrl"
	case r.Method != http.MethodPost || subtle.ConstantTimeCompare([]byte(u.Query().Get("secret")), []byte(secret)) != 1:
		return "no X-HubSpot-Signature-v3, and the address does not hold the secret " + hookSecret
	}
	return ""
}
