package whatsappsim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// part is a component of a definition.
type part struct {
	Type    string       `json:"type"`
	Format  string       `json:"format"`
	Text    string       `json:"text"`
	Buttons []partButton `json:"buttons"`
	Cards   []struct {
		Components []json.RawMessage `json:"components"`
	} `json:"cards"`
	cards   [][]part // what these are, once they are found good
	Example struct {
		HeaderText   []string       `json:"header_text"`
		HeaderNamed  []namedExample `json:"header_text_named_params"`
		HeaderHandle []string       `json:"header_handle"`
		BodyText     [][]string     `json:"body_text"`
		BodyNamed    []namedExample `json:"body_text_named_params"`
	} `json:"example"`
	Security   *bool `json:"add_security_recommendation"`
	Expiration int   `json:"code_expiration_minutes"`
}

type namedExample struct {
	Name  string `json:"param_name"`
	Value string `json:"example"`
}

type partButton struct {
	Type       string          `json:"type"`
	Text       string          `json:"text"`
	URL        string          `json:"url"`
	Phone      string          `json:"phone_number"`
	Example    json.RawMessage `json:"example"`
	FlowID     string          `json:"flow_id"`
	FlowAction string          `json:"flow_action"`
	Screen     string          `json:"navigate_screen"`
	OTPType    string          `json:"otp_type"`
}

var (
	templateName     = regexp.MustCompile(`^[a-z0-9_]{1,512}$`)
	templateLanguage = regexp.MustCompile(`^[a-z]{2,3}(_[A-Z]{2})?$`)
	templateVariable = regexp.MustCompile(`\{\{([^{}]*)\}\}`)
	variableName     = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	variablesTouch   = regexp.MustCompile(`\}\}\s*\{\{`)
)

func variablesOf(text string) []string {
	var out []string
	for _, m := range templateVariable.FindAllStringSubmatch(text, -1) {
		if n := strings.TrimSpace(m[1]); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func allText(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text + " ")
		for _, x := range p.Buttons {
			b.WriteString(x.Text + " ")
		}
	}
	return b.String()
}

// checkDefinition finds a definition good, or says why not.
func checkDefinition(b *templateBody, edit bool) ([]part, *graphError) {
	switch {
	case !templateName.MatchString(b.Name):
		return nil, ofTemplates(2388040, "Message template name is invalid", "Message template name can only have lowercase letters, digits and underscores, 512 at most.")
	case !templateLanguage.MatchString(b.Language):
		return nil, invalid("Param language must be one of the supported languages - got %q.", b.Language)
	case !slices.Contains([]string{"MARKETING", "UTILITY", "AUTHENTICATION"}, b.Category):
		return nil, invalid("Param category must be one of {AUTHENTICATION, MARKETING, UTILITY} - got %q.", b.Category)
	case !slices.Contains([]string{"", "POSITIONAL", "NAMED"}, b.Format):
		return nil, invalid("Param parameter_format must be one of {NAMED, POSITIONAL} - got %q.", b.Format)
	case len(b.Components) == 0 && !edit:
		return nil, errorOf(131008, "The parameter components is required.")
	}
	parts, refusal := readParts(b.Components)
	if refusal != nil {
		return nil, refusal
	}
	if !slices.ContainsFunc(parts, func(p part) bool { return p.Type == "BODY" }) {
		return nil, ofTemplates(2388072, "Message template body is required", "The template needs a body.")
	}
	return parts, checkPartsOf(parts, b)
}

