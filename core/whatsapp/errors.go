package whatsapp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/wabridge/wabridge/core"
)

// GraphError is the error object of a Graph API answer.
type GraphError struct {
	Code    int
	Subcode int
	Message string
	// Details is error_data.details: usually the most telling part.
	Details string
	// Transient is Graph's own opinion that it may work later.
	Transient bool
	// Trace is fbtrace_id, which Meta's support asks for.
	Trace string
}

// graphEnvelope is the body of an answer that refuses.
type graphEnvelope struct {
	Error *struct {
		Code        flexInt         `json:"code"`
		Subcode     flexInt         `json:"error_subcode"`
		Message     string          `json:"message"`
		UserMessage string          `json:"error_user_msg"`
		Transient   bool            `json:"is_transient"`
		Trace       string          `json:"fbtrace_id"`
		Data        json.RawMessage `json:"error_data"` // an object, for some products a string
	} `json:"error"`
}

// parseGraphError reads the body of an answer; false when it is no error of
// Graph's, but perhaps of something between it and us.
func parseGraphError(body []byte) (GraphError, bool) {
	var envelope graphEnvelope
	// Fields of odd types are skipped; what could be read decides.
	if err := json.Unmarshal(body, &envelope); err != nil && !json.Valid(body) {
		return GraphError{}, false
	}
	e := envelope.Error
	if e == nil || (e.Code == 0 && e.Message == "") {
		return GraphError{}, false
	}
	var data struct {
		Details string `json:"details"`
	}
	_ = json.Unmarshal(e.Data, &data)
	if data.Details == "" {
		data.Details = e.UserMessage
	}
	return GraphError{
		Code: int(e.Code), Subcode: int(e.Subcode), Message: e.Message, Details: data.Details,
		Transient: e.Transient, Trace: e.Trace,
	}, true
}

// ErrorFor says what follows from an answer with a Graph error: the table's
// decision, or one by HTTP status for codes that are not in it.
func ErrorFor(status int, g GraphError) *core.Error {
	r, known := ruleOf(g)
	if !known {
		r = unknownRule(status, g)
	}
	e := &core.Error{
		Code: r.code, Op: "whatsapp", Message: r.meaning, Hint: r.hint, Source: core.SourceVendor,
		Vendor: strconv.Itoa(g.Code), RetryAfter: r.wait, Scope: r.scope,
	}
	if g.Subcode != 0 {
		e.Vendor += "/" + strconv.Itoa(g.Subcode)
	}
	told := g.Details
	if told == "" {
		told = g.Message
	}
	if told = clean(told); told != "" {
		e.Message += ": " + told
	}
	if trace := clean(g.Trace); trace != "" {
		e.Message += " [fbtrace_id " + trace + "]"
	}
	return e
}

func ruleOf(g GraphError) (rule, bool) {
	if g.Code == 100 && g.Subcode == 33 {
		g.Code = 33
	}
	// What is wrong with a template is the subcode of an invalid parameter.
	if g.Code == 100 && g.Subcode >= 2_000_000 {
		if r, known := ruleOf(GraphError{Code: g.Subcode}); known {
			return r, true
		}
	}
	i, found := slices.BinarySearchFunc(rules, g.Code, func(r rule, code int) int {
		switch {
		case code < r.from:
			return 1
		case code > r.to:
			return -1
		}
		return 0
	})
	if !found {
		return rule{}, false
	}
	return rules[i], true
}

// unknownRule judges a code that is not in the table. An answer of 4xx means that
// nothing was sent; it is taken for the message's own fault unless it says
// otherwise, since a lane must not stop for an error that nobody knows.
func unknownRule(status int, g GraphError) rule {
	meaning := fmt.Sprintf("an error we do not know, HTTP status %d", status)
	switch {
	case status == http.StatusTooManyRequests:
		return rule{code: core.CodeRateLimited, scope: core.ScopeLane, meaning: meaning}
	case status == http.StatusUnauthorized:
		return rule{code: core.CodeUnauthenticated, scope: core.ScopeLane, meaning: meaning, hint: hintToken}
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout:
		if g.Transient {
			return rule{code: core.CodeUnavailable, meaning: meaning}
		}
		return rule{code: core.CodeInvalid, meaning: meaning, hint: "look the code up in Meta's list of error codes"}
	}
	return rule{code: core.CodeUnknownOutcome, meaning: meaning}
}

// maxTold bounds what is repeated of a vendor's words.
const maxTold = 300

// What may be a phone number or BSUID, and what may be a token.
var personal = regexp.MustCompile(`[0-9]{8,}|[A-Za-z0-9_-]{32,}`)

// clean makes a vendor's words fit for logs and pages: one line, bounded, and
// without what may name a person.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*maxTold)], "")
	s = personal.ReplaceAllString(strings.Join(strings.FieldsFunc(s, isBreak), " "), "…")
	if len(s) > maxTold {
		s = strings.ToValidUTF8(s[:maxTold], "") + "…"
	}
	return s
}

func isBreak(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
