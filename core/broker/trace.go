package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

// record makes the history's entry of a step. It is found by the root event's
// ID, by the event's own, by the wamid or the CRM's record that the step learned,
// and by the contact's ID, unless it tells of an erasure.
func record(step *Step, e *core.Event) store.Record {
	ids := []string{core.RootID(step.Event)}
	if step.Event != ids[0] {
		ids = append(ids, step.Event)
	}
	switch {
	case e.Status != nil && e.Status.MessageID != "":
		ids = append(ids, e.Status.MessageID)
	case (e.Kind == core.KindMessageEdited || e.Kind == core.KindMessageRevoked || e.Kind == core.KindMessageMedia) && e.Message != nil && e.Message.ID != "":
		ids = append(ids, e.Message.ID)
	case step.Ref != "":
		ids = append(ids, step.Ref)
	}
	if e.Contact != nil && e.Contact.ID != "" && step.Kind != core.KindContactErased {
		ids = append(ids, e.Contact.ID)
	}
	if step.Recorded != nil {
		ids = append(ids, RecordedID)
	}
	return store.Record{Tenant: step.Tenant, IDs: ids, Time: step.Time, Data: mustJSON(step)}
}

// Why tells what the bridge remembers of an event, a wamid or anything that
// followed from one: every step, oldest first. The tenant "" looks in all. An
// unknown id is CodeInvalid.
func (b *Broker) Why(ctx context.Context, tenant, id string) (Story, error) {
	for _, t := range b.tenants {
		if tenant != "" && t.ID != tenant {
			continue
		}
		story, err := t.why(ctx, id)
		if err != nil {
			return Story{}, err
		}
		if len(story.Steps) > 0 || len(story.Waiting) > 0 {
			return story, nil
		}
	}
	// Of no tenant: whoever asks as one is not told.
	if tenant == "" {
		aside, err := PutAside(ctx, b.o.Store, id)
		if err != nil {
			return Story{}, err
		}
		if aside != nil {
			return Story{}, aside
		}
	}
	return Story{}, core.Errorf(core.CodeInvalid, "why", "nothing is remembered of %q", id)
}

// PutAside tells why an event belongs to no tenant's history although it came: nil when it
// was not put aside, or is not among the first thousand.
func PutAside(ctx context.Context, s store.Store, id string) (*core.Error, error) {
	items, err := s.Peek(ctx, queueOf("", queueQuarantine), 0, 1000)
	if err != nil {
		return nil, err
	}
	for _, d := range items {
		if d.ID != id && core.RootID(d.ID) != core.RootID(id) {
			continue
		}
		e := core.Errorf(core.CodeInvalid, "why", "it came for the number %.40q, which no tenant has, and was put aside until one has it", eventOf(d).Number)
		e.Hint = strangeHint
		return e, nil
	}
	return nil, nil
}

func (t *tenant) why(ctx context.Context, id string) (Story, error) {
	story, err := History(ctx, t.b.o.Store, t.ID, id)
	if err != nil {
		return Story{}, err
	}
	if len(story.Steps) == 0 {
		if err := t.toldErased(ctx, &story); err != nil {
			return Story{}, err
		}
	}
	tell := func(q store.QueueID, says func(store.Delivery) string) error {
		items, err := t.b.o.Store.Peek(ctx, q, 0, 1000)
		for _, d := range items {
			if core.RootID(d.ID) == story.Root || d.ID == id {
				story.Waiting = append(story.Waiting, says(d))
			}
		}
		return err
	}
	for _, q := range []store.QueueID{t.queue, queueOf(t.ID, queueTimers), queueOf(t.ID, queueMedia)} {
		if err := tell(q, Waits); err != nil {
			return Story{}, err
		}
	}
	for _, l := range t.allLanes() {
		if err := tell(l.queue, l.waitsFor); err != nil {
			return Story{}, err
		}
	}
	return story, nil
}

