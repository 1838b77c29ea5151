package hubspotsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Answer is what an agent writes into a thread.
type Answer struct {
	Text string
	// Files are the addresses of files, with their names.
	Files map[string]string
	// Agent is the user who writes; "A-9" unless it says otherwise.
	Agent string
}

// Answer has an agent answer in a thread, and returns the message's id: see Tell for
// what HubSpot sends then.
func (s *Sim) Answer(thread string, a Answer) (string, error) {
	b := &s.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	var last *InboxMessage
	for _, m := range b.messages {
		if m.Thread == thread {
			last = m
		}
	}
	switch {
	case last == nil:
		return "", fmt.Errorf("there is no thread %s", thread)
	case !b.channels[last.ChannelID].Capabilities.AllowOutgoingMessages:
		return "", fmt.Errorf("the channel does not let agents write")
	case a.Agent == "":
		a.Agent = "A-9"
	}
	account := b.account(b.channels[last.ChannelID], last.AccountID)
	m := &InboxMessage{
		ID: b.next(), Thread: thread, IntegrationThread: last.IntegrationThread, ChannelID: last.ChannelID, AccountID: last.AccountID,
		Direction: "OUTGOING", Text: a.Text, Agent: a.Agent, Status: "SENT", Contact: last.Contact, created: time.Now(), Time: stamp(time.Now()),
		Senders: []Participant{{ActorID: a.Agent, Name: "Mia Agent", Identifier: account.Identifier}}, Recipients: []Participant{*last.person()},
	}
	for name, url := range a.Files {
		file, err := json.Marshal(map[string]string{"type": "FILE", "fileId": b.next(), "name": name, "url": url, "fileUsageType": "OTHER"})
		if err != nil {
			return "", err
		}
		m.attachments = append(m.attachments, file)
	}
	b.add(m)
	return m.ID, nil
}

// Tell is the webhook of a message that an agent wrote, or, as an echo, of one that was
// published, as HubSpot would send it now to the channel's webhookUrl, signed with the
// app's client secret. Without a secret it has no signature.
func (s *Sim) Tell(ctx context.Context, message, secret string) (*http.Request, error) {
	b := &s.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.byID[message]
	if m == nil {
		return nil, fmt.Errorf("there is no message %s", message)
	}
	threads := []string{}
	if m.IntegrationThread != "" {
		threads = append(threads, m.IntegrationThread)
	}
	return event(ctx, b.channels[m.ChannelID].WebhookURL, secret, map[string]any{
		"type": "OUTGOING_CHANNEL_MESSAGE_CREATED", "portalId": "1", "channelId": m.ChannelID, "eventId": b.next(), "eventTimestamp": stamp(time.Now()),
		"channelIntegrationThreadIds": threads, "message": m.public(),
	})
}

// TellAccount is the webhook of what became of a channel account:
// CHANNEL_ACCOUNT_CREATED, CHANNEL_ACCOUNT_UPDATED or CHANNEL_ACCOUNT_PURGED.
func (s *Sim) TellAccount(ctx context.Context, account, what, secret string) (*http.Request, error) {
	b := &s.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.accounts {
		if a.ID == account {
			return event(ctx, b.channels[a.ChannelID].WebhookURL, secret, map[string]any{
				"type": what, "portalId": "1", "channelId": a.ChannelID, "channelAccountId": a.ID, "eventId": b.next(), "eventTimestamp": stamp(time.Now()),
				"channelAccountDeliveryIdentifier": a.Identifier, "authorized": a.Authorized,
			})
		}
	}
	return nil, fmt.Errorf("there is no channel account %s", account)
}

// event makes a request of one event, which comes alone and in no list.
func event(ctx context.Context, url, secret string, v any) (*http.Request, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if secret != "" {
		sign(r, secret, body)
	}
	return r, nil
}
