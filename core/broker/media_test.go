package broker

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/media"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// handled makes requests of a handler, without a network between.
type handled struct{ http.Handler }

func (h handled) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	w := httptest.NewRecorder()
	defer func() {
		if recover() != nil { // http.ErrAbortHandler
			err = errors.New("connection reset")
		}
	}()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// withFiles gives the bridge the files of a sim.
func (b *bridge) withFiles(change func(*MediaOptions)) *whatsappsim.Sim {
	sim := whatsappsim.New(whatsappsim.Options{})
	client, err := whatsapp.NewClient(whatsapp.ClientOptions{
		BaseURL: "http://graph.example", Transport: handled{sim}, OpaqueKey: testKey, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	before := b.change
	b.noSync = true
	b.change = func(o *Options) {
		if before != nil {
			before(o)
		}
		m := &MediaOptions{Files: media.NewFiles(filepath.Join(b.dir, "media")), Links: media.NewLinks(testKey, func() string { return "https://bridge.example" })}
		if change != nil {
			change(m)
		}
		o.Media = m
		o.Tenants[0].Numbers[0].Media = client.Media(whatsapp.Number{Tenant: "acme", ID: number, AccessToken: func() core.Secret { return "token" }})
	}
	return sim
}

// picture is a message with a file that the sim has.
func (b *bridge) picture(sim *whatsappsim.Sim, id, phone string, m whatsappsim.InboundMedia) core.Event {
	b.Helper()
	m.ID = "9" + id[len(id)-1:]
	m.MIMEType = or(m.MIMEType, "image/png")
	sim.Receive(whatsappsim.Inbound{From: phone, Type: "image", Media: &m})
	e := received(id, phone, "the parcel")
	e.Message.Type, e.Message.Media = core.TypeImage, &core.Media{ID: m.ID, MIMEType: m.MIMEType, Filename: m.Filename}
	return e
}

func png(size int) []byte {
	return append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, size)...)
}

// links are those that the CRM was told of a message.
func (b *bridge) links(message string) (links []string) {
	for _, tr := range b.crm.taken() {
		if e := tr.event; e.Kind == core.KindMessageMedia && e.Message.ID == message {
			links = append(links, e.Message.Media.Link)
		}
	}
	return links
}

// open fetches a file by a link, as the web does.
func (b *bridge) open(link string) (MediaContent, error) {
	b.Helper()
	u, err := url.Parse(link)
	if err != nil {
		b.Fatal(err)
	}
	parts := strings.Split(u.Path, "/")
	c, err := b.OpenMedia(context.Background(), parts[2], parts[3], u.Query().Get("exp"), u.Query().Get("sig"))
	if err == nil {
		_ = c.File.Close()
	}
	return c, err
}

// files are those that are kept.
func (b *bridge) files() (paths []string) {
	_ = filepath.WalkDir(filepath.Join(b.dir, "media"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
				b.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
		return nil
	})
	return paths
}

func (b *bridge) mediaState(message string) MediaFile {
	b.Helper()
	f, err := b.Media(context.Background(), "acme", message)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func TestMedia_TheMessageGoesAtOnceAndItsFileFollows(t *testing.T) {
	run(t, func(b *bridge) {
		sim := b.withFiles(nil)
		b.start()
		e := b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(5000), Filename: "parcel.png"})
		sim.DropFile("91") // not there yet, as far as the bridge can see
		b.accept(e)
		settled(time.Second)
		b.wantKinds(b.crm.kinds(), "message.received wamid.1")
		if f := b.mediaState("wamid.1"); f.State != MediaWaiting || f.Link != "" {
			t.Errorf("before it was fetched: %+v", f)
		}
		b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(5000)})
		settled(5 * time.Second)
		b.wantKinds(b.crm.kinds(), "message.received wamid.1", "message.media wamid.1#1")
		links := b.links("wamid.1")
		if len(links) != 1 || !strings.HasPrefix(links[0], "https://bridge.example/media/acme/") {
			t.Fatalf("links %q", links)
		}
		c, err := b.open(links[0])
		if err != nil || c.Type != "image/png" || c.Looks != "image/png" || c.Name != "parcel.png" {
			t.Errorf("%+v, %v", c, err)
		}
		for _, forged := range []string{strings.Replace(links[0], "exp=9", "exp=8", 1), strings.Replace(links[0], "acme", "other", 1), links[0] + "x"} {
			if _, err := b.open(forged); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", forged, err)
			}
		}
		b.wantNotes("wamid.1", "the file is stored: image/png, 5008 bytes")
		if got := b.files(); len(got) != 1 {
			t.Errorf("files %q", got)
		}
	})
}

