package zoho

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// maxRounds bounds how many pages of messages one erasure deletes.
const maxRounds = 100

// erase deletes a contact, with the messages and escalations of it that the bridge
// wrote; its notes go with it. Zoho keeps what is deleted in its recycle bin for 60
// days. What is not there any more is erased.
func (x *session) erase(ctx context.Context, e *core.Event) *core.Error {
	if e.Contact == nil || e.Contact.ID == "" {
		return crm.Failure(core.CodeInvalid, "erase", "the event has no contact id")
	}
	if x.Erase == "keep" {
		return nil
	}
	contacts, err := x.query(ctx, x.ContactModule, x.ContactKey+" = "+quote(e.Contact.ID), "id", x.ContactKey)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(contacts, func(f found) bool { return f.text(x.ContactKey) == e.Contact.ID && recordID.MatchString(f.id()) })
	if i < 0 {
		return nil
	}
	id := contacts[i].id()
	if x.Mode == "module" && x.MessageContact != "" {
		if err := x.deleteAll(ctx, x.MessageModule, x.MessageContact+" = "+quote(id)); err != nil {
			return err
		}
	}
	if w := x.work(); x.Escalations != "none" {
		if err := x.deleteAll(ctx, w.module, "("+w.contact+" = "+quote(id)+" and "+x.EscalationKey+" is not null)"); err != nil {
			return err
		}
	}
	return x.delete(ctx, x.ContactModule, []string{id})
}

func (x *session) deleteAll(ctx context.Context, module, where string) *core.Error {
	for range maxRounds {
		found, err := x.query(ctx, module, where, "id")
		if err != nil || len(found) == 0 {
			return err
		}
		for part := range slices.Chunk(found, maxBatch) {
			ids := make([]string, len(part))
			for i, f := range part {
				ids[i] = f.id()
			}
			if err := x.delete(ctx, module, ids); err != nil {
				return err
			}
		}
	}
	return &core.Error{Code: core.CodeUnavailable, Op: "erase", Source: core.SourcePlugin, Message: "the contact has very many messages: the next attempt goes on"}
}

func (x *session) delete(ctx context.Context, module string, ids []string) *core.Error {
	var a struct {
		Data []outcome `json:"data"`
	}
	path := module + "?ids=" + url.QueryEscape(strings.Join(ids, ","))
	if r := x.call(ctx, "delete from "+module, http.MethodDelete, path, nil, func(b []byte) error { return crm.Decode(b, &a) }); r != nil {
		return r.Error
	}
	if len(a.Data) != len(ids) {
		return crm.Failure(core.CodeUnknownOutcome, "delete from "+module, "Zoho does not say of each record what became of it")
	}
	for i := range a.Data {
		if o := &a.Data[i]; o.Status != "success" && o.Code != "INVALID_DATA" { // an id that is not there is gone
			return x.rowError("delete from "+module, o)
		}
	}
	return nil
}
