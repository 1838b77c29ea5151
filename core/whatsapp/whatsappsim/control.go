package whatsappsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxReceived bounds what one control request lets customers write.
const maxReceived = 100_000

// received is the body of POST /_sim/receive.
type received struct {
	Inbound
	// Count repeats the message, with ids of their own; {n} in its text is the
	// number of each.
	Count int `json:"count"`
	// Dup repeats each webhook so many times more, with the same ids.
	Dup int `json:"dup"`
	// Batch puts all into as few webhooks as Meta may.
	Batch bool `json:"batch"`
}

// control answers what is under /_sim/.
func (s *Sim) control(w http.ResponseWriter, r *http.Request, path string) {
	body, ok := readBody(w, r)
	if !ok {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	var answer any
	var err error
	switch r.Method + " " + path {
	case "POST receive":
		answer, err = s.controlReceive(body)
	case "POST notify":
		answer, err = s.controlNotify(body)
	case "GET fail":
		answer = s.Rules()
	case "POST fail":
		var rule Rule
		if err = json.Unmarshal(body, &rule); err == nil { // which checks it
			s.Fail(rule)
			answer = s.Rules()
		}
	case "DELETE fail":
		s.Heal()
		answer = s.Rules()
	case "GET webhooks":
		answer = s.unruly()
	case "POST webhooks":
		var unruly Webhooks
		if err = strictly(body, &unruly); err == nil {
			s.SetWebhooks(unruly)
			answer = unruly
		}
	case "POST latency":
		var d time.Duration
		if d, err = time.ParseDuration(r.URL.Query().Get("d")); err == nil {
			answer = map[string]string{"latency": s.setLatency(max(d, 0)).String()}
		}
	case "GET clock":
		answer = s.clockNow()
	case "POST clock":
		answer, err = s.controlClock(body)
	case "GET chat":
		answer, err = s.chat(r.URL.Query().Get("phone"))
	case "POST block":
		answer, err = s.controlBlock(body)
	case "GET people":
		answer = s.People()
	case "POST people":
		var p Person
		if err = strictly(body, &p); err == nil {
			answer, err = s.AddPerson(p)
		}
	case "POST people/change":
		var c struct{ From, To string }
		if err = strictly(body, &c); err == nil {
			answer, err = s.ChangePhone(c.From, c.To)
		}
	case "GET numbers":
		answer = s.Lines()
	case "POST numbers":
		var change LineChange
		if err = strictly(body, &change); err == nil {
			answer, err = s.ChangeLine(change)
		}
	case "GET messages":
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		if limit <= 0 {
			limit = 20
		}
		answer = s.ledger.latest(r.URL.Query().Get("to"), limit)
	case "GET ledger":
		answer = s.Ledger()
	case "GET templates":
		answer = s.controlTemplates()
	case "POST templates":
		answer, err = s.controlChangeTemplate(body)
	case "GET stats":
		answer = s.Stats()
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply(w, http.StatusOK, answer)
}

// strictly decodes JSON, and finds fault with what it does not know.
func strictly(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

func (s *Sim) controlReceive(body []byte) (any, error) {
	var in received
	if err := strictly(body, &in); err != nil {
		return nil, err
	}
	in.Count = max(in.Count, 1)
	switch {
	case in.From == "" && in.BSUID == "":
		return nil, fmt.Errorf("say who writes: from, a phone number, or bsuid")
	case in.Number != "" && s.numbers[in.Number] == nil:
		return nil, fmt.Errorf("the business has no number %q", in.Number)
	case in.Count > maxReceived || in.Dup < 0 || in.Dup > 100:
		return nil, fmt.Errorf("count is at most %d, dup at most 100", maxReceived)
	case in.Count > 1 && in.ID != "":
		return nil, fmt.Errorf("an id is for one message, not for %d", in.Count)
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	messages := make([]Inbound, in.Count)
	for i := range messages {
		messages[i] = in.Inbound
		if in.Count > 1 {
			messages[i].Text = strings.ReplaceAll(in.Text, "{n}", strconv.Itoa(i+1))
		}
	}
	size := 1
	if in.Batch {
		size = maxBatch
	}
	return map[string][]string{"ids": s.receive(messages, size, in.Dup)}, nil
}

func (s *Sim) controlNotify(body []byte) (any, error) {
	var in struct {
		Number string          `json:"number"`
		Field  string          `json:"field"`
		Value  json.RawMessage `json:"value"`
	}
	if err := strictly(body, &in); err != nil {
		return nil, err
	}
	if in.Field == "" || len(in.Value) == 0 || (in.Number != "" && s.numbers[in.Number] == nil) {
		return nil, fmt.Errorf("want a field, its value, and a number of the business")
	}
	s.Notify(in.Number, in.Field, in.Value)
	return map[string]bool{"success": true}, nil
}
