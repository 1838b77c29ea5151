// Package whatsappsim imitates the part of Meta's WhatsApp Cloud API that a bridge
// meets: it takes sends and refuses what Meta refuses, moves messages through
// their statuses, lets simulated customers write, and reports all of it by signed
// webhooks, which it repeats until they are answered with 200. It can misbehave on
// demand: see [Rule] and [Webhooks].
//
// A Sim is an [http.Handler]: tests mount it in memory, a demo on a port. Other
// processes steer it under /_sim/: see [Sim.ServeHTTP]. It keeps a [Ledger] of all
// that it accepted and of all webhooks that were acknowledged, so that a checker
// can say what was lost or doubled.
package whatsappsim

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a Sim.
type Options struct {
	// AppSecret signs the webhooks.
	AppSecret string
	// VerifyToken is for [Sim.Verify].
	VerifyToken string
	// AccessTokens are those that may send; empty takes any.
	AccessTokens []string
	// Numbers are the business's; empty is one with the ID 106540352242922.
	Numbers []Number
	// Templates are those that are approved; nil is hello_world in en_US.
	Templates []Template
	// ReviewDelay is how long a new or edited template is under review; negative is
	// until [Sim.ChangeTemplate] says what comes of it. Review says so otherwise; nil is
	// DefaultReview.
	ReviewDelay time.Duration
	Review      func(Reviewed) Review
	// MaxTemplates is how many an account may have; 0 is 250. ManagementPerHour is how
	// many calls it may make about them; 0 is 5000. TemplatePage is how many a list has
	// at most; 0 is 100.
	MaxTemplates, ManagementPerHour, TemplatePage int
	// WebhookURL is where webhooks go; "" sends none.
	WebhookURL string
	// Client carries the webhooks; nil is a transport of the sim's own.
	Client http.RoundTripper
	// Concurrency is how many webhooks are under way at once; 0 is 64. With more
	// than one they arrive in any order, as from Meta.
	Concurrency int
	// RetryMin and RetryMax are the first and the longest pause before a webhook
	// that was not answered with 200 is repeated; 0 is one second and one minute.
	// Each pause is twice the one before.
	RetryMin, RetryMax time.Duration
	// Webhooks says how unruly webhooks are, to begin with.
	Webhooks Webhooks
	// EnforceWindow refuses, with 131047, what is no template more than 24 hours
	// after the person last wrote by [Sim.Receive].
	EnforceWindow bool
	// EnforceLimits refuses more than a number's messages a second (130429) and more than
	// one in six seconds, 45 at once, to one person (131056), and lets templates to more
	// new people a day than the portfolio's limit fail (131048).
	EnforceLimits bool
	// StatusDelay is the time from accepted to sent, on to delivered, on to read.
	StatusDelay time.Duration
	// BatchStatuses gathers the statuses of so long into one webhook; 0 sends each
	// alone.
	BatchStatuses time.Duration
	// Latency returns how long the next send takes, at least; nil takes none. It is
	// called concurrently.
	Latency func() time.Duration
	// Start is the sim's time to begin with; zero is now. See [Sim.Advance].
	Start time.Time
	// Redelivery is for how long a webhook that is not answered with 200 is repeated;
	// zero is without end.
	Redelivery Redelivery
	// Seed is for chance.
	Seed uint64
}

// Number is a business phone number.
type Number struct {
	ID            string // phone_number_id
	DisplayNumber string // digits, beginning with the country code
	WABA          string // id of the business account
	Limit         string // of its portfolio: TIER_250 … TIER_UNLIMITED, which "" is
	CountryCode   string // what Meta puts before numbers without a +; "" is 1
	// New says that it was added to the account, and neither verified nor registered.
	New bool
}

// Template is an approved template.
type Template struct {
	Name, Language string
	Category       string // marketing, utility or authentication; "" is utility
	// BodyParameters is how many its body has; -1 takes any number.
	BodyParameters int
}

