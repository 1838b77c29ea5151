package whatsapp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/template"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

const waba = "102290129340398" // of the sim's first number

func (r *rig) templates(a whatsapp.Account) *whatsapp.Templates {
	a.ID, a.AccessToken = waba, func() core.Secret { return token }
	return r.client.Templates(a)
}

func order() template.Definition {
	d, err := template.ParseDraft([]byte(`{"name":"order_shipped","language":"en_US","category":"utility",
		"body":"Hello {{name}}, your order {{order}} is on its way & will be there soon.","examples":{"name":"Ana","order":"A-17"},
		"footer":"Maple Bakery","buttons":["Help",{"text":"Track","url":"https://example.com/o/{{1}}","example":"https://example.com/o/7"}]}`))
	if err != nil {
		panic(err)
	}
	return d.Definition()
}

func TestTemplates_AreMadeReadEditedAndDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := whatsappsim.New(whatsappsim.Options{ReviewDelay: time.Hour})
		r := newRig(t, sim)
		api, ctx := r.templates(whatsapp.Account{}), t.Context()
		want := order()
		made, err := api.Create(ctx, want)
		if err != nil || made.Status != "PENDING" || made.ID == "" || made.Category != "utility" {
			t.Fatalf("%+v, %v", made, err)
		}
		if body := string(r.bodies[0]); !strings.Contains(body, "way & will") || !strings.Contains(body, `"category":"UTILITY"`) || strings.Contains(body, `"id"`) {
			t.Errorf("sent %s", body)
		}
		if err := api.Edit(ctx, made.ID, "", want); core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "Only approved") {
			t.Errorf("edited under review: %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		all, err := api.Find(ctx, "order_shipped")
		if err != nil || len(all) != 1 || all[0].Status != "APPROVED" || !all[0].Named() || !template.Same(&all[0].Definition, &want) {
			t.Fatalf("%+v, %v", all, err)
		}
		if none, err := api.Find(ctx, "order"); err != nil || len(none) != 0 {
			t.Errorf("a part of the name finds %+v, %v", none, err)
		}
		want.Component(template.Footer).Text = "Maple Bakery, Springfield"
		if err := api.Edit(ctx, made.ID, "", want); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := api.Edit(ctx, made.ID, "", want); err == nil || !strings.Contains(err.Error(), "once a day") {
			t.Errorf("edited twice a day: %v", err)
		}
		if err := sim.ChangeTemplate(whatsappsim.TemplateChange{Name: "order_shipped", Status: "PAUSED"}); err != nil {
			t.Fatal(err)
		}
		if err := api.Unpause(ctx, made.ID); err != nil {
			t.Error(err)
		}
		if err := api.Delete(ctx, "order_shipped", made.ID); err != nil {
			t.Fatal(err)
		}
		if all, _ := api.List(ctx); len(all) != 1 || all[0].Name != "hello_world" {
			t.Errorf("left: %+v", all)
		}
		if _, err := api.Create(ctx, want); core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "being deleted") {
			t.Errorf("made again: %v", err)
		}
	})
}

// Meta's word on what is wrong with a template is in the subcode.
func TestTemplates_SayWhatIsWrongWithOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, whatsappsim.New(whatsappsim.Options{}))
		d := order()
		d.Component(template.Body).Text = "{{name}}, your order {{order}} is on its way to you by now."
		_, err := r.templates(whatsapp.Account{}).Create(t.Context(), d)
		e := core.AsError(err)
		if e.Code != core.CodeInvalid || e.Vendor != "100/2388299" || !strings.Contains(e.Message, "a variable opens or closes the template") || !strings.Contains(e.Hint, "template lint") {
			t.Errorf("%+v", e)
		}
	})
}

func TestTemplates_ListsAllPagesAndBeginsAnewWhenACursorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given []whatsappsim.Template
		for i := range 25 {
			given = append(given, whatsappsim.Template{Name: fmt.Sprintf("t%02d", i), Language: "es", BodyParameters: i % 3})
		}
		sim := whatsappsim.New(whatsappsim.Options{Templates: given, TemplatePage: 10})
		pages, expire := 0, 0
		r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if pages++; pages == expire {
				sim.ExpireCursors()
			}
			sim.ServeHTTP(w, req)
		}))
		api := r.templates(whatsapp.Account{})
		for _, expire = range []int{0, 6} { // the second list's third page
			all, err := api.List(t.Context())
			var names []string
			for _, told := range all {
				names = append(names, told.Name)
			}
			if err != nil || len(slices.Compact(names)) != 25 {
				t.Errorf("%d templates, %v", len(names), err)
			}
		}
		if pages != 3+3+3 {
			t.Errorf("%d calls", pages)
		}
	})
}

