package whatsapp

import (
	"time"

	"github.com/wabridge/wabridge/core"
)

// rule says what follows from an error code of Meta's.
type rule struct {
	from, to int // the code, or the first and last of a family
	code     core.Code
	scope    core.Scope
	wait     time.Duration // 0 leaves it to the lane
	meaning  string
	hint     string
}

// The ways in which a send can be refused. Where a code can mean that the message
// was sent all the same, only [unclear] is safe. What only time heals, and soon,
// waits; what takes days or a person is given up as undeliverable, so that it is
// seen, and can be replayed.
const (
	signIn     = core.CodeUnauthenticated
	barred     = core.CodeForbidden
	wrong      = core.CodeInvalid
	hopeless   = core.CodeUndeliverable
	slower     = core.CodeRateLimited
	later      = core.CodeUnavailable
	unclear    = core.CodeUnknownOutcome
	lane       = core.ScopeLane
	one        = core.ScopeEvent
	talk       = core.ScopeConversation
	account    = core.ScopeAccount
	pairRate   = 6 * time.Second // one message in six seconds to one person
	aMoment    = 15 * time.Second
	aWhile     = 5 * time.Minute
	aLongWhile = time.Hour
)

// Hints that several rules give.
const (
	hintToken    = "set the number's access_token to a new system user token"
	hintAccess   = "give the system user access to the WhatsApp account, with whatsapp_business_messaging"
	hintNumber   = "check the number's id and that the access_token's system user has the WhatsApp account among its assets"
	hintAccount  = "look at the account in Meta's WhatsApp Manager"
	hintTemplate = "compare the message with the template in WhatsApp Manager"
	hintSlow     = "lower the number's rate"
	hintReplay   = "replay it when WhatsApp Manager shows the template as active"
	hintOther    = "the bridge does not make such calls; if you see this, tell us"
)

