package whatsappsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// graphError is a refusal in the Graph API's form.
type graphError struct {
	status  int
	code    int
	subcode int
	message string
	details string
	title   string // error_user_title
	user    string // error_user_msg
}

// known are the refusals that a send can meet, by code: HTTP status, title and
// details.
var known = map[int]graphError{
	0:       {status: 401, message: "AuthException", details: "We were unable to authenticate the app user."},
	1:       {status: 400, message: "API Unknown", details: "Invalid request or possible server error."},
	2:       {status: 503, message: "API Service", details: "Temporary due to downtime or due to being overloaded."},
	3:       {status: 500, message: "API Method", details: "Capability or permissions issue."},
	4:       {status: 400, message: "API Too Many Calls", details: "The app has reached its API call rate limit."},
	10:      {status: 403, message: "Application does not have permission for this action"},
	33:      {status: 400, message: "Parameter value is not valid", details: "The business phone number has been deleted."},
	100:     {status: 400, message: "Invalid parameter"},
	190:     {status: 401, message: "Error validating access token: Session has expired"},
	200:     {status: 403, message: "You do not have the necessary permissions required to send messages on behalf of this WhatsApp Business Account"},
	368:     {status: 403, message: "Temporarily blocked for policies violations"},
	80007:   {status: 400, message: "Rate limit issues"},
	130429:  {status: 400, message: "Rate limit hit", details: "Message failed to send because there were too many messages sent from this phone number in a short period of time"},
	130472:  {status: 400, message: "User's number is part of an experiment"},
	130497:  {status: 403, message: "Business account is restricted from messaging users in this country"},
	131000:  {status: 500, message: "Something went wrong", details: "Message failed to send due to an unknown error."},
	131005:  {status: 403, message: "Access denied"},
	131008:  {status: 400, message: "Required parameter is missing"},
	131009:  {status: 400, message: "Parameter value is not valid"},
	131016:  {status: 500, message: "Service unavailable", details: "A service is temporarily unavailable."},
	131021:  {status: 400, message: "Recipient cannot be sender"},
	131026:  {status: 400, message: "Message undeliverable"},
	131030:  {status: 400, message: "Recipient phone number not in allowed list"},
	131031:  {status: 403, message: "Account has been locked"},
	131042:  {status: 400, message: "Business eligibility payment issue"},
	131045:  {status: 500, message: "Incorrect certificate"},
	131047:  {status: 400, message: "Re-engagement message", details: "Message failed to send because more than 24 hours have passed since the customer last replied to this number."},
	131048:  {status: 400, message: "Spam Rate limit hit"},
	131049:  {status: 400, message: "This message was not delivered to maintain healthy ecosystem engagement."},
	131050:  {status: 400, message: "Unable to deliver the message. This recipient has chosen to stop receiving marketing messages on WhatsApp from your business"},
	131051:  {status: 400, message: "Unsupported message type"},
	131053:  {status: 400, message: "Media upload error"},
	131056:  {status: 400, message: "(Business Account, Consumer Account) pair rate limit hit"},
	131057:  {status: 500, message: "Account in maintenance mode"},
	131062:  {status: 400, message: "Business-scoped User ID (BSUID) recipients are not supported for this message."},
	132000:  {status: 400, message: "Number of parameters does not match the expected number of params"},
	132001:  {status: 404, message: "Template name does not exist in the translation"},
	132012:  {status: 400, message: "Parameter format does not match format in the created template"},
	132015:  {status: 400, message: "Template is Paused"},
	132016:  {status: 400, message: "Template is Disabled"},
	133010:  {status: 400, message: "Phone number not registered on the WhatsApp Business Platform"},
	130403:  {status: 403, message: "You have blocked this user"},
	131020:  {status: 400, message: "Group has a single member"},
	131037:  {status: 400, message: "Display name must be approved before this number can be used"},
	131041:  {status: 400, message: "Group is unknown"},
	131044:  {status: 400, message: "Payment issue for calling"},
	131052:  {status: 400, message: "Media download error"},
	131055:  {status: 400, message: "Method not allowed"},
	131059:  {status: 400, message: "Paging cursor is invalid"},
	131060:  {status: 400, message: "Message unavailable"},
	131063:  {status: 400, message: "Marketing templates are disabled on Cloud API"},
	131064:  {status: 400, message: "Template limit of a restricted account reached"},
	131208:  {status: 400, message: "Groups rate limit hit"},
	132005:  {status: 400, message: "Translated text too long"},
	132007:  {status: 400, message: "Template format character policy violated"},
	132008:  {status: 400, message: "Template parameter value is not valid"},
	132018:  {status: 400, message: "Template parameters are not valid"},
	132068:  {status: 400, message: "Flow is in blocked state"},
	132069:  {status: 400, message: "Flow is in throttled state"},
	133000:  {status: 500, message: "Incomplete deregistration"},
	133004:  {status: 503, message: "Server temporarily unavailable"},
	133005:  {status: 400, message: "Two step verification PIN mismatch"},
	133006:  {status: 400, message: "Phone number re-verification needed"},
	133008:  {status: 400, message: "Too many two step verification PIN guesses"},
	133009:  {status: 400, message: "Two step verification PIN guessed too fast"},
	133015:  {status: 400, message: "Please wait a few minutes before attempting to register this phone number"},
	133016:  {status: 400, message: "Account register deregister rate limit exceeded"},
	134011:  {status: 400, message: "WhatsApp Payments terms of service have not been accepted"},
	134100:  {status: 400, message: "Only marketing messages supported"},
	134101:  {status: 400, message: "Template is still syncing"},
	134102:  {status: 500, message: "Template is unavailable for use"},
	135000:  {status: 400, message: "Generic user error"},
	137000:  {status: 400, message: "Recipient identity key hash mismatch"},
	139100:  {status: 400, message: "Failed to block or unblock some users"},
	139101:  {status: 400, message: "Block list limit reached"},
	139102:  {status: 400, message: "Block list concurrent update"},
	139103:  {status: 500, message: "Block list internal error"},
	2388019: {status: 400, message: "Template limit reached"},
	2494100: {status: 400, message: "Maintenance mode"},
	2593079: {status: 400, message: "Account is being migrated"},
	136024:  {status: 400, message: "Request code error"},
	136025:  {status: 400, message: "Verify code error"},
}