// A list that is longer than what the account may ask at once comes all the same.
func TestTemplates_LongListsWaitForTheirCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given []whatsappsim.Template
		for i := range 40 {
			given = append(given, whatsappsim.Template{Name: fmt.Sprintf("t%02d", i), Language: "es"})
		}
		r := newRig(t, whatsappsim.New(whatsappsim.Options{Templates: given, TemplatePage: 1}))
		began := time.Now()
		all, err := r.templates(whatsapp.Account{CallsPerHour: 40}).List(t.Context())
		if took := time.Since(began); err != nil || len(all) != 40 || took < 55*time.Minute || took > 65*time.Minute {
			t.Errorf("%d templates after %s, %v", len(all), took, err)
		}
	})
}

// A cursor that is never good ends the list, in words.
func TestTemplates_DoesNotListForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			calls++
			if req.URL.Query().Get("after") != "" {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":{"code":131059,"message":"cursor"}}`)
				return
			}
			fmt.Fprint(w, `{"data":[],"paging":{"next":"x","cursors":{"after":"a"}}}`)
		}))
		_, err := r.templates(whatsapp.Account{}).List(t.Context())
		if core.CodeOf(err) != core.CodeInvalid || calls != 8 {
			t.Errorf("after %d calls: %v", calls, err)
		}
	})
}

func TestTemplates_KeepWithinTheCallsOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := whatsappsim.New(whatsappsim.Options{ManagementPerHour: 40})
		r := newRig(t, sim)
		api := r.templates(whatsapp.Account{CallsPerHour: 40})
		var told time.Duration
		for range 5 * 60 * 4 { // five hours, every 15 seconds
			_, err := api.List(t.Context())
			if e := core.AsError(err); err != nil {
				if e.Code != core.CodeRateLimited || e.Source != core.SourceBridge || e.RetryAfter <= 0 {
					t.Fatalf("%+v", e)
				}
				told = e.RetryAfter
			}
			time.Sleep(15 * time.Second)
		}
		if n := len(r.requests); n < 20+5*19 || n > 20+5*20 || told > 3*time.Minute {
			t.Errorf("%d calls in five hours, the last wait %s", n, told)
		}
		// Who has used them up elsewhere is told by Meta.
		other := newRig(t, sim).templates(whatsapp.Account{CallsPerHour: 1000})
		var err error
		for range 40 {
			if _, err = other.List(t.Context()); err != nil {
				break
			}
		}
		if e := core.AsError(err); e == nil || e.Code != core.CodeRateLimited || e.Source != core.SourceVendor || e.RetryAfter < 5*time.Minute {
			t.Errorf("%+v", e)
		}
	})
}

func TestTemplates_DoNotKnowWhatBecameOfALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := whatsappsim.New(whatsappsim.Options{})
		r := newRig(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			sim.ServeHTTP(httptest.NewRecorder(), req)
			panic(http.ErrAbortHandler)
		}))
		_, err := r.templates(whatsapp.Account{}).Create(t.Context(), order())
		if core.CodeOf(err) != core.CodeUnknownOutcome {
			t.Errorf("%v", err)
		}
		if strings.Contains(fmt.Sprint(err), token) {
			t.Errorf("tells the token: %v", err)
		}
	})
}

// A tenant that lists thousands of templates does not keep another one of the same account
// from asking for its own.
func TestTemplates_ATenantsLongListLeavesOthersTheirCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given []whatsappsim.Template
		for i := range 150 {
			given = append(given, whatsappsim.Template{Name: fmt.Sprintf("t%03d", i), Language: "es"})
		}
		r := newRig(t, whatsappsim.New(whatsappsim.Options{Templates: given, TemplatePage: 1, ManagementPerHour: 40}))
		large, small := r.templates(whatsapp.Account{Tenant: "large", CallsPerHour: 40}), r.templates(whatsapp.Account{Tenant: "small", CallsPerHour: 40})
		ctx, stop := context.WithTimeout(t.Context(), 24*time.Hour)
		defer stop()
		listed := make(chan int)
		go func() {
			all, err := large.List(ctx)
			if err != nil {
				t.Errorf("the long list: %v", err)
			}
			listed <- len(all)
		}()
		asked := 0
		for began := time.Now(); ; asked++ {
			select {
			case n := <-listed:
				if took := time.Since(began); n != len(given) || took > 13*time.Hour {
					t.Errorf("%d templates after %v", n, took)
				}
				if asked < 20 {
					t.Errorf("the other has asked %d times only", asked)
				}
				return
			case <-time.After(10 * time.Minute):
				if _, err := small.Find(ctx, "t000"); err != nil {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			}
		}
	})
}