func TestMedia_IsFetchedAgainUntilItIsWhatItShouldBe(t *testing.T) {
	for do, attempts := range map[string]int{whatsappsim.MediaOther: 2, whatsappsim.MediaCut: 2, whatsappsim.MediaDead: 2} {
		t.Run(do, func(t *testing.T) {
			run(t, func(b *bridge) {
				sim := b.withFiles(nil)
				b.start()
				b.accept(b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(5000), Do: do, Times: attempts - 1}))
				settled(10 * time.Second)
				if f := b.mediaState("wamid.1"); f.State != MediaStored || len(b.links("wamid.1")) != 1 {
					t.Errorf("%+v, links %q", f, b.links("wamid.1"))
				}
				if got := b.files(); len(got) != 1 {
					t.Errorf("files %q", got)
				}
			})
		})
	}
}

func TestMedia_WhatIsNotTakenIsADeadLetterThatCanBeReplayed(t *testing.T) {
	for name, change := range map[string]func(*MediaOptions){
		"too large": func(o *MediaOptions) { o.MaxSize = 100 },
		"its type":  func(o *MediaOptions) { o.Types = []string{"audio/*"} },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bridge) {
				strict := true
				sim := b.withFiles(func(o *MediaOptions) {
					if strict {
						change(o)
					}
				})
				b.start()
				b.accept(b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(5000)}))
				settled(time.Second)
				dead := b.dead()
				if len(dead) != 1 || dead[0].Lane != "media" || dead[0].Reason.Hint == "" || b.mediaState("wamid.1").State != MediaFailed {
					t.Fatalf("dead %+v, %+v", dead, b.mediaState("wamid.1"))
				}
				b.stop()
				strict = false
				b.start()
				if err := b.Replay(context.Background(), dead[0].ID); err != nil {
					t.Fatal(err)
				}
				settled(time.Second)
				if f := b.mediaState("wamid.1"); f.State != MediaStored || len(b.links("wamid.1")) != 1 {
					t.Errorf("after the replay: %+v", f)
				}
			})
		})
	}
}

func TestMedia_WhatWhatsAppHasNoMoreIsToldOnce(t *testing.T) {
	run(t, func(b *bridge) {
		sim := b.withFiles(nil)
		b.start()
		e := b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(10)})
		sim.DropFile("91")
		b.accept(e)
		settled(whatsapp.MediaLife - time.Hour)
		if f := b.mediaState("wamid.1"); f.State != MediaWaiting {
			t.Errorf("within seven days: %+v", f)
		}
		settled(24 * time.Hour)
		story, err := b.Why(context.Background(), "acme", "wamid.1")
		gone := 0
		for _, s := range story.Steps {
			if s.Step == "gone" {
				gone++
			}
		}
		if f := b.mediaState("wamid.1"); err != nil || gone != 1 || f.State != MediaGone || len(b.dead()) != 0 || b.depth() != 0 {
			t.Errorf("told %d times, %+v, %d dead, %d waiting, %v", gone, f, len(b.dead()), b.depth(), err)
		}
	})
}

func TestMedia_GoesWithAMessageThatIsTakenBack(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{})
		sim := b.withFiles(nil)
		b.start()
		b.accept(b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(10)}))
		settled(time.Second)
		late := b.picture(sim, "wamid.2", ana, whatsappsim.InboundMedia{Data: png(20)})
		sim.DropFile("92")
		b.accept(late)
		settled(time.Second)
		b.accept(amendment("wamid.8", ana, "wamid.1", core.KindMessageRevoked, ""), amendment("wamid.9", ana, "wamid.2", core.KindMessageRevoked, ""))
		b.picture(sim, "wamid.2", ana, whatsappsim.InboundMedia{Data: png(20)})
		settled(10 * time.Second)
		if _, err := b.open(b.links("wamid.1")[0]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file can still be opened: %v", err)
		}
		if got := b.links("wamid.2"); len(got) != 0 || sim.Downloads("92") != 0 {
			t.Errorf("what was not fetched yet was: %q", got)
		}
		settled(mediaYoung + mediaSweepEvery)
		// The files' times are the machine's, which virtual time does not move.
		for _, path := range b.files() {
			old := time.Now().Add(-mediaYoung - time.Hour)
			_ = os.Chtimes(path, old, old)
		}
		if swept, err := b.SweepMedia(context.Background(), "acme"); err != nil || len(b.files()) != 0 {
			t.Errorf("%+v, %v: left %q", swept, err, b.files())
		}
	})
}

