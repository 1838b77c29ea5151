package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/config"
	customhttp "github.com/wabridge/wabridge/plugins/custom-http"
)

func requestCommand() *cli.Command {
	return &cli.Command{
		Name: "request", Usage: "show the requests that the settings of a custom-http lane make, without making them",
		Description: "Of an event of each kind, of somebody made up; or of one kind, or of an event in a file, with --on. First those that\n" +
			"look for the contact's record, until one finds it (settings.find). Secrets are masked. What a mapping or a script adds (fields) is not in those that are made up.\n\n" +
			"Examples:\n   wabridge request\n   wabridge request --lane crm --on message.received\n   wabridge request --on event.json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "lane", Usage: "the `LANE`, where several are custom-http"},
			&cli.StringFlag{Name: "on", Usage: "of what: a `KIND` of event, or a file.json, an event"},
			tenantFlag, configFlag, setFlag, jsonFlag,
		},
		Action: showRequests,
	}
}

// shownRequest is a request as --json has it.
type shownRequest struct {
	Kind   core.Kind   `json:"kind"`   // or "find": a search for the contact's record, before all others
	Method string      `json:"method"` // empty: nothing is asked
	URL    string      `json:"url,omitempty"`
	Header http.Header `json:"header,omitempty"`
	Body   string      `json:"body,omitempty"`
}

// showsFind stands for a kind at the searches for the contact's record.
const showsFind = "find"

func showRequests(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("request: no arguments, only flags")
	}
	lane, err := customLane(c)
	if err != nil {
		return err
	}
	events, err := eventsFor(c.String("on"))
	if err != nil {
		return err
	}
	shown := make([]shownRequest, 0, len(events))
	var failures []error
	for _, e := range events {
		r, err := customhttp.Render(lane.Settings, e)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", e.Kind, err))
			continue
		}
		if file, err := customhttp.RenderUpload(lane.Settings, e); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", e.Kind, err))
			continue
		} else if file.Method != "" {
			shown = append(shown, shownRequest{e.Kind, file.Method, file.URL, file.Header, string(file.Body)})
		}
		shown = append(shown, shownRequest{e.Kind, r.Method, r.URL, r.Header, string(r.Body)})
	}
	if len(failures) == 0 {
		searches, err := searchesFor(lane, events)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", showsFind, err))
		}
		shown = append(searches, shown...)
	}
	if c.Bool("json") {
		printJSON(c.App.Writer, shown)
	} else {
		for _, r := range shown {
			printRequest(c, r)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return &exitError{code: exitConfig, message: "lane " + lane.Name + ": " + err.Error(), hint: hintOf(failures[0]), err: err}
	}
	return nil
}

// searchesFor returns the searches for the record of a contact, by the first of the events
// that needs one.
func searchesFor(lane *config.Lane, events []*core.Event) (shown []shownRequest, _ error) {
	for _, e := range events {
		searches, err := customhttp.RenderFind(lane.Settings, e)
		if err != nil {
			return nil, err
		}
		for _, r := range searches {
			shown = append(shown, shownRequest{showsFind, r.Method, r.URL, r.Header, string(r.Body)})
		}
		if len(shown) > 0 {
			break
		}
	}
	return shown, nil
}

func printRequest(c *cli.Context, r shownRequest) {
	w := c.App.Writer
	if r.Method == "" {
		why := ""
		if r.Kind == core.KindContactErased || r.Kind == core.KindContactMerged {
			why = "; without skip = true it becomes a dead letter, for a person"
		}
		fmt.Fprintf(w, "%s: nothing is asked%s\n\n", r.Kind, why)
		return
	}
	fmt.Fprintf(w, "%s\n%s %s\n", r.Kind, r.Method, printable(r.URL))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(w, "%s: %s\n", name, printable(strings.Join(r.Header[name], ", ")))
	}
	if r.Body != "" {
		fmt.Fprintf(w, "\n%s\n", printable(r.Body))
	}
	fmt.Fprintln(w)
}

