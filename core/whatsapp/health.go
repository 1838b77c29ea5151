package whatsapp

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// Health is how Meta says that a business number is, in Meta's own words; what it does
// not say is empty.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/phone-numbers
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/health-status
type Health struct {
	DisplayNumber string `json:"display_number,omitempty"`
	VerifiedName  string `json:"verified_name,omitempty"`
	NameStatus    string `json:"name_status,omitempty"` // APPROVED, DECLINED …
	// Status is CONNECTED where all is well; PENDING, FLAGGED, RESTRICTED, BANNED,
	// DISCONNECTED and others.
	Status       string `json:"status,omitempty"`
	Verification string `json:"verification,omitempty"` // VERIFIED, NOT_VERIFIED or EXPIRED
	Quality      string `json:"quality,omitempty"`      // GREEN, YELLOW, RED or UNKNOWN
	// Limit is the portfolio's messaging limit, such as TIER_2K; PeoplePerDay is what it
	// means: -1 is any number, 0 that it was not told.
	Limit        string `json:"limit,omitempty"`
	PeoplePerDay int    `json:"people_per_day,omitempty"`
	// Throughput is STANDARD or HIGH; MessagesPerSecond what it means, 0 when it was not
	// told.
	Throughput        string  `json:"throughput,omitempty"`
	MessagesPerSecond float64 `json:"messages_per_second,omitempty"`
	// CanSend is AVAILABLE, LIMITED or BLOCKED; Reasons are Meta's, at most ten.
	CanSend string   `json:"can_send,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

// Trouble says why a number cannot send what it should.
type Trouble string

// The troubles. The zero Trouble is none.
const (
	TroubleBanned       Trouble = "banned"
	TroubleRestricted   Trouble = "restricted"
	TroubleFlagged      Trouble = "flagged" // its quality is low: it sends, but not for long if it goes on so
	TroubleUnregistered Trouble = "unregistered"
)

// Troubles lists them, the worst first.
func Troubles() []Trouble {
	return []Trouble{TroubleBanned, TroubleUnregistered, TroubleRestricted, TroubleFlagged}
}

// Trouble reads a number's trouble out of its health.
func (h *Health) Trouble() Trouble {
	switch h.Status {
	case "BANNED":
		return TroubleBanned
	case "PENDING", "DISCONNECTED", "UNVERIFIED", "DELETED", "MIGRATED", "UNLINKED":
		return TroubleUnregistered
	case "RESTRICTED", "RATE_LIMITED":
		return TroubleRestricted
	}
	switch {
	case h.CanSend == "BLOCKED":
		return TroubleRestricted
	case h.Status == "FLAGGED", h.Quality == "RED":
		return TroubleFlagged
	}
	return ""
}

// TroubleOf reads a number's trouble out of the error of a send: certain knowledge, and
// earlier than anybody asks.
func TroubleOf(err *core.Error) Trouble {
	if err == nil || err.Source != core.SourceVendor {
		return ""
	}
	switch code, _, _ := strings.Cut(err.Vendor, "/"); code {
	case "131031":
		return TroubleBanned
	case "368":
		return TroubleRestricted
	case "131045", "133006", "133010":
		return TroubleUnregistered
	}
	return ""
}

const (
	healthFields = "display_phone_number,verified_name,quality_rating,status,name_status,code_verification_status,throughput"
	// newerFields are unknown to some versions of the API, and then refused.
	newerFields = ",whatsapp_business_manager_messaging_limit,health_status"

	codeParameter = "100"
	maxReasons    = 10
	standardRate  = 80
)

// Health asks Meta how the number is. It may be asked when the number is not registered.
func (s *Sink) Health(ctx context.Context) (Health, error) {
	token := s.n.AccessToken()
	if token == "" {
		return Health{}, s.noToken("health")
	}
	k := call{op: "health", method: http.MethodGet, token: token, twice: true, path: url.PathEscape(s.n.ID) + "?fields=" + healthFields + newerFields}
	body, refused := s.c.do(ctx, k)
	if refused != nil && refused.Vendor == codeParameter {
		k.path = strings.TrimSuffix(k.path, newerFields)
		body, refused = s.c.do(ctx, k)
	}
	if refused != nil {
		if refused.Code == core.CodeInvalid { // of the number, not of a message
			refused.Code, refused.Scope, refused.Hint = core.CodeForbidden, core.ScopeLane, hintNumber
		}
		return Health{}, refused
	}
	h, ok := readHealth(body)
	if !ok {
		e := s.c.unknown(k, "the answer does not describe a phone number")
		e.Hint = "check whatsapp.base_url"
		return Health{}, e
	}
	return h, nil
}

func readHealth(body []byte) (Health, bool) {
	var a struct {
		Display      string `json:"display_phone_number"`
		Name         string `json:"verified_name"`
		NameStatus   string `json:"name_status"`
		Status       string `json:"status"`
		Verification string `json:"code_verification_status"`
		Quality      string `json:"quality_rating"`
		Limit        string `json:"whatsapp_business_manager_messaging_limit"`
		Throughput   struct {
			Level string `json:"level"`
		} `json:"throughput"`
		Health struct {
			CanSend  string `json:"can_send_message"`
			Entities []struct {
				Type    string `json:"entity_type"`
				CanSend string `json:"can_send_message"`
				Errors  []struct {
					Description string `json:"error_description"`
					Solution    string `json:"possible_solution"`
				} `json:"errors"`
			} `json:"entities"`
		} `json:"health_status"`
	}
	if json.Unmarshal(body, &a) != nil || a.Display == "" {
		return Health{}, false
	}
	h := Health{
		DisplayNumber: word(a.Display), VerifiedName: word(a.Name), NameStatus: word(a.NameStatus), Status: word(a.Status),
		Verification: word(a.Verification), Quality: word(a.Quality), Limit: word(a.Limit), Throughput: word(a.Throughput.Level),
		PeoplePerDay: peoplePerDay(a.Limit), CanSend: word(a.Health.CanSend),
	}
	switch h.Throughput {
	case "HIGH":
		h.MessagesPerSecond = upgraded
	case "STANDARD":
		h.MessagesPerSecond = standardRate
	}
	for _, e := range a.Health.Entities {
		for _, why := range e.Errors {
			if len(h.Reasons) < maxReasons {
				h.Reasons = append(h.Reasons, clean(e.Type+": "+why.Description+" "+why.Solution))
			}
		}
	}
	return h, true
}

// word is a vendor's word, bounded and on one line.
func word(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxTold)], "")
	return strings.Join(strings.FieldsFunc(s, isBreak), " ")
}
