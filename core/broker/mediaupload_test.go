package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/media"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

// withUploader is a bridge that keeps files, before the sim.
func withUploader(b *bridge) *graph {
	b.noSync = true
	before := b.change
	b.change = func(o *Options) {
		if before != nil {
			before(o)
		}
		o.Media = &MediaOptions{Files: media.NewFiles(filepath.Join(b.dir, "media")), Links: media.NewLinks(testKey, func() string { return "https://bridge.example" })}
	}
	g := withGraph(b, whatsappsim.Options{})
	b.start()
	return g
}

// keep puts a file to the bridge, and returns its hash.
func (b *bridge) keep(name string, data []byte) string {
	b.Helper()
	f, err := b.PutMedia(context.Background(), MediaUpload{Tenant: "acme", Filename: name, Body: bytes.NewReader(data)})
	if err != nil {
		b.Fatal(err)
	}
	return f.Hash
}

func (b *bridge) sendFile(key, phone, hash string, as core.MessageType) (string, error) {
	r, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: key, Message: core.Message{
		To: core.Address{Kind: core.AddressPhone, Value: phone}, Type: as, Media: &core.Media{Hash: hash},
	}})
	return r.ID, err
}

// wantSent sends a picture to so many people, and checks how many were sent, and how many
// files uploaded, by now.
func (g *graph) wantSent(key, hash string, people, sends int, uploads uint64) {
	g.Helper()
	for i := range people {
		if _, err := g.sendFile(fmt.Sprint(key, i), fmt.Sprintf("+1415555%04d", i), hash, core.TypeImage); err != nil {
			g.Fatal(err)
		}
	}
	settled(10 * time.Second)
	if got := len(g.sim.Ledger().Sends); got != sends || g.sim.Uploads() != uploads {
		g.Errorf("%s: %d sends of %d, %d uploads of %d; dead %+v", key, got, sends, g.sim.Uploads(), uploads, g.dead())
	}
}

func TestUpload_IsOnceForAllSendsUntilTheIDIsOver(t *testing.T) {
	run(t, func(b *bridge) {
		g := withUploader(b)
		hash := b.keep("parcel.png", png(5000))
		g.wantSent("first", hash, 20, 20, 1)
		b.stop()
		b.start()
		g.wantSent("after a restart", hash, 5, 25, 1)
		b.off(uploadGood - time.Hour)
		g.wantSent("in its last hour", hash, 1, 26, 1)
		b.off(time.Hour)
		g.wantSent("when it is over", hash, 5, 31, 2)
		g.wantSent("another file", b.keep("other.png", png(6000)), 2, 33, 3)
	})
}

func TestUpload_IsRepeatedOnceWhenWhatsAppDoesNotHaveTheFile(t *testing.T) {
	run(t, func(b *bridge) {
		g := withUploader(b)
		hash := b.keep("parcel.png", png(5000))
		g.wantSent("first", hash, 1, 1, 1)
		g.sim.DropFile("1000000000000001")
		g.wantSent("gone", hash, 3, 4, 2)

		// A file that it never takes is uploaded once more, and the send a dead letter.
		g.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoError, Code: 131053, Count: 2})
		g.wantSent("refused", hash, 1, 4, 3)
		if dead := b.dead(); len(dead) != 1 || dead[0].Reason.Vendor != codeFileRefused {
			t.Errorf("dead %+v", dead)
		}
	})
}

func TestUpload_IsRepeatedForTheNextWhenAStatusSaysThatItFailed(t *testing.T) {
	run(t, func(b *bridge) {
		g := withUploader(b)
		hash := b.keep("parcel.png", png(5000))
		g.sim.Fail(whatsappsim.Rule{Do: whatsappsim.DoFail, Code: 131053, Count: 1})
		g.wantSent("failed", hash, 1, 1, 1)
		g.wantSent("next", hash, 2, 3, 2)
	})
}

