package connectortest

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
)

const (
	// segmentsLooked is how many segments are looked at closely, pagesLooked how many
	// pages of each: the account may be a real one, with large lists.
	segmentsLooked = 3
	pagesLooked    = 20

	maxCursor = 64 << 10
)

// segments asks for segments, and reports whether that went well.
func (p *probe) segments(ctx context.Context, account core.Account, name string) ([]core.Segment, bool) {
	ctx, meter := core.WithMeter(ctx)
	found, err := p.segmenter.Segments(ctx, account, name)
	p.wantDeclared(meter)
	p.see(err)
	if core.CodeOf(err) == core.CodeInvalid && name == "" {
		p.skip("the account has no segments: " + err.Error())
		return nil, false
	}
	if err != nil {
		p.failf("Segments(%q): %v", name, err)
	}
	if len(found) > core.MaxSegments {
		p.failf("Segments(%q): %d segments, want at most %d", name, len(found), core.MaxSegments)
	}
	return found, err == nil
}

// members asks for a page of members.
func (p *probe) members(ctx context.Context, account core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	ctx, meter := core.WithMeter(ctx)
	page, err := p.segmenter.Members(ctx, account, segment, slices.Clone(cursor))
	p.wantDeclared(meter)
	p.see(err)
	return page, err
}

// segmenting is the account, for a connector that has segments.
func (p *probe) segmenting(ctx context.Context) (core.Account, bool) {
	if p.segmenter == nil {
		p.skip("the connector has no Segments")
		return core.Account{}, false
	}
	account, err := p.withToken(ctx)
	if err != nil {
		p.failf("no token: %v", err)
	}
	return account, err == nil
}

func segmentsSound(ctx context.Context, p *probe) {
	account, ok := p.segmenting(ctx)
	if !ok {
		return
	}
	all, ok := p.segments(ctx, account, "")
	if !ok {
		return
	}
	seen := map[string]bool{}
	for i, s := range all {
		switch {
		case s.ID == "" || strings.TrimSpace(s.Name) == "":
			p.failf("segment %d has no ID, or no name: %+v", i, s)
		case seen[s.ID]:
			p.failf("two segments have the ID %q", s.ID)
		case s.Size < 0:
			p.failf("the segment %q has %d members", s.ID, s.Size)
		}
		seen[s.ID] = true
	}
	if len(all) == 0 {
		p.skip("the account has no segments")
	}
	for _, s := range all[:min(len(all), segmentsLooked)] {
		part := partOf(s.Name)
		for _, name := range []string{part, strings.ToUpper(part), strings.ToLower(part), s.ID} {
			found, ok := p.segments(ctx, account, name)
			if !ok {
				return
			}
			if len(found) < core.MaxSegments && !slices.ContainsFunc(found, func(f core.Segment) bool { return f.ID == s.ID }) {
				p.failf("Segments(%q) does not find the segment %q with the ID %q", name, s.Name, s.ID)
			}
			p.wantNamed(found, name)
		}
	}
	const none = "no segment has this name of ours"
	if found, ok := p.segments(ctx, account, none); ok {
		p.wantNamed(found, none)
	}
}

// wantNamed wants nothing to be found but what was asked for.
func (p *probe) wantNamed(found []core.Segment, name string) {
	for _, f := range found {
		if f.ID != name && !strings.Contains(strings.ToLower(f.Name), strings.ToLower(name)) {
			p.failf("Segments(%q) finds %q with the ID %q", name, f.Name, f.ID)
		}
	}
}

// partOf is something from the middle of a name.
func partOf(name string) string {
	r := []rune(strings.TrimSpace(name))
	if len(r) < 4 {
		return string(r)
	}
	return strings.TrimSpace(string(r[1:min(len(r)-1, 20)]))
}

func segmentsMembers(ctx context.Context, p *probe) {
	account, ok := p.segmenting(ctx)
	if !ok {
		return
	}
	all, ok := p.segments(ctx, account, "")
	if !ok {
		return
	}
	if len(all) == 0 {
		p.skip("the account has no segments")
	}
	for _, s := range all[:min(len(all), segmentsLooked)] {
		p.wantMembers(ctx, account, s.ID)
	}
}

// wantMembers reads a segment, each page twice.
func (p *probe) wantMembers(ctx context.Context, account core.Account, segment string) {
	told := map[string]bool{}
	var cursor json.RawMessage
	for range pagesLooked {
		page, err := p.members(ctx, account, segment, cursor)
		if err != nil {
			p.failf("Members(%q): %v", segment, err)
			return
		}
		if len(page.Members) > core.MaxMembers {
			p.failf("Members(%q): %d on a page, want at most %d", segment, len(page.Members), core.MaxMembers)
		}
		for i, m := range page.Members {
			switch {
			case m.ContactRef == "":
				p.failf("Members(%q): member %d of a page has no ContactRef", segment, i)
			case told[m.ContactRef]:
				p.failf("Members(%q): the record %q is told of twice", segment, m.ContactRef)
			}
			told[m.ContactRef] = true
		}
		again, err := p.members(ctx, account, segment, cursor)
		if err != nil || again.More != page.More || !slices.EqualFunc(sorted(page), sorted(again), sameMember) {
			p.failf("Members(%q): asked with the same cursor again, it is another page: %d members, then %d (%v)", segment, len(page.Members), len(again.Members), err)
		}
		switch {
		case !page.More:
			return
		case len(page.Cursor) > maxCursor || !json.Valid(page.Cursor):
			p.failf("Members(%q): there is more, and the cursor is no JSON value of at most %d KiB: %d bytes", segment, maxCursor>>10, len(page.Cursor))
			return
		case string(page.Cursor) == string(cursor):
			p.failf("Members(%q): there is more, but the cursor does not go on", segment)
			return
		}
		cursor = page.Cursor
	}
	if len(told) < pagesLooked {
		p.failf("Members(%q): %d pages with %d members, and no end", segment, pagesLooked, len(told))
		return
	}
	p.skip("a segment has more than the pages that were looked at")
}

// sorted is a page's members in an order of ours: theirs may be any.
func sorted(page core.Members) []core.Member {
	return slices.SortedFunc(slices.Values(page.Members), func(a, b core.Member) int { return cmp.Compare(a.ContactRef, b.ContactRef) })
}

func sameMember(a, b core.Member) bool {
	return a.ContactRef == b.ContactRef && a.Contact.Name == b.Contact.Name && a.Contact.Phone == b.Contact.Phone && a.Contact.BSUID == b.Contact.BSUID
}

func segmentsUnknown(ctx context.Context, p *probe) {
	account, ok := p.segmenting(ctx)
	if !ok {
		return
	}
	all, ok := p.segments(ctx, account, "")
	if !ok {
		return
	}
	unknown := []string{"no-such-segment-of-ours"}
	for _, s := range all[:min(len(all), segmentsLooked)] {
		// Of the same kind and form, and nobody's, as far as all are known.
		id := nines(s.ID)
		if len(all) < core.MaxSegments && !slices.ContainsFunc(all, func(s core.Segment) bool { return s.ID == id }) {
			unknown = append(unknown, id)
		}
	}
	for _, id := range unknown {
		page, err := p.members(ctx, account, id, nil)
		if core.CodeOf(err) != core.CodeInvalid || len(page.Members) > 0 {
			p.failf("Members(%q), which does not exist: want invalid, got %d members, %v", id, len(page.Members), err)
		}
	}
}

// nines is an ID with another number, behind what says its kind.
func nines(id string) string {
	at := strings.LastIndexByte(id, ':') + 1
	return id[:at] + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return '9'
		}
		return r
	}, id[at:])
}
