package whatsapp

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// Manager verifies, registers and describes one business number. Its methods may be
// called concurrently; each makes one call. An error says what to do next, and in
// RetryAfter how long Meta wants it to be waited with.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/registration
type Manager struct {
	c *Client
	n Number
}

// Manager returns the number's manager. The token's user needs
// whatsapp_business_management.
func (c *Client) Manager(n Number) *Manager { return &Manager{c, n} }

// CodeBy is the way by which Meta tells the code that proves who has a number.
type CodeBy string

// The ways.
const (
	CodeBySMS   CodeBy = "sms"
	CodeByVoice CodeBy = "voice"
)

var (
	codePattern     = regexp.MustCompile(`^[0-9]{6}$`)
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}(_[A-Z]{2})?$`)
	countryPattern  = regexp.MustCompile(`^[A-Z]{2}$`)
)

// RequestCode has Meta send a code to the number's telephone, in a language such as en
// or pt_BR.
func (m *Manager) RequestCode(ctx context.Context, by CodeBy, language string) error {
	const op = "request code"
	switch {
	case by != CodeBySMS && by != CodeByVoice:
		return core.Errorf(core.CodeInvalid, op, "%q is no way to tell a code: want sms or voice", by)
	case !languagePattern.MatchString(language):
		return core.Errorf(core.CodeInvalid, op, "%q is no language: it is written like en or pt_BR", language)
	}
	return m.post(ctx, op, "/request_code", map[string]any{"code_method": strings.ToUpper(string(by)), "language": language})
}

// Verify tells Meta the code that came.
func (m *Manager) Verify(ctx context.Context, code string) error {
	const op = "verify"
	code = strings.NewReplacer("-", "", " ", "").Replace(code)
	if !codePattern.MatchString(code) {
		return core.Errorf(core.CodeInvalid, op, "a code has six digits")
	}
	return m.post(ctx, op, "/verify_code", map[string]any{"code": code})
}

// Register registers the number for the Cloud API, as needs be after it was verified,
// and after its name was changed. The PIN is the one that the number has, or becomes it.
// Region, a country such as DE, has Meta keep the messages there; "" does not.
func (m *Manager) Register(ctx context.Context, pin core.Secret, region string) error {
	const op = "register"
	if err := checkPIN(op, pin); err != nil {
		return err
	}
	body := map[string]any{"messaging_product": "whatsapp", "pin": pin.Reveal()}
	if region != "" {
		if !countryPattern.MatchString(region) {
			return core.Errorf(core.CodeInvalid, op, "%q is no country: two capital letters, such as DE", region)
		}
		body["data_localization_region"] = region
	}
	return m.post(ctx, op, "/register", body)
}

// Deregister ends the number's use with the Cloud API; it is not deleted.
func (m *Manager) Deregister(ctx context.Context) error {
	return m.post(ctx, "deregister", "/deregister", map[string]any{})
}

// SetPIN sets the number's PIN for two-step verification. The one before is not needed.
func (m *Manager) SetPIN(ctx context.Context, pin core.Secret) error {
	const op = "pin"
	if err := checkPIN(op, pin); err != nil {
		return err
	}
	return m.post(ctx, op, "", map[string]any{"pin": pin.Reveal()})
}

func checkPIN(op string, pin core.Secret) *core.Error {
	if !codePattern.MatchString(pin.Reveal()) {
		return core.Errorf(core.CodeInvalid, op, "a PIN has six digits")
	}
	return nil
}

// BusinessProfile is what people see of the business beside the number's name.
type BusinessProfile struct {
	About       string   `json:"about,omitempty"`
	Address     string   `json:"address,omitempty"`
	Description string   `json:"description,omitempty"`
	Email       string   `json:"email,omitempty"`
	Websites    []string `json:"websites,omitempty"`
	// Vertical is the line of business, such as RETAIL.
	Vertical string `json:"vertical,omitempty"`
	// Picture is where the picture is; it cannot be set here.
	Picture string `json:"profile_picture_url,omitempty"`
}

// profileMost is how long a profile's texts may be, in characters.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-profiles
var profileMost = map[string]int{"about": 139, "address": 256, "description": 512, "email": 128, "vertical": 64, "websites": 256}

// ProfileFields are the names of what SetBusinessProfile can set.
func ProfileFields() []string { return slices.Sorted(maps.Keys(profileMost)) }

const maxWebsites = 2

// BusinessProfile asks for the number's profile.
func (m *Manager) BusinessProfile(ctx context.Context) (BusinessProfile, error) {
	const op = "profile"
	k, err := m.call(op, http.MethodGet, "/whatsapp_business_profile?fields=about,address,description,email,profile_picture_url,websites,vertical", nil)
	if err != nil {
		return BusinessProfile{}, err
	}
	body, err := m.c.do(ctx, k)
	if err != nil {
		return BusinessProfile{}, explain(err)
	}
	var answer struct {
		Data []BusinessProfile `json:"data"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Data) == 0 {
		return BusinessProfile{}, m.c.unknown(k, "the answer is no business profile")
	}
	return answer.Data[0], nil
}

