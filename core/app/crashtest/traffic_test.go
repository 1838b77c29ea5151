//go:build linux && !race

package crashtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
)

// traffic is groups of people who write one message after the other, in turn, each
// repeated, as Meta does, until it is acknowledged, and now and then once more after
// that.
// What was acknowledged is remembered: it must not be lost.
type traffic struct {
	url    string
	stop   chan struct{}
	wg     sync.WaitGroup
	client *http.Client

	mu    sync.Mutex
	acked []string            // wamids
	order map[string][]string // wamids by person, as they were acknowledged
	asks  map[string]bool
	posts int
}

const (
	groups = 24
	// Of a group's people; so many that none is answered more often than WhatsApp takes.
	people = 25
	often  = 40 * time.Millisecond // a pause between a group's messages
)

// startTraffic lets people write, each group with that pause between two messages.
func startTraffic(url string, pause time.Duration) *traffic {
	tr := &traffic{
		url: url + "/webhooks/whatsapp", stop: make(chan struct{}), order: map[string][]string{}, asks: map[string]bool{},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: groups}},
	}
	for g := range groups {
		tr.wg.Go(func() { tr.group(g, pause) })
	}
	return tr
}

func (tr *traffic) group(g int, pause time.Duration) {
	random := rand.New(rand.NewPCG(uint64(g), 1))
	for n := 0; ; n++ {
		select {
		case <-tr.stop:
			return
		case <-time.After(pause):
		}
		p := g*people + n%people
		phone := fmt.Sprintf("1415555%04d", p)
		id := fmt.Sprintf("wamid.%04d.%06d", g, n)
		text := "Hello"
		if n%3 == 0 {
			text = "Ask"
		}
		body := fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{`+
			`"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":%q},`+
			`"contacts":[{"profile":{"name":"Person %d"},"wa_id":%q}],`+
			`"messages":[{"from":%q,"id":%q,"timestamp":"%d","type":"text","text":{"body":"%s %s"}}]},"field":"messages"}]}]}`,
			number, p, phone, phone, id, time.Now().Unix(), text, id)
		signature := rig.Sign(appSecret, body)
		for !tr.post(body, signature) {
			<-time.After(20 * time.Millisecond)
		}
		tr.mu.Lock()
		tr.acked = append(tr.acked, id)
		tr.order[phone] = append(tr.order[phone], id)
		tr.asks[id] = text == "Ask"
		tr.mu.Unlock()
		if random.IntN(4) == 0 {
			tr.post(body, signature)
		}
	}
}

func (tr *traffic) post(body []byte, signature string) bool {
	req, err := http.NewRequest(http.MethodPost, tr.url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("X-Hub-Signature-256", signature)
	req.Header.Set("Content-Type", "application/json")
	tr.mu.Lock()
	tr.posts++
	tr.mu.Unlock()
	resp, err := tr.client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// end lets everybody finish the message that they are at. The bridge must be
// running.
func (tr *traffic) end() {
	close(tr.stop)
	tr.wg.Wait()
	tr.client.CloseIdleConnections()
}
