package hook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// Version is that of the body's form. What is added to it does not change the
// version; what is taken away or means something else does.
const Version = 1

// The types of a message that is about no one event.
const (
	TypeBatch = "batch"             // data is a list of events
	TypeTest  = "subscription.test" // data names the subscription
)

// Message is the body of a call.
type Message struct {
	Version int `json:"version"`
	// Type is the event's kind, [TypeBatch] or [TypeTest].
	Type string `json:"type"`
	// Timestamp is when what is told of happened; of a batch, its last event.
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// envelope is more than what a message has beside its data.
const envelope = 1 << 10

// message makes the message that tells of events, and its webhook-id: the same
// whenever the same events are told. The id has no dots, since those part what is
// signed.
func message(part []core.Delivery, batch bool) (id string, body []byte, err error) {
	last := part[len(part)-1]
	m := Message{Version: Version, Type: string(last.Event.Kind), Timestamp: last.Event.Time.UTC(), Data: last.Data}
	hash := sha256.New()
	for _, d := range part {
		_, _ = hash.Write([]byte(d.Event.ID + "\n"))
	}
	if batch {
		list := []byte("[")
		for i, d := range part {
			if i > 0 {
				list = append(list, ',')
			}
			list = append(list, d.Data...)
		}
		m.Type, m.Data = TypeBatch, append(list, ']')
	}
	body, err = json.Marshal(m)
	return "msg_" + hex.EncodeToString(hash.Sum(nil)[:16]), body, err
}

func testMessage(subscription string, now time.Time) (id string, body []byte, err error) {
	data := fmt.Appendf(nil, `{"subscription":%q}`, subscription)
	body, err = json.Marshal(Message{Version: Version, Type: TypeTest, Timestamp: now, Data: data})
	return "msg_" + strings.ToLower(rand.Text()), body, err
}

// secretPrefix begins a secret; what follows is base64.
const secretPrefix = "whsec_"

// Secret signs calls until Until; zero is for good. While a secret is changed
// there are two, and a call has a signature by each.
type Secret struct {
	Secret core.Secret
	Until  time.Time
}

// sign returns the webhook-signature header: "v1," and the HMAC-SHA256 over
// "<id>.<timestamp>.<body>", in base64, by each secret that holds, with a space
// between.
func sign(secrets []Secret, now time.Time, id, at string, body []byte) string {
	var out []string
	for _, s := range secrets {
		if !s.Until.IsZero() && !now.Before(s.Until) {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret.Reveal(), secretPrefix))
		if err != nil {
			continue
		}
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(id + "." + at + "."))
		_, _ = mac.Write(body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(out, " ")
}
