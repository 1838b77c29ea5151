package whatsapp

import (
	"encoding/json"
	"math"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/wabridge/wabridge/core"
)

// The limits of Meta's pages on each message type, in characters.
const (
	maxText        = 4096
	maxCaption     = 1024
	maxContacts    = 257
	maxMessageID   = 512
	maxLink        = 2048
	maxName        = 512
	maxObject      = 64 << 10 // of an interactive object or a template's components, in bytes: ours
	maxButtons     = 3
	maxButtonID    = 256
	maxButtonTitle = 20
	maxBody        = 1024
	maxListBody    = 4096
	maxFooter      = 60
	maxHeader      = 60
	maxSections    = 10
	maxRows        = 10 // in all sections together
	maxSection     = 24
	maxRowID       = 200
	maxRowTitle    = 24
	maxRowText     = 72
	maxProducts    = 30
	minCards       = 2
	maxCards       = 10
	maxCardBody    = 160
	maxCardLines   = 2 // line breaks
)

// fileHash is a file's hash as the bridge writes it.
var fileHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Validate reports what of a message that is to be sent Meta would refuse, with
// core.CodeInvalid, as far as it can be known before sending. Contents that only
// Meta knows (templates, media, the 24-hour window) are not looked at.
func Validate(m *core.Message) error {
	if err := check(m); err != nil {
		return err
	}
	return nil
}

// check is Validate without the trap of a nil *core.Error in an error.
func check(m *core.Message) *core.Error {
	if m == nil {
		return wrongf("there is no message")
	}
	if m.Context != nil && len(m.Context.ID) > maxMessageID {
		return wrongf("context.id is longer than %d", maxMessageID)
	}
	switch m.Await {
	case "", core.StatusSent, core.StatusDelivered:
	default:
		return wrongf("await is sent or delivered, not %.40q", string(m.Await))
	}
	if m.Type == core.TypeRead {
		if m.Context == nil || m.Context.ID == "" {
			return wrongf("context.id must name the message that was read")
		}
		return nil
	}
	if err := m.To.Validate(); err != nil {
		return core.AsError(err)
	}
	switch m.Type {
	case core.TypeText:
		if m.Text == "" {
			return wrongf("text is empty")
		}
		return atMost("text", m.Text, maxText)
	case core.TypeImage, core.TypeAudio, core.TypeVideo, core.TypeDocument, core.TypeSticker:
		return checkMedia(m)
	case core.TypeLocation:
		return checkLocation(m.Location)
	case core.TypeContacts:
		return checkContacts(m.Contacts)
	case core.TypeReaction:
		if m.Reaction == nil || m.Reaction.MessageID == "" {
			return wrongf("reaction.message_id must name a message")
		}
		return firstOf(atMost("reaction.message_id", m.Reaction.MessageID, maxMessageID), atMost("reaction.emoji", m.Reaction.Emoji, 32))
	case core.TypeInteractive:
		return checkInteractive(m.Interactive)
	case core.TypeTemplate:
		return firstOf(checkTemplate(m.Template), checkHeaderFile(m))
	}
	return wrongf("type %q cannot be sent", m.Type)
}

