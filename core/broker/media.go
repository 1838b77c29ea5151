package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/limit"
	"github.com/wabridge/wabridge/core/media"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// A message is told at once; its file is fetched by a job of its own, in the tenant's
// queue of files, which the turn that decided the message has added. What was fetched
// comes back as an event of KindMessageMedia to be decided, as everything that is about a
// person, and tells the CRMs where the file is.
//
// What is known of each file is a MediaFile under its message's id. A job whose message was
// changed or taken back meanwhile is not that message's any more, and ends.

const (
	queueMedia   = "media"
	bucketMedia  = "media"    // <message> → MediaFile
	bucketUsedBy = "media-by" // <hash>/<message> → content, <contact>/<message>

	mediaLease = 2 * whatsapp.MediaTimeout
	// mediaWrong is how often a file is fetched that is another than was told of.
	mediaWrong = 3
	// mediaWait is how long a job waits for room on the disk, or when WhatsApp says that it
	// is asked too often.
	mediaWait = time.Minute
)

// mediaRetry are the waits before further attempts; the last one goes on until WhatsApp
// has the file no more.
var mediaRetry = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}

// MediaAPI is how WhatsApp is asked for a number's files: it is *whatsapp.Media.
type MediaAPI interface {
	Fetch(ctx context.Context, id string) (whatsapp.File, error)
	Upload(ctx context.Context, name, mimeType string, size int64, r io.Reader) (id string, err error)
}

// MediaOptions say what is done with files.
type MediaOptions struct {
	Files *media.Files
	Links *media.Links
	// Keep is for how long a file is kept, LinkLife for how long an address is good; 0 is
	// as long as the file is.
	Keep, LinkLife time.Duration
	// MaxSize is the largest file that is fetched, in bytes; 0 is what WhatsApp carries.
	MaxSize int64
	// Types are patterns of those that are, such as image/*; empty is all.
	Types []string
	// AtOnce is how many of a tenant are fetched at once, 0 is 4; Rate how many bytes in a
	// second, 0 is no limit.
	AtOnce int
	Rate   int64
	// MinFree is how many bytes of the disk are left to other uses.
	MinFree int64
}

func (o *MediaOptions) setDefaults() {
	setDefault(&o.Keep, 90*24*time.Hour)
	setDefault(&o.MaxSize, whatsapp.MaxMedia)
	setDefault(&o.AtOnce, 4)
	if o.LinkLife <= 0 || o.LinkLife > o.Keep {
		o.LinkLife = o.Keep
	}
}

// The states of a MediaFile.
const (
	MediaWaiting = "waiting" // it is being fetched, or will be
	MediaStored  = "stored"
	MediaGone    = "gone"       // WhatsApp has it no more, and it was not fetched in time
	MediaFailed  = "failed"     // it is not fetched: see the dead letter
	MediaRevoked = "taken_back" // with its message
)

// MediaFile is what is known of the file of a message.
type MediaFile struct {
	// Message is WhatsApp's id; of a file that was uploaded to be sent, "upload-" and its
	// hash.
	Message string `json:"message"`
	Tenant  string `json:"tenant"`
	Number  string `json:"number,omitempty"`
	Contact string `json:"contact,omitempty"`
	// State is "waiting", "stored", "gone", "failed" or "taken_back".
	State string `json:"state"`
	// Type is what the sender says that it is, Filename how they call it: both untrusted.
	Type     string `json:"type,omitempty"`
	Filename string `json:"filename,omitempty"`
	// Hash is the SHA-256, Size the bytes, Looks the type that the first bytes look like.
	Hash  string `json:"hash,omitempty"`
	Size  int64  `json:"size,omitempty"`
	Looks string `json:"looks,omitempty"`
	// Time is the message's, Until when the file is removed.
	Time  time.Time `json:"time"`
	Until time.Time `json:"until,omitzero"`
	// Why says why it is not stored.
	Why string `json:"why,omitempty"`
	// Link is where it can be fetched, for whoever has the link; made when it is asked for.
	Link string `json:"link,omitempty"`
	// Event is the one that wants it.
	Event string `json:"event,omitempty"`
}

func mediaKey(tenant, message string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketMedia, Key: message}
}

// usedKey says that a message has to do with a file, or with a contact.
func usedKey(tenant, by, message string) store.Key {
	return store.Key{Tenant: tenant, Bucket: bucketUsedBy, Key: by + "/" + message}
}

