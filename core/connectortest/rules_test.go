package connectortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
)

// altered is a notebook with another Info, Check or Deliver.
type altered struct {
	notebook
	info    func(core.ConnectorInfo) core.ConnectorInfo
	check   func(context.Context, core.Account) error
	deliver func(context.Context, core.Account, []core.Delivery) []core.Result
}

func (c *altered) Info() core.ConnectorInfo {
	if c.info != nil {
		return c.info(c.notebook.Info())
	}
	return c.notebook.Info()
}

func (c *altered) Check(ctx context.Context, a core.Account) error {
	if c.check != nil {
		return c.check(ctx, a)
	}
	return c.notebook.Check(ctx, a)
}

func (c *altered) Deliver(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
	if c.deliver != nil {
		return c.deliver(ctx, a, batch)
	}
	return c.notebook.Deliver(ctx, a, batch)
}

func failed(batch []core.Delivery, err *core.Error) []core.Result {
	results := make([]core.Result, len(batch))
	for i, d := range batch {
		results[i] = core.Result{ID: d.Event.ID, Err: err}
	}
	return results
}

// merging is an Info that asks for merges, and whatever else there is.
func merging(i core.ConnectorInfo) core.ConnectorInfo {
	i.Kinds = []core.Kind{core.KindMessageReceived, core.KindContactMerged}
	return i
}

// recoded is the good connector's Deliver, which takes errors of one code for those of
// another.
func recoded(from, to core.Code) func(context.Context, core.Account, []core.Delivery) []core.Result {
	return func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
		results := notebook{}.Deliver(ctx, a, batch)
		for i := range results {
			if results[i].Err != nil && results[i].Err.Code == from {
				results[i].Err.Code = to
			}
		}
		return results
	}
}

