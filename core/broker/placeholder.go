package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// Of a message of before a number was connected that holds a file, WhatsApp tells twice: with
// the conversation, as a placeholder, and apart, with the file. Webhooks keep no order, and
// the second does not always say rightly who wrote; the first does.

const (
	bucketPlaceholders = "placeholders" // hash of a message's id → placeholder
	keepPlaceholder    = 30 * 24 * time.Hour
)

// placeholder is which of the two came.
type placeholder struct {
	// Direction is as the placeholder has it, "" when it was the file.
	Direction core.Direction `json:"direction,omitempty"`
}

// fillsPlaceholder reports whether the turn's event is one of the two, and has the CRMs told
// of the file last, or of it alone.
func (t *tenant) fillsPlaceholder(ctx context.Context, u *turn) bool {
	m := u.e.Message
	if u.e.Source != whatsapp.SourceHistory || m == nil || m.ID == "" || u.e.Kind != core.KindMessageEdited && m.Type != whatsapp.TypePlaceholder {
		return false
	}
	sum := sha256.Sum256([]byte(m.ID)) // the id has the person's number in it
	key := store.Key{Tenant: t.ID, Bucket: bucketPlaceholders, Key: hex.EncodeToString(sum[:16])}
	values, err := t.b.o.Store.Get(ctx, key)
	if err != nil {
		u.wait(time.Second, false)
		return true
	}
	was, other := decode[placeholder](values[0])
	now := placeholder{}
	if u.e.Kind == core.KindMessageEdited {
		e := *u.e
		if other && was.Direction != "" {
			msg := *m
			msg.Direction, e.Message = was.Direction, &msg
			u.e = &e
		}
		told := e
		if u.contact.ID != "" {
			told.Contact = u.contact
		}
		u.tell, u.data = &told, nil
		u.note("the file of a message of before: CRMs have the message with it")
	} else if now.Direction = m.Direction; other && was.Direction == "" {
		u.tell = nil
		u.note("the message is there already, with its file")
	}
	u.s.Put = append(u.s.Put, store.Put{Key: key, Value: mustJSON(now), Expires: u.step.Time.Add(keepPlaceholder)})
	return u.e.Kind == core.KindMessageEdited
}
