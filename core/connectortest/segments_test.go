package connectortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/connectortest"
)

// listing is a good connector that has segments, too, until it is spoilt.
type listing struct {
	notebook
	segments func(ctx context.Context, name string) ([]core.Segment, error)
	members  func(segment, cursor string) (core.Members, error)
}

func (c *listing) Segments(ctx context.Context, _ core.Account, name string) ([]core.Segment, error) {
	if c.segments != nil {
		return c.segments(ctx, name)
	}
	return find(name)
}

func (c *listing) Members(_ context.Context, _ core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	if c.members != nil {
		return c.members(segment, string(cursor))
	}
	return pageOf(segment, string(cursor))
}

var lists = []core.Segment{
	{ID: "list:10", Name: "Customers of Genève", Size: 5}, {ID: "list:11", Name: "VIP", Size: 1}, {ID: "view:10", Name: "Nobody yet"},
}

func find(name string) ([]core.Segment, error) {
	return slices.DeleteFunc(slices.Clone(lists), func(s core.Segment) bool {
		return s.ID != name && !strings.Contains(strings.ToLower(s.Name), strings.ToLower(name))
	}), nil
}

func pageOf(segment, cursor string) (core.Members, error) {
	i := slices.IndexFunc(lists, func(s core.Segment) bool { return s.ID == segment })
	if i < 0 {
		return core.Members{}, core.Errorf(core.CodeInvalid, "members", "there is no segment %s", segment)
	}
	const size = 2
	begin, _ := strconv.Atoi(cursor)
	var page core.Members
	for n := begin; n < min(begin+size, lists[i].Size); n++ {
		page.Members = append(page.Members, core.Member{ContactRef: strconv.Itoa(n), Contact: core.Contact{Name: "Ana"}})
	}
	if page.More = begin+size < lists[i].Size; page.More {
		page.Cursor = json.RawMessage(strconv.Itoa(begin + size))
	}
	return page, nil
}

// wantFound runs the rules, and wants this one to fail and to say so; to pass, when
// nothing is to be seen.
func wantFound(t *testing.T, c core.Connector, rule, seen string) {
	t.Helper()
	_, target := newNotebook(t)
	target.Connector, target.Stall, target.Records, target.BadSecrets = c, nil, nil, nil
	want := connectortest.Failed
	if seen == "" {
		want = connectortest.Passed
	}
	connectortest.Suite(t.Context(), target, func(f connectortest.Finding) {
		if f.Rule == rule && (f.Outcome != want || !strings.Contains(f.Seen, seen)) {
			t.Errorf("%s is %s, and saw %q: want %s, and %q", f.Rule, f.Outcome, f.Seen, want, seen)
		}
	})
}

func TestRules_FindNothingWrongWithGoodSegments(t *testing.T) {
	for _, rule := range []string{"segments/sound", "segments/members", "segments/unknown"} {
		wantFound(t, &listing{}, rule, "")
		wantFound(t, connectortest.Plugin(t, "listing"), rule, "")
	}
}

func TestRules_FindWhatIsWrongWithSegments(t *testing.T) {
	spoilt := func(spoil func(s *core.Segment)) func(context.Context, string) ([]core.Segment, error) {
		return func(_ context.Context, name string) ([]core.Segment, error) {
			found, err := find(name)
			if len(found) > 0 {
				spoil(&found[0])
			}
			return found, err
		}
	}
	found := func(when func(name string) bool, s ...core.Segment) func(context.Context, string) ([]core.Segment, error) {
		return func(_ context.Context, name string) ([]core.Segment, error) {
			if when(name) {
				return s, nil
			}
			return find(name)
		}
	}
	for name, tc := range map[string]struct {
		segments func(context.Context, string) ([]core.Segment, error)
		seen     string
	}{
		"an error":         {func(context.Context, string) ([]core.Segment, error) { return nil, errors.New("closed") }, "closed"},
		"no ID":            {spoilt(func(s *core.Segment) { s.ID = "" }), "no ID"},
		"no name":          {spoilt(func(s *core.Segment) { s.Name = " " }), "no name"},
		"one ID":           {spoilt(func(s *core.Segment) { s.ID = "list:11" }), `two segments have the ID "list:11"`},
		"less than nobody": {spoilt(func(s *core.Segment) { s.Size = -1 }), "-1 members"},
		"too many":         {found(func(string) bool { return true }, make([]core.Segment, core.MaxSegments+1)...), "1001 segments"},
		"calls of a budget that is none": {func(ctx context.Context, name string) ([]core.Segment, error) {
			core.Spend(ctx, "apii", 1)
			return find(name)
		}, `budget "apii"`},
		"not by the ID":        {found(func(name string) bool { return name == "list:10" }), `Segments("list:10") does not find the segment "Customers of Genève"`},
		"not in capitals":      {found(func(name string) bool { return name == "OBODY YE" }), `Segments("OBODY YE") does not find`},
		"not in small letters": {found(func(name string) bool { return name == "vip" }), `Segments("vip") does not find`},
		"whole names only":     {found(func(name string) bool { return name == "ustomers of Genèv" }), `does not find the segment "Customers of Genève"`},
		"always something":     {found(func(name string) bool { return name == "no segment has this name of ours" }, lists[1]), `of ours") finds "VIP"`},
		"more than asked for":  {found(func(name string) bool { return name == "VIP" }, lists...), `Segments("VIP") finds "Nobody yet"`},
	} {
		t.Run(name, func(t *testing.T) { wantFound(t, &listing{segments: tc.segments}, "segments/sound", tc.seen) })
	}
}