// SetBusinessProfile changes what is named, by the names of ProfileFields. Websites are
// those that there are then, with a space between; an empty text takes one away.
func (m *Manager) SetBusinessProfile(ctx context.Context, change map[string]string) error {
	const op = "profile"
	body := map[string]any{"messaging_product": "whatsapp"}
	if len(change) == 0 {
		return core.Errorf(core.CodeInvalid, op, "nothing is to be changed: name one of %s", strings.Join(ProfileFields(), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(change)) {
		value := change[name]
		most, known := profileMost[name]
		switch {
		case !known:
			return core.Errorf(core.CodeInvalid, op, "a profile has no %q: it has %s", name, strings.Join(ProfileFields(), ", "))
		case name == "websites":
			sites := strings.Fields(value)
			if len(sites) > maxWebsites {
				return core.Errorf(core.CodeInvalid, op, "websites: at most %d", maxWebsites)
			}
			for _, site := range sites {
				if !isWebAddress(site) || utf8.RuneCountInString(site) > most {
					return core.Errorf(core.CodeInvalid, op, "websites: %q is no http or https address of at most %d characters", site, most)
				}
			}
			body[name] = append([]string{}, sites...)
			continue
		case utf8.RuneCountInString(value) > most:
			return core.Errorf(core.CodeInvalid, op, "%s: at most %d characters", name, most)
		case name == "about" && value == "":
			return core.Errorf(core.CodeInvalid, op, "about: WhatsApp wants a text")
		}
		body[name] = value
	}
	return m.post(ctx, op, "/whatsapp_business_profile", body)
}

func (m *Manager) call(op, method, edge string, body []byte) (call, *core.Error) {
	token := m.n.AccessToken()
	if token == "" {
		e := core.Errorf(core.CodeUnauthenticated, op, "the number has no access token")
		e.Hint = hintToken
		return call{}, e
	}
	return call{op: op, method: method, path: url.PathEscape(m.n.ID) + edge, token: token, body: body, twice: method == http.MethodGet}, nil
}

// post makes a call that answers with success, or with why not.
func (m *Manager) post(ctx context.Context, op, edge string, body map[string]any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return core.Errorf(core.CodeInvalid, op, "%w", err)
	}
	k, refused := m.call(op, http.MethodPost, edge, data)
	if refused != nil {
		return refused
	}
	answer, refused := m.c.do(ctx, k)
	if refused != nil {
		return explain(refused)
	}
	var a struct {
		Success bool `json:"success"`
	}
	if json.Unmarshal(answer, &a) != nil || !a.Success {
		e := m.c.unknown(k, "the answer does not say that it was done")
		e.Hint = "see how the number is: wabridge number show"
		return e
	}
	return nil
}

// waits are how long Meta wants it to be waited after some refusals, where its pages say
// so.
var waits = map[string]time.Duration{
	"133015": 5 * time.Minute,
	"133016": 72 * time.Hour,
}

// nextSteps are what to do about some refusals, for a person who manages a number.
var nextSteps = map[string]string{
	"33":     hintNumber,
	"10":     "give the token's system user whatsapp_business_management, and the WhatsApp account",
	"131031": "appeal in WhatsApp Manager: the account is locked",
	"133000": "deregister it once more: wabridge number deregister",
	"133004": "try again in some minutes",
	"133005": "use the PIN that the number has, or set another: wabridge number pin",
	"133006": "wabridge number request-code, then wabridge number verify",
	"133008": "wait as long as Meta says; another PIN can be set with wabridge number pin",
	"133009": "wait some minutes before the next try",
	"133010": "register it: wabridge number register",
	"133015": "the number was deleted a moment ago: wait five minutes",
	"133016": "Meta takes ten registrations of a number in 72 hours: wait them out, each try may begin them anew",
	"136024": "if the number is verified already, go on with wabridge number register; else wait, or ask by voice",
	"136025": "compare the code, or ask for a new one: wabridge number request-code",
}

// explain adds to a refusal what a person who manages a number does next.
func explain(e *core.Error) *core.Error {
	code, _, _ := strings.Cut(e.Vendor, "/")
	if hint := nextSteps[code]; hint != "" {
		e.Hint = hint
	}
	if wait := waits[code]; wait > 0 {
		e.RetryAfter = wait
	}
	if e.Code == core.CodeRateLimited && e.RetryAfter > 0 {
		e.Hint += fmt.Sprintf(" (not before %v have passed)", e.RetryAfter)
	}
	return e
}
