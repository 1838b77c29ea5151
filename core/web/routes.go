package web

import (
	_ "embed"
	"net/http"
	"slices"

	"github.com/wabridge/wabridge/core/access"
	"github.com/wabridge/wabridge/core/broker"
)

// route is one operation of the API: who may ask for it, what answers, and what
// the description of the API (openapi.json) says of it.
type route struct {
	method, path string
	scope        access.Scope
	// look says that it only looks, at all tenants: see Server.mayLook.
	look  bool
	serve func(http.ResponseWriter, *http.Request, access.Token)

	id, says string
	query    []param
	// key says whether the header Idempotency-Key is taken.
	key keyUse
	// body is a zero value of what is read, or nil; with bytes it is a file.
	body  any
	bytes bool
	// answers are zero values of what is answered, by status.
	answers map[int]any
}

// keyUse says whether an operation takes an Idempotency-Key.
type keyUse int

const (
	keyNone keyUse = iota
	keyOptional
	keyNeeded
)

// param is a parameter of the query.
type param struct {
	name, says string
	needed     bool
	number     bool
	time       bool
}

func ofTenant() param {
	return param{name: "tenant", says: "The tenant's id. A token of one tenant, or a bridge with one, needs none."}
}

func pageParams(after string, most string) []param {
	return []param{
		{name: "after", says: after},
		{name: "limit", says: "How many at most, up to " + most + ".", number: true},
	}
}

func ok(v any) map[int]any { return map[int]any{http.StatusOK: v} }