func (t *tenant) putMedia(f *MediaFile) []store.Put {
	f.Link = ""
	puts := []store.Put{{Key: mediaKey(t.ID, f.Message), Value: mustJSON(f), Expires: f.Until}}
	for _, by := range []string{f.Contact, f.Hash} {
		if by != "" {
			puts = append(puts, store.Put{Key: usedKey(t.ID, by, f.Message), Value: mustJSON(content{f.Type, f.Looks, f.Filename}), Expires: f.Until})
		}
	}
	return puts
}

// content is how a file is served.
type content struct {
	Type  string `json:"type,omitempty"`
	Looks string `json:"looks,omitempty"`
	Name  string `json:"name,omitempty"`
}

func (t *tenant) mediaFile(ctx context.Context, message string) (*MediaFile, error) {
	values, err := t.b.o.Store.Get(ctx, mediaKey(t.ID, message))
	if err != nil {
		return nil, err
	}
	f, ok := decode[MediaFile](values[0])
	if !ok {
		return nil, nil
	}
	return f, nil
}

// wantsMedia adds the job that fetches the file of the turn's message, if it has one.
func (t *tenant) wantsMedia(u *turn) {
	m := u.e.Message
	if t.b.o.Media == nil || m == nil || m.ID == "" || m.Media == nil || m.Media.ID == "" || m.Media.Hash != "" {
		return // there is none, or it is here
	}
	switch u.e.Kind {
	case core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited:
	default:
		return
	}
	e := u.follow(core.KindMessageMedia)
	e.Conversation, e.Group, e.Source, e.Time = u.e.Conversation, u.e.Group, u.e.Source, u.e.Time
	e.Contact, e.Message = &core.Contact{ID: u.contact.ID}, m
	f := &MediaFile{
		Message: m.ID, Tenant: t.ID, Number: e.Number, Contact: u.contact.ID, State: MediaWaiting, Type: m.Media.MIMEType,
		Filename: m.Media.Filename, Time: e.Time, Event: e.ID, Until: u.step.Time.Add(t.b.o.Media.Keep),
	}
	u.s.Put = append(u.s.Put, t.putMedia(f)...)
	u.s.Add = append(u.s.Add, store.Item{Queue: queueOf(t.ID, queueMedia), ID: e.ID, Data: mustJSON(e), Value: e})
}

// mediaCame decides what a job has fetched: the CRMs are told where it is.
func (t *tenant) mediaCame(ctx context.Context, u *turn) {
	u.tell = nil
	m := u.e.Message
	if t.b.o.Media == nil || m == nil || m.Media == nil {
		return
	}
	f, err := t.mediaFile(ctx, m.ID)
	switch {
	case err != nil:
		u.wait(time.Second, false)
		return
	case f == nil || f.Event != u.e.ID || f.State == MediaRevoked:
		u.note("the message was changed or taken back meanwhile: its file is not kept")
		return
	case !t.b.o.Media.Files.Has(t.ID, m.Media.Hash):
		u.note("the file is not there any more: it is fetched again")
		u.s.Add = append(u.s.Add, store.Item{Queue: queueOf(t.ID, queueMedia), ID: u.e.ID, Data: u.d.Data, Value: u.e})
		return
	}
	f.State, f.Hash, f.Size, f.Contact, f.Why = MediaStored, m.Media.Hash, m.Media.Size, u.contact.ID, ""
	f.Looks, f.Until = looksOf(u.e), u.step.Time.Add(t.b.o.Media.Keep)
	u.s.Put = append(u.s.Put, t.putMedia(f)...)
	u.note(fmt.Sprintf("the file is stored: %s, %d bytes, SHA-256 %s, until %s", or(f.Type, f.Looks), f.Size, f.Hash, f.Until.Format(time.DateOnly)))
	if base, _, _ := strings.Cut(f.Type, ";"); f.Looks != "application/octet-stream" && kindOf(base) != kindOf(f.Looks) && kindOf(base) != "application" {
		u.note("it is said to be " + base + ", and looks like " + f.Looks)
	}
	e, msg, file := *u.e, *m, *m.Media
	file.Link = t.linkTo(f, u.step.Time)
	msg.Media, e.Message, e.Fields = &file, &msg, nil
	if u.contact.ID != "" {
		e.Contact = u.contact
	}
	u.tell, u.data = &e, nil
}

// kindOf returns a type's first half.
func kindOf(mimeType string) string {
	first, _, _ := strings.Cut(mimeType, "/")
	return first
}

// looksOf is what the file of an event looks like: the job has put it there.
func looksOf(e *core.Event) string {
	s, _ := e.Fields["looks"].(string)
	return s
}

