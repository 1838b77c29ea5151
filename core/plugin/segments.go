package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// maxSegmentName is how much of a name is taken of what CRMs call segments and people,
// in bytes.
const maxSegmentName = 512

// Segments asks the connector for the CRM's segments: see [core.Segmenter]. Where the
// CRM refuses the account's token, it is asked once more with a new one. What is
// returned has IDs, each once, and names.
func (h *Host) Segments(ctx context.Context, name string) ([]core.Segment, error) {
	found, err := withToken(ctx, h, func(a core.Account) ([]core.Segment, *core.Error) { return h.segments(ctx, a, name) })
	return found, plain(err)
}

func (h *Host) segments(ctx context.Context, account core.Account, name string) ([]core.Segment, *core.Error) {
	if name != clean(name, maxSegmentName) {
		return nil, core.Errorf(core.CodeInvalid, "segments", "the name is no line of text of at most %d bytes", maxSegmentName)
	}
	h.learn(account)
	res, err := askPlugin(ctx, h, "segments", func(ctx context.Context, c connectorpb.Client) (*connectorpb.SegmentsResponse, error) {
		return c.Segments(ctx, &connectorpb.SegmentsRequest{Account: accountToWire(account), Name: name})
	})
	if err != nil {
		return nil, err
	}
	meterFromWire(ctx, res.GetMeter())
	if err := h.redacted(cleanError(errorFromWire(res.GetError()))); err != nil {
		return nil, err
	}
	found, why := segmentsFromWire(res.GetSegments())
	if why != "" {
		return nil, h.odd("segments", why)
	}
	return found, nil
}

// segmentsFromWire reads what a plugin found, or says what is wrong with it. An ID is
// taken as it is or not at all: cut, it would be another's.
func segmentsFromWire(wire [][]byte) ([]core.Segment, string) {
	if len(wire) > core.MaxSegments {
		return nil, fmt.Sprintf("%d segments at once, at most %d are taken", len(wire), core.MaxSegments)
	}
	found := make([]core.Segment, len(wire))
	seen := make(map[string]bool, len(wire))
	for i, data := range wire {
		s := &found[i]
		if err := json.Unmarshal(data, s); err != nil {
			return nil, fmt.Sprintf("segment %d cannot be read: %s", i, clean(err.Error(), maxHint))
		}
		s.Name, s.Kind = clean(s.Name, maxSegmentName), clean(s.Kind, maxWord)
		switch {
		case !isRef(s.ID):
			return nil, fmt.Sprintf("segment %d has the ID %q: want a word of 1 to %d bytes", i, clean(s.ID, maxWord), maxRef)
		case seen[s.ID]:
			return nil, fmt.Sprintf("two segments have the ID %q", s.ID)
		case s.Name == "":
			return nil, fmt.Sprintf("the segment %q has no name", s.ID)
		case s.Size < 0:
			return nil, fmt.Sprintf("the segment %q has %d members", s.ID, s.Size)
		}
		seen[s.ID] = true
	}
	return found, ""
}

// Members asks the connector who is in a segment, a page at a time: see
// [core.Segmenter]. Where the CRM refuses the account's token, it is asked once more
// with a new one. Whoever is returned has a ContactRef; of their Contact there is Name,
// Phone and BSUID, as the plugin said them. A page that has a next one has another
// cursor than it was asked with.
func (h *Host) Members(ctx context.Context, segment string, cursor json.RawMessage) (core.Members, error) {
	page, err := withToken(ctx, h, func(a core.Account) (core.Members, *core.Error) { return h.members(ctx, a, segment, cursor) })
	return page, plain(err)
}

func (h *Host) members(ctx context.Context, account core.Account, segment string, cursor json.RawMessage) (core.Members, *core.Error) {
	if !isRef(segment) {
		return core.Members{}, core.Errorf(core.CodeInvalid, "members", "%q is no segment's ID", clean(segment, maxWord))
	}
	h.learn(account)
	res, err := askPlugin(ctx, h, "members", func(ctx context.Context, c connectorpb.Client) (*connectorpb.MembersResponse, error) {
		return c.Members(ctx, &connectorpb.MembersRequest{Account: accountToWire(account), Segment: segment, Cursor: cursor})
	})
	if err != nil {
		return core.Members{}, err
	}
	meterFromWire(ctx, res.GetMeter())
	if err := h.redacted(cleanError(errorFromWire(res.GetError()))); err != nil {
		return core.Members{}, err
	}
	page := core.Members{Cursor: res.GetCursor(), More: res.GetMore()}
	why := oddCursor(page.Cursor, page.More)
	if why == "" && page.More && bytes.Equal(page.Cursor, cursor) {
		why = "there is more, but the cursor does not go on"
	}
	if why == "" {
		page.Members, why = membersFromWire(res.GetMembers())
	}
	if why != "" {
		return core.Members{}, h.odd("members", why)
	}
	return page, nil
}

