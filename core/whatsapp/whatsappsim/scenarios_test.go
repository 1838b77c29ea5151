package whatsappsim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

func TestScenario_TellsWhatMetaTells(t *testing.T) {
	for scenario, want := range map[string]struct {
		tells, silent []string
		changed       string
	}{
		"phone":    {[]string{`"from":"34600111222"`, `"wa_id":"34600111222"`}, []string{"user_id", "username"}, `"type":"user_changed_number","wa_id":"34600111333"`},
		"both":     {[]string{`"from":"34600111222"`, `"from_user_id":"US.134600111222"`}, []string{"username", "parent"}, `"type":"user_changed_number","user_id":"US.934600111333"`},
		"username": {[]string{`"from_user_id":"US.134600111222"`, `"username":"@user`}, []string{`"from":`, "wa_id", "recipient_id", "parent"}, `"previous_user_id":"US.134600111222","type":"user_changed_user_id"`},
		"parent":   {[]string{`"from_parent_user_id":"US.ENT.134600111222"`}, []string{`"from":`, "wa_id"}, `"type":"user_changed_user_id"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &bridge{}
			s := start(t, b, whatsappsim.Options{})
			if w := ask(s, "POST", "/_sim/people", `{"phone":"+34 600 111 222","name":"Ana","scenario":"`+scenario+`"}`); w.Code != http.StatusOK {
				t.Fatal(w.Body)
			}
			s.Receive(whatsappsim.Inbound{From: "+34600111222", Text: "hi"})
			synctest.Wait()
			told := string(b.posts[0].body)
			for _, part := range want.tells {
				if !strings.Contains(told, part) {
					t.Errorf("%s: nothing of %s in %s", scenario, part, told)
				}
			}
			for _, part := range want.silent {
				if strings.Contains(told, part) {
					t.Errorf("%s: it tells %s: %s", scenario, part, told)
				}
			}
			b.posts = nil
			if w := ask(s, "POST", "/_sim/people/change", `{"from":"34600111222","to":"34600111333"}`); w.Code != http.StatusOK {
				t.Fatal(w.Body)
			}
			synctest.Wait()
			if told := string(b.posts[0].body); !strings.Contains(told, want.changed) {
				t.Errorf("%s: the change is told by %s", scenario, told)
			}
			if got := fmt.Sprint(s.People()); !strings.Contains(got, "{34600111333 ") || strings.Contains(got, "{34600111222 ") {
				t.Errorf("%s: known are %s", scenario, got)
			}
		})
	}
	s := whatsappsim.New(whatsappsim.Options{})
	for _, body := range []string{`{"phone":"1"}`, `{"phone":"34600111222","scenario":"ghost"}`, `{"phone":"34600111222","bsuid":"x"}`} {
		if w := ask(s, "POST", "/_sim/people", body); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
}

func TestLimits_AreMetas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &bridge{}, whatsappsim.Options{EnforceLimits: true, Numbers: []whatsappsim.Number{{ID: number, DisplayNumber: "15550783881", WABA: "1", Limit: "TIER_250"}}})
		next := 0
		newPerson := func() string {
			next++
			return fmt.Sprintf(`{"messaging_product":"whatsapp","to":"+3460011%04d","type":"template","template":{"name":"hello_world","language":{"code":"en_US"}}}`, next)
		}
		count := func(n int, body func() string) (taken int, last string) {
			for range n {
				if w := send(s, body()); w.Code == http.StatusOK {
					taken++
				} else {
					last = w.Body.String()
				}
			}
			return taken, last
		}
		one := func() string { return text("") }
		if n, last := count(50, one); n != 45 || !strings.Contains(last, "131056") {
			t.Errorf("to one person %d at once, then %s", n, last)
		}
		time.Sleep(6 * time.Second)
		if n, _ := count(3, one); n != 1 {
			t.Errorf("six seconds later %d", n)
		}
		if n, last := count(100, newPerson); n != 79 || !strings.Contains(last, "130429") {
			t.Errorf("in a second %d, then %s", n+1, last)
		}
		failed := func() int {
			synctest.Wait()
			return s.Stats().Statuses["failed"]
		}
		for range 3 {
			time.Sleep(time.Second)
			count(80, newPerson)
		}
		if n := failed(); n != 79+240-250 {
			t.Errorf("%d of 319 new people fail, want those beyond 250", n)
		}
		time.Sleep(24 * time.Hour)
		count(10, newPerson)
		if n := failed(); n != 79+240-250 {
			t.Errorf("a day later %d fail", n)
		}
	})
}