// mediaTakenBack removes what is kept of a message's file, with the message.
func (t *tenant) mediaTakenBack(ctx context.Context, u *turn) {
	if t.b.o.Media == nil || u.e.Message == nil || t.Policy.KeepRevoked {
		return
	}
	f, err := t.mediaFile(ctx, u.e.Message.ID)
	if err != nil {
		u.wait(time.Second, false)
		return
	}
	if f == nil {
		return
	}
	if f.Hash != "" {
		u.note("its file is removed")
		u.s.Put = append(u.s.Put, store.Put{Key: usedKey(t.ID, f.Hash, f.Message)})
	}
	f.State, f.Hash, f.Filename, f.Why = MediaRevoked, "", "", "the message was taken back"
	u.s.Put = append(u.s.Put, t.putMedia(f)...)
}

// linkTo makes a file's address.
func (t *tenant) linkTo(f *MediaFile, now time.Time) string {
	if f.State != MediaStored {
		return ""
	}
	until := f.Until
	if t.b.o.Media.LinkLife < t.b.o.Media.Keep {
		until = now.Add(t.b.o.Media.LinkLife)
	}
	return t.b.o.Media.Links.URL(t.ID, f.Hash, until)
}

// mediaLoop fetches files, several at once.
func (t *tenant) mediaLoop(ctx context.Context) {
	if t.b.o.Media == nil {
		return
	}
	places := make(chan struct{}, t.b.o.Media.AtOnce)
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		ds, err := t.b.o.Store.Fetch(ctx, queueOf(t.ID, queueMedia), 1, mediaLease)
		if err != nil {
			return // ctx ended or the store gave up
		}
		jobs.Go(func() {
			defer func() { <-places }()
			for _, d := range ds {
				t.fetchMedia(ctx, d)
			}
		})
	}
}

// fetchMedia makes one attempt to fetch a file, and settles it.
func (t *tenant) fetchMedia(ctx context.Context, d store.Delivery) {
	e := eventOf(d)
	f, err := t.mediaFile(ctx, messageID(e))
	if err != nil {
		t.giveBack(ctx, []store.Delivery{d})
		return
	}
	s := store.Settlement{Ack: []store.Delivery{d}}
	now := time.Now().UTC()
	step := Step{Time: now, Event: d.ID, Kind: e.Kind, Tenant: t.ID, Conversation: e.Conversation, Lane: queueMedia, Attempt: d.Attempt}
	if f == nil || f.Event != e.ID || f.State == MediaRevoked {
		step.Step, step.Notes = "dropped", []string{"the message was changed or taken back: its file is not fetched"}
		s.Record = []store.Record{record(&step, e)}
		_, _ = t.b.settle(ctx, s)
		return
	}
	got, err := t.download(ctx, e)
	if ctx.Err() != nil {
		return // the next process fetches it
	}
	t.b.failpoint("media-fetched")
	step.Took = float64(time.Since(now).Microseconds()) / 1000
	if err != nil {
		t.mediaFailed(&s, d, f, core.AsError(err), &step)
		if _, err := t.b.settle(ctx, s); err != nil && ctx.Err() == nil {
			t.giveBack(ctx, []store.Delivery{d})
		}
		return
	}
	came, msg, file := *e, *e.Message, *e.Message.Media
	file.Hash, file.Size = got.Hash, got.Size
	msg.Media, came.Message, came.Fields = &file, &msg, map[string]any{"looks": got.Type}
	s.Add = []store.Item{{Queue: t.queue, ID: e.ID, Order: e.Conversation, Class: classOf(&came), Data: mustJSON(&came), Value: &came}}
	if _, err := t.b.settle(ctx, s); err != nil {
		t.giveBack(ctx, []store.Delivery{d})
		return
	}
	t.depth.Add(1)
	t.b.m.media.WithLabelValues(t.ID, MediaStored).Inc()
	t.b.failpoint("media-settled")
}

func messageID(e *core.Event) string {
	if e.Message == nil || e.Message.Media == nil {
		return ""
	}
	return e.Message.ID
}

