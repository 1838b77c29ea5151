package connectortest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
)

func TestMain(m *testing.M) {
	connectortest.ServeIfChild(map[string]core.Connector{"notebook": notebook{}, "diary": diary{}, "listing": &listing{}, "remembering": &remembering{seen: map[string]bool{}}})
	os.Exit(m.Run())
}

// notebook is a connector to a [notebookServer]: as small as one can be that
// does all it must.
type notebook struct{}

type notebookSettings struct {
	URL string `json:"url"`
}

func (notebook) Info() core.ConnectorInfo {
	return core.ConnectorInfo{
		Name: "notebook", Version: "1.0.0", MaxBatch: 100, Idempotency: core.IdempotencyUpsert, Secrets: []string{"token"},
	}
}

func (n notebook) Check(ctx context.Context, a core.Account) error {
	if err := n.post(ctx, a, nil); err != nil {
		return err
	}
	return nil
}

func (n notebook) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	if len(batch) == 0 {
		return nil
	}
	results := make([]core.Result, len(batch))
	notes := map[string]string{}
	for i, d := range batch {
		results[i].ID = d.Event.ID
		if d.Event.Message != nil {
			notes[d.Event.ID] = d.Event.Message.Text
			results[i].Ref = "note-" + d.Event.ID
		}
	}
	if err := n.post(ctx, a, notes); err != nil {
		for i := range results {
			results[i] = core.Result{ID: results[i].ID, Err: err}
		}
	}
	return results
}

func (notebook) post(ctx context.Context, a core.Account, notes map[string]string) *core.Error {
	var s notebookSettings
	dec := json.NewDecoder(bytes.NewReader(a.Settings))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return core.Errorf(core.CodeInvalid, "settings", "url: %v", err)
	}
	if u, err := url.Parse(s.URL); err != nil || u.Host == "" {
		return core.Errorf(core.CodeInvalid, "settings", "url: want http://host")
	}
	body, err := json.Marshal(notes)
	if err != nil {
		return core.Errorf(core.CodeInternal, "notes", "%v", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return core.Errorf(core.CodeInvalid, "settings", "url: %v", err)
	}
	req.Header.Set("Authorization", "Bearer "+a.Secrets["token"].Reveal())
	client := http.Client{Timeout: time.Minute}
	res, err := client.Do(req)
	if err != nil {
		return core.Errorf(core.CodeUnknownOutcome, "notes", "no answer")
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return &core.Error{
			Code: core.CodeUnauthenticated, Op: "notes", Message: "the notebook refused the token", Hint: "renew the secret token",
			Source: core.SourceVendor, Vendor: "401",
		}
	}
	after, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return &core.Error{
		Code: map[bool]core.Code{true: core.CodeRateLimited, false: core.CodeUnavailable}[res.StatusCode == http.StatusTooManyRequests],
		Op:   "notes", Message: res.Status, RetryAfter: time.Duration(after) * time.Second,
	}
}

// notebookServer is the vendor: it keeps notes by id.
type notebookServer struct {
	appends bool // a repeated id is kept twice

	mu      sync.Mutex
	counts  map[string]int
	texts   map[string]string
	fails   int           // not 0: the status of every answer
	stalled chan struct{} // not nil: closed when it answers again
}

func newNotebook(t *testing.T) (*notebookServer, connectortest.Target) {
	t.Helper()
	s := &notebookServer{counts: map[string]int{}, texts: map[string]string{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, connectortest.Target{
		Connector: notebook{},
		Account: core.Account{
			Tenant: "shop", Lane: "notes", Settings: json.RawMessage(fmt.Sprintf(`{"url":%q}`, server.URL)),
			Secrets: map[string]core.Secret{"token": "good-token"},
		},
		BadSettings: map[string]json.RawMessage{"url": json.RawMessage(`{"url":"nowhere"}`)},
		BadSecrets:  map[string]core.Secret{"token": "wrong-token"},
		Records:     s.records,
		Stall:       s.stall,
		Fail:        s.fail,
		Texts:       s.written,
	}
}

func (s *notebookServer) records() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

func (s *notebookServer) written() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.texts)
}

func (s *notebookServer) fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = status
}

func (s *notebookServer) stall(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.stalled = make(chan struct{})
		return
	}
	close(s.stalled)
	s.stalled = nil
}

func (s *notebookServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	stalled, fails := s.stalled, s.fails
	s.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	if fails != 0 {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(fails)
		return
	}
	if r.Header.Get("Authorization") != "Bearer good-token" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var notes map[string]string
	if err := json.NewDecoder(r.Body).Decode(&notes); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, text := range notes {
		s.texts[id] = text
		if s.appends {
			s.counts[id]++
		} else {
			s.counts[id] = 1
		}
	}
}

func TestNotebook_Conforms(t *testing.T) {
	_, target := newNotebook(t)
	t.Run("in process", func(t *testing.T) { connectortest.Run(t, target) })
	t.Run("as a plugin", func(t *testing.T) {
		target.Connector = connectortest.Plugin(t, "notebook")
		connectortest.Run(t, target)
	})
}

// stallAtMost stalls the server, and answers again when a rule has looked long
// enough, for connectors that do not give up by themselves.
func stallAtMost(s *notebookServer) func(bool) {
	var timer *time.Timer
	return func(on bool) {
		if on {
			s.stall(true)
			timer = time.AfterFunc(3*time.Second, func() { s.stall(false) })
			return
		}
		if timer.Stop() {
			s.stall(false)
		}
	}
}

// diary is a notebook that wants a token, which it gets for its secret.
type diary struct{ notebook }

func (diary) Authorize(_ context.Context, a core.Account) (core.Token, error) {
	if a.Secrets["token"] != "good-token" {
		return core.Token{}, core.Errorf(core.CodeUnauthenticated, "authorize", "the diary does not know you")
	}
	return core.Token{Secrets: map[string]core.Secret{"access": "good-token"}}, nil
}

func (d diary) account(a core.Account) core.Account {
	secrets := map[string]core.Secret{}
	if a.Token != nil {
		secrets["token"] = a.Token.Secrets["access"]
	}
	a.Secrets = secrets
	return a
}

func (d diary) Check(ctx context.Context, a core.Account) error {
	return d.notebook.Check(ctx, d.account(a))
}

func (d diary) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	return d.notebook.Deliver(ctx, d.account(a), batch)
}

func TestDiary_ConformsWithTokens(t *testing.T) {
	_, target := newNotebook(t)
	target.Connector = diary{}
	t.Run("in process", func(t *testing.T) { connectortest.Run(t, target) })
	t.Run("as a plugin", func(t *testing.T) {
		target.Connector = connectortest.Plugin(t, "diary")
		connectortest.Run(t, target)
	})
}
