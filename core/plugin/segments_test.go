//go:build linux

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wabridge/wabridge/core"
)

var _ core.Segmenter = poller{}

// Segments does what the name says.
func (p poller) Segments(ctx context.Context, a core.Account, name string) ([]core.Segment, error) {
	core.Spend(ctx, "api", 2)
	if a.Token == nil {
		return nil, errors.New("asked for segments without a token")
	}
	many := make([]core.Segment, core.MaxSegments+1)
	for i := range many {
		many[i] = core.Segment{ID: fmt.Sprint(i), Name: "list"}
	}
	switch name {
	case "all":
		return vips, nil
	case "none":
		return nil, nil
	case "most":
		return many[1:], nil
	case "too many":
		return many, nil
	case "no ID":
		return []core.Segment{{Name: "list"}}, nil
	case "long ID":
		return []core.Segment{{ID: strings.Repeat("x", maxRef+1), Name: "list"}}, nil
	case "odd ID":
		return []core.Segment{{ID: "1\n2", Name: "list"}}, nil
	case "one ID":
		twice := core.Segment{ID: a.Secrets["token"].Reveal(), Name: "list"}
		return []core.Segment{twice, twice}, nil
	case "no name":
		return []core.Segment{{ID: "7"}}, nil
	case "less than none":
		return []core.Segment{{ID: "7", Name: "list", Size: -1}}, nil
	case "long texts":
		return []core.Segment{{ID: "7", Name: strings.Repeat("n", 10_000), Kind: strings.Repeat("k\n", 10_000)}}, nil
	case "visit":
		return nil, p.Check(ctx, a)
	case "plain":
		return nil, errors.New("the CRM is closed")
	case "panic":
		panic(a.Secrets["token"].Reveal())
	}
	return nil, core.Errorf(core.CodeRateLimited, "segments", "not with %s", a.Secrets["token"].Reveal())
}

// Members does what the segment's ID says.
func (p poller) Members(ctx context.Context, a core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	core.Spend(ctx, "api", 1)
	core.Left(ctx, "api", 90)
	if a.Token == nil {
		return core.Members{}, errors.New("asked for members without a token")
	}
	next := json.RawMessage(`{"after":"7"}`)
	many := make([]core.Member, core.MaxMembers+1)
	for i := range many {
		many[i].ContactRef = fmt.Sprint(i)
	}
	switch segment {
	case "vips":
		if string(cursor) == string(next) {
			return core.Members{Members: members[1:]}, nil
		}
		return core.Members{Members: members[:1], Cursor: next, More: true}, nil
	case "most":
		return core.Members{Members: many[1:]}, nil
	case "too many":
		return core.Members{Members: many}, nil
	case "no record":
		return core.Members{Members: []core.Member{many[0], {Contact: core.Contact{Phone: "+15550100123"}}}}, nil
	case "long record":
		return core.Members{Members: []core.Member{{ContactRef: strings.Repeat("x", maxRef+1)}}}, nil
	case "long texts":
		long := strings.Repeat("x\n", 10_000)
		return core.Members{Members: []core.Member{{ContactRef: "7", Contact: core.Contact{Name: long, Phone: long, BSUID: long}}}}, nil
	case "all that is known":
		for i := range many {
			many[i].Contact.Fields = map[string]string{"notes": strings.Repeat("x", maxMessage/core.MaxMembers)}
		}
		return core.Members{Members: many[1:]}, nil
	case "no end":
		return core.Members{More: true}, nil
	case "same":
		return core.Members{Cursor: cursor, More: true}, nil
	case "large cursor":
		return core.Members{Cursor: json.RawMessage(`"` + strings.Repeat("x", maxCursor) + `"`), More: true}, nil
	case "bad cursor":
		return core.Members{Cursor: json.RawMessage(`{`)}, nil
	case "visit":
		return core.Members{}, p.Check(ctx, a)
	case "panic":
		panic(a.Secrets["token"].Reveal())
	}
	return core.Members{}, core.Errorf(core.CodeInvalid, "members", "there is no segment %s, says %s", segment, a.Secrets["token"].Reveal())
}

var (
	vips = []core.Segment{
		{ID: "vips", Name: "VIPs of Genève 💛", Kind: "static list", Size: 2}, {ID: "campaign:7018d00000abc", Name: "Spring"},
	}
	members = []core.Member{
		{ContactRef: "51", Contact: core.Contact{Name: "Ana", Phone: "+15550100123", BSUID: "US.13491208655302741918"}}, {ContactRef: "52"},
	}
)

// segmenting is a Host whose connector has segments.
func segmenting(t *testing.T, options HostOptions) *Host {
	t.Helper()
	d := newDesk(t)
	d.good = func(n int) bool { return n == 1 }
	a := core.Account{Settings: json.RawMessage(`{"url":"` + d.URL + `"}`), Secrets: account.Secrets}
	options.Launch, options.Account = child("poller"), func() core.Account { return a }
	h, _ := run(t, options)
	return h
}

