package hubspot_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
)

// answering is a server that always says the same.
func answering(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

// Who answers without HubSpot's words has not looked at the event, nor at the token.
func TestDeliver_BlamesNoEventForWhatIsNotHubSpots(t *testing.T) {
	page := "<html><h1>Bad Request</h1>cloudflare</html>"
	for _, c := range []struct {
		status int
		body   string
		want   core.Code
	}{
		{400, page, core.CodeUnavailable},
		{400, "", core.CodeUnavailable},
		{400, "{}", core.CodeUnavailable},
		{400, `{"message":`, core.CodeUnavailable},
		{400, `{"status":"error","message":"no","category":"VALIDATION_ERROR"}`, core.CodeInvalid},
		{400, `{"message":"no"}`, core.CodeInvalid},
		{401, page, core.CodeUnavailable},
		{401, "", core.CodeUnavailable},
		{401, `{"status":"error","message":"expired","category":"EXPIRED_AUTHENTICATION"}`, core.CodeUnauthenticated},
		{402, page, core.CodeUnavailable},
		{402, `{"status":"error","message":"pay","category":"PAYMENT_REQUIRED"}`, core.CodeUnavailable},
		{403, page, core.CodeUnavailable},
		{409, "", core.CodeUnavailable},
		{413, page, core.CodeInvalid},
		{414, "", core.CodeInvalid},
		{421, page, core.CodeUnavailable},
		{431, page, core.CodeUnavailable},
		{451, page, core.CodeUnavailable},
	} {
		b := start(t, hubspotsim.Options{}, "", answering(c.status, c.body))
		b.known[received(1).Contact.ID] = "7"
		err := b.deliver(received(1))["wamid.IN001"].Err
		if err == nil || err.Code != c.want || err.Vendor == "" || err.Message == "" {
			t.Errorf("%d %q: %+v, want %s", c.status, c.body, err, c.want)
		}
	}
}

func TestDeliver_RepeatsOfAnAnswerAsMuchAsPeopleRead(t *testing.T) {
	long := strings.Repeat("A", 100_000)
	for _, body := range []string{
		`{"status":"error","message":"x","category":"` + long + `"}`,
		`{"status":"error","message":"` + long + `","category":"VALIDATION_ERROR"}`,
		`{"status":"error","message":"x","category":"MISSING_SCOPES","context":{"missingScopes":["` + long + `"]}}`,
		`{"status":"error","message":"Property \"` + long + `\" does not exist","category":"VALIDATION_ERROR"}`,
		`{"status":"error","message":"x","policyName":"` + long + `"}`,
	} {
		for _, status := range []int{400, 403, 429, 500} {
			b := start(t, hubspotsim.Options{}, "", answering(status, body))
			b.known[received(1).Contact.ID] = "7"
			err := b.deliver(received(1))["wamid.IN001"].Err
			if err == nil || len(err.Message)+len(err.Vendor)+len(err.Hint) > 1000 {
				t.Errorf("%d %.60s: %d characters", status, body, len(err.Message)+len(err.Vendor)+len(err.Hint))
			}
		}
	}
}

// A record may be deleted between one call and the next: that is no matter of the lane, nor
// of the events beside it.
func TestDeliver_ARecordThatWentIsNoTroubleOfTheLanes(t *testing.T) {
	doomed := regexp.MustCompile(`"(wamid\.IN001|c001|1001)"`)
	for _, c := range []struct {
		path, context string
		want          core.Code
	}{
		{"contacts/batch/upsert", `{"objectWriteTraceId":["wamid.IN001"]}`, core.CodeInvalid},
		{"contacts/batch/upsert", `{"ids":["c001"]}`, core.CodeInvalid},
		{"communications/batch/upsert", `{"ids":["wamid.IN001"]}`, core.CodeInvalid},
		{"associate/default", `{"fromObjectId":["3000000001"],"toObjectId":["1001"]}`, core.CodeUnavailable}, // the next attempt makes another
	} {
		sim := hubspotsim.New(hubspotsim.Options{})
		b := start(t, hubspotsim.Options{}, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if strings.HasSuffix(r.URL.Path, c.path) && doomed.Match(body) {
				w.WriteHeader(http.StatusNotFound)
				fmt.Fprintf(w, `{"status":"error","message":"Could not get some objects","category":"OBJECT_NOT_FOUND","context":%s}`, c.context)
				return
			}
			sim.ServeHTTP(w, r)
		}))
		b.sim = sim
		b.mustCheck()
		got := b.deliver(received(1), received(2), received(3))
		wantCodes(t, got, map[string]core.Code{"wamid.IN001": c.want, "wamid.IN002": "", "wamid.IN003": ""})
		if err := got["wamid.IN001"].Err; err == nil || err.Holds() != core.ScopeEvent {
			t.Errorf("%s %s: %+v", c.path, c.context, err)
		}
	}
}

func TestDeliver_WritesTextsWholeAsFarAsHubSpotTakesThem(t *testing.T) {
	b := start(t, hubspotsim.Options{}, "", nil).mustCheck()
	for n, c := range []struct{ text, begins, ends string }{
		{strings.Repeat("ж", 65_000), "← жж", "жж"},
		{strings.Repeat("&\r\n", 2_000), "← &amp;<br>&amp;", "&amp;<br>"},
		{strings.Repeat("<", 40_000), "← &lt;&lt;", "&lt;…"},
		{strings.Repeat("😀", 40_000), "← 😀😀", "😀…"},
		{strings.Repeat("x\n", 40_000), "← x<br>x", "…"},
	} {
		e := received(n)
		e.Message.Text = c.text
		wantCodes(t, b.deliver(e), map[string]core.Code{e.ID: ""})
		got := b.messages()[e.ID].Properties["hs_communication_body"]
		if size := len(utf16.Encode([]rune(got))); !strings.HasPrefix(got, c.begins) || !strings.HasSuffix(got, c.ends) || size > 65_536 || strings.HasSuffix(c.ends, "…") && size < 65_500 {
			t.Errorf("%d characters: %.20s … %s", size, got, got[max(0, len(got)-20):])
		}
	}
}
