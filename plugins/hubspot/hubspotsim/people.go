package hubspotsim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Edit has a person at HubSpot change a record of an object, or make one when id is
// "". It returns the record's id, or what HubSpot would tell them.
func (s *Sim) Edit(object, id string, properties map[string]string) (string, error) {
	var in pairs
	for name, v := range properties {
		in = append(in, pair{name, v})
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	t := s.state.tables[object]
	if t == nil {
		return "", fmt.Errorf("no object %s", object)
	}
	r := t.live(id)
	if id != "" && r == nil {
		return "", fmt.Errorf("no record %s", id)
	}
	if e := s.state.check(t, r, in, "2026-09"); e != nil {
		return "", fmt.Errorf("%s", e.Message)
	}
	s.state.by = "CRM_UI"
	defer func() { s.state.by = "" }()
	if r == nil {
		return s.state.create(t, in, time.Now()).id, nil
	}
	s.state.write(t, r, in, time.Now())
	return id, nil
}

// Delete has a person put a record into the recycle bin.
func (s *Sim) Delete(object, id string) error {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	t := s.state.tables[object]
	if t == nil || t.live(id) == nil {
		return fmt.Errorf("no record %s of %s", id, object)
	}
	s.state.archive(t, t.live(id))
	return nil
}

// appendHistory appends the values that properties had, the latest first.
func (r *record) appendHistory(b []byte, properties []string) []byte {
	type version struct {
		Value      string `json:"value"`
		Timestamp  string `json:"timestamp"`
		SourceType string `json:"sourceType"`
		SourceID   string `json:"sourceId"`
	}
	all := map[string][]version{}
	for _, w := range slices.Backward(r.history) {
		if slices.Contains(properties, w.Property) {
			id := "userId:1"
			if w.source == "INTEGRATION" {
				id = "54321"
			}
			all[w.Property] = append(all[w.Property], version{w.Value, w.at.UTC().Format("2006-01-02T15:04:05.000Z"), w.source, id})
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return append(append(b, `,"propertiesWithHistory":`...), text...)
}

// HookEvent is what HubSpot tells of in a webhook.
type HookEvent struct {
	EventID          int64  `json:"eventId"`
	SubscriptionID   int64  `json:"subscriptionId"`
	PortalID         int64  `json:"portalId"`
	AppID            int64  `json:"appId"`
	OccurredAt       int64  `json:"occurredAt"`
	SubscriptionType string `json:"subscriptionType"`
	ObjectTypeID     string `json:"objectTypeId,omitempty"` // of subscriptions to object.…
	AttemptNumber    int    `json:"attemptNumber"`
	ObjectID         int64  `json:"objectId"`
	PropertyName     string `json:"propertyName,omitempty"`
	PropertyValue    string `json:"propertyValue,omitempty"`
	ChangeSource     string `json:"changeSource,omitempty"`
	SourceID         string `json:"sourceId,omitempty"`
	// Of contact.merge.
	PrimaryObjectID int64   `json:"primaryObjectId,omitempty"`
	MergedObjectIDs []int64 `json:"mergedObjectIds,omitempty"`
}

// Hook is a webhook as HubSpot would send it now, signed with the app's client
// secret.
func Hook(ctx context.Context, url, secret string, events ...HookEvent) (*http.Request, error) {
	body, err := json.Marshal(events)
	if err != nil {
		return nil, err
	}
	return HookOf(ctx, url, secret, body)
}

// HookOf is the webhook of a body, whatever that is.
func HookOf(ctx context.Context, url, secret string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	older := sha256.Sum256([]byte(secret + string(body)))
	r.Header.Set("X-HubSpot-Signature-Version", "v1")
	r.Header.Set("X-HubSpot-Signature", hex.EncodeToString(older[:]))
	sign(r, secret, body)
	return r, nil
}

// sign gives a request version 3 of the signature.
func sign(r *http.Request, secret string, body []byte) {
	at := strconv.FormatInt(time.Now().UnixMilli(), 10)
	r.Header.Set("X-HubSpot-Request-Timestamp", at)
	r.Header.Set("X-HubSpot-Signature-v3", signature(secret, r.Method, r.URL.String(), string(body), at))
}

// signature is version 3 of what a request is signed with.
func signature(secret, method, url, body, at string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(method + url + body + at))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
