package broker

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/media"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// A message may name a file of the bridge's by its hash. The lane of the number that it is
// sent by uploads the file to WhatsApp before the send is marked: once, for WhatsApp keeps
// it for 30 days, and all messages with it name it by the same id. To upload twice is
// harmless, so nothing needs to be known of an upload that a crash cut short.

const (
	bucketUploaded = "media-at"    // <hash>/<number> → uploaded
	bucketReloaded = "media-again" // event → nothing: its file was refused once
	// prefixUpload is before the hash in what a MediaFile calls its message when the file
	// was put here to be sent.
	prefixUpload = "upload-"
	// uploadGood is for how long an id is used: a day less than it lives.
	uploadGood = whatsapp.UploadLife - 24*time.Hour
	// maxUploads is how many files a number uploads at once.
	maxUploads = 4
	// codeFileRefused is WhatsApp's word for a file that it cannot take, or has no more.
	codeFileRefused = "131053"
)

// uploaded is a file at WhatsApp: its id there, until when it is used, and what it is.
type uploaded struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
	Type  string    `json:"type"`
	Size  int64     `json:"size"`
	Name  string    `json:"name,omitempty"`
}

func uploadedKey(tenant, hash, number string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketUploaded, Key: hash + "/" + number}
}

// MediaUpload is a file to be sent.
type MediaUpload struct {
	Tenant   string
	Filename string
	Type     string // "" is what it looks like, or what its name says
	Body     io.Reader
}

// PutMedia keeps a file for messages to be sent with: they name it by its hash. It must be
// one that WhatsApp takes.
func (b *Broker) PutMedia(ctx context.Context, u MediaUpload) (MediaFile, error) {
	t, err := b.mediaTenant(u.Tenant)
	if err != nil {
		return MediaFile{}, err
	}
	if len(u.Filename) > 240 || len(u.Type) > 120 {
		return MediaFile{}, core.Errorf(core.CodeInvalid, opMedia, "a filename has at most 240 bytes, a type 120")
	}
	if err := t.mediaRoom(); err != nil {
		return MediaFile{}, err
	}
	got, err := b.o.Media.Files.Put(t.ID, u.Body, whatsapp.MaxMedia, nil)
	if err != nil {
		failed := t.notPut(err)
		if failed.Code == core.CodeInvalid {
			failed = core.Errorf(core.CodeInvalid, opMedia, "the file has more than the %d bytes that WhatsApp takes", whatsapp.MaxMedia)
		}
		return MediaFile{}, failed
	}
	now := time.Now().UTC()
	f := MediaFile{
		Message: prefixUpload + got.Hash, Tenant: t.ID, State: MediaStored, Type: whatsapp.FileType(u.Type, u.Filename, got.Type), Filename: u.Filename,
		Hash: got.Hash, Size: got.Size, Looks: got.Type, Time: now, Until: now.Add(b.o.Media.Keep),
	}
	if err := whatsapp.CheckFile("", f.Type, f.Looks, f.Size); err != nil {
		return MediaFile{}, err // the sweep takes it
	}
	if _, err := b.settle(ctx, store.Settlement{Ingest: true, Put: t.putMedia(&f)}); err != nil {
		return MediaFile{}, err
	}
	f.Link = t.linkTo(&f, now)
	return f, nil
}

// namesFile reports whether a message is to be sent with a file of the bridge's. An id that
// it has beside is of an attempt before.
func namesFile(m *core.Message) bool {
	return m != nil && m.Media != nil && m.Media.Hash != "" && m.Media.Link == ""
}

// filesOf are the files of the bridge's that a message is to be sent with: its own, and those
// that its template names. The type of its own is the message's to say.
func filesOf(m *core.Message) []core.NamedFile {
	if m == nil {
		return nil
	}
	files := m.Template.Files()
	if namesFile(m) {
		files = append(files, core.NamedFile{Hash: m.Media.Hash, ID: m.Media.ID})
	}
	return files
}