// customLane finds the lane that is meant.
func customLane(c *cli.Context) (*config.Lane, error) {
	cfg, err := load(c)
	if err != nil {
		return nil, err
	}
	id, err := theTenant(c)
	if err != nil {
		return nil, err
	}
	var found []*config.Lane
	var names []string
	for _, t := range cfg.Tenants {
		for i, l := range t.Lanes {
			if t.ID != id || l.Connector != "custom-http" {
				continue
			}
			if names = append(names, l.Name); c.String("lane") == "" || c.String("lane") == l.Name {
				found = append(found, &t.Lanes[i])
			}
		}
	}
	switch {
	case len(found) == 0:
		return nil, fail(exitNotFound, "tenant %s: no such lane of connector custom-http; there are: %s", id, orNone(names))
	case len(found) > 1:
		return nil, misused("say which lane with --lane: %s", strings.Join(names, ", "))
	}
	return found[0], nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// eventsFor returns the events of what --on says.
func eventsFor(on string) ([]*core.Event, error) {
	if strings.HasSuffix(on, ".json") {
		data, err := os.ReadFile(on)
		if err != nil {
			return nil, fail(exitNotFound, "--on: %w", err)
		}
		e := new(core.Event)
		if err := json.Unmarshal(data, e); err != nil {
			return nil, fail(exitFailed, "%s is no event: %w", on, err)
		}
		return []*core.Event{e}, nil
	}
	kinds := customhttp.New().Info().Kinds
	if on != "" {
		if !slices.Contains(kinds, core.Kind(on)) {
			return nil, misused("--on %s: want a file.json, or one of %s", on, joinKinds(kinds))
		}
		kinds = []core.Kind{core.Kind(on)}
	}
	events := make([]*core.Event, len(kinds))
	for i, kind := range kinds {
		events[i] = madeUp(kind)
	}
	return events, nil
}

func joinKinds(kinds []core.Kind) string {
	texts := make([]string, len(kinds))
	for i, k := range kinds {
		texts[i] = string(k)
	}
	return strings.Join(texts, ", ")
}

// madeUp is an event of a kind about somebody who is not.
func madeUp(kind core.Kind) *core.Event {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := &core.Event{
		ID: "wamid.EXAMPLE", Kind: kind, Tenant: "example", Number: "1", Conversation: "1:c1", Time: at, Accepted: at, Source: "whatsapp",
		Contact: &core.Contact{ID: "c1", Name: "Ada Example", Phone: "+12025550123", Tags: []string{"vip"}, Fields: map[string]string{"city": "Lyon"}},
	}
	message := &core.Message{ID: e.ID, Direction: core.Inbound, Type: core.TypeText, Text: "Where is my order?"}
	switch kind {
	case core.KindMessageReceived:
		e.Message = message
	case core.KindMessageSent:
		e.Message = message
		message.Direction, message.To, message.Text, e.Author = core.Outbound, e.Contact.Address(), "It is on its way.", "bot"
	case core.KindMessageEdited:
		e.Message = message
	case core.KindMessageRevoked:
		e.Message = message
		message.Type, message.Text = core.TypeRevoke, ""
	case core.KindMessageMedia:
		e.Message = message
		message.Type = core.TypeImage
		message.Media = &core.Media{MIMEType: "image/jpeg", Size: 4096, Hash: strings.Repeat("5e", 32), Link: "https://bridge.example.com/media/example"}
	case core.KindMessageStatus:
		e.Status = &core.Status{MessageID: "wamid.EXAMPLE", Value: core.StatusDelivered}
	case core.KindConsentChanged:
		e.Consent = &core.Consent{Level: "marketing", State: "withdrawn", Source: "word", Evidence: "STOP", Marketing: "withdrawn", Suppressed: []string{"stop"}}
	case core.KindContactErased:
		e.Contact = &core.Contact{ID: "c1", Phone: e.Contact.Phone}
	case core.KindContactMerged:
		e.Merge = &core.ContactMerge{Contact: core.Contact{ID: "c2", Name: "Ada E."}, Since: at, KeptSince: at}
	case core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed:
		e.Escalation = &core.Escalation{ID: "e1", Topic: "complaint", Reason: "complaint", Team: "support", Note: "asks for a person", Priority: "high", Opened: at}
	case core.KindUnknown:
		e.Raw = json.RawMessage(`{"type":"example"}`)
	}
	return e
}
