// Package hubspot is the connector for HubSpot: WhatsApp contacts become HubSpot
// contacts, messages become communications on their timelines, and delivery
// statuses are written to the communication they belong to.
//
// # What is written where
//
// A contact is keyed by a property of its own with unique values
// (wabridge_contact_id by default) that holds the bridge's contact id: the phone
// number may be missing, and is not unique in HubSpot. A message is keyed the same
// way (wa_message_id on communications). All writes are batch upserts by these
// keys, so an event that comes twice changes nothing. Searched for, by number, is only
// who is new to the bridge: HubSpot may have had them before (see adopt.go). What the
// bridge itself wrote is never searched for, since HubSpot's search lags behind its writes.
//
// Properties that hold WhatsApp's facts are named wa_…, those that hold the
// bridge's own are named wabridge_…: a bare name such as wa_id is what other
// integrations take, and uniqueness can neither be given to an existing property
// nor taken from it. Every name is a setting.
//
// # Calls
//
// A batch of up to 100 events costs at most three calls when all is well: contacts,
// communications, and their associations (upsert inputs take none). Whoever is new is
// looked for first: a call by key, searches, and another call when somebody was found.
// HubSpot answers per row, in the body; the status code is never believed.
//
// Into HubSpot's inbox a message is a call, and so is a step of its status: see inbox.go.
package hubspot

import (
	"net/http"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// maxBatch is how many inputs HubSpot takes in one batch request.
const maxBatch = 100

// Connector implements [core.Connector] for HubSpot. The zero value is ready.
// It keeps nothing between calls but idle connections and the names of channel accounts.
type Connector struct {
	// DialContext connects to HubSpot; nil is a plain dialer. Set it before the
	// first call.
	DialContext crm.Dialer

	once   sync.Once
	client *http.Client
	inboxes
}

// inboxes is what is known of inboxes: see [session.accountOf].
type inboxes struct {
	accounts accounts
	making   sync.Mutex
}

var _ core.Connector = (*Connector)(nil)

// New returns the connector.
func New() core.Connector { return &Connector{} }

// Info implements [core.Connector].
func (c *Connector) Info() core.ConnectorInfo {
	return core.ConnectorInfo{
		Name:        "hubspot",
		Version:     "0.1.0",
		MaxBatch:    maxBatch,
		Idempotency: core.IdempotencyUpsert,
		Kinds: []core.Kind{
			core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia, core.KindMessageStatus,
			core.KindContactChanged, core.KindConsentChanged, core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed,
			core.KindContactErased, core.KindContactMerged,
		},
		// The least that an account has, of an app; see "API usage guidelines" in
		// HubSpot's documentation.
		Budgets: []core.Budget{
			{Name: budgetAPI, Calls: 100, Per: 10 * time.Second}, {Name: budgetAPI, Calls: 250_000, Per: 24 * time.Hour},
			{Name: budgetSearch, Calls: 5, Per: time.Second},
		},
	}
}

// http returns the client that all accounts share.
func (c *Connector) http() *http.Client {
	c.once.Do(func() { c.client = crm.NewClient(c.DialContext) })
	return c.client
}

// session is one call of Check or Deliver for one account.
type session struct {
	settings
	*inboxes
	tenant string
	token  string
	reads  []string // properties that the lane's mapping reads
	http   *http.Client
}

// open reads the account. Its errors pause the lane rather than lose its events.
func (c *Connector) open(account core.Account) (*session, *core.Error) {
	s, err := parseSettings(account.Settings)
	if err != nil {
		return nil, err
	}
	token := account.Secrets["token"].Reveal()
	if account.Token != nil {
		token = account.Token.Secrets["access"].Reveal()
	}
	if token == "" {
		return nil, noToken()
	}
	return &session{settings: *s, inboxes: &c.inboxes, tenant: account.Tenant, token: token, http: c.http(), reads: account.Properties}, nil
}

// CloseIdleConnections closes the connections that no call uses.
func (c *Connector) CloseIdleConnections() { c.http().CloseIdleConnections() }