// rules is the table of error codes, by code. Its sources are Meta's page "Error
// codes", its pages on each product, and what maintained clients have met.
var rules = []rule{
	{0, 0, signIn, lane, 0, "the access token expired or was revoked", hintToken},
	{1, 1, unclear, one, 0, "Meta does not say what went wrong", ""},
	{2, 2, unclear, one, 0, "Meta's service is down or overloaded", ""},
	{3, 3, barred, lane, 0, "the app lacks a capability or permission", hintAccess},
	{4, 4, slower, lane, aWhile, "the app has made too many calls", hintSlow},
	{10, 10, barred, lane, 0, "a permission was not granted or was removed", hintAccess},
	{33, 33, barred, lane, 0, "the phone number id is unknown or out of reach for the token", hintNumber},
	{100, 100, wrong, one, 0, "a parameter is invalid", "look at the message in the dead letter"},
	{104, 104, signIn, lane, 0, "the call had no access token", hintToken},
	{190, 190, signIn, lane, 0, "the access token is invalid or expired", hintToken},
	{200, 299, barred, lane, 0, "the token lacks a permission", hintAccess},
	{368, 368, barred, lane, aLongWhile, "the account is restricted for violating a policy", "see the restriction and its end in WhatsApp Manager"},
	{80007, 80007, slower, account, aWhile, "the account has made too many calls this hour", hintSlow},
	{130403, 130403, hopeless, one, 0, "you have blocked this person", "unblock the person first"},
	{130429, 130429, slower, lane, 0, "the number's throughput is used up", hintSlow},
	{130472, 130472, hopeless, one, 0, "Meta withholds messages from this person for an experiment", "use another channel"},
	{130497, 130497, hopeless, one, 0, "the account may not write to people in that country", hintAccount},
	{131000, 131000, unclear, one, 0, "Meta failed to send, without a reason", ""},
	{131005, 131005, barred, lane, 0, "access is denied", hintAccess},
	{131008, 131008, wrong, one, 0, "a parameter is missing", "look at the message in the dead letter"},
	{131009, 131009, wrong, one, 0, "a parameter's value is not valid", "look at the message in the dead letter"},
	{131016, 131016, unclear, one, 0, "a service of Meta's is unavailable", ""},
	{131020, 131020, hopeless, one, 0, "a group with a single member cannot be written to", ""},
	{131021, 131021, hopeless, one, 0, "the recipient is the number itself", ""},
	{131026, 131026, hopeless, one, 0, "the message cannot be delivered to this person: not on WhatsApp, an old app, or another reason that Meta does not tell", ""},
	{131030, 131030, wrong, one, 0, "a test number may write to its listed recipients only", "add the recipient in the app dashboard, or use a real number"},
	{131031, 131031, barred, lane, 0, "the account is locked", hintAccount},
	{131037, 131037, barred, lane, 0, "the number's display name is not approved", "have the display name approved in WhatsApp Manager"},
	{131041, 131041, hopeless, one, 0, "the group is unknown, or the number is no member", ""},
	{131042, 131042, barred, lane, 0, "the account cannot pay", "check the payment method in WhatsApp Manager"},
	{131044, 131044, barred, lane, 0, "the account cannot pay for calls", "check the payment method in WhatsApp Manager"},
	{131045, 131045, barred, lane, 0, "the number is not registered for the Cloud API", "register it: wabridge number register"},
	{131047, 131047, hopeless, one, 0, "more than 24 hours have passed since this person last wrote", "send a template"},
	{131048, 131048, slower, lane, aLongWhile, "too many people blocked or reported the number", "pause campaigns of this number, and look at its quality in WhatsApp Manager"},
	{131049, 131049, hopeless, one, 0, "Meta chose not to deliver, to keep people from getting too much marketing", "do not repeat it within 24 hours"},
	{131050, 131050, hopeless, one, 0, "this person stopped marketing messages from this business", "send no more marketing to this person"},
	{131051, 131051, wrong, one, 0, "the message type is not supported", ""},
	{131052, 131052, wrong, one, 0, "a file that the person sent could not be fetched", "ask the person to send it again, smaller"},
	{131053, 131053, wrong, one, 0, "the file could not be taken", "check that its address works and its type is what it says"},
	{131055, 131055, wrong, one, 0, "the marketing API takes marketing templates only", hintOther},
	{131056, 131056, slower, talk, pairRate, "too many messages to this person in a short time", ""},
	{131057, 131057, slower, lane, aMoment, "the number is in maintenance for a moment", ""},
	{131059, 131059, wrong, one, 0, "the cursor of a list is invalid", hintOther},
	{131060, 131060, wrong, one, 0, "the message is not available", "ask the person to send it again"},
	{131062, 131062, hopeless, one, 0, "this template cannot go to a business-scoped user id", "ask the person for their phone number"},
	{131063, 131063, wrong, one, 0, "marketing templates are switched off for the Cloud API on this account", "switch disable_marketing_messages_on_cloud_api off"},
	{131064, 131064, hopeless, one, 0, "the account may send few templates, because of wrong categories", "see the restriction's end in WhatsApp Manager, then replay"},
	{131201, 131207, wrong, one, 0, "a call about groups was refused", hintOther},
	{131208, 131208, slower, talk, aWhile, "too many calls about groups", hintOther},
	{131209, 131215, wrong, one, 0, "a call about groups was refused", hintOther},
	{132000, 132000, wrong, one, 0, "the number of parameters is not the template's", hintTemplate},
	{132001, 132001, wrong, one, 0, "there is no approved template of that name in that language", hintTemplate},
	{132005, 132005, wrong, one, 0, "the template's text became too long", hintTemplate},
	{132007, 132007, wrong, one, 0, "the template's content violates a policy", hintTemplate},
	{132008, 132008, wrong, one, 0, "the parameters' values are not valid", hintTemplate},
	{132012, 132012, wrong, one, 0, "a parameter's format is not the template's", hintTemplate},
	{132015, 132015, hopeless, one, 0, "the template is paused for its quality, or its message was dropped by pacing", hintReplay},
	{132016, 132016, wrong, one, 0, "the template is disabled for ever", "make a new template"},
	{132018, 132018, wrong, one, 0, "the template's parameters are not valid", hintTemplate},
	{132068, 132068, wrong, one, 0, "the flow is blocked", "correct the flow in WhatsApp Manager"},
	{132069, 132069, slower, talk, aLongWhile, "the flow is throttled: ten messages an hour", "correct the flow in WhatsApp Manager"},
	{133000, 133000, barred, lane, 0, "an earlier deregistration is incomplete", "deregister the number again"},
	{133004, 133004, later, one, 0, "the registration service is unavailable", ""},
	{133005, 133005, barred, lane, 0, "the two-step PIN is wrong", hintAccount},
	{133006, 133006, barred, lane, 0, "the number must be verified again", hintAccount},
	{133008, 133008, slower, lane, aLongWhile, "too many guesses of the PIN", hintAccount},
	{133009, 133009, slower, lane, aWhile, "the PIN was guessed too fast", hintAccount},
	{133010, 133010, barred, lane, 0, "the number is not registered", "register it: wabridge number register"},
	{133015, 133015, slower, lane, aWhile, "the number was deleted a moment ago", ""},
	{133016, 133016, slower, lane, aLongWhile, "the number was registered too often in 72 hours", hintAccount},
	{134011, 134011, barred, lane, 0, "the terms of WhatsApp Payments are not accepted", hintAccount},
	{134100, 134100, wrong, one, 0, "the marketing API takes marketing templates only", hintOther},
	{134101, 134101, slower, talk, aWhile, "the template is not known everywhere yet", ""},
	{134102, 134102, wrong, one, 0, "the template is not available to the marketing API", hintOther},
	{135000, 135000, wrong, one, 0, "the request's parameters are not valid", "look at the message in the dead letter"},
	{136024, 136024, wrong, one, 0, "no code could be asked for", hintOther},
	{136025, 136025, wrong, one, 0, "the code is wrong, or too old", hintOther},
	{137000, 137000, hopeless, one, 0, "the person's identity key has changed", "make sure who it is, and acknowledge the new key"},
	{138000, 138018, wrong, one, 0, "a call about calls was refused", hintOther},
	{139000, 139004, wrong, one, 0, "a call about flows was refused", hintOther},
	{139100, 139102, wrong, one, 0, "a call about blocked people was refused", hintOther},
	{139103, 139103, later, one, 0, "a call about blocked people failed at Meta", hintOther},
	{147001, 147005, wrong, one, 0, "a call about the business username was refused", hintOther},
	{200005, 200007, wrong, one, 0, "template insights are not available", hintOther},
	{1752041, 1752041, wrong, one, 0, "the marketing API was asked for already", hintOther},
	{2388001, 2388001, barred, lane, 0, "the number is being moved to another account", hintAccount},
	{2388012, 2388012, barred, lane, 0, "the number is being moved to another account", hintAccount},
	{2388019, 2388019, wrong, one, 0, "the account has too many templates", hintAccount},
	{2388040, 2388040, wrong, one, 0, "a field of the template is too long", hintTemplate},
	{2388047, 2388047, wrong, one, 0, "the template's header has a wrong format", hintTemplate},
	{2388072, 2388073, wrong, one, 0, "the template's body or footer has a wrong format", hintTemplate},
	{2388091, 2388091, barred, lane, 0, "the number is being moved to another account", hintAccount},
	{2388093, 2388093, barred, lane, 0, "the number is being moved to another account", hintAccount},
	{2388103, 2388103, barred, lane, 0, "the number is being moved to another account", hintAccount},
	{2388293, 2388293, wrong, one, 0, "the template has too many variables for its length", hintTemplate},
	{2388299, 2388299, wrong, one, 0, "a variable opens or closes the template", hintTemplate},
	{2494100, 2494100, slower, lane, time.Minute, "the number is in maintenance for some minutes", ""},
	{2593079, 2593079, barred, lane, 0, "the account is being moved", hintAccount},
	{2593085, 2593085, barred, lane, 0, "the account is being moved", hintAccount},
	{2593107, 2593108, wrong, one, 0, "the phone app's data was asked for too often or too late", hintOther},
	{2593109, 2593109, wrong, one, 0, "the owner does not share the phone app's history", hintOther},
}