// mediaFailed says what becomes of a job whose attempt failed.
func (t *tenant) mediaFailed(s *store.Settlement, d store.Delivery, f *MediaFile, err *core.Error, step *Step) {
	e := eventOf(d)
	now := step.Time
	step.Error = err
	wait, counts := mediaRetry[min(d.Attempt, len(mediaRetry))-1], true
	late := now.Sub(e.Time) >= whatsapp.MediaLife
	switch {
	case errors.Is(err, media.ErrFull):
		t.b.log.Warn("a file waits for room on the disk", "tenant", t.ID, "event", d.ID)
		wait, counts = mediaWait, false
	case err.Code == core.CodeRateLimited:
		wait, counts = max(err.RetryAfter, mediaWait), false
	case err.Code == core.CodeInvalid && (!errors.Is(err, media.ErrOther) || d.Attempt >= mediaWrong):
		f.State, f.Why, step.Step = MediaFailed, err.Error(), "dead"
		s.Ack = nil
		s.Term = []store.Term{{Delivery: d, Reason: mustJSON(reason{Error: *err}), Deadline: now.Add(t.DeadAfter)}}
		t.b.totals.dead.Add(1)
	case late:
		f.State, f.Why, step.Step = MediaGone, err.Error(), "gone"
		step.Notes = []string{"WhatsApp keeps a file for seven days, which are over: it is not asked for again"}
	}
	if step.Step != "" {
		s.Put = t.putMedia(f)
		s.Record = []store.Record{record(step, e)}
		t.b.m.media.WithLabelValues(t.ID, f.State).Inc()
		return
	}
	s.Ack = nil
	s.Nak = []store.Nak{{Delivery: d, Due: now.Add(wait), Counts: counts}}
	if counts {
		step.Step = "retry"
		s.Record = []store.Record{record(step, e)}
	}
}

const opMedia = "media"

// download fetches a file and keeps it.
func (t *tenant) download(ctx context.Context, e *core.Event) (media.File, error) {
	o := t.b.o.Media
	if err := t.mediaRoom(); err != nil {
		return media.File{}, err
	}
	api := t.mediaOf(e.Number)
	if api == nil {
		return media.File{}, core.Errorf(core.CodeUnavailable, opMedia, "the tenant has no number %s by which files are fetched", e.Number)
	}
	f, err := api.Fetch(ctx, e.Message.Media.ID)
	if err != nil {
		return media.File{}, err
	}
	defer func() { _ = f.Body.Close() }()
	if f.Size > o.MaxSize {
		return media.File{}, tooLarge(o.MaxSize)
	}
	if base, _, _ := strings.Cut(or(f.MIMEType, e.Message.Media.MIMEType), ";"); !o.takes(strings.TrimSpace(base)) {
		refused := core.Errorf(core.CodeInvalid, opMedia, "the file's type, %.80q, is none of those that are kept", base)
		refused.Hint = "add it to media.types, and replay the dead letter within seven days of the message"
		return media.File{}, refused
	}
	sum := f.SHA256
	if sum == nil {
		sum = whatsapp.ReadSHA256(e.Message.Media.SHA256)
	}
	got, err := o.Files.Put(t.ID, &paced{ctx, f.Body, t.mediaRate}, o.MaxSize, sum)
	if err != nil {
		return got, t.notPut(err)
	}
	return got, nil
}

// notPut explains why a file was not kept.
func (t *tenant) notPut(err error) *core.Error {
	switch {
	case errors.Is(err, media.ErrTooLarge):
		return tooLarge(t.b.o.Media.MaxSize)
	case errors.Is(err, media.ErrOther):
		return core.Errorf(core.CodeInvalid, opMedia, "%w", err)
	}
	return core.Errorf(core.CodeUnavailable, opMedia, "%w", err)
}

func tooLarge(most int64) *core.Error {
	e := core.Errorf(core.CodeInvalid, opMedia, "%w: more than %d bytes", media.ErrTooLarge, most)
	e.Hint = "raise media.max_size, and replay the dead letter within seven days of the message"
	return e
}

func (o *MediaOptions) takes(mimeType string) bool {
	for _, pattern := range o.Types {
		if ok, _ := path.Match(pattern, mimeType); ok {
			return true
		}
	}
	return len(o.Types) == 0
}

// mediaOf returns the files of a number, nil when there are none.
func (t *tenant) mediaOf(number string) MediaAPI {
	for _, n := range t.Numbers {
		if n.ID == number {
			return n.Media
		}
	}
	return nil
}

// paced reads no faster than a limiter of KiB says.
type paced struct {
	ctx   context.Context //nolint:containedctx // of one download
	r     io.Reader
	limit *limit.Limiter
}

// pacedRead is how much is read at once, in KiB.
const pacedRead = 32

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), pacedRead<<10)])
	if werr := p.limit.Wait(p.ctx, (n+1023)>>10); werr != nil {
		return n, werr
	}
	return n, err
}
