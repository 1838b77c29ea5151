package customhttp

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wabridge/wabridge/core"
)

// login is how somebody with a password signs in: the API answers with a token, or sets
// a cookie, that counts for a while.
type login struct {
	body     *tmpl // JSON over loginWords
	form     bool  // what it says is sent as a form
	cookie   string
	expires  path
	lifetime time.Duration // 0 is as long as the answer says
}

// loginWords are what the body of a login can say.
var loginWords = &word{
	fields: map[string]*word{"username": {zero: ""}, "password": {zero: ""}},
	only:   " (a login knows .username and .password only)",
}

// loginBody is sent unless the settings say something else.
const loginBody = `{"username": {{.username}}, "password": {{.password}}}`

func (c *planner) login(p *plan) {
	const where = "settings.auth"
	a := &p.auth
	if a.In = cmp.Or(a.In, "header"); a.In == "header" && a.Name == "" {
		a.Name, a.Prefix = "Authorization", cmp.Or(a.Prefix, "Bearer ")
	}
	c.place(a)
	l := &login{
		body: compileTemplate(cmp.Or(a.Body, loginBody), inBody, where+".body", loginWords, c.problems),
		form: a.Format == "form", expires: parsePath(a.Expires),
	}
	l.expires.check(where+".expires", c.problems)
	if !slices.Contains([]string{"", "json", "form"}, a.Format) {
		c.addf(where+".format", `want "json" or "form"`)
	}
	s := &signIn{login: l, token: parsePath(cmp.Or(a.Token, "token"))}
	if s.token.check(where+".token", c.problems); a.In == "cookie" && a.Token == "" {
		l.cookie = a.Name
	}
	if a.Lifetime != "" {
		d, err := time.ParseDuration(a.Lifetime)
		if err != nil || d < time.Minute || d > maxTokenLife {
			c.addf(where+".lifetime", `want a duration of a minute or more, such as "30m"`)
		}
		l.lifetime = d
	}
	s.url, s.own = c.address(where+".token_url", a.TokenURL, "https://crm.example.com/login")
	s.op = &operation{
		name: where + ".token_url", kind: "sign-in", method: http.MethodPost, path: &tmpl{where: where + ".token_url"},
		response: response{success: []statusRange{{200, 299}}, errorCode: path{"error"}, errorMessage: path{"message"}},
	}
	if c.Response != nil {
		s.op.response = compileResponse(c.Response, "settings.response", c.problems)
	}
	p.signIn = s
}

// logIn asks for a token, or a cookie, with the password.
func (x *session) logIn(ctx context.Context, account core.Account) (core.Token, *core.Error) {
	s, l := x.signIn, x.signIn.login
	body := new(bytes.Buffer)
	data := map[string]any{"username": account.Secrets["username"].Reveal(), "password": account.Secrets["password"].Reveal()}
	if err := l.body.execute(body, data, maxRequestBody); err != nil {
		return core.Token{}, err
	}
	if err := l.body.validJSON(body.Bytes()); err != nil {
		return core.Token{}, err
	}
	r := Request{Method: s.op.method, URL: s.url.String(), Body: body.Bytes(), Header: http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"wabridge"},
	}}
	if l.form {
		form, err := l.asForm(body.Bytes())
		if err != nil {
			return core.Token{}, err
		}
		r.Body = []byte(form.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	asked := time.Now()
	a, err := x.askSignIn(ctx, r)
	if err != nil {
		return core.Token{}, err
	}
	access, ends := core.Secret(""), time.Time{}
	if l.cookie == "" {
		access = core.Secret(a.text(s.token))
	} else if found := cookieOf(a, l.cookie); found != nil {
		access = core.Secret(found.Value)
		ends = found.Expires
		if found.MaxAge > 0 {
			ends = after(asked, float64(found.MaxAge))
		}
	}
	// Login pages lead on with a redirect, whether or not the password was right: the
	// cookie says which.
	good := a.status >= 200 && a.status <= 299 || l.cookie != "" && (a.status == http.StatusFound || a.status == http.StatusSeeOther)
	switch {
	case !good:
		return core.Token{}, x.noToken(a)
	case access == "" && l.cookie != "":
		return core.Token{}, x.tokenMissing(a, "cookie "+l.cookie, "look at settings.auth.name, the cookie's, and at the secrets username and password")
	case access == "" || badHeaderValue(access.Reveal()) || x.auth.In == "cookie" && badCookie(access.Reveal()):
		return core.Token{}, x.tokenMissing(a, "token", "look at settings.auth.token, the path to it, and at settings.auth.token_url")
	}
	if l.expires != nil {
		ends = endOf(a.text(l.expires), asked)
	}
	if l.lifetime > 0 {
		ends = asked.Add(l.lifetime)
	}
	return core.Token{Secrets: map[string]core.Secret{accessToken: access}, Expires: ends}, nil
}

// asForm makes a form of a JSON object of texts.
func (l *login) asForm(body []byte) (url.Values, *core.Error) {
	v, err := decodeJSON(body)
	fields, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, refuse(l.body, "a form is made of an object")
	}
	form := url.Values{}
	for name, value := range fields {
		text, ok := value.(string)
		if !ok {
			return nil, refuse(l.body, "a form is made of texts: "+clip(name, 60)+" is none")
		}
		form.Set(name, text)
	}
	return form, nil
}

// cookieOf returns the cookie that an answer sets, nil when it does not, or takes it away.
func cookieOf(a *answer, name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name && c.Value != "" && c.MaxAge >= 0 {
			return c
		}
	}
	return nil
}

// badCookie reports whether a value cannot be a cookie's:
// https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1.
func badCookie(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`",;\`, r) })
}

// after returns the end of a life of so many seconds.
func after(asked time.Time, seconds float64) time.Time {
	return asked.Add(time.Duration(min(seconds, maxTokenLife.Seconds()) * float64(time.Second)))
}

// endOf reads when a token ends: seconds from now, seconds since 1970 or RFC 3339. The
// zero time is that nobody knows.
func endOf(text string, asked time.Time) time.Time {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t
	}
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || !(seconds > 0): // NaN too
		return time.Time{}
	case seconds > 1e9: // in 2001
		return time.Unix(int64(min(seconds, 1e11)), 0)
	}
	return after(asked, seconds)
}
