package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// client talks to the API of a running bridge.
type client struct {
	base  string
	token core.Secret
	http  *http.Client
}

var urlFlag = &cli.StringFlag{Name: "url", Usage: "where the bridge listens, if not where the configuration says: `http://host:port`"}

// newClient returns a client of the bridge of this configuration.
func newClient(c *cli.Context, cfg *config.Config) *client {
	cl := &client{
		base: c.String("url"),
		http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if cl.base == "" {
		host, port, _ := net.SplitHostPort(cfg.Web.Listen)
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		cl.base = "http://" + net.JoinHostPort(host, port)
	}
	for _, t := range cfg.Web.APITokens {
		if cl.token == "" || t.Tenant == "" {
			cl.token = t.Token
		}
		if t.Tenant == "" {
			break
		}
	}
	return cl
}

// request is one call of the API.
type request struct {
	method, path string
	query        url.Values
	key          string // Idempotency-Key
	body         any
	file         io.Reader // instead of body
}

// fileTimeout is how long a file may take to or from the bridge.
const fileTimeout = 10 * time.Minute

// call makes a request and decodes the answer into out.
func (cl *client) call(ctx context.Context, r request, out any) error {
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	kind, hc := "application/json", cl.http
	if r.file != nil {
		body, kind, hc = r.file, "application/octet-stream", &http.Client{Transport: cl.http.Transport, Timeout: fileTimeout}
	}
	target := cl.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return misused("--url: %w", err)
	}
	req.Header.Set("Content-Type", kind)
	if cl.token != "" {
		req.Header.Set("Authorization", "Bearer "+cl.token.Reveal())
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &exitError{
			code: exitUnreachable, message: "no bridge answers at " + cl.base + ": " + short(err), err: err,
			hint: "start it with wabridge run, or say where it is with --url",
		}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fail(exitUnreachable, "the bridge's answer broke off: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return refusal(resp, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fail(exitFailed, "what answers at %s is no wabridge: %w", cl.base, err)
	}
	return nil
}

// short takes the URL, which the message has already, out of an error of the
// HTTP client.
func short(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}

// refusal is the error that the bridge answered with.
func refusal(resp *http.Response, data []byte) error {
	var answer struct {
		Error struct{ Code, Message, Hint string }
	}
	f := &exitError{code: exitRefused}
	if json.Unmarshal(data, &answer) != nil || answer.Error.Message == "" {
		f.message = "the bridge answered " + resp.Status
		return f
	}
	f.message, f.hint = answer.Error.Message, answer.Error.Hint
	switch {
	case resp.StatusCode == http.StatusNotFound:
		f.code = exitNotFound
	case resp.StatusCode == http.StatusUnauthorized:
		f.hint = "the bridge runs with other [[web.api_tokens]] than this configuration has"
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		f.message += " (try again in " + resp.Header.Get("Retry-After") + " s)"
	}
	return f
}

// The questions that can also be answered from the data folder: see looker.

func (cl *client) Why(ctx context.Context, tenant, id string) (broker.Story, error) {
	var s broker.Story
	err := cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/why", query: values("id", id, "tenant", tenant)}, &s)
	return s, err
}

func (cl *client) Decisions(ctx context.Context, q broker.DecisionQuery) (broker.DecisionPage, error) {
	var p broker.DecisionPage
	v := values("tenant", q.Tenant, "after", strconv.FormatUint(q.After, 10), "limit", strconv.Itoa(q.Limit), "from", rfc3339(q.From), "to", rfc3339(q.To))
	err := cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/decisions", query: v}, &p)
	return p, err
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func (cl *client) Queues(ctx context.Context, tenant string) ([]broker.QueueStatus, error) {
	var qs []broker.QueueStatus
	err := cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/queues", query: values("tenant", tenant)}, &qs)
	return qs, err
}

func (cl *client) Items(ctx context.Context, tenant, queue string, after uint64, limit int) ([]broker.QueueItem, error) {
	var items []broker.QueueItem
	q := values("tenant", tenant, "queue", queue, "after", strconv.FormatUint(after, 10), "limit", strconv.Itoa(limit))
	err := cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/queues/items", query: q}, &items)
	return items, err
}

func (cl *client) Dead(ctx context.Context, tenant, after string, limit int) ([]broker.DeadLetter, error) {
	var ds []broker.DeadLetter
	q := values("tenant", tenant, "after", after, "limit", strconv.Itoa(limit))
	err := cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/dead", query: q}, &ds)
	return ds, err
}

func (cl *client) DeadLetter(ctx context.Context, id string) (broker.DeadLetter, error) {
	var d broker.DeadLetter
	err := cl.call(ctx, request{method: http.MethodGet, path: "/api/v1/dead/" + url.PathEscape(id)}, &d)
	return d, err
}

// values makes a query of names and values, without those that are empty.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func (cl *client) String() string { return fmt.Sprintf("the bridge at %s", cl.base) }
