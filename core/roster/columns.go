package roster

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/wabridge/wabridge/core"
)

// The fields that a column can be. Beside these there is "field:<name>" for a
// contact's own fields, and "-" for a column that is left out.
const (
	fieldName     = "name"
	fieldFirst    = "first_name"
	fieldLast     = "last_name"
	fieldPhone    = "phone"
	fieldBSUID    = "bsuid"
	fieldEmail    = "email"
	fieldLanguage = "language"
	fieldTags     = "tags"
	fieldConsent  = "consent"
	fieldEvidence = "consent_evidence"
	fieldSource   = "consent_source"
	fieldAt       = "consent_at"
	fieldOut      = "-"
	fieldPrefix   = "field:"
)

// known are the names that columns have in spreadsheets, without case, spaces and
// signs.
var known = map[string][]string{
	fieldName:     {"name", "fullname", "nombre", "nombrecompleto", "nome", "nom", "contact", "contacto", "姓名", "名字", "名稱", "名称"},
	fieldFirst:    {"firstname", "givenname", "primernombre", "prenom", "prénom", "nomepróprio"},
	fieldLast:     {"lastname", "surname", "familyname", "apellido", "apellidos", "sobrenome"},
	fieldPhone:    {"phone", "phonenumber", "mobile", "mobilephone", "mobilenumber", "cell", "cellphone", "telephone", "tel", "whatsapp", "whatsappnumber", "telefono", "teléfono", "celular", "movil", "móvil", "téléphone", "portable", "telefone", "número", "numero", "number", "電話", "电话", "手機", "手机", "手機號碼", "手机号", "手机号码"},
	fieldBSUID:    {"bsuid", "userid", "whatsappuserid"},
	fieldEmail:    {"email", "emailaddress", "mail", "correo", "correoelectrónico", "courriel", "電郵", "邮箱", "電子郵件"},
	fieldLanguage: {"language", "lang", "locale", "idioma", "langue", "語言", "语言"},
	fieldTags:     {"tags", "tag", "labels", "label", "etiquetas", "étiquettes", "標籤", "标签"},
	fieldConsent:  {"consent", "marketingconsent", "optin", "subscribed"},
	fieldEvidence: {"consentevidence", "evidence"},
	fieldSource:   {"consentsource"},
	fieldAt:       {"consentat", "consentdate"},
	// What export and rejects write for people to read.
	fieldOut: {"id", "line", "reason", "suppressed", "username"},
}

// plain is a header without what spreadsheets differ in.
func plain(header string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, header)
}

// Columns says what each column of a list is; "" is nothing that is known.
type Columns []string

// FindColumns tells what the columns are by their headers. maps has what somebody
// said of them, by header. At least one must be a phone number or user id.
func FindColumns(header []string, maps map[string]string) (Columns, error) {
	out := make(Columns, len(header))
	taken := map[string]bool{}
	for i, h := range header {
		h = strings.TrimSpace(unguard(h))
		for from, field := range maps {
			if from == h || plain(from) != "" && plain(from) == plain(h) {
				out[i], taken[from] = field, true
			}
		}
		if name, ok := strings.CutPrefix(h, fieldPrefix); ok && out[i] == "" && name != "" {
			out[i] = h
		}
		if out[i] == "" {
			out[i] = fieldOf(plain(h))
		}
	}
	for from, field := range maps {
		_, isField := strings.CutPrefix(field, fieldPrefix)
		switch {
		case !taken[from]:
			return nil, core.Errorf(core.CodeInvalid, "map", "there is no column %q: there are %s", from, strings.Join(header, ", "))
		case isField && len(field) > len(fieldPrefix):
		case known[field] == nil:
			return nil, core.Errorf(core.CodeInvalid, "map", "a column is name, first_name, last_name, phone, bsuid, email, language, tags, consent, "+
				"consent_evidence, consent_source, consent_at, field:<name> or -, not %.40q", field)
		}
	}
	for i, f := range out {
		if f != "" && f != fieldPhone && f != fieldOut && f != fieldTags && slices.Contains(out[:i], f) {
			return nil, core.Errorf(core.CodeInvalid, "header", "two columns are the %s: say with --map which is, and which is -", f)
		}
	}
	if !slices.Contains(out, fieldPhone) && !slices.Contains(out, fieldBSUID) {
		return nil, &core.Error{Code: core.CodeInvalid, Op: "header", Message: "no column is a phone number or a user id",
			Hint: fmt.Sprintf("say which with --map, like --map %q=phone; there are %s", first(header), strings.Join(header, ", "))}
	}
	return out, nil
}

func first(header []string) string {
	if len(header) == 0 {
		return ""
	}
	return header[0]
}

// fieldOf returns the field of a header; phones may have a number behind.
func fieldOf(h string) string {
	for field, names := range known {
		if slices.Contains(names, h) {
			return field
		}
	}
	if short := strings.TrimRight(h, "0123456789"); short != h && slices.Contains(known[fieldPhone], short) {
		return fieldPhone
	}
	return ""
}

// Ignored are the headers of columns that are nothing that is known.
func (c Columns) Ignored(header []string) []string {
	var out []string
	for i, f := range c {
		if f == "" && strings.TrimSpace(header[i]) != "" {
			out = append(out, header[i])
		}
	}
	return out
}