func TestUpload_HoldsNobodyBackAndMayBeRepeated(t *testing.T) {
	run(t, func(b *bridge) {
		g := withUploader(b)
		wait, cut := make(chan struct{}), true
		g.uploads = func() error {
			<-wait
			if cut {
				cut = false
				return errors.New("connection reset")
			}
			return nil
		}
		hash := b.keep("parcel.png", png(5000))
		id, err := b.sendFile("k", "+14155550100", hash, core.TypeImage)
		if err != nil {
			t.Fatal(err)
		}
		b.ask("same", "after the picture")
		if _, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: "other", Message: core.Message{
			To: core.Address{Kind: core.AddressPhone, Value: berto}, Type: core.TypeText, Text: "another",
		}}); err != nil {
			t.Fatal(err)
		}
		settled(10 * time.Second)
		if sends := g.sim.Ledger().Sends; len(sends) != 1 || sends[0].Text != "another" {
			t.Errorf("during the upload: %+v", sends)
		}
		close(wait)
		settled(10 * time.Second)
		var types []string
		for _, s := range g.sim.Ledger().Sends {
			types = append(types, s.Type)
		}
		if got := strings.Join(types, " "); got != "text image text" || len(b.dead()) != 0 {
			t.Errorf("%s of %s: sent %q, dead %+v", id, hash, got, b.dead())
		}
	})
}

func TestUpload_SurvivesACrash(t *testing.T) {
	run(t, func(b *bridge) {
		g := withUploader(b)
		stuck := make(chan struct{})
		g.uploads = func() error { <-stuck; return errors.New("the process is gone") }
		hash := b.keep("parcel.png", png(5000))
		if _, err := b.sendFile("k", ana, hash, core.TypeImage); err != nil {
			t.Fatal(err)
		}
		settled(time.Second)
		g.uploads = nil
		time.AfterFunc(time.Second, func() { close(stuck) })
		g.crash()
		settled(10 * time.Second)
		if sends := g.sim.Ledger().Sends; len(sends) != 1 || sends[0].Type != "image" || len(b.dead()) != 0 {
			t.Errorf("sent %+v, dead %+v", sends, b.dead())
		}
	})
}

func TestUpload_WhatWhatsAppDoesNotTakeIsRefusedAtOnce(t *testing.T) {
	run(t, func(b *bridge) {
		withUploader(b)
		for name, data := range map[string][]byte{
			"big.png": png(5 << 20), "page.html": []byte("<html>"), "program.exe": {0x4d, 0x5a, 0}, "empty.txt": nil, "big.webp": append([]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), make([]byte, 500<<10)...),
		} {
			if f, err := b.PutMedia(context.Background(), MediaUpload{Tenant: "acme", Filename: name, Body: bytes.NewReader(data)}); err == nil {
				t.Errorf("%s was taken: %+v", name, f)
			}
		}
		hash := b.keep("invoice.pdf", []byte("%PDF-1.7"))
		for hash, as := range map[string]core.MessageType{hash: core.TypeImage, strings.Repeat("0", 64): core.TypeImage} {
			if _, err := b.sendFile("k", ana, hash, as); core.AsError(err).Code != core.CodeInvalid || core.AsError(err).Hint == "" {
				t.Errorf("%s of %s: %v", as, hash, err)
			}
		}
	})
}