// membersFromWire reads a page of members, or says what is wrong with it, without
// telling who they are.
func membersFromWire(wire [][]byte) ([]core.Member, string) {
	if len(wire) > core.MaxMembers {
		return nil, fmt.Sprintf("%d members on a page, at most %d are taken", len(wire), core.MaxMembers)
	}
	members := make([]core.Member, len(wire))
	for i, data := range wire {
		var m core.Member
		if err := json.Unmarshal(data, &m); err != nil {
			return nil, fmt.Sprintf("member %d cannot be read: %s", i, clean(err.Error(), maxHint))
		}
		if !isRef(m.ContactRef) {
			return nil, fmt.Sprintf("member %d has a ContactRef of %d bytes: want a word of 1 to %d", i, len(m.ContactRef), maxRef)
		}
		members[i] = memberRead(m)
	}
	return members, ""
}

// memberRead is what of a member is read.
func memberRead(m core.Member) core.Member {
	return core.Member{ContactRef: m.ContactRef, Contact: core.Contact{
		Name: clean(m.Contact.Name, maxSegmentName), Phone: clean(m.Contact.Phone, maxWord), BSUID: clean(m.Contact.BSUID, maxWord),
	}}
}

// isRef reports whether s can be what a CRM calls something.
func isRef(s string) bool { return s != "" && s == clean(s, maxRef) }

// Segments implements [core.Segmenter] for tests of plugins.
func (c connector) Segments(ctx context.Context, a core.Account, name string) ([]core.Segment, error) {
	found, err := c.h.segments(ctx, a, name)
	return found, plain(err)
}

// Members implements [core.Segmenter] for tests of plugins.
func (c connector) Members(ctx context.Context, a core.Account, segment string, cursor json.RawMessage) (core.Members, error) {
	page, err := c.h.members(ctx, a, segment, cursor)
	return page, plain(err)
}

var _ core.Segmenter = connector{}

func (s *service) Segments(ctx context.Context, req *connectorpb.SegmentsRequest) (res *connectorpb.SegmentsResponse, err error) {
	segmenter, ok := s.connector.(core.Segmenter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the connector has no Segments")
	}
	ctx, cancel := leaveTime(ctx)
	defer cancel()
	ctx, meter := core.WithMeter(ctx)
	defer func() {
		if r := recover(); r != nil {
			res, err = &connectorpb.SegmentsResponse{Error: errorToWire(panicked("Segments", r, core.CodeInternal))}, nil
		}
		res.Meter = meterToWire(meter)
	}()
	found, err := segmenter.Segments(ctx, accountFromWire(req.GetAccount()), req.GetName())
	if err != nil {
		return &connectorpb.SegmentsResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	list, err := eachAsJSON(found)
	if err != nil {
		return &connectorpb.SegmentsResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	return &connectorpb.SegmentsResponse{Segments: list}, nil
}

func (s *service) Members(ctx context.Context, req *connectorpb.MembersRequest) (res *connectorpb.MembersResponse, err error) {
	segmenter, ok := s.connector.(core.Segmenter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the connector has no Members")
	}
	ctx, cancel := leaveTime(ctx)
	defer cancel()
	ctx, meter := core.WithMeter(ctx)
	defer func() {
		if r := recover(); r != nil {
			res, err = &connectorpb.MembersResponse{Error: errorToWire(panicked("Members", r, core.CodeInternal))}, nil
		}
		res.Meter = meterToWire(meter)
	}()
	page, err := segmenter.Members(ctx, accountFromWire(req.GetAccount()), req.GetSegment(), req.GetCursor())
	if err != nil {
		return &connectorpb.MembersResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	read := make([]core.Member, len(page.Members))
	for i, m := range page.Members { // with all that a CRM knows of them a page might be too large
		read[i] = memberRead(m)
	}
	members, err := eachAsJSON(read)
	if err != nil {
		return &connectorpb.MembersResponse{Error: errorToWire(cleanError(asPluginError(err)))}, nil
	}
	return &connectorpb.MembersResponse{Members: members, Cursor: page.Cursor, More: page.More}, nil
}
