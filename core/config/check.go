package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/contact"
	"github.com/wabridge/wabridge/core/mapping"
	"github.com/wabridge/wabridge/core/spelling"
)

var (
	versionPattern = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]{1,2}$`)
	numberPattern  = regexp.MustCompile(`^[0-9]{1,32}$`)
	hostPattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	sha256Pattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// minToken is how short an API token may be: enough not to be guessed.
const minToken = 16

// minSeenDays: Meta repeats a webhook that failed for up to 7 days.
const minSeenDays = 8

// check notes what does not fit together, in the documents that say it.
func (l *loader) check(cfg *Config) {
	main := l.docs[0]
	if !main.unread {
		main.checkMain(cfg)
	}
	numbers := map[string]string{} // phone_number_id → the file that has it
	for i, d := range l.docs[1:] {
		if !d.unread {
			d.checkTenant(cfg, &cfg.Tenants[i], numbers)
		}
	}
}

func (d *document) checkMain(cfg *Config) {
	d.checkWeb(cfg)
	d.oneOf("log.level", cfg.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", cfg.Log.Format, "text", "json")
	d.checkStore(cfg.Store)
	d.checkWhatsApp(&cfg.WhatsApp)
	d.checkMedia(cfg.Media)
	d.checkScript(cfg.Script)
	if cfg.DataDir == "" {
		d.problem("data_dir", "is empty: name the folder to keep the bridge's data in")
	}
	d.positive("dead_letter_deadline", cfg.DeadLetterDeadline, 30*24*time.Hour)
	d.checkPlugins(cfg)
}

func (d *document) checkWeb(cfg *Config) {
	web := &cfg.Web
	host, port, err := net.SplitHostPort(web.Listen)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
		d.problem("web.listen", "%q is not host:port, like 127.0.0.1:8080", web.Listen)
	} else if !loopback(host) && len(web.APITokens) == 0 {
		d.problem("web.listen", "%s can be reached from other machines: that needs at least one of [[web.api_tokens]]", web.Listen)
	}
	d.checkURL("web.public_url", &web.PublicURL)
	for i, text := range web.TrustedProxies {
		if _, err := network(text); err != nil {
			d.problem(fmt.Sprintf("web.trusted_proxies[%d]", i), "%q is no address and no network, such as 10.0.0.0/8", text)
		}
	}
	d.between("web.max_in_flight", web.MaxInFlight, 1, 65536)

	names, values := map[string]bool{}, map[core.Secret]bool{}
	for i, t := range web.APITokens {
		key := fmt.Sprintf("web.api_tokens[%d]", i)
		switch {
		case t.Name == "":
			d.problem(key+".name", "is missing: it is what logs call the bearer")
		case names[t.Name]:
			d.problem(key+".name", "another token has the name %q", t.Name)
		}
		switch {
		case t.Token == "":
			d.problem(key+".token", "is missing")
		case len(t.Token) < minToken:
			d.problem(key+".token", "is too short: take at least %d random characters", minToken)
		case values[t.Token]:
			d.problem(key+".token", "another token is the same")
		}
		if t.Tenant != "" && !slices.ContainsFunc(cfg.Tenants, func(o Tenant) bool { return o.ID == t.Tenant }) {
			d.problem(key+".tenant", "there is no tenant %q", t.Tenant)
		}
		names[t.Name], values[t.Token] = true, true
	}
}

func (d *document) checkStore(s Store) {
	if s.MaxSize < 64*MiB {
		d.problem("store.max_size", "%v is too little: at least %v", s.MaxSize, 64*MiB)
	}
	if s.BallastSize >= s.MaxSize {
		d.problem("store.ballast_size", "%v is not less than store.max_size, %v", s.BallastSize, s.MaxSize)
	}
	d.between("store.seen_days", s.SeenDays, minSeenDays, 366)
	d.between("store.history_days", s.HistoryDays, 1, 3660)
}

func (d *document) checkWhatsApp(w *WhatsApp) {
	if w.BaseURL == "" {
		d.problem("whatsapp.base_url", "is empty")
	}
	d.checkURL("whatsapp.base_url", &w.BaseURL)
	if !versionPattern.MatchString(w.APIVersion) {
		d.problem("whatsapp.api_version", "%q is not a version, like %s", w.APIVersion, Default().WhatsApp.APIVersion)
	}
	if w.VerifyToken == "" {
		d.problem("whatsapp.verify_token", "is missing: take any random text, and enter the same when setting up the webhook at Meta")
	}
	if len(w.AppSecrets) == 0 {
		d.problem("whatsapp.app_secrets", "is missing: Meta's app dashboard shows it under App settings, Basic")
	}
	for i, s := range w.AppSecrets {
		if s == "" {
			d.problem(fmt.Sprintf("whatsapp.app_secrets[%d]", i), "is empty")
		}
	}
	d.positive("whatsapp.timeout", w.Timeout, 10*time.Minute)
	d.positive("whatsapp.unknown_wait", w.UnknownWait, 24*time.Hour)
	if w.TemplateSync < 5*time.Minute || w.TemplateSync > 7*24*time.Hour {
		d.problem("whatsapp.template_sync", "%v is not between 5m and 168h", w.TemplateSync)
	}
	for i, host := range w.MediaHosts {
		if !hostPattern.MatchString(host) {
			d.problem(fmt.Sprintf("whatsapp.media_hosts[%d]", i), "%q is no name of a host, such as media.example.com", host)
		}
	}
	d.between("whatsapp.management_calls_per_hour", w.ManagementCallsPerHour, 10, 1_000_000)
	d.between("whatsapp.template_creations_per_hour", w.TemplateCreationsPerHour, 1, 10_000)
	if w.HealthEvery < time.Minute || w.HealthEvery > 24*time.Hour {
		d.problem("whatsapp.health_every", "%v is not between 1m and 24h", w.HealthEvery)
	}
}

// checkFallback checks the number that another's messages go by.
func (d *document) checkFallback(key string, t *Tenant, n *Number) {
	if n.Fallback == "" {
		if len(n.FallbackWhen) > 0 || n.FallbackBackAfter != 0 {
			d.problem(key+".fallback", "is missing: fallback_when and fallback_back_after say when, but not by which number")
		}
		return
	}
	switch {
	case n.Fallback == n.ID:
		d.problem(key+".fallback", "is the number itself: name another of the tenant's numbers")
	case !slices.ContainsFunc(t.Numbers, func(o Number) bool { return o.ID == n.Fallback }):
		d.problem(key+".fallback", "the tenant has no number with the id %q", n.Fallback)
	}
	for i, when := range n.FallbackWhen {
		d.oneOf(fmt.Sprintf("%s.fallback_when[%d]", key, i), when, "banned", "unregistered", "restricted", "flagged")
	}
	if b := n.FallbackBackAfter; b != 0 && (b < time.Minute || b > 30*24*time.Hour) {
		d.problem(key+".fallback_back_after", "%v is not between 1m and 720h", b)
	}
}

func (d *document) checkMedia(m Media) {
	d.between("media.keep_days", m.KeepDays, 1, 3660)
	d.between("media.link_days", m.LinkDays, 0, 3660)
	d.between("media.at_once", m.AtOnce, 1, 64)
	if m.MaxSize < KiB || m.MaxSize > 100*MiB {
		d.problem("media.max_size", "%v is not between %v and %v, the most that WhatsApp carries", m.MaxSize, KiB, 100*MiB)
	}
	if m.Rate != 0 && m.Rate < 64*KiB {
		d.problem("media.rate", "%v in a second is too little: at least %v, or 0 for no limit", m.Rate, 64*KiB)
	}
	for i, pattern := range m.Types {
		if _, err := path.Match(pattern, "image/png"); err != nil || !strings.Contains(pattern, "/") {
			d.problem(fmt.Sprintf("media.types[%d]", i), "%q is no pattern of types, like image/* or application/pdf", pattern)
		}
	}
}

func (d *document) checkScript(s Script) {
	d.positive("script.soft", s.Soft, 10*time.Second)
	d.positive("script.hard", s.Hard, time.Minute)
	if s.Hard <= s.Soft {
		d.problem("script.hard", "%v is not more than script.soft, %v", s.Hard, s.Soft)
	}
	if s.Memory < 16*MiB {
		d.problem("script.memory", "%v is too little: at least %v", s.Memory, 16*MiB)
	}
}

func lanesOf(cfg *Config, connector string) int {
	n := 0
	for _, t := range cfg.Tenants {
		for _, l := range t.Lanes {
			if l.Connector == connector {
				n++
			}
		}
	}
	return n
}

func (d *document) checkPlugins(cfg *Config) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins)) {
		p, key := cfg.Plugins[name], "plugins."+name
		if !core.TenantPattern.MatchString(name) {
			d.problem(key, "a connector's name is at most 40 of a-z, 0-9 and -, the first not a -")
		}
		if slices.Contains(d.opts.Connectors, name) {
			d.problem(key, "a connector of this name is built in: take another")
		}
		if p.Attach != "" {
			if n := lanesOf(cfg, name); n > 1 {
				d.problem(key+".attach", "is for one lane, but %d have this connector", n)
			}
			if p.Path != "" || p.SHA256 != "" {
				d.problem(key+".attach", "goes without path and sha256: what is attached is started by hand")
			}
			continue
		}
		if p.Installed {
			continue // it was checked when it was installed, and is again when it is started
		}
		if info, err := os.Stat(p.Path); p.Path == "" {
			d.problem(key+".path", "is missing")
		} else if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			d.problem(key+".path", "there is no file or folder %s", p.Path)
		}
		if !sha256Pattern.MatchString(p.SHA256) {
			d.problem(key+".sha256", "is not 64 lower-case hexadecimal digits: sha256sum shows them")
		}
	}
}

func (d *document) checkTenant(cfg *Config, t *Tenant, numbers map[string]string) {
	if len(t.Numbers) == 0 {
		d.problem("numbers", "is missing: a tenant has at least one of [[numbers]]")
	}
	if t.Region != "" && !contact.IsRegion(t.Region) {
		d.problem("region", "%q is no country: want two letters of ISO 3166, such as TW (the United Kingdom is GB)", t.Region)
	}
	d.checkPolicy(t)
	d.between("limits.people_per_day", t.Limits.PeoplePerDay, 0, 100_000_000)
	if p := t.Limits.Portfolio; p != "" && !core.TenantPattern.MatchString(p) {
		d.problem("limits.portfolio", "%.40q is no name: want lower-case letters, digits and -", p)
	}
	d.between("limits.messages_per_minute", t.Limits.MessagesPerMinute, 0, 60_000)
	for i, n := range t.Numbers {
		key := fmt.Sprintf("numbers[%d]", i)
		switch other, taken := numbers[n.ID]; {
		case !numberPattern.MatchString(n.ID):
			d.problem(key+".id", "is not a phone_number_id: Meta shows it beside the number, digits only")
		case taken:
			d.problem(key+".id", "%s is also in %s", n.ID, other)
		}
		numbers[n.ID] = d.file
		if n.WABA != "" && !numberPattern.MatchString(n.WABA) {
			d.problem(key+".waba", "is not a WhatsApp Business Account id: digits only")
		}
		if n.AccessToken == "" {
			d.problem(key+".access_token", "is missing: the token of a system user of Meta's business portfolio")
		}
		if n.Rate <= 0 || n.Rate > 10000 {
			d.problem(key+".rate", "%v is not between 0 and 10000 messages per second", n.Rate)
		}
		d.checkRetry(key+".retry", n.Retry)
		d.between(key+".max_in_flight", n.MaxInFlight, 0, 4096)
		d.checkFallback(key, t, &n)
	}
	d.checkEscalations(t)
	names, accounts := map[string]bool{}, map[string]bool{}
	for i, lane := range t.Lanes {
		key := fmt.Sprintf("lanes[%d]", i)
		d.checkConnector(cfg, key+".connector", lane.Connector)
		switch {
		case lane.Connector != "" && !core.TenantPattern.MatchString(lane.Name):
			d.problem(key+".name", "a lane's name is at most 40 of a-z, 0-9 and -, the first not a -")
		case names[lane.Name]:
			d.problem(key+".name", "another lane has the name %q: give each its own", lane.Name)
		}
		names[lane.Name] = true
		for _, name := range slices.Sorted(maps.Keys(lane.Secrets)) {
			if lane.Secrets[name] == "" {
				d.problem(key+".secrets."+name, "is empty")
			}
		}
		d.checkRetry(key+".retry", lane.Retry)
		if lane.Rate < 0 {
			d.problem(key+".rate", "%v is negative", lane.Rate)
		}
		for i, b := range lane.Budgets {
			key := fmt.Sprintf("%s.budgets[%d]", key, i)
			if !core.TenantPattern.MatchString(b.Name) {
				d.problem(key+".name", "want a name of a connector's budgets, such as api: a-z, 0-9 and -")
			}
			d.between(key+".calls", b.Calls, 1, 1_000_000_000)
			if b.Per < 100*time.Millisecond || b.Per > 31*24*time.Hour {
				d.problem(key+".per", "%v is not between 100ms and 744h", b.Per)
			}
		}
		if lane.Account != "" {
			of := lane.Connector + " " + lane.Account
			switch {
			case !core.TenantPattern.MatchString(lane.Account):
				d.problem(key+".account", "want a name: at most 40 of a-z, 0-9 and -, the first not a -")
			case accounts[of] && len(lane.Budgets) > 0:
				d.problem(key+".budgets", "another lane comes before it at the account %s: its budgets are those of both", lane.Account)
			}
			accounts[of] = true
		}
		d.between(key+".max_in_flight", lane.MaxInFlight, 0, 4096)
		d.between(key+".max_batch", lane.MaxBatch, 0, 1000)
		if lane.Linger > time.Minute {
			d.problem(key+".linger", "%v is too long: at most 1m", lane.Linger)
		}
		if lane.Pull != 0 && (lane.Pull < time.Minute || lane.Pull > 24*time.Hour) {
			d.problem(key+".pull", "%v is not between 1m and 24h, nor 0, which is never", lane.Pull)
		}
		d.checkMapping(key, &lane)
		if lane.Idempotency != "" {
			d.oneOf(key+".idempotency", string(lane.Idempotency),
				string(core.IdempotencyUpsert), string(core.IdempotencyKey), string(core.IdempotencySearch), string(core.IdempotencyNone))
		}
		if lane.SearchDelay < 0 || lane.SearchDelay > time.Hour {
			d.problem(key+".search_delay", "%v is not between 0 and 1h", lane.SearchDelay)
		}
	}
}

func (d *document) checkMapping(key string, lane *Lane) {
	if lane.Mapping != "" && lane.Mapping != "default" {
		d.problem(key+".mapping", "%q is not \"default\", the connector's own mapping; rules of your own are [[lanes.map]]", lane.Mapping)
	}
	_, problems := mapping.New(lane.Map, false)
	for _, p := range problems {
		d.problem(fmt.Sprintf("%s.map[%d].%s", key, p.Rule, p.Key), "%s", p.Text)
	}
}

func (d *document) checkConnector(cfg *Config, key, name string) {
	if name == "" {
		d.problem(key, "is missing")
		return
	}
	if _, ok := cfg.Plugins[name]; ok || d.opts.Connectors == nil || d.docs[0].unread || slices.Contains(d.opts.Connectors, name) {
		return
	}
	known := slices.Concat(d.opts.Connectors, slices.Sorted(maps.Keys(cfg.Plugins)))
	if near := spelling.Nearest(name, known); near != "" {
		d.problem(key, "unknown connector %q; did you mean %s?", name, near)
		return
	}
	d.problem(key, "unknown connector %q; known are %s, those in [plugins] and those that `wabridge plugin install` installed", name, strings.Join(known, ", "))
}

func (d *document) checkRetry(key string, retry []time.Duration) {
	if len(retry) > 20 {
		d.problem(key, "%d waits are too many: at most 20", len(retry))
		return
	}
	for i, wait := range retry {
		d.positive(fmt.Sprintf("%s[%d]", key, i), wait, 24*time.Hour)
	}
}

// checkURL checks an absolute URL, if there is one, and takes off slashes at
// its end.
func (d *document) checkURL(key string, s *string) {
	if *s == "" {
		return
	}
	*s = strings.TrimRight(*s, "/")
	u, err := url.Parse(*s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		d.problem(key, "is not a URL, like https://example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		d.problem(key, "has a user, query or fragment: only https://host/path fits here")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		d.problem(key, "%s is not https: tokens would cross the network unprotected", *s)
	}
}

// loopback reports whether host means this machine only.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func (d *document) oneOf(key, got string, want ...string) {
	if !slices.Contains(want, got) {
		d.problem(key, "%q is none of %s", got, strings.Join(want, ", "))
	}
}

func (d *document) between(key string, got, low, high int) {
	if got < low || got > high {
		d.problem(key, "%d is not between %d and %d", got, low, high)
	}
}

func (d *document) positive(key string, got, high time.Duration) {
	if got <= 0 || got > high {
		d.problem(key, "%v is not between 0 and %v", got, high)
	}
}
