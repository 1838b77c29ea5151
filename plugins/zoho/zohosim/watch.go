package zohosim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/fault"
)

// What a channel may be, by Zoho's pages on notifications.
const (
	maxChannels  = 50
	maxEvents    = 50
	maxToken     = 50
	longestLife  = 7 * 24 * time.Hour
	shortestLife = time.Hour // of a channel that names no end, or one too far
)

// watch is who is told of changes. It is under the state's lock.
type watch struct {
	channels map[string]*channel
	queue    []notification
	wake     chan struct{}
}

type channel struct {
	id      string
	events  []string
	token   string
	url     string
	expires time.Time
}

// notification is one on its way.
type notification struct {
	url  string
	body []byte
}

// Channel is a channel that lives, as its owner asked for it.
type Channel struct {
	ID, URL string
	Events  []string
	Expires time.Time
}

// Channels returns the channels that live.
func (s *Sim) Channels() []Channel {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	list := []Channel{}
	for _, id := range sortedKeys(s.state.watch.channels) {
		if ch := s.state.watch.channels[id]; time.Now().Before(ch.expires) {
			list = append(list, Channel{ch.id, ch.url, slices.Clone(ch.events), ch.expires})
		}
	}
	return list
}

// LoseChannels forgets all channels, and what was to be sent.
func (s *Sim) LoseChannels() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	clear(s.state.watch.channels)
	s.state.watch.queue = nil
}