// Sim is one app with its numbers at Meta. All methods may be called concurrently.
type Sim struct {
	o       Options
	client  *http.Client
	tokens  map[string]bool
	numbers map[string]*Number
	ids     atomic.Uint64
	epoch   [8]byte // makes ids unlike those of a Sim made before

	clock   clock
	people  people
	blocked blocklists
	lines   lines
	limits  limits
	chats   chats
	faults  faults
	ledger  ledger
	media   mediaStore

	templates templateStore

	out outbox

	mu       sync.Mutex
	random   *rand.Rand
	webhooks Webhooks
	latency  time.Duration // set under /_sim/latency, added to Options.Latency
}

// New returns a Sim. It sends no webhooks before Run.
func New(o Options) *Sim {
	if len(o.Numbers) == 0 {
		o.Numbers = []Number{{ID: "106540352242922", DisplayNumber: "15550783881", WABA: "102290129340398"}}
	}
	if o.Templates == nil {
		o.Templates = []Template{{Name: "hello_world", Language: "en_US"}}
	}
	if o.Client == nil {
		o.Client = &http.Transport{MaxIdleConnsPerHost: 512, IdleConnTimeout: 30 * time.Second}
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 64
	}
	if o.RetryMin <= 0 {
		o.RetryMin = time.Second
	}
	if o.RetryMax <= 0 {
		o.RetryMax = time.Minute
	}
	s := &Sim{
		o: o, client: &http.Client{Transport: o.Client, Timeout: 20 * time.Second},
		tokens: map[string]bool{}, numbers: map[string]*Number{},
		random: rand.New(rand.NewPCG(o.Seed, 1)), webhooks: o.Webhooks,
	}
	for _, t := range o.AccessTokens {
		s.tokens[t] = true
	}
	for _, n := range slices.Clone(o.Numbers) {
		if n.CountryCode == "" {
			n.CountryCode = "1"
		}
		s.numbers[n.ID] = &n
	}
	seed := binary.BigEndian.AppendUint64(nil, o.Seed)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(seed, uint64(time.Now().UnixNano())))
	copy(s.epoch[:], sum[:])
	s.clock.init(o.Start, func() { wake(s.out.due) })
	s.people.init()
	s.blocked.init()
	s.lines.init(o.Numbers)
	s.limits.init()
	s.chats.init()
	s.faults.init(o.Seed)
	s.ledger.init()
	s.media.init(s.epoch[:])
	s.initTemplates()
	s.out.init()
	return s
}

// newID makes an id of a message. Like those of Meta's that were ever seen it is
// base64 of text with hexadecimal digits, so that no two differ by case alone: to a
// CRM these would be the same.
func (s *Sim) newID() string {
	text := fmt.Appendf(nil, "sim\x00\x00%X%X", s.epoch, binary.BigEndian.AppendUint64(nil, s.ids.Add(1)))
	return "wamid." + base64.StdEncoding.EncodeToString(text)
}

// chance draws a lot.
func (s *Sim) chance(p float64) bool {
	if p <= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64() < p
}

// Run sends webhooks until ctx ends, and returns when none is under way any more.
func (s *Sim) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.schedule(ctx) })
	for range s.o.Concurrency {
		wg.Go(func() { s.work(ctx) })
	}
	wg.Wait()
	if t, ok := s.o.Client.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	return nil
}

// maxBody bounds a request's body.
const maxBody = 1 << 20

var versionPath = regexp.MustCompile(`^v[1-9][0-9]*\.0$`)

