package salesforce

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/crm"
)

// What an org may use in 24 hours is shared by all that is connected to it: API requests,
// which every answer counts, and events that are brought to those who listen, of which
// there are far fewer (25,000 with Enterprise). These Salesforce's resource of limits
// counts, within five minutes, for users who may view the setup. See
// https://developer.salesforce.com/docs/platform/platform-events/guide/platform-events-limits-hourly.html
// and https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_limits.htm.

const (
	// warnShare is which share of an allocation is told of when it is used up, and
	// calmShare below which it may be told of anew.
	warnShare, calmShare = 0.8, 0.7
	// maxWatched is for how many lanes is remembered what was told.
	maxWatched = 64
)

// allocation is something of which an org has so many in 24 hours.
type allocation struct{ name, hint string }

var (
	requestsOfADay = allocation{"API requests", "at settings.daily_share of them the lane waits; see in Setup, Company Information, who uses them"}
	eventsOfADay   = allocation{"events delivered to listeners", "when none is left, changes are asked for every quarter of an hour and the messages of settings.send_event wait " +
		"(Salesforce keeps them for 72 hours): listen to less, with settings.change_topic a channel of its own or none"}
	unwatched = allocation{"limits", "give the user the permission View Setup and Configuration, so that it is told of when the org's events of a day are nearly used up"}
)

// watched are the lanes whose allocations were looked at.
type watched struct {
	mu    sync.Mutex
	lanes map[string]*watchedLane
}

// watchedLane is when was asked last, and of what was told at which share.
type watchedLane struct {
	asked time.Time
	told  map[string]float64
}

// lane is to be called with the lock held.
func (w *watched) lane(name string) *watchedLane {
	l := w.lanes[name]
	if l == nil {
		if w.lanes == nil || len(w.lanes) >= maxWatched {
			w.lanes = map[string]*watchedLane{}
		}
		l = &watchedLane{told: map[string]float64{}}
		w.lanes[name] = l
	}
	return l
}

// turn reports whether a lane's allocations are to be asked for again.
func (w *watched) turn(lane string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lane(lane)
	if since := now.Sub(l.asked); since >= 0 && since < pullEvery {
		return false
	}
	l.asked = now
	return true
}

// news reports whether a share of an allocation is to be told of: when it is large, and
// once more when all is used up.
func (w *watched) news(lane, name string, share float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lane(lane)
	switch before := l.told[name]; {
	case share < calmShare:
		delete(l.told, name)
	case share >= warnShare && before == 0, share >= 1 && before < 1:
		l.told[name] = share
		return true
	}
	return false
}

// used tells of an allocation that is nearly used up, once.
func (x *session) used(ctx context.Context, a allocation, n, limit float64) {
	if limit > 0 && x.connector.watched.news(x.lane, a.name, n/limit) {
		x.connector.log().WarnContext(ctx, "most of what the org has for a day is used up", "what", a.name, "used", int64(n), "of", int64(limit), "hint", a.hint)
	}
}

// watchEvents looks how many of the org's events are left, at most every quarter of an
// hour. Nothing depends on its being answered.
func (x *session) watchEvents(ctx context.Context) {
	if len(x.topics()) == 0 || !x.connector.watched.turn(x.lane, time.Now()) {
		return
	}
	var limits struct {
		Events struct {
			Max       float64 `json:"Max"`
			Remaining float64 `json:"Remaining"`
		} `json:"DailyDeliveredPlatformEvents"`
	}
	r := x.call(ctx, "read limits", http.MethodGet, "limits", nil, func(b []byte) error { return crm.Decode(b, &limits) })
	switch {
	case r == nil:
		x.used(ctx, eventsOfADay, limits.Events.Max-limits.Events.Remaining, limits.Events.Max)
	case r.status == http.StatusForbidden && x.spent == nil && x.connector.watched.news(x.lane, unwatched.name, 1):
		x.connector.log().WarnContext(ctx, "the org's events of a day are not watched", "why", r.Message, "hint", unwatched.hint)
	}
}

// log is where is told of what is no error.
func (c *Connector) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.Default() //nolint:forbidigo // a plugin's, which goes to the bridge's log
}
