// Package salesforce is the connector for Salesforce: WhatsApp people become
// contacts, messages become records of a custom object or tasks, statuses are
// written to the message they belong to, escalations become cases or tasks.
//
// # What is written where
//
// Every record has an external id field with unique values: the bridge's contact
// id, the wamid, the escalation's id. All writes are collections of up to 200 rows
// upserted by these fields, so an event that comes twice changes nothing.
//
// # New people
//
// A contact is first upserted without the name that Salesforce requires of new
// records: who is known is updated, and who is not is refused without a trace. Only
// for those is a record looked for that has their phone number, to be adopted; who
// has none gets a new one. So the CRM is searched once for each person.
//
// # Calls
//
// A batch of messages of known people costs two calls, of new people four, and one
// more where some were adopted. Salesforce answers per row, with 200 when all rows
// failed.
package salesforce

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/crm"
)

// maxBatch is how many records Salesforce takes in one collection.
const maxBatch = 200

// Connector implements [core.Connector] for Salesforce. The zero value is ready.
// It keeps nothing between calls but idle connections, what it listens to, what it told of
// the org's allocations and, for some minutes, what fields the objects have.
type Connector struct {
	// DialContext connects to Salesforce; nil is a plain dialer. Set it before the
	// first call.
	DialContext crm.Dialer
	// Log gets what is no error, such as that the org's events of a day are nearly used up;
	// nil is the default of log/slog, which is the bridge's log where this is a plugin.
	Log *slog.Logger

	once    sync.Once
	client  *http.Client
	schemas schemas
	streams streams
	watched watched
}

var _ core.Authorizer = (*Connector)(nil)

// New returns the connector.
func New() core.Connector { return &Connector{} }

// Info implements [core.Connector].
func (c *Connector) Info() core.ConnectorInfo {
	return core.ConnectorInfo{
		Name:        "salesforce",
		Version:     "0.1.0",
		MaxBatch:    maxBatch,
		Idempotency: core.IdempotencyUpsert,
		Kinds: []core.Kind{
			core.KindMessageReceived, core.KindMessageSent, core.KindMessageEdited, core.KindMessageRevoked, core.KindMessageMedia, core.KindMessageStatus, core.KindContactChanged, core.KindContactMerged,
			core.KindConsentChanged, core.KindEscalation, core.KindEscalationMoved, core.KindEscalationClosed, core.KindContactErased,
		},
		// What an Enterprise org has before its licences; each answer says what is left.
		Budgets: []core.Budget{{Name: budgetAPI, Calls: 100_000, Per: 24 * time.Hour}},
	}
}

// http returns the client that all accounts share.
func (c *Connector) http() *http.Client {
	c.once.Do(func() { c.client = crm.NewClient(c.DialContext) })
	return c.client
}

// CloseIdleConnections closes the connections that no call uses.
func (c *Connector) CloseIdleConnections() {
	c.http().CloseIdleConnections()
	c.streams.close()
}

// before is what stands before a mark: an access token begins with the org's id.
func before(text, mark string) string {
	head, _, _ := strings.Cut(text, mark)
	return head
}

// session is one call of Check or Deliver for one account, of one goroutine.
type session struct {
	settings
	instance string // where the API is, without a slash at its end
	token    string
	http     *http.Client
	schemas  *schemas
	// user is whom the token is for: what it wrote is no news. Tokens of earlier
	// versions do not say.
	user, org string
	lane      string // and whose
	connector *Connector
	streams   *streams
	// reads are the fields that the lane's mapping reads.
	reads []string
	// spent is set once the org's daily requests are used up to the share that the
	// settings leave to us.
	spent *core.Error
}

// open reads the account. Its errors pause the lane rather than lose its events.
func (c *Connector) open(account core.Account) (*session, *core.Error) {
	s, err := parseSettings(account.Settings)
	if err != nil {
		return nil, err
	}
	if account.Token == nil || account.Token.Secrets["access"] == "" {
		return nil, &core.Error{Code: core.CodeUnauthenticated, Op: "salesforce", Source: core.SourcePlugin,
			Message: "no access token", Hint: "the bridge gets one with the account's secrets: see settings.auth"}
	}
	instance, err := s.instanceURL(account.Token.Values["instance_url"])
	if err != nil {
		return nil, err
	}
	return &session{settings: *s, instance: instance, token: account.Token.Secrets["access"].Reveal(), http: c.http(), schemas: &c.schemas,
		user: account.Token.Values["user"], org: cmp.Or(account.Token.Values["org"], before(account.Token.Secrets["access"].Reveal(), "!")),
		lane: account.Tenant + " " + account.Lane, connector: c, streams: &c.streams, reads: account.Properties}, nil
}