// errorOf makes the refusal with a code.
func errorOf(code int, details string) *graphError {
	e, ok := known[code]
	if !ok {
		e = graphError{status: http.StatusBadRequest, message: "Something is wrong"}
	}
	e.code = code
	if details != "" {
		e.details = details
	}
	return &e
}

// invalid is a refusal of a parameter, 100.
func invalid(format string, args ...any) *graphError {
	return &graphError{status: http.StatusBadRequest, code: 100, message: fmt.Sprintf(format, args...)}
}

// wrongValue is a refusal of a value, 131009.
func wrongValue(format string, args ...any) *graphError {
	return errorOf(131009, fmt.Sprintf(format, args...))
}

// errorBody is a refusal as Graph writes it.
type errorBody struct {
	Message string     `json:"message"`
	Type    string     `json:"type"`
	Code    int        `json:"code"`
	Subcode int        `json:"error_subcode,omitempty"`
	Title   string     `json:"error_user_title,omitempty"`
	User    string     `json:"error_user_msg,omitempty"`
	Data    *errorData `json:"error_data,omitempty"`
	Trace   string     `json:"fbtrace_id"`
}

type errorData struct {
	Product string `json:"messaging_product"`
	Details string `json:"details"`
}

func (e *graphError) body() errorBody {
	body := errorBody{Message: e.message, Type: "OAuthException", Code: e.code, Subcode: e.subcode, Title: e.title, User: e.user, Trace: "AsimulatedTraceIdXXXXXX"}
	if e.code >= 100 && e.code != 104 && e.code != 190 && e.code != 2500 && e.subcode == 0 {
		body.Message = fmt.Sprintf("(#%d) %s", e.code, e.message)
	}
	if e.details != "" {
		body.Data = &errorData{"whatsapp", e.details}
	}
	return body
}

// refuse answers with a refusal.
func refuse(w http.ResponseWriter, e *graphError) {
	reply(w, e.status, map[string]any{"error": e.body()})
}

// refused counts a refusal and answers with it.
func (s *Sim) refused(w http.ResponseWriter, e *graphError) {
	s.ledger.refusal(e.code)
	refuse(w, e)
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, v any) {
	body := marshal(v)
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// marshal writes JSON as Meta does, without the escapes that are for web pages.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // of our own types only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