func TestMedia_IsErasedWithThePersonAndStaysForOthers(t *testing.T) {
	run(t, func(b *bridge) {
		sim := b.withFiles(nil)
		b.start()
		b.accept(b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(10)})) // both have it
		b.accept(b.picture(sim, "wamid.2", ana, whatsappsim.InboundMedia{Data: png(20)}))
		b.accept(b.picture(sim, "wamid.3", berto, whatsappsim.InboundMedia{Data: png(10)}))
		settled(time.Second)
		waits := b.picture(sim, "wamid.4", ana, whatsappsim.InboundMedia{Data: png(40)})
		sim.DropFile("94")
		b.accept(waits)
		settled(time.Second)
		if len(b.files()) != 2 {
			t.Fatalf("files %q", b.files())
		}
		x, err := b.ExportContact(context.Background(), "acme", ana)
		if err != nil || len(x.Media) != 3 {
			t.Errorf("exported %+v, %v", x.Media, err)
		}
		page, err := b.ListMedia(context.Background(), "acme", ana, "", 2)
		if err != nil || len(page.Media) != 2 || page.Next != "wamid.2" || page.Media[0].Link == "" {
			t.Errorf("listed %+v, %v", page, err)
		}
		e := b.erase(ana)
		if e.State != ErasureDone || e.Held.Media != 3 {
			t.Errorf("%+v", e)
		}
		if _, err := b.open(b.links("wamid.3")[0]); err != nil || len(b.files()) != 1 {
			t.Errorf("berto's file: %v; files %q", err, b.files())
		}
		if _, err := b.open(b.links("wamid.2")[0]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ana's file: %v", err)
		}
		if page, err = b.ListMedia(context.Background(), "acme", "", "", 10); err != nil || len(page.Media) != 1 {
			t.Errorf("known %+v, %v", page, err)
		}
	})
}

func TestMedia_WhatACrashLeftIsFetchedAgainAndSwept(t *testing.T) {
	run(t, func(b *bridge) {
		die := true
		b.change = func(o *Options) {
			o.Failpoint = func(name string) {
				if name == "media-fetched" && die {
					b.kill() // the file is there, and nobody knows of it
				}
			}
		}
		sim := b.withFiles(nil)
		b.start()
		b.accept(b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(10)}))
		settled(time.Second)
		b.stop()
		if len(b.files()) != 1 || len(b.links("wamid.1")) != 0 {
			t.Fatalf("files %q, links %q", b.files(), b.links("wamid.1"))
		}
		die = false
		b.start()
		settled(time.Second)
		if len(b.files()) != 1 || len(b.links("wamid.1")) != 1 || sim.Downloads("91") != 2 {
			t.Errorf("files %q, links %q, %d downloads", b.files(), b.links("wamid.1"), sim.Downloads("91"))
		}
	})
}

func TestMedia_IsKeptForAsLongAsItIsSaidTo(t *testing.T) {
	run(t, func(b *bridge) {
		sim := b.withFiles(func(o *MediaOptions) { o.Keep, o.LinkLife = 10*24*time.Hour, 24*time.Hour })
		b.start()
		b.accept(b.picture(sim, "wamid.1", ana, whatsappsim.InboundMedia{Data: png(10)}))
		settled(time.Second)
		link := b.links("wamid.1")[0]
		settled(23 * time.Hour)
		if _, err := b.open(link); err != nil {
			t.Errorf("within a day: %v", err)
		}
		settled(time.Hour)
		if _, err := b.open(link); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after a day: %v", err)
		}
		if _, err := b.open(b.mediaState("wamid.1").Link); err != nil {
			t.Errorf("by a new address: %v", err)
		}
		b.off(10 * 24 * time.Hour)
		settled(2 * time.Hour)
		if _, err := b.Media(context.Background(), "acme", "wamid.1"); err == nil {
			t.Error("it is known after ten days")
		}
	})
}

func TestReadSHA256_ReadsBothForms(t *testing.T) {
	sum := slices.Repeat([]byte{7}, 32)
	for _, text := range []string{base64.StdEncoding.EncodeToString(sum), strings.Repeat("07", 32)} {
		if got := whatsapp.ReadSHA256(text); !slices.Equal(got, sum) {
			t.Errorf("%s: %x", text, got)
		}
	}
	if got := whatsapp.ReadSHA256("4xKJ"); got != nil {
		t.Errorf("a short one: %x", got)
	}
}
