package app

import (
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/guard"
	"github.com/wabridge/wabridge/core/media"
	"github.com/wabridge/wabridge/core/whatsapp"
)

// mediaFolder is where files are, in the data folder.
const mediaFolder = "media"

// media says what is done with the files of messages; nil when they are left at WhatsApp.
func (a *App) media(key []byte) *broker.MediaOptions {
	m := &a.o.Config.Media
	if !m.Fetch {
		return nil
	}
	const day = 24 * time.Hour
	return &broker.MediaOptions{
		Files: media.NewFiles(filepath.Join(a.o.Config.DataDir, mediaFolder)), Links: media.NewLinks(key, a.base),
		Keep: time.Duration(m.KeepDays) * day, LinkLife: time.Duration(m.LinkDays) * day,
		MaxSize: int64(m.MaxSize), Types: m.Types, AtOnce: m.AtOnce, Rate: int64(m.Rate),
		MinFree: 2 * int64(a.o.Config.Store.MinFree), // the store stops taking messages later than files
	}
}

// base is how the bridge is reached: as the owner says, else from this machine.
func (a *App) base() string {
	if public := a.o.Config.Web.PublicURL; public != "" {
		return public
	}
	host, port, err := net.SplitHostPort(a.web.Addr())
	if err != nil {
		return "http://" + a.web.Addr()
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// fileTransport downloads files from where Graph says that they are. Private networks are
// out of its reach, unless the Graph API itself, or the proxy to it, is in one.
func fileTransport(base string) *http.Transport {
	t := whatsapp.NewTransport()
	target, err := url.Parse(base)
	private := err == nil && base != whatsapp.DefaultBaseURL
	if err == nil && !private {
		through, perr := http.ProxyFromEnvironment(&http.Request{URL: target})
		private = perr == nil && through != nil
	}
	t.DialContext = guard.Dial(private, "files of WhatsApp's are not in one")
	return t
}

func number(t config.Tenant, n config.Number) whatsapp.Number {
	return whatsapp.Number{Tenant: t.ID, ID: n.ID, AccessToken: func() core.Secret { return n.AccessToken }}
}