// TestRules_FindWhatIsWrong breaks a good connector in one way at a time: the
// rule for it must fail, and say what was seen.
func TestRules_FindWhatIsWrong(t *testing.T) {
	var good notebook
	// refuse gives events for which bad holds the error, and delivers the rest.
	refuse := func(err *core.Error, bad func(*core.Event) bool) func(context.Context, core.Account, []core.Delivery) []core.Result {
		return func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
			var results []core.Result
			var rest []core.Delivery
			for _, d := range batch {
				if bad(d.Event) {
					results = append(results, core.Result{ID: d.Event.ID, Err: err})
				} else {
					rest = append(rest, d)
				}
			}
			return append(results, good.Deliver(ctx, a, rest)...)
		}
	}
	cases := []struct {
		name  string
		rule  string
		seen  string // part of what the finding says
		alter func(*altered, *notebookServer)
	}{
		{"a batch size of 0", "info/valid", "max_batch", func(c *altered, _ *notebookServer) {
			c.info = func(i core.ConnectorInfo) core.ConnectorInfo { i.MaxBatch = 0; return i }
		}},
		{"a budget without end", "info/valid", "budgets", func(c *altered, _ *notebookServer) {
			c.info = func(i core.ConnectorInfo) core.ConnectorInfo {
				i.Budgets = []core.Budget{{Name: "api", Calls: 5}}
				return i
			}
		}},
		{"calls of a budget that is none", "deliver/full", `budget "apii"`, func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				core.Spend(ctx, "apii", 1)
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"a name with capitals", "info/valid", "Note Book", func(c *altered, _ *notebookServer) {
			c.info = func(i core.ConnectorInfo) core.ConnectorInfo { i.Name = "Note Book"; return i }
		}},
		{"a version that changes", "info/constant", "2.0.0", func(c *altered, _ *notebookServer) {
			var n atomic.Int32
			c.info = func(i core.ConnectorInfo) core.ConnectorInfo {
				if n.Add(1)%2 == 0 {
					i.Version = "2.0.0"
				}
				return i
			}
		}},
		{"Check fails", "check/good", "no", func(c *altered, _ *notebookServer) {
			c.check = func(context.Context, core.Account) error { return errors.New("no") }
		}},
		{"a secret asked for that the account lacks", "check/good", "client_id", func(c *altered, _ *notebookServer) {
			c.info = func(i core.ConnectorInfo) core.ConnectorInfo { i.Secrets = []string{"client_id"}; return i }
		}},
		{"Check takes any settings", "check/settings", "want an error", func(c *altered, _ *notebookServer) {
			c.check = func(context.Context, core.Account) error { return nil }
		}},
		{"Check does not name the setting", "check/settings", "names the setting", func(c *altered, _ *notebookServer) {
			c.check = func(context.Context, core.Account) error {
				return core.Errorf(core.CodeInvalid, "settings", "something is wrong")
			}
		}},
		{"Check says internal for a setting", "check/settings", "want code invalid", func(c *altered, _ *notebookServer) {
			c.check = func(context.Context, core.Account) error { return errors.New("url: bad") }
		}},
		{"Check takes settings that there are not", "check/unknown", "finds nothing wrong with the setting no_such_setting", func(c *altered, _ *notebookServer) {
			c.check = func(ctx context.Context, a core.Account) error {
				var known map[string]string
				if err := json.Unmarshal(a.Settings, &known); err == nil {
					delete(known, "no_such_setting")
					a.Settings, _ = json.Marshal(known)
				}
				return good.Check(ctx, a)
			}
		}},
		{"Check does not say which setting it does not know", "check/unknown", "the name no_such_setting", func(c *altered, _ *notebookServer) {
			c.check = func(ctx context.Context, a core.Account) error {
				if strings.Contains(string(a.Settings), "no_such_setting") {
					return core.Errorf(core.CodeInvalid, "settings", "wrong")
				}
				return good.Check(ctx, a)
			}
		}},
		{"a text is cut", "deliver/whole", "of a text of 40", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				own := slices.Clone(batch)
				for i, d := range own {
					if d.Event.Message == nil {
						continue
					}
					e, m := *d.Event, *d.Event.Message
					m.Text, e.Message = m.Text[:min(len(m.Text), 2000)], &m
					own[i].Event = &e
				}
				return good.Deliver(ctx, a, own)
			}
		}},
		{"an edit is another record", "deliver/amended", "2 times", func(c *altered, s *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				for _, d := range batch {
					if d.Event.Kind == core.KindMessageEdited {
						s.mu.Lock()
						s.counts[core.RootID(d.Event.ID)]++
						s.mu.Unlock()
					}
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"an edit takes the message's place as if it were new", "deliver/amended", "0 times", func(c *altered, s *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				for _, d := range batch {
					if d.Event.Kind == core.KindMessageRevoked {
						s.mu.Lock()
						delete(s.counts, core.RootID(d.Event.ID))
						s.mu.Unlock()
					}
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"a call that nobody waits for any more goes on", "deliver/cancelled", "Deliver took", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				if ctx.Err() != nil {
					<-time.After(2500 * time.Millisecond) // as one that asks something slow does
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"a merge is refused", "deliver/merged", "want done or undeliverable, got invalid", func(c *altered, _ *notebookServer) {
			c.info = merging
			c.deliver = refuse(core.Errorf(core.CodeInvalid, "notes", "what is this?"), func(e *core.Event) bool { return e.Kind == core.KindContactMerged })
		}},
		{"a merge told twice is another", "deliver/merged", `"undeliverable", then ""`, func(c *altered, _ *notebookServer) {
			c.info = merging
			var n atomic.Int32
			c.deliver = refuse(core.Errorf(core.CodeUndeliverable, "notes", "by hand"), func(e *core.Event) bool {
				return e.Kind == core.KindContactMerged && n.Add(1)%2 == 0
			})
		}},
		{"500 is the event's fault", "errors/statuses", "500: want unavailable", func(c *altered, _ *notebookServer) {
			c.deliver = recoded(core.CodeUnavailable, core.CodeInvalid)
		}},
		{"429 is an outage", "errors/statuses", "429: want rate_limited", func(c *altered, _ *notebookServer) {
			c.deliver = recoded(core.CodeRateLimited, core.CodeUnavailable)
		}},
		{"seconds are taken for milliseconds", "errors/statuses", "the error says 7ms", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				results := good.Deliver(ctx, a, batch)
				for i := range results {
					if results[i].Err != nil {
						results[i].Err.RetryAfter = 7 * time.Millisecond
					}
				}
				return results
			}
		}},
		{"what the CRM did not take is done", "errors/statuses", "503: done", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				results := good.Deliver(ctx, a, batch)
				for i := range results {
					if results[i].Err != nil && results[i].Err.Code == core.CodeUnavailable {
						results[i].Err = nil
					}
				}
				return results
			}
		}},
		{"Check does not look at the secrets", "check/secrets", "Check: want unauth", func(c *altered, _ *notebookServer) {
			c.check = func(context.Context, core.Account) error { return nil }
		}},
		{"Deliver calls bad secrets unavailable", "check/secrets", "Deliver:", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				results := good.Deliver(ctx, a, batch)
				for i, r := range results {
					if r.Err != nil {
						results[i].Err = core.Errorf(core.CodeUnavailable, "notes", "failed")
					}
				}
				return results
			}
		}},
		{"the first account is kept", "check/secrets", "done with refused secrets", func(c *altered, _ *notebookServer) {
			var mu sync.Mutex
			var kept *core.Account
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				mu.Lock()
				if kept == nil {
					a.Secrets = map[string]core.Secret{"token": "good-token"}
					kept = &a
				}
				mu.Unlock()
				return good.Deliver(ctx, *kept, batch)
			}
		}},
		{"a result for no event", "deliver/empty", "1 results", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				if len(batch) == 0 {
					return []core.Result{{ID: "batch"}}
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"the last result is forgotten", "deliver/one-result", "no result for", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				r := good.Deliver(ctx, a, batch)
				return r[:max(0, len(r)-1)]
			}
		}},
		{"a result is doubled", "deliver/one-result", "two results", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				r := good.Deliver(ctx, a, batch)
				return append(r, r...)
			}
		}},
		{"the record's id instead of the event's", "deliver/one-result", "not in the batch", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				r := good.Deliver(ctx, a, batch)
				return append(r, core.Result{ID: "note-1"})
			}
		}},
		{"the event is changed", "deliver/one-result", "changed the event", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				for _, d := range batch {
					d.Event.Contact.Name = strings.ToUpper(d.Event.Contact.Name)
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"less than MaxBatch is taken", "deliver/full", "want done", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				if len(batch) > 50 {
					return failed(batch, core.Errorf(core.CodeInvalid, "notes", "too many"))
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"done, but nothing was written", "deliver/full", "0 times", func(c *altered, _ *notebookServer) {
			c.deliver = func(_ context.Context, _ core.Account, batch []core.Delivery) []core.Result {
				return failed(batch, nil)
			}
		}},
		{"statuses are refused", "deliver/kinds", "message.status", func(c *altered, _ *notebookServer) {
			c.deliver = refuse(core.Errorf(core.CodeInvalid, "notes", "what is this?"), func(e *core.Event) bool { return e.Kind == core.KindMessageStatus })
		}},
		{"new kinds are refused", "deliver/unknown", "hologram.opened", func(c *altered, _ *notebookServer) {
			c.deliver = refuse(core.Errorf(core.CodeInvalid, "notes", "what is this?"), func(e *core.Event) bool { return e.Kind == "hologram.opened" })
		}},
		{"an event without a contact panics", "deliver/unknown", "nil pointer", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				for _, d := range batch {
					_ = len(d.Event.Contact.Name)
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"a phone number is required", "deliver/bsuid", "no phone", func(c *altered, _ *notebookServer) {
			c.deliver = refuse(core.Errorf(core.CodeInvalid, "notes", "no phone"), func(e *core.Event) bool { return e.Contact != nil && e.Contact.Phone == "" })
		}},
		{"a long text is a bug", "deliver/hostile", "64 KiB", func(c *altered, _ *notebookServer) {
			c.deliver = refuse(core.Errorf(core.CodeInternal, "notes", "too long"), func(e *core.Event) bool { return e.Message != nil && len(e.Message.Text) > 60000 })
		}},
		{"a zero byte takes its neighbour along", "deliver/hostile", "its neighbour", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				for _, d := range batch {
					if d.Event.Message != nil && strings.ContainsRune(d.Event.Message.Text, 0) {
						return failed(batch, core.Errorf(core.CodeInvalid, "notes", "bad text"))
					}
				}
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"a repeated event is written twice", "deliver/again", "2 times", func(_ *altered, s *notebookServer) { s.appends = true }},
		{"a search that finds nothing", "deliver/again", "2 times", func(c *altered, s *notebookServer) {
			s.appends = true
			c.info = func(i core.ConnectorInfo) core.ConnectorInfo {
				i.Idempotency, i.SearchDelay = core.IdempotencySearch, time.Millisecond
				return i
			}
		}},
		{"only one call at a time is taken", "deliver/concurrent", "busy", func(c *altered, _ *notebookServer) {
			var mu sync.Mutex
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				if !mu.TryLock() {
					return failed(batch, core.Errorf(core.CodeUnavailable, "notes", "busy"))
				}
				defer mu.Unlock()
				return good.Deliver(ctx, a, batch)
			}
		}},
		{"the context is ignored", "deliver/stalled", "with a deadline of", func(c *altered, _ *notebookServer) {
			c.deliver = func(_ context.Context, a core.Account, batch []core.Delivery) []core.Result {
				return good.Deliver(context.Background(), a, batch)
			}
		}},
		{"no answer is called invalid", "deliver/stalled", "want unknown_outcome", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				results := good.Deliver(ctx, a, batch)
				if ctx.Err() != nil {
					return failed(batch, core.Errorf(core.CodeInvalid, "notes", "failed"))
				}
				return results
			}
		}},
		{"Check asks nothing", "check/stalled", "got <nil>", func(c *altered, _ *notebookServer) {
			c.check = func(context.Context, core.Account) error { return nil }
		}},
		{"Check says that it is the token", "check/stalled", "want unavailable", func(c *altered, _ *notebookServer) {
			c.check = func(ctx context.Context, a core.Account) error {
				if err := good.Check(ctx, a); err != nil {
					return core.Errorf(core.CodeUnauthenticated, "notes", "no answer")
				}
				return nil
			}
		}},
		{"Check ignores the context", "check/stalled", "with a deadline of", func(c *altered, _ *notebookServer) {
			c.check = func(_ context.Context, a core.Account) error { return good.Check(context.Background(), a) }
		}},
		{"a code of its own", "errors/codes", "does not exist", func(c *altered, _ *notebookServer) {
			c.deliver = refuse(&core.Error{Code: "oops", Message: "x"}, func(e *core.Event) bool { return e.Kind == core.KindUnknown })
		}},
		{"an error of two lines", "errors/codes", "one line", func(c *altered, _ *notebookServer) {
			c.deliver = refuse(&core.Error{Code: core.CodeInvalid, Message: "a\nb"}, func(e *core.Event) bool { return e.Kind == core.KindUnknown })
		}},
		{"the refused secret is quoted", "errors/private", `"token" is in`, func(c *altered, _ *notebookServer) {
			c.check = func(ctx context.Context, a core.Account) error {
				if err := good.Check(ctx, a); err != nil {
					return core.Errorf(core.CodeOf(err), "notes", "url: token %s refused", a.Secrets["token"].Reveal())
				}
				return nil
			}
		}},
		{"a phone number is quoted", "errors/private", "phone number", func(c *altered, _ *notebookServer) {
			c.deliver = func(ctx context.Context, a core.Account, batch []core.Delivery) []core.Result {
				results := good.Deliver(ctx, a, batch)
				for i, d := range batch {
					if d.Event.Contact != nil && d.Event.Contact.BSUID != "" {
						results[i].Err = core.Errorf(core.CodeInvalid, "contact", "%s is odd", d.Event.Contact.Phone)
					}
				}
				return results
			}
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server, target := newNotebook(t)
			broken := &altered{}
			tc.alter(broken, server)
			target.Connector = broken
			if strings.HasSuffix(tc.rule, "/stalled") {
				// A call that ignores its context is held only as long as the rule looks.
				target.Stall = stallAtMost(server)
			}
			var found *connectortest.Finding
			ok := connectortest.Suite(t.Context(), target, func(f connectortest.Finding) {
				if f.Rule == tc.rule {
					found = &f
				}
			})
			switch {
			case ok:
				t.Error("Suite found nothing")
			case found == nil:
				t.Errorf("no finding for rule %s", tc.rule)
			case found.Outcome != connectortest.Failed:
				t.Errorf("rule %s: %s", tc.rule, found)
			case !strings.Contains(found.Seen, tc.seen):
				t.Errorf("rule %s saw %q, want it to say %q", tc.rule, found.Seen, tc.seen)
			case !utf8.ValidString(found.String()) || strings.Contains(found.String(), "token wrong-token"):
				t.Errorf("the finding itself tells the secret: %s", found)
			}
		})
	}
}

