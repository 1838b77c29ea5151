package customhttpsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// loginRoute gives a token, or a cookie, to who has a password.
const loginRoute = "POST /login"

// login answers as APIs do to JSON, and as pages do to a form: with a redirect, whether
// or not the password was right.
func (s *Sim) login(c *call) (int, any) {
	refused := func(status int, code, message string) (int, any) {
		return status, map[string]any{"ok": false, "error": map[string]string{"code": code, "message": message}}
	}
	var user, password string
	media := c.r.Header.Get("Content-Type")
	switch media {
	case "application/json":
		var given map[string]string
		if err := json.Unmarshal(c.body, &given); err != nil || len(given) != 2 {
			return refused(http.StatusBadRequest, "malformed", "want username and password")
		}
		user, password = given["username"], given["password"]
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(c.body))
		if err != nil || len(form) != 2 {
			return refused(http.StatusBadRequest, "malformed", "want login and pass")
		}
		user, password = form.Get("login"), form.Get("pass")
		c.w.Header().Set("Location", "/")
	default:
		return refused(http.StatusUnsupportedMediaType, "media_type", "want JSON or a form, not "+media)
	}
	right := same(user, s.opts.User) && same(password, s.opts.Password)
	s.mu.Lock()
	defer s.mu.Unlock()
	if right {
		s.granted++
		s.access = fmt.Sprintf("session-%04d", s.granted)
		s.accessEnds = time.Now().Add(s.opts.TokenLife)
	}
	life := int(s.opts.TokenLife.Seconds())
	switch {
	case media != "application/json":
		if right {
			http.SetCookie(c.w, &http.Cookie{Name: "sid", Value: s.access, Path: "/", MaxAge: life, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
		}
		return http.StatusSeeOther, nil
	case !right:
		return refused(http.StatusUnauthorized, "wrong_password", "there is no "+user+" with the password "+password)
	}
	return http.StatusOK, map[string]any{"data": map[string]any{"token": s.access, "ends": s.accessEnds.UTC().Format(time.RFC3339), "life": life}}
}

func cookie(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}
