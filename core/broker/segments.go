package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/roster"
	"github.com/wabridge/wabridge/core/spelling"
)

// Segmenter is what a sink has when its CRM may keep segments: see [core.Segmenter].
type Segmenter interface {
	Segments(ctx context.Context, name string) ([]core.Segment, error)
	Members(ctx context.Context, segment string, cursor json.RawMessage) (core.Members, error)
}

// Bounds.
const (
	// segmentsDeadline is how long somebody waits for a list of segments.
	segmentsDeadline = 25 * time.Second
	maxSegmentName   = 500 // bytes
	maxNamed         = 10  // segments that an error names
)

// CampaignSegment names a segment of a CRM. Who asks for a campaign may leave out Lane,
// where one lane only has segments; and ID, where no other segment has the name. Name may
// be an ID, too.
type CampaignSegment struct {
	Lane string `json:"lane,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// SegmentQuery asks for the segments of a CRM.
type SegmentQuery struct {
	Tenant string
	// Lane may be empty where one lane only has segments.
	Lane string
	// Name is a part of their names, in any case, or an ID; "" is all.
	Name string
}

// SegmentList are segments of a CRM, by name.
type SegmentList struct {
	Lane     string         `json:"lane"`
	Segments []core.Segment `json:"segments"`
	// More says that there are more than are told: a part of the name finds others.
	More bool `json:"more,omitempty"`
}

// Segments lists the segments that a CRM has now.
func (b *Broker) Segments(ctx context.Context, q SegmentQuery) (SegmentList, error) {
	t := b.tenants[q.Tenant]
	if t == nil {
		return SegmentList{}, noTenant("segments", q.Tenant)
	}
	if len(q.Name) > maxSegmentName {
		return SegmentList{}, core.Errorf(core.CodeInvalid, "segments", "name: at most %d bytes", maxSegmentName)
	}
	l, err := t.segmentLane(ctx, q.Lane)
	if err != nil {
		return SegmentList{}, err
	}
	found, err := l.segmentsNamed(ctx, q.Name)
	if err != nil {
		return SegmentList{}, err
	}
	return SegmentList{Lane: l.crmName(), Segments: found, More: len(found) == core.MaxSegments}, nil
}

// segmentLane returns the lane of a name whose CRM has segments, or the only one. Of several
// whose connectors know of segments each is asked, as its settings may give it none.
func (t *tenant) segmentLane(ctx context.Context, name string) (*lane, error) {
	wrong := func(code core.Code, format string, args ...any) (*lane, error) {
		return nil, core.Errorf(code, "segments", format, args...)
	}
	if name != "" {
		l := t.crmLane(name)
		switch {
		case l == nil:
			return wrong(core.CodeInvalid, "tenant %s has no lane %.60q", t.ID, name)
		case !l.up():
			return nil, l.notUp()
		case !l.segments.Load():
			return wrong(core.CodeInvalid, "the lane %s has no segments: its connector, %s, does not tell of any", name, l.sinkName)
		}
		return l, nil
	}
	var have []*lane
	var names, down []string
	for _, l := range t.crm {
		switch _, can := l.sink.(Segmenter); {
		case l.segments.Load():
			have, names = append(have, l), append(names, l.crmName())
		case can && !l.up():
			down = append(down, l.notUp().Message)
		}
	}
	if len(have) > 1 {
		var unset error
		have = slices.DeleteFunc(have, func(l *lane) bool {
			_, err := l.segmentsNamed(ctx, "")
			if core.CodeOf(err) != core.CodeInvalid {
				return false
			}
			unset = err
			return true
		})
		if len(have)+len(down) == 0 {
			return nil, unset
		}
		names = names[:0]
		for _, l := range have {
			names = append(names, l.crmName())
		}
	}
	switch {
	case len(have) == 1 && len(down) == 0:
		return have[0], nil
	case len(have) > 0:
		return wrong(core.CodeInvalid, "say of which lane: %s", strings.Join(append(names, down...), ", "))
	case len(down) > 0:
		return wrong(core.CodeUnavailable, "%s", strings.Join(down, ", "))
	}
	return wrong(core.CodeInvalid, "no lane of tenant %s has segments: their connectors do not tell of any", t.ID)
}

// up reports whether the connector has said what it can do.
func (l *lane) up() bool { return l.kinds.Load() != nil }

func (l *lane) notUp() *core.Error {
	return core.Errorf(core.CodeUnavailable, "segments", "the lane %s is not up yet%s", l.crmName(), withWhy(l.gate.look().why))
}

// withWhy is what follows a statement that has a reason, or may have.
func withWhy(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// outOfWork says why a lane's connector is not asked anything now; nil when it may be.
func (l *lane) outOfWork() *core.Error {
	var s LaneStatus
	l.gate.status(&s)
	say := func(code core.Code, format string, args ...any) *core.Error {
		e := core.Errorf(code, "segments", format, args...)
		e.RetryAfter = time.Until(s.Until)
		return e
	}
	why := withWhy(s.Why)
	switch {
	case !l.up():
		return l.notUp()
	case s.State == LaneRunning || !s.Until.After(time.Now()):
		return nil
	case s.State == LaneWaiting:
		return say(core.CodeRateLimited, "the lane %s waits until %s%s", l.crmName(), s.Until.UTC().Format(time.RFC3339), why)
	case s.State == LaneSignIn:
		return say(core.CodeUnavailable, "the lane %s is paused%s", l.crmName(), why)
	}
	return say(core.CodeUnavailable, "the lane %s is down%s", l.crmName(), why)
}

// askSegments asks the lane's connector something about segments, within the lane's limits.
// It reports whether it did ask.
func (l *lane) askSegments(ctx context.Context, ask func(context.Context, Segmenter) error) (asked bool, _ error) {
	if why := l.outOfWork(); why != nil {
		return false, why
	}
	c, why, until := l.budgets.begin(time.Now())
	if !until.IsZero() {
		e := core.Errorf(core.CodeRateLimited, "segments", "the lane %s waits until %s: %s", l.crmName(), until.UTC().Format(time.RFC3339), why)
		e.RetryAfter = time.Until(until)
		return false, e
	}
	ctx, meter := core.WithMeter(ctx)
	defer func() { l.budgets.end(time.Now(), c, meter) }()
	if l.limiter != nil {
		if err := l.limiter.Wait(ctx, 1); err != nil {
			return false, core.Errorf(core.CodeRateLimited, "segments", "the lane %s has too much to do: %w", l.crmName(), err)
		}
	}
	err := ask(ctx, l.sink.(Segmenter))
	if e := core.AsError(err); err != nil && !errors.Is(ctx.Err(), context.Canceled) && e.Code != core.CodeInvalid {
		l.sawError("", e)
		if e.Code == core.CodeUnauthenticated {
			l.gate.refuse(e)
		}
	}
	return true, err
}

// segmentsNamed asks the CRM for its segments; where the lane has just spent what it may, a
// little later.
func (l *lane) segmentsNamed(ctx context.Context, name string) (found []core.Segment, err error) {
	ctx, cancel := context.WithTimeout(ctx, segmentsDeadline)
	defer cancel()
	for {
		asked, err := l.askSegments(ctx, func(ctx context.Context, s Segmenter) (err error) {
			found, err = s.Segments(ctx, name)
			return err
		})
		if err == nil {
			break
		}
		e := *core.AsError(err)
		if end, _ := ctx.Deadline(); !asked && e.Code == core.CodeRateLimited && e.RetryAfter > 0 && time.Now().Add(e.RetryAfter).Before(end) {
			timer := time.NewTimer(e.RetryAfter)
			select {
			case <-timer.C:
				continue
			case <-ctx.Done():
				timer.Stop()
			}
		}
		if asked {
			e.Op = strings.TrimSuffix("segments of "+l.crmName()+": "+e.Op, ": ")
		}
		return nil, &e
	}
	if len(found) > core.MaxSegments {
		found = found[:core.MaxSegments]
	}
	found = slices.Clone(found)
	slices.SortFunc(found, func(x, y core.Segment) int {
		return cmp.Or(strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)), strings.Compare(x.ID, y.ID))
	})
	if found == nil {
		found = []core.Segment{}
	}
	return found, nil
}

// segmentOf finds the segment that a campaign of a name is asked for. Where there is the
// campaign already, its segment is not asked for again.
func (t *tenant) segmentOf(ctx context.Context, name string, want CampaignSegment) (CampaignSegment, error) {
	if len(want.Lane) > 100 || len(want.ID) > maxContactRef || len(want.Name) > maxSegmentName || want.ID == "" && want.Name == "" {
		return want, core.Errorf(core.CodeInvalid, "campaign", "segment: want its name or its id, and the lane where several have segments")
	}
	if have := t.campaign(name); have != nil && have.Segment.is(want) {
		return have.Segment, nil
	}
	ctx, cancel := context.WithTimeout(ctx, segmentsDeadline) // of all calls, where there is no such segment
	defer cancel()
	l, err := t.segmentLane(ctx, want.Lane)
	if err != nil {
		return want, err
	}
	s, err := l.segment(ctx, want)
	if err != nil {
		return want, err
	}
	if s.Size > roster.MaxRows {
		return want, core.Errorf(core.CodeInvalid, "campaign", "the segment %s has %d members, a campaign may have %d: make smaller ones of it", inQuotes(s.Name), s.Size, roster.MaxRows)
	}
	return CampaignSegment{Lane: l.crmName(), ID: s.ID, Name: clip(s.Name, maxSegmentName)}, nil
}

// is reports whether a segment is the one that is asked for.
func (s CampaignSegment) is(asked CampaignSegment) bool {
	return s.ID != "" && (asked.Lane == "" || asked.Lane == s.Lane) && (asked.ID == "" || asked.ID == s.ID) &&
		(asked.Name == "" || asked.Name == s.Name || asked.Name == s.ID)
}

// segment finds the one that has an ID or a name.
func (l *lane) segment(ctx context.Context, want CampaignSegment) (core.Segment, error) {
	asked := cmp.Or(want.ID, want.Name)
	found, err := l.segmentsNamed(ctx, asked)
	if err != nil {
		return core.Segment{}, err
	}
	ways := []func(s *core.Segment) bool{func(s *core.Segment) bool { return s.ID == asked }}
	if want.ID == "" {
		ways = []func(s *core.Segment) bool{
			func(s *core.Segment) bool { return s.Name == asked },
			func(s *core.Segment) bool {
				return strings.EqualFold(strings.TrimSpace(s.Name), strings.TrimSpace(asked))
			},
			ways[0],
		}
	}
	for _, is := range ways {
		var those []core.Segment
		for i := range found {
			if is(&found[i]) {
				those = append(those, found[i])
			}
		}
		switch {
		case len(those) == 1:
			return those[0], nil
		case len(those) > 1:
			e := core.Errorf(core.CodeInvalid, "campaign", "%d segments of %s are called %s: %s", len(those), l.crmName(), inQuotes(asked), segmentNames(those))
			e.Hint = "say which by its id"
			return core.Segment{}, e
		}
	}
	e := core.Errorf(core.CodeInvalid, "campaign", "%s has no segment %s", l.crmName(), inQuotes(asked))
	e.Hint = "`wabridge campaign segments` lists those that there are"
	if near := l.near(ctx, asked, found); len(near) > 0 {
		e.Message += "; there are " + segmentNames(near)
	}
	return core.Segment{}, e
}

// near are the segments that somebody may have meant: those that have the text in their
// names, the one that is spelt nearly so, and those with a word of it.
func (l *lane) near(ctx context.Context, asked string, found []core.Segment) []core.Segment {
	if len(found) > 0 {
		return found
	}
	all, err := l.segmentsNamed(ctx, "")
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	nearest := spelling.Nearest(asked, names)
	words := strings.Fields(strings.ToLower(asked))
	rank := func(s core.Segment) int {
		if s.Name == nearest && nearest != "" {
			return len(words) + 1
		}
		n := 0
		for _, w := range words {
			if len(w) > 2 && strings.Contains(strings.ToLower(s.Name), w) {
				n++
			}
		}
		return n
	}
	all = slices.DeleteFunc(all, func(s core.Segment) bool { return rank(s) == 0 })
	slices.SortStableFunc(all, func(x, y core.Segment) int { return rank(y) - rank(x) })
	return all
}

// segmentNames names segments, with their ids.
func segmentNames(segments []core.Segment) string {
	var out []string
	for i, s := range segments {
		if i == maxNamed {
			out = append(out, fmt.Sprintf("and %d more", len(segments)-i))
			break
		}
		kind := ""
		if s.Kind != "" {
			kind = ", " + clip(s.Kind, 60)
		}
		out = append(out, fmt.Sprintf("%s (%s%s)", inQuotes(s.Name), clip(s.ID, 120), kind))
	}
	return strings.Join(out, ", ")
}

func inQuotes(name string) string { return fmt.Sprintf("%q", clipRunes(name, 80)) }