func TestSuite_SkipsWhatTheTargetCannotShow(t *testing.T) {
	_, target := newNotebook(t)
	target.BadSettings, target.BadSecrets, target.Records, target.Stall = nil, nil, nil, nil
	target.Fail, target.Texts = nil, nil
	var skipped []string
	ok := connectortest.Suite(t.Context(), target, func(f connectortest.Finding) {
		if f.Outcome == connectortest.Skipped {
			skipped = append(skipped, f.Rule)
		}
	})
	if !ok {
		t.Error("Suite failed a good connector")
	}
	want := []string{
		"check/settings", "check/secrets", "check/stalled", "deliver/whole", "deliver/again", "deliver/replaced", "deliver/merged", "deliver/stalled", "poll/sound", "poll/properties", "webhook/forged", "describe/sound",
		"segments/sound", "segments/members", "segments/unknown", "errors/statuses",
	}
	if diff := cmp.Diff(want, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

// telling is a good connector that tells of what happened, too.
type telling struct {
	notebook
	poll  func(cursor string) (core.Polled, error)
	hook  func(core.WebhookRequest) (core.WebhookAnswer, error)
	picky bool // about what is read
}

func (c *telling) Poll(_ context.Context, a core.Account, cursor json.RawMessage) (core.Polled, error) {
	if c.picky && len(a.Properties) > 0 {
		return core.Polled{}, fmt.Errorf("no property %s", a.Properties[0])
	}
	return c.poll(string(cursor))
}

func (c *telling) Webhook(_ context.Context, _ core.Account, r core.WebhookRequest) (core.WebhookAnswer, error) {
	return c.hook(r)
}

func TestRules_FindWhatIsWrongWithWhatIsTold(t *testing.T) {
	change := core.Event{ID: "1", Kind: core.KindContactChanged, Contact: &core.Contact{Phone: "+12025550123"}}
	asked := 0
	refuse := core.Errorf(core.CodeUnauthenticated, "webhook", "not signed")
	for name, tc := range map[string]struct {
		poll       func(cursor string) (core.Polled, error)
		hook       func(core.WebhookRequest) (core.WebhookAnswer, error)
		rule, seen string // empty: nothing is wrong
		picky      bool
	}{
		"good":       {},
		"picky":      {rule: "poll/properties", seen: "no property", picky: true},
		"poll fails": {poll: func(string) (core.Polled, error) { return core.Polled{}, errors.New("closed") }, rule: "poll/sound", seen: "closed"},
		"no id": {poll: func(string) (core.Polled, error) {
			return core.Polled{Events: []core.Event{{Kind: core.KindContactChanged}}}, nil
		}, rule: "poll/sound", seen: "without an ID"},
		"a wrong kind": {poll: func(string) (core.Polled, error) {
			return core.Polled{Events: []core.Event{{ID: "1", Kind: core.KindMessageReceived}}}, nil
		}, rule: "poll/sound", seen: "message.received"},
		"no end": {poll: func(string) (core.Polled, error) { return core.Polled{More: true}, nil }, rule: "poll/sound", seen: "does not go on"},
		"new ids each time": {poll: func(string) (core.Polled, error) {
			asked++
			e := change
			e.ID = fmt.Sprint(asked)
			return core.Polled{Events: []core.Event{e}}, nil
		}, rule: "poll/sound", seen: "again"},
		"lets anybody in": {hook: func(core.WebhookRequest) (core.WebhookAnswer, error) {
			return core.WebhookAnswer{Events: []core.Event{change}}, nil
		}, rule: "webhook/forged", seen: "without a signature"},
		"another error": {hook: func(core.WebhookRequest) (core.WebhookAnswer, error) {
			return core.WebhookAnswer{}, errors.New("what?")
		}, rule: "webhook/forged", seen: "what?"},
	} {
		t.Run(name, func(t *testing.T) {
			_, target := newNotebook(t)
			c := &telling{poll: tc.poll, hook: tc.hook, picky: tc.picky}
			if c.poll == nil {
				c.poll = func(cursor string) (core.Polled, error) {
					if cursor == "" {
						return core.Polled{Events: []core.Event{change}, Cursor: json.RawMessage("1"), More: true}, nil
					}
					return core.Polled{Cursor: json.RawMessage("1")}, nil
				}
			}
			if c.hook == nil {
				c.hook = func(core.WebhookRequest) (core.WebhookAnswer, error) { return core.WebhookAnswer{}, refuse }
			}
			target.Connector = c
			var failed []connectortest.Finding
			connectortest.Suite(t.Context(), target, func(f connectortest.Finding) {
				if f.Outcome == connectortest.Failed {
					failed = append(failed, f)
				}
			})
			switch {
			case tc.rule == "" && len(failed) > 0:
				t.Errorf("a good connector failed: %v", failed)
			case tc.rule != "" && (len(failed) != 1 || failed[0].Rule != tc.rule || !strings.Contains(failed[0].Seen, tc.seen)):
				t.Errorf("failed were %v, want %s to see %q", failed, tc.rule, tc.seen)
			}
		})
	}
}

// unready is the part of *testing.T that Plugin needs, to see it fail.
type unready struct {
	*testing.T
	fatal string
}

func (u *unready) Fatalf(format string, _ ...any) { u.fatal = format }

func TestPlugin_SaysWhenTheConnectorIsNotThere(t *testing.T) {
	u := &unready{T: t}
	connectortest.Plugin(u, "missing")
	if !strings.Contains(u.fatal, "TestMain") {
		t.Errorf("Plugin failed with %q, want it to name TestMain", u.fatal)
	}
}