// watches serves actions/watch.
func (s *Sim) watches(c *call) {
	if !s.may(c, ScopeNotify) {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	w := &s.state.watch
	for id, ch := range w.channels {
		if !time.Now().Before(ch.expires) {
			delete(w.channels, id) // forgotten
		}
	}
	q := c.r.URL.Query()
	switch c.r.Method {
	case http.MethodGet:
		ch := w.channels[q.Get("channel_id")]
		if ch == nil {
			c.nothing()
			return
		}
		c.answer(http.StatusOK, map[string]any{"watch": ch.shown(), "info": map[string]any{"more_records": false}})
	case http.MethodDelete:
		answers, status := []answered{}, http.StatusOK
		for id := range strings.SplitSeq(q.Get("channel_ids"), ",") {
			if w.channels[id] == nil {
				answers, status = append(answers, notSubscribed(id)), http.StatusBadRequest
				continue
			}
			delete(w.channels, id)
			answers = append(answers, answered{Code: "SUCCESS", Status: "success", Message: "Successfully un-subscribed for actions-watch", Details: map[string]any{"channel_id": id}})
		}
		c.answer(status, map[string]any{"watch": answers})
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		s.subscribe(c)
	default:
		c.fail(http.StatusMethodNotAllowed, failure("INVALID_REQUEST_METHOD", "The http request method type is not a valid one", nil))
	}
}

func notSubscribed(id string) answered {
	return failure("NOT_SUBSCRIBED", "the given channel is not subscribed", map[string]any{"channel_id": id})
}

// subscribe makes channels, replaces those that live, or changes of these what is given.
// The caller holds the lock.
func (s *Sim) subscribe(c *call) {
	var body struct {
		Watch []struct {
			ID     json.RawMessage `json:"channel_id"`
			Events []string        `json:"events"`
			Expiry *string         `json:"channel_expiry"`
			Token  string          `json:"token"`
			URL    string          `json:"notify_url"`
		} `json:"watch"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil || len(body.Watch) == 0 || len(body.Watch) > maxChannels {
		c.fail(http.StatusBadRequest, failure("INVALID_DATA", "invalid data", map[string]any{"api_name": "watch"}))
		return
	}
	answers, failed := []answered{}, 0
	refuse := func(name string) {
		answers, failed = append(answers, failure("INVALID_DATA", "invalid data", map[string]any{"api_name": name})), failed+1
	}
	now := time.Now()
	for _, asked := range body.Watch {
		id := strings.Trim(string(asked.ID), `"`)
		expires := now.Add(shortestLife)
		if asked.Expiry != nil {
			at, err := time.Parse(time.RFC3339, *asked.Expiry)
			if err != nil || !at.After(now) {
				refuse("channel_expiry")
				continue
			}
			if at.Sub(now) <= longestLife {
				expires = at
			}
		}
		have := s.state.watch.channels[id]
		if have != nil && c.r.Method == http.MethodPatch {
			asked.URL, asked.Token = cmp.Or(asked.URL, have.url), cmp.Or(asked.Token, have.token)
			if len(asked.Events) == 0 {
				asked.Events = have.events
			}
			if asked.Expiry == nil {
				expires = have.expires
			}
		}
		number, numErr := strconv.ParseInt(id, 10, 64)
		u, urlErr := url.Parse(asked.URL)
		switch {
		case numErr != nil || number <= 0:
			refuse("channel_id")
		case c.r.Method != http.MethodPost && have == nil:
			answers, failed = append(answers, notSubscribed(id)), failed+1
		case urlErr != nil || u.Host == "" || u.Scheme != "https" && u.Hostname() != "127.0.0.1":
			refuse("notify_url")
		case len(asked.Token) > maxToken:
			refuse("token")
		case len(asked.Events) == 0 || len(asked.Events) > maxEvents || slices.ContainsFunc(asked.Events, s.oddEvent):
			refuse("events")
		default:
			ch := &channel{id, asked.Events, asked.Token, asked.URL, expires}
			s.state.watch.channels[id] = ch
			answers = append(answers, answered{Code: "SUCCESS", Status: "success", Message: "Successfully subscribed for actions-watch of the given module",
				Details: map[string]any{"events": ch.shown()}})
		}
	}
	status := http.StatusOK
	switch {
	case failed > 0:
		status = http.StatusBadRequest
	case c.r.Method == http.MethodPost:
		status = http.StatusCreated
	}
	c.answer(status, map[string]any{"watch": answers})
}

func (s *Sim) oddEvent(event string) bool {
	module, what, _ := strings.Cut(event, ".")
	return s.state.modules[module] == nil || !slices.Contains([]string{"create", "edit", "delete", "all"}, what)
}

// shown is a channel as Zoho shows it: once for each module.
func (ch *channel) shown() []any {
	list := []any{}
	var seen []string
	for _, e := range ch.events {
		module, _, _ := strings.Cut(e, ".")
		if slices.Contains(seen, module) {
			continue
		}
		seen = append(seen, module)
		list = append(list, map[string]any{"channel_id": ch.id, "channel_expiry": stamp(ch.expires), "resource_name": module,
			"resource_uri": "https://www.zohoapis.com/crm/v8/" + module, "resource_id": "1", "notify_url": ch.url, "events": ch.events, "token": ch.token})
	}
	return list
}

// notify tells the channels that watch a module. The caller holds the lock.
func (s *state) notify(m *module, r *record, operation string, changes []change) {
	event := map[string]string{"insert": "create", "update": "edit", "delete": "delete"}[operation]
	now := time.Now()
	for _, id := range sortedKeys(s.watch.channels) {
		ch := s.watch.channels[id]
		if !now.Before(ch.expires) || !slices.Contains(ch.events, m.name+"."+event) && !slices.Contains(ch.events, m.name+".all") {
			continue
		}
		fields := []string{}
		for _, c := range changes {
			fields = append(fields, c.field)
		}
		affected := []any{}
		if operation == "update" {
			affected = append(affected, map[string]any{r.id: fields})
		}
		body, err := json.Marshal(map[string]any{"server_time": now.UnixMilli(), "module": m.name, "operation": operation, "channel_id": ch.id,
			"token": ch.token, "resource_uri": "https://www.zohoapis.com/crm/v8/" + m.name, "ids": []string{r.id}, "affected_fields": affected,
			"affected_values": []any{}, "query_params": map[string]any{}})
		if err != nil {
			panic(err)
		}
		s.watch.queue = append(s.watch.queue, notification{ch.url, body})
		if s.opts.NotifyTwice {
			s.watch.queue = append(s.watch.queue, notification{ch.url, body})
		}
		select {
		case s.watch.wake <- struct{}{}:
		default:
		}
	}
}

// maxSending is how many notifications are under way at once.
const maxSending = 8

// Run sends notifications until ctx ends. Without it they are kept.
func (s *Sim) Run(ctx context.Context, client *http.Client) {
	var sending sync.WaitGroup
	defer sending.Wait()
	slots := make(chan struct{}, maxSending)
	for {
		s.state.mu.Lock()
		queue := s.state.watch.queue
		s.state.watch.queue = nil
		s.state.mu.Unlock()
		for _, n := range queue {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			sending.Go(func() {
				defer func() { <-slots }()
				s.send(ctx, client, n)
			})
		}
		select {
		case <-s.state.watch.wake:
		case <-ctx.Done():
			return
		}
	}
}

// send sends a notification, and again when it was not taken.
func (s *Sim) send(ctx context.Context, client *http.Client, n notification) {
	for try := range max(1, s.opts.NotifyTries) {
		if try > 0 {
			fault.Pause(ctx, s.opts.NotifyWait)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(n.body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json;charset=UTF-8")
		resp, err := client.Do(r)
		if err != nil {
			s.count(func(v *Stats) { v.Notified[0]++ })
			continue
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		s.count(func(v *Stats) { v.Notified[resp.StatusCode]++ })
		if resp.StatusCode/100 == 2 {
			return
		}
	}
}
