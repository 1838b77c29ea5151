package whatsappsim

import "time"

// Redelivery is for how long Meta repeats a webhook that was not answered with 200.
// Its pages do not agree, so both ways are here.
type Redelivery string

// The ways in which webhooks are repeated.
const (
	// RedeliverWeek repeats with pauses that double, up to Options.RetryMax, for seven
	// days.
	// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
	RedeliverWeek Redelivery = "week"
	// Redeliver36h repeats at once, then a few times more over 36 hours.
	// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/create-webhook-endpoint
	Redeliver36h Redelivery = "36h"
)

const week = 7 * 24 * time.Hour

// after36h is when each repetition of Redeliver36h comes, after the first attempt.
var after36h = []time.Duration{0, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 18 * time.Hour, 36 * time.Hour}

// repeat says when a webhook that failed is made again; false when it is not.
func (s *Sim) repeat(p *post, now time.Time) (time.Time, bool) {
	if s.o.Redelivery == Redeliver36h {
		if p.attempt >= len(after36h) {
			return time.Time{}, false
		}
		return p.first.Add(after36h[p.attempt]), true
	}
	wait := s.o.RetryMin << min(p.attempt, 20)
	if wait <= 0 || wait > s.o.RetryMax {
		wait = s.o.RetryMax
	}
	due := now.Add(wait)
	return due, s.o.Redelivery != RedeliverWeek || due.Sub(p.first) <= week
}
