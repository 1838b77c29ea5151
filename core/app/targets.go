package app

import (
	"net/url"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/notify"
)

// Notifier is where a team is told of escalations.
type Notifier interface {
	core.Sink
	// Check connects, without sending anything.
	broker.Checker
	// Problem says what is wrong with the settings, without asking anybody.
	Problem() error
}

// NewTarget makes the sink of a target whose settings were checked.
func NewTarget(g config.Target) (Notifier, error) {
	if g.Kind == config.TargetEmail {
		return notify.NewMail(notify.MailOptions{
			Server: g.Server, Plaintext: g.Plaintext, AllowPrivate: g.AllowPrivate, User: g.User, Password: g.Password,
			From: g.From, To: g.To, Message: g.Message, Phone: g.Phone,
		})
	}
	return notify.NewWebhook(notify.WebhookOptions{URL: g.URL, Secret: g.Secret, AllowPrivate: g.AllowPrivate, Message: g.Message, Phone: g.Phone}), nil
}

// TargetPlace says where a target is, for people: without the path, which may be a
// secret of its own.
func TargetPlace(g config.Target) string {
	if g.Kind == config.TargetEmail {
		return "e-mail by " + g.Server
	}
	u, err := url.Parse(g.URL)
	if err != nil {
		return g.Kind
	}
	return "webhook at " + u.Host
}

// targetRetry are a target's waits. A mail server that does not know us yet says
// "later" and means minutes.
func targetRetry(g config.Target) []time.Duration {
	switch {
	case g.Retry != nil:
		return g.Retry
	case g.Kind == config.TargetEmail:
		return []time.Duration{30 * time.Second, 5 * time.Minute, 15 * time.Minute, time.Hour}
	}
	return []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}
}