func checkMedia(m *core.Message) *core.Error {
	switch {
	case m.Media == nil || m.Media.ID != "" && m.Media.Link != "" || m.Media.ID == "" && m.Media.Link == "" && m.Media.Hash == "":
		return wrongf("media must have an id or a link, not both, or the hash of a file that was put here")
	case m.Text != "" && (m.Type == core.TypeAudio || m.Type == core.TypeSticker):
		return wrongf("%s has no caption: text must be empty", m.Type)
	case m.Media.Link != "" && !isWebAddress(m.Media.Link):
		return wrongf("media.link is no http or https address of at most %d characters", maxLink)
	}
	return firstOf(atMost("text", m.Text, maxCaption), atMost("media.id", m.Media.ID, maxMessageID),
		atMost("media.filename", m.Media.Filename, 240))
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxLink && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

func checkLocation(l *core.Location) *core.Error {
	if l == nil {
		return wrongf("location is missing")
	}
	// Written so that what is no number is refused, too.
	if !(math.Abs(l.Latitude) <= 90) || !(math.Abs(l.Longitude) <= 180) {
		return wrongf("location is not on earth")
	}
	return firstOf(atMost("location.name", l.Name, 1000), atMost("location.address", l.Address, 1000))
}

func checkContacts(raw json.RawMessage) *core.Error {
	var cards []struct {
		Name struct {
			Formatted string `json:"formatted_name"`
		} `json:"name"`
	}
	if len(raw) > maxObject {
		return wrongf("contacts are larger than %d KiB", maxObject>>10)
	}
	if err := json.Unmarshal(raw, &cards); err != nil {
		return wrongf("contacts are not an array of the Cloud API's contact objects")
	}
	if n := len(cards); n == 0 || n > maxContacts {
		return wrongf("contacts must be 1 to %d, not %d", maxContacts, n)
	}
	for i, c := range cards {
		if c.Name.Formatted == "" {
			return wrongf("contacts[%d].name.formatted_name is empty", i)
		}
	}
	return nil
}

func checkTemplate(t *core.Template) *core.Error {
	switch {
	case t == nil || t.Name == "":
		return wrongf("template.name is empty")
	case t.Language == "":
		return wrongf("template.language is empty: say which, as in en_US")
	case len(t.Components) > maxObject:
		return wrongf("template.components are larger than %d KiB", maxObject>>10)
	}
	if len(t.Components) > 0 {
		var components []struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(t.Components, &components); err != nil {
			return wrongf("template.components are not an array of the Cloud API's component objects")
		}
	}
	for _, f := range t.Files() {
		if f.Link != "" {
			return wrongf("a file in template.components has a link and a hash: want one of them")
		}
		if !fileHash.MatchString(f.Hash) {
			return wrongf("the hash %.80q of a file in template.components is not 64 of 0-9 and a-f", f.Hash)
		}
	}
	return firstOf(atMost("template.name", t.Name, maxName), atMost("template.language", t.Language, 15))
}

// checkHeaderFile checks the file that a template is sent with: what is at WhatsApp or in the
// web already is named in the header.
func checkHeaderFile(m *core.Message) *core.Error {
	switch {
	case m.Media == nil || m.Template == nil:
		return nil
	case m.Media.Hash == "" || m.Media.Link != "":
		return wrongf("media of a template is the hash of a file that was put here; an id or a link goes into template.header")
	}
	if as := FileMessage(m.Media.MIMEType); m.Media.MIMEType != "" && as != core.TypeImage && as != core.TypeVideo && as != core.TypeDocument {
		return wrongf("no template has a file of type %.80q in its header", m.Media.MIMEType)
	}
	var components []struct {
		Type string `json:"type"`
	}
	if len(m.Template.Components) > 0 && json.Unmarshal(m.Template.Components, &components) == nil {
		for _, c := range components {
			if strings.EqualFold(c.Type, "header") {
				return wrongf("the template's header is given, and a file for it in media, too")
			}
		}
	}
	return nil
}

func needs(what string, p *part) *core.Error {
	if p == nil || p.Text == "" {
		return wrongf("%s is empty", what)
	}
	return nil
}

func atMostPart(what string, p *part, limit int) *core.Error {
	if p == nil {
		return nil
	}
	return atMost(what+".text", p.Text, limit)
}

func atMost(what, s string, limit int) *core.Error {
	if n := utf8.RuneCountInString(s); n > limit {
		return wrongf("%s has %d characters, more than %d", what, n, limit)
	}
	return nil
}

// firstOf returns the first that is not nil.
func firstOf(errs ...*core.Error) *core.Error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func wrongf(format string, args ...any) *core.Error {
	e := core.Errorf(core.CodeInvalid, "message", format, args...)
	e.Source = core.SourceBridge
	return e
}
