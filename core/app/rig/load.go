package rig

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load is traffic of customers: signed webhooks of about 1 KiB, one message
// each, of many people, at a steady rate that does not slow down when the
// bridge does.
type Load struct {
	URL    string // the webhook's
	Secret string
	Number string // phone_number_id
	// Rate is messages per second, for the Duration.
	Rate     float64
	Duration time.Duration
	// People is how many different people write.
	People int
	// Begin is how the n-th message begins; nil is "Message".
	Begin func(n int) string
	// Double sends every so many-th webhook twice; 0 never.
	Double int
	// Prefix makes the wamids of one run unlike those of another.
	Prefix string
	// Connections bounds the requests at once; 0 is 256.
	Connections int
	// Sending is called before a message is first sent, Acked when it was
	// answered with 200; n counts from 0. Both are called concurrently.
	Sending, Acked func(n int, id string, at time.Time)
}

// LoadResult is what came of a Load.
type LoadResult struct {
	Sent, Acked, Refused, Failed int
	// Late is how many messages started more than 100 ms after their time:
	// the generator, or the connections, were the limit.
	Late    int
	Acks    Latencies
	Elapsed time.Duration
}

// ID is the wamid of the n-th message.
func (l *Load) ID(n int) string { return fmt.Sprintf("wamid.%s.%08d", l.Prefix, n) }

// Person is the wa_id of the n-th message's author.
func (l *Load) Person(n int) string { return fmt.Sprintf("1415%07d", (n*7919)%l.People) }

// Run sends until the Duration is over or ctx ends, and waits for the answers.
func (l *Load) Run(ctx context.Context) LoadResult {
	conns := l.Connections
	if conns == 0 {
		conns = 256
	}
	tr := &http.Transport{
		MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns,
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	var res LoadResult
	var acked, refused, failed, late atomic.Int64
	type job struct {
		n   int
		due time.Time
	}
	jobs := make(chan job, 1<<16)
	var wg sync.WaitGroup
	acks := make([]Latencies, conns)
	for c := range conns {
		wg.Go(func() {
			for j := range jobs {
				body, signature := l.body(j.n)
				id := l.ID(j.n)
				began := time.Now()
				if began.Sub(j.due) > 100*time.Millisecond {
					late.Add(1)
				}
				if l.Sending != nil {
					l.Sending(j.n, id, j.due)
				}
				times := 1
				if l.Double > 0 && j.n%l.Double == 0 {
					times = 2
				}
				for range times {
					status, err := l.post(ctx, client, body, signature)
					switch {
					case err != nil:
						failed.Add(1)
					case status != http.StatusOK:
						refused.Add(1)
					default:
						now := time.Now()
						acks[c] = append(acks[c], now.Sub(j.due))
						acked.Add(1)
						if l.Acked != nil {
							l.Acked(j.n, id, now)
						}
					}
				}
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	n := 0
	for {
		elapsed := time.Since(start)
		if elapsed >= l.Duration || ctx.Err() != nil {
			break
		}
		for due := int(elapsed.Seconds() * l.Rate); n < due; n++ {
			select {
			case jobs <- job{n, start.Add(time.Duration(float64(n+1) / l.Rate * 1e9))}:
			default:
				failed.Add(1) // hopelessly behind: the bridge is far too slow
			}
		}
		<-tick.C
	}
	close(jobs)
	wg.Wait()
	for i := range acks {
		res.Acks = append(res.Acks, acks[i]...)
	}
	res.Sent, res.Elapsed = n, time.Since(start)
	res.Acked, res.Refused, res.Failed, res.Late = int(acked.Load()), int(refused.Load()), int(failed.Load()), int(late.Load())
	return res
}

func (l *Load) post(ctx context.Context, client *http.Client, body []byte, signature string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Hub-Signature-256", signature)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, err
}

// filler brings a body to about 1 KiB.
var filler = strings.Repeat("The quick brown fox jumps over the lazy dog. ", 8)

func (l *Load) body(n int) ([]byte, string) {
	begin := "Message"
	if l.Begin != nil {
		begin = l.Begin(n)
	}
	text := fmt.Sprintf("%s %d: %s", begin, n, filler)
	from := l.Person(n)
	body := fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{`+
		`"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":%q},`+
		`"contacts":[{"profile":{"name":"Customer %s"},"wa_id":%q,"user_id":"US.1%s"}],`+
		`"messages":[{"from":%q,"from_user_id":"US.1%s","id":%q,"timestamp":"%d","type":"text","text":{"body":%q}}]},`+
		`"field":"messages"}]}]}`, l.Number, from, from, from, from, from, l.ID(n), time.Now().Unix(), text)
	return body, Sign(l.Secret, body)
}

// Sign returns the X-Hub-Signature-256 of a body.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
