// Package zoho is the connector for Zoho CRM: WhatsApp contacts become Contacts,
// messages become records of a custom module (or Notes), delivery statuses are
// written to the record they belong to, and escalations become Tasks or Cases.
//
// # What is written where
//
// A contact is keyed by a unique field of its own (WA_Contact_ID by default) that
// holds the bridge's contact id: the phone number may be missing, and is not unique
// in Zoho. A message is keyed the same way (WA_Message_ID in WhatsApp_Messages). All
// such writes are upserts by these keys, so an event that comes twice changes
// nothing. Notes and Tasks know no upsert: see notes.go and escalations.go for what
// is done instead.
//
// # Reading first
//
// Zoho takes 10 rows of a write for one credit, but answers a query about 100
// records for one. So each batch begins with a query (COQL, which reads the table
// and not the index that lags) by our keys, and then only what differs is written:
// a person who is known and unchanged costs no write, and their record's
// Modified_Time, by which others look for changes, stays.
//
// # What happens in Zoho
//
// A query about when records were modified, at every pull, finds all that changed;
// Zoho's notifications only make it known sooner, so that nothing depends on them:
// see inbound.go. A record's timeline tells which field was changed, when and by
// whom: see told.go.
//
// # Segments
//
// Views and Zoho's campaigns are the segments to which campaigns of the bridge may
// go: see segments.go.
//
// # Calls
//
// A batch of 100 messages of 100 known people costs two calls: the query, and the
// upsert of the messages. Changed people cost one more, and new ones another for
// every few, to look for records that somebody made by hand.
package zoho

import (
	"net/http"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// maxBatch is how many rows Zoho takes in one write.
const maxBatch = 100

// Connector implements [core.Authorizer] for Zoho CRM. The zero value is ready. What
// it remembers between calls can be forgotten at any time: see [account].
type Connector struct {
	// DialContext connects to Zoho; nil is a plain dialer. Set it before the first
	// call.
	DialContext crm.Dialer

	once   sync.Once
	client *http.Client

	mu       sync.Mutex
	accounts map[string]*account
}

var _ core.Authorizer = (*Connector)(nil)

// New returns the connector.
func New() core.Connector { return &Connector{} }

// Info implements [core.Connector].
func (c *Connector) Info() core.ConnectorInfo {
	return core.ConnectorInfo{
		Name:        "zoho",
		Version:     "0.1.0",
		MaxBatch:    maxBatch,
		Idempotency: core.IdempotencyUpsert,
		// What a Standard edition has before its users; Free has 5,000.
		Budgets: []core.Budget{{Name: budgetCredits, Calls: 50_000, Per: 24 * time.Hour}},
		Kinds: []core.Kind{
			core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia, core.KindMessageStatus,
			core.KindContactChanged, core.KindConsentChanged, core.KindContactErased, core.KindContactMerged,
			core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed,
		},
		Secrets: []string{"client_id", "client_secret", "refresh_token"},
	}
}

func (c *Connector) http() *http.Client {
	c.once.Do(func() { c.client = crm.NewClient(c.DialContext) })
	return c.client
}

// CloseIdleConnections closes the connections that no call uses.
func (c *Connector) CloseIdleConnections() { c.http().CloseIdleConnections() }

// maxAccounts bounds what is remembered; a plugin's process has one account.
const maxAccounts = 16

// account is what the process remembers of an account between calls. All of it is
// about how to call, and learned again when it is lost.
type account struct {
	slots chan struct{} // of calls at once
	few   chan struct{} // of those that are intense
	notes chan struct{} // held while notes are looked for and made

	mu      sync.Mutex
	fields  map[string]*fields // of modules
	user    string             // the id of the user whose token it is
	unheard time.Time          // when Zoho last refused to notify us
	credits int                // what was left of the day's, -1 when unknown
	seen    time.Time          // when that was
}

// account returns what is remembered of an account at the settings it has now.
func (c *Connector) account(a core.Account, s *settings) *account {
	key := a.Tenant + " " + a.Lane + " " + string(a.Settings)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.accounts[key]; known != nil {
		return known
	}
	if c.accounts == nil || len(c.accounts) >= maxAccounts {
		c.accounts = map[string]*account{}
	}
	made := &account{slots: make(chan struct{}, s.Concurrency), few: make(chan struct{}, s.SubConcurrency), notes: make(chan struct{}, 1), fields: map[string]*fields{}, credits: -1}
	c.accounts[key] = made
	return made
}

// session is one call of Check or Deliver for one account.
type session struct {
	*settings
	known *account
	token string
	http  *http.Client
	// also are the fields that the lane's mapping reads.
	also []string
}

// open reads the account. Its errors pause the lane rather than lose its events.
func (c *Connector) open(a core.Account) (*session, *core.Error) {
	s, err := parseSettings(a.Settings)
	if err != nil {
		return nil, err
	}
	token := ""
	if a.Token != nil {
		token = a.Token.Secrets["access"].Reveal()
	}
	if token == "" {
		return nil, &core.Error{
			Code: core.CodeUnauthenticated, Op: "zoho", Source: core.SourcePlugin,
			Message: "no access token", Hint: "set the secrets client_id, client_secret and refresh_token of a self client",
		}
	}
	return &session{settings: s, known: c.account(a, s), token: token, http: c.http(), also: a.Properties}, nil
}
