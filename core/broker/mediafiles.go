package broker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/store"
)

const (
	mediaSweepEvery = 6 * time.Hour
	// mediaYoung is for how long a file stays that nobody uses: what it is for may be
	// decided yet.
	mediaYoung = 24 * time.Hour
)

var errNoMedia = core.Errorf(core.CodeInvalid, opMedia, "files are left at WhatsApp here")

// MediaPage is a page of what is known of files, in the order of the messages' ids.
type MediaPage struct {
	Media []MediaFile `json:"media"`
	Next  string      `json:"next,omitempty"` // where to go on; "" at the end
}

// ListMedia returns a page of a tenant's files, with links to those that are stored; of one
// contact, unless that is "".
func (b *Broker) ListMedia(ctx context.Context, tenant, contact, after string, limit int) (MediaPage, error) {
	t, err := b.mediaTenant(tenant)
	if err != nil {
		return MediaPage{}, err
	}
	out := MediaPage{Media: []MediaFile{}}
	add := func(f *MediaFile) bool {
		if len(out.Media) == limit {
			out.Next = out.Media[limit-1].Message
			return false
		}
		f.Link = t.linkTo(f, time.Now())
		out.Media = append(out.Media, *f)
		return true
	}
	if contact == "" {
		err = eachEntry(ctx, b.o.Store, t.ID, bucketMedia, after, func(e store.Entry) bool {
			f, ok := decode[MediaFile](e.Value)
			return !ok || add(f)
		})
		return out, err
	}
	p, _, err := whom(ctx, b.o.Store, t.ID, contact, t.Region)
	if err != nil {
		return out, err
	}
	all, err := mediaOfContacts(ctx, b.o.Store, t.ID, []string{p.ID})
	for i := range all {
		if all[i].Message > after && !add(&all[i]) {
			break
		}
	}
	return out, err
}

// Media returns what is known of a message's file, by WhatsApp's id of the message.
func (b *Broker) Media(ctx context.Context, tenant, message string) (MediaFile, error) {
	t, err := b.mediaTenant(tenant)
	if err != nil {
		return MediaFile{}, err
	}
	f, err := t.mediaFile(ctx, message)
	if err != nil {
		return MediaFile{}, err
	}
	if f == nil {
		return MediaFile{}, core.Errorf(core.CodeInvalid, opMedia, "nothing is known of a file of %.80q: %w", message, store.ErrNotFound)
	}
	f.Link = t.linkTo(f, time.Now())
	return *f, nil
}

func (b *Broker) mediaTenant(tenant string) (*tenant, error) {
	t := b.tenants[tenant]
	if t == nil {
		return nil, noTenant(opMedia, tenant)
	}
	if b.o.Media == nil {
		return nil, errNoMedia
	}
	return t, nil
}

// MediaContent is a file that is open; who calls closes it.
type MediaContent struct {
	File *os.File
	// Type and Name are as the sender says, Looks is what the first bytes look like.
	Type, Looks, Name string
	Modified          time.Time
}

