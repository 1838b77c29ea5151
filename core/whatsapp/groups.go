package whatsapp

import (
	"encoding/json"
	"slices"

	"github.com/wabridge/wabridge/core"
)

// group reads what became of a group.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/groups/webhooks
func (o *origin) group(raw []byte) (core.Event, bool) {
	type people []struct {
		WaID   flexID `json:"wa_id"`
		UserID string `json:"user_id"`
		Input  flexID `json:"input"`
	}
	var g struct {
		ID          flexID   `json:"group_id"`
		Type        string   `json:"type"`
		Timestamp   flexTime `json:"timestamp"`
		Subject     string   `json:"subject"`
		Description string   `json:"description"`
		Added       people   `json:"added_participants"`
		Removed     people   `json:"removed_participants"`
	}
	_ = json.Unmarshal(raw, &g) // as far as it can be read
	if !usableID(string(g.ID)) || g.Type == "" {
		return core.Event{}, false
	}
	addresses := func(all people) (out []core.Address) {
		for _, p := range all[:min(len(all), maxParticipants)] {
			c := core.Contact{Phone: phone(string(p.WaID)), BSUID: bsuid(p.UserID)}
			if c.Phone == "" && c.BSUID == "" {
				c.Phone = phone(string(p.Input))
			}
			if a := reachedAt(&c); a != (core.Address{}) {
				out = append(out, a)
			}
		}
		return out
	}
	return core.Event{
		ID: hashID(o.waba(), "groups", raw, []byte(o.number)), Kind: core.KindGroupChanged, Time: g.Timestamp.Time, Group: string(g.ID),
		GroupChange: &core.GroupChange{
			Type: g.Type[:min(len(g.Type), maxTypeName)], Subject: g.Subject, Description: g.Description,
			Joined: addresses(g.Added), Left: addresses(g.Removed),
		}, Raw: slices.Clone(raw),
	}, true
}

// maxParticipants is how many people of a change are named; a group has fewer.
const maxParticipants = 1000

// userID reads that a person has another user id. WhatsApp tells it by a system
// message by now.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
func (o *origin) userID(raw []byte) (core.Event, bool) {
	type change struct {
		Previous string `json:"previous"`
		Current  string `json:"current"`
	}
	var v struct {
		WaID      flexID   `json:"wa_id"`
		UserID    change   `json:"user_id"`
		Parent    change   `json:"parent_user_id"`
		Detail    string   `json:"detail"`
		Timestamp flexTime `json:"timestamp"`
	}
	_ = json.Unmarshal(raw, &v) // as far as it can be read
	ch := &core.IdentityChange{
		Type: "user_changed_user_id", Phone: phone(string(v.WaID)), BSUID: bsuid(v.UserID.Current),
		ParentBSUID: bsuid(v.Parent.Current), PreviousBSUID: bsuid(v.UserID.Previous),
	}
	id := hashID(o.waba(), fieldUserID, raw, []byte(o.number))
	c := o.contact(string(v.WaID), v.UserID.Current, v.Parent.Current)
	if c == nil || ch.BSUID == "" {
		return core.Event{}, false
	}
	return core.Event{
		ID: id, Kind: core.KindMessageReceived, Time: v.Timestamp.Time, Contact: c, Change: ch,
		Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeSystem, Text: v.Detail}, Raw: slices.Clone(raw),
	}, true
}