func TestRules_FindWhatIsWrongWithMembers(t *testing.T) {
	// spoilt changes pages of a segment that is there; n is which call it is.
	spoilt := func(spoil func(p *core.Members, cursor string, n int) error) func(string, string) (core.Members, error) {
		n := 0
		return func(segment, cursor string) (core.Members, error) {
			p, err := pageOf(segment, cursor)
			if err == nil {
				n++
				err = spoil(&p, cursor, n)
			}
			return p, err
		}
	}
	for name, tc := range map[string]struct {
		members    func(segment, cursor string) (core.Members, error)
		rule, seen string
	}{
		"an error":     {spoilt(func(*core.Members, string, int) error { return errors.New("closed") }), "segments/members", "closed"},
		"no record":    {spoilt(func(p *core.Members, _ string, _ int) error { p.Members = make([]core.Member, 1); return nil }), "segments/members", "no ContactRef"},
		"a large page": {spoilt(func(p *core.Members, _ string, _ int) error { p.Members = make([]core.Member, 501); return nil }), "segments/members", "501 on a page"},
		"twice on a page": {spoilt(func(p *core.Members, _ string, _ int) error {
			p.Members = append(p.Members, p.Members...)
			return nil
		}), "segments/members", `the record "0" is told of twice`},
		"twice in a segment": {spoilt(func(p *core.Members, cursor string, _ int) error {
			if cursor == "4" {
				p.Members = append(p.Members, core.Member{ContactRef: "1"})
			}
			return nil
		}), "segments/members", `the record "1" is told of twice`},
		"another number each time": {spoilt(func(p *core.Members, _ string, n int) error {
			p.Members = []core.Member{{ContactRef: "7", Contact: core.Contact{Phone: fmt.Sprint("+1555010012", n)}}}
			return nil
		}), "segments/members", "it is another page"},
		"an end that moves": {spoilt(func(p *core.Members, _ string, n int) error { p.More = n%2 == 0; return nil }), "segments/members", "it is another page"},
		"a page that is had once": {spoilt(func(_ *core.Members, _ string, n int) error {
			if n%2 == 0 {
				return errors.New("expired")
			}
			return nil
		}), "segments/members", "(expired)"},
		"a cursor that is a word": {spoilt(func(p *core.Members, _ string, _ int) error { p.Cursor = json.RawMessage("after"); return nil }), "segments/members", "no JSON value"},
		"no cursor":               {spoilt(func(p *core.Members, _ string, _ int) error { p.Cursor = nil; return nil }), "segments/members", "no JSON value"},
		"a large cursor": {spoilt(func(p *core.Members, _ string, _ int) error {
			p.Cursor = json.RawMessage(`"` + strings.Repeat("x", 64<<10) + `"`)
			return nil
		}), "segments/members", "65538 bytes"},
		"a cursor that stays": {spoilt(func(p *core.Members, _ string, _ int) error {
			p.More, p.Cursor = true, json.RawMessage("2")
			return nil
		}), "segments/members", "does not go on"},
		"no end": {spoilt(func(p *core.Members, cursor string, _ int) error {
			*p = core.Members{Cursor: json.RawMessage(cursor + "1"), More: true}
			return nil
		}), "segments/members", "20 pages with 0 members, and no end"},
		"nobody where nothing is": {func(segment, cursor string) (core.Members, error) {
			p, _ := pageOf(segment, cursor)
			return p, nil
		}, "segments/unknown", `Members("no-such-segment-of-ours"), which does not exist: want invalid, got 0 members`},
		"nothing known of its kind": {func(segment, cursor string) (core.Members, error) {
			if segment == "list:99" {
				return pageOf("list:11", cursor)
			}
			return pageOf(segment, cursor)
		}, "segments/unknown", `Members("list:99"), which does not exist: want invalid, got 1 members`},
		"another code": {func(segment, cursor string) (core.Members, error) {
			p, err := pageOf(segment, cursor)
			if err != nil {
				err = core.Errorf(core.CodeUnavailable, "members", "404")
			}
			return p, err
		}, "segments/unknown", "members: 404"},
	} {
		t.Run(name, func(t *testing.T) { wantFound(t, &listing{members: tc.members}, tc.rule, tc.seen) })
	}
}

func TestRules_LookAtTheBeginningOfALargeSegmentOnly(t *testing.T) {
	asked := 0
	c := &listing{members: func(_, cursor string) (core.Members, error) {
		asked++
		n, _ := strconv.Atoi(cursor)
		return core.Members{
			Members: []core.Member{{ContactRef: cursor + "a"}, {ContactRef: cursor + "b"}}, Cursor: json.RawMessage(strconv.Itoa(n + 1)), More: true,
		}, nil
	}}
	_, target := newNotebook(t)
	target.Connector = c
	connectortest.Suite(t.Context(), target, func(f connectortest.Finding) {
		if f.Rule == "segments/members" && (f.Outcome != connectortest.Skipped || asked != 2*20*len(lists)) {
			t.Errorf("%s after %d calls", f, asked)
		}
	})
}