// OpenMedia opens a file by the parts of an address of its: [fs.ErrNotExist] when the
// address is not one that was made here, has expired, or nobody has to do with the file
// any more.
func (b *Broker) OpenMedia(ctx context.Context, tenant, hash, exp, sig string) (MediaContent, error) {
	if b.o.Media == nil || b.tenants[tenant] == nil || !b.o.Media.Links.Good(tenant, hash, exp, sig, time.Now()) {
		return MediaContent{}, fs.ErrNotExist
	}
	entries, err := b.o.Store.Range(ctx, tenant, bucketUsedBy, hash+"/", 1)
	if err != nil {
		return MediaContent{}, err
	}
	if len(entries) == 0 || !strings.HasPrefix(entries[0].Key, hash+"/") {
		return MediaContent{}, fs.ErrNotExist
	}
	c, ok := decode[content](entries[0].Value)
	if !ok {
		c = &content{}
	}
	file, err := b.o.Media.Files.Open(tenant, hash)
	if err != nil {
		return MediaContent{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return MediaContent{}, errors.Join(err, file.Close())
	}
	return MediaContent{File: file, Type: c.Type, Looks: c.Looks, Name: c.Name, Modified: info.ModTime()}, nil
}

// MediaSweep is what a sweep removed.
type MediaSweep struct {
	Tenant string `json:"tenant"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// SweepMedia removes a tenant's files that nobody has to do with any more: those whose time
// is over, and what a crash left. It is done by itself every six hours, too.
func (b *Broker) SweepMedia(ctx context.Context, tenant string) (MediaSweep, error) {
	t, err := b.mediaTenant(tenant)
	if err != nil {
		return MediaSweep{}, err
	}
	out := MediaSweep{Tenant: t.ID}
	out.Files, out.Bytes, err = b.o.Media.Files.Sweep(t.ID, time.Now().Add(-mediaYoung), func(hash string) (bool, error) {
		return t.mediaUsed(ctx, hash)
	})
	return out, err
}

// mediaUsed reports whether a message has to do with a file.
func (t *tenant) mediaUsed(ctx context.Context, hash string) (bool, error) {
	entries, err := t.b.o.Store.Range(ctx, t.ID, bucketUsedBy, hash+"/", 1)
	return len(entries) > 0 && strings.HasPrefix(entries[0].Key, hash+"/"), err
}

func (t *tenant) mediaSweepLoop(ctx context.Context) {
	if t.b.o.Media == nil {
		return
	}
	tick := time.NewTicker(mediaSweepEvery)
	defer tick.Stop()
	for {
		swept, err := t.b.SweepMedia(ctx, t.ID)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.b.log.Error("files were not swept", "tenant", t.ID, "error", err)
		case swept.Files > 0:
			t.b.log.Info("files were removed that nobody has to do with any more", "tenant", t.ID, "files", swept.Files, "bytes", swept.Bytes)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// mediaOfContacts returns what is known of files of some contacts.
func mediaOfContacts(ctx context.Context, s store.Store, tenant string, contacts []string) ([]MediaFile, error) {
	out := []MediaFile{}
	for _, id := range contacts {
		var keys []store.Key
		err := eachOf(ctx, s, tenant, bucketUsedBy, id, func(e store.Entry) {
			keys = append(keys, mediaKey(tenant, strings.TrimPrefix(e.Key, id+"/")))
		})
		if err != nil {
			return nil, err
		}
		values, err := s.Get(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			if f, ok := decode[MediaFile](v); ok {
				out = append(out, *f)
			}
		}
	}
	return out, nil
}

// eraseMedia removes what is known of the files of contacts, and those files that nobody
// else has to do with.
func (t *tenant) eraseMedia(ctx context.Context, contacts []string) error {
	all, err := mediaOfContacts(ctx, t.b.o.Store, t.ID, contacts)
	if err != nil || len(all) == 0 {
		return err
	}
	var s store.Settlement
	for _, f := range all {
		s.Put = append(s.Put, store.Put{Key: mediaKey(t.ID, f.Message)})
		for _, by := range append(contacts, f.Hash) {
			if by != "" {
				s.Put = append(s.Put, store.Put{Key: usedKey(t.ID, by, f.Message)})
			}
		}
	}
	if t.b.o.Media != nil {
		// The files first: what is known of them leads to them, should this be cut short.
		for _, f := range all {
			if f.Hash == "" {
				continue
			}
			theirs, err := t.onlyTheirs(ctx, f.Hash, all)
			if err != nil {
				return err
			}
			if theirs {
				if err := t.b.o.Media.Files.Remove(t.ID, f.Hash); err != nil {
					return err
				}
				if err := t.forgetUploads(ctx, &s, f.Hash); err != nil {
					return err
				}
			}
		}
	}
	t.b.failpoint("erase-media")
	_, err = t.b.settle(ctx, s)
	return err
}

// onlyTheirs reports whether no message has to do with a file but some, whoever put it here
// to be sent.
func (t *tenant) onlyTheirs(ctx context.Context, hash string, some []MediaFile) (bool, error) {
	mine := map[string]bool{}
	for _, f := range some {
		mine[f.Message] = true
	}
	only := true
	err := eachOf(ctx, t.b.o.Store, t.ID, bucketUsedBy, hash, func(e store.Entry) {
		message := strings.TrimPrefix(e.Key, hash+"/")
		only = only && (mine[message] || message == prefixUpload+hash)
	})
	return only, err
}