// waitsFor says what a delivery waits for, and why it was not delivered yet as far as
// the lane remembers.
func (l *lane) waitsFor(d store.Delivery) string {
	said, gate := Waits(d), l.gate.look()
	l.mu.Lock()
	last := l.lastError
	l.mu.Unlock()
	switch {
	case len(d.Mark) > 0:
	case gate.why != "":
		said += fmt.Sprintf(": the lane is paused (%s): %s", gate.state, gate.why)
	case last != nil && last.Event == d.ID:
		said += ": " + last.Error.Error()
		if last.Error.Hint != "" {
			said += "; " + last.Error.Hint
		}
	}
	return said
}

// History tells the story of an id from the store alone, as far as it has been
// written down: for a bridge that does not run.
func History(ctx context.Context, s store.Store, tenant, id string) (Story, error) {
	story := Story{ID: id, Root: core.RootID(id)}
	if story.Root == "" {
		return story, nil // no event's: see RecordedID
	}
	roots := map[string]bool{story.Root: true}
	seen := map[string]bool{}
	// Two rounds: a wamid of ours leads to the step that sent it, and that
	// one's root to everything.
	for ask := []string{id, story.Root}; len(ask) > 0; {
		var next []string
		for _, id := range ask {
			recs, err := s.Find(ctx, tenant, id)
			if err != nil {
				return Story{}, err
			}
			for _, r := range recs {
				if seen[string(r.Data)] {
					continue
				}
				seen[string(r.Data)] = true
				var step Step
				if json.Unmarshal(r.Data, &step) != nil {
					continue
				}
				story.Steps = append(story.Steps, step)
				ref := step.Ref
				if step.Kind != core.KindMessageSend {
					ref = "" // a record of a CRM is that of many events
				}
				for _, more := range []string{core.RootID(step.Event), ref} {
					if more != "" && !roots[more] && len(roots) < 64 {
						roots[more] = true
						next = append(next, more)
					}
				}
			}
		}
		ask = next
	}
	sort.SliceStable(story.Steps, func(i, j int) bool { return story.Steps[i].Time.Before(story.Steps[j].Time) })
	if len(story.Steps) > 0 {
		story.Root = core.RootID(story.Steps[0].Event)
	}
	return story, nil
}

// Waits says what an item of a queue waits for.
func Waits(d store.Delivery) string {
	e := eventOf(d)
	switch {
	case d.Queue.Name == queueTimers && e.Timer != nil:
		return fmt.Sprintf("%s waits until %s: timer %s", d.ID, e.Time.Format(time.RFC3339), e.Timer.Name)
	case d.Queue.Name == queueTimers:
		return d.ID + " is put off, and will be decided anew"
	case len(d.Mark) > 0:
		return fmt.Sprintf("%s was handed to %s; whether it was taken is not known: a status will tell, or a person is asked", d.ID, d.Queue.Name)
	}
	return fmt.Sprintf("%s waits in %s for attempt %d", d.ID, d.Queue.Name, d.Attempt)
}

// who says whose an event is, and by what they were recognised. Their addresses
// are masked.
func (m *meeting) who() string {
	e := eventOf(m.d)
	if m.person == nil || e.Contact == nil {
		return ""
	}
	var known, fresh []string
	for _, k := range m.claim.keys {
		name := []string{"user id ", "parent user id ", "phone number "}[rank(k)] + core.MaskAddress(m.claim.value(k))
		if m.person.has(k) != nil {
			known = append(known, name)
		} else {
			fresh = append(fresh, name)
		}
	}
	out := "contact " + e.Contact.ID
	switch {
	case m.person.ID == "" && len(fresh) > 0:
		return out + " is new: " + strings.Join(fresh, ", ")
	case len(known) > 0 && len(fresh) > 0:
		return out + ", known by " + strings.Join(known, ", ") + "; new is " + strings.Join(fresh, ", ")
	case len(known) > 0:
		return out + ", known by " + strings.Join(known, ", ")
	}
	return out
}
