package whatsapp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
)

// The defaults of WebhookOptions.
const (
	DefaultMaxBody     = 4 << 20
	DefaultMaxInFlight = 256
)

// WebhookOptions make a Webhook.
type WebhookOptions struct {
	// VerifyToken is what Meta was told when the webhook was set up; empty
	// verifies nobody.
	VerifyToken core.Secret
	// AppSecrets returns the secrets of which any may have signed: during a
	// rotation there are two. It is called for each request.
	AppSecrets func() []core.Secret
	// Accept stores the updates of one request, all or none. It returns nil only
	// when they are durable: Meta does not repeat what it got a 200 for. Any error
	// makes Meta come again, for days. It owns the updates.
	Accept func(ctx context.Context, updates []Update) error
	// MaxBody bounds a request's body, in bytes; 0 is DefaultMaxBody. Meta sends up
	// to 3 MB.
	MaxBody int64
	// MaxInFlight bounds the requests handled at once; 0 is DefaultMaxInFlight.
	// More wait for a moment and are then told to come again.
	MaxInFlight int
	Log         *slog.Logger          // required
	Registerer  prometheus.Registerer // nil keeps the metrics to itself
}

// How long a request waits for its turn, and what is large: only a few bodies of
// unknown or large size are in memory at once.
const (
	maxWait   = time.Second
	largeBody = 256 << 10
	maxLarge  = 16
)

// Webhook is the [http.Handler] that Meta calls. It answers
//
//	200 when all updates of the request are durable, and to a good verification
//	400 when the body is not JSON
//	401 when no app secret has signed the body
//	403 to a verification with another token
//	413 when the body is too large
//	503 when the updates could not be stored, or too much is going on
//
// The server around it must limit how long a client may take to send.
type Webhook struct {
	o        WebhookOptions
	m        *webhookMetrics
	inFlight chan struct{}
	large    chan struct{}
	refused  quiet
}

// NewWebhook returns the handler.
func NewWebhook(o WebhookOptions) *Webhook {
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	return &Webhook{
		o: o, m: newWebhookMetrics(o.Registerer),
		inFlight: make(chan struct{}, o.MaxInFlight), large: make(chan struct{}, maxLarge),
	}
}

// ServeHTTP implements [http.Handler].
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		h.verify(w, r)
	case http.MethodPost:
		began := time.Now()
		status, outcome := h.post(w, r)
		h.m.posts.WithLabelValues(outcome).Inc()
		h.m.seconds.Observe(time.Since(began).Seconds())
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(status)
	default:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// maxChallenge bounds what a verification has us repeat.
const maxChallenge = 128

// verify answers Meta's question whether this is the endpoint that was set up.
func (h *Webhook) verify(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	challenge := q.Get("hub.challenge")
	token := h.o.VerifyToken.Reveal()
	if token == "" || q.Get("hub.mode") != "subscribe" || !same(q.Get("hub.verify_token"), token) || !isWord(challenge, maxChallenge) {
		h.refused.log(h.o.Log, "webhook verification refused: is whatsapp.verify_token what Meta was told?", r)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, challenge) //nolint:gosec // a word, see isWord, and as plain text
}

// same compares secrets in a time that tells nothing of them, not even the length.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return hmac.Equal(x[:], y[:])
}

// isWord reports whether s is something, not too long, and harmless to repeat.
func isWord(s string, longest int) bool {
	return s != "" && len(s) <= longest && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// post handles what Meta posts and returns the status to answer and its name in
// the metrics.
func (h *Webhook) post(w http.ResponseWriter, r *http.Request) (int, string) {
	if r.ContentLength > h.o.MaxBody {
		return http.StatusRequestEntityTooLarge, "too_large"
	}
	leave, ok := h.enter(r)
	if !ok {
		return http.StatusServiceUnavailable, "busy"
	}
	defer leave()
	body, err := readBody(http.MaxBytesReader(w, r.Body, h.o.MaxBody), r.ContentLength)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return http.StatusRequestEntityTooLarge, "too_large"
	}
	if err != nil {
		return http.StatusBadRequest, "cut"
	}
	if !h.signed(r.Header.Values("X-Hub-Signature-256"), body) {
		h.refused.log(h.o.Log, "webhook refused: none of whatsapp.app_secrets has signed it", r)
		return http.StatusUnauthorized, "unsigned"
	}
	updates, err := Parse(body)
	if err != nil {
		h.o.Log.Error("webhook refused: the signed body is not JSON", "bytes", len(body), "error", clean(err.Error()))
		return http.StatusBadRequest, "malformed"
	}
	now := time.Now().UTC()
	kinds := make(map[core.Kind]int, 2)
	for i := range updates {
		if updates[i].Event.Time.IsZero() {
			updates[i].Event.Time = now // the source does not say
		}
		kinds[updates[i].Event.Kind]++
	}
	if len(updates) > 0 {
		if err := h.o.Accept(r.Context(), updates); err != nil {
			h.o.Log.Warn("webhook not stored, Meta will repeat it", "updates", kinds, "error", err.Error())
			return http.StatusServiceUnavailable, "not_stored"
		}
	}
	for kind, n := range kinds {
		h.m.updates.WithLabelValues(string(kind)).Add(float64(n))
	}
	return http.StatusOK, "ok"
}

// enter takes a place, and a second one for a large body; false when there was
// none in time.
func (h *Webhook) enter(r *http.Request) (func(), bool) {
	if !take(r.Context(), h.inFlight) {
		return nil, false
	}
	h.m.busy.Inc()
	leave := func() {
		h.m.busy.Dec()
		<-h.inFlight
	}
	if r.ContentLength >= 0 && r.ContentLength <= largeBody {
		return leave, true
	}
	if !take(r.Context(), h.large) {
		leave()
		return nil, false
	}
	return func() { <-h.large; leave() }, true
}

// take takes a place, waiting for a moment if it must.
func take(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// readBody reads all of a body of a length that is known, or -1.
func readBody(r io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(r)
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return body, err
}

// signaturePrefix comes before the hexadecimal HMAC.
const signaturePrefix = "sha256="

// signed reports whether one of the app secrets has signed the body.
func (h *Webhook) signed(signatures []string, body []byte) bool {
	if len(signatures) != 1 {
		return false
	}
	for _, secret := range h.o.AppSecrets() {
		if secret != "" && Signed(secret, signatures[0], body) {
			return true
		}
	}
	return false
}

// Signed reports whether an X-Hub-Signature-256 is that of the body by the secret.
// It looks at the bytes as they came: Meta signs what it sends, not what it means.
func Signed(secret core.Secret, signature string, body []byte) bool {
	text, ok := strings.CutPrefix(signature, signaturePrefix)
	if !ok || len(text) != hex.EncodedLen(sha256.Size) {
		return false
	}
	var sum [sha256.Size]byte
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	_, _ = mac.Write(body)
	return hmac.Equal(sum[:], mac.Sum(nil))
}

// quiet logs what strangers can cause, at most once in a while.
type quiet struct {
	next    atomic.Int64 // Unix nanoseconds
	skipped atomic.Int64
}

const quietFor = 10 * time.Second

func (q *quiet) log(log *slog.Logger, what string, r *http.Request) {
	now := time.Now().UnixNano()
	next := q.next.Load()
	if now < next || !q.next.CompareAndSwap(next, now+int64(quietFor)) {
		q.skipped.Add(1)
		return
	}
	log.Warn("a stranger at the webhook", "what", what, "remote", r.RemoteAddr, "and_before", q.skipped.Swap(0))
}