// ServeHTTP implements [http.Handler]. Beside Meta's paths
//
//	POST   /{version}/{phone_number_id}/messages
//	GET    /{version}/{phone_number_id}, and POST of its two-step PIN
//	POST   /{version}/{phone_number_id}/request_code, verify_code, register, deregister
//	GET    /{version}/{phone_number_id}/whatsapp_business_profile, and POST
//	GET    /{version}/{account_id}/phone_numbers
//	GET    /{version}/{phone_number_id}/settings, and POST
//	GET    /{version}/{phone_number_id}/block_users, POST and DELETE
//	POST   /{version}/{phone_number_id}/media
//	GET    /{version}/{media_id}, and DELETE
//	GET    /{version}/{waba_id}/message_templates, POST and DELETE
//	GET    /{version}/{template_id}, and POST; POST …/unpause
//
// there are these to steer it, with JSON bodies:
//
//	POST   /_sim/receive    an [Inbound], and "count", "dup", "batch"
//	POST   /_sim/notify     {"number", "field", "value"}: any other webhook
//	GET    /_sim/fail       the [Rule]s in force; POST adds one, DELETE ends them
//	GET    /_sim/webhooks   the [Webhooks] in force; POST replaces them
//	POST   /_sim/latency?d=150ms  how long sends take, beside Options.Latency
//	GET    /_sim/messages   what customers got, newest first; ?to=, ?limit=
//	GET    /_sim/clock      the [Clock]; POST {"advance": "25h", "stop": true} moves it
//	GET    /               a page to chat as a customer
//	POST   /_sim/block      {"phone", "number", "block", "report"}: a person blocks a number, or reports it
//	GET    /_sim/people     the [Person]s; POST adds one
//	POST   /_sim/people/change  {"from", "to"}: another phone number, and so another user id
//	GET    /_sim/numbers    the numbers as [Line]s; POST a [LineChange] to change one
//	GET    /_sim/ledger     the [Ledger]
//	GET    /_sim/templates  the templates; POST a [TemplateChange]
//	GET    /_sim/stats      the [Stats]
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		servePage(w, "index.html")
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, pagePath); ok {
		servePage(w, name)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/_sim/"); ok {
		s.control(w, r, rest)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, mediaPath); ok {
		s.serveFile(w, r, id)
		return
	}
	version, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if isNode(version) { // a call without a version is one of the oldest version that there is
		version, rest = "v1.0", strings.TrimSuffix(version+"/"+rest, "/")
	}
	if !versionPath.MatchString(version) {
		refuse(w, &graphError{status: http.StatusBadRequest, code: 2500, message: "Unknown path components: " + r.URL.Path})
		return
	}
	if err := s.authorize(r); err != nil {
		s.refused(w, err)
		return
	}
	id, edge, _ := strings.Cut(rest, "/")
	n := s.numbers[id]
	f, isFile := s.media.get(id, s.clock.now())
	switch {
	case n != nil && edge == "messages" && r.Method == http.MethodPost:
		s.messages(w, r, n)
	case n != nil && edge == "media" && r.Method == http.MethodPost:
		s.upload(w, r, n)
	case n != nil && s.manage(w, r, n, edge):
	case s.hasAccount(id) && edge == "phone_numbers" && r.Method == http.MethodGet:
		s.listNumbers(w, r, id)
	case edge == "" && isFile:
		s.serveMedia(w, r, f)
	case s.manageTemplates(w, r, id, edge):
	default:
		s.refused(w, &graphError{
			status: http.StatusBadRequest, code: 100, subcode: 33,
			message: "Unsupported " + strings.ToLower(r.Method) + " request. Object with ID '" + id + "' does not exist, cannot be loaded due to missing permissions, or does not support this operation",
		})
	}
}

// isNode reports whether a path begins with something's id, where a version may be: Graph
// does without one, and so do some clients.
//
// https://developers.facebook.com/docs/graph-api/guides/versioning
func isNode(id string) bool { return id != "" && strings.Trim(id, "0123456789") == "" }

// authorize checks the bearer token.
func (s *Sim) authorize(r *http.Request) *graphError {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return &graphError{status: http.StatusUnauthorized, code: 104, message: "An access token is required to request this resource."}
	}
	if len(s.tokens) > 0 && !s.tokens[token] {
		return &graphError{status: http.StatusUnauthorized, code: 190, message: "Invalid OAuth access token - Cannot parse access token"}
	}
	return nil
}

// readBody reads a request's body.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	return body, err == nil
}

// pause waits, unless the request ends first.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