func TestUpload_SentFilesAreThePersonsLikeThoseThatTheySend(t *testing.T) {
	run(t, func(b *bridge) {
		withUploader(b)
		both, anas := b.keep("flyer.pdf", []byte("%PDF-1.7 flyer")), b.keep("invoice.pdf", []byte("%PDF-1.7 invoice"))
		for _, to := range []string{ana, berto} {
			if _, err := b.sendFile("flyer"+to, to, both, core.TypeDocument); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.sendFile("invoice", ana, anas, core.TypeDocument); err != nil {
			t.Fatal(err)
		}
		settled(10 * time.Second)
		x, err := b.ExportContact(context.Background(), "acme", ana)
		if err != nil || len(x.Media) != 2 {
			t.Fatalf("exported %+v, %v", x.Media, err)
		}
		link := ""
		for _, tr := range b.crm.taken() {
			if m := tr.event.Message; tr.event.Kind == core.KindMessageSent && m.Media.Hash == anas {
				link = m.Media.Link
			}
		}
		if c, err := b.open(link); err != nil || c.Name != "invoice.pdf" || c.Type != "application/pdf" {
			t.Errorf("%q: %+v, %v", link, c, err)
		}
		if e := b.erase(ana); e.State != ErasureDone || e.Held.Media != 2 || len(b.files()) != 1 {
			t.Errorf("%+v; files %q", e, b.files())
		}
		if _, err := b.open(link); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the invoice: %v", err)
		}
		if _, err := b.sendFile("again", ana, anas, core.TypeDocument); err == nil {
			t.Error("the invoice can be sent")
		}
		if _, err := b.sendFile("flyer", "+34600111999", both, core.TypeDocument); err != nil {
			t.Errorf("the flyer: %v", err)
		}
	})
}

// A file that is put here may be the header of a template: it is uploaded once, as any other.
func TestUpload_IsATemplatesHeader(t *testing.T) {
	run(t, func(b *bridge) {
		b.withPolicy(Policy{Templates: []Template{{Name: "hello_world", Category: consent.CategoryUtility}}})
		g := withUploader(b)
		hash := b.keep("parcel.png", png(5000))
		send := func(key, hash string, header string) error {
			_, err := b.Send(context.Background(), SendRequest{Tenant: "acme", Key: key, Message: core.Message{
				To: to(ana), Type: core.TypeTemplate, Media: &core.Media{Hash: hash},
				Template: &core.Template{Name: "hello_world", Language: "en_US", Components: json.RawMessage(header)},
			}})
			return err
		}
		for i := range 3 {
			if err := send(fmt.Sprint("k", i), hash, ""); err != nil {
				t.Fatal(err)
			}
		}
		settled(time.Minute)
		if n := len(g.sim.Ledger().Sends); n != 3 || g.sim.Uploads() != 1 {
			t.Errorf("%d sends, %d uploads; dead %+v", n, g.sim.Uploads(), b.dead())
		}
		for want, err := range map[string]error{
			"no file with the hash": send("none", strings.Repeat("0", 64), ""),
			"header is given":       send("both", hash, `[{"type":"header","parameters":[{"type":"image","image":{"id":"7"}}]}]`),
			"in its header":         send("sound", b.keep("a.mp3", append([]byte("ID3\x03\x00"), make([]byte, 5000)...)), ""),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	})
}

// A script names a file by its hash or by where it is: what WhatsApp does not take in such a
// message, or is not there, is not sent, and the trace says why.
func TestUpload_ScriptsReplyWithFiles(t *testing.T) {
	run(t, func(b *bridge) {
		var hash string
		b.scripts = func(e *core.Event) script.Decision {
			m := &core.Message{Type: core.MessageType(e.Message.Text), Text: "Our prices", Media: &core.Media{Hash: hash}}
			switch e.Message.Text {
			case "lost":
				m.Type, m.Media.Hash = core.TypeImage, strings.Repeat("0", 64)
			case "link":
				m.Type, m.Media = core.TypeDocument, &core.Media{Link: "https://shop.example/prices.pdf", Filename: "prices.pdf"}
			}
			return script.Decision{Actions: []script.Action{{Type: script.ActionReply, Message: m}}}
		}
		g := withUploader(b)
		hash = b.keep("prices.png", png(5000))
		for i, text := range []string{"image", "sticker", "lost", "link"} {
			b.accept(received(fmt.Sprint("wamid.", i), ana, text))
			settled(10 * time.Second)
		}
		sends := g.sim.Ledger().Sends
		if len(sends) != 2 || g.sim.Uploads() != 1 || len(b.dead()) != 0 {
			t.Errorf("%d sends, %d uploads, %d dead", len(sends), g.sim.Uploads(), len(b.dead()))
		}
		b.wantNotes("wamid.1", "reply refused: ")
		b.wantNotes("wamid.2", "no file with the hash")
	})
}