// routes is the whole API. Every operation is here, and nothing else is served
// below /api/ but the API's description.
func (s *Server) routes() []route {
	tenant := []param{ofTenant()}
	contact := append(tenant, param{name: "contact", says: "The contact's ID, or an address such as +34600111222.", needed: true})
	settled := func(what, says string) route {
		return route{
			method: "POST", path: "/api/v1/escalations/{id}/" + what, scope: access.WriteEscalations, serve: s.settleEscalation(what),
			id: what + "Escalation", says: says, query: tenant, body: settleRequest{}, answers: ok(broker.Escalation{}),
		}
	}
	campaignStep := func(what, says string) route {
		return route{
			method: "POST", path: campaignsPath + "/{name}/" + what, scope: access.WriteCampaigns, serve: s.setCampaign(what),
			id: what + "Campaign", says: says, query: tenant, body: campaignSet{}, answers: ok(broker.Campaign{}),
		}
	}
	return slices.Concat([]route{
		{
			method: "POST", path: "/api/v1/messages", scope: access.SendMessages, serve: s.send, id: "sendMessage",
			says: "Sends a message to a person. The answer says that it is stored; what becomes of it, GET /why says, and message.status events tell.",
			key:  keyNeeded, body: broker.SendRequest{}, answers: map[int]any{http.StatusAccepted: broker.SendReceipt{}},
		},

		{
			method: "GET", path: contactsPath, scope: access.ReadContacts, serve: s.findContacts, id: "findContacts", says: "Finds contacts, in the order of their IDs.",
			query: append(append(tenant,
				param{name: "text", says: "A phone number in any spelling, a user id, a contact's ID, a CRM's record, a message's id, or a part of a name."},
				param{name: "tag", says: "A tag that they have."}), pageParams("The next of the page before.", "500")...),
			answers: ok(broker.ContactPage{}),
		},
		{
			method: "GET", path: contactsPath + "/{who}", scope: access.ReadContacts, serve: s.contact, id: "getContact",
			says: "One contact, by ID, phone number or user id.", query: tenant, answers: ok(broker.ContactView{}),
		},
		{
			method: "POST", path: contactsPath + "/{who}/merge", scope: access.WriteContacts, serve: s.mergeContacts, id: "mergeContacts",
			says: "Makes one contact of two.", body: broker.MergeRequest{}, answers: ok(broker.MergeReport{}),
		},
		{
			method: "POST", path: contactsPath + "/{who}/unmerge", scope: access.WriteContacts, serve: s.unmergeContact, id: "unmergeContact",
			says: "Takes a merge back.", body: broker.UnmergeRequest{}, answers: ok(broker.MergeReport{}),
		},
		{
			method: "POST", path: contactsPath + "/import", scope: access.WriteContacts, serve: s.importContacts, id: "importContacts",
			says: "Takes people over from a list, or says what would change.", body: broker.ImportRequest{}, answers: ok(broker.ImportReport{}),
		},
		{
			method: "POST", path: contactsPath + "/erase", scope: access.EraseContacts, serve: s.eraseContact, id: "eraseContact",
			says: "Erases a person, or says what there is to erase. An erasure that is not done when the answer comes (202) goes on.",
			body: broker.EraseRequest{}, answers: map[int]any{http.StatusOK: broker.Erasure{}, http.StatusAccepted: broker.Erasure{}},
		},
		{
			method: "GET", path: "/api/v1/erasures/{id}", scope: access.EraseContacts, serve: s.erasure, id: "getErasure",
			says: "How far an erasure is.", query: tenant, answers: ok(broker.Erasure{}),
		},
		{
			method: "GET", path: "/api/v1/contact-export", scope: access.ReadContacts, serve: s.exportContact, id: "exportContact",
			says: "All that is held of one person.", query: contact, answers: ok(broker.ContactExport{}),
		},
		{
			method: "GET", path: "/api/v1/contact-records", scope: access.ReadContacts, serve: s.contactRecords, id: "listContactRecords",
			says: "Contacts, as lists have them.", query: append(tenant, pageParams("The next of the page before.", "500")...), answers: ok(broker.ContactRecords{}),
		},
		{
			method: "POST", path: "/api/v1/corrections", scope: access.WriteContacts, serve: s.correct, id: "correctContacts",
			says: "Corrects what a version of the script wrote of contacts, where it still is as it was written.",
			body: broker.CorrectionRequest{}, answers: ok([]broker.CorrectionReceipt{}),
		},

		{
			method: "POST", path: "/api/v1/consent", scope: access.WriteConsent, serve: s.changeConsent, id: "changeConsent",
			says: "Changes what a person agreed to, or why nothing may be sent to them.", key: keyNeeded,
			body: broker.ConsentRequest{}, answers: ok(broker.ConsentStatus{}),
		},
		{
			method: "GET", path: "/api/v1/consent", scope: access.ReadConsent, serve: s.consent, id: "getConsent",
			says: "Where a person stands.", query: contact, answers: ok(broker.ConsentStatus{}),
		},
		{
			method: "GET", path: "/api/v1/consent/proof", scope: access.ReadConsent, serve: s.proveConsent, id: "proveConsent",
			says: "A person's entries in the ledger, and whether the whole ledger is as it was written.", query: contact, answers: ok(broker.ConsentProof{}),
		},

		{
			method: "GET", path: "/api/v1/escalations", scope: access.ReadEscalations, serve: s.escalations, id: "listEscalations",
			says: "Who waits for a person, those that are due first first.", query: tenant, answers: ok([]broker.Escalation{}),
		},
		{
			method: "GET", path: "/api/v1/escalations/{id}", scope: access.ReadEscalations, serve: s.escalation, id: "getEscalation",
			says: "One escalation; a closed one is kept for 30 days.", query: tenant, answers: ok(broker.Escalation{}),
		},
		settled("take", "Somebody will answer: the clock stops."),
		settled("close", "It was dealt with: the bot has the conversation again."),
		settled("release", "The bot is to go on with the conversation."),
		{
			method: "POST", path: "/api/v1/conversations/release", scope: access.WriteEscalations, serve: s.release, id: "releaseConversation",
			says: "Gives a conversation back to the bot.", body: releaseRequest{}, answers: ok(releaseAnswer{}),
		},

		{
			method: "GET", path: "/api/v1/why", scope: access.ReadEvents, serve: s.why, id: "why",
			says:  "Every step of an event, by its id, a message's id (wamid), a CRM's record or a contact's ID.",
			query: append(tenant, param{name: "id", says: "The id.", needed: true}), answers: ok(broker.Story{}),
		},
		{
			method: "GET", path: "/api/v1/why/{id...}", scope: access.ReadEvents, serve: s.why, id: "whyById",
			says: "The same, for ids without characters that a path cannot have.", query: tenant, answers: ok(broker.Story{}),
		},
		{
			method: "GET", path: "/api/v1/decisions", scope: access.ReadEvents, serve: s.decisions, id: "listDecisions",
			says: "Recorded decisions of a tenant's script, in the order in which they were made.",
			query: append(append(tenant, param{name: "from", says: "From when on.", time: true}, param{name: "to", says: "Until when.", time: true}),
				pageParams("The next of the page before.", "2000")...),
			answers: ok(broker.DecisionPage{}),
		},

		{
			method: "GET", path: "/api/v1/queues", scope: access.ReadDeliveries, serve: s.queues, id: "listQueues",
			says: "The queues, and how much waits.", query: tenant, answers: ok([]broker.QueueStatus{}),
		},
		{
			method: "GET", path: "/api/v1/queues/items", scope: access.ReadDeliveries, serve: s.items, id: "listQueueItems",
			says: "What waits in a queue, the oldest first.",
			query: append(append(tenant, param{name: "queue", says: "The queue's name.", needed: true}),
				pageParams("The seq of the last item of the page before.", "500")...),
			answers: ok([]broker.QueueItem{}),
		},
		{
			method: "GET", path: "/api/v1/limits", scope: access.ReadDeliveries, serve: s.limits, id: "listLimits",
			says:  "What WhatsApp and the owner let be sent, how much of it is used, and who waits; of one event, why and until when it does.",
			query: append(tenant, param{name: "event", says: "An event's id, or that of the one it follows from."}), answers: ok(broker.LimitReport{}),
		},
		{
			method: "GET", path: "/api/v1/dead", scope: access.ReadDeliveries, serve: s.dead, id: "listDeadLetters",
			says:  "Deliveries that were given up on, the oldest first.",
			query: append(tenant, pageParams("The id of the last one of the page before.", "500")...), answers: ok([]broker.DeadLetter{}),
		},
		{
			method: "GET", path: "/api/v1/dead/{id}", scope: access.ReadDeliveries, serve: s.deadLetter, id: "getDeadLetter",
			says: "One dead letter, whole.", answers: ok(broker.DeadLetter{}),
		},
		{
			method: "POST", path: "/api/v1/dead/replay", scope: access.WriteDeliveries, serve: s.replay, id: "replayDeadLetters",
			says: "Returns dead letters to their lanes.", body: deadRequest{}, answers: ok(replayedAnswer{}),
		},
		{
			method: "POST", path: "/api/v1/dead/resolve", scope: access.WriteDeliveries, serve: s.resolve, id: "resolveDeadLetters",
			says: "Ends dead letters for good.", body: deadRequest{}, answers: ok(resolvedAnswer{}),
		},

		{
			method: "GET", path: "/api/v1/alarms", scope: access.ReadDeliveries, serve: s.alarms, id: "listAlarms",
			says: "What WhatsApp says of accounts and numbers, and somebody should look at; critical ones first.", query: tenant, answers: ok([]broker.Alarm{}),
		},
		{
			method: "POST", path: "/api/v1/alarms/settle", scope: access.WriteDeliveries, serve: s.settleAlarm, id: "settleAlarm",
			says: "Ends an alarm that a person dealt with: what it stopped goes on.", body: alarmRequest{}, answers: ok(settledAnswer{}),
		},

		{
			method: "POST", path: "/api/v1/subscriptions", scope: access.WriteSubscriptions, serve: s.subscribe, id: "subscribe",
			says: "Subscribes to events: they are POSTed to url, signed as Standard Webhooks prescribes, or kept in a mailbox if there is no url. " +
				"The secret is told here only.",
			key: keyOptional, body: broker.SubscriptionRequest{},
			answers: map[int]any{http.StatusCreated: broker.NewSubscription{}, http.StatusOK: broker.NewSubscription{}},
		},
		{
			method: "GET", path: "/api/v1/subscriptions", scope: access.ReadSubscriptions, serve: s.subscriptions, id: "listSubscriptions",
			says: "Who is told of what, the oldest first; at most 100 of a tenant.", query: tenant, answers: ok([]broker.Subscription{}),
		},
		{
			method: "GET", path: "/api/v1/subscriptions/{id}", scope: access.ReadSubscriptions, serve: s.subscription, id: "getSubscription",
			says: "One subscription.", query: tenant, answers: ok(broker.Subscription{}),
		},
		{
			method: "PATCH", path: "/api/v1/subscriptions/{id}", scope: access.WriteSubscriptions, serve: s.changeSubscription, id: "changeSubscription",
			says: "Changes what is named. What waits goes on as it is now.", query: tenant, body: broker.SubscriptionChange{}, answers: ok(broker.Subscription{}),
		},
		{
			method: "DELETE", path: "/api/v1/subscriptions/{id}", scope: access.WriteSubscriptions, serve: s.unsubscribe, id: "unsubscribe",
			says: "Removes a subscription, and drops what waits for it.", query: tenant, answers: ok(removedAnswer{}),
		},
		{
			method: "POST", path: "/api/v1/subscriptions/{id}/rotate", scope: access.WriteSubscriptions, serve: s.rotateSubscription, id: "rotateSubscription",
			says: "Makes another secret. For the overlap each call is signed by both.", query: tenant, body: rotateRequest{}, answers: ok(broker.NewSubscription{}),
		},
		{
			method: "POST", path: "/api/v1/subscriptions/{id}/test", scope: access.WriteSubscriptions, serve: s.testSubscription, id: "testSubscription",
			says: "Makes one call of type subscription.test now, and says what came of it.", query: tenant, answers: ok(broker.SubscriptionTest{}),
		},
		{
			method: "GET", path: "/api/v1/subscriptions/{id}/events", scope: access.ReadSubscriptions, serve: s.mailbox, id: "readMailbox",
			says:  "What is in the mailbox of a subscription without a url, the oldest first. To ask for what comes after an event takes out what is up to it.",
			query: append(tenant, pageParams("The next of the page before; leave it out to begin.", "500")...), answers: ok(broker.MailboxPage{}),
		},

		{
			method: "POST", path: campaignsPath, scope: access.WriteCampaigns, serve: s.newCampaign, id: "newCampaign",
			says: "Makes a campaign: a template to many people. Nothing is sent before it is planned and started.",
			body: broker.CampaignRequest{}, answers: map[int]any{http.StatusCreated: broker.Campaign{}},
		},
		{
			method: "GET", path: campaignsPath, scope: access.ReadCampaigns, serve: s.campaigns, id: "listCampaigns",
			says: "The campaigns, the latest first.", query: tenant, answers: ok([]broker.Campaign{}),
		},
		{
			method: "GET", path: campaignsPath + "/{name}", scope: access.ReadCampaigns, serve: s.campaign, id: "getCampaign",
			says: "One campaign, with what its dry run found and how far it has come.", query: tenant, answers: ok(broker.Campaign{}),
		},
		{
			method: "POST", path: campaignsPath + "/{name}/people", scope: access.WriteCampaigns, serve: s.addToCampaign, id: "addToCampaign",
			says: "Adds rows of a list to a campaign that is a draft, at most 100 at once.", body: broker.CampaignEntries{}, answers: ok(broker.CampaignListed{}),
		},
		{
			method: "GET", path: campaignsPath + "/{name}/rows", scope: access.ReadCampaigns, serve: s.campaignRows, id: "listCampaignRows",
			says: "Who is in a campaign, and what became of each.",
			query: append(append(tenant, param{name: "state", says: "Only rows in this state, such as failed."}),
				pageParams("The next of the page before.", "500")...),
			answers: ok(broker.CampaignRowPage{}),
		},
		campaignStep(broker.CampaignPlan, "Finds out who gets it and who does not and why, what it costs and how long it takes: the state is planning, then planned. Sends nothing."),
		campaignStep(broker.CampaignStart, "Starts it, as it was planned within the last week."),
		campaignStep(broker.CampaignPause, "Sends no more, or plans no further, until it is resumed."),
		campaignStep(broker.CampaignResume, "Goes on, also with one that stopped by itself."),
		campaignStep(broker.CampaignStop, "Ends it for good."),
		campaignStep(broker.CampaignDelete, "Removes one of which nothing is being sent, with its rows; answers with what it was."),
		{
			method: "GET", path: "/api/v1/segments", scope: access.ReadCampaigns, serve: s.segments, id: "listSegments",
			says: "The segments that a CRM has now, at most 1000: who is in one may be the audience of a campaign.",
			query: append(tenant, param{name: "lane", says: "The lane of the CRM; may be left out where one lane only has segments."},
				param{name: "name", says: "A part of their names, in any case, or an id; all if left out."}),
			answers: ok(broker.SegmentList{}),
		},

		{
			method: "GET", path: "/api/v1/numbers", scope: access.ReadNumbers, serve: s.numbers, id: "listNumbers",
			says:  "How the business numbers are, as WhatsApp last said, and by which number messages go.",
			query: tenant, answers: ok([]broker.NumberStatus{}),
		},
		{
			method: "GET", path: "/api/v1/numbers/{id}", scope: access.ReadNumbers, serve: s.number, id: "getNumber",
			says:    "How one number is, by its phone_number_id.",
			query:   append(tenant, param{name: "fresh", says: "true has WhatsApp asked first, at most every two seconds."}),
			answers: ok(broker.NumberStatus{}),
		},

		{
			method: "GET", path: "/api/v1/costs", scope: access.ReadCosts, serve: s.costs, id: "listCosts",
			says: "What messages cost, by day, campaign, category and market, as WhatsApp's statuses and the rate cards say.",
			query: append(append(tenant, param{name: "from", says: "The first day, such as 2026-11-01.", needed: true},
				param{name: "to", says: "The last day.", needed: true}, param{name: "campaign", says: "Of this campaign only."}),
				pageParams("The next of the page before.", "500")...),
			answers: ok(broker.CostPage{}),
		},

		{
			method: "POST", path: "/api/v1/tokens", scope: access.Admin, serve: s.makeToken, id: "makeToken",
			says: "Makes a token. Its secret is told here only.", body: access.Request{}, answers: map[int]any{http.StatusCreated: access.NewToken{}},
		},
		{
			method: "GET", path: "/api/v1/tokens", scope: access.Admin, serve: s.tokens, id: "listTokens",
			says: "The tokens that were made, without those of the configuration.", query: tenant, answers: ok([]access.Token{}),
		},
		{
			method: "DELETE", path: "/api/v1/tokens/{id}", scope: access.Admin, serve: s.revokeToken, id: "revokeToken",
			says: "Ends a token at once.", answers: ok(removedAnswer{}),
		},

		{
			method: "GET", path: "/api/v1/status", scope: access.ReadStatus, look: true, serve: s.status, id: "getStatus",
			says: "How the bridge is: queues, lanes, figures. Who is on the bridge's machine needs no token, when it listens on loopback only.", answers: ok(broker.Snapshot{}),
		},
	}, s.templateRoutes(), s.mediaRoutes())
}

const (
	contactsPath  = "/api/v1/contacts"
	campaignsPath = "/api/v1/campaigns"
	openAPIPath   = "/api/v1/openapi.json"
)

// openAPI is the description of the API, made from the routes and from what the
// types say that they read and answer.
//
//go:generate go test . -run TestOpenAPI_IsWhatTheRoutesAre -update
//go:embed openapi.json
var openAPI []byte

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(openAPI)
}