func TestHost_TellsOfSegments(t *testing.T) {
	h := segmenting(t, HostOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if info, err := h.Info(ctx); err != nil || !info.Segments {
		t.Fatalf("%+v, %v", info, err)
	}
	metered, meter := core.WithMeter(ctx)
	got, err := h.Segments(metered, "all")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(vips, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if spent, _ := meter.Spent(); spent["api"] != 2 {
		t.Errorf("spent is %v, want 2 calls", spent)
	}
	if got, err := h.Segments(ctx, "none"); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	if got, err := h.Segments(ctx, "most"); err != nil || len(got) != core.MaxSegments {
		t.Errorf("the most: %d, %v", len(got), err)
	}
	if got, err := h.Segments(ctx, "long texts"); err != nil || len(got[0].Name) != maxSegmentName || len(got[0].Kind) != maxWord || strings.Contains(got[0].Kind, "\n") {
		t.Errorf("long texts: %.80v, %v", got, err)
	}
	for name, want := range map[string]struct {
		code core.Code
		says string
	}{
		"too many": {core.CodeInternal, "1001 segments"}, "no ID": {core.CodeInternal, `segment 0 has the ID ""`},
		"long ID": {core.CodeInternal, "want a word"}, "odd ID": {core.CodeInternal, "want a word"},
		"one ID": {core.CodeInternal, `two segments have the ID "[secret]"`}, "no name": {core.CodeInternal, "has no name"},
		"less than none": {core.CodeInternal, "-1 members"}, "plain": {core.CodeInternal, "closed"}, "panic": {core.CodeInternal, "panic in Segments"},
		"slow down": {core.CodeRateLimited, "not with [secret]"}, "a\xff": {core.CodeInvalid, "no line of text"},
		strings.Repeat("n", maxSegmentName+1): {core.CodeInvalid, "at most 512 bytes"},
	} {
		got, err := h.Segments(ctx, name)
		if core.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) || len(got) > 0 || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%.40q: got %d segments, %v; want %s: %s", name, len(got), err, want.code, want.says)
		}
	}
}

func TestHost_TellsWhoIsInASegment(t *testing.T) {
	h := segmenting(t, HostOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	metered, meter := core.WithMeter(ctx)
	first, err := h.Members(metered, "vips", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(core.Members{Members: members[:1], Cursor: json.RawMessage(`{"after":"7"}`), More: true}, first); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	last, err := h.Members(metered, "vips", first.Cursor)
	if err != nil || last.More || !cmp.Equal(last.Members, members[1:]) {
		t.Errorf("the last page is %+v, %v", last, err)
	}
	if spent, left := meter.Spent(); spent["api"] != 2 || left["api"] != 90 {
		t.Errorf("spent is %v, left %v", spent, left)
	}
	if got, err := h.Members(ctx, "most", nil); err != nil || len(got.Members) != core.MaxMembers {
		t.Errorf("the most: %d, %v", len(got.Members), err)
	}
	if got, err := h.Members(ctx, "all that is known", nil); err != nil || len(got.Members) != core.MaxMembers || got.Members[0].Contact.Fields != nil {
		t.Errorf("with all that is known of them: %d, %v", len(got.Members), err)
	}
	got, err := h.Members(ctx, "long texts", nil)
	if c := got.Members[0].Contact; err != nil || len(c.Name) > maxSegmentName || len(c.Phone) > maxWord || len(c.BSUID) > maxWord || strings.Contains(c.Name, "\n") {
		t.Errorf("long texts: %.80v, %v", got, err)
	}
	for segment, want := range map[string]struct {
		code core.Code
		says string
	}{
		"too many": {core.CodeInternal, "501 members"}, "no record": {core.CodeInternal, "member 1 has a ContactRef of 0 bytes"},
		"long record": {core.CodeInternal, "ContactRef of 513 bytes"}, "no end": {core.CodeInternal, "no cursor"},
		"same": {core.CodeInternal, "does not go on"}, "large cursor": {core.CodeInternal, "no JSON value of at most"},
		"bad cursor": {core.CodeInternal, "no JSON value"}, "panic": {core.CodeInternal, "panic in Members"},
		"gone": {core.CodeInvalid, "there is no segment gone, says [secret]"}, "": {core.CodeInvalid, "no segment's ID"},
		"a\xff": {core.CodeInvalid, "no segment's ID"}, strings.Repeat("x", maxRef+1): {core.CodeInvalid, "no segment's ID"},
	} {
		got, err := h.Members(ctx, segment, json.RawMessage(`"7"`))
		if core.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) || len(got.Members) > 0 || got.Cursor != nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%.40q: got %d members, %v; want %s: %s", segment, len(got.Members), err, want.code, want.says)
		}
	}
}

func TestHost_AsksForSegmentsOnceMoreWhenATokenWasRefused(t *testing.T) {
	for what, ask := range map[string]func(context.Context, *Host) error{
		"Segments": func(ctx context.Context, h *Host) error { _, err := h.Segments(ctx, "visit"); return err },
		"Members":  func(ctx context.Context, h *Host) error { _, err := h.Members(ctx, "visit", nil); return err },
	} {
		h := segmenting(t, HostOptions{Tokens: accessToken("token-50", time.Now().Add(-time.Minute), time.Hour)})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := ask(ctx, h); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}

func TestHost_TakesNoNonsenseForSegments(t *testing.T) {
	h, _ := run(t, HostOptions{Launch: child("evil", "segments")})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got, err := h.Segments(ctx, ""); core.CodeOf(err) != core.CodeInternal || !strings.Contains(err.Error(), "segment 1 cannot be read") || len(got) > 0 {
		t.Errorf("Segments: %v, %v", got, err)
	}
	if got, err := h.Members(ctx, "7", nil); core.CodeOf(err) != core.CodeInternal || !strings.Contains(err.Error(), "member 0 cannot be read") || len(got.Members) > 0 {
		t.Errorf("Members: %v, %v", got, err)
	}
}