func readParts(raw []json.RawMessage) ([]part, *graphError) {
	var parts []part
	for _, c := range raw {
		var p part
		if err := decode("components", c, &p); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(parts, func(o part) bool { return o.Type == p.Type }) {
			return nil, invalid("Param components has several of the type %s", p.Type)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func checkPartsOf(parts []part, b *templateBody) *graphError {
	for i := range parts {
		p := &parts[i]
		var err *graphError
		switch p.Type {
		case "HEADER":
			err = p.checkHeader(b)
		case "BODY":
			err = p.checkBody(b)
		case "FOOTER":
			if b.Category != "AUTHENTICATION" && (p.Text == "" || utf8.RuneCountInString(p.Text) > 60 || strings.Contains(p.Text, "{{")) {
				err = ofTemplates(2388073, "Message template footer has a wrong format", "The footer has at most 60 characters, and no variables.")
			}
		case "BUTTONS":
			err = checkButtonsOf(p.Buttons)
		case "CAROUSEL":
			err = p.checkCardsOf(b)
		case "LIMITED_TIME_OFFER", "ORDER_STATUS", "CALL_PERMISSION_REQUEST":
		default:
			return invalid("Param components['type'] must be one of {BODY, BUTTONS, CAROUSEL, FOOTER, HEADER, LIMITED_TIME_OFFER} - got %q.", p.Type)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *part) checkHeader(b *templateBody) *graphError {
	wrong := func(text string) *graphError { return ofTemplates(2388047, "Message header format is incorrect", text) }
	switch p.Format {
	case "TEXT":
		names := variablesOf(p.Text)
		switch {
		case p.Text == "" || utf8.RuneCountInString(p.Text) > 60 || strings.ContainsAny(p.Text, "\n*"):
			return wrong("The message header can't have new lines, formatting characters or asterisks, and has at most 60 characters.")
		case len(names) > 1:
			return wrong("The message header can have only one variable.")
		case len(names) != max(len(p.Example.HeaderText), len(p.Example.HeaderNamed)):
			return wrong("The message header needs an example of its variable.")
		}
		return checkNames(names, b.Format)
	case "IMAGE", "VIDEO", "DOCUMENT":
		if len(p.Example.HeaderHandle) == 0 {
			return wrong("The message header needs a sample of its media.")
		}
	case "LOCATION", "PRODUCT":
	default:
		return invalid("Param components['format'] must be one of {DOCUMENT, IMAGE, LOCATION, PRODUCT, TEXT, VIDEO} - got %q.", p.Format)
	}
	return nil
}

func checkNames(names []string, format string) *graphError {
	for i, n := range names {
		if format == "NAMED" {
			if !variableName.MatchString(n) {
				return ofTemplates(2388073, "Variable parameters have an incorrect format", "Named parameters are lowercase letters, digits and underscores.")
			}
		} else if !slices.Contains(names, strconv.Itoa(i+1)) {
			return ofTemplates(2388073, "Variable parameters have an incorrect format", "Variable parameters must be whole numbers with two sets of curly brackets, and follow each other.")
		}
	}
	return nil
}

func (p *part) checkBody(b *templateBody) *graphError {
	if b.Category == "AUTHENTICATION" {
		if p.Text != "" {
			return invalid("Unexpected key \"text\" on the body of an authentication template")
		}
		return nil
	}
	text, names := strings.TrimSpace(p.Text), variablesOf(p.Text)
	examples := len(p.Example.BodyNamed)
	if len(p.Example.BodyText) > 0 {
		examples = max(examples, len(p.Example.BodyText[0]))
	}
	switch {
	case text == "" || utf8.RuneCountInString(p.Text) > 1024:
		return ofTemplates(2388040, "Character limit exceeded", "The body has 1 to 1024 characters.")
	case strings.HasPrefix(text, "{{") || strings.HasSuffix(text, "}}"):
		return ofTemplates(2388299, "Variables can't be at the start or end of the template", "This template contains variable parameters at the beginning or end.")
	case variablesTouch.MatchString(text):
		return ofTemplates(2388073, "Variable parameters have an incorrect format", "Variables may not be next to each other.")
	case len(strings.Fields(templateVariable.ReplaceAllString(text, ""))) < 2*len(names)+1 && len(names) > 0:
		return ofTemplates(2388293, "Template has too many variables for its length", "This template contains too many variable parameters relative to the message length.")
	case examples != len(names):
		return ofTemplates(2388072, "Message template body needs examples", fmt.Sprintf("The body has %d variables and %d examples.", len(names), examples))
	}
	return checkNames(names, b.Format)
}

func checkButtonsOf(buttons []partButton) *graphError {
	if n := len(buttons); n < 1 || n > 10 {
		return invalid("A template has 1 to 10 buttons")
	}
	count, last := map[string]int{}, -1
	for i, x := range buttons {
		count[x.Type]++
		switch x.Type {
		case "QUICK_REPLY":
			if last >= 0 && last != i-1 {
				return invalid("Quick reply buttons must be grouped together")
			}
			last = i
		case "URL":
			names := variablesOf(x.URL)
			var examples []string
			_ = json.Unmarshal(x.Example, &examples)
			switch {
			case !isWebAddress(templateVariable.ReplaceAllString(x.URL, "x")) || utf8.RuneCountInString(x.URL) > 2000:
				return invalid("Param url of a button must be a valid URL")
			case len(names) > 1 || len(names) == 1 && !strings.HasSuffix(x.URL, "}}"):
				return invalid("Only one variable can be appended to the end of a button's URL")
			case len(names) != len(examples):
				return ofTemplates(2388072, "Button needs an example", "The URL of a button has a variable, and no example.")
			}
		case "PHONE_NUMBER":
			if x.Phone == "" || len(x.Phone) > 20 {
				return invalid("Param phone_number of a button is required, at most 20 characters long.")
			}
		case "COPY_CODE", "FLOW", "OTP", "CATALOG", "MPM", "VOICE_CALL", "REQUEST_CONTACT_INFO", "SPM":
		default:
			return invalid("Param type of a button is unknown - got %q.", x.Type)
		}
		if x.Type != "COPY_CODE" && x.Type != "OTP" {
			if x.Text == "" || utf8.RuneCountInString(x.Text) > 25 || strings.Contains(x.Text, "{{") {
				return invalid("Param text of a button has 1 to 25 characters")
			}
		}
	}
	for kind, most := range map[string]int{"URL": 2, "PHONE_NUMBER": 1, "COPY_CODE": 1} {
		if count[kind] > most {
			return invalid("A template has at most %d buttons of the type %s", most, kind)
		}
	}
	return nil
}
