package salesforce

import (
	"context"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// Salesforce merges contacts in its pages, in Apex and in SOAP, not in REST. So what
// hangs on a record is moved to the other, and the empty one is deleted: it is in the
// recycle bin for 15 days.

const (
	// mergeRounds bounds how many queries one merge makes for what is to be moved.
	mergeRounds = 50
	// filledAtOnce is how many fields of the two records are read in a query.
	filledAtOnce = 100
)

// merging makes one record of two.
func (x *session) merging() *crm.Merging {
	return &crm.Merging{CRM: "Salesforce", Both: x.bothOf, Into: func(ctx context.Context, from, to string) (string, *core.Error) {
		err := x.moveAll(ctx, from, to)
		if err == nil {
			err = x.fill(ctx, from, to)
		}
		if err == nil {
			err = x.remove(ctx, x.ContactObject, []string{from}, "merge "+from+" by hand in Salesforce")
		}
		return to, err
	}, Key: func(ctx context.Context, record, contact string) *core.Error {
		return x.point(ctx, x.ContactObject, x.ContactKey, contact, []string{record})
	}}
}

// bothOf reads the records of the contact that stays and of the one that went.
func (x *session) bothOf(ctx context.Context, e *core.Event) (kept, gone crm.Record, _ *core.Error) {
	list, err := x.query(ctx, "contact read", "SELECT Id, "+x.ContactKey+", CreatedDate, CreatedById, LastModifiedById FROM "+x.ContactObject+
		" WHERE "+x.ContactKey+" IN (", []string{quoted(e.Contact.ID), quoted(e.Merge.Contact.ID)}, ", ", ") LIMIT 2")
	if err != nil {
		return kept, gone, err
	}
	for _, f := range list {
		at, err := f.stamp("CreatedDate")
		if err != nil {
			return kept, gone, err
		}
		mine := x.user != "" && sameRecord(f.text("CreatedById"), x.user) && sameRecord(f.text("LastModifiedById"), x.user)
		if strings.EqualFold(f.text(x.ContactKey), e.Contact.ID) {
			kept = crm.Record{ID: f.text("Id"), Ours: mine && crm.MadeFor(at, e.Merge.KeptSince)}
		} else {
			gone = crm.Record{ID: f.text("Id"), Ours: mine && crm.MadeFor(at, e.Merge.Since)}
		}
	}
	return kept, gone, nil
}

// moveAll has the messages and escalations of a record point to another.
func (x *session) moveAll(ctx context.Context, from, to string) *core.Error {
	type tie struct{ object, field string }
	var ties []tie
	if x.Mode != "none" {
		ties = append(ties, tie{x.MessageObject, x.MessageContact})
	}
	switch t := (tie{"Task", "WhoId"}); {
	case x.Escalations == "case":
		ties = append(ties, tie{"Case", "ContactId"})
	case x.Escalations == "task" && !slices.Contains(ties, t):
		ties = append(ties, t)
	}
	for _, t := range ties {
		if err := x.move(ctx, t.object, t.field, from, to); err != nil {
			return err
		}
	}
	return nil
}

func (x *session) move(ctx context.Context, object, field, from, to string) *core.Error {
	for range mergeRounds {
		list, err := x.query(ctx, "merge read", "SELECT Id FROM "+object+" WHERE "+field+" = ", []string{quoted(from)}, "", " ORDER BY Id LIMIT 2000")
		if err != nil || len(list) == 0 {
			return err
		}
		ids := make([]string, len(list))
		for i, f := range list {
			ids[i] = f.text("Id")
		}
		if err := x.point(ctx, object, field, to, ids); err != nil {
			return err
		}
	}
	return crm.Failure(core.CodeUnavailable, "merge", "the contact has very many records of %s: the next attempt goes on", object)
}

// point gives a field of records a value.
func (x *session) point(ctx context.Context, object, field, value string, ids []string) *core.Error {
	rs := make([]*row, len(ids))
	of := make(map[*row]string, len(ids))
	for i, id := range ids {
		rs[i] = &row{fields: map[string]any{}}
		of[rs[i]] = id
	}
	x.collect(ctx, object, "update", "composite/sobjects", rs, func(r *row) map[string]any {
		return map[string]any{"attributes": map[string]string{"type": object}, "id": of[r], field: value}
	})
	for _, r := range rs {
		if r.err != nil {
			return r.err
		}
	}
	return nil
}

// fill gives a record the values that another has and it lacks. What the bridge writes
// of itself it tells anew, and what must be unique stays.
func (x *session) fill(ctx context.Context, from, to string) *core.Error {
	s, r := x.describe(ctx, x.ContactObject, schemaLife)
	if r != nil {
		return r.Error
	}
	own := []string{x.ContactKey, x.NameField, x.PhoneField, x.BSUIDField, x.UsernameField, x.TagsField, x.ConsentField, x.SuppressedField}
	var names []string
	for _, f := range s.fields {
		compound := slices.Contains([]string{"address", "location", "base64", "complexvalue", "anyType"}, f.Type)
		if f.Updateable && !f.Unique && !f.ExternalID && !compound && f.Type != "boolean" && !slices.Contains(own, f.Name) {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	values := map[string]any{}
	for some := range slices.Chunk(names, filledAtOnce) {
		list, err := x.query(ctx, "merge read", "SELECT Id, "+strings.Join(some, ", ")+" FROM "+x.ContactObject+" WHERE Id IN (", []string{quoted(from), quoted(to)}, ", ", ")")
		if err != nil {
			return err
		}
		var has, lacks found
		for _, f := range list {
			if sameRecord(f.text("Id"), to) {
				lacks = f
			} else {
				has = f
			}
		}
		for _, name := range some {
			if v := has[name]; lacks != nil && len(v) > 0 && string(v) != "null" && string(lacks[name]) == "null" {
				values[name] = v
			}
		}
	}
	if len(values) == 0 {
		return nil
	}
	rs := []*row{{fields: values}}
	x.collect(ctx, x.ContactObject, "update", "composite/sobjects", rs, func(r *row) map[string]any {
		return x.record(x.ContactObject, "id", to, r)
	})
	return rs[0].err
}
