package whatsapp

import (
	"net/url"
	"testing"

	"github.com/wabridge/wabridge/core"
)

func TestFileType_IsWhatTheBytesTellElseWhatIsSaid(t *testing.T) {
	for _, test := range []struct{ said, name, looks, want string }{
		{"image/png", "a.png", "image/jpeg", "image/jpeg"},
		{"", "", "application/pdf", "application/pdf"},
		{"application/octet-stream", "Offer.DOCX", "application/zip", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"", "voice", "application/ogg", "audio/ogg"},
		{"audio/mp4; codecs=x", "a.mp4", "video/mp4", "audio/mp4"},
		{"", "song.m4a", "video/mp4", "audio/mp4"},
		{"", "notes", "text/plain; charset=utf-8", "text/plain"},
		{"", "a.exe", "application/octet-stream", "application/octet-stream"},
	} {
		if got := FileType(test.said, test.name, test.looks); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestCheckFile_IsWhatsAppsTable(t *testing.T) {
	for _, test := range []struct {
		as          core.MessageType
		mime, looks string
		size        int64
		ok          bool
	}{
		{core.TypeImage, "image/png", "image/png", 5 << 20, true},
		{core.TypeImage, "image/png", "image/png", 5<<20 + 1, false},
		{core.TypeImage, "image/png", "text/html", 10, false},
		{core.TypeImage, "image/webp", "image/webp", 10, false},
		{core.TypeSticker, "image/webp", "image/webp", 500 << 10, true},
		{core.TypeAudio, "audio/ogg; codecs=opus", "application/ogg", 16 << 20, true},
		{core.TypeAudio, "audio/ogg", "application/ogg", 16<<20 + 1, false},
		{core.TypeDocument, "text/plain", "text/plain; charset=utf-8", 100 << 20, true},
		{core.TypeDocument, "text/html", "text/html", 10, false},
		{core.TypeDocument, "application/pdf", "application/pdf", 0, false},
		{core.TypeText, "image/png", "image/png", 10, false},
		{"", "video/mp4", "video/mp4", 16 << 20, true},
		{"", "application/zip", "application/zip", 10, false},
	} {
		if err := CheckFile(test.as, test.mime, test.looks, test.size); (err == nil) != test.ok {
			t.Errorf("%+v: %v", test, err)
		}
	}
	if FileMessage("image/webp") != core.TypeSticker || FileMessage("application/zip") != "" {
		t.Error("the type of message of a file is wrong")
	}
}

// The token goes where the files are: to the hosts of the settings, and what is below them,
// and nowhere else.
func TestMediaHosts_AreThoseOfTheSettings(t *testing.T) {
	for _, test := range []struct {
		hosts   []string
		address string
		is      bool
	}{
		{DefaultMediaHosts(), "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1", true},
		{DefaultMediaHosts(), "https://scontent.xx.fbcdn.net/1", true},
		{DefaultMediaHosts(), "https://fbcdn.net.example/1", false},
		{DefaultMediaHosts(), "https://evilfbcdn.net/1", false},
		{DefaultMediaHosts(), "http://lookaside.fbsbx.com/1", false},
		{DefaultMediaHosts(), "https://lookaside.fbsbx.com:8443/1", false},
		{DefaultMediaHosts(), "https://files.meta.example/1", false},
		{[]string{"meta.example"}, "https://files.meta.example/1", true},
		{[]string{"meta.example"}, "https://lookaside.fbsbx.com/1", false},
		{[]string{}, "https://lookaside.fbsbx.com/1", false},
		{[]string{}, "https://graph.example/1", true},
	} {
		c := &Client{o: ClientOptions{BaseURL: "https://graph.example", MediaHosts: test.hosts}}
		u, err := url.Parse(test.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.isMediaHost(u); got != test.is {
			t.Errorf("with %q, %s is a place of Meta's: %v", test.hosts, test.address, got)
		}
	}
}