// ownFiles fills in what is known of the files that a message names, or says why WhatsApp would
// not take them.
func (t *tenant) ownFiles(ctx context.Context, m *core.Message) *core.Error {
	if namesFile(m) {
		file, err := t.ownFile(ctx, m)
		if err != nil {
			return err
		}
		m.Media = file
	}
	for _, f := range m.Template.Files() {
		if _, err := t.partFile(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// partFile is a file that a template names, if WhatsApp takes it there.
func (t *tenant) partFile(ctx context.Context, f core.NamedFile) (*MediaFile, *core.Error) {
	if t.b.o.Media == nil {
		return nil, errNoMedia
	}
	file, err := t.mediaFile(ctx, prefixUpload+f.Hash)
	if err != nil {
		return nil, core.AsError(err)
	}
	if file == nil {
		return nil, noFile(f.Hash)
	}
	if err := whatsapp.CheckFile(f.Type, file.Type, file.Looks, file.Size); err != nil {
		return nil, core.AsError(err)
	}
	return file, nil
}

// filesThere says which of the files that a campaign's template names is not there, or would
// not be taken. What each row has another of is found out when it goes.
func (t *tenant) filesThere(ctx context.Context, name string) error {
	c := t.campaign(name)
	if c == nil {
		return noCampaign(name)
	}
	of := core.Template{Components: c.Template.Components}
	for _, f := range of.Files() {
		if strings.Contains(f.Hash, "{{") {
			continue
		}
		if _, err := t.partFile(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// ownFile says what is known of the file that a message names, and why WhatsApp would not
// take it in this message.
func (t *tenant) ownFile(ctx context.Context, m *core.Message) (*core.Media, *core.Error) {
	if t.b.o.Media == nil {
		return nil, errNoMedia
	}
	f, err := t.mediaFile(ctx, prefixUpload+m.Media.Hash)
	if err != nil {
		return nil, core.AsError(err)
	}
	if f == nil {
		return nil, noFile(m.Media.Hash)
	}
	as := m.Type
	if as == core.TypeTemplate {
		as = "" // its header takes what Validate says
	}
	if err := whatsapp.CheckFile(as, f.Type, f.Looks, f.Size); err != nil {
		return nil, core.AsError(err)
	}
	out := *m.Media
	out.MIMEType, out.Size, out.Filename = f.Type, f.Size, or(out.Filename, f.Filename)
	with := *m
	with.Media = &out
	if err := whatsapp.Validate(&with); err != nil { // of a template's header it depends on the type
		return nil, core.AsError(err)
	}
	return &out, nil
}

func noFile(hash string) *core.Error {
	e := core.Errorf(core.CodeInvalid, opMedia, "no file with the hash %.64q was put here to be sent, or its time is over", hash)
	e.Hint = "upload it: POST /api/v1/media"
	return e
}

// withUploads gives sends the ids of their files. One with a file that is not at WhatsApp yet is
// taken out of the batch: it goes when all are there, and nobody else waits for it.
func (l *lane) withUploads(ctx context.Context, ds []store.Delivery, calls *sync.WaitGroup) []store.Delivery {
	files := make([][]core.NamedFile, len(ds))
	var keys []store.Key
	for i, d := range ds {
		if len(d.Mark) > 0 {
			continue
		}
		files[i] = filesOf(eventOf(d).Message)
		for _, f := range files[i] {
			keys = append(keys, uploadedKey(l.t.ID, f.Hash, l.number()), mediaKey(l.t.ID, prefixUpload+f.Hash))
		}
	}
	if len(keys) == 0 {
		return ds
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		l.t.giveBack(ctx, ds)
		return nil
	}
	now := time.Now()
	ready := ds[:0:0]
	var s store.Settlement
	for i, d := range ds {
		ups, missing := map[string]*uploaded{}, (*core.NamedFile)(nil)
		for j := range files[i] {
			f := &files[i][j]
			if up, ok := decode[uploaded](values[0]); ok && now.Before(up.Until) {
				ups[f.Hash] = up
				l.t.keepsFile(&s, f, values[1], now)
			} else if missing == nil {
				missing = f
			}
			values = values[2:]
		}
		switch e := eventOf(d); {
		case len(files[i]) == 0:
			ready = append(ready, d)
		case missing == nil:
			d.Value = withFiles(e, ups)
			ready = append(ready, d)
		case l.beginUpload(missing.Hash):
			calls.Go(func() {
				defer l.endUpload(missing.Hash)
				l.upload(ctx, d, *missing)
			})
		default:
			var size int64
			if e.Message.Media != nil {
				size = e.Message.Media.Size
			}
			s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: now.Add(uploadWait(size))})
		}
	}
	if len(s.Nak)+len(s.Put) > 0 {
		_, _ = l.b.settle(ctx, s) // else the leases bring them back
	}
	return ready
}

// keepsFile keeps a file that a template names for as long again, once a day: it is not any
// person's, so nothing else does.
func (t *tenant) keepsFile(s *store.Settlement, f *core.NamedFile, stored []byte, now time.Time) {
	file, ok := decode[MediaFile](stored)
	if !ok || f.Type == "" || t.b.o.Media == nil || file.Until.After(now.Add(t.b.o.Media.Keep-aDay)) {
		return
	}
	file.Until = now.Add(t.b.o.Media.Keep).UTC()
	s.Put = append(s.Put, t.putMedia(file)...)
}

// uploadWait is when a send whose file another one uploads, or for which there is no place
// to upload it, looks again.
func uploadWait(size int64) time.Duration {
	const perSecond = 4 << 20
	return time.Second + time.Duration(size/perSecond)*time.Second
}

// withFiles returns a send whose files have WhatsApp's ids.
func withFiles(e *core.Event, ups map[string]*uploaded) *core.Event {
	out, m := *e, *e.Message
	out.Message = &m
	if namesFile(&m) {
		file, up := *m.Media, ups[m.Media.Hash]
		file.ID, file.MIMEType, file.Size, file.Filename = up.ID, up.Type, up.Size, or(file.Filename, up.Name)
		m.Media = &file
	}
	if m.Template != nil {
		ids := map[string]string{}
		for hash, up := range ups {
			ids[hash] = up.ID
		}
		m.Template = m.Template.WithFiles(ids)
	}
	return &out
}

func (l *lane) beginUpload(hash string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.uploading[hash] || len(l.uploading) >= maxUploads {
		return false
	}
	l.uploading[hash] = true
	return true
}

func (l *lane) endUpload(hash string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.uploading, hash)
}

// upload puts a send's file to WhatsApp, and gives the send back to be sent.
func (l *lane) upload(ctx context.Context, d store.Delivery, f core.NamedFile) {
	began := time.Now()
	at := uploadedKey(l.t.ID, f.Hash, l.number())
	if values, err := l.b.o.Store.Get(ctx, at); err == nil {
		if there, ok := decode[uploaded](values[0]); ok && began.Before(there.Until) { // by another send, meanwhile
			_, _ = l.b.settle(ctx, store.Settlement{Nak: []store.Nak{{Delivery: d, Due: began}}})
			return
		}
	}
	up, asked, err := l.put(ctx, eventOf(d).Message, f)
	if ctx.Err() != nil {
		return // the next process uploads it
	}
	if err != nil {
		r := core.Result{ID: d.ID, Err: err}
		v := verdictOf(err, true)
		if asked {
			v = l.gate.learn([]core.Result{r}, true)[0]
			l.b.pauseAccount(l, err)
		}
		l.settleSend(ctx, d, r, v, began, nil) // an upload is harmless: its outcome is never unknown
		return
	}
	l.b.failpoint("file-uploaded")
	now := time.Now()
	up.Until = now.Add(uploadGood)
	l.uploads <- struct{}{}
	defer func() { <-l.uploads }()
	_, _ = l.b.settle(ctx, store.Settlement{
		Put: []store.Put{{Key: at, Value: mustJSON(up), Expires: up.Until}},
		Nak: []store.Nak{{Delivery: d, Due: now}},
	}) // else the lease brings it back
	l.b.m.media.WithLabelValues(l.t.ID, "uploaded").Inc()
}

// put makes one attempt to upload a file of a message, within the send's lease, and says
// whether WhatsApp was asked.
func (l *lane) put(ctx context.Context, m *core.Message, f core.NamedFile) (up uploaded, asked bool, failed *core.Error) {
	api := l.t.mediaOf(l.number())
	if api == nil {
		return up, false, core.Errorf(core.CodeInvalid, opMedia, "files cannot be sent by the number %s", l.number())
	}
	if f.Type != "" {
		known, failed := l.t.partFile(ctx, f)
		if failed != nil {
			return up, false, failed
		}
		up = uploaded{Type: known.Type, Size: known.Size, Name: known.Filename}
	} else {
		known, failed := l.t.ownFile(ctx, m)
		if failed != nil {
			return up, false, failed
		}
		up = uploaded{Type: known.MIMEType, Size: known.Size, Name: known.Filename}
	}
	file, err := l.b.o.Media.Files.Open(l.t.ID, f.Hash)
	if errors.Is(err, fs.ErrNotExist) {
		return up, false, noFile(f.Hash)
	}
	if err != nil {
		return up, false, core.Errorf(core.CodeUnavailable, opMedia, "%w", err)
	}
	defer func() { _ = file.Close() }()
	ctx, cancel := context.WithTimeout(ctx, laneLease)
	defer cancel()
	if up.ID, err = api.Upload(ctx, or(up.Name, f.Hash), up.Type, up.Size, file); err != nil {
		return up, true, core.AsError(err)
	}
	return up, true, nil
}

// fileRefused has a send's files uploaded once more when WhatsApp does not take one of them, or
// has it no more. It reports whether the send is tried again.
func (l *lane) fileRefused(ctx context.Context, s *store.Settlement, d store.Delivery, e *core.Event, err *core.Error, now time.Time, step *Step) bool {
	if err == nil || err.Vendor != codeFileRefused {
		return false
	}
	files := filesOf(e.Message)
	if len(files) == 0 {
		return false
	}
	again := store.Key{Tenant: l.t.ID, Bucket: bucketReloaded, Key: e.ID}
	values, failed := l.b.o.Store.Get(ctx, again)
	if failed != nil || l.dropUploads(ctx, files) != nil || values[0] != nil {
		return false
	}
	what := "file is"
	if len(files) > 1 {
		what = "files are"
	}
	step.Step, step.Notes = "retry", append(step.Notes, "the "+what+" uploaded to WhatsApp once more")
	s.Put = append(s.Put, store.Put{Key: again, Value: []byte("{}"), Expires: now.Add(aDay)})
	s.Nak = append(s.Nak, store.Nak{Delivery: d, Due: now, Counts: true, Mark: []byte{}})
	l.retried.Add(1)
	return true
}

// dropUploads forgets uploads of which WhatsApp does not take the ids, unless others of the
// files came since.
func (l *lane) dropUploads(ctx context.Context, files []core.NamedFile) error {
	l.uploads <- struct{}{}
	defer func() { <-l.uploads }()
	var keys []store.Key
	for _, f := range files {
		keys = append(keys, uploadedKey(l.t.ID, f.Hash, l.number()))
	}
	values, err := l.b.o.Store.Get(ctx, keys...)
	if err != nil {
		return err
	}
	var s store.Settlement
	for i, f := range files {
		if up, ok := decode[uploaded](values[i]); ok && up.ID == f.ID {
			s.Put = append(s.Put, store.Put{Key: keys[i]})
		}
	}
	if len(s.Put) > 0 {
		_, err = l.b.settle(ctx, s)
	}
	return err
}

// fileLost has the next message with a file upload it anew, after WhatsApp said too late that
// it could not take one that a message was sent with; in is what is known of the send, nil when
// it is none of ours.
func (t *tenant) fileLost(ctx context.Context, u *turn, message string, in *intent) {
	n := 0
	drop := func(hash, number string) {
		n++
		u.s.Put = append(u.s.Put, store.Put{Key: uploadedKey(t.ID, hash, number)})
	}
	if f, err := t.mediaFile(ctx, message); err == nil && f != nil && f.Hash != "" {
		drop(f.Hash, f.Number)
	}
	if in != nil {
		for _, hash := range in.Files {
			drop(hash, in.Number)
		}
	}
	if n > 0 {
		u.note("its files are uploaded anew for the next message with them")
	}
}

// sentFile keeps the file of a message that was sent for as long as one that a person sent,
// and as one that is about this person; the CRMs get a link to it.
func (t *tenant) sentFile(s *store.Settlement, send *core.Event, m *core.Message, at time.Time) {
	if t.b.o.Media == nil || !namesFile(m) {
		return
	}
	f := &MediaFile{
		Message: m.ID, Tenant: t.ID, Number: send.Number, State: MediaStored, Type: m.Media.MIMEType, Filename: m.Media.Filename,
		Hash: m.Media.Hash, Size: m.Media.Size, Looks: m.Media.MIMEType, Time: at, Until: at.Add(t.b.o.Media.Keep),
	}
	if send.Contact != nil {
		f.Contact = send.Contact.ID
	}
	s.Put = append(s.Put, t.putMedia(f)...)
	file := *m.Media
	file.Link = t.linkTo(f, at)
	m.Media = &file
}

// forgetUploads removes what is known of files that were put here to be sent.
func (t *tenant) forgetUploads(ctx context.Context, s *store.Settlement, hash string) error {
	upload := prefixUpload + hash
	s.Put = append(s.Put, store.Put{Key: mediaKey(t.ID, upload)}, store.Put{Key: usedKey(t.ID, hash, upload)})
	return eachOf(ctx, t.b.o.Store, t.ID, bucketUploaded, hash, func(e store.Entry) {
		s.Put = append(s.Put, store.Put{Key: uploadedKey(t.ID, hash, strings.TrimPrefix(e.Key, hash+"/"))})
	})
}

// mediaRoom reports whether there is room on the disk for files.
func (t *tenant) mediaRoom() error {
	if stats := t.b.o.Store.Stats(); stats.Full || stats.FreeDisk > 0 && stats.FreeDisk < t.b.o.Media.MinFree {
		return core.Errorf(core.CodeUnavailable, opMedia, "%w", media.ErrFull)
	}
	return nil
}
